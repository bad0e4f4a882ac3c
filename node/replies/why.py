"""The models of `GET /v1/why`: why nothing is decided, as one member sees it (`consensus.explanation`)."""

from typing import Annotated

from pydantic import Field

from consensus.explanation import Stage, Step
from consensus.phases import Phase
from consensus.silence import Silence
from consensus.verdict import Verdict
from node.replies.fields import ApiModel, Count, Hash, HeightNumber, SlotNumber

DurationMs = Annotated[int, Field(ge=0, description="Milliseconds.")]


class ClaimModel(ApiModel):
    """A block at a slot."""

    slot: SlotNumber
    block: Hash


class WhyMember(ApiModel):
    """One member as this node sees it."""

    address: Hash
    name: str
    is_own: bool
    """It is this node."""
    is_connected: bool
    """The link from this node to it is up."""
    is_reachable: bool
    """Connected, and heard lately enough."""
    heard_age_ms: DurationMs | None
    """Since its last message; null before the first."""
    undecided_height: HeightNumber | None
    """Its undecided height, as it said last."""
    clock_slot: SlotNumber | None
    """The slot of its clock, by its last report."""
    is_silent: bool
    """It signs nothing at this height, as it said last."""
    other_era: Count | None
    """The era of the chain that it is in, if that is not this node's."""
    may_lead: bool
    """False of a suspended member: its slots pass unused."""
    vote: ClaimModel | None
    """Its vote of the highest slot at this height."""
    commit: ClaimModel | None
    """Its COMMIT of the highest slot at this height."""
    view_change: SlotNumber | None
    """The highest slot that it asked to change to."""


class WhySupport(ApiModel):
    """Who signed one and the same thing."""

    block: Hash | None
    """Null for VIEW-CHANGEs."""
    members: list[Hash]
    missing: list[Hash]
    """Members that signed nothing of the kind for the slot."""
    needed: Count
    """How many more make a quorum."""


class WhySlot(ApiModel):
    """Who said what about one slot of the undecided height."""

    slot: SlotNumber
    leader: Hash
    proposed: Hash | None
    """Block that the leader proposed, if its proposal is here."""
    votes: list[WhySupport]
    """By block, the most supported first."""
    commits: list[WhySupport]
    """By block, the most supported first."""
    view_changes: WhySupport


class WhyStep(ApiModel):
    """The step that the height waits for."""

    step: Step
    """Its kind, for programs."""
    sentence: str
    """The same with everything below, for people."""
    slot: SlotNumber
    block: Hash | None
    members: list[Hash]
    """Who has done it."""
    missing: list[Hash]
    """Who has not."""
    needed: Count
    """How many more it takes."""


class WhyCollecting(ApiModel):
    """Who collects the votes of a slot."""

    slot: SlotNumber
    """The one at hand, else the present one."""
    sentence: str
    """The same with everything below, for people."""
    cluster: list[Hash]
    """Members that are drawn, in the order drawn."""
    handed_by: list[Hash]
    """Who of them hands certificates to this member: the first at once, else the second; nobody, if it collects."""
    stage: Stage
    """Who hears this member's votes, and how far it had to go."""


class WhyAttempt(ApiModel):
    """The VIEW-CHANGE that this member sends next unless the height is decided before."""

    slot: SlotNumber
    due_in_ms: DurationMs


class WhySigned(ApiModel):
    """What this member has signed at the undecided height, durably."""

    voted: ClaimModel | None
    promise: SlotNumber
    """Slot of its last VIEW-CHANGE, 0 before the first."""
    attempts: Count
    """VIEW-CHANGEs sent at this height."""
    prepared: ClaimModel | None
    """What it committed to."""


class WhyBody(ApiModel):
    """A block whose content is missing here."""

    block: Hash
    holders: list[Hash]
    """Members that are asked for it."""
    asked_age_ms: DurationMs
    """Since the last question."""


class WhyReply(ApiModel):
    """Why nothing is decided."""

    name: str
    """The node's name in its configuration."""
    address: Hash
    """The node's member address."""
    verdict: Verdict
    """The reason, for programs."""
    sentence: str
    """The reason, for people."""
    height: HeightNumber
    """The undecided height."""
    era: Count
    """The era of the chain that it belongs to: 0 until the operators begin another one."""
    phase: Phase
    """What this member did last at it."""
    undecided_ms: DurationMs
    """Since the height began here."""
    waiting_ms: DurationMs | None
    """How long it has had something to decide; null while it has nothing."""
    oldest_request_ms: DurationMs | None
    """Age of the oldest request that waits here."""
    members_total: Count
    """N."""
    fault_bound: Count
    """F: members that may be down or lie."""
    quorum: Count
    """Q: members that a decision needs."""
    members_reachable: Count
    """Members that are connected and were heard lately, this node among them."""
    slot_duration_ms: DurationMs
    present_slot: SlotNumber
    clock_slot: SlotNumber
    """The own clock's; above the present slot it is held back by what the other members report."""
    leader: Hash
    """Leader of the present slot; if that member may not lead, the slot passes unused."""
    attempt_leader: Hash
    """Leader of the present slot after a view change; the same, where no members are drawn."""
    collecting: WhyCollecting | None
    """Null where all members hear all votes."""
    silence: Silence | None
    """Why this member may sign nothing; null while it may."""
    waits_for: WhyStep | None
    """Null while nothing waits, and once decided."""
    next_attempt: WhyAttempt | None
    """Null while nothing waits, or until a quorum has reached this member's promise."""
    signed: WhySigned
    slots: list[WhySlot]
    """At most four, those that matter."""
    bodies_missing: list[WhyBody]
    members: list[WhyMember]
    """In the order of admission."""
    notices: list[str]
    """What somebody must put right so that the links between members work, a sentence each: two processes with
    one key, certificates that are not valid by somebody's clock. Before them, that this home left or was removed, and
    why; and that rules are proposed, approved or in force which this node's program does not know."""
