"""Clocks that are wrong, one by one or all together, move neither block time nor bring the chain to a standstill."""

import pytest

from tests.simulation import wrong_clocks
from tests.simulation.wrong_clocks import WEEK_MS


@pytest.mark.parametrize("members", [1, 2, 4, 7])
def test_all_members_an_hour_ahead_for_three_seconds_move_no_slot(members: int) -> None:
    wrong_clocks.an_hour_ahead_for_three_seconds(members)


@pytest.mark.parametrize(
    ("from_ms", "right_ms"), [(-WEEK_MS, 0), (0, WEEK_MS)], ids=["before the chain began", "a week into the chain"]
)
def test_boards_that_are_set_right_one_after_the_other_decide_once_the_clocks_have_stayed(
    from_ms: int, right_ms: int
) -> None:
    wrong_clocks.set_right_one_after_the_other(from_ms, right_ms)


@pytest.mark.parametrize("members", [1, 3, 4, 7])
def test_all_clocks_that_are_set_together_are_followed_once_they_have_stayed(members: int) -> None:
    wrong_clocks.an_hour_ahead_for_good(members)


@pytest.mark.parametrize(("members", "wrong"), [(1, 1), (3, 3), (4, 1), (4, 4), (7, 7)])
def test_clocks_that_never_stay_move_no_slot_and_stop_nobody(members: int, wrong: int) -> None:
    wrong_clocks.clocks_that_never_stay(members, wrong)


@pytest.mark.parametrize("members", [1, 4, 5])
def test_where_clocks_were_wrong_from_the_start_and_never_stay_the_chain_goes_on(members: int) -> None:
    wrong_clocks.a_clock_that_never_stays_from_the_start(members)


@pytest.mark.parametrize("members", [2, 4, 7])
def test_a_vote_in_a_slot_of_a_wrong_clock_binds_no_longer_than_any_other(members: int) -> None:
    wrong_clocks.voted_while_clocks_were_wrong(members)
