"""What every handler of the REST API is given, and how it answers."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel

from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Height
from ledger.errors import LedgerDamaged
from node.api.connections import CONNECTIONS_MAX
from node.api.problem import ProblemError
from node.api.quota import BURST_MAX, RATE_PER_S, SubmissionQuota
from node.chain.block_sync import SyncProgress
from node.chain.replica_status import ReplicaView
from node.chain.submission import Chain
from node.household.agent import AgentProgress
from node.mesh.identity_exchange import IdentityExchange
from node.metrics.counters import NodeMetrics
from node.names.names import Names
from node.replies.problem import ProblemReason
from node.snapshots.filling import FillingProgress
from node.stories.slices import Slices, between_turns

T = TypeVar("T")

BODY_SIZE_BYTES_MAX: Final = 1024 * 1024
"""Largest request body: a batch of 1,000 transactions of 500 bytes in hexadecimal."""

BODY_DEADLINE_S: Final = 10.0
"""Longest time for a body to arrive after its header."""

FOLLOWERS_MAX: Final = 64
"""WebSockets that follow the events at once; each may hold one frame and a socket buffer."""

LONG_READS_WAITING_MAX: Final = 32
"""Requests that wait for a long read of the chain; they are made one after the other."""

LONG_READS_RETRY_S: Final = 2.0

SEND_DEADLINE_S: Final = 10.0
"""Longest time that a follower may leave an event unread before it is cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiLimits:
    """Bounds that a test narrows; a node runs with the defaults."""

    body_size_bytes_max: int = BODY_SIZE_BYTES_MAX
    body_deadline_s: float = BODY_DEADLINE_S
    followers_max: int = FOLLOWERS_MAX
    long_reads_waiting_max: int = LONG_READS_WAITING_MAX
    send_deadline_s: float = SEND_DEADLINE_S
    connections_max: int = CONNECTIONS_MAX
    sender_burst_max: int = BURST_MAX
    sender_rate_per_s: float = RATE_PER_S

    def quota(self, clock_s: Callable[[], float]) -> SubmissionQuota:
        """Returns a fresh quota per sender with these bounds."""
        return SubmissionQuota(clock_s=clock_s, burst_max=self.sender_burst_max, rate_per_s=self.sender_rate_per_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryStatus:
    """What a node is getting back from the others."""

    syncing: SyncProgress | None = None
    """None while it is not far behind."""
    sync_notice: str | None = None
    """Why no member gives the next block, in words, None while one does."""
    taking: tuple[Height | None, float] | None = None
    """Height of the state that it takes from the others to begin with, once that is known, and how much is here, 0 to
    1; None of a node that takes none."""
    filling: FillingProgress | None = None
    """How far earlier blocks are filled in; None of a node that has all."""
    ledger_set_aside: str | None = None
    """Folder of the damaged ledger that the last start put aside; None if it was whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiNode:
    """The node behind the API."""

    name: str
    """Its name in the configuration."""
    names: Callable[[], Names]
    """How its home calls the members, as of now."""
    address: Address
    """Its member address."""
    signer: SigningKey = field(repr=False)
    """The node's key: signs the receipts that it hands out, and nothing for a caller."""
    chain: Chain
    replica: ReplicaView
    metrics: NodeMetrics
    meter_progress: Callable[[], AgentProgress | None]
    """How far the node's meter has come; None where it has no meter."""
    halted: Callable[[], str | None]
    """Why the node has stopped taking part; None while it does."""
    recovery_status: Callable[[], RecoveryStatus]
    rules_notice: Callable[[Names], str | None]
    """What its program lacks for the rules of the chain, as of the last block; None: nothing."""
    link_notices: Callable[[Callable[[Address], str]], Sequence[str]]
    """What somebody must put right so that the links to the other members work."""
    identities: IdentityExchange
    """Sealed identities of homes that join, on their way to verifiers or for this one."""
    damaged: Callable[[LedgerDamaged], None]
    """Stops the node when a read shows that the ledger is damaged: nobody is answered from it."""


class TipSignal:
    """Wakes followers when a block is written; holds nothing per follower."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def announce(self) -> None:
        """Wakes everyone that waits."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self) -> None:
        """Returns at the next announcement."""
        await self._changed.wait()


@dataclass(slots=True, kw_only=True)
class ApiContext:
    """What the handlers share."""

    node: ApiNode
    limits: ApiLimits
    quota: SubmissionQuota
    tip: TipSignal = field(default_factory=TipSignal)
    followers: dict[web.WebSocketResponse, Height] = field(default_factory=dict)
    """Open event sockets with the height that each gets next."""
    long_reads: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the one request that reads much of the chain."""
    long_reads_waiting: int = 0
    make_openapi: Callable[[], Coroutine[None, None, bytes]]
    openapi: asyncio.Task[bytes] | None = None
    """The OpenAPI document, made once, when it is first asked for."""

    @property
    def chain(self) -> Chain:
        """The node's chain."""
        return self.node.chain

    async def read_slowly(self, work: Slices[T]) -> T:
        """Returns what a long read finds; one is made at a time, so that many at once hold the loop no longer.

        Raises:
            ProblemError: too many wait already.
        """
        if self.long_reads_waiting >= self.limits.long_reads_waiting_max:
            detail = f"{self.long_reads_waiting} requests wait to read much of the chain"
            raise ProblemError(ProblemReason.TOO_MANY_READS, detail, retry_after_s=LONG_READS_RETRY_S)
        self.long_reads_waiting += 1
        try:
            async with self.long_reads:
                return await between_turns(work)
        finally:
            self.long_reads_waiting -= 1

    async def read_body(self, request: web.Request) -> bytes:
        """Returns the body, read within the deadline and the size limit.

        Raises:
            ProblemError: too large, too slow, or compressed.
        """
        limit_bytes = self.limits.body_size_bytes_max
        if request.headers.get("Content-Encoding", "identity") != "identity":
            detail = "compressed bodies are not supported"
            raise ProblemError(ProblemReason.UNSUPPORTED_MEDIA_TYPE, detail)
        if (request.content_length or 0) > limit_bytes:
            raise _too_large(limit_bytes)
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.body_deadline_s):
                async for chunk in request.content.iter_any():
                    body += chunk
                    if len(body) > limit_bytes:
                        raise _too_large(limit_bytes)
        except TimeoutError:
            detail = f"{len(body)} bytes arrived within {self.limits.body_deadline_s} s"
            raise ProblemError(ProblemReason.REQUEST_TIMEOUT, detail, headers={"Connection": "close"}) from None
        return bytes(body)


def _too_large(limit_bytes: int) -> ProblemError:
    return ProblemError(ProblemReason.BODY_TOO_LARGE, f"at most {limit_bytes} bytes")


def answer(model: BaseModel, *, status: int = 200) -> web.Response:
    """Returns a model as a JSON reply."""
    return web.Response(
        status=status, body=model.model_dump_json(by_alias=True).encode(), content_type="application/json"
    )
