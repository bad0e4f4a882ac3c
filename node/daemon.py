"""The daemon: puts the parts of a node together, runs them, and stops them in order.

Data flows one way: the mesh hands messages to the driver (consensus), the chain (transactions) or the meter
agent (offers); the driver writes the ledger and tells the chain; API, metrics and agent read the chain.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from consensus.evidence import Equivocation
from consensus.identifiers import Address
from consensus.messages import HeightAnswer, HeightQuestion, Status
from contracts.state import MEMBER_LIST_KEY, MemberList
from ledger.errors import LedgerDamaged, LedgerUnreadable, LedgerWriteFailed
from ledger.ledger import Ledger
from ledger.side_files import mark_damage
from node.admission.identity import Identity, load_identity
from node.api.context import ApiNode, RecoveryStatus
from node.api.server import Api
from node.chain.block_server import BlockServer
from node.chain.block_sync import BlockSync, SyncLinks
from node.chain.driver import Driver, MeshLinks
from node.chain.mempool import Mempool, MempoolLimits
from node.chain.sign_recovery import RecoveryLinks, SignRecovery
from node.chain.submission import Chain, ChainLinks
from node.chain.undecided_watch import UndecidedWatch
from node.errors import ConfigurationError, IdentityError, NodeError, SignStateError
from node.evidence.keeper import EvidenceKeeper, EvidenceLinks
from node.home.configuration import Configuration
from node.home.halt import refuse_if_halted, write_halt
from node.home.heap import keep_large_blocks_off_the_heap
from node.home.process import process_id_file
from node.home.storage import open_storage
from node.household.agent import MeterAgent
from node.logs import configure_logs, get_logger
from node.mesh.limits import PeerEndpoint
from node.mesh.mesh import Mesh
from node.mesh.messages import (
    Blocks,
    BlocksRequest,
    EvidenceNote,
    OfferDecline,
    OfferReply,
    OfferRequest,
    PeerMessage,
    Transactions,
)
from node.metrics.chain_collector import ChainCollector
from node.metrics.counters import NodeMetrics
from node.stories.state_views import member_name, require

PASS_ON_AGE_SLOTS: Final = 2
"""Transactions that wait longer are passed on to all members again, each slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentParts:
    """What a meter agent is made of."""

    configuration: Configuration
    identity: Identity
    chain: Chain
    mesh: Mesh


AgentFactory = Callable[[AgentParts], MeterAgent | None]


def make_agent(parts: AgentParts) -> MeterAgent | None:
    """Returns the meter agent of a household; None for a node that only validates."""
    if parts.configuration.meter is None:
        return None
    return MeterAgent(configuration=parts.configuration, identity=parts.identity, chain=parts.chain, mesh=parts.mesh)


def run_daemon(configuration: Configuration, *, agent_factory: AgentFactory = make_agent) -> int:
    """Runs a node until SIGTERM or SIGINT; returns the process's exit code.

    Raises:
        NodeError, LedgerError: the node cannot start, or had to stop; one sentence for people.
    """
    configure_logs(
        log_format=configuration.node.log_format,
        log_level=configuration.node.log_level,
        name=configuration.node.name,
    )
    keep_large_blocks_off_the_heap()
    refuse_if_halted(configuration.home)
    with process_id_file(configuration.home):
        return asyncio.run(_run(configuration, agent_factory))


async def _run(configuration: Configuration, agent_factory: AgentFactory) -> int:
    log = get_logger("node")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with ExitStack() as storage:
        daemon = Daemon(configuration, storage, agent_factory)
        try:
            await daemon.run(stop)
        except (NodeError, LedgerWriteFailed, LedgerUnreadable):
            raise  # the disk or the surroundings failed: nothing inside is wrong
        except LedgerDamaged as damaged:
            mark_damage(configuration.home.ledger, damaged.what)
            log.critical("stopped on a damaged ledger", reason=damaged.what, height=damaged.height)
            raise NodeError(f"{configuration.home.ledger}: {damaged}. The next start deals with it") from damaged
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            write_halt(configuration.home, reason)
            log.critical("halted on a broken invariant", reason=reason, exc_info=True)
            raise NodeError(f"halted on a broken invariant: {reason}; the data is kept") from error
    log.info("stopped")
    return 0


