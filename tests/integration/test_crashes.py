"""Some kills, a leader that dies in the middle of a block, and a pause; `make endurance` has all of them."""

import pytest

from tests.endurance.kills import run_kills
from tests.endurance.pauses import run_pause
from tests.endurance.phases import run_phase


def test_what_was_replied_outlives_kills() -> None:
    figures = run_kills(nodes=4, kills=3, seed=2)
    assert figures["kills"] >= 3
    assert figures["replied"] > 0


@pytest.mark.parametrize("point", ["prepared-persisted", "decided"])
def test_a_leader_dies_in_the_middle_of_a_block(point: str) -> None:
    assert run_phase(point)["replied"] > 0


def test_commits_go_on_after_half_of_the_network_was_paused() -> None:
    assert run_pause(slots=100)["replied"] > 0
