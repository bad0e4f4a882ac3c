"""The way back of a member whose score fell below the trading threshold.

A fault that leaves a score below the threshold starts it: the score rises in a straight line, slot by slot, and
stands at the threshold when the way ends. Each further fall from above starts a way twice as long; a fault on the
way starts it again. Nothing is written while a score rises: what it is at a slot follows from the last version.
"""

from typing import Final

from consensus.codec import Record
from consensus.identifiers import Slot
from qscore.parameters import Millionths, ScoreParameters

DOUBLINGS_MAX: Final = 20
"""A way back is doubled so often at most: a million times 30 days is for ever, and still a slot number."""


class WayBack(Record, frozen=True, kw_only=True):
    """A score that is on its way back to the trading threshold."""

    from_slot: Slot
    """Where the score had its recorded value."""
    until_slot: Slot
    """From here on it stands at the threshold."""


def present_score(value: Millionths, way_back: WayBack | None, slot: Slot, parameters: ScoreParameters) -> Millionths:
    """Returns what a recorded score is at a slot, not before the one that it was recorded in."""
    if way_back is None:
        return value
    threshold = parameters.threshold_trade
    if slot >= way_back.until_slot:
        return threshold
    passed, whole = slot - way_back.from_slot, way_back.until_slot - way_back.from_slot
    assert 0 <= passed < whole, "slots never fall along the chain"
    return Millionths(value + (threshold - value) * passed // whole)


def way_back_after_fault(value: Millionths, falls: int, slot: Slot, parameters: ScoreParameters) -> WayBack | None:
    """Returns the way back that a fault starts; None if the score did not fall below the threshold.

    Args:
        value: the score after the fault.
        falls: how often it fell below the threshold before.
        slot: of the fault's block.
        parameters: the threshold and the length of the first way.
    """
    if value >= parameters.threshold_trade:
        return None
    length = parameters.way_back_slots << min(falls, DOUBLINGS_MAX)
    return WayBack(from_slot=slot, until_slot=Slot(slot + length))


def way_back_after_reward(
    value: Millionths, way_back: WayBack | None, slot: Slot, parameters: ScoreParameters
) -> WayBack | None:
    """Returns the rest of the way after a reward; None if the score reached the threshold."""
    if way_back is None or value >= parameters.threshold_trade or slot >= way_back.until_slot:
        return None
    return WayBack(from_slot=slot, until_slot=way_back.until_slot)
