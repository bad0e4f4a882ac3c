"""Signed meter readings: a surplus credits an energy packet, a lack records a deficit, each interval once.

A reading that comes after its interval's gate closed still counts, but nothing of it can be traded: its surplus
is exported to the grid at once, its deficit imported.
"""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import verify
from consensus.identifiers import Address, Digest, Slot
from contracts.closing import enqueue
from contracts.receipts import Reason
from contracts.run import BlockRun, Outcome, Refusal
from contracts.state import (
    Deficit,
    Interval,
    Member,
    Packet,
    deficit_key,
    interval_key,
    member_key,
    packet_key,
)
from contracts.transactions import PublishReading, Reading, packet_id
from contracts.units import MS_PER_HOUR, WattHours

NOTHING: Final = WattHours(0)


def execute_reading(run: BlockRun, sender: Address, action: PublishReading) -> Outcome:
    """Records one interval's net energy of the sender's meter, or declines it for the first rule that fails."""
    for check in CHECKS:
        refusal = check(run, sender, action)
        if refusal is not None:
            return Outcome(refusal=refusal)
    reading = action.reading
    closed = _mark_interval(run, reading)
    if reading.net_wh > 0:
        return Outcome(reference=_credit_packet(run, reading, closed=closed))
    if reading.net_wh < 0:
        _record_deficit(run, reading, closed=closed)
    return Outcome()


def _check_meter(_: BlockRun, sender: Address, action: PublishReading) -> Refusal | None:
    meter = action.reading.meter
    if meter == sender:
        return None
    detail = f"meter {meter.hex()} is not the sender's"
    return Refusal(reason=Reason.READING_FOREIGN_METER, detail=detail)


def _check_chain(run: BlockRun, _: Address, action: PublishReading) -> Refusal | None:
    if action.reading.chain == run.context.chain:
        return None
    detail = f"signed for chain {action.reading.chain.hex()}"
    return Refusal(reason=Reason.READING_WRONG_CHAIN, detail=detail)


def _check_signature(run: BlockRun, sender: Address, action: PublishReading) -> Refusal | None:
    meter_key = run.overlay.require(member_key(sender), Member).meter_key
    if verify(meter_key, encode(action.reading), action.meter_signature):
        return None
    detail = f"not signed by the registered meter key {meter_key.hex()}"
    return Refusal(reason=Reason.READING_BAD_SIGNATURE, detail=detail)


def _check_alignment(run: BlockRun, _: Address, action: PublishReading) -> Refusal | None:
    start, length = action.reading.interval_start_ms, run.genesis.interval_ms
    if start % length == 0:
        return None
    detail = f"interval start {start} ms is no multiple of {length} ms"
    return Refusal(reason=Reason.READING_MISALIGNED, detail=detail)


def _check_capacity(run: BlockRun, sender: Address, action: PublishReading) -> Refusal | None:
    """Compares |net| with capacity x interval as integers: Wh x ms-per-hour against W x ms."""
    net, length = action.reading.net_wh, run.genesis.interval_ms
    capacity_w = run.overlay.require(member_key(sender), Member).capacity_w
    if abs(net) * MS_PER_HOUR <= capacity_w * length:
        return None
    detail = f"net {net} Wh in {length} ms, registered capacity {capacity_w} W"
    return Refusal(reason=Reason.READING_ABOVE_CAPACITY, detail=detail)


def _check_first(run: BlockRun, sender: Address, action: PublishReading) -> Refusal | None:
    start = action.reading.interval_start_ms
    interval = run.overlay.get(interval_key(start), Interval)
    if interval is None or sender not in interval.meters:
        return None
    detail = f"interval {start} ms of this meter has a reading"
    return Refusal(reason=Reason.READING_DUPLICATE, detail=detail)


CHECKS: Final[tuple[Callable[[BlockRun, Address, PublishReading], Refusal | None], ...]] = (
    _check_meter,
    _check_chain,
    _check_alignment,
    _check_capacity,
    _check_first,
    _check_signature,
)
"""In this order; the signature last, because it is the dear one and the others need no trust in the reading."""


def _mark_interval(run: BlockRun, reading: Reading) -> bool:
    """Adds the meter to its interval, puts off the gate's closure; returns whether the gate is closed."""
    start = reading.interval_start_ms
    closes_at = Slot(run.context.slot + run.genesis.gate_closure_slots)
    interval = run.overlay.get(interval_key(start), Interval)
    if interval is None:
        interval = Interval(meters=(), closes_at_slot=Slot(0), closed=False)
    if not interval.closed and interval.closes_at_slot != closes_at:
        enqueue(run, start, closes_at)
        interval = replace(interval, closes_at_slot=closes_at)
    run.overlay.put(interval_key(start), replace(interval, meters=(*interval.meters, reading.meter)))
    return interval.closed


def _credit_packet(run: BlockRun, reading: Reading, *, closed: bool) -> Digest:
    packet = packet_id(reading.meter, reading.interval_start_ms)
    energy = reading.net_wh
    available, exported = (NOTHING, energy) if closed else (energy, NOTHING)
    run.overlay.put(
        packet_key(packet),
        Packet(
            owner=reading.meter,
            interval_start_ms=reading.interval_start_ms,
            source=reading.source,
            credited_wh=energy,
            available_wh=available,
            escrow_wh=NOTHING,
            claimed_wh=NOTHING,
            exported_wh=exported,
        ),
    )
    run.add_to_totals(credited_wh=energy, available_wh=available, exported_wh=exported)
    return packet


def _record_deficit(run: BlockRun, reading: Reading, *, closed: bool) -> None:
    energy = WattHours(-reading.net_wh)
    still_open, imported = (NOTHING, energy) if closed else (energy, NOTHING)
    run.overlay.put(
        deficit_key(reading.meter, reading.interval_start_ms),
        Deficit(
            owner=reading.meter,
            interval_start_ms=reading.interval_start_ms,
            recorded_wh=energy,
            open_wh=still_open,
            bought_wh=NOTHING,
            imported_wh=imported,
        ),
    )
    run.add_to_totals(deficit_wh=energy, open_wh=still_open, imported_wh=imported)
