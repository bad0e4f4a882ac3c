"""Clusters that are drawn: one leader of a slot that needs no justification, and one that does."""

from collections.abc import Callable
from itertools import islice
from typing import Final

import pytest

from consensus import progress
from consensus.explanation import Step
from consensus.identifiers import Slot
from consensus.membership import CLUSTERS_KEPT_MAX, Leaders
from consensus.messages import PrePrepare
from consensus.sampling import Sampling, sampling_of
from consensus.verification import Refusal, Verified, verify_message
from tests.support.consensus import CHAIN, ERA, A, B, Members, Scenario
from tests.unit.consensus.test_leaders import ATTEMPT_MAX_MS, TAU_MS, attempts

ALL: Final = {count: Members(count) for count in (5, 7, 9, 10, 13)}
SIZE: Final = 4
SEVEN: Final = ALL[7]


def sampling(members: Members, suspended: frozenset[int] = frozenset()) -> Sampling:
    addresses = members.membership.addresses
    fit = [address for number, address in enumerate(addresses) if number not in suspended]
    drawn = sampling_of(addresses, fit, height=1, randomness=CHAIN, size=SIZE, members_min=1)  # type: ignore[arg-type]
    assert drawn is not None
    return drawn


def leaders(members: Members = SEVEN, suspended: frozenset[int] = frozenset()) -> Leaders:
    addresses = [members.address(number) for number in suspended]
    return Leaders(members.membership, addresses, sampling(members, suspended))


def first_slot(holds: Callable[[int], bool], start: int = 4) -> int:
    return next(slot for slot in range(start, start + 1_000) if holds(slot))


# --- who leads ---------------------------------------------------------------------------------------------------


def test_one_is_drawn_for_the_slot_the_other_stands_in_an_order_of_the_height() -> None:
    for members in ALL.values():
        drawn, led = sampling(members), leaders(members)
        order = drawn.order(members.membership.addresses)
        assert sorted(order) == sorted(members.membership.addresses) != list(order)
        for slot in map(Slot, range(100)):
            cluster = drawn.cluster(slot)
            assert led.cluster(slot) == cluster
            assert led.at(slot) == cluster[slot % SIZE]
            assert led.at(slot, is_justified=True) == order[slot % len(order)]
            assert {led.expected(slot, address) for address in order} == {led.at(slot), order[slot % len(order)]}


def test_where_nothing_is_drawn_both_are_the_member_whose_slot_it_is() -> None:
    plain = SEVEN.leaders
    for slot in map(Slot, range(20)):
        assert plain.at(slot) == plain.at(slot, is_justified=True) == SEVEN.address(slot % 7)
        assert plain.cluster(slot) == plain.order == SEVEN.membership.addresses


def test_attempts_at_every_distance_pass_through_all_members() -> None:
    for count, members in ALL.items():
        led = leaders(members)
        for exponent in range(progress.stride_exponent_max(count, TAU_MS, ATTEMPT_MAX_MS) + 1):
            for base in range(count):
                visited = islice(attempts(led, base, exponent), count)
                met = {led.at(Slot(slot), is_justified=True) for slot in visited}
                assert met == set(members.membership.addresses)


def test_a_suspended_member_leads_in_neither_way_and_attempts_pass_over_its_slots() -> None:
    led = leaders(ALL[10], frozenset({3, 8}))
    suspended = {ALL[10].address(3), ALL[10].address(8)}
    slots = list(map(Slot, range(200)))
    assert not suspended & {led.at(slot) for slot in slots}
    assert {led.at(slot, is_justified=True) for slot in slots} == {None, *ALL[10].membership.addresses} - suspended
    for slot in slots:
        assert led.at(led.next_slot(slot), is_justified=True) is not None


def test_clusters_of_few_slots_are_kept_whatever_is_asked_for() -> None:
    led = leaders()
    clusters = [led.cluster(Slot(slot)) for slot in range(3 * CLUSTERS_KEPT_MAX)]
    assert len(led._clusters) <= CLUSTERS_KEPT_MAX
    assert clusters == [led.cluster(Slot(slot)) for slot in range(3 * CLUSTERS_KEPT_MAX)]


# --- what is taken -----------------------------------------------------------------------------------------------


def test_each_proposes_in_its_own_way_only() -> None:
    """Whoever passes a proposal on can take its justification away, or add one: it is not signed."""
    led, slots = leaders(), range(4, 60)
    for slot in slots:
        fast, justified = (
            SEVEN.membership.addresses.index(led.whose(Slot(slot), is_justified=way)) for way in (False, True)
        )
        why = SEVEN.justification(slot)
        for member in range(7):
            without = verify_message(SEVEN.pre_prepare(slot, by=member), led, ERA)
            assert isinstance(without, Verified) == (member == fast)
            with_one = verify_message(SEVEN.pre_prepare(slot, A, why, by=member), led, ERA)
            assert isinstance(with_one, Verified) == (member == justified)
            assert {without, with_one} <= {Refusal.NOT_THE_LEADER} | {one for one in (without, with_one) if one}


# --- one replica -------------------------------------------------------------------------------------------------


def drawn_scenario(own: int, slot: int = 4) -> Scenario:
    return Scenario(members=7, own=own, slot=slot, cluster_size=SIZE)


