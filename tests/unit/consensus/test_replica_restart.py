"""Restarts: what was signed binds, what was written but not sent binds too, what was lost keeps silent.

Member i of four leads the slots s with s mod 4 = i; F = 1, Q = 3.
"""

import pytest
from msgspec.structs import replace

from consensus.events import PreparedBlock, fresh_sign_state
from consensus.identifiers import Height, Slot
from consensus.messages import Body, BodyRequest, Commit, Message, Prepare, PrePrepare, Status, ViewChange
from consensus.phases import Phase
from tests.support.consensus import BLOCK_A, BLOCK_B, A, B, Members, Scenario, claim_of

FOUR = Members(4)
SIGNED = (PrePrepare, Prepare, Commit, ViewChange)


def signed(scenario: Scenario) -> list[Message]:
    return [message for message in scenario.sent if isinstance(message, SIGNED)]


def everything_that_tempts(scenario: Scenario, height: int = 1) -> list[Message]:
    """Receives whatever makes an honest member sign something, and returns what it signed."""
    found = []
    scenario.receive(FOUR.pre_prepare(8, B, FOUR.justification(8, height=height), height=height))
    found += signed(scenario)
    scenario.execute(B, header_slot=8, height=height)
    found += signed(scenario)
    block_b = FOUR.pre_prepare(8, B).block
    for messages in (
        [FOUR.vote(member, 8, block_b, height) for member in (0, 2, 3)],
        [FOUR.view_change(member, 13, height=height) for member in (2, 3)],
    ):
        scenario.receive(*messages)
        found += signed(scenario)
    scenario.work(age_slots=10)
    scenario.tick(5)
    found += signed(scenario)
    return found


# --- what was sent is sent again, byte for byte ----------------------------------------------------------------


def voting() -> Scenario:
    scenario = Scenario(own=1, slot=4)
    scenario.vote_for(4)
    return scenario


def proposing() -> Scenario:
    scenario = Scenario(own=1, slot=5)
    scenario.work()
    scenario.propose(5)
    return scenario


def committing() -> Scenario:
    scenario = Scenario(own=1, slot=4)
    scenario.prepare_at(4)
    return scenario


def changing_view() -> Scenario:
    scenario = committing()
    scenario.receive(FOUR.view_change(2, 15), FOUR.view_change(3, 15))
    return scenario


@pytest.mark.parametrize(
    ("before", "phase"),
    [
        (voting, Phase.VOTED),
        (proposing, Phase.VOTED),
        (committing, Phase.PREPARED),
        (changing_view, Phase.CHANGING_VIEW),
    ],
)
def test_after_a_restart_the_same_bytes_are_sent_at_once(before, phase: Phase) -> None:  # type: ignore[no-untyped-def]
    scenario = before()
    sent = signed(scenario)
    scenario.tick(1)
    sent_again = signed(scenario)
    assert sent[-1] in sent_again
    scenario.restart()
    assert scenario.replica.phase is phase
    scenario.tick()
    assert signed(scenario) == sent_again


def test_after_a_restart_a_vote_is_not_given_twice() -> None:
    scenario = voting()
    scenario.restart()
    scenario.receive(FOUR.pre_prepare(4, B, FOUR.justification(4)))
    assert scenario.validations == []
    scenario.receive(FOUR.pre_prepare(6, B))
    assert scenario.validations == []  # nor is the member fresh again


def test_after_a_restart_a_promise_still_binds() -> None:
    scenario = changing_view()
    scenario.restart()
    scenario.receive(FOUR.pre_prepare(12, B, FOUR.justification(12)))
    assert scenario.validations == []
    assert scenario.sign_state.attempts == 1
    scenario.receive(FOUR.view_change(2, 17), FOUR.view_change(3, 17))
    assert scenario.sign_state.attempts == 2


def test_after_a_restart_the_prepared_block_is_claimed_and_proposed_again() -> None:
    scenario = committing()
    scenario.restart()
    scenario.receive(FOUR.view_change(2, 5), FOUR.view_change(3, 5))
    (mine,) = [one for one in scenario.sent_of(ViewChange) if one.slot == 5]
    assert mine.claim == claim_of(FOUR.prepared(4))
    # executed again, for what was found valid before the crash is not at hand any more
    assert [request.block for request in scenario.validations] == [BLOCK_A]
    scenario.execute(A, header_slot=4)
    assert [(one.slot, one.block) for one in scenario.sent_of(PrePrepare)] == [(5, BLOCK_A)]