class Daemon:
    """One node's parts, wired."""

    def __init__(self, configuration: Configuration, storage: ExitStack, agent_factory: AgentFactory) -> None:
        """Opens keys, sign state and ledger, which `storage` closes; touches no socket yet."""
        self._configuration = configuration
        identity = load_identity(configuration.home)
        self.metrics = NodeMetrics()
        opened = open_storage(configuration, storage)
        self.ledger = opened.ledger
        self._set_aside = opened.set_aside
        identity = _as_member(configuration, identity, self.ledger)
        self.mesh = self._make_mesh(identity)
        self.driver = Driver(
            identity=identity,
            ledger=self.ledger,
            sign_state=opened.sign_state,
            mesh=MeshLinks(send=self.mesh.send, connected=self.mesh.connected),
            metrics=self.metrics,
            evidence=self._found_evidence,
        )
        self.chain = self._make_chain()
        self.driver.attach(self.chain)
        self.metrics.attach(ChainCollector(self.chain))
        names = {peer.address_bytes: peer.name for peer in configuration.p2p.peers}
        self.blocks = BlockServer(
            ledger=self.ledger, send=self.mesh.send_bulk, refused=self.metrics.on_message_refused
        )
        self.sync = self._make_sync(names)
        self.recovery = self._make_recovery(identity, names)
        self.undecided = UndecidedWatch(
            waiting=self.driver.waiting,
            explain=self.driver.explain,
            name_of=partial(member_name, self.ledger),
            slot_duration_ms=self.ledger.genesis.slot_duration_ms,
        )
        self.agent = agent_factory(
            AgentParts(configuration=configuration, identity=identity, chain=self.chain, mesh=self.mesh)
        )
        self.evidence = self._make_evidence(identity)
        self.api = self._make_api(identity)

    def _make_mesh(self, identity: Identity) -> Mesh:
        table = self._configuration.p2p
        return Mesh(
            identity=identity,
            peers=[
                PeerEndpoint(name=peer.name, address=peer.address_bytes, host=peer.host, port=peer.port)
                for peer in table.peers
            ],
            member_of=self.ledger.member_of,
            listen_host=table.host,
            listen_port=table.port,
            handler=self._receive,
            metrics=self.metrics,
        )

    def _make_chain(self) -> Chain:
        limits = self._configuration.mempool
        mempool = Mempool(
            limits=MempoolLimits(
                transactions_max=limits.transactions_max,
                size_bytes_max=limits.size_bytes_max,
                sender_transactions_max=limits.sender_transactions_max,
            )
        )
        links = ChainLinks(
            monotonic_ms=self.driver.monotonic_ms,
            work_changed=self.driver.work_changed,
            pass_on=lambda raws: self.mesh.broadcast(Transactions(raw=raws)),
            replica_status=self.driver.status,
            explain=self.driver.explain,
            peers_connected=self.mesh.connected,
            submitted=self.metrics.on_submitted,
            peer_refused=self.metrics.on_message_refused,
        )
        return Chain(ledger=self.ledger, mempool=mempool, links=links)

    def _make_sync(self, names: Mapping[Address, str]) -> BlockSync:
        links = SyncLinks(
            send=self.mesh.send,
            connected=self.mesh.connected,
            post=self.driver.post,
            refused=self.metrics.on_message_refused,
            names=names,
        )
        return BlockSync(ledger=self.ledger, links=links)

    def _found_evidence(self, evidence: Equivocation) -> None:
        """What the replica finds; the driver is made before the keeper."""
        self.evidence.found(evidence)

    def _make_evidence(self, identity: Identity) -> EvidenceKeeper:
        agent = self.agent
        links = EvidenceLinks(
            broadcast=self.mesh.broadcast,
            present_slot=lambda: self.chain.replica_status().present_slot,
            report=(lambda _: None) if agent is None else agent.report,
            refused=self.metrics.on_message_refused,
        )
        home = self._configuration.home
        return EvidenceKeeper(own=identity.address, ledger=self.ledger, directory=home.evidence, links=links)

    def _make_recovery(self, identity: Identity, names: Mapping[Address, str]) -> SignRecovery:
        links = RecoveryLinks(
            send=self.mesh.send,
            connected=self.mesh.connected,
            is_unanswered=lambda: self.driver.is_unanswered,
            silent_through=self.driver.silent_through,
            keep_silent_through=self.driver.keep_silent_through,
            refused=self.metrics.on_message_refused,
            names=names,
        )
        return SignRecovery(signer=identity.signer, ledger=self.ledger, links=links)

    def _make_api(self, identity: Identity) -> Api:
        agent = self.agent
        return Api(
            node=ApiNode(
                name=self._configuration.node.name,
                address=identity.address,
                signer=identity.signer,
                chain=self.chain,
                metrics=self.metrics,
                meter_status=(lambda: None) if agent is None else agent.status,
                halted=self._halted,
                recovery_status=self._recovery_status,
                damaged=self.driver.fail,
            ),
            host=self._configuration.api.host,
            port=self._configuration.api.port,
        )

    def _recovery_status(self) -> RecoveryStatus:
        kept = self._set_aside
        return RecoveryStatus(syncing=self.sync.progress(), ledger_set_aside=None if kept is None else kept.name)

    def _halted(self) -> str | None:
        failed = self.driver.failed
        return str(failed.exception()) if failed.done() and not failed.cancelled() else None

    def _receive(self, sender: Address, message: PeerMessage) -> None:
        """Hands a peer's message to whom it is for."""
        match message:
            case Transactions():
                self.chain.take_from_peer(sender, message.raw)
            case OfferRequest() | OfferReply() | OfferDecline():
                if self.agent is not None:
                    self.agent.handle(sender, message)
            case BlocksRequest():
                self.blocks.request(sender, message)
            case Blocks():
                self.sync.on_blocks(sender, message)
            case HeightQuestion():
                self.recovery.on_question(sender, message)
            case HeightAnswer():
                self.recovery.on_answer(sender, message)
            case EvidenceNote():
                self.evidence.on_note(sender, message)
            case Status():
                self.sync.on_status(sender, message)
                self.driver.receive(sender, message)
            case _:
                self.driver.receive(sender, message)

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set.

        Raises:
            Exception: what made a part fail.
        """
        async with AsyncExitStack() as stack:
            await _started(stack, self.mesh.start, self.mesh.stop)
            await _started(stack, self.api.start, self.api.stop)
            tasks = [
                asyncio.create_task(work)
                for work in (
                    self.driver.run(),
                    self.chain.run(),
                    self.blocks.run(),
                    self.sync.run(),
                    self.recovery.run(),
                    self.undecided.run(),
                    self.evidence.run(),
                    self._pass_on_old(),
                    *self._agent_work(),
                )
            ]
            stack.push_async_callback(_cancel, tasks)
            get_logger("node").info(
                "started",
                address=self.driver_address(),
                height=self.ledger.height,
                api=f"http://{self._configuration.api.host}:{self._configuration.api.port}",
            )
            await _first_of(stop, [*tasks, self.driver.failed, self.mesh.failed])
            get_logger("node").info("stopping", height=self.ledger.height)

    def driver_address(self) -> str:
        """This member's address in hex."""
        return self.api.node.address.hex()

    def _agent_work(self) -> tuple[Coroutine[Any, Any, None], ...]:
        return () if self.agent is None else (self.agent.run(),)

    async def _pass_on_old(self) -> None:
        slot_duration_ms = self.ledger.genesis.slot_duration_ms
        while True:
            await asyncio.sleep(slot_duration_ms / 1_000)
            self.chain.pass_on_old(PASS_ON_AGE_SLOTS * slot_duration_ms)


