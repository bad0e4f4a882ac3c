"""The progress rules P1 to P7: who proposes, when a slot is given up, and for which.

Member i of four leads the slots s with s mod 4 = i; F = 1, Q = 3, p = 3: attempts at multiples of 1, 3, 9, 27.
"""

import pytest

from consensus.messages import BodyRequest, Commit, Message, Prepare, PrePrepare, Status, ViewChange
from tests.support.consensus import BLOCK_A, TAU_MS, A, B, Members, Scenario, body, claim_of

FOUR = Members(4)
PREPARED_4A = FOUR.prepared(4)


def statements(scenario: Scenario) -> list[Message]:
    """What was sent but for STATUS."""
    return [message for message in scenario.sent if not isinstance(message, Status)]


# --- P1, fast path ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("slot", "is_taken"), [(0, True), (4, True), (6, False), (8, False), (2**62, False)])
def test_an_unjustified_proposal_of_the_far_future_is_ignored(slot: int, is_taken: bool) -> None:
    scenario = Scenario(own=3, slot=4)
    scenario.receive(FOUR.pre_prepare(slot))
    assert bool(scenario.validations) is is_taken
    # nor does the vote in it count: with two others' it would be a quorum
    others = [member for member in range(3) if member != slot % 4]
    scenario.receive(*(FOUR.vote(member, slot) for member in others))
    assert bool(scenario.sent) is (is_taken or slot % 4 == 3)


def test_a_justified_proposal_of_the_far_future_is_taken() -> None:
    scenario = Scenario(own=3, slot=4)
    scenario.vote_for(400, A, FOUR.justification(400))
    assert scenario.sent_of(Prepare) == [FOUR.vote(3, 400)]


@pytest.mark.parametrize(("asking", "is_proposed"), [((), True), ((2,), True), ((2, 3), False)])
def test_a_leader_stays_on_the_fast_path_while_at_most_f_others_ask_for_another_slot(
    asking: tuple[int, ...], is_proposed: bool
) -> None:
    # they ask for slot 0, which is not above the parent's: nobody can join that
    scenario = Scenario(own=1, slot=5)
    scenario.receive(*(FOUR.view_change(member, 0) for member in asking))
    scenario.work()
    assert bool(scenario.proposals) is is_proposed


def test_a_leader_that_is_not_fresh_does_not_propose_on_the_fast_path() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.vote_for(4)
    scenario.tick(1)
    scenario.work()
    assert scenario.proposals == []


def test_a_leader_whose_slot_is_not_past_the_parents_waits() -> None:
    scenario = Scenario(own=1, slot=5)
    scenario.receive(FOUR.decided(8))
    scenario.applied(header_slot=8)
    scenario.work()
    assert scenario.proposals == []  # the present slot is 8, which 0 leads
    scenario.tick(1)
    assert [request.slot for request in scenario.proposals] == [9]


# --- P2, start -------------------------------------------------------------------------------------------------


def test_a_request_older_than_two_slots_starts_a_view_change_at_the_present_slot() -> None:
    scenario = Scenario(own=3, slot=4)
    scenario.work()
    scenario.tick(2)
    assert scenario.sent_of(ViewChange) == []
    scenario.tick(0.001)
    assert scenario.sent_of(ViewChange) == [FOUR.view_change(3, 6)]


def test_an_own_vote_older_than_two_slots_starts_one_too() -> None:
    scenario = Scenario(own=3, slot=4)
    scenario.vote_for(4)
    scenario.tick(2)
    assert scenario.sent_of(ViewChange) == []
    scenario.tick(0.001)
    assert scenario.sent_of(ViewChange) == [FOUR.view_change(3, 6)]


def test_what_arrived_while_a_member_was_held_up_goes_before_the_view_change() -> None:
    scenario = Scenario(own=3, slot=4)
    scenario.vote_for(4)
    scenario.monotonic_ms += 5 * TAU_MS
    scenario.clock_ms += 5 * TAU_MS
    scenario.receive(*(FOUR.commit(member, 4) for member in (0, 1)))
    assert scenario.sent_of(ViewChange) == []
    scenario.receive(FOUR.commit(2, 4))
    assert [decision.block for decision in scenario.decisions] == [BLOCK_A]


