"""A simulated network: production replicas on a virtual clock, network and disk, driven by one seed.

Loses, delays, duplicates and reorders messages, cuts the network in two, pauses members, makes their clocks jump and
drift, crashes them at any durable step and restarts them with what they had persisted. Everything that happens is
hashed: the same seed gives the same trace.
"""

import heapq
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NoReturn, Protocol

import structlog

from consensus.codec import DecodeError, encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Address
from consensus.membership import Membership
from consensus.messages import (
    Commit,
    Decided,
    HeightAnswer,
    HeightQuestion,
    Message,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
)
from consensus.quorum import fault_bound
from node.chain.participant import ChainMessage
from node.mesh.messages import Blocks, BlocksRequest, Frame, decode_peer_message
from tests.simulation.application import Application
from tests.simulation.checker import Checker
from tests.simulation.faults import CALM_DELAY_MS_MAX, STRAGGLER_MS_MAX, Cut, Faults, Role
from tests.simulation.host import TAU_MS, Host
from tests.simulation.link_patterns import Pattern, mixed
from tests.simulation.opaque import OpaqueApplication
from tests.simulation.signing import Key

TICK_MS = 25
LOOK_MS = 25
"""How often a run looks whether it is finished."""
MEMORY_LOOK_MS = 1_000
WILD_JUMP_MS = 600_000
JOINT_JUMP_MS_MAX = 60_000
"""Who starts while all clocks are wrong acts by them, and may have to wait for so long after."""
START_MS = 1_000
ELSEWHERE_MS_MAX = 5
"""To verify a block's requests."""
FORGOTTEN_MS_MAX = 20_000
"""Who is to lose something loses it within so long."""
RECOVERY_SLOTS_MAX = 800
"""Once faults end, everything is executed within so many slots."""

Payload = ChainMessage | tuple[bytes, ...]
"""What travels: a message of consensus, recovery or block sync, or requests."""


PASSED_ON = (PrePrepare, Prepare, Commit, ViewChange, Status, HeightQuestion, HeightAnswer)
"""What members pass on for others."""


def author_of(payload: Payload) -> Address | None:
    """Returns whose words a message is made of, where that is one member."""
    named = (getattr(payload, name, None) for name in ("signer", "origin", "asker"))
    return next((name for name in named if name is not None), None)


class Observer(Protocol):
    """Draws what happens; changes nothing."""

    def on_message(
        self, *, sent_ms: int, arrival_ms: int | None, sender: Host, recipient: Host, payload: Payload
    ) -> None: ...
    def on_note(self, at_ms: int, host: Host, text: str) -> None: ...


def seeded_keys(members: int) -> list[SigningKey]:
    return [SigningKey(bytes([index + 1]) * 32) for index in range(members)]


def drop_logs() -> None:
    """What members log is for people who watch one; of a run the trace tells more."""

    def drop(*_: object) -> NoReturn:
        raise structlog.DropEvent

    logger_class = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(processors=[drop], wrapper_class=logger_class)


