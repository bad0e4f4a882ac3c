"""The one driver of the replica: hands it events, carries out its effects in their order.

The law: *persist, sync, then send, then apply.* Steps run strictly one after another: an event that arises
while one is carried out waits in a queue. Nothing here awaits, sleeps or reads a clock: what takes time calls back,
and what is durable is so when a call of `Application` or `SignStateStore` returns. So the daemon and the simulator
run the same code, the one on sockets and disks, the other on virtual ones.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from consensus.codec import decode, encode
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
    Refused,
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
from consensus.member import KeyRing, Parameters
from consensus.messages import CommitCertificate, Message
from consensus.recovery import certificate_is_forgotten, is_forgotten
from consensus.replica import Replica
from consensus.verification import Verified, verify_message
from ledger.startup import RECENT_BLOCKS
from node.chain.application import Application
from node.chain.records import PREPARED_KEY, SIGN_STATE_KEY, VOTED_KEY, has_older_records, stored_start
from node.chain.replica_status import ReplicaStatus
from node.chain.undecided_watch import Waiting
from node.home.sign_state import SignStateStore
from node.logs import get_logger

DECIDED_RUN_SIZE_BYTES_MAX: Final = 1024 * 1024
"""A run of decided blocks ends with the one that reaches it: a question of 100 bytes, four times a slot, may not make
this node send eight of the largest blocks each time. Who is behind asks on from there.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverPorts:
    """What the driver needs of the world."""

    now: Callable[[], Instant]
    send: Callable[[Address, Message], None]
    """Puts a message on its way to a member; never waits for it."""
    connected: Callable[[], frozenset[Address]]
    """Returns the members whose link is up."""
    verify_ahead: Callable[[tuple[bytes, ...], Callable[[], None]], None]
    """Verifies requests somewhere else, and calls back from the one thread that this runs in."""
    evidence: Callable[[Equivocation], None]
    """Takes what proves that a member contradicted itself."""
    failed: Callable[[Exception], None]
    """Hears once why nothing is signed any more: the process must stop."""
    refused: Callable[[str, Address | None], None]
    """Counts what was refused: the reason, and who sent it, where one member did."""
    phase_ended: Callable[[str], None]
    """Hears that the undecided height has passed a durable phase."""


