"""Deliberate breaks of the protocol's rules, and what must notice each.

A mutant replaces functions of the production modules while its killer runs. A killer is a set of simulated runs
or one directed scenario of the unit tests; on the true code it passes, on the mutant each of its killers must fail.
A mutant that survives means that a rule is not tested, or not needed.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import msgspec

from consensus import (
    clock,
    heights,
    intake,
    liveness,
    member,
    progress,
    quorum,
    recovery,
    replica,
    safety,
    tally,
    verification,
)
from consensus.events import Outbox, SignState, fresh_sign_state
from consensus.height import HeightState
from consensus.identifiers import Digest, Height, Slot
from consensus.messages import Endorsement, Justification, PrePrepare
from consensus.tally import Tally
from tests.simulation.faults import Faults, Role
from tests.simulation.host import TAU_MS
from tests.simulation.network import RECOVERY_SLOTS_MAX, Network, run_requests
from tests.unit.consensus import (
    test_clock,
    test_intake,
    test_progress,
    test_replica_normal_case,
    test_replica_restart,
    test_replica_safety,
    test_replica_view_changes,
    test_verification,
)

Killer = Callable[[], object]
REQUESTS = 8
FAULTY_MS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One break."""

    name: str
    rule: str
    """As docs/protocol.md names it."""
    breaks: tuple[tuple[Any, str, Any], ...]
    """Owner, attribute and what it becomes."""
    killers: tuple[Killer, ...]

    def survives(self) -> bool:
        """Says whether some killer does not notice the break."""
        with ExitStack() as stack:
            for owner, name, broken in self.breaks:
                stack.enter_context(patch.object(owner, name, broken))
            return not all(_fails(killer) for killer in self.killers)


def _fails(killer: Killer) -> bool:
    try:
        killer()
    except (AssertionError, ValueError, KeyError):
        return True
    return False


# --- killers that simulate -------------------------------------------------------------------------------------


