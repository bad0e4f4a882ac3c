"""How a transaction comes to wait for a block: verified once, possible at the next height, into the mempool."""

from collections.abc import Callable, Iterable
from contextlib import suppress

from consensus.identifiers import Address, Digest, Height
from contracts.rule_records import Rules
from contracts.state import RULES_KEY
from contracts.state_reading import require
from contracts.transactions import transaction_digest
from ledger.errors import TransactionRefused
from ledger.ledger import Ledger
from ledger.transactions import envelope_refusal
from node.chain.mempool import Dropped, Mempool, MempoolRefusal, MempoolRefused, Standing
from node.errors import SubmissionRefused


class TransactionPool:
    """A ledger's transactions to come."""

    def __init__(self, *, ledger: Ledger, mempool: Mempool, monotonic_ms: Callable[[], int]) -> None:
        """Takes the ledger that judges transactions, what holds them, and the clock of their arrival."""
        self.mempool = mempool
        self._ledger = ledger
        self._monotonic_ms = monotonic_ms
        self._standings: dict[Address, Standing] = {}
        """Of senders with a wallet, after the ledger's newest block: most send more than one transaction a block."""
        self._version: int | None = None
        """Of the rules of the next block; None until a transaction asks for it."""

    def take(self, raw: bytes) -> Digest:
        """Verifies a transaction and puts it into the mempool.

        Args:
            raw: encoding of a `SignedTransaction`.

        Returns:
            Its digest.

        Raises:
            SubmissionRefused: with the reason; nothing changed.
        """
        ledger, digest = self._ledger, transaction_digest(raw)
        if self.mempool.contains(digest):  # before anything else: members pass the same on to each other
            raise MempoolRefused(MempoolRefusal.TRANSACTION_KNOWN, "this transaction already waits for a block")
        try:
            transaction = ledger.verifier.verify(raw, digest)
        except TransactionRefused as refused:
            raise SubmissionRefused(refused.reason.value, refused.detail) from None
        standing = self._standing_of(transaction.sender)
        refusal = envelope_refusal(
            transaction,
            last_nonce=standing.last_nonce,
            height=Height(ledger.height + 1),
            key=standing.key,
            version=self._rules_version(),
        )
        if refusal is not None:
            raise SubmissionRefused(refusal.reason.value, refusal.detail)
        self.mempool.add(transaction, arrival_ms=self._monotonic_ms())
        return digest

    def take_all(self, raws: Iterable[bytes]) -> tuple[bytes, ...]:
        """Takes those that may wait here and do not already; returns those."""
        new = []
        for raw in raws:
            with suppress(SubmissionRefused):
                self.take(raw)
                new.append(raw)
        return tuple(new)

    def on_applied(self, decided: Iterable[Digest]) -> tuple[Dropped, ...]:
        """Removes what the ledger's newest block contains, and what no later one may; returns the latter."""
        self._standings.clear()
        self._version = None
        return self.mempool.on_applied(decided, standing_of=self._standing_of, height=self._ledger.height)

    def older_than(self, age_ms: int) -> list[bytes]:
        """Returns what waits longer than `age_ms`, the oldest first, to be passed on once more."""
        return self.mempool.older_than(self._monotonic_ms() - age_ms)

    def _rules_version(self) -> int:
        if self._version is None:
            self._version = require(self._ledger, RULES_KEY, Rules).version
        return self._version

    def _standing_of(self, sender: Address) -> Standing:
        standing = self._standings.get(sender)
        if standing is None:
            standing = Standing(self._ledger.last_nonce(sender), self._ledger.key_of(sender))
            if standing.last_nonce is not None:  # of names that anyone could invent nothing is kept
                self._standings[sender] = standing
        return standing
