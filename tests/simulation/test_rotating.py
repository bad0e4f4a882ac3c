"""Members that exchange their node keys while the chain runs: on the production contracts, ledger and participant,
under faults, beside members that leave, and with a thief who has the old keys.
"""

import itertools
import random
from pathlib import Path
from typing import Final

import pytest

from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Height, Slot
from consensus.messages import Commit, Message, Prepare, ViewChange, commit_bytes, view_change_bytes, vote_bytes
from contracts.member_records import MemberQueue
from contracts.state import MEMBER_LIST_KEY, MEMBER_QUEUE_KEY, MemberList
from contracts.state_reading import require
from contracts.transactions import Action, SetLeaving, decode_transaction
from tests.simulation.faults import BYZANTINE, Faults, Role, trouble
from tests.simulation.host import TAU_MS, Host
from tests.simulation.ledger_application import LedgerApplication, simulated_community
from tests.simulation.network import Network, outlive_faults
from tests.support.contracts import Community, raw_transaction, seeded_key
from tests.support.vouchers import rotate_to

REQUESTS: Final = 30
FAULTS_UNTIL_MS: Final = 12_000
MEMBERS_MIN: Final = 4
CHANGE_SLOTS_MAX: Final = 40
"""What is executed last comes into force with blocks that nobody asks for."""
THEFT_MS: Final = 400
"""How often the thief speaks."""


class Rotating(LedgerApplication):
    """One of its clients' requests exchanges the member's key, and another one may say that it leaves. Clients sign
    with whichever key acts, and again where what they signed lost its key.
    """

    def __init__(
        self, directory: Path, community: Community, number: int, *, says: dict[int, str], next_key: SigningKey
    ) -> None:
        self._says = says
        self._next_key = next_key
        self._acting_key = community.node_keys[number]
        super().__init__(directory, community, number)
        self.keys.add(next_key)

    @property
    def acting_key(self) -> SigningKey:
        """As its node says; as it said last, while it is down."""
        if self._is_open and self.ledger.key_of(self._next_key.address) == self._next_key.public_key:
            self._acting_key = self._next_key
        return self._acting_key

    def new_request(self, number: int) -> bytes:
        match self._says.get(number):
            case "rotate":
                return self._signed(rotate_to(self._community, self._number, self._next_key))
            case "leave":
                return self._signed(SetLeaving(leaving=True))
            case _:
                return super().new_request(number)

    def _signed(self, action: Action) -> bytes:
        self._nonce += 1
        raw = raw_transaction(self._community, self.acting_key, action, nonce=self._nonce)
        self._actions[raw] = action  # type: ignore[assignment]
        return raw

    def renew(self, request: bytes) -> bytes:
        if decode_transaction(request).envelope.sender_key != self.acting_key.public_key:
            return self._signed(self._actions.pop(request))
        return super().renew(request)


class Thief:
    """Says, over a liar's links, in the name of those that exchanged their keys, whatever may do harm: under the old
    keys, from the first height on at which they count no more.
    """

    def __init__(self, through: Host, victims: list[Host], seed: int) -> None:
        self._host, self._victims = through, victims
        self._chance = random.Random(f"thief {seed}")
        self._spoken_ms = through.network.now_ms
        self.said = 0

    def speak(self) -> None:
        network = self._host.network
        if network.now_ms - self._spoken_ms < THEFT_MS:
            return
        self._spoken_ms = network.now_ms
        for victim in self._victims:
            ledger = victim.application.ledger  # type: ignore[attr-defined]
            if not victim.is_up or ledger.membership().key_of(victim.key.address) == victim.key.public_key:
                continue
            for message in self._lies(victim):
                for recipient in network.honest:
                    network.deliver(self._host, recipient.key.address, message)
                    self.said += 1

    def _lies(self, victim: Host) -> tuple[Message, ...]:
        """About the undecided height, for the block that is proposed there or for none that there is."""
        member, key = victim.replica._member, victim.key
        height, domain = victim.replica.height, member.state.era.domain
        slot = Slot(victim.now().slot(member.tau_ms) + self._chance.randint(0, 2))
        seen = [proposal.block for proposal in member.state.votes]
        block = self._chance.choice([*seen, bytes([self._chance.randrange(256)]) * 32])
        at = {"height": height, "slot": slot, "signer": key.address}
        return (
            Prepare(**at, block=block, signature=key.sign(vote_bytes(domain, height, slot, block))),
            Commit(**at, block=block, signature=key.sign(commit_bytes(domain, height, slot, block))),
            ViewChange(
                **at, claim=None, certificate=None, signature=key.sign(view_change_bytes(domain, height, slot, None))
            ),
        )


class Robbed(Network):
    """With a thief, perhaps."""

    thief: Thief | None = None

    def tick(self, host: Host) -> None:
        super().tick(host)
        if self.thief is not None:
            self.thief.speak()


LIAR_ROTATES_WITH: Final = 99
"""A request of its own: nobody waits for what liars ask for."""


def requests_of(number: int, honest: int, *, rotating: int, leaving: int, seed: int) -> dict[int, str]:
    """The first ones exchange their keys with one of their requests, the last honest ones leave with one."""
    if number < rotating:
        return {number + honest * ((seed + number) % 4): "rotate"}
    if honest - leaving <= number < honest:
        return {number + honest * ((seed + number) % 4): "leave"}
    return {LIAR_ROTATES_WITH: "rotate"}


