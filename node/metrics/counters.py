"""What the node counts and measures for Prometheus, in a registry of its own.

Two kinds of figures. What happens in this process (messages refused, requests answered, how long a phase took)
is counted by the methods of `NodeMetrics` as it happens and starts at zero with the process. What the chain
knows (height, energy, tokens, scores, trades) is read from the newest state at each scrape by `ChainCollector`
(`chain_collector.py`), so it is right from the first scrape after a restart. Names carry their unit. Labels take
their values from enums, routes and the beginnings of members' addresses only, so their number is bounded.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.registry import Collector

from consensus.identifiers import Digest
from contracts.applicants import Standing
from contracts.receipts import Status
from ledger.errors import TransactionRefusal
from node.chain.applied import AppliedBlock
from node.chain.mempool import MempoolRefusal
from node.mesh.limits import MeshRefusal

METRICS_CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""Media type of `NodeMetrics.render`."""

PHASES: Final = ("propose", "prepare", "commit", "apply")
"""What a block passes through on this node: its proposal made or received and executed; prepared by a quorum;
committed by a quorum; written."""

SUBMISSIONS_MAX: Final = 65_536
"""Submitted transactions whose commit is still awaited. The oldest is forgotten first: it is only not measured."""

LATENCIES_MAX: Final = 4_096
"""Newest commit latencies that the quantiles of /v1/status are taken from."""

PHASE_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
"""From one step on one machine up to the bound on the back-off between view changes."""

