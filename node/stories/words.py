"""The words in which stories are told to people: quantities, prices, moments."""

from datetime import UTC, datetime, timedelta
from typing import Final

from contracts.units import MICRO_TOKENS_PER_TOKEN
from qscore.parameters import ONE

DIGITS_SHOWN: Final = 16
"""Hexadecimal digits of a name in a table: enough to ask for it again."""

TOKEN_DECIMALS: Final = 6

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def tokens_text(micro: int) -> str:
    """Returns micro-tokens as tokens, exactly."""
    sign, whole = "-" if micro < 0 else "", abs(micro)
    fraction = f"{whole % MICRO_TOKENS_PER_TOKEN:0{TOKEN_DECIMALS}d}"
    return f"{sign}{whole // MICRO_TOKENS_PER_TOKEN:,}.{fraction}"


def price_text(micro_per_kwh: int) -> str:
    """Returns a price in tokens per kWh without the zeros at its end, but with two decimals at least."""
    text = tokens_text(micro_per_kwh)
    return text[:-4] + text[-4:].rstrip("0")


def score_text(millionths: int) -> str:
    """Returns a score with all its decimals."""
    return f"{millionths // ONE}.{millionths % ONE:06d}"


def change_text(millionths: int) -> str:
    """Returns a change of a score with its sign."""
    return f"{'-' if millionths < 0 else '+'}{score_text(abs(millionths))}"


def moment_text(milliseconds: int) -> str:
    """Returns a moment, to the second, in UTC."""
    return _time_text(milliseconds, "%Y-%m-%d %H:%M:%S UTC")


def hour_text(milliseconds: int) -> str:
    """Returns the start of an interval."""
    return _time_text(milliseconds, "%Y-%m-%d %H:%M UTC")


def day_text(milliseconds: int) -> str:
    """Returns the ISO date of a moment, in UTC."""
    return _time_text(milliseconds, "%Y-%m-%d")


def _time_text(milliseconds: int, form: str) -> str:
    """Returns a moment in a form of `strftime`; one that no calendar has, plainly as its number.

    The chain counts milliseconds and knows no calendar: a record may hold any number of them.
    """
    try:
        return (EPOCH + timedelta(seconds=milliseconds // 1_000)).strftime(form)
    except OverflowError:
        return f"{milliseconds} ms since 1970 (beyond the year 9999)"


def short(name: str) -> str:
    """Returns the beginning of a hexadecimal name."""
    return f"{name[:DIGITS_SHOWN]}…"
