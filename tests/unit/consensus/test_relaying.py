"""P9: what is passed on of others, when, to whom, and how little a liar can make of it."""

import pytest

from consensus.events import SendDecided
from consensus.identifiers import Height
from consensus.messages import Commit, Message, Prepare, PrePrepare, Status, ViewChange
from consensus.relaying import RELAY_HEIGHTS, RELAYED_PER_SIGNER_MAX
from tests.support.consensus import BLOCK_A, TAU_MS, A, B, Members, Scenario

FOUR = Members(4)
SILENCE_SLOTS = 2 / 3 + 0.001
HEARD_SLOTS = 3
"""Of four members: STATUS comes within two, and one more."""


def passed_on(scenario: Scenario, kind: type[Message]) -> list[tuple[int, int, set[int]]]:
    """Signer, slot and recipients, by number, of what was passed on last."""
    numbers = {address: number for number, address in enumerate(scenario.members.membership.addresses)}
    return [
        (numbers[send.message.signer], send.message.slot, {numbers[to] for to in send.recipients})  # type: ignore[union-attr]
        for send in scenario.passed_on
        if type(send.message) is kind
    ]


def voted(slot: int = 4, own: int = 1) -> Scenario:
    """A member of four that voted for the proposal of member 0 and heard member 2's vote."""
    scenario = Scenario(own=own, slot=slot)
    scenario.vote_for(slot)
    scenario.receive(FOUR.vote(2, slot, BLOCK_A))
    return scenario


# --- statements --------------------------------------------------------------------------------------------------


def test_nothing_is_passed_on_before_two_thirds_of_a_slot_of_silence() -> None:
    scenario = voted()
    scenario.tick(0.6)
    assert scenario.passed_on == []


def test_then_each_statement_goes_to_all_but_its_signer_once() -> None:
    scenario = voted()
    scenario.tick(SILENCE_SLOTS)
    assert passed_on(scenario, Prepare) == [(0, 4, {2, 3}), (2, 4, {0, 3})]
    scenario.tick(0.01)
    assert scenario.passed_on == []
    scenario.receive(FOUR.commit(2, 4), FOUR.view_change(3, 6))
    assert passed_on(scenario, Commit) == [(2, 4, {0, 3})]
    assert passed_on(scenario, ViewChange) == [(3, 6, {0, 2})]


def test_a_view_change_in_vain_has_everything_passed_on_too() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.view_change(0, 5), FOUR.view_change(2, 5))
    assert scenario.passed_on == []
    scenario.tick(SILENCE_SLOTS)
    assert passed_on(scenario, ViewChange) == [(0, 5, {2, 3}), (2, 5, {0, 3})]


def test_it_goes_again_with_each_resending() -> None:
    scenario = voted()
    scenario.tick(SILENCE_SLOTS)
    scenario.tick(1)
    assert passed_on(scenario, Prepare) == [(0, 4, {2, 3}), (2, 4, {0, 3})]


def test_the_statement_that_decides_the_height_here_is_passed_on() -> None:
    scenario = voted()
    scenario.tick(SILENCE_SLOTS)
    scenario.receive(FOUR.commit(0, 4), FOUR.commit(2, 4))
    assert scenario.decisions
    assert [signer for signer, _, _ in passed_on(scenario, Commit)] == [0, 2], "with its own, three"


def test_the_next_heights_do_not_wait_and_then_it_is_over() -> None:
    scenario = voted()
    scenario.tick(SILENCE_SLOTS)
    for height in range(1, RELAY_HEIGHTS + 2):
        scenario.receive(FOUR.vote(2, 5, height=height))
        assert scenario.passed_on
        scenario.receive(FOUR.decided(4, height=height))
        scenario.applied(header_slot=4)
    scenario.receive(FOUR.vote(2, 5, height=RELAY_HEIGHTS + 2))
    assert scenario.passed_on == []


def test_of_proposals_only_the_one_voted_for_goes_to_who_has_not_voted() -> None:
    scenario = voted()
    scenario.receive(FOUR.pre_prepare(5, B))  # another one, not voted for
    scenario.tick(SILENCE_SLOTS)
    assert passed_on(scenario, PrePrepare) == [(0, 4, {3})]


