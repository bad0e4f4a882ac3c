"""One home of the ceremony's model: the production driver, replica and sign state on a disk of plain values, and the
production steps of a ceremony in their production order (`node.home.ceremony_steps`), each of which may be the last
thing that its process does.

Production code: `Driver` with its order of writes, its restart from `stored_start` and its look for forgotten
signatures; `SignStateStore` on bytes that a crash leaves torn; `consensus.ceremony`, `plans`, `recovery`.

Left out: LevelDB, the contracts and transactions (blocks are four values); block sync and the way of the question
(`Inquiry` is asked and answered at once); links, of which the pool takes the place: what a home says is never lost,
it lies there for ever, and each home hears of it what chance brings; files of people that are damaged or foreign
(fuzzing and the tests of the commands); old backups put back (unit tests); changes of members but by ceremonies.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

from consensus import ceremony
from consensus.ceremony_records import SignedPlan
from consensus.codec import decode, encode
from consensus.cryptography import HashKind, digest
from consensus.era_plans import AppliedEra, plan_digest
from consensus.eras import Eras
from consensus.events import (
    BlockOrigin,
    Decision,
    Instant,
    PreparedBlock,
    SignState,
    forgetful_sign_state,
    fresh_sign_state,
)
from consensus.evidence import Equivocation
from consensus.identifiers import FIRST_HEIGHT, Address, Digest, EraNumber, Height, Slot
from consensus.member import KeyRing, Parameters
from consensus.membership import Leaders, Membership, Memberships
from consensus.messages import CommitCertificate, Decided, HeightAnswer, HeightQuestion, Message
from consensus.past import FIRST
from consensus.plans import carried_proposal
from consensus.recovery import Inquiry, answer_to, question_holds
from consensus.replica import Replica
from ledger.startup import RECENT_BLOCKS
from ledger.validation import certificate_fault
from node.chain.driver import Driver, DriverPorts
from node.chain.records import PREPARED_KEY, stored_start
from node.home import ceremony_steps
from node.home.sign_state import SignStateStore
from tests.simulation.application import SignDevice
from tests.simulation.signing import KeyedHashKey

if TYPE_CHECKING:
    from tests.simulation.ceremonies import World

CHAIN: Final = digest(HashKind.GENESIS, b"ceremonies")
TAU_MS: Final = 1_000
PARAMETERS: Final = Parameters(slot_duration_ms=TAU_MS, attempt_max_ms=8 * TAU_MS)
TORN_SHARE: Final = 0.5

STEP_POINTS: Final = (
    *(f"export: {point}" for point in ("sign state", "statement")),
    *(f"join: {point}" for point in ("plans", "sign state", "agreement")),
    *(f"apply: {point}" for point in ("plans", "ledger", "eras", "sign state")),
)
"""Where a ceremony's step may be interrupted: before the write, and in the middle of that of a sign state."""

Block = tuple[Digest, int, bytes, int]
"""Parent, slot, leader, and a number that tells the blocks of one slot apart."""
Refusal = ceremony.CeremonyRefusal | str


class Crashed(BaseException):
    """The process died here. Nothing in it can catch that."""


def block_of(proposal: bytes) -> Digest:
    return digest(HashKind.BLOCK, proposal)


def read_block(proposal: bytes) -> Block:
    block: Block = decode(proposal, tuple)
    return block


def parent_of(block: Digest, proposal: bytes) -> Digest | None:
    return Digest(read_block(proposal)[0]) if block_of(proposal) == block else None


