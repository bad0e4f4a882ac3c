"""How scores move: bounded deltas per role, with the exponents of the paper's Eq. 2.

A success of outcome x moves a score q to q + k q x^e (1 - q / q_max): slow at the bottom, quickest in the middle,
never past the maximum. A fault takes a share of the score away: q - share |x|^5 q, never below the floor. Both
are computed as one fraction of integers and rounded once.
"""

from enum import Enum
from fractions import Fraction
from typing import Final

from qscore.parameters import ONE, Millionths, ScoreParameters
from qscore.rounding import round_half_even


class Role(Enum):
    """What a member did in a transaction. The value is the exponent e of the outcome x in Eq. 2."""

    TRADER = 5
    """Seller or buyer."""
    LEADER = 3
    VALIDATOR = 1


WHOLE: Final = Fraction(1)
"""Share of who is rewarded with all of a role's rate."""

FAULT_EXPONENT: Final = 5
"""Exponent of |x| for the party at fault, a trader: Eq. 2's f."""


def rate_of(role: Role, parameters: ScoreParameters) -> Millionths:
    """Returns k of a role, in millionths."""
    match role:
        case Role.TRADER:
            return parameters.rate_trader
        case Role.LEADER:
            return parameters.rate_leader
        case Role.VALIDATOR:
            return parameters.rate_validator


def rewarded(
    score: Millionths, *, role: Role, outcome: Millionths, parameters: ScoreParameters, share: Fraction = WHOLE
) -> Millionths:
    """Returns the score after a success: q + k q x^e (1 - q / q_max), within floor and maximum.

    Args:
        score: q before, in millionths.
        role: gives k and e.
        outcome: x, from 0 to 1_000_000.
        parameters: k, floor and maximum.
        share: of k, where several share out what a role earns.
    """
    assert 0 <= outcome <= ONE, "only a success is rewarded"
    exponent = role.value
    gain_numerator = rate_of(role, parameters) * score * outcome**exponent * (parameters.maximum - score)
    gain_denominator = ONE ** (exponent + 1) * parameters.maximum
    gain = round_half_even(gain_numerator * share.numerator, gain_denominator * share.denominator)
    return _clamped(score + gain, parameters)


def after_fault(score: Millionths, *, outcome: Millionths, parameters: ScoreParameters) -> Millionths:
    """Returns the score of the party at fault: q - share |x|^5 q, within floor and maximum.

    Args:
        score: q before, in millionths.
        outcome: x, from -1_000_000 to -1.
        parameters: the share, floor and maximum.
    """
    assert -ONE <= outcome < 0, "a fault has a negative outcome"
    loss_numerator = parameters.fault_share * score * (-outcome) ** FAULT_EXPONENT
    loss = round_half_even(loss_numerator, ONE ** (FAULT_EXPONENT + 1))
    return _clamped(score - loss, parameters)


def _clamped(score: int, parameters: ScoreParameters) -> Millionths:
    return Millionths(max(parameters.floor, min(parameters.maximum, score)))
