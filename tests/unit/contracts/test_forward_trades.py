"""Forward trades up to their delivery: what the execution holds, the window's rules, what nobody else may have."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from contracts.agenda_records import Agenda
from contracts.forwards import PROMISES_PER_WINDOW_MAX
from contracts.receipts import Asset, Party, Reason, Receipt, Stage, Status
from contracts.state import (
    AGENDA_KEY,
    Offer,
    PromiseBook,
    Trade,
    TradeKind,
    TradeStatus,
    account_key,
    offer_key,
    promises_key,
    score_key,
    trade_key,
)
from contracts.transactions import SubmitTrade, trade_id
from contracts.units import MS_PER_HOUR
from tests.support.contracts import (
    EXPIRY_SLOT,
    FIRST_INTERVAL_MS,
    PRICE_MICRO_PER_KWH,
    DictChain,
    make_genesis,
    resign,
    signed_forward,
    signed_reading,
    signed_trade,
    transfer,
)

TOKENS = 1_000_000
HOMES = make_genesis(4, tokens_micro=TOKENS, capacity_w=1_000, gate_closure_slots=10)
SELLER, BUYER, OTHER, POOR = range(4)
A = HOMES.addresses
NEXT_INTERVAL_MS = FIRST_INTERVAL_MS + MS_PER_HOUR
ALONE: dict[str, Any] = {"parent_voters": (), "parent_leader": None}


def submit(chain: DictChain, contract: SubmitTrade, sender: int = BUYER, **block: Any) -> Receipt:
    (receipt,) = chain.block((sender, contract), **block).receipts
    return receipt


def promised(*contracts: SubmitTrade) -> DictChain:
    """A chain with these contracts pending."""
    chain = DictChain(HOMES)
    for contract in contracts:
        seller = A.index(contract.terms.seller)
        assert submit(chain, contract, seller, **ALONE).status is Status.EXECUTED
    return chain


def forward(energy_wh: int = 300, *, seller: int = SELLER, buyer: int = BUYER, **terms: Any) -> SubmitTrade:
    return signed_forward(HOMES, seller, buyer, energy_wh, **terms)


def book(chain: DictChain, member: int) -> tuple[bytes, ...]:
    return chain.read(promises_key(A[member], FIRST_INTERVAL_MS), PromiseBook).trades


# -- execution -----------------------------------------------------------------------------------------------


def test_execution_holds_the_buyers_tokens_and_the_sellers_promise() -> None:
    chain = DictChain(HOMES)
    contract = forward(offer_counter=7)
    trade = trade_id(contract.terms)
    execution = chain.block((BUYER, contract))
    (receipt,) = execution.receipts
    assert (receipt.status, receipt.reference, receipt.parties) == (Status.EXECUTED, trade, (A[SELLER], A[BUYER]))
    assert receipt.quality_total is None, "it is not over"
    buyer = chain.account(BUYER)
    assert (buyer.available_micro, buyer.held_micro) == (TOKENS - 60_000, 60_000)
    assert chain.account(SELLER).available_micro == TOKENS
    assert book(chain, SELLER) == book(chain, BUYER) == (trade,)
    assert chain.read(offer_key(A[SELLER], 7), Offer).trade == trade
    assert chain.read(AGENDA_KEY, Agenda) == Agenda(size=1, made=1)
    totals = chain.totals()
    assert (totals.trades_pending, totals.trades_completed, totals.held_micro) == (1, 0, 60_000)
    wh, micro = Asset.ENERGY_WH, Asset.TOKENS_MICRO
    assert [(row.stage, row.party, row.asset, row.before, row.after) for row in execution.postings] == [
        (Stage.EXECUTION, Party.SELLER, wh, 1_000, 700),  # what its connection can still deliver
        (Stage.EXECUTION, Party.ESCROW, wh, 0, 300),
        (Stage.EXECUTION, Party.BUYER, micro, TOKENS, TOKENS - 60_000),
        (Stage.EXECUTION, Party.ESCROW, micro, 0, 60_000),
    ]


def test_a_pending_trade_is_recorded() -> None:
    chain = DictChain(HOMES)
    contract = forward()
    receipt = submit(chain, contract)
    assert chain.read(trade_key(trade_id(contract.terms)), Trade) == Trade(
        seller=A[SELLER],
        buyer=A[BUYER],
        status=TradeStatus.PENDING,
        kind=TradeKind.FORWARD,
        interval_start_ms=FIRST_INTERVAL_MS,
        energy_wh=300,
        delivered_wh=0,
        set_aside_wh=0,
        reserved_wh=0,
        price_micro_per_kwh=PRICE_MICRO_PER_KWH,
        held_micro=60_000,
        amount_micro=0,
        fee_micro=0,
        expiry_slot=EXPIRY_SLOT,
        transaction=receipt.transaction,
        height=1,
        slot=1,
        quality_total=None,
    )


def test_execution_moves_no_score() -> None:
    chain = promised(forward())
    assert [chain.score(member).value for member in range(4)] == [1_000_000] * 4


def test_the_postings_follow_the_promises_made_before() -> None:
    chain = promised(forward(300))
    postings = chain.block((BUYER, forward(200, offer_counter=1))).postings
    assert [(row.before, row.after) for row in postings if row.party is Party.SELLER] == [(700, 500)]


def test_a_pending_trade_executes_once() -> None:
    chain = promised(forward())
    receipt = submit(chain, forward())
    assert (receipt.reason, receipt.fault) == (Reason.TRADE_ALREADY_EXECUTED, None)
    assert "is pending" in receipt.detail
    assert chain.totals().trades_pending == 1


def test_another_contract_under_the_offer_id_of_a_pending_one_is_the_sellers_fault() -> None:
    receipt = submit(promised(forward()), forward(200))
    assert (receipt.reason, receipt.fault) == (Reason.TRADE_OFFER_REUSED, A[SELLER])


# -- declined ------------------------------------------------------------------------------------------------


def misaligned() -> SubmitTrade:
    return forward(delivery_start_ms=FIRST_INTERVAL_MS + 1)


def half_signed() -> SubmitTrade:
    contract = forward()
    altered = replace(contract, terms=replace(contract.terms, energy_wh=299))
    return resign(altered, buyer=HOMES.node_keys[BUYER])


DECLINED: list[tuple[Callable[[], SubmitTrade], Reason, int | None, str]] = [
    (misaligned, Reason.TRADE_WRONG_WINDOW, None, str(FIRST_INTERVAL_MS + 1)),
    (half_signed, Reason.TRADE_SELLER_SIGNATURE, BUYER, "seller"),
    (
        lambda: forward(1_001),
        Reason.TRADE_ABOVE_CAPACITY,
        BUYER,
        "still takes 1000 Wh in the window, contract 1001 Wh",
    ),
    (
        lambda: forward(buyer=POOR),
        Reason.CONDITION_2_BUYER_TOKENS,
        POOR,
        "buyer has 0 micro-tokens available, contract 60000",
    ),
]


@pytest.mark.parametrize(("build", "reason", "fault", "shown"), DECLINED)
def test_declined(build: Callable[[], SubmitTrade], reason: Reason, fault: int | None, shown: str) -> None:
    chain = DictChain(HOMES)
    chain.block((POOR, transfer(HOMES, OTHER, TOKENS)), **ALONE)
    contract = build()
    before, sender = dict(chain.state), A.index(contract.terms.buyer)
    execution = chain.block((sender, contract), **ALONE)
    (receipt,) = execution.receipts
    assert (receipt.status, receipt.reason) == (Status.DECLINED, reason)
    assert receipt.fault == (None if fault is None else A[fault])
    assert shown in receipt.detail
    assert execution.postings == ()
    changed = {key for key in chain.state if chain.state[key] != before.get(key)}
    scores = set() if fault is None else {score_key(A[fault])}
    assert {key for key in changed if not key.startswith(b"S")} == {account_key(A[sender])} | scores


@pytest.mark.parametrize(("second_wh", "reason"), [(700, Reason.NONE), (701, Reason.CONDITION_1_SELLER_ENERGY)])
def test_a_seller_promises_no_more_than_its_capacity(second_wh: int, reason: Reason) -> None:
    chain = promised(forward(300))
    receipt = submit(chain, forward(second_wh, buyer=OTHER, offer_counter=1), OTHER)
    assert receipt.reason is reason
    assert receipt.fault == (A[SELLER] if reason is not Reason.NONE else None)


@pytest.mark.parametrize(("second_wh", "reason"), [(700, Reason.NONE), (701, Reason.TRADE_ABOVE_CAPACITY)])
def test_a_buyer_takes_no_more_than_its_capacity(second_wh: int, reason: Reason) -> None:
    chain = promised(forward(300))
    receipt = submit(chain, forward(second_wh, seller=OTHER), OTHER)
    assert receipt.reason is reason
    assert receipt.fault == (A[BUYER] if reason is not Reason.NONE else None)


def test_another_window_has_room_of_its_own() -> None:
    chain = promised(forward(1_000))
    later = forward(1_000, offer_counter=1, delivery_start_ms=NEXT_INTERVAL_MS)
    assert submit(chain, later).status is Status.EXECUTED


def test_what_is_held_pays_for_nothing_else() -> None:
    chain = promised(forward(1_000))
    wallet = chain.account(BUYER)
    first, second = chain.block(
        (BUYER, transfer(HOMES, OTHER, wallet.available_micro + 1)),
        (BUYER, transfer(HOMES, OTHER, wallet.available_micro)),
    ).receipts
    assert (first.reason, second.reason) == (Reason.TRANSFER_INSUFFICIENT_TOKENS, Reason.NONE)
    assert chain.account(BUYER).available_micro == 0


@pytest.mark.parametrize("member", [SELLER, BUYER])
def test_a_window_whose_reading_is_decided_has_passed(member: int) -> None:
    chain = DictChain(HOMES)
    chain.block((member, signed_reading(HOMES, member, 0)))
    receipt = submit(chain, forward())
    assert (receipt.reason, receipt.fault) == (Reason.TRADE_WINDOW_PASSED, None)
    assert ("seller", "buyer")[member] in receipt.detail


def test_the_reading_of_somebody_else_leaves_the_window_open() -> None:
    chain = DictChain(HOMES)
    chain.block((OTHER, signed_reading(HOMES, OTHER, 50)))
    assert submit(chain, forward()).status is Status.EXECUTED


def test_a_window_whose_gate_is_closed_has_passed() -> None:
    chain = DictChain(HOMES)
    chain.block((OTHER, signed_reading(HOMES, OTHER, 50)), slot=1)
    receipt = submit(chain, forward(), slot=11)
    assert receipt.reason is Reason.TRADE_WINDOW_PASSED


@pytest.mark.parametrize("full", [SELLER, BUYER])
def test_a_window_is_full(full: int) -> None:
    """Of the seller, or of the buyer; the other one's has room."""
    chain = DictChain(HOMES)
    for counter in range(PROMISES_PER_WINDOW_MAX):
        pair = {"seller": SELLER, "buyer": OTHER} if full == SELLER else {"seller": OTHER, "buyer": BUYER}
        receipt = submit(chain, forward(10, offer_counter=counter, **pair), OTHER)
        assert receipt.status is Status.EXECUTED
    receipt = submit(chain, forward(10, offer_counter=99))
    assert (receipt.reason, receipt.fault) == (Reason.TRADE_WINDOW_FULL, None)
    assert ("seller", "buyer")[full] in receipt.detail
    later = forward(10, offer_counter=99, delivery_start_ms=NEXT_INTERVAL_MS)
    assert submit(chain, later).status is Status.EXECUTED


