"""Reads and checks files of meter readings, and sums up what can be traded in them.

A file is CSV in UTF-8 with the columns `timestamp`, `household_id`, `consumption_wh` and `generation_wh`, in
any order (further columns are ignored): one row per household and hour, rows in any order. `timestamp` is
ISO 8601 with Z or an offset and names the hour's start; energies are whole Wh, not negative. Every household
has every hour from the first to the last. Whatever departs from that is refused, naming the line.
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Final

from contracts.transactions import METER_TIME_MS_MAX
from contracts.units import MS_PER_HOUR, Milliseconds, WattHours
from node.errors import ReadingsError
from node.home.bounded_file import FileTooLargeError, open_bounded
from node.meter.readings_form import encoding_problem, energy_hint, header_problem

COLUMNS: Final = ("timestamp", "household_id", "consumption_wh", "generation_wh")

SHIPPED_READINGS: Final = Path(__file__).parent / "data" / "households.csv"
"""Five homes in Konstanz, 56 days; see SOURCE.md beside it."""

ENERGY_WH_MAX: Final = 1_000_000_000
"""Most energy of one hour: a gigawatt, the largest capacity that genesis registers."""

HOUSEHOLDS_MAX: Final = 256
"""As many as a chain can have members."""

HOURS_MAX: Final = 100_000
"""Eleven years of hours: bounds memory."""

HOUSEHOLD_ID_LENGTH_MAX: Final = 64

FILE_SIZE_BYTES_MAX: Final = 1024**3
"""Eighty households over eleven years: bounds how long a file is read before it is refused."""

LINE_SIZE_BYTES_MAX: Final = 4_096
"""A row takes about 50 bytes; a file without line ends is not read into memory."""

_DIGITS: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrossReading:
    """One household's hour, as its meter measures it."""

    consumption_wh: WattHours
    generation_wh: WattHours

    @property
    def net_wh(self) -> WattHours:
        """Generation minus consumption."""
        return WattHours(self.generation_wh - self.consumption_wh)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """A complete file: every household has every hour."""

    path: Path
    households: tuple[str, ...]
    """In the order of their first rows."""
    hours_start_ms: tuple[Milliseconds, ...]
    """Starts of the hours, without gaps, milliseconds since the epoch."""
    by_household: dict[str, tuple[GrossReading, ...]] = field(repr=False)
    """Per household one reading for each of `hours_start_ms`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergySummary:
    """What the first hours of a file hold, summed over households."""

    hours: int
    surplus_wh: WattHours
    """Sum of the positive nets."""
    deficit_wh: WattHours
    """Sum of the negative nets, as a positive number."""
    tradable_wh: WattHours
    """Sum over the hours of the smaller of total surplus and total deficit."""


def summarise(readings: Readings, hours: int) -> EnergySummary:
    """Returns the sums of the first `hours` hours."""
    surplus = deficit = tradable = 0
    for hour in range(hours):
        nets = [rows[hour].net_wh for rows in readings.by_household.values()]
        hour_surplus = sum(net for net in nets if net > 0)
        hour_deficit = -sum(net for net in nets if net < 0)
        surplus += hour_surplus
        deficit += hour_deficit
        tradable += min(hour_surplus, hour_deficit)
    return EnergySummary(
        hours=hours,
        surplus_wh=WattHours(surplus),
        deficit_wh=WattHours(deficit),
        tradable_wh=WattHours(tradable),
    )


def deficit_of(readings: Readings, household: str) -> WattHours:
    """Returns what a household lacks over all hours."""
    return WattHours(sum(max(0, -reading.net_wh) for reading in readings.by_household[household]))


def largest_net_wh(readings: Readings, household: str) -> WattHours:
    """Returns the largest net of a household's hours, of either sign, as a positive number."""
    return WattHours(max(abs(reading.net_wh) for reading in readings.by_household[household]))


def read_readings(path: Path, *, households: tuple[str, ...] | None = None) -> Readings:
    """Returns the checked readings of a file, read line by line.

    Args:
        path: the CSV file.
        households: the only ids that may occur, all of which must; None takes the ids of the file.

    Raises:
        ReadingsError: the file cannot be read, or a row is wrong, missing or too many; names the line.
    """
    collected = _Collected(path, households)
    try:
        with open_readings(path) as file:
            for line, fields in _rows(path, file):
                collected.add(line, fields)
    except OSError as error:
        raise ReadingsError(path, f"cannot be read: {error.strerror}") from None
    return collected.complete()


