"""A node's API on a free loopback port over a real ledger, mempool and chain, decided by the test itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from consensus.events import Instant, fresh_sign_state
from consensus.explanation import Contact, Explanation
from consensus.identifiers import Address, Height
from consensus.member import KeyRing, Parameters
from consensus.replica import Replica, Start
from contracts.applicants import Applicant
from contracts.state import applicant_key
from contracts.state_reading import read
from ledger.block import block_digest
from ledger.errors import LedgerDamaged
from ledger.ledger import Ledger
from node.api.context import ApiLimits, ApiNode, RecoveryStatus
from node.api.server import Api
from node.chain.applied import AppliedBlock, AppliedFeed
from node.chain.mempool import Mempool, MempoolLimits
from node.chain.replica_status import ReplicaStatus, ReplicaView
from node.chain.rules_watch import RulesWatch
from node.chain.submission import Chain, ChainLinks
from node.chain.transaction_pool import TransactionPool
from node.household.agent import AgentProgress
from node.mesh.identity_exchange import IdentityExchange, IdentityPorts
from node.mesh.messages import IdentityAnswer, IdentityNote
from node.metrics.chain_collector import ChainCollector
from node.metrics.counters import NodeMetrics
from tests.support.contracts import Community
from tests.support.ledger import ChainBuilder
from tests.support.names import names_in

CLIENT_CONNECTIONS_MAX = 100
"""Connections of the test's client at once, within the limit of the API."""


@dataclass
class Surroundings:
    """What the rest of a node would say; a test sets it."""

    peers: frozenset[Address] = frozenset()
    halted: str | None = None
    meter: AgentProgress | None = None
    passed_on: list[bytes] = field(default_factory=list)
    explanation: Explanation | None = None
    recovery: RecoveryStatus = field(default_factory=RecoveryStatus)
    damage: list[LedgerDamaged] = field(default_factory=list)
    notices: tuple[str, ...] = ()
    brought: list[tuple[Address, IdentityNote | IdentityAnswer]] = field(default_factory=list)


