"""`verify` finds what is changed, lost or added, says where, and leaves the evidence alone; any single byte:
`tests/simulation/test_damaged_ledgers.py`.
"""

import random
import shutil

import pytest

from consensus.identifiers import Digest, Height
from contracts.conservation import unbalanced_books
from contracts.state import TOTALS_KEY, Table, account_key
from ledger.errors import LedgerMissing
from ledger.ledger import Ledger
from ledger.side_files import TipMark, remove_seal, write_seal, write_tip_mark
from ledger.store import (
    TIP_KEY,
    Space,
    block_digest_key,
    block_key,
    certificate_key,
    node_key,
    receipts_key,
    transaction_key,
    version_key,
)
from ledger.verification_report import DAMAGE_LISTED_MAX
from ledger.verify import verify_ledger
from tests.support.contracts import make_genesis
from tests.support.damaged_ledgers import (
    GENESIS,
    HEIGHTS,
    all_entries,
    change,
    height_of_entry,
    make_ledger,
    verified,
)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make_ledger(tmp_path_factory.mktemp("verify") / "ledger")


@pytest.fixture
def directory(original, tmp_path):
    shutil.copytree(original, tmp_path / "ledger")
    return tmp_path / "ledger"


def test_an_undamaged_ledger_holds(original):
    progress = []
    report = verify_ledger(original, GENESIS, lambda height, tip: progress.append((height, tip)))
    assert report.holds, report.damage
    assert (report.tip, report.heights_checked, report.damage_count, report.damage) == (5, 5, 0, ())
    assert report.transactions == 10
    assert report.totals.trades_completed == 2
    assert report.conserved
    assert progress == [(height, HEIGHTS) for height in range(1, HEIGHTS + 1)]


def test_without_a_seal_it_holds_as_well(directory):
    remove_seal(directory)
    assert verified(directory).holds


def test_a_ledger_without_blocks_holds(tmp_path):
    Ledger.create(tmp_path / "ledger", GENESIS).close()
    report = verified(tmp_path / "ledger")
    assert report.holds
    assert report.tip == 0


def test_raw_damage_in_a_table_names_a_height_where_a_record_cannot_be_read(directory):
    table = max((directory / "database").glob("*.ldb"), key=lambda file: file.stat().st_size)
    data = table.read_bytes()
    remove_seal(directory)
    table.write_bytes(data[:200] + bytes([data[200] ^ 1]) + data[201:])
    report = verified(directory)
    assert not report.holds
    assert report.heights_damaged


class TestWhatIsMissingOrAdded:
    @pytest.mark.parametrize("space", [space for space in Space if space is not Space.UNDECIDED])
    def test_a_lost_record_is_missed(self, directory, space):
        remove_seal(directory)
        entries = {key: value for key, value in all_entries(directory).items() if key[:1] == space.value}
        for key in random.Random("lost records").sample(sorted(entries), min(len(entries), 12)):
            change(directory, {}, [key])
            report = verified(directory)
            assert not report.holds, key.hex()
            if space in (Space.BLOCK, Space.CERTIFICATE, Space.RECEIPTS, Space.STATE):
                assert report.heights_damaged == (height_of_entry(key),)
            change(directory, {key: entries[key]})

    @pytest.mark.parametrize(
        ("key", "value", "height"),
        [
            (version_key(TOTALS_KEY, Height(3)), b"x", 3),
            (version_key(TOTALS_KEY, Height(99)), b"x", 99),
            (version_key(account_key(bytes(32)), Height(2)), b"x", 2),
            (block_key(Height(6)), b"x", 6),
            (certificate_key(Height(7)), b"x", 7),
            (receipts_key(Height(0)), b"\x90", 0),
            (block_digest_key(bytes(32)), (4).to_bytes(8, "big"), 4),
            (transaction_key(bytes(32)), (2).to_bytes(8, "big") + bytes(4), 2),
            (transaction_key(bytes(32)), b"", None),
            (block_digest_key(bytes(32)), b"", None),
            (node_key(bytes(32)), bytes(65), None),
            (b"X", b"", None),
            (b"", b"", None),
            (b"Sx", b"", None),
            (b"Bshort", b"", None),
            (TIP_KEY + b"x", b"", None),
        ],
    )
    def test_what_does_not_belong_there_is_damage(self, directory, key, value, height):
        remove_seal(directory)
        change(directory, {key: value})
        report = verified(directory)
        assert not report.holds
        if height is not None:
            assert height in report.heights_damaged

    def test_records_of_consensus_are_its_own(self, directory):
        remove_seal(directory)
        change(directory, {Space.UNDECIDED.value + b"other": b"anything"})
        assert verified(directory).holds

    def test_blocks_cut_off_the_end_are_missed(self, directory):
        remove_seal(directory)
        older = Ledger.create(directory.parent / "older", GENESIS)
        older.close()
        shutil.rmtree(directory / "database")
        shutil.copytree(directory.parent / "older" / "database", directory / "database")
        report = verified(directory)
        assert not report.holds
        assert report.heights_damaged == (1,)

    def test_the_mark_of_the_tip_is_compared(self, directory):
        remove_seal(directory)
        write_tip_mark(directory, TipMark(height=Height(HEIGHTS), block=Digest(bytes(32))))
        assert verified(directory).heights_damaged == (HEIGHTS,)


