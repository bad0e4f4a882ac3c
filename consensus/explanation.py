"""Why is nothing decided: what one member knows of its undecided height, as facts for people and programs.

Everything here is this member's own view, from what it received and from what its host knows of the links.
`explain` collects the facts, `verdict` judges them.
"""

from dataclasses import dataclass
from enum import Enum

from consensus.clock import ClockJump
from consensus.events import SignState
from consensus.identifiers import Address, Digest, EraNumber, Height, Slot
from consensus.messages import Claim
from consensus.phases import Phase
from consensus.silence import Silence


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """What the host knows of its link to a member."""

    is_connected: bool
    heard_ms: int | None
    """Monotonic time of the last message from it, None before the first."""


class Step(Enum):
    """What the height waits for next, as this member sees it."""

    PROPOSAL = "proposal"
    """PRE-PREPARE of the slot's leader."""
    EXECUTION = "execution"
    """This member executes a proposal before it votes."""
    VOTES = "votes"
    COMMITS = "commits"
    CERTIFICATE = "certificate"
    """Of votes or COMMITs, from who collects them for this member."""
    VIEW_CHANGES = "view_changes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Who signed one and the same thing, and what it lacks of a quorum."""

    block: Digest | None
    """None for a VIEW-CHANGE."""
    members: tuple[Address, ...]
    missing: tuple[Address, ...]
    """Members that signed nothing of this kind for the slot."""
    needed: int
    """How many more make a quorum; 0 once there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotFacts:
    """Who said what about one slot."""

    slot: Slot
    leader: Address
    proposed: Digest | None
    """Block of the leader's PRE-PREPARE at hand."""
    votes: tuple[Support, ...]
    """By block, the most supported first."""
    commits: tuple[Support, ...]
    view_changes: Support


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The step at hand: what it needs and of whom."""

    step: Step
    slot: Slot
    block: Digest | None
    members: tuple[Address, ...]
    """Who has done it."""
    missing: tuple[Address, ...]
    """Who has not."""
    needed: int


class Stage(Enum):
    """Who hears this member's votes and COMMITs of the undecided height (docs/protocol.md, Who collects votes)."""

    CLUSTER = "cluster"
    """The members that are drawn for the slot."""
    ASKING = "asking"
    """They do again, and some are asked: no certificate came in a third of a slot."""
    ALL = "all"
    """All members: none came in two thirds, or a slot of the height failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collecting:
    """Who collects the votes of a slot, where that is not everybody."""

    slot: Slot
    """The one at hand, else the present one."""
    cluster: tuple[Address, ...]
    """In the order drawn; the one that may propose without justification among them."""
    handed_by: tuple[Address, ...]
    """Who of them hands certificates to this member: the first at once, the second if nothing shows that they came;
    nobody, if this member collects itself.
    """
    stage: Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class NextAttempt:
    """The VIEW-CHANGE that this member sends next unless something is decided before."""

    slot: Slot
    due_in_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingBody:
    """A block that has its certificate or claim here, but not its content."""

    block: Digest
    holders: tuple[Address, ...]
    """Who is asked for it."""
    asked_age_ms: int
    """Since the last question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFacts:
    """One member as this one sees it."""

    address: Address
    is_own: bool
    is_connected: bool
    heard_age_ms: int | None
    """Since its last message, None before the first."""
    is_reachable: bool
    """Connected, and heard lately enough; this member always is."""
    undecided: Height | None
    """Its undecided height, as it said last."""
    clock_slot: Slot | None
    """Slot of the clock that it follows, by its last report."""
    is_silent: bool
    """It signs nothing at this height, as it said last."""
    other_era: EraNumber | None
    """The era of the chain that it said it is in last, if that is not this member's."""
    may_lead: bool
    """False of a suspended member: its slots pass unused."""
    vote: Claim | None
    """Its vote of the highest slot at this height, the leader's proposal among them."""
    commit: Claim | None
    view_change: Slot | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All of it."""

    height: Height
    """The undecided height."""
    era: EraNumber
    """The era of the chain that it belongs to."""
    own: Address
    members: tuple[MemberFacts, ...]
    """In the order of admission; N is their number."""
    fault_bound: int
    quorum: int
    weak_quorum: int
    slot_duration_ms: int

    phase: Phase
    undecided_ms: int
    """Since the height began here."""
    waiting_ms: int | None
    """How long the height has had something to decide; None while it has nothing."""
    oldest_request_ms: int | None
    """Age of the oldest executable request, None if none waits."""
    is_pending: bool
    """Something waits here, or some member has said something about this height."""

    present_slot: Slot
    clock_slot: Slot
    """Of the own clock as it is followed; above `present_slot` it is held back by what the members report."""
    clock_jump: ClockJump | None
    """Of the own wall clock, not followed yet."""
    leader: Address
    """Of the present slot; if it may not lead, that passes unused."""
    attempt_leader: Address
    """Who leads it after a view change: the same, where nothing is drawn."""
    collecting: Collecting | None
    """None where all members hear all votes."""
    silence: Silence | None
    silent_through: Height
    signed: SignState
    """The durable state: what bounds this member's next signature."""
    next_attempt: NextAttempt | None
    """None while nothing waits, or the timer waits for Q members to reach the promise."""
    waits_for: Wait | None
    """None while nothing is pending, and when decided."""
    slots: tuple[SlotFacts, ...]
    bodies_missing: tuple[MissingBody, ...]

    @property
    def reachable(self) -> tuple[Address, ...]:
        """Members that can be reached, this one among them."""
        return tuple(member.address for member in self.members if member.is_reachable)

    @property
    def unreachable(self) -> tuple[Address, ...]:
        """Members that cannot be reached or do not answer."""
        return tuple(member.address for member in self.members if not member.is_reachable)

    @property
    def silent(self) -> tuple[Address, ...]:
        """Members that sign nothing at this height and will not, as they say."""
        return tuple(member.address for member in self.members if member.is_silent)

    def member(self, address: Address) -> MemberFacts:
        """Returns what is known of a member of this height."""
        return next(member for member in self.members if member.address == address)