def open_readings(path: Path) -> io.BufferedReader:
    """Opens a readings file.

    Raises:
        ReadingsError: it is larger than any.
        OSError: it cannot be opened, or is no regular file.
    """
    try:
        return open_bounded(path, size_bytes_max=FILE_SIZE_BYTES_MAX)
    except FileTooLargeError as error:
        raise ReadingsError(path, f"{error}, which no file of readings is") from None


def write_household(readings: Readings, household: str, path: Path) -> None:
    """Writes one household's rows as a readings file of its own."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for start_ms, reading in zip(readings.hours_start_ms, readings.by_household[household], strict=True):
            row = (format_hour(start_ms), household, reading.consumption_wh, reading.generation_wh)
            writer.writerow(row)


def format_hour(start_ms: Milliseconds) -> str:
    """Returns an hour's start in UTC, for example 2016-08-24T00:00:00Z."""
    return datetime.fromtimestamp(start_ms // 1_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Collected:
    """The rows seen so far, each with its line."""

    def __init__(self, path: Path, expected: tuple[str, ...] | None) -> None:
        self._path = path
        self._expected = expected
        self._rows: dict[str, dict[Milliseconds, tuple[int, GrossReading]]] = {}
        self._first_line_of_hour: dict[Milliseconds, int] = {}

    def add(self, line: int, fields: dict[str, str]) -> None:
        household = self._household(line, fields["household_id"])
        start_ms = self._hour(line, fields["timestamp"])
        reading = GrossReading(
            consumption_wh=self._energy(line, fields, "consumption_wh"),
            generation_wh=self._energy(line, fields, "generation_wh"),
        )
        rows = self._rows.setdefault(household, {})
        if start_ms in rows:
            detail = f"duplicate hour {format_hour(start_ms)} of household {household!r}"
            raise self._error(f"{detail}, first in line {rows[start_ms][0]}", line)
        rows[start_ms] = (line, reading)
        self._first_line_of_hour.setdefault(start_ms, line)
        if len(self._rows) > HOUSEHOLDS_MAX:
            detail = f"household {household!r} is number {len(self._rows)}; at most {HOUSEHOLDS_MAX} are possible"
            raise self._error(f"{detail}, as many as a chain can have members", line)
        if len(self._first_line_of_hour) > HOURS_MAX:
            hour = f"hour {format_hour(start_ms)} is number {len(self._first_line_of_hour):,}"
            raise self._error(f"{hour}; at most {HOURS_MAX:,} are possible, eleven years", line)

    def complete(self) -> Readings:
        """Returns the readings once every household is known to have every hour."""
        if not self._rows:
            raise self._error("holds no readings", None)
        for household in self._expected or ():
            if household not in self._rows:
                raise self._error(f"holds no rows of household {household!r}", None)
        hours = sorted(self._first_line_of_hour)
        self._refuse_missing_rows(hours)
        self._refuse_missing_hours(hours)
        return Readings(
            path=self._path,
            households=tuple(self._rows),
            hours_start_ms=tuple(hours),
            by_household={
                household: tuple(rows[start_ms][1] for start_ms in hours) for household, rows in self._rows.items()
            },
        )

    def _refuse_missing_rows(self, hours: list[Milliseconds]) -> None:
        """Names the household that lacks the most hours; of equals the one that came last is the odd one."""
        household, rows = min(reversed(self._rows.items()), key=lambda item: len(item[1]))
        if len(rows) == len(hours):
            return
        first_line = min(line for line, _ in rows.values())
        if len(rows) * 2 <= len(hours):
            counts = f"rows for {len(rows):,} of {len(hours):,} hours only"
            raise self._error(f"unknown household {household!r}: it has {counts}", first_line)
        missing = next(start_ms for start_ms in hours if start_ms not in rows)
        after = [line for start_ms, (line, _) in rows.items() if start_ms > missing]
        line = min(after) if after else max(line for line, _ in rows.values())
        where = "before" if after else "after"
        detail = f"gap: household {household!r} has no row for {format_hour(missing)} {where} this line"
        raise self._error(detail, line)

    def _refuse_missing_hours(self, hours: list[Milliseconds]) -> None:
        for earlier, later in pairwise(hours):
            if later - earlier != MS_PER_HOUR:
                detail = f"gap: no household has a row between {format_hour(earlier)} and {format_hour(later)}"
                raise self._error(detail, self._first_line_of_hour[later])

    def _household(self, line: int, text: str) -> str:
        if not text or text != text.strip() or not text.isprintable() or len(text) > HOUSEHOLD_ID_LENGTH_MAX:
            limits = f"1 to {HOUSEHOLD_ID_LENGTH_MAX} printable characters without spaces around them"
            raise self._error(f"household_id {text[:80]!r} is not {limits}", line)
        if self._expected is not None and text not in self._expected:
            known = ", ".join(self._expected)
            raise self._error(f"unknown household {text!r}; known are {known}", line)
        return text

    def _hour(self, line: int, text: str) -> Milliseconds:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise self._error(f"timestamp {text[:80]!r} is not in ISO 8601 form", line) from None
        if moment.tzinfo is None:
            raise self._error(f"timestamp {text!r} has neither Z nor an offset", line)
        microseconds = (moment - _EPOCH) // (datetime.resolution)
        if microseconds % (MS_PER_HOUR * 1_000):
            raise self._error(f"timestamp {text!r} is not the start of an hour in UTC", line)
        if microseconds < 0:
            raise self._error(f"timestamp {text!r} is before 1970", line)
        if microseconds > METER_TIME_MS_MAX * 1_000:
            raise self._error(
                f"timestamp {text!r} is after {format_hour(Milliseconds(METER_TIME_MS_MAX))}: no chain takes it", line
            )
        return Milliseconds(microseconds // 1_000)

    def _energy(self, line: int, fields: dict[str, str], column: str) -> WattHours:
        text = fields[column]
        if _DIGITS.fullmatch(text) and int(text) <= ENERGY_WH_MAX:
            return WattHours(int(text))
        if text.startswith("-") and _DIGITS.fullmatch(text[1:]):
            raise self._error(f"{column} is negative: {text}", line)
        kind = f"a whole number of Wh up to {ENERGY_WH_MAX:,}"
        raise self._error(f"{column} is not {kind}: {text[:80]!r}{energy_hint(text)}", line)

    def _error(self, detail: str, line: int | None) -> ReadingsError:
        return ReadingsError(self._path, detail, line=line)


def _rows(path: Path, file: BinaryIO) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields each row with its line, as a mapping from column to text."""
    reader = csv.reader(_lines(path, file), strict=True)
    header: list[str] | None = None
    try:
        for row in reader:
            if not row:
                continue
            if header is None:
                header = _header(path, reader.line_num, row)
                continue
            if len(row) != len(header):
                detail = f"has {len(row)} fields, the header has {len(header)}"
                if len(row) > len(header):
                    detail += "; is there a decimal comma? Energies are whole Wh"
                raise ReadingsError(path, detail, line=reader.line_num)
            yield reader.line_num, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise ReadingsError(path, f"is not CSV: {error}", line=reader.line_num) from None
    if header is None:
        raise ReadingsError(path, "is empty")


def _header(path: Path, line: int, row: list[str]) -> list[str]:
    if not set(COLUMNS) <= set(row):
        raise ReadingsError(path, header_problem(row, COLUMNS), line=line)
    if len(set(row)) != len(row):
        raise ReadingsError(path, "two columns have the same name", line=line)
    return row


def _lines(path: Path, file: BinaryIO) -> Iterator[str]:
    number = 0
    while line := file.readline(LINE_SIZE_BYTES_MAX + 1):
        number += 1
        if number == 1 and (problem := encoding_problem(line)) is not None:
            raise ReadingsError(path, problem, line=number)
        if len(line) > LINE_SIZE_BYTES_MAX:
            raise ReadingsError(path, f"is longer than {LINE_SIZE_BYTES_MAX} bytes", line=number)
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise ReadingsError(path, "is not UTF-8 text: save it as CSV in UTF-8", line=number) from None