class Network:
    """All members, the messages between them, and the virtual time."""

    def __init__(
        self,
        members: int,
        seed: int,
        faults: Faults,
        *,
        keys: Sequence[Key] | None = None,
        application: Callable[[Membership, int], Application] | None = None,
        roles: Mapping[int, Role] | None = None,
        tick_ms: int = TICK_MS,
        is_encoded: bool = False,
        observer: Observer | None = None,
    ) -> None:
        """Starts all members.

        Args:
            members: N.
            seed: of all randomness.
            faults: what goes wrong.
            keys: of the members; Ed25519 by default.
            application: what a member executes, by its number; opaque blocks by default.
            roles: by member's number, in the place of a draw from `faults.roles`.
            tick_ms: how often hosts hear that time passed.
            is_encoded: whether messages travel as bytes.
            observer: to draw the run.
        """
        drop_logs()
        self.random = random.Random(seed)
        self.faults = faults
        self.keys: list[Key] = [*(keys or seeded_keys(members))]
        self.membership = Membership.of_keys([key.public_key for key in self.keys])
        self.now_ms = START_MS
        self.queue: list[tuple[int, int, str, Host | None, object]] = []
        self.sequence = 0
        self.checker = Checker()
        self._looked_at: tuple[Host | None, Payload | None, int] = (None, None, 0)
        self.trace = blake2b(digest_size=16)
        self.occurred: Counter[str] = Counter()
        """What really went wrong, and how often."""
        self.tick_ms = tick_ms
        self.is_encoded = is_encoded
        self.observer = observer
        self.cut: frozenset[Address] = frozenset()
        """One side of a partition; empty while there is none."""
        self.is_lost: Callable[[Host, Host, Payload], bool] = self.is_cut_off
        self.hosts = self.make_hosts(application or self.opaque_application, roles or self.draw_roles())
        self.dead_links = faults.dead_links | self.draw_dead_links()
        self.honest = [host for host in self.hosts if host.is_honest]
        self.byzantine = frozenset(host.key.address for host in self.hosts if not host.is_honest)
        self.by_address: dict[Address, list[Host]] = {}
        for host in self.hosts:
            self.by_address.setdefault(host.key.address, []).append(host)
        for host in self.hosts:
            host.start()
            self.push(self.random.randint(0, tick_ms), "tick", host, None)
            self.push(self.random.randint(0, MEMORY_LOOK_MS), "memory", host, None)
        if faults.partition_ms:
            self.push(faults.partition_ms, "partition", None, None)
        if faults.joint_jump_ms:
            self.push(faults.joint_jump_ms, "joint jump", None, 0)
        self.plan_absences()

    def opaque_application(self, membership: Membership, index: int) -> Application:
        application = OpaqueApplication(membership, membership.addresses[index])
        application.request_size_bytes = self.faults.request_size_bytes
        return application

    def draw_roles(self) -> dict[int, Role]:
        """At most F members get a role."""
        numbers = list(range(len(self.keys)))
        self.random.shuffle(numbers)
        return dict(zip(numbers[: fault_bound(len(numbers))], self.faults.roles, strict=False))

    def draw_dead_links(self) -> Pattern:
        if not self.faults.dead_link_share:
            return frozenset()
        steady = [host.index for host in self.hosts if host.role is None]
        return mixed(len(self.keys), steady, self.faults.dead_link_share, self.random)

    def make_hosts(
        self, application: Callable[[Membership, int], Application], roles: Mapping[int, Role]
    ) -> list[Host]:
        """A twin is one more host under the same key, at the end of the list."""
        copied = [number for number in sorted(roles) if roles[number] is Role.TWIN]
        return [
            Host(
                self,
                index=index,
                key=self.keys[number],
                application=application(self.membership, number),
                role=roles.get(number),
            )
            for index, number in enumerate([*range(len(self.keys)), *copied])
        ]

    def plan_absences(self) -> None:
        """Some members are away for long; who is to lose something at a restart has one."""
        until_ms = self.faults.until_ms
        for host in self.random.sample(self.honest, self.faults.absent):
            self.push(START_MS, "absence", host, until_ms - 2 * START_MS)
        for host in self.honest:
            if host.may_lose_blocks:
                moment_ms = self.random.randint(START_MS, min(until_ms, FORGOTTEN_MS_MAX))
                self.push(moment_ms - START_MS, "absence", host, self.random.randint(TAU_MS, START_MS))

    def close(self) -> None:
        for host in self.hosts:
            host.application.close()

    @property
    def is_faulty(self) -> bool:
        return self.now_ms < self.faults.until_ms

    def push(self, delay_ms: int, kind: str, host: Host | None, payload: object) -> None:
        self.sequence += 1
        heapq.heappush(self.queue, (self.now_ms + delay_ms, self.sequence, kind, host, payload))

    def later(self, host: Host, then: Callable[[], None]) -> None:
        """Calls a process back when what it has done elsewhere is done, if it is still there."""
        self.push(host.busy_ms + self.draw_elsewhere_ms(), "back", host, (host.lives, then))

    def draw_elsewhere_ms(self) -> int:
        return self.random.randint(0, ELSEWHERE_MS_MAX)

    def note(self, host: Host, text: str) -> None:
        self.trace.update(f"{self.now_ms} {host.index} {text}\n".encode())
        if self.observer is not None:
            self.observer.on_note(self.now_ms, host, text)

    # --- messages -----------------------------------------------------------------------------------------------

    def send(self, host: Host, recipient: Address, payload: Payload) -> None:
        if host.liar is None:
            self.look_at(host, payload)
            if isinstance(payload, PASSED_ON) and host.key.address != author_of(payload):
                self.occurred[f"{type(payload).__name__} was passed on"] += 1
            assert getattr(payload, "signer", None) != recipient, "a statement goes to who signed it"
            self.deliver(host, recipient, payload)
            return
        for held_back_ms, told in host.liar.outgoing(recipient, payload):
            self.deliver(host, recipient, told, held_back_ms)

    def look_at(self, host: Host, payload: Payload) -> None:
        """Has the checker judge what an honest member sends, once for all that it goes to at that moment."""
        host_before, payload_before, before_ms = self._looked_at
        if host is not host_before or payload is not payload_before or self.now_ms != before_ms:
            self._looked_at = host, payload, self.now_ms
            self.checker.note_sent(host, payload)

    def pass_on(self, host: Host, requests: tuple[bytes, ...]) -> None:
        """Sends requests to all other members."""
        others = [address for address in self.membership.addresses if address != host.key.address]
        self.send_requests(host, others, requests)

    def send_requests(self, host: Host, recipients: Iterable[Address], requests: tuple[bytes, ...]) -> None:
        if host.role is Role.SILENT:
            return
        for recipient in recipients:
            self.deliver(host, recipient, requests)

    def deliver(self, sender: Host, recipient: Address, payload: Payload, held_back_ms: int = 0) -> None:
        for host in self.by_address[recipient]:
            copies = 1 + (self.is_faulty and self.random.random() < self.faults.duplication)
            self.occurred["a message was doubled"] += copies - 1
            for _ in range(copies):
                delay_ms = sender.busy_ms + held_back_ms + self.draw_delay_ms()
                is_lost = (self.is_faulty and self.random.random() < self.faults.loss) or self.is_lost(
                    sender, host, payload
                )
                is_dead = (sender.index, host.index) in self.dead_links
                self.occurred["a message was sent over a dead link"] += is_dead
                is_lost |= is_dead
                self.occurred["a message was lost"] += is_lost
                if self.observer is not None:
                    arrival_ms = None if is_lost else self.now_ms + delay_ms
                    self.observer.on_message(
                        sent_ms=self.now_ms, arrival_ms=arrival_ms, sender=sender, recipient=host, payload=payload
                    )
                if not is_lost:
                    self.push(delay_ms, "message", host, (sender.key.address, payload))

    def draw_delay_ms(self) -> int:
        if not self.is_faulty:
            return self.random.randint(1, CALM_DELAY_MS_MAX)
        if self.random.random() < self.faults.straggling:
            return self.random.randint(1, STRAGGLER_MS_MAX)
        return self.random.randint(1, self.faults.delay_ms_max)

    def is_cut_off(self, sender: Host, recipient: Host, _payload: Payload) -> bool:
        """Liars reach everybody."""
        if not self.cut or not sender.is_honest:
            return False
        is_inside, is_to_inside = sender.key.address in self.cut, recipient.key.address in self.cut
        if self.faults.cut is Cut.ONE_WAY:
            return is_inside and not is_to_inside
        return is_inside != is_to_inside

    def connected(self, host: Host) -> frozenset[Address]:
        """One direction that lives is enough: who asks over such a link must cope with answers that never come."""
        return frozenset(
            other.key.address
            for other in self.hosts
            if other.is_up
            and other.key is not host.key
            and not {(host.index, other.index), (other.index, host.index)} <= self.dead_links
        )

    # --- time ---------------------------------------------------------------------------------------------------

    def run(self, until: Callable[[], bool], limit_ms: int) -> bool:
        """Runs until the condition holds; False if `limit_ms` of virtual time pass first."""
        end_ms = self.now_ms + limit_ms
        looked_ms = self.now_ms - LOOK_MS
        while self.queue and self.now_ms < end_ms:
            if self.now_ms - looked_ms >= LOOK_MS:
                looked_ms = self.now_ms
                if until():
                    return True
            self.now_ms, _, kind, host, payload = heapq.heappop(self.queue)
            self.handle(kind, host, payload)
        return until()

    def handle(self, kind: str, host: Host | None, payload: object) -> None:
        if host is None:
            self.trouble_all(kind, payload)
        elif self.now_ms < host.paused_until_ms:
            is_tick = kind == "tick"  # what arrived during the pause goes first, as in the driver
            self.push(host.paused_until_ms - self.now_ms + is_tick, kind, host, payload)
        elif kind == "tick":
            self.tick(host)
        elif kind == "start":
            self.note(host, "start")
            host.start()
        elif kind == "absence":
            assert isinstance(payload, int)
            host.crash(absent_ms=payload)
        elif kind == "submit":
            assert isinstance(payload, int)
            host.submit(payload)
        elif kind == "memory":
            self.push(MEMORY_LOOK_MS, "memory", host, None)
            self.checker.note_memory(host)
        elif kind == "message":
            sender, message = payload  # type: ignore[misc]
            self.arrive(host, sender, message)
        else:
            life, then = payload  # type: ignore[misc]
            self.note(host, "back")
            if host.is_up and life == host.lives:
                host.survive(then)

    def arrive(self, host: Host, sender: Address, payload: Payload) -> None:
        self.note_arrival(host, sender, payload)
        if not host.is_up:
            return
        if isinstance(payload, tuple):
            host.take_from(sender, payload)
            return
        if host.liar is not None and isinstance(payload, Message):
            host.liar.on_message(payload)
        if self.is_encoded:
            try:
                payload = decode_peer_message(encode(Frame(message=payload)))
            except DecodeError as malformed:  # as a link of the mesh, which passes nothing on
                host.note_refused(malformed.reason.value, sender)
                return
        host.receive(sender, payload)  # type: ignore[arg-type]

    def note_arrival(self, host: Host, sender: Address, payload: Payload) -> None:
        what = label_of(payload)
        self.trace.update(f"{self.now_ms} {host.index} {sender[:4].hex()} {what}\n".encode())

    def tick(self, host: Host) -> None:
        self.push(self.tick_ms, "tick", host, None)
        if self.is_faulty and host.is_up:
            self.trouble(host)
        if host.is_up:
            host.tick()

    def trouble(self, host: Host) -> None:
        """What may happen to a host at any time."""
        faults, draw = self.faults, self.random.random
        share = self.tick_ms / TICK_MS
        if draw() < faults.pause_per_tick * share:
            paused_until_ms = self.now_ms + self.random.randint(TAU_MS, 20 * TAU_MS)
            host.paused_until_ms = min(paused_until_ms, faults.until_ms)
            self.note(host, "pause")
            self.occurred["a member paused"] += 1
        if draw() < faults.clock_jump_per_tick * share:
            jump_ms_max = 3_600_000 if host.role is Role.WILD_CLOCK else 1_000
            host.clock_offset_ms = self.random.randint(-jump_ms_max, jump_ms_max)
            self.note(host, "clock jumps")
            is_wild = abs(host.clock_offset_ms) > WILD_JUMP_MS
            self.occurred["a clock jumped by more than ten minutes" if is_wild else "a clock jumped"] += 1
        if draw() < faults.crash_per_tick * share:
            host.crash()

    def trouble_all(self, kind: str, payload: object) -> None:
        """What happens to all hosts at once."""
        if kind == "partition":
            self.change_partition()
        elif self.is_faulty:
            assert isinstance(payload, int)
            self.jump_together(payload)

    def jump_together(self, shift_ms: int) -> None:
        """All clocks jump, as those of one time server's clients do, and half of the times they are right again."""
        next_ms = 0
        if not shift_ms or self.random.random() < 0.5:
            next_ms = self.random.randint(-JOINT_JUMP_MS_MAX, JOINT_JUMP_MS_MAX)
        for host in self.hosts:
            host.clock_offset_ms += next_ms - shift_ms
        self.occurred["all clocks jumped together"] += 1
        self.push(self.faults.joint_jump_ms, "joint jump", None, next_ms)

    def change_partition(self) -> None:
        addresses = self.membership.addresses
        is_cut = self.is_faulty and not self.cut
        flaps = "flapping " if self.faults.partition_ms < TAU_MS else ""
        self.occurred[f"a {flaps}{self.faults.cut.value} partition"] += is_cut
        chosen = self.random.sample(addresses, self.random.randint(1, len(addresses))) if is_cut else ()
        self.cut = frozenset(chosen)
        if self.is_faulty:
            self.push(self.faults.partition_ms, "partition", None, None)

    # --- what tests ask for -------------------------------------------------------------------------------------

    def is_everything_executed(self) -> bool:
        """Says whether all that clients asked of honest members is executed, by all honest members."""
        return not any(host.asked for host in self.honest) and (
            min(host.application.height for host in self.honest) >= max(host.answered_height for host in self.honest)
        )


