"""Transactions that wait for a block: verified, bounded, and each sender's in the order of its nonces.

It never checks a signature or a balance and never reads a clock: transactions come verified, moments are handed
in. A transaction is held twice: by digest in the order of arrival, and by sender in the order of nonces. A
leader takes the oldest first; where it is a sender's turn, that sender's lowest nonce goes, as a higher one
decided first would void all below it.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from consensus.identifiers import Address, Digest, Height, PublicKey
from contracts.transactions import Transaction
from node.errors import SubmissionRefused
from node.mesh.messages import TRANSACTIONS_PER_MESSAGE_MAX

RETRY_AFTER_S: Final = 1.0
"""When a refused sender may try again: a deployed chain decides a block about once a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MempoolLimits:
    """Bounds of a mempool, all inclusive."""

    transactions_max: int = 20_000
    """Waiting transactions of all senders together: some four seconds of the fastest chain of this kind."""
    size_bytes_max: int = 32 * 1024 * 1024
    """Their bytes: 20,000 of 1.6 KB, above the largest trade."""
    sender_transactions_max: int = 1_024
    """Waiting transactions of one sender: one block's worth, so that one sender never fills the mempool."""


class MempoolRefusal(Enum):
    """Why a transaction is not taken."""

    TRANSACTION_KNOWN = "transaction_known"
    NONCE_TAKEN = "nonce_taken"
    QUOTA = "quota"
    FULL = "mempool_full"


class MempoolRefused(SubmissionRefused):
    """A transaction is not taken into the mempool."""

    def __init__(self, refusal: MempoolRefusal, detail: str, *, retry_after_s: float | None = None) -> None:
        """Takes why, a sentence for people, and when trying again may help (None: it never does)."""
        super().__init__(refusal.value, detail, retry_after_s=retry_after_s)
        self.refusal = refusal


class DropReason(Enum):
    """Why a waiting transaction can no longer be decided."""

    NONCE_PASSED = "nonce_passed"
    EXPIRED = "expired"
    OTHER_KEY = "other_key"
    """The sender acts by another key now."""


class Standing(NamedTuple):
    """What the state says of a sender."""

    last_nonce: int | None
    """-1 before the first; None if it has no wallet."""
    key: PublicKey | None
    """That acts for it; None if none does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A transaction that left the mempool without being decided."""

    digest: Digest
    reason: DropReason


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    transaction: Transaction
    arrival_ms: int


def _nonce_of(waiting: _Waiting) -> int:
    return waiting.transaction.envelope.nonce


