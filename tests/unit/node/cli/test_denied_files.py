"""Files that the system does not let a command open: one line, nothing changed, and never taken for damage."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from consensus.codec import encode
from consensus.events import fresh_sign_state
from consensus.identifiers import Height
from ledger.errors import LedgerUnreadable
from ledger.ledger import Ledger
from ledger.store import TIP_KEY, Store
from node.cli.main import main
from node.errors import NodeError, SignStateError, SignStateFault
from node.home.configuration import ApiTable, Configuration, NodeTable, PeerEntry, PeerToPeerTable, load_configuration
from node.home.configuration_text import render_configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis, write_genesis
from node.home.sign_state import SignStateFile
from node.home.storage import open_storage
from tests.support.contracts import make_genesis
from tests.support.ledger import ChainBuilder
from tests.support.permissions import modes_count

BLOCKS = 3
COUPLE = make_genesis(2)

COMMANDS = [
    ("trade", "list", "--config", "{home}/meter.toml"),
    ("statement", "home1", "--month", "2016-06", "--config", "{home}/meter.toml"),
    ("recover", "alone", "--yes", "--config", "{home}/meter.toml"),
    ("ledger", "verify", "--home", "{home}"),
    ("ledger", "show", "--home", "{home}"),
]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The home of a stopped node of two, with a peer to fetch blocks from, whose ledger has tables and a seal."""
    home = Home(tmp_path)
    peer = PeerEntry(address=COUPLE.addresses[0].hex(), host="localhost", port=1)
    configuration = Configuration(
        node=NodeTable(name="node2", home=tmp_path),
        p2p=PeerToPeerTable(port=7_000, peers=(peer,)),
        api=ApiTable(port=8_000),
    )
    home.configuration.write_text(render_configuration(configuration))
    write_genesis(home, COUPLE.genesis)
    SignStateFile.create(home.sign_state, encode(fresh_sign_state(Height(BLOCKS))))
    builder = ChainBuilder.create(home.ledger, COUPLE)
    for _ in range(BLOCKS):
        builder.append([builder.transfer(0, 1, 5)])
    builder.ledger.close()
    Ledger.open(home.ledger, load_genesis(home)).close()  # LevelDB turns its log into a table
    home.process_id.touch()
    return home


@contextmanager
def denied(path: Path, mode: int) -> Iterator[None]:
    """Gives a path another mode, that counts, for a `with` block."""
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        with modes_count():
            yield
    finally:
        path.chmod(before)


def content(home: Home) -> dict[str, bytes | None]:
    """Everything but the number of the process that used it last."""
    return {
        str(path.relative_to(home.directory)): path.read_bytes() if path.is_file() else None
        for path in home.directory.rglob("*")
        if path != home.process_id
    }


def paths(home: Home) -> dict[str, tuple[Path, int]]:
    table = next((home.ledger / "database").glob("*.ldb"))
    return {
        "ledger unreadable": (home.ledger, 0),
        "database unreadable": (home.ledger / "database", 0),
        "table unreadable": (table, 0),
        "database read-only": (home.ledger / "database", 0o500),
        "tip unreadable": (home.ledger / "tip", 0),
    }


CASES = ["ledger unreadable", "database unreadable", "table unreadable", "database read-only", "tip unreadable"]


@pytest.mark.parametrize(
    ("case", "command"),
    [
        pytest.param(case, command, id=f"{case}, {' '.join(command[:2])}")
        for case in CASES
        for command in COMMANDS
        if (case, command[1]) != ("database read-only", "verify")  # which writes nothing there
    ],
)
def test_a_command_says_it_in_one_line_and_changes_nothing(
    home: Home,
    case: str,
    command: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, mode = paths(home)[case]
    before = content(home)
    monkeypatch.setattr(sys, "argv", ["p2pnode", *(part.format(home=home.directory) for part in command)])
    with denied(path, mode), pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (1, "")
    assert printed.err.startswith("p2pnode: ")
    assert printed.err.count("\n") == 1
    assert str(path) in printed.err
    assert "ermission" in printed.err
    assert "damaged" not in printed.err
    assert content(home) == before


@pytest.mark.parametrize("case", CASES)
def test_a_start_sets_nothing_aside_that_it_may_not_open(home: Home, case: str) -> None:
    before = content(home)
    with denied(*paths(home)[case]), ExitStack() as storage, pytest.raises(NodeError, match="ermission"):
        open_storage(load_configuration(home.configuration), storage)
    assert content(home) == before


def test_nor_a_sign_state(home: Home) -> None:
    before = content(home)
    with denied(home.sign_state, 0), ExitStack() as storage, pytest.raises(SignStateError) as refused:
        open_storage(load_configuration(home.configuration), storage)
    assert refused.value.fault is SignStateFault.UNREADABLE
    assert content(home) == before


def test_a_read_only_home_is_told(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home.sign_state.write_bytes(b"torn")
    monkeypatch.setattr(sys, "argv", ["p2pnode", "recover", "alone", "--yes", "--config", str(home.configuration)])
    with denied(home.directory, 0o500), pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"p2pnode: {home.sign_state}: Permission denied\n"
    assert home.sign_state.read_bytes() == b"torn"


@pytest.mark.parametrize("command", [("list",), ("show", "00" * 32)])
def test_an_unreadable_evidence_folder_does_not_count_as_empty(
    home: Home, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home.evidence.mkdir()
    monkeypatch.setattr(sys, "argv", ["p2pnode", "evidence", *command, "--config", str(home.configuration)])
    with denied(home.evidence, 0), pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (1, "")
    assert printed.err == f"p2pnode: {home.evidence}: Permission denied\n"


def test_a_table_that_leveldb_may_not_open_when_it_is_read_is_not_damaged(home: Home) -> None:
    database = home.ledger / "database"
    with denied(paths(home)["table unreadable"][0], 0):
        store = Store.open(database)
        with pytest.raises(LedgerUnreadable, match="Permission denied"):
            store.get(TIP_KEY)
        with pytest.raises(LedgerUnreadable, match="Permission denied"):
            list(store.entries())
        store.close()
    with denied(database / "LOCK", 0), pytest.raises(LedgerUnreadable, match="Permission denied"):
        Store.open(database)
