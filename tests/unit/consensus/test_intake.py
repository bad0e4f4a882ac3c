"""What is verified, held, dropped or answered before any signature is looked at, and how much waits at most."""

import sys

import msgspec
import pytest

from consensus.events import Arrived, Connected, SendDecided
from consensus.identifiers import Height
from consensus.intake import DECIDED_RUN_MAX, HELD_SIZE_BYTES_MAX, Intake
from consensus.messages import PROPOSAL_SIZE_BYTES_MAX, BodyRequest, Decided, Message, Status
from tests.support.consensus import BLOCK_A, BLOCK_B, TAU_MS, A, B, Members, Scenario, block_of, body

FOUR = Members(4)
STRANGERS = Members(5)


def at_height(height: int, own: int = 1, slot: int = 4) -> Scenario:
    """A replica that decided all below a height."""
    scenario = Scenario(own=own, slot=slot)
    for decided in range(1, height):
        scenario.receive(FOUR.decided(slot, height=decided))
        scenario.applied(header_slot=slot)
    scenario.forget()
    return scenario


def answered(scenario: Scenario) -> list[tuple[int, Height]]:
    """Member number and first height of each answer with decided blocks."""
    addresses = FOUR.membership.addresses
    return [(addresses.index(answer.recipient), answer.first) for answer in scenario.answers]


# --- admitted --------------------------------------------------------------------------------------------------


def test_messages_of_the_undecided_height_go_on_to_verification() -> None:
    scenario = at_height(3)
    scenario.receive(FOUR.vote(2, 4, height=3), FOUR.commit(2, 4, height=3), FOUR.view_change(2, 9, height=3))
    assert scenario.verified == 3


def test_who_is_no_member_is_not_heard() -> None:
    scenario = at_height(3)
    stranger = STRANGERS.address(4)
    for message in (
        FOUR.vote(2, 4, height=3),
        FOUR.vote(2, 4, height=2),
        FOUR.vote(2, 4, height=9),
        STRANGERS.status(4, 1),
    ):
        scenario.step(Arrived(sender=stranger, message=message))
    assert (scenario.verified, scenario.answers, scenario.sent) == (0, [], [])


@pytest.mark.parametrize(
    "message",
    [FOUR.vote(2, 4), FOUR.commit(2, 4), FOUR.view_change(2, 9), FOUR.pre_prepare(4)],
    ids=lambda message: type(message).__name__,
)
def test_a_statement_is_verified_once_however_often_it_comes(message: Message) -> None:
    scenario = Scenario(own=1, slot=4)
    for expected in (1, 0, 0):
        scenario.receive(message)
        assert scenario.verified == expected


