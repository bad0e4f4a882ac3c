"""The testnet as an operator sees it: real daemons with TLS, LevelDB and meters, run by the command `p2pnode`."""

import json
import re
import signal
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from contracts.transactions import transaction_digest
from tests.support.testnet import (
    FIRST_RUN_HOURS,
    STACK_TRACE,
    Ended,
    Node,
    Street,
    background,
    cleaned_up,
    daemon,
    init_testnet,
    p2pnode,
    processes_about,
    refused,
    succeeded,
    wait_until,
    write_readings,
)

pytestmark = pytest.mark.alone("five, seven and twelve daemons trade as fast as they can")

HOURS = FIRST_RUN_HOURS
TRADED_WH = 11_894
SURPLUS_WH = 233_007
DEFICIT_WH = 52_981
PRICE_MICRO_PER_KWH = 200_000

SHOWN_BLOCK = re.compile(r"│ +([\d,]+) │ +([\d,]+) │ +[\d,]+ │ (\S+) +│ (\S+) +│ ([0-9a-f]{64}) │")
"""A row of `ledger show`: height, slot, leader, expected leader, digest."""


# --- 48 hours of the shipped readings ------------------------------------------------------------------------


def test_48_hours_trade_every_tradable_watt_hour(first_run: tuple[Street, Ended]) -> None:
    street, ended = first_run
    summary = json.loads(ended.output)
    roots = summary.pop("state_roots")
    assert list(roots) == [node.name for node in street.nodes]
    assert len(set(roots.values())) == 1
    leaders = summary.pop("blocks_per_leader")
    assert list(leaders) == list(roots)
    assert sum(leaders.values()) == summary["height"]
    assert summary.pop("height") >= HOURS / 4, "a meter is never more than a window of four hours ahead"
    assert summary["commit_latency_ms"].keys() == {"p50", "p95"}
    assert 0 < summary["commit_latency_ms"]["p50"] <= summary.pop("commit_latency_ms")["p95"]
    assert summary.pop("wall_s") > 0
    readings = 5 * HOURS
    assert summary.pop("transactions") >= readings + summary["trades_completed"]
    assert summary.pop("trades_completed") >= 1
    assert summary == {
        "nodes": 5,
        "left": [],
        "hours": HOURS,
        "trades_declined": 0,
        "energy_surplus_wh": SURPLUS_WH,
        "energy_deficit_wh": DEFICIT_WH,
        "energy_tradable_wh": TRADED_WH,
        "energy_traded_wh": TRADED_WH,
        "tokens_moved_micro": TRADED_WH * PRICE_MICRO_PER_KWH // 1_000,
        "conserved": True,
    }
    assert [node.process for node in street.nodes] == [None] * 5
    assert processes_about(street.directory) == []
    assert STACK_TRACE not in street.logs()


def test_every_node_holds_a_chain_that_verifies(first_run: tuple[Street, Ended]) -> None:
    street, ended = first_run
    height = json.loads(ended.output)["height"]
    for node in street.nodes:
        verified = p2pnode(street.directory, "ledger", "verify", "--home", node.home.directory)
        assert f"{node.home.ledger} holds: {height} blocks" in verified.output


def test_every_leader_is_the_one_of_eq_1(first_run: tuple[Street, Ended]) -> None:
    """Member number slot modulo N in the order of genesis leads: counted here, not by the product."""
    street, ended = first_run
    genesis = json.loads(street.node(1).home.genesis_text.read_text())
    members = [member["address"] for member in genesis["members"]]
    assert members == [node.address.hex() for node in street.nodes]
    lists = []
    for node in street.nodes:
        shown = p2pnode(street.directory, "ledger", "show", "--home", node.home.directory, "--json")
        rows = json.loads(shown.output)
        assert [row["height"] for row in rows] == list(range(1, len(rows) + 1))
        for row in rows:
            assert row["leader"] == row["expected_leader"] == members[row["slot"] % len(members)]
        lists.append(rows)
    assert all(rows == lists[0] for rows in lists)
    led = Counter(row["leader"] for row in lists[0])
    by_name = {node.name: led[node.address.hex()] for node in street.nodes}
    assert by_name == json.loads(ended.output)["blocks_per_leader"]
    shown = p2pnode(street.directory, "ledger", "show", "--home", street.node(1).home.directory)
    names = [node.name for node in street.nodes]
    assert [member["address"] for member in genesis["members"]] == [node.address.hex() for node in street.nodes]
    assert SHOWN_BLOCK.findall(shown.output) == [
        (str(row["height"]), str(row["slot"]), *[names[row["slot"] % 5]] * 2, row["digest"]) for row in lists[0]
    ]
    assert "every leader is the one that Eq. 1 expects" in shown.output


