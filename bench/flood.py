"""Commits while one member floods the others: latency before and during, and what the flood costs in memory.

A testnet of four; the fourth member's daemon is stopped and the flooder (`bench.flooder`) takes its key. The other
three are exactly a quorum: each of them is needed for every commit. A wallet goes on with one small transfer after
the other all the while.
"""

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import psutil

from bench.load import WAIT_S, Latency, LoadFailed, latency
from bench.network import Network
from bench.wallets import Wallet, wallets_on
from node.names.names import LABEL_DIGITS
from node.testnet.folder import Testnet

FLOODER: Final = 4
"""Member number, from 1."""

MESSAGES: Final = 60_000
"""For a figure; `python -m tests.endurance flood` sends a million."""

TRANSFERS_BEFORE: Final = 120
PAUSE_S: Final = 0.1
"""Between two transfers: a small, steady load."""

SAMPLE_INTERVAL_S: Final = 0.25
STOP_DEADLINE_S: Final = 30.0
POLL_INTERVAL_S: Final = 0.05
SETTLE_DEADLINE_S: Final = 30.0
SAMPLE: Final = re.compile(r"^(p2pnode_\w+)\{([^}]*)\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class FloodResult:
    """What a flood did to three members."""

    sent: int
    sent_by_class: dict[str, int]
    read: int
    """Frames that the three read of it: its links end by their own frames, after all before them was read."""
    refused: dict[str, int]
    """Messages and links refused meanwhile, by reason, of all three."""
    links: int
    elapsed_s: float
    latency_before: Latency
    latency_during: Latency
    ratio_p50: float
    """Latency during by latency before."""
    ratio_p95: float
    memory_growth_mib: dict[str, float]
    """Resident memory of each: the most it had during the flood, less what it had right before."""
    blocks: int
    """Decided during the flood."""
    view_changes: int
    """Of the member that sent most, during the flood."""


def flood_sentence(flood: FloodResult) -> str:
    """Returns the figures in words."""
    before, during = flood.latency_before, flood.latency_during
    return (
        f"One of four sent {flood.sent:,} far-future, duplicate and malformed messages in {flood.elapsed_s:.0f} s; "
        f"{flood.read:,} were read, over {flood.links} links. Commit latency p50 / p95 before: {before.p50_ms:.0f} / "
        f"{before.p95_ms:.0f} ms, during: {during.p50_ms:.0f} / {during.p95_ms:.0f} ms (x {flood.ratio_p50:.1f} / "
        f"{flood.ratio_p95:.1f}); {flood.blocks:,} blocks, {flood.view_changes} view changes. Memory of the others "
        f"grew by {max(flood.memory_growth_mib.values()):.1f} MiB at most."
    )


async def measure_flood(testnet: Testnet, network: Network, *, messages: int = MESSAGES) -> FloodResult:
    """Floods a testnet of four whose daemons are idle.

    Raises:
        LoadFailed: a transfer did not execute, or the three did not agree afterwards.
    """
    flooder, others = testnet.nodes[FLOODER - 1], [*testnet.nodes[: FLOODER - 1]]
    processes = {node.name: psutil.Process(network.process_id(node)) for node in testnet.nodes}
    wallet = (await wallets_on(network))[0]
    await _stop(processes.pop(flooder.name))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2 * WAIT_S)) as session:
        load = _SteadyLoad(session, [node.api_url for node in others], wallet)
        await load.submit(TRANSFERS_BEFORE // 4)  # opens connections, fills caches
        before_s = await load.submit(TRANSFERS_BEFORE)
        start = await load.counts(flooder.address[:LABEL_DIGITS])
        watch = _Memory(processes)
        sent, during_s = await _flood(testnet, messages, load, watch)
        await load.settled()
        end = await load.counts(flooder.address[:LABEL_DIGITS])
    before, during = latency(before_s), latency(during_s)
    return FloodResult(
        sent=sent["far_future"] + sent["duplicate"] + sent["malformed"],
        sent_by_class={name: sent[name] for name in ("far_future", "duplicate", "malformed")},
        read=end.frames - start.frames,
        refused=dict(sorted((end.refused - start.refused).items())),
        links=sent["links"],
        elapsed_s=sent["elapsed_s"],
        latency_before=before,
        latency_during=during,
        ratio_p50=round(during.p50_ms / before.p50_ms, 2),
        ratio_p95=round(during.p95_ms / before.p95_ms, 2),
        memory_growth_mib=watch.growth_mib(),
        blocks=end.height - start.height,
        view_changes=end.view_changes - start.view_changes,
    )


async def _stop(daemon: psutil.Process) -> None:
    daemon.send_signal(signal.SIGTERM)
    async with asyncio.timeout(STOP_DEADLINE_S):
        while daemon.is_running() and daemon.status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110  (another process)
            await asyncio.sleep(POLL_INTERVAL_S)


async def _flood(
    testnet: Testnet, messages: int, load: "_SteadyLoad", watch: "_Memory"
) -> tuple[dict[str, Any], list[float]]:
    arguments = ("-m", "bench.flooder", str(testnet.directory), str(FLOODER), str(messages))
    flooder = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, env=dict(os.environ)
    )
    watching = asyncio.create_task(watch.run())
    latencies_s: list[float] = []
    output = asyncio.create_task(flooder.communicate())
    try:
        while not output.done():
            latencies_s += await load.submit(1)
    finally:
        watching.cancel()
        if flooder.returncode is None:
            flooder.kill()
    if flooder.returncode != 0:
        raise LoadFailed("the flooder failed")
    sent: dict[str, Any] = json.loads((await output)[0])
    return sent, latencies_s


