"""Deliberate breaks of the protocol's rules, and what must notice each.

A mutant replaces functions of the production modules while its killer runs. A killer is a set of simulated runs
or one directed scenario of the unit tests; on the true code it passes, on the mutant each of its killers must fail.
A mutant that survives means that a rule is not tested, or not needed.
"""

import msgspec

from consensus import (
    clock,
    heights,
    intake,
    liveness,
    member,
    progress,
    proposals,
    quorum,
    recovery,
    relaying,
    replica,
    safety,
    tally,
    verification,
)
from consensus.events import Outbox
from consensus.height import HeightState
from consensus.identifiers import Height
from consensus.membership import Membership, Memberships
from consensus.tally import Tally
from node.chain import driver
from tests.simulation import breaks, byzantine, checker, test_links, test_overload, wrong_clocks
from tests.simulation.ceremony_mutants import CEREMONY_MUTANTS
from tests.simulation.faults import Faults, Role
from tests.simulation.host import TAU_MS
from tests.simulation.hosting_mutants import HOSTING_MUTANTS
from tests.simulation.inquiries import run_inquiries
from tests.simulation.leading import lead
from tests.simulation.links import run_pattern
from tests.simulation.mutant import Mutant, edited
from tests.simulation.network import RECOVERY_SLOTS_MAX, Network, run_requests
from tests.simulation.schedules import CommittedThenRestarted
from tests.simulation.signing import keyed_hash_keys, keyed_hashes
from tests.unit.consensus import (
    test_clock,
    test_intake,
    test_membership,
    test_progress,
    test_proposals,
    test_recovery,
    test_relaying,
    test_replica_normal_case,
    test_replica_restart,
    test_replica_safety,
    test_replica_view_changes,
    test_verification,
)

REQUESTS = 8
FAULTY_MS = 10_000


# --- killers that simulate -------------------------------------------------------------------------------------


