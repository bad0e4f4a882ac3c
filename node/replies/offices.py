"""The offices of a chain, and the actions about their keys, as the REST API shows them."""

from typing import Literal

from node.replies.fields import ApiModel, Hash, HeightNumber, SignatureHex


class OfficeSuccessorModel(ApiModel):
    """A key that is to act for an office."""

    office: Hash
    """Address of the office."""
    key: Hash
    possession: SignatureHex
    """By that key: it is to act for this office."""


class ReplaceOfficeKeyModel(ApiModel):
    """The sender, an office, acts by another key from the next block on."""

    kind: Literal["replace-office-key"]
    successor: OfficeSuccessorModel


class OfficeModel(ApiModel):
    """An account that is no member's, with the key that acts for it."""

    name: Literal["authority", "issuer", "grid"]
    address: Hash
    """Hash of its first key: its name for ever."""
    key: Hash
    """Its present Ed25519 key."""
    first_height: HeightNumber
    """First block that may contain a transaction under this key."""


class OfficesReply(ApiModel):
    """The offices of the chain."""

    offices: list[OfficeModel]
