"""The figures that the chain itself knows, read from the newest state at each scrape.

They are counters and gauges of the chain, not of the process: a restart does not reset them, and all members
at one height report the same energy, tokens, trades and scores.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from consensus.explanation import Explanation
from consensus.identifiers import Slot
from contracts.rule_records import Rules
from contracts.state import RULES_KEY, Totals
from contracts.state_reading import MemberState, TokenSums, read_members, read_totals, require, sum_tokens
from contracts.units import MICRO_TOKENS_PER_TOKEN
from ledger.ledger import Ledger
from node.chain.replica_status import ReplicaView
from node.chain.submission import Chain
from node.names.names import label_of
from node.stories.members import certificate_of
from node.stories.rules import unknown_from
from qscore.parameters import ONE

MS_PER_S: Final = 1_000


class ChainCollector(Collector):
    """Reads the chain at each scrape; every family is also described without one, so that names are checked."""

    def __init__(self, chain: Chain, replica: ReplicaView, filled_height: Callable[[], int]) -> None:
        """Takes the chain whose state and mempool are read, its replica, and who says how far earlier blocks are
        filled in.
        """
        self._filled_height = filled_height
        self._chain = chain
        self._replica = replica

    def describe(self) -> Iterable[Metric]:
        """Returns every family without samples."""
        return chain_metric_families()

    def collect(self) -> Iterator[Metric]:
        """Yields every family with the figures of this moment."""
        yield from self._positions()
        yield from _decision(self._replica.explain())
        ledger = self._chain.ledger
        totals = read_totals(ledger)
        members = read_members(ledger)
        yield from _trades(totals)
        yield _energy(totals)
        yield _deficit(totals)
        yield _tokens(totals, sum_tokens(ledger, ledger.genesis))
        yield _scores(members, ledger)
        yield _certificates(members, ledger, self._replica.status().present_slot)

    def _positions(self) -> Iterator[Metric]:
        chain = self._chain
        replica = self._replica.status()
        figures = {
            "p2pnode_height": chain.ledger.height,
            "p2pnode_first_height": chain.ledger.first_height,
            "p2pnode_filled_height": self._filled_height(),
            "p2pnode_slot": replica.present_slot,
            "p2pnode_view_changes": replica.view_changes,
            "p2pnode_certificates_late": replica.certificates_late,
            "p2pnode_certificates_missed": replica.certificates_missed,
            "p2pnode_members": len(chain.ledger.membership()),
            "p2pnode_members_passed_over": len(chain.ledger.memberships().leaders.passing),
            "p2pnode_peers_connected": len(self._replica.connected()),
            "p2pnode_mempool_transactions": len(chain.mempool),
            "p2pnode_mempool_bytes": chain.mempool.size_bytes,
        }
        unknown = unknown_from(chain.ledger)
        figures |= {
            "p2pnode_rules_version": require(chain.ledger, RULES_KEY, Rules).version,
            "p2pnode_rules_unknown_from_height": 0 if unknown is None else unknown.first_height,
        }
        for family in _position_families():
            family.add_metric([], figures[family.name])
            yield family


def chain_metric_families() -> tuple[Metric, ...]:
    """Returns every family of the chain without samples."""
    return (
        *_position_families(),
        *_decision_families(),
        *_trade_families(),
        _energy_family(),
        _deficit_family(),
        _tokens_family(),
        _scores_family(),
        _certificates_family(),
    )


def _position_families() -> tuple[GaugeMetricFamily | CounterMetricFamily, ...]:
    return (
        GaugeMetricFamily("p2pnode_height", "Height of the last block written."),
        GaugeMetricFamily(
            "p2pnode_first_height", "Lowest height whose block is here: 1, or that of the snapshot it began with."
        ),
        GaugeMetricFamily(
            "p2pnode_filled_height",
            "Height up to which blocks below that snapshot are executed from genesis; 0 where all are here.",
        ),
        GaugeMetricFamily("p2pnode_slot", "Present timeslot."),
        CounterMetricFamily("p2pnode_view_changes", "VIEW-CHANGEs sent since the node started."),
        CounterMetricFamily(
            "p2pnode_certificates_late", "Times that no certificate came from a slot's cluster in a third of a slot."
        ),
        CounterMetricFamily(
            "p2pnode_certificates_missed", "Times that none came in two thirds: this member's votes then go to all."
        ),
        GaugeMetricFamily("p2pnode_members", "Members of the next height."),
        GaugeMetricFamily(
            "p2pnode_members_passed_over", "Members of it that are suspended: their slots pass unused."
        ),
        GaugeMetricFamily("p2pnode_rules_version", "Protocol version of the next block."),
        GaugeMetricFamily(
            "p2pnode_rules_unknown_from_height",
            "First block of approved rules that this program does not know: it stops before; 0: it knows all.",
        ),
        GaugeMetricFamily("p2pnode_peers_connected", "Peers to which a link is up."),
        GaugeMetricFamily("p2pnode_mempool_transactions", "Transactions that wait for a block."),
        GaugeMetricFamily("p2pnode_mempool_bytes", "Bytes of the transactions that wait for a block."),
    )


def _decision_families() -> tuple[GaugeMetricFamily, ...]:
    needed = "Proposals, votes, COMMITs, VIEW-CHANGEs, certificates that the step at hand lacks; 0 while none does."
    return (
        GaugeMetricFamily("p2pnode_undecided_seconds", "How long the next height has had something to decide."),
        GaugeMetricFamily("p2pnode_missing_votes", needed),
        GaugeMetricFamily("p2pnode_members_reachable", "Members connected and heard lately, this one among them."),
        GaugeMetricFamily("p2pnode_quorum", "Members that a decision needs."),
        GaugeMetricFamily(
            "p2pnode_collectors", "Members that are drawn for a slot to hear its votes first; 0: all do."
        ),
        GaugeMetricFamily("p2pnode_collects", "1 while this member is drawn to collect the others' votes, else 0."),
    )


def _decision(explanation: Explanation) -> Iterator[Metric]:
    wait, collecting = explanation.waits_for, explanation.collecting
    cluster = () if collecting is None else collecting.cluster
    figures = {
        "p2pnode_undecided_seconds": (explanation.waiting_ms or 0) / MS_PER_S,
        "p2pnode_missing_votes": 0 if wait is None else wait.needed,
        "p2pnode_members_reachable": len(explanation.reachable),
        "p2pnode_quorum": explanation.quorum,
        "p2pnode_collectors": len(cluster),
        "p2pnode_collects": int(explanation.own in cluster),
    }
    for family in _decision_families():
        family.add_metric([], figures[family.name])
        yield family


def _trade_families() -> tuple[CounterMetricFamily, CounterMetricFamily]:
    return (
        CounterMetricFamily("p2pnode_trades_completed", "Trades completed on the chain."),
        CounterMetricFamily("p2pnode_trades_declined", "Contracts on the chain that did not execute."),
    )


def _energy_family() -> GaugeMetricFamily:
    text = "Surplus energy of all packets: credited + replaced = available + escrow + claimed + exported."
    return GaugeMetricFamily("p2pnode_energy_wh", text, labels=["state"])


def _deficit_family() -> GaugeMetricFamily:
    text = "Energy that members lacked: recorded + unused = open + reserved + bought + imported."
    return GaugeMetricFamily("p2pnode_deficit_wh", text, labels=["state"])


def _tokens_family() -> GaugeMetricFamily:
    text = "Tokens of all wallets: issued - redeemed = available + held; traded is the sum paid in trades."
    return GaugeMetricFamily("p2pnode_tokens", text, labels=["state"])


def _scores_family() -> GaugeMetricFamily:
    return GaugeMetricFamily("p2pnode_q_score", "Quality of transaction of a member; starts at 1.", labels=["member"])


def _certificates_family() -> GaugeMetricFamily:
    text = "Whole days until a member's certificate ends, where the chain knows that; below 0: it ran out."
    return GaugeMetricFamily("p2pnode_days_to_expiry", text, labels=["member"])


def _trades(totals: Totals) -> Iterator[Metric]:
    completed, declined = _trade_families()
    completed.add_metric([], totals.trades_completed)
    declined.add_metric([], totals.trades_declined)
    yield completed
    yield declined


def _energy(totals: Totals) -> Metric:
    family = _energy_family()
    family.add_metric(["credited"], totals.credited_wh)
    family.add_metric(["available"], totals.available_wh)
    family.add_metric(["escrow"], totals.escrow_wh)
    family.add_metric(["claimed"], totals.claimed_wh)
    family.add_metric(["exported"], totals.exported_wh)
    family.add_metric(["replaced"], totals.replaced_wh)
    return family


def _deficit(totals: Totals) -> Metric:
    family = _deficit_family()
    family.add_metric(["recorded"], totals.deficit_wh)
    family.add_metric(["open"], totals.open_wh)
    family.add_metric(["reserved"], totals.reserved_wh)
    family.add_metric(["bought"], totals.bought_wh)
    family.add_metric(["imported"], totals.imported_wh)
    family.add_metric(["unused"], totals.unused_wh)
    return family


def _tokens(totals: Totals, sums: TokenSums) -> Metric:
    micro = {
        "issued": totals.issued_micro,
        "redeemed": totals.redeemed_micro,
        "available": sums.available_micro,
        "held": sums.held_micro,
        "traded": totals.traded_micro,
    }
    family = _tokens_family()
    for state, amount_micro in micro.items():
        family.add_metric([state], amount_micro / MICRO_TOKENS_PER_TOKEN)
    return family


def _scores(members: Iterable[MemberState], ledger: Ledger) -> Metric:
    family = _scores_family()
    for state in members:
        family.add_metric([label_of(state.address)], state.score_at(ledger.tip_slot, ledger.genesis.scores) / ONE)
    return family


def _certificates(members: Iterable[MemberState], ledger: Ledger, slot: Slot) -> Metric:
    family = _certificates_family()
    for state in members:
        certificate = certificate_of(ledger, ledger.genesis, state.address, slot)
        if certificate is not None:
            family.add_metric([label_of(state.address)], certificate.days_left)
    return family
