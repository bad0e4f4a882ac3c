"""Signed meter readings: a surplus credits an energy packet, a lack records a deficit, each interval once.

A correction is a new version of a reading, at any time. More surplus is credited, less is taken from what is not
sold; energy that was sold and is not there was supplied by the grid, and the seller owes it the retail price. The
other party of a trade is untouched. In a window that was promised, what a correction adds and the promises do not
take goes to the grid: else a false first reading would free a party from its promise. Whatever comes after its
interval's gate closed still counts, but nothing of it can be sold on the spot: what forward trades do not take goes
to the grid at once.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import verify
from consensus.identifiers import Address, Digest, Slot
from contracts.agenda import schedule
from contracts.agenda_records import GateClosure
from contracts.closing import in_market, keep_in_market, leave_to_grid
from contracts.forwards import schedule_ends, set_aside, take_back, was_promised
from contracts.member_changes import is_member
from contracts.receipts import Reason
from contracts.run import BlockRun, Outcome, Refusal
from contracts.state import (
    Debt,
    Deficit,
    Interval,
    Member,
    MeterReading,
    Packet,
    debt_key,
    deficit_key,
    interval_key,
    member_key,
    packet_key,
    reading_key,
)
from contracts.transactions import PublishReading, Reading, packet_id
from contracts.units import MS_PER_HOUR, MicroTokens, WattHours, contract_amount

R = TypeVar("R", Packet, Deficit)

NOTHING: Final = WattHours(0)


def execute_reading(run: BlockRun, sender: Address, action: PublishReading) -> Outcome:
    """Records one interval's net energy of the sender's meter, or declines it for the first rule that fails."""
    for check in CHECKS:
        refusal = check(run, sender, action)
        if refusal is not None:
            return Outcome(refusal=refusal)
    reading = action.reading
    meter, start = reading.meter, reading.interval_start_ms
    last = run.overlay.get(reading_key(meter, start), MeterReading)
    available, still_open = in_market(run, meter, start)
    if last is None:
        _mark_interval(run, reading)
    else:
        take_back(run, meter, start)
    run.overlay.put(
        reading_key(meter, start),
        MeterReading(
            version=reading.version,
            net_wh=reading.net_wh,
            source=reading.source,
            gross_commitment=reading.gross_commitment,
        ),
    )
    before = WattHours(0) if last is None else last.net_wh
    packet = _change_packet(run, reading, by=WattHours(max(reading.net_wh, 0) - max(before, 0)))
    _change_deficit(run, reading, by=WattHours(max(-reading.net_wh, 0) - max(-before, 0)))
    set_aside(run, meter, start)
    if last is None:
        schedule_ends(run, meter, start)
    elif was_promised(run, meter, start):
        keep_in_market(run, meter, start, available=available, still_open=still_open)
    leave_to_grid(run, meter, start)
    return Outcome(reference=packet)


def _check_meter(run: BlockRun, sender: Address, action: PublishReading) -> Refusal | None:
    """The issuer, the grid account and who left send transactions too, and have no meter."""
    meter = action.reading.meter
    if meter == sender and is_member(run.overlay, sender):
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


def _check_version(run: BlockRun, sender: Address, action: PublishReading) -> Refusal | None:
    """A reading is version 0; a correction is the version after the last one."""
    start, version = action.reading.interval_start_ms, action.reading.version
    last = run.overlay.get(reading_key(sender, start), MeterReading)
    expected = 0 if last is None else last.version + 1
    if version == expected:
        return None
    if version == 0:
        detail = f"interval {start} ms of this meter has a reading; a correction is version {expected}"
        return Refusal(reason=Reason.READING_DUPLICATE, detail=detail)
    detail = f"version {version} of interval {start} ms, expected {expected}"
    return Refusal(reason=Reason.READING_WRONG_VERSION, detail=detail)


CHECKS: Final[tuple[Callable[[BlockRun, Address, PublishReading], Refusal | None], ...]] = (
    _check_meter,
    _check_chain,
    _check_alignment,
    _check_capacity,
    _check_version,
    _check_signature,
)
"""In this order; the signature last, because it is the dear one and the others need no trust in the reading."""


def _mark_interval(run: BlockRun, reading: Reading) -> None:
    """Adds the meter to its interval and puts off the closure of a gate that is open."""
    start = reading.interval_start_ms
    closes_at = Slot(run.context.slot + run.rules.parameters.gate_closure_slots)
    interval = run.overlay.get(interval_key(start), Interval)
    if interval is None:
        interval = Interval(meters=(), closes_at_slot=Slot(0), closed=False)
    if not interval.closed and interval.closes_at_slot != closes_at:
        schedule(run, closes_at, GateClosure(interval_start_ms=start))
        interval = replace(interval, closes_at_slot=closes_at)
    run.overlay.put(interval_key(start), replace(interval, meters=(*interval.meters, reading.meter)))


def _change_packet(run: BlockRun, reading: Reading, *, by: WattHours) -> Digest | None:
    """Credits more, or takes back what is not sold yet and has the seller owe the rest; returns the packet's id."""
    name = packet_id(reading.meter, reading.interval_start_ms)
    packet = run.overlay.get(packet_key(name), Packet)
    if packet is None:
        if by == 0:
            return None
        packet = _empty_packet(reading)
    cut = max(-by, 0)
    from_available = min(cut, packet.available_wh)
    from_exported = min(cut - from_available, packet.exported_wh)
    replaced = WattHours(cut - from_available - from_exported)
    changes = {
        "credited_wh": by,
        "available_wh": max(by, 0) - from_available,
        "exported_wh": -from_exported,
        "replaced_wh": replaced,
    }
    run.overlay.put(packet_key(name), _added(replace(packet, source=reading.source), changes))
    run.add_to_totals(**changes)
    if replaced:
        _owe(run, reading.meter, contract_amount(replaced, run.genesis.price_max_micro_per_kwh))
    return name


