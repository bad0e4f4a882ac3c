"""How a run's progress is judged: when it is finished, when it has stalled, and what is missing."""

from collections.abc import Mapping
from typing import Any

from node.replies.node import CommitLatencyStatus, StatusReply, TotalsStatus
from node.testnet.folder import TestnetNode
from node.testnet.progress import Snapshot, StallWatch
from node.testnet.summary import merge_latencies

HOURS = 48
NODES = tuple(
    TestnetNode(
        name=f"node{number}",
        address=f"{number:064x}",
        household=f"home{number}" if number < 4 else None,
        p2p_host="127.0.0.1",
        p2p_port=7000 + number,
        api_host="127.0.0.1",
        api_port=8000 + number,
    )
    for number in range(1, 5)
)


def status(
    number: int,
    *,
    settled: int = HOURS,
    published: int = HOURS,
    height: int = 100,
    root: str = "a",
    waiting: int = 0,
    traded_wh: int = 11_894,
) -> StatusReply:
    meter: Mapping[str, Any] | None = {
        "household_id": f"home{number}",
        "intervals_total": HOURS,
        "intervals_published": published,
        "intervals_settled": settled,
        "finished": settled == HOURS,
    }
    totals = dict.fromkeys(TotalsStatus.model_fields, 0)
    return StatusReply.model_validate(
        {
            "name": f"node{number}",
            "address": f"{number:064x}",
            "chain": "c" * 64,
            "protocol_version": 2,
            "height": height,
            "first_height": 1,
            "tip": root * 64,
            "state_root": root * 64,
            "slot": 500,
            "phase": "idle",
            "undecided_height": height + 1,
            "leader": "1" * 64,
            "view_changes": 0,
            "peers_connected": 3,
            "members": 4,
            "mempool_transactions": waiting,
            "commit_latency_ms": {"p50": 10.0, "p95": 20.0, "count": 5},
            "meter": meter if number < 4 else None,
            "totals": {**totals, "bought_wh": traded_wh, "traded_micro": 200 * traded_wh},
            "conserved": True,
        }
    )


def snapshot(**changed: dict[str, Any] | None) -> Snapshot:
    """Returns a finished run's snapshot in which some nodes differ (by name), or do not answer (None)."""
    statuses: dict[str, StatusReply] = {}
    for number, node in enumerate(NODES, start=1):
        change = changed.get(node.name, {})
        if change is not None:
            statuses[node.name] = status(number, **change)
    return Snapshot(nodes=NODES, statuses=statuses)


def test_a_finished_run() -> None:
    done = snapshot()
    assert done.finished
    assert (done.hours_settled, done.traded_wh, done.tokens_moved_micro) == (48, 11_894, 2_378_800)
    assert done.lag == 0


def test_every_node_and_every_meter_must_be_there() -> None:
    for change, missing in [
        ({"node2": None}, "node2 does not answer"),
        ({"node4": None}, "node4 does not answer"),
        ({"node1": {"settled": 47}}, "node1 has 47 settled and 48 published of 48 hours"),
        ({"node3": {"waiting": 2}}, "node3 has 2 transactions waiting"),
        ({"node4": {"height": 99, "root": "b"}}, "node4 is at height 99 of 100"),
        ({"node4": {"root": "b"}}, "different tips"),
    ]:
        unfinished = snapshot(**change)  # type: ignore[arg-type]
        assert not unfinished.finished
        assert missing in unfinished.missing()


def test_nobody_answering_is_no_progress() -> None:
    nobody = snapshot(node1=None, node2=None, node3=None, node4=None)
    assert not nobody.finished
    assert (nobody.hours_settled, nobody.traded_wh, nobody.height, nobody.lag) == (0, 0, 0, 0)


def test_work_resets_the_stall() -> None:
    watch = StallWatch(0.0)
    assert watch.stalled_s(snapshot(node1={"settled": 3, "published": 5}), 10.0) == 0
    assert watch.stalled_s(snapshot(node1={"settled": 3, "published": 5}), 25.0) == 15
    assert watch.stalled_s(snapshot(node1={"settled": 3, "published": 6}), 30.0) == 0
    assert watch.stalled_s(snapshot(node1={"settled": 3, "published": 6}), 31.0) == 1


def test_blocks_alone_are_no_progress() -> None:
    watch = StallWatch(0.0)
    watch.stalled_s(snapshot(), 0.0)
    later = {node.name: {"height": 900} for node in NODES}
    assert watch.stalled_s(snapshot(**later), 60.0) == 60


def test_a_node_that_catches_up_is_progress_but_one_that_wavers_is_not() -> None:
    watch = StallWatch(0.0)
    watch.stalled_s(snapshot(node2={"height": 20}), 0.0)
    assert watch.stalled_s(snapshot(node2={"height": 20}), 50.0) == 50
    assert watch.stalled_s(snapshot(node2={"height": 60}), 60.0) == 0
    assert watch.stalled_s(snapshot(node2={"height": 20}), 70.0) == 10
    assert watch.stalled_s(snapshot(node2={"height": 60}), 80.0) == 20


def test_a_node_that_goes_away_is_no_progress() -> None:
    watch = StallWatch(0.0)
    watch.stalled_s(snapshot(), 0.0)
    assert watch.stalled_s(snapshot(node2=None), 40.0) == 40


def latency(p50: float | None, p95: float | None, count: int) -> CommitLatencyStatus:
    return CommitLatencyStatus(p50=p50, p95=p95, count=count)


def test_latencies_are_weighed_by_their_counts() -> None:
    merged = merge_latencies([latency(10, 40, 30), latency(20, 80, 10), latency(None, None, 0)])
    assert (merged.p50_ms, merged.p95_ms) == (12.5, 50.0)


def test_no_transactions_have_no_latency() -> None:
    merged = merge_latencies([latency(None, None, 0)])
    assert (merged.p50_ms, merged.p95_ms) == (None, None)
