"""What the ledger asks the disk for: every batch synced, names after contents, nothing accepted after a failure."""

from pathlib import Path

import pytest

from ledger.errors import LedgerBusy, LedgerError, LedgerWriteFailed
from ledger.ledger import Ledger
from ledger.side_files import read_tip_mark
from ledger.store import Space
from tests.support.contracts import make_genesis
from tests.support.disk import full_above, watch_batches, watch_syncs
from tests.support.ledger import ChainBuilder

COMMUNITY = make_genesis()
FILLER_BYTES = 2**17


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "home" / "ledger"


def opened(directory: Path) -> ChainBuilder:
    return ChainBuilder(Ledger.open(directory, COMMUNITY.genesis), COMMUNITY)


def test_every_batch_is_synced(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = watch_batches(monkeypatch)
    builder = ChainBuilder.create(directory, COMMUNITY)
    builder.ledger.persist_undecided({b"voted": b"proposal"})
    builder.append([builder.transfer(0, 1, 5)])
    builder.ledger.close()
    assert batches == [True, True, True]


def test_a_new_ledger_is_durable_under_its_name_and_so_is_its_folder(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = watch_syncs(monkeypatch)
    Ledger.create(directory, COMMUNITY.genesis).close()
    paths = [one.path for one in synced]
    assert directory.parent in paths, "a power cut could take the whole ledger"
    assert {directory / "database.new", directory / "tip"} <= set(paths), "a content is not durable"
    database, mark = paths.index(directory / "database.new"), paths.index(directory / "tip")
    assert directory in paths[max(database, mark) :], "the name is not durable"
    assert synced[mark].content == (directory / "tip").read_bytes()


def test_the_seal_is_synced_before_it_takes_its_name_and_broken_for_good_before_the_database_opens(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger.create(directory, COMMUNITY.genesis)
    synced = watch_syncs(monkeypatch)
    ledger.close()
    assert [one.path for one in synced] == [directory / "seal.new", directory]
    assert synced[0].content == (directory / "seal").read_bytes()
    synced.clear()
    opened(directory).ledger.close()
    assert [one.path for one in synced] == [directory, directory / "seal.new", directory]


def test_what_the_disk_did_not_take_is_not_believed_and_nothing_follows_it(directory: Path) -> None:
    builder = ChainBuilder.create(directory, COMMUNITY)
    ledger = builder.ledger
    builder.append()
    ledger.persist_undecided({b"filler": bytes(FILLER_BYTES)})
    before = ledger.undecided()
    block = builder.build([builder.transfer(0, 1, 5)])
    with full_above(FILLER_BYTES // 2), pytest.raises(LedgerWriteFailed, match="did not take"):
        ledger.append(block, builder.certify(block))
    assert (ledger.height, ledger.undecided()) == (1, before)
    for attempt in (
        lambda: ledger.append(block, builder.certify(block)),
        lambda: ledger.persist_undecided({b"voted": b"proposal"}),
    ):
        with pytest.raises(LedgerWriteFailed, match="an earlier write failed"):
            attempt()
    assert (ledger.height, ledger.undecided()) == (1, before)
    ledger.close()
    assert not (directory / "seal").exists(), "sealed what nobody knows to be whole"
    again = opened(directory)
    assert again.ledger.height == 1
    again.ledger.close()


def test_records_that_the_disk_did_not_take_are_not_believed(directory: Path) -> None:
    ledger = ChainBuilder.create(directory, COMMUNITY).ledger
    ledger.persist_undecided({b"filler": bytes(FILLER_BYTES)})
    with full_above(FILLER_BYTES // 2), pytest.raises(LedgerWriteFailed, match="did not take"):
        ledger.persist_undecided({b"voted": b"proposal"})
    assert set(ledger.undecided()) == {b"filler"}
    ledger.close()


def test_the_mark_moves_with_each_block_and_without_it_the_node_stops(directory: Path) -> None:
    builder = ChainBuilder.create(directory, COMMUNITY)
    for height in (1, 2, 3):
        builder.append()
        mark = read_tip_mark(directory)
        assert (mark.height, mark.block) == (height, builder.ledger.tip)
    (directory / "tip").unlink()
    with pytest.raises(LedgerWriteFailed, match="mark of the tip"):
        builder.append()
    builder.ledger.close()


def test_a_block_takes_the_records_of_its_height_with_it(directory: Path) -> None:
    builder = ChainBuilder.create(directory, COMMUNITY)
    builder.ledger.persist_undecided({b"voted": b"of height 1"})
    builder.ledger.persist_undecided({b"prepared": b"of height 1"})
    assert set(builder.ledger.undecided()) == {b"voted", b"prepared"}
    builder.append()
    assert builder.ledger.undecided() == {}
    assert list(builder.ledger._store.entries(Space.UNDECIDED.value)) == []
    builder.ledger.persist_undecided({b"prepared": b"of height 2"})
    builder.ledger.close()
    again = opened(directory)
    assert again.ledger.undecided() == {b"prepared": b"of height 2"}
    again.ledger.close()


def test_it_is_open_once_and_a_second_opening_is_not_taken_for_damage(directory: Path) -> None:
    # what is said to be damaged is set aside
    ledger = ChainBuilder.create(directory, COMMUNITY).ledger
    with pytest.raises(LedgerError) as caught:
        opened(directory)
    assert type(caught.value) is LedgerBusy
    ledger.close()
