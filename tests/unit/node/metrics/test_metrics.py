from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import REGISTRY, Collector

from consensus.eras import FIRST_ERA
from consensus.identifiers import Address, Digest, Height, PublicKey, Slot
from consensus.messages import CommitCertificate
from contracts.receipts import Reason, Receipt, Status
from ledger.block import Block, BlockHeader
from node.chain.applied import AppliedBlock
from node.metrics.counters import PHASES, SUBMISSIONS_MAX, NodeMetrics


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


def digest_of(number: int) -> Digest:
    return Digest(number.to_bytes(32, "big"))


def receipt_of(number: int, status: Status) -> Receipt:
    return Receipt(
        transaction=digest_of(number),
        sender=Address(bytes(32)),
        status=status,
        reason=Reason.NONE if status is Status.EXECUTED else Reason.TRANSFER_INSUFFICIENT_TOKENS,
        detail="",
        parties=(),
        fault=None,
        reference=None,
        quality_total=None,
    )


def applied_block(*receipts: Receipt) -> AppliedBlock:
    nothing = digest_of(0)
    header = BlockHeader(
        version=1,
        chain=nothing,
        era=FIRST_ERA,
        height=Height(1),
        slot=Slot(1),
        leader=Address(bytes(32)),
        parent=nothing,
        parent_certificate=nothing,
        transactions_root=nothing,
        postings_root=nothing,
        receipts_root=nothing,
        state_root=nothing,
        membership=nothing,
        authority=PublicKey(nothing),
        ceremony=nothing,
        vrf_proof=b"",
    )
    block = Block(header=header, transactions=(), postings=(), parent_certificate=None)
    certificate = CommitCertificate(era=FIRST_ERA, height=Height(1), slot=Slot(1), block=nothing, endorsements=())
    return AppliedBlock(
        block=block, digest=nothing, certificate=certificate, receipts=receipts, dropped=(), applied_ms=0
    )


