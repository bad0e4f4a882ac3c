"""The offices of a chain, and the actions about their keys, as the REST API shows them."""

from typing import Annotated, Literal

from pydantic import Field

from node.replies.fields import ApiModel, Count, Hash, HeightNumber, SignatureHex, SlotNumber


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


class ProposeModel(ApiModel):
    """A member proposes what a quorum of the members may do."""

    kind: Literal["propose"]
    subject: OfficeSuccessorModel


class ApproveModel(ApiModel):
    """A member agrees to a proposal."""

    kind: Literal["approve"]
    proposer: Hash
    proposal: Hash
    """Digest of the transaction that proposed it."""


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


class ProposalModel(ApiModel):
    """A member's last proposal."""

    proposal: Hash
    """Its name: the digest of the transaction that proposed it."""
    proposer: Hash
    proposer_name: str
    office: Literal["authority", "issuer", "grid"]
    """Whose key it is about."""
    key: Hash
    """That is to act for the office."""
    status: Literal["open", "approved", "done", "lapsed", "objected", "void"]
    approvals: list[Hash]
    """Of members, the proposer's first if it is there; of an open one those that count, of present members."""
    quorum: Annotated[int, Field(ge=1, description="Approvals of present members that it needs.")]
    slot: SlotNumber
    """When it was made."""
    until_slot: SlotNumber
    """When an open one lapses and an approved one is carried out: by the first block of this slot or a later one."""
    until_ms: Count
    """The same on the clock, in milliseconds since the epoch."""


class OfficesReply(ApiModel):
    """The offices of the chain, and what members proposed about them."""

    offices: list[OfficeModel]
    proposals: list[ProposalModel]
    """The last one of each member that made any, in the order of admission."""
