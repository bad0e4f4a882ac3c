"""Signed readings: what they credit and record, and every reason to decline one."""

from typing import Any

import pytest

from consensus.cryptography import SigningKey
from contracts.receipts import Reason, Status
from contracts.state import Interval, StateKey, Table, interval_key
from contracts.transactions import packet_id
from contracts.units import MS_PER_HOUR
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    DictChain,
    make_genesis,
    moved_tables,
    seeded_key,
    signed_reading,
)

HOMES = make_genesis(3, capacity_w=1_000)


def new_chain() -> DictChain:
    return DictChain(HOMES)


def tables(changes: Any) -> set[bytes]:
    return {bytes(key[:1]) for key in changes}


def test_surplus_credits_a_packet() -> None:
    chain = new_chain()
    (receipt,) = chain.block((0, signed_reading(HOMES, 0, 700, source="wind"))).receipts
    assert receipt.status is Status.EXECUTED
    assert receipt.reference == packet_id(HOMES.addresses[0], FIRST_INTERVAL_MS)
    packet = chain.packet(0)
    assert (packet.owner, packet.source) == (HOMES.addresses[0], "wind")
    assert (packet.credited_wh, packet.available_wh, packet.claimed_wh) == (700, 700, 0)
    assert (chain.totals().credited_wh, chain.totals().available_wh) == (700, 700)


def test_lack_records_a_deficit() -> None:
    chain = new_chain()
    (receipt,) = chain.block((1, signed_reading(HOMES, 1, -400))).receipts
    assert (receipt.status, receipt.reference) == (Status.EXECUTED, None)
    deficit = chain.deficit(1)
    assert (deficit.recorded_wh, deficit.open_wh, deficit.bought_wh) == (400, 400, 0)
    assert (chain.totals().deficit_wh, chain.totals().open_wh) == (400, 400)


def test_zero_only_marks_the_interval() -> None:
    chain = new_chain()
    changes = chain.block((1, signed_reading(HOMES, 1, 0))).changes
    interval = chain.read(interval_key(FIRST_INTERVAL_MS), Interval)
    assert interval.meters == (HOMES.addresses[1],)
    assert Table.PACKET.value not in tables(changes)
    assert Table.DEFICIT.value not in tables(changes)


DECLINED: list[tuple[Reason, int, dict[str, Any], str]] = [
    (Reason.READING_FOREIGN_METER, 0, {"meter": HOMES.addresses[1]}, HOMES.addresses[1].hex()),
    (Reason.READING_WRONG_CHAIN, 0, {"chain": bytes(32)}, "00" * 32),
    (Reason.READING_MISALIGNED, 0, {"interval_start_ms": FIRST_INTERVAL_MS + 1}, str(FIRST_INTERVAL_MS + 1)),
    (Reason.READING_ABOVE_CAPACITY, 0, {"net_wh": 1_001}, "1001 Wh"),
    (Reason.READING_ABOVE_CAPACITY, 0, {"net_wh": -1_001}, "-1001 Wh"),
    (Reason.READING_BAD_SIGNATURE, 0, {"meter_key": HOMES.node_keys[0]}, "meter key"),
    (Reason.READING_BAD_SIGNATURE, 0, {"meter_key": HOMES.meter_keys[1]}, "meter key"),
    (Reason.READING_BAD_SIGNATURE, 0, {"meter_key": seeded_key("stranger", 0)}, "meter key"),
]


@pytest.mark.parametrize(("reason", "sender", "changes", "shown"), DECLINED)
def test_declined(reason: Reason, sender: int, changes: dict[str, Any], shown: str) -> None:
    chain = new_chain()
    execution = chain.block((sender, signed_reading(HOMES, 0, **{"net_wh": 500, **changes})))
    (receipt,) = execution.receipts
    assert (receipt.status, receipt.reason, receipt.fault) == (Status.DECLINED, reason, None)
    assert shown in receipt.detail
    assert moved_tables(execution) == {Table.ACCOUNT.value}, "only the sender's nonce moves"


