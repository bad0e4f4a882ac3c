"""The program as a process: Ctrl-C while it is loaded; standard streams that are full, closed, or read by nobody."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from node.testnet.folder import Testnet
from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.ports import free_ports

MODULE = (sys.executable, "-m", "node")
INSTALLED = (str(Path(sys.executable).with_name("p2pnode")),)
DEADLINE_S = 60

INTERRUPT = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "{module}":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
"""
"""Presses Ctrl-C when a module is about to be imported."""

NO_SPACE = "p2pnode: standard output cannot be written: No space left on device\n"


@pytest.fixture(scope="module")
def testnet(tmp_path_factory: pytest.TempPathFactory) -> Testnet:
    directory = tmp_path_factory.mktemp("program") / "testnet"
    return initialise_testnet(directory, TestnetPlan(base_port=free_ports(10)))[0]


def run(
    *command: str,
    stdout: int | None = subprocess.PIPE,
    before: str = "",
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a command; `before` is what its shell does first, such as closing a descriptor."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec {before} "$@"', "sh", *command] if before else command,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=DEADLINE_S,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})},
    )


@pytest.mark.parametrize("program", [MODULE, INSTALLED], ids=["module", "installed"])
@pytest.mark.parametrize("module", ["node.cli.main", "typer", "node.cli.terminal", "node.cli.ledger", "pydantic"])
def test_an_interrupt_while_the_program_is_loaded_ends_it_quietly(
    tmp_path: Path, program: tuple[str, ...], module: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(INTERRUPT.format(module=module))
    search = os.pathsep.join([str(tmp_path), *sys.path])
    ended = run(*program, "ledger", environment={"PYTHONPATH": search})
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


def test_the_program_runs_as_a_module_too() -> None:
    failed = run(*MODULE, "testnet", "status", "--dir", "nowhere")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("p2pnode: there is no testnet in nowhere")


def test_an_interrupt_while_a_command_loads_what_it_needs_ends_it_quietly(tmp_path: Path, testnet: Testnet) -> None:
    (tmp_path / "sitecustomize.py").write_text(INTERRUPT.format(module="node.daemon"))
    search = os.pathsep.join([str(tmp_path), *sys.path])
    start = ("start", "--config", str(testnet.home(testnet.nodes[0]).configuration))
    ended = run(*MODULE, *start, environment={"PYTHONPATH": search})
    assert (ended.returncode, ended.stdout) == (130, "")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [("config",), ("version",), ("--help",), ("testnet", "status"), ("testnet", "stop"), ("testnet", "init")],
    ids=" ".join,
)
def test_results_that_find_no_room_are_told(testnet: Testnet, arguments: tuple[str, ...]) -> None:
    directory = ("--dir", str(testnet.directory)) if arguments[0] == "testnet" else ()
    with Path("/dev/full").open("wb") as full:
        ended = run(*MODULE, *arguments, *directory, stdout=full.fileno())
    assert (ended.returncode, ended.stderr) == (1, NO_SPACE)


@pytest.mark.parametrize("arguments", [("config",), ("--help",), ("testnet", "status")], ids=" ".join)
def test_results_that_nobody_reads_end_the_program_quietly(testnet: Testnet, arguments: tuple[str, ...]) -> None:
    directory = ("--dir", str(testnet.directory)) if arguments[0] == "testnet" else ()
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        ended = run(*MODULE, *arguments, *directory, stdout=write_end)
    finally:
        os.close(write_end)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, "")


def test_closed_standard_streams_show_no_stack_trace(testnet: Testnet) -> None:
    status = (*MODULE, "testnet", "status", "--dir", str(testnet.directory))
    closed = run(*status, before=">&-")
    assert (closed.returncode, closed.stderr) == (
        1,
        "p2pnode: standard output cannot be written: Bad file descriptor\n",
    )
    for before in ("2>&-", "2>/dev/full", "<&-", "<&- 2>&-"):
        ended = run(*status, before=before)
        assert (ended.returncode, ended.stderr) == (0, ""), before
        assert ended.stdout.count("stopped") == 5
    failed = run(*MODULE, "testnet", "status", "--dir", "nowhere", before="2>/dev/full")
    assert (failed.returncode, failed.stdout) == (1, "")


def test_a_terminal_without_the_letters_shows_no_stack_trace(testnet: Testnet) -> None:
    status = (*MODULE, "testnet", "status", "--dir", str(testnet.directory))
    ended = run(*status, environment={"PYTHONIOENCODING": "ascii"})
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.count("stopped") == 5
