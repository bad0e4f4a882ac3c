"""Answers what peers ask for in bulk: one answer at a time, the peers in turn, at a bounded rate.

Answers leave in the mesh's bulk lane: however many ask, consensus messages leave first.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from aiolimiter import AsyncLimiter

from consensus.identifiers import Address
from node.mesh.messages import FRAME_SIZE_BYTES_MAX, PeerMessage

Request = TypeVar("Request")

REQUESTS_PER_PEER_MAX: Final = 4
"""Requests that wait per peer; an honest one has two open."""

BURST_S: Final = 2.0
"""Seconds of the rate that may be used at once; the largest frame must fit."""

ANSWER_OVERHEAD_BYTES: Final = 1_024
"""Counted at least for each thing that is read for an answer, so that small ones are not free."""


RATE_BYTES_PER_S_MIN: Final = (FRAME_SIZE_BYTES_MAX + ANSWER_OVERHEAD_BYTES) / BURST_S
"""A lower rate would never let the largest frame leave."""


class PacedServer(Generic[Request]):
    """What all servers of bulk answers have in common; `_answer` says what is answered, and is short."""

    def __init__(
        self,
        *,
        send: Callable[[Address, PeerMessage], None],
        refused: Callable[[str, Address], None],
        rate_bytes_per_s: int,
        dropped: str,
    ) -> None:
        """Takes the bulk lane that answers leave by, what counts refused requests, how much may leave to all peers
        together, and what a request beyond its peer's bound is counted as.
        """
        self._send = send
        self._refused = refused
        self._dropped = dropped
        self._waiting: dict[Address, deque[Request]] = {}
        self._turns: deque[Address] = deque()
        self._filled = asyncio.Event()
        self._pace = AsyncLimiter(rate_bytes_per_s * BURST_S, BURST_S)

    def _answer(self, request: Request) -> tuple[PeerMessage, int]:
        """Returns the answer and what it cost, in bytes read and sent: at most the largest frame and an overhead."""
        raise NotImplementedError

    def request(self, sender: Address, message: Request) -> None:
        """Queues a peer's request; beyond the bound it is dropped, and the peer asks somebody else."""
        waiting = self._waiting.setdefault(sender, deque())
        if len(waiting) >= REQUESTS_PER_PEER_MAX:
            self._refused(self._dropped, sender)
            return
        waiting.append(message)
        if sender not in self._turns:
            self._turns.append(sender)
        self._filled.set()

    async def run(self) -> None:
        """Answers until cancelled."""
        while True:
            while not self._turns:
                self._filled.clear()
                await self._filled.wait()
            await self._pace.acquire(self.answer_next())
            await asyncio.sleep(0)

    def answer_next(self) -> int:
        """Answers the peer whose turn it is.

        Returns:
            What that cost, in bytes read and sent; 0 if nobody waits.
        """
        if not self._turns:
            return 0
        recipient = self._turns.popleft()
        waiting = self._waiting[recipient]
        answer, cost_bytes = self._answer(waiting.popleft())
        if waiting:
            self._turns.append(recipient)
        self._send(recipient, answer)
        return cost_bytes
