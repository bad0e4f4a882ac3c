"""Copying the state after a block out of a ledger that goes on, and telling it chunk by chunk."""

from collections.abc import Iterator
from pathlib import Path

import plyvel
import pytest

from consensus.codec import decode
from consensus.identifiers import Digest, Height
from consensus.messages import CommitCertificate
from contracts.state import StateKey, Table
from ledger import state_copy, state_ranges
from ledger.authenticated_map import hash_key
from ledger.errors import CopyDamaged, StateNotCopied
from ledger.ledger import Ledger
from ledger.origin import Origin
from ledger.state_copy import StateCopy, copying
from ledger.state_ranges import WHOLE, chunk_fault, region_at
from ledger.store import FORMAT_KEY
from tests.support.ledger import ChainBuilder

AT = Height(9)


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainBuilder]:
    made = ChainBuilder.create(tmp_path_factory.mktemp("copied") / "ledger")
    for hour in range(4):
        made.append_trading_hour(hour)
    while made.ledger.height < AT:
        made.append([made.transfer(0, 1, 1)])
    yield made
    made.ledger.close()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_ranges, "CHUNK_ENTRIES_MAX", 5)
    monkeypatch.setattr(state_copy, "ENTRIES_PER_STEP", 3)
    monkeypatch.setattr(state_copy, "REGIONS_PER_STEP", 4)
    monkeypatch.setattr(state_copy, "ORIGIN_PAGE_SIZE_BYTES", 1_000)


def newest_state(ledger: Ledger) -> dict[StateKey, bytes]:
    return {key: value for table in Table for key, value in ledger.scan(table)}


def copied(ledger: Ledger, height: Height, directory: Path) -> StateCopy:
    for _ in copying(ledger, height, directory):
        pass
    return StateCopy.open(directory)


def told(copy: StateCopy, root: Digest) -> dict[StateKey, bytes]:
    """Returns what all chunks of a copy say, each checked by itself."""
    found: dict[StateKey, bytes] = {}
    position: Digest | None = WHOLE.start
    while position is not None:
        chunk = copy.chunk_at(position)
        assert chunk_fault(chunk, root, position) is None
        found |= {entry.key: entry.value for entry in chunk.entries}
        position = region_at(position, len(chunk.siblings)).following
    return found


def origin_in(copy: StateCopy) -> Origin:
    pages: list[bytes] = []
    while page := copy.origin_page(len(pages)):
        pages.append(page)
    assert len(pages) > 1
    assert sum(map(len, pages)) == copy.about.origin_size_bytes
    return decode(b"".join(pages), Origin)


def test_a_copy_tells_the_state_of_its_height_though_the_chain_goes_on_meanwhile(
    builder: ChainBuilder, tmp_path: Path
) -> None:
    ledger = builder.ledger
    height, root, expected = ledger.height, ledger.state_root, newest_state(ledger)
    steps = 0
    for steps, _ in enumerate(copying(ledger, height, tmp_path / "copy"), start=1):
        if steps % 20 == 0:
            builder.append([builder.transfer(1, 0, 1)])
    assert steps > 60
    assert ledger.height > height + 2
    copy = StateCopy.open(tmp_path / "copy")
    assert told(copy, root) == expected != newest_state(ledger)
    assert copy.about.height == height
    assert copy.about.chain == ledger.chain
    origin = origin_in(copy)
    assert origin.block == ledger.block(height)
    assert origin.certificate == ledger.certificate(height)
    assert origin.receipts == ledger.receipts(height)
    assert [header.height for header in origin.headers] == list(range(height - 1, 0, -1))[:63]
    copy.close()


@pytest.mark.parametrize("height", [1, 4, 9])
def test_every_height_that_the_ledger_has_can_be_copied(builder: ChainBuilder, tmp_path: Path, height: int) -> None:
    block = builder.ledger.decided_block(Height(height))
    copy = copied(builder.ledger, Height(height), tmp_path / "copy")
    state = told(copy, block.header.state_root)
    assert all(value == builder.ledger.get_at(key, Height(height)) for key, value in state.items())
    copy.close()


def test_headers_as_many_as_may_be_named_go_with_the_state(tmp_path: Path) -> None:
    builder = ChainBuilder.create(tmp_path / "ledger")
    for _ in range(67):
        builder.append([builder.transfer(0, 1, 1)])
    copy = copied(builder.ledger, Height(67), tmp_path / "copy")
    assert [header.height for header in origin_in(copy).headers] == list(range(66, 3, -1))
    copy.close()
    builder.ledger.close()


