"""For which heights evidence counts: those of the last three days, in which a stake that was taken back is locked.

What is older is declined. It could take no stake any more; and a node key that a member replaced long ago may be in
anybody's hands by now, who could sign two votes with it for a height that it voted at. The state keeps marks, heights
with the slots of their headers, one in a sixteenth of that time: so heights count for three days at least, and for
nine hours more at most while blocks come.
"""

from typing import Final

from consensus.identifiers import GENESIS_HEIGHT, Address, Height, PublicKey
from contracts.key_changes import held_keys
from contracts.member_records import HeightMarks, SlotMark
from contracts.run import BlockRun
from contracts.stakes import lock_slots
from contracts.state import HEIGHT_MARKS_KEY, MEMBER_LIST_KEY, MemberList, Overlay

MARKS: Final = 16
"""So many in the time that they cover."""


def note_slot(run: BlockRun) -> None:
    """Keeps the block's height and slot if the last mark is old enough, and forgets marks that bound nothing more."""
    window, slot = lock_slots(run.genesis), run.context.slot
    known = run.overlay.get(HEIGHT_MARKS_KEY, HeightMarks)
    if known is None:  # whatever lies below the first block that keeps marks counts as if it were of its slot
        run.overlay.put(HEIGHT_MARKS_KEY, HeightMarks(marks=(SlotMark(height=GENESIS_HEIGHT, slot=slot),)))
        return
    if slot - known.marks[-1].slot <= window // MARKS:
        return
    marks = (*known.marks, SlotMark(height=run.context.height, slot=slot))
    passed = sum(mark.slot + window < slot for mark in marks)
    run.overlay.put(HEIGHT_MARKS_KEY, HeightMarks(marks=marks[max(0, passed - 1) :]))


def oldest_height(overlay: Overlay) -> Height:
    """Returns the first height for which evidence counts."""
    known = overlay.get(HEIGHT_MARKS_KEY, HeightMarks)
    return GENESIS_HEIGHT if known is None else known.marks[0].height


def counting_keys(overlay: Overlay, address: Address) -> tuple[PublicKey, ...]:
    """Returns the node keys under which a member's contracts are evidence: the present one, and those that it voted
    under at a height for which evidence counts.
    """
    oldest = oldest_height(overlay)
    terms = overlay.require(MEMBER_LIST_KEY, MemberList).terms
    ended = {term.node_key for term in terms if term.last_height is not None and term.last_height < oldest}
    present, *earlier = held_keys(overlay, address)
    return (present, *(key for key in earlier if key not in ended))
