"""One simulated member: the production participant (driver, block sync, sign recovery) on a virtual disk, network and
clock.

Where the participant makes something durable, a run may end the process: before the write, in the middle of it (torn,
as far as the medium allows), or after it. What is left is what the next process finds.
"""

import errno
from collections import deque
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from consensus.codec import decode, encode
from consensus.events import BlockOrigin, Decision, Instant, SignState, forgetful_sign_state, fresh_sign_state
from consensus.evidence import Equivocation
from consensus.identifiers import FIRST_HEIGHT, Address, Digest, Height, Slot
from consensus.member import KeyRing, Parameters, Signer
from consensus.replica import Replica
from ledger.errors import LedgerDamaged
from node.chain.block_sync import PLAN_INTERVAL_S
from node.chain.participant import ChainMessage, Participant, Ports
from node.chain.sign_recovery import ASK_INTERVAL_S
from node.chain.sync_planner import SyncFault
from node.errors import SignStateError, SignStateFault
from node.home.sign_state import SignStateStore
from node.mesh.messages import Blocks, BlocksRequest
from tests.simulation.application import Application, Records, SignDevice
from tests.simulation.byzantine import Liar
from tests.simulation.faults import BYZANTINE, Role

if TYPE_CHECKING:
    from tests.simulation.network import Network

TAU_MS = 250
ATTEMPT_MAX_MS = 60_000
RESTART_MS_MAX = 3_000
PASS_ON_MS = 2 * TAU_MS
"""Requests that wait longer are passed on again, as often."""
ASK_MS = int(ASK_INTERVAL_S * 1_000)
PLAN_MS = int(PLAN_INTERVAL_S * 1_000)

BACKUPS_MAX = 4
BLOCK_FAULTS = frozenset(fault.value for fault in SyncFault)


class Crashed(BaseException):
    """The process died here. Nothing in it can catch that."""


class OnDisk:
    """An application whose durable writes may each be the last thing that its process does."""

    def __init__(self, host: "Host") -> None:
        self._host = host

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host.application, name)

    def check(self, proposal: bytes) -> BlockOrigin | None:
        self._host.work(self._host.network.faults.slow_execution_ms_max)
        return self._host.application.check(proposal)

    def build(self, slot: Slot, *, may_be_empty: bool) -> tuple[Digest, bytes] | None:
        self._host.work(self._host.network.faults.slow_execution_ms_max)
        return self._host.application.build(slot, may_be_empty=may_be_empty)

    def persist(self, records: Records) -> None:
        """Proposals, certificates and the copy of the sign state in one write."""
        host, application = self._host, self._host.application
        host.write("records", lambda random: application.tear_persist(records, random))
        application.persist(records)

    def append(self, decision: Decision) -> None:
        """One write appends the block and drops the records of its height; only then others are told."""
        host, application = self._host, self._host.application
        host.network.checker.note_decided(host, decision)
        host.write("block", lambda random: application.tear_append(decision, random))
        application.append(decision)
        host.network.checker.note_appended(host)
        host.network.note(host, f"decided {decision.height}")
        host.reach("applied")
        host.ask_again()


