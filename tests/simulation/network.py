"""A simulated network: production replicas on a virtual clock, network and disk, driven by one seed.

Loses, delays, duplicates and reorders messages, crashes and restarts members (which keep only what they
persisted), skews clocks, and lets a liar vote for two blocks. Blocks are opaque bytes that name their parent,
slot and requests; a host "executes" them by checking just that.
"""

import heapq
import random
from dataclasses import dataclass, field

import msgspec

from consensus.codec import decode, encode
from consensus.cryptography import HashKind, SigningKey, digest
from consensus.events import (
    Applied,
    Arrived,
    Connected,
    Decision,
    Effects,
    Event,
    Instant,
    PreparedBlock,
    Proposed,
    Received,
    SignState,
    Tick,
    Validated,
    WorkWaiting,
    fresh_sign_state,
)
from consensus.identifiers import Address, Digest, Height, Slot
from consensus.intake import DECIDED_RUN_MAX
from consensus.member import Parameters
from consensus.membership import Membership
from consensus.messages import Body, Decided, Message, PrePrepare, vote_bytes
from consensus.quorum import fault_bound
from consensus.replica import Replica, Start
from consensus.verification import Verified, verify_message

TAU_MS = 250
TICK_MS = 25
CHAIN = digest(HashKind.GENESIS, b"simulation")


def make_block(parent: Digest, slot: Slot, leader: Address, requests: tuple[int, ...]) -> bytes:
    return encode((parent, slot, leader, requests))


def name_of(proposal: bytes) -> Digest:
    return digest(HashKind.BLOCK, proposal)


