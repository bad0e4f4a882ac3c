"""A ledger that is not what was written does not open, and says where it is damaged if that is known."""

import shutil

import plyvel
import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.identifiers import Digest, Height
from contracts.state import TOTALS_KEY
from ledger.errors import LedgerDamaged, LedgerForeign
from ledger.ledger import Ledger
from ledger.side_files import TipMark, read_tip_mark, remove_seal, write_seal, write_tip_mark
from ledger.startup import RECENT_BLOCKS
from ledger.store import (
    FORMAT_KEY,
    TIP_KEY,
    StoredFormat,
    StoredTip,
    block_digest_key,
    block_key,
    certificate_key,
    node_key,
    receipts_key,
    transaction_key,
    version_key,
)
from tests.support.contracts import make_genesis
from tests.support.ledger import ChainBuilder

BLOCKS = RECENT_BLOCKS + 2


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    directory = tmp_path_factory.mktemp("startup") / "ledger"
    chain = ChainBuilder.create(directory)
    for _ in range(BLOCKS):
        chain.append([chain.transfer(0, 1, 5)])
    chain.ledger.close()
    return directory


@pytest.fixture
def directory(original, tmp_path):
    shutil.copytree(original, tmp_path / "ledger")
    return tmp_path / "ledger"


def opening_fails(directory) -> LedgerDamaged:
    with pytest.raises(LedgerDamaged, match="p2pnode ledger verify") as caught:
        Ledger.open(directory, make_genesis().genesis)
    with pytest.raises(LedgerDamaged):  # and the lock was given back
        Ledger.open(directory, make_genesis().genesis)
    return caught.value


def change(directory, puts: dict[bytes, bytes], deletes=()) -> None:
    """Changes the database through LevelDB and leaves it as after a crash, without a seal."""
    database = plyvel.DB(str(directory / "database"))
    for key, value in puts.items():
        database.put(key, value, sync=True)
    for key in deletes:
        database.delete(key, sync=True)
    database.close()
    remove_seal(directory)


def stored(directory, key: bytes) -> bytes:
    database = plyvel.DB(str(directory / "database"))
    value = database.get(key)
    database.close()
    return value


def flipped(value: bytes) -> bytes:
    return value[:-1] + bytes([value[-1] ^ 1])


def test_undamaged_it_opens_with_and_without_a_seal(directory):
    for sealed in (True, False):
        if not sealed:
            remove_seal(directory)
        assert (directory / "seal").exists() == sealed
        ledger = Ledger.open(directory, make_genesis().genesis)
        assert ledger.height == BLOCKS
        assert not (directory / "seal").exists(), "the seal of the last stop outlives the start"
        ledger.close()
        assert (directory / "seal").exists()


class TestSeal:
    def test_a_changed_byte_in_any_file_is_found(self, directory):
        files = [*(directory / "database").iterdir(), directory / "tip", directory / "seal"]
        assert len(files) >= 6
        for file in files:
            if file.name == "LOCK":
                continue
            data = file.read_bytes()
            file.write_bytes(data[:-1] + bytes([data[-1] ^ 0x80]))
            opening_fails(directory)
            file.write_bytes(data)
        Ledger.open(directory, make_genesis().genesis).close()

    def test_a_lost_a_new_and_a_shortened_file_are_found(self, directory):
        log = next((directory / "database").glob("*.log"))
        data = log.read_bytes()
        log.write_bytes(data + b"x")
        assert "altered" in opening_fails(directory).what
        log.unlink()
        assert "missing" in opening_fails(directory).what
        log.write_bytes(data)
        (directory / "database" / "000099.ldb").write_bytes(b"")
        assert "new" in opening_fails(directory).what

    def test_the_evidence_stays_as_it_is(self, directory):
        log = next((directory / "database").glob("*.log"))
        log.write_bytes(b"x" + log.read_bytes())
        before = {file.name: file.read_bytes() for file in (directory / "database").iterdir()}
        opening_fails(directory)
        assert before == {file.name: file.read_bytes() for file in (directory / "database").iterdir()}

    def test_an_unreadable_seal_is_no_seal_of_approval(self, directory):
        (directory / "seal").write_bytes(b"")
        assert "seal" in opening_fails(directory).what