# --- of lower heights: answered --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        FOUR.vote(2, 4),
        FOUR.commit(2, 4),
        FOUR.view_change(2, 4),
        FOUR.pre_prepare(4),
        BodyRequest(height=Height(1), block=BLOCK_A),
        body(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_a_message_of_a_lower_height_is_answered_with_decided_blocks(message: Message) -> None:
    scenario = at_height(3)
    scenario.receive(message, sender=2)
    assert answered(scenario) == [(2, 1)]
    assert scenario.verified == 0


def test_a_decided_block_of_a_lower_height_is_not_answered() -> None:
    # its sender has it; two members answering each other's would never end where delays exceed a slot
    scenario = at_height(3)
    scenario.receive(FOUR.decided(4, height=1), sender=2)
    assert scenario.answers == []


def test_the_height_decided_just_now_is_answered_only_a_slot_later() -> None:
    scenario = at_height(3)
    scenario.receive(FOUR.commit(2, 4, height=2))
    assert scenario.answers == []
    scenario.tick(1)
    scenario.receive(FOUR.commit(2, 4, height=2))
    assert answered(scenario) == [(2, 2)]


def test_a_member_is_answered_the_same_once_a_slot() -> None:
    scenario = at_height(5)
    scenario.receive(*(FOUR.vote(2, slot, height=2) for slot in range(100)))
    assert answered(scenario) == [(2, 2)]
    scenario.tick(0.99)
    scenario.receive(FOUR.vote(2, 4, height=2))
    assert scenario.answers == []
    scenario.tick(0.01)
    scenario.receive(FOUR.vote(2, 4, height=2))
    assert answered(scenario) == [(2, 2)]


def test_one_that_catches_up_is_answered_sooner_but_four_times_a_slot_at_most() -> None:
    scenario = at_height(60)
    answers = []
    for height in range(1, 51):
        scenario.receive(FOUR.status(2, height), sender=2)
        answers += answered(scenario)
        scenario.tick(0.02)
    assert answers == [(2, 1), (2, 14), (2, 27), (2, 40)]


def test_each_member_has_its_own_limit() -> None:
    scenario = at_height(5)
    scenario.receive(FOUR.vote(2, 4, height=2), FOUR.vote(3, 4, height=2))
    assert answered(scenario) == [(2, 2), (3, 2)]


# --- of the next height: held ----------------------------------------------------------------------------------


def test_of_the_next_height_one_message_per_member_and_kind_waits() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(*(FOUR.vote(2, slot, height=2) for slot in range(1_000)))
    scenario.receive(FOUR.commit(2, 4, height=2), FOUR.view_change(3, 9, height=2))
    assert scenario.verified == 0
    scenario.receive(FOUR.decided(4))
    scenario.applied(header_slot=4)
    assert scenario.verified == 3
    state = scenario.replica._member.state
    assert state.votes.of(FOUR.address(2)) == (FOUR.vote(2, 999, height=2),)


def passed_on_by_two(*messages: Message, members: int = 4) -> Scenario:
    """A replica that decided height 1 after member 2 had passed on what others signed at height 2."""
    scenario = Scenario(members=members, own=1, slot=4)
    scenario.receive(*messages, sender=2)
    scenario.receive(scenario.members.decided(4))
    scenario.applied(header_slot=4)
    return scenario


def test_what_a_member_passes_on_of_several_signers_waits_side_by_side() -> None:
    votes = [FOUR.vote(member, 4, height=2) for member in (0, 2, 3)]
    state = passed_on_by_two(*votes).replica._member.state
    assert sorted(state.votes, key=lambda vote: vote.signer) == sorted(votes, key=lambda vote: vote.signer)


def test_of_signers_that_are_no_members_nothing_waits() -> None:
    scenario = passed_on_by_two(*(STRANGERS.vote(4, slot, height=2) for slot in range(9)))
    assert scenario.verified == 0


def test_where_nothing_is_passed_on_only_the_senders_own_waits() -> None:
    many = Members(14)
    votes = [many.vote(member, 4, height=2) for member in (0, 2, 3)]
    assert list(passed_on_by_two(*votes, members=14).replica._member.state.votes) == votes[1:2]


def test_what_several_members_pass_on_is_verified_once() -> None:
    scenario, vote = Scenario(own=1, slot=4), FOUR.vote(0, 4, height=2)
    for sender in (0, 2, 3):
        scenario.receive(vote, sender=sender)
    scenario.receive(FOUR.decided(4))
    scenario.applied(header_slot=4)
    assert scenario.verified == 1


def test_a_liars_statement_under_anothers_name_does_not_take_the_place_of_the_true_one() -> None:
    scenario, vote = Scenario(own=1, slot=4), FOUR.vote(0, 4, height=2)
    forged = FOUR.vote(2, 5, height=2)
    scenario.receive(vote, sender=0)
    scenario.receive(vote, msgspec.structs.replace(forged, signer=vote.signer), sender=2)
    scenario.receive(FOUR.decided(4))
    scenario.applied(header_slot=4)
    assert list(scenario.replica._member.state.votes) == [vote]


@pytest.mark.parametrize("message", [body(height=2), BodyRequest(height=Height(2), block=BLOCK_A)])
def test_bodies_of_the_next_height_are_not_held(message: Message) -> None:
    intake, scenario = Intake(), Scenario()
    intake.admit(Arrived(sender=FOUR.address(2), message=message), scenario.replica._member, scenario.now())
    assert intake.release(Height(2)) == []


def test_decided_blocks_are_held_for_a_run_and_looked_at_first() -> None:
    scenario = Scenario(own=1, slot=4)
    heights = range(1, DECIDED_RUN_MAX + 3)
    scenario.receive(FOUR.pre_prepare(4, height=2))
    scenario.receive(*(FOUR.decided(4, height=height) for height in reversed(heights)), sender=2)
    decided = []
    while scenario.decisions:
        decided.append(scenario.decisions[0].height)
        scenario.applied(header_slot=4)
    assert decided == list(range(1, DECIDED_RUN_MAX + 1))


def test_a_liars_decided_block_does_not_take_the_place_of_anothers() -> None:
    scenario = Scenario(own=1, slot=4)
    false = Decided(certificate=FOUR.committed(4, BLOCK_B, by=(0, 2), height=2), proposal=B)
    scenario.receive(FOUR.decided(4, height=2), sender=2)
    scenario.receive(false, sender=3)
    scenario.receive(FOUR.decided(4))
    scenario.applied(header_slot=4)
    assert [(decision.height, decision.block) for decision in scenario.decisions] == [(2, BLOCK_A)]


# --- beyond: told where this member stands ---------------------------------------------------------------------


def test_beyond_the_next_height_the_sender_is_told_where_this_member_stands() -> None:
    scenario = at_height(3)
    scenario.receive(FOUR.vote(2, 4, height=5))
    (told,) = scenario.sent_of(Status)
    assert (told.undecided, told.clock_slot) == (3, 4)
    assert told.tip == BLOCK_A
    assert scenario.recipients == [(FOUR.address(2),)]


def test_that_is_rate_limited_and_nothing_is_kept() -> None:
    scenario = Scenario(own=1, slot=4)
    sent = 0
    for height in range(3, 203):
        scenario.receive(FOUR.vote(2, 4, height=height), FOUR.commit(2, 4, height=height))
        sent += len(scenario.sent_of(Status))
        scenario.monotonic_ms += TAU_MS // 100
    assert sent <= 2 * 4 + 1
    assert scenario.replica._intake._held == {}


def test_a_higher_status_is_answered_with_the_own_and_a_lower_one_with_blocks() -> None:
    scenario = at_height(3)
    scenario.receive(FOUR.status(2, 4), sender=2)
    assert [message.undecided for message in scenario.sent_of(Status)] == [3]
    scenario.receive(FOUR.status(3, 1), sender=3)
    assert answered(scenario) == [(3, 1)]
    scenario.receive(FOUR.status(0, 3), sender=0)
    assert (scenario.sent, scenario.answers) == ([], [])


# --- STATUS ----------------------------------------------------------------------------------------------------


def test_status_is_sent_on_connecting() -> None:
    scenario = Scenario(own=1, slot=4)
    effects = scenario.step(Connected(member=FOUR.address(3)))
    assert [send.recipients for send in effects.send] == [(FOUR.address(3),)]


@pytest.mark.parametrize("members", [2, 3, 4, 5, 6, 7, 12])
@pytest.mark.parametrize("clock_runs", [True, False])
def test_status_goes_to_two_members_a_slot_in_turn_whatever_the_clock_does(members: int, clock_runs: bool) -> None:
    scenario = Scenario(members=members, own=members - 1, slot=4)
    heard: dict[bytes, int] = {}
    for _ in range(members - 1):
        scenario.tick(1)
        if not clock_runs:
            scenario.clock_ms = -3_600_000
        for recipients in scenario.recipients:
            assert len(recipients) <= 2
            for recipient in recipients:
                heard[recipient] = heard.get(recipient, 0) + 1
        scenario.tick(0)
        assert scenario.sent == []
    others = set(scenario.members.membership.addresses) - {scenario.address}
    assert set(heard) == others
    assert max(heard.values()) - min(heard.values()) <= 1


def test_a_sole_member_has_nobody_to_tell() -> None:
    scenario = Scenario(members=1, own=0)
    scenario.tick(1)
    assert scenario.sent == []


# --- bodies ----------------------------------------------------------------------------------------------------


def test_a_body_is_served_but_not_as_often_as_one_asks() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.vote_for(4)
    request = BodyRequest(height=Height(1), block=BLOCK_A)
    scenario.receive(*[request] * 100, sender=2)
    assert scenario.sent == [body()]
    scenario.receive(request, sender=3)
    assert scenario.sent == [body()]
    scenario.tick(0.5)
    scenario.receive(request, sender=2)
    assert scenario.sent == [body()]


def test_a_body_that_is_not_at_hand_is_not_answered() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(BodyRequest(height=Height(1), block=BLOCK_B), sender=2)
    assert scenario.sent == []


# --- memory ----------------------------------------------------------------------------------------------------


def test_proposals_of_one_member_are_held_up_to_the_size_of_one() -> None:
    intake, scenario = Intake(), Scenario()
    proposal = bytes(PROPOSAL_SIZE_BYTES_MAX // 4)
    for message in (*(FOUR.decided(4, proposal, height) for height in range(2, 9)), FOUR.pre_prepare(4, A, height=2)):
        intake.admit(Arrived(sender=FOUR.address(2), message=message), scenario.replica._member, scenario.now())
    held = [intake.release(Height(height)) for height in range(2, 9)]
    assert [len(messages) for messages in held] == [1, 1, 1, 1, 0, 0, 0]
    assert HELD_SIZE_BYTES_MAX >= PROPOSAL_SIZE_BYTES_MAX


def test_one_of_the_largest_proposals_is_always_held() -> None:
    intake, scenario = Intake(), Scenario()
    largest = FOUR.decided(4, bytes(PROPOSAL_SIZE_BYTES_MAX), height=2)
    for _ in range(2):
        intake.admit(Arrived(sender=FOUR.address(2), message=largest), scenario.replica._member, scenario.now())
    assert [arrived.message for arrived in intake.release(Height(2))] == [largest]


def test_a_flood_of_one_member_leaves_nothing_behind() -> None:
    scenario = at_height(3, own=1, slot=4_000)
    before = footprint(scenario)
    for number in range(1_000):
        for height in (2, 3, 4, 5, 4 + number):
            vote = FOUR.vote(0, number, block_of(b"%d" % number), height)
            scenario.step(Arrived(sender=FOUR.address(0), message=vote))
    assert footprint(scenario) - before < 100_000


def footprint(scenario: Scenario) -> int:
    """Bytes of everything that the replica refers to."""
    seen: set[int] = set()
    waiting: list[object] = [scenario.replica]
    total = 0
    while waiting:
        value = waiting.pop()
        if id(value) in seen or isinstance(value, type):
            continue
        seen.add(id(value))
        total += sys.getsizeof(value)
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += list(value)
        else:
            waiting += list(getattr(value, "__dict__", {}).values())
            for kind in type(value).__mro__:
                slots = getattr(kind, "__slots__", ())
                waiting += [getattr(value, name, None) for name in ((slots,) if isinstance(slots, str) else slots)]
            waiting += [getattr(value, name) for name in getattr(value, "__struct_fields__", ())]
    return total


def test_an_answer_names_its_recipient_and_first_height() -> None:
    scenario = at_height(4)
    scenario.receive(FOUR.status(0, 2), sender=0)
    assert scenario.answers == [SendDecided(recipient=FOUR.address(0), first=Height(2))]
