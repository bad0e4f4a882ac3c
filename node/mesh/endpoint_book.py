"""The newest that each member said of where it is, and what others may make this node do about that.

A record is kept if its key is a member's, as the chain's state has it now, if its sequence is above that of the
record kept of the same key, and if its signature holds: in this order, so that only what would be kept costs a check.
Of two records with one sequence the first stays: there is no order between them, and members that each kept the later
one would pass them back and forth for ever.

Nothing of a record can be forged, held back for long (every member passes it on) or repeated (the sequence). What a
liar can do is to say of itself that it is anywhere: others dial there, now and then (`dial_schedule.py`), find no
certificate of the member, and have shown nothing but that they dialled: a client's certificate is sent only to who
showed one of the authority's first.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from consensus.codec import DecodeError, encode
from consensus.identifiers import Address, Digest, PublicKey
from node.mesh.endpoint_record import RECORDS_MAX, EndpointRecord, decode_record
from node.mesh.limits import MemberOf

QUOTA_PERIOD_S: Final = 60.0

RECORDS_PER_PEER_MAX: Final = 8 * RECORDS_MAX
"""That one peer may bring in a period: it tells all that it knows each time a link to it comes up."""

RECORDS_PER_KEY_MAX: Final = 6
"""New ones of one home in a period: it starts again, on another port. Each is checked, and passed on to all."""

SEQUENCE_OUTDONE_MAX: Final = 2**62
"""A node does not sign above a higher own sequence: no clock ever said that, so somebody else has the key, and only
another key helps. Below it there is room for 2 ** 62 records more."""


class EndpointRefusal(Enum):
    """Why a record that a peer brought is not kept."""

    TOO_OFTEN = "endpoint_too_often"
    """Its bringer, or its home, has used up its quota."""
    MALFORMED = "endpoint_malformed"
    NOT_A_MEMBER = "endpoint_not_a_member"
    """Nobody's key now: of a home that was replaced, or of one that this node does not know yet."""
    BAD_SIGNATURE = "endpoint_bad_signature"


class Quota:
    """How often something may happen in a period, per name; the names of one period only are kept."""

    def __init__(self, count_max: int, clock_s: Callable[[], float]) -> None:
        """Takes the bound, and a clock that never jumps."""
        self._count_max = count_max
        self._clock_s = clock_s
        self._since_s = clock_s()
        self._counts: dict[Hashable, int] = {}

    def has_room(self, name: Hashable) -> bool:
        """Says whether it may happen once more."""
        if self._clock_s() - self._since_s >= QUOTA_PERIOD_S:
            self._since_s = self._clock_s()
            self._counts.clear()
        return self._counts.get(name, 0) < self._count_max

    def spend(self, name: Hashable) -> None:
        """Counts one more."""
        self._counts[name] = self._counts.get(name, 0) + 1

    def exhaust(self, name: Hashable) -> None:
        """Lets it happen no more in this period."""
        self._counts[name] = self._count_max


@dataclass(frozen=True, slots=True)
class _Kept:
    record: EndpointRecord
    raw: bytes


