"""Corrected readings: a new version settles the difference, nothing is edited, and no buyer loses anything."""

from typing import Any

import pytest

from contracts.agenda_records import Agenda
from contracts.execution import Execution
from contracts.receipts import Reason, Receipt, Status
from contracts.state import (
    AGENDA_KEY,
    Account,
    Debt,
    Interval,
    MeterReading,
    Trade,
    TradeStatus,
    account_key,
    debt_key,
    interval_key,
    reading_key,
    trade_key,
)
from contracts.transactions import PayDebt, packet_id, trade_id
from contracts.units import MS_PER_HOUR
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    DictChain,
    forward_terms,
    make_genesis,
    signed_forward,
    signed_reading,
    signed_trade,
    transfer,
)

TOKENS = 1_000_000
RETAIL_MICRO_PER_KWH = 320_000
HOMES = make_genesis(4, tokens_micro=TOKENS, capacity_w=1_000, gate_closure_slots=10)
SELLER, BUYER, OTHER, _ = range(4)
A = HOMES.addresses
NEXT_INTERVAL_MS = FIRST_INTERVAL_MS + MS_PER_HOUR


def sold(energy_wh: int = 300) -> DictChain:
    """Member 0 had 500 Wh and sold some to member 1, who lacks 400."""
    chain = DictChain(HOMES)
    chain.block((SELLER, signed_reading(HOMES, SELLER, 500)), (BUYER, signed_reading(HOMES, BUYER, -400)))
    if energy_wh:
        chain.block((BUYER, signed_trade(HOMES, SELLER, BUYER, energy_wh)))
    return chain


def correct(chain: DictChain, net_wh: int, *, member: int = SELLER, version: int = 1, **block: Any) -> Execution:
    execution = chain.block((member, signed_reading(HOMES, member, net_wh, version=version)), **block)
    assert execution.receipts[0].status is Status.EXECUTED, execution.receipts[0]
    return execution


def energy(chain: DictChain) -> dict[str, int]:
    """What member 0's packet says, without zeros."""
    packet = chain.packet(SELLER)
    names = ("credited_wh", "available_wh", "escrow_wh", "claimed_wh", "exported_wh", "replaced_wh")
    return {name.removesuffix("_wh"): getattr(packet, name) for name in names if getattr(packet, name)}


def lack(chain: DictChain) -> dict[str, int]:
    """What member 1's deficit says, without zeros."""
    deficit = chain.deficit(BUYER)
    names = ("recorded_wh", "open_wh", "reserved_wh", "bought_wh", "imported_wh", "unused_wh")
    return {name.removesuffix("_wh"): getattr(deficit, name) for name in names if getattr(deficit, name)}


def owed(chain: DictChain, member: int = SELLER) -> int:
    key = debt_key(A[member])
    return chain.read(key, Debt).owed_micro if key in chain.state else 0


def pay(chain: DictChain, amount: int, member: int = SELLER) -> Receipt:
    (receipt,) = chain.block((member, PayDebt(amount_micro=amount))).receipts
    return receipt


# -- surplus -------------------------------------------------------------------------------------------------


def test_more_is_credited() -> None:
    chain = sold(300)
    execution = correct(chain, 700)
    assert execution.receipts[0].reference == packet_id(A[SELLER], FIRST_INTERVAL_MS)
    assert energy(chain) == {"credited": 700, "available": 400, "claimed": 300}
    assert owed(chain) == 0


def test_less_is_taken_from_what_is_available() -> None:
    chain = sold(300)
    correct(chain, 300)
    assert energy(chain) == {"credited": 300, "claimed": 300}
    assert owed(chain) == 0


def test_less_than_was_sold_is_replaced_and_owed_at_retail_price() -> None:
    chain = sold(300)
    wallets = [chain.account(member).available_micro for member in range(4)]
    deficit = lack(chain)
    correct(chain, 299)
    assert energy(chain) == {"credited": 299, "claimed": 300, "replaced": 1}
    assert owed(chain) == RETAIL_MICRO_PER_KWH // 1_000
    assert chain.totals().owed_micro == owed(chain)
    assert [chain.account(member).available_micro for member in range(4)] == wallets
    assert lack(chain) == deficit, "the buyer is untouched"


def test_a_surplus_that_never_was() -> None:
    chain = sold(300)
    correct(chain, 0)
    assert energy(chain) == {"claimed": 300, "replaced": 300}
    assert owed(chain) == 96_000


