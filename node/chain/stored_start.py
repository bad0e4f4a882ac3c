"""Where a replica starts, as a stopped home's files say it: the ledger, its records of the undecided height, the sign
state.
"""

from typing import Final

from consensus.codec import decode
from consensus.events import PreparedBlock, SignState
from consensus.identifiers import Height
from consensus.messages import PrePrepare
from consensus.replica import Start
from ledger.ledger import Ledger

VOTED_KEY: Final = b"voted"
PREPARED_KEY: Final = b"prepared"
SIGN_STATE_KEY: Final = b"sign-state"


def stored_start(ledger: Ledger, signed: SignState) -> Start:
    """Returns where the replica starts. Records that an older era left behind bind nothing in the ledger's own."""
    stored = {} if has_older_records(ledger) else ledger.undecided()
    voted, prepared, copy = stored.get(VOTED_KEY), stored.get(PREPARED_KEY), stored.get(SIGN_STATE_KEY)
    return Start(
        height=Height(ledger.height + 1),
        eras=ledger.eras,
        memberships=ledger.memberships(),
        tip=ledger.tip,
        parent_slot=ledger.tip_slot,
        sign_state=signed,
        sign_state_copy=None if copy is None else decode(copy, SignState),
        voted=None if voted is None else decode(voted, PrePrepare),
        prepared=None if prepared is None else decode(prepared, PreparedBlock),
    )


def has_older_records(ledger: Ledger) -> bool:
    """Says whether the records of the undecided height are of an era that this home has left."""
    copy = ledger.undecided().get(SIGN_STATE_KEY)
    return copy is not None and decode(copy, SignState).standing.era != ledger.eras.newest.number
