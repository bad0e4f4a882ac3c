"""What the members agree on, as consensus sees it: blocks as bytes, in their order, and what waits to be ordered.

The driver, block sync and sign recovery know no more of the ledger than this. The simulator runs them on this
application too, and, where thousands of runs count, on one whose blocks are cheap.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final, Protocol

from consensus.codec import DecodeError, decode, encode
from consensus.eras import Eras
from consensus.events import BlockOrigin, Decision
from consensus.identifiers import Address, Digest, Height, Slot
from consensus.membership import Membership, Memberships
from consensus.messages import Body, CommitCertificate, Decided, Message, PrePrepare
from contracts.randomness import draw_waits
from ledger.block import Block, block_digest, block_is_whole
from ledger.errors import LedgerDamaged
from ledger.ledger import Ledger
from ledger.validation import rules_in
from node.chain.applied import AppliedBlock
from node.chain.records import DecidedChain
from node.chain.transaction_pool import TransactionPool
from node.logs import get_logger

DECODED_BLOCKS_MAX: Final = 4
"""Blocks kept decoded: a proposal is named, executed and applied within a moment, by the same bytes."""


class Application(DecidedChain, Protocol):
    """One member's decided chain, its records of the undecided height, and its waiting requests."""

    @property
    def first_height(self) -> Height:
        """Lowest height whose block is here; 1 as a rule."""
        ...

    def decided(self, height: Height) -> Decided:
        """Returns a decided block, from `first_height` on, with the certificate that decided it here."""
        ...

    # --- blocks as bytes ----------------------------------------------------------------------------------------

    def has_its_name(self, message: Message) -> bool:
        """Says whether the block in a message, if there is one, is whole and what its digest names."""
        ...

    def extends_tip(self, proposal: bytes) -> bool:
        """Says whether a whole block claims to be the next one of this chain."""
        ...

    def transactions_in(self, proposal: bytes) -> tuple[bytes, ...]:
        """Returns the requests of a whole block."""
        ...

    def parent_certificate(self, proposal: bytes) -> CommitCertificate | None:
        """Returns the certificate of the block before that a whole block carries."""
        ...

    def check(self, proposal: bytes) -> BlockOrigin | None:
        """Executes a whole block of the undecided height; returns what its header says, None if it is invalid."""
        ...

    def build(self, slot: Slot, *, may_be_empty: bool) -> tuple[Digest, bytes] | None:
        """Makes and executes the block that this member proposes; None if it has nothing to propose."""
        ...

    # --- durable ------------------------------------------------------------------------------------------------

    def records(self) -> Mapping[bytes, bytes]:
        """Returns the records of the undecided height (`records`)."""
        ...

    def drop_records(self) -> None:
        """Drops the records, in one synced write."""
        ...

    def persist(self, records: Mapping[bytes, bytes]) -> None:
        """Adds to the records, or replaces them by key, in one synced write."""
        ...

    def append(self, decision: Decision) -> None:
        """Makes a decided block permanent and drops the records, in one synced write; then tells of it."""
        ...

    # --- requests -----------------------------------------------------------------------------------------------

    def take_all(self, requests: Iterable[bytes]) -> tuple[bytes, ...]:
        """Lets requests wait that may, and do not already; returns those."""
        ...

    def oldest_arrival_ms(self) -> int | None:
        """Returns when the longest waiting request came (monotonic), None if none waits."""
        ...


