"""What the mutants put in the place of production functions (`mutants`). Each breaks one rule."""

import dataclasses
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from unittest.mock import patch

import msgspec

from consensus import (
    clock,
    heights,
    intake,
    liveness,
    member,
    quorum,
    recovery,
    relaying,
    replica,
    safety,
    verification,
)
from consensus.codec import encode
from consensus.cryptography import HashKind, digest
from consensus.events import Instant, Outbox, SignState, fresh_sign_state
from consensus.height import HeightState
from consensus.identifiers import Address, Digest, Height, Slot
from consensus.membership import Membership, Memberships
from consensus.messages import Claim, Endorsement, HeightAnswer, Justification, PrePrepare, Status
from consensus.phases import Phase
from consensus.tally import Tally
from node.chain import driver
from node.chain.records import SIGN_STATE_KEY


def without(*rules: Callable[..., bool]) -> tuple[Any, str, Any]:
    return replica, "RULES", tuple(rule for rule in replica.RULES if rule not in rules)


def instead(true: Callable[..., bool], broken: Callable[..., bool]) -> tuple[Any, str, Any]:
    return replica, "RULES", tuple(broken if rule is true else rule for rule in replica.RULES)


def resend_and_remember(member: member.Member, now: Instant) -> bool:
    """What was passed on before a resending is not passed on after it."""
    relayed = dict(member.state.relayed)
    is_done = liveness.rule_resend(member, now)
    member.state.relayed.update(relayed)
    return is_done


def hearing_until_a_slot_is_given_up(
    member: member.Member, signer: Address, heard: Any, true: Callable[..., Iterable[Address]] = relaying._hearing
) -> Iterable[Address]:
    return () if member.state.sign_state.attempts > 0 else true(member, signer, heard)


def two_f_plus_one(members: int) -> int:
    return 2 * quorum.fault_bound(members) + 1


def outbox_without(field: str) -> Callable[[Outbox], Any]:
    true = Outbox.effects

    def effects(outbox: Outbox) -> Any:
        setattr(outbox, field, None)
        return true(outbox)

    return effects


true_send_view_change = safety.send_view_change


def claim_nothing(own: member.Member, now: Any) -> None:
    state = own.state
    kept = state.sign_state, state.prepared
    state.sign_state, state.prepared = msgspec.structs.replace(state.sign_state, prepared=None), None
    true_send_view_change(own, now)
    state.sign_state, state.prepared = kept


true_justification_holds = verification.justification_holds


def holds_for_any(justification: Justification, *rest: Any) -> bool:
    """Accepts any valid headers of the slot, whatever they claim."""
    height, slot, _, membership, chain = rest
    highest = verification.highest_claim(justification)
    claimed = rest[2] if highest is None else highest.block
    return true_justification_holds(justification, height, slot, claimed, membership, chain)


class OneLess:
    """A membership whose quorum is one too small."""

    def __init__(self, membership: Any) -> None:
        self._membership = membership
        self.quorum = membership.quorum - 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._membership, name)


def holds_with_one_less(
    justification: Justification, height: Any, slot: Any, block: Any, members: Any, chain: Any
) -> bool:
    return any(
        true_justification_holds(justification, height, slot, block, counted, chain)
        for counted in (members, OneLess(members))
    )


def holds_for_lower_slots(justification: Justification, height: Any, slot: Any, *rest: Any) -> bool:
    return any(true_justification_holds(justification, height, Slot(lower), *rest) for lower in range(slot + 1))


true_endorsements_hold = verification._endorsements_hold


def hold_with_one_less(endorsements: Any, signed: bytes, members: Any) -> bool:
    return any(true_endorsements_hold(endorsements, signed, counted) for counted in (members, OneLess(members)))


true_quorum_for_block = safety.quorum_for_block


def quorum_across_slots(tally: Tally[Any], size: int) -> tuple[Slot, Digest, tuple[Endorsement, ...]] | None:
    by_block: dict[Digest, dict[bytes, Any]] = {}
    for statement in tally:
        by_block.setdefault(statement.block, {})[statement.signer] = statement
    for block, statements in by_block.items():
        if len(statements) >= size:
            chosen = [statements[signer] for signer in sorted(statements)][:size]
            endorsements = (Endorsement(signer=one.signer, signature=one.signature) for one in chosen)
            return max(one.slot for one in chosen), block, tuple(endorsements)
    return None


