"""What the state says of members that come and go. `state` has their tables, `member_changes` the rules."""

from enum import Enum

from consensus.codec import Record
from consensus.identifiers import Address, Height, PublicKey, Slot


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


MemberChange = Leave | Rotate | Join
"""One change of the list of members."""


class ChangeKind(Enum):
    """The tags of the changes."""

    LEAVE = "leave"
    ROTATE = "rotate"
    JOIN = "join"


def change_kind(change: MemberChange) -> ChangeKind:
    """Returns the kind of a change, which its tag names."""
    return ChangeKind(change.__struct_config__.tag)


class MemberQueue(Record, frozen=True, kw_only=True, tag="member-queue"):
    """Changes of the list of members: those that wait, and the one that was carried out last."""

    waiting: tuple[MemberChange, ...]
    """In the order in which they are tried; at most one of each kind per member."""
    last: MemberChange | None
    last_height: Height
    """Of the block that carried out `last`: it took effect two heights later. 0 before the first."""