def _change_deficit(run: BlockRun, reading: Reading, *, by: WattHours) -> None:
    """Records more, or takes back what is not bought yet; what was bought for nothing goes into the grid."""
    key = deficit_key(reading.meter, reading.interval_start_ms)
    deficit = run.overlay.get(key, Deficit)
    if deficit is None:
        if by == 0:
            return
        deficit = _empty_deficit(reading)
    cut = max(-by, 0)
    from_open = min(cut, deficit.open_wh)
    from_imported = min(cut - from_open, deficit.imported_wh)
    covered = {
        "open_wh": max(by, 0) - from_open,
        "imported_wh": -from_imported,
        "unused_wh": cut - from_open - from_imported,
    }
    run.overlay.put(key, _added(deficit, {"recorded_wh": by, **covered}))
    run.add_to_totals(deficit_wh=by, **covered)


def _added(record: R, changes: Mapping[str, int]) -> R:
    """Returns a record with something added to some of its fields."""
    return replace(record, **{name: getattr(record, name) + by for name, by in changes.items()})


def _owe(run: BlockRun, seller: Address, amount: MicroTokens) -> None:
    debt = run.overlay.get(debt_key(seller), Debt)
    owed = 0 if debt is None else debt.owed_micro
    run.overlay.put(debt_key(seller), Debt(owed_micro=MicroTokens(owed + amount)))
    run.add_to_totals(owed_micro=amount)


def _empty_packet(reading: Reading) -> Packet:
    return Packet(
        owner=reading.meter,
        interval_start_ms=reading.interval_start_ms,
        source=reading.source,
        credited_wh=NOTHING,
        available_wh=NOTHING,
        escrow_wh=NOTHING,
        claimed_wh=NOTHING,
        exported_wh=NOTHING,
        replaced_wh=NOTHING,
    )


def _empty_deficit(reading: Reading) -> Deficit:
    return Deficit(
        owner=reading.meter,
        interval_start_ms=reading.interval_start_ms,
        recorded_wh=NOTHING,
        open_wh=NOTHING,
        reserved_wh=NOTHING,
        bought_wh=NOTHING,
        imported_wh=NOTHING,
        unused_wh=NOTHING,
    )
