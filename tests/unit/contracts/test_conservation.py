"""The books after a block: each broken invariant is found, to the unit."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from consensus.identifiers import Digest
from contracts.conservation import assert_conserved
from contracts.state import (
    TOTALS_KEY,
    Account,
    Debt,
    Deficit,
    MeterReading,
    Overlay,
    Packet,
    Totals,
    Trade,
    TradeStatus,
    account_key,
    debt_key,
    deficit_key,
    packet_key,
    reading_key,
    score_key,
    trade_key,
)
from contracts.transactions import packet_id, trade_id
from contracts.units import MS_PER_HOUR
from qscore.parameters import DEFAULT_PARAMETERS
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    DictChain,
    forward_terms,
    make_genesis,
    make_score,
    signed_forward,
    signed_reading,
    signed_trade,
    trade_terms,
)

HOMES = make_genesis(3)
SELLER, BUYER, _ = HOMES.addresses
ACCOUNT = account_key(SELLER)
PACKET = packet_key(packet_id(SELLER, FIRST_INTERVAL_MS))
DEFICIT = deficit_key(BUYER, FIRST_INTERVAL_MS)
READING = reading_key(SELLER, FIRST_INTERVAL_MS)
TRADE = trade_id(trade_terms(HOMES, 0, 1, 100))
WINDOW_MS = FIRST_INTERVAL_MS + MS_PER_HOUR
PROMISE = trade_id(forward_terms(HOMES, 0, 1, 150, offer_counter=1, delivery_start_ms=WINDOW_MS))
PROMISED = packet_key(packet_id(SELLER, WINDOW_MS))


def traded_chain() -> DictChain:
    """Member 0 sold 100 of 500 Wh to member 1, and holds 150 of 200 Wh an hour later for it."""
    chain = DictChain(HOMES)
    chain.block((0, signed_reading(HOMES, 0, 500)), (1, signed_reading(HOMES, 1, -300)))
    chain.block((1, signed_trade(HOMES, 0, 1, 100)))
    chain.block((1, signed_forward(HOMES, 0, 1, 150, offer_counter=1, delivery_start_ms=WINDOW_MS)))
    chain.block((0, signed_reading(HOMES, 0, 200, interval_start_ms=WINDOW_MS)))
    return chain


STATE = traded_chain().state


def change_account(overlay: Overlay, **deltas: int) -> None:
    account = overlay.require(ACCOUNT, Account)
    overlay.put(ACCOUNT, replace(account, **{name: getattr(account, name) + deltas[name] for name in deltas}))


def change_packet(overlay: Overlay, **deltas: int) -> None:
    packet = overlay.require(PACKET, Packet)
    overlay.put(PACKET, replace(packet, **{name: getattr(packet, name) + deltas[name] for name in deltas}))


def change_deficit(overlay: Overlay, **deltas: int) -> None:
    deficit = overlay.require(DEFICIT, Deficit)
    overlay.put(DEFICIT, replace(deficit, **{name: getattr(deficit, name) + deltas[name] for name in deltas}))


def change_totals(overlay: Overlay, **deltas: int) -> None:
    totals = overlay.require(TOTALS_KEY, Totals)
    overlay.put(TOTALS_KEY, replace(totals, **{name: getattr(totals, name) + deltas[name] for name in deltas}))


def sell_for_nothing(overlay: Overlay) -> None:
    """A second sale, of one watt-hour, posted completely."""
    sold = overlay.require(trade_key(TRADE), Trade)
    second = replace(sold, energy_wh=1, delivered_wh=1, amount_micro=0, fee_micro=0)
    overlay.put(trade_key(Digest(bytes(32))), second)
    change_packet(overlay, available_wh=-1, claimed_wh=1)
    change_deficit(overlay, open_wh=-1, bought_wh=1)
    change_totals(overlay, available_wh=-1, claimed_wh=1, open_wh=-1, bought_wh=1, trades_completed=1)


def set_score(overlay: Overlay, value: int) -> None:
    overlay.put(score_key(SELLER), make_score(value))


def set_stake(overlay: Overlay, staked: int) -> None:
    overlay.put(score_key(SELLER), replace(make_score(500_000), staked=staked))


def set_debt(overlay: Overlay, owed: int) -> None:
    overlay.put(debt_key(SELLER), Debt(owed_micro=owed))


def change_debt_and_totals(overlay: Overlay, owed: int) -> None:
    set_debt(overlay, owed)
    change_totals(overlay, owed_micro=owed)


def change_promise(overlay: Overlay, **values: Any) -> None:
    overlay.put(trade_key(PROMISE), replace(overlay.require(trade_key(PROMISE), Trade), **values))


def change_sold(overlay: Overlay, **values: Any) -> None:
    overlay.put(trade_key(TRADE), replace(overlay.require(trade_key(TRADE), Trade), **values))


def change_promised(overlay: Overlay, **deltas: int) -> None:
    packet = overlay.require(PROMISED, Packet)
    overlay.put(PROMISED, replace(packet, **{name: getattr(packet, name) + deltas[name] for name in deltas}))


def release(overlay: Overlay) -> None:
    """Ten watt-hours of the promised energy go back, posted completely."""
    change_promised(overlay, escrow_wh=-10, available_wh=10)
    change_promise(overlay, set_aside_wh=140)
    change_totals(overlay, escrow_wh=-10, available_wh=10)


def replace_sold(overlay: Overlay) -> None:
    """Ten watt-hours that were sold were not generated, posted completely."""
    change_packet(overlay, credited_wh=-10, replaced_wh=10)
    reading = overlay.require(READING, MeterReading)
    overlay.put(READING, replace(reading, version=1, net_wh=reading.net_wh - 10))
    set_debt(overlay, 3_200)
    change_totals(overlay, credited_wh=-10, replaced_wh=10, owed_micro=3_200)


def record_trade(overlay: Overlay, key: bytes) -> None:
    overlay.put(trade_key(key), overlay.require(trade_key(TRADE), Trade))


BROKEN: list[Callable[[Overlay], None]] = [
    lambda overlay: change_account(overlay, available_micro=1),
    lambda overlay: change_account(overlay, available_micro=-1),
    lambda overlay: change_account(overlay, held_micro=1),
    lambda overlay: change_account(overlay, available_micro=1, held_micro=-1),  # held below zero
    lambda overlay: change_packet(overlay, credited_wh=1, available_wh=1),
    lambda overlay: change_packet(overlay, available_wh=-1),
    lambda overlay: change_packet(overlay, available_wh=-401, exported_wh=401),
    lambda overlay: change_packet(overlay, claimed_wh=-1, available_wh=1),
    lambda overlay: change_deficit(overlay, recorded_wh=1, open_wh=1),
    lambda overlay: change_deficit(overlay, open_wh=-201, imported_wh=201),
    lambda overlay: change_deficit(overlay, bought_wh=1),
    lambda overlay: change_totals(overlay, issued_micro=1),
    lambda overlay: change_totals(overlay, redeemed_micro=1),
    lambda overlay: change_totals(overlay, credited_wh=1, available_wh=1),
    lambda overlay: change_totals(overlay, available_wh=-1, exported_wh=1),
    lambda overlay: change_totals(overlay, trades_completed=1),
    lambda overlay: change_totals(overlay, traded_micro=1),
    lambda overlay: set_score(overlay, DEFAULT_PARAMETERS.floor - 1),
    lambda overlay: set_score(overlay, DEFAULT_PARAMETERS.maximum + 1),
    lambda overlay: change_sold(overlay, status=TradeStatus.EXPIRED),
    lambda overlay: change_sold(overlay, quality_total=0),
    lambda overlay: record_trade(overlay, bytes(32)),
    lambda overlay: set_stake(overlay, 500_001),
    lambda overlay: set_stake(overlay, -1),
    lambda overlay: change_account(overlay, available_micro=-5, held_micro=5),  # held, and no trade holds it
    lambda overlay: change_totals(overlay, held_micro=1),
    lambda overlay: set_debt(overlay, 1),
    lambda overlay: change_debt_and_totals(overlay, -1),
    lambda overlay: change_totals(overlay, owed_micro=1),
    lambda overlay: change_packet(overlay, credited_wh=-1, replaced_wh=1),
    lambda overlay: change_packet(overlay, replaced_wh=1),
    lambda overlay: change_packet(overlay, replaced_wh=-1, credited_wh=1),
    lambda overlay: change_deficit(overlay, unused_wh=1),
    lambda overlay: change_deficit(overlay, unused_wh=-1, recorded_wh=1),
    lambda overlay: change_deficit(overlay, open_wh=-1, reserved_wh=1),
    lambda overlay: change_promised(overlay, escrow_wh=-1, available_wh=1),
    lambda overlay: change_promise(overlay, set_aside_wh=149),
    lambda overlay: change_promise(overlay, set_aside_wh=-1),
    lambda overlay: change_promise(overlay, reserved_wh=1),
    lambda overlay: change_promise(overlay, held_micro=29_999),
    lambda overlay: change_promise(overlay, delivered_wh=151),
    lambda overlay: change_promise(overlay, amount_micro=1),
    lambda overlay: change_promise(overlay, fee_micro=1),
    lambda overlay: change_promise(overlay, status=TradeStatus.CANCELLED),
    lambda overlay: change_totals(overlay, trades_pending=1),
    lambda overlay: change_totals(overlay, trades_expired=1),
    lambda overlay: change_totals(overlay, trades_cancelled=1),
    lambda overlay: change_totals(overlay, fees_micro=1),
]
BALANCED: list[Callable[[Overlay], None]] = [
    lambda _: None,
    sell_for_nothing,
    lambda overlay: change_totals(overlay, trades_declined=1),
    release,
    replace_sold,
    lambda overlay: set_stake(overlay, 500_000),
    lambda overlay: record_trade(overlay, TRADE),  # as it was
    lambda overlay: set_score(overlay, DEFAULT_PARAMETERS.floor),
    lambda overlay: set_score(overlay, DEFAULT_PARAMETERS.maximum),
]


@pytest.mark.parametrize("breaks", BROKEN)
def test_broken_books_are_found(breaks: Callable[[Overlay], None]) -> None:
    overlay = Overlay(STATE)
    breaks(overlay)
    with pytest.raises(AssertionError):
        assert_conserved(overlay, DEFAULT_PARAMETERS)


@pytest.mark.parametrize("changes", BALANCED)
def test_balanced_books_pass(changes: Callable[[Overlay], None]) -> None:
    overlay = Overlay(STATE)
    changes(overlay)
    assert_conserved(overlay, DEFAULT_PARAMETERS)


def test_energy_moved_between_two_owners_without_a_deficit_is_found() -> None:
    """Each record and the totals balance in themselves; what was sold is not what was bought."""
    overlay = Overlay(STATE)
    change_packet(overlay, available_wh=-1, claimed_wh=1)
    change_totals(overlay, available_wh=-1, claimed_wh=1)
    with pytest.raises(AssertionError, match="energy sold and bought"):
        assert_conserved(overlay, DEFAULT_PARAMETERS)
