"""The REST API's reply about one member. Conventions as in `node.py`."""

from node.replies.fields import ApiModel, Hash, HeightNumber
from node.replies.proposals import MemberProposalModel
from node.replies.state import LeftMember, MemberModel, ScoreModel, WaitingChange


class TermModel(ApiModel):
    """Heights at which somebody was a member under one node key."""

    node_key: Hash
    first_height: HeightNumber
    last_height: HeightNumber | None
    """Null: until a block says otherwise."""


class MemberReply(ApiModel):
    """All that the chain says of who is a member, or was one."""

    address: Hash
    name: str
    sentences: list[str]
    """What it is and does now, for people."""
    member: MemberModel | None
    """Null: it is none now."""
    left: LeftMember | None
    """How it ceased to be one; null of a member."""
    score: ScoreModel
    may_verify: bool
    """It may be drawn to verify homes that apply."""
    is_seasoned: bool
    """Its node key is known for long enough that it may be drawn into clusters, and lead them."""
    terms: list[TermModel]
    """In the order of heights."""
    waiting: list[WaitingChange]
    """Changes of it that wait."""
    proposals: list[MemberProposalModel]
    """About it: of each proposer the last one."""