def test_corrections_add_up() -> None:
    chain = sold(300)
    correct(chain, 200)
    correct(chain, 100, version=2)
    assert energy(chain) == {"credited": 100, "claimed": 300, "replaced": 200}
    assert owed(chain) == 64_000
    correct(chain, 250, version=3)
    assert energy(chain) == {"credited": 250, "available": 150, "claimed": 300, "replaced": 200}
    assert owed(chain) == 64_000, "what the grid supplied stays supplied"


def test_after_the_gate_less_is_taken_from_what_was_exported() -> None:
    chain = sold(300)
    chain.block(slot=50)
    assert energy(chain) == {"credited": 500, "claimed": 300, "exported": 200}
    correct(chain, 350)
    assert energy(chain) == {"credited": 350, "claimed": 300, "exported": 50}
    correct(chain, 290, version=2)
    assert energy(chain) == {"credited": 290, "claimed": 300, "replaced": 10}
    assert owed(chain) == 3_200


def test_after_the_gate_more_is_exported_at_once() -> None:
    chain = sold(300)
    chain.block(slot=50)
    correct(chain, 900)
    assert energy(chain) == {"credited": 900, "claimed": 300, "exported": 600}


# -- deficits ------------------------------------------------------------------------------------------------


def test_a_deficit_grows_and_shrinks() -> None:
    chain = sold(300)
    correct(chain, -450, member=BUYER)
    assert lack(chain) == {"recorded": 450, "open": 150, "bought": 300}
    correct(chain, -310, member=BUYER, version=2)
    assert lack(chain) == {"recorded": 310, "open": 10, "bought": 300}


def test_what_was_bought_and_not_needed_went_into_the_grid() -> None:
    chain = sold(300)
    wallets = [chain.account(member).available_micro for member in range(4)]
    correct(chain, -250, member=BUYER)
    assert lack(chain) == {"recorded": 250, "bought": 300, "unused": 50}
    assert chain.totals().unused_wh == 50
    assert [chain.account(member).available_micro for member in range(4)] == wallets
    assert (owed(chain), owed(chain, BUYER)) == (0, 0)


def test_after_the_gate_a_deficit_is_corrected_with_the_grid() -> None:
    chain = sold(300)
    chain.block(slot=50)
    assert lack(chain) == {"recorded": 400, "bought": 300, "imported": 100}
    correct(chain, -330, member=BUYER)
    assert lack(chain) == {"recorded": 330, "bought": 300, "imported": 30}
    correct(chain, -360, member=BUYER, version=2)
    assert lack(chain) == {"recorded": 360, "bought": 300, "imported": 60}


@pytest.mark.parametrize("slot", [None, 50])
def test_the_sign_changes(slot: int | None) -> None:
    chain = sold(0)
    correct(chain, -70, slot=slot)
    assert energy(chain) == {}
    rest = "open" if slot is None else "imported"
    deficit = chain.deficit(SELLER)
    assert (deficit.recorded_wh, getattr(deficit, f"{rest}_wh")) == (70, 70)
    correct(chain, 80, version=2)
    deficit = chain.deficit(SELLER)
    assert (deficit.recorded_wh, deficit.open_wh, deficit.imported_wh) == (0, 0, 0)
    assert energy(chain) == {"credited": 80, "available" if slot is None else "exported": 80}


# -- pending forward trades ----------------------------------------------------------------------------------


def promised(*energies_wh: int) -> DictChain:
    """Forward trades of member 0 with members 1 and 2, pending."""
    chain = DictChain(HOMES)
    for number, energy_wh in enumerate(energies_wh):
        buyer = (BUYER, OTHER)[number]
        chain.block((buyer, signed_forward(HOMES, SELLER, buyer, energy_wh, offer_counter=number)))
    return chain


def trade(chain: DictChain, energy_wh: int, number: int = 0) -> Trade:
    terms = forward_terms(HOMES, SELLER, (BUYER, OTHER)[number], energy_wh, offer_counter=number)
    return chain.read(trade_key(trade_id(terms)), Trade)