def vote_below_the_promise(state: HeightState, slot: Slot) -> bool:
    return state.sign_state.voted is None or slot > state.sign_state.voted.slot


def votable_again_in_a_slot(own: member.Member, proposal: PrePrepare) -> bool:
    signed = own.state.sign_state
    is_other = (
        signed.voted is not None and proposal.block != signed.voted.block and proposal.slot == signed.voted.slot
    )
    return true_is_votable(own, proposal) or (is_other and proposal.slot >= signed.promise)


true_is_votable = safety._is_votable


def commit_below_the_promise(state: HeightState, slot: Slot) -> bool:
    return state.sign_state.prepared is None or slot > state.sign_state.prepared.slot


def votable_though_not_fresh(own: member.Member, proposal: PrePrepare) -> bool:
    return own.state.may_vote_at(proposal.slot)


def may_vote_unvalidated(own: member.Member, proposal: PrePrepare) -> bool:
    return safety._is_votable(own, proposal)


def may_vote_for_any_header(own: member.Member, proposal: PrePrepare) -> bool:
    return own.state.origins.get(proposal.block) is not None and safety._is_votable(own, proposal)


def body_of_nothing(own: member.Member, block: Digest, _holders: Any, _now: Any) -> bytes:
    return own.state.bodies.get(block, b"")


def decide_above_the_promise(own: member.Member, now: Any) -> bool:
    found = true_quorum_for_block(own.state.commits, own.state.membership.quorum)
    if found is not None and found[0] < own.state.sign_state.promise:
        return False
    return safety.rule_decide(own, now)


def view_change_anywhere(own: member.Member, slot: Slot, now: Any) -> bool:
    if not own.may_sign() or slot <= own.state.sign_state.promise:
        return False
    with patch.object(HeightState, "base", Slot(-1)):
        return true_view_change(own, slot, now)


true_view_change = safety.view_change


def forget_at_restart(start: replica.Start) -> SignState:
    return fresh_sign_state(start.height)


true_binding = replica.binding


def never_silent(start: replica.Start) -> SignState:
    return true_binding(start) or start.sign_state


def nothing_happens(*_: Any) -> None:
    return None


def first_stays(_tally: Tally[Any], _statement: Any) -> None:
    """A justified proposal does not replace one without."""


true_view_change_bytes = verification.view_change_bytes


def view_change_bytes_without_claim(chain: Digest, height: Height, slot: Slot, _claim: Claim | None) -> bytes:
    return true_view_change_bytes(chain, height, slot, None)


true_receive_pre_prepare = replica.Replica._receive_pre_prepare


def receive_of_any_slot(self: replica.Replica, message: PrePrepare, now: Any) -> None:
    with patch.object(member.Member, "present_slot", lambda *_: message.slot):
        true_receive_pre_prepare(self, message, now)


true_rule_relay = relaying.rule_relay
true_send = member.Member.send


def relay_to_the_signer(own: member.Member, now: Any) -> bool:
    def to_all(self: member.Member, message: Any, _recipients: Any) -> None:
        true_send(self, message, self.state.membership.addresses)

    with patch.object(member.Member, "send", to_all):
        return true_rule_relay(own, now)


def waiting_since_arrival_ms(own: member.Member) -> int | None:
    since_ms = [at_ms for at_ms in (own.state.voted_ms, own.oldest_arrival_ms) if at_ms is not None]
    return min(since_ms, default=None)


def hold_everything(self: intake.Intake, arrived: Any, _member: Any, _heights_ahead: int) -> None:
    key = (arrived.sender, intake.signer_of(arrived), type(arrived.message), intake.height_of(arrived.message))
    self._held[key] = arrived


def trust_the_own_clock(clocks: clock.MemberClocks, _own: Any, now: Any, _members: int) -> Slot:
    return now.slot(clocks._slot_duration_ms)


true_status = heights.status


def status_of_the_wall_clock(own: member.Member, now: Any) -> Status:
    jump = own.own_clock.jump(now)
    wall_ms = now.clock_ms + (0 if jump is None else jump.by_ms)
    return true_status(own, Instant(monotonic_ms=now.monotonic_ms, clock_ms=wall_ms))


