"""The PBFT replica: one member's part in deciding one height after another.

Theory of operation
-------------------
`step(event, now)` takes one event and returns the `Effects` that its host carries out in their order. The
replica holds the state of one height, the undecided one. A message only adds to it; then `RULES` are tried in
their order, again and again, until none applies.

The rules carry the names of docs/protocol.md: S1 to S5 keep the chain safe and never look at a clock; P1 to P10
keep it going. The slot is PBFT's view; who leads it says `membership.Leaders` (Eq. 1).

It never reads a clock, a socket, a disk or randomness. `assert` means a bug of ours: the host stops the node.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from consensus import collecting, heights, liveness, proposals, relaying, safety
from consensus.eras import Era, Eras
from consensus.events import (
    Applied,
    Arrived,
    BlockOrigin,
    Connected,
    Effects,
    Event,
    Instant,
    KeepSilent,
    Outbox,
    PreparedBlock,
    Proposed,
    Received,
    Refused,
    SignState,
    Tick,
    Validated,
    WorkWaiting,
    forgetful_sign_state,
    fresh_sign_state,
    standing_in,
)
from consensus.evidence import Evidence, Signed, contradiction
from consensus.explain import explain
from consensus.explanation import Contact, Explanation
from consensus.gathering import statements_in
from consensus.height import HeightState
from consensus.identifiers import GENESIS_HEIGHT, Address, Digest, EraNumber, Height, Slot
from consensus.intake import Intake
from consensus.member import KeyRing, Member, Parameters
from consensus.membership import Leaders, Membership, Memberships
from consensus.messages import (
    Body,
    BodyRequest,
    CertificateRequest,
    Checked,
    Claim,
    Commit,
    CommitCertificate,
    Decided,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Status,
    ViewChange,
)
from consensus.phases import Phase

Rule = Callable[[Member, Instant], bool]

RULES: Final[tuple[Rule, ...]] = (
    relaying.rule_relay,  # first: the statement that decides the height here is passed on, too
    proposals.rule_take_waiting,
    safety.rule_decide,
    safety.rule_commit,
    collecting.rule_hand_out,
    safety.rule_validate,
    safety.rule_vote,
    liveness.rule_join,
    liveness.rule_note_view_change_quorum,
    liveness.rule_next_attempt,
    liveness.rule_start,
    liveness.rule_propose_justified,
    liveness.rule_propose_fast,
    liveness.rule_resend,
    relaying.rule_start_relaying,
    collecting.rule_second_copy,
    collecting.rule_ask_cluster,
)

TIMED_RULES: Final = frozenset(
    {
        liveness.rule_next_attempt,
        liveness.rule_start,
        relaying.rule_start_relaying,
        collecting.rule_second_copy,
        collecting.rule_ask_cluster,
    }
)
"""They give a slot, links or a cluster up once time has passed, and are tried on a `Tick` only: before it, the host
hands in what had arrived. A process that was held up for two slots would otherwise give up with the decision unread
at its door.
"""

RULES_PER_STEP_MAX: Final = 2_048
"""More actions than this in one step would mean that a rule does not end: two per statement of 256 members."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a replica starts: read from disk by its host."""

    height: Height
    """The undecided height."""
    eras: Eras
    memberships: Memberships
    """Of that height and the next."""
    tip: Digest
    parent_slot: Slot
    sign_state: SignState
    """As loaded; of another height it is a bound on what may be signed, see `Replica`."""
    sign_state_copy: SignState | None = None
    """As persisted among the records of this height, where it outlives an older sign state put back."""
    voted: PrePrepare | None = None
    prepared: PreparedBlock | None = None