def made_files(street: Street) -> dict[str, bytes]:
    """Returns what `testnet init` made, by name."""
    homes = [node.home for node in street.nodes]
    made = [street.directory / name for name in ("testnet.json", "ca/root.key", "ca/register.json", "readings.csv")]
    for home in homes:
        made += [home.configuration, home.genesis, home.genesis_text, home.node_key, home.meter_key]
        made += [home.certificate, home.authority_certificate, home.readings]
    return {str(path): path.read_bytes() for path in made}


def test_running_it_again_changes_nothing(first_run: tuple[Street, Ended]) -> None:
    street, ended = first_run
    before = made_files(street)
    again = p2pnode(street.directory, "testnet", "run", "--dir", street.directory, "--hours", str(HOURS), "--json")
    assert without_times(again) == without_times(ended)
    assert made_files(street) == before


def without_times(ended: Ended) -> dict[str, Any]:
    """Returns a summary without what differs from run to run by its nature."""
    summary: dict[str, Any] = json.loads(ended.output)
    return {name: value for name, value in summary.items() if name not in {"wall_s", "commit_latency_ms"}}


# --- killed in the middle ------------------------------------------------------------------------------------


@pytest.mark.parametrize("victim_number", [pytest.param(1, id="seller"), pytest.param(2, id="buyer")])
def test_a_node_killed_in_the_middle_comes_back_and_all_is_traded(tmp_path: Path, victim_number: int) -> None:
    directory = tmp_path / "testnet"
    init_testnet(directory, nodes=5)
    street = Street(directory)
    street.shorten_grace()
    victim = street.node(victim_number)
    others = [node for node in street.nodes if node is not victim]
    arguments = ("testnet", "run", "--dir", directory, "--hours", str(HOURS), "--json")
    with cleaned_up(directory), background(tmp_path, *arguments) as run:
        wait_until(lambda: (status := victim.status()) and status["height"] >= 4, "height 4")
        killed_at = victim.present_status()
        victim.end_by(signal.SIGKILL)
        assert killed_at["meter"]["intervals_published"] < HOURS, "killed too late to prove anything"
        at_kill = [other.present_status() for other in others]
        alone = wait_until(lambda: all_finished(others), "the others finish without the victim")
        for before, after in zip(at_kill, alone, strict=True):
            assert after["height"] > before["height"]
            assert after["totals"]["trades_completed"] > before["totals"]["trades_completed"]
            assert after["totals"]["bought_wh"] < TRADED_WH, "the victim's part is open"
        assert run.is_running, "the run waits for the victim"
        assert victim.process is None
        with daemon(victim) as restarted:
            wait_until(lambda: not (run.is_running and restarted.is_running), "the run is over")
            succeeded(restarted.wait())
        summary = json.loads(succeeded(run.wait()).output)
        assert f"{victim.name} does not answer" in run.errors()
        assert f"{victim.name} is back" in run.errors()
    assert summary["energy_traded_wh"] == TRADED_WH
    assert (summary["energy_surplus_wh"], summary["energy_deficit_wh"]) == (SURPLUS_WH, DEFICIT_WH)
    assert len(set(summary["state_roots"].values())) == 1
    assert summary["conserved"] is True
    p2pnode(tmp_path, "ledger", "verify", "--home", victim.home.directory)
    assert STACK_TRACE not in street.logs()


def all_finished(nodes: list[Node]) -> list[dict[str, Any]] | None:
    statuses = [status for node in nodes if (status := node.status()) is not None]
    finished = len(statuses) == len(nodes) and all(status["meter"]["finished"] for status in statuses)
    return statuses if finished else None


# --- too few members -----------------------------------------------------------------------------------------

SLOTS_WITHOUT_QUORUM = 8
"""More than enough for every member to have led once."""


def test_without_two_of_five_nothing_is_decided_and_with_them_everything_is(stopped: Street) -> None:
    present, away = stopped.nodes[:3], stopped.nodes[3:]
    with ExitStack() as others:
        daemons = {node: others.enter_context(daemon(node)) for node in stopped.nodes}
        wait_until(lambda: all(node.is_ready() for node in stopped.nodes), "five nodes ready")
        before = stopped.at_one_tip()[0]
        for node in away:
            node.end_by(signal.SIGTERM)
        assert [daemons[node].wait().exit_code for node in away] == [0, 0]
        raws = [node.transfer(stopped.node(1), 7, nonce=node.next_nonce()) for node in present]
        for raw in raws:
            assert present[0].submit(raw).document["status"] == "pending"
        nothing_is_decided(present, before, waiting=len(raws))
        for node in away:
            others.enter_context(daemon(node))
        wait_until(lambda: all(is_executed(stopped, raw) for raw in raws), "all executed on all nodes")
        after = stopped.at_one_tip()[0]
        assert after["height"] > before["height"]
        for node in stopped.nodes:
            node.end_by(signal.SIGTERM)
        words = "".join(daemons[node].wait().errors for node in present)
        assert STACK_TRACE not in words
        assert "[error" not in words
        assert "contradicted" not in words


