"""The progress rule P8 of docs/protocol.md: members tell each other where they stand, and the one that is ahead
answers with decided blocks. Answers and questions are rate-limited, so that nobody can make a member a flood.
"""

from typing import Final

from consensus import relaying
from consensus.events import Instant, SendDecided
from consensus.identifiers import GENESIS_HEIGHT, Address, EraNumber, Height
from consensus.member import Member
from consensus.messages import Body, BodyRequest, Status

STATUS_RECIPIENTS: Final = 2
"""Members that hear this member's STATUS each slot."""

ASK_FRACTION: Final = 4
"""A member that is ahead is asked for blocks, and one behind is answered, at most this often per slot."""


def status(member: Member, now: Instant) -> Status:
    """Returns this member's STATUS."""
    state = member.state
    return Status(
        era=state.era.number,
        undecided=state.height,
        tip=state.tip,
        clock_slot=now.slot(member.tau_ms),
        origin=member.own,
        hears=relaying.heard_bitmap(member, now),
        is_silent=member.silence is not None,
    )


def send_status_each_slot(member: Member, now: Instant) -> None:
    """Sends STATUS to two members each slot, in turn, so that all hear of it within N / 2 slots, or to all when whom
    this member hears has changed. A clock that stands still or jumps changes nothing in that.
    """
    if member.status_ms is not None and now.monotonic_ms - member.status_ms < member.tau_ms:
        return
    member.status_ms = now.monotonic_ms
    addresses = member.state.memberships.addresses
    own = addresses.index(member.own) if member.own in addresses else 0
    others = [address for address in addresses[own:] + addresses[:own] if address != member.own]
    told = status(member, now)
    if relaying.is_news(member, told.hears):
        member.send(told, others)
        return
    turns = range(member.status_turns, member.status_turns + min(STATUS_RECIPIENTS, len(others)))
    member.status_turns += len(turns)
    member.send(told, [others[turn % len(others)] for turn in turns])


def receive_status(member: Member, sender: Address, message: Status, now: Instant) -> None:
    """Notes the sender's clock; answers who is behind, asks who is ahead, tells who is in another era. Anyone can
    pass on what another one never said, so a STATUS that came over others only leads to decided blocks for its
    origin (`relaying`).
    """
    is_own = message.origin == sender
    if member.eras.at(message.undecided).number != message.era:
        if is_own:
            note_other_era(member, sender, message.era, now)
        return
    if not is_own:
        relaying.answer_origin(member, sender, message, now)
        return
    if sender not in member.state.memberships:
        if message.undecided < member.state.height:
            send_decided(member, sender, message.undecided, now)
        ask(member, sender, now)  # tells where this member stands: who leaves stays up until a quorum is past it
        return
    member.other_eras.pop(sender, None)
    relaying.pass_on_status(member, message, now)
    relaying.note_unheard(member, message, now)
    if sender in member.state.membership:
        member.hears[sender] = message.hears
        member.clocks.report(sender, message.clock_slot, now)
        member.told[sender] = message.undecided
        member.silent_at[sender] = message.undecided if message.is_silent else GENESIS_HEIGHT
    if message.undecided < member.state.height and not _is_handed_back(member, message.undecided, now):
        send_decided(member, sender, message.undecided, now)
    elif message.undecided > member.state.height:
        _note_further(member, sender, message.undecided, now)


def _note_further(member: Member, other: Address, undecided: Height, now: Instant) -> None:
    note_ahead(member, other, now)
    if undecided > member.state.height + 1 or not member.state.leaders.is_drawn:
        ask(member, other, now)


def note_ahead(member: Member, other: Address, now: Instant) -> None:
    """Notes who is further. Where clusters are drawn that is no reason to ask yet, if it is the next height: what
    decides this one is handed back, and asked for if it does not come (`collecting`).
    """
    if member.state.leaders.is_drawn:
        member.state.ahead = other
        member.state.note_heard(now.monotonic_ms)


def _is_handed_back(member: Member, undecided: Height, now: Instant) -> bool:
    """Says whether what decides a height is most likely on its way to who lacks it: the last one, where clusters are
    drawn, and decided here just now.
    """
    state = member.state
    is_recent = now.monotonic_ms - state.started_ms < member.tau_ms // ASK_FRACTION
    return state.leaders.is_drawn and undecided + 1 == state.height and is_recent


def ask(member: Member, other: Address, now: Instant) -> None:
    """Asks a member that is ahead for decided blocks, by telling it where this one stands."""
    asked_ms = member.asked.get(other)
    if asked_ms is None or now.monotonic_ms - asked_ms >= member.tau_ms // ASK_FRACTION:
        member.asked[other] = now.monotonic_ms
        member.send(status(member, now), (other,))


def note_other_era(member: Member, other: Address, era: EraNumber, now: Instant) -> None:
    """Tells a member that lives in another era where this one stands: neither can use what the other has."""
    if other in member.state.membership:
        member.other_eras[other] = era
    asked_ms = member.asked.get(other)
    if asked_ms is None or now.monotonic_ms - asked_ms >= member.tau_ms:
        member.asked[other] = now.monotonic_ms
        member.send(status(member, now), (other,))


def answer_lower(member: Member, sender: Address, height: Height, now: Instant) -> None:
    """Answers a message of a decided height. The last one is answered only a slot after its decision: until
    then the sender most likely has the same COMMITs under way, and its resend is answered.
    """
    is_recent = now.monotonic_ms - member.state.started_ms < member.tau_ms
    if height + 1 < member.state.height or not is_recent:
        send_decided(member, sender, height, now)


def serve_body(member: Member, sender: Address, message: BodyRequest, now: Instant) -> None:
    """Answers a BODY-REQUEST of the undecided height if the body is at hand."""
    state = member.state
    body = state.bodies.get(message.block)
    served_ms = state.bodies_served.get((sender, message.block))
    if body is None or (served_ms is not None and now.monotonic_ms - served_ms < member.tau_ms // ASK_FRACTION):
        return
    state.bodies_served[sender, message.block] = now.monotonic_ms
    member.send(Body(height=message.height, block=message.block, proposal=body), (sender,))


def send_decided(member: Member, recipient: Address, first: Height, now: Instant) -> None:
    """Has a member sent what is decided from a height on: the same height once a slot, a higher one four times."""
    answered = member.answered.get(recipient)
    if answered is not None:
        height, answered_ms = answered
        pause_ms = member.tau_ms if first <= height else member.tau_ms // ASK_FRACTION
        if now.monotonic_ms - answered_ms < pause_ms:
            return
    member.answered[recipient] = (first, now.monotonic_ms)
    member.out.send_decided.append(SendDecided(recipient=recipient, first=first))
