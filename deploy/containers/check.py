"""Checks a running testnet of containers from outside: did all trade, do all agree, does Prometheus see it?

Every check has its line in the table at the end. One that fails names the node, the target or the panel; the others
are made all the same, so that one run shows everything that is wrong. Exit code 0 only if all hold.
"""

import argparse
import asyncio
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.console import Console
from rich.table import Table

from node.client import NodeClient, open_client
from node.meter.readings_file import EnergySummary, summarise
from node.replies.node import StatusReply
from node.testnet.folder import Testnet
from node.testnet.progress import Snapshot, StallWatch

POLL_INTERVAL_S: Final = 0.5

STALL_MAX_S: Final = 45.0
"""No node makes any progress for so long: the run has failed. Starting five containers takes under ten seconds."""

PROMETHEUS_DEADLINE_S: Final = 40.0
"""Until every target and every panel has data: a rate needs two scrapes, and one comes every 5 s."""

PROMETHEUS_JOB: Final = "p2pnode"
GRAFANA_VARIABLES: Final = {"$instance": ".*", "$__rate_interval": "1m", "$__interval": "15s"}
"""What Grafana would put in their place with everything selected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that must hold."""

    what: str
    problems: tuple[str, ...]
    """Empty if it holds."""
    shown: str
    """What was seen, for the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One query of the dashboard."""

    title: str
    query: str


