"""P1: an unjustified proposal waits until its slot has begun, so that no leader takes its predecessor's blocks.

Member i of four leads the slots s with s mod 4 = i. This replica is member 3, at slot 4; member 1 leads slot 5.
"""

import pytest

from consensus.evidence import Offence
from consensus.messages import BodyRequest, Commit, Prepare
from tests.support.consensus import BLOCK_A, BLOCK_B, TAU_MS, A, B, Members, Scenario

FOUR = Members(4)
EARLY = FOUR.pre_prepare(5, A)


def waiting(own: int = 3, members: int = 4, slot: float = 4) -> Scenario:
    """A replica at which a proposal came before its slot."""
    scenario = Scenario(members=members, own=own, slot=4)
    scenario.tick(slot - 4)
    scenario.receive(Members(members).pre_prepare(5, A))
    return scenario


def test_a_proposal_of_the_next_slot_waits_until_that_begins() -> None:
    scenario = waiting()
    assert (scenario.validations, scenario.sent) == ([], [])
    scenario.tick(0.999)
    assert scenario.validations == []
    scenario.tick(0.001)
    assert [request.block for request in scenario.validations] == [BLOCK_A]
    scenario.execute(A, header_slot=5)
    assert scenario.sent == [FOUR.vote(3, 5)]


def test_any_event_shows_that_the_slot_has_begun() -> None:
    scenario = waiting(slot=4.9)
    scenario.monotonic_ms += 200
    scenario.clock_ms += 200
    scenario.work()
    assert [request.block for request in scenario.validations] == [BLOCK_A]


def test_meanwhile_the_leader_of_the_present_slot_proposes() -> None:
    scenario = waiting(own=0)
    scenario.work()
    assert [request.slot for request in scenario.proposals] == [4]
    scenario.propose(4, B)
    assert [message.block for message in scenario.sent] == [BLOCK_B]
    # what waited comes too late: the height is not fresh any more
    scenario.tick(1)
    assert scenario.validations == []


def test_what_the_present_leader_proposes_meanwhile_gets_the_vote() -> None:
    scenario = waiting()
    scenario.receive(FOUR.pre_prepare(4, B))
    scenario.execute(B, header_slot=4)
    assert scenario.sent == [FOUR.vote(3, 4, BLOCK_B)]
    scenario.tick(1)
    assert scenario.validations == []


@pytest.mark.parametrize(("members", "voters", "is_taken"), [(4, 1, True), (7, 1, False), (7, 2, True), (3, 1, True)])
def test_f_and_one_votes_show_that_the_slot_has_begun(members: int, voters: int, is_taken: bool) -> None:
    # the leader and F others; where F = 0 the leader's own says nothing, another one is needed
    scenario = waiting(own=0, members=members)
    assert scenario.validations == []
    them, leader = Members(members), 5 % members
    others = [member for member in range(1, members) if member != leader][:voters]
    scenario.receive(*(them.vote(member, 5) for member in others))
    assert bool(scenario.validations) is is_taken


def test_the_leader_alone_does_not_show_it_where_f_is_0() -> None:
    three = Members(3)
    scenario = Scenario(members=3, own=0, slot=4)
    scenario.receive(three.pre_prepare(5, A), three.vote(2, 5))
    assert scenario.validations == []


def test_a_quorum_of_votes_needs_no_question_for_the_body_that_waited() -> None:
    scenario = waiting()
    scenario.receive(FOUR.vote(0, 5), FOUR.vote(2, 5))
    assert scenario.sent_of(BodyRequest) == []
    assert scenario.sent_of(Commit) == [FOUR.commit(3, 5)]


def test_a_justified_proposal_does_not_wait() -> None:
    scenario = Scenario(own=3, slot=4)
    scenario.vote_for(5, A, FOUR.justification(5))
    assert scenario.sent_of(Prepare) == [FOUR.vote(3, 5)]


def test_the_justified_copy_goes_before_the_one_that_waits() -> None:
    scenario = waiting()
    scenario.receive(FOUR.pre_prepare(5, A, FOUR.justification(5)))
    assert len(scenario.validations) == 1
    scenario.tick(1)
    assert scenario.validations == []
    assert scenario.replica._member.state.waiting == {}


def test_one_proposal_of_a_leader_waits_the_first_of_its_slot() -> None:
    scenario = waiting()
    scenario.receive(FOUR.pre_prepare(5, B))
    assert [(one.signer, one.offence) for one in scenario.evidence] == [(FOUR.address(1), Offence.TWO_VOTES)]
    scenario.receive(EARLY)
    assert scenario.verified == 0, "a statement sent again costs no second verification"
    assert scenario.replica._member.state.waiting == {FOUR.address(1): EARLY}
    scenario.tick(1)
    assert [request.block for request in scenario.validations] == [BLOCK_A]


def test_after_a_clock_that_went_back_the_newest_of_a_leader_waits() -> None:
    scenario = Scenario(own=3, slot=8)
    scenario.receive(FOUR.pre_prepare(9, A))
    for _ in range(2):
        scenario.clock_ms -= 2 * TAU_MS
        scenario.tick()
    scenario.receive(FOUR.pre_prepare(5, B))
    assert scenario.replica._member.state.waiting == {FOUR.address(1): FOUR.pre_prepare(5, B)}


def test_what_waits_is_dropped_with_its_height() -> None:
    scenario = waiting()
    scenario.receive(FOUR.decided(4, B))
    scenario.applied(header_slot=4)
    scenario.tick(1)
    assert (scenario.validations, scenario.replica._member.state.waiting) == ([], {})
