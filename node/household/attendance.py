"""When an hour opens for trading: every active member's reading is decided, or a grace period is over.

A member that lets a grace period pass is not waited for any more: it is silent from that hour on, until its
reading of that hour or a later one is decided. So a household that is down costs its neighbours one grace
period, not one per hour, and a node that only validates costs one at the start. An hour that opened early loses
nothing: whatever is read later is traded later, until its gate closes.
"""

from collections.abc import Sequence

from consensus.identifiers import Address
from contracts.units import Milliseconds
from node.household.interval import IntervalView


class Attendance:
    """Who is waited for, and which hours are open."""

    def __init__(self, *, grace_ms: int) -> None:
        """Takes how long an hour waits, from when its first reading was seen."""
        self._grace_ms = grace_ms
        self._first_seen_ms: dict[Milliseconds, int] = {}
        self._last_measured: dict[Address, Milliseconds] = {}
        self._last_missed: dict[Address, Milliseconds] = {}

    def is_open(self, view: IntervalView, members: Sequence[Address], now_ms: int) -> bool:
        """Says whether an hour is open, and learns from it who is active.

        Args:
            view: the hour, in which this household's own reading is decided.
            members: all members of the chain.
            now_ms: monotonic clock.
        """
        start_ms = view.start_ms
        for meter in view.meters:
            self._last_measured[meter] = max(start_ms, self._last_measured.get(meter, start_ms))
        missing = [member for member in members if member not in view.meters]
        first_seen_ms = self._first_seen_ms.setdefault(start_ms, now_ms)
        grace_is_over = now_ms - first_seen_ms >= self._grace_ms
        if not grace_is_over and any(self._is_active(member) for member in missing):
            return False
        for member in missing:
            self._last_missed[member] = max(start_ms, self._last_missed.get(member, start_ms))
        return True

    def _is_active(self, member: Address) -> bool:
        missed = self._last_missed.get(member)
        measured = self._last_measured.get(member)
        return missed is None or (measured is not None and measured >= missed)

    def forget(self, start_ms: Milliseconds) -> None:
        """Drops an hour in which nothing is left to do."""
        self._first_seen_ms.pop(start_ms, None)
