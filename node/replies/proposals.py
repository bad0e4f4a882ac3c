"""What members propose and approve, as the REST API shows it."""

from typing import Annotated, Literal

from pydantic import Field

from node.replies.fields import ApiModel, Count, Hash, SlotNumber


class ApproveModel(ApiModel):
    """A member agrees to a proposal."""

    kind: Literal["approve"]
    proposer: Hash
    proposal: Hash
    """Digest of the transaction that proposed it."""


class WithdrawModel(ApiModel):
    """A member takes its approval of a proposal back."""

    kind: Literal["withdraw"]
    proposer: Hash
    proposal: Hash


class ExpulsionModel(ApiModel):
    """Somebody is to be a member no more."""

    kind: Literal["expulsion"]
    member: Hash


class SuspensionChangeModel(ApiModel):
    """A member is to be suspended, or to be so no more."""

    kind: Literal["suspension-change"]
    member: Hash
    suspended: bool


ProposalStatusText = Literal["open", "approved", "done", "lapsed", "objected", "void"]


class ProposalModel(ApiModel):
    """What every proposal says of itself."""

    proposal: Hash
    """Its name: the digest of the transaction that proposed it."""
    proposer: Hash
    proposer_name: str
    status: ProposalStatusText
    approvals: list[Hash]
    """Of members, the proposer's first if it is there; of an open one those that count, of present members."""
    quorum: Annotated[int, Field(ge=1, description="Approvals of present members that it needs.")]
    slot: SlotNumber
    """When it was made."""
    until_slot: SlotNumber
    """When an open one lapses and an approved one is carried out: by the first block of this slot or a later one."""
    until_ms: Count
    """The same on the clock, in milliseconds since the epoch."""


Measure = Literal["expel", "suspend", "reinstate"]


class MemberProposalModel(ProposalModel):
    """A member's last proposal, if it is about a member."""

    measure: Measure
    """What is to be done: it is a member no more; it is suspended; it is so no more."""
    member: Hash
    member_name: str
