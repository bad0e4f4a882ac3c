"""Deliberate breaks of what binds a member: certificates and claims, what it finds at its start, the silence."""

from typing import Final

from consensus import liveness, recovery, replica, safety, verification
from consensus.recovery import Inquiry
from consensus.replica import Replica
from tests.simulation.directed import directed
from tests.simulation.mutant import Mutant, edited
from tests.unit.consensus import test_recovery, test_replica_restart, test_replica_safety, test_verification

C = test_recovery
R = test_replica_restart
S = test_replica_safety
V = test_verification


def of_another_height(certificate: V.Certificate) -> V.Certificate:
    return V.remade(certificate.slot, certificate.block, certificate.height + 1, type(certificate))


CLAIMS_ITS_OWN_SLOT = V.SEVEN.pre_prepare(3, V.A, V.SEVEN.justification(3, {0: V.PREPARED}))
CLAIM_WITH_AN_OWN_VOTE = C.FOUR.view_change(2, 9, C.FOUR.prepared(7, height=5), height=5)

RESTART_MUTANTS: Final = (
    Mutant(
        name="who voted for another block endorses the certificate",
        rule="PC, CC",
        breaks=(edited(safety, "quorum_for_block", ("if statement.block == block", "if True")),),
        killers=(directed(S.test_who_voted_for_another_block_is_not_in_the_certificate),),
    ),
    Mutant(
        name="the certificate shown is of any claim, not of one among the chosen Q",
        rule="S2",
        breaks=(edited(liveness, "justification_for", ("for message in chosen if", "for message in usable if")),),
        killers=(directed(S.test_the_certificate_shown_belongs_to_a_claim_among_the_chosen),),
    ),
    Mutant(
        name="a certificate of another height proves a claim",
        rule="S2",
        breaks=(
            edited(
                verification,
                "certificate_is_for",
                (
                    "(certificate.height, certificate.slot, certificate.block) == (height,",
                    "(height, certificate.slot, certificate.block) == (height,",
                ),
            ),
        ),
        killers=(
            directed(V.test_a_view_change_with_a_changed_certificate_is_thrown_away, change=of_another_height),
            directed(V.test_a_justification_with_a_changed_certificate_justifies_nothing, change=of_another_height),
        ),
    ),
    Mutant(
        name="a certificate of another slot proves a claim",
        rule="S2",
        breaks=(
            edited(
                verification,
                "certificate_is_for",
                (
                    "(certificate.height, certificate.slot, certificate.block) == (height, claim.slot,",
                    "(certificate.height, claim.slot, certificate.block) == (height, claim.slot,",
                ),
            ),
        ),
        killers=(directed(V.test_a_whole_certificate_of_another_slot_does_not_prove_a_claim),),
    ),
    Mutant(
        name="a VIEW-CHANGE claims a slot that it does not lie above",
        rule="S2",
        breaks=(edited(verification, "_claim_has_its_certificate", ("claim.slot < message.slot and", "")),),
        killers=(
            directed(
                V.test_a_claim_lies_below_the_slot_of_its_view_change,
                slot=3,
                expected=V.Refusal.CLAIM_WITHOUT_CERTIFICATE,
            ),
        ),
    ),
    Mutant(
        name="a justification claims a slot that it does not lie above",
        rule="S2",
        breaks=(edited(verification, "justification_holds", ("or highest.slot >= slot", "")),),
        killers=(directed(V.test_a_wrong_justification_is_refused, proposal=CLAIMS_ITS_OWN_SLOT),),
    ),
    Mutant(
        name="a DECIDED of another height decides the undecided one",
        rule="S5",
        breaks=(edited(Replica, "_receive", ("if height != member.state.height or", "if")),),
        killers=(
            *(directed(S.test_a_certificate_of_another_height_decides_nothing, height=height) for height in (1, 3)),
        ),
    ),
    # --- restart ------------------------------------------------------------------------------------------------
    Mutant(
        name="the sign state of another height binds",
        rule="restart",
        breaks=(edited(replica, "binding", ("if start.sign_state.height == start.height", "if True")),),
        killers=(directed(R.test_a_sign_state_of_a_decided_height_binds_nothing),),
    ),
    Mutant(
        name="a copy of the sign state of another height binds",
        rule="restart",
        breaks=(edited(replica, "binding", ("or copy.height != start.height", "")),),
        killers=(directed(R.test_a_copy_of_another_height_binds_nothing),),
    ),
    Mutant(
        name="a vote below the promise counts as cut short",
        rule="restart",
        breaks=(edited(replica, "binding", ("stored.slot >= signed.promise and ", "")),),
        killers=(
            directed(
                R.test_without_what_the_sign_state_names_nothing_is_signed_at_the_height,
                damage=R.vote_below_the_promise,
            ),
        ),
    ),
    Mutant(
        name="a record older than the sign state counts as cut short",
        rule="restart",
        breaks=(edited(replica, "binding", ("and (named is None or stored.slot > named.slot)", "")),),
        killers=tuple(
            directed(R.test_without_what_the_sign_state_names_nothing_is_signed_at_the_height, damage=damage)
            for damage in (R.older_vote, R.other_vote, R.older_certificate)
        ),
    ),
    Mutant(
        name="the copy of the sign state does not bind",
        rule="restart",
        breaks=(edited(replica, "binding", ("copy is None or", "True or")),),
        killers=(directed(R.test_a_promise_binds_though_an_older_sign_state_was_put_back),),
    ),
    Mutant(
        name="a prepared body is not restored",
        rule="restart",
        breaks=(
            edited(
                Replica,
                "_restore",
                ("state.bodies[start.prepared.certificate.block] = start.prepared.proposal", "pass"),
            ),
        ),
        killers=(directed(R.test_after_a_restart_the_bodies_of_what_was_signed_are_served),),
    ),
    Mutant(
        name="the body of the proposal voted for is not restored",
        rule="restart",
        breaks=(edited(Replica, "_restore", ("state.bodies[start.voted.block] = start.voted.proposal", "pass")),),
        killers=(directed(R.test_after_a_restart_the_bodies_of_what_was_signed_are_served),),
    ),
    Mutant(
        name="blocks that were lost keep nobody silent",
        rule="restart",
        breaks=(edited(Replica, "__init__", ("_lost_through(signed, start.height)", "Height(0)")),),
        killers=tuple(
            directed(R.test_lost_blocks_keep_silent_through_the_height_of_the_sign_state, lost_heights=lost)
            for lost in (1, 3)
        ),
    ),
    # --- silence ------------------------------------------------------------------------------------------------
    Mutant(
        name="the silence is forgotten at a restart",
        rule="recovery",
        breaks=(edited(Replica, "__init__", (", signed.silent_through)", ", Height(0))")),),
        killers=tuple(directed(C.test_a_restart_does_not_end_the_silence, through=one) for one in (2, C.UNANSWERED)),
    ),
    Mutant(
        name="the silence is not made durable",
        rule="recovery",
        breaks=(edited(Replica, "_take_silence", ("member.out.sign_state = self._durable = silent", "pass")),),
        killers=(directed(C.test_the_silence_is_persisted_at_once_and_holds_until_its_height_is_decided),),
    ),
    Mutant(
        name="the silence takes the place of what a later sign state says",
        rule="recovery",
        breaks=(
            edited(
                Replica,
                "_take_silence",
                ("max(event.through, _lost_through(remembered, member.state.height))", "event.through"),
            ),
        ),
        killers=(directed(C.test_a_sign_state_above_the_blocks_keeps_silent_longer_than_the_answer_says),),
    ),
    Mutant(
        name="the silence ends by the answers of fewer than Q others",
        rule="recovery",
        breaks=(edited(Inquiry, "silent_through", ("members.quorum", "members.weak_quorum")),),
        killers=(
            directed(
                C.test_the_silence_reaches_one_above_the_own_height_once_q_others_said_that_they_are_no_further,
                count=4,
            ),
        ),
    ),
    Mutant(
        name="answers to any question count",
        rule="recovery",
        breaks=(
            edited(
                Inquiry,
                "take",
                ("(answer.asker, answer.nonce) != (self._own, self.question.nonce)", "answer.asker != self._own"),
            ),
        ),
        killers=(
            directed(
                C.test_what_is_no_answer_to_this_question_does_not_count,
                lie=C.TO_ANOTHER_QUESTION,
                refusal=recovery.AnswerRefusal.NOT_ASKED,
            ),
        ),
    ),
    Mutant(
        name="an own vote in the claim of another shows no loss",
        rule="recovery",
        breaks=((recovery, "_votes_in", lambda _certificate, _own: iter(())),),
        killers=(
            directed(
                C.test_only_an_own_statement_above_the_sign_state_shows_a_loss,
                message=CLAIM_WITH_AN_OWN_VOTE,
                remembered=C.remembers(5, voted=6),
                forgotten=True,
            ),
        ),
    ),
)