class Driver:
    """Runs one replica on one application."""

    def __init__(
        self,
        *,
        keys: KeyRing,
        parameters: Parameters,
        application: Application,
        sign_state: SignStateStore,
        ports: DriverPorts,
    ) -> None:
        """Restores the replica from the application's records and the sign state; nothing is sent before the first
        event.
        """
        self._own = keys.address
        self._application = application
        self._sign_state = sign_state
        self._ports = ports
        self._replica = _restore(keys, parameters, application, sign_state, ports.now())
        self._events: deque[Event] = deque()
        self._is_stepping = False
        self._has_failed = False
        self._connected: frozenset[Address] = frozenset()
        self._heard_ms: dict[Address, int] = {}
        """Per member: monotonic time of its last message."""
        self._log = get_logger("consensus")
        self._check_memory()
        self._events.append(self._work())  # what a ceremony carries waits from the start, though nobody asked for it

    # --- events -------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Tells the replica that time passed, and of links that came up since."""
        connected = self._ports.connected()
        for member in sorted(connected - self._connected):
            self.post(Connected(member=member))
        self._connected = connected
        self.post(Tick())

    def receive(self, sender: Address, message: Message) -> None:
        """Takes a member's consensus message from the mesh."""
        self._heard_ms[sender] = self._ports.now().monotonic_ms
        self.post(Arrived(sender=sender, message=message))

    def work_changed(self) -> None:
        """Tells the replica what waits to be ordered."""
        self.post(self._work())

    def _work(self) -> WorkWaiting:
        return WorkWaiting(oldest_arrival_ms=self._application.oldest_arrival_ms())

    def post(self, event: Event) -> None:
        """Steps the replica with an event, after all earlier ones; a failure stops the node for good."""
        if self._has_failed:
            return
        self._events.append(event)
        if not self._is_stepping:
            self._step_all()

    def fail(self, error: Exception) -> None:
        """Stops signing for good, and thereby the node."""
        self._events.clear()
        if not self._has_failed:
            self._has_failed = True
            self._ports.failed(error)

    def _step_all(self) -> None:
        self._is_stepping = True
        try:
            while self._events:
                self._carry_out(self._replica.step(self._events.popleft(), self._ports.now()))
        except Exception as error:  # noqa: BLE001  (whatever it is, nothing may be signed after it)
            self.fail(error)
        finally:
            self._is_stepping = False

    # --- what this member may have forgotten (consensus.recovery) -------------------------------------------------

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
        tip = self._application.height
        for number in range(max(self._application.first_height, tip - RECENT_BLOCKS + 1), tip + 1):
            decided = self._application.decided(Height(number))
            if self._is_forgotten(decided.certificate, self._application.parent_certificate(decided.proposal)):
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

    # --- what others may look at ----------------------------------------------------------------------------------

    def status(self) -> ReplicaStatus:
        """Returns where the replica stands."""
        slot = self._replica.present_slot(self._ports.now())
        return ReplicaStatus(
            undecided_height=self._replica.height,
            present_slot=slot,
            phase=self._replica.phase.value,
            view_changes=self._replica.view_changes_sent,
            certificates_late=self._replica.late_certificates[0],
            certificates_missed=self._replica.late_certificates[1],
            leader=self._replica.leaders.whose(slot),
            is_silent=self.is_silent,
            silent_through=None if self.is_unanswered or not self.is_silent else self._replica.silent_through,
        )

    def explain(self) -> Explanation:
        """Returns why the height is undecided, as this member sees it."""
        connected = self._ports.connected()
        contacts = {
            member: Contact(is_connected=member in connected, heard_ms=self._heard_ms.get(member))
            for member in self._replica.membership.addresses
        }
        return self._replica.explain(self._ports.now(), contacts)

    def may_lack(self, other: Address) -> list[Address]:
        """Returns who may not have the transactions that another member sent to all; nobody while links work."""
        return self._replica.may_lack(other, self._ports.now())

    def waiting(self) -> Waiting:
        """Returns the undecided height and for how long it has had something to decide."""
        since_ms = self._replica.waiting_since_ms()
        waiting_ms = None if since_ms is None else self._ports.now().monotonic_ms - since_ms
        return Waiting(height=self._replica.height, waiting_ms=waiting_ms)

    # --- effects, in their order ------------------------------------------------------------------------------------

    def _carry_out(self, effects: Effects) -> None:
        self._persist(effects)
        for send in effects.send:
            for recipient in send.recipients:
                self._ports.send(recipient, send.message)
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
            self._ports.refused(evidence.offence.value, evidence.signer)
            self._ports.evidence(equivocation_of(evidence, self._application.eras.at(evidence.height)))

    def _persist(self, effects: Effects) -> None:
        """Proposals, certificates and a copy of the sign state first, then the sign state itself; both synced."""
        records: dict[bytes, bytes] = {}
        if effects.voted is not None:
            records[VOTED_KEY] = encode(effects.voted)
            self._ports.phase_ended("propose")
        if effects.prepared is not None:
            records[PREPARED_KEY] = encode(effects.prepared)
            self._ports.phase_ended("prepare")
        if effects.sign_state is not None:
            records[SIGN_STATE_KEY] = encode(effects.sign_state)
        if records:
            self._application.persist(records)
        if effects.sign_state is not None:
            self._sign_state.save(encode(effects.sign_state))

    def _send_decided(self, answer: SendDecided) -> None:
        if answer.first < self._application.first_height:
            return  # others have it: block sync asks them
        size_bytes = 0
        for number in range(answer.first, min(answer.first + DECIDED_RUN_MAX, self._application.height + 1)):
            decided = self._application.decided(Height(number))
            self._ports.send(answer.recipient, decided)
            size_bytes += len(decided.proposal)
            if size_bytes >= DECIDED_RUN_SIZE_BYTES_MAX:
                break

    def _verify(self, arrived: Iterable[Arrived]) -> None:
        for one in arrived:
            if not self._application.has_its_name(one.message):
                self._ports.refused("wrong_proposal", one.sender)
                continue
            result = verify_message(one.message, self._replica.leaders, self._replica.era)
            if isinstance(result, Verified):
                if is_forgotten(result.message, self._own, self._replica.remembered):
                    self._forget()
                self._events.append(Received(sender=one.sender, message=result))
            else:
                self._ports.refused(result.value, one.sender)
                self._events.append(Refused(sender=one.sender, message=one.message))

    def _validate(self, request: ValidateRequest) -> None:
        """Has a proposal's requests verified elsewhere first: execution then finds them remembered."""
        transactions = self._application.transactions_in(request.proposal)
        self._ports.verify_ahead(transactions, lambda: self._execute(request, transactions))

    def _execute(self, request: ValidateRequest, transactions: tuple[bytes, ...]) -> None:
        if self._has_failed or request.height != self._application.height + 1:
            return  # decided meanwhile
        try:
            origin = self._application.check(request.proposal)
        except Exception as error:  # noqa: BLE001  (a bug of ours or a damaged ledger: stop signing)
            self.fail(error)
            return
        if origin is None:
            self._ports.refused("invalid_block", None)
        else:
            self._application.take_all(transactions)  # pending here too (P6): if its slot fails, any leader has them
            self.work_changed()
        self.post(Validated(height=request.height, block=request.block, origin=origin))

    def _propose(self, request: ProposeRequest) -> None:
        built = self._application.build(request.slot, may_be_empty=request.may_be_empty)
        block, proposal = (None, b"") if built is None else built
        self._events.append(Proposed(height=request.height, slot=request.slot, block=block, proposal=proposal))

    def _apply(self, decision: Decision) -> None:
        """One synced write; only then anything that tells others of the decision."""
        self._ports.phase_ended("commit")
        self._application.append(decision)
        self._ports.phase_ended("apply")
        if self._is_forgotten(decision.certificate, self._application.parent_certificate(decision.proposal)):
            self._forget()
        self.work_changed()
        self.post(
            Applied(
                height=decision.height,
                block=decision.block,
                header_slot=self._application.tip_slot,
                memberships=self._application.memberships(),
            )
        )


def _restore(
    keys: KeyRing, parameters: Parameters, application: Application, sign_state: SignStateStore, now: Instant
) -> Replica:
    records = application.records()
    start = stored_start(application, records, decode(sign_state.load(), SignState))
    if has_older_records(application, records):
        application.drop_records()  # or those that are not written anew would stand beside the new era's
    return Replica(
        keys=keys,
        parameters=parameters,
        start=start,
        now=now,
    )
