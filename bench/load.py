"""Throughput and latency of a running testnet: wallets that submit transfers over the REST API.

*One in flight*: one wallet submits a transfer, waits for its commit, submits the next.
*Under load*: three wallets each submit a batch, wait until all of it is committed, and submit the next to another
node (each node has a quota per sender); one more wallet goes on with one at a time, and its latencies are those
"under load".
"""

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from bench.machine import cores, ed25519_cost
from bench.network import Network, ProcessorTime
from bench.wallets import Wallet

SINGLE_TRANSFERS: Final = 150
LOAD_S: Final = 12.0
BATCH_TRANSFERS: Final = 512
"""Transfers per request: half of what a block holds, and of what a mempool holds of one sender."""

LOADERS: Final = 3
"""Wallets that submit batches: a block's worth and a half in flight, and one wallet left of the smallest testnet."""

BATCHES_MAX: Final = 32
"""Per wallet, signed beforehand: signing must not take the processor while the daemons are measured."""

WAIT_S: Final = 30
EXECUTED: Final = "executed"


class LoadFailed(Exception):  # noqa: N818  (the sentence is what counts)
    """A transfer was refused, declined or not committed in time: the figures would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """From sending a request until its reply says that the transfer is committed, as the wallet sees it."""

    p50_ms: float
    p95_ms: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Who used the processor while the load ran, in shares of all cores."""

    daemons: float
    wallets: float
    others: float
    """Whatever else ran on the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """One testnet's figures."""

    nodes: int
    cores: int
    verify_us: float
    """One Ed25519 verification, measured right before and after."""
    verifications_per_transaction: float
    """Processor time that all daemons spend on one committed transaction, in Ed25519 verifications."""
    share_of_bound: float
    """Throughput by that of a machine that did nothing but verify each signature once per node."""
    latency_single: Latency
    latency_load: Latency
    transactions_per_s: float
    transactions: int
    transactions_per_block: float
    view_changes: int
    """During the load, of the node that sent most."""
    cpu_us_per_transaction: float
    """Of all daemons together."""
    shares: Shares


async def measure(network: Network, wallets: Sequence[Wallet]) -> LoadResult:
    """Measures a testnet whose daemons are idle.

    Raises:
        LoadFailed: a transfer did not execute.
    """
    before = ed25519_cost()
    timeout = aiohttp.ClientTimeout(total=2 * WAIT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        client = _Client(session, network.urls)
        single = [await client.submit_one(wallets[-1].transfer()) for _ in range(SINGLE_TRANSFERS)]
        run = await _run_load(network, client, wallets)
    verify_us = (before.verify_us + ed25519_cost().verify_us) / 2
    return _result(network, run, verify_us=verify_us, single_s=single)


async def one_at_a_time(network: Network, wallet: Wallet, transfers: int) -> list[float]:
    """Submits one transfer after the other to the first node; returns the seconds until each was committed.

    Raises:
        LoadFailed: one did not execute.
    """
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2 * WAIT_S)) as session:
        client = _Client(session, network.urls)
        return [await client.submit_one(wallet.transfer()) for _ in range(transfers)]


class _Client:
    """Submits to the nodes' REST API and insists on execution."""

    def __init__(self, session: aiohttp.ClientSession, urls: Sequence[str]) -> None:
        self._session = session
        self._urls = urls

    async def submit_one(self, raw: bytes) -> float:
        """Submits one transfer to the first node; returns the seconds until it was committed."""
        start_s = time.monotonic()
        reply = await self._post(0, {"transaction": raw.hex()})
        elapsed_s = time.monotonic() - start_s
        _require_executed([reply.get("status") or reply.get("reason")])
        return elapsed_s

    async def submit_batch(self, node: int, texts: list[str]) -> None:
        """Submits transfers (in hex) to a node and waits until all are committed."""
        reply = await self._post(node, {"transactions": texts})
        if "results" not in reply:
            raise LoadFailed(f"a batch was refused: {reply.get('detail')}")
        _require_executed([_status(result) for result in reply["results"]])

    async def progress(self) -> tuple[int, int]:
        """Returns the first node's height, and the view changes of the node that has seen most."""
        statuses = [await self._status(url) for url in self._urls]
        return statuses[0]["height"], max(status["view_changes"] for status in statuses)

    async def _status(self, url: str) -> dict[str, Any]:
        async with self._session.get(f"{url}/v1/status") as response:
            status: dict[str, Any] = await response.json()
            return status

    async def _post(self, node: int, body: dict[str, Any]) -> dict[str, Any]:
        url = f"{self._urls[node % len(self._urls)]}/v1/transactions"
        async with self._session.post(url, params={"wait": str(WAIT_S)}, json=body) as response:
            reply: dict[str, Any] = await response.json(content_type=None)
            return reply