def run(
    directory: Path,
    *,
    members: int,
    rotating: int,
    leaving: int = 0,
    seed: int,
    faults: Faults,
    role: Role | None = None,
    is_thief_there: bool = False,
) -> Network:
    """Runs requests of all members. The last one has the role, and exchanges its key, too, if it lies; then it lies
    on under the old one. The thief speaks over its links.
    """
    community = simulated_community(members, TAU_MS)
    honest = members - (role in BYZANTINE)
    next_keys = [seeded_key("next", number).of_member(community.addresses[number]) for number in range(members)]
    network = Robbed(
        members,
        seed,
        faults,
        keys=community.node_keys,
        application=lambda _, number: Rotating(
            directory / str(number),
            community,
            number,
            says=requests_of(number, honest, rotating=rotating, leaving=leaving, seed=seed),
            next_key=next_keys[number],
        ),
        roles={} if role is None else {members - 1: role},
        is_encoded=True,
    )
    for host in network.hosts:
        host.give_next_key(next_keys[host.index])
    thief = network.thief = Thief(network.hosts[-1], network.hosts[:rotating], seed) if is_thief_there else None
    if role in BYZANTINE:
        network.push(FAULTS_UNTIL_MS // 3, "submit", network.hosts[-1], LIAR_ROTATES_WITH)
    try:
        outlive_faults(network, requests=REQUESTS, until_ms=FAULTS_UNTIL_MS)
        lying = {members - 1} if role in BYZANTINE else set()
        liars = {community.addresses[number] for number in lying}
        network.run(lambda: all(waiting(host) <= liars for host in network.honest), CHANGE_SLOTS_MAX * TAU_MS)
        for host in network.honest:
            check_lists(host, community, next_keys, rotating={*range(rotating)}, leaving=leaving, lying=lying)
        assert thief is None or thief.said
    finally:
        network.close()
    return network


def waiting(host: Host) -> set[Address]:
    """Returns whose changes wait by what a member knows."""
    ledger = host.application.ledger  # type: ignore[attr-defined]
    return {change.address for change in require(ledger, MEMBER_QUEUE_KEY, MemberQueue).waiting}


def check_lists(
    host: Host,
    community: Community,
    next_keys: list[SigningKey],
    *,
    rotating: set[int],
    leaving: int,
    lying: set[int],
) -> None:
    """Everybody's list says that each key was exchanged once, in its place, and who left; nothing waits."""
    ledger = host.application.ledger  # type: ignore[attr-defined]
    known, queue = require(ledger, MEMBER_LIST_KEY, MemberList), require(ledger, MEMBER_QUEUE_KEY, MemberQueue)
    assert len(known.addresses) == len(community.addresses) - leaving
    assert queue.waiting == () or lying
    assert known.addresses == tuple(address for address in community.addresses if address in known.addresses)
    for number, address in enumerate(community.addresses):
        keys = known.keys_of(address)
        first, second = community.node_keys[number].public_key, next_keys[number].public_key
        assert keys == ((first, second) if number in rotating else (first,)) or number in lying
        terms = [term for term in known.terms if term.address == address]
        for earlier, later in itertools.pairwise(terms):
            assert earlier.last_height == Height(later.first_height - 1), "no height has two keys, and none has none"


@pytest.mark.parametrize(("members", "rotating"), [(4, 4), (5, 1), (7, 7)])
def test_members_of_a_calm_network_exchange_their_keys_and_it_goes_on(
    tmp_path: Path, members: int, rotating: int
) -> None:
    network = run(tmp_path, members=members, rotating=rotating, seed=1, faults=Faults(until_ms=FAULTS_UNTIL_MS))
    assert network.occurred["signed under the old key"]
    assert network.occurred["signed under the new key"]
    assert not network.occurred["a member crashed"]


def trouble_of(seed: int) -> Faults:
    return trouble(FAULTS_UNTIL_MS, is_parted=bool(seed % 2), crash_per_point=0.001)


ROLES: Final = (
    None,
    Role.SILENT,
    Role.EQUIVOCATING,
    Role.FORGING,
    Role.STALE,
    Role.FORGETS,
    Role.LOSES_BLOCKS,
    Role.OLD_SIGN_STATE,
)


@pytest.mark.parametrize("seed", range(16))
def test_members_of_a_network_in_trouble_exchange_their_keys(tmp_path: Path, seed: int) -> None:
    """At any height, one after the other, while others leave; the member with the role may be one of them."""
    members, role = 5 + seed % 3, ROLES[seed % len(ROLES)]
    leaving = min(seed % 3, members - MEMBERS_MIN)
    run(
        tmp_path,
        members=members,
        rotating=members - 1 - leaving if seed % 2 else 1,
        leaving=leaving,
        seed=seed,
        faults=trouble_of(seed),
        role=role,
    )


@pytest.mark.parametrize("seed", range(6))
def test_who_has_the_old_keys_does_no_harm(tmp_path: Path, seed: int) -> None:
    """Every certificate's COMMITs left their members, as a checker sees it; and nobody waits for a thief."""
    run(
        tmp_path,
        members=4 + seed % 4,
        rotating=3,
        seed=seed,
        faults=trouble_of(seed) if seed % 2 else Faults(until_ms=FAULTS_UNTIL_MS),
        role=Role.FORGING,
        is_thief_there=True,
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("role", [Role.FORGETS, Role.LOSES_BLOCKS, Role.OLD_SIGN_STATE])
def test_who_loses_what_it_signed_exchanges_its_key_all_the_same(tmp_path: Path, role: Role, seed: int) -> None:
    """Two keys and one sign state: what it signed under the old one binds it, what it asks is asked under the new."""
    run(tmp_path, members=4 + seed, rotating=4 + seed, seed=seed, faults=trouble_of(seed), role=role)