def test_a_proposal_waits_for_votes_that_show_who_has_it() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.replica._member.relay_through = Height(9)
    scenario.vote_for(4)
    assert passed_on(scenario, PrePrepare) == []
    scenario.receive(FOUR.vote(2, 4))
    scenario.tick(0.125)
    assert passed_on(scenario, PrePrepare) == [(0, 4, {3})]


def test_more_than_thirteen_members_pass_nothing_on() -> None:
    scenario = Scenario(members=14, own=1, slot=14)
    scenario.vote_for(14)
    scenario.receive(scenario.members.vote(2, 14))
    scenario.tick(SILENCE_SLOTS)
    assert scenario.passed_on == []


def test_however_much_a_member_signs_little_of_it_is_passed_on_until_the_next_resending() -> None:
    scenario = voted()
    scenario.tick(SILENCE_SLOTS)
    scenario.receive(
        *(FOUR.vote(3, slot) for slot in range(10, 200)), *(FOUR.view_change(3, s) for s in range(9, 99))
    )
    assert len(passed_on(scenario, Prepare)) == len(passed_on(scenario, ViewChange)) == RELAYED_PER_SIGNER_MAX
    scenario.tick(1)
    assert sum(signer == 3 for signer, _, _ in passed_on(scenario, Prepare)) == RELAYED_PER_SIGNER_MAX


# --- whom a member hears -----------------------------------------------------------------------------------------


def told(scenario: Scenario) -> list[Status]:
    return scenario.sent_of(Status)


def test_status_names_its_origin_and_whom_it_hears() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.tick(0.9)
    assert (told(scenario)[0].origin, told(scenario)[0].hears) == (scenario.address, bytes([0b1101]))
    scenario.receive(FOUR.status(3, 1))
    scenario.tick(1)
    assert told(scenario)[0].hears == bytes([0b1000]), "of the others nothing came in the first slot"
    scenario.tick(HEARD_SLOTS - 1)
    assert told(scenario)[0].hears == bytes([0])


def test_all_are_told_when_whom_a_member_hears_has_changed() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(*(FOUR.status(other, 1) for other in (0, 2, 3)))
    recipients = []
    for _ in range(HEARD_SLOTS + 2):
        scenario.receive(FOUR.status(0, 1), FOUR.status(2, 1))
        scenario.tick(1)
        recipients += map(len, scenario.recipients)
    assert recipients == [2] * (HEARD_SLOTS - 1) + [3, 2, 2], "once, and two in turn before and after"


def test_more_than_thirteen_members_do_not_say_whom_they_hear() -> None:
    scenario = Scenario(members=14, own=1, slot=4)
    scenario.tick(1)
    assert told(scenario)[0].hears == b""


# --- STATUS passed on --------------------------------------------------------------------------------------------


def grown_old(members: int = 4) -> Scenario:
    """A member that others had the time to hear, and that heard nobody itself."""
    scenario = Scenario(members=members, own=1, slot=4)
    scenario.tick(members // 2 + 1)
    return scenario


def statuses_passed_on(scenario: Scenario) -> list[set[int]]:
    numbers = {address: number for number, address in enumerate(scenario.members.membership.addresses)}
    return [{numbers[to] for to in send.recipients} for send in scenario.passed_on if type(send.message) is Status]


def test_the_status_of_who_does_not_hear_this_member_is_passed_on_twice_a_slot() -> None:
    scenario = grown_old()
    passed = 0
    for _ in range(10):
        scenario.receive(FOUR.status(2, 1, hears=(0, 3)))
        assert statuses_passed_on(scenario) in ([], [{0, 3}])
        passed += len(statuses_passed_on(scenario))
        scenario.tick(0.1)
    assert passed == 2


@pytest.mark.parametrize("hears", [(0, 1, 3), None])
def test_the_status_of_who_hears_this_member_is_not(hears: tuple[int, ...] | None) -> None:
    scenario = grown_old()
    scenario.receive(FOUR.status(2, 1, hears=hears))
    assert scenario.passed_on == []


def test_who_was_not_heard_yet_because_it_just_started_passes_nothing_on() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.tick(HEARD_SLOTS - 1)
    scenario.receive(FOUR.status(2, 1, hears=()))
    assert scenario.passed_on == []


def test_what_was_passed_on_once_goes_no_further() -> None:
    scenario = grown_old()
    scenario.receive(FOUR.status(2, 1, hears=()), sender=3)
    assert scenario.passed_on == []


def test_more_than_thirteen_members_pass_no_status_on_and_answer_none() -> None:
    scenario = grown_old(members=14)
    scenario.receive(scenario.members.decided(4))
    scenario.applied(header_slot=4)
    scenario.receive(scenario.members.status(2, 1, hears=()))
    assert scenario.passed_on == []
    scenario.tick(20)
    scenario.receive(scenario.members.status(2, 1, hears=()), sender=3)
    assert scenario.answers == []


def ahead() -> Scenario:
    """A member that decided a height and has not heard member 2 for long."""
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.decided(4), sender=0)
    scenario.applied(header_slot=4)
    scenario.tick(HEARD_SLOTS)
    scenario.forget()
    return scenario


