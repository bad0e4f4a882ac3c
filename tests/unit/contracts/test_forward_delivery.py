"""How forward trades end: delivered whole or in part, expired, with whose fault, and what they leave over."""

from dataclasses import dataclass
from typing import Any

import pytest

from contracts.execution import Execution
from contracts.receipts import Asset, Party, Stage, Status
from contracts.service_records import LastBlock
from contracts.state import (
    LAST_BLOCK_KEY,
    PromiseBook,
    ScoreCause,
    Trade,
    TradeStatus,
    promises_key,
    trade_key,
)
from contracts.transactions import SubmitTrade, trade_id
from qscore.deltas import Role, after_fault, rewarded
from qscore.parameters import DEFAULT_PARAMETERS, ONE
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    DictChain,
    make_genesis,
    signed_forward,
    signed_reading,
    signed_trade,
)

TOKENS = 1_000_000
HOMES = make_genesis(4, tokens_micro=TOKENS, capacity_w=1_000, gate_closure_slots=10)
SELLER, BUYER, OTHER, THIRD = range(4)
A = HOMES.addresses
EXPIRY = 100
ALONE: dict[str, Any] = {"parent_voters": (), "parent_leader": None}
WH, MICRO = Asset.ENERGY_WH, Asset.TOKENS_MICRO


def forward(energy_wh: int = 300, *, seller: int = SELLER, buyer: int = BUYER, **terms: Any) -> SubmitTrade:
    return signed_forward(HOMES, seller, buyer, energy_wh, **{"expiry_slot": EXPIRY, **terms})


@dataclass
class Window:
    """A chain with pending forward trades of one window, whose readings come then."""

    chain: DictChain
    names: list[bytes]

    @classmethod
    def of(cls, *contracts: SubmitTrade) -> "Window":
        chain = DictChain(HOMES)
        for contract in contracts:
            (receipt,) = chain.block((A.index(contract.terms.seller), contract), **ALONE).receipts
            assert receipt.status is Status.EXECUTED
        return cls(chain=chain, names=[trade_id(contract.terms) for contract in contracts])

    def reads(self, member: int, net_wh: int, **block: Any) -> Execution:
        return self.chain.block((member, signed_reading(HOMES, member, net_wh)), **{**ALONE, **block})

    def trade(self, number: int = 0) -> Trade:
        return self.chain.read(trade_key(self.names[number]), Trade)

    def score(self, member: int) -> int:
        return self.chain.score(member).value


def rows(execution: Execution) -> list[tuple[Stage, Party, Asset, int, int]]:
    return [(row.stage, row.party, row.asset, row.before, row.after) for row in execution.postings]


def reward(outcome: int) -> int:
    return rewarded(ONE, role=Role.TRADER, outcome=outcome, parameters=DEFAULT_PARAMETERS)


def fault(outcome: int) -> int:
    return after_fault(ONE, outcome=outcome, parameters=DEFAULT_PARAMETERS)


# -- delivered -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [SELLER, BUYER])
def test_full_delivery_pays_the_whole_contract(first: int) -> None:
    window = Window.of(forward())
    nets = {SELLER: 500, BUYER: -400}
    last = BUYER if first == SELLER else SELLER
    assert window.reads(first, nets[first]).postings == ()
    assert window.trade().status is TradeStatus.PENDING
    window.reads(last, nets[last])
    trade = window.trade()
    assert (trade.status, trade.delivered_wh, trade.amount_micro) == (TradeStatus.COMPLETED, 300, 60_000)
    assert (trade.held_micro, trade.set_aside_wh, trade.reserved_wh) == (0, 0, 0)
    chain = window.chain
    packet, deficit = chain.packet(SELLER), chain.deficit(BUYER)
    assert (packet.available_wh, packet.escrow_wh, packet.claimed_wh) == (200, 0, 300)
    assert (deficit.open_wh, deficit.reserved_wh, deficit.bought_wh) == (100, 0, 300)
    assert chain.account(SELLER).available_micro == TOKENS + 60_000
    assert (chain.account(BUYER).available_micro, chain.account(BUYER).held_micro) == (TOKENS - 60_000, 0)
    totals = chain.totals()
    assert (totals.trades_pending, totals.trades_completed, totals.traded_micro) == (0, 1, 60_000)
    for member in (SELLER, BUYER):
        assert chain.read(promises_key(A[member], FIRST_INTERVAL_MS), PromiseBook).trades == ()


