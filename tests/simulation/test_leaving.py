"""Members that leave while the chain runs: on the production contracts, ledger and participant, under faults."""

from pathlib import Path

import pytest

from contracts.member_records import MemberQueue
from contracts.state import MEMBER_LIST_KEY, MEMBER_QUEUE_KEY, MemberList
from contracts.state_reading import require
from contracts.transactions import SetLeaving
from tests.simulation.faults import Faults, Role, trouble
from tests.simulation.host import TAU_MS
from tests.simulation.ledger_application import LedgerApplication, simulated_community
from tests.simulation.network import Network, outlive_faults
from tests.support.contracts import Community

REQUESTS = 30
FAULTS_UNTIL_MS = 12_000
MEMBERS_MIN = 4


class Leaving(LedgerApplication):
    """One of its clients' requests says that it leaves."""

    def __init__(self, directory: Path, community: Community, number: int, *, leaves_with: int | None) -> None:
        self._leaves_with = leaves_with
        super().__init__(directory, community, number)

    def new_request(self, number: int) -> bytes:
        if number == self._leaves_with:
            return self._signed(SetLeaving(leaving=True))
        return super().new_request(number)


def run(
    directory: Path, *, members: int, leaving: int, seed: int, faults: Faults, role: Role | None = None
) -> Network:
    """Runs requests of all members; the first ones leave with one of theirs. The last one has the role."""
    community = simulated_community(members, TAU_MS)
    honest = members - (role is not None)
    network = Network(
        members,
        seed,
        faults,
        keys=community.node_keys,
        application=lambda _, number: Leaving(
            directory / str(number),
            community,
            number,
            leaves_with=number + honest * (1 + seed % 3) if number < leaving else None,
        ),
        roles={} if role is None else {members - 1: role},
        is_encoded=True,
    )
    try:
        outlive_faults(network, requests=REQUESTS, until_ms=FAULTS_UNTIL_MS)
        staying = max(MEMBERS_MIN, members - leaving)
        for host in network.honest:
            ledger = host.application.ledger  # type: ignore[attr-defined]
            known, queue = (
                require(ledger, MEMBER_LIST_KEY, MemberList),
                require(ledger, MEMBER_QUEUE_KEY, MemberQueue),
            )
            assert len(known.addresses) == staying
            assert len(queue.waiting) == members - leaving - staying if members - leaving > staying else True
    finally:
        network.close()


@pytest.mark.parametrize("members", [5, 7])
def test_members_leave_a_calm_network_and_it_goes_on(tmp_path: Path, members: int) -> None:
    run(tmp_path, members=members, leaving=members - MEMBERS_MIN, seed=1, faults=Faults(until_ms=FAULTS_UNTIL_MS))


def test_leaving_comes_into_force_though_nobody_asks_for_anything_else(tmp_path: Path) -> None:
    """Two leaves in one block: one waits for the other, and the chain makes the blocks that both need."""
    community = simulated_community(6, TAU_MS)
    clients = [Leaving(tmp_path / str(number), community, number, leaves_with=0) for number in range(6)]
    network = Network(6, 1, Faults(), keys=community.node_keys, application=lambda _, number: clients[number])
    for number in (1, 4):
        network.hosts[number].submit(0)

    def is_in_force() -> bool:
        return all(len(client.memberships().undecided) == 4 for client in clients)

    assert network.run(is_in_force, 10 * TAU_MS)
    height = clients[0].height
    network.run(lambda: False, 10 * TAU_MS)
    assert clients[0].height == height, "and no more"
    network.close()


@pytest.mark.parametrize("seed", [2])  # a mutant shows in it; `p2pnode-sim changes` draws others
def test_members_leave_a_network_in_trouble(tmp_path: Path, seed: int) -> None:
    faults = trouble(FAULTS_UNTIL_MS, is_parted=bool(seed % 2))
    role = (None, Role.SILENT, Role.EQUIVOCATING, Role.FORGING)[seed % 4]
    run(tmp_path, members=5 + seed % 3, leaving=1 + seed % 3, seed=seed, faults=faults, role=role)
