"""What a member does that may have forgotten what it signed: find out that it has, keep silent, ask, go on.

Forgotten it has if its sign state is gone, or is older than what it signed: then some certificate or justification
shows a statement of its own that the sign state does not bound. Such a member signs nothing (`KeepSilent` with
`UNANSWERED`, durable) and asks Q others for their undecided height, with a nonce. Each proves its answer by the
commit certificate of the height before. Once Q others have answered, let m be the highest height proven: the member
keeps silent through m + 1, again durable, and then is a member as before.

Why m + 1: let u be the height that was undecided here when this member signed last. It had seen height u - 1 decided,
by COMMITs of Q members. These and the Q others that answer share an honest member, which decides u - 1 or a later
height before it answers with more than u - 1: so m >= u - 1, and m + 1 >= u covers all that was ever signed.

With one or two members there are not Q others: only the operator knows (`p2pnode recover`). Nothing here does I/O.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Final

from consensus import quorum
from consensus.events import SignState
from consensus.identifiers import GENESIS_HEIGHT, Address, Digest, Height, Slot
from consensus.membership import Membership
from consensus.messages import (
    Commit,
    CommitCertificate,
    Decided,
    Endorsement,
    HeightAnswer,
    HeightQuestion,
    Message,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    ViewChange,
)
from consensus.verification import commit_certificate_holds

FIRST_HEIGHT: Final = Height(GENESIS_HEIGHT + 1)


class StatementKind(Enum):
    """What a member signs."""

    VOTE = "vote"
    COMMIT = "commit"
    VIEW_CHANGE = "view_change"


OwnStatement = tuple[StatementKind, Height, Slot, Digest | None]
"""Kind, height, slot and block of something signed; a VIEW-CHANGE names no block here."""


def is_forgotten(message: Message, own: Address, remembered: SignState) -> bool:
    """Says whether a verified message shows a statement of this member that its sign state does not bound.

    A sign state below the undecided height alone says nothing: the others decide without this member, too.
    """
    return any(_is_unbounded(statement, remembered) for statement in _own_statements(message, own))


def certificate_is_forgotten(certificate: CommitCertificate, own: Address, remembered: SignState) -> bool:
    """Says the same of a certificate that a block carries or the ledger holds."""
    return any(_is_unbounded(statement, remembered) for statement in _commits_in(certificate, own))


def _is_unbounded(statement: OwnStatement, remembered: SignState) -> bool:
    kind, height, slot, block = statement
    if height < remembered.height or height <= remembered.silent_through:
        return False
    if height > remembered.height:
        return True
    if kind is StatementKind.VIEW_CHANGE:
        return slot > remembered.promise
    last = remembered.voted if kind is StatementKind.VOTE else remembered.prepared
    return last is None or slot > last.slot or (slot == last.slot and block != last.block)


def _own_statements(message: Message, own: Address) -> Iterator[OwnStatement]:
    match message:
        case PrePrepare():
            if message.signer == own:
                yield StatementKind.VOTE, message.height, message.slot, message.block
            justification = message.justification
            if justification is not None:
                if any(header.signer == own for header in justification.headers):
                    yield StatementKind.VIEW_CHANGE, message.height, message.slot, None
                yield from _votes_in(justification.certificate, own)
        case Prepare() if message.signer == own:
            yield StatementKind.VOTE, message.height, message.slot, message.block
        case Commit() if message.signer == own:
            yield StatementKind.COMMIT, message.height, message.slot, message.block
        case ViewChange():
            if message.signer == own:
                yield StatementKind.VIEW_CHANGE, message.height, message.slot, None
            yield from _votes_in(message.certificate, own)
        case Decided():
            yield from _commits_in(message.certificate, own)


def _votes_in(certificate: PreparedCertificate | None, own: Address) -> Iterator[OwnStatement]:
    if certificate is not None and _endorses(certificate.endorsements, own):
        yield StatementKind.VOTE, certificate.height, certificate.slot, certificate.block


def _commits_in(certificate: CommitCertificate, own: Address) -> Iterator[OwnStatement]:
    if _endorses(certificate.endorsements, own):
        yield StatementKind.COMMIT, certificate.height, certificate.slot, certificate.block


def _endorses(endorsements: tuple[Endorsement, ...], own: Address) -> bool:
    return any(endorsement.signer == own for endorsement in endorsements)


# --- the question ------------------------------------------------------------------------------------------


def can_ask(members: int) -> bool:
    """Says whether a membership has Q others to ask; with one or two members only the operator knows."""
    return members - 1 >= quorum.quorum(members)


class AnswerRefusal(Enum):
    """Why an answer does not count."""

    NOT_ASKED = "answer_not_asked"
    """Another nonce, or not from another member."""
    UNPROVEN = "answer_unproven"
    """Its certificate does not decide the height before."""


class Inquiry:
    """One question to the others, until Q of them have answered it."""

    __slots__ = ("_chain", "_membership", "_own", "_proven", "question")

    def __init__(self, *, own: Address, chain: Digest, membership: Membership, nonce: bytes) -> None:
        """Takes who asks, and a nonce that nobody could guess or has seen."""
        assert can_ask(len(membership)), "there are Q others"
        self._own = own
        self._chain = chain
        self._membership = membership
        self._proven: dict[Address, Height] = {}
        self.question: Final = HeightQuestion(nonce=nonce)

    def unanswered(self) -> tuple[Address, ...]:
        """Returns the members that have not given a proven answer."""
        return tuple(
            member for member in self._membership.addresses if member != self._own and member not in self._proven
        )

    def take(self, sender: Address, answer: HeightAnswer) -> AnswerRefusal | None:
        """Counts an answer; `sender` is who the link's certificate names. Returns why it does not count."""
        is_other = sender in self._membership and sender != self._own
        if answer.nonce != self.question.nonce or not is_other:
            return AnswerRefusal.NOT_ASKED
        if not self._is_proven(answer):
            return AnswerRefusal.UNPROVEN
        self._proven[sender] = answer.undecided
        return None

    def _is_proven(self, answer: HeightAnswer) -> bool:
        certificate = answer.certificate
        if certificate is None:
            return answer.undecided == FIRST_HEIGHT
        return certificate.height == answer.undecided - 1 and commit_certificate_holds(
            certificate, self._membership, self._chain
        )

    def silent_through(self, undecided: Height) -> Height | None:
        """Returns m + 1 once Q others have answered, None before.

        Args:
            undecided: this member's own undecided height, which its own ledger proves.
        """
        if len(self._proven) < self._membership.quorum:
            return None
        return Height(max(undecided, *self._proven.values()) + 1)