def test_who_is_heard_over_others_only_and_behind_is_sent_what_it_lacks_once_a_slot() -> None:
    scenario = ahead()
    answers = []
    for _ in range(20):
        scenario.receive(FOUR.status(2, 1), sender=3)
        answers += scenario.answers
        scenario.tick(0.1)
    assert answers == [SendDecided(recipient=FOUR.address(2), first=Height(1))] * 2


def test_its_status_goes_one_hop_further_once_a_slot_whoever_brings_it() -> None:
    """Who could answer it may hear neither it nor who heard it."""
    scenario, passed = ahead(), 0
    slot = scenario.now().slot(TAU_MS)
    for _ in range(10):
        for sender in (0, 3):
            scenario.receive(FOUR.status(2, 1, slot=slot), sender=sender)
            passed += len(statuses_passed_on(scenario))
            assert statuses_passed_on(scenario) in ([], [{0, 3} - {sender}])
        scenario.tick(0.1)
    assert passed == 1


@pytest.mark.parametrize("age_slots", [3, -3])
def test_an_old_status_goes_no_further_nor_one_of_a_clock_far_ahead(age_slots: int) -> None:
    scenario = ahead()
    slot = scenario.now().slot(TAU_MS) - age_slots
    scenario.receive(FOUR.status(2, 1, slot=slot), sender=3)
    assert statuses_passed_on(scenario) == []
    assert scenario.answers, "it is answered all the same"


def test_who_is_heard_speaks_for_itself() -> None:
    """Else a liar could have everybody send blocks to anybody."""
    scenario = ahead()
    scenario.receive(FOUR.status(2, 2))
    scenario.receive(FOUR.status(2, 1), sender=3)
    assert scenario.answers == []


@pytest.mark.parametrize("origin", [1, 4])
def test_neither_this_member_nor_a_stranger_is_answered_over_others(origin: int) -> None:
    scenario = ahead()
    scenario.receive(Members(5).status(origin, 1), sender=3)
    assert scenario.answers == []


def test_who_is_not_behind_is_not_answered_and_what_others_say_of_it_is_not_believed() -> None:
    scenario = ahead()
    member = scenario.replica._member
    scenario.receive(FOUR.status(2, 999, slot=10**6), sender=3)
    assert (scenario.answers, scenario.sent) == ([], [])
    assert FOUR.address(2) not in member.told
    assert FOUR.address(2) not in member.clocks.reported(scenario.now())


def test_a_silent_member_that_may_not_sign_passes_on_all_the_same() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.replica._member.silent_through = Height(5)
    scenario.replica._member.relay_through = Height(5)
    scenario.receive(FOUR.vote(2, 4))
    assert passed_on(scenario, Prepare) == [(2, 4, {0, 3})]


def test_such_a_member_begins_to_pass_on_after_it_heard_of_the_height_in_vain() -> None:
    """It says nothing itself, and others may hear each other over it alone."""
    scenario = Scenario(own=1, slot=4)
    scenario.replica._member.silent_through = Height(5)
    scenario.tick(5)
    scenario.receive(FOUR.vote(2, 4))
    scenario.tick(0.6)
    assert scenario.passed_on == []
    scenario.tick(SILENCE_SLOTS - 0.6)
    assert passed_on(scenario, Prepare) == [(2, 4, {0, 3})]


