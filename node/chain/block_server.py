"""Answers members that are far behind with ranges of decided blocks.

One answer at a time, the members in turn, at a bounded rate, in the mesh's bulk lane: however many ask, consensus
messages leave first. What LevelDB finds damaged while it is read is never sent: it stops the node.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from aiolimiter import AsyncLimiter

from consensus.identifiers import Address, Height
from consensus.messages import Decided
from node.chain.application import Application
from node.mesh.messages import FRAME_SIZE_BYTES_MAX, Blocks, BlocksRequest, PeerMessage

ANSWER_SIZE_BYTES_MAX: Final = 1024 * 1024
"""Blocks in one answer end here (but for a single larger one): a link at 4 Mbit/s takes 2 s for it."""

REQUESTS_PER_PEER_MAX: Final = 4
"""Requests that wait per member; an honest one has two open."""

RATE_BYTES_PER_S: Final = 8 * 1024 * 1024
"""Answers to all members together: 64 Mbit/s."""

BURST_S: Final = 2.0
"""Seconds of the rate that may be used at once; the largest frame must fit."""

BLOCK_OVERHEAD_BYTES: Final = 1_024
"""Counted per block for reading and encoding it, so that empty blocks are not free."""

assert RATE_BYTES_PER_S * BURST_S >= FRAME_SIZE_BYTES_MAX + BLOCK_OVERHEAD_BYTES


class BlockServer:
    """Serves what this node has decided."""

    def __init__(
        self,
        *,
        application: Application,
        send: Callable[[Address, PeerMessage], None],
        refused: Callable[[str, Address], None],
    ) -> None:
        """Takes where blocks come from, the bulk lane they leave by, and what counts refused requests."""
        self._application = application
        self._send = send
        self._refused = refused
        self._waiting: dict[Address, deque[BlocksRequest]] = {}
        self._turns: deque[Address] = deque()
        self._filled = asyncio.Event()
        self._pace = AsyncLimiter(RATE_BYTES_PER_S * BURST_S, BURST_S)

    def request(self, sender: Address, message: BlocksRequest) -> None:
        """Queues a member's request; beyond the bound it is dropped, and the member asks somebody else."""
        waiting = self._waiting.setdefault(sender, deque())
        if len(waiting) >= REQUESTS_PER_PEER_MAX:
            self._refused("blocks_request_dropped", sender)
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
        """Answers the member whose turn it is.

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

    def _answer(self, request: BlocksRequest) -> tuple[Blocks, int]:
        blocks: list[Decided] = []
        size_bytes = 0
        is_here = request.first >= self._application.first_height  # else the answer is empty, and others are asked
        end = min(request.first + request.count, self._application.height + 1) if is_here else request.first
        for number in range(request.first, end):
            decided = self._application.decided(Height(number))
            size_bytes += len(decided.proposal) + BLOCK_OVERHEAD_BYTES
            if blocks and size_bytes > ANSWER_SIZE_BYTES_MAX:
                break
            blocks.append(decided)
        cost_bytes = max(size_bytes, BLOCK_OVERHEAD_BYTES)
        return Blocks(first=request.first, blocks=tuple(blocks)), cost_bytes