def test_after_a_restart_the_bodies_of_what_was_signed_are_served() -> None:
    # it committed to A without a vote, and voted for B: each record has its own body
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.pre_prepare(4), FOUR.vote(2, 4), FOUR.vote(3, 4))
    assert scenario.sent == [FOUR.commit(1, 4)]
    scenario.vote_for(8, B, FOUR.justification(8))
    scenario.restart()
    for block, proposal in ((BLOCK_A, A), (BLOCK_B, B)):
        scenario.receive(BodyRequest(height=Height(1), block=block), sender=2)
        assert [one.proposal for one in scenario.sent_of(Body)] == [proposal]


def test_a_restarted_vote_ages_again() -> None:
    scenario = voting()
    scenario.restart()
    scenario.tick(2.5)
    assert [one.slot for one in scenario.sent_of(ViewChange)] == [6]


def test_a_sign_state_of_a_decided_height_binds_nothing() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.prepare_at(4)
    scenario.receive(FOUR.decided(4))
    scenario.applied(header_slot=4)
    assert scenario.sign_state.height == 1
    scenario.restart()
    assert scenario.replica.phase is Phase.WAITING
    scenario.receive(FOUR.pre_prepare(4, B, height=2))
    scenario.execute(B, header_slot=4, height=2)
    assert [type(message) for message in signed(scenario)] == [Prepare]


# --- a crash between the records and the sign state ------------------------------------------------------------


def test_a_proposal_written_just_before_the_crash_binds_like_a_vote() -> None:
    # the sole member of a chain would else be silent for ever
    scenario = voting()
    scenario.sign_state = fresh_sign_state(Height(1))
    scenario.restart()
    scenario.tick()
    assert signed(scenario) == [FOUR.vote(1, 4)]
    assert scenario.sign_state.voted == claim_of(FOUR.prepared(4))  # and is persisted before it is sent


def test_so_does_one_newer_than_the_vote_of_the_sign_state() -> None:
    scenario = voting()
    before = scenario.sign_state
    scenario.vote_for(8, B, FOUR.justification(8))
    scenario.sign_state = before
    scenario.restart()
    scenario.tick()
    assert [(one.slot) for one in scenario.sent_of(Prepare)] == [8]


def test_so_does_a_certificate() -> None:
    scenario = voting()
    before = scenario.sign_state
    scenario.receive(FOUR.vote(2, 4), FOUR.vote(3, 4))
    scenario.sign_state = before
    scenario.restart()
    scenario.tick()
    assert scenario.sent_of(Commit) == [FOUR.commit(1, 4)]
    assert scenario.sign_state.prepared == claim_of(FOUR.prepared(4))


def test_so_does_one_of_a_height_at_which_nothing_was_signed_yet() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.prepare_at(4)
    scenario.receive(FOUR.decided(4))
    scenario.applied(header_slot=4)
    before = scenario.sign_state
    scenario.receive(FOUR.pre_prepare(4, B, height=2))
    scenario.execute(B, header_slot=4, height=2)
    vote = signed(scenario)
    assert before.height == 1
    scenario.sign_state = before
    scenario.restart()
    scenario.tick()
    assert signed(scenario) == vote
    assert scenario.sign_state.height == 2


# --- an old sign state put back, the ledger whole --------------------------------------------------------------


def test_a_promise_binds_though_an_older_sign_state_was_put_back() -> None:
    # (the votes that would make it commit below its promise, and the proposal that it would vote for, came late)
    scenario = changing_view()
    view_change = scenario.sent_of(ViewChange)[-1]
    scenario.sign_state = fresh_sign_state(Height(1))
    scenario.restart()
    scenario.receive(
        FOUR.pre_prepare(12, B, FOUR.justification(12)), *(FOUR.vote(member, 12, BLOCK_B) for member in (0, 2, 3))
    )
    assert scenario.validations == []
    assert scenario.sent_of(Prepare) == []
    assert [commit.slot for commit in scenario.sent_of(Commit)] == [4]  # sent again: what was prepared below it
    assert scenario.sent_of(ViewChange) == [view_change]
    assert scenario.sign_state.promise == Slot(15)
    assert scenario.sign_state.attempts == 1


