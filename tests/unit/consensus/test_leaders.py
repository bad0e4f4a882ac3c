"""Suspended members lead nothing, and nobody waits for them: slots counted by brute force, and one replica."""

from collections.abc import Iterable, Iterator
from itertools import combinations, islice

from consensus import progress
from consensus.identifiers import Address, Slot
from consensus.membership import Leaders
from consensus.messages import ViewChange
from consensus.verification import Refusal, verify_message
from tests.support.consensus import ERA, A, Members, Scenario

SIZES = range(4, 11)
ALL = {members: Members(members) for members in SIZES}
TAU_MS = 250
ATTEMPT_MAX_MS = 60_000


def every_suspension() -> Iterator[tuple[Members, Leaders, frozenset[int]]]:
    """Yields each set of suspended members, of four to ten, with who may lead: all, where fewer than Q were left."""
    for members in ALL.values():
        count = len(members.keys)
        for suspended in range(count + 1):
            for numbers in combinations(range(count), suspended):
                addresses = frozenset(members.address(number) for number in numbers)
                left = count - suspended >= members.membership.quorum
                may_lead = frozenset(range(count)) - (frozenset(numbers) if left else frozenset())
                yield members, Leaders(members.membership, addresses), may_lead


def test_a_slot_is_the_same_members_whoever_is_suspended_and_passes_unused_if_that_one_is() -> None:
    for members, leaders, may_lead in every_suspension():
        count = len(members.keys)
        for slot in range(2 * count):
            owner = members.address(slot % count)
            assert leaders.whose(Slot(slot)) == owner
            assert leaders.at(Slot(slot)) == (owner if slot % count in may_lead else None)


def test_at_least_a_quorum_may_lead_always() -> None:
    for members, leaders, _ in every_suspension():
        assert len(members.keys) - len(leaders.passing) >= members.membership.quorum


def test_who_is_no_member_any_more_takes_nobodys_slot() -> None:
    strangers = ALL[10].membership.addresses[4:]
    assert Leaders(ALL[4].membership, strangers).passing == frozenset()


def test_the_next_slot_is_the_first_that_somebody_leads() -> None:
    for members, leaders, may_lead in every_suspension():
        count = len(members.keys)
        for slot in range(count):
            expected = next(other for other in range(slot, slot + count) if other % count in may_lead)
            assert leaders.next_slot(Slot(slot)) == expected


# --- attempts ----------------------------------------------------------------------------------------------------


def attempts(leaders: Leaders, base: int, exponent: int) -> Iterator[int]:
    """Yields the slots asked for one after the other, at one distance of attempts: P3 as `liveness` has it."""
    members = len(leaders.membership)
    while True:
        stride = progress.stride(members, exponent, exponent)
        base = leaders.next_slot(progress.next_target(Slot(base), stride))
        yield base


def leads_of(visited: Iterable[int], count: int) -> set[int]:
    return {slot % count for slot in visited}


def test_attempts_at_every_distance_pass_through_all_that_may_lead_and_no_other() -> None:
    for members, leaders, may_lead in every_suspension():
        count = len(members.keys)
        for exponent in range(progress.stride_exponent_max(count, TAU_MS, ATTEMPT_MAX_MS) + 1):
            for base in range(count):
                visited = islice(attempts(leaders, base, exponent), count)
                assert leads_of(visited, count) == may_lead


def shared_out(leaders: Leaders, slot: int, *, is_justified: bool = True) -> Address:
    """The naive rule: the slots of all are shared out among those who may lead."""
    may_lead = [address for address in leaders.membership.addresses if address not in leaders.passing]
    return may_lead[slot % len(may_lead)]


def test_shared_out_among_those_who_may_lead_attempts_would_meet_one_leader_for_ever() -> None:
    broken = set()
    for count, members in ALL.items():
        leaders = Leaders(members.membership, {members.address(0)})
        for exponent in range(1, progress.stride_exponent_max(count, TAU_MS, ATTEMPT_MAX_MS) + 1):
            stride = progress.stride(count, exponent, exponent)
            if len({shared_out(leaders, stride * attempt) for attempt in range(count)}) == 1:
                broken.add(count)
    assert broken == {4, 5, 6, 9, 10}


