"""The present slot: held back by the members, never behind the chain."""

import pytest

from consensus.clock import REPORT_AGE_MAX_SLOTS, MemberClocks
from consensus.events import Instant
from consensus.identifiers import Slot
from tests.support.consensus import TAU_MS, Members, Scenario

HOUR_SLOTS = 3_600_000 // TAU_MS
SEVEN = Members(7)
OWN = SEVEN.address(0)


def at(slot: float, monotonic_ms: int = 1_000_000) -> Instant:
    return Instant(monotonic_ms=monotonic_ms, clock_ms=int(slot * TAU_MS))


def clocks(reports: list[int], now: Instant) -> MemberClocks:
    """Reports of members 1, 2, ... as of now."""
    result = MemberClocks(TAU_MS)
    for member, slot in enumerate(reports, start=1):
        result.report(SEVEN.address(member), Slot(slot), now)
    return result


@pytest.mark.parametrize("known", range(4))
def test_until_two_f_plus_one_are_known_the_own_clock_counts(known: int) -> None:
    # N = 7: F = 2, so 5 with the own one
    assert clocks([10] * known, at(500)).present_slot(OWN, at(500), 7) == 500


def test_from_two_f_plus_one_on_a_fast_clock_follows_the_members() -> None:
    assert clocks([10] * 4, at(500)).present_slot(OWN, at(500), 7) == 10


def test_one_clock_an_hour_ahead_does_not_move_the_others() -> None:
    reports = [100 + HOUR_SLOTS, 100, 100, 100, 100, 100]
    assert clocks(reports, at(100)).present_slot(OWN, at(100), 7) == 100


def test_f_clocks_an_hour_ahead_do_not_lift_a_fast_own_one() -> None:
    # own and one other are ahead: the third highest is an honest one's
    reports = [100 + HOUR_SLOTS, 100, 100, 100, 100, 100]
    assert clocks(reports, at(100 + HOUR_SLOTS)).present_slot(OWN, at(100 + HOUR_SLOTS), 7) == 100


def test_a_slow_own_clock_is_not_pushed_forward_by_reports() -> None:
    assert clocks([500] * 6, at(100)).present_slot(OWN, at(100), 7) == 100


def test_f_low_reports_do_not_hold_the_members_back() -> None:
    assert clocks([0, 0, 500, 500, 500, 500], at(500)).present_slot(OWN, at(500), 7) == 500


def test_a_report_goes_on_with_the_time_that_passed_here() -> None:
    start = at(500.25)
    result = clocks([10] * 6, start)
    for elapsed_ms, expected in ((0, 10), (749, 10), (750, 11), (5_750, 16)):
        later = Instant(monotonic_ms=start.monotonic_ms + elapsed_ms, clock_ms=start.clock_ms + elapsed_ms)
        assert result.present_slot(OWN, later, 7) == expected


def test_a_report_is_forgotten_after_its_age() -> None:
    start = at(500)
    result = clocks([10] * 6, start)
    age_ms = REPORT_AGE_MAX_SLOTS * TAU_MS
    assert result.present_slot(OWN, at(500, start.monotonic_ms + age_ms), 7) == 10 + REPORT_AGE_MAX_SLOTS
    assert result.present_slot(OWN, at(500, start.monotonic_ms + age_ms + 1), 7) == 500


def test_one_member_is_one_report_and_the_own_address_none() -> None:
    result = MemberClocks(TAU_MS)
    for _ in range(20):
        result.report(SEVEN.address(1), Slot(10), at(500))
        result.report(OWN, Slot(10), at(500))
    assert result.present_slot(OWN, at(500), 7) == 500


def test_reports_of_former_members_are_dropped() -> None:
    result = clocks([10] * 6, at(500))
    result.keep_only(SEVEN.membership.addresses[:4])
    assert result.present_slot(OWN, at(500), 7) == 500


@pytest.mark.parametrize("clock_ms", [-1, -3_600_000])
def test_before_the_start_time_the_slot_is_zero(clock_ms: int) -> None:
    assert Instant(monotonic_ms=0, clock_ms=clock_ms).slot(TAU_MS) == 0


def test_a_chain_ahead_of_the_clocks_counts_whole_slots_since_its_last_decision() -> None:
    scenario = Scenario(slot=3)
    scenario.receive(scenario.members.decided(40))
    scenario.applied(header_slot=40)
    seen = []
    for _ in range(5):
        seen.append(scenario.replica.present_slot(scenario.now()))
        scenario.tick(0.5)
    assert seen == [40, 40, 41, 41, 42]
