"""The grid fee: paid by the buyer beside the seller's income, to an account of its own."""

import pytest
from msgspec.structs import replace

from contracts.conditions import Balances, ContractSize, condition_2, condition_4, execution_stage, final_stage
from contracts.receipts import Asset, Party, Reason, Stage, Status
from contracts.state import Account, Trade, TradeStatus, account_key, trade_key
from contracts.transactions import trade_id
from tests.support.contracts import (
    DictChain,
    make_genesis,
    signed_forward,
    signed_reading,
    signed_trade,
    transfer,
)

TOKENS = 1_000_000
HOMES = make_genesis(3, tokens_micro=TOKENS, grid_fee_micro_per_kwh=50_500)
SELLER, BUYER, OTHER = range(3)


def market() -> DictChain:
    chain = DictChain(HOMES)
    chain.block((SELLER, signed_reading(HOMES, SELLER, 500)), (BUYER, signed_reading(HOMES, BUYER, -500)))
    return chain


def grid_micro(chain: DictChain) -> int:
    return chain.read(account_key(HOMES.grid_key.address), Account).available_micro


def test_the_fee_is_apart_from_the_sellers_income() -> None:
    chain = market()
    contract = signed_trade(HOMES, SELLER, BUYER, 300)
    execution = chain.block((BUYER, contract))
    assert chain.account(SELLER).available_micro == TOKENS + 60_000
    assert chain.account(BUYER).available_micro == TOKENS - 60_000 - 15_150
    assert grid_micro(chain) == 15_150
    trade = chain.read(trade_key(trade_id(contract.terms)), Trade)
    assert (trade.amount_micro, trade.fee_micro) == (60_000, 15_150)
    totals = chain.totals()
    assert (totals.traded_micro, totals.fees_micro, totals.issued_micro) == (60_000, 15_150, 3 * TOKENS)
    last = execution.postings[-1]
    assert len(execution.postings) == 9
    assert (last.stage, last.party, last.asset) == (Stage.FINAL, Party.GRID, Asset.TOKENS_MICRO)
    assert (last.before, last.after) == (0, 15_150)
    escrow = [(row.before, row.after) for row in execution.postings if row.party is Party.ESCROW]
    assert escrow == [(0, 300), (0, 75_150), (300, 0), (75_150, 0)]


def test_income_and_fee_are_rounded_each_on_its_own() -> None:
    chain = market()
    chain.block((BUYER, signed_trade(HOMES, SELLER, BUYER, 1, price_micro_per_kwh=80_500)))
    assert (chain.totals().traded_micro, chain.totals().fees_micro) == (81, 51)  # 80.5 and 50.5


@pytest.mark.parametrize(("left", "reason"), [(75_150, Reason.NONE), (75_149, Reason.CONDITION_2_BUYER_TOKENS)])
def test_the_buyer_must_have_the_fee_too(left: int, reason: Reason) -> None:
    chain = market()
    chain.block((BUYER, transfer(HOMES, OTHER, TOKENS - left)))
    (receipt,) = chain.block((BUYER, signed_trade(HOMES, SELLER, BUYER, 300))).receipts
    assert receipt.reason is reason
    assert grid_micro(chain) == (15_150 if reason is Reason.NONE else 0)


def test_a_forward_trade_holds_the_fee_and_pays_it_for_what_came() -> None:
    chain = DictChain(HOMES)
    contract = signed_forward(HOMES, SELLER, BUYER, 300)
    chain.block((BUYER, contract))
    assert chain.account(BUYER).held_micro == 75_150
    chain.block((SELLER, signed_reading(HOMES, SELLER, 101)), (BUYER, signed_reading(HOMES, BUYER, -300)))
    trade = chain.read(trade_key(trade_id(contract.terms)), Trade)
    assert (trade.status, trade.amount_micro, trade.fee_micro) == (TradeStatus.COMPLETED, 20_200, 5_101)
    assert grid_micro(chain) == 5_101  # 5100.5
    wallet = chain.account(BUYER)
    assert (wallet.available_micro, wallet.held_micro) == (TOKENS - 25_301, 0)


def test_there_is_no_posting_without_a_fee() -> None:
    homes = make_genesis(2, tokens_micro=TOKENS)
    chain = DictChain(homes)
    chain.block((0, signed_reading(homes, 0, 500)), (1, signed_reading(homes, 1, -500)))
    execution = chain.block((1, signed_trade(homes, 0, 1, 300)))
    assert execution.receipts[0].status is Status.EXECUTED
    assert not [row for row in execution.postings if row.party is Party.GRID]


# -- in the conditions ---------------------------------------------------------------------------------------

CONTRACT = ContractSize(energy_wh=10, amount_micro=2_000, fee_micro=30)
BEFORE = Balances(
    seller_wh=10,
    seller_micro=0,
    buyer_wh=0,
    buyer_micro=2_030,
    buyer_deficit_wh=10,
    escrow_wh=0,
    escrow_micro=0,
    grid_micro=5,
)
ESCROWED = execution_stage(CONTRACT, BEFORE)
SETTLED = final_stage(CONTRACT, ESCROWED)


def test_condition_2_counts_the_fee() -> None:
    assert condition_2(CONTRACT, BEFORE, ESCROWED) is None
    poor = replace(BEFORE, buyer_micro=2_029)
    failure = condition_2(CONTRACT, poor, execution_stage(CONTRACT, poor))
    assert failure is not None
    assert (failure.fault, failure.detail) == (Party.BUYER, "buyer has 2029 micro-tokens available, contract 2030")
    without = replace(ESCROWED, buyer_micro=30, escrow_micro=2_000)
    assert condition_2(CONTRACT, BEFORE, without) is not None, "the income alone is not what the contract takes"


@pytest.mark.parametrize(
    "changes",
    [
        {"grid_micro": 34},
        {"grid_micro": 36},
        {"grid_micro": 5, "seller_micro": 2_030},  # the fee to the seller
        {"grid_micro": 5, "escrow_micro": 30},  # the fee left behind
        {"grid_micro": 36, "seller_micro": 1_999},  # one too much, of the seller's income
        {"seller_micro": 1_999, "escrow_micro": 1},
    ],
)
def test_condition_4_watches_income_and_fee_apart(changes: dict[str, int]) -> None:
    assert condition_4(CONTRACT, ESCROWED, SETTLED) is None
    failure = condition_4(CONTRACT, ESCROWED, replace(SETTLED, **changes))
    assert failure is not None
    assert (failure.reason, failure.fault) == (Reason.CONDITION_4_SELLER_TOKENS, None)
