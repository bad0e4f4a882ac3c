"""The daemons of a testnet as processes: starts them, says which run, shows their last words, stops them.

Each daemon's standard input is a pipe whose other end this process holds: however it ends, killed too, the system
closes that end, and the daemons stop by themselves. `release` lets them run on.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from node.errors import TestnetError
from node.home.configuration import ENVIRONMENT_DELIMITER, ENVIRONMENT_PREFIX
from node.home.process import running_process
from node.testnet.folder import Testnet, TestnetNode

STOP_DEADLINE_S: Final = 30.0
"""How long a daemon may take to stop by itself before it is killed."""

POLL_INTERVAL_S: Final = 0.1
LOG_TAIL_SIZE_BYTES: Final = 4_096
LOG_TAIL_LINES: Final = 12


class TestnetProcesses:
    """The daemons of one testnet, whoever started them."""

    __test__ = False  # not a test class

    def __init__(self, testnet: Testnet) -> None:
        self._testnet = testnet
        self._started: dict[str, subprocess.Popen[bytes]] = {}
        self._log_starts: dict[str, int] = {}

    def refuse_running(self) -> None:
        """Raises TestnetError if a daemon of this testnet is running already."""
        running = [node.name for node in self._testnet.nodes if self.process_of(node) is not None]
        if running:
            remedy = f"`p2pnode testnet stop --dir {self._testnet.directory}` first"
            raise TestnetError(f"{', '.join(running)} of this testnet are running already: {remedy}")

    def start(self, nodes: Iterable[TestnetNode]) -> None:
        """Starts the daemons of these nodes, the output of each going to the end of its log file."""
        for node in nodes:
            home = self._testnet.home(node)
            with home.log.open("ab") as log:
                self._log_starts[node.name] = log.tell()
                command = ("start", "--config", str(home.configuration), "--until-input-ends")
                self._started[node.name] = subprocess.Popen(  # noqa: S603  (this very program, our own paths)
                    [sys.executable, "-m", "node", *command],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    cwd=home.directory,
                    env=_environment(),
                    start_new_session=True,  # the terminal's signals come to us alone; we stop them
                )

    def process_of(self, node: TestnetNode) -> int | None:
        """Returns the process id of a node's daemon, None if none runs."""
        return running_process(self._testnet.home(node))

    def exit_code(self, node: TestnetNode) -> int | None:
        """Returns how the daemon that this object started ended, None while it runs."""
        started = self._started.get(node.name)
        return None if started is None else started.poll()

    def last_words(self, node: TestnetNode) -> str:
        """Returns the last lines that a daemon wrote since it was started here."""
        path = self._testnet.home(node).log
        try:
            with path.open("rb") as log:
                end = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_starts.get(node.name, 0), end - LOG_TAIL_SIZE_BYTES))
                lines = log.read().decode("utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        return "\n".join(f"  {node.name}: {line}" for line in lines[-LOG_TAIL_LINES:])

    def release(self) -> None:
        """Lets the started daemons run on when this process ends."""
        for started in self._started.values():
            assert started.stdin is not None, "it is a pipe"
            with suppress(BrokenPipeError):  # that one has ended
                started.stdin.write(b"\n")
                started.stdin.flush()

    async def stop(self) -> tuple[str, ...]:
        """Stops every daemon: SIGTERM, and SIGKILL to those that do not end in time.

        Returns:
            Names of the nodes that had to be killed.
        """
        stubborn: dict[str, int] = {}
        self._signal(signal.SIGTERM, self._alive())
        if not await _wait_until(lambda: not self._alive(), STOP_DEADLINE_S):
            stubborn = self._alive()
            self._signal(signal.SIGKILL, stubborn)
            await _wait_until(lambda: not self._alive(), STOP_DEADLINE_S)
        for started in self._started.values():
            assert started.stdin is not None, "it is a pipe"
            started.stdin.close()
        return tuple(stubborn)

    def _alive(self) -> dict[str, int]:
        """Returns the process id of every daemon that runs or is just starting."""
        alive = {name: started.pid for name, started in self._started.items() if started.poll() is None}
        for node in self._testnet.nodes:
            process = self.process_of(node)
            if process is not None:
                alive[node.name] = process
        return alive

    @staticmethod
    def _signal(number: signal.Signals, processes: dict[str, int]) -> None:
        for process in processes.values():
            try:
                os.kill(process, number)
            except ProcessLookupError:
                continue


def _environment() -> dict[str, str]:
    """Returns this process's environment without what `testnet run` decides in each meter.toml."""
    hours = f"{ENVIRONMENT_PREFIX}METER{ENVIRONMENT_DELIMITER}HOURS"
    return {name: value for name, value in os.environ.items() if name.upper() != hours}


async def _wait_until(holds: Callable[[], bool], deadline_s: float) -> bool:
    end_s = time.monotonic() + deadline_s
    while not holds():
        if time.monotonic() >= end_s:
            return False
        await asyncio.sleep(POLL_INTERVAL_S)
    return True
