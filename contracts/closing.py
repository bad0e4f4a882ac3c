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
    if interval is None or not interval.closed:
        return
    key = packet_key(packet_id(meter, interval_start))
    packet = run.overlay.get(key, Packet)
    if packet is not None and packet.available_wh:
        exported = WattHours(packet.exported_wh + packet.available_wh)
        run.overlay.put(key, replace(packet, available_wh=NOTHING, exported_wh=exported))
        run.add_to_totals(available_wh=-packet.available_wh, exported_wh=packet.available_wh)
    key = deficit_key(meter, interval_start)
    deficit = run.overlay.get(key, Deficit)
    if deficit is not None and deficit.open_wh:
        imported = WattHours(deficit.imported_wh + deficit.open_wh)
        run.overlay.put(key, replace(deficit, open_wh=NOTHING, imported_wh=imported))
        run.add_to_totals(open_wh=-deficit.open_wh, imported_wh=deficit.open_wh)
