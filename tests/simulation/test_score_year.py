"""Simulated years of Q-scores: who cheats falls, who is honest does not, and splitting trades gains nothing."""

from statistics import median

import pytest

from qscore.parameters import DEFAULT_PARAMETERS, ONE
from tests.simulation.score_year import Plan, honest_curve, run_year, trades_until_out

THRESHOLD = DEFAULT_PARAMETERS.threshold_trade / ONE


def test_always_cheating_is_over_after_three_trades_and_again_after_each_way_back() -> None:
    year = run_year(Plan(members=20, cheating={0: 1.0}))
    assert year.out_after == {0: 3}
    assert year.trades[0] <= 10, "each way back is twice as long"
    assert max(year.scores[0]) < 1
    assert min(map(min, year.scores[1:])) > THRESHOLD
    assert max(map(max, year.scores)) <= DEFAULT_PARAMETERS.maximum / ONE


@pytest.mark.parametrize(
    ("share", "start", "least", "most"),
    [(1.0, 1.0, 3, 3), (1.0, 9.0, 6, 6), (0.2, 1.0, 10, 22), (0.2, 9.0, 20, 44), (0.05, 1.0, 60, 150)],
)
def test_after_how_many_trades_a_cheater_is_out(share: float, start: float, least: int, most: int) -> None:
    assert least <= median(trades_until_out(share, start=start)) <= most


def test_accidents_alone_put_nobody_out() -> None:
    assert trades_until_out(0.005, runs=5) == []


def test_honest_scores_rise_slowly_then_quickly_then_settle_below_the_maximum() -> None:
    curve = honest_curve((10, 50, 100, 200, 400))
    expected = {10: 1.2, 50: 2.4, 100: 4.8, 200: 8.8, 400: 9.98}
    assert {count: pytest.approx(score, rel=0.08) for count, score in expected.items()} == curve


def test_splitting_trades_gains_nothing() -> None:
    whole = Plan(members=8, cheating={}, accidents=0.0, days=30)
    split = Plan(members=8, cheating={}, accidents=0.0, days=30, splits={0: 10})
    first, second = run_year(whole), run_year(split)
    assert second.trades[0] == 10 * first.trades[0]
    assert first.scores == second.scores
