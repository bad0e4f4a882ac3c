"""The phases of one height as a literal table, and the one function that changes a phase."""

from enum import Enum
from typing import Final


class Phase(Enum):
    """What this member did last at the undecided height."""

    WAITING = "waiting"
    """Fresh: neither voted nor asked for another slot."""
    VOTED = "voted"
    """Sent its VOTE (PRE-PREPARE or PREPARE) for a block."""
    PREPARED = "prepared"
    """Holds Q votes for a block and sent its COMMIT."""
    CHANGING_VIEW = "changing_view"
    """Sent VIEW-CHANGE and votes no more below that slot."""
    APPLYING = "applying"
    """Decided; the host is writing the block. Nothing at this height happens any more."""


# Within one height a member may vote, prepare and change the view again in later slots, in any order that
# the safety rules allow; a decision ends it from anywhere, and only the synced write begins the next height.
TRANSITIONS: Final[dict[Phase, frozenset[Phase]]] = {
    Phase.WAITING: frozenset({Phase.VOTED, Phase.PREPARED, Phase.CHANGING_VIEW, Phase.APPLYING}),
    Phase.VOTED: frozenset({Phase.VOTED, Phase.PREPARED, Phase.CHANGING_VIEW, Phase.APPLYING}),
    Phase.PREPARED: frozenset({Phase.VOTED, Phase.PREPARED, Phase.CHANGING_VIEW, Phase.APPLYING}),
    Phase.CHANGING_VIEW: frozenset({Phase.VOTED, Phase.PREPARED, Phase.CHANGING_VIEW, Phase.APPLYING}),
    Phase.APPLYING: frozenset({Phase.WAITING}),
}


def enter(current: Phase, following: Phase) -> Phase:
    """Returns `following`; a transition that the table lacks is a bug of ours and stops the node."""
    assert following in TRANSITIONS[current], f"no transition from {current.value} to {following.value}"
    return following