def simulate(members: int, seeds: range, faults: Faults) -> None:
    for seed in seeds:
        network = Network(members, seed, faults)
        limit_ms = FAULTY_MS + RECOVERY_SLOTS_MAX * TAU_MS
        assert run_requests(network, requests=REQUESTS, spread_ms=FAULTY_MS // 2, limit_ms=limit_ms), "stuck"


def liars_fork_five_and_six() -> None:
    for members in (5, 6):
        simulate(members, range(4), Faults(roles=(Role.EQUIVOCATING,), until_ms=FAULTY_MS, partition_ms=1_000))


def liars_and_loss() -> None:
    simulate(4, range(4), Faults(roles=(Role.EQUIVOCATING,), until_ms=FAULTY_MS, loss=0.2, delay_ms_max=400))


def crashes() -> None:
    simulate(4, range(6), Faults(until_ms=FAULTY_MS, loss=0.1, crash_per_point=0.03, delay_ms_max=200))


def loss_for_ever() -> None:
    simulate(4, range(3), Faults(loss=0.2, roles=(Role.SILENT,), delay_ms_max=200))


def a_dead_member() -> None:
    simulate(4, range(2), Faults(roles=(Role.SILENT,), delay_ms_max=100))


def far_future_liars() -> None:
    simulate(7, range(3), Faults(until_ms=FAULTY_MS, loss=0.3, delay_ms_max=400, roles=(Role.FAR_FUTURE,) * 2))


def forgetful_members() -> None:
    faults = Faults(
        until_ms=2 * FAULTY_MS,
        loss=0.1,
        duplication=0.1,
        crash_per_point=0.03,
        delay_ms_max=300,
        roles=(Role.FORGETS,),
    )
    simulate(4, range(12), faults)


# --- the breaks ------------------------------------------------------------------------------------------------


def without(*rules: Callable[..., bool]) -> tuple[Any, str, Any]:
    return replica, "RULES", tuple(rule for rule in replica.RULES if rule not in rules)


def instead(true: Callable[..., bool], broken: Callable[..., bool]) -> tuple[Any, str, Any]:
    return replica, "RULES", tuple(broken if rule is true else rule for rule in replica.RULES)


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
    return own.state.header_slots.get(proposal.block) is not None and safety._is_votable(own, proposal)


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


true_binding = replica._binding


def never_silent(start: replica.Start) -> SignState:
    return true_binding(start) or start.sign_state


def nothing_happens(*_: Any) -> None:
    return None


def first_stays(_tally: Tally[Any], _statement: Any) -> None:
    """A justified proposal does not replace one without."""


def hold_everything(self: intake.Intake, arrived: Any, _heights_ahead: int) -> None:
    self._held[arrived.sender, type(arrived.message), intake.height_of(arrived.message)] = arrived


def trust_the_own_clock(clocks: clock.MemberClocks, _own: Any, now: Any, _members: int) -> Slot:
    return now.slot(clocks._slot_duration_ms)


def join_one(highest_slots: Any, _fault_bound: int) -> Slot | None:
    return max(highest_slots, default=None)


def stand_for_view_changes_only(own: member.Member, now: Any) -> bool:
    state = own.state
    if state.view_change_quorum_ms is not None or state.sign_state.attempts == 0:
        return False
    slots = state.view_changes.highest_slots().values()
    if sum(slot >= state.sign_state.promise for slot in slots) < state.membership.quorum:
        return False
    state.view_change_quorum_ms = now.monotonic_ms
    return True


S = test_replica_safety
V = test_replica_view_changes
R = test_replica_restart

MUTANTS = (
    Mutant(
        name="a quorum of 2 F + 1",
        rule="Q",
        breaks=((quorum, "quorum", two_f_plus_one),),
        killers=(liars_fork_five_and_six,),
    ),
    Mutant(
        name="votes and promises are sent before they are durable",
        rule="order",
        breaks=((Outbox, "effects", outbox_without("sign_state")),),
        killers=(a_dead_member,),
    ),
    Mutant(
        name="a proposal voted for is not persisted",
        rule="order",
        breaks=((Outbox, "effects", outbox_without("voted")),),
        killers=(a_dead_member,),
    ),
    Mutant(
        name="a certificate is not persisted before its COMMIT",
        rule="order",
        breaks=((Outbox, "effects", outbox_without("prepared")),),
        killers=(a_dead_member,),
    ),
    Mutant(
        name="the sign state is forgotten at a restart",
        rule="order",
        breaks=((replica, "_binding", forget_at_restart),),
        killers=(crashes,),
    ),
    Mutant(
        name="who lost its certificates signs on",
        rule="order",
        breaks=((replica, "_binding", never_silent),),
        killers=(lambda: R.test_without_what_the_sign_state_names_nothing_is_signed_at_the_height(R.lost_vote),),
    ),
    Mutant(
        name="who lost its sign state signs on once it is answered",
        rule="order",
        breaks=((recovery.Inquiry, "silent_through", lambda _own, _undecided: Height(0)),),
        killers=(forgetful_members,),
    ),
    Mutant(
        name="two votes in one slot",
        rule="S1",
        breaks=((safety, "_is_votable", votable_again_in_a_slot),),
        killers=(S.test_one_vote_per_slot,),
    ),
    Mutant(
        name="a promise does not bar votes",
        rule="S1",
        breaks=((HeightState, "may_vote_at", vote_below_the_promise),),
        killers=(S.test_a_promise_bars_votes_below_it,),
    ),
    Mutant(
        name="a vote without justification though not fresh",
        rule="S1",
        breaks=((safety, "_is_votable", votable_though_not_fresh),),
        killers=(S.test_who_voted_at_the_height_needs_a_justification,),
    ),
    Mutant(
        name="a vote before the block was executed",
        rule="S1",
        breaks=((safety, "_may_vote", may_vote_unvalidated),),
        killers=(test_replica_normal_case.test_a_member_validates_votes_commits_and_decides,),
    ),
    Mutant(
        name="any slot in the header",
        rule="S1",
        breaks=((safety, "_may_vote", may_vote_for_any_header),),
        killers=(lambda: S.test_an_unjustified_block_carries_its_slot_in_its_header(2**62),),
    ),
    Mutant(
        name="a justification for any block",
        rule="S2",
        breaks=((verification, "justification_holds", holds_for_any),),
        killers=(
            lambda: test_verification.test_a_wrong_justification_is_refused(
                test_verification.SEVEN.pre_prepare(5, b"other", test_verification.ONE_CLAIMED)
            ),
        ),
    ),
    Mutant(
        name="a justification by Q - 1",
        rule="S2",
        breaks=((verification, "justification_holds", holds_with_one_less),),
        killers=(
            lambda: test_verification.test_a_wrong_justification_is_refused(
                test_verification.SEVEN.pre_prepare(5, b"any", test_verification.SEVEN.justification(5, by=range(4)))
            ),
        ),
    ),
    Mutant(
        name="a justification by VIEW-CHANGEs of lower slots",
        rule="S2",
        breaks=((verification, "justification_holds", holds_for_lower_slots),),
        killers=(
            lambda: test_verification.test_a_wrong_justification_is_refused(
                test_verification.SEVEN.pre_prepare(5, b"any", test_verification.SEVEN.justification(4))
            ),
        ),
    ),
    Mutant(
        name="certificates by Q - 1",
        rule="PC, CC",
        breaks=((verification, "_endorsements_hold", hold_with_one_less),),
        killers=(S.test_a_certificate_with_one_commit_less_decides_nothing,),
    ),
    Mutant(
        name="one member counts twice in a certificate",
        rule="PC, CC",
        breaks=((verification, "_strictly_ascending", lambda _: True),),
        killers=(
            lambda: test_verification.test_a_changed_commit_certificate_decides_nothing(
                lambda c: msgspec.structs.replace(c, endorsements=(*c.endorsements[:-1], c.endorsements[-2]))
            ),
        ),
    ),
    Mutant(
        name="certificates across slots",
        rule="CC",
        breaks=((safety, "quorum_for_block", quorum_across_slots),),
        killers=(S.test_commits_of_different_slots_decide_nothing,),
    ),
    Mutant(
        name="a stripped justification keeps out the real one",
        rule="S2",
        breaks=((Tally, "replace", first_stays),),
        killers=(S.test_a_stripped_justification_does_not_keep_out_the_real_one,),
    ),
    Mutant(
        name="a promise does not bar commits",
        rule="S3",
        breaks=((HeightState, "may_commit_at", commit_below_the_promise),),
        killers=(liars_and_loss, crashes, lambda: S.test_a_promise_bars_commits_below_it(8, 0)),
    ),
    Mutant(
        name="a commit without the body",
        rule="S3",
        breaks=((member.Member, "body_or_ask", body_of_nothing),),
        killers=(S.test_a_commit_needs_the_body,),
    ),
    Mutant(
        name="the prepared block is forgotten in view changes",
        rule="S4",
        breaks=((safety, "send_view_change", claim_nothing), (liveness, "send_view_change", claim_nothing)),
        killers=(liars_and_loss, S.test_the_prepared_block_survives_the_view_change_of_its_holder),
    ),
    Mutant(
        name="VIEW-CHANGEs for slots not above the base",
        rule="S4",
        breaks=((safety, "view_change", view_change_anywhere), (liveness, "view_change", view_change_anywhere)),
        killers=(lambda: S.test_a_view_change_lies_above_vote_promise_commit_and_parent(7),),
    ),
    Mutant(
        name="no decision below the promise",
        rule="S5",
        breaks=(instead(safety.rule_decide, decide_above_the_promise),),
        killers=(S.test_commits_below_the_promise_decide_too,),
    ),
    Mutant(
        name="no view change is ever started",
        rule="P2",
        breaks=(without(liveness.rule_start),),
        killers=(loss_for_ever,),
    ),
    Mutant(
        name="one attempt only",
        rule="P3",
        breaks=(without(liveness.rule_next_attempt),),
        killers=(loss_for_ever, V.test_attempts_move_apart_by_powers_of_three),
    ),
    Mutant(
        name="only VIEW-CHANGEs count for the next attempt, not COMMITs",
        rule="P3",
        breaks=(instead(liveness.rule_note_view_change_quorum, stand_for_view_changes_only),),
        killers=(V.test_a_commit_at_the_promised_slot_stands_for_its_senders_view_change,),
    ),
    Mutant(
        name="attempts at powers of two",
        rule="P3",
        breaks=((progress, "smallest_coprime_prime", lambda _members: 2),),
        killers=(lambda: test_progress.test_attempts_at_every_distance_visit_every_member_as_leader(3),),
    ),
    Mutant(
        name="nobody joins",
        rule="P4",
        breaks=(without(liveness.rule_join),),
        killers=(V.test_the_own_view_change_counts_for_joining,),
    ),
    Mutant(
        name="one member moves all",
        rule="P4",
        breaks=((progress, "join_slot", join_one),),
        killers=(V.test_f_members_move_nobody,),
    ),
    Mutant(
        name="no justified proposals",
        rule="P5",
        breaks=(without(liveness.rule_propose_justified),),
        killers=(loss_for_ever,),
    ),
    Mutant(
        name="nothing is sent again",
        rule="P7",
        breaks=(without(liveness.rule_resend),),
        killers=(loss_for_ever,),
    ),
    Mutant(
        name="who is behind is not answered",
        rule="P8",
        breaks=((heights, "_send_decided", nothing_happens),),
        killers=(crashes,),
    ),
    Mutant(
        name="answers without a limit",
        rule="P8",
        breaks=((heights, "ASK_FRACTION", 10**9),),
        killers=(test_intake.test_one_that_catches_up_is_answered_sooner_but_four_times_a_slot_at_most,),
    ),
    Mutant(
        name="any number of statements of one member is kept",
        rule="bounds",
        breaks=((tally, "SLOTS_PER_SIGNER_MAX", 10**9),),
        killers=(far_future_liars,),
    ),
    Mutant(
        name="bodies are kept for the whole height",
        rule="bounds",
        breaks=((HeightState, "forget_unused", nothing_happens),),
        killers=(S.test_a_liars_invalid_blocks_neither_pile_up_nor_go_first,),
    ),
    Mutant(
        name="messages of any later height are held",
        rule="bounds",
        breaks=((intake.Intake, "_hold", hold_everything),),
        killers=(far_future_liars,),
    ),
    Mutant(
        name="the present slot is the own clock's",
        rule="present slot",
        breaks=((clock.MemberClocks, "present_slot", trust_the_own_clock),),
        killers=(test_clock.test_from_two_f_plus_one_on_a_fast_clock_follows_the_members,),
    ),
)
