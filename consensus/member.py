"""The mutable heart of a replica: what the rules read and write, and how they speak to the outside.

The rules themselves are free functions over it: `safety` (S1 to S5), `liveness` (P1 to P7), `heights` (P8),
`relaying` (P9), `collecting` (P10).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from consensus.clock import CLOCK_SETTLE_MS, MemberClocks, OwnClock
from consensus.eras import Eras
from consensus.events import UNANSWERED, Instant, Outbox, ValidateRequest
from consensus.height import HeightState
from consensus.identifiers import Address, Digest, EraNumber, Height, PublicKey, Signature, Slot
from consensus.membership import Leaders, Membership, Memberships
from consensus.messages import (
    RELAY_MEMBERS_MAX,
    BodyRequest,
    CommitCertificate,
    EndorsedStatement,
    Gathered,
    Message,
)
from consensus.phases import Phase, enter
from consensus.silence import Silence

BODY_HOLDERS_ASKED: Final = 4
"""Of those that have a block, so many are asked for it at once where clusters are drawn."""


class Signer(Protocol):
    """Signs and proves for this member; `cryptography.SigningKey` is one."""

    @property
    def address(self) -> Address:
        """The member's address."""
        ...

    @property
    def public_key(self) -> PublicKey:
        """The node key that its signatures are checked under."""
        ...

    def sign(self, message: bytes) -> Signature:
        """Returns the signature of `message`."""
        ...

    def prove(self, statement: bytes) -> bytes:
        """Returns the proof of the key's verifiable random function for a statement."""
        ...