def nothing_is_decided(nodes: tuple[Node, ...], before: dict[str, Any], *, waiting: int) -> None:
    """Looks at some members for several slots."""
    last_slot = nodes[0].present_status()["slot"] + SLOTS_WITHOUT_QUORUM

    def several_slots_passed() -> bool:
        statuses = [node.present_status() for node in nodes]
        for status in statuses:
            assert (status["height"], status["tip"]) == (before["height"], before["tip"])
        return all(status["slot"] > last_slot and status["mempool_transactions"] == waiting for status in statuses)

    wait_until(several_slots_passed, "several slots without a quorum")
    assert not any(node.is_ready() for node in nodes)
    assert {node.request("/healthz").status for node in nodes} == {200}


def is_executed(street: Street, raw: bytes) -> bool:
    path = f"/v1/transactions/{transaction_digest(raw).hex()}"
    try:
        return all(node.request(path).document.get("status") == "executed" for node in street.nodes)
    except OSError:
        return False


# --- other readings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("households", "nodes", "hours"),
    [pytest.param(4, 4, 4, id="four"), pytest.param(12, 12, 3, id="twelve"), pytest.param(5, 7, 4, id="validators")],
)
def test_other_readings_trade_their_own_optimum(tmp_path: Path, households: int, nodes: int, hours: int) -> None:
    readings = write_readings(tmp_path / "street.csv", households=households, hours=hours)
    directory = tmp_path / "testnet"
    with cleaned_up(directory):
        chosen = ("--dir", directory, "--readings", readings.path)
        if nodes != households:
            init_testnet(directory, "--readings", readings.path, nodes=nodes)
            Street(directory).shorten_grace()
        summary = json.loads(p2pnode(tmp_path, "testnet", "run", *chosen, "--json").output)
        street = Street(directory)
    assert (summary["nodes"], summary["hours"]) == (nodes, hours)
    assert 0 < readings.tradable_wh < min(readings.surplus_wh, readings.deficit_wh)
    assert summary["energy_traded_wh"] == summary["energy_tradable_wh"] == readings.tradable_wh
    assert summary["energy_surplus_wh"] == readings.surplus_wh
    assert summary["energy_deficit_wh"] == readings.deficit_wh
    assert len(summary["state_roots"]) == len(street.nodes) == nodes
    assert len(set(summary["state_roots"].values())) == 1
    assert summary["conserved"] is True
    assert STACK_TRACE not in street.logs()


def test_fewer_nodes_than_households_are_refused(tmp_path: Path) -> None:
    readings = write_readings(tmp_path / "street.csv", households=5, hours=1)
    init = ("testnet", "init", "--dir", tmp_path / "testnet", "--readings", readings.path, "--nodes", "4")
    said = refused(tmp_path, *init)
    assert "4 nodes asked for" in said
    assert "5 households and each needs one" in said
    refuse_to_leave_anything(tmp_path)


@pytest.mark.parametrize(
    ("line", "bad", "fault"),
    [
        pytest.param(7, "2024-06-01T01:00:00Z,home-0,-5,0", "consumption_wh is negative", id="negative"),
        pytest.param(7, "2024-06-01T01:30:00Z,home-0,5,0", "not the start of an hour", id="hour"),
        pytest.param(7, "2024-06-01T01:00:00Z,home-0,5", "has 3 fields", id="fields"),
        pytest.param(7, "2024-06-01T00:00:00Z,home-0,5,0", "duplicate hour", id="twice"),
        pytest.param(1, "timestamp,household_id,consumption_wh", "missing column generation_wh", id="column"),
    ],
)
def test_bad_readings_are_refused_before_anything_starts(tmp_path: Path, line: int, bad: str, fault: str) -> None:
    readings = write_readings(tmp_path / "street.csv", households=5, hours=2)
    lines = readings.path.read_text().splitlines()
    lines[line - 1] = bad
    readings.path.write_text("\n".join(lines) + "\n")
    arguments = ("testnet", "run", "--dir", tmp_path / "testnet", "--readings", readings.path)
    said = refused(tmp_path, *arguments)
    assert f"street.csv, line {line}: " in said
    assert fault in said
    refuse_to_leave_anything(tmp_path)


def refuse_to_leave_anything(directory: Path) -> None:
    """Neither a testnet nor a part of one, nor a process."""
    assert [path.name for path in directory.iterdir() if path.suffix not in {".out", ".err"}] == ["street.csv"]
    assert processes_about(directory) == []
