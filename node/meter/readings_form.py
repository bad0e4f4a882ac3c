"""Says in words why a file that a spreadsheet or a logger wrote is not the CSV that readings come in."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

EXPECTED: Final = "comma-separated, in UTF-8, energies in whole Wh"

_SEPARATORS: Final = {";": "a semicolon", "\t": "a tab", "|": "a bar"}
_SHOWN_MAX: Final = 120
"""Characters of a header that a message shows."""


def encoding_problem(line: bytes) -> str | None:
    """Returns what the first line's bytes show of another encoding or other line ends; None if nothing."""
    if line.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in line:
        return "is not UTF-8 text but UTF-16, as far as its first bytes tell: save it as CSV in UTF-8"
    if b"\r" in line.rstrip(b"\r\n"):
        return "has line ends of a single carriage return: save it with line ends of Unix or Windows"
    return None


def header_problem(row: Sequence[str], columns: Sequence[str]) -> str:
    """Returns what is wrong with a first row that lacks some of `columns`, and what is expected."""
    joined = ",".join(row)
    for separator, name in _SEPARATORS.items():
        if set(columns) <= {field.strip(' "') for field in joined.split(separator)}:
            return f"its separator is {name}, and a comma is expected; readings are {EXPECTED}"
    if any(map(_is_hour, joined.replace(";", ",").replace("\t", ",").split(","))):
        return f"there is no header: the first line is {','.join(columns)}, in any order"
    missing = ", ".join(column for column in columns if column not in row)
    found = joined[:_SHOWN_MAX]
    return f"missing column {missing}; the header is {found!r}, and names are taken as they are spelt here"


def energy_hint(text: str) -> str:
    """Returns what to do about a number that is not whole; empty if `text` is no such number."""
    whole, _, fraction = text.replace(",", ".").partition(".")
    if not (whole.isdecimal() and fraction.isdecimal()):
        return ""
    return f" ({'a decimal comma' if ',' in text else 'a fraction'}: round to whole Wh; 1 kWh is 1000 Wh)"


def _is_hour(text: str) -> bool:
    try:
        datetime.fromisoformat(text.strip(' "'))
    except ValueError:
        return False
    return True
