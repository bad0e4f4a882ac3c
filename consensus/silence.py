"""Why a member signs nothing at its undecided height."""

from enum import Enum


class Silence(Enum):
    """Why this member may sign nothing at the undecided height."""

    NOT_A_MEMBER = "not_a_member"
    """It is no member of this height."""
    STATE_LOST = "state_lost"
    """What it signed up to some height is not at hand."""
    STATE_ASKED = "state_asked"
    """The same, and not enough others have answered yet up to which height."""
    SEALED = "sealed"
    """Its operator gave up this era, and has not begun the next one."""
    OLDER_ERA = "older_era"
    """It takes part in a later era; the height belongs to one before."""