class Mempool:
    """Waiting transactions, bounded in count and bytes and per sender. At most one per (sender, nonce)."""

    def __init__(self, *, limits: MempoolLimits) -> None:
        """Takes the bounds; starts empty."""
        self._limits = limits
        self._by_digest: dict[Digest, _Waiting] = {}  # in the order of arrival
        self._by_sender: dict[Address, list[_Waiting]] = {}  # each in the order of nonces, never empty
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._by_digest)

    @property
    def size_bytes(self) -> int:
        """Bytes of all waiting transactions."""
        return self._size_bytes

    def contains(self, digest: Digest) -> bool:
        """Says whether a transaction waits here."""
        return digest in self._by_digest

    def raw(self, digest: Digest) -> bytes | None:
        """Returns the bytes of a waiting transaction, None if it does not wait here."""
        waiting = self._by_digest.get(digest)
        return None if waiting is None else waiting.transaction.raw

    def of_sender(self, sender: Address) -> tuple[Transaction, ...]:
        """Returns what waits here of one sender, in the order of nonces."""
        return tuple(waiting.transaction for waiting in self._by_sender.get(sender, ()))

    def add(self, transaction: Transaction, *, arrival_ms: int) -> None:
        """Takes a verified transaction.

        Args:
            transaction: form, chain and signature already checked.
            arrival_ms: when it came, on the node's monotonic clock; not smaller than at the last call.

        Raises:
            MempoolRefused: it is known, its nonce is taken, its sender's quota is used up, or there is no room.
        """
        self._check(transaction)
        waiting = _Waiting(transaction=transaction, arrival_ms=arrival_ms)
        self._by_digest[transaction.digest] = waiting
        insort(self._by_sender.setdefault(transaction.sender, []), waiting, key=_nonce_of)
        self._size_bytes += len(transaction.raw)

    def _check(self, transaction: Transaction) -> None:
        if transaction.digest in self._by_digest:
            raise MempoolRefused(MempoolRefusal.TRANSACTION_KNOWN, "this transaction already waits for a block")
        queue, nonce = self._by_sender.get(transaction.sender, []), transaction.envelope.nonce
        position = bisect_left(queue, nonce, key=_nonce_of)
        if position < len(queue) and _nonce_of(queue[position]) == nonce:
            detail = f"another transaction of this sender with nonce {nonce} already waits for a block"
            raise MempoolRefused(MempoolRefusal.NONCE_TAKEN, detail)
        if len(queue) >= self._limits.sender_transactions_max:
            detail = f"{len(queue)} transactions of this sender already wait for a block"
            raise MempoolRefused(MempoolRefusal.QUOTA, detail, retry_after_s=RETRY_AFTER_S)
        if (
            len(self._by_digest) >= self._limits.transactions_max
            or self._size_bytes + len(transaction.raw) > self._limits.size_bytes_max
        ):
            detail = f"{len(self)} transactions with {self._size_bytes} bytes already wait for a block"
            raise MempoolRefused(MempoolRefusal.FULL, detail, retry_after_s=RETRY_AFTER_S)

    def candidates(self, *, transactions_max: int, size_bytes_max: int) -> list[Transaction]:
        """Returns what a leader should propose: the oldest first, each sender's in the order of nonces.

        Args:
            transactions_max: most transactions returned.
            size_bytes_max: most bytes of them together; the first that does not fit ends the list.
        """
        chosen: list[Transaction] = []
        room_bytes = size_bytes_max
        turns: dict[Address, int] = {}
        for oldest in self._by_digest.values():
            sender = oldest.transaction.sender
            turn = turns.get(sender, 0)
            transaction = self._by_sender[sender][turn].transaction
            if len(chosen) >= transactions_max or len(transaction.raw) > room_bytes:
                break
            chosen.append(transaction)
            room_bytes -= len(transaction.raw)
            turns[sender] = turn + 1
        return chosen

    def on_applied(
        self,
        decided: Iterable[Digest],
        *,
        standing_of: Callable[[Address], Standing],
        height: Height,
    ) -> tuple[Dropped, ...]:
        """Removes what a decided block contains, and what no later block may contain.

        Args:
            decided: digests of the block's transactions.
            standing_of: what the state says of a sender after the block.
            height: the block's height.

        Returns:
            What was dropped without being decided.
        """
        for digest in decided:
            waiting = self._by_digest.get(digest)
            if waiting is not None:
                self._remove(waiting)
        dropped = [
            (waiting, reason)
            for sender, queue in self._by_sender.items()
            for waiting, reason in _droppable(queue, standing_of(sender), height)
        ]
        for waiting, _ in dropped:
            self._remove(waiting)
        return tuple(Dropped(digest=waiting.transaction.digest, reason=reason) for waiting, reason in dropped)

    def _remove(self, waiting: _Waiting) -> None:
        transaction = waiting.transaction
        del self._by_digest[transaction.digest]
        queue = self._by_sender[transaction.sender]
        position = bisect_left(queue, _nonce_of(waiting), key=_nonce_of)
        assert queue[position] is waiting, "both indexes hold the same transactions"
        del queue[position]
        if not queue:
            del self._by_sender[transaction.sender]
        self._size_bytes -= len(transaction.raw)

    def oldest_arrival_ms(self) -> int | None:
        """Returns when the longest waiting transaction came, None if none waits."""
        oldest = next(iter(self._by_digest.values()), None)
        return None if oldest is None else oldest.arrival_ms

    def older_than(self, moment_ms: int, *, transactions_max: int = TRANSACTIONS_PER_MESSAGE_MAX) -> list[bytes]:
        """Returns what came before `moment_ms`, the oldest first, to be passed on once more."""
        chosen: list[bytes] = []
        for waiting in self._by_digest.values():
            if waiting.arrival_ms >= moment_ms or len(chosen) >= transactions_max:
                break
            chosen.append(waiting.transaction.raw)
        return chosen


def _droppable(queue: list[_Waiting], standing: Standing, height: Height) -> Iterable[tuple[_Waiting, DropReason]]:
    last_nonce, key = standing
    for waiting in queue:
        if last_nonce is not None and _nonce_of(waiting) <= last_nonce:
            yield waiting, DropReason.NONCE_PASSED
        elif waiting.transaction.envelope.sender_key != key:
            yield waiting, DropReason.OTHER_KEY
        elif waiting.transaction.envelope.valid_until_height <= height:
            yield waiting, DropReason.EXPIRED
