"""What the state says of members that come and go. `state` has their tables, `member_changes` the rules."""

from enum import Enum

from consensus.codec import Record
from consensus.identifiers import Address, Height, Slot


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


class ChangeKind(Enum):
    """Why the list of members is to change."""

    LEAVE = "leave"
    """The member says so."""


class MemberChange(Record, frozen=True, kw_only=True, tag="member-change"):
    """One change of the list of members."""

    kind: ChangeKind
    address: Address


class MemberQueue(Record, frozen=True, kw_only=True, tag="member-queue"):
    """Changes of the list of members: those that wait, and the one that was carried out last."""

    waiting: tuple[MemberChange, ...]
    """In the order in which they are tried; at most one per member."""
    last: MemberChange | None
    last_height: Height
    """Of the block that carried out `last`: it took effect two heights later. 0 before the first."""
