"""Gate closure: what an interval's packets still have is exported to the grid, what deficits lack is imported.

Closures wait in a first-in-first-out queue in the state. Slots never fall along the chain, so its entries are
sorted by the slot at which they are due. A further reading puts an interval's closure off by another entry; the
earlier one is then passed over.
"""

from typing import Final

from msgspec.structs import replace

from consensus.identifiers import Slot
from contracts.run import BlockRun
from contracts.state import (
    QUEUE_KEY,
    ClosingEntry,
    Deficit,
    Interval,
    Packet,
    Queue,
    closing_key,
    deficit_key,
    interval_key,
    packet_key,
)
from contracts.transactions import packet_id
from contracts.units import Milliseconds, WattHours

CLOSING_ENTRIES_PER_BLOCK_MAX: Final = 64
"""Queue entries taken per block. Each may touch a record per member: without a bound, one member who publishes
thousands of old intervals at once would make one block too slow to execute. The rest waits for the next block;
gates close some blocks later then, never earlier."""


def enqueue(run: BlockRun, interval_start: Milliseconds, closes_at: Slot) -> None:
    """Puts an interval's closure at the tail of the queue."""
    queue = run.overlay.require(QUEUE_KEY, Queue)
    entry = ClosingEntry(interval_start_ms=interval_start, closes_at_slot=closes_at)
    run.overlay.put(closing_key(queue.tail), entry)
    run.overlay.put(QUEUE_KEY, replace(queue, tail=queue.tail + 1))


def close_due_gates(run: BlockRun) -> None:
    """Closes, in order, the gates that are due at the block's slot, at most the bound's number of entries."""
    queue = run.overlay.require(QUEUE_KEY, Queue)
    head = queue.head
    last = min(queue.tail, head + CLOSING_ENTRIES_PER_BLOCK_MAX)
    while head < last:
        entry = run.overlay.require(closing_key(head), ClosingEntry)
        if entry.closes_at_slot > run.context.slot:
            break
        head += 1
        interval = run.overlay.require(interval_key(entry.interval_start_ms), Interval)
        if interval.closes_at_slot == entry.closes_at_slot:
            _close(run, entry.interval_start_ms, interval)
    run.overlay.put(QUEUE_KEY, replace(queue, head=head))


def _close(run: BlockRun, interval_start: Milliseconds, interval: Interval) -> None:
    assert not interval.closed, f"interval {interval_start} has one entry with its closing slot, and it is taken"
    exported = imported = 0
    for meter in interval.meters:
        key = packet_key(packet_id(meter, interval_start))
        packet = run.overlay.get(key, Packet)
        if packet is not None:
            exported += packet.available_wh
            run.overlay.put(key, _exported(packet))
        key = deficit_key(meter, interval_start)
        deficit = run.overlay.get(key, Deficit)
        if deficit is not None:
            imported += deficit.open_wh
            run.overlay.put(key, _imported(deficit))
    run.overlay.put(interval_key(interval_start), replace(interval, closed=True))
    run.add_to_totals(available_wh=-exported, exported_wh=exported, open_wh=-imported, imported_wh=imported)


def _exported(packet: Packet) -> Packet:
    exported = WattHours(packet.exported_wh + packet.available_wh)
    return replace(packet, available_wh=WattHours(0), exported_wh=exported)


def _imported(deficit: Deficit) -> Deficit:
    imported = WattHours(deficit.imported_wh + deficit.open_wh)
    return replace(deficit, open_wh=WattHours(0), imported_wh=imported)
