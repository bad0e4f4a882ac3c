"""Consensus' own records of the undecided height, in the ledger, and where a replica starts with them."""

from collections.abc import Mapping
from typing import Final, Protocol

from consensus.codec import decode
from consensus.eras import Eras
from consensus.events import PreparedBlock, SignState
from consensus.identifiers import Digest, Height, Slot
from consensus.membership import Memberships
from consensus.messages import PrePrepare
from consensus.replica import Start

VOTED_KEY: Final = b"voted"
"""The proposal that this member voted for last: a PRE-PREPARE."""

PREPARED_KEY: Final = b"prepared"
"""Certificate and body of the block that it committed to last: a `PreparedBlock`."""

SIGN_STATE_KEY: Final = b"sign-state"
"""A copy of the sign state, which outlives an older one put back."""


class DecidedChain(Protocol):
    """Where one member's decided chain ends."""

    @property
    def eras(self) -> Eras:
        """Of the chain, for every height."""
        ...

    @property
    def height(self) -> Height:
        """Last decided height."""
        ...

    @property
    def tip(self) -> Digest:
        """Digest of the last decided block."""
        ...

    @property
    def tip_slot(self) -> Slot:
        """Header slot of the last decided block."""
        ...

    def memberships(self) -> Memberships:
        """Returns the members of the undecided height and of the next."""
        ...


def stored_start(chain: DecidedChain, records: Mapping[bytes, bytes], signed: SignState) -> Start:
    """Returns where the replica starts. Records that an older era left behind bind nothing in the chain's newest."""
    stored = {} if has_older_records(chain, records) else records
    voted, prepared, copy = stored.get(VOTED_KEY), stored.get(PREPARED_KEY), stored.get(SIGN_STATE_KEY)
    return Start(
        height=Height(chain.height + 1),
        eras=chain.eras,
        memberships=chain.memberships(),
        tip=chain.tip,
        parent_slot=chain.tip_slot,
        sign_state=signed,
        sign_state_copy=None if copy is None else decode(copy, SignState),
        voted=None if voted is None else decode(voted, PrePrepare),
        prepared=None if prepared is None else decode(prepared, PreparedBlock),
    )


def has_older_records(chain: DecidedChain, records: Mapping[bytes, bytes]) -> bool:
    """Says whether the records of the undecided height are of an era that this home has left."""
    copy = records.get(SIGN_STATE_KEY)
    return copy is not None and decode(copy, SignState).standing.era != chain.eras.newest.number
