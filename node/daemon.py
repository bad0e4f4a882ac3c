"""The daemon: puts the parts of a node together, runs them, and stops them in order.

Data flows one way: the mesh hands messages to the driver (consensus), the chain (transactions) or the meter
agent (offers); the driver writes the ledger and tells the chain; API, metrics and agent read the chain.
"""

import asyncio
import secrets
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from consensus.evidence import Equivocation
from consensus.identifiers import Address
from consensus.member import KeyRing, Parameters
from contracts.applicants import Applicant
from contracts.state import Overlay, applicant_key
from ledger.eras import BegunEra
from ledger.errors import LedgerDamaged, LedgerUnreadable, LedgerWriteFailed, RulesUnknown
from ledger.side_files import mark_damage
from ledger.validation import rules_in
from node.admission.endpoint import Endpoint, endpoint_of
from node.admission.identity import Identity, load_chain, load_key
from node.admission.next_keys import (
    begun_exchange,
    finish_taking,
    is_in_force,
    load_identities,
    may_take,
    take,
)
from node.admission.own_member import as_member, has_taken, state_of_keys
from node.api.context import ApiNode, RecoveryStatus
from node.api.server import Api
from node.chain.application import LedgerApplication
from node.chain.applied import AppliedFeed
from node.chain.driver_loop import DriverLoop
from node.chain.mempool import Mempool, MempoolLimits
from node.chain.participant import Participant, Ports
from node.chain.replica_status import ReplicaView
from node.chain.rules_watch import RulesWatch
from node.chain.submission import Chain, ChainLinks
from node.chain.transaction_pool import TransactionPool
from node.chain.undecided_watch import UndecidedWatch
from node.chain.verify_ahead import verify_ahead
from node.errors import IdentityError, NodeError, SignStateError
from node.evidence.keeper import EvidenceKeeper, EvidenceLinks
from node.home.configuration import Configuration
from node.home.genesis_file import require_genesis
from node.home.halt import refuse_if_halted, write_halt
from node.home.heap import keep_large_blocks_off_the_heap
from node.home.process import on_end_of_input, on_ending_signal, process_id_file
from node.home.sign_state import SignStateFile
from node.home.storage import open_storage
from node.household.agent import MemberAgent
from node.logs import configure_logs, get_logger
from node.mesh.endpoint_exchange import EndpointExchange, ExchangePorts
from node.mesh.endpoints import endpoints_of, own_places
from node.mesh.forget_exchange import ForgetExchange, ForgetPorts
from node.mesh.identity_exchange import IdentityExchange, IdentityPorts
from node.mesh.known_keys import KnownKeys
from node.mesh.limits import PeerEndpoint
from node.mesh.mesh import Mesh
from node.mesh.messages import (
    Blocks,
    ChunkAnswer,
    ChunkRequest,
    EndpointRecords,
    EvidenceNote,
    ForgetNotes,
    IdentityAnswer,
    IdentityNote,
    OfferDecline,
    OfferReply,
    OfferRequest,
    OriginPage,
    OriginRequest,
    PeerMessage,
    SnapshotOffer,
    SnapshotRequest,
    Transactions,
)
from node.metrics.admissions import AdmissionWatch
from node.metrics.chain_collector import ChainCollector
from node.metrics.counters import NodeMetrics
from node.names.names import NamesOfHome, label_of
from node.snapshots.beginning import begin_with_taken
from node.snapshots.filled import take_filled
from node.snapshots.snapshots import SnapshotLinks, Snapshots
from node.stories.member_names import keys_of_who_left
from node.tasks import cancel, first_of, started

PASS_ON_AGE_SLOTS: Final = 2
"""Transactions that wait longer are passed on to all members again, each slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentParts:
    """What a member's agent is made of."""

    configuration: Configuration
    identity: Identity
    chain: Chain
    replica: ReplicaView
    mesh: Mesh
    is_behind: Callable[[], bool]
    """Says whether blocks are fetched that were decided long ago."""


AgentFactory = Callable[[AgentParts], MemberAgent]


def make_agent(parts: AgentParts) -> MemberAgent:
    """Returns the agent of an honest member."""
    return MemberAgent(
        configuration=parts.configuration,
        identity=parts.identity,
        chain=parts.chain,
        replica=parts.replica,
        mesh=parts.mesh,
        is_behind=parts.is_behind,
    )