@pytest.mark.parametrize(
    ("net_wh", "aside", "left_over"),
    [(600, (300, 200), 100), (450, (300, 150), 0), (250, (250, 0), 0), (0, (0, 0), 0), (-20, (0, 0), 0)],
)
@pytest.mark.parametrize("first_wh", [500, 0, -10, 1_000])
def test_a_correction_serves_promises_anew(
    first_wh: int, net_wh: int, aside: tuple[int, int], left_over: int
) -> None:
    """What it adds and the promises do not take goes to the grid; what was there before stays for sale."""
    chain = promised(300, 200)
    chain.block((SELLER, signed_reading(HOMES, SELLER, first_wh)))
    correct(chain, net_wh)
    assert (trade(chain, 300).set_aside_wh, trade(chain, 200, 1).set_aside_wh) == aside
    packet = energy(chain) if max(first_wh, net_wh) > 0 else {}
    assert packet.get("escrow", 0) == sum(aside)
    place = "exported" if net_wh > first_wh else "available"
    assert packet.get(place, 0) == left_over
    assert owed(chain) == 0, "nothing of it was sold"


def test_a_correction_makes_nothing_due_that_was_not() -> None:
    chain = promised(300)
    chain.block((SELLER, signed_reading(HOMES, SELLER, 500)))
    correct(chain, 400)
    assert trade(chain, 300).status is TradeStatus.PENDING
    chain.block((BUYER, signed_reading(HOMES, BUYER, -300)))
    assert trade(chain, 300).status is TradeStatus.COMPLETED


def test_corrections_put_nothing_on_the_agenda() -> None:
    """Else one member with many promises could hold up everybody's gates with a block full of corrections."""
    chain = promised(300)
    reading = signed_reading(HOMES, BUYER, -300)
    corrections = [(SELLER, signed_reading(HOMES, SELLER, 300 + version, version=version)) for version in range(30)]
    chain.block((BUYER, reading), *corrections)
    assert chain.read(AGENDA_KEY, Agenda).made == 3, "expiry, gate, end"
    assert trade(chain, 300).status is TradeStatus.COMPLETED


def test_the_buyers_correction_reserves_anew() -> None:
    chain = promised(300)
    chain.block((BUYER, signed_reading(HOMES, BUYER, -200)))
    assert trade(chain, 300).reserved_wh == 200
    correct(chain, -350, member=BUYER)
    assert lack(chain) == {"recorded": 350, "imported": 50, "reserved": 300}


def test_a_false_first_reading_frees_no_buyer_from_its_promise() -> None:
    """It lacks nothing at first, so that nothing is due; what it then lacks after all it cannot buy on the spot."""
    chain = promised(300)
    chain.block((SELLER, signed_reading(HOMES, SELLER, 300)), (BUYER, signed_reading(HOMES, BUYER, 0)))
    assert trade(chain, 300).status is TradeStatus.EXPIRED
    correct(chain, -300, member=BUYER)
    assert lack(chain) == {"recorded": 300, "imported": 300}


def test_a_false_first_reading_frees_no_seller_from_its_promise() -> None:
    """Half of it is just no fault; the other half appears later and cannot be sold for more on the spot."""
    chain = promised(300)
    chain.block((SELLER, signed_reading(HOMES, SELLER, 150)), (BUYER, signed_reading(HOMES, BUYER, -300)))
    assert trade(chain, 300).delivered_wh == 150
    correct(chain, 300)
    assert energy(chain) == {"credited": 300, "claimed": 150, "exported": 150}


def test_after_delivery_a_correction_makes_a_debt_as_any_sale_does() -> None:
    chain = promised(300)
    chain.block((SELLER, signed_reading(HOMES, SELLER, 300)), (BUYER, signed_reading(HOMES, BUYER, -300)))
    before = trade(chain, 300)
    correct(chain, 100)
    assert energy(chain) == {"credited": 100, "claimed": 300, "replaced": 200}
    assert owed(chain) == 64_000
    assert trade(chain, 300) == before


# -- versions ------------------------------------------------------------------------------------------------


def test_a_correction_is_a_new_version_and_the_interval_counts_the_meter_once() -> None:
    chain = sold(0)
    correct(chain, 600)
    reading = chain.read(reading_key(A[SELLER], FIRST_INTERVAL_MS), MeterReading)
    assert (reading.version, reading.net_wh) == (1, 600)
    interval = chain.read(interval_key(FIRST_INTERVAL_MS), Interval)
    assert (interval.meters, interval.closes_at_slot) == ((A[SELLER], A[BUYER]), 11)


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (0, Reason.READING_DUPLICATE),
        (1, Reason.READING_WRONG_VERSION),
        (2, Reason.NONE),
        (3, Reason.READING_WRONG_VERSION),
    ],
)
def test_versions_follow_each_other(version: int, reason: Reason) -> None:
    chain = sold(0)
    correct(chain, 450)
    totals = chain.totals()
    (receipt,) = chain.block((SELLER, signed_reading(HOMES, SELLER, 400, version=version))).receipts
    assert receipt.reason is reason
    assert (chain.totals() == totals) is (reason is not Reason.NONE)


