"""One daemon of a stopped testnet: damage found before it starts, the mark of a halt, a graceful stop."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from node.home.folder import Home
from tests.support.testnet import Street, daemon, p2pnode, refused, succeeded, wait_until


def largest_table(home: Home) -> Path:
    return max((home.ledger / "database").iterdir(), key=lambda path: path.stat().st_size)


def manifest(home: Home) -> Path:
    return next((home.ledger / "database").glob("MANIFEST-*"))


ALONE = {"P2PNODE_P2P__PEERS": "[]"}
"""Without other members there is nobody to fetch a whole ledger from."""


@pytest.mark.parametrize("choose", [largest_table, manifest])
def test_a_changed_byte_in_the_database_is_found_and_stops_the_start(
    stopped: Street, choose: Callable[[Home], Path]
) -> None:
    home = stopped.node(3).home
    path = choose(home)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :])
    verify = ("ledger", "verify", "--home", home.directory)
    said = refused(stopped.directory, *verify)
    assert f"{home.ledger} is damaged" in said
    said = refused(stopped.directory, "start", "--config", home.configuration, environment=ALONE)
    assert f"{home.ledger}: the ledger is damaged: " in said
    assert f"{path.name} was altered since the last clean stop" in said
    assert not home.halted.exists(), "the operator is told; nothing broke inside"
    path.write_bytes(content)
    p2pnode(stopped.directory, *verify)


def test_a_halted_node_starts_again_only_after_its_ledger_is_verified(stopped: Street) -> None:
    node = stopped.node(2)
    home = node.home
    home.halted.write_text("AssertionError: tokens are not conserved\n")
    said = refused(stopped.directory, "start", "--config", home.configuration)
    assert "halted on a broken invariant: AssertionError: tokens are not conserved" in said
    assert f"p2pnode ledger verify --home {home.directory}" in said
    table = largest_table(home)
    content = table.read_bytes()
    table.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused(stopped.directory, "ledger", "verify", "--home", home.directory)
    assert home.halted.exists(), "damaged data does not clear the mark"
    table.write_bytes(content)
    p2pnode(stopped.directory, "ledger", "verify", "--home", home.directory)
    assert not home.halted.exists()
    with daemon(node) as started:
        wait_until(node.status, "the node answers")
        node.end_by(signal.SIGTERM)
        assert started.wait().exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_node_runs_once_and_stops_gracefully_with_a_seal(stopped: Street, number: signal.Signals) -> None:
    node = stopped.node(4)
    seal = node.home.ledger / "seal"
    with daemon(node) as started:
        height = wait_until(node.status, "the node answers")["height"]
        assert not seal.exists(), "only a clean stop seals"
        second = refused(stopped.directory, "start", "--config", node.home.configuration)
        assert f"a daemon is running on {node.home.directory} already (process {node.process})" in second
        assert node.present_status()["height"] == height, "the first one goes on"
        node.end_by(number)
        ended = succeeded(started.wait())
        assert ended.output == ""
    assert seal.exists()
    assert node.process is None
    assert "height" in p2pnode(stopped.directory, "ledger", "show", "--home", node.home.directory).output
