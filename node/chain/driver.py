"""The one driver of the replica: hands it events, carries out its effects in their order.

The law: *persist, sync, then send, then apply.* Steps run strictly one after another: an event that arises
while one is carried out waits in a queue. Everything here runs in the event loop without an `await` between a
check and its use; only signatures of a proposal's unknown transactions are verified on a thread beforehand.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from consensus.codec import DecodeError, decode, encode
from consensus.events import (
    UNANSWERED,
    Applied,
    Arrived,
    Connected,
    Decision,
    Effects,
    Event,
    Instant,
    KeepSilent,
    Proposed,
    ProposeRequest,
    Received,
    SendDecided,
    SignState,
    Tick,
    Validated,
    ValidateRequest,
    WorkWaiting,
)
from consensus.evidence import Equivocation, equivocation_of
from consensus.explanation import Contact, Explanation
from consensus.identifiers import Address, Height
from consensus.intake import DECIDED_RUN_MAX
from consensus.member import Parameters
from consensus.messages import Body, CommitCertificate, Decided, Message, PrePrepare
from consensus.recovery import certificate_is_forgotten, is_forgotten
from consensus.replica import Replica
from consensus.verification import Verified, verify_message
from ledger.block import Block, block_digest, block_is_whole
from ledger.ledger import Ledger
from ledger.startup import RECENT_BLOCKS
from node.admission.identity import Identity
from node.chain.block_server import read_decided
from node.chain.stored_start import PREPARED_KEY, SIGN_STATE_KEY, VOTED_KEY, has_older_records, stored_start
from node.chain.submission import AppliedBlock, Chain, ReplicaStatus, verify_ahead
from node.chain.undecided_watch import Waiting
from node.home.sign_state import SignStateFile
from node.logs import get_logger
from node.mesh.messages import PeerMessage
from node.metrics.counters import NodeMetrics

TICKS_PER_SLOT: Final = 10
"""How often the replica is told that time passed; its timers are as fine as this."""

TICK_MS_MAX: Final = 100
"""Longest time between ticks."""

TURNS_BEFORE_TICK: Final = 4
"""Turns of the event loop before each tick: in each it reads up to 256 KiB per link and hands on what is whole."""

DECIDED_RUN_SIZE_BYTES_MAX: Final = 1024 * 1024
"""A run of decided blocks ends with the one that reaches it: a question of 100 bytes, four times a slot, may not make
this node send eight of the largest blocks each time. Who is behind asks on from there.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshLinks:
    """How the driver reaches the other members."""

    send: Callable[[Address, PeerMessage], None]
    connected: Callable[[], frozenset[Address]]