def sample(metrics: NodeMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_registry_is_its_own() -> None:
    before = {family.name for family in REGISTRY.collect()}
    NodeMetrics()
    NodeMetrics()  # a shared registry would refuse the second set of the same names
    assert {family.name for family in REGISTRY.collect()} == before


def test_blocks_and_transactions_are_counted_by_outcome() -> None:
    metrics = NodeMetrics()
    metrics.on_applied(applied_block(receipt_of(1, Status.EXECUTED), receipt_of(2, Status.DECLINED)))
    metrics.on_applied(applied_block(receipt_of(3, Status.EXECUTED)))
    assert sample(metrics, "p2pnode_blocks_applied_total") == 2
    assert sample(metrics, "p2pnode_transactions_applied_total", status="executed") == 2
    assert sample(metrics, "p2pnode_transactions_applied_total", status="declined") == 1


def test_commit_latency_counts_only_what_this_node_took() -> None:
    clock = Clock()
    metrics = NodeMetrics(clock_s=clock)
    metrics.on_submitted(digest_of(1))
    clock.now_s += 0.25
    metrics.on_applied(applied_block(receipt_of(1, Status.EXECUTED), receipt_of(2, Status.EXECUTED)))
    metrics.on_applied(applied_block(receipt_of(1, Status.EXECUTED)))
    latency = metrics.commit_latency()
    assert (latency.p50_ms, latency.p95_ms, latency.count) == (250.0, 250.0, 1)
    assert sample(metrics, "p2pnode_commit_latency_seconds_sum") == pytest.approx(0.25)


def test_quantiles_are_nearest_ranks() -> None:
    clock = Clock()
    metrics = NodeMetrics(clock_s=clock)
    started_s = clock.now_s
    for number in range(1, 101):
        metrics.on_submitted(digest_of(number))
    for number in range(1, 101):
        clock.now_s = started_s + number / 1_000
        metrics.on_applied(applied_block(receipt_of(number, Status.EXECUTED)))
    latency = metrics.commit_latency()
    assert (latency.p50_ms, latency.p95_ms, latency.count) == (50.0, 95.0, 100)


def test_no_latency_before_the_first_commit() -> None:
    latency = NodeMetrics().commit_latency()
    assert (latency.p50_ms, latency.p95_ms, latency.count) == (None, None, 0)


def test_resubmission_keeps_the_first_moment() -> None:
    clock = Clock()
    metrics = NodeMetrics(clock_s=clock)
    metrics.on_submitted(digest_of(1))
    clock.now_s += 1
    metrics.on_submitted(digest_of(1))
    metrics.on_applied(applied_block(receipt_of(1, Status.EXECUTED)))
    assert metrics.commit_latency().p50_ms == 1_000.0


def test_oldest_awaited_submission_is_forgotten_at_the_bound() -> None:
    metrics = NodeMetrics(clock_s=Clock())
    for number in range(SUBMISSIONS_MAX + 1):
        metrics.on_submitted(digest_of(number))
    receipts = [receipt_of(number, Status.EXECUTED) for number in (0, 1, SUBMISSIONS_MAX)]
    metrics.on_applied(applied_block(*receipts))
    assert metrics.commit_latency().count == 2


@pytest.mark.parametrize("phase", PHASES)
def test_phase_duration_is_observed(phase: str) -> None:
    clock = Clock()
    metrics = NodeMetrics(clock_s=clock)
    clock.now_s += 0.02
    metrics.on_phase(phase)
    metrics.on_phase(phase)  # at once
    assert sample(metrics, "p2pnode_phase_duration_seconds_count", phase=phase) == 2
    assert sample(metrics, "p2pnode_phase_duration_seconds_sum", phase=phase) == pytest.approx(0.02)


def test_unknown_phase_is_our_own_bug() -> None:
    with pytest.raises(AssertionError):
        NodeMetrics().on_phase("prepered")


def test_mesh_counters() -> None:
    metrics = NodeMetrics()
    metrics.on_frame_sent("home2", 10)
    metrics.on_frame_received("home2", 30)
    metrics.on_frame_received("home2", 12)
    metrics.on_message_dropped("home3")
    metrics.on_message_refused("malformed_message")
    metrics.on_reconnect("home3")
    assert sample(metrics, "p2pnode_mesh_bytes_total", peer="home2", direction="sent") == 10
    assert sample(metrics, "p2pnode_mesh_bytes_total", peer="home2", direction="received") == 42
    assert sample(metrics, "p2pnode_mesh_frames_total", peer="home2", direction="received") == 2
    assert sample(metrics, "p2pnode_messages_dropped_total", peer="home3") == 1
    assert sample(metrics, "p2pnode_messages_refused_total", reason="malformed_message") == 1
    assert sample(metrics, "p2pnode_mesh_reconnects_total", peer="home3") == 1


def test_refusals_show_as_zero_before_the_first() -> None:
    metrics = NodeMetrics()
    assert sample(metrics, "p2pnode_transactions_refused_total", reason="quota") == 0
    assert sample(metrics, "p2pnode_messages_refused_total", reason="tls_failed") == 0
    metrics.on_submission_refused("quota")
    assert sample(metrics, "p2pnode_transactions_refused_total", reason="quota") == 1


def test_render_is_prometheus_text_with_what_is_attached() -> None:
    class Tide(Collector):
        def describe(self) -> Iterable[Metric]:
            return [GaugeMetricFamily("tide_m", "Height of the tide.")]

        def collect(self) -> Iterator[Metric]:
            yield GaugeMetricFamily("tide_m", "Height of the tide.", value=1.5)

    metrics = NodeMetrics()
    metrics.attach(Tide())
    metrics.on_request("GET", "/v1/blocks/{height}", 200, 0.003)
    text = metrics.render().decode()
    assert "tide_m 1.5\n" in text
    request = 'p2pnode_http_requests_total{method="GET",route="/v1/blocks/{height}",status="200"} 1.0\n'
    assert request in text
