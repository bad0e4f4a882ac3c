"""Signed messages and certificates of a small membership, and one replica driven by hand.

`Members` plays everybody: it signs whatever a test asks for, true or false. `Scenario` is one production replica
with a disk and a clock that the test holds: it verifies what arrives as the daemon does, keeps what the replica
asks to persist, and collects what it sends.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from consensus.cryptography import HashKind, SigningKey, digest
from consensus.eras import Era, Eras
from consensus.events import (
    Applied,
    Arrived,
    BlockOrigin,
    Decision,
    Effects,
    Event,
    Instant,
    PreparedBlock,
    Proposed,
    ProposeRequest,
    Received,
    Refused,
    Send,
    SendDecided,
    SignState,
    Tick,
    Validated,
    ValidateRequest,
    WorkWaiting,
    fresh_sign_state,
)
from consensus.evidence import Evidence
from consensus.identifiers import Address, Digest, EraNumber, Height, Slot
from consensus.member import KeyRing, Parameters
from consensus.membership import Leaders, Membership, Memberships
from consensus.messages import (
    Body,
    Claim,
    Commit,
    CommitCertificate,
    Decided,
    Endorsement,
    Justification,
    Message,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Status,
    ViewChange,
    ViewChangeHeader,
    commit_bytes,
    view_change_bytes,
    vote_bytes,
)
from consensus.replica import Replica, Start
from consensus.sampling import sampling_of
from consensus.verification import Refusal, Verified, verify_message

TAU_MS = 1_000
ATTEMPT_MAX_MS = 60_000
CHAIN = digest(HashKind.GENESIS, b"scenario")
ERAS = Eras(CHAIN)
ERA = ERAS.newest

M = TypeVar("M")


def block_of(proposal: bytes) -> Digest:
    """Names an opaque proposal, as a host does."""
    return digest(HashKind.BLOCK, proposal)


A, B = b"proposal a", b"proposal b"
BLOCK_A, BLOCK_B = block_of(A), block_of(B)


class Members:
    """N members in the order of admission: member i leads the slots s with s mod N = i."""

    def __init__(self, count: int, era: Era = ERA) -> None:
        self.keys = [SigningKey(bytes([index + 1]) * 32) for index in range(count)]
        self.membership = Membership.of_keys([key.public_key for key in self.keys])
        self.era = era

    @property
    def leaders(self) -> Leaders:
        return Leaders(self.membership)

    def rekey(self, member: int, key: SigningKey) -> None:
        """Gives a member another node key; its address and place stay."""
        self.keys[member] = key.of_member(self.keys[member].address)
        self.membership = Membership([(key.address, key.public_key) for key in self.keys])

    def address(self, member: int) -> Address:
        return self.keys[member].address

    def _signing(self, by: Iterable[int] | None) -> list[SigningKey]:
        chosen = range(self.membership.quorum) if by is None else by
        return sorted((self.keys[member] for member in chosen), key=lambda key: key.address)

    def vote(self, member: int, slot: int, block: Digest = BLOCK_A, height: int = 1) -> Prepare:
        signed = vote_bytes(self.era.domain, Height(height), Slot(slot), block)
        key = self.keys[member]
        return Prepare(
            height=Height(height), slot=Slot(slot), block=block, signer=key.address, signature=key.sign(signed)
        )

    def pre_prepare(
        self,
        slot: int,
        proposal: bytes = A,
        justification: Justification | None = None,
        height: int = 1,
        by: int | None = None,
    ) -> PrePrepare:
        """The slot's leader proposes (or `by` does, whose turn it is not)."""
        vote = self.vote(slot % len(self.keys) if by is None else by, slot, block_of(proposal), height)
        return PrePrepare(
            height=vote.height,
            slot=vote.slot,
            block=vote.block,
            signer=vote.signer,
            signature=vote.signature,
            justification=justification,
            proposal=proposal,
        )

    def commit(self, member: int, slot: int, block: Digest = BLOCK_A, height: int = 1) -> Commit:
        signed = commit_bytes(self.era.domain, Height(height), Slot(slot), block)
        key = self.keys[member]
        return Commit(
            height=Height(height), slot=Slot(slot), block=block, signer=key.address, signature=key.sign(signed)
        )

    def prepared(
        self, slot: int, block: Digest = BLOCK_A, by: Iterable[int] | None = None, height: int = 1
    ) -> PreparedCertificate:
        signed = vote_bytes(self.era.domain, Height(height), Slot(slot), block)
        return PreparedCertificate(
            era=self.era.number,
            height=Height(height),
            slot=Slot(slot),
            block=block,
            endorsements=self._endorsements(signed, by),
        )

    def committed(
        self, slot: int, block: Digest = BLOCK_A, by: Iterable[int] | None = None, height: int = 1
    ) -> CommitCertificate:
        signed = commit_bytes(self.era.domain, Height(height), Slot(slot), block)
        return CommitCertificate(
            era=self.era.number,
            height=Height(height),
            slot=Slot(slot),
            block=block,
            endorsements=self._endorsements(signed, by),
        )

    def _endorsements(self, signed: bytes, by: Iterable[int] | None) -> tuple[Endorsement, ...]:
        return tuple(Endorsement(signer=key.address, signature=key.sign(signed)) for key in self._signing(by))

    def decided(self, slot: int, proposal: bytes = A, height: int = 1) -> Decided:
        return Decided(certificate=self.committed(slot, block_of(proposal), height=height), proposal=proposal)

    def view_change(
        self, member: int, slot: int, prepared: PreparedCertificate | None = None, height: int = 1
    ) -> ViewChange:
        key, claim = self.keys[member], claim_of(prepared)
        return ViewChange(
            height=Height(height),
            slot=Slot(slot),
            claim=claim,
            signer=key.address,
            signature=key.sign(view_change_bytes(self.era.domain, Height(height), Slot(slot), claim)),
            certificate=prepared,
        )

    def status(
        self,
        member: int,
        undecided: int,
        slot: int = 4,
        hears: Iterable[int] | None = None,
        era: int = ERA.number,
    ) -> Status:
        """Where a member stands that hears these (all of them, if None)."""
        chosen = range(len(self.keys)) if hears is None else hears
        return Status(
            era=EraNumber(era),
            undecided=Height(undecided),
            tip=CHAIN,
            clock_slot=Slot(slot),
            origin=self.address(member),
            hears=sum(1 << number for number in chosen).to_bytes(2, "little"),
        )

    def justification(
        self,
        slot: int,
        claims: Mapping[int, PreparedCertificate] | None = None,
        by: Sequence[int] | None = None,
        height: int = 1,
    ) -> Justification:
        """Q VIEW-CHANGEs for a slot (or those of `by`), some claiming a prepared block."""
        chosen = tuple(range(self.membership.quorum)) if by is None else by
        changes = [self.view_change(member, slot, (claims or {}).get(member), height) for member in chosen]
        return Justification(
            headers=tuple(
                ViewChangeHeader(signer=change.signer, claim=change.claim, signature=change.signature)
                for change in sorted(changes, key=lambda change: change.signer)
            ),
            certificate=max((claims or {}).values(), key=lambda prepared: prepared.slot, default=None),
        )


