"""Members that come and go while the chain runs: at most one change per block, fixed two heights ahead.

They come, go, or vote under another node key in their place. Block b writes the list of height b + 2, so while a
height is undecided its members and those of the next one are known. No change is carried out while one is pending:
every set decides a block before the next change is fixed, and the sets of two heights that follow each other share an
honest member in any two quorums.

A change that would leave fewer members that are there than a quorum waits, with that reason. Who is there the chain
says itself, so that all judge alike: a COMMIT in a parent's certificate or a transaction, within the window W.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from msgspec.structs import replace

from consensus import quorum
from consensus.identifiers import FIXED_AHEAD, Address, Height, PublicKey, Slot
from contracts.applicants import Applicant
from contracts.debts import owed_by
from contracts.genesis import Genesis
from contracts.member_records import (
    Activity,
    Join,
    Leave,
    MemberChange,
    MemberQueue,
    MemberTerm,
    Removal,
    RemovalCause,
    Rotate,
)
from contracts.receipts import Reason
from contracts.run import BlockRun, Outcome, declined
from contracts.state import (
    MEMBER_LIST_KEY,
    MEMBER_QUEUE_KEY,
    Member,
    MemberList,
    Overlay,
    activity_key,
    applicant_key,
    member_key,
    validity_key,
)
from contracts.transactions import SetLeaving
from contracts.validity_records import Validity

SEEN_PARTS: Final = 4
"""A member is noted as seen anew once the last time is this part of the window ago."""

REMOVAL_MEMBERS_MIN: Final = 3
"""Nobody is removed below so many, whatever genesis says of who leaves: two decide nothing without each other."""


# --- who is there ----------------------------------------------------------------------------------------------


def is_member(overlay: Overlay, address: Address) -> bool:
    """Says whether somebody is in the newest list."""
    return address in overlay.require(MEMBER_LIST_KEY, MemberList).addresses


def is_leaving(overlay: Overlay, address: Address) -> bool:
    """Says whether a member's leave waits."""
    waiting = overlay.require(MEMBER_QUEUE_KEY, MemberQueue).waiting
    return Leave(address=address) in waiting


def is_going(overlay: Overlay, address: Address) -> bool:
    """Says whether a member's leave waits, or its removal."""
    waiting = overlay.require(MEMBER_QUEUE_KEY, MemberQueue).waiting
    return any(isinstance(change, Leave | Removal) and change.address == address for change in waiting)


def note_seen(run: BlockRun, address: Address) -> None:
    """Notes that a member took part in, or before, this block; of anybody else nothing is noted."""
    activity = run.overlay.get(activity_key(address), Activity)
    if activity is None or run.context.slot - activity.seen_slot <= window_slots(run.genesis) // SEEN_PARTS:
        return
    run.overlay.put(activity_key(address), replace(activity, seen_slot=run.context.slot))


def window_slots(genesis: Genesis) -> int:
    """Returns W: for how long somebody that the chain saw counts as there."""
    return genesis.membership.seen_window_slots


def is_seen(overlay: Overlay, address: Address, *, slot: Slot, genesis: Genesis) -> bool:
    """Says whether the chain saw a member within the window before a slot."""
    return slot - overlay.require(activity_key(address), Activity).seen_slot <= window_slots(genesis)


# --- what a member says ----------------------------------------------------------------------------------------


def execute_set_leaving(run: BlockRun, sender: Address, action: SetLeaving) -> Outcome:
    """Puts the sender's leave behind what waits, or takes it back; declines who is no member, or says nothing new."""
    if not is_member(run.overlay, sender):
        return declined(Reason.LEAVE_NOT_MEMBER, f"{sender.hex()} is no member")
    if is_leaving(run.overlay, sender) == action.leaving:
        return declined(Reason.LEAVE_AS_BEFORE, "it waits already" if action.leaving else "none waits")
    queue = run.overlay.require(MEMBER_QUEUE_KEY, MemberQueue)
    leave = Leave(address=sender)
    changed = waiting_with(queue, leave) if action.leaving else waiting_without(queue, leave)
    run.overlay.put(MEMBER_QUEUE_KEY, changed)
    return Outcome()


def execute_show_presence(run: BlockRun, sender: Address) -> Outcome:
    """Does nothing more than what every transaction does: its sender is seen."""
    if not is_member(run.overlay, sender):
        return declined(Reason.PRESENCE_NOT_MEMBER, f"{sender.hex()} is no member")
    return Outcome()


# --- what waits ------------------------------------------------------------------------------------------------


RANKS: Final = (Rotate, Removal, Leave, Join)
"""The order in which changes are tried: a home whose key is stolen exchanges it before anything that the thief signed
removes it; who has to go is not kept by who wants to, nor that one by who comes.
"""


def waiting_with(queue: MemberQueue, change: MemberChange) -> MemberQueue:
    """Returns the queue with a change behind those of its own and of earlier ranks."""
    waiting = sorted((*queue.waiting, change), key=lambda one: RANKS.index(type(one)))
    return replace(queue, waiting=tuple(waiting))


