"""Members that are removed for cause: on the production contracts, ledger and participant, under faults."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from consensus.codec import encode
from consensus.identifiers import Address, Height
from consensus.quorum import fault_bound
from contracts.genesis import MembershipParameters
from contracts.proposal_records import Expulsion, Proposal
from contracts.state import MEMBER_LIST_KEY, MemberList, proposal_key
from contracts.state_reading import read, require
from contracts.transactions import (
    Action,
    Approve,
    Propose,
    Revocation,
    RevocationReason,
    Revoke,
    SetLeaving,
    ShowPresence,
)
from tests.simulation.faults import Faults, Role, trouble
from tests.simulation.host import TAU_MS
from tests.simulation.ledger_application import LedgerApplication
from tests.simulation.network import Network, outlive_faults
from tests.simulation.opaque import BLOCK_REQUESTS_MAX
from tests.support.contracts import Community, make_genesis

REQUESTS = 35
FAULTS_UNTIL_MS = 12_000
WAIT_SLOTS = 8
Word = Callable[["Removing"], Action]


def community_of(members: int) -> Community:
    return make_genesis(
        members,
        slot_duration_ms=TAU_MS,
        block_transactions_max=BLOCK_REQUESTS_MAX,
        membership=MembershipParameters(
            members_min=4, seen_window_slots=1_200, removal_wait_slots=WAIT_SLOTS, verifier_keys=()
        ),
    )


class Removing(LedgerApplication):
    """Some of its clients' requests are words about members."""

    def __init__(self, directory: Path, community: Community, number: int, words: Mapping[int, Word]) -> None:
        self._words = words
        super().__init__(directory, community, number)

    def new_request(self, number: int) -> bytes:
        word = self._words.get(number)
        return super().new_request(number) if word is None else self._signed(word(self))

    def proposal_of(self, proposer: Address) -> Proposal | None:
        """What its own ledger knows of; nothing while it is down."""
        return read(self.ledger, proposal_key(proposer), Proposal) if self._is_open else None

    def members(self) -> tuple[Address, ...]:
        return require(self.ledger, MEMBER_LIST_KEY, MemberList).addresses


def revocation(community: Community, member: int) -> Word:
    """Brings the authority's word on a member's key."""
    said = Revocation(
        chain=community.chain,
        node_key=community.node_keys[member].public_key,
        reason=RevocationReason.KEY_COMPROMISE,
    )
    return lambda _: Revoke(revocation=said, signature=community.authority_key.sign(encode(said)))


def expulsion(community: Community, member: int) -> Word:
    return lambda _: Propose(subject=Expulsion(member=community.addresses[member]))


def approval(community: Community, proposer: int) -> Word:
    """Approves what a member proposed last, once its own ledger knows of it."""

    def word(home: Removing) -> Action:
        proposal = home.proposal_of(community.addresses[proposer])
        if proposal is None:
            return ShowPresence()
        return Approve(proposer=community.addresses[proposer], proposal=proposal.name)

    return word


def words_of(community: Community, honest: int, seed: int) -> dict[int, Word]:
    """What clients ask beside their trades: request n is the honest member's n mod `honest`.

    The last member is removed, by the authority or by a quorum; as many as may lie want an honest one expelled; with
    six or more, another one leaves meanwhile.
    """
    members, accused = len(community.addresses), len(community.addresses) - 1
    words: dict[int, Word] = {}
    if seed % 2:
        words[honest + 1] = revocation(community, accused)
        words[2 * honest + 2] = revocation(community, accused)  # late, or once more
    else:
        words[1] = expulsion(community, accused)
        for later in range(2, 5):
            words |= {later * honest + number: approval(community, 1) for number in range(honest) if number != 1}
    accomplices = fault_bound(members)
    words[2 + honest] = expulsion(community, 0)
    words |= {4 * honest + 2 + number: approval(community, 2) for number in range(1, accomplices) if not seed % 3}
    if members >= 6:
        words[3] = lambda _: SetLeaving(leaving=True)
    return words


def run(directory: Path, *, members: int, seed: int, faults: Faults, role: Role | None = None) -> None:
    """Runs requests of all honest members; the last one has the role, and is removed."""
    community = community_of(members)
    honest = members - (role is not None)
    words = words_of(community, honest, seed)
    network = Network(
        members,
        seed,
        faults,
        keys=community.node_keys,
        application=lambda _, number: Removing(directory / str(number), community, number, words),
        roles={} if role is None else {members - 1: role},
        is_encoded=True,
    )
    homes: list[Removing] = [host.application for host in network.honest]  # type: ignore[misc]
    gone = {community.addresses[members - 1]} | ({community.addresses[3]} if members >= 6 else set())

    def is_done() -> bool:
        return all(host.is_up for host in network.honest) and all(gone.isdisjoint(home.members()) for home in homes)

    try:
        outlive_faults(network, requests=REQUESTS, until_ms=FAULTS_UNTIL_MS)
        for more in range(20):  # what is due by time alone comes with the next block
            if network.run(is_done, 2 * WAIT_SLOTS * TAU_MS):
                break
            network.honest[more % (honest - 1)].submit(1_000 + more)
        for home in homes:
            assert home.members() == tuple(one for one in community.addresses if one not in gone)
            assert require(home.ledger, MEMBER_LIST_KEY, MemberList).at(Height(1))[-1][0] in gone
    finally:
        network.close()


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("members", [4, 5, 7])
def test_a_member_is_removed_from_a_calm_network_and_it_goes_on(tmp_path: Path, members: int, seed: int) -> None:
    run(tmp_path, members=members, seed=seed, faults=Faults(until_ms=FAULTS_UNTIL_MS))


@pytest.mark.parametrize("seed", range(8))
def test_a_member_is_removed_from_a_network_in_trouble(tmp_path: Path, seed: int) -> None:
    faults = trouble(FAULTS_UNTIL_MS, is_parted=seed % 4 > 1)
    role = (None, Role.EQUIVOCATING, Role.FORGING, Role.SILENT)[seed // 2]
    run(tmp_path, members=4 + seed % 4, seed=seed, faults=faults, role=role)
