"""Tells the state to those who join, and what proves it; anybody with a link may ask.

An answer is a page or a chunk of a copy that lies on the disk: what it costs is bounded before it is read, and no
request makes a copy. A copy that is found damaged is dropped, and says so nothing wrong.
"""

from collections.abc import Callable
from typing import Final, TypeVar, assert_never

from consensus.identifiers import Address, Height
from ledger.errors import CopyDamaged
from ledger.state_copy import StateCopy
from node.mesh.messages import (
    ChunkAnswer,
    ChunkRequest,
    OriginPage,
    OriginRequest,
    PeerMessage,
    SnapshotAnswer,
    SnapshotOffer,
    SnapshotQuestion,
    SnapshotRequest,
)
from node.mesh.paced_server import ANSWER_OVERHEAD_BYTES, RATE_BYTES_PER_S_MIN, PacedServer
from node.snapshots.own_snapshots import OwnSnapshots

T = TypeVar("T")

RATE_BYTES_PER_S: Final = 4 * 1024 * 1024
"""Answers to all together: 32 Mbit/s, half of what the block server may send to those who are members already."""

ENTRY_OVERHEAD_BYTES: Final = 64
"""Counted per entry for reading and encoding it."""

assert RATE_BYTES_PER_S >= RATE_BYTES_PER_S_MIN


class SnapshotServer(PacedServer[SnapshotQuestion]):
    """Serves what this node has copied."""

    def __init__(
        self,
        *,
        snapshots: OwnSnapshots,
        send: Callable[[Address, PeerMessage], None],
        refused: Callable[[str, Address], None],
    ) -> None:
        """Takes the copies, the bulk lane that answers leave by, and what counts refused requests."""
        super().__init__(
            send=send, refused=refused, rate_bytes_per_s=RATE_BYTES_PER_S, dropped="snapshot_request_dropped"
        )
        self._snapshots = snapshots

    def _answer(self, request: SnapshotQuestion) -> tuple[SnapshotAnswer, int]:
        match request:
            case SnapshotRequest():
                return _offer_of(self._snapshots.newest()), ANSWER_OVERHEAD_BYTES
            case OriginRequest():
                content = self._read(request.height, lambda copy: copy.origin_page(request.page)) or b""
                page = OriginPage(height=request.height, page=request.page, content=content)
                return page, ANSWER_OVERHEAD_BYTES + len(content)
            case ChunkRequest():
                chunk = self._read(request.height, lambda copy: copy.chunk_at(request.position))
                size_bytes = 0 if chunk is None else chunk.size_bytes + ENTRY_OVERHEAD_BYTES * len(chunk.entries)
                answer = ChunkAnswer(height=request.height, position=request.position, chunk=chunk)
                return answer, ANSWER_OVERHEAD_BYTES + size_bytes
        assert_never(request)

    def _read(self, height: Height, read: Callable[[StateCopy], T]) -> T | None:
        copy = self._snapshots.at(height)
        if copy is None:
            return None
        try:
            return read(copy)
        except CopyDamaged as error:
            self._snapshots.drop(copy, str(error))
            return None


def _offer_of(copy: StateCopy | None) -> SnapshotOffer:
    if copy is None:
        return SnapshotOffer(height=Height(0), origin_size_bytes=0)
    return SnapshotOffer(height=copy.about.height, origin_size_bytes=copy.about.origin_size_bytes)
