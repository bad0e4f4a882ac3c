"""A ledger that began at an origin, on its disk: killed at each step of its making, changed bytes, other formats."""

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.identifiers import Height
from contracts.receipts import Receipt
from ledger.block import Block
from ledger.errors import LedgerDamaged, LedgerForeign
from ledger.ledger import Ledger
from ledger.side_files import remove_seal
from ledger.store import (
    FORMAT_KEY,
    FORMAT_VERSION,
    ORIGIN_FORMAT_VERSION,
    ORIGIN_KEY,
    Space,
    StoredFormat,
    block_key,
    receipts_key,
)
from tests.support.contracts import make_genesis
from tests.support.damaged_ledgers import all_entries, change
from tests.support.disk import watch_batches
from tests.support.ledger import ChainBuilder
from tests.support.origins import answers, begun_at, follow, verified

GENESIS = make_genesis().genesis
HEIGHT, TIP = 4, 6
STEPS_MIN = 10


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("whole") / "ledger"
    builder = ChainBuilder.create(directory)
    for hour in range(3):
        builder.append_trading_hour(hour)
    builder.ledger.close()
    return directory


@pytest.fixture(scope="module")
def begun(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger from height 4 to 6, cleanly closed."""
    directory = tmp_path_factory.mktemp("begun") / "ledger"
    source = Ledger.open(whole, GENESIS)
    ledger = begun_at(source, HEIGHT, directory)
    follow(ledger, source)
    for one in (source, ledger):
        one.close()
    return directory


@pytest.fixture
def directory(begun: Path, tmp_path: Path) -> Path:
    shutil.copytree(begun, tmp_path / "ledger")
    remove_seal(tmp_path / "ledger")
    return tmp_path / "ledger"


def made(whole: Path, directory: Path, step: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.support.origin_maker", str(whole), str(directory), str(step)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_killed_at_any_step_it_is_whole_or_not_there_and_is_made_the_next_time(whole: Path, tmp_path: Path) -> None:
    done = made(whole, tmp_path / "never killed", 0)
    assert done.returncode == 0, done.stderr
    steps = int(done.stdout)
    assert steps >= STEPS_MIN
    source = Ledger.open(whole, GENESIS)
    found = []
    right = answers(source, TIP)
    source.close()
    for step in range(1, steps + 1):
        directory = tmp_path / f"killed {step}"
        killed = made(whole, directory, step)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        found.append(Ledger.exists(directory))
        if found[-1]:
            assert verified(directory, GENESIS).holds
            ledger = Ledger.open(directory, GENESIS)
        else:  # what is left over is in nobody's way
            source = Ledger.open(whole, GENESIS)
            ledger = begun_at(source, TIP, directory)
            source.close()
        assert answers(ledger, TIP) == right
        ledger.close()
        assert verified(directory, GENESIS).holds
        assert not (directory / "database.new").exists()
    assert found == sorted(found), "once it is there it stays"
    assert {False, True} == set(found)


def test_what_is_left_over_is_in_the_way_of_no_ledger_from_genesis_either(whole: Path, tmp_path: Path) -> None:
    killed = made(whole, tmp_path / "ledger", 8)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / "ledger" / "database.new").exists()
    Ledger.create(tmp_path / "ledger", GENESIS).close()
    report = verified(tmp_path / "ledger", GENESIS)
    assert (report.holds, report.executed_from, report.tip) == (True, 0, 0)
    assert not (tmp_path / "ledger" / "database.new").exists()


def test_every_batch_of_it_is_synced(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Ledger.open(whole, GENESIS)
    batches = watch_batches(monkeypatch)
    begun_at(source, TIP, tmp_path / "ledger").close()
    source.close()
    assert set(batches) == {True}


# --- damage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", [space for space in Space if space is not Space.UNDECIDED])
def test_any_changed_byte_is_found(directory: Path, space: Space) -> None:
    entries = all_entries(directory)
    chosen = random.Random(f"positions in {space.name}")
    of_space = [(key, value) for key, value in entries.items() if key[:1] == space.value]
    places = [(key, place) for key, value in of_space for place in range(len(value))]
    for key, place in chosen.sample(places, min(8, len(places))):
        value = entries[key]
        change(directory, {key: value[:place] + bytes([value[place] ^ (1 + place % 255)]) + value[place + 1 :]})
        try:
            assert not verified(directory, GENESIS).holds, (key, place)
        except LedgerForeign:
            assert space is Space.FORMAT
        change(directory, {key: value})
    assert verified(directory, GENESIS).holds


@pytest.mark.parametrize("space", [space for space in Space if space not in (Space.UNDECIDED, Space.FORMAT)])
def test_any_missing_record_is_found(directory: Path, space: Space) -> None:
    entries = all_entries(directory)
    chosen = random.Random(f"records of {space.name}")
    keys = [key for key in entries if key[:1] == space.value]
    for key in chosen.sample(keys, min(4, len(keys))):
        change(directory, {}, (key,))
        assert not verified(directory, GENESIS).holds, key
        change(directory, {key: entries[key]})
    assert verified(directory, GENESIS).holds


def test_another_body_of_the_origin_is_found(directory: Path) -> None:
    block = decode(all_entries(directory)[block_key(Height(HEIGHT))], Block)
    assert block.postings
    change(directory, {block_key(Height(HEIGHT)): encode(replace(block, postings=()))})
    report = verified(directory, GENESIS)
    assert [damage.height for damage in report.damage] == [HEIGHT]
    assert "its body is not the one that its header names" in report.damage[0].what


def test_other_receipts_of_the_origin_are_found(directory: Path) -> None:
    key = receipts_key(Height(HEIGHT))
    first, *rest = decode(all_entries(directory)[key], tuple[Receipt, ...])
    change(directory, {key: encode((replace(first, detail="another"), *rest))})
    report = verified(directory, GENESIS)
    assert [damage.height for damage in report.damage] == [HEIGHT]
    assert "its receipts are not those that its header names" in report.damage[0].what


def test_a_value_of_a_key_below_the_origin_is_found(directory: Path) -> None:
    key = next(key for key in all_entries(directory) if key[:1] == Space.STATE.value)
    change(directory, {key[:-8] + (3).to_bytes(8, "big"): b"slipped in"})
    report = verified(directory, GENESIS)
    assert [damage.height for damage in report.damage] == [3]


# --- formats -------------------------------------------------------------------------------------------------------


def test_it_says_what_it_is_so_that_nobody_takes_it_for_one_from_genesis(directory: Path, whole: Path) -> None:
    assert decode(all_entries(directory)[FORMAT_KEY], StoredFormat).version == ORIGIN_FORMAT_VERSION
    assert decode(all_entries(whole)[FORMAT_KEY], StoredFormat).version == FORMAT_VERSION


@pytest.mark.parametrize("lost", [ORIGIN_KEY, FORMAT_KEY])
def test_without_the_record_of_where_it_begins_it_does_not_open(directory: Path, lost: bytes) -> None:
    change(directory, {}, (lost,))
    with pytest.raises(LedgerDamaged, match=r"the record of where it begins is missing|the format record is missing"):
        Ledger.open(directory, GENESIS)
    assert not verified(directory, GENESIS).holds


def test_a_record_of_where_it_begins_in_a_whole_ledger_is_damage(
    whole: Path, directory: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "copy")
    remove_seal(tmp_path / "copy")
    change(tmp_path / "copy", {ORIGIN_KEY: all_entries(directory)[ORIGIN_KEY]})
    with pytest.raises(LedgerDamaged, match="the record of where it begins is not its own"):
        Ledger.open(tmp_path / "copy", GENESIS)
    assert not verified(tmp_path / "copy", GENESIS).holds


def test_a_format_of_the_future_is_refused_with_the_versions_named(directory: Path) -> None:
    stored = StoredFormat(version=4, chain=decode(all_entries(directory)[FORMAT_KEY], StoredFormat).chain)
    change(directory, {FORMAT_KEY: encode(stored)})
    with pytest.raises(LedgerForeign, match="store format 4; this software reads 2 and 3"):
        Ledger.open(directory, GENESIS)
    with pytest.raises(LedgerForeign, match="store format 4; this software reads 2 and 3"):
        verified(directory, GENESIS)
