"""`p2pnode export-data`: what a stopped home has about its own household, page by page, and nothing of its keys."""

import json
import stat
from hashlib import blake2b
from pathlib import Path
from zipfile import ZipFile

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner

from contracts.transactions import transaction_digest
from ledger.ledger import Ledger
from node.admission.identity import load_key, write_private
from node.cli.homes import export
from node.cli.main import app
from node.errors import NodeError
from node.home.configuration import ApiTable, Configuration, NodeTable, PeerToPeerTable
from node.home.configuration_text import render_configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis, write_genesis
from node.replies.parameters import OwnTransactionsParameters
from node.stories import own_transactions as pages
from node.stories.own_transactions import own_transactions
from tests.support.contracts import make_genesis
from tests.support.ledger import ChainBuilder
from tests.support.names import write_book
from tests.support.stories import StoryChain, told

HOMES = make_genesis(4)
OWN = HOMES.addresses[0]
BLOCKS = 7


def private_key(member: int = 0) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(blake2b(f"node-{member}".encode(), digest_size=32).digest())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """The stopped home of the first member: it paid the second in each block and was paid in it, as others were."""
    home = Home(tmp_path / "home")
    home.directory.mkdir()
    configuration = Configuration(
        node=NodeTable(name="home1", home=home.directory), p2p=PeerToPeerTable(port=7_000), api=ApiTable(port=8_000)
    )
    home.configuration.write_text(render_configuration(configuration))
    write_genesis(home, HOMES.genesis)
    write_book(home.address_book, HOMES.genesis)
    write_private(home.node_key, private_key())
    assert load_key(home.node_key).address == OWN
    home.readings.write_text("timestamp,household_id,consumption_wh,generation_wh\n")
    return home


@pytest.fixture
def own(home: Home) -> list[str]:
    """The digests of what names it, in the order of the chain."""
    builder = ChainBuilder.create(home.ledger, HOMES)
    named = []
    for _ in range(BLOCKS):
        raws = [builder.transfer(0, 1, 1), builder.transfer(2, 3, 1), builder.transfer(3, 0, 2)]
        builder.append(raws)
        block = builder.ledger.decided_block(builder.ledger.height)
        named += [transaction_digest(raw).hex() for raw in block.transactions if raw in (raws[0], raws[2])]
    builder.ledger.close()
    return named


def export_data(home: Home, output: Path) -> None:
    arguments = ["export-data", "--config", str(home.configuration), "--output", str(output)]
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None:
        raise result.exception


def test_it_has_what_the_household_did_and_was_done_to_it(
    home: Home, own: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "data.zip"
    monkeypatch.setattr(export, "OWN_TRANSACTIONS_PER_PAGE_MAX", 3)
    export_data(home, output)
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    with ZipFile(output) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    rows = [json.loads(line) for line in content["transactions.jsonl"].splitlines()]
    assert [row["digest"] for row in rows] == own
    assert {row["receipt"]["status"] for row in rows} == {"executed"}
    assert json.loads(content["scores.jsonl"].splitlines()[0])["cause"] == "genesis"
    assert content["files/readings.csv"] == home.readings.read_bytes()
    assert content["files/meter.toml"] == home.configuration.read_bytes()
    book = json.loads(content["address-book.json"])
    assert [entry["called"]["name"] for entry in book["entries"]] == ["home1"]
    assert OWN.hex() in content["README.txt"].decode()
    everything = b"".join(content.values())
    assert b"PRIVATE" not in everything
    assert not [name for name in ("home2", "home3", "home4") if name.encode() in everything], "nobody else's name"


def test_of_the_contracts_it_has_its_own_alone(home: Home, tmp_path: Path) -> None:
    chain = StoryChain(home.ledger)
    chain.ledger.close()
    write_genesis(home, chain.community.genesis)
    home.node_key.unlink()
    write_private(home.node_key, private_key(1))
    export_data(home, tmp_path / "data.zip")
    with ZipFile(tmp_path / "data.zip") as archive:
        rows = [json.loads(line) for line in archive.read("trades.jsonl").splitlines()]
    trades = {row["trade"] for row in rows}
    assert (chain.names.spot.hex() in trades, chain.names.altered.hex() in trades) == (True, False)
    assert all(chain.community.addresses[1].hex() in {row["seller"], row["buyer"]} for row in rows)


def test_a_home_without_a_chain_has_nothing_yet(home: Home, tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="this home has followed no chain yet"):
        export_data(home, tmp_path / "data.zip")
    assert not (tmp_path / "data.zip").exists()


def test_what_is_there_is_not_replaced(home: Home, own: list[str], tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_text("mine")
    with pytest.raises(NodeError, match="is there already"):
        export_data(home, tmp_path / "data.zip")
    assert (tmp_path / "data.zip").read_text() == "mine"
    assert own


@pytest.mark.parametrize("limit", [1, 2, 5, 200])
@pytest.mark.parametrize("blocks", [2, 3, 4_096])
def test_pages_join_to_the_whole(
    home: Home, own: list[str], limit: int, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "BLOCKS_PER_PAGE_MAX", blocks)
    ledger = Ledger.open(home.ledger, load_genesis(home))
    found: list[str] = []
    after: str | None = None
    try:
        while True:
            parameters = OwnTransactionsParameters(address=OWN.hex(), limit=limit, after=after)
            page = told(own_transactions(ledger, parameters))
            assert len(page.transactions) <= limit
            found += [one.digest for one in page.transactions]
            after = page.next_after
            if after is None:
                break
    finally:
        ledger.close()
    assert found == own
