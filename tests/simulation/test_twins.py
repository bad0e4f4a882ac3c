"""Twins: a share of all scenarios here, all of them by `make sim`; the numbering; that a weak quorum is found out."""

from itertools import islice

import pytest

from consensus import quorum
from tests.simulation import checker
from tests.simulation.twins import MEMBERS, SCENARIOS, SLOTS, SPLITS, run_scenario, scenario_of

EVERY = 97
"""A prime: meets every twin and every split."""


def test_all_scenarios_are_different() -> None:
    scenarios = {scenario_of(number) for number in range(SCENARIOS)}
    assert len(scenarios) == SCENARIOS == MEMBERS * SPLITS**SLOTS


@pytest.mark.parametrize("first", range(0, EVERY * 8, EVERY))
def test_twins_neither_fork_nor_stall_anything(first: int) -> None:
    for number in range(first, SCENARIOS, EVERY * 8):
        outcome = run_scenario(number)
        assert (outcome.violation, outcome.is_stuck) == (None, False), number


def test_with_a_weaker_quorum_twins_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quorum, "quorum", lambda _: 2)
    monkeypatch.setattr(checker, "is_quorum", lambda *_: True)  # else the first small certificate ends the run
    forks = (outcome for outcome in map(run_scenario, range(0, SCENARIOS, EVERY)) if outcome.violation is not None)
    assert any("fork" in str(outcome.violation) for outcome in islice(forks, 3))