class ApiHarness:
    """The parts of one node around its API, and a client for it."""

    def __init__(
        self,
        directory: Path,
        *,
        community: Community | None = None,
        limits: ApiLimits | None = None,
        mempool_limits: MempoolLimits | None = None,
        host_names: Sequence[str] = (),
        builder: ChainBuilder | None = None,
    ) -> None:
        self.builder = ChainBuilder.create(directory, community) if builder is None else builder
        self.community = self.builder.community
        self.surroundings = Surroundings()
        self._mempool_limits = mempool_limits or MempoolLimits()
        self._host_names = host_names
        self._limits = limits
        self.client: aiohttp.ClientSession
        self._make_node(port=0)

    def _make_node(self, *, port: int) -> None:
        self.metrics = NodeMetrics()
        mempool = Mempool(limits=self._mempool_limits)
        self.pool = TransactionPool(ledger=self.ledger, mempool=mempool, monotonic_ms=lambda: 0)
        self.applied = AppliedFeed()
        self.applied.listen(self.metrics.on_applied)
        self.rules = RulesWatch(self.ledger)
        self.applied.listen(lambda _: self.rules.look())
        self.replica = ReplicaView(
            status=self._replica_status, explain=self._explain, connected=lambda: self.surroundings.peers
        )
        self.chain = Chain(ledger=self.ledger, pool=self.pool, applied=self.applied, links=self._links())
        self.metrics.attach(ChainCollector(self.chain, self.replica, lambda: 0))
        self.api = Api(
            node=ApiNode(
                name="home1",
                names=lambda: names_in(self.ledger),
                address=self.community.addresses[0],
                signer=self.community.node_keys[0],
                chain=self.chain,
                replica=self.replica,
                metrics=self.metrics,
                meter_progress=lambda: self.surroundings.meter,
                halted=lambda: self.surroundings.halted,
                recovery_status=lambda: self.surroundings.recovery,
                rules_notice=self.rules.notice,
                link_notices=lambda _: self.surroundings.notices,
                identities=self._identities(),
                damaged=self.surroundings.damage.append,
            ),
            host="127.0.0.1",
            port=port,
            host_names=self._host_names,
            limits=self._limits,
        )

    def _identities(self) -> IdentityExchange:
        ports = IdentityPorts(
            send=lambda peer, message: self.surroundings.brought.append((peer, message)),
            connected=lambda: self.surroundings.peers,
            applicant=lambda address: read(self.ledger, applicant_key(address), Applicant),
            refused=self.metrics.on_message_refused,
        )
        return IdentityExchange(chain=self.ledger.chain, keys=[self.community.node_keys[0]], ports=ports)

    async def restart(self, away: Callable[[], Awaitable[None]]) -> None:
        """Starts the node anew on its ledger and port, with an empty mempool, once `away` has returned."""
        port = self.api.port
        await self.api.stop()
        await away()
        self._make_node(port=port)
        await self.api.start()

    @property
    def ledger(self) -> Ledger:
        return self.builder.ledger

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.api.port}"

    def _links(self) -> ChainLinks:
        return ChainLinks(
            work_changed=lambda: None,
            pass_on=self._pass_on,
            pass_on_of=lambda *_: None,
            submitted=self.metrics.on_submitted,
            peer_refused=self.metrics.on_message_refused,
        )

    def _pass_on(self, raws: tuple[bytes, ...]) -> None:
        self.surroundings.passed_on.extend(raws)

    def _replica_status(self) -> ReplicaStatus:
        height = Height(self.ledger.height + 1)
        slot = self.ledger.tip_slot
        return ReplicaStatus(
            undecided_height=height,
            present_slot=slot,
            phase="waiting",
            view_changes=0,
            certificates_late=0,
            certificates_missed=0,
            leader=self.ledger.memberships().leaders.whose(slot),
        )

    def _explain(self) -> Explanation:
        """What a replica says that has just started on this ledger, with the present peers as heard now."""
        if self.surroundings.explanation is not None:
            return self.surroundings.explanation
        genesis, height = self.ledger.genesis, Height(self.ledger.height + 1)
        now = Instant(monotonic_ms=0, clock_ms=0)
        replica = Replica(
            keys=KeyRing(self.community.node_keys[0]),
            parameters=Parameters(
                slot_duration_ms=genesis.slot_duration_ms,
                attempt_max_ms=genesis.attempt_max_ms,
            ),
            start=Start(
                height=height,
                eras=self.ledger.eras,
                memberships=self.ledger.memberships(),
                tip=self.ledger.tip,
                parent_slot=self.ledger.tip_slot,
                sign_state=fresh_sign_state(height),
            ),
            now=now,
        )
        return replica.explain(
            now, {peer: Contact(is_connected=True, heard_ms=0) for peer in self.surroundings.peers}
        )

    def decide(self, candidates: Sequence[bytes] | None = None) -> AppliedBlock:
        """Decides a block of what waits in the mempool (or of `candidates`), as the driver would after a quorum."""
        parameters = self.ledger.rules.parameters
        if candidates is None:
            waiting = self.chain.mempool.candidates(
                transactions_max=parameters.block_transactions_max, size_bytes_max=parameters.block_size_bytes_max
            )
            candidates = [transaction.raw for transaction in waiting]
        block = self.builder.build(candidates)
        certificate = self.builder.certify(block)
        self.ledger.append(block, certificate)
        receipts = self.ledger.receipts(block.header.height)
        applied = AppliedBlock(
            block=block,
            digest=block_digest(block.header),
            certificate=certificate,
            receipts=receipts,
            dropped=self.pool.on_applied([receipt.transaction for receipt in receipts]),
            applied_ms=0,
        )
        self.applied.publish(applied)
        return applied

    async def get(self, path: str, *, expect: int = 200, **parameters: Any) -> Any:
        """Returns the JSON of a GET, which must answer with this status."""
        async with self.client.get(path, params=parameters) as reply:
            assert reply.status == expect, await reply.text()
            return await reply.json(content_type=None)

    async def post(self, body: Any, *, expect: int = 202, **parameters: Any) -> Any:
        """Returns the JSON of a submission, which must answer with this status."""
        async with self.client.post("/v1/transactions", json=body, params=parameters) as reply:
            assert reply.status == expect, await reply.text()
            return await reply.json(content_type=None)


async def exchange(api: ApiHarness, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Sends raw bytes on a connection and returns the reply: status, headers in lower case, body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.api.port)
    try:
        writer.write(sent)
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers["content-length"]))
        return int(head[0].split()[1]), headers, body
    finally:
        writer.close()


@asynccontextmanager
async def running_api(directory: Path, **arguments: Any) -> AsyncIterator[ApiHarness]:
    """Runs an API until the end of the block; `arguments` as for `ApiHarness`."""
    harness = ApiHarness(directory, **arguments)
    await harness.api.start()
    try:
        async with aiohttp.ClientSession(
            harness.url, connector=aiohttp.TCPConnector(limit=CLIENT_CONNECTIONS_MAX)
        ) as harness.client:
            yield harness
    finally:
        await harness.api.stop()
        harness.ledger.close()
