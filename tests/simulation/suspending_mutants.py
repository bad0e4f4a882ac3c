"""Deliberate breaks of what holds of suspended members: they lead nothing, and nobody waits for them.

Not told apart: that P5 asks who leads a slot. No slot that nobody leads is ever justified, as honest members ask for
none, and F liars with the proposer's own are no quorum.
"""

from typing import Final

from consensus import liveness, progress, verification
from consensus.events import Instant
from consensus.member import Member
from consensus.membership import Leaders
from consensus.safety import view_change
from contracts import execution, proposals
from ledger import eras, validation
from tests.simulation import breaks, test_suspended
from tests.simulation.directed import directed
from tests.simulation.mutant import Mutant, edited
from tests.unit.consensus import test_leaders
from tests.unit.contracts import test_suspending
from tests.unit.ledger import test_suspended_leaders

L = test_leaders
Q = test_suspending
S = test_suspended
T = test_suspended_leaders

RULE: Final = "suspended members lead nothing"


def join_what_is_asked_for(member: Member, now: Instant) -> bool:
    state = member.state
    slot = progress.join_slot(state.view_changes.highest_slots().values(), state.membership.fault_bound)
    return slot is not None and view_change(member, slot, now)


def breaking(name: str, break_: object, *killers: object) -> Mutant:
    return Mutant(name=name, rule=RULE, breaks=(break_,), killers=killers)  # type: ignore[arg-type]


LEADS_ANYWAY: Final = ("leaders.at(", "leaders.whose(")

SUSPENDING_MUTANTS: Final = (
    breaking(
        "a quorum's word takes the stake",
        edited(
            proposals,
            "_carry_out",
            ("set_suspended(member, suspended, reference=proposal.name)", "suspend(member, reference=proposal.name)"),
        ),
        Q.test_the_block_with_the_quorums_approval_suspends_and_takes_nothing,
        Q.test_a_quorum_reinstates_and_it_trades_again,
    ),
    breaking(
        "who made up the quorum withdraws behind the last approval",
        edited(
            execution, "execute_withdrawal", ("if _is_over(run, proposal):", "if proposal.status not in UNFINISHED:")
        ),
        Q.test_who_made_up_the_quorum_cannot_take_it_back_in_the_same_block,
    ),
    breaking(
        "what was done is done again",
        edited(proposals, "_suspension_refusal", ("is_suspended == change.suspended", "is_suspended is None")),
        Q.test_of_two_proposals_the_second_is_over_with_the_first,
        directed(Q.test_what_changes_nothing_is_declined, says=True),
    ),
    breaking(
        "who left is suspended",
        edited(proposals, "_suspension_refusal", ("not is_member(run.overlay, member)", "False")),
        Q.test_who_left_meanwhile_is_not_suspended,
    ),
    breaking(
        "a proposal of theirs is taken",
        edited(verification, "_check_pre_prepare", LEADS_ANYWAY),
        L.test_a_suspended_members_proposal_is_refused_with_and_without_a_justification,
        L.test_a_suspension_holds_from_the_height_above_its_block_on,
        directed(S.test_a_liar_that_leads_though_it_is_suspended_is_heard_by_nobody, members=4, liars=(1,)),
    ),
    breaking(
        "a block of theirs is valid",
        edited(validation, "_header_refusal", ("header.leader, leader),", "header.leader, header.leader),")),
        directed(T.test_a_block_that_it_leads_is_refused_before_it_is_executed),
        directed(T.test_no_quorums_word_makes_it_right),
        directed(T.test_verify_finds_it_in_a_ledger_that_took_it),
    ),
    breaking(
        "the ledger forgets who is suspended",
        edited(
            eras.BegunEras,
            "memberships_after",
            ("suspended=suspended_among(sets[0].addresses, overlay)", "suspended=frozenset()"),
        ),
        directed(T.test_from_the_height_above_on_the_members_slots_pass_unused),
        directed(T.test_it_is_so_after_a_restart_too),
    ),
    breaking(
        "they propose in their slots",
        edited(liveness, "_may_propose_fast", LEADS_ANYWAY),
        L.test_who_is_suspended_itself_proposes_nothing_and_votes,
    ),
    breaking(
        "fewer than a quorum lead",
        edited(Leaders, "__init__", ("passing if is_enough else frozenset()", "passing")),
        L.test_where_fewer_than_a_quorum_would_be_left_the_suspended_lead_too,
        directed(T.test_a_second_suspended_one_of_four_has_all_lead),
    ),
    breaking(
        "one honest leader is held to be enough",
        edited(Leaders, "__init__", (">= membership.quorum", ">= membership.weak_quorum")),
        L.test_at_least_a_quorum_may_lead_always,
    ),
    breaking(
        "slots are shared out among those who may lead",
        (Leaders, "at", L.shared_out),
        L.test_attempts_at_every_distance_pass_through_all_that_may_lead_and_no_other,
    ),
    breaking(
        "the first view change asks for a slot that nobody leads",
        edited(liveness, "first_attempt", ("member.leaders.next_slot", "Slot")),
        L.test_the_first_view_change_passes_over_a_slot_that_nobody_leads,
    ),
    breaking(
        "a later attempt asks for a slot that nobody leads",
        edited(liveness, "attempt_after", ("member.leaders.next_slot(multiple)", "multiple")),
        L.test_the_next_attempt_passes_over_a_slot_that_nobody_leads_and_comes_no_later,
    ),
    breaking(
        "a liar leads others into a slot that nobody leads",
        breaks.instead(liveness.rule_join, join_what_is_asked_for),
        L.test_nobody_is_led_by_a_liar_into_a_slot_that_nobody_leads,
    ),
)