def test_so_does_one_made_in_the_step_that_voted_and_was_cut_short() -> None:
    # records and copy are one write, the sign state was not reached: nothing was sent, all of it binds
    scenario = Scenario(own=1, slot=4)
    scenario.voted = FOUR.pre_prepare(4)
    scenario.sign_state_copy = replace(
        fresh_sign_state(Height(1)), voted=claim_of(FOUR.prepared(4)), promise=Slot(9), attempts=1
    )
    scenario.restart()
    scenario.tick()
    assert signed(scenario) == [FOUR.view_change(1, 9)]
    assert scenario.sign_state == scenario.sign_state_copy


def test_a_copy_of_another_height_binds_nothing() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.sign_state_copy = replace(fresh_sign_state(Height(2)), promise=Slot(9), attempts=1)
    scenario.restart()
    scenario.vote_for(4)
    assert signed(scenario) == [FOUR.vote(1, 4)]


# --- what was lost keeps silent --------------------------------------------------------------------------------


def lost_vote() -> Scenario:
    scenario = voting()
    scenario.voted = None
    return scenario


def older_vote() -> Scenario:
    scenario = voting()
    older = scenario.voted
    scenario.vote_for(8, B, FOUR.justification(8))
    scenario.voted = older
    return scenario


def other_vote() -> Scenario:
    scenario = voting()
    scenario.voted = FOUR.pre_prepare(4, B)
    return scenario


def lost_certificate() -> Scenario:
    scenario = committing()
    scenario.prepared = None
    return scenario


def older_certificate() -> Scenario:
    scenario = committing()
    scenario.prepared = PreparedBlock(certificate=FOUR.prepared(3), proposal=A)
    return scenario


def vote_below_the_promise() -> Scenario:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.view_change(2, 9), FOUR.view_change(3, 9))
    scenario.voted = FOUR.pre_prepare(4)
    return scenario


@pytest.mark.parametrize(
    "damage", [lost_vote, older_vote, other_vote, lost_certificate, older_certificate, vote_below_the_promise]
)
def test_without_what_the_sign_state_names_nothing_is_signed_at_the_height(damage) -> None:  # type: ignore[no-untyped-def]
    scenario = damage()
    before = scenario.sign_state
    scenario.restart()
    assert everything_that_tempts(scenario) == []
    assert scenario.sign_state == before
    # it still decides, and signs again at the next height
    scenario.receive(FOUR.decided(8, B))
    scenario.applied(header_slot=8)
    assert everything_that_tempts(scenario, height=2) != []


@pytest.mark.parametrize("lost_heights", [1, 3])
def test_lost_blocks_keep_silent_through_the_height_of_the_sign_state(lost_heights: int) -> None:
    scenario = Scenario(own=1, slot=9)
    scenario.sign_state = replace(
        fresh_sign_state(Height(1 + lost_heights)), promise=Slot(9), attempts=1, voted=claim_of(FOUR.prepared(4))
    )
    before = scenario.sign_state
    scenario.restart()
    for height in range(1, 2 + lost_heights):
        assert everything_that_tempts(scenario, height) == []
        assert scenario.sign_state == before
        scenario.receive(FOUR.decided(8, B, height))
        scenario.applied(header_slot=8)
    assert everything_that_tempts(scenario, 2 + lost_heights) != []
    assert scenario.sign_state.height == 2 + lost_heights


def test_who_keeps_silent_still_says_where_it_stands() -> None:
    scenario = lost_vote()
    scenario.restart()
    scenario.tick(1)
    assert [type(message) for message in scenario.sent] == [Status]
    assert scenario.replica.phase is Phase.WAITING


def test_what_tempts_an_honest_member_does_make_it_sign() -> None:
    kinds = {type(message) for message in everything_that_tempts(Scenario(own=1, slot=8))}
    assert kinds >= {Prepare, Commit, ViewChange}