class Replica:
    """One member's replica. See the module's docstring."""

    def __init__(self, *, keys: KeyRing, parameters: Parameters, start: Start, now: Instant) -> None:
        """Restores a replica from its durable state.

        A sign state below `start.height` binds nothing: its height is decided. One above it says that blocks
        were lost: nothing is signed up to it. So does one whose proposal or certificate is not at hand, and one that
        was written when the state before it was lost (`silent_through`, see `recovery`). A stored
        proposal or certificate newer than the sign state was written just before a crash: it binds as if it
        had been sent.
        """
        signed = standing_where_the_chain_is(start)
        state = HeightState(
            height=start.height,
            era=start.eras.at(start.height),
            memberships=start.memberships,
            tip=start.tip,
            parent_slot=start.parent_slot,
            started_ms=now.monotonic_ms,
            sent_ms=now.monotonic_ms - parameters.slot_duration_ms,
            sign_state=fresh_sign_state(start.height, signed.standing),
        )
        self._intake = Intake()
        self._member = Member(
            keys=keys, parameters=parameters, eras=start.eras, state=state, phase=Phase.WAITING, now=now
        )
        self._durable = start.sign_state
        """As the host last persisted it."""
        if signed != start.sign_state:
            state.sign_state = signed
        self._member.silent_through = max(_lost_through(signed, start.height), signed.silent_through)
        if self._member.silent_through < start.height:
            self._restore(start, now)

    # --- what the host may look at --------------------------------------------------------------------------

    @property
    def height(self) -> Height:
        """The undecided height."""
        return self._member.state.height

    @property
    def membership(self) -> Membership:
        """Members of the undecided height."""
        return self._member.state.membership

    @property
    def leaders(self) -> Leaders:
        """Who leads at the undecided height."""
        return self._member.state.leaders

    @property
    def era(self) -> Era:
        """The era of the undecided height."""
        return self._member.state.era

    @property
    def other_eras(self) -> Mapping[Address, EraNumber]:
        """The members that said they are in another era, and in which. Anybody may say anything."""
        return self._member.other_eras

    @property
    def phase(self) -> Phase:
        """What this member did last at the undecided height."""
        return self._member.phase

    @property
    def silent_through(self) -> Height:
        """Nothing is signed up to this height; the silence is over once a higher one is undecided."""
        return self._member.silent_through

    @property
    def remembered(self) -> SignState:
        """What this member signed last, at the undecided height or an earlier one."""
        signed = self._member.state.sign_state
        return self._durable if signed == fresh_sign_state(self.height, signed.standing) else signed

    @property
    def view_changes_sent(self) -> int:
        """VIEW-CHANGEs sent since this object was made (resent ones not counted)."""
        return self._member.view_changes_sent

    @property
    def late_certificates(self) -> tuple[int, int]:
        """How often no certificate came in a third of a slot, and in two thirds, since this object was made."""
        return self._member.collected.times_asked, self._member.collected.times_told_all

    def present_slot(self, now: Instant) -> Slot:
        """Returns the slot that this member holds to be the present one."""
        return self._member.present_slot(self._member.own_clock.followed(now))

    def may_lack(self, other: Address, now: Instant) -> list[Address]:
        """Returns who may not have the requests that another member sent to all; nobody while links work."""
        return relaying.may_lack(self._member, other, now)

    def waiting_since_ms(self) -> int | None:
        """Returns since when the undecided height has had something to decide (monotonic), None while it has not."""
        return liveness.waiting_since_ms(self._member)

    def explain(self, now: Instant, contacts: Mapping[Address, Contact]) -> Explanation:
        """Returns why the height is undecided, with what the host knows of its links. Changes nothing."""
        return explain(self._member, now, contacts)

    # --- the one entry --------------------------------------------------------------------------------------

    def step(self, event: Event, now: Instant) -> Effects:
        """Takes one event at one instant and returns what must happen, in order (see `Effects`)."""
        member = self._member
        member.out = Outbox()
        now = member.follow_clock(now)
        self._take(event, now)
        if not isinstance(event, Arrived):  # nothing is known of it before it is verified: no rule can act on it
            self._apply_rules(now, is_tick=isinstance(event, Tick))
        signed = member.state.sign_state
        if signed != self._durable and signed != fresh_sign_state(member.state.height, signed.standing):
            member.out.sign_state = self._durable = signed
        return member.out.effects()

    def _apply_rules(self, now: Instant, *, is_tick: bool) -> None:
        for _ in range(RULES_PER_STEP_MAX):
            if not any(rule(self._member, now) for rule in RULES if is_tick or rule not in TIMED_RULES):
                return
        raise AssertionError("a rule of the replica does not end")

    def _take(self, event: Event, now: Instant) -> None:
        member = self._member
        match event:
            case Tick():
                heights.send_status_each_slot(member, now)
            case Connected():
                member.send(heights.status(member, now), (event.member,))
            case Arrived():
                if self._intake.admit(event, member, now):
                    member.out.verify.append(event)
            case Received():
                self._receive(event.sender, event.message.message, now)
            case Refused():
                collecting.note_refused(member, event.sender, event.message, now)
            case WorkWaiting():
                member.oldest_arrival_ms = event.oldest_arrival_ms
            case KeepSilent():
                self._take_silence(event)
            case Proposed() | Validated() | Applied():
                self._take_answer(event, now)

    # --- receiving ------------------------------------------------------------------------------------------

    def _receive(self, sender: Address, message: Checked, now: Instant) -> None:
        member = self._member
        if isinstance(message, Status):
            heights.receive_status(member, sender, message, now)
            return
        height = message.certificate.height if isinstance(message, Decided) else message.height
        if sender in member.state.membership:
            member.told[sender] = max(member.told.get(sender, height), height)
        if height != member.state.height or member.phase is Phase.APPLYING:
            return  # decided while the host verified it
        member.state.note_heard(now.monotonic_ms)
        match message:
            case PrePrepare():
                self._receive_pre_prepare(message, now)
            case Prepare() | Commit() | ViewChange():
                self._count(message)
            case Decided():
                safety.decide(member, message.certificate, message.proposal)
            case BodyRequest() | Body():
                self._receive_body(sender, message, now)
            case PreparedCertificate() | CommitCertificate():
                self._receive_certificate(message)
            case CertificateRequest():
                collecting.answer(member, sender, message, now)

    def _count(self, statement: Prepare | Commit | ViewChange) -> None:
        state = self._member.state
        match statement:
            case Prepare():
                self._note(statement, state.votes.add(statement))
            case Commit():
                self._note(statement, state.commits.add(statement))
            case ViewChange():
                self._note(statement, state.view_changes.add(statement))

    def _receive_certificate(self, certificate: PreparedCertificate | CommitCertificate) -> None:
        """Counts the statements of a certificate as if each had come by itself, and keeps it whole."""
        for statement in statements_in(certificate):
            self._count(statement)
        collecting.keep_whole(self._member.state, certificate)

    def _receive_pre_prepare(self, message: PrePrepare, now: Instant) -> None:
        """Counts the vote in a proposal of the slot's leader; the proposal may have to wait for its slot."""
        if proposals.is_far_ahead(self._member, message, now):
            return
        self._count(safety.vote_of(message))
        proposals.take_or_hold(self._member, message, now)

    def _receive_body(self, sender: Address, message: BodyRequest | Body, now: Instant) -> None:
        """Serves a body at hand; takes one that was asked for. The host checked that it has its name."""
        state = self._member.state
        if isinstance(message, Body):
            if message.block in state.bodies_wanted:
                del state.bodies_wanted[message.block]
                state.bodies[message.block] = message.proposal
            return
        heights.serve_body(self._member, sender, message, now)

    def _note(self, statement: Signed, earlier: Signed | None) -> None:
        """Keeps as evidence what contradicts the signer's earlier statements at this height."""
        state = self._member.state
        others: list[Signed] = [] if earlier is None else [earlier]
        if isinstance(statement, Commit):
            others += state.view_changes.of(statement.signer)
        elif isinstance(statement, ViewChange):
            others += state.commits.of(statement.signer)
        for other in others:
            offence = contradiction(other, statement)
            if offence is not None and (statement.signer, offence) not in state.accused:
                state.accused.add((statement.signer, offence))
                evidence = Evidence(
                    offence=offence, signer=statement.signer, height=state.height, first=other, second=statement
                )
                self._member.out.evidence.append(evidence)

    # --- the host's answers ---------------------------------------------------------------------------------

    def _take_answer(self, event: Proposed | Validated | Applied, now: Instant) -> None:
        match event:
            case Proposed():
                self._take_proposed(event, now)
            case Validated():
                self._take_validated(event)
            case Applied():
                self._take_applied(event, now)

    def _take_validated(self, event: Validated) -> None:
        state = self._member.state
        if event.height == state.height and event.block in state.validating:
            state.validating.discard(event.block)
            state.origins[event.block] = event.origin

    def _take_proposed(self, event: Proposed, now: Instant) -> None:
        if event.block is not None and event.height == self._member.state.height:
            built = BlockOrigin(event.slot, self._member.own)
            self._member.state.origins[event.block] = built  # built here, so executed here
        liveness.take_proposed(self._member, event, now)

    def _take_applied(self, event: Applied, now: Instant) -> None:
        member = self._member
        assert member.phase is Phase.APPLYING, "Applied without a decision"
        assert event.height == member.state.height, "Applied for another height"
        member.enter(Phase.WAITING)
        self._note_own_block(event, now)
        following, decided = Height(event.height + 1), member.state
        member.state = HeightState(
            height=following,
            era=member.eras.at(following),
            memberships=event.memberships,
            tip=event.block,
            parent_slot=event.header_slot,
            started_ms=now.monotonic_ms,
            sent_ms=now.monotonic_ms,
            sign_state=fresh_sign_state(following, decided.sign_state.standing),
        )
        member.keep_only(event.memberships)
        collecting.tell_applied(member, decided, now)
        member.out.verify += [
            arrived for arrived in self._intake.release(following) if collecting.may_verify(arrived, member, now)
        ]

    def _note_own_block(self, event: Applied, now: Instant) -> None:
        state = self._member.state
        voted = state.voted
        is_own = voted is not None and (voted.signer, voted.block) == (self._member.own, event.block)
        if is_own and state.voted_ms is not None and state.sign_state.attempts == 0:
            self._member.own_block_ms = now.monotonic_ms - state.voted_ms

    def _take_silence(self, event: KeepSilent) -> None:
        """What is remembered stays as it is: a sign state of a later height goes on keeping silent through it."""
        member, remembered = self._member, self.remembered
        member.silent_through = max(event.through, _lost_through(remembered, member.state.height))
        silent = msgspec.structs.replace(remembered, silent_through=event.through)
        if silent.height == member.state.height:
            member.state.sign_state = silent
        member.out.sign_state = self._durable = silent

    # --- restart --------------------------------------------------------------------------------------------

    def _restore(self, start: Start, now: Instant) -> None:
        member, state = self._member, self._member.state
        signed = binding(start)
        if signed is None:
            member.silent_through = start.height
            return
        state.sign_state, state.voted, state.prepared = signed, start.voted, start.prepared
        if start.voted is not None:
            state.bodies[start.voted.block] = start.voted.proposal
            state.voted_ms = state.said_ms = now.monotonic_ms
            member.enter(Phase.VOTED)
        if start.prepared is not None:
            state.bodies[start.prepared.certificate.block] = start.prepared.proposal
            state.said_ms = now.monotonic_ms
            member.enter(Phase.PREPARED)
        if signed.attempts > 0:
            state.said_ms = now.monotonic_ms
            member.enter(Phase.CHANGING_VIEW)