def test_a_consistent_forgery_of_the_state_is_found(directory):
    """Somebody who rewrites a balance and the whole map over it, and seals the files again."""
    ledger = Ledger.open(directory, GENESIS)
    key = account_key(make_genesis().addresses[0])
    height, value = ledger.newest(key)
    ledger.close()
    change(directory, {version_key(key, height): value.replace(b"\xcf", b"\xce", 1)[:-1] + b"\x7f"})
    write_seal(directory, height=Height(HEIGHTS), tip=Digest(bytes(32)))
    assert verified(directory).heights_damaged == (height,)


def test_the_evidence_is_not_touched(directory):
    files = [file for file in directory.rglob("*") if file.is_file()]

    def evidence() -> dict[str, tuple[bytes, int, int]]:
        return {
            str(file): (file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_ino)
            for file in directory.rglob("*")
            if file.is_file()
        }

    before = evidence()
    assert len(before) == len(files)
    verified(directory)
    assert evidence() == before
    # a log not yet in a table and the orphan of a compaction that a crash cut short: LevelDB would write its
    # next table under the orphan's number
    remove_seal(directory)
    numbers = [int(file.stem) for file in (directory / "database").glob("0*")]
    manifest = int(next((directory / "database").glob("MANIFEST-*")).name.partition("-")[2])
    for number in range(manifest, max([*numbers, manifest]) + 6):
        orphan = directory / "database" / f"{number:06}.ldb"
        if number not in numbers and number != manifest:
            orphan.write_bytes(b"evidence")
    before = evidence()
    verified(directory)
    assert evidence() == before


def test_a_leftover_snapshot_is_cleared_away(directory):
    (directory / "verify-left").mkdir()
    (directory / "verify-left" / "x").write_text("x")
    verified(directory)
    assert sorted(path.name for path in directory.iterdir()) == ["database", "lock", "seal", "tip"]


def test_a_missing_ledger_is_no_damage(tmp_path):
    with pytest.raises(LedgerMissing):
        verified(tmp_path / "nothing")


def test_another_genesis_is_damage_from_the_first_height(original):
    report = verify_ledger(original, make_genesis(5).genesis, lambda _height, _tip: None)
    assert not report.holds
    assert {0, 1} <= set(report.heights_damaged)
    assert report.heights_checked == 0


def test_findings_are_listed_up_to_a_limit_and_counted_beyond(directory):
    remove_seal(directory)
    extra = {node_key(number.to_bytes(32, "big")): b"" for number in range(DAMAGE_LISTED_MAX + 10)}
    change(directory, extra)
    report = verified(directory)
    assert len(report.damage) == DAMAGE_LISTED_MAX
    assert report.damage_count >= DAMAGE_LISTED_MAX + 10


def test_the_books_are_compared_with_full_sums(original, tmp_path):
    shutil.copytree(original, tmp_path / "ledger")
    ledger = Ledger.open(tmp_path / "ledger", GENESIS)
    state = {key: value for table in Table for key, value in ledger.scan(table)}
    ledger.close()
    assert unbalanced_books(state.items(), GENESIS.scores) == []
    for table in (Table.ACCOUNT, Table.PACKET, Table.DEFICIT):
        key = next(key for key in state if key.startswith(table.value))
        rest = [(other, value) for other, value in state.items() if other != key]
        assert unbalanced_books(rest, GENESIS.scores)
    assert unbalanced_books([], GENESIS.scores) == ["the totals are missing"]