def split_slot(start: int = 4) -> tuple[int, int, int]:
    """A slot with two leaders, and both."""
    seen = drawn_scenario(0)
    slot = first_slot(lambda slot: seen.leader(slot) != seen.leader(slot, is_justified=True), start)
    return slot, seen.leader(slot), seen.leader(slot, is_justified=True)


def view_changes(slot: int, own: int, count: int = 5) -> list[object]:
    others = [member for member in range(7) if member != own]
    return [SEVEN.view_change(member, slot) for member in others[:count]]


def test_the_drawn_leader_proposes_what_waits_and_the_other_one_does_not() -> None:
    slot, fast, justified = split_slot()
    scenario = drawn_scenario(fast, slot)
    scenario.work()
    assert [request.slot for request in scenario.proposals] == [slot]
    scenario.propose(slot)
    (proposal,) = scenario.sent_of(PrePrepare)
    assert (proposal.slot, proposal.justification) == (slot, None)
    other = drawn_scenario(justified, slot)
    other.work()
    assert other.proposals == []


def test_with_a_justification_the_leader_in_the_order_proposes_and_the_drawn_one_does_not() -> None:
    slot, fast, justified = split_slot()
    scenario = drawn_scenario(justified, slot)
    scenario.receive(*view_changes(slot, justified))  # type: ignore[arg-type]
    assert [(request.slot, request.may_be_empty) for request in scenario.proposals] == [(slot, True)]
    scenario.propose(slot)
    (proposal,) = scenario.sent_of(PrePrepare)
    assert proposal.justification is not None
    other = drawn_scenario(fast, slot)
    other.work()
    other.receive(*view_changes(slot, fast))  # type: ignore[arg-type]
    assert other.proposals == []


def test_the_drawn_leader_does_not_use_a_justification_that_comes_while_its_block_is_built() -> None:
    slot, fast, _ = split_slot()
    scenario = drawn_scenario(fast, slot)
    scenario.work()
    scenario.receive(*view_changes(slot, fast))  # type: ignore[arg-type]
    scenario.propose(slot)
    assert scenario.sent_of(PrePrepare) == []


@pytest.mark.parametrize("is_justified", [False, True])
def test_an_unclaimed_block_whose_header_has_the_slots_other_leader_gets_no_vote(is_justified: bool) -> None:
    slot, fast, justified = split_slot()
    leads, other = (justified, fast) if is_justified else (fast, justified)
    own = next(member for member in range(7) if member not in {fast, justified})
    why = SEVEN.justification(slot) if is_justified else None
    for named, votes in ((other, 0), (leads, 1)):
        scenario = drawn_scenario(own, slot)
        scenario.receive(SEVEN.pre_prepare(slot, A, why, by=leads))
        assert len(scenario.validations) == 1
        scenario.execute(A, slot, leader=named)
        assert len(scenario.sent) == votes


def test_a_claimed_block_keeps_the_leader_that_proposed_it_first() -> None:
    slot, fast, _ = split_slot()
    later = first_slot(lambda one: drawn_scenario(0).leader(one, is_justified=True) != fast, slot + 1)
    leads = drawn_scenario(0).leader(later, is_justified=True)
    own = next(member for member in range(7) if member not in {fast, leads})
    scenario = drawn_scenario(own, later)
    prepared = SEVEN.prepared(slot)
    why = SEVEN.justification(later, {0: prepared})
    scenario.receive(SEVEN.pre_prepare(later, A, why, by=leads))
    scenario.execute(A, slot, leader=fast)
    assert scenario.sent == [SEVEN.vote(own, later)]


def test_two_proposals_of_a_slot_get_one_vote() -> None:
    slot, fast, justified = split_slot()
    own = next(member for member in range(7) if member not in {fast, justified})
    scenario = drawn_scenario(own, slot)
    scenario.receive(SEVEN.pre_prepare(slot, A, by=fast))
    scenario.execute(A, slot, leader=fast)
    assert scenario.sent == [SEVEN.vote(own, slot)]
    scenario.receive(SEVEN.pre_prepare(slot, B, SEVEN.justification(slot), by=justified))
    scenario.execute(B, slot, leader=justified)
    assert scenario.sent == []


def test_the_next_attempt_asks_for_a_slot_of_the_order() -> None:
    """A suspended member's place in the order is passed over; the drawn leader of that slot says nothing of it."""
    led = leaders(ALL[10], frozenset({3}))
    asked = first_slot(lambda slot: led.at(Slot(slot), is_justified=True) is None)
    assert led.at(Slot(asked)) is not None
    assert led.next_slot(Slot(asked)) == asked + 1


def test_what_is_waited_for_is_the_leader_that_may_propose_now() -> None:
    """First the drawn one; once a quorum asked for a slot, the one in the order."""
    slot, fast, justified = split_slot()
    own = next(member for member in range(7) if member not in {fast, justified})
    scenario = drawn_scenario(own, slot)
    scenario.work()
    assert waits_for(scenario) == (slot, fast)
    scenario.receive(*view_changes(slot, own))  # type: ignore[arg-type]
    assert scenario.sign_state.promise == slot
    assert waits_for(scenario) == (slot, justified)


def waits_for(scenario: Scenario) -> tuple[int, int]:
    waited = scenario.replica.explain(scenario.now(), {}).waits_for
    assert waited is not None
    assert waited.step is Step.PROPOSAL
    return waited.slot, scenario.members.membership.addresses.index(waited.missing[0])