class Disk:
    """A home's files, and what the driver does with the ledger (`node.chain.application.Application`)."""

    def __init__(self, world: "World", key: KeyedHashKey) -> None:
        self.world = world
        self.key = key
        self.step = ""
        """Of a ceremony, under way; empty while the process is the node's."""
        self.crash_point: str | None = None
        """Where a directed scenario wants the process to die next."""
        self.tears = False
        self.device = self.new_device(fresh_sign_state(FIRST_HEIGHT))
        self._records: dict[bytes, bytes] = {}
        self.blocks: list[Decided] = []
        self.applied = FIRST
        """The newest era of its files."""

    # --- what it has ------------------------------------------------------------------------------------------------

    @property
    def height(self) -> Height:
        return Height(len(self.blocks))

    @property
    def tip(self) -> Digest:
        return self.block_at(self.height)

    def block_at(self, height: int) -> Digest:
        return self.blocks[height - 1].certificate.block if height else CHAIN

    @property
    def tip_slot(self) -> Slot:
        return Slot(read_block(self.blocks[-1].proposal)[1] if self.blocks else 0)

    @property
    def eras(self) -> Eras:
        return self.world.past.eras(self.applied)

    def set_of(self, height: int) -> Membership:
        found = self.world.past.membership(self.applied, Height(height))
        assert found is not None, "the first era's members are known at every height"
        return found

    def memberships(self) -> Memberships:
        return Memberships(undecided=self.set_of(self.height + 1), following=self.set_of(self.height + 2))

    @property
    def carried(self) -> Digest | None:
        """The block that the undecided height must be."""
        era = self.eras.at(Height(self.height + 1))
        return era.carried if self.height == era.base else None

    @property
    def sign_state(self) -> SignState:
        """As durable now; looking changes nothing."""
        copy = SignDevice(self.device.read(), lambda _: None)
        return decode(SignStateStore(copy, Path("sign-state")).load(), SignState)

    @property
    def prepared(self) -> PreparedBlock | None:
        return decode(self._records[PREPARED_KEY], PreparedBlock) if PREPARED_KEY in self._records else None

    @property
    def is_damaged(self) -> bool:
        """Whether the ledger is not one of the eras that the files name, as its opening finds."""
        first = max(1, self.height - RECENT_BLOCKS + 1)
        for height, decided in enumerate(self.blocks[first - 1 :], start=first):
            certificate, membership = decided.certificate, self.set_of(height)
            era = self.eras.at(Height(height))
            if certificate_fault(certificate, Height(height), certificate.block, membership, era) is not None:
                return True
        return False

    # --- writes, each of which may be the last ---------------------------------------------------------------------

    def reach(self, point: str, tear: Callable[[Random], None] | None = None) -> None:
        """A point where the process may die; with `tear` in the middle of a write as well."""
        name, random = f"{self.step}: {point}" if self.step else point, self.world.random
        is_told = self.crash_point == name
        if is_told or random.random() < self.world.crash_share:
            self.crash_point = None
            is_torn = tear is not None and (self.tears if is_told else random.random() < TORN_SHARE)
            self.world.occurred[f"died {'in the middle of' if is_torn else 'before'} {name}"] += 1
            if tear is not None and is_torn:
                tear(random)
            raise Crashed

    def new_device(self, signed: SignState) -> SignDevice:
        return SignDevice(SignStateStore.content(encode(signed)), lambda tear: self.reach("sign state", tear))

    def persist(self, records: Mapping[bytes, bytes]) -> None:
        self.reach("records")
        self._records |= records

    def append(self, decision: Decision) -> None:
        self.reach("block")
        self.world.note_decided(decision)
        self.blocks.append(Decided(certificate=decision.certificate, proposal=decision.proposal))
        self._records = {}
        self.reach("applied")

    def drop_records(self) -> None:
        self._records = {}

    def set_ledger_aside(self) -> None:
        """The next process begins with none, and fetches all blocks."""
        self.reach("ledger")
        self.world.occurred["a ledger was set aside"] += 1
        self.blocks, self._records = [], {}

    def lose(self, what: str) -> None:
        """Loses files."""
        if what in {"sign state", "both"}:
            self.world.checker.note_released(self.key.public_key)  # its seal is lost; what it asks keeps it silent
            self.device = self.new_device(forgetful_sign_state(FIRST_HEIGHT))
        if what in {"records", "both", "blocks"}:
            self._records = {}
        if what == "blocks" and self.blocks:
            self.blocks.pop()

    # --- what the driver asks -----------------------------------------------------------------------------------

    def records(self) -> Mapping[bytes, bytes]:
        return self._records

    @property
    def first_height(self) -> Height:
        return FIRST_HEIGHT

    def decided(self, height: Height) -> Decided:
        return self.blocks[height - 1]

    def has_its_name(self, message: Message) -> bool:
        proposal, certificate = getattr(message, "proposal", None), getattr(message, "certificate", None)
        block = getattr(message, "block", None) or (certificate.block if certificate is not None else None)
        return proposal is None or block_of(proposal) == block

    def extends_tip(self, proposal: bytes) -> bool:
        return read_block(proposal)[0] == self.tip

    def transactions_in(self, _proposal: bytes) -> tuple[bytes, ...]:
        return ()

    def parent_certificate(self, _proposal: bytes) -> CommitCertificate | None:
        return None

    def take_all(self, requests: Iterable[bytes]) -> None:
        """There are no requests: empty blocks are wanted always."""

    def oldest_arrival_ms(self) -> int | None:
        return self.world.now_ms

    def check(self, proposal: bytes) -> BlockOrigin | None:
        parent, slot, led_by, _ = read_block(proposal)
        height = Height(self.height + 1)
        if parent != self.tip or slot < self.tip_slot:
            return None
        if self.carried is not None:
            is_valid = block_of(proposal) == self.carried
        else:
            is_valid = led_by == Leaders(self.set_of(height)).whose(Slot(slot))
        return BlockOrigin(Slot(slot), led_by) if is_valid else None

    def build(self, slot: Slot, *, may_be_empty: bool) -> tuple[Digest, bytes] | None:
        del may_be_empty
        if self.carried is not None:
            proposal = self.world.carried_bodies[self.carried]
        else:
            proposal = encode((self.tip, slot, self.key.address, self.world.random.randrange(10**6)))
        return block_of(proposal), proposal


