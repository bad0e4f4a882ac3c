"""Transactions that peers pass on and that wait for verification: bounded in bytes for each peer."""

import asyncio
from collections import Counter
from typing import Final

from consensus.identifiers import Address
from contracts.transactions import TRANSACTION_SIZE_BYTES_MAX
from node.mesh.messages import TRANSACTIONS_PER_MESSAGE_MAX

WAITING_SIZE_BYTES_MAX: Final = TRANSACTIONS_PER_MESSAGE_MAX * TRANSACTION_SIZE_BYTES_MAX
"""Of one peer: 4 MiB, the largest batch. Who sends more loses its own; members pass old transactions on again."""

TRANSACTION_OVERHEAD_BYTES: Final = 64
"""Counted per transaction for the objects that hold it, so that short ones are not free."""


class PeerTransactions:
    """A queue of batches, in the order of their arrival."""

    def __init__(self) -> None:
        """Makes an empty one."""
        self._batches: asyncio.Queue[tuple[Address, tuple[bytes, ...]]] = asyncio.Queue()
        self._size_bytes: Counter[Address] = Counter()

    def put(self, sender: Address, raws: tuple[bytes, ...]) -> bool:
        """Appends a batch; False if too much of this sender waits already."""
        size_bytes = _size_bytes(raws)
        waiting = self._size_bytes[sender]
        if waiting and waiting + size_bytes > WAITING_SIZE_BYTES_MAX:
            return False
        self._size_bytes[sender] += size_bytes
        self._batches.put_nowait((sender, raws))
        return True

    async def get(self) -> tuple[Address, tuple[bytes, ...]]:
        """Waits for the oldest batch and takes it, with who sent it."""
        sender, raws = await self._batches.get()
        self._size_bytes[sender] -= _size_bytes(raws)
        return sender, raws


def _size_bytes(raws: tuple[bytes, ...]) -> int:
    return sum(map(len, raws)) + TRANSACTION_OVERHEAD_BYTES * len(raws)