def test_full_delivery_rewards_both_as_a_spot_trade_does() -> None:
    window = Window.of(forward())
    window.reads(SELLER, 300)
    window.reads(BUYER, -300)
    for member, cause in ((SELLER, ScoreCause.SELLER), (BUYER, ScoreCause.BUYER)):
        score = window.chain.score(member)
        assert (score.value, score.cause, score.reference) == (1_018_000, cause, window.names[0])
    assert window.trade().quality_total == 4_000_000
    assert window.chain.read(LAST_BLOCK_KEY, LastBlock).trades_rewarded == 1, "leader and voters are rewarded next"


def test_partial_delivery_pays_for_what_came_and_refunds_the_rest() -> None:
    window = Window.of(forward(300))
    window.reads(BUYER, -400)
    execution = window.reads(SELLER, 200)
    trade = window.trade()
    assert (trade.status, trade.delivered_wh, trade.amount_micro) == (TradeStatus.COMPLETED, 200, 40_000)
    assert window.chain.account(SELLER).available_micro == TOKENS + 40_000
    assert window.chain.account(BUYER).available_micro == TOKENS - 40_000
    assert window.chain.deficit(BUYER).open_wh == 200
    assert rows(execution) == [
        (Stage.FINAL, Party.ESCROW, WH, 200, 0),
        (Stage.FINAL, Party.BUYER, WH, 0, 200),
        (Stage.FINAL, Party.ESCROW, MICRO, 60_000, 20_000),
        (Stage.FINAL, Party.SELLER, MICRO, TOKENS, TOKENS + 40_000),
        (Stage.REFUND, Party.ESCROW, MICRO, 20_000, 0),
        (Stage.REFUND, Party.BUYER, MICRO, TOKENS - 60_000, TOKENS - 40_000),
    ]


def test_what_came_is_rounded_once_and_the_refund_is_the_rest() -> None:
    window = Window.of(forward(3, price_micro_per_kwh=100_500))  # 301.5, held 302
    window.reads(BUYER, -3)
    window.reads(SELLER, 1)  # 100.5, paid 101
    assert window.trade().amount_micro == 101
    assert window.chain.account(SELLER).available_micro == TOKENS + 101
    assert window.chain.account(BUYER).available_micro == TOKENS - 101


@pytest.mark.parametrize(
    ("came_wh", "outcome"),
    [(300, ONE), (225, 500_000), (151, 6_666), (150, 0), (149, -6_667), (75, -500_000), (1, -993_334), (0, -ONE)],
)
def test_the_outcome_is_twice_the_share_that_came_less_one(came_wh: int, outcome: int) -> None:
    window = Window.of(forward(300))
    window.reads(BUYER, -300)
    window.reads(SELLER, came_wh)
    seller, buyer = (reward(outcome), reward(outcome)) if outcome >= 0 else (fault(outcome), ONE)
    assert (window.score(SELLER), window.score(BUYER)) == (seller, buyer)
    x = outcome / ONE
    traders = 2 * x**5 if outcome > 0 else x**5
    assert window.trade().quality_total == pytest.approx(ONE * (x + x**3 + traders), abs=1)


def test_nothing_delivered_expires_and_is_the_sellers_fault() -> None:
    window = Window.of(forward())
    window.reads(BUYER, -300)
    execution = window.reads(SELLER, -50)
    trade = window.trade()
    assert (trade.status, trade.delivered_wh, trade.amount_micro) == (TradeStatus.EXPIRED, 0, 0)
    assert (window.chain.totals().trades_expired, window.chain.totals().trades_completed) == (1, 0)
    assert window.chain.account(BUYER).available_micro == TOKENS
    score = window.chain.score(SELLER)
    assert (score.value, score.cause, score.reference) == (500_000, ScoreCause.FAULT, window.names[0])
    assert {row[0] for row in rows(execution)} == {Stage.REFUND}


def test_what_the_buyer_does_not_need_is_not_due() -> None:
    """A smaller deficit: all that could be taken came, the rest stays the seller's."""
    window = Window.of(forward(300))
    window.reads(SELLER, 300)
    window.reads(BUYER, -120)
    trade = window.trade()
    assert (trade.status, trade.delivered_wh, trade.amount_micro) == (TradeStatus.COMPLETED, 120, 24_000)
    assert (window.chain.packet(SELLER).available_wh, window.chain.packet(SELLER).claimed_wh) == (180, 120)
    assert window.score(SELLER) == window.score(BUYER) == reward(ONE)