def test_without_work_or_vote_nobody_gives_up() -> None:
    scenario = Scenario(own=3, slot=4)
    for _ in range(100):
        scenario.tick(1)
        assert statements(scenario) == []


def test_a_backlog_ages_only_from_the_start_of_the_height() -> None:
    scenario = Scenario(own=3, slot=4)
    scenario.tick(1)
    scenario.receive(FOUR.decided(4))
    scenario.applied(header_slot=4)
    scenario.work(age_slots=50)
    scenario.tick(2)
    assert scenario.sent_of(ViewChange) == []
    scenario.tick(0.001)
    assert scenario.sent_of(ViewChange) == [FOUR.view_change(3, 7, height=2)]


def test_it_starts_once() -> None:
    scenario = Scenario(own=3, slot=4)
    scenario.work()
    scenario.tick(2.5)
    assert len(scenario.sent_of(ViewChange)) == 1
    for _ in range(20):
        scenario.tick(0.1)
    assert scenario.replica.view_changes_sent == 1


@pytest.mark.parametrize("back_slots", [2, 5])
def test_where_the_clock_went_back_behind_a_vote_it_starts_above_that(back_slots: int) -> None:
    scenario = Scenario(own=3, slot=5)
    scenario.vote_for(5)
    scenario.clock_ms -= back_slots * TAU_MS
    scenario.tick(2)
    assert scenario.sent_of(ViewChange) == []
    scenario.tick(0.001)
    assert scenario.sent_of(ViewChange) == [FOUR.view_change(3, 6 if back_slots == 2 else 7)]


# --- P3, next attempt ------------------------------------------------------------------------------------------


def test_attempts_move_apart_by_powers_of_three() -> None:
    scenario = Scenario(own=3, slot=4)
    slot = 5
    # (next target, slots after the quorum for the one before)
    for target, wait_slots in ((6, 1), (9, 3), (27, 18), (54, 27), (81, 27)):
        scenario.receive(FOUR.view_change(0, slot), FOUR.view_change(2, slot))
        scenario.tick(wait_slots - 0.001)
        assert scenario.replica.view_changes_sent > 0
        assert [one.slot for one in scenario.sent_of(ViewChange) if one.slot > slot] == []
        scenario.tick(0.001)
        assert [one.slot for one in scenario.sent_of(ViewChange)] == [target]
        slot = target


def test_the_attempts_lead_through_all_members() -> None:
    leaders = {FOUR.membership.addresses[slot % 4] for slot in (54, 81, 108, 135)}
    assert leaders == set(FOUR.membership.addresses)


def test_the_distance_is_bounded_by_the_time_of_an_attempt() -> None:
    scenario = Scenario(own=3, slot=4, attempt_max_ms=10 * TAU_MS)
    slots = []
    slot = 5
    for _ in range(6):
        scenario.receive(FOUR.view_change(0, slot), FOUR.view_change(2, slot))
        while not any(one.slot > slot for one in scenario.sent_of(ViewChange)):
            scenario.tick(1)
        slot = scenario.sign_state.promise
        slots.append(slot)
    assert slots == [6, 9, 18, 27, 36, 45]


def test_without_a_quorum_behind_it_nobody_moves_on() -> None:
    scenario = Scenario(own=3, slot=4)
    scenario.receive(FOUR.view_change(0, 5), FOUR.view_change(2, 5))
    scenario.receive(FOUR.view_change(0, 9), FOUR.view_change(2, 9))
    assert scenario.sent_of(ViewChange) == [FOUR.view_change(3, 9)]
    lonely = Scenario(own=3, slot=4)
    lonely.work()
    lonely.tick(3)
    for _ in range(200):
        lonely.tick(1)
    assert lonely.replica.view_changes_sent == 1


