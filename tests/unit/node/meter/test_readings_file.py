"""Readings files: what is taken, every kind of bad file with its line, and what can be traded."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import ReadingsError
from node.meter import readings_file as readings
from node.meter.readings_file import (
    ENERGY_WH_MAX,
    FILE_SIZE_BYTES_MAX,
    HOUSEHOLDS_MAX,
    LINE_SIZE_BYTES_MAX,
    SHIPPED_READINGS,
    Readings,
    deficit_of,
    largest_net_wh,
    read_readings,
    summarise,
    write_household,
)

HEADER = "timestamp,household_id,consumption_wh,generation_wh"
HOUSEHOLDS = ("a", "b", "c", "d")


def rows(hours: int = 3, households: Sequence[str] = HOUSEHOLDS) -> list[str]:
    return [
        f"2016-06-01T{hour:02}:00:00Z,{household},{100 + hour},{10 * index}"
        for hour in range(hours)
        for index, household in enumerate(households)
    ]


def write(tmp_path: Path, lines: Sequence[str], *, end: str = "\n") -> Path:
    path = tmp_path / "readings.csv"
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


def read(tmp_path: Path, lines: Sequence[str], *, end: str = "\n") -> Readings:
    return read_readings(write(tmp_path, lines, end=end))


def refusal(tmp_path: Path, lines: Sequence[str]) -> ReadingsError:
    with pytest.raises(ReadingsError) as caught:
        read(tmp_path, lines)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "readings.csv") in str(caught.value)
    return caught.value


# --- what is taken -----------------------------------------------------------------------------------------


def test_the_shipped_file_holds_what_its_description_says() -> None:
    readings = read_readings(SHIPPED_READINGS)
    assert readings.households == tuple(f"DE_KN_residential{number}" for number in range(1, 6))
    assert len(readings.hours_start_ms) == 1_344
    assert readings.hours_start_ms[0] == datetime(2016, 8, 24, tzinfo=UTC).timestamp() * 1_000


@pytest.mark.parametrize(("hours", "tradable_wh"), [(24, 5_777), (48, 11_894), (168, 42_691), (1_344, 349_134)])
def test_tradable_energy_of_the_shipped_file(hours: int, tradable_wh: int) -> None:
    assert summarise(read_readings(SHIPPED_READINGS), hours).tradable_wh == tradable_wh


def test_a_good_file_is_read(tmp_path: Path) -> None:
    readings = read(tmp_path, [HEADER, *rows()])
    assert readings.households == HOUSEHOLDS
    assert len(readings.hours_start_ms) == 3
    second_of_c = readings.by_household["c"][1]
    assert (second_of_c.consumption_wh, second_of_c.generation_wh, second_of_c.net_wh) == (101, 20, -81)


@pytest.mark.parametrize("count", [1, 4, 12, 40])
def test_any_number_of_households_is_read(tmp_path: Path, count: int) -> None:
    households = [f"home {number}" for number in range(count)]
    assert read(tmp_path, [HEADER, *rows(2, households)]).households == tuple(households)


def test_rows_may_come_in_any_order(tmp_path: Path) -> None:
    ordered = read(tmp_path, [HEADER, *rows()])
    by_household = read(tmp_path, [HEADER, *sorted(rows(), key=lambda row: row.split(",")[1])])
    assert by_household.by_household == ordered.by_household
    assert read(tmp_path, [HEADER, *reversed(rows())]).by_household == ordered.by_household


def test_columns_may_come_in_any_order_with_others_between(tmp_path: Path) -> None:
    lines = ["note,generation_wh,household_id,consumption_wh,timestamp"]
    lines += [",".join(["x", row.split(",")[3], *row.split(",")[1:3], row.split(",")[0]]) for row in rows()]
    assert read(tmp_path, lines).by_household == read(tmp_path, [HEADER, *rows()]).by_household


def test_line_ends_quotes_blank_lines_and_a_byte_order_mark_are_taken(tmp_path: Path) -> None:
    expected = read(tmp_path, [HEADER, *rows()]).by_household
    assert read(tmp_path, [HEADER, *rows()], end="\r\n").by_household == expected
    assert read(tmp_path, ["\ufeff" + HEADER, *rows(), "", ""]).by_household == expected
    quoted = [",".join(f'"{field}"' for field in row.split(",")) for row in rows()]
    assert read(tmp_path, [HEADER, *quoted]).by_household == expected


@pytest.mark.parametrize(
    "written",
    ["2016-06-01T00:00:00Z", "2016-06-01T00:00Z", "2016-06-01T02:00:00+02:00", "2016-05-31 19:00:00-05:00"],
)
def test_an_hour_may_be_written_with_any_offset(tmp_path: Path, written: str) -> None:
    lines = [HEADER, *(row.replace("2016-06-01T00:00:00Z", written) for row in rows())]
    assert read(tmp_path, lines).hours_start_ms[0] == datetime(2016, 6, 1, tzinfo=UTC).timestamp() * 1_000


def test_the_largest_energy_is_taken_and_one_more_refused(tmp_path: Path) -> None:
    at_limit = [HEADER, *rows()[:-1], f"2016-06-01T02:00:00Z,d,{ENERGY_WH_MAX},0"]
    assert read(tmp_path, at_limit).by_household["d"][-1].net_wh == -ENERGY_WH_MAX
    past = [HEADER, *rows()[:-1], f"2016-06-01T02:00:00Z,d,0,{ENERGY_WH_MAX + 1}"]
    assert refusal(tmp_path, past).line == 13


def test_a_households_own_file_reads_back(tmp_path: Path) -> None:
    readings = read(tmp_path, [HEADER, *rows()])
    write_household(readings, "c", tmp_path / "own.csv")
    own = read_readings(tmp_path / "own.csv", households=("c",))
    assert own.by_household == {"c": readings.by_household["c"]}
    assert own.hours_start_ms == readings.hours_start_ms


# --- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ("2016-06-01T00:00:00Z,b,-5,0", "consumption_wh is negative: -5"),
        ("2016-06-01T00:00:00Z,b,5,-1", "generation_wh is negative: -1"),
        ("2016-06-01T00:00:00Z,b,many,0", "consumption_wh is not a whole number of Wh"),
        ("2016-06-01T00:00:00Z,b,1.5,0", "consumption_wh is not a whole number"),
        ("2016-06-01T00:00:00Z,b,1e3,0", "consumption_wh is not a whole number"),
        ("2016-06-01T00:00:00Z,b,1_000,0", "consumption_wh is not a whole number"),
        ("2016-06-01T00:00:00Z,b, 1,0", "consumption_wh is not a whole number"),
        ("2016-06-01T00:00:00Z,b,+1,0", "consumption_wh is not a whole number"),
        ("2016-06-01T00:00:00Z,b,nan,0", "consumption_wh is not a whole number"),
        ("2016-06-01T00:00:00Z,b,\u0663,0", "consumption_wh is not a whole number"),
        ("2016-06-01T00:00:00Z,b,,0", "consumption_wh is not a whole number"),
        ("2016-06-01T00:00:00Z,b,1" + "0" * 400 + ",0", "consumption_wh is not a whole number"),
        ("2016-06-01T00:00:00Z,b,1", "has 3 fields, the header has 4"),
        ("2016-06-01T00:00:00Z,b,1,2,3", "has 5 fields, the header has 4"),
        ("2016-06-01T00:00:00,b,1,0", "has neither Z nor an offset"),
        ("2016-06-01,b,1,0", "has neither Z nor an offset"),
        ("yesterday,b,1,0", "is not in ISO 8601 form"),
        ("1464739200,b,1,0", "is not in ISO 8601 form"),
        ("2016-02-30T00:00:00Z,b,1,0", "is not in ISO 8601 form"),
        ("2016-06-01T00:30:00Z,b,1,0", "is not the start of an hour"),
        ("2016-06-01T00:00:00.001Z,b,1,0", "is not the start of an hour"),
        ("2016-06-01T00:00:00+05:30,b,1,0", "is not the start of an hour in UTC"),
        ("1969-12-31T23:00:00Z,b,1,0", "is before 1970"),
        ("2100-01-01T01:00:00Z,b,1,0", "is after 2100-01-01T00:00:00Z: no chain takes it"),
        ("9999-12-31T23:00:00-12:00,b,1,0", "is after 2100-01-01T00:00:00Z"),
        ("2016-06-01T00:00:00Z,a,1,0", "duplicate hour 2016-06-01T00:00:00Z of household 'a', first in line 2"),
        ("2016-06-01T00:00:00Z,,1,0", "household_id '' is not"),
        ("2016-06-01T00:00:00Z, b,1,0", "household_id ' b' is not"),
        ("2016-06-01T00:00:00Z,b\x07,1,0", "printable"),
        ("2016-06-01T00:00:00Z," + "b" * 65 + ",1,0", "1 to 64 printable"),
        ('2016-06-01T00:00:00Z,"b,1,0', "is not CSV"),
    ],
)
def test_a_bad_row_is_refused_naming_its_line(tmp_path: Path, row: str, complaint: str) -> None:
    error = refusal(tmp_path, [HEADER, rows()[0], row, *rows()[2:]])
    assert complaint in str(error)
    if "is not CSV" not in complaint:  # an open quote runs to the end of the file
        assert error.line == 3
        assert "line 3: " in str(error)


@pytest.mark.parametrize("column", HEADER.split(","))
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    error = refusal(tmp_path, [HEADER.replace(column, "other"), *rows()])
    assert f"missing column {column}" in str(error)
    assert error.line == 1


def test_a_column_given_twice_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, [HEADER + ",household_id", *rows()]).line == 1


@pytest.mark.parametrize("missing", range(12))
def test_a_missing_row_is_a_gap(tmp_path: Path, missing: int) -> None:
    complete = rows()
    hour, household = complete[missing].split(",")[:2]
    error = refusal(tmp_path, [HEADER, *complete[:missing], *complete[missing + 1 :]])
    assert f"gap: household '{household}' has no row for {hour}" in str(error)
    assert error.line is not None
    named = [HEADER, *complete[:missing], *complete[missing + 1 :]][error.line - 1]
    assert named.split(",")[1] == household


def test_an_hour_that_all_lack_is_a_gap(tmp_path: Path) -> None:
    lines = [HEADER, *(row for row in rows(4) if "T02:" not in row)]
    error = refusal(tmp_path, lines)
    assert "gap: no household has a row between 2016-06-01T01:00:00Z and 2016-06-01T03:00:00Z" in str(error)
    assert error.line == 10


@pytest.mark.parametrize("changed", range(12))
def test_one_rows_unknown_household_is_named_with_its_line(tmp_path: Path, changed: int) -> None:
    lines = [HEADER, *rows()]
    fields = lines[changed + 1].split(",")
    lines[changed + 1] = ",".join([fields[0], "stranger", *fields[2:]])
    error = refusal(tmp_path, lines)
    assert "unknown household 'stranger': it has rows for 1 of 3 hours only" in str(error)
    assert error.line == changed + 2


def test_of_two_households_that_lack_half_the_later_is_the_unknown_one(tmp_path: Path) -> None:
    lines = [HEADER, *rows(hours=2)]
    lines[6] = lines[6].replace(",b,", ",stranger,")
    error = refusal(tmp_path, lines)
    assert "unknown household 'stranger'" in str(error)
    assert error.line == 7


def test_households_that_were_not_asked_for_are_unknown(tmp_path: Path) -> None:
    path = write(tmp_path, [HEADER, *rows()])
    with pytest.raises(ReadingsError, match="line 4: unknown household 'c'; known are a, b") as caught:
        read_readings(path, households=("a", "b"))
    assert caught.value.line == 4
    with pytest.raises(ReadingsError, match="holds no rows of household 'e'"):
        read_readings(path, households=(*HOUSEHOLDS, "e"))


def test_empty_files_are_refused(tmp_path: Path) -> None:
    assert "is empty" in str(refusal(tmp_path, []))
    assert "is empty" in str(refusal(tmp_path, ["", ""]))
    assert "holds no readings" in str(refusal(tmp_path, [HEADER]))


def test_other_encodings_are_refused_naming_the_line(tmp_path: Path) -> None:
    path = write(tmp_path, [HEADER, *rows()])
    path.write_bytes(path.read_bytes().replace(b"Z,b,101", b"Z,\xe4,101"))
    with pytest.raises(ReadingsError, match="line 7: is not UTF-8 text"):
        read_readings(path)
    path.write_bytes("\n".join([HEADER, *rows()]).encode("utf-16"))
    with pytest.raises(ReadingsError, match="line 1: is not UTF-8 text"):
        read_readings(path)


def test_another_separator_is_named(tmp_path: Path) -> None:
    for separator, name in ((";", "a semicolon"), ("\t", "a tab"), ("|", "a bar")):
        lines = [line.replace(",", separator) for line in [HEADER, *rows()]]
        error = refusal(tmp_path, lines)
        assert f"its separator is {name}, and a comma is expected" in str(error)
        assert error.line == 1
    german = [HEADER.replace(",", ";"), *(f"2016-06-01T00:00:00Z;{household};0,5;1,25" for household in HOUSEHOLDS)]
    assert "its separator is a semicolon" in str(refusal(tmp_path, german))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_file_without_header_is_told_which_one_it_lacks(tmp_path: Path, separator: str) -> None:
    error = refusal(tmp_path, [row.replace(",", separator) for row in rows()])
    assert f"there is no header: the first line is {HEADER}" in str(error)
    assert error.line == 1


@pytest.mark.parametrize("header", [HEADER.title(), HEADER.replace(",", ", "), "sep=,", "x" * 3_000])
def test_a_header_spelt_otherwise_is_shown(tmp_path: Path, header: str) -> None:
    error = refusal(tmp_path, [header, *rows()])
    assert f"the header is {header[:120]!r}" in str(error)
    assert len(str(error)) < 500


@pytest.mark.parametrize(
    ("energies", "hint"),
    [
        ('"1,5",0', "'1,5' (a decimal comma: round to whole Wh"),
        ("1.5,0", "'1.5' (a fraction: round to whole Wh"),
        ("1,5,0", "has 5 fields, the header has 4; is there a decimal comma?"),
    ],
)
def test_fractions_are_told_to_be_rounded(tmp_path: Path, energies: str, hint: str) -> None:
    error = refusal(tmp_path, [HEADER, rows()[0], f"2016-06-01T00:00:00Z,b,{energies}", *rows()[2:]])
    assert hint in str(error)
    assert error.line == 3


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_the_encodings_of_spreadsheets_are_named(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "readings.csv"
    path.write_bytes("\r\n".join([HEADER, *rows()]).encode(encoding))
    with pytest.raises(ReadingsError, match="line 1: is not UTF-8 text but UTF-16"):
        read_readings(path)


def test_line_ends_of_old_spreadsheets_are_named(tmp_path: Path) -> None:
    for count in (3, 3_000):  # the latter longer than a line may be
        lines = [HEADER, *rows(households=[f"home {number}" for number in range(count)])]
        path = write(tmp_path, lines, end="\r")
        with pytest.raises(ReadingsError, match="line 1: has line ends of a single carriage return"):
            read_readings(path)


def test_the_first_household_beyond_the_bound_is_named(tmp_path: Path) -> None:
    households = [f"home {number}" for number in range(1, HOUSEHOLDS_MAX + 3)]
    assert len(read(tmp_path, [HEADER, *rows(1, households[:HOUSEHOLDS_MAX])]).households) == HOUSEHOLDS_MAX
    error = refusal(tmp_path, [HEADER, *rows(1, households)])
    assert "household 'home 257' is number 257; at most 256 are possible" in str(error)
    assert error.line == 258


def test_the_first_hour_beyond_the_bound_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "HOURS_MAX", 5)
    assert len(read(tmp_path, [HEADER, *rows(5)]).hours_start_ms) == 5
    error = refusal(tmp_path, [HEADER, *rows(7)])
    assert "hour 2016-06-01T05:00:00Z is number 6; at most 5 are possible" in str(error)
    assert error.line == 22


def test_a_file_larger_than_any_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "readings.csv"
    with path.open("wb") as file:
        file.truncate(FILE_SIZE_BYTES_MAX + 1)
    with pytest.raises(ReadingsError, match=f"is larger than {FILE_SIZE_BYTES_MAX} bytes"):
        read_readings(path)


def test_a_line_past_the_limit_is_refused_without_being_read(tmp_path: Path) -> None:
    longest = [f"{HEADER},note", *(f"{row},".ljust(LINE_SIZE_BYTES_MAX - 1, "x") for row in rows())]
    assert len(read(tmp_path, longest).hours_start_ms) == 3
    longest[1] += "x"
    assert "line 2: is longer than" in str(refusal(tmp_path, longest))


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReadingsError, match="cannot be read: Is a directory"):
        read_readings(tmp_path)
    with pytest.raises(ReadingsError, match=r"nothing\.csv: cannot be read: No such file"):
        read_readings(tmp_path / "nothing.csv")


@settings(max_examples=200, derandomize=True, deadline=None)
@given(content=st.binary(max_size=300), keep=st.integers(0, 400))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes, keep: int) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.csv"
    path.write_bytes("\n".join([HEADER, *rows()]).encode()[:keep] + content)
    try:
        readings = read_readings(path)
    except ReadingsError:
        return
    assert all(len(readings.by_household[name]) == len(readings.hours_start_ms) for name in readings.households)


# --- sums --------------------------------------------------------------------------------------------------


def test_sums_over_hours(tmp_path: Path) -> None:
    nets = {"a": (5, -1, 0), "b": (-2, -9, 4), "c": (-1, 3, 0), "d": (0, 0, 0)}
    lines = [HEADER]
    for hour in range(3):
        for household, values in nets.items():
            generation, consumption = max(0, values[hour]), max(0, -values[hour])
            lines.append(f"2016-06-01T{hour:02}:00:00Z,{household},{consumption},{generation}")
    readings = read(tmp_path, lines)
    whole = summarise(readings, 3)
    assert (whole.surplus_wh, whole.deficit_wh, whole.tradable_wh) == (12, 13, 3 + 3 + 0)
    first = summarise(readings, 1)
    assert (first.hours, first.surplus_wh, first.deficit_wh, first.tradable_wh) == (1, 5, 3, 3)
    assert deficit_of(readings, "b") == 11
    assert deficit_of(readings, "a") == 1
    assert largest_net_wh(readings, "b") == 9
    assert largest_net_wh(readings, "d") == 0
