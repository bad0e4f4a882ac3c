"""The present slot: held back by the members, never behind the chain, and by a clock whose jumps are not believed at
once.
"""

import pytest

from consensus.clock import (
    CLOCK_JUMP_SLOTS,
    CLOCK_SETTLE_MS,
    REPORT_AGE_MAX_SLOTS,
    ClockJump,
    MemberClocks,
    OwnClock,
)
from consensus.events import Instant
from consensus.identifiers import Slot
from consensus.messages import Status
from tests.support.consensus import TAU_MS, Members, Scenario
from tests.support.explaining import explained, status_of

HOUR_SLOTS = 3_600_000 // TAU_MS
SETTLE_SLOTS = CLOCK_SETTLE_MS // TAU_MS
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


# --- jumps of the own clock ------------------------------------------------------------------------------------


def present(scenario: Scenario) -> int:
    """The slot that a member alone with its clock acts in, after a look at it."""
    scenario.tick()
    return scenario.replica.present_slot(scenario.now())


def jump(scenario: Scenario, slots: float) -> None:
    scenario.clock_ms += int(slots * TAU_MS)
    scenario.tick()


def told(scenario: Scenario, slot: int, *members: int) -> None:
    """Members report their slot."""
    for member in members:
        scenario.receive(status_of(1, by=member, slot=slot), sender=member)


@pytest.mark.parametrize("slots", [0.1, CLOCK_JUMP_SLOTS, -CLOCK_JUMP_SLOTS])
def test_a_small_step_is_followed_at_once(slots: float) -> None:
    scenario = Scenario(slot=100)
    jump(scenario, slots)
    assert present(scenario) == int(100 + slots)
    assert explained(scenario).clock_jump is None


@pytest.mark.parametrize("slots", [CLOCK_JUMP_SLOTS + 0.001, -CLOCK_JUMP_SLOTS - 0.001, HOUR_SLOTS, -100])
def test_a_jump_is_followed_once_the_clock_has_stayed(slots: float) -> None:
    scenario = Scenario(slot=100)
    jump(scenario, slots)
    assert present(scenario) == 100, "time goes on as before"
    scenario.tick(SETTLE_SLOTS - 0.001)
    assert present(scenario) == 100 + SETTLE_SLOTS - 1
    scenario.tick(0.001)
    assert present(scenario) == int(100 + slots) + SETTLE_SLOTS


def test_a_clock_that_jumps_back_in_time_was_never_away() -> None:
    scenario = Scenario(slot=100)
    jump(scenario, HOUR_SLOTS)
    scenario.tick(3)
    jump(scenario, -HOUR_SLOTS)
    assert explained(scenario).clock_jump is None
    scenario.tick(2 * SETTLE_SLOTS)
    assert present(scenario) == 103 + 2 * SETTLE_SLOTS


def test_another_jump_starts_the_time_anew_and_a_small_step_does_not() -> None:
    scenario = Scenario(slot=100)
    jump(scenario, HOUR_SLOTS)
    for slots, left_slots in ((1, SETTLE_SLOTS - 10), (-HOUR_SLOTS // 2, SETTLE_SLOTS), (HOUR_SLOTS, SETTLE_SLOTS)):
        scenario.tick(10)
        jump(scenario, slots)
        found = explained(scenario).clock_jump
        assert found is not None
        assert found.followed_in_ms == left_slots * TAU_MS
    assert present(scenario) == 130


def test_a_clock_that_never_stays_counts_on() -> None:
    scenario = Scenario(slot=100)
    for turn in range(1, 20):
        jump(scenario, turn * HOUR_SLOTS * (-1) ** turn)
        scenario.tick(SETTLE_SLOTS - 1)
        assert present(scenario) == 100 + turn * (SETTLE_SLOTS - 1)


@pytest.mark.parametrize(
    ("members", "there", "is_followed"),
    [(4, (0,), False), (4, (0, 2), True), (7, (0, 2), False), (7, (0, 2, 3), True), (2, (0,), True), (3, (2,), True)],
)
def test_a_jump_is_followed_at_once_where_f_and_one_others_are(
    members: int, there: tuple[int, ...], is_followed: bool
) -> None:
    scenario = Scenario(members=members, slot=100)
    told(scenario, 5_000, *there)
    jump(scenario, 4_900)
    found = explained(scenario)
    assert (found.clock_slot, found.clock_jump is None) == ((5_000, True) if is_followed else (100, False))


@pytest.mark.parametrize(("slot", "is_followed"), [(4_997, False), (4_998, True), (5_002, True), (5_003, False)])
def test_others_are_there_within_a_small_step(slot: int, is_followed: bool) -> None:
    scenario = Scenario(slot=100)
    jump(scenario, 4_900)
    told(scenario, slot, 0, 2)
    scenario.tick()
    assert (explained(scenario).clock_slot == 5_000) is is_followed


def test_the_own_report_is_no_other_ones() -> None:
    scenario = Scenario(slot=100)
    told(scenario, 5_000, 1, 0)
    jump(scenario, 4_900)
    assert explained(scenario).clock_slot == 100


def test_status_reports_the_clock_that_is_followed() -> None:
    scenario = Scenario(slot=100)
    jump(scenario, HOUR_SLOTS)
    scenario.tick(1)
    assert [message.clock_slot for message in scenario.sent_of(Status)] == [101]


def test_at_the_start_the_clock_is_followed_wherever_it_is() -> None:
    scenario = Scenario(slot=100)
    jump(scenario, HOUR_SLOTS)
    scenario.restart()
    assert present(scenario) == 100 + HOUR_SLOTS


def test_what_a_jump_tells_of_itself() -> None:
    now = at(100)
    clock = OwnClock(slot_duration_ms=TAU_MS, settle_ms=CLOCK_SETTLE_MS, now=now)
    assert not clock.observe(now)
    assert clock.jump(now) is None
    later = Instant(monotonic_ms=now.monotonic_ms + 1_000, clock_ms=now.clock_ms - 9_000)
    assert clock.observe(later)
    assert clock.jump(later) == ClockJump(by_ms=-10_000, followed_in_ms=CLOCK_SETTLE_MS)
    assert clock.followed(later).clock_ms == now.clock_ms + 1_000
    clock.follow(later)
    assert (clock.jump(later), clock.followed(later)) == (None, later)
