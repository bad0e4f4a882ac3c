"""When a leader's proposal is taken: at once, once its slot has begun, or not at all (P1 of docs/protocol.md).

A leader that proposes before its slot would otherwise take the blocks of the leader before it. The slot has begun
when this member's present slot says so, or when F + 1 members have voted in it, the leader and another one: some
honest member votes there, and does so for what has begun. A justified proposal never waits: Q members asked for its
slot.
"""

from typing import Final

from consensus.events import Instant
from consensus.identifiers import Slot
from consensus.member import Member
from consensus.messages import PrePrepare

VOTERS_MIN: Final = 2
"""Votes that show that a slot has begun, where F = 0: a leader's own says nothing."""


def is_far_ahead(member: Member, message: PrePrepare, now: Instant) -> bool:
    """P1: an unjustified proposal of a slot past the next one is ignored, and the vote in it too."""
    return message.justification is None and message.slot > member.present_slot(now) + 1


def take_or_hold(member: Member, message: PrePrepare, now: Instant) -> None:
    """Takes a proposal whose vote was counted, or holds it until its slot begins: per leader one, the first of its
    slot.
    """
    waiting = member.state.waiting
    if message.justification is not None or _has_begun(member, message.slot, now):
        _take(member, message)
    elif message.signer not in waiting or waiting[message.signer].slot != message.slot:
        waiting[message.signer] = message


def rule_take_waiting(member: Member, now: Instant) -> bool:
    """P1: a proposal that waited for its slot is taken as if it had just arrived."""
    for signer, message in member.state.waiting.items():
        if _has_begun(member, message.slot, now):
            del member.state.waiting[signer]
            _take(member, message)
            return True
    return False


def _has_begun(member: Member, slot: Slot, now: Instant) -> bool:
    voted = len(member.state.votes.at(slot))
    return slot <= member.present_slot(now) or voted >= max(member.state.membership.weak_quorum, VOTERS_MIN)


def _take(member: Member, message: PrePrepare) -> None:
    """The justification is not signed: whoever passes a proposal on could leave it out. So the justified copy takes
    the place of one without.
    """
    state = member.state
    earlier = state.proposals.add(message)
    if earlier is not None:
        if earlier.justification is not None or message.justification is None:
            return
        state.proposals.replace(message)
    state.bodies[message.block] = message.proposal
    state.forget_unused()
