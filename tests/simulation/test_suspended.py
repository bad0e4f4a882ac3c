"""Whoever is suspended, and whatever liars among them do: nothing stops, they lead nothing, and it costs little."""

import pytest

from consensus.quorum import quorum
from tests.simulation.occurrences import OF_SUSPENDED
from tests.simulation.runs import run_all
from tests.simulation.suspended import run_suspended, wait

SEEDS = range(50)
HALF_SLOT = 0.5


def test_whatever_goes_wrong_and_whoever_lies_all_is_executed_and_nobody_suspended_leads() -> None:
    """`p2pnode-sim suspended` runs more."""
    summary = run_all(run_suspended, SEEDS, lambda *_: None, 1, expected=OF_SUSPENDED)
    assert not summary.failures


@pytest.mark.parametrize("members", [4, 7, 10])
def test_a_request_waits_for_two_slots_that_pass_unused_at_most(members: int) -> None:
    """From then on all have asked for the next slot that somebody leads. It takes half a slot itself."""
    spare = members - quorum(members)
    for number in range(spare + 1):
        waited = wait(members, range(1, 1 + number), requests=20)
        assert waited.median <= HALF_SLOT
        assert waited.worst <= min(number, 2) + HALF_SLOT
        assert waited.view_changes == 0 or number >= 2
