"""Eq. 2 of the paper to the letter, as a pure function in exact integers.

Its total is recorded with every contract, as the paper wants. It does not move scores: the equation rewards a
fraudulent buyer (a = -1 and x < 0 make its term positive), restores the sign after two frauds in a row and does
not say how the total is shared out. What moves scores is in `deltas`.

Source: Zaman, Hasan, He, Giesselmann, IJCNS 15 (2022), Eq. 2.
"""

from collections.abc import Sequence
from enum import IntEnum

from qscore.parameters import ONE, Millionths
from qscore.rounding import round_half_even


class Defaulter(IntEnum):
    """Who failed, as the sign `a` of Eq. 2."""

    SELLER = 1
    """The seller failed to deliver."""
    BUYER = -1
    """The buyer failed to pay."""


def equation_2(
    *,
    seller: Millionths,
    buyer: Millionths,
    leader: Millionths,
    cluster: Sequence[Millionths],
    outcome: Millionths,
    defaulter: Defaulter | None,
) -> int:
    """Returns Q(i) = v x + L x^3 + f(x, a) in millionths, rounded half to even once, at the end.

    f is (S + B) x^5 for x > 0, 0 for x = 0, a S x^5 for x < 0 and a = +1, a B x^5 for x < 0 and a = -1.

    Args:
        seller: S, the seller's score before the transaction, in millionths.
        buyer: B, the buyer's.
        leader: L, the leader's.
        cluster: scores of the validators that check the transaction, at least one; v is their floor mean.
        outcome: x, from -1_000_000 (failed) to 1_000_000 (fulfilled).
        defaulter: a; given exactly if `outcome` is negative.
    """
    return equation_2_of_mean(
        seller=seller,
        buyer=buyer,
        leader=leader,
        validators=Millionths(sum(cluster) // len(cluster)),
        outcome=outcome,
        defaulter=defaulter,
    )


def equation_2_of_mean(
    *,
    seller: Millionths,
    buyer: Millionths,
    leader: Millionths,
    validators: Millionths,
    outcome: Millionths,
    defaulter: Defaulter | None,
) -> int:
    """Returns `equation_2` for a cluster whose floor mean v, `validators`, is known already."""
    assert -ONE <= outcome <= ONE, "x lies in [-1, 1]"
    assert (outcome < 0) == (defaulter is not None), "a defaulter exactly where the trade failed"
    traders = seller + buyer
    if defaulter is not None:
        traders = defaulter * (seller if defaulter is Defaulter.SELLER else buyer)
    numerator = validators * outcome * ONE**4 + leader * outcome**3 * ONE**2 + traders * outcome**5
    return round_half_even(numerator, ONE**5)
