"""What a member does that may have forgotten what it signed: find out that it has, keep silent, ask, go on.

Forgotten it has if its sign state is gone, or is older than what it signed: then some certificate or justification
shows a statement of its own that the sign state does not bound. Such a member signs nothing (`KeepSilent` with
`UNANSWERED`, durable). Let w be its undecided height, which grows as it fetches blocks. It asks the members of w + 1
for their undecided height, with a nonce. Answers are signed and prove nothing: one counts while it is at most w, so
the asker catches up first, and blocks are the only proof. Once Q members of w + 1 other than itself have answered so,
it keeps silent through w + 1, again durable, and then is a member as before.

Why w + 1: let u be the height at which this member signed last before it forgot, and say u > w + 1. Then height w + 1
was decided before it forgot, by COMMITs of Q members of w + 1. These and the Q that answered lie in one set, so they
share an honest member other than the asker. It committed at w + 1 before the question was asked, so ever after its
undecided height was w + 1 or more, or it kept silent there and did not answer: it did not answer with w or less. So
u <= w + 1. The set must be that of w + 1: members change from height to height, and two quorums of different sets may
share nobody.

With one or two members there are not Q others: only the operator knows (`p2pnode recover alone`). Nothing here does
I/O.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Final

from consensus import quorum
from consensus.cryptography import verify
from consensus.eras import Era
from consensus.events import SignState
from consensus.identifiers import Address, Digest, Height, PublicKey, Slot
from consensus.member import Signer
from consensus.membership import Membership, Memberships
from consensus.messages import (
    Checked,
    Commit,
    CommitCertificate,
    Decided,
    Endorsement,
    HeightAnswer,
    HeightQuestion,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    ViewChange,
    height_answer_bytes,
    height_question_bytes,
)


class StatementKind(Enum):
    """What a member signs."""

    VOTE = "vote"
    COMMIT = "commit"
    VIEW_CHANGE = "view_change"


OwnStatement = tuple[StatementKind, Height, Slot, Digest | None]
"""Kind, height, slot and block of something signed; a VIEW-CHANGE names no block here."""


def is_forgotten(message: Checked, own: Address, remembered: SignState) -> bool:
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


def _own_statements(message: Checked, own: Address) -> Iterator[OwnStatement]:
    match message:
        case PrePrepare():
            yield from _in_proposal(message, own)
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
        case PreparedCertificate():
            yield from _votes_in(message, own)
        case CommitCertificate():
            yield from _commits_in(message, own)


def _in_proposal(message: PrePrepare, own: Address) -> Iterator[OwnStatement]:
    if message.signer == own:
        yield StatementKind.VOTE, message.height, message.slot, message.block
    justification = message.justification
    if justification is not None:
        if any(header.signer == own for header in justification.headers):
            yield StatementKind.VIEW_CHANGE, message.height, message.slot, None
        yield from _votes_in(justification.certificate, own)


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


def asked_members(memberships: Memberships) -> Membership:
    """Returns whom a member asks whose undecided height is w: the members of w + 1."""
    return memberships.following


def question_of(signer: Signer, nonce: bytes, era: Era) -> HeightQuestion:
    """Returns a member's question; nobody may have seen its nonce before."""
    signed = height_question_bytes(era.domain, signer.address, nonce)
    return HeightQuestion(era=era.number, asker=signer.address, nonce=nonce, signature=signer.sign(signed))


def question_holds(question: HeightQuestion, memberships: Memberships, era: Era) -> bool:
    """Says whether a member asks, in this era."""
    signed = height_question_bytes(era.domain, question.asker, question.nonce)
    return question.era == era.number and any(
        verify(key, signed, question.signature) for key in memberships.keys_of(question.asker)
    )


def answer_to(
    question: HeightQuestion, signer: Signer, era: Era, *, undecided: Height, silent_through: Height
) -> HeightAnswer | None:
    """Returns a member's answer; None from one that keeps silent itself: it does not know how far it was."""
    if undecided <= silent_through:
        return None
    signed = height_answer_bytes(era.domain, question.asker, question.nonce, undecided)
    return HeightAnswer(
        era=era.number,
        asker=question.asker,
        nonce=question.nonce,
        undecided=undecided,
        signer=signer.address,
        signature=signer.sign(signed),
    )


class AnswerRefusal(Enum):
    """Why an answer does not count."""

    NOT_ASKED = "answer_not_asked"
    """Another nonce, or not from another member of the height that is asked about."""
    OTHER_ERA = "answer_other_era"
    """The signer is in another era."""
    BAD_SIGNATURE = "answer_bad_signature"
    """Not signed by who it says, under the node key of that height."""


class Inquiry:
    """One question to the others, until Q of them have answered it."""

    __slots__ = ("_answers", "_era", "_key", "_own", "question")

    def __init__(self, signer: Signer, era: Era, *, nonce: bytes) -> None:
        """Takes who asks, in which era, and a nonce that nobody could guess or has seen."""
        self._own, self._key = signer.address, signer.public_key
        self._era = era
        self._answers: dict[tuple[Address, PublicKey], Height] = {}
        """By signer and key: a member under another key is another home."""
        self.question: Final = question_of(signer, nonce, era)

    def is_by(self, signer: Signer) -> bool:
        """Says whether this signer asks: under another key of the same member it asks anew."""
        return (signer.address, signer.public_key) == (self._own, self._key)

    def unanswered(self, memberships: Memberships) -> tuple[Address, ...]:
        """Returns the members to ask: those of w + 1 that have not answered, also who only just became one."""
        return tuple(
            address
            for address, key in asked_members(memberships).members
            if address != self._own and (address, key) not in self._answers
        )

    def take(self, answer: HeightAnswer, memberships: Memberships) -> AnswerRefusal | None:
        """Keeps an answer, whoever passed it on. Returns why it is none; the first one of a member stays."""
        signer, key = answer.signer, asked_members(memberships).key_of(answer.signer)
        if (answer.asker, answer.nonce) != (self._own, self.question.nonce) or key is None or signer == self._own:
            return AnswerRefusal.NOT_ASKED
        if answer.era != self._era.number:
            return AnswerRefusal.OTHER_ERA
        if not _is_signed(answer, key, self._era):
            return AnswerRefusal.BAD_SIGNATURE
        self._answers.setdefault((signer, key), answer.undecided)
        return None

    def silent_through(self, undecided: Height, memberships: Memberships) -> Height | None:
        """Returns w + 1 once Q others have answers that count, None before.

        Args:
            undecided: w, this member's own undecided height, which its own ledger proves.
            memberships: of w and w + 1.
        """
        members = asked_members(memberships)
        if members.key_of(self._own) != self._key:
            return None  # a key that enters later binds nothing so far, and one that left signs nothing any more
        answers = (self._answers.get(member) for member in members.members)
        counting = sum(answered is not None and answered <= undecided for answered in answers)
        return Height(undecided + 1) if counting >= members.quorum else None


def answer_holds(answer: HeightAnswer, memberships: Memberships, era: Era) -> AnswerRefusal | None:
    """Says what is wrong with an answer to somebody else: who passes it on checks it first."""
    if answer.era != era.number:
        return AnswerRefusal.OTHER_ERA
    is_signed = any(_is_signed(answer, key, era) for key in memberships.keys_of(answer.signer))
    return None if is_signed else AnswerRefusal.BAD_SIGNATURE


def _is_signed(answer: HeightAnswer, key: PublicKey, era: Era) -> bool:
    signed = height_answer_bytes(era.domain, answer.asker, answer.nonce, answer.undecided)
    return verify(key, signed, answer.signature)
