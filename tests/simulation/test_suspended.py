"""Whoever is suspended, and whatever liars among them do: nothing stops, they lead nothing, and it costs little."""

import pytest

from consensus.quorum import quorum
from tests.simulation.faults import Faults, Role
from tests.simulation.host import TAU_MS
from tests.simulation.network import RECOVERY_SLOTS_MAX, run_requests
from tests.simulation.occurrences import OF_SUSPENDED, PROPOSED
from tests.simulation.runs import run_all
from tests.simulation.signing import keyed_hashes
from tests.simulation.suspended import Street, run_suspended, wait

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


@pytest.mark.parametrize(("members", "liars"), [(4, (1,)), (7, (1, 2)), (10, (1, 4, 7))])
def test_a_liar_that_leads_though_it_is_suspended_is_heard_by_nobody(members: int, liars: tuple[int, ...]) -> None:
    requests = 10 * members
    roles = dict.fromkeys(liars, Role.GREEDY)
    with keyed_hashes():
        street = Street(members, 1, Faults(), suspended=liars, roles=roles)
        limit_ms = (requests + RECOVERY_SLOTS_MAX) * TAU_MS
        assert run_requests(street, requests=requests, spread_ms=requests * TAU_MS, limit_ms=limit_ms)
        street.check_leaders()
    assert street.occurred[PROPOSED] > 0
