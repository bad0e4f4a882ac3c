"""What `p2pnode testnet` shows: live progress on standard error, tables on standard output."""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from contracts.units import MICRO_TOKENS_PER_TOKEN
from node.replies.node import StatusReply
from node.testnet.folder import Testnet, TestnetNode
from node.testnet.progress import Snapshot
from node.testnet.summary import RunSummary

LINE_INTERVAL_S: Final = 5.0
"""Between two lines of progress where there is no terminal to draw a bar on."""

_ROOT_DIGITS: Final = 16


class ProgressView:
    """The progress of a run: a live bar on a terminal, a line every few seconds elsewhere."""

    def __init__(self, console: Console, *, hours: int, tradable_wh: int) -> None:
        """Takes where to write (standard error) and what there is to do."""
        self._console = console
        self._hours = hours
        self._tradable_wh = tradable_wh
        self._left: tuple[str, ...] = ()
        self._away: tuple[str, ...] = ()
        self._line_s = time.monotonic()
        self._bar = Progress(
            TextColumn("hours settled"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=hours)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draws the bar while the block runs."""
        with self._bar:
            yield

    def note(self, text: str) -> None:
        """Shows one line."""
        self._console.print(text, highlight=False, markup=False)

    def update(self, snapshot: Snapshot) -> None:
        """Shows how far the run is, and which nodes went away or came back."""
        self._show_left(snapshot)
        self._show_away(snapshot)
        tokens = snapshot.tokens_moved_micro / MICRO_TOKENS_PER_TOKEN
        text = (
            f"{snapshot.traded_wh:,} of {self._tradable_wh:,} Wh traded, "
            f"{tokens:,.2f} tokens paid, height {snapshot.height:,}"
        )
        if snapshot.away:
            text += f", waiting for {', '.join(snapshot.away)}"
        self._bar.update(self._task, completed=snapshot.hours_settled, description=text)
        if self._bar.disable and (snapshot.finished or time.monotonic() - self._line_s >= LINE_INTERVAL_S):
            self._line_s = time.monotonic()
            self.note(f"{snapshot.hours_settled} of {self._hours} hours settled, {text}")

    def _show_left(self, snapshot: Snapshot) -> None:
        for name in snapshot.left:
            if name not in self._left:
                self.note(f"{name} left the chain; the run goes on without it")
        self._left = snapshot.left

    def _show_away(self, snapshot: Snapshot) -> None:
        for name in snapshot.away:
            if name not in self._away:
                self.note(f"{name} does not answer; the others go on, and the run waits for it")
        for name in self._away:
            if name not in snapshot.away:
                self.note(f"{name} is back")
        self._away = snapshot.away


def show_summary(console: Console, summary: RunSummary) -> None:
    """Prints what a run did, for people."""
    totals, energy = summary.chain.totals, summary.energy
    price = totals.traded_micro / totals.bought_wh / 1_000 if totals.bought_wh else 0.0
    table = Table(title="What the neighbours traded", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    rows: list[tuple[str, str]] = [
        ("nodes", f"{len(summary.nodes)}"),
        ("hours", _hours(summary)),
        ("surplus", f"{energy.surplus_wh:,} Wh generated beyond the homes' own use"),
        ("deficit", f"{energy.deficit_wh:,} Wh used beyond the homes' own generation"),
        ("tradable", f"{energy.tradable_wh:,} Wh of surplus and deficit in the same hour"),
        ("traded", f"{totals.bought_wh:,} Wh"),
        (
            "tokens paid",
            f"{totals.traded_micro / MICRO_TOKENS_PER_TOKEN:,.6f} ({price:.2f} tokens per kWh on average)",
        ),
        ("trades", f"{totals.trades_completed:,} completed, {totals.trades_declined:,} declined"),
        ("chain", f"{summary.chain.height:,} blocks, {summary.chain.transactions:,} transactions"),
        ("commit latency", _latency(summary)),
        *([("left", f"{', '.join(summary.left)}: later hours were not measured")] if summary.left else []),
        ("conserved", "yes: energy and tokens add up on every node" if summary.conserved else "NO"),
    ]
    for name, value in rows:
        table.add_row(name, value)
    console.print(table)
    console.print(_nodes_table(summary))
    console.print(f"energy_traded_wh = {totals.bought_wh:,}", style="bold")


def _hours(summary: RunSummary) -> str:
    hours, wall_s = summary.energy.hours, summary.wall_s
    if summary.continued:
        return f"{hours:,}, what an earlier run had left of them in {wall_s:.1f} s"
    return f"{hours:,} in {wall_s:.1f} s ({hours / wall_s:.1f} per second)"


def _latency(summary: RunSummary) -> str:
    p50_ms, p95_ms = summary.latencies.p50_ms, summary.latencies.p95_ms
    if p50_ms is None or p95_ms is None:
        return "nothing was submitted"
    return f"{p50_ms:,.0f} ms median, {p95_ms:,.0f} ms 95th percentile"


def _nodes_table(summary: RunSummary) -> Table:
    table = Table(title="Where each node's chain ends", title_justify="left")
    table.add_column("node")
    table.add_column("height", justify="right")
    table.add_column("blocks led", justify="right")
    table.add_column("state root")
    for name, node in summary.nodes.items():
        led = f"{summary.chain.blocks_per_leader.get(name, 0):,}"
        table.add_row(name, f"{node.height:,}", led, f"{node.state_root[:_ROOT_DIGITS]}…")
    roots = {node.state_root for node in summary.nodes.values()}
    table.caption = "all state roots are equal" if len(roots) == 1 else "the state roots DIFFER"
    return table


def show_apis(console: Console, testnet: Testnet) -> None:
    """Prints where the nodes that were left running answer."""
    for node in testnet.nodes:
        console.print(f"{node.name} runs: {node.api_url}/docs", highlight=False)
    console.print(f"stop them with: p2pnode testnet stop --dir {testnet.directory}", highlight=False)


def show_status(
    console: Console, rows: Sequence[tuple[TestnetNode, int | None, StatusReply | None]], left: Collection[str] = ()
) -> None:
    """Prints every node's process, and what its API says of its chain: two tables, which fit 80 columns.

    Args:
        console: for results.
        rows: the nodes, with the process and the answer of each that runs.
        left: names of those whose homes left.
    """
    processes = _columns("Testnet", "node", "process", "API", "phase", "peers")
    chains = _columns("Chains", "node", "height", "slot", "hours settled", "state root")
    for node, process, status in rows:
        running = "stopped" if process is None else str(process)
        has_left = node.name in left
        if status is None:
            api = "does not answer" if process is not None else ""
            processes.add_row(node.name, running, api, "left" if has_left else "")
            continue
        peers = f"{status.peers_connected} of {status.members - (0 if has_left else 1)}"
        processes.add_row(node.name, running, node.api_url, "left" if has_left else status.phase, peers)
        chains.add_row(node.name, f"{status.height:,}", f"{status.slot:,}", _settled(status), _root(status))
    console.print(processes)
    if chains.row_count:
        console.print(chains)


def _columns(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table


def _settled(status: StatusReply) -> str:
    meter = status.meter
    return "only validates" if meter is None else f"{meter.intervals_settled:,} of {meter.intervals_total:,}"


def _root(status: StatusReply) -> str:
    return f"{status.state_root[:_ROOT_DIGITS]}…"