def test_it_executes_proposals_to_pass_valid_ones_on_and_votes_for_none() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.replica._member.silent_through = Height(5)
    scenario.receive(FOUR.pre_prepare(4))
    assert not scenario.validations, "nothing is passed on yet"
    scenario.tick(SILENCE_SLOTS)
    assert [request.block for request in scenario.validations] == [BLOCK_A]
    assert passed_on(scenario, PrePrepare) == []
    scenario.execute(A, header_slot=4)
    assert passed_on(scenario, PrePrepare) == [(0, 4, {2, 3})]
    assert not {type(message) for message in scenario.sent} & {Prepare, Commit, ViewChange}
    scenario.receive(FOUR.pre_prepare(8, B))
    scenario.execute(B, header_slot=None)
    assert passed_on(scenario, PrePrepare) == [], "no block"


def test_what_a_silent_member_signed_before_it_forgot_is_not_passed_on() -> None:
    scenario = Scenario(own=1, slot=5)
    scenario.replica._member.silent_through = Height(5)
    scenario.replica._member.relay_through = Height(5)
    scenario.receive(FOUR.pre_prepare(5), FOUR.vote(1, 6), sender=2)
    scenario.execute(A, header_slot=5)
    assert not [message for message in scenario.sent if isinstance(message, PrePrepare | Prepare)]


def test_who_learns_that_one_ahead_does_not_hear_it_says_that_it_hears_nobody() -> None:
    """So all pass its STATUS on, also those that it hears but that are behind as well."""
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.status(2, 9, hears=(0, 3)))
    scenario.tick(1)
    assert told(scenario)[0].hears == bytes([0])
    scenario.tick(HEARD_SLOTS - 1)
    scenario.receive(FOUR.status(2, 9), FOUR.status(3, 1, hears=()), FOUR.status(0, 1))
    scenario.tick(1)
    assert told(scenario)[0].hears == bytes([0b1101])


# --- who needs nothing -------------------------------------------------------------------------------------------


def test_who_says_that_it_hears_a_signer_is_passed_nothing_of_it() -> None:
    scenario = voted()
    scenario.receive(FOUR.status(3, 1, hears=(1, 2)), FOUR.status(0, 1, hears=(2, 3)))
    scenario.tick(SILENCE_SLOTS)
    assert passed_on(scenario, Prepare) == [(0, 4, {2, 3})], "both others hear member 2"


def test_who_says_later_that_it_does_not_hear_a_signer_is_passed_what_it_said() -> None:
    scenario = voted()
    scenario.receive(*(FOUR.status(other, 1, hears=(0, 1, 2, 3)) for other in (0, 2, 3)))
    scenario.tick(SILENCE_SLOTS)
    assert passed_on(scenario, Prepare) == []
    scenario.receive(FOUR.status(3, 1, hears=(0, 1)))
    assert passed_on(scenario, Prepare) == [(2, 4, {3})]


def test_requests_go_to_who_does_not_hear_their_sender_while_statements_do() -> None:
    scenario = voted()
    replica, sender, others = scenario.replica, FOUR.address(2), [FOUR.address(0), FOUR.address(3)]
    assert replica.may_lack(sender, scenario.now()) == []
    scenario.tick(SILENCE_SLOTS)
    assert replica.may_lack(sender, scenario.now()) == others
    scenario.receive(FOUR.status(3, 1, hears=(1, 2)))
    assert replica.may_lack(sender, scenario.now()) == others[:1]


def test_that_is_believed_also_once_the_slot_is_given_up() -> None:
    """Else members that are slow would pass everything on to all, and be slower for it."""
    scenario = voted()
    scenario.receive(FOUR.status(3, 1, hears=(1, 2)))
    scenario.tick(SILENCE_SLOTS)
    scenario.receive(FOUR.view_change(0, 6), FOUR.view_change(2, 6))  # joined
    scenario.tick(1)
    assert passed_on(scenario, Prepare) == [(0, 4, {2, 3}), (2, 4, {0})]
    assert passed_on(scenario, ViewChange) == [(0, 6, {2, 3}), (2, 6, {0})]


def test_that_is_not_believed_for_ever() -> None:
    old = voted()
    old.receive(FOUR.status(3, 1, hears=(1, 2)))
    old.replica._member.relay_through = Height(9)
    old.replica._member.heard[FOUR.address(3)] -= HEARD_SLOTS * TAU_MS
    old.tick(0.1)
    assert (2, 4, {0, 3}) in passed_on(old, Prepare)
