"""One height without faults, step by step: proposal, votes, commits, decision (rules P1, S1, S3, S5).

Member i of N leads the slots s with s mod N = i. Unless said otherwise there are four members: F = 1, Q = 3.
"""

import pytest

from consensus.events import BlockOrigin, Validated, WorkWaiting
from consensus.identifiers import Height, Slot
from consensus.messages import BodyRequest, Claim, Commit, Prepare, PrePrepare, Status, ViewChange
from consensus.phases import Phase
from tests.support.consensus import BLOCK_A, BLOCK_B, TAU_MS, A, B, Members, Scenario, body

FOUR = Members(4)


def test_a_member_validates_votes_commits_and_decides() -> None:
    scenario = Scenario(own=1, slot=4)

    scenario.receive(FOUR.pre_prepare(4))
    assert [request.block for request in scenario.validations] == [BLOCK_A]
    assert scenario.sent_of(Prepare) == []

    scenario.execute(A, header_slot=4)
    assert scenario.sent == [FOUR.vote(1, 4)]
    assert set(scenario.recipients[0]) == {FOUR.address(member) for member in (0, 2, 3)}
    assert scenario.replica.phase is Phase.VOTED

    scenario.receive(FOUR.vote(2, 4))  # with the leader's and the own vote the third
    assert scenario.sent == [FOUR.commit(1, 4)]
    assert scenario.replica.phase is Phase.PREPARED

    scenario.receive(FOUR.commit(0, 4))
    assert scenario.decisions == []
    scenario.receive(FOUR.commit(2, 4))
    (decision,) = scenario.decisions
    assert (decision.height, decision.block, decision.proposal) == (1, BLOCK_A, A)
    assert decision.certificate == FOUR.committed(4, by=(0, 1, 2))
    assert scenario.sent == []

    scenario.applied(header_slot=4)
    assert (scenario.replica.height, scenario.replica.phase) == (2, Phase.WAITING)


def test_a_vote_and_its_proposal_are_persisted_in_the_step_that_sends_it() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.pre_prepare(4))
    effects = scenario.step(Validated(height=Height(1), block=BLOCK_A, origin=BlockOrigin(Slot(4), FOUR.address(0))))
    assert [send.message for send in effects.send] == [FOUR.vote(1, 4)]
    assert effects.sign_state is not None
    assert effects.sign_state.voted == Claim(slot=Slot(4), block=BLOCK_A)
    assert effects.voted == FOUR.pre_prepare(4)


def test_a_certificate_and_its_body_are_persisted_in_the_step_that_commits() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.vote_for(4)
    scenario.prepared = None
    scenario.receive(FOUR.vote(2, 4))
    assert scenario.sent == [FOUR.commit(1, 4)]
    assert scenario.sign_state.prepared == Claim(slot=Slot(4), block=BLOCK_A)
    assert scenario.prepared is not None
    assert scenario.prepared.certificate == FOUR.prepared(4, by=(0, 1, 2))
    assert scenario.prepared.proposal == A


def test_the_leader_proposes_votes_by_that_and_sends_no_prepare() -> None:
    scenario = Scenario(own=1, slot=5)
    scenario.work()
    (request,) = scenario.proposals
    assert (request.height, request.slot, request.may_be_empty) == (1, 5, False)

    scenario.propose(5)
    assert scenario.sent == [FOUR.pre_prepare(5)]
    assert scenario.voted == FOUR.pre_prepare(5)
    assert scenario.sign_state.voted == Claim(slot=Slot(5), block=BLOCK_A)

    scenario.receive(FOUR.vote(0, 5), FOUR.vote(2, 5))
    assert scenario.sent == [FOUR.commit(1, 5)]


def test_the_leader_asks_for_one_proposal_at_a_time() -> None:
    scenario = Scenario(own=1, slot=5)
    scenario.work()
    scenario.work()
    assert scenario.proposals == []


def test_who_does_not_lead_proposes_nothing() -> None:
    scenario = Scenario(own=2, slot=5)
    scenario.work()
    assert scenario.proposals == []


