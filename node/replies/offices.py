"""The offices of a chain, and the actions about their keys, as the REST API shows them."""

from typing import Literal

from node.replies.fields import ApiModel, Hash, HeightNumber, SignatureHex, SlotNumber
from node.replies.proposals import ProposalModel


class OfficeSuccessorModel(ApiModel):
    """A key that is to act for an office."""

    kind: Literal["office-successor"]
    office: Hash
    """Address of the office."""
    key: Hash
    possession: SignatureHex
    """By that key: it is to act for this office."""


class ReplaceOfficeKeyModel(ApiModel):
    """The sender, an office, acts by another key from the next block on."""

    kind: Literal["replace-office-key"]
    successor: OfficeSuccessorModel


class RaiseObjectionModel(ApiModel):
    """The sender, an office, ends the approved proposal to give it another key."""

    kind: Literal["raise-objection"]
    proposal: Hash


class OfficeModel(ApiModel):
    """An account that is no member's, with the key that acts for it."""

    name: Literal["authority", "issuer", "grid"]
    address: Hash
    """Hash of its first key: its name for ever."""
    key: Hash
    """Its present Ed25519 key."""
    first_height: HeightNumber
    """First block that may contain a transaction under this key."""
    objected_slot: SlotNumber | None
    """When its owner last objected to a proposal, if no proposal gave it a key since."""


class OfficeProposalModel(ProposalModel):
    """A member's last proposal, if it is about the key of an office."""

    office: Literal["authority", "issuer", "grid"]
    """Whose key it is about."""
    key: Hash
    """That is to act for the office."""


class OfficesReply(ApiModel):
    """The offices of the chain, and what members proposed about them."""

    offices: list[OfficeModel]
    proposals: list[OfficeProposalModel]
    """Of each member the last proposal that it made, in the order of admission."""
