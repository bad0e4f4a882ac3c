"""Tells of each decided block right after its synced write: listeners at once, subscribers when they come to it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from consensus.identifiers import Digest
from consensus.messages import CommitCertificate
from contracts.receipts import Receipt
from ledger.block import Block
from node.chain.mempool import Dropped

SUBSCRIPTION_BLOCKS_MAX: Final = 256
"""Blocks that wait for a slow subscriber before it is cut off; it resumes from the ledger by height."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedBlock:
    """A decided block right after its synced write."""

    block: Block
    digest: Digest
    certificate: CommitCertificate
    receipts: tuple[Receipt, ...]
    dropped: tuple[Dropped, ...]
    """What waited here and can no longer be decided."""
    applied_ms: int
    """Wall clock of the write on this node, milliseconds since the epoch; for people only."""


class SubscriberTooSlow(Exception):  # noqa: N818  (names the subscriber's state)
    """A subscriber left too many blocks unread; it resumes from the ledger."""


class AppliedBlocks:
    """A subscription to applied blocks: an asynchronous context manager and iterator."""

    def __init__(self, subscribers: "set[AppliedBlocks]") -> None:
        self._subscribers = subscribers
        self._queue: asyncio.Queue[AppliedBlock] = asyncio.Queue(SUBSCRIPTION_BLOCKS_MAX)
        self._is_too_slow = False

    def publish(self, applied: AppliedBlock) -> None:
        """Queues a block; a subscriber whose queue is full gets no more."""
        if self._queue.full():
            self._is_too_slow = True
        if not self._is_too_slow:
            self._queue.put_nowait(applied)

    async def __aenter__(self) -> Self:
        self._subscribers.add(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._subscribers.discard(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AppliedBlock:
        """Returns the next applied block.

        Raises:
            SubscriberTooSlow: blocks were left out; all queued ones were returned before.
        """
        if self._is_too_slow and self._queue.empty():
            raise SubscriberTooSlow
        return await self._queue.get()


class AppliedFeed:
    """Where decided blocks come out of consensus; everyone else hangs on to it."""

    def __init__(self) -> None:
        """Nobody listens yet."""
        self._listeners: list[Callable[[AppliedBlock], None]] = []
        self._subscribers: set[AppliedBlocks] = set()

    def listen(self, listener: Callable[[AppliedBlock], None]) -> None:
        """Has a part of the node called with each block, in the order in which parts asked for it."""
        self._listeners.append(listener)

    def subscribe(self) -> AppliedBlocks:
        """Returns a subscription to the blocks applied from now on (from `async with` on)."""
        return AppliedBlocks(self._subscribers)

    def publish(self, applied: AppliedBlock) -> None:
        """Tells everyone of a block."""
        for listener in self._listeners:
            listener(applied)
        for subscriber in tuple(self._subscribers):
            subscriber.publish(applied)
