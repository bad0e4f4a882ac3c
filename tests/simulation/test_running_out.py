"""Certificates that all run out, and nobody renews: the chain goes on with those whom genesis wants, and takes nobody
that a quorum needs. On the production contracts, ledger and participant.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.simulation.faults import Faults, Role, trouble
from tests.simulation.host import TAU_MS, Host
from tests.simulation.joining import Street
from tests.simulation.ledger_application import simulated_community
from tests.simulation.network import START_MS
from tests.support.validity import removal_slot_of, with_ends

MEMBERS_MIN = 4
END_SLOT = 8
WINDOW_SLOTS = 16
"""Over, for whoever was never there, before the first removal may wait."""
FAULTS_UNTIL_MS = 12_000
ASKED_MAX = 20
"""What is due by time alone comes with the next block: somebody asks for something so often."""
ASKING_SLOTS = 8
ANSWERED_SLOTS = 200
AWAY_MS = 10**9


@contextmanager
def street_of(
    directory: Path, members: int, seed: int, faults: Faults, *, role: Role | None = None, window: int = 1_200
) -> Iterator[Street]:
    """Homes all of whose certificates end at once; the last one has the role."""
    made = simulated_community(members, TAU_MS)
    rules = replace(made.genesis.membership, removal_wait_slots=1, seen_window_slots=window)
    community = with_ends(made, dict.fromkeys(range(members), END_SLOT), membership=rules)
    assert removal_slot_of(community.genesis, END_SLOT) > START_MS // TAU_MS + WINDOW_SLOTS
    street = Street(
        directory,
        founders=members,
        newcomers=0,
        seed=seed,
        faults=faults,
        roles={} if role is None else {members - 1: role},
        community=community,
    )
    try:
        yield street
    finally:
        street.close()


def run_out(street: Street, there: list[Host]) -> bool:
    """Has homes ask until no more members are left than genesis wants; says whether these execute what is asked
    then.
    """

    def members() -> list[Host]:
        return [host for host in there if host.is_up and host.key.address in street.home(host).members()]

    def is_over() -> bool:
        return all(host.is_up for host in there) and street.members_everywhere(MEMBERS_MIN, at=there)

    for number in range(ASKED_MAX):
        if street.run(is_over, ASKING_SLOTS * TAU_MS) and not street.is_faulty:
            break
        for host in members()[:1]:
            host.submit(number)
    for host in members():
        host.submit(ASKED_MAX + 2 * host.index)
    return street.run(lambda: is_over() and not any(host.asked for host in members()), ANSWERED_SLOTS * TAU_MS)


@pytest.mark.parametrize(("members", "role"), [(5, None), (6, Role.EQUIVOCATING), (7, Role.SILENT)])
def test_nobody_renews_and_the_chain_goes_on_with_whom_genesis_wants(
    tmp_path: Path, members: int, role: Role | None
) -> None:
    """Accident: the provider closed down. One member goes in a waiting time while much goes wrong, and no more."""
    faults = trouble(FAULTS_UNTIL_MS, is_parted=members == 6)
    with street_of(tmp_path, members, members, faults, role=role) as street:
        assert run_out(street, street.honest)


def test_who_is_there_stays_while_a_quorum_needs_it(tmp_path: Path) -> None:
    """Of six two are away for good, the other four are just a quorum. Of one end the lower address goes first:
    without it three would be left where four must answer, so it waits until one of those is gone that are away.
    """
    with street_of(tmp_path, 6, 1, Faults(until_ms=START_MS), window=WINDOW_SLOTS) as street:
        by_address = sorted(street.hosts, key=lambda host: host.key.address)
        there, away = by_address[:4], by_address[4:]
        for host in away:
            street.push(0, "absence", host, AWAY_MS)
        assert run_out(street, there)
        gone = {host.index for host in street.hosts} - {
            street.community.addresses.index(address) for address in street.home(there[-1]).members()
        }
        assert len(gone & {host.index for host in away}) == 1
