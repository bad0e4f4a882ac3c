"""Many random operations of a market, honest and not, on the production contracts: nothing is lost or invented.

Each block's execution asserts its own books (`contracts.conservation`); here the whole state, every wallet and every
posting are summed up again (`tests.support.market_checks`), without the deltas that those assertions are about. A
second node gets the same operations in another order: its mempool and the first one's differ, and for the same
blocks its state is the same.
"""

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Final

from consensus.codec import encode
from consensus.identifiers import Height, Slot
from contracts.execution import execute_block
from contracts.offices import acting_key
from contracts.receipts import Receipt
from contracts.state import Overlay, StateKey
from contracts.transactions import Transaction, transaction_digest
from node.chain.mempool import Mempool, MempoolLimits, Standing
from tests.support.contracts import block_context
from tests.support.joining import JoiningChain
from tests.support.market_checks import PostingTrail, Suspensions, TokenFlows, check_whole_state
from tests.support.market_operations import MarketOperations, Operation, busy_market

BLOCK_OPERATIONS_MAX: Final = 6
SUMMED_EVERY_BLOCKS: Final = 50
"""Summing up the whole state costs as much as many blocks."""
OFFICE_SHARE: Final = 0.1
"""Of the operations: what people do about an office's key."""
JOINING_SHARE: Final = 0.08
"""What they do about homes that want to join."""
REMOVAL_SHARE: Final = 0.02
"""What they do about members that are to go: few, or soon nobody would be left to trade."""
LIMITS: Final = MempoolLimits(
    transactions_max=10_000, size_bytes_max=64 * 1024 * 1024, sender_transactions_max=10_000
)


@dataclass(slots=True, kw_only=True)
class Tried:
    """What really ran."""

    operations: int = 0
    blocks: int = 0
    sums: int = 0
    """How often the whole state was summed up."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """Executed and declined operations by kind and reason."""


def run_operations(seed: int, operations: int) -> Tried:
    """Executes so many operations in blocks of random size.

    Raises:
        AssertionError: energy, tokens or the two nodes' states are not equal.
    """
    return _Run(seed).run(operations)


class _Run:
    def __init__(self, seed: int) -> None:
        self.random = Random(f"economy {seed}")
        self.chain = JoiningChain(busy_market())
        self.market = MarketOperations(self.random, self.chain)
        self.flows = TokenFlows(self.chain.community)
        self.trail = PostingTrail()
        self.suspensions = Suspensions()
        self.other: dict[StateKey, bytes] = dict(self.chain.state)
        """The second node's state."""
        self.tried = Tried()

    def run(self, operations: int) -> Tried:
        while self.tried.operations < operations:
            self._block(min(self.random.randint(1, BLOCK_OPERATIONS_MAX), operations - self.tried.operations))
        self._sum_up()
        return self.tried

    def _operation(self) -> Operation:
        others = (self.market.next_about_an_office, self.market.next_about_joining, self.market.next_about_removals)
        shares = (OFFICE_SHARE, JOINING_SHARE, REMOVAL_SHARE)
        return self.random.choices((*others, self.market.next), weights=(*shares, 1 - sum(shares)))[0]()

    def _block(self, size: int) -> None:
        arrived = [self.chain.sign(sender, action) for sender, action in (self._operation() for _ in range(size))]
        proposal = _proposal_of(arrived)
        shuffled = list(arrived)
        self.random.shuffle(shuffled)
        other_pool = _mempool_of(shuffled)
        slot = self.chain.slot + self.random.choice((0, 1, 1, 1, 2, 9))
        parent_slot = Slot(self.chain.slot)
        execution = self.chain.apply(proposal, slot=slot)
        self._follow(proposal, parent_slot)
        nonces = {transaction.envelope.sender: transaction.envelope.nonce for transaction in proposal}
        decided = [transaction_digest(encode(transaction)) for transaction in proposal]
        state = Overlay(self.chain.state)
        other_pool.on_applied(
            decided,
            standing_of=lambda sender: Standing(nonces.get(sender), acting_key(state, sender)),
            height=Height(self.chain.height),
        )
        assert len(other_pool) == 0, "what is decided waits nowhere"
        assert self.chain.state == self.other, "the same blocks, another state"
        self.flows.follow(proposal, execution)
        self.trail.follow(execution.postings)
        self.suspensions.follow(execution)
        self._count(proposal, execution.receipts)
        if self.tried.blocks % SUMMED_EVERY_BLOCKS == 0:
            self._sum_up()

    def _follow(self, proposal: list[Transaction], parent_slot: Slot) -> None:
        """The second node executes the block on its own state."""
        height = self.chain.height
        context = block_context(
            self.chain.community,
            height=height,
            slot=self.chain.slot,
            parent_slot=parent_slot,
            decided=self.chain.decided_below(height),
        )
        execution = execute_block(self.other, self.chain.community.genesis, context, proposal)
        self.other.update(execution.changes)

    def _count(self, proposal: list[Transaction], receipts: tuple[Receipt, ...]) -> None:
        self.tried.blocks += 1
        self.tried.operations += len(proposal)
        for transaction, receipt in zip(proposal, receipts, strict=True):
            kind = type(transaction.envelope.action).__name__
            self.tried.outcomes[f"{kind} {receipt.reason.value}"] += 1

    def _sum_up(self) -> None:
        self.tried.sums += 1
        check_whole_state(self.chain)
        self.flows.check(self.chain)
        self.trail.check(self.chain)
        self.suspensions.check(self.chain)


def _mempool_of(arrived: list[Transaction]) -> Mempool:
    pool = Mempool(limits=LIMITS)
    for moment, transaction in enumerate(arrived):
        pool.add(transaction, arrival_ms=moment)
    return pool


def _proposal_of(arrived: list[Transaction]) -> list[Transaction]:
    """Returns what a leader with these in its mempool proposes."""
    chosen = _mempool_of(arrived).candidates(transactions_max=len(arrived), size_bytes_max=64 * 1024 * 1024)
    assert len(chosen) == len(arrived), "a leader leaves out nothing that fits"
    return chosen