true_observe = clock.OwnClock.observe


def observe_for_ever(own: clock.OwnClock, now: Any) -> bool:
    own._settle_ms = 10**12
    return true_observe(own, now)


true_near = clock.MemberClocks.near


def one_is_enough(clocks: clock.MemberClocks, own: Any, now: Any) -> int:
    return 256 if true_near(clocks, own, now) else 0


def join_one(highest_slots: Any, _fault_bound: int) -> Slot | None:
    return max(highest_slots, default=None)


def stand_for_view_changes_only(own: member.Member, now: Any) -> bool:
    state = own.state
    if state.view_change_quorum_ms is not None or state.sign_state.attempts == 0:
        return False
    slots = state.view_changes.highest_slots()
    reached = {own.own, *(signer for signer, slot in slots.items() if slot >= state.sign_state.promise)}
    if len(reached) < state.membership.quorum:
        return False
    state.view_change_quorum_ms = now.monotonic_ms
    return True


# --- the driver --------------------------------------------------------------------------------------------------


def send_before_persist(self: driver.Driver, effects: Any) -> None:
    for send in effects.send:
        for recipient in send.recipients:
            self._ports.send(recipient, send.message)
    true_carry_out(self, replace_fields(effects, send=()))


def sign_state_before_records(self: driver.Driver, effects: Any) -> None:
    if effects.sign_state is not None:
        self._sign_state.save(encode(effects.sign_state))
    true_persist(self, replace_fields(effects, sign_state=None))


def without_prepared_record(self: driver.Driver, effects: Any) -> None:
    true_persist(self, replace_fields(effects, prepared=None))


def without_copy_of_sign_state(self: driver.Driver, effects: Any) -> None:
    with patch.object(self._application, "persist", forget_record(self._application.persist, SIGN_STATE_KEY)):
        true_persist(self, effects)


def forget_record(persist: Callable[[dict[bytes, bytes]], None], key: bytes) -> Callable[[dict[bytes, bytes]], None]:
    def persist_rest(records: dict[bytes, bytes]) -> None:
        rest = {name: value for name, value in records.items() if name != key}
        if rest:
            persist(rest)

    return persist_rest


def step_over_failures(self: driver.Driver) -> None:
    self._is_stepping = True
    while self._events:
        with suppress(Exception):
            self._carry_out(self._replica.step(self._events.popleft(), self._ports.now()))
    self._is_stepping = False


def persist_what_can_be(self: driver.Driver, effects: Any) -> None:
    with suppress(Exception):
        true_persist(self, effects)


true_carry_out = driver.Driver._carry_out
true_persist = driver.Driver._persist
replace_fields = dataclasses.replace


# --- members that change ---------------------------------------------------------------------------------------


def digest_of_keys_in_any_order(members: Membership) -> Digest:
    return digest(HashKind.MEMBERSHIP, encode(sorted(members.members)))


def digest_of_addresses(members: Membership) -> Digest:
    return digest(HashKind.MEMBERSHIP, encode(members.addresses))


def may_sign_under_any_key(own: member.Member) -> bool:
    is_bound = own.phase is Phase.APPLYING or own.state.height <= own.silent_through
    return not is_bound and own.own in own.state.membership


# --- the inquiry of who forgot -----------------------------------------------------------------------------------

true_silent_through = recovery.Inquiry.silent_through
true_answer_to = recovery.answer_to
first_asked: dict[bytes, Memberships] = {}


def silent_by_the_set_when_asked(
    inquiry: recovery.Inquiry, undecided: Height, memberships: Memberships
) -> Height | None:
    asked = first_asked.setdefault(inquiry.question.nonce, memberships)
    return true_silent_through(inquiry, undecided, asked)


def silent_through_the_own_height(
    inquiry: recovery.Inquiry, undecided: Height, memberships: Memberships
) -> Height | None:
    through = true_silent_through(inquiry, undecided, memberships)
    return None if through is None else Height(through - 1)


def answer_though_silent(*asked: Any, undecided: Height, silent_through: Height) -> HeightAnswer | None:
    return true_answer_to(*asked, undecided=undecided, silent_through=Height(min(0, silent_through)))