def label_of(message: Payload) -> str:
    """Returns a message's kind, height, slot and block."""
    if isinstance(message, tuple):
        return f"{len(message)} requests"
    match message:
        case HeightQuestion():
            what = ""
        case BlocksRequest():
            what = f"{message.first} {message.count}"
        case Blocks():
            what = f"{message.first} {len(message.blocks)}"
        case Status() | HeightAnswer():
            what = f"{message.undecided} {getattr(message, 'clock_slot', '')}"
        case Decided():
            what = f"{message.certificate.height} {message.certificate.block[:4].hex()}"
        case _:
            block = getattr(message, "block", None) or getattr(getattr(message, "claim", None), "block", b"")
            what = f"{message.height} {getattr(message, 'slot', '')} {block[:4].hex()}"
    return f"{type(message).__name__} {what}"


def run_requests(network: Network, *, requests: int, spread_ms: int, limit_ms: int) -> bool:
    """Has clients ask each honest member in turn, over a time; says whether every honest member executed it all."""
    last_ms = network.now_ms
    for number in range(requests):
        delay_ms = number * spread_ms // requests
        last_ms = network.now_ms + delay_ms
        network.push(delay_ms, "submit", network.honest[number % len(network.honest)], number)
    return network.run(lambda: network.now_ms > last_ms and network.is_everything_executed(), limit_ms)


def outlive_faults(network: Network, *, requests: int, until_ms: int) -> None:
    """Has clients ask while faults last, and asserts that all honest members execute it, and are up, soon after."""
    after_ms = RECOVERY_SLOTS_MAX * TAU_MS
    is_done = run_requests(network, requests=requests, spread_ms=until_ms - 2_000, limit_ms=until_ms + after_ms)
    assert is_done, f"stuck at heights {[host.application.height for host in network.hosts]}"
    assert network.run(lambda: all(host.is_up for host in network.honest), after_ms), "a member stays down"
