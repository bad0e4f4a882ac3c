"""Cancellation by both parties: what it ends, who may bring it, and that nobody cancels alone."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from consensus.cryptography import SigningKey
from contracts.execution import Execution
from contracts.receipts import Asset, Party, Reason, Stage, Status
from contracts.state import Offer, PromiseBook, Table, Trade, TradeStatus, offer_key, promises_key, trade_key
from contracts.transactions import CancelTrade, TradeTerms, trade_id
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    DictChain,
    forward_terms,
    make_genesis,
    moved_tables,
    seeded_key,
    sign_trade,
    signed_cancellation,
    signed_forward,
    signed_reading,
    signed_trade,
    trade_terms,
)

TOKENS = 1_000_000
HOMES = make_genesis(4, tokens_micro=TOKENS, gate_closure_slots=10)
SELLER, BUYER, OTHER, _ = range(4)
A, KEYS = HOMES.addresses, HOMES.node_keys
PROMISE = forward_terms(HOMES, SELLER, BUYER, 300)
NAME = trade_id(PROMISE)


def pending() -> DictChain:
    chain = DictChain(HOMES)
    chain.block((BUYER, signed_forward(HOMES, SELLER, BUYER, 300)))
    return chain


def cancellation(
    terms: TradeTerms = PROMISE, *, seller: SigningKey = KEYS[SELLER], buyer: SigningKey = KEYS[BUYER]
) -> CancelTrade:
    return signed_cancellation(terms, seller=seller, buyer=buyer)


def cancel(chain: DictChain, action: CancelTrade, sender: int = BUYER, **block: Any) -> tuple[Reason, Execution]:
    execution = chain.block((sender, action), **block)
    (receipt,) = execution.receipts
    assert receipt.fault is None
    assert receipt.parties == (action.terms.seller, action.terms.buyer)
    assert receipt.reference == trade_id(action.terms)
    return receipt.reason, execution


@pytest.mark.parametrize("sender", [SELLER, BUYER, OTHER])
def test_a_pending_trade_is_refunded_whoever_brings_it(sender: int) -> None:
    chain = pending()
    reason, execution = cancel(chain, cancellation(), sender)
    assert reason is Reason.NONE
    assert (chain.account(BUYER).available_micro, chain.account(BUYER).held_micro) == (TOKENS, 0)
    trade = chain.read(trade_key(NAME), Trade)
    assert (trade.status, trade.held_micro, trade.quality_total) == (TradeStatus.CANCELLED, 0, None)
    assert [(row.stage, row.party, row.asset, row.before, row.after) for row in execution.postings] == [
        (Stage.REFUND, Party.ESCROW, Asset.TOKENS_MICRO, 60_000, 0),
        (Stage.REFUND, Party.BUYER, Asset.TOKENS_MICRO, TOKENS - 60_000, TOKENS),
    ]
    totals = chain.totals()
    assert (totals.trades_pending, totals.trades_cancelled, totals.held_micro) == (0, 1, 0)
    for member in (SELLER, BUYER):
        assert chain.read(promises_key(A[member], FIRST_INTERVAL_MS), PromiseBook).trades == ()


def test_a_cancellation_moves_no_score() -> None:
    chain = pending()
    _, execution = cancel(chain, cancellation(), parent_voters=(), parent_leader=None)
    assert not any(key.startswith(Table.SCORE.value) for key in execution.changes)
    chain.block(slot=2 * 10**9)
    assert chain.score(SELLER).value == 1_000_000, "its entry in the agenda does nothing any more"


@pytest.mark.parametrize("slot", [3, 50])
def test_what_was_set_aside_is_free_or_goes_to_the_grid(slot: int) -> None:
    chain = pending()
    chain.block((SELLER, signed_reading(HOMES, SELLER, 300)))
    cancel(chain, cancellation(), slot=slot)
    packet = chain.packet(SELLER)
    assert packet.escrow_wh == 0
    assert (packet.available_wh, packet.exported_wh) == ((300, 0) if slot == 3 else (0, 300))


def test_a_contract_that_is_not_on_the_chain_never_executes() -> None:
    chain = DictChain(HOMES)
    reason, execution = cancel(chain, cancellation())
    assert (reason, execution.postings) == (Reason.NONE, ())
    assert chain.read(offer_key(A[SELLER], 0), Offer).trade == NAME
    assert trade_key(NAME) not in chain.state
    (receipt,) = chain.block((BUYER, signed_forward(HOMES, SELLER, BUYER, 300))).receipts
    assert (receipt.reason, receipt.fault) == (Reason.TRADE_ALREADY_EXECUTED, None)
    assert receipt.detail == f"contract {NAME.hex()} is cancelled"


def test_a_spot_contract_can_be_cancelled_before_it_is_sent() -> None:
    chain = DictChain(HOMES)
    chain.block((SELLER, signed_reading(HOMES, SELLER, 300)), (BUYER, signed_reading(HOMES, BUYER, -300)))
    reason, _ = cancel(chain, cancellation(trade_terms(HOMES, SELLER, BUYER, 100)))
    assert reason is Reason.NONE
    (receipt,) = chain.block((BUYER, signed_trade(HOMES, SELLER, BUYER, 100))).receipts
    assert receipt.reason is Reason.TRADE_ALREADY_EXECUTED
    assert chain.packet(SELLER).available_wh == 300


# -- declined ------------------------------------------------------------------------------------------------


STRANGER = seeded_key("stranger", 0)
FOREIGN = forward_terms(HOMES, SELLER, BUYER, 300, chain=bytes(32))
WITH_STRANGER = replace(PROMISE, buyer=STRANGER.address)
DECLINED: list[tuple[Callable[[], CancelTrade], Reason]] = [
    (lambda: cancellation(FOREIGN), Reason.TRADE_WRONG_CHAIN),
    (lambda: cancellation(WITH_STRANGER, buyer=STRANGER), Reason.TRADE_UNKNOWN_PARTY),
    (lambda: cancellation(seller=KEYS[BUYER]), Reason.CANCEL_SELLER_SIGNATURE),
    (lambda: cancellation(buyer=KEYS[SELLER]), Reason.CANCEL_BUYER_SIGNATURE),
    (lambda: cancellation(seller=STRANGER, buyer=STRANGER), Reason.CANCEL_SELLER_SIGNATURE),
]


@pytest.mark.parametrize(("build", "reason"), DECLINED)
def test_declined(build: Callable[[], CancelTrade], reason: Reason) -> None:
    chain = pending()
    before = chain.read(trade_key(NAME), Trade)
    declined, execution = cancel(chain, build())
    assert declined is reason
    assert execution.postings == ()
    assert moved_tables(execution) == {Table.ACCOUNT.value}, "the sender's nonce"
    assert chain.read(trade_key(NAME), Trade) == before


def test_the_contracts_own_signatures_cancel_nothing() -> None:
    contract = sign_trade(PROMISE, seller=KEYS[SELLER], buyer=KEYS[BUYER])
    forged = CancelTrade(
        terms=PROMISE, seller_signature=contract.seller_signature, buyer_signature=contract.buyer_signature
    )
    assert cancel(pending(), forged)[0] is Reason.CANCEL_SELLER_SIGNATURE


def test_a_cancellation_of_other_terms_cancels_nothing() -> None:
    """Both sign the trade id, so the signatures fit no other contract."""
    genuine, other = cancellation(), forward_terms(HOMES, SELLER, BUYER, 299)
    borrowed = CancelTrade(
        terms=other, seller_signature=genuine.seller_signature, buyer_signature=genuine.buyer_signature
    )
    assert cancel(pending(), borrowed)[0] is Reason.CANCEL_SELLER_SIGNATURE


def test_what_is_final_is_not_cancelled() -> None:
    chain = pending()
    chain.block((SELLER, signed_reading(HOMES, SELLER, 300)), (BUYER, signed_reading(HOMES, BUYER, -300)))
    reason, execution = cancel(chain, cancellation())
    assert reason is Reason.CANCEL_ALREADY_FINAL
    assert execution.receipts[0].detail == "the contract is completed"
    assert chain.account(SELLER).available_micro == TOKENS + 60_000


def test_what_is_cancelled_is_not_cancelled_again() -> None:
    chain = pending()
    cancel(chain, cancellation())
    assert cancel(chain, cancellation())[1].receipts[0].detail == "the contract is cancelled"
    fresh = DictChain(HOMES)
    cancel(fresh, cancellation())
    reason, execution = cancel(fresh, cancellation())
    assert (reason, execution.receipts[0].status) == (Reason.CANCEL_ALREADY_FINAL, Status.DECLINED)
    assert fresh.totals().trades_cancelled == 0, "nothing was on the chain"


def test_another_contract_of_a_used_offer_id_is_not_cancelled() -> None:
    chain = pending()
    reason, execution = cancel(chain, cancellation(forward_terms(HOMES, SELLER, BUYER, 299)))
    assert reason is Reason.CANCEL_ALREADY_FINAL
    assert execution.receipts[0].detail == f"its offer id served contract {NAME.hex()}"


def test_cancelled_and_delivered_in_one_block() -> None:
    """The second reading makes it due; the cancellation behind it comes before the block's end."""
    chain = pending()
    chain.block((SELLER, signed_reading(HOMES, SELLER, 300)))
    chain.block((BUYER, signed_reading(HOMES, BUYER, -300)), (BUYER, cancellation()))
    assert chain.read(trade_key(NAME), Trade).status is TradeStatus.CANCELLED
    assert (chain.packet(SELLER).available_wh, chain.deficit(BUYER).open_wh) == (300, 300)
