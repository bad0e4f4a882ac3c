"""Ceremonies by chance never fork those who take part, and never lose a decided block where they may not."""

from collections import Counter

import pytest

from tests.simulation.ceremonies import run_ceremonies


@pytest.mark.parametrize(
    ("members", "liars", "runs"), [(3, 0, 300), (4, 0, 200), (4, 1, 300), (5, 1, 150), (7, 1, 100), (7, 2, 100)]
)
def test_ceremonies_by_chance(members: int, liars: int, runs: int) -> None:
    outcomes = run_ceremonies(members, range(runs), liars=liars)
    what = Counter({"began": 0})
    for outcome in outcomes:
        what["began"] += outcome.began > 0
        what["second"] += outcome.second
        what["carried"] += outcome.carried
    assert what["began"] > runs // 10, "hardly a ceremony came to its end"
    assert what["second"] > 0
    assert what["carried"] > runs // 20