def waiting_without(queue: MemberQueue, change: MemberChange) -> MemberQueue:
    """Returns the queue without a change."""
    return replace(queue, waiting=tuple(other for other in queue.waiting if other != change))


def forget_revocations(overlay: Overlay) -> None:
    """Ends what waits of the authority's word: the key that gave it acts no more, perhaps as it was stolen."""
    queue = overlay.require(MEMBER_QUEUE_KEY, MemberQueue)
    waiting = tuple(change for change in queue.waiting if not is_revocation(change))
    overlay.put(MEMBER_QUEUE_KEY, replace(queue, waiting=waiting))


def list_with(known: MemberList, change: MemberChange, first: Height) -> MemberList:
    """Returns the list with a change from a height on: the one place where a change becomes a list."""
    if isinstance(change, Join):
        return MemberList(terms=(*known.terms, _term_of(change, first)))
    terms: list[MemberTerm] = []
    for term in known.terms:
        if term.address != change.address or term.last_height is not None:
            terms.append(term)
            continue
        terms.append(replace(term, last_height=Height(first - 1)))
        if isinstance(change, Rotate):
            terms.append(_term_of(change, first))
    return MemberList(terms=tuple(terms))


def _term_of(change: Join | Rotate, first: Height) -> MemberTerm:
    return MemberTerm(address=change.address, node_key=change.node_key, first_height=first, last_height=None)


# --- what is carried out ---------------------------------------------------------------------------------------


class Hindrance(Enum):
    """Why a change waits."""

    ONE_IS_PENDING = "one_is_pending"
    """The last one did not take effect yet."""
    TRADES_PENDING = "trades_pending"
    """Forward trades of the member are not final."""
    IN_DEBT = "in_debt"
    TOO_FEW_MEMBERS = "too_few_members"
    """Genesis names how many stay at least where one leaves or its certificate ran out; `REMOVAL_MEMBERS_MIN` stay
    where one is removed for what it did."""
    REVOKED_LATELY = "revoked_lately"
    """The authority's word removes one member in a waiting time: who has its key cannot end a chain at once."""
    NOT_READY = "not_ready"
    """The candidate did not say lately that it is ready."""
    TOO_FEW_SEEN = "too_few_seen"
    """Fewer of those who are members then were seen lately than must answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """A change with the arithmetic of what it leads to."""

    change: MemberChange
    hindrance: Hindrance | None
    """None: a block of this height and slot carries it out, or an earlier one in the queue."""
    members: int
    """N of the newest list."""
    members_after: int
    seen_after: int
    """Of those, how many the chain saw within the window."""
    trades_pending: int
    owed_micro: int
    from_slot: int
    """Of the first block that may carry it out, where the last one of its kind was too lately; else 0."""

    @property
    def quorum(self) -> int:
        """Q of the newest list."""
        return quorum.quorum(self.members)

    @property
    def quorum_after(self) -> int:
        """Q of those who are members then."""
        return quorum.quorum(self.members_after)


def prospect(overlay: Overlay, change: MemberChange, *, height: Height, slot: Slot, genesis: Genesis) -> Prospect:
    """Returns whether a block of a height and slot, on this state, could carry out a change, and why not."""
    known = overlay.require(MEMBER_LIST_KEY, MemberList)
    after = list_with(known, change, Height(height + FIXED_AHEAD)).addresses
    joiner = change.address if isinstance(change, Join) else None
    is_ready = joiner is not None and _is_ready(overlay, joiner, slot=slot, genesis=genesis)
    members = [address for address in after if address != joiner]
    seen = is_ready + sum(is_seen(overlay, address, slot=slot, genesis=genesis) for address in members)
    activity = overlay.get(activity_key(change.address), Activity)
    pending = 0 if activity is None else activity.trades_pending
    owed = owed_by(overlay, change.address)
    is_leave, is_removal, is_rotation = (isinstance(change, kind) for kind in (Leave, Removal, Rotate))
    is_for_cause = is_removal and not is_expiry(change)
    members_min = REMOVAL_MEMBERS_MIN if is_for_cause else genesis.membership.members_min
    settles = is_leave or _has_time_to_settle(overlay, change, slot=slot, genesis=genesis)
    from_slot = _revocation_slot(overlay, change, genesis)
    hindrances = (
        (known.at(Height(height + 1)) != known.at(height), Hindrance.ONE_IS_PENDING),
        (settles and pending > 0, Hindrance.TRADES_PENDING),
        (is_leave and owed > 0, Hindrance.IN_DEBT),
        ((is_leave or is_removal) and len(after) < members_min, Hindrance.TOO_FEW_MEMBERS),
        (slot < from_slot, Hindrance.REVOKED_LATELY),
        (joiner is not None and not is_ready, Hindrance.NOT_READY),
        (not is_rotation and seen < quorum.quorum(max(1, len(after))), Hindrance.TOO_FEW_SEEN),
    )
    return Prospect(
        change=change,
        hindrance=next((reason for holds, reason in hindrances if holds), None),
        members=len(known.addresses),
        members_after=len(after),
        seen_after=seen,
        trades_pending=pending,
        owed_micro=owed,
        from_slot=from_slot,
    )


def _revocation_slot(overlay: Overlay, change: MemberChange, genesis: Genesis) -> int:
    """Returns from which slot on the authority's word may remove a member again; 0 for every other change."""
    last = overlay.require(MEMBER_QUEUE_KEY, MemberQueue).revoked_slot
    return 0 if last is None or not is_revocation(change) else last + genesis.membership.removal_wait_slots


