"""One simulated member: carries out its replica's effects in their order, as the daemon's driver does.

Where the driver makes something durable, a run may end the process: before the write, in the middle of it (torn,
as far as the medium allows), or after it. What is left is what the next process finds.
"""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from consensus.codec import decode, encode
from consensus.eras import Eras
from consensus.events import (
    Applied,
    Arrived,
    Connected,
    Decision,
    Effects,
    Event,
    Instant,
    Proposed,
    ProposeRequest,
    Received,
    SignState,
    Tick,
    Validated,
    ValidateRequest,
    WorkWaiting,
    forgetful_sign_state,
    fresh_sign_state,
)
from consensus.identifiers import FIRST_HEIGHT, Height
from consensus.intake import DECIDED_RUN_MAX
from consensus.member import Parameters, Signer
from consensus.recovery import is_forgotten
from consensus.replica import Replica, Start
from consensus.verification import Verified, verify_message
from ledger.errors import LedgerDamaged
from node.errors import SignStateError
from tests.simulation.application import Application, SignDisk
from tests.simulation.byzantine import Liar
from tests.simulation.faults import BYZANTINE, Role
from tests.simulation.recovering import Recovering
from tests.simulation.syncing import Syncing

if TYPE_CHECKING:
    from tests.simulation.network import Network

TAU_MS = 250
ATTEMPT_MAX_MS = 60_000
RESTART_MS_MAX = 3_000
PASS_ON_MS = 2 * TAU_MS
"""Requests that wait longer are passed on again, as often."""


class Crashed(Exception):  # noqa: N818  (not an error: an event of the simulation)
    """The process died here."""


