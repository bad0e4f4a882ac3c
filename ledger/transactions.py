"""Checks of a transaction's envelope: what no block may contain, told apart from what a block declines.

Form, chain and signature depend on nothing but the bytes: they are checked once and remembered by digest,
as the signature is four fifths of a transaction's cost. Sender, nonce and last valid height depend on the state.
"""

from collections import OrderedDict
from threading import Lock
from typing import Final

from consensus.codec import DecodeError, Malformed
from consensus.identifiers import Digest, Height, PublicKey
from contracts.transactions import (
    NONCE_STEP_MAX,
    SignedTransaction,
    Transaction,
    decode_transaction,
    first_version,
    signature_holds,
)
from ledger.errors import TransactionRefusal, TransactionRefused

REMEMBERED_MAX: Final = 65_536
"""Transactions between their arrival and their block, about 100 MB at worst; a forgotten one is checked again."""


class TransactionVerifier:
    """Verifies each transaction's signature once. May be shared by threads."""

    def __init__(self, chain: Digest, *, remembered_max: int = REMEMBERED_MAX) -> None:
        """Takes the chain that transactions must name, and how many verified ones are remembered (>= 1)."""
        assert remembered_max >= 1
        self._chain = chain
        self._remembered_max = remembered_max
        self._remembered: OrderedDict[Digest, Transaction] = OrderedDict()
        self._lock = Lock()

    def verify(self, raw: bytes, digest: Digest) -> Transaction:
        """Returns the transaction that `raw` encodes, of this chain and signed by its sender.

        Args:
            raw: encoding of a `SignedTransaction`, whatever it is.
            digest: its `transaction_digest`.

        Raises:
            TransactionRefused: `TOO_LARGE`, `MALFORMED`, `WRONG_CHAIN` or `BAD_SIGNATURE`.
        """
        known = self.known(digest)
        if known is not None:
            return known
        signed = _decoded(raw)
        envelope = signed.envelope
        if envelope.chain != self._chain:
            raise TransactionRefused(
                TransactionRefusal.WRONG_CHAIN,
                f"for chain {envelope.chain.hex()}, this is {self._chain.hex()}",
            )
        sender = envelope.sender
        if not signature_holds(signed):
            raise TransactionRefused(TransactionRefusal.BAD_SIGNATURE, f"not signed by {sender.hex()}")
        transaction = Transaction(raw=raw, digest=digest, envelope=envelope)
        self._remember(transaction)
        return transaction

    def known(self, digest: Digest) -> Transaction | None:
        """Returns a transaction that was verified lately, by the hash of its raw bytes."""
        with self._lock:
            transaction = self._remembered.get(digest)
            if transaction is not None:
                self._remembered.move_to_end(digest)
            return transaction

    def _remember(self, transaction: Transaction) -> None:
        with self._lock:
            self._remembered[transaction.digest] = transaction
            while len(self._remembered) > self._remembered_max:
                self._remembered.popitem(last=False)


def _decoded(raw: bytes) -> SignedTransaction:
    try:
        return decode_transaction(raw)
    except DecodeError as error:
        too_large = error.reason is Malformed.TOO_LARGE
        reason = TransactionRefusal.TOO_LARGE if too_large else TransactionRefusal.MALFORMED
        raise TransactionRefused(reason, str(error)) from None


def envelope_refusal(  # noqa: PLR0911  (a case each)
    transaction: Transaction, *, last_nonce: int | None, height: Height, key: PublicKey | None, version: int
) -> TransactionRefused | None:
    """Says whether the block of a height may contain a verified transaction.

    Args:
        transaction: as `TransactionVerifier.verify` returned it.
        last_nonce: of the sender before this transaction; None if the chain does not know the sender.
        height: of the block.
        key: that acts for the sender at present (`contracts.offices.acting_key`); None if it is nobody.
        version: of the rules of that height.

    Returns:
        None, or the refusal: `MALFORMED`, as older programs say of an action that these rules do not have,
        `UNKNOWN_SENDER`, `OTHER_KEY`, `NONCE_PASSED`, `NONCE_TOO_HIGH` or `EXPIRED`.
    """
    envelope = transaction.envelope
    if version < first_version(envelope.action):
        return TransactionRefused(
            TransactionRefusal.MALFORMED,
            f"version {first_version(envelope.action)} of the rules has such an action first, this is {version}",
        )
    if last_nonce is None:
        return TransactionRefused(TransactionRefusal.UNKNOWN_SENDER, f"{envelope.sender.hex()} has no account")
    if envelope.sender_key != key:
        return TransactionRefused(
            TransactionRefusal.OTHER_KEY, f"{envelope.sender_key.hex()} is not the key of {envelope.sender.hex()}"
        )
    if envelope.nonce <= last_nonce:
        return TransactionRefused(
            TransactionRefusal.NONCE_PASSED, f"nonce {envelope.nonce}, the sender's last is {last_nonce}"
        )
    if envelope.nonce > last_nonce + NONCE_STEP_MAX:
        return TransactionRefused(
            TransactionRefusal.NONCE_TOO_HIGH,
            f"nonce {envelope.nonce}, the sender's last is {last_nonce}, {NONCE_STEP_MAX} above it at most",
        )
    if envelope.valid_until_height < height:
        return TransactionRefused(
            TransactionRefusal.EXPIRED,
            f"valid until height {envelope.valid_until_height}, this is {height}",
        )
    return None
