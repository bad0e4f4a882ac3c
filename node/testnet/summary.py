"""What a finished run has to show: the figures, and whether all nodes agree and nothing was lost."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any

from consensus.identifiers import Height
from contracts.conservation import unbalanced_books
from contracts.state import Table
from contracts.state_reading import read_totals
from ledger.ledger import Ledger
from node.client import NodeClient
from node.errors import TestnetError
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.home.storage import eras_of
from node.meter.readings_file import EnergySummary
from node.replies.node import CommitLatencyStatus, TotalsStatus
from node.replies.views import record_fields
from node.testnet.folder import Testnet, TestnetNode
from node.testnet.progress import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainFigures:
    """What the chain holds at its tip, as one node has it."""

    height: int
    transactions: int
    blocks_per_leader: Mapping[str, int]
    """By name, nodes without a block included."""
    totals: TotalsStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFigures:
    """Where one node's chain ends."""

    height: int
    tip: str
    """In hex."""
    state_root: str
    """In hex."""
    unbalanced: tuple[str, ...]
    """What does not add up, a line each; empty if tokens and energy are conserved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitLatencies:
    """Submit to applied, over all nodes' own transactions; None where nothing was submitted."""

    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """The outcome of `p2pnode testnet run`."""

    energy: EnergySummary
    chain: ChainFigures
    nodes: Mapping[str, NodeFigures]
    """By name."""
    left: tuple[str, ...]
    """Names of nodes whose homes left the chain: their later hours were not measured."""
    latencies: CommitLatencies
    wall_s: float
    """From the start of the daemons until all hours were settled everywhere."""
    continued: bool
    """An earlier run had settled some of the hours, or all, so `wall_s` is not the time that they took."""

    @property
    def conserved(self) -> bool:
        """Tokens and energy add up on every node."""
        return not any(node.unbalanced for node in self.nodes.values())

    @property
    def problems(self) -> tuple[str, ...]:
        """Everything that a good run must not have; empty if it was one."""
        found = []
        if len({(node.height, node.tip, node.state_root) for node in self.nodes.values()}) != 1:
            found.append("the nodes do not have the same chain")
        for name, node in self.nodes.items():
            found += [f"energy or tokens are not conserved on {name}: {line}" for line in node.unbalanced]
        totals, energy = self.chain.totals, self.energy
        if self.left:
            return tuple(found)
        if (totals.credited_wh, totals.deficit_wh) != (energy.surplus_wh, energy.deficit_wh):
            published = f"{totals.credited_wh:,} Wh surplus and {totals.deficit_wh:,} Wh deficit"
            found.append(f"the chain holds {published}, the readings {energy.surplus_wh:,} and {energy.deficit_wh:,}")
        if totals.bought_wh != energy.tradable_wh:
            found.append(f"{totals.bought_wh:,} Wh were traded, {energy.tradable_wh:,} Wh were tradable")
        return tuple(found)

    def as_json(self) -> dict[str, Any]:
        """Returns the object that `--json` prints."""
        totals = self.chain.totals
        return {
            "nodes": len(self.nodes),
            "left": list(self.left),
            "hours": self.energy.hours,
            "height": self.chain.height,
            "transactions": self.chain.transactions,
            "trades_completed": totals.trades_completed,
            "trades_declined": totals.trades_declined,
            "energy_surplus_wh": self.energy.surplus_wh,
            "energy_deficit_wh": self.energy.deficit_wh,
            "energy_tradable_wh": self.energy.tradable_wh,
            "energy_traded_wh": totals.bought_wh,
            "tokens_moved_micro": totals.traded_micro,
            "state_roots": {name: node.state_root for name, node in self.nodes.items()},
            "conserved": self.conserved,
            "wall_s": round(self.wall_s, 3),
            "blocks_per_leader": dict(self.chain.blocks_per_leader),
            "commit_latency_ms": {"p50": self.latencies.p50_ms, "p95": self.latencies.p95_ms},
        }


