"""The safety rules S1 to S5, one scenario each: what a replica must never sign, whatever it receives.

Member i of four leads the slots s with s mod 4 = i; F = 1, Q = 3. The replica is member 1.
"""

import pytest
from msgspec.structs import replace

from consensus.events import Received
from consensus.messages import BodyRequest, Commit, Prepare, PrePrepare, ViewChange
from consensus.verification import Verified, prepared_certificate_holds, verify_message
from tests.support.consensus import BLOCK_A, BLOCK_B, A, B, Members, Scenario, body, claim_of

FOUR = Members(4)
PREPARED_4A = FOUR.prepared(4)


def promised(slot: int, present: int = 4) -> Scenario:
    """Two others ask for a slot: the replica joins them."""
    scenario = Scenario(own=1, slot=present)
    scenario.receive(FOUR.view_change(2, slot), FOUR.view_change(3, slot))
    assert scenario.sent_of(ViewChange) == [FOUR.view_change(1, slot)]
    return scenario


# --- S1, vote --------------------------------------------------------------------------------------------------


def test_no_vote_before_the_block_was_executed() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.pre_prepare(4), FOUR.vote(2, 4), FOUR.vote(3, 4))
    assert scenario.sent_of(Prepare) == []
    scenario.tick(1)
    assert scenario.sent_of(Prepare) == []


def test_no_vote_for_an_invalid_block() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.pre_prepare(4))
    scenario.execute(A, header_slot=None)
    scenario.tick(1)
    assert scenario.sent_of(Prepare) == []
    assert scenario.sign_state.voted is None


def test_an_answer_about_a_block_nobody_asked_about_counts_for_nothing() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.execute(A, header_slot=4)
    scenario.receive(FOUR.pre_prepare(4))
    assert len(scenario.validations) == 1
    scenario.execute(A, header_slot=4, height=2)
    assert scenario.sent_of(Prepare) == []


def test_one_vote_per_slot() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.vote_for(4, A)
    scenario.receive(FOUR.pre_prepare(4, B))
    assert scenario.validations == scenario.sent == []
    scenario.receive(FOUR.pre_prepare(4, B, FOUR.justification(4)))
    scenario.execute(B, header_slot=4)
    assert scenario.sent == []


def test_of_two_proposals_executed_at_once_only_one_gets_the_vote() -> None:
    # slot 4, late, and slot 5: both unjustified, and the first vote ends the freshness
    scenario = Scenario(own=3, slot=5)
    scenario.receive(FOUR.pre_prepare(4, A), FOUR.pre_prepare(5, B))
    assert [request.block for request in scenario.validations] == [BLOCK_A, BLOCK_B]
    scenario.execute(A, header_slot=4)
    assert scenario.sent == [FOUR.vote(3, 4)]
    scenario.execute(B, header_slot=5)
    assert scenario.sent == []


def test_who_voted_at_the_height_needs_a_justification() -> None:
    scenario = Scenario(own=3, slot=5)
    scenario.vote_for(4, A)
    scenario.receive(FOUR.pre_prepare(5, B))
    assert scenario.validations == []
    scenario.receive(FOUR.pre_prepare(5, B, FOUR.justification(5)))
    scenario.execute(B, header_slot=5)
    assert scenario.sent_of(Prepare) == [FOUR.vote(3, 5, BLOCK_B)]


def test_who_asked_for_another_slot_needs_a_justification() -> None:
    scenario = promised(6, present=6)
    scenario.receive(FOUR.pre_prepare(6, A))
    assert scenario.validations == []
    scenario.receive(FOUR.pre_prepare(6, A, FOUR.justification(6)))
    scenario.execute(A, header_slot=6)
    assert scenario.sent_of(Prepare) == [FOUR.vote(1, 6)]


def test_the_rule_is_checked_again_when_the_execution_is_done() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.pre_prepare(4))
    scenario.receive(FOUR.view_change(2, 6), FOUR.view_change(3, 6))
    scenario.execute(A, header_slot=4)
    assert scenario.sent_of(Prepare) == []


@pytest.mark.parametrize("header_slot", [0, 3, 5, 2**62])
def test_an_unjustified_block_carries_its_slot_in_its_header(header_slot: int) -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.pre_prepare(4))
    scenario.execute(A, header_slot)
    assert scenario.sent_of(Prepare) == []