def _status(result: dict[str, Any]) -> str:
    submission, problem = result.get("submission"), result.get("problem")
    return str(submission["status"] if submission else problem["reason"] if problem else "nothing")


def _require_executed(statuses: Sequence[str | None]) -> None:
    others = Counter(str(status) for status in statuses if status != EXECUTED)
    if others:
        what = ", ".join(f"{count} {status}" for status, count in others.items())
        raise LoadFailed(f"of {len(statuses)} transfers not executed: {what}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    transactions: int
    blocks: int
    view_changes: int
    latencies_s: list[float]
    start: ProcessorTime
    end: ProcessorTime


async def _run_load(network: Network, client: _Client, wallets: Sequence[Wallet]) -> _Run:
    loaders = [
        [[wallet.transfer().hex() for _ in range(BATCH_TRANSFERS)] for _ in range(BATCHES_MAX)]
        for wallet in wallets[:LOADERS]
    ]
    # The first batch of each wallet opens connections and fills caches; it is not measured.
    await asyncio.gather(*(client.submit_batch(node, batches.pop(0)) for node, batches in enumerate(loaders)))
    height, view_changes = await client.progress()
    start = network.processor_time()
    end_s = start.wall_s + LOAD_S
    loads = asyncio.gather(*(_load(client, node, batches, end_s) for node, batches in enumerate(loaders)))
    try:
        latencies_s = [await client.submit_one(wallets[-1].transfer())]
        while not loads.done():
            latencies_s.append(await client.submit_one(wallets[-1].transfer()))
        submitted = await loads
    finally:
        loads.cancel()
    end = network.processor_time()
    last_height, last_view_changes = await client.progress()
    return _Run(
        transactions=sum(submitted) + len(latencies_s),
        blocks=last_height - height,
        view_changes=last_view_changes - view_changes,
        latencies_s=latencies_s,
        start=start,
        end=end,
    )


async def _load(client: _Client, number: int, batches: list[list[str]], end_s: float) -> int:
    """Submits batch after batch, each to the next node; returns how many transfers."""
    submitted = 0
    while batches and time.monotonic() < end_s:
        number += 1
        batch = batches.pop(0)
        await client.submit_batch(number, batch)
        submitted += len(batch)
    return submitted


def _result(network: Network, run: _Run, *, verify_us: float, single_s: Sequence[float]) -> LoadResult:
    nodes, processors = len(network.urls), cores()
    wall_s = run.end.wall_s - run.start.wall_s
    daemons_s = run.end.daemons_s - run.start.daemons_s
    client_s = run.end.client_s - run.start.client_s
    machine_s = run.end.machine_s - run.start.machine_s
    rate = run.transactions / wall_s
    cpu_us = daemons_s * 1e6 / run.transactions
    return LoadResult(
        nodes=nodes,
        cores=processors,
        verify_us=round(verify_us, 1),
        verifications_per_transaction=round(cpu_us / verify_us, 2),
        share_of_bound=round(rate * nodes * verify_us / (processors * 1e6), 3),
        latency_single=latency(single_s),
        latency_load=latency(run.latencies_s),
        transactions_per_s=round(rate, 1),
        transactions=run.transactions,
        transactions_per_block=round(run.transactions / max(1, run.blocks), 1),
        view_changes=run.view_changes,
        cpu_us_per_transaction=round(cpu_us, 1),
        shares=Shares(
            daemons=round(daemons_s / wall_s / processors, 3),
            wallets=round(client_s / wall_s / processors, 3),
            others=round(max(0.0, machine_s - daemons_s - client_s) / wall_s / processors, 3),
        ),
    )


def latency(seconds: Sequence[float]) -> Latency:
    """Returns the percentiles of some latencies."""
    percentiles = statistics.quantiles(seconds, n=20, method="inclusive") if len(seconds) > 1 else [*seconds] * 19
    return Latency(
        p50_ms=round(percentiles[9] * 1_000, 2), p95_ms=round(percentiles[18] * 1_000, 2), count=len(seconds)
    )