def test_a_foreign_meters_genuine_reading_is_declined() -> None:
    chain = new_chain()
    (receipt,) = chain.block((1, signed_reading(HOMES, 0, 500))).receipts
    assert receipt.reason is Reason.READING_FOREIGN_METER


@pytest.mark.parametrize("key", [HOMES.issuer_key, HOMES.grid_key])
def test_who_is_no_member_has_no_meter(key: SigningKey) -> None:
    reading = signed_reading(HOMES, 0, 500, meter=key.address, meter_key=key)
    (receipt,) = new_chain().block((key, reading)).receipts
    assert receipt.reason is Reason.READING_FOREIGN_METER


@pytest.mark.parametrize("second_net_wh", [500, 400, -1, 0])
@pytest.mark.parametrize("first_net_wh", [500, -500, 0])
def test_second_reading_of_an_interval_is_declined(first_net_wh: int, second_net_wh: int) -> None:
    chain = new_chain()
    chain.block((0, signed_reading(HOMES, 0, first_net_wh)))
    totals = chain.totals()
    (receipt,) = chain.block((0, signed_reading(HOMES, 0, second_net_wh))).receipts
    assert receipt.reason is Reason.READING_DUPLICATE
    assert str(FIRST_INTERVAL_MS) in receipt.detail
    assert chain.totals() == totals


def test_second_reading_in_the_same_block_is_declined() -> None:
    reading = signed_reading(HOMES, 0, 500)
    first, second = new_chain().block((0, reading), (0, reading)).receipts
    assert (first.reason, second.reason) == (Reason.NONE, Reason.READING_DUPLICATE)


@pytest.mark.parametrize("net_wh", [1_000, -1_000])
def test_capacity_times_interval_is_allowed(net_wh: int) -> None:
    (receipt,) = new_chain().block((0, signed_reading(HOMES, 0, net_wh))).receipts
    assert receipt.status is Status.EXECUTED


@pytest.mark.parametrize(("net_wh", "reason"), [(16, Reason.NONE), (17, Reason.READING_ABOVE_CAPACITY)])
def test_capacity_of_an_interval_that_gives_no_whole_watt_hours(net_wh: int, reason: Reason) -> None:
    homes = make_genesis(1, capacity_w=1_000, interval_ms=60_000)  # 16.67 Wh
    chain = DictChain(homes)
    (receipt,) = chain.block((0, signed_reading(homes, 0, net_wh))).receipts
    assert receipt.reason is reason


def test_reading_after_gate_closure_goes_to_and_comes_from_the_grid() -> None:
    chain = new_chain()
    chain.block((0, signed_reading(HOMES, 0, 500)))
    chain.block(slot=chain.slot + HOMES.genesis.parameters.gate_closure_slots)
    late = chain.block((1, signed_reading(HOMES, 1, 300)), (2, signed_reading(HOMES, 2, -200)))
    assert [receipt.status for receipt in late.receipts] == [Status.EXECUTED] * 2
    assert (chain.packet(1).available_wh, chain.packet(1).exported_wh) == (0, 300)
    assert (chain.deficit(2).open_wh, chain.deficit(2).imported_wh) == (0, 200)
    assert Table.AGENDA.value not in tables(late.changes), "a closed gate is not put on the agenda again"
    interval = chain.read(interval_key(FIRST_INTERVAL_MS), Interval)
    assert interval.closed
    assert interval.meters == HOMES.addresses


def test_other_intervals_are_other_packets() -> None:
    chain = new_chain()
    second = FIRST_INTERVAL_MS + MS_PER_HOUR
    chain.block((0, signed_reading(HOMES, 0, 500)), (0, signed_reading(HOMES, 0, 600, interval_start_ms=second)))
    assert (chain.packet(0).credited_wh, chain.packet(0, second).credited_wh) == (500, 600)


def test_keys_are_of_the_state() -> None:
    changes = new_chain().block((0, signed_reading(HOMES, 0, 500))).changes
    assert all(isinstance(key, bytes) and Table(key[:1]) for key in changes)
    assert list(changes) == sorted(changes)
    assert StateKey(interval_key(FIRST_INTERVAL_MS)) in changes