def test_without_work_the_leader_proposes_nothing() -> None:
    scenario = Scenario(own=1, slot=5)
    scenario.tick()
    assert scenario.proposals == []
    scenario.work()
    scenario.propose(5, None)  # the host found nothing executable after all
    scenario.tick()
    assert scenario.sent_of(PrePrepare) == scenario.proposals == []


def test_the_leader_waits_for_its_predecessors_proposal_to_be_executed() -> None:
    scenario = Scenario(own=1, slot=5)
    scenario.receive(FOUR.pre_prepare(4))
    scenario.work()
    assert scenario.proposals == []
    scenario.execute(A, header_slot=None)
    assert [request.slot for request in scenario.proposals] == [5]


def test_but_not_for_proposals_of_slots_long_past() -> None:
    # else a liar that led a million slots could hand in one invalid block after the other, and nobody else propose
    scenario = Scenario(own=1, slot=9)
    scenario.receive(FOUR.pre_prepare(4))
    scenario.work()
    assert [request.slot for request in scenario.proposals] == [9]


def test_a_proposal_built_too_late_for_its_slot_is_not_sent() -> None:
    scenario = Scenario(own=1, slot=5)
    scenario.work()
    scenario.tick(1)
    scenario.propose(5)
    assert scenario.sent_of(PrePrepare) == []


def test_who_is_alone_and_slow_asks_for_a_view_change_instead_of_building_for_ever() -> None:
    """Each proposal takes longer than its slot: nothing is built again before time was seen to pass, nothing of it is
    kept, and the block of the view change is taken whenever it is ready.
    """
    scenario = Scenario(members=1, own=0, slot=5)
    scenario.work()
    assert [request.slot for request in scenario.proposals] == [5]
    pass_time(scenario, slots=3)
    scenario.propose(5)
    assert scenario.proposals == []
    assert scenario.replica._member.state.origins == {}
    scenario.tick()
    (request,) = scenario.proposals
    assert (request.slot, request.may_be_empty, scenario.sign_state.promise) == (8, True, 8)
    pass_time(scenario, slots=3)
    scenario.propose(8)
    assert scenario.sign_state.voted == Claim(slot=Slot(8), block=BLOCK_A)


def pass_time(scenario: Scenario, *, slots: int) -> None:
    """While the host builds, the replica hears nothing."""
    scenario.monotonic_ms += slots * TAU_MS
    scenario.clock_ms += slots * TAU_MS


def test_several_heights_are_decided_in_one_slot() -> None:
    scenario = Scenario(own=1, slot=5)
    scenario.work()
    scenario.propose(5)
    scenario.receive(FOUR.vote(0, 5), FOUR.vote(2, 5), FOUR.commit(0, 5), FOUR.commit(2, 5))
    scenario.applied(header_slot=5)
    (request,) = scenario.proposals
    assert (request.height, request.slot) == (2, 5)


@pytest.mark.parametrize(("into_the_slot", "is_asked"), [(0.0, True), (0.87, True), (0.875, False), (0.99, False)])
def test_no_proposal_begins_while_the_slot_is_handed_over(into_the_slot: float, is_asked: bool) -> None:
    scenario = Scenario(own=1, slot=5)
    scenario.tick(into_the_slot)
    scenario.work()
    assert bool(scenario.proposals) is is_asked


@pytest.mark.parametrize(
    ("block_slots", "into_the_slot", "is_asked"),
    [(0.1, 0.86, True), (0.3, 0.69, True), (0.3, 0.7, False), (0.9, 0.49, True), (0.9, 0.5, False)],
)
def test_where_blocks_take_longer_the_slot_is_handed_over_earlier(
    block_slots: float, into_the_slot: float, is_asked: bool
) -> None:
    # a block begun now would not be through before the next leader proposes; half of the slot stays free
    scenario = Scenario(own=1, slot=1)
    scenario.work()
    scenario.propose(1)
    scenario.tick(block_slots)
    scenario.receive(FOUR.vote(0, 1), FOUR.vote(2, 1), FOUR.commit(0, 1), FOUR.commit(2, 1))
    scenario.step(WorkWaiting(oldest_arrival_ms=None))
    scenario.applied(header_slot=1)
    scenario.tick(4 - block_slots + into_the_slot)
    scenario.work()
    assert bool(scenario.proposals) is is_asked


