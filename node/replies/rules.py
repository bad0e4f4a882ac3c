"""The rules of a chain, and how members change them, as the REST API shows it."""

from typing import Annotated, Literal

from pydantic import Field

from node.replies.fields import ApiModel, Count, HeightNumber
from node.replies.proposals import ProposalModel

VersionNumber = Annotated[int, Field(ge=1, description="Version of the protocol's rules.")]


class RuleParametersModel(ApiModel):
    """What members may change of a chain's parameters."""

    block_transactions_max: Count
    block_size_bytes_max: Count
    """Largest sum of the transactions' bytes in a block."""
    gate_closure_slots: Count
    """Slots from an interval's last decided reading until its unsold rest is exported."""


class RulesChangeModel(ApiModel):
    """Blocks from a height on are to be executed under other rules."""

    kind: Literal["rules-change"]
    version: VersionNumber
    from_height: HeightNumber
    parameters: RuleParametersModel


class RulesProposalModel(ProposalModel):
    """A member's last proposal, if it is that the rules change. An approved one waits for its height, not a slot."""

    version: VersionNumber
    from_height: HeightNumber
    parameters: RuleParametersModel


class RulesReply(ApiModel):
    """The rules of the next block, which this node's program knows, and what members propose."""

    version: VersionNumber
    first_height: HeightNumber
    """First block under these rules."""
    parameters: RuleParametersModel
    known_versions: list[int]
    """That this node's program can execute."""
    earliest_height: HeightNumber
    """Of the first block that a change may name which a quorum approves in the next block."""
    notice: str | None
    """What this node's program lacks for rules that are proposed, approved or in force, and what to do."""
    proposals: list[RulesProposalModel]
    """Of each member the last proposal that it made, in the order of admission."""