class Driver:
    """Runs one replica on one ledger."""

    def __init__(
        self,
        *,
        identity: Identity,
        ledger: Ledger,
        sign_state: SignStateFile,
        mesh: MeshLinks,
        metrics: NodeMetrics,
        evidence: Callable[[Equivocation], None],
    ) -> None:
        """Restores the replica from the ledger and the sign state; nothing is sent before `attach`."""
        self._ledger = ledger
        self._sign_state = sign_state
        self._mesh = mesh
        self._metrics = metrics
        self._evidence = evidence
        self._own = identity.address
        self._start_ms = ledger.genesis.start_ms
        self._replica = _restore(identity, ledger, sign_state, self.now())
        self._chain: Chain | None = None
        self._events: deque[Event] = deque()
        self._is_stepping = False
        self._connected: frozenset[Address] = frozenset()
        self._heard_ms: dict[Address, int] = {}
        """Per member: monotonic time of its last message."""
        self._validations: set[asyncio.Task[None]] = set()
        self._phase_started_s = time.monotonic()
        self._log = get_logger("consensus")
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets the exception of a broken invariant or a failed write: the daemon must stop."""
        self._check_memory()

    def attach(self, chain: Chain) -> None:
        """Gives the driver the chain whose mempool it proposes from."""
        self._chain = chain

    # --- time and events ------------------------------------------------------------------------------------

    def now(self) -> Instant:
        """Returns the present instant of both clocks."""
        clock_ms = time.time_ns() // 1_000_000 - self._start_ms
        return Instant(monotonic_ms=self.monotonic_ms(), clock_ms=clock_ms)

    @staticmethod
    def monotonic_ms() -> int:
        """Returns the clock that the mempool's arrivals are on."""
        return time.monotonic_ns() // 1_000_000

    async def run(self) -> None:
        """Ticks until cancelled."""
        slot_duration_ms = self._ledger.genesis.slot_duration_ms
        tick_s = min(slot_duration_ms / TICKS_PER_SLOT, TICK_MS_MAX) / 1_000
        self.work_changed()
        while True:
            connected = self._mesh.connected()
            for member in sorted(connected - self._connected):
                self.post(Connected(member=member))
            self._connected = connected
            self.post(Tick())
            await asyncio.sleep(tick_s)
            for _ in range(TURNS_BEFORE_TICK):  # if the loop was held up, what arrived meanwhile goes first
                await asyncio.sleep(0)

    def receive(self, sender: Address, message: Message) -> None:
        """Takes a member's consensus message from the mesh."""
        self._heard_ms[sender] = self.monotonic_ms()
        self.post(Arrived(sender=sender, message=message))

    def work_changed(self) -> None:
        """Tells the replica what waits in the mempool."""
        assert self._chain is not None
        oldest_ms = self._chain.mempool.oldest_arrival_ms()
        if oldest_ms is None and self._ledger.carried is not None:
            oldest_ms = 0  # a block that a ceremony carries waits by itself, since this height began
        self.post(WorkWaiting(oldest_arrival_ms=oldest_ms))

    def post(self, event: Event) -> None:
        """Steps the replica with an event, after all earlier ones; a failure stops the node for good."""
        if self.failed.done():
            return
        self._events.append(event)
        if not self._is_stepping:
            self._step_all()

    def fail(self, error: Exception) -> None:
        """Stops signing for good, and thereby the node."""
        self._events.clear()
        if not self.failed.done():
            self.failed.set_exception(error)

    def _step_all(self) -> None:
        self._is_stepping = True
        try:
            while self._events:
                self._carry_out(self._replica.step(self._events.popleft(), self.now()))
        except Exception as error:  # noqa: BLE001  (whatever it is, nothing may be signed after it)
            self.fail(error)
        finally:
            self._is_stepping = False

    # --- what this member may have forgotten (consensus.recovery) ---------------------------------------------

    @property
    def is_silent(self) -> bool:
        """Says whether nothing is signed now because what was signed is not at hand."""
        return self._replica.height <= self._replica.silent_through

    def silent_through(self) -> Height:
        """Returns up to which height nothing is signed."""
        return self._replica.silent_through

    @property
    def is_unanswered(self) -> bool:
        """Says whether nobody knows yet how long that lasts."""
        return self._replica.silent_through == UNANSWERED

    def keep_silent_through(self, height: Height) -> None:
        """Ends the silence at a height that Q others have proven; durable when this returns."""
        self.post(KeepSilent(through=height))

    def _check_memory(self) -> None:
        """Looks through the last blocks for a COMMIT of this member that its sign state does not know of."""
        ledger = self._ledger
        for number in range(max(1, ledger.height - RECENT_BLOCKS + 1), ledger.height + 1):
            block = ledger.block(Height(number))
            assert block is not None, f"decided block {number} is missing"
            if self._is_forgotten(ledger.certificate(Height(number)), block.parent_certificate):
                self._forget()
                self._step_all()
                return

    def _is_forgotten(self, *certificates: CommitCertificate | None) -> bool:
        remembered = self._replica.remembered
        return any(
            certificate is not None and certificate_is_forgotten(certificate, self._own, remembered)
            for certificate in certificates
        )

    def _forget(self) -> None:
        """The sign state is older than what was signed: nothing more is signed before the others are asked."""
        self._log.critical(
            "this node's sign state is older than what it signed, as after a backup was put back: it keeps silent",
            height=self._replica.height,
            remembered_height=self._replica.remembered.height,
        )
        self._events.appendleft(KeepSilent(through=UNANSWERED))

    def status(self) -> ReplicaStatus:
        """Returns where the replica stands."""
        slot = self._replica.present_slot(self.now())
        return ReplicaStatus(
            undecided_height=self._replica.height,
            present_slot=slot,
            phase=self._replica.phase.value,
            view_changes=self._replica.view_changes_sent,
            leader=self._replica.leader_at(slot),
            is_silent=self.is_silent,
            silent_through=None if self.is_unanswered or not self.is_silent else self._replica.silent_through,
        )

    def explain(self) -> Explanation:
        """Returns why the height is undecided, as this member sees it."""
        connected = self._mesh.connected()
        contacts = {
            member: Contact(is_connected=member in connected, heard_ms=self._heard_ms.get(member))
            for member in self._replica.membership.addresses
        }
        return self._replica.explain(self.now(), contacts)

    def waiting(self) -> Waiting:
        """Returns the undecided height and for how long it has had something to decide."""
        since_ms = self._replica.waiting_since_ms()
        waiting_ms = None if since_ms is None else self.monotonic_ms() - since_ms
        return Waiting(height=self._replica.height, waiting_ms=waiting_ms)

    # --- effects, in their order ----------------------------------------------------------------------------

    def _carry_out(self, effects: Effects) -> None:
        self._persist(effects)
        for send in effects.send:
            for recipient in send.recipients:
                self._mesh.send(recipient, send.message)
        for answer in effects.send_decided:
            self._send_decided(answer)
        self._verify(effects.verify)
        for request in effects.validate:
            self._validate(request)
        if effects.propose is not None:
            self._propose(effects.propose)
        if effects.apply is not None:
            self._apply(effects.apply)
        for evidence in effects.evidence:
            self._metrics.on_message_refused(evidence.offence.value)
            self._evidence(equivocation_of(evidence, self._ledger.eras.at(evidence.height)))

    def _persist(self, effects: Effects) -> None:
        """Proposals, certificates and a copy of the sign state first, then the sign state itself; both synced."""
        records: dict[bytes, bytes] = {}
        if effects.voted is not None:
            records[VOTED_KEY] = encode(effects.voted)
            self._note_phase("propose")
        if effects.prepared is not None:
            records[PREPARED_KEY] = encode(effects.prepared)
            self._note_phase("prepare")
        if effects.sign_state is not None:
            records[SIGN_STATE_KEY] = encode(effects.sign_state)
        if records:
            self._ledger.persist_undecided(records)
        if effects.sign_state is not None:
            self._sign_state.save(encode(effects.sign_state))

    def _note_phase(self, phase: str) -> None:
        now_s = time.monotonic()
        self._metrics.on_phase(phase, now_s - self._phase_started_s)
        self._phase_started_s = now_s

    def _send_decided(self, answer: SendDecided) -> None:
        size_bytes = 0
        for number in range(answer.first, min(answer.first + DECIDED_RUN_MAX, self._ledger.height + 1)):
            decided = read_decided(self._ledger, Height(number))
            self._mesh.send(answer.recipient, decided)
            size_bytes += len(decided.proposal)
            if size_bytes >= DECIDED_RUN_SIZE_BYTES_MAX:
                break

    def _verify(self, arrived: Iterable[Arrived]) -> None:
        for one in arrived:
            if not _proposal_has_its_name(one.message):
                self._metrics.on_message_refused("wrong_proposal")
                continue
            result = verify_message(one.message, self._replica.membership, self._replica.era)
            if isinstance(result, Verified):
                if is_forgotten(one.message, self._own, self._replica.remembered):
                    self._forget()
                self._events.append(Received(sender=one.sender, message=result))
            else:
                self._metrics.on_message_refused(result.value)

    def _validate(self, request: ValidateRequest) -> None:
        block = decode(request.proposal, Block)
        task = asyncio.get_running_loop().create_task(self._validate_when_verified(request, block))
        self._validations.add(task)
        task.add_done_callback(self._validations.discard)

    async def _validate_when_verified(self, request: ValidateRequest, block: Block) -> None:
        try:
            await verify_ahead(self._ledger, block.transactions)
            if request.height != self._ledger.height + 1:
                return  # decided meanwhile
            refusal = self._ledger.check(block)
        except Exception as error:  # noqa: BLE001  (a bug of ours or a damaged ledger: stop signing)
            self.fail(error)
            return
        if refusal is not None:
            self._log.warning("invalid block", height=request.height, reason=str(refusal))
            self._metrics.on_message_refused("invalid_block")
        elif self._chain is not None:
            self._chain.take_from_block(block.transactions)
        self.post(
            Validated(
                height=request.height,
                block=request.block,
                header_slot=block.header.slot if refusal is None else None,
            )
        )

    def _propose(self, request: ProposeRequest) -> None:
        assert self._chain is not None
        genesis = self._ledger.genesis
        candidates = self._chain.mempool.candidates(
            transactions_max=genesis.block_transactions_max, size_bytes_max=genesis.block_size_bytes_max
        )
        block = self._ledger.build(slot=request.slot, leader=self._own, candidates=candidates)
        is_proposed = bool(block.transactions) or request.may_be_empty or self._ledger.carried is not None
        self._events.append(
            Proposed(
                height=request.height,
                slot=request.slot,
                block=block_digest(block.header) if is_proposed else None,
                proposal=encode(block) if is_proposed else b"",
            )
        )

    def _apply(self, decision: Decision) -> None:
        """One synced write; only then anything that tells others of the decision."""
        assert self._chain is not None
        self._note_phase("commit")
        block = decode(decision.proposal, Block)
        self._ledger.append(block, decision.certificate)
        self._note_phase("apply")
        if self._is_forgotten(decision.certificate, block.parent_certificate):
            self._forget()
        applied = AppliedBlock(
            block=block,
            digest=decision.block,
            certificate=decision.certificate,
            receipts=self._ledger.receipts(decision.height),
            applied_ms=time.time_ns() // 1_000_000,
        )
        self._metrics.on_applied(applied)
        self._chain.on_applied(applied)
        self.work_changed()
        self.post(
            Applied(
                height=decision.height,
                block=decision.block,
                header_slot=block.header.slot,
                memberships=self._ledger.memberships(),
            )
        )


def _proposal_has_its_name(message: Message) -> bool:
    """A body must be what its digest names, whole, or a liar could have a good block's name judged by a bad body."""
    match message:
        case PrePrepare() | Body():
            name, proposal = message.block, message.proposal
        case Decided():
            name, proposal = message.certificate.block, message.proposal
        case _:
            return True
    try:
        block = decode(proposal, Block)
    except DecodeError:
        return False
    return block_digest(block.header) == name and block_is_whole(block)


def _restore(identity: Identity, ledger: Ledger, sign_state: SignStateFile, now: Instant) -> Replica:
    start = stored_start(ledger, decode(sign_state.load(), SignState))
    if has_older_records(ledger):
        ledger.drop_undecided()  # or those that are not written anew would stand beside the new era's
    genesis = ledger.genesis
    return Replica(
        signer=identity.signer,
        parameters=Parameters(slot_duration_ms=genesis.slot_duration_ms, attempt_max_ms=genesis.attempt_max_ms),
        start=start,
        now=now,
    )