# -- set aside -----------------------------------------------------------------------------------------------


def test_readings_set_surplus_and_deficit_aside() -> None:
    chain = promised(forward(300))
    chain.block((SELLER, signed_reading(HOMES, SELLER, 500)))
    packet = chain.packet(SELLER)
    assert (packet.available_wh, packet.escrow_wh) == (200, 300)
    assert chain.totals().escrow_wh == 300
    other = promised(forward(300))
    other.block((BUYER, signed_reading(HOMES, BUYER, -400)))
    deficit = other.deficit(BUYER)
    assert (deficit.open_wh, deficit.reserved_wh) == (100, 300)
    assert other.totals().reserved_wh == 300


@pytest.mark.parametrize(("spot_wh", "reason"), [(200, Reason.NONE), (201, Reason.CONDITION_1_SELLER_ENERGY)])
def test_spot_trades_take_what_is_not_set_aside(spot_wh: int, reason: Reason) -> None:
    chain = promised(forward(300))
    chain.block((SELLER, signed_reading(HOMES, SELLER, 500)), (OTHER, signed_reading(HOMES, OTHER, -400)))
    receipt = submit(chain, signed_trade(HOMES, SELLER, OTHER, spot_wh, offer_counter=1), OTHER)
    assert receipt.reason is reason
    assert chain.packet(SELLER).escrow_wh == 300