def standing_where_the_chain_is(start: Start) -> SignState:
    """Returns the sign state, or, of a member that knows nothing of the era that its ledger is in, a forgetful one:
    an old one was put back, and it may have signed in this era. Who gave its era up does not go on by itself.
    """
    standing, newest = start.sign_state.standing, start.eras.newest
    if standing.is_sealed or (standing.era, standing.plan) == (newest.number, newest.plan):
        return start.sign_state
    assert standing.era < newest.number, "the host has the plan of the era that the sign state names"
    return forgetful_sign_state(start.height, standing_in(newest))


def _lost_through(signed: SignState, undecided: Height) -> Height:
    """Returns the last height of lost blocks that a sign state says something was signed at."""
    return signed.bound_through if signed.height > undecided else GENESIS_HEIGHT


def binding(start: Start) -> SignState | None:
    """Returns what binds this member at the height it starts at, None if it cannot be told any more.

    Proposals and certificates are written before the sign state that names them, so after a crash in between
    they are newer by one step. What is older or missing was lost: the member does not know what it signed.
    A promise has no record of its own but the copy of the sign state, written with them.
    """
    signed = (
        start.sign_state
        if start.sign_state.height == start.height
        else fresh_sign_state(start.height, start.sign_state.standing)
    )
    voted = None if start.voted is None else Claim(slot=start.voted.slot, block=start.voted.block)
    certificate = None if start.prepared is None else start.prepared.certificate
    prepared = None if certificate is None else Claim(slot=certificate.slot, block=certificate.block)
    for stored, named in ((voted, signed.voted), (prepared, signed.prepared)):
        is_next = stored is not None and stored.slot >= signed.promise and (named is None or stored.slot > named.slot)
        if stored != named and not is_next:
            return None
    copy = start.sign_state_copy
    if copy is None or copy.height != start.height:
        copy = signed
    return msgspec.structs.replace(
        signed,
        voted=voted,
        prepared=prepared,
        promise=max(signed.promise, copy.promise),
        attempts=max(signed.attempts, copy.attempts),
    )
