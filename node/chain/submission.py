"""The node's chain as the REST API, the meter agent and the metrics see it: submit, wait, follow, read.

A submitted transaction is verified once, goes into the mempool and on to all members. Large batches are
verified on a worker thread, small ones at once. What peers pass on goes the same way, through a queue that is bounded
for each of them.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from consensus.identifiers import Address, Digest
from contracts.transactions import transaction_digest
from ledger.ledger import Ledger
from ledger.reading import TransactionLocation
from node.chain.applied import AppliedBlock, AppliedBlocks, AppliedFeed
from node.chain.mempool import DropReason, MempoolRefusal, MempoolRefused
from node.chain.peer_transactions import PeerTransactions
from node.chain.transaction_pool import TransactionPool
from node.chain.verify_ahead import verify_ahead
from node.errors import SubmissionRefused
from node.mesh.messages import TRANSACTIONS_PER_MESSAGE_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLinks:
    """How the chain reaches the rest of the node."""

    work_changed: Callable[[], None]
    """Tells the replica that the mempool changed."""
    pass_on: Callable[[tuple[bytes, ...]], None]
    """Sends transactions to all members."""
    pass_on_of: Callable[[Address, tuple[bytes, ...]], None]
    """Sends transactions of a peer to the members that may not hear it; to nobody while links work (P9)."""
    submitted: Callable[[Digest], None]
    """Notes a transaction taken from a client or the own meter, for the commit latency."""
    peer_refused: Callable[[str], None]
    """Counts a transaction of a peer that was refused, by reason."""


class Chain:
    """Submission and reading. All methods belong to the event loop."""

    def __init__(self, *, ledger: Ledger, pool: TransactionPool, applied: AppliedFeed, links: ChainLinks) -> None:
        self.ledger: Final = ledger
        self.mempool: Final = pool.mempool
        self._pool = pool
        self._applied = applied
        self._links = links
        self._waiting: dict[Digest, set[asyncio.Future[None]]] = {}
        self._peer_batches = PeerTransactions()
        self._outgoing: list[bytes] = []
        applied.listen(self._on_applied)

    # --- submitting -----------------------------------------------------------------------------------------

    async def submit(self, raw: bytes) -> Digest:
        """Takes a client's transaction: verified, into the mempool, on to all members.

        Args:
            raw: encoding of a `SignedTransaction`.

        Returns:
            Its digest. A transaction that waits already is taken as submitted again.

        Raises:
            SubmissionRefused: with the reason; nothing changed.
        """
        try:
            digest = self._pool.take(raw)
        except MempoolRefused as refused:
            if refused.refusal is not MempoolRefusal.TRANSACTION_KNOWN:
                raise
            return transaction_digest(raw)
        self._links.submitted(digest)
        self._pass_on_soon(raw)
        self._links.work_changed()
        return digest

    def _pass_on_soon(self, raw: bytes) -> None:
        """Transactions submitted in one turn of the event loop travel in one message."""
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(raw)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        for first in range(0, len(outgoing), TRANSACTIONS_PER_MESSAGE_MAX):
            self._links.pass_on(tuple(outgoing[first : first + TRANSACTIONS_PER_MESSAGE_MAX]))

    def take_from_peer(self, sender: Address, raws: tuple[bytes, ...]) -> None:
        """Queues what a peer passed on; dropped when too much of it waits."""
        if not self._peer_batches.put(sender, raws):
            self._links.peer_refused("transactions_dropped")

    async def run(self) -> None:
        """Verifies what peers pass on, until cancelled."""
        while True:
            sender, raws = await self._peer_batches.get()
            await verify_ahead(self.ledger, raws)
            new = tuple(raw for raw in raws if self._is_taken(raw))
            if new:  # so each goes on once, and none that is refused
                self._links.pass_on_of(sender, new)
            self._links.work_changed()

    def _is_taken(self, raw: bytes) -> bool:
        try:
            self._pool.take(raw)
        except SubmissionRefused as refused:
            if refused.reason != MempoolRefusal.TRANSACTION_KNOWN.value:
                self._links.peer_refused(refused.reason)
            return False
        return True

    def pass_on_old(self, age_ms: int) -> None:
        """Sends transactions that wait longer than `age_ms` to all members again: some may have missed them."""
        raws = self._pool.older_than(age_ms)
        if raws:
            self._links.pass_on(tuple(raws))

    # --- following ------------------------------------------------------------------------------------------

    def subscribe(self) -> AppliedBlocks:
        """Returns a subscription to the blocks applied from now on (from `async with` on)."""
        return self._applied.subscribe()

    async def wait_for(self, digest: Digest, timeout_s: float) -> TransactionLocation | None:
        """Waits until a transaction is on the chain.

        Returns:
            Where it is, or None if it was not decided in time.

        Raises:
            SubmissionRefused: it left the mempool undecided (`nonce_passed`, `expired`, `other_key`).
        """
        location = self.ledger.find_transaction(digest)
        if location is not None:
            return location
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(digest, set())
        waiting.add(future)
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            return None
        finally:
            waiting.discard(future)
            if not waiting:
                self._waiting.pop(digest, None)
        return self.ledger.find_transaction(digest)

    def _on_applied(self, applied: AppliedBlock) -> None:
        """Tells those who wait for what a written block contains, or makes impossible."""
        for receipt in applied.receipts:
            self._resolve(receipt.transaction, None)
        for drop in applied.dropped:
            self._resolve(drop.digest, drop.reason)

    def _resolve(self, digest: Digest, dropped: DropReason | None) -> None:
        for future in self._waiting.pop(digest, ()):
            if future.done():
                continue
            if dropped is None:
                future.set_result(None)
            else:
                detail = "it can no longer be decided; sign the transaction again"
                future.set_exception(SubmissionRefused(dropped.value, detail))