def run_daemon(
    configuration: Configuration, *, agent_factory: AgentFactory = make_agent, until_input_ends: bool = False
) -> int:
    """Runs a node until a signal asks it to end; returns the process's exit code.

    Args:
        configuration: the node's.
        agent_factory: makes its agent.
        until_input_ends: ends it also when standard input, which must be a pipe, ends: whoever holds the other end is
            gone. One byte on it lets the node run on.

    Raises:
        NodeError, LedgerError: the node cannot start, or had to stop; one sentence for people.
    """
    configure_logs(
        log_format=configuration.node.log_format,
        log_level=configuration.node.log_level,
        node=label_of(load_key(configuration.home.node_key).address),
    )
    keep_large_blocks_off_the_heap()
    refuse_if_halted(configuration.home)
    with process_id_file(configuration.home):
        return asyncio.run(_run(configuration, agent_factory, until_input_ends=until_input_ends))


async def _run(configuration: Configuration, agent_factory: AgentFactory, *, until_input_ends: bool) -> int:
    log = get_logger("node")
    stop = asyncio.Event()

    def stop_by(why: str) -> None:
        log.info("asked to stop", by=why)
        stop.set()

    on_ending_signal(lambda number: stop_by(number.name))
    if until_input_ends:
        on_end_of_input(lambda: stop_by("the end of standard input"))
    takes_states = fills = True
    while not stop.is_set():
        takes_states &= await asyncio.to_thread(begin_with_taken, configuration.home)
        fills &= await asyncio.to_thread(take_filled, configuration.home)
        await _run_with_its_keys(configuration, agent_factory, stop, takes_states=takes_states, fills=fills)
    log.info("stopped")
    return 0


async def _run_with_its_keys(
    configuration: Configuration,
    agent_factory: AgentFactory,
    stop: asyncio.Event,
    *,
    takes_states: bool,
    fills: bool,
) -> None:
    """Runs the node until it is asked to stop, or the chain has another key of it: it goes on with that as after any
    restart.
    """
    log = get_logger("node")
    with ExitStack() as storage:
        daemon = Daemon(configuration, storage, agent_factory, takes_states=takes_states, fills=fills)
        try:
            await daemon.run(stop)
        except (NodeError, LedgerWriteFailed, LedgerUnreadable, RulesUnknown):
            raise  # the disk or the surroundings failed, or the program is too old: nothing inside is wrong
        except LedgerDamaged as damaged:
            mark_damage(configuration.home.ledger, damaged.what)
            log.critical("stopped on a damaged ledger", reason=damaged.what, height=damaged.height)
            raise NodeError(f"{configuration.home.ledger}: {damaged}. The next start deals with it") from damaged
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            write_halt(configuration.home, reason)
            log.critical("halted on a broken invariant", reason=reason, exc_info=True)
            raise NodeError(f"halted on a broken invariant: {reason}; the data is kept") from error
        finally:
            warnings.simplefilter("ignore", ResourceWarning)  # what is open now, the end of the process closes