# --- one replica -------------------------------------------------------------------------------------------------

FOUR = ALL[4]
"""Member 2, where one is suspended."""


def test_a_suspended_members_proposal_is_refused_with_and_without_a_justification() -> None:
    leaders = Leaders(FOUR.membership, {FOUR.address(2)})
    for proposal in (
        FOUR.pre_prepare(6),
        FOUR.pre_prepare(6, by=1),
        FOUR.pre_prepare(6, justification=FOUR.justification(6)),
    ):
        assert verify_message(proposal, leaders, ERA) is Refusal.NOT_THE_LEADER
    for number in (0, 1, 3):
        assert not isinstance(verify_message(FOUR.pre_prepare(number), leaders, ERA), Refusal)


def test_where_fewer_than_a_quorum_would_be_left_the_suspended_lead_too() -> None:
    leaders = Leaders(FOUR.membership, {FOUR.address(1), FOUR.address(2)})
    for number in range(4):
        assert not isinstance(verify_message(FOUR.pre_prepare(number), leaders, ERA), Refusal)


def test_who_is_suspended_itself_proposes_nothing_and_votes() -> None:
    scenario = Scenario(own=2, slot=6, suspended={2})
    scenario.work()
    assert scenario.proposals == []
    scenario.receive(*(FOUR.view_change(member, 6) for member in (0, 1, 3)))
    assert scenario.proposals == []
    scenario = Scenario(own=2, slot=7, suspended={2})
    scenario.receive(FOUR.pre_prepare(7))
    scenario.execute(A, 7)
    assert scenario.sent == [FOUR.vote(2, 7)]


def test_a_slot_that_nobody_leads_passes_on_the_fast_path() -> None:
    scenario = Scenario(own=3, slot=6, suspended={2})
    scenario.work()
    scenario.tick(slots=0.5)
    assert scenario.proposals == []
    scenario.tick(slots=0.5)
    assert [asked.slot for asked in scenario.proposals] == [7]


def test_the_first_view_change_passes_over_a_slot_that_nobody_leads() -> None:
    scenario = Scenario(own=1, slot=4, suspended={2})
    scenario.work(age_slots=0)
    scenario.tick(slots=2.1)  # slot 6 by now
    assert [change.slot for change in scenario.sent_of(ViewChange)] == [7]


def test_the_next_attempt_passes_over_a_slot_that_nobody_leads_and_comes_no_later() -> None:
    scenario = Scenario(own=1, slot=4, suspended={1})
    scenario.work()
    scenario.tick(slots=2.1)
    assert [change.slot for change in scenario.sent_of(ViewChange)] == [6]
    scenario.receive(FOUR.view_change(0, 6), FOUR.view_change(3, 6))
    scenario.tick(slots=2.9)
    assert [change.slot for change in scenario.sent_of(ViewChange)] == [6]  # sent again
    scenario.tick(slots=0.1)  # slot 9 is the next multiple of 3, and member 1's
    assert [change.slot for change in scenario.sent_of(ViewChange)] == [10]


def test_nobody_is_led_by_a_liar_into_a_slot_that_nobody_leads() -> None:
    scenario = Scenario(own=1, slot=4, suspended={2})
    scenario.receive(FOUR.view_change(2, 6), FOUR.view_change(3, 7))
    assert [change.slot for change in scenario.sent_of(ViewChange)] == [7]


def test_a_suspension_holds_from_the_height_above_its_block_on() -> None:
    scenario = Scenario(own=0, slot=6)
    scenario.prepare_at(6)
    scenario.receive(*(FOUR.commit(member, 6) for member in (1, 2)))
    scenario.suspended = frozenset({FOUR.address(2)})
    scenario.applied(header_slot=6)
    scenario.receive(FOUR.pre_prepare(6, height=2))
    assert scenario.refused == [Refusal.NOT_THE_LEADER]