class LedgerApplication:
    """The ledger and the transactions that wait for it. See `Application`."""

    def __init__(
        self,
        *,
        own: Address,
        prove: Callable[[Membership, bytes], bytes],
        ledger: Ledger,
        pool: TransactionPool,
        applied: Callable[[AppliedBlock], None],
    ) -> None:
        """Takes this member's address and what it proves among the members of a height, its ledger and pool, and who
        is told of each block after its write.
        """
        self._own = own
        # once per height, however often its block is built
        self._prove = lru_cache(1)(lambda statement: prove(ledger.membership(), statement))
        self._ledger = ledger
        self._pool = pool
        self._applied = applied
        self._block_of = lru_cache(DECODED_BLOCKS_MAX)(_decoded)
        self._log = get_logger("consensus")

    @property
    def eras(self) -> Eras:
        """Of the chain, for every height."""
        return self._ledger.eras

    @property
    def height(self) -> Height:
        """Last decided height."""
        return self._ledger.height

    @property
    def tip(self) -> Digest:
        """Digest of the last decided block."""
        return self._ledger.tip

    @property
    def tip_slot(self) -> Slot:
        """Header slot of the last decided block."""
        return self._ledger.tip_slot

    def memberships(self) -> Memberships:
        """Returns the members of the undecided height and of the next."""
        return self._ledger.memberships()

    @property
    def first_height(self) -> Height:
        """Lowest height whose block is here."""
        return self._ledger.first_height

    def decided(self, height: Height) -> Decided:
        """Returns a decided block, from `first_height` on.

        Raises:
            LedgerDamaged: it is not there, or not what was written.
        """
        return read_decided(self._ledger, height)

    # --- blocks as bytes ----------------------------------------------------------------------------------------

    def has_its_name(self, message: Message) -> bool:
        """A body must be what its digest names, or a liar could have a good block's name judged by a bad body."""
        match message:
            case PrePrepare() | Body():
                name, proposal = message.block, message.proposal
            case Decided():
                name, proposal = message.certificate.block, message.proposal
            case _:
                return True
        try:
            block = self._block_of(proposal)
        except DecodeError:
            return False
        return block_digest(block.header) == name and block_is_whole(block)

    def extends_tip(self, proposal: bytes) -> bool:
        """Says whether a whole block claims to be the next one of this chain."""
        header = self._block_of(proposal).header
        return (header.chain, header.height, header.parent) == (self._ledger.chain, self.height + 1, self.tip)

    def transactions_in(self, proposal: bytes) -> tuple[bytes, ...]:
        """Returns the transactions of a whole block."""
        return self._block_of(proposal).transactions

    def parent_certificate(self, proposal: bytes) -> CommitCertificate | None:
        """Returns the certificate of the block before that a whole block carries."""
        return self._block_of(proposal).parent_certificate

    def check(self, proposal: bytes) -> BlockOrigin | None:
        """Executes a whole block of the undecided height; returns what its header says, None if it is invalid."""
        block = self._block_of(proposal)
        refusal = self._ledger.check(block)
        if refusal is not None:
            self._log.warning("invalid block", height=block.header.height, reason=str(refusal))
            return None
        return BlockOrigin(block.header.slot, block.header.leader)

    def build(self, slot: Slot, *, may_be_empty: bool) -> tuple[Digest, bytes] | None:
        """Makes and executes the block that this member proposes; None if it has nothing to propose."""
        parameters = self._ledger.rules.parameters
        candidates = self._pool.mempool.candidates(
            transactions_max=parameters.block_transactions_max, size_bytes_max=parameters.block_size_bytes_max
        )
        block = self._ledger.build(slot=slot, leader=self._own, candidates=candidates, prove=self._prove)
        is_wanted = may_be_empty or self._ledger.wants_block or (self._draw_waits() and slot > self.tip_slot)
        if not block.transactions and not is_wanted:
            return None
        return block_digest(block.header), encode(block)

    # --- durable ------------------------------------------------------------------------------------------------

    def records(self) -> Mapping[bytes, bytes]:
        """Returns the records of the undecided height."""
        return self._ledger.undecided()

    def drop_records(self) -> None:
        """Drops the records, in one synced write.

        Raises:
            LedgerWriteFailed: they are not known to be gone; the node must stop.
        """
        self._ledger.drop_undecided()

    def persist(self, records: Mapping[bytes, bytes]) -> None:
        """Adds to the records, or replaces them by key, in one synced write.

        Raises:
            LedgerWriteFailed: they are not known to be durable; the node must stop.
        """
        self._ledger.persist_undecided(records)

    def append(self, decision: Decision) -> None:
        """Makes a decided block permanent and drops the records, in one synced write; then tells of it.

        Raises:
            DecidedBlockRefused: it does not execute to what its header claims; nothing was written.
            LedgerWriteFailed: it is not known to be durable; the node must stop.
            RulesUnknown: it is durable, and the next one has rules that this program does not know.
        """
        block = self._block_of(decision.proposal)
        self._ledger.append(block, decision.certificate)
        receipts = self._ledger.receipts(decision.height)
        dropped = self._pool.on_applied([receipt.transaction for receipt in receipts])
        self._applied(
            AppliedBlock(
                block=block,
                digest=decision.block,
                certificate=decision.certificate,
                receipts=receipts,
                dropped=dropped,
                applied_ms=time.time_ns() // 1_000_000,
            )
        )
        rules_in(self._ledger)  # the next block may have rules that this program lacks: the last act of this one

    # --- requests -----------------------------------------------------------------------------------------------

    def take_all(self, requests: Iterable[bytes]) -> tuple[bytes, ...]:
        """Lets transactions wait that may, and do not already; returns those."""
        return self._pool.take_all(requests)

    def oldest_arrival_ms(self) -> int | None:
        """Returns when the longest waiting transaction came, None if none waits."""
        oldest_ms = self._pool.mempool.oldest_arrival_ms()
        if oldest_ms is None and (self._ledger.wants_block or self._draw_waits()):
            return 0  # what is wanted without a transaction waits by itself, since this height began
        return oldest_ms

    def _draw_waits(self) -> bool:
        """Says whether slots that have no block yet want one, so that its leader proves something."""
        return draw_waits(self._ledger)


def read_decided(ledger: Ledger, height: Height) -> Decided:
    """Returns a decided block of a ledger with the certificate that decided it here.

    Raises:
        LedgerDamaged: it is not there, or not what was written.
    """
    proposal, certificate = ledger.block_bytes(height), ledger.certificate(height)
    if proposal is None or certificate is None:
        raise LedgerDamaged("block or certificate is missing", height=height)
    return Decided(certificate=certificate, proposal=proposal)


def _decoded(proposal: bytes) -> Block:
    return decode(proposal, Block)
