"""Says in the log why a height stays undecided while something waits: once, then at doubling intervals.

It looks once a slot; the explanation is made only when there is something to say.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from consensus.explanation import Explanation
from consensus.identifiers import Height
from consensus.verdict import sentence_of, verdict_of
from node.logs import get_logger
from node.names.names import label_of

WARNING_AFTER_SLOTS: Final = 10
"""Of waiting at one height: an ordinary view change is over by then."""

MS_PER_S: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How long the undecided height has had something to decide."""

    height: Height
    waiting_ms: int | None
    """None while it has nothing."""

    @property
    def waiting_s(self) -> float:
        """The same in seconds, for people."""
        return round((self.waiting_ms or 0) / MS_PER_S, 1)


class UndecidedWatch:
    """Watches one node's undecided height."""

    def __init__(
        self,
        *,
        waiting: Callable[[], Waiting],
        explain: Callable[[], Explanation],
        slot_duration_ms: int,
    ) -> None:
        """Takes what tells where the replica stands, what explains it, and the slot duration."""
        self._waiting = waiting
        self._explain = explain
        self._slot_duration_ms = slot_duration_ms
        self._warned: Waiting | None = None
        """The height that was warned of and is not decided, as last seen."""
        self._next_warning_ms = self._first_warning_ms
        self._log = get_logger("consensus")

    @property
    def _first_warning_ms(self) -> int:
        return WARNING_AFTER_SLOTS * self._slot_duration_ms

    async def run(self) -> None:
        """Looks once a slot until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(self._slot_duration_ms / MS_PER_S)

    def look(self) -> None:
        """Warns if a height has waited too long; tells when that is over."""
        waiting = self._waiting()
        if self._warned is not None:
            if waiting.height > self._warned.height or waiting.waiting_ms is None:
                self._tell_end(self._warned, is_decided=waiting.height > self._warned.height)
            else:
                self._warned = waiting
        if waiting.waiting_ms is not None and waiting.waiting_ms > self._next_warning_ms:
            self._warn(waiting)

    def _warn(self, waiting: Waiting) -> None:
        explanation = self._explain()
        self._log.warning(
            "nothing is decided",
            height=waiting.height,
            waiting_s=waiting.waiting_s,
            verdict=verdict_of(explanation).value,
            why=sentence_of(explanation, label_of),
        )
        self._warned = waiting
        while self._next_warning_ms < (waiting.waiting_ms or 0):
            self._next_warning_ms *= 2

    def _tell_end(self, warned: Waiting, *, is_decided: bool) -> None:
        event = "decided after all" if is_decided else "nothing waits any more"
        self._log.info(event, height=warned.height, waited_s=warned.waiting_s)
        self._warned = None
        self._next_warning_ms = self._first_warning_ms
