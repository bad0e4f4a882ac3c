"""Whole testnets, some of whose daemons have a behaviour replaced, run until all their readings are traded."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

from ledger.ledger import Ledger
from node.configuration import load_configuration
from node.genesis_file import load_genesis
from node.home import Home
from node.testnet_init import TestnetPlan, initialise_testnet

ROOT: Final = Path(__file__).parents[2]
POLL_PAUSE_S: Final = 0.2
DEADLINE_S: Final = 120.0


class RunningTestnet:
    """The households of a readings file, of the shipped one by default, as processes."""

    def __init__(
        self, directory: Path, *, hours: int, behaviours: Mapping[int, str], readings: Path | None = None
    ) -> None:
        self._directory = directory
        self._behaviours = behaviours
        self._environment = {**os.environ, "P2PNODE_METER__HOURS": str(hours), "PYTHONPATH": str(ROOT)}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        testnet, _ = initialise_testnet(directory, TestnetPlan(readings=readings))
        self.configurations = {
            number: load_configuration(testnet.home(node).configuration)
            for number, node in enumerate(testnet.nodes, start=1)
        }

    def start(self, number: int) -> None:
        home = self.home(number)
        behaviour = self._behaviours.get(number)
        module = ["node", "start"] if behaviour is None else ["tests.faults.daemon", "--behaviour", behaviour]
        with home.log.open("ab") as log:
            self._processes[number] = subprocess.Popen(
                [sys.executable, "-m", *module, "--config", str(home.configuration)],
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env=self._environment,
            )

    def kill(self, number: int) -> None:
        process = self._processes.pop(number)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(timeout=30)
        self._processes.clear()

    def home(self, number: int) -> Home:
        return Home(self._directory / f"node{number}")

    def status(self, number: int) -> dict[str, Any] | None:
        """Returns a node's status, None if it does not answer."""
        api = self.configurations[number].api
        try:
            with urlopen(f"http://{api.host}:{api.port}/v1/status", timeout=5) as answer:
                status: dict[str, Any] = json.load(answer)
        except (URLError, OSError):
            return None
        return status

    def wait_until_finished(self, deadline_s: float = DEADLINE_S) -> list[dict[str, Any]]:
        """Returns all status once every household is finished and all stand at one height."""
        end_s = time.monotonic() + deadline_s
        while time.monotonic() < end_s:
            found = [self.status(number) for number in self.configurations]
            answers = [status for status in found if status is not None]
            finished = len(answers) == len(found) and all(status["meter"]["finished"] for status in answers)
            if finished and len({status["tip"] for status in answers}) == 1:
                return answers
            time.sleep(POLL_PAUSE_S)
        words = {number: self.home(number).log.read_text()[-1_000:] for number in self.configurations}
        raise AssertionError(f"not finished in {deadline_s} s: {found}, {words}")

    @contextmanager
    def ledger(self, number: int) -> Iterator[Ledger]:
        """Opens the ledger of a stopped node."""
        home = self.home(number)
        ledger = Ledger.open(home.ledger, load_genesis(home))
        try:
            yield ledger
        finally:
            ledger.close()


@contextmanager
def running(
    directory: Path, *, hours: int, behaviours: Mapping[int, str], readings: Path | None = None
) -> Iterator[RunningTestnet]:
    """Starts all daemons, and stops those that still run."""
    testnet = RunningTestnet(directory, hours=hours, behaviours=behaviours, readings=readings)
    try:
        for number in testnet.configurations:
            testnet.start(number)
        yield testnet
    finally:
        testnet.stop()