@pytest.mark.parametrize("buyer_wh", [0, 250])
@pytest.mark.parametrize("seller_wh", [300, 0, -300])
def test_nobody_is_at_fault_when_nothing_is_due(seller_wh: int, buyer_wh: int) -> None:
    window = Window.of(forward())
    window.reads(SELLER, seller_wh)
    window.reads(BUYER, buyer_wh)
    assert (window.trade().status, window.trade().quality_total) == (TradeStatus.EXPIRED, 0)
    assert window.score(SELLER) == window.score(BUYER) == ONE
    assert window.chain.account(BUYER).available_micro == TOKENS


def test_a_pair_is_rewarded_once_per_interval() -> None:
    window = Window.of(forward(100), forward(100, offer_counter=1))
    window.reads(SELLER, 200)
    window.reads(BUYER, -200)
    assert [window.trade(number).status for number in range(2)] == [TradeStatus.COMPLETED] * 2
    assert window.score(SELLER) == window.score(BUYER) == reward(ONE)


# -- several promises ----------------------------------------------------------------------------------------


def test_promises_are_served_in_the_order_of_their_execution() -> None:
    window = Window.of(
        forward(200, buyer=OTHER, offer_counter=5),
        forward(200, buyer=BUYER, offer_counter=1),
        forward(200, buyer=THIRD, offer_counter=3),
    )
    for member in (BUYER, OTHER, THIRD):
        window.reads(member, -200)
    window.reads(SELLER, 300)
    assert [window.trade(number).delivered_wh for number in range(3)] == [200, 100, 0]
    statuses = [window.trade(number).status for number in range(3)]
    assert statuses == [TradeStatus.COMPLETED, TradeStatus.COMPLETED, TradeStatus.EXPIRED]
    assert window.score(BUYER) == ONE, "x = 0"
    assert window.score(THIRD) == ONE


def test_deficits_are_reserved_in_the_order_of_their_execution() -> None:
    window = Window.of(forward(200, seller=OTHER), forward(200))
    window.reads(OTHER, 200)
    window.reads(SELLER, 200)
    window.reads(BUYER, -300)
    assert [window.trade(number).delivered_wh for number in range(2)] == [200, 100]
    assert window.score(SELLER) > ONE, "the 100 Wh that were due came"
    assert window.chain.packet(SELLER).available_wh == 100


@pytest.mark.parametrize("slot", [None, 50])
def test_what_one_promise_leaves_over_serves_the_next(slot: int | None) -> None:
    """Before the spot market and, with a closed gate (slot 50), before the grid."""
    window = Window.of(forward(500, buyer=BUYER), forward(300, buyer=OTHER, offer_counter=1))
    window.reads(SELLER, 500)
    assert (window.trade(0).set_aside_wh, window.trade(1).set_aside_wh) == (500, 0)
    window.reads(BUYER, -100, slot=slot)
    assert (window.trade(0).delivered_wh, window.trade(1).set_aside_wh) == (100, 300)
    window.reads(OTHER, -300)
    assert (window.trade(1).status, window.trade(1).delivered_wh) == (TradeStatus.COMPLETED, 300)
    assert window.score(SELLER) > ONE, "who generated enough is not at fault"
    left = {"available_wh": 100} if slot is None else {"exported_wh": 100}
    assert {name: getattr(window.chain.packet(SELLER), name) for name in left} == left


def test_what_one_seller_does_not_deliver_is_due_from_the_next() -> None:
    window = Window.of(forward(200, seller=OTHER), forward(200))
    window.reads(BUYER, -200)
    assert (window.trade(0).reserved_wh, window.trade(1).reserved_wh) == (200, 0)
    window.reads(OTHER, 50)
    assert (window.trade(0).delivered_wh, window.trade(1).reserved_wh) == (50, 150)
    window.reads(SELLER, 200)
    assert window.trade(1).delivered_wh == 150
    assert window.chain.deficit(BUYER).open_wh == 0


def test_a_member_buys_and_sells_in_one_window() -> None:
    """It has a surplus or a deficit, never both: of one of its trades nothing comes."""
    window = Window.of(forward(200), forward(200, seller=BUYER, buyer=OTHER))
    window.reads(OTHER, -200)
    window.reads(SELLER, 200)
    window.reads(BUYER, 150)
    assert [window.trade(number).delivered_wh for number in range(2)] == [0, 150]
    assert (window.trade(0).status, window.score(SELLER)) == (TradeStatus.EXPIRED, ONE)


