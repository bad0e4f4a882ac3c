"""Deliberate breaks of what holds where clusters are drawn: of a slot's two leaders, of certificates in few bytes.

Not told apart: that a short form has exactly Q bits, signatures and era; the certificate that it makes is asked the
same.
"""

from typing import Final
from unittest.mock import patch

from consensus import collecting, explain, gathering, heights, intake, liveness, recovery, safety, verification
from consensus.events import Instant
from consensus.intake import Intake
from consensus.member import Member
from consensus.membership import Leaders
from consensus.replica import Replica, Rule
from ledger import validation
from node.chain.driver import Driver
from tests.simulation import breaks, test_clusters, test_scale
from tests.simulation.directed import directed
from tests.simulation.mutant import Mutant, edited
from tests.support import consensus as support
from tests.unit.consensus import test_collecting, test_explaining_collectors, test_gathering, test_two_leaders
from tests.unit.ledger import test_drawn_clusters

G = test_gathering
K = test_collecting
X = test_explaining_collectors
L = test_two_leaders
D = test_drawn_clusters

RULE: Final = "a slot has two leaders"


true_at = Leaders.at


def propose_as_drawn(member: Member, now: Instant) -> bool:
    with patch.object(Leaders, "at", lambda leaders, slot, is_justified: true_at(leaders, slot)):
        return liveness.rule_propose_justified(member, now)


def breaking(name: str, break_: object, *killers: object) -> Mutant:
    return Mutant(name=name, rule=RULE, breaks=(break_,), killers=killers)  # type: ignore[arg-type]


def collecting_break(name: str, break_: object, *killers: object) -> Mutant:
    return Mutant(name=name, rule="P10", breaks=(break_,), killers=killers)  # type: ignore[arg-type]


def rule_edited(rule: Rule, *replacements: tuple[str, str]) -> tuple[object, str, object]:
    """Returns a break of a rule in its place among the rules."""
    _, _, edit = edited(collecting, rule.__name__, *replacements)
    return breaks.instead(rule, edit.compiled(lambda: None))


TO_ALL: Final = K.test_to_all_goes_what_is_not_on_the_fast_path
FORGOTTEN: Final = K.test_an_own_statement_in_a_certificate_shows_that_it_was_forgotten

NOT_FAST: Final = {
    "a justified proposal": edited(Member, "is_fast_at", (" and voted.justification is None", "")),
    "a slot given up": edited(Member, "is_fast_at", ("state.sign_state.attempts == 0 and ", "")),
    "after stage 2": edited(Member, "is_fast_at", ("not state.is_plain and ", "")),
    "no vote of its own": edited(
        Member, "is_fast_at", ("return has_voted and", "return (has_voted or voted is None) and")
    ),
    "it passes on": edited(Member, "is_fast_at", (" and not self.is_relaying", "")),
}

