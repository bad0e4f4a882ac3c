"""Blocks that are opaque to consensus and cheap to execute: parent, slot, leader and the numbers of requests."""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from random import Random
from typing import Final

from consensus.codec import DecodeError, decode, encode
from consensus.cryptography import HashKind, digest
from consensus.eras import Eras
from consensus.events import BlockOrigin, Decision
from consensus.identifiers import FIRST_HEIGHT, Address, Digest, Height, Slot
from consensus.membership import Membership, Memberships
from consensus.messages import Body, CommitCertificate, Decided, Message, PrePrepare
from consensus.sampling import sampling_of
from ledger.errors import LedgerDamaged
from tests.simulation.application import Records

CHAIN: Final = digest(HashKind.GENESIS, b"simulation")
BLOCK_REQUESTS_MAX: Final = 4
"""Small, so that backlogs fill many blocks."""

OpaqueBlock = tuple[Digest, Slot, Address, tuple[bytes, ...]]
"""Parent, slot, leader, requests."""


@lru_cache(maxsize=4_096)
def name_of(proposal: bytes) -> Digest:
    return digest(HashKind.BLOCK, proposal)


@lru_cache(maxsize=4_096)
def read_block(proposal: bytes) -> OpaqueBlock:
    block: OpaqueBlock = decode(proposal, tuple)
    return block


