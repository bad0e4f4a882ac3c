"""What people ask a real chain afterwards: stories, receipts, scores, evidence and statements, from real daemons."""

import csv
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from consensus.codec import encode
from contracts.transactions import DoubleOffer, ForwardTerms
from node.cli.main import app
from node.cli.story_tables import LISTED_DIGITS
from node.errors import FileRefused, NodeError, NotFound
from tests.support.testnet import Street, cleaned_up, init_testnet, p2pnode, refused, write_readings

HOURS = 4


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """Four daemons that traded four hours and still run."""
    directory = tmp_path_factory.mktemp("stories") / "testnet"
    readings = write_readings(directory.parent / "street.csv", households=4, hours=HOURS)
    with cleaned_up(directory):
        init_testnet(directory, "--readings", readings.path, nodes=4)
        p2pnode(directory.parent, "testnet", "run", "--dir", directory, "--keep", "--json")
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


def run(*arguments: str | Path, fails: type[NodeError] | None = None) -> str:
    """Returns what a command prints, run in this process: the daemons that it asks are others."""
    ended = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if fails is None:
        assert ended.exception is None, ended.exception
    else:
        assert isinstance(ended.exception, fails), ended.output
    return ended.stdout


def asked(*arguments: str | Path, at: Path) -> Any:
    """Returns the JSON that a command prints."""
    return json.loads(run(*arguments, "--config", at, "--json"))


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
        running, still = asked(*arguments, at=config(street)), asked(*arguments, at=stopped)
        for certified in ("certificate_encoded", "proof"):  # any quorum's signatures may be in it
            running.pop(certified, None)
            still.pop(certified, None)
        for block in (*running.get("blocks", ()), *still.get("blocks", ())):
            block.pop("validators")  # of the newest block each node knows its own certificate
        assert running == still, arguments


@pytest.mark.parametrize("name", ["x/y?z", "", "..", "00", "1" * 10_000], ids=ascii)
def test_a_running_and_a_stopped_node_refuse_a_name_alike(street: Street, stopped: Path, name: str) -> None:
    for arguments in (
        ("trade", "show", name),
        ("receipt", "export", name),
        ("qscore", "history", name),
        ("statement", name, "--month", "2024-06"),
    ):
        messages = set()
        for place in (config(street), stopped):
            ended = CliRunner().invoke(app, [*arguments, "--config", str(place)])
            assert isinstance(ended.exception, NotFound)
            messages.add(str(ended.exception))
        assert len(messages) == 1, messages


def test_a_householder_reads_a_trade(street: Street) -> None:
    trade = newest_trade(street)
    told = p2pnode(street.directory.parent, "trade", "show", trade["trade"], "--config", config(street)).output
    assert told.startswith(f"Trade {trade['trade']}: completed\n")
    assert told.count("held") >= 4
    assert "validators who signed it" in told
    listed = f" {trade['trade'][:LISTED_DIGITS]} "
    assert listed in run("trade", "list", "--config", config(street))
    assert run("trade", "show", listed.strip(), "--config", config(street)).startswith(f"Trade {trade['trade']}: ")
    message = refused(street.directory.parent, "trade", "show", "00" * 32, "--config", config(street))
    assert message == f"p2pnode: the chain holds no contract {'00' * 32}, and no contract's transaction {'00' * 32}\n"


def test_a_receipt_convinces_with_genesis_alone(street: Street, stopped: Path, tmp_path: Path) -> None:
    trade = newest_trade(street)["trade"]
    genesis, file, altered = tmp_path / "genesis.json", tmp_path / "receipt.json", tmp_path / "altered.json"
    shutil.copyfile(street.node(2).home.genesis_text, genesis)
    for place in (config(street), stopped):
        run("receipt", "export", trade[:16], "--config", place, "--output", file)
        verified = run("receipt", "verify", file, "--genesis", genesis)
        assert f"{file} is valid.\n" in verified
        assert "ok  conditions 3 and 4: hold" in verified
        altered.write_bytes(file.read_bytes().replace(b"completed", b"cancelled", 1))
        run("receipt", "verify", altered, "--genesis", genesis, fails=FileRefused)
        file.unlink()


def test_f_plus_1_members_answer_the_same(street: Street) -> None:
    ask = ("receipt", "ask", newest_trade(street)["trade"], "--genesis", street.node(1).home.genesis)
    urls = [street.node(number).url for number in (1, 2, 3)]
    agreed = run(*ask, *(part for url in urls for part in ("--url", url)))
    assert "equal answers of different members: 3; needed: F + 1 = 2" in agreed
    for too_few in ((urls[0],), (urls[0], urls[0]), (urls[0], "http://127.0.0.1:1")):
        told = run(*ask, *(part for url in too_few for part in ("--url", url)), fails=NodeError)
        assert "members: 1; needed" in told


def test_a_month_adds_up_over_the_street(street: Street, tmp_path: Path) -> None:
    months = [asked("statement", f"node{number}", "--month", "2024-06", at=config(street)) for number in range(1, 5)]
    assert all(month["is_balanced"] for month in months)
    sums = {name: sum(month["total"][name] for month in months) for name in months[0]["total"] if name != "day"}
    totals = street.node(1).present_status()["totals"]
    assert sums["bought_wh"] == sums["sold_wh"] == totals["bought_wh"] > 0
    assert (sums["deficit_wh"], sums["surplus_wh"]) == (totals["deficit_wh"], totals["credited_wh"])
    assert sums["paid_micro"] == sums["received_micro"] == totals["traded_micro"]
    assert sums["fee_micro"] == totals["fees_micro"]
    file = tmp_path / "month.csv"
    run("statement", "node2", "--month", "2024-06", "--config", config(street), "--csv", file)
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [row["day"] for row in rows] == ["2024-06-01", "2024-06"]
    assert rows[0]["bought_wh"] == rows[1]["bought_wh"]
    assert float(rows[1]["paid_tokens"]) == months[1]["total"]["paid_micro"] / 1_000_000 > 0


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
    listed = run("evidence", "list", "--config", stopped)
    assert "signed two different contracts under one offer id" in listed
    assert "pending" in listed
    verified = run("evidence", "verify", file, "--genesis", street.node(2).home.genesis_text)
    assert "prove double_offer" in verified


def _terms(street: Street, energy_wh: int) -> ForwardTerms:
    seller, buyer = street.node(1), street.node(2)
    return ForwardTerms(
        chain=street.chain,
        offer_counter=1,
        seller=seller.address,
        buyer=buyer.address,
        energy_wh=energy_wh,  # type: ignore[arg-type]
        price_micro_per_kwh=200_000,  # type: ignore[arg-type]
        origin_meter=seller.address,
        destination_meter=buyer.address,
        expiry_slot=1_000,  # type: ignore[arg-type]
        delivery_start_ms=0,  # type: ignore[arg-type]
    )
