"""The way back: a straight line to the threshold, twice as long with each fall, shortened by nothing but reward."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from qscore.parameters import DEFAULT_PARAMETERS, WAY_BACK_SLOTS_MAX
from qscore.way_back import (
    DOUBLINGS_MAX,
    WayBack,
    present_score,
    way_back_after_fault,
    way_back_after_reward,
)

PARAMETERS = replace(DEFAULT_PARAMETERS, way_back_slots=1_000)
THRESHOLD = PARAMETERS.threshold_trade
BOUNDED = settings(max_examples=200, deadline=None, derandomize=True, database=None)


@pytest.mark.parametrize(
    ("slot", "score"),
    [
        (70, 100_000),
        (71, 100_100),
        (320, 125_000),
        (570, 150_000),
        (1_069, 199_900),
        (1_070, 200_000),
        (9_999, 200_000),
    ],
)
def test_rises_in_a_straight_line_to_the_threshold(slot: int, score: int) -> None:
    way = way_back_after_fault(100_000, 0, 70, PARAMETERS)
    assert way == WayBack(from_slot=70, until_slot=1_070)
    assert present_score(100_000, way, slot, PARAMETERS) == score


@pytest.mark.parametrize("slot", [0, 70, 10**9])
def test_a_score_without_a_way_back_stays(slot: int) -> None:
    assert present_score(900_000, None, slot, PARAMETERS) == 900_000


@pytest.mark.parametrize(("value", "falls_below"), [(200_001, False), (200_000, False), (199_999, True)])
def test_only_a_fall_below_the_threshold_starts_it(value: int, falls_below: bool) -> None:
    assert (way_back_after_fault(value, 0, 5, PARAMETERS) is not None) is falls_below


@pytest.mark.parametrize(
    ("falls", "length"),
    [
        (0, 1_000),
        (1, 2_000),
        (2, 4_000),
        (20, 1_000 << DOUBLINGS_MAX),
        (21, 1_000 << DOUBLINGS_MAX),
        (10**6, 1_000 << 20),
    ],
)
def test_doubles_with_each_repetition(falls: int, length: int) -> None:
    way = way_back_after_fault(50_000, falls, 5, PARAMETERS)
    assert way == WayBack(from_slot=5, until_slot=5 + length)


def test_the_longest_way_is_still_a_slot_number() -> None:
    longest = replace(PARAMETERS, way_back_slots=WAY_BACK_SLOTS_MAX)
    way = way_back_after_fault(50_000, DOUBLINGS_MAX, 2**62, longest)
    assert way is not None
    assert way.until_slot < 2**63


def test_a_reward_on_the_way_keeps_its_end() -> None:
    way = WayBack(from_slot=70, until_slot=1_070)
    rest = way_back_after_reward(160_000, way, 570, PARAMETERS)
    assert rest == WayBack(from_slot=570, until_slot=1_070)
    assert present_score(160_000, rest, 820, PARAMETERS) == 180_000
    assert present_score(160_000, rest, 1_070, PARAMETERS) == THRESHOLD


@pytest.mark.parametrize(
    ("value", "slot"), [(THRESHOLD, 570), (THRESHOLD + 1, 570), (THRESHOLD, 1_070), (150_000, 1_070)]
)
def test_a_reward_at_the_threshold_or_the_end_is_the_end_of_the_way(value: int, slot: int) -> None:
    assert way_back_after_reward(value, WayBack(from_slot=70, until_slot=1_070), slot, PARAMETERS) is None


def test_who_is_not_on_the_way_stays_off_it() -> None:
    assert way_back_after_reward(100_000, None, 5, PARAMETERS) is None


@BOUNDED
@given(
    value=st.integers(PARAMETERS.floor, THRESHOLD - 1),
    falls=st.integers(0, 30),
    start=st.integers(0, 2**40),
    steps=st.lists(st.integers(0, 10**6), min_size=1, max_size=10),
)
def test_never_falls_and_never_passes_the_threshold(value: int, falls: int, start: int, steps: list[int]) -> None:
    way = way_back_after_fault(value, falls, start, PARAMETERS)
    slots = [start]
    for step in steps:
        slots.append(slots[-1] + step)
    scores = [present_score(value, way, slot, PARAMETERS) for slot in slots]
    assert scores[0] == value
    assert scores == sorted(scores)
    assert scores[-1] <= THRESHOLD


@BOUNDED
@given(value=st.integers(PARAMETERS.floor, THRESHOLD - 1), cut=st.integers(0, 999), slot=st.integers(0, 1_500))
def test_written_anew_on_the_way_it_is_the_same_line(value: int, cut: int, slot: int) -> None:
    """Up to the fraction of a millionth that a version in between drops."""
    way = way_back_after_fault(value, 0, 0, PARAMETERS)
    there = present_score(value, way, cut, PARAMETERS)
    rest = way_back_after_reward(there, way, cut, PARAMETERS)
    at = max(slot, cut)
    assert 0 <= present_score(value, way, at, PARAMETERS) - present_score(there, rest, at, PARAMETERS) <= 1
