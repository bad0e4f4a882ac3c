"""The commands that tell stories: their help, and what they say when asked for what is not there."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ledger.ledger import Ledger
from node.cli.main import app, main
from node.home.genesis_file import load_genesis
from node.testnet.folder import Testnet
from node.testnet.init import TestnetPlan, initialise_testnet

COMMANDS = [
    ("trade", "show"),
    ("trade", "list"),
    ("receipt", "export"),
    ("receipt", "verify"),
    ("receipt", "ask"),
    ("qscore", "history"),
    ("qscore", "list"),
    ("evidence", "list"),
    ("evidence", "show"),
    ("evidence", "verify"),
    ("statement",),
    ("members",),
    ("member", "show"),
    ("member", "suspend"),
    ("member", "reinstate"),
    ("member", "expel"),
    ("office", "show"),
    ("office", "key"),
    ("office", "replace"),
    ("office", "propose"),
    ("office", "approve"),
    ("office", "withdraw"),
    ("office", "object"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a stopped node whose ledger has nothing but genesis."""
    testnet: Testnet
    testnet, _ = initialise_testnet(tmp_path_factory.mktemp("commands") / "testnet", TestnetPlan())
    home = testnet.home(testnet.nodes[0])
    Ledger.create(home.ledger, load_genesis(home)).close()
    return home.directory


@pytest.mark.parametrize("command", COMMANDS, ids="-".join)
def test_help_has_an_example(command: tuple[str, ...]) -> None:
    printed = CliRunner().invoke(app, [*command, "--help"]).output
    assert f"Example: p2pnode {' '.join(command)} " in printed


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("trade", "show", "00" * 32), "the chain holds no contract 00"),
        (("trade", "show", "home/1"), "'home/1' is no name: at least the first 8 hexadecimal digits are needed"),
        (("receipt", "export", "00" * 32), "the chain holds no contract 00"),
        (("qscore", "history", "node9"), "'node9' is neither a member's name nor the beginning of an address"),
        (("member", "show", "node9"), "'node9' is neither a member's name nor the beginning of an address"),
        (("evidence", "show", "00" * 32), "the chain holds no misconduct 00"),
        (("statement", "node1", "--month", "2016-06"), "the chain has no reading of node1 in 2016-06"),
        (
            ("statement", "node1", "--month", "June"),
            "'June' is no month from 1970-01 to 2999-12: write it as 2016-08",
        ),
        (("statement", "node1", "--month", "0000-01"), "'0000-01' is no month from 1970-01"),
        (("statement", "node1", "--month", "1969-12"), "'1969-12' is no month from 1970-01"),
        (("statement", "node1", "--month", "0" * 10_000), f"p2pnode: '{'0' * 64}' is no month from 1970-01"),
        (("statement", "node1", "--month", "9999-12"), "'9999-12' is no month from 1970-01"),
        (("statement", "node1", "--month", "2016-06\n"), "is no month from 1970-01"),
        (("statement", "node1", "--month", "2999-12"), "the chain has no reading of node1 in 2999-12"),
        (("statement", "node1", "--month", "1970-01"), "the chain has no reading of node1 in 1970-01"),
    ],
)
def test_what_is_not_there_is_one_line_on_standard_error(
    home: Path,
    arguments: tuple[str, ...],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["p2pnode", *arguments, "--config", str(home / "meter.toml")])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (1, "")
    assert printed.err.startswith("p2pnode: ")
    assert printed.err.count("\n") == 1
    assert complaint in printed.err


@pytest.mark.parametrize("command", [("trade", "show"), ("receipt", "export"), ("receipt", "ask")], ids=" ".join)
@pytest.mark.parametrize("name", ["", "..", "x/y?z", "00", "1" * 65, "1" * 10_000, "\udcff"], ids=ascii)
def test_an_id_that_names_nothing_is_refused_before_anything_is_asked(
    command: tuple[str, ...], name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("--genesis", "missing", "--url", "http://127.0.0.1:1") if "ask" in command else ("--config", "missing")
    monkeypatch.setattr(sys, "argv", ["p2pnode", *command, name, *where])
    with pytest.raises(SystemExit) as ended:
        main()
    shown = repr(name[:64])
    complaint = f"p2pnode: {shown} is no name: at least the first 8 hexadecimal digits are needed, at most 64\n"
    assert (ended.value.code, capsys.readouterr().err) == (1, complaint)


@pytest.mark.parametrize(
    "command", [("qscore", "history"), ("member", "show"), ("statement", "--month", "2016-08")], ids=" ".join
)
@pytest.mark.parametrize("name", ["", ".", "..", "1" * 65, "1" * 10_000, "\udcff"], ids=ascii)
def test_a_member_that_cannot_be_is_refused_before_anything_is_asked(
    command: tuple[str, ...], name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["p2pnode", *command, "--config", "missing", "--", name])
    with pytest.raises(SystemExit) as ended:
        main()
    complaint = f"p2pnode: {name[:64]!r} is neither a member's name nor the beginning of an address\n"
    assert (ended.value.code, capsys.readouterr().err) == (1, complaint)


@pytest.mark.parametrize("kind", ["receipt", "evidence"])
def test_a_file_that_proves_nothing_ends_with_1(
    home: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for file, complaint in ((home / "meter.toml", "is NOT valid: "), (home / "missing", "cannot be read")):
        arguments = [kind, "verify", str(file), "--genesis", str(home / "genesis.json")]
        monkeypatch.setattr(sys, "argv", ["p2pnode", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        assert complaint in capsys.readouterr().err