@pytest.mark.parametrize(("spot_wh", "reason"), [(100, Reason.NONE), (101, Reason.CONDITION_3_BUYER_ENERGY)])
def test_spot_trades_cover_what_is_not_reserved(spot_wh: int, reason: Reason) -> None:
    chain = promised(forward(300))
    chain.block((BUYER, signed_reading(HOMES, BUYER, -400)), (OTHER, signed_reading(HOMES, OTHER, 400)))
    receipt = submit(chain, signed_trade(HOMES, OTHER, BUYER, spot_wh))
    assert receipt.reason is reason
    assert chain.deficit(BUYER).reserved_wh == 300


def test_gate_closing_leaves_what_is_set_aside() -> None:
    chain = promised(forward(300))
    chain.block((SELLER, signed_reading(HOMES, SELLER, 500)), slot=2)
    chain.block(slot=12)
    packet = chain.packet(SELLER)
    assert (packet.available_wh, packet.escrow_wh, packet.exported_wh) == (0, 300, 200)
    other = promised(forward(300))
    other.block((BUYER, signed_reading(HOMES, BUYER, -400)), slot=2)
    other.block(slot=12)
    deficit = other.deficit(BUYER)
    assert (deficit.open_wh, deficit.reserved_wh, deficit.imported_wh) == (0, 300, 100)
