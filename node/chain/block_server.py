"""Answers members that are far behind with ranges of decided blocks.

What LevelDB finds damaged while it is read is never sent: it stops the node.
"""

from collections.abc import Callable
from typing import Final

from consensus.identifiers import Address, Height
from consensus.messages import Decided
from node.chain.application import Application
from node.mesh.messages import Blocks, BlocksRequest, PeerMessage
from node.mesh.paced_server import ANSWER_OVERHEAD_BYTES, RATE_BYTES_PER_S_MIN, PacedServer

ANSWER_SIZE_BYTES_MAX: Final = 1024 * 1024
"""Blocks in one answer end here (but for a single larger one): a link at 4 Mbit/s takes 2 s for it."""

RATE_BYTES_PER_S: Final = 8 * 1024 * 1024
"""Answers to all members together: 64 Mbit/s."""

assert RATE_BYTES_PER_S >= RATE_BYTES_PER_S_MIN


class BlockServer(PacedServer[BlocksRequest]):
    """Serves what this node has decided."""

    def __init__(
        self,
        *,
        application: Application,
        send: Callable[[Address, PeerMessage], None],
        refused: Callable[[str, Address], None],
    ) -> None:
        """Takes where blocks come from, the bulk lane they leave by, and what counts refused requests."""
        super().__init__(
            send=send, refused=refused, rate_bytes_per_s=RATE_BYTES_PER_S, dropped="blocks_request_dropped"
        )
        self._application = application

    def _answer(self, request: BlocksRequest) -> tuple[Blocks, int]:
        blocks: list[Decided] = []
        size_bytes = 0
        is_here = request.first >= self._application.first_height  # else the answer is empty, and others are asked
        end = min(request.first + request.count, self._application.height + 1) if is_here else request.first
        for number in range(request.first, end):
            decided = self._application.decided(Height(number))
            size_bytes += len(decided.proposal) + ANSWER_OVERHEAD_BYTES
            if blocks and size_bytes > ANSWER_SIZE_BYTES_MAX:
                break
            blocks.append(decided)
        cost_bytes = max(size_bytes, ANSWER_OVERHEAD_BYTES)
        return Blocks(first=request.first, blocks=tuple(blocks)), cost_bytes