def test_a_ledger_that_began_later_copies_from_there_on_with_the_headers_that_it_was_told(tmp_path: Path) -> None:
    builder = ChainBuilder.create(tmp_path / "ledger")
    for _ in range(140):
        builder.append([builder.transfer(0, 1, 1)])
    genesis, source = builder.community.genesis, builder.ledger
    copy = copied(source, Height(70), tmp_path / "copy")
    entries = told(copy, source.decided_block(Height(70)).header.state_root)
    later = Ledger.create_at(tmp_path / "later", genesis, origin_in(copy), entries.items())
    for number in range(71, 141):
        later.append(source.decided_block(Height(number)), certificate_of(source, number))
    with pytest.raises(StateNotCopied, match="is not here"):
        copied(later, Height(69), tmp_path / "early")
    for height in (70, 71, 100, 132, 133, 134):
        second = copied(later, Height(height), tmp_path / f"second-{height}")
        assert origin_in(second) == origin_in(copied(source, Height(height), tmp_path / f"first-{height}"))
        assert told(second, later.decided_block(Height(height)).header.state_root)
    later.close()
    source.close()


def certificate_of(ledger: Ledger, height: int) -> CommitCertificate:
    found = ledger.certificate(Height(height))
    assert found is not None
    return found


def test_a_state_that_the_block_does_not_commit_to_is_not_told(
    builder: ChainBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_values = builder.ledger.state_at

    def without_one(height: Height, *, after: StateKey | None) -> Iterator[tuple[StateKey, bytes | None]]:
        return (row for row in true_values(height, after=after) if row[0][:1] != Table.SINGLETON.value)

    monkeypatch.setattr(builder.ledger, "state_at", without_one)
    with pytest.raises(StateNotCopied, match="commits to another"):
        copied(builder.ledger, AT, tmp_path / "copy")
    with pytest.raises(CopyDamaged, match="no whole copy"):
        StateCopy.open(tmp_path / "copy")


def test_a_manifest_or_steps_beyond_the_bound_are_not_made(
    builder: ChainBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_copy, "ORIGIN_SIZE_BYTES_MAX", 1_000)
    with pytest.raises(StateNotCopied, match=r"has [\d,]+ bytes"):
        copied(builder.ledger, AT, tmp_path / "copy")
    monkeypatch.setattr(state_copy, "CHANGES_MAX", -1)
    with pytest.raises(StateNotCopied, match="changes of members"):
        copied(builder.ledger, AT, tmp_path / "copy")


def test_a_copy_that_stopped_at_any_step_is_not_whole_and_is_made_anew(builder: ChainBuilder, tmp_path: Path) -> None:
    directory = tmp_path / "copy"
    steps = sum(1 for _ in copying(builder.ledger, AT, directory))
    for stop in range(1, steps, 25):
        work = copying(builder.ledger, AT, directory)
        for _ in range(stop):
            next(work)
        work.close()
        with pytest.raises(CopyDamaged):
            StateCopy.open(directory)
    copy = copied(builder.ledger, AT, directory)
    told(copy, builder.ledger.decided_block(AT).header.state_root)
    copy.close()


def test_a_damaged_copy_says_so(builder: ChainBuilder, tmp_path: Path) -> None:
    copied(builder.ledger, AT, tmp_path / "copy").close()
    root = builder.ledger.decided_block(AT).header.state_root
    database = plyvel.DB(str(tmp_path / "copy"))
    regions = [(key, value) for key, value in database.iterator(prefix=b"R") if key[-2:] != bytes(2)]
    entries = list(database.iterator(prefix=b"E"))
    database.close()

    def with_damage(key: bytes, value: bytes | None) -> StateCopy:
        database = plyvel.DB(str(tmp_path / "copy"))
        database.put(key, value) if value is not None else database.delete(key)
        database.close()
        return StateCopy.open(tmp_path / "copy")

    key, value = entries[0]
    damaged = with_damage(key, b"no entry")
    with pytest.raises(CopyDamaged, match="not one"):
        damaged.chunk_at(Digest(key[1:]))
    damaged.close()
    with_damage(key, value).close()
    key, value = regions[0]
    damaged = with_damage(key, None)
    with pytest.raises(CopyDamaged, match="missing"):
        told(damaged, root)
    damaged.close()
    repaired = with_damage(key, value)
    assert told(repaired, root)
    repaired.close()
    with pytest.raises(CopyDamaged):
        with_damage(b"A", b"")


def test_values_of_a_height_are_those_that_single_reads_find(builder: ChainBuilder) -> None:
    ledger = builder.ledger
    for height in (0, 1, 5, AT, ledger.height):
        rows = list(ledger.state_at(Height(height), after=None))
        assert [key for key, _ in rows] == sorted(newest_state(ledger))
        assert all(value == ledger.get_at(key, Height(height)) for key, value in rows)
        middle = rows[len(rows) // 2][0]
        assert list(ledger.state_at(Height(height), after=middle)) == rows[len(rows) // 2 + 1 :]
    assert FORMAT_KEY not in newest_state(ledger)
    assert hash_key(b"") != WHOLE.start
