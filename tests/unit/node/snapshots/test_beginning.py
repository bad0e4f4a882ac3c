"""A ledger is made of a state that was taken in whole, whatever a process left behind that ended on the way."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from consensus.identifiers import Digest, Height
from ledger.errors import LedgerError, LedgerWriteFailed, OriginRefused
from ledger.ledger import Ledger
from ledger.state_copy import StateCopy, copying
from ledger.state_intake import StateIntake
from node.home.configuration import ApiTable, Configuration, NodeTable, PeerEntry, PeerToPeerTable
from node.home.folder import Home
from node.home.genesis_file import write_genesis
from node.snapshots.beginning import begin_with_taken, may_take_state
from tests.support.ledger import ChainBuilder
from tests.support.origins import origin_of, verified

AT = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("members")


@pytest.fixture(scope="module")
def whole(folder: Path) -> Iterator[Ledger]:
    builder = ChainBuilder.create(folder / "ledger")
    for hour in range(3):
        builder.append_trading_hour(hour)
    for _ in copying(builder.ledger, Height(AT), folder / "copy"):
        pass
    yield builder.ledger
    builder.ledger.close()


@pytest.fixture
def home(whole: Ledger, folder: Path, tmp_path: Path) -> Home:
    """With a whole state of height 4."""
    home = Home(tmp_path / "home")
    home.directory.mkdir()
    write_genesis(home, whole.genesis)
    copy = StateCopy.open(folder / "copy")
    taken = StateIntake.create(home.intake, origin_of(whole, AT))
    position = Digest(bytes(32))
    chunk = copy.chunk_at(position)
    taken.put(position, chunk)
    assert taken.covered.is_whole
    for one in (copy, taken):
        one.close()
    return home


def begun(home: Home, whole: Ledger) -> None:
    report = verified(home.ledger, whole.genesis)
    assert (report.holds, report.executed_from, report.tip) == (True, AT, AT)
    assert {path.name for path in home.directory.iterdir()} & {"snapshot-intake", "ledger.replaced"} == set()


def test_it_takes_the_place_of_an_empty_ledger(home: Home, whole: Ledger) -> None:
    Ledger.create(home.ledger, whole.genesis).close()
    assert begin_with_taken(home)
    begun(home, whole)
    assert begin_with_taken(home)  # nothing more is done
    begun(home, whole)


@pytest.mark.parametrize("left", ["nothing", "replaced", "unfinished"])
def test_what_a_process_left_that_ended_on_the_way_is_gone_on_with(home: Home, whole: Ledger, left: str) -> None:
    if left != "nothing":
        Ledger.create(home.ledger, whole.genesis).close()
        home.ledger.rename(home.ledger.with_name("ledger.replaced"))
    if left == "unfinished":
        (home.ledger / "database.new").mkdir(parents=True)
        (home.ledger / "database.new" / "000003.log").write_bytes(b"half")
    begin_with_taken(home)
    begun(home, whole)


def test_a_ledger_that_has_come_further_stays(home: Home, whole: Ledger) -> None:
    with closing(Ledger.create(home.ledger, whole.genesis)) as ledger:
        for number in range(1, 7):
            certificate = whole.certificate(Height(number))
            assert certificate is not None
            ledger.append(whole.decided_block(Height(number)), certificate)
    begin_with_taken(home)
    report = verified(home.ledger, whole.genesis)
    assert (report.holds, report.executed_from, report.tip) == (True, 0, 6)
    assert not home.intake.exists()


def test_a_part_of_a_state_changes_nothing(home: Home, whole: Ledger) -> None:
    Ledger.create(home.ledger, whole.genesis).close()
    StateIntake.create(home.intake, origin_of(whole, AT)).close()
    begin_with_taken(home)
    assert verified(home.ledger, whole.genesis).executed_from == 0
    assert home.intake.exists(), "it is gone on with"


def with_blocks(home: Home, whole: Ledger, count: int) -> None:
    with closing(Ledger.create(home.ledger, whole.genesis)) as ledger:
        for number in range(1, count + 1):
            certificate = whole.certificate(Height(number))
            assert certificate is not None
            ledger.append(whole.decided_block(Height(number)), certificate)


@pytest.mark.parametrize("error", [OriginRefused("the books"), LedgerWriteFailed("the disk is full")])
def test_blocks_that_are_here_stay_where_what_was_taken_is_no_beginning(
    home: Home, whole: Ledger, monkeypatch: pytest.MonkeyPatch, error: LedgerError
) -> None:
    with_blocks(home, whole, 2)

    def refused(*_: object) -> None:
        raise error

    monkeypatch.setattr("ledger.creation._check_state", refused)
    if isinstance(error, OriginRefused):
        assert not begin_with_taken(home)
    else:
        with pytest.raises(LedgerWriteFailed):
            begin_with_taken(home)
    report = verified(home.ledger, whole.genesis)
    assert (report.holds, report.executed_from, report.tip) == (True, 0, 2)
    assert home.intake.exists() is isinstance(error, LedgerWriteFailed)


def test_blocks_that_a_process_had_put_aside_come_back_if_the_state_is_refused_then(
    home: Home, whole: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_blocks(home, whole, 2)
    home.ledger.rename(home.ledger.with_name("ledger.replaced"))  # killed here
    monkeypatch.setattr("ledger.creation.unbalanced_books", lambda *_: ["tokens in circulation"])
    assert not begin_with_taken(home)
    assert verified(home.ledger, whole.genesis).tip == 2
    assert not home.ledger.with_name("ledger.replaced").exists()


def test_a_state_that_is_no_beginning_leaves_the_home_to_genesis(
    home: Home, whole: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.creation.unbalanced_books", lambda *_: ["tokens in circulation"])
    assert not begin_with_taken(home), "else it would be taken again and again"
    assert not Ledger.exists(home.ledger)
    assert not home.intake.exists()


@pytest.mark.parametrize(
    ("begins_with", "has_peers", "expected"),
    [("snapshot", True, True), ("snapshot", False, False), ("genesis", True, False)],
)
def test_a_state_is_taken_where_it_is_wanted_and_there_is_somebody_to_ask(
    home: Home, whole: Ledger, begins_with: str, *, has_peers: bool, expected: bool
) -> None:
    peers = (PeerEntry(address="00" * 32, host="192.0.2.2", port=7_000),) if has_peers else ()
    configuration = Configuration(
        node=NodeTable(name="home1", home=home.directory, begins_with=begins_with),  # type: ignore[arg-type]
        p2p=PeerToPeerTable(port=7_000, peers=peers),
        api=ApiTable(port=8_000),
    )
    with closing(Ledger.create(home.ledger, whole.genesis)) as ledger:
        assert may_take_state(configuration, ledger) is expected
    begin_with_taken(home)
    with closing(Ledger.open(home.ledger, whole.genesis)) as ledger:
        assert not may_take_state(configuration, ledger), "it has blocks"