class OpaqueApplication:
    """See `application.Application`."""

    def __init__(self, membership: Membership, own: Address) -> None:
        self.eras = Eras(CHAIN)
        self.monotonic_ms: Callable[[], int] = lambda: 0
        self.request_size_bytes = 0
        """Added to each request."""
        self.suspended: frozenset[Address] = frozenset()
        self.cluster_size = 0
        """Members of a cluster; 0: all are."""
        self.eligible = frozenset(membership.addresses)
        """Who is drawn, unless suspended."""
        self._membership = membership
        self.occurred: Counter[str] = Counter()
        self._known: tuple[object, Memberships] | None = None
        self._own = own
        self._blocks: list[Decided] = []
        self._executed: dict[bytes, Height] = {}
        self._waiting: dict[bytes, int] = {}
        self._records: dict[bytes, bytes] = {}

    @property
    def height(self) -> Height:
        return Height(len(self._blocks))

    @property
    def tip(self) -> Digest:
        return self._blocks[-1].certificate.block if self._blocks else self.eras.chain

    @property
    def tip_slot(self) -> Slot:
        return read_block(self._blocks[-1].proposal)[1] if self._blocks else Slot(0)

    @property
    def state_root(self) -> Digest:
        return self.tip

    def memberships(self) -> Memberships:
        key = self.tip, self.suspended, self.cluster_size
        if self._known is None or self._known[0] != key:
            self._known = key, self._memberships()
        return self._known[1]

    def _memberships(self) -> Memberships:
        """A block's name stands for the randomness after it: whoever makes the block could choose that."""
        members = self._membership.addresses
        sampling = sampling_of(
            members,
            self.eligible - self.suspended,
            height=Height(self.height + 1),
            randomness=self.tip,
            size=self.cluster_size,
            members_min=1 if self.cluster_size else len(members) + 1,
        )
        return Memberships(
            undecided=self._membership, following=self._membership, suspended=self.suspended, sampling=sampling
        )

    def has_its_name(self, message: Message) -> bool:
        match message:
            case PrePrepare() | Body():
                name = message.block
            case Decided():
                name = message.certificate.block
            case _:
                return True
        if name_of(message.proposal) != name:
            return False
        try:
            return len(read_block(message.proposal)) == 4
        except DecodeError:
            return False

    @property
    def first_height(self) -> Height:
        return FIRST_HEIGHT

    def decided(self, height: Height) -> Decided:
        return self._blocks[height - 1]

    def extends_tip(self, proposal: bytes) -> bool:
        return read_block(proposal)[0] == self.tip

    def transactions_in(self, proposal: bytes) -> tuple[bytes, ...]:
        return read_block(proposal)[3]

    def parent_certificate(self, proposal: bytes) -> CommitCertificate | None:
        """Blocks carry none."""
        return None

    def check(self, proposal: bytes) -> BlockOrigin | None:
        parent, slot, led_by, requests = read_block(proposal)
        is_valid = (
            parent == self.tip
            and slot >= self.tip_slot
            and led_by == self.memberships().leaders.expected(slot, led_by)
            and len(requests) <= BLOCK_REQUESTS_MAX
            and len(set(requests)) == len(requests)
            and not any(request in self._executed for request in requests)
        )
        return BlockOrigin(slot, led_by) if is_valid else None

    def build(self, slot: Slot, *, may_be_empty: bool) -> tuple[Digest, bytes] | None:
        requests = tuple(self._waiting)[:BLOCK_REQUESTS_MAX]
        if not requests and not may_be_empty:
            return None
        proposal = encode((self.tip, slot, self._own, requests))
        return name_of(proposal), proposal

    def variant(self, proposal: bytes) -> tuple[Digest, bytes]:
        parent, slot, led_by, requests = read_block(proposal)
        other = encode((parent, slot, led_by, () if requests else tuple(self._waiting)[:1]))
        return name_of(other), other

    def invalid(self, proposal: bytes, random: Random) -> tuple[Digest, bytes]:
        parent, slot, led_by, requests = read_block(proposal)
        doubled = (requests or (b"twice",)) * 2
        wrong = random.choice(
            (
                (name_of(parent), slot, led_by, requests),
                (parent, Slot(slot + len(self._membership)), led_by, requests),
                (parent, slot, name_of(led_by), requests),
                (parent, slot, led_by, doubled),
                (parent, slot, led_by, (*requests, *self._executed)),
            )
        )
        if wrong[3] == requests == () and wrong[:3] == (parent, slot, led_by):
            wrong = (name_of(parent), slot, led_by, requests)  # nothing was executed yet
        other = encode(wrong)
        return name_of(other), other

    # --- durable ------------------------------------------------------------------------------------------------

    def records(self) -> Records:
        return self._records

    def persist(self, records: Records) -> None:
        self._records |= records

    def drop_records(self) -> None:
        self._records.clear()

    def append(self, decision: Decision) -> None:
        """One write appends the block and drops the records of its height."""
        assert decision.height == self.height + 1, "blocks are appended in order"
        self._blocks.append(Decided(certificate=decision.certificate, proposal=decision.proposal))
        self._records = {}
        for request in self.transactions_in(decision.proposal):
            self._executed[request] = decision.height
            self._waiting.pop(request, None)

    def tear_persist(self, records: Records, random: Random) -> None:
        """A batch is whole or not there."""

    def tear_append(self, decision: Decision, random: Random) -> None:
        """A batch is whole or not there."""

    # --- life ---------------------------------------------------------------------------------------------------

    def crash(self) -> None:
        self._waiting.clear()

    def start(self) -> None:
        """Everything is at hand."""

    def lose_blocks(self, random: Random) -> None:
        lost = random.choice((random.randint(0, min(3, len(self._blocks))), len(self._blocks)))
        self.occurred["blocks were lost"] += lost > 0
        del self._blocks[len(self._blocks) - lost :]
        self._executed = {request: height for request, height in self._executed.items() if height <= self.height}
        self._records = {}

    def rot(self, random: Random) -> None:
        """Nothing is written in bytes here: a ledger that was found damaged is set aside whole."""
        del self._blocks[:]
        self._executed.clear()
        self._records = {}

    def note_damage(self, damaged: LedgerDamaged) -> None:
        raise AssertionError("there is nothing to damage here") from damaged

    def close(self) -> None:
        """Nothing is open."""

    # --- requests -----------------------------------------------------------------------------------------------

    def new_request(self, number: int) -> bytes:
        return number.to_bytes(4, "big") + bytes(self.request_size_bytes)

    def renew(self, request: bytes) -> bytes:
        return request

    def is_executed(self, request: bytes) -> bool:
        return request in self._executed

    def take_all(self, requests: Iterable[bytes]) -> tuple[bytes, ...]:
        now_ms = self.monotonic_ms()
        new = [request for request in requests if request not in self._executed and request not in self._waiting]
        self._waiting |= dict.fromkeys(new, now_ms)
        return tuple(new)

    def oldest_arrival_ms(self) -> int | None:
        return next(iter(self._waiting.values()), None)

    def older_than(self, age_ms: int) -> list[bytes]:
        moment_ms = self.monotonic_ms() - age_ms
        return [request for request, arrival_ms in self._waiting.items() if arrival_ms < moment_ms]