@pytest.mark.parametrize("header_slot", [0, 7, 9, 2**62])
def test_so_does_a_block_whose_justification_claims_none(header_slot: int) -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.vote_for(8, A, FOUR.justification(8))
    other = Scenario(own=1, slot=4)
    other.receive(FOUR.pre_prepare(8, A, FOUR.justification(8)))
    other.execute(A, header_slot)
    assert (scenario.sent_of(Prepare), other.sent_of(Prepare)) == ([FOUR.vote(1, 8)], [])


def test_a_claimed_block_keeps_its_older_header() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.pre_prepare(8, A, FOUR.justification(8, {0: PREPARED_4A})))
    scenario.execute(A, header_slot=4)
    assert scenario.sent_of(Prepare) == [FOUR.vote(1, 8)]


# --- S2, justification -----------------------------------------------------------------------------------------


def test_the_prepared_block_survives_the_view_change_of_its_holder() -> None:
    # mistake 1: only this member is prepared, its leader is cut off; as next leader it proposes the same digest
    scenario = Scenario(own=1, slot=4)
    scenario.prepare_at(4)
    scenario.receive(FOUR.view_change(2, 5), FOUR.view_change(3, 5))
    (mine,) = scenario.sent_of(ViewChange)
    assert mine.claim == claim_of(PREPARED_4A)
    (proposal,) = scenario.sent_of(PrePrepare)
    assert (proposal.slot, proposal.block, proposal.proposal) == (5, BLOCK_A, A)
    assert proposal.justification is not None
    assert proposal.justification.certificate == mine.certificate
    assert len(proposal.justification.headers) == 3


def test_a_leader_proposes_the_highest_claimed_block() -> None:
    scenario = Scenario(own=1, slot=9)
    scenario.receive(
        FOUR.view_change(0, 9, FOUR.prepared(4, BLOCK_A)), FOUR.view_change(2, 9, FOUR.prepared(6, BLOCK_B))
    )
    # joined; its own VIEW-CHANGE claims none, and two bodies are missing
    assert {request.block for request in scenario.sent_of(BodyRequest)} == {BLOCK_A, BLOCK_B}
    scenario.receive(body(A), sender=0)
    assert scenario.sent == []
    scenario.receive(body(B), sender=2)
    assert [request.block for request in scenario.validations] == [BLOCK_B]
    scenario.execute(B, header_slot=6)
    (proposal,) = scenario.sent_of(PrePrepare)
    assert (proposal.slot, proposal.block) == (9, BLOCK_B)


def test_the_certificate_shown_belongs_to_a_claim_among_the_chosen() -> None:
    # four ask, three are chosen by address: the claim of the fourth binds nobody, its certificate must not be shown
    last = max(range(4), key=FOUR.address)
    own = min(set(range(4)) - {last})
    scenario = Scenario(own=own, slot=8 + own)
    scenario.receive(FOUR.view_change(last, 8 + own, FOUR.prepared(6, BLOCK_B)))
    scenario.receive(*(FOUR.view_change(member, 8 + own) for member in range(4) if member not in {own, last}))
    assert len(scenario.proposals) == 1  # without the claim, whose body is missing: any block
    scenario.receive(body(B), sender=last)
    assert scenario.validations == []
    scenario.propose(8 + own)
    (proposal,) = scenario.sent_of(PrePrepare)
    assert proposal.justification is not None
    assert FOUR.address(last) not in {header.signer for header in proposal.justification.headers}
    assert isinstance(verify_message(proposal, FOUR.leaders, FOUR.era), Verified)


def test_a_leader_counts_a_claim_only_with_its_body_and_may_do_without() -> None:
    scenario = Scenario(own=1, slot=9)
    scenario.receive(FOUR.view_change(0, 9, PREPARED_4A), FOUR.view_change(2, 9))
    assert scenario.proposals == []
    scenario.receive(FOUR.view_change(3, 9))
    (request,) = scenario.proposals  # Q others claim nothing: any block
    assert (request.slot, request.may_be_empty) == (9, True)


def test_a_leader_does_not_propose_a_claimed_block_that_it_finds_invalid() -> None:
    scenario = Scenario(own=1, slot=9)
    scenario.receive(FOUR.view_change(0, 9, PREPARED_4A), FOUR.view_change(2, 9))
    scenario.receive(body(A), sender=0)
    scenario.execute(A, header_slot=None)
    assert scenario.sent_of(PrePrepare) == []


def test_view_changes_of_different_slots_justify_nothing() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.view_change(2, 9), FOUR.view_change(3, 13), FOUR.view_change(0, 8))
    assert scenario.sent_of(ViewChange) == [FOUR.view_change(1, 9)]
    assert scenario.proposals == []  # all four asked for a slot about there, but only two for exactly 9