def simulate(members: int, seeds: range, faults: Faults, requests: int = REQUESTS) -> None:
    with keyed_hashes():
        for seed in seeds:
            network = Network(members, seed, faults, keys=keyed_hash_keys(members))
            limit_ms = FAULTY_MS + RECOVERY_SLOTS_MAX * TAU_MS
            assert run_requests(network, requests=requests, spread_ms=FAULTY_MS // 2, limit_ms=limit_ms), "stuck"


def liars_fork_five_and_six() -> None:
    for members in (5, 6):
        simulate(members, range(4), Faults(roles=(Role.EQUIVOCATING,), until_ms=FAULTY_MS, partition_ms=1_000))


def liars_and_loss() -> None:
    simulate(4, range(4), Faults(roles=(Role.EQUIVOCATING,), until_ms=FAULTY_MS, loss=0.2, delay_ms_max=400))


def crashes() -> None:
    simulate(4, range(6), Faults(until_ms=FAULTY_MS, loss=0.1, crash_per_point=0.03, delay_ms_max=200))


def failing_disks() -> None:
    """Writes fail, processes die before and in the middle of others, and an old sign state is put back."""
    faults = Faults(
        until_ms=FAULTY_MS,
        loss=0.1,
        crash_per_point=0.01,
        failing_writes=0.02,
        delay_ms_max=200,
        roles=(Role.OLD_SIGN_STATE,),
    )
    simulate(4, range(8), faults)


def old_sign_states() -> None:
    """The sign state of a moment ago is put back, while members ask for one view after the other."""
    faults = Faults(
        until_ms=2 * FAULTY_MS,
        loss=0.3,
        crash_per_tick=0.01,
        delay_ms_max=400,
        straggling=0.1,
        roles=(Role.OLD_SIGN_STATE,) * 2,
    )
    simulate(7, range(8), faults)


def loss_for_ever() -> None:
    simulate(4, range(12), Faults(loss=0.4, roles=(Role.SILENT,), delay_ms_max=200))


def a_dead_member() -> None:
    simulate(4, range(2), Faults(roles=(Role.SILENT,), delay_ms_max=100))


def far_future_liars() -> None:
    simulate(7, range(3), Faults(until_ms=FAULTY_MS, loss=0.3, delay_ms_max=400, roles=(Role.FAR_FUTURE,) * 2))


def a_backlog_of_many_blocks() -> None:
    with keyed_hashes():
        network = Network(4, 1, Faults(), keys=keyed_hash_keys(4))
        assert run_requests(network, requests=200, spread_ms=0, limit_ms=60 * TAU_MS), "stuck"
        assert sum(host.view_changes for host in network.hosts) == 0, "a view change without a fault"


def forging_liars() -> None:
    """They propose and prove what they should not, and every vote is checked for what it follows from."""
    faults = Faults(until_ms=FAULTY_MS, loss=0.2, delay_ms_max=300, straggling=0.05, roles=(Role.FORGING,) * 2)
    simulate(7, range(70), faults, 2 * REQUESTS)


def dead_pairs() -> None:
    """Members 0 and 1 do not hear each other, nor do 2 and 3."""
    decides_in_spite_of({(0, 1), (1, 0), (2, 3), (3, 2)})


def dead_one_way() -> None:
    """Somebody hears nobody who hears it: that it is behind others learn over third ones only."""
    for pattern in ONE_WAY:
        decides_in_spite_of(pattern)


ONE_WAY = (
    {(0, 3), (1, 0), (2, 0)},
    {(0, 1), (1, 2), (2, 0), (3, 0)},
    {(0, 2), (1, 0), (1, 2), (3, 0)},
)


def lossy_one_way() -> None:
    test_links.test_what_was_lost_leaves_nobody_behind_who_is_heard_over_three_links()


def soon_in_spite_of_dead_links() -> None:
    test_links.test_with_more_members_a_later_request_takes_less_than_half_a_slot(5, True, 40)


def decides_in_spite_of(dead: set[tuple[int, int]]) -> None:
    assert not run_pattern(frozenset(dead), 4).stood, "stuck"


def no_message_more_where_all_links_work() -> None:
    test_links.test_where_all_links_work_passing_on_changes_nothing(4, 20)


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


def a_greedy_leader() -> None:
    led = lead(4, 200, greedy=(1,))
    assert min(led.blocks) > 200 // 4 * 0.8, "the leader before it lost its blocks"


def inquiries_of_who_forgot() -> None:
    run_inquiries(range(3_000))


N = test_replica_normal_case
P = test_proposals
S = test_replica_safety
V = test_replica_view_changes
R = test_replica_restart

MUTANTS = (
    Mutant(
        name="a quorum of 2 F + 1",
        rule="Q",
        breaks=((quorum, "quorum", breaks.two_f_plus_one),),
        killers=(liars_fork_five_and_six,),
    ),
    Mutant(
        name="votes and promises are sent before they are durable",
        rule="order",
        breaks=((Outbox, "effects", breaks.outbox_without("sign_state")),),
        killers=(a_dead_member,),
    ),
    Mutant(
        name="a proposal voted for is not persisted",
        rule="order",
        breaks=((Outbox, "effects", breaks.outbox_without("voted")),),
        killers=(a_dead_member,),
    ),
    Mutant(
        name="a certificate is not persisted before its COMMIT",
        rule="order",
        breaks=((Outbox, "effects", breaks.outbox_without("prepared")),),
        killers=(a_dead_member,),
    ),
    Mutant(
        name="the sign state is forgotten at a restart",
        rule="order",
        breaks=((replica, "binding", breaks.forget_at_restart),),
        killers=(crashes,),
    ),
    Mutant(
        name="messages leave before what they say is written",
        rule="driver",
        breaks=((driver.Driver, "_carry_out", breaks.send_before_persist),),
        killers=(crashes,),
    ),
    Mutant(
        name="the prepared record is left out",
        rule="driver",
        breaks=((driver.Driver, "_persist", breaks.without_prepared_record),),
        killers=(crashes,),
    ),
    Mutant(
        name="the sign state's copy is left out",
        rule="driver",
        breaks=((driver.Driver, "_persist", breaks.without_copy_of_sign_state),),
        killers=(old_sign_states,),
    ),
    Mutant(
        name="a step that fails is passed over",
        rule="driver",
        breaks=((driver.Driver, "_step_all", breaks.step_over_failures),),
        killers=(failing_disks,),
    ),
    Mutant(
        name="a write that fails is passed over",
        rule="driver",
        breaks=((driver.Driver, "_persist", breaks.persist_what_can_be),),
        killers=(failing_disks,),
    ),
    Mutant(
        name="who lost its certificates signs on",
        rule="order",
        breaks=((replica, "binding", breaks.never_silent),),
        killers=(lambda: R.test_without_what_the_sign_state_names_nothing_is_signed_at_the_height(R.lost_vote),),
    ),
    Mutant(
        name="who lost its sign state signs on once it has asked",
        rule="order",
        breaks=((recovery.Inquiry, "silent_through", lambda _own, _undecided, _memberships: Height(0)),),
        killers=(inquiries_of_who_forgot,),
    ),
    Mutant(
        name="two votes in one slot",
        rule="S1",
        breaks=((safety, "_is_votable", breaks.votable_again_in_a_slot),),
        killers=(S.test_one_vote_per_slot,),
    ),
    Mutant(
        name="a promise does not bar votes",
        rule="S1",
        breaks=((HeightState, "may_vote_at", breaks.vote_below_the_promise),),
        killers=(
            forging_liars,
            S.test_a_promise_bars_votes_below_it,
        ),
    ),
    Mutant(
        name="a vote without justification though not fresh",
        rule="S1",
        breaks=((safety, "_is_votable", breaks.votable_though_not_fresh),),
        killers=(
            forging_liars,
            S.test_who_voted_at_the_height_needs_a_justification,
        ),
    ),
    Mutant(
        name="a vote before the block was executed",
        rule="S1",
        breaks=((safety, "_may_vote", breaks.may_vote_unvalidated),),
        killers=(N.test_a_member_validates_votes_commits_and_decides,),
    ),
    Mutant(
        name="any slot in the header",
        rule="S1",
        breaks=((safety, "_may_vote", breaks.may_vote_for_any_header),),
        killers=(
            forging_liars,
            lambda: S.test_an_unjustified_block_carries_its_slot_in_its_header(2**62),
        ),
    ),
    Mutant(
        name="a justification for any block",
        rule="S2",
        breaks=((verification, "justification_holds", breaks.holds_for_any),),
        killers=(
            forging_liars,
            lambda: test_verification.test_a_wrong_justification_is_refused(
                test_verification.SEVEN.pre_prepare(5, b"other", test_verification.ONE_CLAIMED)
            ),
        ),
    ),
    Mutant(
        name="a justification by Q - 1",
        rule="S2",
        breaks=((verification, "justification_holds", breaks.holds_with_one_less),),
        killers=(
            forging_liars,
            lambda: test_verification.test_a_wrong_justification_is_refused(
                test_verification.SEVEN.pre_prepare(5, b"any", test_verification.SEVEN.justification(5, by=range(4)))
            ),
        ),
    ),
    Mutant(
        name="a justification by VIEW-CHANGEs of lower slots",
        rule="S2",
        breaks=((verification, "justification_holds", breaks.holds_for_lower_slots),),
        killers=(
            forging_liars,
            lambda: test_verification.test_a_wrong_justification_is_refused(
                test_verification.SEVEN.pre_prepare(5, b"any", test_verification.SEVEN.justification(4))
            ),
        ),
    ),
    Mutant(
        name="a VIEW-CHANGE's claim is not signed",
        rule="S2",
        breaks=tuple(
            (module, "view_change_bytes", breaks.view_change_bytes_without_claim)
            for module in (safety, verification, byzantine, checker)
        ),
        killers=(forging_liars,),
    ),
    Mutant(
        name="a claim without its certificate counts",
        rule="S2",
        breaks=((verification, "_claim_has_its_certificate", lambda _: True),),
        killers=(test_verification.test_a_claim_without_its_certificate_is_never_read_as_none,),
    ),
    Mutant(
        name="certificates by Q - 1",
        rule="PC, CC",
        breaks=((verification, "_endorsements_hold", breaks.hold_with_one_less),),
        killers=(
            forging_liars,
            S.test_a_certificate_with_one_commit_less_decides_nothing,
        ),
    ),
    Mutant(
        name="one member counts twice in a certificate",
        rule="PC, CC",
        breaks=((verification, "_strictly_ascending", lambda _: True),),
        killers=(
            forging_liars,
            lambda: test_verification.test_a_changed_commit_certificate_decides_nothing(
                lambda c: msgspec.structs.replace(c, endorsements=(*c.endorsements[:-1], c.endorsements[-2]))
            ),
        ),
    ),
    Mutant(
        name="certificates across slots",
        rule="CC",
        breaks=((safety, "quorum_for_block", breaks.quorum_across_slots),),
        killers=(
            forging_liars,
            S.test_commits_of_different_slots_decide_nothing,
        ),
    ),
    Mutant(
        name="a stripped justification keeps out the real one",
        rule="S2",
        breaks=((Tally, "replace", breaks.first_stays),),
        killers=(S.test_a_stripped_justification_does_not_keep_out_the_real_one,),
    ),
    Mutant(
        name="a promise does not bar commits",
        rule="S3",
        breaks=((HeightState, "may_commit_at", breaks.commit_below_the_promise),),
        killers=(liars_and_loss, crashes, lambda: S.test_a_promise_bars_commits_below_it(8, 0)),
    ),
    Mutant(
        name="a commit without the body",
        rule="S3",
        breaks=((member.Member, "body_or_ask", breaks.body_of_nothing),),
        killers=(
            forging_liars,
            S.test_a_commit_needs_the_body,
        ),
    ),
    Mutant(
        name="the prepared block is forgotten in view changes",
        rule="S4",
        breaks=(
            (safety, "send_view_change", breaks.claim_nothing),
            (liveness, "send_view_change", breaks.claim_nothing),
        ),
        killers=(liars_and_loss, S.test_the_prepared_block_survives_the_view_change_of_its_holder),
    ),
    Mutant(
        name="VIEW-CHANGEs for slots not above the base",
        rule="S4",
        breaks=(
            (safety, "view_change", breaks.view_change_anywhere),
            (liveness, "view_change", breaks.view_change_anywhere),
        ),
        killers=(lambda: S.test_a_view_change_lies_above_vote_promise_commit_and_parent(7),),
    ),
    Mutant(
        name="no decision below the promise",
        rule="S5",
        breaks=(breaks.instead(safety.rule_decide, breaks.decide_above_the_promise),),
        killers=(S.test_commits_below_the_promise_decide_too,),
    ),
    Mutant(
        name="unjustified proposals of any later slot are taken",
        rule="P1",
        breaks=((replica.Replica, "_receive_pre_prepare", breaks.receive_of_any_slot),),
        killers=(lambda: V.test_an_unjustified_proposal_of_the_far_future_is_ignored(2**62, is_taken=False),),
    ),
    Mutant(
        name="a proposal before its slot is taken at once",
        rule="P1",
        breaks=((proposals, "_has_begun", lambda _member, _slot, _now: True),),
        killers=(a_greedy_leader, P.test_a_proposal_of_the_next_slot_waits_until_that_begins),
    ),
    Mutant(
        name="where F = 0 a leader's own vote shows that its slot has begun",
        rule="P1",
        breaks=((proposals, "VOTERS_MIN", 1),),
        killers=(P.test_the_leader_alone_does_not_show_it_where_f_is_0,),
    ),
    Mutant(
        name="votes do not show that a slot has begun",
        rule="P1",
        breaks=((proposals, "VOTERS_MIN", 10**9),),
        killers=(lambda: P.test_f_and_one_votes_show_that_the_slot_has_begun(4, 1, is_taken=True),),
    ),
    Mutant(
        name="a slot is handed over at the same moment however long blocks take",
        rule="P1",
        breaks=((liveness, "HANDOVER_FRACTION_MAX", liveness.HANDOVER_FRACTION),),
        killers=(lambda: N.test_where_blocks_take_longer_the_slot_is_handed_over_earlier(0.3, 0.7, is_asked=False),),
    ),
    Mutant(
        name="the next leader does not wait for its predecessor's proposal",
        rule="P1",
        breaks=((liveness, "has_proposal_to_judge", lambda _member, earliest: False),),
        killers=(N.test_the_leader_waits_for_its_predecessors_proposal_to_be_executed,),
    ),
    Mutant(
        name="a slot is given up before what arrived is read",
        rule="P2",
        breaks=((replica, "TIMED_RULES", frozenset()),),
        killers=(V.test_what_arrived_while_a_member_was_held_up_goes_before_the_view_change,),
    ),
    Mutant(
        name="a backlog ages before its height starts",
        rule="P2",
        breaks=((liveness, "waiting_since_ms", breaks.waiting_since_arrival_ms),),
        killers=(a_backlog_of_many_blocks, V.test_a_backlog_ages_only_from_the_start_of_the_height),
    ),
    Mutant(
        name="a vote in a slot that the clock showed too early binds until that begins",
        rule="P2",
        breaks=((liveness, "first_attempt", lambda own, now: own.present_slot(now)),),
        killers=(
            lambda: wrong_clocks.voted_while_clocks_were_wrong(4),
            lambda: V.test_where_the_clock_went_back_behind_a_vote_it_starts_above_that(2),
        ),
    ),
    Mutant(
        name="no view change is ever started",
        rule="P2",
        breaks=(breaks.without(liveness.rule_start),),
        killers=(loss_for_ever,),
    ),
    Mutant(
        name="one attempt only",
        rule="P3",
        breaks=(breaks.without(liveness.rule_next_attempt),),
        killers=(loss_for_ever, V.test_attempts_move_apart_by_powers_of_three),
    ),
    Mutant(
        name="only VIEW-CHANGEs count for the next attempt, not COMMITs",
        rule="P3",
        breaks=(breaks.instead(liveness.rule_note_view_change_quorum, breaks.stand_for_view_changes_only),),
        killers=(
            lambda: CommittedThenRestarted().run(),
            V.test_a_commit_at_the_promised_slot_stands_for_its_senders_view_change,
        ),
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
        breaks=(breaks.without(liveness.rule_join),),
        killers=(V.test_the_own_view_change_counts_for_joining,),
    ),
    Mutant(
        name="one member moves all",
        rule="P4",
        breaks=((progress, "join_slot", breaks.join_one),),
        killers=(V.test_f_members_move_nobody,),
    ),
    Mutant(
        name="no justified proposals",
        rule="P5",
        breaks=(breaks.without(liveness.rule_propose_justified),),
        killers=(loss_for_ever,),
    ),
    Mutant(
        name="nothing is sent again",
        rule="P7",
        breaks=(breaks.without(liveness.rule_resend),),
        killers=(loss_for_ever,),
    ),
    Mutant(
        name="nothing is passed on",
        rule="P9",
        breaks=(breaks.without(relaying.rule_relay),),
        killers=(dead_pairs, test_relaying.test_then_each_statement_goes_to_all_but_its_signer_once),
    ),
    Mutant(
        name="what is passed on is held by sender",
        rule="P9",
        breaks=((intake, "signer_of", lambda arrived: arrived.sender),),
        killers=(test_intake.test_what_a_member_passes_on_of_several_signers_waits_side_by_side,),
    ),
    Mutant(
        name="a statement is passed on to its signer",
        rule="P9",
        breaks=(breaks.instead(relaying.rule_relay, breaks.relay_to_the_signer),),
        killers=(dead_pairs,),
    ),
    Mutant(
        name="the STATUS of who is not heard is not passed on",
        rule="P9",
        breaks=((relaying, "pass_on_status", breaks.nothing_happens),),
        killers=(dead_one_way,),
    ),
    Mutant(
        name="everything is always passed on",
        rule="P9",
        breaks=((member.Member, "is_relaying", property(lambda own: own.may_relay)),),
        killers=(
            no_message_more_where_all_links_work,
            test_relaying.test_nothing_is_passed_on_before_two_thirds_of_a_slot_of_silence,
        ),
    ),
    Mutant(
        name="statements are passed on among any number of members",
        rule="P9",
        breaks=((member.Member, "may_relay", property(lambda _: True)),),
        killers=(
            test_relaying.test_more_than_thirteen_members_pass_nothing_on,
            test_relaying.test_more_than_thirteen_members_pass_no_status_on_and_answer_none,
        ),
    ),
    Mutant(
        name="what was passed on once is never passed on again",
        rule="P9",
        breaks=(breaks.instead(liveness.rule_resend, breaks.resend_and_remember),),
        killers=(test_relaying.test_it_goes_again_with_each_resending,),
    ),
    Mutant(
        name="who passes a STATUS on is taken for its origin",
        rule="P9",
        breaks=(edited(relaying, "answer_origin", ("origin = message.origin", "origin = sender")),),
        killers=(test_relaying.test_who_is_heard_over_others_only_and_behind_is_sent_what_it_lacks_once_a_slot,),
    ),
    Mutant(
        name="what is passed on goes to those that hear the signer, too",
        rule="P9",
        breaks=((relaying, "_hearing", lambda *_: ()),),
        killers=(
            lambda: test_links.test_where_all_links_work_passing_on_changes_nothing(4, 150),
            test_relaying.test_who_says_that_it_hears_a_signer_is_passed_nothing_of_it,
        ),
    ),
    Mutant(
        name="once a slot is given up everything goes on to all, also to those that hear the signer",
        rule="P9",
        breaks=((relaying, "_hearing", breaks.hearing_until_a_slot_is_given_up),),
        killers=(
            test_relaying.test_that_is_believed_also_once_the_slot_is_given_up,
            lambda: test_overload.test_members_of_one_machine_that_start_one_after_the_other_decide_soon(7, 1.0, 0),
        ),
    ),
    Mutant(
        name="any number of statements of one member is passed on",
        rule="P9",
        breaks=((relaying, "RELAYED_PER_SIGNER_MAX", 10**9),),
        killers=(test_relaying.test_however_much_a_member_signs_little_of_it_is_passed_on_until_the_next_resending,),
    ),
    Mutant(
        name="a STATUS that came over others goes no further",
        rule="P9",
        breaks=((relaying, "_pass_on_further", breaks.nothing_happens),),
        killers=(lossy_one_way,),
    ),
    Mutant(
        name="requests are not passed on where links are dead",
        rule="P9",
        breaks=((replica.Replica, "may_lack", lambda *_: []),),
        killers=(soon_in_spite_of_dead_links,),
    ),
    Mutant(
        name="what others say of a member that is heard is believed",
        rule="P9",
        breaks=((relaying, "_is_heard", lambda *_: False),),
        killers=(test_relaying.test_who_is_heard_speaks_for_itself,),
    ),
    Mutant(
        name="who is behind is not answered",
        rule="P8",
        breaks=((heights, "send_decided", breaks.nothing_happens),),
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
        breaks=((HeightState, "forget_unused", breaks.nothing_happens),),
        killers=(S.test_a_liars_invalid_blocks_neither_pile_up_nor_go_first,),
    ),
    Mutant(
        name="messages of any later height are held",
        rule="bounds",
        breaks=((intake.Intake, "_hold", breaks.hold_everything),),
        killers=(far_future_liars,),
    ),
    Mutant(
        name="the present slot is the own clock's",
        rule="present slot",
        breaks=((clock.MemberClocks, "present_slot", breaks.trust_the_own_clock),),
        killers=(test_clock.test_from_two_f_plus_one_on_a_fast_clock_follows_the_members,),
    ),
    Mutant(
        name="a jump of the clock is followed at once",
        rule="present slot",
        breaks=((clock.OwnClock, "_is_jump", lambda _clock, _by_ms: False),),
        killers=(
            lambda: wrong_clocks.an_hour_ahead_for_three_seconds(4),
            lambda: test_clock.test_a_jump_is_followed_once_the_clock_has_stayed(test_clock.HOUR_SLOTS),
        ),
    ),
    Mutant(
        name="STATUS reports the wall clock",
        rule="present slot",
        breaks=((heights, "status", breaks.status_of_the_wall_clock),),
        killers=(
            lambda: wrong_clocks.an_hour_ahead_for_three_seconds(4),
            test_clock.test_status_reports_the_clock_that_is_followed,
        ),
    ),
    Mutant(
        name="a clock that jumped is never followed",
        rule="present slot",
        breaks=((clock.OwnClock, "observe", breaks.observe_for_ever),),
        killers=(
            lambda: wrong_clocks.an_hour_ahead_for_good(4),
            lambda: test_clock.test_a_jump_is_followed_once_the_clock_has_stayed(-100),
        ),
    ),
    Mutant(
        name="one member is enough to follow a jump",
        rule="present slot",
        breaks=((clock.MemberClocks, "near", breaks.one_is_enough),),
        killers=(
            lambda: test_clock.test_a_jump_is_followed_at_once_where_f_and_one_others_are(4, (0,), is_followed=False),
        ),
    ),
    Mutant(
        name="the digest of the members has no order",
        rule="members",
        breaks=((Membership, "digest", breaks.digest_of_keys_in_any_order),),
        killers=(test_membership.test_the_digest_commits_to_the_order,),
    ),
    Mutant(
        name="the digest of the members has no keys",
        rule="members",
        breaks=((Membership, "digest", breaks.digest_of_addresses),),
        killers=(test_membership.test_the_digest_commits_to_the_keys,),
    ),
    Mutant(
        name="a home signs under a key that the height does not have of it",
        rule="members",
        breaks=((member.Member, "may_sign", breaks.may_sign_under_any_key),),
        killers=(test_membership.test_a_home_signs_at_a_height_only_under_the_key_that_the_height_has_of_it,),
    ),
    Mutant(
        name="who joins with the next height hears nothing of this one",
        rule="members",
        breaks=((Memberships, "joining", ()),),
        killers=(
            test_membership.test_what_is_signed_at_a_height_goes_to_who_joins_with_the_next_one,
            test_membership.test_status_reaches_who_joins_with_the_next_height,
        ),
    ),
    Mutant(
        name="who forgot counts the answers of the set that it had when it asked",
        rule="recovery",
        breaks=((recovery.Inquiry, "silent_through", breaks.silent_by_the_set_when_asked),),
        killers=(inquiries_of_who_forgot,),
    ),
    Mutant(
        name="who forgot asks the members of its own height",
        rule="recovery",
        breaks=((recovery, "asked_members", lambda memberships: memberships.undecided),),
        killers=(inquiries_of_who_forgot,),
    ),
    Mutant(
        name="answers above the own height count",
        rule="recovery",
        breaks=(edited(recovery.Inquiry, "silent_through", ("and answered <= undecided", "")),),
        killers=(inquiries_of_who_forgot, test_recovery.test_an_answer_counts_once_the_own_ledger_is_as_far),
    ),
    Mutant(
        name="the silence ends with the own height",
        rule="recovery",
        breaks=((recovery.Inquiry, "silent_through", breaks.silent_through_the_own_height),),
        killers=(inquiries_of_who_forgot,),
    ),
    Mutant(
        name="who keeps silent answers",
        rule="recovery",
        breaks=((recovery, "answer_to", breaks.answer_though_silent),),
        killers=(inquiries_of_who_forgot,),
    ),
    Mutant(
        name="an answer needs no signature",
        rule="recovery",
        breaks=((recovery, "_is_signed", lambda *_: True),),
        killers=(
            lambda: test_recovery.test_what_is_no_answer_to_this_question_does_not_count(
                test_recovery.IN_ANOTHERS_NAME, recovery.AnswerRefusal.BAD_SIGNATURE
            ),
        ),
    ),
    *CEREMONY_MUTANTS,
    *HOSTING_MUTANTS,
)
