"""What goes into a replica and what comes out of it.

The law of `Effects`, kept by the host's one driver, strictly in this order for each step:
*persist, sync, then send, then apply.* DECIDED, REPLY and anything at the next height come only from the step
that takes `Applied`, after the block's synced write.
"""

from dataclasses import dataclass, field
from typing import Annotated, Final, NamedTuple

from msgspec import Meta
from msgspec.structs import replace

from consensus.codec import Record
from consensus.eras import FIRST_ERA, Era, EraField
from consensus.evidence import Evidence
from consensus.identifiers import GENESIS_HEIGHT, Address, Digest, Height, Slot
from consensus.membership import Memberships
from consensus.messages import (
    NUMBER_MAX,
    Checked,
    Claim,
    CommitCertificate,
    DigestField,
    Message,
    PreparedCertificate,
    PrePrepare,
)
from consensus.verification import Verified


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """The time handed in with each event."""

    monotonic_ms: int
    """Never jumps: measures durations."""
    clock_ms: int
    """Wall clock since the chain's start time t0; may jump. Negative before t0."""

    def slot(self, slot_duration_ms: int) -> Slot:
        """Returns the own clock's slot, 0 before t0."""
        return Slot(max(0, self.clock_ms // slot_duration_ms))


# --- durable state -----------------------------------------------------------------------------------------


class JoinedPlan(Record, frozen=True, kw_only=True):
    """A plan of a ceremony that this member agreed to; it agrees to one per era."""

    era: EraField
    plan: DigestField


class EraStanding(Record, frozen=True, kw_only=True):
    """Where this member stands among the eras (`ceremony`); it outlives the heights."""

    era: EraField = FIRST_ERA
    """The era that it takes part in."""
    plan: DigestField | None = None
    """That began it; None of the first era."""
    sealed_below: EraField = FIRST_ERA
    """Nothing is signed or appended in an era below this one."""
    joined: JoinedPlan | None = None
    """The plan of the highest era that it agreed to."""
    statement: Annotated[int, Meta(ge=0, le=NUMBER_MAX)] = 0
    """How many statements it made; the newest has this number."""
    stated: DigestField | None = None
    """Digest of the newest one, None before the first: a sign state that is made anew knows none."""

    @property
    def is_sealed(self) -> bool:
        """Says whether it gave up its era, and no later one has begun for it."""
        return self.sealed_below > self.era


FIRST_STANDING: Final = EraStanding()


def standing_in(era: Era) -> EraStanding:
    """Returns the standing of a member that takes part in an era and knows of no other ceremony."""
    return EraStanding(era=era.number, plan=era.plan, sealed_below=era.number)


class SignState(Record, frozen=True, kw_only=True, tag="sign-state"):
    """All that bounds what this member may still sign at a height. Kept beside the key, synced before sending."""

    height: Height
    """The undecided height that the rest speaks of."""
    voted: Claim | None
    """Slot and block of the last VOTE."""
    promise: Slot
    """Slot of the last VIEW-CHANGE, 0 before the first."""
    attempts: int
    """k: VIEW-CHANGEs sent at this height."""
    prepared: Claim | None
    """Slot and block of the last COMMIT, with a certificate of votes."""
    silent_through: Height = GENESIS_HEIGHT
    """Nothing is signed up to this height: what was signed there is lost. `UNANSWERED` while the height that it
    ends at is asked for (`recovery`).
    """

    standing: EraStanding = FIRST_STANDING

    @property
    def bound_through(self) -> Height:
        """The last height that something was signed at, as far as this says."""
        is_unsigned = self.is_fresh and self.prepared is None
        return Height(self.height - 1) if is_unsigned else self.height

    @property
    def is_fresh(self) -> bool:
        """True while neither a vote nor a VIEW-CHANGE was sent at this height."""
        return self.voted is None and self.attempts == 0


UNANSWERED: Final = Height(NUMBER_MAX)
"""Silence of which nobody knows yet when it ends."""


class PreparedBlock(Record, frozen=True, kw_only=True, tag="prepared-block"):
    """The block that a VIEW-CHANGE must claim: with its certificate and its body."""

    certificate: PreparedCertificate
    proposal: bytes


def fresh_sign_state(height: Height, standing: EraStanding = FIRST_STANDING) -> SignState:
    """Returns the sign state of a height at which nothing was signed."""
    return SignState(height=height, voted=None, promise=Slot(0), attempts=0, prepared=None, standing=standing)


def forgetful_sign_state(height: Height, standing: EraStanding = FIRST_STANDING) -> SignState:
    """Returns the sign state of a member that remembers nothing: it forbids every signature."""
    return replace(fresh_sign_state(height, standing), silent_through=UNANSWERED)


# --- events ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time passed; handed in several times a slot, after whatever had arrived by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """A link to a member came up."""

    member: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A message as decoded, its signatures not checked yet."""

    sender: Address
    """The member at the other end of the link; not necessarily the signer."""
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """The host's answer to `Effects.verify`: a message whose signatures hold."""

    sender: Address
    message: Verified[Checked]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The host's other answer to `Effects.verify`: a message some signature in which does not hold."""

    sender: Address
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkWaiting:
    """What waits to be ordered: handed in whenever it changes."""

    oldest_arrival_ms: int | None
    """Monotonic arrival of the oldest request executable now; None if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    """The host's answer to `ProposeRequest`: a block it built and executed, or none."""

    height: Height
    slot: Slot
    block: Digest | None
    proposal: bytes


class BlockOrigin(NamedTuple):
    """What a block's header says of its first proposal."""

    slot: Slot
    leader: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    """The host's answer to `ValidateRequest`: it executed the block in full."""

    height: Height
    block: Digest
    origin: BlockOrigin | None
    """None if the block is invalid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The host's answer to `Decision`: the block is on disk, synced."""

    height: Height
    block: Digest
    header_slot: Slot
    memberships: Memberships
    """Of the next height and of the one after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepSilent:
    """What was signed up to a height is not at hand: nothing more is signed there. Persisted at once."""

    through: Height
    """Takes the place of an earlier one: first `UNANSWERED`, then the height proven by Q others (`recovery`)."""


Event = Tick | Connected | Arrived | Received | Refused | WorkWaiting | Proposed | Validated | Applied | KeepSilent


# --- effects -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """One message to some members (never to the sender itself)."""

    recipients: tuple[Address, ...]
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class SendDecided:
    """Asks the host to send what it holds as decided from a height on, a bounded number of blocks."""

    recipient: Address
    first: Height


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposeRequest:
    """Asks the host to build and execute a block for this height and slot."""

    height: Height
    slot: Slot
    may_be_empty: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidateRequest:
    """Asks the host to execute a proposal in full."""

    height: Height
    block: Digest
    proposal: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A decided block for the host to append with its certificate in one synced write."""

    height: Height
    block: Digest
    proposal: bytes
    certificate: CommitCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What one step asks for, in the order in which it must happen: `voted`, `prepared` and a copy of `sign_state`
    durable and synced among the records of the height, in one write; then `sign_state` itself, beside the key; then
    `send` and `send_decided`, then the rest. A crash between the two writes leaves records newer than the sign
    state, as an old sign state put back does; the replica knows what to do with them.
    """

    voted: PrePrepare | None = None
    """The proposal voted for: persisted before its vote leaves."""
    prepared: PreparedBlock | None = None
    """Persisted before its COMMIT leaves."""
    sign_state: SignState | None = None
    """Persisted before anything that was signed under it leaves."""
    send: tuple[Send, ...] = ()
    send_decided: tuple[SendDecided, ...] = ()
    verify: tuple[Arrived, ...] = ()
    """Messages for the host to verify under the replica's membership and hand back as `Received`."""
    validate: tuple[ValidateRequest, ...] = ()
    propose: ProposeRequest | None = None
    apply: Decision | None = None
    evidence: tuple[Evidence, ...] = ()


@dataclass(slots=True)
class Outbox:
    """Collects the effects of one step."""

    sign_state: SignState | None = None
    voted: PrePrepare | None = None
    prepared: PreparedBlock | None = None
    send: list[Send] = field(default_factory=list)
    send_decided: list[SendDecided] = field(default_factory=list)
    verify: list[Arrived] = field(default_factory=list)
    validate: list[ValidateRequest] = field(default_factory=list)
    propose: ProposeRequest | None = None
    apply: Decision | None = None
    evidence: list[Evidence] = field(default_factory=list)

    def add_send(self, message: Message, recipients: tuple[Address, ...]) -> None:
        """Appends one message to some members."""
        self.send.append(Send(recipients=recipients, message=message))

    def effects(self) -> Effects:
        """Returns what was collected, frozen."""
        return Effects(
            sign_state=self.sign_state,
            voted=self.voted,
            prepared=self.prepared,
            send=tuple(self.send),
            send_decided=tuple(self.send_decided),
            verify=tuple(self.verify),
            validate=tuple(self.validate),
            propose=self.propose,
            apply=self.apply,
            evidence=tuple(self.evidence),
        )
