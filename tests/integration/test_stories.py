"""What people ask a real chain afterwards: stories, receipts, scores, evidence and statements, from real daemons."""

import csv
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consensus.codec import encode
from contracts.transactions import DoubleOffer, TradeTerms
from tests.support.testnet import Street, background, cleaned_up, p2pnode, refused, write_readings

HOURS = 4


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """Four daemons that traded four hours and still run."""
    directory = tmp_path_factory.mktemp("stories") / "testnet"
    readings = write_readings(directory.parent / "street.csv", households=4, hours=HOURS)
    with cleaned_up(directory):
        arguments = ("testnet", "run", "--dir", directory, "--readings", readings.path, "--keep", "--json")
        p2pnode(directory.parent, *arguments)
        street = Street(directory)
        street.at_one_tip()
        yield street
        p2pnode(directory.parent, "testnet", "stop", "--dir", directory)


@pytest.fixture(scope="module")
def stopped(street: Street, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of node 4, which is stopped: any three decide without it."""
    node = street.node(4)
    if node.process is not None:
        node.end_by(signal.SIGTERM)
    copy = tmp_path_factory.mktemp("stopped") / "home"
    shutil.copytree(node.home.directory, copy)
    return copy / "meter.toml"


def newest_trade(street: Street) -> dict[str, Any]:
    trade: dict[str, Any] = street.node(1).request("/v1/trades?order=newest&limit=1").document["trades"][0]
    return trade


def config(street: Street, number: int = 1) -> Path:
    return street.node(number).home.configuration


def asked(street: Street, *arguments: str | Path, at: Path | None = None) -> Any:
    """Returns the JSON that a command prints."""
    place = config(street) if at is None else at
    return json.loads(p2pnode(street.directory.parent, *arguments, "--config", place, "--json").output)


def test_a_running_and_a_stopped_node_tell_the_same(street: Street, stopped: Path) -> None:
    trade = newest_trade(street)["trade"]
    for arguments in (
        ("trade", "list"),
        ("trade", "show", trade[:12]),
        ("qscore", "list"),
        ("qscore", "history", "node2"),
        ("evidence", "list"),
        ("statement", "node2", "--month", "2024-06"),
    ):
        running, still = asked(street, *arguments), asked(street, *arguments, at=stopped)
        for certified in ("certificate_encoded", "proof"):  # any quorum's signatures may be in it
            running.pop(certified, None)
            still.pop(certified, None)
        for block in (*running.get("blocks", ()), *still.get("blocks", ())):
            block.pop("validators")  # of the newest block each node knows its own certificate
        assert running == still, arguments


def test_a_householder_reads_a_trade(street: Street) -> None:
    trade = newest_trade(street)
    told = p2pnode(street.directory.parent, "trade", "show", trade["trade"], "--config", config(street)).output
    assert told.startswith(f"Trade {trade['trade']}: completed\n")
    assert told.count("held") >= 4
    assert "validators who signed it" in told
    listed = p2pnode(street.directory.parent, "trade", "list", "--config", config(street)).output
    assert trade["trade"][:16] in listed
    message = refused(street.directory.parent, "trade", "show", "00" * 32, "--config", config(street))
    assert message == f"p2pnode: the chain holds no contract {'00' * 32}, and no contract's transaction {'00' * 32}\n"


def test_a_receipt_convinces_with_genesis_alone(street: Street, stopped: Path, tmp_path: Path) -> None:
    trade = newest_trade(street)["trade"]
    genesis = tmp_path / "genesis.json"
    shutil.copyfile(street.node(2).home.genesis_text, genesis)
    for place in (config(street), stopped):
        file = tmp_path / "receipt.json"
        p2pnode(tmp_path, "receipt", "export", trade[:16], "--config", place, "--output", file)
        verified = p2pnode(tmp_path, "receipt", "verify", file, "--genesis", genesis)
        assert f"{file} is valid.\n" in verified.output
        assert "ok  conditions 3 and 4: hold" in verified.output
        altered = file.read_bytes().replace(b"completed", b"cancelled", 1)
        (tmp_path / "altered.json").write_bytes(altered)
        message = refused(tmp_path, "receipt", "verify", tmp_path / "altered.json", "--genesis", genesis)
        assert "is NOT valid: its readable part is not what its content says" in message


def test_f_plus_1_members_answer_the_same(street: Street) -> None:
    trade, directory = newest_trade(street)["trade"], street.directory.parent
    genesis, urls = street.node(1).home.genesis, [street.node(number).url for number in (1, 2, 3)]
    ask = ("receipt", "ask", trade, "--genesis", genesis)
    agreed = p2pnode(directory, *ask, *(part for url in urls for part in ("--url", url))).output
    assert "3 members answer the same; F + 1 = 2 are needed" in agreed
    for too_few in ((urls[0],), (urls[0], urls[0]), (urls[0], "http://127.0.0.1:1")):
        arguments = [part for url in too_few for part in ("--url", url)]
        ended = _ended(directory, *ask, *arguments)
        assert "1 members answer the same" in ended


def _ended(directory: Path, *arguments: str | Path) -> str:
    with background(directory, *arguments) as running:
        ended = running.wait()
    assert ended.exit_code == 1
    assert "not enough equal answers" in ended.errors
    return ended.output


def test_a_month_adds_up_to_the_readings(street: Street, tmp_path: Path) -> None:
    total = {"bought_wh": 0, "imported_wh": 0, "unsettled_wh": 0, "deficit_wh": 0, "sold_wh": 0, "paid_micro": 0}
    received = 0
    for number in range(1, 5):
        month = asked(street, "statement", f"node{number}", "--month", "2024-06")
        assert month["is_balanced"]
        total = {name: value + month["total"][name] for name, value in total.items()}
        received += month["total"]["received_micro"]
    totals = street.node(1).present_status()["totals"]
    assert total["bought_wh"] == total["sold_wh"] == totals["bought_wh"] > 0
    assert total["deficit_wh"] == totals["deficit_wh"]
    assert total["paid_micro"] == received == totals["traded_micro"]
    file = tmp_path / "month.csv"
    p2pnode(tmp_path, "statement", "node2", "--month", "2024-06", "--config", config(street), "--csv", file)
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["day"] for row in rows] == ["2024-06-01", "2024-06"]
    assert rows[0]["bought_wh"] == rows[1]["bought_wh"]
    assert float(rows[1]["paid_tokens"]) > 0


def test_evidence_that_waits_is_listed_and_convinces_as_a_file(street: Street, stopped: Path) -> None:
    seller, key = street.node(1), street.node(1).key
    first, second = (_terms(street, energy_wh) for energy_wh in (10, 11))
    evidence = DoubleOffer(
        offender=seller.address,
        first=first,
        first_signature=key.sign(encode(first)),
        second=second,
        second_signature=key.sign(encode(second)),
    )
    folder = stopped.parent / "evidence"
    folder.mkdir(exist_ok=True)
    file = folder / f"{'ab' * 32}.evidence"
    file.write_bytes(encode(evidence))
    listed = p2pnode(stopped.parent, "evidence", "list", "--config", stopped).output
    assert "signed two different contracts under one offer id" in listed
    assert "pending" in listed
    verified = p2pnode(stopped.parent, "evidence", "verify", file, "--genesis", street.node(2).home.genesis_text)
    assert "prove double_offer" in verified.output


def _terms(street: Street, energy_wh: int) -> TradeTerms:
    seller, buyer = street.node(1), street.node(2)
    return TradeTerms(
        chain=street.chain,
        offer_counter=1,
        seller=seller.address,
        buyer=buyer.address,
        energy_wh=energy_wh,  # type: ignore[arg-type]
        price_micro_per_kwh=200_000,  # type: ignore[arg-type]
        packets=(),
        origin_meter=seller.address,
        destination_meter=buyer.address,
        expiry_slot=1_000,  # type: ignore[arg-type]
        delivery_start_ms=0,  # type: ignore[arg-type]
    )
