"""A simulated network: production replicas on a virtual clock, network and disk, driven by one seed.

Loses, delays, duplicates and reorders messages, cuts the network in two, pauses members, makes their clocks jump,
crashes them between any two durable steps and restarts them with what they had persisted (or less), and has liars
that vote for everything. Blocks are opaque bytes that name their parent, slot, leader and requests; a host
"executes" them by checking just that.
"""

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

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
    ProposeRequest,
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
from consensus.messages import (
    Body,
    Commit,
    Decided,
    Message,
    Prepare,
    PrePrepare,
    ViewChange,
    commit_bytes,
    view_change_bytes,
    vote_bytes,
)
from consensus.quorum import fault_bound
from consensus.replica import Replica, Start
from consensus.verification import Verified, verify_message
from tests.simulation.checker import Checker

TAU_MS = 250
TICK_MS = 25
RECOVERY_SLOTS_MAX = 800
"""Once faults end, everything is executed within so many slots."""
CHAIN = digest(HashKind.GENESIS, b"simulation")

Block = tuple[Digest, Slot, Address, tuple[int, ...]]
"""Parent, slot, leader, requests."""


def name_of(proposal: bytes) -> Digest:
    return digest(HashKind.BLOCK, proposal)


def read_block(proposal: bytes) -> Block:
    return decode(proposal, tuple)


