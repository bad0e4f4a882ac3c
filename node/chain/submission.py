"""The node's chain as the REST API, the meter agent and the metrics see it: submit, wait, follow, read.

A submitted transaction is verified once, goes into the mempool and on to all members. Large batches are
verified on a worker thread, small ones at once. What peers pass on goes the same way, through a queue that is bounded
for each of them.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from consensus.explanation import Explanation
from consensus.identifiers import Address, Digest, Height, Slot
from consensus.messages import CommitCertificate
from contracts.receipts import Receipt
from contracts.transactions import transaction_digest
from ledger.block import Block
from ledger.errors import TransactionRefused
from ledger.ledger import Ledger
from ledger.reading import TransactionLocation
from ledger.transactions import envelope_refusal
from node.chain.mempool import DropReason, Mempool, MempoolRefusal, MempoolRefused
from node.chain.peer_transactions import PeerTransactions
from node.errors import SubmissionRefused
from node.mesh.messages import TRANSACTIONS_PER_MESSAGE_MAX

SUBSCRIPTION_BLOCKS_MAX: Final = 256
"""Blocks that wait for a slow subscriber before it is cut off; it resumes from the ledger by height."""

INLINE_VERIFICATIONS_MAX: Final = 8
"""Signatures checked in the event loop: 0.6 ms. More go to a worker thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedBlock:
    """A decided block right after its synced write."""

    block: Block
    digest: Digest
    certificate: CommitCertificate
    receipts: tuple[Receipt, ...]
    applied_ms: int
    """Wall clock of the write on this node, milliseconds since the epoch; for people only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStatus:
    """Where the replica stands."""

    undecided_height: Height
    present_slot: Slot
    phase: str
    """The replica's phase by name: `waiting`, `voted`, `prepared`, `changing_view`, `applying`."""
    view_changes: int
    """VIEW-CHANGEs sent since the node started."""
    leader: Address
    """Leader of the present slot."""
    is_silent: bool = False
    """Nothing is signed now, because what was signed before is not at hand."""
    silent_through: Height | None = None
    """Last height at which that is so; None while the other members are asked for it, or if it is not so."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLinks:
    """How the chain reaches the rest of the node."""

    monotonic_ms: Callable[[], int]
    work_changed: Callable[[], None]
    """Tells the replica that the mempool changed."""
    pass_on: Callable[[tuple[bytes, ...]], None]
    """Sends transactions to all members."""
    replica_status: Callable[[], ReplicaStatus]
    explain: Callable[[], Explanation]
    """Why the undecided height is not decided."""
    peers_connected: Callable[[], frozenset[Address]]
    submitted: Callable[[Digest], None]
    """Notes a transaction taken from a client or the own meter, for the commit latency."""
    peer_refused: Callable[[str], None]
    """Counts a transaction of a peer that was refused, by reason."""


class Chain:
    """Submission and reading. All methods belong to the event loop."""

    def __init__(self, *, ledger: Ledger, mempool: Mempool, links: ChainLinks) -> None:
        self.ledger: Final = ledger
        self.mempool: Final = mempool
        self._links = links
        self._subscribers: set[AppliedBlocks] = set()
        self._waiting: dict[Digest, set[asyncio.Future[None]]] = {}
        self._peer_batches = PeerTransactions()
        self._outgoing: list[bytes] = []

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
            self._take(raw)
        except MempoolRefused as refused:
            if refused.refusal is not MempoolRefusal.TRANSACTION_KNOWN:
                raise
            return transaction_digest(raw)
        digest = transaction_digest(raw)
        self._links.submitted(digest)
        self._pass_on_soon(raw)
        self._links.work_changed()
        return digest

    def _take(self, raw: bytes) -> None:
        """Verifies a transaction and puts it into the mempool."""
        try:
            transaction = self.ledger.verifier.verify(raw)
        except TransactionRefused as refused:
            raise SubmissionRefused(refused.reason.value, refused.detail) from None
        envelope = transaction.envelope
        refusal = envelope_refusal(
            envelope,
            last_nonce=self.ledger.last_nonce(envelope.sender),
            height=Height(self.ledger.height + 1),
            node_key=self.ledger.node_key_of(envelope.sender),
        )
        if refusal is not None:
            raise SubmissionRefused(refusal.reason.value, refusal.detail)
        self.mempool.add(
            transaction,
            raw=raw,
            digest=transaction_digest(raw),
            arrival_ms=self._links.monotonic_ms(),
        )

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

    def take_from_block(self, raws: tuple[bytes, ...]) -> None:
        """Keeps a valid proposal's transactions pending here too (P6): if its slot fails, any leader has them."""
        for raw in raws:
            with suppress(SubmissionRefused):  # most wait here already
                self._take(raw)

    async def run(self) -> None:
        """Verifies what peers pass on, until cancelled."""
        while True:
            raws = await self._peer_batches.get()
            await verify_ahead(self.ledger, raws)
            for raw in raws:
                try:
                    self._take(raw)
                except SubmissionRefused as refused:
                    if refused.reason != MempoolRefusal.TRANSACTION_KNOWN.value:
                        self._links.peer_refused(refused.reason)
            self._links.work_changed()

    def pass_on_old(self, age_ms: int) -> None:
        """Sends transactions that wait longer than `age_ms` to all members again: some may have missed them."""
        raws = self.mempool.older_than(self._links.monotonic_ms() - age_ms)
        if raws:
            self._links.pass_on(tuple(raws))

    # --- following ------------------------------------------------------------------------------------------

    def subscribe(self) -> AppliedBlocks:
        """Returns a subscription to the blocks applied from now on (from `async with` on)."""
        return AppliedBlocks(self._subscribers)

    async def wait_for(self, digest: Digest, timeout_s: float) -> TransactionLocation | None:
        """Waits until a transaction is on the chain.

        Returns:
            Where it is, or None if it was not decided in time.

        Raises:
            SubmissionRefused: it left the mempool undecided (`nonce_passed`, `expired`).
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

    def on_applied(self, applied: AppliedBlock) -> None:
        """Clears the mempool of a written block and tells those who wait and follow."""
        digests = [receipt.transaction for receipt in applied.receipts]
        dropped = self.mempool.on_applied(
            digests, last_nonce=self.ledger.last_nonce, height=applied.block.header.height
        )
        for digest in digests:
            self._resolve(digest, None)
        for drop in dropped:
            self._resolve(drop.digest, drop.reason)
        for subscriber in tuple(self._subscribers):
            subscriber.publish(applied)

    def _resolve(self, digest: Digest, dropped: DropReason | None) -> None:
        for future in self._waiting.pop(digest, ()):
            if future.done():
                continue
            if dropped is None:
                future.set_result(None)
            else:
                detail = "it can no longer be decided; sign the transaction again"
                future.set_exception(SubmissionRefused(dropped.value, detail))

    # --- looking --------------------------------------------------------------------------------------------

    def replica_status(self) -> ReplicaStatus:
        """Returns where the replica stands."""
        return self._links.replica_status()

    def explain(self) -> Explanation:
        """Returns why nothing is decided, as this member sees it."""
        return self._links.explain()

    def peers_connected(self) -> frozenset[Address]:
        """Returns the members whose link from here is up."""
        return self._links.peers_connected()


async def verify_ahead(ledger: Ledger, raws: Sequence[bytes]) -> None:
    """Verifies transactions on a worker thread if they are many, so that later checks find them remembered."""
    unknown = [raw for raw in raws if ledger.verifier.known(transaction_digest(raw)) is None]
    if len(unknown) > INLINE_VERIFICATIONS_MAX:
        await asyncio.to_thread(_verify_all, ledger, unknown)


def _verify_all(ledger: Ledger, raws: Sequence[bytes]) -> None:
    for raw in raws:
        try:
            ledger.verifier.verify(raw)
        except TransactionRefused:
            continue  # whoever checks it next gets the reason