def claim_of(prepared: PreparedCertificate | None) -> Claim | None:
    return None if prepared is None else Claim(slot=prepared.slot, block=prepared.block)


class Scenario:
    """One replica, its disk and its clocks. The last action's effects are in the public lists."""

    def __init__(
        self,
        members: int = 4,
        own: int = 1,
        slot: int = 0,
        attempt_max_ms: int = ATTEMPT_MAX_MS,
        suspended: Iterable[int] = (),
        cluster_size: int = 0,
    ) -> None:
        self.members = Members(members)
        self.own = own
        self.parameters = Parameters(slot_duration_ms=TAU_MS, attempt_max_ms=attempt_max_ms)
        self.monotonic_ms = 50_000
        self.clock_ms = slot * TAU_MS
        self.height, self.tip, self.parent_slot = Height(1), CHAIN, Slot(0)
        self.sign_state: SignState = fresh_sign_state(Height(1))
        self.sign_state_copy: SignState | None = None
        self.voted: PrePrepare | None = None
        self.prepared: PreparedBlock | None = None
        self.refused: list[Refusal] = []
        self.eras = ERAS
        self.next_key: SigningKey | None = None
        """That this home has, too."""
        self.sets: dict[int, Members] = {}
        """Who the members are from a height on; `members` before the lowest."""
        self.suspended = frozenset(self.members.address(member) for member in suspended)
        self.cluster_size = cluster_size
        """Members of a cluster; 0: all are."""
        self.forget()
        self.restart()

    @property
    def address(self) -> Address:
        return self.members.address(self.own)

    def set_of(self, height: int) -> Membership:
        """M(height)."""
        changed = max((first for first in self.sets if first <= height), default=None)
        return (self.members if changed is None else self.sets[changed]).membership

    @property
    def memberships(self) -> Memberships:
        undecided = self.set_of(self.height)
        sampling = sampling_of(
            undecided.addresses,
            undecided.addresses,
            height=self.height,
            randomness=CHAIN,
            size=self.cluster_size,
            members_min=1 if self.cluster_size else len(undecided) + 1,
        )
        return Memberships(
            undecided=undecided,
            following=self.set_of(self.height + 1),
            suspended=self.suspended,
            sampling=sampling,
        )

    def leader(self, slot: int, *, is_justified: bool = False) -> int:
        """Returns the number of the member whose slot it is."""
        whose = self.memberships.leaders.whose(Slot(slot), is_justified=is_justified)
        return self.memberships.undecided.addresses.index(whose)

    # --- what the last action led to --------------------------------------------------------------------------

    def forget(self) -> None:
        self.sent: list[Message] = []
        self.recipients: list[tuple[Address, ...]] = []
        self.passed_on: list[Send] = []
        """What others said; `sent` is only what this member says itself."""
        self.answers: list[SendDecided] = []
        self.validations: list[ValidateRequest] = []
        self.proposals: list[ProposeRequest] = []
        self.decisions: list[Decision] = []
        self.evidence: list[Evidence] = []
        self.verified = 0

    def sent_of(self, kind: type[M]) -> list[M]:
        return [message for message in self.sent if isinstance(message, kind)]

    # --- events -----------------------------------------------------------------------------------------------

    def now(self) -> Instant:
        return Instant(monotonic_ms=self.monotonic_ms, clock_ms=self.clock_ms)

    def step(self, event: Event) -> Effects:
        effects = self.replica.step(event, self.now())
        self.sign_state = effects.sign_state or self.sign_state
        self.sign_state_copy = effects.sign_state or self.sign_state_copy
        self.voted = effects.voted or self.voted
        self.prepared = effects.prepared or self.prepared
        for send in effects.send:
            if speaker_of(send.message) in {self.address, None}:
                self.sent.append(send.message)
                self.recipients.append(send.recipients)
            else:
                self.passed_on.append(send)
        self.answers += effects.send_decided
        self.validations += effects.validate
        self.proposals += [effects.propose] if effects.propose else []
        self.decisions += [effects.apply] if effects.apply else []
        self.evidence += effects.evidence
        for arrived in effects.verify:
            self._verify(arrived)
        return effects

    def _verify(self, arrived: Arrived) -> None:
        self.verified += 1
        result = verify_message(arrived.message, self.replica.leaders, self.replica.era)
        if isinstance(result, Verified):
            self.step(Received(sender=arrived.sender, message=result))
        else:
            self.refused.append(result)
            self.step(Refused(sender=arrived.sender, message=arrived.message))

    def receive(self, *messages: Message, sender: int | None = None) -> None:
        """Messages arrive from those that say them, or from `sender`."""
        self.forget()
        for message in messages:
            speaker = speaker_of(message)
            link = speaker if sender is None and speaker is not None else self.members.address(sender or 0)
            self.step(Arrived(sender=link, message=message))

    def tick(self, slots: float = 0) -> None:
        """Both clocks go on; then the replica hears of it."""
        self.forget()
        self.monotonic_ms += int(slots * TAU_MS)
        self.clock_ms += int(slots * TAU_MS)
        self.step(Tick())

    def work(self, age_slots: float = 0) -> None:
        """A request waits, for so long already."""
        self.forget()
        self.step(WorkWaiting(oldest_arrival_ms=self.monotonic_ms - int(age_slots * TAU_MS)))

    def execute(
        self, proposal: bytes = A, header_slot: int | None = 0, height: int = 1, *, leader: int | None = None
    ) -> None:
        """The host executed a proposal and found it valid (None: invalid); its header has the slot's first leader."""
        self.forget()
        origin = None
        if header_slot is not None:
            whose = self.memberships.leaders.whose(Slot(header_slot))
            origin = BlockOrigin(Slot(header_slot), whose if leader is None else self.members.address(leader))
        self.step(Validated(height=Height(height), block=block_of(proposal), origin=origin))

    def propose(self, slot: int, proposal: bytes | None = A, height: int = 1) -> None:
        """The host built what it was asked for (None: nothing to propose)."""
        self.forget()
        block = None if proposal is None else block_of(proposal)
        self.step(Proposed(height=Height(height), slot=Slot(slot), block=block, proposal=proposal or b""))

    def applied(self, header_slot: int = 0) -> None:
        """The host wrote the block that was decided last."""
        decision = self.decisions[-1]
        self.forget()
        self.height, self.tip = Height(decision.height + 1), decision.block
        self.parent_slot = Slot(header_slot)
        self.voted = self.prepared = self.sign_state_copy = None
        self.step(
            Applied(
                height=decision.height,
                block=decision.block,
                header_slot=Slot(header_slot),
                memberships=self.memberships,
            )
        )

    def restart(self) -> None:
        """The process starts again with nothing but its disk."""
        self.forget()
        start = Start(
            height=self.height,
            eras=self.eras,
            memberships=self.memberships,
            tip=self.tip,
            parent_slot=self.parent_slot,
            sign_state=self.sign_state,
            sign_state_copy=self.sign_state_copy,
            voted=self.voted,
            prepared=self.prepared,
        )
        keys = KeyRing(self.members.keys[self.own])
        if self.next_key is not None:
            keys.add(self.next_key)
        self.replica = Replica(keys=keys, parameters=self.parameters, start=start, now=self.now())

    # --- shorthands for what many scenarios begin with --------------------------------------------------------

    def vote_for(self, slot: int, proposal: bytes = A, justification: Justification | None = None) -> None:
        """The leader's proposal arrives and is executed: the replica votes. The header has the slot."""
        self.receive(self.members.pre_prepare(slot, proposal, justification))
        self.execute(proposal, slot)

    def prepare_at(self, slot: int, proposal: bytes = A) -> None:
        """The replica votes and sees a quorum of votes: it commits."""
        self.vote_for(slot, proposal)
        others = [member for member in range(len(self.members.keys)) if member != self.own]
        self.receive(*(self.members.vote(member, slot, block_of(proposal)) for member in others))


def speaker_of(message: Message) -> Address | None:
    """Returns whom a message names as the one that says it, None if it names nobody."""
    return getattr(message, "signer", None) or getattr(message, "origin", None)


def body(proposal: bytes = A, height: int = 1) -> Body:
    return Body(height=Height(height), block=block_of(proposal), proposal=proposal)