class Prometheus:
    """The HTTP API of a Prometheus server."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def target_health(self) -> dict[str, str]:
        """Returns the health of every target of our job by host name; empty while Prometheus does not answer."""
        data = await self._data(self._session.get(f"{self._url}/api/v1/targets", params={"state": "active"}))
        targets = data.get("activeTargets", []) if isinstance(data, dict) else []
        return {
            target["labels"]["instance"].partition(":")[0]: target["health"]
            for target in targets
            if target["labels"]["job"] == PROMETHEUS_JOB
        }

    async def series(self, query: str) -> int:
        """Returns how many series a query gives whose value is a number."""
        data = await self._data(self._session.post(f"{self._url}/api/v1/query", data={"query": query}))
        result = data.get("result", []) if isinstance(data, dict) else []
        return sum(not math.isnan(float(series["value"][1])) for series in result)

    @staticmethod
    async def _data(request: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> Any:
        try:
            async with request as response:
                return (await response.json()).get("data")
        except (aiohttp.ClientError, TimeoutError, json.JSONDecodeError):
            return None


def panels_of(dashboard: Path) -> list[Panel]:
    """Returns every query of a Grafana dashboard, its variables filled in."""
    return list(_panels(json.loads(dashboard.read_text(encoding="utf-8"))["panels"]))


def _panels(panels: Sequence[Mapping[str, Any]]) -> Iterator[Panel]:
    for panel in panels:
        yield from _panels(panel.get("panels", ()))
        for target in panel.get("targets", ()):
            query = target["expr"]
            for variable, value in GRAFANA_VARIABLES.items():
                query = query.replace(variable, value)
            yield Panel(title=panel["title"], query=query)


async def wait_until_finished(
    testnet: Testnet, urls: Mapping[str, str], client: NodeClient, report: Callable[[str], None]
) -> Snapshot:
    """Returns what the nodes say when all meters are done, or when nothing has progressed for `STALL_MAX_S`."""
    watch = StallWatch(time.monotonic())
    while True:
        replies = await asyncio.gather(*(client.status(url) for url in urls.values()))
        statuses = {name: reply for name, reply in zip(urls, replies, strict=True) if reply is not None}
        snapshot = Snapshot(nodes=testnet.nodes, statuses=statuses)
        stalled_s = watch.stalled_s(snapshot, time.monotonic())
        if snapshot.finished or stalled_s > STALL_MAX_S:
            return snapshot
        report(f"{snapshot.hours_settled} hours settled, {snapshot.traded_wh:,} Wh traded, height {snapshot.height}")
        await asyncio.sleep(POLL_INTERVAL_S)


def node_checks(snapshot: Snapshot, energy: EnergySummary) -> list[Check]:
    """Returns what must hold of the nodes, from what they said last."""
    statuses = snapshot.statuses
    nodes = len(snapshot.nodes)
    tips = {(status.height, status.tip, status.state_root) for status in statuses.values()}
    traded = {name: status.totals.bought_wh for name, status in statuses.items()}
    finished = sum(1 for status in statuses.values() if status.meter is not None and status.meter.finished)
    return [
        Check(
            what="every node answers, every meter is finished",
            problems=() if snapshot.finished else (snapshot.missing(),),
            shown=f"{len(statuses)} of {nodes} answer, {finished} finished",
        ),
        Check(
            what="all nodes have the same chain and state root",
            problems=() if len(tips) == 1 else tuple(_tip(name, status) for name, status in statuses.items()),
            shown="none" if not tips else f"height {snapshot.height}, root {_first(statuses).state_root[:16]}...",
        ),
        Check(
            what=f"energy_traded_wh is all that was tradable in {energy.hours} hours, {energy.tradable_wh:,}",
            problems=tuple(f"{name} says {wh:,} Wh" for name, wh in traded.items() if wh != energy.tradable_wh),
            shown=", ".join(f"{wh:,}" for wh in sorted(set(traded.values()))) or "none",
        ),
        Check(
            what="energy and tokens are conserved",
            problems=tuple(f"not on {name}" for name, status in statuses.items() if not status.conserved),
            shown=f"on {sum(status.conserved for status in statuses.values())} of {nodes}",
        ),
    ]


def _tip(name: str, status: StatusReply) -> str:
    return f"{name} at height {status.height} with root {status.state_root[:16]}..."


def _first(statuses: Mapping[str, StatusReply]) -> StatusReply:
    return next(iter(statuses.values()))


async def prometheus_checks(prometheus: Prometheus, names: Sequence[str], panels: Sequence[Panel]) -> list[Check]:
    """Returns whether all targets are up and every query has data, after `PROMETHEUS_DEADLINE_S` at the latest."""
    deadline_s = time.monotonic() + PROMETHEUS_DEADLINE_S
    waiting = list(panels)
    while True:
        health = await prometheus.target_health()
        waiting = [panel for panel in waiting if await prometheus.series(panel.query) == 0]
        down = [name for name in names if health.get(name) != "up"]
        if not (down or waiting) or time.monotonic() > deadline_s:
            break
        await asyncio.sleep(POLL_INTERVAL_S)
    return [
        Check(
            what="Prometheus scrapes every node",
            problems=tuple(f"target {name} is {health.get(name, 'unknown')}" for name in down),
            shown=f"{len(names) - len(down)} of {len(names)} targets up",
        ),
        Check(
            what="every query of the dashboard returns data",
            problems=tuple(f"no data in panel {panel.title!r}: {panel.query}" for panel in waiting),
            shown=f"{len(panels) - len(waiting)} of {len(panels)} queries",
        ),
    ]


def show(console: Console, snapshot: Snapshot, checks: Sequence[Check]) -> None:
    """Prints the nodes, then the checks."""
    nodes = Table(title="Nodes")
    for heading in ("node", "household", "hours settled", "height", "view changes", "peers", "commit p50 / p95 ms"):
        nodes.add_column(heading)
    for node in snapshot.nodes:
        nodes.add_row(node.name, node.household, *_cells(snapshot.statuses.get(node.name)))
    results = Table(title="Checks")
    for heading in ("", "what must hold", "seen"):
        results.add_column(heading)
    for check in checks:
        results.add_row("FAILED" if check.problems else "ok", check.what, check.shown)
    console.print(nodes, results)


def _cells(status: StatusReply | None) -> tuple[str, ...]:
    if status is None:
        return ("no answer",)
    latency, meter = status.commit_latency_ms, status.meter
    settled = "no meter" if meter is None else f"{meter.intervals_settled} of {meter.intervals_total}"
    counts = (settled, str(status.height), str(status.view_changes), str(status.peers_connected))
    return (*counts, f"{latency.p50 or 0:.0f} / {latency.p95 or 0:.0f}")


async def _check(arguments: argparse.Namespace, console: Console) -> int:
    testnet = Testnet.open(arguments.dir)
    energy = summarise(testnet.readings(), arguments.hours)
    urls = dict(given.split("=", 1) for given in arguments.node)
    with console.status("waiting for the nodes") as line:
        async with open_client() as client:
            snapshot = await wait_until_finished(testnet, urls, client, line.update)
        line.update("asking Prometheus")
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            prometheus = Prometheus(session, arguments.prometheus)
            seen = await prometheus_checks(prometheus, list(urls), panels_of(arguments.dashboard))
    checks = [*node_checks(snapshot, energy), *seen]
    show(console, snapshot, checks)
    problems = [f"{check.what}: {problem}" for check in checks for problem in check.problems]
    for problem in problems:
        sys.stderr.write(f"FAILED: {problem}\n")
    return 1 if problems else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True, help="folder that `p2pnode testnet init` made")
    parser.add_argument("--hours", type=int, required=True, help="hours that the meters measure")
    parser.add_argument("--node", action="append", required=True, metavar="NAME=URL", help="a node's published API")
    parser.add_argument("--prometheus", required=True, metavar="URL", help="Prometheus' published address")
    parser.add_argument("--dashboard", type=Path, required=True, help="the Grafana dashboard whose queries are asked")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(_check(_arguments(), Console(width=110))))
