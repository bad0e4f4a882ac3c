"""Executes a block's transactions on a state: the one entry point that the ledger calls.

A block runs in a fixed order: service rewards for block h - 1, the gates that are due, the transactions one by
one, then the books are checked. Everything happens on an overlay, the temporary ledger; the state below is only
read. The same state, context and transactions give the same bytes on every node.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from consensus.codec import Record, encode
from contracts.closing import close_due_gates
from contracts.conservation import assert_conserved
from contracts.genesis import Genesis
from contracts.readings import execute_reading
from contracts.receipts import Posting, Reason, Receipt, Status
from contracts.rewards import reward_service
from contracts.run import BlockContext, BlockRun, Outcome, ScoreBoard
from contracts.state import (
    LAST_BLOCK_KEY,
    TOTALS_KEY,
    Account,
    LastBlock,
    Overlay,
    StateKey,
    StateReader,
    Totals,
    account_key,
)
from contracts.trades import execute_trade
from contracts.transactions import (
    PublishReading,
    SignedTransaction,
    SubmitTrade,
    Transfer,
    transaction_digest,
)
from contracts.transfers import execute_transfer

__all__ = ["BlockContext", "Execution", "execute_block"]


class Execution(Record, frozen=True, kw_only=True):
    """What executing a block yields."""

    changes: Mapping[StateKey, bytes]
    """New state versions, encoded, sorted by key."""
    receipts: tuple[Receipt, ...]
    """One per transaction, in their order."""
    postings: tuple[Posting, ...]
    """Of all completed trades, in their order; four per stage."""


def execute_block(
    state: StateReader,
    genesis: Genesis,
    context: BlockContext,
    transactions: Sequence[SignedTransaction],
) -> Execution:
    """Returns the state versions, receipts and postings of a block.

    Args:
        state: the state after block h - 1; only read.
        genesis: the chain's parameters.
        context: the block's header and carried certificate.
        transactions: in the block's order. Their envelopes were checked: form, signature, chain, last valid
            height, a known sender, a nonce above the sender's last (asserted again here).

    Raises:
        AssertionError: a broken invariant, ours alone: the books do not balance, or an envelope was not checked.
    """
    assert context.height > 0, "genesis is not executed"
    overlay = Overlay(state)
    run = BlockRun(overlay=overlay, genesis=genesis, context=context, scores=ScoreBoard(overlay, context.cluster))
    completed_before = overlay.require(TOTALS_KEY, Totals).trades_completed
    reward_service(run)
    close_due_gates(run)
    receipts: list[Receipt] = []
    postings: list[Posting] = []
    for transaction in transactions:
        receipt, outcome = _execute(run, transaction)
        receipts.append(receipt)
        postings.extend(outcome.postings)
    completed = overlay.require(TOTALS_KEY, Totals).trades_completed - completed_before
    overlay.put(LAST_BLOCK_KEY, LastBlock(trades_completed=completed))
    assert_conserved(overlay, genesis.scores)
    return Execution(changes=overlay.encoded_changes(), receipts=tuple(receipts), postings=tuple(postings))


def _execute(run: BlockRun, transaction: SignedTransaction) -> tuple[Receipt, Outcome]:
    envelope = transaction.envelope
    sender, name = envelope.sender, transaction_digest(encode(transaction))
    wallet = run.overlay.require(account_key(sender), Account)
    assert envelope.nonce > wallet.nonce, f"nonce {envelope.nonce} after {wallet.nonce} got past the ledger"
    run.overlay.put(account_key(sender), replace(wallet, nonce=envelope.nonce))
    match envelope.action:
        case PublishReading() as reading:
            outcome = execute_reading(run, sender, reading)
        case Transfer() as transfer:
            outcome = execute_transfer(run, sender, transfer)
        case SubmitTrade() as trade:
            outcome = execute_trade(run, sender, name, trade)
    refusal = outcome.refusal
    receipt = Receipt(
        transaction=name,
        sender=sender,
        status=Status.EXECUTED if refusal is None else Status.DECLINED,
        reason=Reason.NONE if refusal is None else refusal.reason,
        detail="" if refusal is None else refusal.detail,
        fault=None if refusal is None else refusal.fault,
        reference=outcome.reference,
        quality_total=outcome.quality_total,
    )
    return receipt, outcome