class EndpointBook:
    """One record per node key, the newest; all of keys that are members' now."""

    def __init__(
        self,
        *,
        own_key: PublicKey,
        chain: Digest,
        member_of: MemberOf,
        clock_s: Callable[[], float],
        refused: Callable[[EndpointRefusal], None],
    ) -> None:
        """Takes what it decides by.

        Args:
            own_key: this node's.
            chain: that records must be signed for.
            member_of: whose a node key is, by the state.
            clock_s: monotonic, for the quotas.
            refused: counts what is not kept.
        """
        self._own_key = own_key
        self._chain = chain
        self._member_of = member_of
        self._refused = refused
        self._kept: dict[PublicKey, _Kept] = {}
        self._per_peer = Quota(RECORDS_PER_PEER_MAX, clock_s)
        self._per_key = Quota(RECORDS_PER_KEY_MAX, clock_s)
        self.verifications = 0
        """Signatures that were checked."""
        self._outdone: int | None = None

    # --- what is known

    @property
    def own(self) -> EndpointRecord | None:
        """This node's record, as it signed it last."""
        kept = self._kept.get(self._own_key)
        return None if kept is None else kept.record

    @property
    def is_outdone(self) -> bool:
        """Says whether others have a record of this node's key that its own one does not replace: it lost its file
        while its clock was ahead, or another process uses its key. It must sign above that one.
        """
        own = self.own
        return self._outdone is not None and (own is None or own.sequence <= self._outdone)

    def next_sequence(self, wall_ms: int) -> int:
        """Returns the sequence of the next own record: the wall clock's time, but above what was signed before."""
        before = (self._outdone, None if self.own is None else self.own.sequence)
        return max(wall_ms, *(sequence + 1 for sequence in before if sequence is not None), 0)

    def records_of(self, address: Address) -> tuple[EndpointRecord, ...]:
        """Returns what a member says of itself: one record, two while its key changes, the newest first; or none."""
        found = (kept.record for kept in self._kept.values() if self._member_of(kept.record.node_key) == address)
        return tuple(sorted(found, key=lambda record: record.sequence, reverse=True))

    def raws(self) -> tuple[bytes, ...]:
        """Returns all records of members, as they were signed."""
        return tuple(kept.raw for kept in self._kept.values() if self._member_of(kept.record.node_key) is not None)

    # --- what comes in

    def keep_own(self, record: EndpointRecord) -> None:
        """Keeps what this node signed."""
        assert record.node_key == self._own_key, "its own one"
        assert self.own is None or record.sequence > self.own.sequence, "above the last"
        self._keep(record, encode(record))

    def restore(self, raws: Iterable[bytes]) -> None:
        """Keeps what this node kept before it ended; what is not valid now is passed over."""
        for raw in raws:
            try:
                record = decode_record(raw)
            except DecodeError:
                continue
            if self._member_of(record.node_key) is not None and record.holds_on(self._chain):
                self._keep(record, raw)

    def take(self, sender: Address, raws: Iterable[bytes]) -> tuple[EndpointRecord, ...]:
        """Keeps what is new of what a peer brought; returns it, to be passed on. Who brings something forged is not
        heard for the rest of the period: whoever passes a record on has checked it.
        """
        new = []
        for raw in raws:
            if not self._per_peer.has_room(sender):
                self._refused(EndpointRefusal.TOO_OFTEN)
                break
            self._per_peer.spend(sender)
            outcome = self._take(raw)
            if isinstance(outcome, EndpointRecord):
                new.append(outcome)
            elif outcome is not None:
                self._refused(outcome)
            if outcome in {EndpointRefusal.MALFORMED, EndpointRefusal.BAD_SIGNATURE}:
                self._per_peer.exhaust(sender)
        return tuple(new)

    def _take(self, raw: bytes) -> EndpointRecord | EndpointRefusal | None:
        """Returns a record that is kept now, why one is refused, or None for one that is no news."""
        try:
            record = decode_record(raw)
        except DecodeError:
            return EndpointRefusal.MALFORMED
        if self._member_of(record.node_key) is None:
            return EndpointRefusal.NOT_A_MEMBER
        return self._take_newer(record, raw) if self._is_news(record, raw) else None

    def _take_newer(self, record: EndpointRecord, raw: bytes) -> EndpointRecord | EndpointRefusal | None:
        if not self._per_key.has_room(record.node_key):
            return EndpointRefusal.TOO_OFTEN
        self.verifications += 1
        if not record.holds_on(self._chain):
            return EndpointRefusal.BAD_SIGNATURE
        self._per_key.spend(record.node_key)  # only now: a forger must not use up somebody else's
        if record.node_key == self._own_key:
            self._outdone = min(record.sequence, SEQUENCE_OUTDONE_MAX)
            return None
        self._keep(record, raw)
        return record

    def _is_news(self, record: EndpointRecord, raw: bytes) -> bool:
        kept = self._kept.get(record.node_key)
        if record.node_key != self._own_key:
            return kept is None or record.sequence > kept.record.sequence
        is_older = kept is not None and (raw == kept.raw or record.sequence < kept.record.sequence)
        return not is_older and (self._outdone is None or record.sequence > self._outdone)

    def _keep(self, record: EndpointRecord, raw: bytes) -> None:
        if record.node_key not in self._kept:
            gone = [key for key in self._kept if self._member_of(key) is None]
            for key in gone:
                del self._kept[key]
        self._kept[record.node_key] = _Kept(record, raw)