CLUSTER_MUTANTS: Final = (
    breaking(
        "a short form's bitmap may have another length",
        edited(gathering, "_signers", ("len(gathered.signers) == membership.bitmap_size_bytes", "True")),
        directed(G.test_what_is_changed_is_no_certificate, change="a longer bitmap"),
    ),
    breaking(
        "a short form is believed unchecked",
        edited(
            G,
            "certificate_in",
            ("certificate if prepared_certificate_holds(certificate, membership, era) else None", "certificate"),
        ),
        *(
            directed(G.test_what_is_changed_is_no_certificate, change=row)
            for row in ("one signature twice for two", "signatures in another order", "bits of others")
        ),
        G.test_one_bad_signature_among_them_is_enough,
    ),
    breaking(
        "a short form has the signatures in the order of addresses",
        edited(G, "gathered_of", ("for address in signed)", "for address in sorted(signatures))")),
        directed(G.test_every_certificate_comes_back_whole_over_the_wire, count=7),
    ),
    breaking(
        "a short form of votes is read as one of COMMITs",
        edited(
            verification,
            "certificate_of",
            ("PreparedCertificate if gathered.kind is EndorsedStatement.VOTE else ", ""),
        ),
        directed(G.test_every_certificate_comes_back_whole_over_the_wire, count=7),
    ),
    breaking(
        "who may propose is asked without looking at the justification",
        edited(verification, "_check_pre_prepare", ("message.justification is not None", "False")),
        L.test_each_proposes_in_its_own_way_only,
    ),
    breaking(
        "attempts are led in the order of admission though something is drawn",
        edited(Leaders, "order", ("members if self._sampling is None else self._sampling.order(members)", "members")),
        L.test_one_is_drawn_for_the_slot_the_other_stands_in_an_order_of_the_height,
    ),
    breaking(
        "attempts are led by who is drawn for the slot",
        edited(Leaders, "whose", ("self.order if is_justified else ", "")),
        L.test_attempts_at_every_distance_pass_through_all_members,
    ),
    breaking(
        "attempts ask for slots that the drawn leader leads",
        edited(Leaders, "next_slot", ("is_justified=is_justified", "is_justified=False")),
        L.test_a_suspended_member_leads_in_neither_way_and_attempts_pass_over_its_slots,
        L.test_the_next_attempt_asks_for_a_slot_of_the_order,
    ),
    breaking(
        "clusters of all slots asked for are kept",
        edited(Leaders, "cluster", ("self._clusters.clear()", "pass")),
        L.test_clusters_of_few_slots_are_kept_whatever_is_asked_for,
    ),
    breaking(
        "a block counts whose header has the slot's other leader",
        edited(safety, "_may_vote", ("origin == (proposal.slot, proposal.signer)", "origin.slot == proposal.slot")),
        directed(L.test_an_unclaimed_block_whose_header_has_the_slots_other_leader_gets_no_vote, is_justified=False),
        directed(L.test_an_unclaimed_block_whose_header_has_the_slots_other_leader_gets_no_vote, is_justified=True),
    ),
    breaking(
        "a claimed block must have its new proposer in its header",
        edited(safety, "_may_vote", ("or is_claimed or", "or")),
        L.test_a_claimed_block_keeps_the_leader_that_proposed_it_first,
    ),
    breaking(
        "the drawn leader proposes with a justification",
        breaks.instead(liveness.rule_propose_justified, propose_as_drawn),
        L.test_with_a_justification_the_leader_in_the_order_proposes_and_the_drawn_one_does_not,
    ),
    breaking(
        "the drawn leader takes a justification that comes while it builds",
        edited(liveness, "take_proposed", ("is_free and is_led and", "is_free and")),
        L.test_the_drawn_leader_does_not_use_a_justification_that_comes_while_its_block_is_built,
    ),
    breaking(
        "a block is valid that the drawn leader alone leads",
        edited(
            validation,
            "_header_refusal",
            ("leaders.expected(header.slot, header.leader)", "leaders.at(header.slot)"),
        ),
        directed(D.test_both_leaders_of_a_slot_may_stand_in_its_header_and_nobody_else),
    ),
    breaking(
        "a block is valid whoever leads it",
        edited(Leaders, "expected", ("justified if leader == justified else self.at(slot)", "leader")),
        directed(D.test_both_leaders_of_a_slot_may_stand_in_its_header_and_nobody_else),
    ),
    breaking(
        "Eq. 1 is told of a block that a drawn leader led",
        edited(D, "leaders_at", ("len(membership) < ledger.genesis.clusters.members_min", "True")),
        directed(D.test_of_a_decided_block_either_leader_of_its_slot_is_expected_and_nobody_else),
    ),
    breaking(
        "whoever led a block is told to be expected",
        edited(D, "expected_leader", ("leaders is None or", "True or")),
        directed(D.test_of_a_decided_block_either_leader_of_its_slot_is_expected_and_nobody_else),
    ),
    breaking(
        "who collected is told by today's state",
        edited(D, "leaders_at", ("Overlay(StateAt(ledger, below))", "Overlay(ledger)")),
        directed(D.test_who_collected_is_told_as_it_was_then_whoever_is_eligible_by_now),
    ),
    breaking(
        "the drawn leader is waited for after a view change",
        edited(explain, "_waits_for", ("is_justified=is_justified", "is_justified=False")),
        L.test_what_is_waited_for_is_the_leader_that_may_propose_now,
    ),
    # --- P10: who collects -----------------------------------------------------------------------------------------
    collecting_break(
        "what goes to the cluster goes there for ever",
        rule_edited(collecting.rule_ask_cluster, ("        state.is_plain = True\n", "        pass\n")),
        K.test_then_the_next_two_and_at_two_thirds_it_says_it_to_all,
        test_scale.test_where_only_liars_are_drawn_that_hoard_what_they_collect_a_block_waits_two_thirds_of_a_slot,
    ),
    collecting_break(
        "who does not collect is told to wait for votes",
        edited(explain, "_wait", ("found.needed > 0 and collectors", "False")),
        X.test_a_follower_that_voted_waits_for_its_two_collectors_and_not_for_votes_that_it_never_hears,
        X.test_a_commit_waits_for_the_next_certificate,
    ),
    collecting_break(
        "others are told to hand certificates out than do",
        edited(explain, "handed_by", ("for later in (0, 1)", "for later in (1, 2)")),
        X.test_who_hands_it_over_is_who_does,
    ),
    collecting_break(
        "who tells all is said to tell the cluster",
        edited(explain, "_stage", ("if has_failed or", "if False and")),
        X.test_after_a_third_of_a_slot_it_asks_and_after_two_thirds_it_tells_all_and_counts_votes,
        directed(X.test_off_the_fast_path_all_hear_all, case="a slot that failed"),
        directed(X.test_off_the_fast_path_all_hear_all, case="a justified proposal"),
    ),
    *(
        collecting_break(f"to the cluster alone goes what follows {case}", break_, directed(TO_ALL, case=case))
        for case, break_ in NOT_FAST.items()
    ),
    collecting_break(
        "a certificate that came whole counts by the tally alone",
        edited(safety, "_highest_votes", (", state.whole_votes", ", None")),
        K.test_signatures_that_a_liar_pushes_out_of_the_tally_still_count_in_the_certificate,
    ),
    collecting_break(
        "one of COMMITs that came whole counts by the tally alone",
        edited(collecting, "keep_whole", ("state.whole_commits = state.whole_commits or certificate", "pass")),
        K.test_signatures_that_a_liar_pushes_out_of_the_tally_still_count_in_the_certificate,
    ),
    collecting_break(
        "a certificate that was handed out is believed unchecked",
        edited(
            support,
            "verify_message",
            (
                "certificate_in(message, leaders.membership, era)",
                "certificate_of(message, leaders.membership)",
            ),
        ),
        K.test_who_brings_one_that_does_not_hold_brings_none_for_ten_minutes,
    ),
    collecting_break(
        "what is in a certificate is no evidence",
        edited(Replica, "_receive_certificate", ("self._count(statement)", "pass")),
        K.test_statements_in_a_certificate_are_evidence,
    ),
    collecting_break(
        "what decides is not handed out",
        rule_edited(collecting.rule_hand_out, ("state.whole_commits is not None and", "False and")),
        K.test_what_decides_leaves_with_the_deciding_step_and_again_for_who_is_not_further,
    ),
    collecting_break(
        "votes are not handed out",
        rule_edited(collecting.rule_hand_out, ("if votes is None or", "if True or")),
        K.test_a_collector_hands_votes_to_those_that_fall_to_it_with_its_commit_once,
    ),
    collecting_break(
        "a certificate is handed out at every step",
        edited(collecting, "_hand_out", ("    state.handed[kind] = certificate.slot\n", "    pass\n")),
        K.test_a_collector_hands_votes_to_those_that_fall_to_it_with_its_commit_once,
    ),
    collecting_break(
        "no collector hands out a second time",
        rule_edited(collecting.rule_second_copy, ("member.send(copy.gathered,", "(copy.gathered,")),
        K.test_an_eighth_of_a_slot_later_those_of_the_one_before_that_have_not_committed,
        K.test_what_decides_leaves_with_the_deciding_step_and_again_for_who_is_not_further,
    ),
    collecting_break(
        "a second time it goes to who has it, too",
        (collecting, "_lacking", lambda _member, _gathered, recipients: list(recipients)),
        K.test_an_eighth_of_a_slot_later_those_of_the_one_before_that_have_not_committed,
        K.test_what_decides_leaves_with_the_deciding_step_and_again_for_who_is_not_further,
    ),
    collecting_break(
        "both times it goes to the same",
        edited(collecting, "_hand_out", ("(number + 1) % size", "number % size")),
        K.test_between_them_collectors_reach_each_member_outside_once_and_then_once_more,
    ),
    collecting_break(
        "who joins with the next height is handed nothing",
        edited(
            collecting,
            "_hand_out",
            ("enumerate(state.memberships.addresses)", "enumerate(state.membership.addresses)"),
        ),
        K.test_a_member_that_joins_with_the_next_height_is_handed_certificates_too,
    ),
    collecting_break(
        "what went to all is handed out",
        (collecting, "_is_justified", lambda *_: False),
        K.test_a_slot_that_needed_a_justification_was_told_to_all_and_nothing_is_handed_out,
    ),
    collecting_break(
        "a block that was sent is handed out as what decided it",
        edited(
            safety,
            "decide",
            (
                "    member.enter(Phase.APPLYING)",
                "    member.state.whole_commits = certificate; member.enter(Phase.APPLYING)",
            ),
        ),
        K.test_of_a_decided_block_that_it_was_sent_a_collector_hands_out_nothing,
        directed(K.test_nobody_tells_it_of_a_block_that_it_was_sent, own=K.FOLLOWER),
    ),
    collecting_break(
        "nobody says that what decides has come",
        (collecting, "tell_applied", lambda *_: None),
        K.test_who_applied_it_tells_the_collector_that_would_hand_it_out_again,
    ),
    collecting_break(
        "certificates are looked at whoever brings them",
        edited(collecting, "may_verify", ("return is_slow or", "return True or")),
        K.test_from_outside_the_cluster_nothing_is_looked_at_before_it_was_asked_for,
        K.test_of_those_that_wait_the_ones_from_outside_the_cluster_are_not_looked_at,
    ),
    collecting_break(
        "from who was asked nothing is looked at",
        edited(collecting, "_ask", ("    state.asked.update(asked)\n", "    pass\n")),
        K.test_from_outside_the_cluster_nothing_is_looked_at_before_it_was_asked_for,
    ),
    collecting_break(
        "certificates that are known are checked again",
        (collecting, "_is_of_no_use", lambda *_: False),
        K.test_a_known_one_costs_nothing,
    ),
    collecting_break(
        "who brought one that does not hold is heard at once again",
        (collecting, "DISTRUSTED_MS", 0),
        K.test_who_brings_one_that_does_not_hold_brings_none_for_ten_minutes,
    ),
    collecting_break(
        "whatever is refused takes its bringer's certificates away",
        edited(collecting, "note_refused", ("if isinstance(message, Gathered):", "if True:")),
        K.test_another_refused_message_does_not_count_against_its_bringer,
    ),
    collecting_break(
        "nobody hears what was refused",
        edited(Driver, "_verify", ("self._events.append(Refused(", "(Refused(")),
        test_clusters.test_of_each_counterfeiter_one_certificate_is_looked_at,
    ),
    collecting_break(
        "one of another era is refused as a lie",
        edited(intake, "era_of", ("if isinstance(message, Gathered | CertificateRequest):", "if False:")),
        K.test_one_of_another_era_is_no_lie_and_says_where_its_sender_is,
    ),
    collecting_break(
        "of the next height each sender's certificate waits",
        edited(Intake, "_hold", ("if isinstance(message, Gathered):", "if False:")),
        K.test_of_the_next_height_one_of_each_kind_waits_whoever_brings_how_many,
    ),
    collecting_break(
        "all of a cluster are asked",
        (collecting, "ASKED_AT_ONCE", 4),
        K.test_a_third_of_a_slot_after_its_vote_it_says_it_again_to_the_cluster_and_asks_two,
    ),
    collecting_break(
        "those of the first ask are asked again",
        edited(collecting, "_ask", ("ASKED_AT_ONCE * state.asks if", "ASKED_AT_ONCE if")),
        K.test_then_the_next_two_and_at_two_thirds_it_says_it_to_all,
    ),
    collecting_break(
        "what is said again to the cluster goes to all",
        edited(collecting, "_ask", ("_say_again(member, now, cluster)", "_say_again(member, now, addresses)")),
        K.test_a_third_of_a_slot_after_its_vote_it_says_it_again_to_the_cluster_and_asks_two,
    ),
    collecting_break(
        "a COMMIT does not begin the third of a slot anew",
        rule_edited(collecting.rule_ask_cluster, ("since_ms = state.said_ms if", "since_ms = state.voted_ms if")),
        K.test_a_commit_begins_the_third_anew,
    ),
    collecting_break(
        "who said nothing asks nobody",
        rule_edited(collecting.rule_ask_cluster, ("else state.heard_ms", "else None")),
        K.test_who_said_nothing_asks_once_it_heard_a_proposal_but_tells_nothing,
        K.test_who_heard_of_the_next_height_alone_asks_who_spoke_of_it,
    ),
    collecting_break(
        "who executes a block asks meanwhile",
        rule_edited(collecting.rule_ask_cluster, ("(state.validating and not has_said)", "False")),
        K.test_who_said_nothing_asks_once_it_heard_a_proposal_but_tells_nothing,
    ),
    collecting_break(
        "who has what decides asks for it",
        rule_edited(collecting.rule_ask_cluster, ("or state.whole_commits is not None", "")),
        K.test_who_has_what_decides_asks_for_the_body_alone,
    ),
    collecting_break(
        "requests are answered without a limit",
        (collecting, "_may_answer", lambda *_: True),
        K.test_it_answers_a_member_four_times_a_slot,
    ),
    collecting_break(
        "who has committed is answered with votes",
        (collecting, "_has_committed", lambda *_: False),
        K.test_asked_it_answers_with_the_votes_that_it_holds_unless_the_asker_has_committed,
    ),
    collecting_break(
        "of the last height nothing is answered for a slot",
        (collecting, "answer_last", lambda *_: False),
        K.test_who_is_a_height_further_answers_with_what_decided_the_one_asked_for,
    ),
    collecting_break(
        "who hands out what decides is answered with blocks",
        edited(
            intake,
            "_answer",
            ("case Gathered() if arrived.message.kind is EndorsedStatement.COMMIT:", "case Gathered() if False:"),
        ),
        K.test_a_certificate_of_the_last_height_is_no_question,
    ),
    collecting_break(
        "who lacks the last body waits for a slot",
        edited(
            intake,
            "_answer",
            ("case BodyRequest() if member.state.leaders.is_drawn:", "case BodyRequest() if False:"),
        ),
        K.test_who_asks_for_the_body_of_the_last_height_gets_the_block_at_once,
    ),
    collecting_break(
        "all that have a block are asked for it",
        edited(Member, "_some", ("not self.leaders.is_drawn", "True")),
        K.test_few_are_asked_for_a_body_and_others_a_slot_later,
    ),
    collecting_break(
        "the same few are asked for a block for ever",
        edited(Member, "_some", ("BODY_HOLDERS_ASKED * (now.monotonic_ms // self.tau_ms)", "0")),
        K.test_few_are_asked_for_a_body_and_others_a_slot_later,
    ),
    collecting_break(
        "who is about to be handed what decided is sent the block",
        (heights, "_is_handed_back", lambda *_: False),
        K.test_who_stands_at_the_last_height_is_not_sent_the_block_while_the_certificate_is_on_its_way,
    ),
    collecting_break(
        "who is about to be handed what decided asks for the block",
        edited(heights, "_note_further", ("undecided > member.state.height + 1 or", "True or")),
        K.test_of_a_member_at_the_next_height_nothing_is_asked_before_a_third_of_a_slot,
    ),
    collecting_break(
        "an own vote in a certificate is not remembered",
        edited(
            recovery,
            "_own_statements",
            ("yield from _votes_in(message, own)\n        case CommitC", "pass\n        case CommitC"),
        ),
        directed(FORGOTTEN, certificate=K.ALL.prepared(K.SLOT)),
    ),
    collecting_break(
        "an own COMMIT in a certificate is not remembered",
        edited(recovery, "_own_statements", ("yield from _commits_in(message, own)", "pass")),
        directed(FORGOTTEN, certificate=K.ALL.committed(K.SLOT)),
    ),
    collecting_break(
        "where nothing is drawn certificates are taken all the same",
        edited(collecting, "may_verify", ("not state.leaders.is_drawn or", "")),
        K.test_where_nothing_is_drawn_all_of_it_goes_to_all_and_nobody_asks_or_hands_out,
    ),
)