class Host:
    """One process with its disk, its clock and its clients."""

    def __init__(
        self, network: "Network", *, index: int, key: Signer, application: Application, role: Role | None
    ) -> None:
        self.network = network
        self.index = index
        self.key = key
        self.application = application
        self.role = role
        self.is_honest = role not in BYZANTINE
        self.liar = None if self.is_honest else Liar(self, role)
        self.sign_state: SignState = fresh_sign_state(Height(1))
        """As durable now."""
        self.sign_disk = SignDisk(encode(self.sign_state))
        self.replica: Replica
        self.is_up = False
        self.paused_until_ms = 0
        self.crash_point: str | None = None
        """Where a directed scenario wants this host to die next."""
        self.events: deque[Event] = deque()
        self.asked: dict[int, bytes] = {}
        """Requests of this host's clients that are not answered yet, by number. Clients outlive crashes."""
        self.answered_height = Height(0)
        """Highest height at which a client was told that its request is executed."""
        self.passed_on_ms = 0
        self.recovering = Recovering(self)
        self.syncing = Syncing(self)
        self._earlier_view_changes = 0
        faults, draw = network.faults, network.random.randint
        span_ms, drift = faults.clock_offset_ms_max, faults.drift_per_million_max
        self.clock_offset_ms = draw(-span_ms, span_ms) if span_ms else 0
        self.drift_per_million = draw(-drift, drift) if drift else 0

    @property
    def view_changes(self) -> int:
        """VIEW-CHANGEs sent by all processes of this host."""
        return self._earlier_view_changes + (self.replica.view_changes_sent if self.is_up else 0)

    @property
    def may_lose_blocks(self) -> bool:
        return self.role in {Role.LOSES_BLOCKS, Role.BIT_ROT, Role.FORGETS}

    def now(self) -> Instant:
        at_ms = self.network.now_ms
        monotonic_ms = at_ms + at_ms * self.drift_per_million // 1_000_000
        return Instant(monotonic_ms=monotonic_ms, clock_ms=monotonic_ms + self.clock_offset_ms)

    # --- life -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts with nothing but the disk."""
        self.is_up = True
        application = self.application
        application.start()
        self.sign_state = self.load_sign_state()
        self.recovering = Recovering(self)
        self.syncing = Syncing(self)
        self.network.checker.note_started(self)
        self.replica = Replica(
            signer=self.key,
            parameters=Parameters(slot_duration_ms=TAU_MS, attempt_max_ms=ATTEMPT_MAX_MS),
            start=Start(
                height=Height(application.height + 1),
                eras=Eras(application.chain),
                memberships=application.memberships,
                tip=application.tip,
                parent_slot=application.tip_slot,
                sign_state=self.sign_state,
                voted=application.voted,
                prepared=application.prepared,
            ),
            now=self.now(),
        )
        for member in application.membership.addresses:
            if member != self.key.address:
                self.post(Connected(member=member))
        self.ask_again()

    def load_sign_state(self) -> SignState:
        """As the node: where what was signed cannot be told any more, nothing is signed."""
        try:
            payload = self.sign_disk.load()
        except SignStateError:
            assert self.role is Role.BIT_ROT, "a sign state is damaged"
            self.network.occurred["a sign state was damaged beyond reading"] += 1
            payload = encode(forgetful_sign_state(FIRST_HEIGHT))
            self.sign_disk = SignDisk(payload)
        return decode(payload, SignState)

    def crash(self, absent_ms: int | None = None) -> None:
        """The process ends, wherever it is; another starts some time later."""
        if not self.is_up:
            return
        self._earlier_view_changes += self.replica.view_changes_sent
        self.events.clear()
        self.is_up = False
        self.network.note(self, "crash")
        self.network.occurred["a member crashed"] += 1
        self.application.crash()
        self.lose()
        restart_ms = self.network.random.randint(100, RESTART_MS_MAX)
        self.network.push(restart_ms if absent_ms is None else absent_ms, "start", self, None)

    def stop_on(self, damaged: LedgerDamaged) -> None:
        """What shows to be damaged while it is read stops the process; its next start deals with it."""
        self.application.note_damage(damaged)
        self.crash()

    def lose(self) -> None:
        """What a role makes a stopped host lose."""
        random = self.network.random
        if self.role is Role.LOSES_BLOCKS or (self.role is Role.FORGETS and random.random() < 0.5):
            self.application.lose_blocks(random)
        if self.role is Role.BIT_ROT:
            self.sign_disk.rot(random)
            self.application.rot(random)
        if self.role is Role.FORGETS:
            self.sign_disk = SignDisk(encode(forgetful_sign_state(FIRST_HEIGHT)))

    def reach(self, point: str, tear: Callable[[], None] | None = None) -> None:
        """A point where the process may die; with `tear` the middle of a write."""
        is_drawn = self.network.is_faulty and self.network.random.random() < self.network.faults.crash_per_point
        if is_drawn or self.crash_point == point:
            self.crash_point = None
            is_torn = tear is not None and self.network.random.random() < 0.5
            self.network.occurred[f"died {'in the middle of' if is_torn else 'before'}: {point}"] += 1
            if tear is not None and is_torn:
                tear()
            raise Crashed

    # --- clients --------------------------------------------------------------------------------------------------

    def submit(self, number: int) -> None:
        """A client asks for something; it asks again until it is told that it is executed."""
        self.asked[number] = self.application.new_request(number)
        self.network.checker.requests.add(self.asked[number])
        if self.is_up:
            self.take((self.asked[number],))
            self.network.pass_on(self, (self.asked[number],))

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
        self.application.take(requests, self.now().monotonic_ms)
        self.post(WorkWaiting(oldest_arrival_ms=self.application.oldest_arrival_ms()))

    def tick(self) -> None:
        self.post(Tick())
        now_ms = self.now().monotonic_ms
        if self.is_up and now_ms - self.passed_on_ms >= PASS_ON_MS:
            self.passed_on_ms = now_ms
            requests = self.application.older_than(now_ms - PASS_ON_MS)
            if requests:
                self.network.pass_on(self, requests)
        if self.is_up:
            self.recovering.on_tick()
        if self.is_up:
            self.syncing.on_tick()
        if self.liar is not None and self.is_up:
            self.liar.on_tick()

    # --- effects --------------------------------------------------------------------------------------------------

    def post(self, event: Event) -> None:
        """Steps the replica with an event, after all earlier ones."""
        if not self.is_up:
            return
        self.events.append(event)
        if len(self.events) > 1:
            return
        try:
            while self.events:
                self.carry_out(self.replica.step(self.events[0], self.now()))
                self.events.popleft()
        except Crashed:
            self.crash()
        except AssertionError:
            if self.is_honest:
                raise
            self.crash()  # a liar may contradict its own replica

    def carry_out(self, effects: Effects) -> None:
        self.persist(effects)
        for send in effects.send:
            self.reach("sending")
            for recipient in send.recipients:
                self.network.send(self, recipient, send.message)
        for answer in effects.send_decided:
            last = min(answer.first + DECIDED_RUN_MAX - 1, self.application.height)
            for number in range(answer.first, last + 1):
                self.network.send(self, answer.recipient, self.application.decided(Height(number)))
        for evidence in effects.evidence:
            self.network.occurred[f"evidence of {evidence.offence.value}"] += 1
            self.network.checker.note_evidence(evidence, self.network.byzantine)
        for arrived in effects.verify:
            self.verify(arrived)
        for request in effects.validate:
            self.validate(request)
        if effects.propose is not None:
            self.propose(effects.propose)
        if effects.apply is not None:
            self.apply(effects.apply)

    def persist(self, effects: Effects) -> None:
        """Proposals and certificates in one write, then the sign state that names them."""
        application, random = self.application, self.network.random
        voted, prepared, signed = effects.voted, effects.prepared, effects.sign_state
        if voted is not None or prepared is not None:
            self.reach("records", lambda: application.tear_persist(voted, prepared, random))
            application.persist(voted, prepared)
        if signed is not None:
            payload = encode(signed)
            self.reach("sign state", lambda: self.sign_disk.tear(payload, random))
            self.sign_disk.save(payload)
            self.sign_state = signed

    def verify(self, arrived: Arrived) -> None:
        message = arrived.message
        is_from_liar = arrived.sender in self.network.byzantine
        if not self.application.has_its_name(message):
            assert is_from_liar, "an honest member sent a body that its digest does not name"
            return
        result = verify_message(message, self.replica.membership, self.replica.era)
        if not isinstance(result, Verified):
            self.network.occurred[f"refused: {result.value}"] += 1
            assert is_from_liar, f"an honest member's message is refused: {result.value}"
            return
        if self.is_honest:
            forgotten = is_forgotten(message, self.key.address, self.replica.remembered)
            assert not forgotten, "a member that lost nothing believes that it forgot what it signed"
        self.events.append(Received(sender=arrived.sender, message=result))

    def validate(self, request: ValidateRequest) -> None:
        slot = self.application.check(request.height, request.proposal)
        if slot is not None:
            # a valid proposal's requests stay pending here too (P6)
            requests = self.application.requests_in(request.proposal)
            self.application.take(requests, self.now().monotonic_ms)
            self.events.append(WorkWaiting(oldest_arrival_ms=self.application.oldest_arrival_ms()))
        self.network.later(self, Validated(height=request.height, block=request.block, header_slot=slot))

    def propose(self, request: ProposeRequest) -> None:
        built = self.application.build(request.slot, may_be_empty=request.may_be_empty)
        block, proposal = (None, b"") if built is None else built
        self.network.later(self, Proposed(height=request.height, slot=request.slot, block=block, proposal=proposal))

    def apply(self, decision: Decision) -> None:
        """One write appends the block and drops the records of its height; only then others are told."""
        application, random = self.application, self.network.random
        self.network.checker.note_decided(self, decision)
        self.reach("block", lambda: application.tear_append(decision, random))
        application.append(decision)
        self.network.checker.note_appended(self)
        self.network.note(self, f"decided {decision.height}")
        self.reach("applied")
        self.ask_again()
        self.events.append(
            Applied(
                height=decision.height,
                block=decision.block,
                header_slot=application.tip_slot,
                memberships=application.memberships,
            )
        )
