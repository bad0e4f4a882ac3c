"""Gate closure: what an interval's packets still have is exported to the grid, what deficits lack is imported.

What forward trades set aside stays until they end: what they leave over goes to the grid then.
"""

from msgspec.structs import replace

from consensus.identifiers import Address
from contracts.run import BlockRun
from contracts.state import Deficit, Interval, Packet, deficit_key, interval_key, packet_key
from contracts.transactions import packet_id
from contracts.units import Milliseconds, WattHours

NOTHING = WattHours(0)


def close_gate(run: BlockRun, interval_start: Milliseconds) -> None:
    """Closes an interval's gate, unless a further reading put it off to a later slot."""
    interval = run.overlay.require(interval_key(interval_start), Interval)
    if interval.closed or interval.closes_at_slot > run.context.slot:
        return
    run.overlay.put(interval_key(interval_start), replace(interval, closed=True))
    for meter in interval.meters:
        leave_to_grid(run, meter, interval_start)


def leave_to_grid(run: BlockRun, meter: Address, interval_start: Milliseconds) -> None:
    """Exports what a meter's packet has available and imports what its deficit has open, once the gate is closed."""
    interval = run.overlay.get(interval_key(interval_start), Interval)
    if interval is not None and interval.closed:
        keep_in_market(run, meter, interval_start, available=NOTHING, still_open=NOTHING)


def in_market(run: BlockRun, meter: Address, interval_start: Milliseconds) -> tuple[WattHours, WattHours]:
    """Returns what a meter has to sell on the spot in an interval, and what it may buy."""
    packet = run.overlay.get(packet_key(packet_id(meter, interval_start)), Packet)
    deficit = run.overlay.get(deficit_key(meter, interval_start), Deficit)
    return NOTHING if packet is None else packet.available_wh, NOTHING if deficit is None else deficit.open_wh


def keep_in_market(
    run: BlockRun, meter: Address, interval_start: Milliseconds, *, available: WattHours, still_open: WattHours
) -> None:
    """Exports what a meter has available above an amount, and imports what its deficit has open above another."""
    key = packet_key(packet_id(meter, interval_start))
    packet = run.overlay.get(key, Packet)
    if packet is not None and (rest := packet.available_wh - available) > 0:
        exported = WattHours(packet.exported_wh + rest)
        run.overlay.put(key, replace(packet, available_wh=available, exported_wh=exported))
        run.add_to_totals(available_wh=-rest, exported_wh=rest)
    key = deficit_key(meter, interval_start)
    deficit = run.overlay.get(key, Deficit)
    if deficit is not None and (rest := deficit.open_wh - still_open) > 0:
        imported = WattHours(deficit.imported_wh + rest)
        run.overlay.put(key, replace(deficit, open_wh=still_open, imported_wh=imported))
        run.add_to_totals(open_wh=-rest, imported_wh=rest)