class Host:
    """One process with its disk, its clock and its clients."""

    def __init__(
        self, network: "Network", *, index: int, key: Signer, application: Application, role: Role | None
    ) -> None:
        self.network = network
        self.index = index
        self.key = key
        self.keys = KeyRing(key)
        self.next_key: Signer | None = None
        """On its disk from the start, where a run has it exchange its key."""
        self.application = application
        application.monotonic_ms = lambda: self.now().monotonic_ms
        self.role = role
        self.is_honest = role not in BYZANTINE
        self.liar = None if self.is_honest else Liar(self, role)
        self.sign_device = self.new_sign_device(fresh_sign_state(Height(1)))
        self.signed: SignStateStore
        self.participant: Participant
        self.is_up = False
        self.backups: deque[bytes] = deque(maxlen=BACKUPS_MAX)
        """Of the sign state, one before each of the last writes."""
        self.has_participant = False
        """This process's, not one of an earlier process."""
        self.was_unanswered = False
        self.lives = 0
        """Processes so far."""
        self.paused_until_ms = 0
        self.busy_ms = 0
        """What the present step has taken so far."""
        self.crash_point: str | None = None
        """Where a directed scenario wants this host to die next."""
        self.asked: dict[int, bytes] = {}
        """Requests of this host's clients that are not answered yet, by number. Clients outlive crashes."""
        self.answered_height = Height(0)
        """Highest height at which a client was told that its request is executed."""
        self.passed_on_ms = self.asked_ms = self.planned_ms = -PASS_ON_MS
        self._sending: object = None
        """The last message that was sent; to how many counts as one step."""
        self._earlier_view_changes = 0
        faults, draw = network.faults, network.random.randint
        span_ms, drift = faults.clock_offset_ms_max, faults.drift_per_million_max
        self.clock_offset_ms = draw(-span_ms, span_ms) if span_ms else 0
        self.drift_per_million = draw(-drift, drift) if drift else 0

    def give_next_key(self, key: Signer) -> None:
        self.next_key = key
        self.keys.add(key)

    # --- what tests look at -------------------------------------------------------------------------------------

    @property
    def replica(self) -> Replica:
        return self.participant.driver._replica

    @property
    def sign_state(self) -> SignState:
        """As durable now."""
        return decode(self.signed.load(), SignState)

    @property
    def view_changes(self) -> int:
        """VIEW-CHANGEs sent by all processes of this host."""
        return self._earlier_view_changes + (self.replica.view_changes_sent if self.has_participant else 0)

    @property
    def may_lose_blocks(self) -> bool:
        return self.role in {Role.LOSES_BLOCKS, Role.BIT_ROT, Role.FORGETS}

    @property
    def may_forget(self) -> bool:
        return not self.is_honest or self.role in {Role.BIT_ROT, Role.FORGETS, Role.OLD_SIGN_STATE}

    def now(self) -> Instant:
        at_ms = self.network.now_ms + self.busy_ms
        monotonic_ms = at_ms + at_ms * self.drift_per_million // 1_000_000
        return Instant(monotonic_ms=monotonic_ms, clock_ms=monotonic_ms + self.clock_offset_ms)

    def work(self, duration_ms_max: int) -> None:
        """Something takes a while in which the process does nothing else."""
        if duration_ms_max and self.network.is_faulty:
            self.busy_ms += self.network.random.randint(0, duration_ms_max)

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts with nothing but the disk."""
        self.is_up = True
        self.lives += 1
        self.asked_ms = self.planned_ms = -ASK_MS
        self.application.start()
        self.survive(self.make_participant)
        self.ask_again()

    def make_participant(self) -> None:
        network = self.network
        self.signed = self.open_sign_state()
        network.checker.note_started(self)
        self.participant = Participant(
            keys=self.keys,
            parameters=Parameters(
                slot_duration_ms=TAU_MS,
                attempt_max_ms=ATTEMPT_MAX_MS,
                clock_settle_ms=network.faults.clock_settle_ms,
            ),
            application=OnDisk(self),
            sign_state=self.signed,
            ports=Ports(
                now=self.now,
                send=self.send,
                send_bulk=self.send,
                connected=self.connected,
                verify_ahead=self.verify_ahead,
                draw=network.random.randbytes,
                evidence=self.note_evidence,
                failed=self.fail,
                refused=self.note_refused,
                phase_ended=lambda _: None,
            ),
        )
        self.has_participant = True

    def new_sign_device(self, signed: SignState) -> SignDevice:
        return self.sign_device_of(SignStateStore.content(encode(signed)))

    def sign_device_of(self, content: bytes) -> SignDevice:
        return SignDevice(content, self.before_sign_state)

    def before_sign_state(self, tear: Callable[[Random], None]) -> None:
        if self.role is Role.OLD_SIGN_STATE:
            self.backups.append(self.sign_device.read())
        self.write("sign state", tear)

    def open_sign_state(self) -> SignStateStore:
        """As the node: where what was signed cannot be told any more, nothing is signed."""
        saves = self.sign_device.saves
        try:
            store = SignStateStore(self.sign_device, Path("sign-state"))
        except SignStateError as error:
            if error.fault is SignStateFault.WRITE_FAILED:  # a lost copy that the disk does not take
                raise
            assert self.role is Role.BIT_ROT, "a sign state is damaged"
            self.network.occurred["a sign state was damaged beyond reading"] += 1
            self.forget()
            return SignStateStore(self.sign_device, Path("sign-state"))
        assert store._record.sequence > saves, "a sign state that was durable is gone"
        return store

    def forget(self) -> None:
        """What it signed is gone, and the disk says so."""
        self.sign_device = self.new_sign_device(forgetful_sign_state(FIRST_HEIGHT))

    def crash(self, absent_ms: int | None = None) -> None:
        """The process ends, wherever it is; another starts some time later."""
        if not self.is_up:
            return
        self.is_up = False
        if self.has_participant:
            self._earlier_view_changes += self.replica.view_changes_sent
            self.has_participant = False
        self.network.note(self, "crash")
        self.network.occurred["a member crashed"] += 1
        self.application.crash()
        self.lose()
        restart_ms = self.network.random.randint(100, RESTART_MS_MAX)
        self.network.push(restart_ms if absent_ms is None else absent_ms, "start", self, None)

    def lose(self) -> None:
        """What a role makes a stopped host lose."""
        random = self.network.random
        if self.role is Role.LOSES_BLOCKS or (self.role is Role.FORGETS and random.random() < 0.5):
            self.application.lose_blocks(random)
        if self.role is Role.BIT_ROT:
            self.sign_device.rot(random)
            self.application.rot(random)
        if self.role is Role.FORGETS:
            self.forget()
        if self.role is Role.OLD_SIGN_STATE and self.backups:
            self.network.occurred["an old sign state was put back"] += 1
            self.sign_device = self.sign_device_of(random.choice(self.backups))

    def reach(self, point: str, tear: Callable[[Random], None] | None = None) -> None:
        """A point where the process may die; with `tear` the middle of a write."""
        is_drawn = self.network.is_faulty and self.network.random.random() < self.network.faults.crash_per_point
        if is_drawn or self.crash_point == point:
            self.crash_point = None
            is_torn = tear is not None and self.network.random.random() < 0.5
            self.network.occurred[f"died {'in the middle of' if is_torn else 'before'}: {point}"] += 1
            if tear is not None and is_torn:
                tear(self.network.random)
            raise Crashed

    def write(self, point: str, tear: Callable[[Random], None]) -> None:
        """A durable write, before it is made: the process may die in it, or hear that it failed."""
        self.reach(point, tear)
        network = self.network
        self.work(network.faults.slow_write_ms_max)
        if network.is_faulty and network.random.random() < network.faults.failing_writes:
            network.occurred[f"a write failed: {point}"] += 1
            if network.random.random() < 0.5:
                tear(network.random)
            raise OSError(errno.ENOSPC, "no space left on the device")

    def survive(self, step: Callable[[], object]) -> None:
        """Has the process do something, in which it may die."""
        try:
            step()
        except Crashed:
            self.crash()
        except SignStateError:  # it could not be written while it was opened: no start
            self.crash()
        except LedgerDamaged as damaged:  # read outside the driver: the daemon stops as well
            self.fail(damaged)
        if self.busy_ms:
            self.paused_until_ms = max(self.paused_until_ms, self.network.now_ms + self.busy_ms)
            self.busy_ms = 0
        if self.is_up:
            self.note_silence()

    def note_silence(self) -> None:
        """Only who lost something asks what it signed."""
        is_unanswered = self.participant.driver.is_unanswered
        if is_unanswered:
            assert self.may_forget, "a member that lost nothing believes that it forgot what it signed"
        elif self.was_unanswered:
            self.network.note(self, f"silent through {self.replica.silent_through}")
            self.network.occurred["a forgetful member was answered"] += 1
        self.was_unanswered = is_unanswered

    def fail(self, error: Exception) -> None:
        """The driver stopped: the process ends. What shows to be damaged the next start deals with."""
        if isinstance(error, LedgerDamaged):
            self.application.note_damage(error)
        elif isinstance(error, OSError | SignStateError):
            self.network.occurred["a member stopped on a failed write"] += 1
        elif self.is_honest or not isinstance(error, AssertionError):
            raise error  # but a liar may contradict its own replica
        self.crash()

    # --- clients --------------------------------------------------------------------------------------------------

    def submit(self, number: int) -> None:
        """A client asks for something; it asks again until it is told that it is executed."""
        request = self.asked[number] = self.application.new_request(number)
        self.network.checker.requests.add(request)
        if self.is_up:
            self.take((request,))
            self.network.pass_on(self, (request,))

    def ask_again(self) -> None:
        """Tells clients what is executed; they ask again for the rest, with new requests where need be."""
        if not self.is_up:
            return
        application = self.application
        for number, request in list(self.asked.items()):
            if application.is_executed(request):
                del self.asked[number]
                self.answered_height = max(self.answered_height, application.height)
                self.network.checker.note_answered(self, request)
            else:
                self.asked[number] = application.renew(request)
                self.network.checker.requests.add(self.asked[number])
        self.take(tuple(self.asked.values()))

    def take(self, requests: tuple[bytes, ...]) -> None:
        """Requests from clients or other members wait here from now on."""
        self.application.take_all(requests)
        self.survive(self.participant.driver.work_changed)

    def take_from(self, sender: Address, requests: tuple[bytes, ...]) -> None:
        """Takes what another member sent, and passes on what is new to who may lack it."""
        new = self.application.take_all(requests)
        if new:
            self.network.send_requests(self, self.participant.driver.may_lack(sender), new)
        self.survive(self.participant.driver.work_changed)

    # --- time and messages ------------------------------------------------------------------------------------------

    def tick(self) -> None:
        self.survive(self.participant.driver.tick)
        now_ms = self.now().monotonic_ms
        if self.is_up and now_ms - self.passed_on_ms >= PASS_ON_MS:
            self.passed_on_ms = now_ms
            requests = self.application.older_than(PASS_ON_MS)
            if requests:
                self.network.pass_on(self, tuple(requests))
        if self.is_up and now_ms - self.asked_ms >= ASK_MS:
            self.asked_ms = now_ms
            self.survive(self.participant.recovery.look)
        if self.is_up and now_ms - self.planned_ms >= PLAN_MS:
            self.planned_ms = now_ms
            self.survive(self.catch_up)
        if self.liar is not None and self.is_up:
            self.liar.on_tick()

    def receive(self, sender: Address, message: ChainMessage) -> None:
        """Takes what another member sent."""
        self.survive(lambda: self.participant.receive(sender, message))
        turn = self.answer_requests if isinstance(message, BlocksRequest) else self.catch_up
        if self.is_up and isinstance(message, BlocksRequest | Blocks):
            self.survive(turn)

    def answer_requests(self) -> None:
        """The block server's turn; its pace is no matter of virtual time."""
        while self.participant.blocks.answer_next():
            pass

    def catch_up(self) -> None:
        """Block sync's turn: feeds what is at hand, then asks for more."""
        sync = self.participant.sync
        was_active = sync._planner.is_active
        while (fetched := sync.next_block()) is not None:
            self.network.occurred["a block came by sync"] += 1
            if not sync.feed(fetched):
                return
        sync.plan()
        self.network.occurred["a member far behind asked for ranges of blocks"] += (
            sync._planner.is_active > was_active
        )

    # --- the participant's ports ------------------------------------------------------------------------------------

    def send(self, recipient: Address, message: ChainMessage) -> None:
        if message is not self._sending:
            self.reach("sending")
            self._sending = message
        self.network.send(self, recipient, message)

    def connected(self) -> frozenset[Address]:
        return self.network.connected(self)

    def verify_ahead(self, _: tuple[bytes, ...], then: Callable[[], None]) -> None:
        self.network.later(self, then)

    def note_evidence(self, evidence: Equivocation) -> None:
        self.network.checker.note_evidence(evidence, self.network)

    def note_refused(self, reason: str, sender: Address | None) -> None:
        """Only liars are refused anything, but for an answer that comes too late."""
        self.network.occurred[f"refused: {reason}"] += 1
        self.network.occurred["refused: a range of blocks"] += reason in BLOCK_FAULTS
        self.network.checker.note_refused(self, sender, reason)
