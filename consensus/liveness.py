"""The progress rules P1 to P7 of docs/protocol.md: who proposes when, and when a failed slot is given up.

Clocks only help here: whatever they say, nothing unsafe follows. Each rule opens with its acceptance
conditions, acts at most once per call, says whether it did, and by acting makes its own condition false.
"""

from typing import Final

from consensus import progress
from consensus.events import Instant, Proposed, ProposeRequest
from consensus.identifiers import Slot
from consensus.member import Member
from consensus.messages import Justification
from consensus.phases import Phase
from consensus.safety import (
    claims_nothing,
    has_proposal_to_judge,
    justification_for,
    pre_prepare,
    send_commit,
    send_view_change,
    send_vote,
    view_change,
)

START_AGE_SLOTS: Final = 2
"""P2: a vote or request older than this without a decision starts a view change."""

HANDOVER_FRACTION: Final = 8
"""A leader starts no proposal in the last 1/8 of its slot, so that the next leader has seen its last one."""

HANDOVER_FRACTION_MAX: Final = 2
"""Where blocks take longer, it stops as early as the last one that it led took, but not before half of its slot."""


def rule_propose_fast(member: Member, now: Instant) -> bool:
    """P1: the leader of the present slot, fresh, with work and few asking for a view change, proposes.

    Not while a proposal of the slot before is under way: the two would split the votes, and a view change follow.
    """
    if member.oldest_arrival_ms is None or not member.state.sign_state.is_fresh:
        return False
    slot = member.present_slot(now)
    if slot == member.state.built_too_late or not _may_propose_fast(member, slot) or _is_handover(member, now):
        return False
    return _request_proposal(member, slot, may_be_empty=False)


def _may_propose_fast(member: Member, slot: Slot) -> bool:
    state = member.state
    others = sum(signer != member.own for signer in state.view_changes.highest_slots())
    return (
        member.may_sign()
        and state.sign_state.is_fresh
        and slot >= state.parent_slot
        and others < state.membership.weak_quorum
        and member.leaders.at(slot) == member.own
        and not has_proposal_to_judge(member, earliest=Slot(slot - 1))
    )


def _is_handover(member: Member, now: Instant) -> bool:
    """Says whether a proposal of now might reach the next leader in its own slot only, too late for it to wait."""
    if len(member.state.membership) == 1:
        return False
    shortest_ms, longest_ms = member.tau_ms // HANDOVER_FRACTION, member.tau_ms // HANDOVER_FRACTION_MAX
    handover_ms = min(max(member.own_block_ms, shortest_ms), longest_ms)
    return now.clock_ms % member.tau_ms >= member.tau_ms - handover_ms


def rule_start(member: Member, now: Instant) -> bool:
    """P2: an own vote or an executable request, older than two slots since its arrival and since the start of
    this height, starts the first view change, to the present slot, or above base where the clock went back since.
    """
    since_ms = waiting_since_ms(member)
    if member.state.sign_state.attempts > 0 or since_ms is None:
        return False
    is_old = now.monotonic_ms - since_ms > START_AGE_SLOTS * member.tau_ms
    return is_old and view_change(member, first_attempt(member, now), now)


def first_attempt(member: Member, now: Instant) -> Slot:
    """P2: returns the slot of the first view change. A vote for a slot that a clock showed too early binds no longer
    than any other: waiting for that slot could take as long as the clock was ahead.
    """
    return member.leaders.next_slot(Slot(max(member.present_slot(now), member.state.base + 1)))


def waiting_since_ms(member: Member) -> int | None:
    """Returns since when this height has had something to decide: an own vote or an executable request, but not
    from before the start of the height. None while there is neither.
    """
    state = member.state
    since_ms = [at_ms for at_ms in (state.voted_ms, member.oldest_arrival_ms) if at_ms is not None]
    return max(min(since_ms), state.started_ms) if since_ms else None


def rule_note_view_change_quorum(member: Member, now: Instant) -> bool:
    """P3: the next attempt's timer runs from when Q members, this one among them, had reached its promise.

    A member shows that by its VIEW-CHANGE, or by a COMMIT at such a slot: from then on it sends the COMMIT again,
    not the VIEW-CHANGE, so after restarts the COMMIT is all that the others can know of it.
    """
    state = member.state
    if state.view_change_quorum_ms is not None or state.sign_state.attempts == 0:
        return False
    reached = {member.own}
    for statement in (*state.view_changes, *state.commits):
        if statement.slot >= state.sign_state.promise:
            reached.add(statement.signer)
    if len(reached) < state.membership.quorum:
        return False
    state.view_change_quorum_ms = now.monotonic_ms
    return True


