"""Files that `receipt export`, `statement` and `evidence show` make: new ones, or none."""

import sys
from pathlib import Path

import pytest

from ledger.ledger import Ledger
from node.cli.main import main
from node.errors import NodeError
from node.home.genesis_file import load_genesis
from node.home.new_file import write_new_file
from node.testnet.folder import Testnet
from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.disk import full_above
from tests.support.permissions import modes_count

COMMANDS = [
    ("receipt", "export", "00" * 32, "--output"),
    ("statement", "node1", "--month", "2016-06", "--csv"),
    ("evidence", "show", "00" * 32, "--output"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a stopped node whose ledger has nothing but genesis."""
    testnet: Testnet
    testnet, _ = initialise_testnet(tmp_path_factory.mktemp("new") / "testnet", TestnetPlan())
    home = testnet.home(testnet.nodes[0])
    Ledger.create(home.ledger, load_genesis(home)).close()
    return home.directory


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command[:2]))
@pytest.mark.parametrize("kind", ["key", "link", "dangling link", "folder", "no folder"])
def test_nothing_that_is_there_is_replaced_and_no_work_is_done_for_it(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    kind: str,
) -> None:
    key, content = home / "node.key", (home / "node.key").read_bytes()
    output, text = tmp_path / "output", "is there already, and is not replaced"
    match kind:
        case "key":
            output = key
        case "link":
            output.symlink_to(key)
        case "dangling link":
            output.symlink_to(tmp_path / "nothing")
        case "folder":
            output.mkdir()
        case _:
            output, text = tmp_path / "nowhere" / "file", f"there is no folder {tmp_path / 'nowhere'}"
    monkeypatch.setattr(sys, "argv", ["p2pnode", *command, str(output), "--config", str(home / "meter.toml")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"p2pnode: {command[-1]} {output}: {text}\n", "before the chain is asked"
    assert key.read_bytes() == content
    assert not (tmp_path / "nothing").exists()


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    path.write_bytes(b"another's")
    with pytest.raises(NodeError, match="is there already, and is not replaced"):
        write_new_file(path, b"receipt")
    assert path.read_bytes() == b"another's"
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nothing")
    with pytest.raises(NodeError, match="is there already"):
        write_new_file(link, b"receipt")
    assert not (tmp_path / "nothing").exists()


def test_half_a_file_is_not_left(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    with full_above(100), pytest.raises(NodeError, match="cannot be written: File too large"):
        write_new_file(path, bytes(1_000))
    assert not path.exists()


def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with modes_count(), pytest.raises(NodeError, match="Permission denied"):
            write_new_file(tmp_path / "file", b"")
    finally:
        tmp_path.chmod(0o700)
