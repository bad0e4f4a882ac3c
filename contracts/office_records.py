"""Records of the state about offices, and about what members propose for them."""

from enum import Enum

from consensus.codec import Record
from consensus.identifiers import Address, Digest, Height, PublicKey, Slot


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


class ProposalStatus(Enum):
    """Where a proposal stands."""

    OPEN = "open"
    """Members may approve it."""
    APPROVED = "approved"
    """By a quorum: it waits for its time."""
    DONE = "done"
    LAPSED = "lapsed"
    """No quorum approved it in time."""
    OBJECTED = "objected"
    """The owner of the office was there after all."""
    VOID = "void"
    """When its time came, what it proposes could not be done any more."""


class Proposal(Record, frozen=True, kw_only=True, tag="proposal"):
    """What a member proposed last; earlier ones are earlier versions of the record."""

    name: Digest
    """Of the transaction that proposed it."""
    subject: OfficeKeyChange
    slot: Slot
    """Of the block that has that transaction."""
    status: ProposalStatus
    approvals: tuple[Address, ...]
    """Of members, in their order, the proposer's first."""
    until_slot: Slot
    """When an open one lapses and an approved one is carried out."""


class ProposalTurn(Record, frozen=True, kw_only=True, tag="proposal-turn"):
    """A member's unfinished proposal lapses or is carried out, if its time has come."""

    proposer: Address