def test_a_commit_at_the_promised_slot_stands_for_its_senders_view_change() -> None:
    # 0 asked for slot 6 and committed there, then it and we restarted: it sends its COMMIT again, nothing else
    scenario = Scenario(own=3, slot=4)
    scenario.receive(FOUR.view_change(1, 6), FOUR.view_change(2, 6))
    scenario.restart()
    scenario.receive(FOUR.view_change(1, 6), FOUR.commit(0, 6))
    scenario.tick(3)
    assert [one.slot for one in scenario.sent_of(ViewChange)][-1:] == [9]


def test_a_restarted_member_counts_itself_though_it_sends_its_view_change_no_more() -> None:
    # promised 6, prepared at 6, restarted: only the COMMIT is sent again, but two others' VIEW-CHANGEs suffice
    scenario = Scenario(own=3, slot=4)
    scenario.receive(FOUR.view_change(1, 6), FOUR.view_change(2, 6))
    scenario.vote_for(6, A, FOUR.justification(6, by=(1, 2, 3)))
    scenario.receive(FOUR.vote(1, 6), FOUR.vote(2, 6))
    assert scenario.sent_of(Commit) == [FOUR.commit(3, 6)]
    scenario.restart()
    scenario.receive(FOUR.view_change(1, 6), FOUR.view_change(2, 6))
    scenario.tick(3)
    assert [one.slot for one in scenario.sent_of(ViewChange)] == [9]


# --- P4, join --------------------------------------------------------------------------------------------------


def test_f_members_move_nobody() -> None:
    scenario = Scenario(own=1, slot=4)
    for slot in (5, 9, 2**62):
        scenario.receive(FOUR.view_change(2, slot))
    assert scenario.sent_of(ViewChange) == []


@pytest.mark.parametrize(("slots", "joined"), [((5, 5), 5), ((5, 9), 5), ((9, 5), 5), ((2**62, 7), 7)])
def test_f_plus_one_members_are_joined_at_the_slot_that_an_honest_one_reached(
    slots: tuple[int, int], joined: int
) -> None:
    scenario = Scenario(own=0, slot=4)
    scenario.receive(FOUR.view_change(2, slots[0]), FOUR.view_change(3, slots[1]))
    assert [one.slot for one in scenario.sent_of(ViewChange)] == [joined]


def test_the_own_view_change_counts_for_joining() -> None:
    scenario = Scenario(own=0, slot=4)
    scenario.receive(FOUR.view_change(2, 5), FOUR.view_change(3, 5))
    scenario.receive(FOUR.view_change(2, 9))
    assert scenario.sent_of(ViewChange) == []
    scenario.receive(FOUR.view_change(3, 11))
    assert [one.slot for one in scenario.sent_of(ViewChange)] == [9]


def test_with_seven_members_three_are_joined() -> None:
    seven = Members(7)
    scenario = Scenario(members=7, own=0, slot=4)
    scenario.receive(seven.view_change(2, 8), seven.view_change(3, 9))
    assert scenario.sent_of(ViewChange) == []
    scenario.receive(seven.view_change(4, 10))
    assert [one.slot for one in scenario.sent_of(ViewChange)] == [8]


# --- P5, justified proposal ------------------------------------------------------------------------------------


def test_the_leader_of_a_justified_slot_proposes_at_once_even_nothing() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.view_change(0, 9), FOUR.view_change(2, 9))
    (request,) = scenario.proposals
    assert (request.slot, request.may_be_empty) == (9, True)
    scenario.propose(9, B)
    (proposal,) = scenario.sent_of(PrePrepare)
    assert proposal == FOUR.pre_prepare(9, B, FOUR.justification(9, by=(0, 1, 2)))


def test_exactly_a_quorum_justifies_however_many_asked() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(*(FOUR.view_change(member, 9) for member in (0, 2, 3)))
    scenario.propose(9, B)
    (proposal,) = scenario.sent_of(PrePrepare)
    assert proposal.justification is not None
    assert len(proposal.justification.headers) == 3


def test_a_leader_that_promised_a_later_slot_while_it_built_says_nothing() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.view_change(0, 9), FOUR.view_change(2, 9))
    scenario.receive(FOUR.view_change(0, 11), FOUR.view_change(2, 11))
    scenario.propose(9, B)
    assert scenario.sent_of(PrePrepare) == []