class _Memory:
    """Watches the resident memory of processes."""

    def __init__(self, processes: Mapping[str, psutil.Process]) -> None:
        self._processes = processes
        self._start = self._now()
        self._most = dict(self._start)

    def _now(self) -> dict[str, int]:
        return {name: process.memory_info().rss for name, process in self._processes.items()}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_INTERVAL_S)
            for name, size_bytes in self._now().items():
                self._most[name] = max(self._most[name], size_bytes)

    def growth_mib(self) -> dict[str, float]:
        return {name: round((self._most[name] - start) / 2**20, 1) for name, start in self._start.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    """What the three have counted so far."""

    frames: int
    refused: Counter[str]
    height: int
    view_changes: int


class _SteadyLoad:
    """Submits one transfer after the other, to each node in turn, and insists on execution."""

    def __init__(self, session: aiohttp.ClientSession, urls: list[str], wallet: Wallet) -> None:
        self._session = session
        self._urls = urls
        self._wallet = wallet
        self._submitted = 0

    async def submit(self, count: int) -> list[float]:
        """Returns for each transfer the seconds until its commit was told."""
        return [await self._submit_one() for _ in range(count)]

    async def _submit_one(self) -> float:
        await asyncio.sleep(PAUSE_S)
        url = self._urls[self._submitted % len(self._urls)]
        self._submitted += 1
        body = {"transaction": self._wallet.transfer().hex()}
        start_s = time.monotonic()
        async with self._session.post(f"{url}/v1/transactions", params={"wait": str(WAIT_S)}, json=body) as response:
            reply = await response.json(content_type=None)
        if reply.get("status") != "executed":
            raise LoadFailed(f"a transfer was not executed within {WAIT_S} s: {reply}")
        return time.monotonic() - start_s

    async def counts(self, flooder: str) -> _Counts:
        """Reads the nodes' metrics and status."""
        frames, refused = 0, Counter[str]()
        for url in self._urls:
            async with self._session.get(f"{url}/metrics") as response:
                text = await response.text()
            for name, labels, value in SAMPLE.findall(text):
                if name == "p2pnode_mesh_frames_total" and f'peer="{flooder}"' in labels and "received" in labels:
                    frames += int(float(value))
                elif name == "p2pnode_messages_refused_total":
                    refused[labels.split('"')[1]] += int(float(value))
        statuses = await self._statuses()
        return _Counts(
            frames=frames,
            refused=refused,
            height=int(statuses[0]["height"]),
            view_changes=max(int(status["view_changes"]) for status in statuses),
        )

    async def settled(self) -> None:
        """Waits until all stand at one tip and root.

        Raises:
            LoadFailed: they do not.
        """
        end_s = time.monotonic() + SETTLE_DEADLINE_S
        while len({(status["tip"], status["state_root"]) for status in await self._statuses()}) > 1:
            if time.monotonic() > end_s:
                raise LoadFailed("the members do not stand at one tip after the flood")
            await asyncio.sleep(POLL_INTERVAL_S)

    async def _statuses(self) -> list[dict[str, Any]]:
        statuses = []
        for url in self._urls:
            async with self._session.get(f"{url}/v1/status") as response:
                statuses.append(await response.json())
        return statuses
