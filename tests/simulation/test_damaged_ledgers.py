"""`verify` finds any single changed byte of a ledger, in any record and in any file, and says where."""

import random
from pathlib import Path

import pytest

from consensus.identifiers import Digest, Height
from ledger.side_files import remove_seal, write_seal
from ledger.store import Space
from tests.support.damaged_ledgers import HEIGHTS, all_entries, change, height_of_entry, make_ledger, verified


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return make_ledger(tmp_path / "ledger")


def positions(entries: dict[bytes, bytes], space: Space, count: int) -> list[tuple[bytes, int]]:
    chosen = random.Random(f"positions in {space.name}")
    places = [(key, place) for key, value in entries.items() if key[:1] == space.value for place in range(len(value))]
    return chosen.sample(places, count)


@pytest.mark.parametrize("space", [Space.BLOCK, Space.CERTIFICATE, Space.RECEIPTS, Space.STATE])
def test_any_changed_byte_is_found_at_its_height(directory, space):
    entries = all_entries(directory)
    write_seal(directory, height=Height(HEIGHTS), tip=Digest(bytes(32)))
    heights = set()
    for key, place in positions(entries, space, 51):
        value = entries[key]
        altered = value[:place] + bytes([value[place] ^ (1 + place % 255)]) + value[place + 1 :]
        change(directory, {key: altered})
        report = verified(directory)
        assert not report.holds
        # the seal says that the files changed, and every other finding names the height
        assert report.heights_damaged == (height_of_entry(key),), (key.hex(), place, report.damage)
        heights.add(height_of_entry(key))
        change(directory, {key: value})
    assert heights >= {1, 2, 4, 5}
    remove_seal(directory)
    assert verified(directory).holds


def test_any_raw_flip_in_any_file_is_found(directory):
    files = sorted(
        file
        for file in [*(directory / "database").iterdir(), directory / "tip", directory / "seal"]
        if file.name != "LOCK"
    )
    kinds = {file.name.split("-")[0].split(".")[-1] for file in files}
    assert kinds >= {"ldb", "log", "LOG", "MANIFEST", "CURRENT", "tip", "seal", "old"}
    chosen = random.Random("raw flips")
    flips = 0
    for file in files:
        data = file.read_bytes()
        places = {0, len(data) - 1} | {chosen.randrange(len(data)) for _ in range(30)} if data else set()
        for place in sorted(places):
            file.write_bytes(data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])
            report = verified(directory)
            assert not report.holds, (file.name, place)
            flips += 1
        file.write_bytes(data)
    assert flips >= 200
    assert verified(directory).holds