class KeyRing:
    """The node keys that this home has of its member: one, and two while it exchanges them. Which one counts at a
    height, the members of that height say.
    """

    __slots__ = ("_signers", "address")

    def __init__(self, signer: Signer) -> None:
        """Takes the first key; the member is the one whose it is."""
        self.address = signer.address
        self._signers = {signer.public_key: signer}

    def add(self, signer: Signer) -> None:
        """Takes another key of the same member: it counts from the height on at which the members have it."""
        assert signer.address == self.address, "another member's key"
        self._signers[signer.public_key] = signer

    @property
    def public_keys(self) -> frozenset[PublicKey]:
        """All of them."""
        return frozenset(self._signers)

    def __contains__(self, key: object) -> bool:
        return key in self._signers

    def of(self, members: Membership) -> Signer | None:
        """Returns who signs among these members; None if they know none of the keys."""
        key = members.key_of(self.address)
        return None if key is None else self._signers.get(key)

    def prove(self, members: Membership, statement: bytes) -> bytes:
        """Returns what this member, one of these, proves for a statement: under the key that they know of it."""
        signer = self.of(members)
        assert signer is not None, "without its key nobody proposes"
        return signer.prove(statement)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """What genesis fixes for every replica, and the bounds of its own clock."""

    slot_duration_ms: int
    """tau."""
    attempt_max_ms: int
    """Bound on the distance between two attempts at a height."""
    clock_settle_ms: int = CLOCK_SETTLE_MS
    """How long a clock stays after a jump before it is followed; only the simulator's short runs shorten it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondCopy:
    """A certificate that this member hands to those whose first collector may keep it from them."""

    gathered: Gathered
    recipients: tuple[Address, ...]
    due_ms: int
    """Monotonic."""


@dataclass(slots=True, kw_only=True)
class Collected:
    """What a member remembers beyond a height of the certificates that are handed out (`collecting`)."""

    second_copies: dict[EndorsedStatement, SecondCopy] = field(default_factory=dict)
    """Of each kind the one that may have to be handed out next."""
    settled: tuple[CommitCertificate, Membership] | None = None
    """What decided the last height that was decided here, and its members."""
    answered: dict[Address, int] = field(default_factory=dict)
    """Per member: monotonic time of the last answer with a certificate."""
    distrusted: dict[Address, int] = field(default_factory=dict)
    """Per member: monotonic time of its last certificate that did not hold."""
    times_asked: int = 0
    """How often no certificate came in a third of a slot, since this object was made."""
    times_told_all: int = 0
    """How often none came in two thirds."""


class Member:
    """One member's view of the undecided height and of the other members."""

    def __init__(
        self,
        *,
        keys: KeyRing,
        parameters: Parameters,
        eras: Eras,
        state: HeightState,
        phase: Phase,
        now: Instant,
    ) -> None:
        self.keys = keys
        self.own = keys.address
        self.eras = eras
        self.tau_ms = parameters.slot_duration_ms
        self.attempt_max_ms = parameters.attempt_max_ms
        self.state = state
        self.phase = phase
        self.out = Outbox()
        self.own_clock = OwnClock(slot_duration_ms=self.tau_ms, settle_ms=parameters.clock_settle_ms, now=now)
        self.clocks = MemberClocks(self.tau_ms)
        self.oldest_arrival_ms: int | None = None
        """Monotonic arrival of the oldest executable request; None if nothing waits."""
        self.silent_through = Height(0)
        """Nothing is signed up to this height: what was signed there is not at hand any more."""
        self.view_changes_sent = 0
        self.own_block_ms = 0
        """How long the last block that this member led on the fast path took, from proposal to disk."""
        self.status_ms: int | None = None
        """Monotonic time of the last STATUS in turn."""
        self.status_turns = 0
        """STATUS messages sent in turn."""
        self.answered: dict[Address, tuple[Height, int]] = {}
        """Per member: first height and monotonic time of the last answer with decided blocks."""
        self.told: dict[Address, Height] = {}
        """Per member: its undecided height, by its last STATUS and what it sent since. All that follows from it is
        that nobody hands it what decided a lower one.
        """
        self.silent_at: dict[Address, Height] = {}
        """Per member: the height at which it signs nothing, by its last STATUS; 0 if it may. Only shown, as above."""
        self.other_eras: dict[Address, EraNumber] = {}
        """Of the members that said they are in another era. Only shown, never acted on."""
        self.asked: dict[Address, int] = {}
        """Per member: monotonic time of the last question for decided blocks."""
        self.relay_through = Height(0)
        """Up to this height what others signed is passed on (`relaying`)."""
        self.started_ms = state.started_ms
        """When this object was made (monotonic)."""
        self.heard: dict[Address, int] = {}
        """Per member: monotonic time of the last message over its own link."""
        self.hears: dict[Address, bytes] = {}
        """Per member: whom it hears, by its last STATUS (`Status.hears`)."""
        self.told_hears: bytes | None = None
        """Whom this member heard, by its own last STATUS in turn; None before the first."""
        self.unheard_ms: int | None = None
        """When one that is ahead last said that it does not hear this member (monotonic)."""
        self.passed_on: dict[Address, int] = {}
        """Per member: monotonic time at which its STATUS was last passed on."""
        self.passed_further: dict[Address, int] = {}
        """Per member: monotonic time at which its STATUS, come over others, was last passed on."""
        self.collected = Collected()
        self.answered_over: dict[tuple[Address, Address], int] = {}
        """Per sender and origin of a STATUS passed on: monotonic time of the last answer to the origin."""

    def enter(self, phase: Phase) -> None:
        """Changes the phase as the table allows."""
        self.phase = enter(self.phase, phase)

    @property
    def is_sealed(self) -> bool:
        """Says whether this member gave up its era: what that era decides it neither signs nor appends."""
        return self.state.sign_state.standing.is_sealed

    @property
    def silence(self) -> Silence | None:
        """Why this member signs nothing at the undecided height; None if it may."""
        if self.keys.of(self.state.membership) is None:
            return Silence.NOT_A_MEMBER
        if self.is_sealed:
            return Silence.SEALED
        if self.state.era.number != self.state.sign_state.standing.era:
            return Silence.OLDER_ERA
        if self.state.height > self.silent_through:
            return None
        return Silence.STATE_ASKED if self.silent_through == UNANSWERED else Silence.STATE_LOST

    def may_sign(self) -> bool:
        """False once decided, and for who is silent."""
        return self.phase is not Phase.APPLYING and self.silence is None

    def sign(self, statement: bytes) -> Signature:
        """Returns the signature of a statement about the undecided height, under the key that its members know."""
        signer = self.keys.of(self.state.membership)
        assert signer is not None, "who has no key of this height keeps silent"
        return signer.sign(statement)

    def follow_clock(self, now: Instant) -> Instant:
        """Looks at the wall clock, and returns the instant by the clock that this member follows: rules see no other.

        A jump is followed at once where F + 1 other members are (docs/protocol.md, terms).
        """
        if self.own_clock.observe(now) and self.clocks.near(self.own, now) >= self.state.membership.weak_quorum:
            self.own_clock.follow(now)
        return self.own_clock.followed(now)

    @property
    def may_relay(self) -> bool:
        """Says whether members are few enough to pass on what others say."""
        return len(self.state.membership) <= RELAY_MEMBERS_MAX

    @property
    def is_relaying(self) -> bool:
        """Says whether links seem dead, so that what others signed at this height is passed on."""
        return self.may_relay and self.relay_through >= self.state.height

    def present_slot(self, now: Instant) -> Slot:
        """Returns the slot that this member holds to be the present one (docs/protocol.md, terms)."""
        state = self.state
        slot = self.clocks.present_slot(self.own, now, len(state.membership))
        if slot < state.parent_slot:
            # the chain is ahead of the clocks: count whole slots since its last decision
            slot = Slot(state.parent_slot + (now.monotonic_ms - state.started_ms) // self.tau_ms)
        return slot

    def keep_only(self, memberships: Memberships) -> None:
        """Forgets what was told by, or heard of, those who are no members (any more)."""
        members = memberships.undecided
        self.clocks.keep_only(members.addresses)
        by_member: tuple[dict[Address, Any], ...] = (
            self.told,
            self.silent_at,
            self.other_eras,
            self.heard,
            self.hears,
            self.passed_on,
            self.passed_further,
        )
        for known in by_member:
            for address in [address for address in known if address not in members]:
                del known[address]
        for times in (self.answered, self.asked, self.collected.answered, self.collected.distrusted):
            for address in [address for address in times if not memberships.hears(address)]:
                del times[address]
        for sender, origin in list(self.answered_over):
            if sender not in members or origin not in members:
                del self.answered_over[sender, origin]

    @property
    def leaders(self) -> Leaders:
        """Who leads at the undecided height."""
        return self.state.leaders

    def send(self, message: Message, recipients: Iterable[Address]) -> None:
        """Queues a message to all `recipients` but this member itself."""
        others = tuple(recipient for recipient in recipients if recipient != self.own)
        if others:
            self.out.add_send(message, others)

    def hearers(self, slot: Slot) -> tuple[Address, ...]:
        """Returns who hears a vote or COMMIT of this member for a slot: the cluster that collects, while that may do;
        else all, those of the next height too.
        """
        leaders = self.state.leaders
        is_collected = leaders.is_drawn and self.is_fast_at(slot)
        return leaders.cluster(slot) if is_collected else self.state.memberships.addresses

    def is_fast_at(self, slot: Slot) -> bool:
        """Says whether a slot may be decided without a view change as far as this member knows: it voted in it for
        an unjustified proposal, gave no slot of the height up, and had no need to tell all of it.
        """
        state, voted = self.state, self.state.voted
        has_voted = voted is not None and voted.slot == slot and voted.justification is None
        return has_voted and state.sign_state.attempts == 0 and not state.is_plain and not self.is_relaying

    def body_or_ask(self, block: Digest, holders: Iterable[Address], now: Instant) -> bytes | None:
        """Returns a body at hand, else asks its holders, or some of them, for it once a slot and returns None. While
        links seem dead all members are asked: some other one has it, too.
        """
        state = self.state
        body = state.bodies.get(block)
        if body is None:
            asked_ms = state.bodies_wanted.get(block)
            if asked_ms is None or now.monotonic_ms - asked_ms >= self.tau_ms:
                state.bodies_wanted[block] = now.monotonic_ms
                asked = state.membership.addresses if self.is_relaying else self._some({*holders} - {self.own}, now)
                self.send(BodyRequest(height=state.height, block=block), asked)
        return body

    def _some(self, named: Iterable[Address], now: Instant) -> list[Address]:
        """Returns whom of a block's holders to ask: all, or, where clusters are drawn, a few, others in each slot and
        for each member. Each of a quorum of many would send the whole block.
        """
        holders, addresses = sorted(named), self.state.memberships.addresses
        if not self.leaders.is_drawn or self.own not in addresses:
            return holders
        turn = addresses.index(self.own) + BODY_HOLDERS_ASKED * (now.monotonic_ms // self.tau_ms)
        places = range(turn, turn + min(BODY_HOLDERS_ASKED, len(holders)))
        return [holders[place % len(holders)] for place in places]

    def request_validation(self, block: Digest) -> bool:
        """Asks the host to execute a block at hand, unless that is under way."""
        state = self.state
        if block in state.validating:
            return False
        state.validating.add(block)
        self.out.validate.append(ValidateRequest(height=state.height, block=block, proposal=state.bodies[block]))
        return True
