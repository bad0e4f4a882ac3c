"""Records of the state about offices."""

from enum import Enum

from consensus.codec import Record
from consensus.identifiers import Address, Height, PublicKey, Slot


class OfficeName(Enum):
    """What an office is for."""

    AUTHORITY = "authority"
    ISSUER = "issuer"
    GRID = "grid"


class Office(Record, frozen=True, kw_only=True, tag="office"):
    """An account that is no member's, under its present key. It is named by the hash of its first one, as genesis has
    it: wallets, fees and readers know the address, whatever the key.
    """

    name: OfficeName
    key: PublicKey
    first_height: Height
    """First block that may contain a transaction under this key."""
    waiting: Address | None
    """Who made the approved proposal that waits to give it another key."""
    objected_slot: Slot | None
    """Of the block with the owner's last objection; None once a proposal gave it a key."""


class OfficeKeyChange(Record, frozen=True, kw_only=True, tag="office-key-change"):
    """An office is to act by another key."""

    office: Address
    key: PublicKey