class TestTip:
    def test_a_truncated_log_is_found_without_a_seal(self, directory):
        log = max((directory / "database").glob("*.log"), key=lambda file: file.stat().st_size)
        data = log.read_bytes()
        remove_seal(directory)
        log.write_bytes(data[: len(data) // 2])
        assert opening_fails(directory).height is not None

    def test_a_database_behind_the_mark_is_refused(self, directory):
        remove_seal(directory)
        write_tip_mark(directory, TipMark(height=Height(BLOCKS + 3), block=Digest(bytes(32))))
        assert opening_fails(directory).height == BLOCKS + 1

    def test_an_older_mark_is_what_a_power_cut_leaves(self, directory):
        remove_seal(directory)
        for height in (BLOCKS - 2, BLOCKS - 3):
            write_tip_mark(directory, TipMark(height=Height(height), block=Digest(bytes(32))))
        Ledger.open(directory, make_genesis().genesis).close()

    def test_the_mark_names_the_block(self, directory):
        remove_seal(directory)
        write_tip_mark(directory, TipMark(height=Height(BLOCKS), block=Digest(bytes(32))))
        assert opening_fails(directory).height == BLOCKS

    def test_one_torn_slot_is_survived_and_two_are_not(self, directory):
        remove_seal(directory)
        data = (directory / "tip").read_bytes()
        newest = read_tip_mark(directory)
        for half in (slice(0, 72), slice(72, 144)):
            torn = bytearray(data)
            torn[half] = bytes(72)
            (directory / "tip").write_bytes(torn)
            assert newest.height - read_tip_mark(directory).height in (0, 1)
            Ledger.open(directory, make_genesis().genesis).close()
            remove_seal(directory)
        for bad in (bytes(144), data[:-1], data + b"x", b""):
            (directory / "tip").write_bytes(bad)
            opening_fails(directory)
        (directory / "tip").unlink()
        opening_fails(directory)

    def test_the_tip_record_is_compared_with_its_block(self, directory):
        record = stored(directory, TIP_KEY)
        tip = decode(record, StoredTip)
        for wrong in (
            replace(tip, height=tip.height - 1),
            replace(tip, height=tip.height + 1),
            replace(tip, block=Digest(bytes(32))),
            replace(tip, state_root=Digest(bytes(32))),
        ):
            change(directory, {TIP_KEY: encode(wrong)})
            opening_fails(directory)
        change(directory, {TIP_KEY: record + b"x"})
        opening_fails(directory)
        change(directory, {}, [TIP_KEY])
        opening_fails(directory)
        change(directory, {TIP_KEY: record})
        Ledger.open(directory, make_genesis().genesis).close()

    def test_so_it_is_where_the_mark_is_older(self, directory):
        tip = decode(stored(directory, TIP_KEY), StoredTip)
        change(directory, {TIP_KEY: encode(replace(tip, block=Digest(bytes(32))))})
        for height in (BLOCKS - 2, BLOCKS - 1):
            write_tip_mark(directory, TipMark(height=Height(height), block=Digest(bytes(32))))
        assert "names another block" in opening_fails(directory).what


@pytest.mark.parametrize("height", [BLOCKS, BLOCKS - RECENT_BLOCKS + 1])
@pytest.mark.parametrize("key_of", [block_key, certificate_key, receipts_key])
def test_recent_records_are_checked(directory, height, key_of):
    key = key_of(height)
    value = stored(directory, key)
    for puts, deletes in (({key: flipped(value)}, ()), ({key: b""}, ()), ({}, (key,))):
        change(directory, puts, deletes)
        assert opening_fails(directory).height == height


def test_indexes_versions_map_nodes_and_format_are_checked(directory):
    ledger = Ledger.open(directory, make_genesis().genesis)
    root, digest = ledger.state_root, ledger.tip
    transaction = ledger.receipts(BLOCKS)[0].transaction
    totals_height = ledger.newest(TOTALS_KEY)[0]
    ledger.close()
    for key in (
        FORMAT_KEY,
        block_digest_key(digest),
        transaction_key(transaction),
        version_key(TOTALS_KEY, totals_height),
        node_key(root),
    ):
        value = stored(directory, key)
        for bad in (flipped(value), b"", None):
            change(directory, {} if bad is None else {key: bad}, [key] if bad is None else [])
            with pytest.raises((LedgerDamaged, LedgerForeign)):
                Ledger.open(directory, make_genesis().genesis)
        change(directory, {key: value})
    Ledger.open(directory, make_genesis().genesis).close()


def test_data_of_an_earlier_format_is_refused_with_both_versions_named(directory):
    value = decode(stored(directory, FORMAT_KEY), StoredFormat)
    change(directory, {FORMAT_KEY: encode(replace(value, version=1))})
    write_seal(directory, height=Height(BLOCKS), tip=value.chain)
    with pytest.raises(LedgerForeign, match="store format 1; this software reads 2"):
        Ledger.open(directory, make_genesis().genesis)


def test_records_above_the_tip_are_damage(directory):
    change(directory, {block_key(BLOCKS + 1): stored(directory, block_key(BLOCKS))})
    assert opening_fails(directory).height == BLOCKS + 1


def test_what_leveldb_itself_refuses_is_damage(directory):
    remove_seal(directory)
    (directory / "database" / "CURRENT").write_text("MANIFEST-999999\n")
    assert "LevelDB" in opening_fails(directory).what
    assert "b'" not in opening_fails(directory).what


def test_sealing_again_does_not_hide_a_change(directory):
    change(directory, {block_key(BLOCKS): flipped(stored(directory, block_key(BLOCKS)))})
    write_seal(directory, height=Height(BLOCKS), tip=Digest(bytes(32)))
    assert opening_fails(directory).height == BLOCKS