class Home(Disk):
    """A member's home. Its files outlive `stop`; only `lose` takes something away."""

    def __init__(self, world: "World", key: KeyedHashKey) -> None:
        super().__init__(world, key)
        self.driver: Driver | None = None
        self.inquiry: Inquiry | None = None
        self.store: SignStateStore
        """Open during a step of a ceremony."""
        self.interrupted: Callable[[], Refusal | None] | None = None
        """The last step of a ceremony, if it did not come to its end: people take it again."""
        self._said: Message | None = None

    # --- the node -----------------------------------------------------------------------------------------------

    @property
    def replica(self) -> Replica | None:
        return None if self.driver is None else self.driver._replica

    def now(self) -> Instant:
        return Instant(monotonic_ms=self.world.now_ms, clock_ms=self.world.now_ms)

    def survive(self, step: Callable[[], object]) -> None:
        """Has the process do something, in which it may die."""
        try:
            step()
        except Crashed:
            self.stop()

    def run(self) -> None:
        """Starts the node on what is there. A ledger that is not of its eras goes first, as in production."""
        if self.driver is None:
            self.survive(self._run)

    def _run(self) -> None:
        if self.is_damaged:
            self.set_ledger_aside()
        self.inquiry = None
        self.driver = Driver(
            keys=KeyRing(self.key),
            parameters=PARAMETERS,
            application=self,
            sign_state=SignStateStore(self.device, Path("sign-state")),
            ports=DriverPorts(
                now=self.now,
                send=self.say,
                connected=frozenset,
                verify_ahead=lambda _, then: then(),
                evidence=self.note_evidence,
                failed=self.fail,
                refused=lambda _reason, _sender: None,
                phase_ended=lambda _: None,
            ),
        )
        self.driver.work_changed()

    def stop(self) -> None:
        self.driver = None

    def fail(self, error: Exception) -> None:
        raise error

    def say(self, _recipient: Address, message: Message) -> None:
        """To how many counts as one."""
        if message is not self._said:
            self._said = message
            self.world.say(self, message)

    def note_evidence(self, evidence: Equivocation) -> None:
        self.world.note_accused(evidence.offender)

    def hear(self, message: Message, sender: Address) -> None:
        if self.driver is not None:
            driver = self.driver
            self.survive(lambda: driver.receive(sender, message))

    def tick(self) -> None:
        if self.driver is not None:
            self.survive(self.driver.tick)
        if self.driver is not None:
            self.survive(self.driver.work_changed)

    # --- the inquiry (consensus.recovery) ---------------------------------------------------------------------

    def ask(self) -> None:
        """Asks the others what it may have signed; all that run answer at once."""
        driver = self.driver
        if driver is None or not driver.is_unanswered:
            return
        if self.inquiry is None:
            self.inquiry = Inquiry(self.key, self.eras.newest, nonce=self.world.random.randbytes(32))
        for member in self.inquiry.unanswered(self.memberships()):
            answer = self.world.answer(member, self.inquiry.question)
            if answer is not None:
                self.inquiry.take(answer, self.memberships())
        through = self.inquiry.silent_through(Height(self.height + 1), self.memberships())
        if through is not None:
            self.world.occurred["who forgot was answered"] += 1
            self.survive(lambda: driver.keep_silent_through(through))

    def answer(self, question: HeightQuestion) -> HeightAnswer | None:
        era, driver = self.eras.newest, self.driver
        if driver is None or not question_holds(question, self.memberships(), era):
            return None
        undecided = Height(self.height + 1)
        return answer_to(question, self.key, era, undecided=undecided, silent_through=driver.silent_through())

    # --- the ceremony -----------------------------------------------------------------------------------------

    def take(self, name: str, step: Callable[[], ceremony.CeremonyRefusal | None]) -> Refusal | None:
        """Takes a step with the node stopped. Returns why it is not taken."""
        self.stop()
        if self.is_damaged:
            return "the ledger is not of its eras; the node sets it aside when it starts"
        self.step, self.interrupted = name, None
        try:
            self.store = SignStateStore(self.device, Path("sign-state"))
            return step()
        except Crashed:
            self.interrupted = lambda: self.take(name, step)
            return "interrupted"
        finally:
            self.step = ""

    def save(self, state: SignState) -> None:
        self.store.save(encode(state))

    def write(self, point: str, what: Callable[[], None]) -> Callable[[], None]:
        """Returns a write of a file, whole or not at all."""

        def write() -> None:
            self.reach(point)
            what()

        return write

    def facts(self) -> ceremony.Home:
        start = stored_start(self, self._records, self.sign_state)
        return ceremony.Home(chain=CHAIN, start=start, decided=self.blocks)

    def state(self, era: int) -> Refusal | None:
        def state() -> ceremony.CeremonyRefusal | None:
            stated = ceremony.state(self.facts(), EraNumber(era), self.key)
            if isinstance(stated, ceremony.CeremonyRefusal):
                return stated
            signed = ceremony.signed_statement(stated[1], self.key)
            ceremony_steps.export(
                stated[0],
                save=self.save,
                write_statement=self.write("statement", lambda: self.world.note_stated(self, signed)),
            )
            return None

        return self.take("export", state)

    def release(self) -> Refusal | None:
        def release() -> ceremony.CeremonyRefusal | None:
            released = ceremony.release(self.sign_state)
            if isinstance(released, ceremony.CeremonyRefusal):
                return released
            self.world.note_released(self)
            self.save(released)
            return None

        return self.take("release", release)

    def join(self, signed: SignedPlan) -> Refusal | None:
        def join() -> ceremony.CeremonyRefusal | None:
            joined = ceremony.join(signed.plan, self.sign_state, self.key)
            if isinstance(joined, ceremony.CeremonyRefusal):
                return joined
            joins = self.world.joins[plan_digest(signed.plan)]
            ceremony_steps.join(
                joined[0],
                keep_plans=self.write("plans", lambda: None),
                save=self.save,
                write_join=self.write("agreement", lambda: joins.append(joined[1])),
            )
            return None

        return self.take("join", join)

    def ledger_facts(self) -> ceremony.LedgerFacts:
        copy = stored_start(self, self._records, self.sign_state).sign_state_copy
        signed_in = max(
            EraNumber(0) if copy is None else copy.standing.era,
            self.blocks[-1].certificate.era if self.blocks else EraNumber(0),
        )
        return ceremony.LedgerFacts(height=self.height, block_at=self.block_at, signed_in=signed_in)

    def apply(self, signed: SignedPlan) -> Refusal | None:
        def apply() -> ceremony.CeremonyRefusal | None:
            plan, key = signed.plan, self.key.public_key
            joins = self.world.joins[plan_digest(plan)]
            state = self.sign_state
            begun = ceremony.apply(plan, joins, signed=state, key=key, ledger=self.ledger_facts())
            if isinstance(begun, ceremony.CeremonyRefusal):
                return begun
            ceremony_steps.apply(
                begun,
                keep_plans=self.write("plans", lambda: None),
                set_ledger_aside=self.set_ledger_aside,
                keep_eras=lambda: self.keep_eras(signed),
                save=self.save,
            )
            self.world.note_applied(self, signed, begun, state)
            return None

        return self.take("apply", apply)

    def keep_eras(self, signed: SignedPlan) -> None:
        """Keeps the eras that the plan follows and that this home never began, then its own."""
        plan, past = signed.plan, self.world.past
        for start in past.eras(plan.follows).starts:
            if start.number > self.applied.era:
                self.reach("eras")
                self.applied = AppliedEra(era=start.number, plan=start.plan)
        self.reach("eras")
        self.applied = plan.applied
        if plan.carried is not None:
            body = carried_proposal(signed, past)
            assert body is not None, "a carried block is shown"
            self.world.carried_bodies[plan.carried] = body