@dataclass(slots=True)
class Disk:
    """What survives a crash."""

    chain: list[Decided] = field(default_factory=list)
    sign_state: SignState | None = None
    voted: PrePrepare | None = None
    prepared: PreparedBlock | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Probabilities and ranges; all zero is a perfect network."""

    loss: float = 0.0
    duplication: float = 0.0
    delay_ms_max: int = 20
    crash_per_tick: float = 0.0
    clock_offset_ms_max: int = 0
    silent_members: int = 0
    equivocating_members: int = 0


class Host:
    """One member: carries out effects in their order, as the daemon's driver does."""

    def __init__(self, network: "Network", index: int) -> None:
        self.network = network
        self.key = network.keys[index]
        self.disk = Disk()
        self.requests: dict[int, int] = {}
        self.done: set[int] = set()
        self.is_up = True
        span = network.faults.clock_offset_ms_max
        self.clock_offset_ms = network.random.randint(-span, span) if span else 0

    def now(self) -> Instant:
        at_ms = self.network.now_ms
        return Instant(monotonic_ms=at_ms, clock_ms=at_ms + self.clock_offset_ms)

    def restart(self) -> None:
        """Starts with nothing but the disk."""
        self.is_up = True
        chain = self.disk.chain
        height = Height(len(chain) + 1)
        start = Start(
            height=height,
            membership=self.network.membership,
            tip=chain[-1].certificate.block if chain else CHAIN,
            parent_slot=decode(chain[-1].proposal, tuple)[1] if chain else Slot(0),
            sign_state=self.disk.sign_state or fresh_sign_state(Height(1)),
            voted=self.disk.voted if self.disk.voted and self.disk.voted.height == height else None,
            prepared=self.disk.prepared
            if self.disk.prepared and self.disk.prepared.certificate.height == height
            else None,
        )
        self.replica = Replica(
            signer=self.key,
            parameters=Parameters(chain=CHAIN, slot_duration_ms=TAU_MS, attempt_max_ms=60_000),
            start=start,
            now=self.now(),
        )
        for member in self.network.membership.addresses:
            if member != self.key.address:
                self.step(Connected(member=member))
        self.tell_work()

    def submit(self, request: int) -> None:
        if request not in self.done:
            self.requests.setdefault(request, self.network.now_ms)
            self.tell_work()

    def tell_work(self) -> None:
        if self.is_up:
            self.step(WorkWaiting(oldest_arrival_ms=min(self.requests.values(), default=None)))

    def step(self, event: Event) -> None:
        self.carry_out(self.replica.step(event, self.now()))

    def carry_out(self, effects: Effects) -> None:
        self.persist(effects)
        for send in effects.send:
            for recipient in send.recipients:
                self.network.send(self.key.address, recipient, send.message)
        for answer in effects.send_decided:
            first = answer.first - 1
            for decided in self.disk.chain[first : first + DECIDED_RUN_MAX]:
                self.network.send(self.key.address, answer.recipient, decided)
        self.network.evidence += effects.evidence
        for arrived in effects.verify:
            self.verify(arrived)
        for request in effects.validate:
            slot = self.validate(request.height, request.proposal)
            self.network.later(self, Validated(height=request.height, block=request.block, header_slot=slot))
        if effects.propose is not None:
            self.propose(effects.propose.height, effects.propose.slot, effects.propose.may_be_empty)
        if effects.apply is not None:
            self.apply(effects.apply)

    def persist(self, effects: Effects) -> None:
        if effects.sign_state is not None:
            self.network.checker.note_signed(self, effects)
            self.disk.sign_state = effects.sign_state
        if effects.voted is not None:
            self.disk.voted = effects.voted
        if effects.prepared is not None:
            self.disk.prepared = effects.prepared

    def verify(self, arrived: Arrived) -> None:
        message = arrived.message
        if isinstance(message, PrePrepare | Body) and name_of(message.proposal) != message.block:
            return
        if isinstance(message, Decided) and name_of(message.proposal) != message.certificate.block:
            return
        result = verify_message(message, self.replica.membership, CHAIN)
        if isinstance(result, Verified):
            self.step(Received(sender=arrived.sender, message=result))

    def validate(self, height: Height, proposal: bytes) -> Slot | None:
        parent, slot, leader, requests = decode(proposal, tuple)
        chain = self.disk.chain
        tip = chain[-1].certificate.block if chain else CHAIN
        parent_slot = decode(chain[-1].proposal, tuple)[1] if chain else 0
        valid = (
            height == len(chain) + 1
            and parent == tip
            and slot >= parent_slot
            and leader == self.replica.leader_at(slot)
            and not self.done & set(requests)
        )
        return slot if valid else None

    def propose(self, height: Height, slot: Slot, may_be_empty: bool) -> None:
        requests = tuple(sorted(self.requests))[:4]
        block = None
        proposal = b""
        if requests or may_be_empty:
            tip = self.disk.chain[-1].certificate.block if self.disk.chain else CHAIN
            proposal = make_block(tip, slot, self.key.address, requests)
            block = name_of(proposal)
        self.network.later(self, Proposed(height=height, slot=slot, block=block, proposal=proposal))

    def apply(self, decision: Decision) -> None:
        _, slot, _, requests = decode(decision.proposal, tuple)
        self.disk.chain.append(Decided(certificate=decision.certificate, proposal=decision.proposal))
        self.network.checker.note_decided(self, decision)
        self.done |= set(requests)
        for request in requests:
            self.requests.pop(request, None)
        self.tell_work()
        self.step(
            Applied(
                height=decision.height,
                block=decision.block,
                header_slot=slot,
                membership=self.network.membership,
            )
        )


class Checker:
    """Knows nothing of the rules: only that no two members decide differently and nobody signs twice."""

    def __init__(self) -> None:
        self.decided: dict[Height, Digest] = {}
        self.votes: dict[tuple[Address, Height, Slot], Digest] = {}

    def note_decided(self, host: Host, decision: Decision) -> None:
        known = self.decided.setdefault(decision.height, decision.block)
        assert known == decision.block, f"fork at height {decision.height}"

    def note_signed(self, host: Host, effects: Effects) -> None:
        state = effects.sign_state
        assert state is not None
        if state.voted is not None:
            key = (host.key.address, state.height, state.voted.slot)
            known = self.votes.setdefault(key, state.voted.block)
            assert known == state.voted.block, "two votes in one slot"