def rule_next_attempt(member: Member, now: Instant) -> bool:
    """P3: the next target is the next multiple of M(k), or the first slot above that somebody leads; the wall clock
    plays no part.
    """
    attempt = attempt_after(member)
    return attempt is not None and now.monotonic_ms >= attempt[1] and view_change(member, attempt[0], now)


def attempt_after(member: Member) -> tuple[Slot, int] | None:
    """P3: returns the slot of the next attempt and the monotonic time at which it is due; None before Q members
    had reached this one's promise.
    """
    state = member.state
    if state.view_change_quorum_ms is None:
        return None
    members = len(state.membership)
    exponent_max = progress.stride_exponent_max(members, member.tau_ms, member.attempt_max_ms)
    stride_slots = progress.stride(members, state.sign_state.attempts, exponent_max)
    multiple = progress.next_target(state.base, stride_slots)
    due_ms = state.view_change_quorum_ms + (multiple - state.sign_state.promise) * member.tau_ms
    return member.leaders.next_slot(multiple), due_ms


def rule_join(member: Member, now: Instant) -> bool:
    """P4: when F + 1 members ask for slots above base, one of them is honest: join at once. For a slot that nobody
    leads only liars ask; the honest one asked for the next that somebody leads, or for more.
    """
    state = member.state
    slot = progress.join_slot(state.view_changes.highest_slots().values(), state.membership.fault_bound)
    return slot is not None and view_change(member, member.leaders.next_slot(slot), now)


def rule_propose_justified(member: Member, now: Instant) -> bool:
    """P5: the leader of a slot with a justification proposes at once: the claimed block, else its own."""
    state = member.state
    if not member.may_sign():
        return False
    for slot in sorted(state.view_changes.slots(), reverse=True):
        if member.leaders.at(slot, is_justified=True) != member.own or not state.may_vote_at(slot):
            continue
        justification = justification_for(member, slot, now)
        if justification is not None:
            return _propose_with(member, slot, justification, now)
    return False


def _propose_with(member: Member, slot: Slot, justification: Justification, now: Instant) -> bool:
    state = member.state
    if claims_nothing(justification):
        return _request_proposal(member, slot, may_be_empty=True)
    certificate = justification.certificate
    assert certificate is not None, "a justification that claims a block carries its certificate"
    block = certificate.block
    if block not in state.origins:
        return member.request_validation(block)
    if state.origins[block] is None:
        return False
    pre_prepare(
        member,
        slot=slot,
        block=block,
        proposal=state.bodies[block],
        justification=justification,
        now=now,
    )
    return True


def _request_proposal(member: Member, slot: Slot, *, may_be_empty: bool) -> bool:
    if member.state.proposing == slot:
        return False
    member.state.proposing = slot
    member.out.propose = ProposeRequest(height=member.state.height, slot=slot, may_be_empty=may_be_empty)
    return True


def take_proposed(member: Member, event: Proposed, now: Instant) -> None:
    """Sends what the host built, if the rules still allow it: the world moved on meanwhile."""
    state = member.state
    if event.height != state.height or state.proposing != event.slot or not member.may_sign():
        return
    state.proposing = None
    if event.block is None:
        member.oldest_arrival_ms = None
        return
    justification = justification_for(member, event.slot, now)
    is_free = justification is not None and claims_nothing(justification)
    is_led = member.leaders.at(event.slot, is_justified=True) == member.own
    if is_free and is_led and state.may_vote_at(event.slot):
        pass
    elif _may_propose_fast(member, event.slot) and member.present_slot(now) == event.slot:
        justification = None
    else:
        state.built_too_late = member.present_slot(now)  # who leads each slot would build and do nothing else
        state.forget_unused()
        return
    pre_prepare(
        member,
        slot=event.slot,
        block=event.block,
        proposal=event.proposal,
        justification=justification,
        now=now,
    )


def rule_resend(member: Member, now: Instant) -> bool:
    """P7: about once a slot while undecided, what this member last signed, byte for byte."""
    state = member.state
    if now.monotonic_ms - state.sent_ms < member.tau_ms or member.phase is Phase.APPLYING:
        return False
    state.sent_ms = now.monotonic_ms
    state.relayed.clear()  # what was passed on may be lost, too
    if not member.may_sign():
        return False
    signed = state.sign_state
    if signed.attempts > 0 and (signed.prepared is None or signed.prepared.slot < signed.promise):
        send_view_change(member, now)
    if state.voted is not None and state.voted.slot >= signed.promise:
        send_vote(member, state.voted, now)
    if signed.prepared is not None:
        send_commit(member, now)
    return True
