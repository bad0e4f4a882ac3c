"""Many random operations of a market, honest and not, on the production contracts: nothing is lost or invented.

Each block's execution asserts its own books (`contracts.conservation`); here the whole state is summed up again,
independently of the deltas that those assertions are about. A second node gets the same operations in another order:
its mempool and the first one's differ, and for the same blocks its state is the same.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final, TypeVar

from consensus.codec import Record, decode, encode
from consensus.identifiers import Height
from contracts.execution import execute_block
from contracts.receipts import Receipt
from contracts.state import Account, Deficit, Packet, StateKey, Table, Totals, Trade, TradeStatus
from contracts.transactions import SignedTransaction, decode_transaction, transaction_digest
from node.mempool import Mempool, MempoolLimits
from tests.support.contracts import DictChain, block_context
from tests.support.market_operations import MarketOperations, busy_market

BLOCK_OPERATIONS_MAX: Final = 6
SUMMED_EVERY_BLOCKS: Final = 50
"""Summing up the whole state costs as much as many blocks."""
LIMITS: Final = MempoolLimits(
    transactions_max=10_000, size_bytes_max=64 * 1024 * 1024, sender_transactions_max=10_000
)

V = TypeVar("V", bound=Record)


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
        self.chain = DictChain(busy_market())
        self.market = MarketOperations(self.random, self.chain)
        self.other: dict[StateKey, bytes] = dict(self.chain.state)
        """The second node's state."""
        self.tried = Tried()

    def run(self, operations: int) -> Tried:
        while self.tried.operations < operations:
            self._block(min(self.random.randint(1, BLOCK_OPERATIONS_MAX), operations - self.tried.operations))
        self._sum_up()
        return self.tried

    def _block(self, size: int) -> None:
        arrived = [self.chain.sign(sender, action) for sender, action in (self.market.next() for _ in range(size))]
        proposal = _proposal_of(arrived)
        shuffled = list(arrived)
        self.random.shuffle(shuffled)
        other_pool = _mempool_of(shuffled)
        slot = self.chain.slot + self.random.choice((0, 1, 1, 1, 2, 9))
        execution = self.chain.apply(proposal, slot=slot)
        self._follow(proposal, slot)
        nonces = {transaction.envelope.sender: transaction.envelope.nonce for transaction in proposal}
        decided = [transaction_digest(encode(transaction)) for transaction in proposal]
        other_pool.on_applied(decided, last_nonce=nonces.get, height=Height(self.chain.height))
        assert len(other_pool) == 0, "what is decided waits nowhere"
        assert self.chain.state == self.other, "the same blocks, another state"
        self._count(proposal, execution.receipts)
        if self.tried.blocks % SUMMED_EVERY_BLOCKS == 0:
            self._sum_up()

    def _follow(self, proposal: list[SignedTransaction], slot: int) -> None:
        """The second node executes the block on its own state."""
        context = block_context(self.chain.community, height=self.chain.height, slot=slot)
        execution = execute_block(self.other, self.chain.community.genesis, context, proposal)
        self.other.update(execution.changes)

    def _count(self, proposal: list[SignedTransaction], receipts: tuple[Receipt, ...]) -> None:
        self.tried.blocks += 1
        self.tried.operations += len(proposal)
        for transaction, receipt in zip(proposal, receipts, strict=True):
            kind = type(transaction.envelope.action).__name__
            self.tried.outcomes[f"{kind} {receipt.reason.value}"] += 1

    def _sum_up(self) -> None:
        self.tried.sums += 1
        check_whole_state(self.chain.state)


def _mempool_of(arrived: list[SignedTransaction]) -> Mempool:
    pool = Mempool(limits=LIMITS)
    for moment, transaction in enumerate(arrived):
        raw = encode(transaction)
        pool.add(transaction, raw=raw, digest=transaction_digest(raw), arrival_ms=moment)
    return pool


def _proposal_of(arrived: list[SignedTransaction]) -> list[SignedTransaction]:
    """Returns what a leader with these in its mempool proposes."""
    chosen = _mempool_of(arrived).candidates(transactions_max=len(arrived), size_bytes_max=64 * 1024 * 1024)
    assert len(chosen) == len(arrived), "a leader leaves out nothing that fits"
    return [decode_transaction(raw) for raw in chosen]


def check_whole_state(state: Mapping[StateKey, bytes]) -> None:
    """Sums up every wallet, packet, deficit and trade, and compares the sums with each other and with the totals."""

    def all_of(table: Table, kind: type[V]) -> Iterator[V]:
        return (decode(raw, kind) for key, raw in state.items() if key.startswith(table.value))

    accounts = list(all_of(Table.ACCOUNT, Account))
    packets, deficits = list(all_of(Table.PACKET, Packet)), list(all_of(Table.DEFICIT, Deficit))
    trades = list(all_of(Table.TRADE, Trade))
    (totals,) = (decode(raw, Totals) for key, raw in state.items() if key == b"ST")
    held = sum(account.held_micro for account in accounts)
    available = sum(account.available_micro for account in accounts)
    assert available + held == totals.issued_micro - totals.redeemed_micro, "tokens"
    assert held == sum(trade.held_micro for trade in trades) == totals.held_micro, "tokens in escrow"
    credited = sum(packet.credited_wh + packet.replaced_wh for packet in packets)
    used = sum(packet.available_wh + packet.escrow_wh + packet.claimed_wh + packet.exported_wh for packet in packets)
    assert credited == used == totals.credited_wh + totals.replaced_wh, "energy credited"
    bought = sum(deficit.bought_wh for deficit in deficits)
    assert bought == sum(packet.claimed_wh for packet in packets), "energy sold is energy bought"
    assert bought == sum(trade.delivered_wh for trade in trades) == totals.claimed_wh, "energy of the trades"
    lacking = sum(deficit.recorded_wh + deficit.unused_wh for deficit in deficits)
    covered = sum(each.open_wh + each.reserved_wh + each.bought_wh + each.imported_wh for each in deficits)
    assert lacking == covered == totals.deficit_wh + totals.unused_wh, "deficits"
    pending = [trade for trade in trades if trade.status is TradeStatus.PENDING]
    assert sum(trade.set_aside_wh for trade in pending) == totals.escrow_wh, "energy in escrow"
    assert min(min(account.available_micro, account.held_micro) for account in accounts) >= 0, "a negative balance"
