"""Keys of consensus' own records of the undecided height, in the ledger; a decided block drops them."""

from typing import Final

VOTED_KEY: Final = b"voted"
"""The proposal that this member voted for last: a PRE-PREPARE."""

PREPARED_KEY: Final = b"prepared"
"""Certificate and body of the block that it committed to last: a `PreparedBlock`."""

SIGN_STATE_KEY: Final = b"sign-state"
"""A copy of the sign state, which outlives an older one put back."""
