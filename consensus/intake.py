"""Sorts what members send by height before any signature is checked, and bounds what waits.

Of who left lately only the question where the others stand is heard.
Of the undecided height everything new goes on to verification; of lower heights the sender is answered (but for
DECIDED, whose sender needs none); of the next height one message per sender, signer and kind is held until the height
before is applied, if the signer is a member of it; beyond that the sender is told where this member stands.
A sender may pass on what others signed, so what it holds of one signer never takes the place of another's.
DECIDED blocks, which members send in runs to who is behind, are held for a few heights so that catching up is not
one round trip per block.
"""

from typing import Final

from consensus import collecting
from consensus.events import Arrived, Instant
from consensus.heights import answer_lower, ask, note_ahead, note_other_era, send_decided
from consensus.identifiers import Address, EraNumber, Height
from consensus.member import Member
from consensus.messages import (
    PROPOSAL_SIZE_BYTES_MAX,
    Body,
    BodyRequest,
    CertificateRequest,
    Commit,
    Decided,
    EndorsedStatement,
    Gathered,
    Message,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
)
from consensus.phases import Phase

DECIDED_RUN_MAX: Final = 8
"""Decided blocks in one answer; also how many heights ahead a DECIDED is held."""


HELD_SIZE_BYTES_MAX: Final = PROPOSAL_SIZE_BYTES_MAX
"""Proposals held of what one member sent: one of the largest, or a run of ordinary ones."""


class Intake:
    """Messages that wait for their height. Memory: per sender one statement of each signer and kind and one DECIDED
    run; of certificates that are handed out, one of each kind.
    """

    __slots__ = ("_gathered", "_held")

    def __init__(self) -> None:
        self._held: dict[tuple[Address, Address, type[Message], Height], Arrived] = {}
        """By sender, signer, kind and height."""
        self._gathered: dict[EndorsedStatement, Arrived] = {}
        """The last certificate of each kind for the next height, whoever brought it: each costs Q signatures."""

    def admit(self, arrived: Arrived, member: Member, now: Instant) -> bool:
        """Says whether a message is to be verified now; otherwise holds, answers or drops it."""
        if arrived.sender not in member.state.memberships:
            return isinstance(arrived.message, Status) and member.state.memberships.is_follower(arrived.sender)
        member.heard[arrived.sender] = now.monotonic_ms
        if isinstance(arrived.message, Status):
            return True
        height = height_of(arrived.message)
        undecided = member.state.height
        era = era_of(arrived.message)
        if era is not None and era != member.eras.at(height).number:
            note_other_era(member, arrived.sender, era, now)
            return False
        if height < undecided:
            _answer(arrived, member, height, now)
        elif height > undecided:
            self._hold(arrived, member, height - undecided)
            if height > undecided + 1:
                ask(member, arrived.sender, now)
            else:
                note_ahead(member, arrived.sender, now)
        is_due = height == undecided and member.phase is not Phase.APPLYING
        return is_due and not is_known(arrived.message, member) and collecting.may_verify(arrived, member, now)

    def _hold(self, arrived: Arrived, member: Member, heights_ahead: int) -> None:
        message, signer = arrived.message, signer_of(arrived)
        ahead_max = DECIDED_RUN_MAX - 1 if isinstance(message, Decided) else 1
        if heights_ahead > ahead_max or isinstance(message, BodyRequest | Body | CertificateRequest):
            return  # what is asked for is of the undecided height only
        if not isinstance(message, Decided) and signer not in member.state.memberships.following:
            return  # of names that anyone could invent nothing is kept
        if isinstance(message, Gathered):
            self._gathered[message.kind] = arrived
            return
        if signer != arrived.sender and not member.may_relay:
            return
        key = (arrived.sender, signer, type(message), height_of(message))
        others = (held for other, held in self._held.items() if other[0] == arrived.sender and other != key)
        if _size_bytes(arrived) + sum(map(_size_bytes, others)) <= HELD_SIZE_BYTES_MAX:
            self._held[key] = arrived

    def release(self, undecided: Height) -> list[Arrived]:
        """Returns the messages held for the height that is undecided now, DECIDED first, what several senders brought
        once, and forgets all below.
        """
        gathered, self._gathered = self._gathered.values(), {}
        held = [arrived for (*_, height), arrived in self._held.items() if height == undecided]
        held += [arrived for arrived in gathered if height_of(arrived.message) == undecided]
        released = {arrived.message: arrived for arrived in held}.values()
        self._held = {key: arrived for key, arrived in self._held.items() if key[-1] > undecided}
        return sorted(released, key=lambda arrived: not isinstance(arrived.message, Decided))


def _answer(arrived: Arrived, member: Member, height: Height, now: Instant) -> None:
    """Answers a message of a lower height. Who has what decided it lacks nothing: two that answer each other's
    DECIDED would go on for ever.
    """
    match arrived.message:
        case Decided():
            pass
        case Gathered() if arrived.message.kind is EndorsedStatement.COMMIT:
            pass
        case BodyRequest() if member.state.leaders.is_drawn:
            send_decided(member, arrived.sender, height, now)  # it waits for nothing else
        case CertificateRequest() if collecting.answer_last(member, arrived.sender, arrived.message, now):
            pass
        case _:
            answer_lower(member, arrived.sender, height, now)


def era_of(message: Message) -> EraNumber | None:
    """Returns the era that a message names; None of one that names none: the domain of its signature does."""
    if isinstance(message, Gathered | CertificateRequest):
        return message.era
    return message.certificate.era if isinstance(message, Decided) else None


def height_of(message: Message) -> Height:
    """Returns the height that a message is about; a STATUS is about none."""
    assert not isinstance(message, Status)
    return message.certificate.height if isinstance(message, Decided) else message.height


def signer_of(arrived: Arrived) -> Address:
    """Returns who signed a message; of one that nobody signed, its sender."""
    message = arrived.message
    return message.signer if isinstance(message, PrePrepare | Prepare | Commit | ViewChange) else arrived.sender


def _size_bytes(arrived: Arrived) -> int:
    message = arrived.message
    return len(message.proposal) if isinstance(message, PrePrepare | Decided) else 0


def is_known(message: Message, member: Member) -> bool:
    """Says whether a statement is at hand already: sent again it costs no second verification."""
    state = member.state
    match message:
        case PrePrepare():
            return message in state.proposals.of(message.signer) or state.waiting.get(message.signer) == message
        case Prepare():
            return message in state.votes.of(message.signer)
        case Commit():
            return message in state.commits.of(message.signer)
        case ViewChange():
            return message in state.view_changes.of(message.signer)
        case _:
            return False