def is_revocation(change: MemberChange | None) -> bool:
    """Says whether a change is a removal by the authority's word."""
    return isinstance(change, Removal) and change.cause is RemovalCause.REVOKED


def is_expiry(change: MemberChange | None) -> bool:
    """Says whether a change is a removal because a certificate ran out."""
    return isinstance(change, Removal) and change.cause is RemovalCause.EXPIRED


def _has_time_to_settle(overlay: Overlay, change: MemberChange, *, slot: Slot, genesis: Genesis) -> bool:
    """Says whether a member whose certificate ran out may still settle: for one waiting time, else a contract that
    never ends would keep it for ever.
    """
    if not is_expiry(change):
        return False
    going_slot = overlay.require(validity_key(change.address), Validity).going_slot
    assert going_slot is not None, "its removal waits"
    return slot < going_slot + genesis.membership.removal_wait_slots


def _is_ready(overlay: Overlay, candidate: Address, *, slot: Slot, genesis: Genesis) -> bool:
    """Says whether a candidate said within the window that it is ready; nothing else that it sends counts."""
    said = overlay.require(applicant_key(candidate), Applicant).ready_slot
    return said is not None and slot - said <= window_slots(genesis)


def should_show_presence(overlay: Overlay, address: Address, *, height: Height, slot: Slot, genesis: Genesis) -> bool:
    """Says whether a block of a height and slot could not carry out a change because too few members were seen, this
    one not for half of the window: it shows that it is there. For what waits for anything else nobody needs to.
    """
    if not is_member(overlay, address):
        return False
    seen_slot = overlay.require(activity_key(address), Activity).seen_slot
    if slot - seen_slot <= window_slots(genesis) // 2:
        return False
    waiting = overlay.require(MEMBER_QUEUE_KEY, MemberQueue).waiting
    prospects = (prospect(overlay, change, height=height, slot=slot, genesis=genesis) for change in waiting)
    return any(found.hindrance is Hindrance.TOO_FEW_SEEN for found in prospects)


def next_change(overlay: Overlay, *, height: Height, slot: Slot, genesis: Genesis) -> MemberChange | None:
    """Returns what a block of a height and slot carries out: the first that waits and that nothing hinders."""
    waiting = overlay.require(MEMBER_QUEUE_KEY, MemberQueue).waiting
    prospects = (prospect(overlay, change, height=height, slot=slot, genesis=genesis) for change in waiting)
    return next((found.change for found in prospects if found.hindrance is None), None)


def carry_out_change(run: BlockRun) -> MemberChange | None:
    """Writes the list of the height two above the block, if a change is to be carried out; says which."""
    height, slot = run.context.height, run.context.slot
    _drop_pointless(run)
    change = next_change(run.overlay, height=height, slot=slot, genesis=run.genesis)
    if change is not None:
        known, first = run.overlay.require(MEMBER_LIST_KEY, MemberList), Height(height + FIXED_AHEAD)
        run.overlay.put(MEMBER_LIST_KEY, list_with(known, change, first))
        queue = waiting_without(run.overlay.require(MEMBER_QUEUE_KEY, MemberQueue), change)
        revoked_slot = slot if is_revocation(change) else queue.revoked_slot
        done = replace(queue, last=change, last_height=height, revoked_slot=revoked_slot)
        run.overlay.put(MEMBER_QUEUE_KEY, done)
        _drop_pointless(run)
    return change


def _drop_pointless(run: BlockRun) -> None:
    """Takes out of the queue what speaks of who is gone already, or of a key that was replaced."""
    queue = run.overlay.require(MEMBER_QUEUE_KEY, MemberQueue)
    waiting = tuple(change for change in queue.waiting if _has_point(run.overlay, change))
    run.overlay.put(MEMBER_QUEUE_KEY, replace(queue, waiting=waiting))


def _has_point(overlay: Overlay, change: MemberChange) -> bool:
    match change:
        case Removal():
            return speaks_of_present(overlay, change.address, change.node_key)
        case Leave() | Rotate():
            return is_member(overlay, change.address)
        case Join():  # a candidate is in no list yet
            return True


def speaks_of_present(overlay: Overlay, address: Address, node_key: PublicKey | None) -> bool:
    """Says whether somebody is a member, under this node key if one is named."""
    if not is_member(overlay, address):
        return False
    return node_key in (None, overlay.require(member_key(address), Member).node_key)
