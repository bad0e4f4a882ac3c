"""`p2pnode ledger show` of a chain that a ceremony led into another era."""

import json
import sys
from pathlib import Path

import pytest

from node.cli.main import main
from node.home.configuration import ApiTable, Configuration, NodeTable, PeerToPeerTable
from node.home.configuration_text import render_configuration
from node.home.era_files import keep_era
from node.home.folder import Home
from node.home.genesis_file import write_genesis
from tests.support.begun_eras import ErasChain


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path)
    configuration = Configuration(
        node=NodeTable(name="home1", home=tmp_path), p2p=PeerToPeerTable(port=7_000), api=ApiTable(port=8_000)
    )
    home.configuration.write_text(render_configuration(configuration))
    return home


def shown(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    monkeypatch.setattr(sys, "argv", ["p2pnode", "ledger", "show", "--home", str(home.directory), *more])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    return capsys.readouterr().out


def test_the_era_is_shown_once_there_is_more_than_one(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chain = ErasChain(home.ledger)
    write_genesis(home, chain.community.genesis)
    chain.grow()
    chain.ledger.close()
    assert " era " not in shown(home, monkeypatch, capsys)
    chain.reopen()
    chain.begin(chain.plan(1))
    chain.grow()
    chain.ledger.close()
    for begun in chain.begun:
        keep_era(home, begun)
    assert " era " in shown(home, monkeypatch, capsys)
    rows = json.loads(shown(home, monkeypatch, capsys, "--json"))
    assert [(row["height"], row["era"]) for row in rows] == [(1, 0), (2, 1)]
