"""Runs a testnet: starts the daemons, follows them until every hour is settled, stops them, sums up.

A node that dies in the middle is waited for: the others go on, and whoever starts it again with `p2pnode start`
brings it back into the run. Only a run without any progress fails, and says what is missing.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import tomlkit

from consensus.identifiers import GENESIS_HEIGHT
from ledger.errors import LedgerError
from ledger.ledger import Ledger
from node.client import NodeClient, open_client
from node.errors import NodeError, TestnetError
from node.home.configuration import load_configuration
from node.meter.readings_file import EnergySummary, summarise
from node.names.names import names_of_home
from node.replies.node import StatusReply
from node.stories.member_changes import changes_of
from node.testnet.folder import Testnet, TestnetNode, hours_to_run
from node.testnet.processes import TestnetProcesses
from node.testnet.progress import STALL_DEADLINE_S, Snapshot, StallWatch
from node.testnet.summary import (
    RunSummary,
    figures_from_api,
    figures_from_ledgers,
    merge_latencies,
    open_ledger,
)
from node.testnet.tables import ProgressView

READY_DEADLINE_S: Final = 60.0
"""For all daemons to start and find each other; it takes a few seconds on a free machine."""

POLL_INTERVAL_S: Final = 0.3
"""Often enough to show progress, seldom enough to leave the machine to the daemons."""


def prepare_run(testnet: Testnet, hours: int | None) -> EnergySummary:
    """Tells every meter how many hours to measure, and says what is in them.

    Args:
        testnet: none of its nodes runs.
        hours: from the first hour of the readings; None for all.

    Raises:
        TestnetError: more hours than there are, fewer than the chain holds already, or a testnet for containers.
    """
    if testnet.manifest.layout != "loopback":
        raise TestnetError(f"the testnet in {testnet.directory} was made for containers: run it there")
    readings = testnet.readings()
    available = len(readings.hours_start_ms)
    wanted = hours_to_run(hours, available, testnet.manifest.readings_name)
    earlier = _hours_of_earlier_run(testnet, available)
    if earlier is not None and wanted < earlier:
        raise TestnetError(
            f"the chain in {testnet.directory} was run over {earlier:,} hours and cannot go back to {wanted:,}: "
            "ask for as many or more, or give another --dir"
        )
    for node in testnet.nodes:
        if node.household is not None:
            _set_hours(testnet.home(node).configuration, wanted)
    return summarise(readings, wanted)


def _hours_of_earlier_run(testnet: Testnet, available: int) -> int | None:
    """Returns how many hours the meters were told in an earlier run, None before the first."""
    first = testnet.home(testnet.nodes[0])
    if not Ledger.exists(first.ledger):
        return None
    meter = load_configuration(first.configuration).meter
    assert meter is not None, "the first node has a household"
    return meter.hours or available


def homes_that_left(testnet: Testnet) -> frozenset[str]:
    """Returns the names of the nodes whose homes left, as the longest of the stopped nodes' chains has it.

    A ledger that cannot be opened says nothing here: its node deals with that when it starts.
    """
    longest, left = GENESIS_HEIGHT, frozenset[str]()
    for node in testnet.nodes:
        home = testnet.home(node)
        if not Ledger.exists(home.ledger):
            continue
        with suppress(LedgerError, NodeError), closing(open_ledger(home)) as ledger:
            if ledger.height > longest:
                longest, left = (
                    ledger.height,
                    frozenset(one.address for one in changes_of(ledger, names_of_home(home)).left),
                )
    return frozenset(node.name for node in testnet.nodes if node.address in left)


def _set_hours(path: Path, hours: int) -> None:
    """Writes `hours` into a meter.toml, keeping all else, so that a restarted node knows them too."""
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8"))
        meter = document["meter"]
        assert isinstance(meter, tomlkit.items.Table)
        if meter.get("hours") == hours:
            return
        meter["hours"] = hours
        changed = path.with_suffix(".toml.new")
        changed.write_text(tomlkit.dumps(document), encoding="utf-8")
        changed.replace(path)
    except (OSError, tomlkit.exceptions.TOMLKitError, KeyError) as error:
        raise TestnetError(f"{path}: cannot set [meter] hours: {error}") from None


async def run_testnet(testnet: Testnet, energy: EnergySummary, *, keep: bool, view: ProgressView) -> RunSummary:
    """Runs a prepared testnet until all its hours are settled.

    Args:
        testnet: as prepared.
        energy: what `prepare_run` returned.
        keep: leave the daemons running at the end.
        view: shows how far it is.

    Raises:
        TestnetError: a daemon does not start, or nothing progresses any more.
        LedgerError: a ledger turns out damaged at the end.
    """
    processes = TestnetProcesses(testnet)
    processes.refuse_running()
    continued = any(Ledger.exists(testnet.home(node).ledger) for node in testnet.nodes)
    started_s = time.monotonic()
    finished = False
    left = homes_that_left(testnet)
    if left:
        view.note(f"not started, as they left the chain: {', '.join(sorted(left))}")
    members = [node for node in testnet.nodes if node.name not in left]
    try:
        processes.start(members)
        async with open_client() as client:
            await _wait_ready(members, processes, client)
            with view.shown():
                snapshot = await _follow(testnet, processes, client, view)
            wall_s = time.monotonic() - started_s
            finished = True
            if keep:
                chain, nodes = await figures_from_api(testnet, snapshot, client)
    finally:
        if keep and finished:
            processes.release()
        else:
            for name in await processes.stop():
                view.note(f"{name} did not stop by itself and was killed")
    if not keep:
        chain, nodes = figures_from_ledgers(testnet, snapshot.nodes)
    latencies = merge_latencies([status.commit_latency_ms for status in snapshot.statuses.values()])
    return RunSummary(
        energy=energy,
        chain=chain,
        nodes=nodes,
        left=snapshot.left,
        latencies=latencies,
        wall_s=wall_s,
        continued=continued,
    )


async def ask_nodes(testnet: Testnet, client: NodeClient) -> tuple[dict[str, StatusReply], frozenset[str]]:
    """Asks all nodes at once; returns what they answer by name, and the names of those whose homes left."""
    replies = await asyncio.gather(*(client.status(node.api_url) for node in testnet.nodes))
    found = [(node, status) for node, status in zip(testnet.nodes, replies, strict=True) if status is not None]
    statuses = {node.name: status for node, status in found}
    if not found:
        return statuses, frozenset()
    newest, _ = max(found, key=lambda one: one[1].height)
    left = await client.left(newest.api_url)
    return statuses, frozenset(node.name for node in testnet.nodes if node.address in left)


async def take_snapshot(testnet: Testnet, client: NodeClient) -> Snapshot:
    """Returns what the members say now."""
    statuses, left = await ask_nodes(testnet, client)
    return Snapshot(
        nodes=tuple(node for node in testnet.nodes if node.name not in left),
        statuses={name: status for name, status in statuses.items() if name not in left},
        left=tuple(node.name for node in testnet.nodes if node.name in left),
    )


async def _wait_ready(nodes: Sequence[TestnetNode], processes: TestnetProcesses, client: NodeClient) -> None:
    end_s = time.monotonic() + READY_DEADLINE_S
    waiting = list(nodes)
    while True:
        waiting = [node for node in waiting if not _was_killed(processes, node)]
        ready = await asyncio.gather(*(client.is_ready(node.api_url) for node in waiting))
        waiting = [node for node, is_ready in zip(waiting, ready, strict=True) if not is_ready]
        if not waiting:
            return
        if time.monotonic() >= end_s:
            names = ", ".join(node.name for node in waiting)
            words = "\n".join(processes.last_words(node) for node in waiting)
            raise TestnetError(f"not ready after {READY_DEADLINE_S:.0f} s: {names}; their last words:\n{words}")
        await asyncio.sleep(POLL_INTERVAL_S)


def _was_killed(processes: TestnetProcesses, node: TestnetNode) -> bool:
    """Says whether someone killed a daemon: the run then waits for it as it does later on.

    Raises:
        TestnetError: the daemon ended by itself, so it would not start a second time either.
    """
    code = processes.exit_code(node)
    if code is not None and code >= 0:
        ended = f"{node.name} ended with code {code} instead of starting"
        raise TestnetError(f"{ended}; its last words:\n{processes.last_words(node)}")
    return code is not None


async def _follow(testnet: Testnet, processes: TestnetProcesses, client: NodeClient, view: ProgressView) -> Snapshot:
    watch = StallWatch(time.monotonic())
    while True:
        snapshot = await take_snapshot(testnet, client)
        view.update(snapshot)
        if snapshot.finished:
            return snapshot
        if watch.stalled_s(snapshot, time.monotonic()) >= STALL_DEADLINE_S:
            words = [processes.last_words(node) for node in snapshot.nodes if node.name in snapshot.away]
            problem = f"no progress for {STALL_DEADLINE_S:.0f} s: {snapshot.missing()}"
            raise TestnetError("\n".join([problem, *words]))
        await asyncio.sleep(POLL_INTERVAL_S)