REQUEST_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
"""From a reply out of memory up to the longest wait for a commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitLatency:
    """Quantiles of the newest commit latencies: accepted by this node until written by this node."""

    p50_ms: float | None
    """Median; None before the first."""
    p95_ms: float | None
    count: int
    """Transactions measured since the node started."""


class NodeMetrics:
    """Counts what happens in this process; renders everything in Prometheus' text format."""

    def __init__(self, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Takes a monotonic clock in seconds."""
        self.registry: Final = CollectorRegistry()
        self._clock_s = clock_s
        self._phase_started_s = clock_s()
        self._submitted_s: OrderedDict[Digest, float] = OrderedDict()
        self._latencies_s: deque[float] = deque(maxlen=LATENCIES_MAX)
        self._latency_count = 0
        self._make_consensus_metrics()
        self._make_transaction_metrics()
        self._make_network_metrics()
        self._make_http_metrics()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def _make_consensus_metrics(self) -> None:
        self._blocks = self._counter("p2pnode_blocks_applied_total", "Blocks written since the node started.")
        self._phases = self._histogram(
            "p2pnode_phase_duration_seconds",
            "How long a block stayed in a phase on this node.",
            "phase",
            buckets=PHASE_BUCKETS_S,
        )
        for phase in PHASES:
            self._phases.labels(phase)

    def _make_transaction_metrics(self) -> None:
        self._transactions = self._counter(
            "p2pnode_transactions_applied_total", "Transactions in written blocks, by outcome.", "status"
        )
        self._transactions_refused = self._counter(
            "p2pnode_transactions_refused_total", "Transactions refused before any block, by reason.", "reason"
        )
        self._latency = self._histogram(
            "p2pnode_commit_latency_seconds",
            "From a transaction's acceptance by this node until its block is written.",
            buckets=PHASE_BUCKETS_S,
        )
        self._admissions = self._counter(
            "p2pnode_admissions_total", "What became of homes that asked to join; candidate: admitted.", "outcome"
        )
        for status in Status:
            self._transactions.labels(status.value)
        for outcome in set(Standing) - {Standing.OPEN}:
            self._admissions.labels(outcome.value)
        for refusal in (*TransactionRefusal, *MempoolRefusal):
            self._transactions_refused.labels(refusal.value)

    def _make_network_metrics(self) -> None:
        self._messages_refused = self._counter(
            "p2pnode_messages_refused_total", "Peer messages refused, by reason.", "reason"
        )
        self._messages_dropped = self._counter(
            "p2pnode_messages_dropped_total", "Messages to a peer lost to a full queue or a broken link.", "peer"
        )
        self._frames = self._counter("p2pnode_mesh_frames_total", "Frames exchanged with peers.", "peer", "direction")
        self._bytes = self._counter(
            "p2pnode_mesh_bytes_total", "Bytes of frames exchanged with peers.", "peer", "direction"
        )
        self._reconnects = self._counter("p2pnode_mesh_reconnects_total", "Links that broke.", "peer")
        for refusal in MeshRefusal:
            self._messages_refused.labels(refusal.value)

    def _make_http_metrics(self) -> None:
        self._requests = self._counter(
            "p2pnode_http_requests_total", "Requests answered by the REST API.", "method", "route", "status"
        )
        self._request_duration = self._histogram(
            "p2pnode_http_request_duration_seconds",
            "Time from a request's header until its reply is ready.",
            "route",
            buckets=REQUEST_BUCKETS_S,
        )

    # --- consensus and transactions ------------------------------------------------------------------------

    def on_phase(self, phase: str) -> None:
        """Notes that a block left a phase (one of `PHASES`), which began when the one before ended."""
        assert phase in PHASES, phase
        started_s, self._phase_started_s = self._phase_started_s, self._clock_s()
        self._phases.labels(phase).observe(self._phase_started_s - started_s)

    def on_submitted(self, digest: Digest) -> None:
        """Notes that this node accepted a transaction from a client or its own meter (not from a peer)."""
        self._submitted_s.setdefault(digest, self._clock_s())
        if len(self._submitted_s) > SUBMISSIONS_MAX:
            self._submitted_s.popitem(last=False)

    def on_submission_refused(self, reason: str) -> None:
        """Notes that a client's transaction was refused; `reason` is a `SubmissionRefused.reason`."""
        self._transactions_refused.labels(reason).inc()

    def on_applied(self, applied: AppliedBlock) -> None:
        """Notes a written block: its transactions by outcome, and how long those submitted here took."""
        self._blocks.inc()
        now_s = self._clock_s()
        for receipt in applied.receipts:
            self._transactions.labels(receipt.status.value).inc()
            submitted_s = self._submitted_s.pop(receipt.transaction, None)
            if submitted_s is not None:
                self._latency.observe(now_s - submitted_s)
                self._latencies_s.append(now_s - submitted_s)
                self._latency_count += 1

    def on_admission(self, outcome: Standing) -> None:
        """Notes that a home was admitted, or that its application or admission ended."""
        self._admissions.labels(outcome.value).inc()

    def commit_latency(self) -> CommitLatency:
        """Returns the quantiles of the newest `LATENCIES_MAX` commit latencies."""
        ordered = sorted(self._latencies_s)
        return CommitLatency(
            p50_ms=_quantile_ms(ordered, 0.50), p95_ms=_quantile_ms(ordered, 0.95), count=self._latency_count
        )

    # --- mesh ----------------------------------------------------------------------------------------------

    def on_message_refused(self, reason: str) -> None:
        """Notes that a peer's message was refused; `reason` is the value of a typed refusal."""
        self._messages_refused.labels(reason).inc()

    def on_message_dropped(self, peer: str) -> None:
        """Notes that a message to `peer` was lost: its queue was full, or its link broke in the middle of it."""
        self._messages_dropped.labels(peer).inc()

    def on_frame_sent(self, peer: str, size_bytes: int) -> None:
        """Notes a frame written to a peer's link."""
        self._frames.labels(peer, "sent").inc()
        self._bytes.labels(peer, "sent").inc(size_bytes)

    def on_frame_received(self, peer: str, size_bytes: int) -> None:
        """Notes a frame read from a peer's link."""
        self._frames.labels(peer, "received").inc()
        self._bytes.labels(peer, "received").inc(size_bytes)

    def on_reconnect(self, peer: str) -> None:
        """Notes that the link to a peer broke."""
        self._reconnects.labels(peer).inc()

    # --- REST API ------------------------------------------------------------------------------------------

    def on_request(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Notes an answered request; `route` is the documented path with its placeholders, never the raw path."""
        self._requests.labels(method, route, str(status)).inc()
        self._request_duration.labels(route).observe(duration_s)

    # --- scrape --------------------------------------------------------------------------------------------

    def attach(self, collector: Collector) -> None:
        """Adds a collector whose figures are read at each scrape, such as `ChainCollector`."""
        self.registry.register(collector)

    def render(self) -> bytes:
        """Returns every metric in Prometheus' text format."""
        return generate_latest(self.registry)


def _quantile_ms(ordered_s: list[float], share: float) -> float | None:
    """Returns the nearest-rank quantile of sorted seconds, in milliseconds with two decimals."""
    if not ordered_s:
        return None
    rank = max(0, -(-len(ordered_s) * round(share * 100) // 100) - 1)
    return round(ordered_s[rank] * 1_000, 2)
