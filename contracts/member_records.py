"""What the state says of members that come and go. `state` has their tables, `member_changes` the rules."""

from enum import Enum

from consensus.codec import Record
from consensus.identifiers import Address, Digest, Height, PublicKey, Slot


class MemberTerm(Record, frozen=True, kw_only=True, tag="member-term"):
    """A member took part under one node key at these heights."""

    address: Address
    node_key: PublicKey
    first_height: Height
    last_height: Height | None
    """None: until a block says otherwise."""

    def includes(self, height: Height) -> bool:
        """Says whether the member has this key at a height."""
        return self.first_height <= height and (self.last_height is None or height <= self.last_height)


class Activity(Record, frozen=True, kw_only=True, tag="activity"):
    """What the chain saw of a member, and what it still has to do before it can leave."""

    seen_slot: Slot
    """Of a block that showed a COMMIT or a transaction of this member. Written anew only once it is a quarter of the
    window old, so that a member that is there costs few versions."""
    trades_pending: int
    """Forward trades that are not final, as seller or as buyer."""


class KeyOwner(Record, frozen=True, kw_only=True, tag="key-owner"):
    """Whose a key is or was, whatever it signed: a key that ever was anybody's never becomes another one's, or its
    owner's again.
    """

    owner: Address


class Leave(Record, frozen=True, kw_only=True, tag="leave"):
    """A member goes: it says so."""

    address: Address


class Rotate(Record, frozen=True, kw_only=True, tag="rotate"):
    """A member is to vote under another node key, in its place."""

    address: Address
    node_key: PublicKey


class Join(Record, frozen=True, kw_only=True, tag="join"):
    """A candidate that says it is ready becomes a member."""

    address: Address
    node_key: PublicKey


class RemovalCause(Enum):
    """Why a member is removed."""

    REVOKED = "revoked"
    """The authority says that its key is no member's any more."""
    EXPELLED = "expelled"
    """A quorum of the members says so."""
    EQUIVOCATED = "equivocated"
    """It contradicted itself in consensus, and did so again after it had the time to end an accident."""
    EXPIRED = "expired"
    """The authority's certificate of its home ran out, and it was not renewed."""


class Removal(Record, frozen=True, kw_only=True, tag="removal"):
    """A member goes, whatever it says."""

    address: Address
    cause: RemovalCause
    node_key: PublicKey | None
    """What is said is said of this key, and of no later one of the member; None: of the member, whatever its key."""
    reference: Digest
    """Of the transaction that brought the statement, the proof, or the voucher that ran out; name of the proposal;
    name of the chain, where genesis says until when the member was vouched for."""


class Misconduct(Record, frozen=True, kw_only=True, tag="misconduct"):
    """A proof that a member signed two statements that contradict each other."""

    offender: Address
    offence: str
    """`double_offer`, or an offence of consensus."""
    transaction: Digest
    """That brought the proof; it holds both statements."""
    height: Height


class FirstProof(Record, frozen=True, kw_only=True, tag="first-proof"):
    """The first proof that a member contradicted itself under its present key. It may have been an accident."""

    node_key: PublicKey
    height: Height
    slot: Slot
    """Both of the block that has the proof."""


class SlotMark(Record, frozen=True, kw_only=True):
    """A block's height and the slot of its header."""

    height: Height
    slot: Slot


class HeightMarks(Record, frozen=True, kw_only=True, tag="height-marks"):
    """How far back heights count for evidence."""

    marks: tuple[SlotMark, ...]
    """In their order; evidence counts from the height of the first one on."""


MemberChange = Rotate | Removal | Leave | Join
"""One change of the list of members."""


class ChangeKind(Enum):
    """The tags of the changes."""

    REMOVAL = "removal"
    LEAVE = "leave"
    ROTATE = "rotate"
    JOIN = "join"


def change_kind(change: MemberChange) -> ChangeKind:
    """Returns the kind of a change, which its tag names."""
    return ChangeKind(change.__struct_config__.tag)


class MemberQueue(Record, frozen=True, kw_only=True, tag="member-queue"):
    """Changes of the list of members: those that wait, and the one that was carried out last."""

    waiting: tuple[MemberChange, ...]
    """In the order in which they are tried; at most one of each kind, and of each cause, per member."""
    last: MemberChange | None
    last_height: Height
    """Of the block that carried out `last`: it took effect two heights later. 0 before the first."""
    revoked_slot: Slot | None
    """Of the block that carried out the last removal by the authority's word."""
