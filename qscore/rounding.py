"""Exact division with one rounding: the only place where a score loses a fraction."""


def round_half_even(numerator: int, denominator: int) -> int:
    """Returns `numerator / denominator` as the nearest integer, ties to the even one.

    Args:
        numerator: any integer.
        denominator: a positive integer.
    """
    assert denominator > 0, "a denominator is positive"
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient % 2 == 1):
        quotient += 1
    return quotient
