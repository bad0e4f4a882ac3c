"""What a member knows of its undecided height; dropped whole once the height is applied."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from consensus.eras import Era
from consensus.events import BlockOrigin, PreparedBlock, SignState
from consensus.evidence import Offence, Signed
from consensus.identifiers import Address, Digest, Height, Slot
from consensus.membership import Leaders, Membership, Memberships
from consensus.messages import (
    Commit,
    CommitCertificate,
    EndorsedStatement,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    ViewChange,
)
from consensus.tally import Tally


@dataclass(slots=True, kw_only=True)
class HeightState:
    """One height from its start to its decision. All of it is rebuilt from messages but for the durable part."""

    height: Height
    era: Era
    memberships: Memberships
    leaders: Leaders = field(init=False)
    """Of this height: the block below is applied, so who is suspended is known, and fixed."""
    tip: Digest
    """Digest of the decided block that this height extends."""
    parent_slot: Slot
    """Header slot of that block."""
    started_ms: int
    """Monotonic time at which this member entered the height."""

    # durable: persisted before anything that follows from it is sent
    sign_state: SignState
    voted: PrePrepare | None = None
    prepared: PreparedBlock | None = None

    # what was received
    proposals: Tally[PrePrepare] = field(default_factory=Tally)
    waiting: dict[Address, PrePrepare] = field(default_factory=dict)
    """Per leader: a proposal whose slot has not begun (`proposals`). Its vote is among `votes` already."""
    votes: Tally[Prepare] = field(default_factory=Tally)
    commits: Tally[Commit] = field(default_factory=Tally)
    view_changes: Tally[ViewChange] = field(default_factory=Tally)
    bodies: dict[Digest, bytes] = field(default_factory=dict)
    """Proposals at hand by digest, of kept PRE-PREPAREs and answered requests."""
    bodies_wanted: dict[Digest, int] = field(default_factory=dict)
    """Digest to monotonic time of the last BODY-REQUEST."""
    bodies_served: dict[tuple[Address, Digest], int] = field(default_factory=dict)
    """Per member and body: monotonic time of the last answer to its BODY-REQUEST."""
    accused: set[tuple[Address, Offence]] = field(default_factory=set)
    """What evidence was handed out: once per member and offence."""

    relayed: dict[tuple[type[Signed], Address], set[Slot]] = field(default_factory=dict)
    """Per kind and signer: slots of the statements passed on since the last resending."""

    # who collects, and what they hand back (`collecting`); of no use where nothing is drawn
    whole_votes: PreparedCertificate | None = None
    """Of the highest slot of those that came whole: tallies may have pushed a statement in it out."""
    whole_commits: CommitCertificate | None = None
    """That decides the height: formed here, or come whole. The body may be missing."""
    handed: dict[EndorsedStatement, Slot] = field(default_factory=dict)
    """Slot of the last certificate of each kind that this member looked at for handing it out."""
    asks: int = 0
    """How often a cluster was asked since `asks_since_ms`."""
    asks_since_ms: int | None = None
    asked: set[Address] = field(default_factory=set)
    """Who was asked for a certificate at this height."""
    is_plain: bool = False
    """Two thirds of a slot passed in vain: what this member says at this height goes to all."""
    ahead: Address | None = None
    """Who spoke of the next height last."""

    # what the host was asked and answered
    validating: set[Digest] = field(default_factory=set)
    origins: dict[Digest, BlockOrigin | None] = field(default_factory=dict)
    """Of each block executed: None for an invalid one."""
    proposing: Slot | None = None
    """Slot of the proposal that the host is building."""
    built_too_late: Slot | None = None
    """The present slot when a proposal was built too late for its own: the fast path begins no other one in it."""

    # time
    voted_ms: int | None = None
    """Monotonic time of the last vote."""
    said_ms: int | None = None
    """Monotonic time of the last vote, COMMIT or VIEW-CHANGE, when it was first sent."""
    heard_ms: int | None = None
    """Monotonic time of the first message about this height."""
    sent_ms: int = 0
    """Monotonic time of the last sending or resending at this height."""
    view_change_quorum_ms: int | None = None
    """When VIEW-CHANGEs of Q members for slots >= promise were first seen; None until then."""

    def __post_init__(self) -> None:
        self.leaders = self.memberships.leaders

    def note_heard(self, now_ms: int) -> None:
        """Notes when the first message about this height came."""
        if self.heard_ms is None:
            self.heard_ms = now_ms

    @property
    def membership(self) -> Membership:
        """M(h): the members of this height."""
        return self.memberships.undecided

    @property
    def carried(self) -> Digest | None:
        """The block that this height must be, as the ceremony before its era found; None: any."""
        return self.era.carried if self.height == self.era.base + 1 else None

    @property
    def base(self) -> Slot:
        """The slot that every VIEW-CHANGE must exceed: the highest of the three durable slots and the parent's."""
        state = self.sign_state
        voted = state.voted.slot if state.voted is not None else 0
        prepared = state.prepared.slot if state.prepared is not None else 0
        return Slot(max(voted, state.promise, prepared, self.parent_slot))

    def may_vote_at(self, slot: Slot) -> bool:
        """Safety rule S1's slot conditions: above the last vote, not below the promise."""
        voted = self.sign_state.voted
        return (voted is None or slot > voted.slot) and slot >= self.sign_state.promise

    def may_commit_at(self, slot: Slot) -> bool:
        """Safety rule S3's slot conditions: above the last commit, not below the promise."""
        prepared = self.sign_state.prepared
        return (prepared is None or slot > prepared.slot) and slot >= self.sign_state.promise

    def claimants(self, block: Digest) -> Iterator[Address]:
        """Yields the members whose VIEW-CHANGE claims a block, and who therefore hold its body."""
        return (change.signer for change in self.view_changes if change.claim and change.claim.block == block)

    def forget_unused(self) -> None:
        """Keeps only bodies and verdicts on blocks that a kept proposal or claim, the own durable state or a
        request names: bounds memory.
        """
        named = {proposal.block for proposal in self.proposals} | set(self.bodies_wanted)
        claims = [change.claim for change in self.view_changes]
        claims += [self.sign_state.voted, self.sign_state.prepared]
        named |= {claim.block for claim in claims if claim is not None}
        self.bodies = {block: body for block, body in self.bodies.items() if block in named}
        self.origins = {block: origin for block, origin in self.origins.items() if block in named}
