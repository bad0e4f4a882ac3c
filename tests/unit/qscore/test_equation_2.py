"""Eq. 2 against hand-computed cases, and against fractions on random inputs."""

import random
from fractions import Fraction

import pytest

from qscore.equation import Defaulter, equation_2
from qscore.parameters import Millionths
from qscore.rounding import round_half_even

ONE = 1_000_000
CASES = 3_000


def total(seller: int, buyer: int, leader: int, cluster: list[int], outcome: int, a: int | None) -> int:
    return equation_2(
        seller=Millionths(seller),
        buyer=Millionths(buyer),
        leader=Millionths(leader),
        cluster=[Millionths(score) for score in cluster],
        outcome=Millionths(outcome),
        defaulter=None if a is None else Defaulter(a),
    )


def by_fractions(seller: int, buyer: int, leader: int, cluster: list[int], outcome: int, a: int | None) -> int:
    """The formula as the paper prints it, on rationals; Python rounds a Fraction half to even."""
    x, mean = Fraction(outcome, ONE), Fraction(sum(cluster) // len(cluster))
    if x > 0:
        traders = (seller + buyer) * x**5
    elif x == 0:
        traders = Fraction(0)
    else:
        traders = a * (seller if a == 1 else buyer) * x**5
    return round(mean * x + leader * x**3 + traders)


@pytest.mark.parametrize(
    ("scores", "outcome", "a", "expected"),
    [
        # success, v + L + S + B: 2 and 4 and 1 and 3
        ((ONE, 3 * ONE, 4 * ONE, [2 * ONE]), ONE, None, 10 * ONE),
        # half delivered: 2/2 + 4/8 + (1 + 3)/32 = 1 + 0.5 + 0.125
        ((ONE, 3 * ONE, 4 * ONE, [2 * ONE]), 500_000, None, 1_625_000),
        # seller at fault: -2 - 4 - 1
        ((ONE, 3 * ONE, 4 * ONE, [2 * ONE]), -ONE, 1, -7 * ONE),
        # buyer at fault, to the letter: -2 - 4 + 3 (the paper's flaw: the defaulter's term is positive)
        ((ONE, 3 * ONE, 4 * ONE, [2 * ONE]), -ONE, -1, -3 * ONE),
        # nothing came of it
        ((ONE, 3 * ONE, 4 * ONE, [2 * ONE]), 0, None, 0),
        # v is the floor mean: (1 + 2) // 2 = 1 millionth
        ((0, 0, 0, [1, 2]), ONE, None, 1),
        # one rounding at the end: 0.5 of v and 0.5 of 5 x^5 and x^3 terms are not rounded apart
        ((0, 0, 0, [1]), 500_000, None, 0),
        ((0, 0, 0, [3]), 500_000, None, 2),
        ((0, 0, 4, [1]), 500_000, None, 1),
    ],
)
def test_hand_computed(scores: tuple[int, int, int, list[int]], outcome: int, a: int | None, expected: int) -> None:
    assert total(*scores, outcome, a) == expected


def test_equals_the_formula_on_fractions() -> None:
    generator = random.Random(2)
    for _ in range(CASES):
        seller, buyer, leader = (generator.randint(1, 10 * ONE) for _ in range(3))
        cluster = [generator.randint(1, 10 * ONE) for _ in range(generator.randint(1, 9))]
        outcome = generator.choice([generator.randint(-ONE, ONE), generator.choice([-ONE, -1, 0, 1, ONE])])
        a = generator.choice([1, -1]) if outcome < 0 else None
        arguments = (seller, buyer, leader, cluster, outcome, a)
        assert total(*arguments) == by_fractions(*arguments), arguments


@pytest.mark.parametrize(("outcome", "a"), [(ONE + 1, None), (-ONE - 1, 1), (-1, None), (0, 1), (1, -1)])
def test_outcome_and_defaulter_must_fit(outcome: int, a: int | None) -> None:
    with pytest.raises(AssertionError):
        total(ONE, ONE, ONE, [ONE], outcome, a)


def test_rounds_half_to_even() -> None:
    halves = {-5: -2, -3: -2, -1: 0, 1: 0, 3: 2, 5: 2, 7: 4}
    assert {numerator: round_half_even(numerator, 2) for numerator in halves} == halves


def test_rounds_as_fractions_do() -> None:
    generator = random.Random(3)
    for _ in range(CASES):
        numerator, denominator = generator.randint(-(10**4), 10**4), generator.randint(1, 50)
        assert round_half_even(numerator, denominator) == round(Fraction(numerator, denominator))
