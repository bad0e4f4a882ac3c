"""However `testnet run` ends, no daemon that it started outlives it, unless it was told to leave them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.testnet import (
    STACK_TRACE,
    Street,
    background,
    cleaned_up,
    init_testnet,
    p2pnode,
    processes_about,
    refused,
    succeeded,
    wait_until,
    write_readings,
)

HOURS = 12


@pytest.fixture
def street(tmp_path: Path) -> Street:
    readings = write_readings(tmp_path / "street.csv", households=4, hours=HOURS)
    init_testnet(tmp_path / "testnet", "--readings", readings.path, nodes=4)
    return Street(tmp_path / "testnet")


@pytest.mark.parametrize(
    ("numbers", "exit_code"),
    [
        pytest.param([signal.SIGTERM], 1, id="kill"),
        pytest.param([signal.SIGINT], 130, id="Ctrl-C"),
        pytest.param([signal.SIGINT] * 3, 130, id="impatient"),
        pytest.param([signal.SIGHUP], 1, id="terminal-closed"),
        pytest.param([signal.SIGQUIT], 1, id="Ctrl-backslash"),
        pytest.param([signal.SIGKILL], -signal.SIGKILL, id="kill-9"),
    ],
)
def test_a_run_that_is_ended_leaves_no_daemon(street: Street, numbers: list[signal.Signals], exit_code: int) -> None:
    with (
        cleaned_up(street.directory),
        background(street.directory, "testnet", "run", "--dir", street.directory) as run,
    ):
        wait_until(lambda: all(node.status() for node in street.nodes), "all nodes answer")
        for number in numbers:
            run.send(number)
        ended = run.wait()
        wait_until(lambda: not processes_about(street.directory), "all daemons ended")
    assert ended.exit_code == exit_code
    assert STACK_TRACE not in ended.errors + street.logs()
    assert not any(node.home.halted.exists() for node in street.nodes)
    for node in street.nodes:
        assert "] stopped " in node.log().splitlines()[-1], f"{node.name} ended in order"
    if exit_code == 1:
        assert f"ended by {numbers[0].name}; all nodes were stopped" in ended.errors


def test_nodes_that_are_kept_outlive_the_run(street: Street) -> None:
    with cleaned_up(street.directory):
        p2pnode(street.directory, "testnet", "run", "--dir", street.directory, "--keep", "--hours", "2")
        for node in street.nodes:
            assert node.present_status()["meter"]["finished"]
        stopped = p2pnode(street.directory, "testnet", "stop", "--dir", street.directory)
        assert stopped.output == "stopped: node1, node2, node3, node4\n"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_a_single_node_ends_in_order(street: Street, number: signal.Signals) -> None:
    node = street.node(1)
    start = ("start", "--config", node.home.configuration)
    with cleaned_up(street.directory), background(street.directory, *start) as run:
        wait_until(node.status, "the node answers")
        run.send(number)
        ended = succeeded(run.wait())
    assert f"by={number.name}" in ended.errors
    assert (node.home.ledger / "seal").exists()


def test_a_node_that_was_told_to_outlive_its_terminal_does(street: Street) -> None:
    node, log = street.node(1), street.directory / "nohup"
    start = [sys.executable, "-m", "node", "start", "--config", str(node.home.configuration)]
    with cleaned_up(street.directory), log.open("wb") as errors:
        process = subprocess.Popen(
            ["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh", *start],
            stderr=errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        wait_until(node.status, "the node answers")
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert "by=SIGTERM" in log.read_text()
    assert "by=SIGHUP" not in log.read_text()


def test_only_a_pipe_can_tell_that_whoever_started_a_node_is_gone(street: Street) -> None:
    said = refused(street.directory, "start", "--config", street.node(1).home.configuration, "--until-input-ends")
    assert "standard input is no pipe" in said
    assert not street.node(1).home.halted.exists()