def test_a_stripped_justification_does_not_keep_out_the_real_one() -> None:
    # the justification is not signed: a liar passes the proposal on without it, and is faster than the leader
    scenario = promised(8, present=8)
    justified = FOUR.pre_prepare(8, A, FOUR.justification(8))
    scenario.receive(replace(justified, justification=None), sender=2)
    scenario.receive(justified)
    scenario.execute(A, header_slot=8)
    assert scenario.sent_of(Prepare) == [FOUR.vote(1, 8)]
    # and the other way round nothing is lost
    scenario.receive(replace(justified, justification=None), sender=2)
    assert scenario.sent == []


# --- S3, commit ------------------------------------------------------------------------------------------------


def test_a_commit_needs_a_quorum_of_one_slot_and_block() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.vote_for(4)
    scenario.receive(FOUR.vote(2, 5), FOUR.vote(3, 4, BLOCK_B))
    assert scenario.sent == []
    scenario.receive(FOUR.vote(2, 4))
    assert scenario.sent == [FOUR.commit(1, 4)]


def test_who_voted_for_another_block_is_not_in_the_certificate() -> None:
    for other in range(4):  # whoever it is: of four votes a certificate leaves one out in any case
        agreeing = [member for member in range(4) if member != other]
        scenario = Scenario(own=agreeing[0], slot=4)
        scenario.receive(FOUR.vote(other, 4, BLOCK_B), *(FOUR.vote(member, 4) for member in agreeing))
        scenario.receive(body(A), sender=agreeing[1])
        assert scenario.prepared is not None
        certificate = scenario.prepared.certificate
        assert {one.signer for one in certificate.endorsements} == {FOUR.address(member) for member in agreeing}
        assert prepared_certificate_holds(certificate, FOUR.membership, FOUR.era)


def test_a_commit_needs_the_body() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.vote(0, 4), FOUR.vote(2, 4), FOUR.vote(3, 4))
    assert scenario.sent_of(Commit) == []
    (request,) = scenario.sent_of(BodyRequest)
    assert request.block == BLOCK_A
    assert set(scenario.recipients[0]) == {FOUR.address(member) for member in (0, 2, 3)}
    scenario.tick(0.99)
    assert scenario.sent_of(BodyRequest) == []
    scenario.tick(0.01)
    assert len(scenario.sent_of(BodyRequest)) == 1
    scenario.receive(body(A), sender=2)
    assert scenario.sent == [FOUR.commit(1, 4)]
    assert scenario.prepared is not None
    assert scenario.prepared.proposal == A


def test_a_body_that_nobody_asked_for_is_not_kept() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(body(A), sender=2)
    scenario.receive(FOUR.vote(0, 4), FOUR.vote(2, 4), FOUR.vote(3, 4))
    assert scenario.sent_of(Commit) == []


def test_a_member_commits_though_it_did_not_vote() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.pre_prepare(4), FOUR.vote(2, 4), FOUR.vote(3, 4))
    assert scenario.sent == [FOUR.commit(1, 4)]


def test_one_commit_per_slot_and_slots_ascending() -> None:
    scenario = Scenario(own=1, slot=8)
    scenario.prepare_at(8)
    scenario.receive(FOUR.pre_prepare(4, B), FOUR.vote(2, 4, BLOCK_B), FOUR.vote(3, 4, BLOCK_B))
    assert scenario.sent_of(Commit) == []
    assert scenario.sign_state.prepared == claim_of(FOUR.prepared(8))


# --- S4, view change -------------------------------------------------------------------------------------------


def test_a_promise_bars_votes_below_it() -> None:
    scenario = promised(9)
    scenario.receive(FOUR.pre_prepare(8, A, FOUR.justification(8)))
    assert scenario.validations == []
    scenario.receive(FOUR.pre_prepare(10, B, FOUR.justification(10)))
    scenario.execute(B, header_slot=10)
    assert scenario.sent_of(Prepare) == [FOUR.vote(1, 10, BLOCK_B)]


@pytest.mark.parametrize(("slot", "commits"), [(4, 0), (8, 0), (12, 1), (16, 1)])
def test_a_promise_bars_commits_below_it(slot: int, commits: int) -> None:
    scenario = promised(12)
    scenario.receive(
        FOUR.pre_prepare(slot, A, FOUR.justification(slot)), *(FOUR.vote(member, slot) for member in (2, 3))
    )
    assert len(scenario.sent_of(Commit)) == commits


