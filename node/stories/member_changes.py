"""What changes of the members wait, why, and who left: with the sentences that people read."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from consensus.identifiers import Address, Height
from contracts.member_changes import Hindrance, Prospect, prospect
from contracts.member_records import ChangeKind, MemberQueue, change_kind
from contracts.state import MEMBER_LIST_KEY, MEMBER_QUEUE_KEY, MemberList, Overlay
from contracts.state_reading import require
from contracts.transactions import SetLeaving, Transaction
from ledger.ledger import Ledger
from node.names.names import Names
from node.replies.state import ChangeUnderWay, LeftMember, MemberChangesReply, WaitingChange

OfSender = Callable[[Address], Sequence[Transaction]]
"""What waits for a block of a sender, in the order of nonces."""

VERBS: Final = {ChangeKind.LEAVE: "leaves", ChangeKind.JOIN: "joins"}


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
    terms = require(ledger, MEMBER_LIST_KEY, MemberList).terms
    present = {term.address for term in terms if term.last_height is None}
    ended = {term.address: term for term in terms if term.last_height is not None and term.address not in present}
    return MemberChangesReply(
        under_way=[one for address in sorted(present) for one in _last_word(names.of(address), undecided(address))],
        waiting=[waiting_view(one, names.of(one.change.address)) for one in found],
        left=[
            LeftMember(address=address.hex(), name=names.of(address), node_key=term.node_key.hex(), last_height=last)
            for last, address, term in sorted(
                (term.last_height, address, term) for address, term in ended.items() if term.last_height is not None
            )
        ],
    )


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
        sentence=f"{name} {VERBS[change_kind(found.change)]}: {sentence_of(found)}",
        members=found.members,
        quorum=found.quorum,
        members_after=found.members_after,
        quorum_after=found.quorum_after,
        seen_after=found.seen_after,
        trades_pending=found.trades_pending,
        owed_micro=found.owed_micro,
    )


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
            return f"it waits until its {found.trades_pending} forward trades are final."
        case Hindrance.IN_DEBT:
            return f"it waits until it has paid the {found.owed_micro} micro-tokens that it owes the grid account."
        case Hindrance.TOO_FEW_MEMBERS:
            return f"it waits: genesis allows no fewer than the {found.members} members that there are."
        case Hindrance.NOT_READY:
            return "it waits until the new home says again that it is ready: it was not heard lately."
        case Hindrance.TOO_FEW_SEEN:
            return f"it waits until enough of those who are members then were seen. {_capital(arithmetic_of(found))}."


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