def test_a_leader_that_was_shown_a_claim_while_it_built_still_may_use_the_quorum_without() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.view_change(0, 9), FOUR.view_change(2, 9))
    scenario.receive(FOUR.view_change(3, 9, PREPARED_4A))
    scenario.propose(9, B)
    (proposal,) = scenario.sent_of(PrePrepare)
    assert proposal.justification == FOUR.justification(9, by=(0, 1, 2))


@pytest.mark.parametrize(("members", "slot", "asked"), [(4, 9, (0, 2, 3)), (14, 15, (0, 2))])
def test_every_claimant_is_asked_for_a_missing_body_and_others_where_links_may_be_dead(
    members: int, slot: int, asked: tuple[int, ...]
) -> None:
    # the first of them may be dead or lie
    scenario = Scenario(members=members, own=1, slot=4)
    many = scenario.members
    prepared = many.prepared(4)
    claimed = (many.view_change(member, slot, prepared) for member in (0, 2))
    others = (many.view_change(member, slot) for member in range(3, many.membership.quorum))
    scenario.receive(*claimed, *others)
    scenario.tick(0.7)
    scenario.tick(0.3)
    sent = zip(scenario.sent, scenario.recipients, strict=True)
    requests = [set(to) for message, to in sent if type(message) is BodyRequest]
    assert requests == [{many.address(member) for member in asked}]


def test_a_claimed_body_is_kept_while_proposals_come_and_go() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.view_change(0, 9, PREPARED_4A))
    scenario.receive(FOUR.view_change(2, 9))  # joined: now the body is needed
    scenario.receive(body(A), sender=0)
    for slot in (4, 6, 7):
        scenario.receive(FOUR.pre_prepare(slot, b"%d" % slot, FOUR.justification(slot)))
    scenario.execute(A, header_slot=4)
    assert [proposal.block for proposal in scenario.sent_of(PrePrepare)] == [BLOCK_A]


# --- P7, resend ------------------------------------------------------------------------------------------------


def resent(scenario: Scenario) -> list[Message]:
    scenario.tick(0.99)
    assert statements(scenario) == []
    scenario.tick(0.01)
    return statements(scenario)


def test_a_vote_is_sent_again_each_slot_byte_for_byte() -> None:
    scenario = Scenario(own=3, slot=4)
    scenario.vote_for(4)
    for _ in range(2):
        assert resent(scenario) == [FOUR.vote(3, 4)]


def test_a_proposal_is_sent_again_whole_and_to_all() -> None:
    scenario = Scenario(own=1, slot=5)
    scenario.work()
    scenario.propose(5)
    assert resent(scenario) == [FOUR.pre_prepare(5)]
    assert len(scenario.recipients[-1]) == 3


def test_a_commit_is_sent_again_with_the_vote() -> None:
    scenario = Scenario(own=3, slot=4)
    scenario.prepare_at(4)
    assert resent(scenario) == [FOUR.vote(3, 4), FOUR.commit(3, 4)]


def test_a_view_change_is_sent_again_without_the_vote_below_it() -> None:
    scenario = Scenario(own=3, slot=4)
    scenario.prepare_at(4)
    scenario.receive(FOUR.view_change(0, 30))
    scenario.receive(FOUR.view_change(1, 30))
    (first,) = scenario.sent_of(ViewChange)
    assert first.claim == claim_of(PREPARED_4A)
    assert resent(scenario) == [first, FOUR.commit(3, 4)]
    assert resent(scenario) == [first, FOUR.commit(3, 4)]


def test_once_prepared_at_the_promised_slot_the_view_change_is_not_sent_again() -> None:
    scenario = Scenario(own=3, slot=4)
    scenario.receive(FOUR.view_change(0, 12), FOUR.view_change(1, 12))
    scenario.vote_for(12, A, FOUR.justification(12))
    scenario.receive(FOUR.vote(1, 12), FOUR.vote(2, 12))
    assert resent(scenario) == [FOUR.vote(3, 12), FOUR.commit(3, 12)]