def test_a_vote_at_the_promised_slot_is_free() -> None:
    scenario = promised(8)
    scenario.vote_for(8, A, FOUR.justification(8))
    assert scenario.sent_of(Prepare) == [FOUR.vote(1, 8)]


def test_a_promise_is_persisted_before_it_is_sent_and_counts_the_attempts() -> None:
    scenario = promised(9)
    assert (scenario.sign_state.promise, scenario.sign_state.attempts) == (9, 1)
    scenario.receive(FOUR.view_change(2, 12), FOUR.view_change(3, 12))
    assert (scenario.sign_state.promise, scenario.sign_state.attempts) == (12, 2)


@pytest.mark.parametrize("slot", [1, 4, 7, 8])
def test_a_view_change_lies_above_vote_promise_commit_and_parent(slot: int) -> None:
    scenario = Scenario(own=1, slot=8)
    scenario.vote_for(8)
    scenario.receive(FOUR.view_change(2, slot), FOUR.view_change(3, slot))
    assert scenario.sent_of(ViewChange) == []


def test_a_view_change_lies_above_the_parents_slot() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.decided(40))
    scenario.applied(header_slot=40)
    for slot, expected in ((40, 0), (41, 1)):
        scenario.receive(*(FOUR.view_change(member, slot, height=2) for member in (2, 3)))
        assert len(scenario.sent_of(ViewChange)) == expected


# --- S5, decide ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("promise", [5, 400])
def test_a_certificate_decides_whatever_was_promised(promise: int) -> None:
    scenario = promised(promise)
    scenario.receive(FOUR.decided(4))
    (decision,) = scenario.decisions
    assert (decision.block, decision.proposal) == (BLOCK_A, A)


def test_commits_below_the_promise_decide_too() -> None:
    scenario = promised(9)
    scenario.receive(*(FOUR.commit(member, 4) for member in (0, 2, 3)))
    assert [request.block for request in scenario.sent_of(BodyRequest)] == [BLOCK_A]
    scenario.receive(body(A), sender=3)
    (decision,) = scenario.decisions
    assert decision.certificate == FOUR.committed(4, by=(0, 2, 3))


def test_commits_of_different_slots_decide_nothing() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.prepare_at(4)
    scenario.receive(FOUR.commit(0, 4), FOUR.commit(2, 5), FOUR.commit(3, 8))
    assert scenario.decisions == []
    scenario.receive(FOUR.commit(3, 4))
    assert len(scenario.decisions) == 1


def test_a_certificate_with_one_commit_less_decides_nothing() -> None:
    scenario = Scenario(own=1, slot=4)
    certificate = FOUR.committed(4, by=(0, 2))
    scenario.receive(replace(FOUR.decided(4), certificate=certificate), sender=2)
    assert scenario.decisions == []


@pytest.mark.parametrize("height", [1, 3])
def test_a_certificate_of_another_height_decides_nothing(height: int) -> None:
    # its host hands in what it verified, perhaps after that height was decided
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.decided(4))
    scenario.applied(header_slot=4)
    scenario.step(Received(sender=FOUR.address(2), message=Verified(FOUR.decided(9, B, height))))
    assert scenario.decisions == []


# --- sender and signer (mistake 4) -----------------------------------------------------------------------------


def test_a_relayed_statement_counts_for_its_signer_alone() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.vote_for(4)
    scenario.receive(FOUR.vote(0, 4), FOUR.vote(0, 4), sender=3)
    assert scenario.sent == []
    scenario.receive(FOUR.vote(2, 4), sender=3)
    assert scenario.sent == [FOUR.commit(1, 4)]


def test_a_statement_signed_by_another_than_it_names_counts_for_nobody() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.vote_for(4)
    scenario.receive(replace(FOUR.vote(3, 4), signer=FOUR.address(2)))
    assert (scenario.sent, len(scenario.refused)) == ([], 1)


# --- bounds ----------------------------------------------------------------------------------------------------


def test_a_liars_invalid_blocks_neither_pile_up_nor_go_first() -> None:
    scenario = Scenario(own=1, slot=4_002)
    for slot in range(0, 4_000, 4):  # member 0 proposes in all its slots of the past
        scenario.receive(FOUR.pre_prepare(slot, b"%d" % slot))
    state = scenario.replica._member.state
    assert len(state.validating) == 2
    assert len(state.bodies) <= 2
    for slot in range(0, 4_000, 4):
        scenario.execute(b"%d" % slot, header_slot=None)
    scenario.receive(FOUR.pre_prepare(4_002, B))
    assert [request.block for request in scenario.validations] == [BLOCK_B]
    assert len(state.origins) <= 4