@pytest.mark.parametrize("slot", [0, 7, 8.99])
def test_a_sole_member_decides_alone_at_any_time(slot: float) -> None:
    scenario = Scenario(members=1, own=0)
    scenario.tick(slot)
    for height in range(1, 4):
        scenario.work()
        scenario.propose(int(slot), b"block %d" % height, height)
        assert [decision.height for decision in scenario.decisions] == [height]
        assert scenario.sent == []
        scenario.applied(header_slot=int(slot))


def test_proposals_that_came_early_are_looked_at_once_their_height_begins() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.decided(4), FOUR.pre_prepare(4, B, height=2), FOUR.vote(2, 4, BLOCK_B, height=2))
    scenario.applied(header_slot=4)
    assert [(request.height, request.block) for request in scenario.validations] == [(2, BLOCK_B)]
    scenario.execute(B, header_slot=4, height=2)
    assert scenario.sent == [FOUR.vote(1, 4, BLOCK_B, height=2), FOUR.commit(1, 4, BLOCK_B, height=2)]


def test_between_decision_and_application_nothing_happens_at_the_height() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.prepare_at(4)
    scenario.receive(FOUR.decided(4))
    assert scenario.replica.phase is Phase.APPLYING
    scenario.receive(
        FOUR.vote(3, 4),
        FOUR.commit(3, 4),
        FOUR.decided(4),
        FOUR.view_change(2, 9),
        FOUR.view_change(3, 9),
        FOUR.pre_prepare(8, B, FOUR.justification(8)),
        BodyRequest(height=Height(1), block=BLOCK_A),
        body(),
    )
    assert (scenario.verified, scenario.sent, scenario.decisions) == (0, [], [])
    scenario.execute(B, 8)
    scenario.propose(5, B)
    scenario.tick(5)
    assert [type(message) for message in scenario.sent] == [Status]


def test_a_wrong_or_repeated_application_is_our_own_bug() -> None:
    scenario = Scenario()
    scenario.receive(FOUR.decided(0))
    decisions = scenario.decisions
    scenario.applied()
    scenario.decisions = decisions
    with pytest.raises(AssertionError, match="without a decision"):
        scenario.applied()


def test_what_the_host_may_look_at() -> None:
    scenario = Scenario(own=1, slot=6)
    replica = scenario.replica
    assert (replica.height, replica.phase, replica.view_changes_sent) == (1, Phase.WAITING, 0)
    assert replica.present_slot(scenario.now()) == 6
    assert [replica.leaders.at(Slot(slot)) for slot in (4, 7)] == [FOUR.address(0), FOUR.address(3)]
    assert replica.membership.quorum == 3
    scenario.receive(FOUR.view_change(2, 9), FOUR.view_change(3, 9))
    assert (replica.phase, replica.view_changes_sent) == (Phase.CHANGING_VIEW, 1)
    assert scenario.sent_of(ViewChange) == [FOUR.view_change(1, 9)]
    assert scenario.sent_of(Commit) == []


def test_who_is_no_member_follows_the_chain_and_signs_nothing() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.own = 3
    three = Members(3)
    scenario.members.membership = three.membership
    scenario.restart()  # as member 3 of a membership of 0, 1 and 2
    scenario.work(age_slots=5)
    scenario.receive(three.pre_prepare(3, by=0), *(three.view_change(member, 9) for member in range(3)))
    scenario.tick(5)
    assert {type(message) for message in scenario.sent} <= {Status}
    scenario.receive(three.decided(3))
    assert len(scenario.decisions) == 1