def test_there_is_no_correction_before_the_reading() -> None:
    chain = DictChain(HOMES)
    (receipt,) = chain.block((SELLER, signed_reading(HOMES, SELLER, 400, version=1))).receipts
    assert receipt.reason is Reason.READING_WRONG_VERSION
    assert receipt.detail == f"version 1 of interval {FIRST_INTERVAL_MS} ms, expected 0"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"net_wh": 1_001}, Reason.READING_ABOVE_CAPACITY),
        ({"meter_key": HOMES.node_keys[SELLER]}, Reason.READING_BAD_SIGNATURE),
    ],
)
def test_a_correction_keeps_the_rules_of_a_reading(changes: dict[str, Any], reason: Reason) -> None:
    chain = sold(0)
    reading = signed_reading(HOMES, SELLER, **{"net_wh": 400, **changes}, version=1)
    (receipt,) = chain.block((SELLER, reading)).receipts
    assert receipt.reason is reason
    assert energy(chain) == {"credited": 500, "available": 500}


# -- debts ---------------------------------------------------------------------------------------------------


def indebted() -> DictChain:
    """Member 0 owes 32,000 for 100 Wh, and has 50 Wh of the next hour, which member 1 lacks."""
    chain = sold(300)
    correct(chain, 200)
    later = {"interval_start_ms": NEXT_INTERVAL_MS}
    chain.block(
        (SELLER, signed_reading(HOMES, SELLER, 50, **later)), (BUYER, signed_reading(HOMES, BUYER, -50, **later))
    )
    assert owed(chain) == 32_000
    return chain


def sell(chain: DictChain) -> Receipt:
    contract = signed_trade(HOMES, SELLER, BUYER, 50, offer_counter=9, interval_start_ms=NEXT_INTERVAL_MS)
    (receipt,) = chain.block((BUYER, contract)).receipts
    return receipt


def test_who_owes_cannot_sell_until_all_is_paid() -> None:
    chain = indebted()
    receipt = sell(chain)
    assert (receipt.reason, receipt.fault) == (Reason.TRADE_SELLER_IN_DEBT, HOMES.addresses[SELLER])
    assert receipt.detail == "the seller owes 32000 micro-tokens to the grid account"
    assert pay(chain, 31_999).status is Status.EXECUTED
    assert sell(chain).reason is Reason.TRADE_SELLER_IN_DEBT
    assert pay(chain, 1).status is Status.EXECUTED
    assert sell(chain).status is Status.EXECUTED


def test_who_owes_cannot_promise_and_may_buy() -> None:
    chain = indebted()
    window = NEXT_INTERVAL_MS + MS_PER_HOUR
    selling = signed_forward(HOMES, SELLER, BUYER, 50, offer_counter=9, delivery_start_ms=window)
    buying = signed_forward(HOMES, BUYER, SELLER, 50, delivery_start_ms=window)
    first, second = chain.block((SELLER, selling), (SELLER, buying)).receipts
    assert (first.reason, second.reason) == (Reason.TRADE_SELLER_IN_DEBT, Reason.NONE)


def test_payments_go_to_the_grid_account() -> None:
    chain = indebted()
    before = chain.account(SELLER).available_micro
    pay(chain, 20_000)
    assert chain.account(SELLER).available_micro == before - 20_000
    assert chain.read(account_key(HOMES.grid_key.address), Account).available_micro == 20_000
    assert (owed(chain), chain.totals().owed_micro) == (12_000, 12_000)


@pytest.mark.parametrize(("member", "amount"), [(SELLER, 32_001), (BUYER, 1)])
def test_nobody_pays_more_than_it_owes(member: int, amount: int) -> None:
    chain = indebted()
    assert pay(chain, amount, member).reason is Reason.DEBT_NOT_OWED
    assert owed(chain) == 32_000


def test_nobody_pays_with_tokens_that_it_has_not() -> None:
    chain = indebted()
    chain.block((SELLER, transfer(HOMES, OTHER, chain.account(SELLER).available_micro)))
    assert pay(chain, 1).reason is Reason.DEBT_INSUFFICIENT_TOKENS
    assert owed(chain) == 32_000