# -- expired -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reported", "at_fault", "total"),
    [((), SELLER, -3_000_000), ((BUYER,), SELLER, -3_000_000), ((SELLER,), BUYER, -1_000_000)],
)
def test_who_did_not_report_by_the_expiry_is_at_fault(reported: tuple[int, ...], at_fault: int, total: int) -> None:
    window = Window.of(forward())
    nets = {SELLER: 300, BUYER: -300}
    for member in reported:
        window.reads(member, nets[member], slot=EXPIRY)
    window.chain.block(slot=EXPIRY, **ALONE)
    assert window.trade().status is TradeStatus.PENDING
    execution = window.chain.block(slot=EXPIRY + 1, **ALONE)
    trade = window.trade()
    assert (trade.status, trade.held_micro, trade.quality_total) == (TradeStatus.EXPIRED, 0, total)
    assert (window.chain.account(BUYER).available_micro, window.chain.account(BUYER).held_micro) == (TOKENS, 0)
    assert rows(execution) == [
        (Stage.REFUND, Party.ESCROW, MICRO, 60_000, 0),
        (Stage.REFUND, Party.BUYER, MICRO, TOKENS - 60_000, TOKENS),
    ]
    score = window.chain.score(at_fault)
    assert (score.value, score.cause, score.reference) == (500_000, ScoreCause.FAULT, window.names[0])
    assert window.score(BUYER if at_fault == SELLER else SELLER) == ONE


@pytest.mark.parametrize(("slot", "status"), [(EXPIRY, TradeStatus.COMPLETED), (EXPIRY + 1, TradeStatus.EXPIRED)])
def test_readings_of_the_expiry_slot_are_in_time(slot: int, status: TradeStatus) -> None:
    window = Window.of(forward())
    window.reads(SELLER, 300, slot=EXPIRY)
    window.reads(BUYER, -300, slot=slot)
    assert window.trade().status is status


def test_what_an_expired_trade_set_aside_is_free_again() -> None:
    window = Window.of(forward())
    window.reads(SELLER, 500, slot=EXPIRY - 1)
    window.chain.block(slot=EXPIRY + 1)
    packet = window.chain.packet(SELLER)
    assert (packet.available_wh, packet.escrow_wh) == (500, 0)
    window.reads(BUYER, -300)
    (receipt,) = window.chain.block((BUYER, signed_trade(HOMES, SELLER, BUYER, 300, offer_counter=1))).receipts
    assert receipt.status is Status.EXECUTED


def test_the_energy_of_a_trade_that_expires_after_the_gate_goes_to_the_grid() -> None:
    window = Window.of(forward(), forward(100, seller=THIRD))
    window.reads(SELLER, 500, slot=50)
    window.chain.block(slot=EXPIRY)
    assert (window.chain.packet(SELLER).escrow_wh, window.chain.packet(SELLER).exported_wh) == (300, 200)
    window.chain.block(slot=EXPIRY + 1)
    assert (window.chain.packet(SELLER).escrow_wh, window.chain.packet(SELLER).exported_wh) == (0, 500)


def test_late_readings_after_the_gate_still_settle_promises() -> None:
    window = Window.of(forward())
    window.reads(SELLER, 500, slot=2)
    window.chain.block(slot=20)
    window.reads(BUYER, -400, slot=30)
    assert (window.trade().status, window.trade().delivered_wh) == (TradeStatus.COMPLETED, 300)
    deficit = window.chain.deficit(BUYER)
    assert (deficit.open_wh, deficit.bought_wh, deficit.imported_wh) == (0, 300, 100)


# -- equal everywhere ----------------------------------------------------------------------------------------


def test_replays_are_equal() -> None:
    window, other = Window.of(forward(), forward(200, buyer=OTHER, offer_counter=1)), DictChain(HOMES)
    other.state = dict(reversed(window.chain.state.items()))
    other.height, other.slot = window.chain.height, window.chain.slot
    readings = [(member, signed_reading(HOMES, member, net)) for member, net in ((1, -250), (2, -200), (0, 300))]
    signed = [window.chain.sign(member, reading) for member, reading in readings]
    one, two = window.chain.apply(signed), other.apply(signed)
    assert list(one.changes.items()) == list(two.changes.items())
    assert (one.receipts, one.postings) == (two.receipts, two.postings)
    assert [window.trade(number).delivered_wh for number in range(2)] == [250, 50]
