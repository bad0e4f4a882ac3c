"""A testnet of real daemons for the time of a measurement, and what it takes of the processor."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from contracts.units import Milliseconds
from node.client import open_client
from node.errors import TestnetError
from node.meter.readings_file import format_hour
from node.testnet.folder import Testnet, TestnetNode
from node.testnet.init import TestnetPlan, initialise_testnet
from node.testnet.processes import TestnetProcesses
from node.testnet.run import take_snapshot

READY_DEADLINE_S: Final = 60.0
POLL_INTERVAL_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorTime:
    """Processor seconds used up to one moment."""

    wall_s: float
    daemons_s: float
    """By all daemons together."""
    client_s: float
    """By this process, which plays the wallets."""
    machine_s: float
    """By everything that runs on the machine."""


class Network:
    """A running testnet."""

    def __init__(self, testnet: Testnet, processes: TestnetProcesses) -> None:
        self.testnet: Final = testnet
        self._processes = processes
        self._daemons = [psutil.Process(process) for node in testnet.nodes if (process := processes.process_of(node))]
        assert len(self._daemons) == len(testnet.nodes), "all daemons are ready, so all run"

    @property
    def urls(self) -> list[str]:
        """The nodes' APIs."""
        return [node.api_url for node in self.testnet.nodes]

    def process_id(self, node: TestnetNode) -> int:
        """Returns the process of a node's daemon, which runs."""
        process = self._processes.process_of(node)
        assert process is not None, f"{node.name} does not run"
        return process

    def processor_time(self) -> ProcessorTime:
        """Returns what has been used so far; a measurement is the difference of two."""
        daemons = [daemon.cpu_times() for daemon in self._daemons]
        machine = psutil.cpu_times()
        return ProcessorTime(
            wall_s=time.monotonic(),
            daemons_s=sum(times.user + times.system for times in daemons),
            client_s=time.process_time(),
            machine_s=sum(machine) - machine.idle - machine.iowait - machine.guest - machine.guest_nice,
        )


def make_testnet(directory: Path, nodes: int, cluster_size: int | None = None) -> Testnet:
    """Makes a testnet of `nodes` households that consume and generate nothing: its meters have nothing to trade.
    Votes are collected by `cluster_size` of them, by default by all.
    """
    readings = directory / f"nothing-{nodes}.csv"
    rows = [f"{format_hour(Milliseconds(0))},home{number},0,0" for number in range(1, nodes + 1)]
    readings.write_text(
        "\n".join(["timestamp,household_id,consumption_wh,generation_wh", *rows, ""]), encoding="utf-8"
    )
    place = directory / f"nodes-{nodes}-{cluster_size or 'all'}"
    testnet, _ = initialise_testnet(place, TestnetPlan(readings=readings, cluster_size=cluster_size))
    return testnet


@asynccontextmanager
async def running(testnet: Testnet) -> AsyncIterator[Network]:
    """Runs a testnet's daemons while the block runs; gives it when all are ready and their meters are done.

    Raises:
        TestnetError: they do not get ready.
    """
    processes = TestnetProcesses(testnet)
    try:
        processes.start(testnet.nodes)
        await _wait_until_idle(testnet, processes)
        yield Network(testnet, processes)
    finally:
        await processes.stop()


async def _wait_until_idle(testnet: Testnet, processes: TestnetProcesses) -> None:
    end_s = time.monotonic() + READY_DEADLINE_S
    async with open_client() as client:
        while True:
            snapshot = await take_snapshot(testnet, client)
            if snapshot.finished:
                return
            dead = [node for node in testnet.nodes if processes.exit_code(node) is not None]
            if dead or time.monotonic() > end_s:
                words = "\n".join(processes.last_words(node) for node in dead or testnet.nodes)
                raise TestnetError(f"the testnet does not get ready: {snapshot.missing()}\n{words}")
            await asyncio.sleep(POLL_INTERVAL_S)
