"""Reads decided blocks back from the store, as records; what does not decode is damage at its height."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

from consensus.codec import DecodeError, Record, decode
from consensus.identifiers import Digest, Height
from consensus.messages import CommitCertificate
from contracts.receipts import Receipt
from contracts.state import StateKey
from ledger.block import Block, BlockHeader
from ledger.errors import LedgerDamaged
from ledger.store import (
    HEIGHT_SIZE_BYTES,
    INDEX_SIZE_BYTES,
    Store,
    block_digest_key,
    block_key,
    certificate_key,
    height_from,
    receipts_key,
    transaction_key,
)

T = TypeVar("T")

RECEIPTS_REMEMBERED_HEIGHTS: Final = 8
"""Newest heights whose receipts stay decoded: clients ask for each transaction of a fresh block on its own."""


class TransactionLocation(Record, frozen=True, kw_only=True, tag="location"):
    """Where a transaction stands on the chain."""

    height: Height
    index: int
    """Its place in the block, from 0."""


class NewestState:
    """The state after the tip, as a `StateReader`."""

    def __init__(self, store: Store) -> None:
        """Takes the store."""
        self._store = store

    def get(self, key: StateKey) -> bytes | None:
        """Returns the value that the key has."""
        version = self._store.newest_version(key)
        return None if version is None else version[1]


class BlockReader:
    """The decided blocks of an open store."""

    def __init__(self, store: Store) -> None:
        """Takes the store."""
        self._store = store
        self._receipts: OrderedDict[Height, tuple[Receipt, ...]] = OrderedDict()

    def block(self, height: Height) -> Block | None:
        """Returns the block of a height, None if there is none."""
        return self._decoded(block_key, height, Block, "block")

    def decided_block(self, height: Height) -> Block:
        """Returns the block of a height that is decided.

        Raises:
            LedgerDamaged: it is missing.
        """
        block = self.block(height)
        if block is None:
            raise LedgerDamaged("the block is missing", height=height)
        return block

    def block_bytes(self, height: Height) -> bytes | None:
        """Returns the block of a height as it is stored and sent."""
        return self._store.get(block_key(height))

    def certificate(self, height: Height) -> CommitCertificate | None:
        """Returns the certificate that decided a height, None if there is none."""
        return self._decoded(certificate_key, height, CommitCertificate, "certificate")

    def receipts(self, height: Height) -> tuple[Receipt, ...]:
        """Returns the receipts of a height's block; none for heights without a block."""
        remembered = self._receipts.get(height)
        if remembered is not None:
            return remembered
        stored = self._decoded(receipts_key, height, tuple[Receipt, ...], "receipts")
        if stored is None:
            return ()
        self._receipts[height] = stored  # a decided height's receipts never change
        if len(self._receipts) > RECEIPTS_REMEMBERED_HEIGHTS:
            self._receipts.popitem(last=False)
        return stored

    def receipts_bytes(self, height: Height) -> bytes:
        """Returns the receipts of a height's block as they are stored; nothing for heights without a block."""
        return self._store.get(receipts_key(height)) or b""

    def height_of_block(self, digest: Digest) -> Height | None:
        """Returns the height of a block by its digest, None if the chain has no such block."""
        stored = self._store.get(block_digest_key(digest))
        if stored is None:
            return None
        if len(stored) != HEIGHT_SIZE_BYTES:
            raise LedgerDamaged(f"the height of block {digest.hex()} has {len(stored)} bytes")
        return height_from(stored)

    def find_transaction(self, digest: Digest) -> TransactionLocation | None:
        """Returns where a transaction stands, None if the chain does not have it."""
        stored = self._store.get(transaction_key(digest))
        if stored is None:
            return None
        if len(stored) != HEIGHT_SIZE_BYTES + INDEX_SIZE_BYTES:
            raise LedgerDamaged(f"the place of transaction {digest.hex()} has {len(stored)} bytes")
        height, index = height_from(stored[:HEIGHT_SIZE_BYTES]), stored[HEIGHT_SIZE_BYTES:]
        return TransactionLocation(height=height, index=int.from_bytes(index, "big"))

    def decided_header(self, height: Height) -> tuple[BlockHeader, CommitCertificate]:
        """Returns the header and the certificate of a height that is decided.

        Raises:
            LedgerDamaged: one of them is missing.
        """
        block, certificate = self.decided_block(height), self.certificate(height)
        if certificate is None:
            raise LedgerDamaged("the certificate is missing", height=height)
        return block.header, certificate

    def _decoded(self, key_of: Callable[[Height], bytes], height: Height, expected: type[T], name: str) -> T | None:
        data = self._store.get(key_of(height))
        if data is None:
            return None
        try:
            return decode(data, expected)
        except DecodeError as error:
            raise LedgerDamaged(f"the {name} is not one: {error}", height=height) from None
