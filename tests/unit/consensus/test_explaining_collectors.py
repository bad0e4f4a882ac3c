"""Who collects, who hands this member its certificates and how far it had to go: told as facts and in words."""

from functools import partial

import pytest

from consensus.explanation import Collecting, Explanation, Stage, Step
from consensus.messages import CertificateRequest, Prepare
from consensus.verdict import collecting_text
from tests.support.consensus import BLOCK_A, Scenario
from tests.support.explaining import explained, name_of, sentence
from tests.unit.consensus.test_collecting import (
    ALL,
    COLLECTOR,
    COUNT,
    FOLLOWER,
    OUTSIDE,
    SIZE,
    SLOT,
    THIRD,
    TWO_THIRDS,
    C,
    member,
    numbers,
    told,
    voted,
    votes,
)


def collecting(found: Explanation) -> Collecting:
    assert found.collecting is not None
    return found.collecting


def words(found: Explanation) -> str:
    return collecting_text(collecting(found), found.own, partial(name_of, member(FOLLOWER)))


def named(members: list[int]) -> list[str]:
    return [f"home-{number}" for number in members]


def listed(members: list[int]) -> str:
    names = named(members)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def test_where_all_hear_all_nobody_is_told_to_collect() -> None:
    assert explained(Scenario()).collecting is None


def test_who_collects_at_the_present_slot_is_told_while_nothing_waits() -> None:
    scenario = member(FOLLOWER)
    scenario.tick(1)
    found = explained(scenario)
    assert found.waits_for is None
    assert collecting(found).slot == found.present_slot
    assert collecting(found).cluster == scenario.memberships.leaders.cluster(found.present_slot)
    assert found.leader == collecting(found).cluster[found.present_slot % SIZE]
    assert found.attempt_leader == scenario.memberships.leaders.order[found.present_slot % COUNT]


def test_a_follower_that_voted_waits_for_its_two_collectors_and_not_for_votes_that_it_never_hears() -> None:
    scenario = voted(FOLLOWER)
    found = explained(scenario)
    first, second = C[FOLLOWER % SIZE], C[(FOLLOWER + 1) % SIZE]
    wait = found.waits_for
    assert wait is not None
    assert (wait.step, wait.slot, wait.needed) == (Step.CERTIFICATE, SLOT, 1)
    assert wait.missing == collecting(found).handed_by == (ALL.address(first), ALL.address(second))
    assert sentence(scenario) == (
        f"Height 1 is being decided: slot {SLOT} waits for the {ALL.membership.quorum} signatures that block "
        f"{BLOCK_A.hex()[:8]} needs, which home-{first} or home-{second} collects for this member."
    )
    assert words(found) == (
        f"{SIZE} members are drawn for slot {SLOT}: {listed(C)}; home-{first} or home-{second} hands certificates to "
        "this one. Its own votes go to them."
    )


def test_who_hands_it_over_is_who_does() -> None:
    """The first of the two that are told is the one that has it among those that fall to it."""
    for number in OUTSIDE:
        first = C.index(numbers(collecting(explained(voted(number))).handed_by[:1])[0])
        assert number % SIZE == first


def test_a_collector_waits_for_votes_and_says_that_it_collects() -> None:
    found = explained(voted(COLLECTOR))
    assert found.waits_for is not None
    assert found.waits_for.step is Step.VOTES
    assert collecting(found).handed_by == ()
    assert words(found) == (
        f"{SIZE} members are drawn for slot {SLOT}: {listed(C)}; this one collects the others' votes. "
        "Its own votes go to them."
    )


def test_a_commit_waits_for_the_next_certificate() -> None:
    scenario = voted(FOLLOWER)
    scenario.receive(votes(), sender=COLLECTOR)
    found = explained(scenario)
    assert found.phase.value == "prepared"
    assert found.waits_for is not None
    assert found.waits_for.step is Step.CERTIFICATE


def test_after_a_third_of_a_slot_it_asks_and_after_two_thirds_it_tells_all_and_counts_votes() -> None:
    scenario = voted(FOLLOWER)
    assert collecting(explained(scenario)).stage is Stage.CLUSTER
    assert scenario.replica.late_certificates == (0, 0)
    scenario.tick(THIRD)
    assert scenario.sent_of(CertificateRequest)
    found = explained(scenario)
    assert collecting(found).stage is Stage.ASKING
    assert words(found).endswith(" No certificate came in a third of a slot: some of them are asked.")
    assert scenario.replica.late_certificates == (1, 0)
    scenario.tick(TWO_THIRDS - THIRD)
    assert told(scenario, Prepare)[-1] == [number for number in range(COUNT) if number != FOLLOWER]
    found = explained(scenario)
    assert collecting(found).stage is Stage.ALL
    assert found.waits_for is not None
    assert found.waits_for.step is Step.VOTES
    assert words(found).endswith(" Its own votes go to all members.")
    assert scenario.replica.late_certificates == (1, 1)


@pytest.mark.parametrize("case", ["a slot that failed", "a justified proposal"])
def test_off_the_fast_path_all_hear_all(case: str) -> None:
    scenario = voted(FOLLOWER, justified=True) if case == "a justified proposal" else voted(FOLLOWER)
    if case == "a slot that failed":
        scenario.tick(20)
        assert scenario.sign_state.attempts > 0
    assert collecting(explained(scenario)).stage is Stage.ALL
