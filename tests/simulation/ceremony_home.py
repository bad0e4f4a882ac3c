"""One home of the ceremony's model: the production replica on a disk of plain values, and the steps of a ceremony.

What a home says is never lost: it lies in the world's pool for ever, and each home hears of it what chance brings.
"""

from typing import TYPE_CHECKING, Final

from consensus import ceremony
from consensus.ceremony_records import SignedPlan
from consensus.codec import decode, encode
from consensus.cryptography import HashKind, digest
from consensus.era_plans import AppliedEra, plan_digest
from consensus.events import (
    UNANSWERED,
    Applied,
    Arrived,
    Decision,
    Effects,
    Event,
    Instant,
    KeepSilent,
    PreparedBlock,
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
from consensus.identifiers import FIRST_HEIGHT, Digest, EraNumber, Height, Slot
from consensus.member import Parameters
from consensus.membership import Membership, Memberships, leader
from consensus.messages import Decided, Message, PrePrepare
from consensus.plans import carried_proposal
from consensus.recovery import Inquiry, answer_to, question_holds
from consensus.replica import Replica, Start
from consensus.verification import Verified, verify_message
from tests.simulation.signing import KeyedHashKey

if TYPE_CHECKING:
    from tests.simulation.ceremonies import World

CHAIN: Final = digest(HashKind.GENESIS, b"ceremonies")
TAU_MS: Final = 1_000
PARAMETERS: Final = Parameters(slot_duration_ms=TAU_MS, attempt_max_ms=8 * TAU_MS)

Block = tuple[Digest, int, bytes, int]
"""Parent, slot, leader, and a number that tells the blocks of one slot apart."""


def block_of(proposal: bytes) -> Digest:
    return digest(HashKind.BLOCK, proposal)


def read_block(proposal: bytes) -> Block:
    block: Block = decode(proposal, tuple)
    return block


def parent_of(block: Digest, proposal: bytes) -> Digest | None:
    return Digest(read_block(proposal)[0]) if block_of(proposal) == block else None


class Home:
    """A member's home. Its files outlive `stop`; only `lose` takes something away."""

    def __init__(self, world: "World", key: KeyedHashKey) -> None:
        self.world = world
        self.key = key
        self.sign_state: SignState = fresh_sign_state(FIRST_HEIGHT)
        self.copy: SignState | None = None
        self.voted: PrePrepare | None = None
        self.prepared: PreparedBlock | None = None
        self.blocks: list[Decided] = []
        self.applied = AppliedEra(era=EraNumber(0), plan=None)
        """As the plans in its folder say."""
        self.replica: Replica | None = None
        self.inquiry: Inquiry | None = None

    # --- files ------------------------------------------------------------------------------------------------

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

    def set_of(self, height: int) -> Membership:
        found = self.world.past.membership(self.applied, Height(height))
        assert found is not None, "the first era's members are known at every height"
        return found

    @property
    def memberships(self) -> Memberships:
        return Memberships(undecided=self.set_of(self.height + 1), following=self.set_of(self.height + 2))

    def start_of(self) -> Start:
        """What a process finds. Records that an older era left behind bind nothing any more."""
        eras = self.world.past.eras(self.applied)
        is_of_era = self.copy is not None and self.copy.standing.era == eras.newest.number
        return Start(
            height=Height(self.height + 1),
            eras=eras,
            memberships=self.memberships,
            tip=self.tip,
            parent_slot=self.tip_slot,
            sign_state=self.sign_state,
            sign_state_copy=self.copy if is_of_era else None,
            voted=self.voted if is_of_era else None,
            prepared=self.prepared if is_of_era else None,
        )

    def home(self) -> ceremony.Home:
        return ceremony.Home(chain=CHAIN, start=self.start_of(), decided=self.blocks)

    def lose(self, what: str) -> None:
        """Loses files while it is stopped."""
        self.stop()
        if what == "sign state":
            self.sign_state = forgetful_sign_state(FIRST_HEIGHT)
        elif what == "records":
            self.voted = self.prepared = self.copy = None
        elif what == "both":
            self.sign_state = forgetful_sign_state(FIRST_HEIGHT)
            self.voted = self.prepared = self.copy = None
        elif what == "blocks" and self.blocks:
            self.blocks.pop()
            self.voted = self.prepared = self.copy = None

    # --- the replica ------------------------------------------------------------------------------------------

    def now(self) -> Instant:
        return Instant(monotonic_ms=self.world.now_ms, clock_ms=self.world.now_ms)

    def run(self) -> None:
        """Starts the replica on what is there."""
        if self.replica is None:
            self.replica = Replica(signer=self.key, parameters=PARAMETERS, start=self.start_of(), now=self.now())
            self.inquiry = None
            self.post(WorkWaiting(oldest_arrival_ms=self.world.now_ms))

    def stop(self) -> None:
        self.replica = None

    def post(self, event: Event) -> None:
        events = [event]
        while events and self.replica is not None:
            events += self.carry_out(self.replica.step(events.pop(0), self.now()))

    def hear(self, message: Message, sender: bytes) -> None:
        self.post(Arrived(sender=sender, message=message))  # type: ignore[arg-type]

    def tick(self) -> None:
        self.post(Tick())

    def carry_out(self, effects: Effects) -> list[Event]:
        assert self.replica is not None
        self.voted = effects.voted or self.voted
        self.prepared = effects.prepared or self.prepared
        self.copy = effects.sign_state or self.copy
        self.sign_state = effects.sign_state or self.sign_state
        for send in effects.send:
            self.world.say(self, send.message)
        events: list[Event] = []
        for arrived in effects.verify:
            if self.is_known(arrived.message):
                result = verify_message(arrived.message, self.replica.membership, self.replica.era)
                if isinstance(result, Verified):
                    events.append(Received(sender=arrived.sender, message=result))
        for request in effects.validate:
            slot = self.validate(request)
            events.append(Validated(height=request.height, block=request.block, header_slot=slot))
        if effects.propose is not None:
            events.append(self.propose(effects.propose))
        if effects.apply is not None:
            events += self.append(effects.apply)
        return events

    @staticmethod
    def is_known(message: Message) -> bool:
        """A body is what its digest names."""
        proposal = getattr(message, "proposal", None)
        certificate = getattr(message, "certificate", None)
        block = getattr(message, "block", None) or (certificate.block if certificate is not None else None)
        return proposal is None or block_of(proposal) == block

    @property
    def carried(self) -> Digest | None:
        """The block that the undecided height must be."""
        era = self.world.past.eras(self.applied).at(Height(self.height + 1))
        return era.carried if self.height == era.base else None

    def validate(self, request: ValidateRequest) -> Slot | None:
        parent, slot, led_by, _ = read_block(request.proposal)
        height = self.height + 1
        if request.height != height or parent != self.tip or slot < self.tip_slot:
            return None
        if self.carried is not None:
            return Slot(slot) if request.block == self.carried else None
        is_led = led_by == leader(self.set_of(height), Height(height), Slot(slot))
        return Slot(slot) if is_led else None

    def propose(self, request: ProposeRequest) -> Proposed:
        if self.carried is not None:
            proposal = self.world.carried_bodies[self.carried]
        else:
            proposal = encode((self.tip, request.slot, self.key.address, self.world.random.randrange(10**6)))
        return Proposed(height=request.height, slot=request.slot, block=block_of(proposal), proposal=proposal)

    def append(self, decision: Decision) -> list[Event]:
        self.world.note_decided(decision)
        self.blocks.append(Decided(certificate=decision.certificate, proposal=decision.proposal))
        self.voted = self.prepared = self.copy = None
        return [
            Applied(
                height=decision.height,
                block=decision.block,
                header_slot=self.tip_slot,
                memberships=self.memberships,
            ),
            WorkWaiting(oldest_arrival_ms=self.world.now_ms),
        ]

    # --- the inquiry (consensus.recovery) ---------------------------------------------------------------------

    def ask(self) -> None:
        """Asks the others what it may have signed; all that run answer at once."""
        if self.replica is None or self.replica.silent_through != UNANSWERED:
            return
        era = self.world.past.eras(self.applied).newest
        if self.inquiry is None:
            self.inquiry = Inquiry(self.key, era, nonce=self.world.random.randbytes(32))
        for member in self.inquiry.unanswered(self.memberships):
            answer = self.world.answer(member, self.inquiry.question)
            if answer is not None:
                self.inquiry.take(answer, self.memberships)
        through = self.inquiry.silent_through(Height(self.height + 1), self.memberships)
        if through is not None:
            self.post(KeepSilent(through=through))

    def answer(self, question):  # type: ignore[no-untyped-def]
        if self.replica is None or not question_holds(
            question, self.memberships, era := self.world.past.eras(self.applied).newest
        ):
            return None
        return answer_to(
            question,
            self.key,
            era,
            undecided=Height(self.height + 1),
            silent_through=self.replica.silent_through,
        )

    # --- the ceremony -----------------------------------------------------------------------------------------

    def state(self, era: int) -> ceremony.CeremonyRefusal | None:
        """Stops, is sealed, then says what it has."""
        self.stop()
        stated = ceremony.state(self.home(), EraNumber(era), self.key)
        if isinstance(stated, ceremony.CeremonyRefusal):
            return stated
        self.sign_state = stated[0]
        self.world.statements.append(ceremony.signed_statement(stated[1], self.key))
        return None

    def release(self) -> ceremony.CeremonyRefusal | None:
        self.stop()
        released = ceremony.release(self.sign_state)
        if isinstance(released, ceremony.CeremonyRefusal):
            return released
        self.sign_state = released
        return None

    def join(self, signed: SignedPlan) -> ceremony.CeremonyRefusal | None:
        self.stop()
        joined = ceremony.join(signed.plan, self.sign_state, self.key)
        if isinstance(joined, ceremony.CeremonyRefusal):
            return joined
        self.sign_state = joined[0]
        self.world.joins[plan_digest(signed.plan)].append(joined[1])
        return None

    def ledger_facts(self) -> ceremony.LedgerFacts:
        signed_in = max(
            self.copy.standing.era if self.copy is not None else EraNumber(0),
            self.blocks[-1].certificate.era if self.blocks else EraNumber(0),
        )
        return ceremony.LedgerFacts(height=self.height, block_at=self.block_at, signed_in=signed_in)

    def apply(self, signed: SignedPlan) -> ceremony.CeremonyRefusal | None:
        self.stop()
        plan = signed.plan
        joins = self.world.joins[plan_digest(plan)]
        begun = ceremony.apply(
            plan, joins, signed=self.sign_state, key=self.key.public_key, ledger=self.ledger_facts()
        )
        if isinstance(begun, ceremony.CeremonyRefusal):
            return begun
        if begun.drops_carried:
            self.blocks.pop()
        self.applied = AppliedEra(era=plan.era, plan=plan_digest(plan))
        self.sign_state = begun.sign_state
        if plan.carried is not None:
            body = carried_proposal(signed, self.world.past)
            assert body is not None, "a carried block is shown"
            self.world.carried_bodies[plan.carried] = body
        return None
