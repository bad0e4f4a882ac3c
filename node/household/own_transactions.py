"""The transactions that this node's meter and agent sign: numbered, written down, followed to their end.

A transaction is in the journal before it leaves the node. After a restart the same bytes are submitted again
rather than new ones signed: the old ones may still wait in other members' mempools, and a second transaction
about the same thing would be declined. It is signed anew, under a new nonce, only when the chain shows that
the first can never be decided: its nonce has passed, its last valid height is over, or this node's key was exchanged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from consensus.codec import DecodeError
from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest, Height
from contracts.receipts import Receipt
from contracts.transactions import (
    Action,
    Envelope,
    decode_transaction,
    sign_transaction,
    transaction_digest,
)
from ledger.reading import TransactionLocation
from node.home.append_log import AppendLogError, Entry, Journal, require_same

VALID_HEIGHTS: Final = 1_000
"""Heights for which a transaction stays valid: minutes on a chain at work, ten seconds on the fastest one."""


class DecidedTransactions(Protocol):
    """What the ledger says of transactions."""

    @property
    def height(self) -> Height:
        """Height of the last decided block."""
        ...

    def last_nonce(self, sender: Address) -> int | None:
        """Returns the last nonce that a sender used on the chain."""
        ...

    def find_transaction(self, digest: Digest) -> TransactionLocation | None:
        """Returns where a transaction is on the chain."""
        ...

    def receipts(self, height: Height) -> tuple[Receipt, ...]:
        """Returns the receipts of a block."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnTransaction:
    """A signed transaction of this node."""

    raw: bytes
    digest: Digest
    envelope: Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What became of a transaction."""

    transaction: OwnTransaction
    receipt: Receipt | None
    """None: it was lost, no block can contain it any more."""


class Nonces:
    """Gives each transaction a number above all earlier ones of this sender; gaps are allowed."""

    def __init__(self, last_used: int = -1) -> None:
        """Takes the highest number that was used off the chain, -1 if none was."""
        self._last_used = last_used

    def next(self, last_on_chain: int | None) -> int:
        """Returns a number above the last one on the chain (None: no account yet) and all returned before."""
        self._last_used = max(self._last_used, -1 if last_on_chain is None else last_on_chain) + 1
        return self._last_used


class OwnTransactions:
    """All transactions of this node that are not decided yet, in the order of their nonces."""

    def __init__(self, *, key: SigningKey, chain: Digest, ledger: DecidedTransactions, journal: Journal) -> None:
        """Takes up what the journal holds and the chain has not ended, and shortens the journal to that.

        Raises:
            AppendLogError: the journal holds something else.
        """
        self._key = key
        self._chain = chain
        self._ledger = ledger
        self._journal = journal
        written = [_from_entry(entry) for entry in journal.entries]
        written.sort(key=lambda transaction: transaction.envelope.nonce)
        self._waiting = {transaction.digest: transaction for transaction in written}
        self._nonces = Nonces(written[-1].envelope.nonce if written else -1)
        self.follow()
        kept = {**self._waiting, **{last.digest: last for last in written[-1:]}}
        if len(kept) < len(written):
            journal.replace(_entry(transaction) for transaction in kept.values())

    def sign(self, action: Action) -> OwnTransaction:
        """Returns a new transaction, which may leave the node after the next `sync`."""
        raw = sign_transaction(
            self._key,
            chain=self._chain,
            nonce=self._nonces.next(self._ledger.last_nonce(self._key.address)),
            valid_until_height=Height(self._ledger.height + VALID_HEIGHTS),
            action=action,
        )
        transaction = _from_raw(raw)
        self._waiting[transaction.digest] = transaction
        self._journal.append(_entry(transaction))
        return transaction

    def sync(self) -> None:
        """Makes all signed transactions durable."""
        self._journal.sync()

    def waiting(self) -> Sequence[OwnTransaction]:
        """Returns those that are not decided yet, in the order of nonces."""
        return tuple(self._waiting.values())

    def follow(self) -> tuple[Ending, ...]:
        """Takes out those that are decided or lost by the ledger's present height, and returns them."""
        last_nonce = self._ledger.last_nonce(self._key.address)
        endings = []
        for transaction in self.waiting():
            envelope = transaction.envelope
            nonce_passed = last_nonce is not None and envelope.nonce <= last_nonce
            is_other_keys = envelope.sender_key != self._key.public_key
            if nonce_passed or is_other_keys or envelope.valid_until_height <= self._ledger.height:
                del self._waiting[transaction.digest]
                endings.append(Ending(transaction=transaction, receipt=self._receipt(transaction.digest)))
        return tuple(endings)

    def _receipt(self, digest: Digest) -> Receipt | None:
        location = self._ledger.find_transaction(digest)
        return None if location is None else self._ledger.receipts(location.height)[location.index]


def _from_raw(raw: bytes) -> OwnTransaction:
    return OwnTransaction(raw=raw, digest=transaction_digest(raw), envelope=decode_transaction(raw).envelope)


def _entry(transaction: OwnTransaction) -> Entry:
    return {"raw": transaction.raw.hex()}


def _from_entry(entry: Entry) -> OwnTransaction:
    try:
        transaction = _from_raw(bytes.fromhex(entry["raw"]))
        require_same(entry, _entry(transaction))
    except (KeyError, TypeError, ValueError, DecodeError) as error:
        raise AppendLogError(f"the journal of own transactions holds something else: {error}") from None
    return transaction
