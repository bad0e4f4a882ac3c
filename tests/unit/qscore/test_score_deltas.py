"""The bounded score deltas: formula, curve, clamps."""

import random
from fractions import Fraction

import pytest
from msgspec.structs import replace

from qscore.deltas import Role, after_fault, rewarded
from qscore.parameters import DEFAULT_PARAMETERS, ONE, Millionths

PARAMETERS = DEFAULT_PARAMETERS
RATES = {Role.TRADER: 20_000, Role.LEADER: 2_000, Role.VALIDATOR: 500}
EXPONENTS = {Role.TRADER: 5, Role.LEADER: 3, Role.VALIDATOR: 1}


def own_trades(count: int) -> int:
    score = PARAMETERS.initial
    for _ in range(count):
        score = rewarded(score, role=Role.TRADER, outcome=ONE, parameters=PARAMETERS)
    return score


@pytest.mark.parametrize(("trades", "hundredths"), [(10, 119), (50, 231), (100, 448), (200, 858), (400, 997)])
def test_curve_of_an_honest_trader(trades: int, hundredths: int) -> None:
    assert round(own_trades(trades) / 10_000) == hundredths


@pytest.mark.parametrize(("start", "frauds"), [(ONE, 3), (9 * ONE, 6)])
def test_who_always_cheats_is_soon_below_the_threshold(start: int, frauds: int) -> None:
    score, count = Millionths(start), 0
    while score >= PARAMETERS.threshold_trade:
        score = after_fault(score, outcome=Millionths(-ONE), parameters=PARAMETERS)
        count += 1
    assert count == frauds


@pytest.mark.parametrize(
    ("role", "outcome", "gain"),
    [
        # k q x^e (1 - q / q_max) with q = 2, q_max = 10
        (Role.TRADER, ONE, 32_000),
        (Role.LEADER, ONE, 3_200),
        (Role.VALIDATOR, ONE, 800),
        (Role.TRADER, 500_000, 1_000),  # / 32
        (Role.LEADER, 500_000, 400),  # / 8
        (Role.VALIDATOR, 500_000, 400),  # / 2
        (Role.TRADER, 0, 0),
    ],
)
def test_rewards_by_hand(role: Role, outcome: int, gain: int) -> None:
    score = Millionths(2 * ONE)
    assert rewarded(score, role=role, outcome=Millionths(outcome), parameters=PARAMETERS) == score + gain


@pytest.mark.parametrize(
    ("score", "outcome", "after"),
    [
        (ONE, -ONE, 500_000),
        (ONE, -500_000, 984_375),  # 0.5 / 32
        (60_000, -ONE, 50_000),  # 30,000 is below the floor
        (50_000, -ONE, 50_000),
        (1_000_001, -ONE, 500_001),  # loss 500,000.5 to the even 500,000
        (1_000_003, -ONE, 500_001),  # loss 500,001.5 to the even 500,002
    ],
)
def test_faults_by_hand(score: int, outcome: int, after: int) -> None:
    assert after_fault(Millionths(score), outcome=Millionths(outcome), parameters=PARAMETERS) == after


def test_rewards_equal_the_formula_on_fractions() -> None:
    generator = random.Random(5)
    for _ in range(2_000):
        role = generator.choice(list(Role))
        score = generator.randint(PARAMETERS.floor, PARAMETERS.maximum)
        x = generator.randint(0, ONE)
        share = Fraction(x, ONE) ** EXPONENTS[role]
        gain = Fraction(RATES[role], ONE) * score * share * (1 - Fraction(score, PARAMETERS.maximum))
        after = rewarded(Millionths(score), role=role, outcome=Millionths(x), parameters=PARAMETERS)
        assert after == score + round(gain)
        assert score <= after <= PARAMETERS.maximum


def test_faults_equal_the_formula_on_fractions() -> None:
    generator = random.Random(6)
    for _ in range(2_000):
        score = generator.randint(PARAMETERS.floor, PARAMETERS.maximum)
        x = generator.randint(-ONE, -1)
        loss = Fraction(1, 2) * Fraction(-x, ONE) ** 5 * score
        after = after_fault(Millionths(score), outcome=Millionths(x), parameters=PARAMETERS)
        assert after == max(PARAMETERS.floor, score - round(loss))


def test_the_maximum_is_reached_and_never_passed() -> None:
    greedy = replace(PARAMETERS, rate_trader=ONE)
    score = greedy.initial
    for _ in range(50):
        score = rewarded(score, role=Role.TRADER, outcome=ONE, parameters=greedy)
        assert score <= greedy.maximum
    assert score == greedy.maximum


@pytest.mark.parametrize("outcome", [-1, ONE + 1])
def test_only_a_success_is_rewarded(outcome: int) -> None:
    with pytest.raises(AssertionError):
        rewarded(ONE, role=Role.TRADER, outcome=Millionths(outcome), parameters=PARAMETERS)


@pytest.mark.parametrize("outcome", [0, 1, -ONE - 1])
def test_only_a_failure_is_punished(outcome: int) -> None:
    with pytest.raises(AssertionError):
        after_fault(ONE, outcome=Millionths(outcome), parameters=PARAMETERS)