async def _started(
    stack: AsyncExitStack,
    start: Callable[[], Coroutine[Any, Any, None]],
    stop: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    stack.push_async_callback(stop)
    try:
        await start()
    except OSError as error:
        raise ConfigurationError(f"cannot listen: {error.strerror or error}") from None


async def _first_of(stop: asyncio.Event, parts: list[asyncio.Future[None]]) -> None:
    """Waits for the stop signal, or raises what made a part fail."""
    stopped = asyncio.ensure_future(stop.wait())
    waiting: list[asyncio.Future[Any]] = [stopped, *parts]
    try:
        done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
    for part in done - {stopped}:
        part.result()
        raise AssertionError("a part of the node ended by itself")


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):  # the first failure is the one reported
            await task


def _as_member(configuration: Configuration, identity: Identity, ledger: Ledger) -> Identity:
    """Returns the identity under the address that the chain gives its key. A node whose key or peers are not the
    chain's would run without ever taking part.
    """
    address = ledger.member_of(identity.node_key.public_key)
    if address is None:
        raise IdentityError(
            f"{configuration.home.node_key}: its address {identity.address.hex()} is no member of this chain"
        )
    known = {term.address for term in require(ledger, MEMBER_LIST_KEY, MemberList).terms}
    for peer in configuration.p2p.peers:
        if peer.address_bytes not in known:
            raise ConfigurationError(f"[p2p] peers: {peer.name} ({peer.address}) is no member of this chain")
    return replace(identity, address=address)


__all__ = ["AgentFactory", "AgentParts", "Daemon", "SignStateError", "make_agent", "run_daemon"]