@dataclass(slots=True)
class Disk:
    """What survives a crash."""

    chain: list[Decided] = field(default_factory=list)
    sign_state: SignState = field(default_factory=lambda: fresh_sign_state(Height(1)))
    voted: PrePrepare | None = None
    prepared: PreparedBlock | None = None

    @property
    def tip(self) -> Digest:
        return self.chain[-1].certificate.block if self.chain else CHAIN

    @property
    def tip_slot(self) -> Slot:
        return read_block(self.chain[-1].proposal)[1] if self.chain else Slot(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Probabilities and ranges; all zero is a perfect network."""

    until_ms: int = 1_000_000_000
    """Faults of the network and of hosts end here; liars and dead members stay what they are."""
    loss: float = 0.0
    duplication: float = 0.0
    delay_ms_max: int = 20
    crash_per_tick: float = 0.0
    crash_per_point: float = 0.0
    """Of a crash at each of the points between durable steps."""
    pause_per_tick: float = 0.0
    clock_jump_per_tick: float = 0.0
    clock_offset_ms_max: int = 0
    partition_ms: int = 0
    """Every so long, the members are cut in two for the same time."""
    silent_members: int = 0
    lying_members: int = 0
    stale_members: int = 0
    """Members that lose their newest blocks at a restart, but not their sign state."""
    wild_clocks: int = 0
    """Members whose clock jumps by up to an hour; the others' jump by up to a second."""


class Crashed(Exception):  # noqa: N818  (not an error: an event of the simulation)
    """The process died here."""


class Host:
    """One member: carries out effects in their order, as the daemon's driver does."""

    def __init__(self, network: "Network", index: int) -> None:
        self.network = network
        self.key = network.keys[index]
        self.disk = Disk()
        self.requests: dict[int, int] = {}
        self.is_up = True
        self.is_stale = False
        self.has_wild_clock = False
        self.paused_until_ms = 0
        self.crash_point: str | None = None
        """Where a directed scenario wants this host to die next."""
        self.events: deque[Event] = deque()
        span = network.faults.clock_offset_ms_max
        self.clock_offset_ms = network.random.randint(-span, span) if span else 0

    @property
    def done(self) -> set[int]:
        return {request for decided in self.disk.chain for request in read_block(decided.proposal)[3]}

    def now(self) -> Instant:
        at_ms = self.network.now_ms
        return Instant(monotonic_ms=at_ms, clock_ms=at_ms + self.clock_offset_ms)

    def restart(self) -> None:
        """Starts with nothing but the disk."""
        self.is_up = True
        disk = self.disk
        if self.is_stale:
            lost = self.network.random.randint(0, min(3, len(disk.chain)))
            disk.chain = disk.chain[: len(disk.chain) - lost]
            disk.voted = disk.prepared = None
        self.requests = {request: at_ms for request, at_ms in self.requests.items() if request not in self.done}
        self.replica = Replica(
            signer=self.key,
            parameters=Parameters(chain=CHAIN, slot_duration_ms=TAU_MS, attempt_max_ms=60_000),
            start=Start(
                height=Height(len(disk.chain) + 1),
                membership=self.network.membership,
                tip=disk.tip,
                parent_slot=disk.tip_slot,
                sign_state=disk.sign_state,
                voted=disk.voted,
                prepared=disk.prepared,
            ),
            now=self.now(),
        )
        for member in self.network.membership.addresses:
            if member != self.key.address:
                self.post(Connected(member=member))
        self.tell_work()

    def submit(self, request: int) -> None:
        if request not in self.done:
            self.requests.setdefault(request, self.network.now_ms)
            self.tell_work()

    def tell_work(self) -> None:
        if self.is_up:
            self.post(WorkWaiting(oldest_arrival_ms=min(self.requests.values(), default=None)))

    # --- effects ------------------------------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """Steps the replica with an event, after all earlier ones."""
        self.events.append(event)
        if len(self.events) > 1:
            return
        try:
            while self.events:
                self.carry_out(self.replica.step(self.events[0], self.now()))
                self.events.popleft()
        except Crashed:
            self.crash()

    def crash(self) -> None:
        self.events.clear()
        self.is_up = False
        self.network.push(self.network.random.randint(100, 3_000), "restart", self, None)

    def reach(self, point: str) -> None:
        is_drawn = self.network.is_faulty and self.network.random.random() < self.network.faults.crash_per_point
        if is_drawn or self.crash_point == point:
            self.crash_point = None
            raise Crashed

    def carry_out(self, effects: Effects) -> None:
        self.persist(effects)
        for send in effects.send:
            self.reach("sending")
            for recipient in send.recipients:
                self.network.send(self, recipient, send.message)
        for answer in effects.send_decided:
            first = answer.first - 1
            for decided in self.disk.chain[first : first + DECIDED_RUN_MAX]:
                self.network.send(self, answer.recipient, decided)
        for evidence in effects.evidence:
            self.network.checker.note_evidence(evidence, self.network.liars)
        for arrived in effects.verify:
            self.verify(arrived)
        for request in effects.validate:
            slot = self.validate(request.height, request.proposal)
            self.network.later(self, Validated(height=request.height, block=request.block, header_slot=slot))
        if effects.propose is not None:
            self.propose(effects.propose)
        if effects.apply is not None:
            self.apply(effects.apply)

    def persist(self, effects: Effects) -> None:
        """Proposals and certificates in one write, then the sign state that names them."""
        if effects.voted is not None or effects.prepared is not None:
            self.reach("records")
            self.disk.voted = effects.voted or self.disk.voted
            self.disk.prepared = effects.prepared or self.disk.prepared
        if effects.sign_state is not None:
            self.reach("sign state")
            self.disk.sign_state = effects.sign_state

    def verify(self, arrived: Arrived) -> None:
        message = arrived.message
        if isinstance(message, PrePrepare | Body) and name_of(message.proposal) != message.block:
            return
        if isinstance(message, Decided) and name_of(message.proposal) != message.certificate.block:
            return
        result = verify_message(message, self.replica.membership, CHAIN)
        if isinstance(result, Verified):
            self.events.append(Received(sender=arrived.sender, message=result))

    def validate(self, height: Height, proposal: bytes) -> Slot | None:
        parent, slot, leader, requests = read_block(proposal)
        valid = (
            height == len(self.disk.chain) + 1
            and parent == self.disk.tip
            and slot >= self.disk.tip_slot
            and leader == self.replica.leader_at(slot)
            and not self.done & set(requests)
        )
        return slot if valid else None

    def propose(self, request: ProposeRequest) -> None:
        requests = tuple(sorted(self.requests))[:4]
        block, proposal = None, b""
        if requests or request.may_be_empty:
            proposal = encode((self.disk.tip, request.slot, self.key.address, requests))
            block = name_of(proposal)
        self.network.later(self, Proposed(height=request.height, slot=request.slot, block=block, proposal=proposal))

    def apply(self, decision: Decision) -> None:
        """One write appends the block and drops the records of its height."""
        self.network.checker.note_decided(self, decision)
        self.reach("block")
        self.disk.chain.append(Decided(certificate=decision.certificate, proposal=decision.proposal))
        self.disk.voted = self.disk.prepared = None
        self.reach("applied")
        _, slot, _, requests = read_block(decision.proposal)
        for request in requests:
            self.requests.pop(request, None)
        self.events.append(WorkWaiting(oldest_arrival_ms=min(self.requests.values(), default=None)))
        self.events.append(
            Applied(
                height=decision.height,
                block=decision.block,
                header_slot=slot,
                membership=self.network.membership,
            )
        )


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
        self.cut: set[Address] = set()
        """One side of a partition; empty while there is none."""
        self.told: set[tuple[Address, bytes]] = set()
        self.hosts = [Host(self, index) for index in range(members)]
        self.by_address = {host.key.address: host for host in self.hosts}
        self.assign_roles()
        for host in self.hosts:
            host.restart()
            self.push(self.random.randint(0, TICK_MS), "tick", host, None)
        if faults.partition_ms:
            self.push(faults.partition_ms, "partition", self.hosts[0], None)

    def assign_roles(self) -> None:
        """At most F members lie, are silent, lose blocks or have a clock that jumps by up to an hour."""
        addresses, faults = list(self.membership.addresses), self.faults
        roles = ["liar"] * faults.lying_members + ["silent"] * faults.silent_members
        roles += ["stale"] * faults.stale_members + ["wild"] * faults.wild_clocks
        self.random.shuffle(addresses)
        self.random.shuffle(roles)
        chosen = list(zip(addresses, roles[: fault_bound(len(addresses))], strict=False))
        self.liars = {address for address, role in chosen if role == "liar"}
        self.silent = {address for address, role in chosen if role == "silent"}
        for address, role in chosen:
            self.by_address[address].is_stale = role == "stale"
            self.by_address[address].has_wild_clock = role == "wild"

    @property
    def is_faulty(self) -> bool:
        return self.now_ms < self.faults.until_ms

    def push(self, delay_ms: int, kind: str, host: Host, payload: object) -> None:
        self.sequence += 1
        heapq.heappush(self.queue, (self.now_ms + delay_ms, self.sequence, kind, host, payload))

    def later(self, host: Host, event: Event) -> None:
        self.push(self.random.randint(0, 5), "event", host, (host.replica, event))

    # --- messages -----------------------------------------------------------------------------------------------

    def send(self, host: Host, recipient: Address, message: Message) -> None:
        sender = host.key.address
        if sender in self.silent:
            return
        if sender in self.liars:
            message = self.equivocate(host, recipient, message)
        else:
            self.checker.note_sent(host, message)
        self.deliver(sender, recipient, message)

    def deliver(self, sender: Address, recipient: Address, message: Message) -> None:
        faults = self.faults if self.is_faulty else replace(self.faults, loss=0, duplication=0)
        if (sender in self.cut) != (recipient in self.cut) and sender not in self.liars:
            return
        for _ in range(1 + (self.random.random() < faults.duplication)):
            if self.random.random() >= faults.loss:
                delay_ms = self.random.randint(1, faults.delay_ms_max)
                self.push(delay_ms, "message", self.by_address[recipient], (sender, message))

    def equivocate(self, host: Host, recipient: Address, message: Message) -> Message:
        """A lying leader sends another valid block to every second member, a lying claimant claims nothing."""
        if self.membership.addresses.index(recipient) % 2:
            return message
        if isinstance(message, PrePrepare) and message.justification is None:
            parent, slot, leader, _ = read_block(message.proposal)
            proposal = encode((parent, slot, leader, ()))
            block = name_of(proposal)
            signature = host.key.sign(vote_bytes(CHAIN, message.height, message.slot, block))
            return msgspec.structs.replace(message, block=block, signature=signature, proposal=proposal)
        if isinstance(message, ViewChange):
            signature = host.key.sign(view_change_bytes(CHAIN, message.height, message.slot, None))
            return msgspec.structs.replace(message, claim=None, certificate=None, signature=signature)
        return message

    def agree_with_everything(self, liar: Host, message: Message) -> None:
        """A liar votes for, and commits to, whatever it hears of, once each."""
        if not isinstance(message, PrePrepare | Prepare | Commit):
            return
        height, slot, block, key = message.height, message.slot, message.block, liar.key
        statement = vote_bytes(CHAIN, height, slot, block)
        if (key.address, statement) in self.told:
            return
        self.told.add((key.address, statement))
        for kind, signed in ((Prepare, statement), (Commit, commit_bytes(CHAIN, height, slot, block))):
            own = kind(height=height, slot=slot, block=block, signer=key.address, signature=key.sign(signed))
            for recipient in self.membership.addresses:
                if recipient != key.address:
                    self.deliver(key.address, recipient, own)

    # --- time ---------------------------------------------------------------------------------------------------

    def run(self, until: Callable[[], bool], limit_ms: int) -> bool:
        """Runs until the condition holds; False if `limit_ms` of virtual time pass first."""
        end_ms = self.now_ms + limit_ms
        while self.queue and self.now_ms < end_ms:
            if until():
                return True
            self.now_ms, _, kind, host, payload = heapq.heappop(self.queue)
            self.handle(kind, host, payload)
        return until()

    def handle(self, kind: str, host: Host, payload: object) -> None:
        if self.now_ms < host.paused_until_ms:
            self.push(host.paused_until_ms - self.now_ms, kind, host, payload)
        elif kind == "tick":
            self.tick(host)
        elif kind == "restart":
            host.restart()
        elif kind == "partition":
            self.change_partition(host)
        elif not host.is_up:
            return
        elif kind == "message":
            sender, message = payload  # type: ignore[misc]
            if host.key.address in self.liars:
                self.agree_with_everything(host, message)
            host.post(Arrived(sender=sender, message=message))
        elif kind == "event":
            replica, event = payload  # type: ignore[misc]
            if replica is host.replica:
                host.post(event)

    def tick(self, host: Host) -> None:
        self.push(TICK_MS, "tick", host, None)
        faults, draw = self.faults, self.random.random
        if self.is_faulty and host.is_up:
            if draw() < faults.pause_per_tick:
                host.paused_until_ms = self.now_ms + self.random.randint(TAU_MS, 20 * TAU_MS)
            if draw() < faults.clock_jump_per_tick:
                jump_ms_max = 3_600_000 if host.has_wild_clock else 1_000
                host.clock_offset_ms = self.random.randint(-jump_ms_max, jump_ms_max)
            if draw() < faults.crash_per_tick:
                host.crash()
        if host.is_up:
            host.post(Tick())

    def change_partition(self, host: Host) -> None:
        addresses = self.membership.addresses
        is_cut = self.is_faulty and not self.cut
        self.cut = set(self.random.sample(addresses, self.random.randint(1, len(addresses)))) if is_cut else set()
        if self.is_faulty:
            self.push(self.faults.partition_ms, "partition", host, None)

    # --- what tests ask for -------------------------------------------------------------------------------------

    def submit_everywhere(self, request: int) -> None:
        for host in self.hosts:
            host.submit(request)

    def honest(self) -> list[Host]:
        return [host for host in self.hosts if host.key.address not in self.silent | self.liars]


def run_requests(network: Network, *, requests: int, spread_ms: int, limit_ms: int) -> bool:
    """Submits so many requests over a time; says whether every honest member executed all of them in time."""
    submitted = 0
    started_ms = network.now_ms

    def is_done() -> bool:
        nonlocal submitted
        while submitted < requests and network.now_ms >= started_ms + submitted * spread_ms // requests:
            network.submit_everywhere(submitted)
            submitted += 1
        executed = set(range(requests))
        return submitted == requests and all(executed <= host.done for host in network.honest())

    return network.run(is_done, limit_ms)
