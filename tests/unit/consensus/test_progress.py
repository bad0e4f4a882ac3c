"""The arithmetic of attempts against deliberately dumb versions of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus import progress
from consensus.identifiers import Slot

PRIMES = (2, 3, 5, 7, 11, 13)


def test_the_prime_is_the_first_in_the_list_that_does_not_divide() -> None:
    for members in range(1, 257):
        assert progress.smallest_coprime_prime(members) == next(prime for prime in PRIMES if members % prime)


@pytest.mark.parametrize("attempts", range(8))
def test_attempts_at_every_distance_visit_every_member_as_leader(attempts: int) -> None:
    for members in range(1, 257):
        stride = progress.stride(members, attempts, progress.stride_exponent_max(members, 250, 60_000))
        assert len({stride * attempt % members for attempt in range(members)}) == members


@pytest.mark.parametrize("members", [1, 2, 3, 4, 5, 6, 7, 30, 210])
@pytest.mark.parametrize("slot_duration_ms", [1, 250, 1_000, 20_000, 120_000])
@pytest.mark.parametrize("attempt_max_ms", [0, 1_000, 60_000])
def test_the_largest_distance_keeps_both_limits(members: int, slot_duration_ms: int, attempt_max_ms: int) -> None:
    prime = progress.smallest_coprime_prime(members)
    fitting = [
        exponent
        for exponent in range(1, 10)
        if prime**exponent <= 64 and prime**exponent * slot_duration_ms <= attempt_max_ms
    ]
    assert progress.stride_exponent_max(members, slot_duration_ms, attempt_max_ms) == max(fitting, default=1)


def test_the_distance_grows_with_the_attempts_up_to_its_end() -> None:
    assert [progress.stride(4, attempts, 3) for attempts in range(6)] == [1, 3, 9, 27, 27, 27]


def test_even_memberships_never_use_powers_of_two() -> None:
    # multiples of 2 at N = 4 would ask leaders 0 and 2 only, for ever
    assert all(progress.stride(members, 1, 1) % 2 for members in range(2, 100, 2))


def dumb_next_target(base: int, stride: int) -> int:
    slot = base + 1
    while slot % stride:
        slot += 1
    return slot


@settings(derandomize=True, max_examples=300, deadline=None)
@given(base=st.integers(0, 10_000), stride=st.integers(1, 64))
def test_the_next_target_is_the_next_multiple(base: int, stride: int) -> None:
    assert progress.next_target(Slot(base), stride) == dumb_next_target(base, stride)


def dumb_join_slot(slots: list[int], faulty: int) -> int | None:
    """The highest slot that more than F members reached."""
    reached = [slot for slot in set(slots) if sum(other >= slot for other in slots) > faulty]
    return max(reached, default=None)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(slots=st.lists(st.integers(0, 20), max_size=13), faulty=st.integers(0, 4))
def test_the_slot_to_join_is_the_highest_that_an_honest_member_reached(slots: list[int], faulty: int) -> None:
    assert progress.join_slot([Slot(slot) for slot in slots], faulty) == dumb_join_slot(slots, faulty)
