"""How far a testnet's run is: pure functions of what its nodes last said."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from node.replies.node import StatusReply
from node.testnet.folder import TestnetNode

STALL_DEADLINE_S: Final = 120.0
"""A run that makes no progress for so long has failed; an hour of meter time takes well under a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What every node of a testnet said at one moment. Who left the chain has no part in its run."""

    nodes: tuple[TestnetNode, ...]
    """The members."""
    statuses: Mapping[str, StatusReply]
    """Of members, by name; a node that does not answer is missing."""
    left: tuple[str, ...] = ()
    """Names of the nodes whose homes left."""

    @property
    def away(self) -> tuple[str, ...]:
        """Names of the nodes that do not answer."""
        return tuple(node.name for node in self.nodes if node.name not in self.statuses)

    @property
    def height(self) -> int:
        """The highest height decided."""
        return max((status.height for status in self.statuses.values()), default=0)

    @property
    def traded_wh(self) -> int:
        """Energy traded on the chain."""
        return max((status.totals.bought_wh for status in self.statuses.values()), default=0)

    @property
    def tokens_moved_micro(self) -> int:
        """Tokens paid for it."""
        return max((status.totals.traded_micro for status in self.statuses.values()), default=0)

    @property
    def hours_settled(self) -> int:
        """Hours that every meter that answers has settled."""
        meters = [status.meter for status in self.statuses.values() if status.meter is not None]
        return min((meter.intervals_settled for meter in meters), default=0)

    @property
    def work_done(self) -> int:
        """A number that grows with everything that a run is for."""
        meters = [status.meter for status in self.statuses.values() if status.meter is not None]
        return self.traded_wh + sum(meter.intervals_published + meter.intervals_settled for meter in meters)

    @property
    def lag(self) -> int:
        """Blocks that nodes lack, together; a node that does not answer lacks all."""
        return sum(
            self.height - (self.statuses[node.name].height if node.name in self.statuses else 0)
            for node in self.nodes
        )

    @property
    def finished(self) -> bool:
        """Every node answers, every meter is done, nothing waits, and all stand at the same tip."""
        statuses = list(self.statuses.values())
        return (
            not self.away
            and all(status.meter is None or status.meter.finished for status in statuses)
            and all(status.mempool_transactions == 0 for status in statuses)
            and len({(status.tip, status.state_root) for status in statuses}) == 1
        )

    def missing(self) -> str:
        """Returns, for people, what keeps the run from being finished."""
        parts = [f"{name} does not answer" for name in self.away]
        for name, status in self.statuses.items():
            meter = status.meter
            if meter is not None and not meter.finished:
                done = f"{meter.intervals_settled} settled and {meter.intervals_published} published"
                parts.append(f"{name} has {done} of {meter.intervals_total} hours")
            if status.mempool_transactions:
                parts.append(f"{name} has {status.mempool_transactions} transactions waiting")
            if status.height < self.height:
                parts.append(f"{name} is at height {status.height} of {self.height}")
        return "; ".join(parts) or "nodes stand at different tips"


class StallWatch:
    """Notices that a run makes no progress: no work done, and no node that catches up."""

    def __init__(self, now_s: float) -> None:
        """Takes the present, in seconds of a monotonic clock."""
        self._since_s = now_s
        self._work_done = -1
        self._lag: int | None = None

    def stalled_s(self, snapshot: Snapshot, now_s: float) -> float:
        """Returns for how long nothing has progressed."""
        caught_up = self._lag is not None and snapshot.lag < self._lag
        if snapshot.work_done > self._work_done:
            self._since_s, self._work_done, self._lag = now_s, snapshot.work_done, snapshot.lag
        elif caught_up:
            self._since_s, self._lag = now_s, snapshot.lag
        return now_s - self._since_s