class Daemon:
    """One node's parts, wired."""

    def __init__(
        self,
        configuration: Configuration,
        storage: ExitStack,
        agent_factory: AgentFactory,
        *,
        takes_states: bool = True,
        fills: bool = True,
    ) -> None:
        """Opens keys, sign state and ledger, which `storage` closes; touches no socket yet."""
        self._configuration = configuration
        require_genesis(configuration.home)
        identities = load_identities(configuration.home)  # before the ledger is opened: they fail at once
        self.metrics = NodeMetrics()
        opened = open_storage(configuration, storage)
        self.ledger = opened.ledger
        rules_in(self.ledger)  # else nothing can be done before the program is another
        self._set_aside = opened.set_aside
        if has_taken(configuration.home, self.ledger, identities):
            identities = load_identities(configuration.home)
        self.known = KnownKeys(self.ledger, configuration.home.checkpoint)
        identity, other = as_member(configuration, identities, self.ledger, self.known.addresses())
        self.mesh = self._make_mesh(identity, other, opened.begun)
        self._own = identity.address
        self._keys_in_use = (identity.node_key.public_key, identity.meter_key.public_key)
        self._renewed = asyncio.Event()
        self._admit()
        self.endpoints = self._make_endpoints(identity)
        self.forgets = self._make_forgets()
        self.identities = self._make_identities(identity, other)
        self.loop = DriverLoop(self.ledger)
        pool = self._make_pool()
        applied = AppliedFeed()
        applied.listen(self.metrics.on_applied)
        applied.listen(AdmissionWatch(self.ledger, self.metrics.on_admission).on_applied)
        applied.listen(lambda _: self.known.look())
        applied.listen(lambda _: self._admit())
        applied.listen(lambda _: self._take_keys())
        self.rules = RulesWatch(self.ledger)
        applied.listen(lambda _: self.rules.look())
        applied.listen(lambda _: self.identities.drop_what_is_over())
        keys = KeyRing(identity.signer)
        if other is not None:
            keys.add(other.signer)
        application = LedgerApplication(
            own=identity.address, prove=keys.prove, ledger=self.ledger, pool=pool, applied=applied.publish
        )
        self.participant = self._make_participant(keys, application, opened.sign_state)
        self.chain = self._make_chain(pool, applied)
        driver = self.participant.driver
        self.replica = ReplicaView(status=driver.status, explain=driver.explain, connected=self.mesh.connected)
        self.metrics.attach(ChainCollector(self.chain, self.replica, self._filled_height))
        self.undecided = UndecidedWatch(
            waiting=driver.waiting,
            explain=driver.explain,
            slot_duration_ms=self.ledger.genesis.slot_duration_ms,
        )
        self.agent = agent_factory(
            AgentParts(
                configuration=configuration,
                identity=identity,
                chain=self.chain,
                replica=self.replica,
                mesh=self.mesh,
                is_behind=self._is_behind,
            )
        )
        self.evidence = self._make_evidence(identity)
        self.snapshots = self._make_snapshots(opened.begun, storage, takes_states=takes_states, fills=fills)
        self.api = self._make_api(identity)

    def _make_mesh(self, identity: Identity, other: Identity | None, begun: Sequence[BegunEra]) -> Mesh:
        table = self._configuration.p2p
        return Mesh(
            identity=identity,
            peers=endpoints_of(table.peers, begun),
            places_of=self._places_of,
            member_of=self.known.member_of,
            listen_host=table.host,
            listen_port=table.port,
            handler=self._receive,
            on_link=self._on_link,
            metrics=self.metrics,
            other=other,
        )

    def _is_behind(self) -> bool:
        return self.snapshots.is_behind()

    def _make_snapshots(
        self, begun: Sequence[BegunEra], storage: ExitStack, *, takes_states: bool, fills: bool
    ) -> Snapshots:
        links = SnapshotLinks(
            send=self.mesh.send,
            send_bulk=self.mesh.send_bulk,
            connected=self.mesh.connected,
            refused=self.metrics.on_message_refused,
            is_syncing=lambda: self.participant.sync.progress() is not None,
        )
        return Snapshots(
            configuration=self._configuration,
            ledger=self.ledger,
            begun=begun,
            links=links,
            storage=storage,
            takes_states=takes_states,
            fills=fills,
        )

    async def _catch_up(self) -> None:
        await self.snapshots.catch_up(lambda: self.participant.sync.run(partial(verify_ahead, self.ledger)))
        self._renewed.set()
        await asyncio.Event().wait()  # until this run of the node is over

    async def _fill_in(self) -> None:
        if await self.snapshots.fill_in():
            self._renewed.set()
        await asyncio.Event().wait()

    def _admit(self) -> None:
        """Has links to whom the chain names."""
        self.mesh.admit(self.known.addresses() - {self._own})

    def _take_keys(self) -> None:
        """Begins anew with a key that the chain has since; puts it in the old one's place once that is of no use."""
        home, state = self._configuration.home, state_of_keys(self.ledger, self._own)
        is_taking = home.taken.directory.exists()
        if state is None or not (is_taking or begun_exchange(home)):
            return
        try:
            if is_taking:
                finish_taking(home)
            elif not is_in_force(home, state):
                return
            elif may_take(home, state):
                take(home)
        except IdentityError as error:  # tried again with the next block
            get_logger("node").error("the next key cannot be taken into use", reason=str(error))
            return
        if self._keys_in_use != (state.acting, state.meter):
            self._renewed.set()
        elif begun_exchange(home) is None:
            self.mesh.show_alone(state.acting)

    def _make_endpoints(self, identity: Identity) -> EndpointExchange:
        home = self._configuration.home
        ports = ExchangePorts(
            send=self.mesh.send,
            connected=self.mesh.connected,
            moved=self.mesh.look_again,
            member_of=self.known.member_of,
            refused=self.metrics.on_message_refused,
            wall_ms=lambda: time.time_ns() // 1_000_000,
            clock_s=time.monotonic,
        )
        return EndpointExchange(
            key=identity.node_key,
            chain=self.ledger.chain,
            places=own_places(
                self._configuration.p2p, endpoint_of(load_chain(identity.certificate_file)[0].extensions)
            ),
            file=home.endpoints,
            ports=ports,
        )

    def _make_forgets(self) -> ForgetExchange:
        ports = ForgetPorts(
            send=self.mesh.send,
            connected=self.mesh.connected,
            member_of=self.ledger.member_of,
            who_left=partial(keys_of_who_left, self.ledger),
            refused=self.metrics.on_message_refused,
        )
        return ForgetExchange(file=self._configuration.home.address_book, ports=ports)

    def _make_identities(self, identity: Identity, other: Identity | None) -> IdentityExchange:
        ports = IdentityPorts(
            send=self.mesh.send,
            connected=self.mesh.connected,
            applicant=lambda address: Overlay(self.ledger).get(applicant_key(address), Applicant),
            refused=self.metrics.on_message_refused,
        )
        keys = [one.signer for one in (identity, other) if one is not None]
        return IdentityExchange(chain=self.ledger.chain, keys=keys, ports=ports)

    def _places_of(self, peer: PeerEndpoint) -> tuple[Endpoint, ...]:
        """Where to dial; the mesh is made before the exchange."""
        return self.endpoints.places_of(peer)

    def _on_link(self, peer: Address) -> None:
        self.endpoints.on_link(peer)
        self.forgets.on_link(peer)
        self.identities.on_link(peer)

    def _make_pool(self) -> TransactionPool:
        limits = self._configuration.mempool
        mempool = Mempool(
            limits=MempoolLimits(
                transactions_max=limits.transactions_max,
                size_bytes_max=limits.size_bytes_max,
                sender_transactions_max=limits.sender_transactions_max,
            )
        )
        return TransactionPool(ledger=self.ledger, mempool=mempool, monotonic_ms=self.loop.monotonic_ms)

    def _make_participant(
        self, keys: KeyRing, application: LedgerApplication, sign_state: SignStateFile
    ) -> Participant:
        genesis = self.ledger.genesis
        return Participant(
            keys=keys,
            parameters=Parameters(
                slot_duration_ms=genesis.slot_duration_ms,
                attempt_max_ms=genesis.attempt_max_ms,
            ),
            application=application,
            sign_state=sign_state,
            ports=Ports(
                now=self.loop.now,
                send=self.mesh.send,
                send_bulk=self.mesh.send_bulk,
                connected=self.mesh.connected,
                verify_ahead=self.loop.verify_ahead,
                draw=secrets.token_bytes,
                evidence=self._found_evidence,
                failed=self.loop.fail,
                refused=lambda reason, _: self.metrics.on_message_refused(reason),
                phase_ended=self.metrics.on_phase,
            ),
        )

    def _make_chain(self, pool: TransactionPool, applied: AppliedFeed) -> Chain:
        links = ChainLinks(
            work_changed=self.participant.driver.work_changed,
            pass_on=lambda raws: self.mesh.broadcast(Transactions(raw=raws)),
            pass_on_of=self._pass_on_of,
            submitted=self.metrics.on_submitted,
            peer_refused=self.metrics.on_message_refused,
        )
        return Chain(ledger=self.ledger, pool=pool, applied=applied, links=links)

    def _pass_on_of(self, sender: Address, raws: tuple[bytes, ...]) -> None:
        for recipient in self.participant.driver.may_lack(sender):
            self.mesh.send(recipient, Transactions(raw=raws))

    def _found_evidence(self, evidence: Equivocation) -> None:
        """What the replica finds; the driver is made before the keeper."""
        self.evidence.found(evidence)

    def _make_evidence(self, identity: Identity) -> EvidenceKeeper:
        links = EvidenceLinks(
            broadcast=self.mesh.broadcast,
            present_slot=lambda: self.replica.status().present_slot,
            report=self.agent.report,
            refused=self.metrics.on_message_refused,
        )
        home = self._configuration.home
        return EvidenceKeeper(own=identity.address, ledger=self.ledger, directory=home.evidence, links=links)

    def _make_api(self, identity: Identity) -> Api:
        return Api(
            node=ApiNode(
                name=self._configuration.node.name,
                names=NamesOfHome(self._configuration.home.address_book, self.ledger.genesis),
                address=identity.address,
                signer=identity.signer,
                chain=self.chain,
                replica=self.replica,
                metrics=self.metrics,
                meter_progress=self.agent.progress,
                halted=self._halted,
                recovery_status=self._recovery_status,
                rules_notice=self.rules.notice,
                link_notices=self.mesh.notices,
                identities=self.identities,
                damaged=self.participant.driver.fail,
            ),
            host=self._configuration.api.host,
            port=self._configuration.api.port,
            host_names=self._configuration.api.host_names,
        )

    def _filled_height(self) -> int:
        filling = self._recovery_status().filling
        return 0 if filling is None else filling.height

    def _recovery_status(self) -> RecoveryStatus:
        kept, intake, filling = self._set_aside, self.snapshots.intake, self.snapshots.filling
        return RecoveryStatus(
            syncing=self.participant.sync.progress(),
            sync_notice=self.participant.sync.notice,
            taking=None if intake is None else (intake.height, intake.share),
            filling=None if filling is None else filling.progress(),
            ledger_set_aside=None if kept is None else kept.name,
        )

    def _halted(self) -> str | None:
        failed = self.loop.failed
        return str(failed.exception()) if failed.done() and not failed.cancelled() else None

    def _receive(self, sender: Address, message: PeerMessage) -> None:
        """Hands a peer's message to whom it is for."""
        match message:
            case Transactions():
                self.chain.take_from_peer(sender, message.raw)
            case OfferRequest() | OfferReply() | OfferDecline():
                self.agent.handle(sender, message)
            case EvidenceNote():
                self.evidence.on_note(sender, message)
            case EndpointRecords():
                self.endpoints.on_records(sender, message)
            case ForgetNotes():
                self.forgets.on_notes(sender, message)
            case (
                SnapshotRequest() | OriginRequest() | ChunkRequest() | SnapshotOffer() | OriginPage() | ChunkAnswer()
            ):
                self.snapshots.receive(sender, message)
            case Blocks() if self.snapshots.take_earlier(sender, message):
                pass
            case IdentityNote():
                self.identities.on_note(sender, message)
            case IdentityAnswer():
                self.identities.on_answer(sender, message)
            case _:
                self.participant.receive(sender, message)

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set, the chain has another key of this node, or another ledger can be taken.

        Raises:
            Exception: what made a part fail.
        """
        async with AsyncExitStack() as stack:
            await started(stack, self.mesh.start, self.mesh.stop)
            await started(stack, self.api.start, self.api.stop)
            tasks = [
                asyncio.create_task(work)
                for work in (
                    self.loop.run(self.participant.driver),
                    self.chain.run(),
                    self.participant.blocks.run(),
                    self._catch_up(),
                    self.participant.recovery.run(),
                    self.undecided.run(),
                    self.evidence.run(),
                    self.endpoints.run(),
                    self.forgets.run(),
                    self.snapshots.own.run(),
                    self.snapshots.server.run(),
                    self._fill_in(),
                    self.identities.run(),
                    self._pass_on_old(),
                    self.agent.run(),
                )
            ]
            stack.push_async_callback(cancel, tasks)
            get_logger("node").info(
                "started",
                address=self.driver_address(),
                height=self.ledger.height,
                api=f"http://{self._configuration.api.host}:{self._configuration.api.port}",
            )
            await first_of((stop, self._renewed), [*tasks, self.loop.failed, self.mesh.failed])
            why = (
                "asked to"
                if stop.is_set()
                else "it goes on with another key, a state that it took, or earlier blocks"
            )
            get_logger("node").info("stopping", height=self.ledger.height, why=why)

    def driver_address(self) -> str:
        """This member's address in hex."""
        return self.api.node.address.hex()

    async def _pass_on_old(self) -> None:
        slot_duration_ms = self.ledger.genesis.slot_duration_ms
        while True:
            await asyncio.sleep(slot_duration_ms / 1_000)
            self.chain.pass_on_old(PASS_ON_AGE_SLOTS * slot_duration_ms)


__all__ = ["AgentFactory", "AgentParts", "Daemon", "SignStateError", "make_agent", "run_daemon"]
