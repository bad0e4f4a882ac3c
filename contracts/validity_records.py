"""What the state says of the ends of members' certificates. `state` has the table, `validity` the rules."""

from consensus.codec import Record
from consensus.identifiers import Address, Digest, Slot
from contracts.units import Milliseconds


class Validity(Record, frozen=True, kw_only=True, tag="validity"):
    """Until when the authority vouches for a member, or for who asked to be one: the latest time that it showed."""

    until_ms: Milliseconds
    """Since the epoch; block time is held against it."""
    reference: Digest
    """Of the transaction that brought the voucher; the chain's name for what genesis says, the plan's for what that
    does."""
    going_slot: Slot | None
    """Of the block from which on its removal waits; None as long as none does."""


class LastExpiry(Record, frozen=True, kw_only=True, tag="last-expiry"):
    """When the last member's removal began to wait because its certificate had run out."""

    slot: Slot


class CertificateEnd(Record, frozen=True, kw_only=True, tag="certificate-end"):
    """A member's removal begins to wait, unless it was renewed."""

    member: Address
    until_ms: Milliseconds
    """As the chain knew it when this was put on the agenda."""
