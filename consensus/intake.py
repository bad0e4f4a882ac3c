"""Sorts what members send by height before any signature is checked, and bounds what waits.

Of the undecided height everything new goes on to verification; of lower heights the sender is answered (but for
DECIDED, whose sender needs none); of the next height one message per member of it and kind is held until the height
before is applied; beyond that the sender is told where this member stands.
DECIDED blocks, which members send in runs to who is behind, are held for a few heights so that catching up is not
one round trip per block.
"""

from typing import Final

from consensus.events import Arrived, Instant
from consensus.heights import answer_lower, ask, note_other_era
from consensus.identifiers import Address, Height
from consensus.member import Member
from consensus.messages import (
    PROPOSAL_SIZE_BYTES_MAX,
    Body,
    BodyRequest,
    Commit,
    Decided,
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
    """Messages that wait for their height. Memory: per member one message of each kind and one DECIDED run."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[tuple[Address, type[Message], Height], Arrived] = {}

    def admit(self, arrived: Arrived, member: Member, now: Instant) -> bool:
        """Says whether a message is to be verified now; otherwise holds, answers or drops it."""
        if arrived.sender not in member.state.memberships:
            return False
        if isinstance(arrived.message, Status):
            return True
        height = height_of(arrived.message)
        undecided = member.state.height
        if isinstance(arrived.message, Decided):
            era = arrived.message.certificate.era
            if era != member.eras.at(height).number:
                note_other_era(member, arrived.sender, era, now)
                return False
        if height < undecided:
            # two that answer each other's DECIDED would go on for ever
            if not isinstance(arrived.message, Decided):
                answer_lower(member, arrived.sender, height, now)
        elif height > undecided:
            if isinstance(arrived.message, Decided) or arrived.sender in member.state.memberships.following:
                self._hold(arrived, height - undecided)
            if height > undecided + 1:
                ask(member, arrived.sender, now)
        return height == undecided and member.phase is not Phase.APPLYING and not _is_known(arrived, member)

    def _hold(self, arrived: Arrived, heights_ahead: int) -> None:
        message = arrived.message
        ahead_max = DECIDED_RUN_MAX - 1 if isinstance(message, Decided) else 1
        if heights_ahead > ahead_max or isinstance(message, BodyRequest | Body):
            return  # bodies are asked for at the undecided height only
        key = (arrived.sender, type(message), height_of(message))
        others = (held for other, held in self._held.items() if other[0] == arrived.sender and other != key)
        if _size_bytes(arrived) + sum(map(_size_bytes, others)) <= HELD_SIZE_BYTES_MAX:
            self._held[key] = arrived

    def release(self, undecided: Height) -> list[Arrived]:
        """Returns the messages held for the height that is undecided now, DECIDED first, and forgets all below."""
        released = [arrived for (_, _, height), arrived in self._held.items() if height == undecided]
        self._held = {key: arrived for key, arrived in self._held.items() if key[2] > undecided}
        return sorted(released, key=lambda arrived: not isinstance(arrived.message, Decided))


def height_of(message: Message) -> Height:
    """Returns the height that a message is about; a STATUS is about none."""
    assert not isinstance(message, Status)
    return message.certificate.height if isinstance(message, Decided) else message.height


def _size_bytes(arrived: Arrived) -> int:
    message = arrived.message
    return len(message.proposal) if isinstance(message, PrePrepare | Decided) else 0


def _is_known(arrived: Arrived, member: Member) -> bool:
    """A statement sent again costs no second verification."""
    state, message = member.state, arrived.message
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
