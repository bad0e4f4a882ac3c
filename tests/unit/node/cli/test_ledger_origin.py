"""`p2pnode ledger` at a home whose ledger began at a block: it says from where, and what it cannot tell."""

import json
import sys
from pathlib import Path

import pytest

from consensus.identifiers import Height
from ledger.ledger import Ledger
from node.cli.main import main
from node.home.configuration import ApiTable, Configuration, NodeTable, PeerToPeerTable
from node.home.configuration_text import render_configuration
from node.home.folder import Home
from node.home.genesis_file import write_genesis
from tests.support.ledger import ChainBuilder
from tests.support.origins import begun_at, follow


@pytest.fixture
def whole(tmp_path: Path) -> Ledger:
    builder = ChainBuilder.create(tmp_path / "whole")
    for hour in range(3):
        builder.append_trading_hour(hour)
    return builder.ledger


@pytest.fixture
def home(tmp_path: Path, whole: Ledger) -> Home:
    """From height 4 of 6 on."""
    home = Home(tmp_path / "home")
    home.directory.mkdir()
    configuration = Configuration(
        node=NodeTable(name="home1", home=home.directory), p2p=PeerToPeerTable(port=7_000), api=ApiTable(port=8_000)
    )
    home.configuration.write_text(render_configuration(configuration))
    write_genesis(home, whole.genesis)
    ledger = begun_at(whole, 4, home.ledger)
    follow(ledger, whole)
    ledger.close()
    return home


def said(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, *more: str
) -> str:
    monkeypatch.setattr(sys, "argv", ["p2pnode", "ledger", command, "--home", str(home.directory), *more])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    return printed.err if ended.value.code else printed.out


def test_verify_says_from_where_it_executed(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(home, monkeypatch, capsys, "verify")
    assert "holds: 2 blocks with 5 transactions executed again from the state after block 4" in text
    assert "It begins at block 4: the state after it is the one that the members decided" in text
    assert "Blocks below are not here, and were not executed" in text


def test_show_lists_what_is_here_and_says_that_there_was_more(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "blocks below 4 are not here" in said(home, monkeypatch, capsys, "show")
    rows = json.loads(said(home, monkeypatch, capsys, "show", "--json"))
    assert [row["height"] for row in rows] == [4, 5, 6]


def test_what_lies_below_is_refused_in_one_sentence(
    home: Home, whole: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = whole.receipts(Height(1))[0].transaction.hex()
    for more in (("--block", "3"), ("--transaction", earlier), ("--to", "3")):
        refused = said(home, monkeypatch, capsys, "show", *more)
        assert "blocks below 4 are not here: this node began with a snapshot of block 4" in refused
    here = whole.receipts(Height(5))[0].transaction.hex()
    assert json.loads(said(home, monkeypatch, capsys, "show", "--transaction", here))["height"] == 5
    assert "the chain holds no block 7" in said(home, monkeypatch, capsys, "show", "--from", "7")
