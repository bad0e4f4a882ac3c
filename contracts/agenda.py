"""What happens by itself at a slot: gates close, forward trades become final or expire, proposals lapse
or are carried out, applications and admissions of homes that join lapse.

A binary heap in the state, ordered by slot and then by the order in which entries were made, so that every node
takes the same ones in the same block. An entry is never taken back: whoever is asked to carry it out looks whether
it still stands.
"""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from consensus.identifiers import Slot
from contracts.agenda_records import Agenda, AgendaSubject, Due
from contracts.run import BlockRun
from contracts.state import AGENDA_KEY, Overlay, due_key

DUE_PER_BLOCK_MAX: Final = 64
"""Entries taken per block. A gate's closure may touch a record per member: without a bound, one member who
publishes thousands of old intervals at once would make one block too slow to execute. The rest waits for the next
block: things happen some blocks later then, never earlier."""


def schedule(run: BlockRun, slot: Slot, subject: AgendaSubject) -> None:
    """Puts a subject on the agenda, due at the first block with this slot or a later one."""
    agenda = run.overlay.require(AGENDA_KEY, Agenda)
    run.overlay.put(AGENDA_KEY, replace(agenda, size=agenda.size + 1, made=agenda.made + 1))
    _sift_up(run.overlay, agenda.size, Due(slot=slot, number=agenda.made, subject=subject))


def take_due(run: BlockRun) -> Iterator[Due]:
    """Takes what is due at the block's slot, one by one, also what is scheduled meanwhile, up to the bound."""
    for _ in range(DUE_PER_BLOCK_MAX):
        agenda = run.overlay.require(AGENDA_KEY, Agenda)
        if agenda.size == 0:
            return
        first = _at(run.overlay, 0)
        if first.slot > run.context.slot:
            return
        run.overlay.put(AGENDA_KEY, replace(agenda, size=agenda.size - 1))
        if agenda.size > 1:
            _sift_down(run.overlay, agenda.size - 1, _at(run.overlay, agenda.size - 1))
        yield first


def _at(overlay: Overlay, place: int) -> Due:
    return overlay.require(due_key(place), Due)


def _is_before(first: Due, second: Due) -> bool:
    return (first.slot, first.number) < (second.slot, second.number)


def _sift_up(overlay: Overlay, place: int, due: Due) -> None:
    """Puts `due` at the free `place` or, while it comes before its parent, above it."""
    while place > 0 and _is_before(due, parent := _at(overlay, above := (place - 1) // 2)):
        overlay.put(due_key(place), parent)
        place = above
    overlay.put(due_key(place), due)


def _sift_down(overlay: Overlay, size: int, due: Due) -> None:
    """Puts `due` at the free top of a heap of `size` or, while a child comes before it, below that."""
    place = 0
    while (below := 2 * place + 1) < size:
        child = _at(overlay, below)
        if below + 1 < size and _is_before(other := _at(overlay, below + 1), child):
            below, child = below + 1, other
        if not _is_before(child, due):
            break
        overlay.put(due_key(place), child)
        place = below
    overlay.put(due_key(place), due)
