"""`p2pnode evidence show` of what this node keeps and no block has yet."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from consensus.codec import encode
from consensus.identifiers import Digest
from contracts.genesis_state import genesis_state
from contracts.misconduct import misconduct_name, proven
from contracts.state import Overlay
from ledger.ledger import Ledger
from node.cli.main import main
from node.home.configuration import ApiTable, Configuration, NodeTable, PeerToPeerTable
from node.home.configuration_text import render_configuration
from node.home.folder import Home
from node.home.genesis_file import write_genesis
from tests.support.contracts import make_genesis
from tests.support.names import write_book
from tests.support.stories import two_votes

COMMUNITY = make_genesis()
EVIDENCE = two_votes(COMMUNITY, 3)

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The home of a stopped node whose chain has no block yet."""
    home = Home(tmp_path)
    configuration = Configuration(
        node=NodeTable(name="home1", home=tmp_path), p2p=PeerToPeerTable(port=7_000), api=ApiTable(port=8_000)
    )
    home.configuration.write_text(render_configuration(configuration))
    write_genesis(home, COMMUNITY.genesis)
    write_book(home.address_book, COMMUNITY.genesis)
    Ledger.create(home.ledger, COMMUNITY.genesis).close()
    return home


@pytest.fixture
def evidence_show(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str) -> tuple[int, str, str]:
        command = ["p2pnode", "evidence", *arguments]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int | None)
        return ended.value.code or 0, printed.out, printed.err

    return run


def keep(home: Home) -> Digest:
    """Puts the evidence into the node's folder; returns its id."""
    offence = proven(EVIDENCE, Overlay(genesis_state(COMMUNITY.genesis)), COMMUNITY.chain)
    assert offence is not None
    name = misconduct_name(EVIDENCE, offence)
    home.evidence.mkdir()
    (home.evidence / f"{name.hex()}.evidence").write_bytes(encode(EVIDENCE))
    return name


@pytest.mark.parametrize("digits", [8, 64])
def test_pending_evidence_is_shown_by_the_id_that_the_list_gives(
    home: Home, digits: int, evidence_show: Command
) -> None:
    name = keep(home).hex()
    option = ("--config", str(home.configuration))
    code, shown, _ = evidence_show("show", name[:digits].upper(), *option)
    assert code == 0
    assert f"Misconduct {name}" in shown
    assert "home4 voted for two different blocks in one slot; pending" in shown
    code, text, _ = evidence_show("show", name[:digits], "--json", *option)
    document = json.loads(text)
    assert (code, document["misconduct"], document["is_pending"]) == (0, name, True)
    assert len(document["statements"]) == 2


def test_it_can_be_written_and_verified(home: Home, evidence_show: Command) -> None:
    name = keep(home).hex()
    output = str(home.directory / "evidence.json")
    assert evidence_show("show", name, "--config", str(home.configuration), "--output", output)[0] == 0
    code, shown, _ = evidence_show("verify", output, "--genesis", str(home.genesis_text))
    assert (code, f"misconduct {name}" in shown) == (0, True)


@pytest.mark.parametrize(("name", "complaint"), [("00" * 32, "and this node keeps none"), ("home/1", "is no id")])
def test_what_is_neither_on_the_chain_nor_kept_is_told(
    home: Home, name: str, complaint: str, evidence_show: Command
) -> None:
    keep(home)
    code, shown, told = evidence_show("show", name, "--config", str(home.configuration))
    assert (code, shown, told.count("\n")) == (1, "", 1)
    assert complaint in told