def merge_latencies(parts: list[CommitLatencyStatus]) -> CommitLatencies:
    """Returns the nodes' quantiles averaged by how many transactions each measured.

    The mean of quantiles is close to the quantile of all where the nodes are alike, as they are on one machine.
    """

    def mean(values: list[tuple[float | None, int]]) -> float | None:
        known = [(value, count) for value, count in values if value is not None and count > 0]
        total = sum(count for _, count in known)
        return round(sum(value * count for value, count in known) / total, 3) if total else None

    return CommitLatencies(
        p50_ms=mean([(part.p50, part.count) for part in parts]),
        p95_ms=mean([(part.p95, part.count) for part in parts]),
    )


def open_ledger(home: Home) -> Ledger:
    """Returns the ledger of a stopped node, open.

    Raises:
        LedgerError: it is in use or damaged.
        NodeError: the files of an era are.
    """
    return Ledger.open(home.ledger, load_genesis(home), begun=eras_of(home))


def figures_from_ledgers(
    testnet: Testnet, members: Sequence[TestnetNode]
) -> tuple[ChainFigures, dict[str, NodeFigures]]:
    """Returns the figures of stopped nodes, from their ledgers: the chain's from the first one.

    Raises:
        LedgerError: a ledger is in use or damaged.
    """
    figures: ChainFigures | None = None
    nodes: dict[str, NodeFigures] = {}
    for node in members:
        with closing(open_ledger(testnet.home(node))) as ledger:
            nodes[node.name] = _node_figures(ledger)
            figures = figures or _chain_figures(testnet, ledger)
    assert figures is not None, "a chain has members"
    return figures, nodes


async def figures_from_api(
    testnet: Testnet, snapshot: Snapshot, client: NodeClient
) -> tuple[ChainFigures, dict[str, NodeFigures]]:
    """Returns the figures of running members, from their API: the chain's from the first one.

    Raises:
        TestnetError: a node does not answer.
    """
    nodes = {
        name: NodeFigures(
            height=status.height,
            tip=status.tip,
            state_root=status.state_root,
            unbalanced=() if status.conserved else ("so its status says; `p2pnode ledger verify` names what",),
        )
        for name, status in snapshot.statuses.items()
    }
    first = snapshot.nodes[0]
    if first.name not in snapshot.statuses:
        raise TestnetError(f"{first.name} does not answer")
    blocks: list[tuple[str, int]] = [
        (block.leader, block.transactions) async for block in client.blocks(first.api_url)
    ]
    status = snapshot.statuses[first.name]
    return _assemble(testnet, status.height, blocks, status.totals), nodes


def _node_figures(ledger: Ledger) -> NodeFigures:
    state = chain.from_iterable(ledger.scan(table) for table in Table)
    return NodeFigures(
        height=ledger.height,
        tip=ledger.tip.hex(),
        state_root=ledger.state_root.hex(),
        unbalanced=tuple(unbalanced_books(state, ledger.genesis.scores)),
    )


def _chain_figures(testnet: Testnet, ledger: Ledger) -> ChainFigures:
    blocks: list[tuple[str, int]] = []
    for number in range(ledger.first_height, ledger.height + 1):
        block = ledger.decided_block(Height(number))
        blocks.append((block.header.leader.hex(), len(block.transactions)))
    totals = TotalsStatus.model_validate(record_fields(read_totals(ledger)))
    return _assemble(testnet, ledger.height, blocks, totals)


def _assemble(testnet: Testnet, height: int, blocks: list[tuple[str, int]], totals: TotalsStatus) -> ChainFigures:
    led = Counter(leader for leader, _ in blocks)
    return ChainFigures(
        height=height,
        transactions=sum(transactions for _, transactions in blocks),
        blocks_per_leader={node.name: led[node.address] for node in testnet.nodes},
        totals=totals,
    )
