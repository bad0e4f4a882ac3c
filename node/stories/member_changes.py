"""What changes of the members wait, why, and who left or was removed: with the sentences that people read."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from consensus.codec import decode
from consensus.identifiers import FIXED_AHEAD, Address, Height
from contracts.member_changes import Hindrance, Prospect, is_expiry, prospect
from contracts.member_records import (
    ChangeKind,
    MemberChange,
    MemberQueue,
    MemberTerm,
    Removal,
    RemovalCause,
    change_kind,
)
from contracts.state import MEMBER_LIST_KEY, MEMBER_QUEUE_KEY, MemberList, Overlay
from contracts.state_reading import require
from contracts.transactions import SetLeaving, Transaction
from ledger.ledger import Ledger
from node.names.names import Names
from node.replies.state import ChangeUnderWay, LeftMember, MemberChangesReply, WaitingChange
from node.stories.proposals import member_proposals

OfSender = Callable[[Address], Sequence[Transaction]]
"""What waits for a block of a sender, in the order of nonces."""

VERBS: Final = {ChangeKind.LEAVE: "leaves", ChangeKind.ROTATE: "exchanges its node key", ChangeKind.JOIN: "joins"}

CAUSES: Final = {
    RemovalCause.REVOKED: "the authority revoked its key",
    RemovalCause.EXPELLED: "a quorum of the members expelled it",
    RemovalCause.EXPIRED: "its certificate ran out and was not renewed",
    RemovalCause.EQUIVOCATED: "it went on contradicting itself after that was proven",
}


def changes_of(ledger: Ledger, names: Names, undecided: OfSender = lambda _: ()) -> MemberChangesReply:
    """Returns what waits as of the tip, what is under way there, and who left.

    Args:
        ledger: whose tip it is.
        names: how the reader calls the members.
        undecided: what a node that runs has in its mempool.
    """
    overlay = Overlay(ledger)
    queue = overlay.require(MEMBER_QUEUE_KEY, MemberQueue)
    found = [
        prospect(overlay, change, height=Height(ledger.height + 1), slot=ledger.tip_slot, genesis=ledger.genesis)
        for change in queue.waiting
    ]
    present = require(ledger, MEMBER_LIST_KEY, MemberList).addresses
    return MemberChangesReply(
        under_way=[one for address in sorted(present) for one in _last_word(names.of(address), undecided(address))],
        waiting=[waiting_view(one, names.of(one.change.address)) for one in found],
        proposals=list(member_proposals(ledger, names)),
        left=list(_left(ledger, names)),
    )


def departure_of(ledger: Ledger, names: Names, address: Address) -> LeftMember | None:
    """Returns how somebody ceased to be a member; None of who is one, or never was."""
    return next((one for one in _left(ledger, names) if one.address == address.hex()), None)


def _left(ledger: Ledger, names: Names) -> Iterator[LeftMember]:
    """Yields who is no member any more; who left last comes last."""
    terms = require(ledger, MEMBER_LIST_KEY, MemberList).terms
    present = {term.address for term in terms if term.last_height is None}
    ended = {term.address: term for term in terms if term.last_height is not None and term.address not in present}
    for address, term in sorted(ended.items(), key=lambda one: one[1].last_height or 0):
        yield _left_view(ledger, names, address, term)


def _left_view(ledger: Ledger, names: Names, address: Address, term: MemberTerm) -> LeftMember:
    assert term.last_height is not None, "it ended"
    name, last = names.of(address), term.last_height
    carried_out = Height(last + 1 - FIXED_AHEAD)
    if ledger.lacks(carried_out):
        removal, said = (
            None,
            f"left or was removed: blocks below {ledger.first_height}, which are not here, say which",
        )
    else:
        removal = _removal_of(ledger, address, carried_out)
        said = "left" if removal is None else f"was removed, as {CAUSES[removal.cause]}"
    return LeftMember(
        address=address.hex(),
        name=name,
        node_key=term.node_key.hex(),
        last_height=last,
        removed_for=None if removal is None else removal.cause,
        reference=None if removal is None else removal.reference.hex(),
        sentence=f"{name} {said}; height {last} was its last.",
    )


def _removal_of(ledger: Ledger, address: Address, carried_out: Height) -> Removal | None:
    """Returns the removal that ended a membership, as the queue after the block that carried it out names it."""
    raw = ledger.get_at(MEMBER_QUEUE_KEY, carried_out)
    queue = None if raw is None else decode(raw, MemberQueue)
    if queue is None or queue.last_height != carried_out or not isinstance(queue.last, Removal):
        return None
    return queue.last if queue.last.address == address else None


def _last_word(name: str, undecided: Sequence[Transaction]) -> Iterator[ChangeUnderWay]:
    """Yields what a member says of leaving that no block contains, if it says anything."""
    for transaction in reversed(undecided):
        action = transaction.envelope.action
        if isinstance(action, SetLeaving):
            said = "leaves" if action.leaving else "stays after all"
            yield ChangeUnderWay(
                address=transaction.sender.hex(),
                name=name,
                leaving=action.leaving,
                transaction=transaction.digest.hex(),
                nonce=transaction.envelope.nonce,
                sentence=f"{name} {said}: no block has taken it yet.",
            )
            return


def waiting_view(found: Prospect, name: str) -> WaitingChange:
    """Returns a change that waits as the API shows it."""
    return WaitingChange(
        address=found.change.address.hex(),
        name=name,
        kind=change_kind(found.change),
        hindrance=found.hindrance,
        sentence=f"{name} {_verb(found.change)}: {sentence_of(found)}",
        members=found.members,
        quorum=found.quorum,
        members_after=found.members_after,
        quorum_after=found.quorum_after,
        seen_after=found.seen_after,
        trades_pending=found.trades_pending,
        owed_micro=found.owed_micro,
    )


def _verb(change: MemberChange) -> str:
    if isinstance(change, Removal):
        return f"is removed, as {CAUSES[change.cause]}"
    return VERBS[change_kind(change)]


def arithmetic_of(found: Prospect) -> str:
    """Returns what a change does to the quorum, for people."""
    return (
        f"{found.members} members, {found.quorum} must answer; after this {found.members_after} members, "
        f"{found.quorum_after} must answer, and {found.seen_after} of them were seen lately"
    )


def sentence_of(found: Prospect) -> str:  # noqa: PLR0911  (a case each)
    """Returns why a change waits, or that it does not, for people."""
    match found.hindrance:
        case None:
            return f"the next block carries it out. {_capital(arithmetic_of(found))}."
        case Hindrance.ONE_IS_PENDING:
            return "it waits until the change before it is in force, a block or two."
        case Hindrance.TRADES_PENDING:
            limit = ", a waiting time at most" if is_expiry(found.change) else ""
            return f"it waits until its {found.trades_pending} forward trades are final{limit}."
        case Hindrance.IN_DEBT:
            return f"it waits until it has paid the {found.owed_micro} micro-tokens that it owes the grid account."
        case Hindrance.TOO_FEW_MEMBERS:
            if isinstance(found.change, Removal):
                return f"it waits: of {found.members} members none is removed, until another home joins."
            return f"it waits: genesis allows no fewer than the {found.members} members that there are."
        case Hindrance.REVOKED_LATELY:
            return (
                f"it waits until a block from slot {found.from_slot} on: the authority's word removes one member "
                "in a waiting time."
            )
        case Hindrance.NOT_READY:
            return "it waits until the new home says again that it is ready: it was not heard lately."
        case Hindrance.TOO_FEW_SEEN:
            return f"it waits until enough of those who are members then were seen. {_capital(arithmetic_of(found))}."


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
