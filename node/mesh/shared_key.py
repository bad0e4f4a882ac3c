"""Notices that two processes connect with one key, and so sign against each other.

Each process draws a random id at its start and shows it when it dials. A restart brings a new id and never one that
was there before: an id that comes back after another one had taken its place means that both processes live.
"""

import re
import secrets
from collections import deque
from collections.abc import Callable
from typing import Final

PROCESS_HEADER: Final = "P2pnode-Process"
"""Of the dialling side's request: its process id for this purpose, 16 hexadecimal digits."""

SHARED_KEY_CLOSE_CODE: Final = 4_001
"""WebSocket close code of a link that another process with the same key replaced; 4000 to 4999 are private."""

TOLD_FOR_S: Final = 60.0
"""How long after its last sign it is told: two processes throw each other off a link every second or two."""

_EARLIER_MAX: Final = 8
_PROCESS_ID: Final = re.compile(r"[0-9a-f]{16}")


def draw_process_id() -> str:
    """Returns a random process id."""
    return secrets.token_hex(8)


class Sign:
    """Something that was noticed and holds for a while."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        """Takes a monotonic clock in seconds."""
        self._clock_s = clock_s
        self._seen_s: float | None = None

    @property
    def holds(self) -> bool:
        """Says whether it was noticed lately."""
        return self._seen_s is not None and self._clock_s() - self._seen_s <= TOLD_FOR_S

    def notice(self) -> bool:
        """Notices it; says whether that is news."""
        is_news = not self.holds
        self._seen_s = self._clock_s()
        return is_news


class ProcessWatch:
    """The process ids that one member showed, one after the other."""

    def __init__(self) -> None:
        self._present: str | None = None
        self._earlier: deque[str] = deque(maxlen=_EARLIER_MAX)

    def has_returned(self, shown: str | None) -> bool:
        """Says whether a new connection shows an id that another one had replaced."""
        if shown is None or not _PROCESS_ID.fullmatch(shown):
            return False
        returned = shown != self._present and shown in self._earlier
        if self._present is not None and self._present != shown:
            self._earlier.append(self._present)
        self._present = shown
        return returned