class Network:
    """All members, the messages between them, and the virtual time."""

    def __init__(self, members: int, seed: int, faults: Faults) -> None:
        self.random = random.Random(seed)
        self.faults = faults
        self.keys = [SigningKey(bytes([index + 1]) * 32) for index in range(members)]
        self.membership = Membership([key.public_key for key in self.keys])
        self.now_ms = 1_000
        self.queue: list[tuple[int, int, str, Host, object]] = []
        self.sequence = 0
        self.checker = Checker()
        self.evidence: list[object] = []
        self.messages = 0
        self.hosts = [Host(self, index) for index in range(members)]
        self.by_address = {host.key.address: host for host in self.hosts}
        bound = fault_bound(members)
        addresses = self.membership.addresses
        self.liars = set(addresses[: min(bound, faults.equivocating_members)])
        self.silent = set(addresses[members - min(bound - len(self.liars), faults.silent_members) :])
        for host in self.hosts:
            host.restart()
            self.push(self.random.randint(0, TICK_MS), "tick", host, None)

    def push(self, delay_ms: int, kind: str, host: Host, payload: object) -> None:
        self.sequence += 1
        heapq.heappush(self.queue, (self.now_ms + delay_ms, self.sequence, kind, host, payload))

    def later(self, host: Host, event: Event) -> None:
        self.push(self.random.randint(0, 5), "event", host, (host.replica, event))

    def send(self, sender: Address, recipient: Address, message: Message) -> None:
        self.messages += 1
        if sender in self.silent:
            return
        message = self.lie(sender, recipient, message)
        faults = self.faults
        copies = 1 + (self.random.random() < faults.duplication)
        for _ in range(copies):
            if self.random.random() >= faults.loss:
                delay_ms = self.random.randint(1, faults.delay_ms_max)
                self.push(delay_ms, "message", self.by_address[recipient], (sender, message))

    def lie(self, sender: Address, recipient: Address, message: Message) -> Message:
        """An equivocating leader sends another valid block to every second member."""
        if sender not in self.liars or not isinstance(message, PrePrepare):
            return message
        if message.justification is not None or self.membership.addresses.index(recipient) % 2:
            return message
        host = self.by_address[sender]
        parent, slot, leader, _ = decode(message.proposal, tuple)
        proposal = make_block(parent, slot, leader, ())
        block = name_of(proposal)
        signature = host.key.sign(vote_bytes(CHAIN, message.height, message.slot, block))
        return msgspec.structs.replace(message, block=block, signature=signature, proposal=proposal)

    def run(self, until: "object", limit_ms: int) -> bool:
        """Runs until the condition holds; False if `limit_ms` of virtual time pass first."""
        end_ms = self.now_ms + limit_ms
        while self.queue and self.now_ms < end_ms:
            if until():  # type: ignore[operator]
                return True
            self.now_ms, _, kind, host, payload = heapq.heappop(self.queue)
            self.handle(kind, host, payload)
        return bool(until())  # type: ignore[operator]

    def handle(self, kind: str, host: Host, payload: object) -> None:
        if kind == "tick":
            self.push(TICK_MS, "tick", host, None)
            if host.is_up and self.random.random() < self.faults.crash_per_tick:
                host.is_up = False
                self.push(self.random.randint(100, 3_000), "restart", host, None)
            elif host.is_up:
                host.step(Tick())
        elif kind == "restart":
            host.restart()
        elif not host.is_up:
            return
        elif kind == "message":
            sender, message = payload  # type: ignore[misc]
            host.step(Arrived(sender=sender, message=message))
        elif kind == "event":
            replica, event = payload  # type: ignore[misc]
            if replica is host.replica:
                host.step(event)

    def submit_everywhere(self, request: int) -> None:
        for host in self.hosts:
            host.submit(request)

    def honest(self) -> list[Host]:
        return [host for host in self.hosts if host.key.address not in self.silent | self.liars]
