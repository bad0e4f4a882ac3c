"""The outgoing half of the mesh: one dialled WebSocket per peer, on which this node only sends.

A frame goes into the peer's bounded queue at once and leaves through the peer's one writer task, in order, as
soon as the link is up. The queue never blocks its producer: full, it drops its oldest frames. Bulk (ranges of
blocks) has a lane of its own that is served only while nothing else waits, and refuses what it has no room for. A
link that breaks is dialled again, for ever, with growing pauses.
"""

import asyncio
import random
import ssl
from collections import deque
from contextlib import suppress
from typing import Final

import aiohttp
import structlog
from yarl import URL

from consensus.identifiers import PublicKey
from node.admission.identity import key_of_peer
from node.errors import IdentityError
from node.mesh.limits import MESH_PATH, MemberOf, MeshCounters, MeshLimits, MeshRefusal, PeerEndpoint, PeerQuota
from node.mesh.shared_key import PROCESS_HEADER, SHARED_KEY_CLOSE_CODE, Sign

CONTROL_SIZE_BYTES_MAX: Final = 256
"""Largest frame read on an outgoing link: only pings, pongs and closes come back, of at most 125 bytes."""

REASONS_MAX: Final = 16
"""Different reasons that are logged while a link is down: a peer chooses some of their words."""

_CLOCK_REFUSALS: Final = {
    9: "the certificate of {name} is not valid yet on this node's clock: is the clock right?",
    10: "the certificate of {name} has expired on this node's clock: is the clock right, or is a new one needed?",
}
"""By OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""

_NETWORK_ERRORS: Final = (aiohttp.ClientError, OSError)
"""What a network or a peer can do to a connection; `TimeoutError` and `ssl.SSLError` are kinds of `OSError`."""


class OutgoingQueue:
    """Frames for one peer, bounded in count and bytes."""

    def __init__(self, *, frames_max: int, size_bytes_max: int, bulk_size_bytes_max: int) -> None:
        """Takes the bounds; that of bulk is its own."""
        self._frames_max = frames_max
        self._size_bytes_max = size_bytes_max
        self._bulk_size_bytes_max = bulk_size_bytes_max
        self._frames: deque[bytes] = deque()
        self._size_bytes = 0
        self._bulk: deque[bytes] = deque()
        self._bulk_size_bytes = 0
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def size_bytes(self) -> int:
        """Bytes of all waiting frames."""
        return self._size_bytes

    def put(self, frame: bytes) -> int:
        """Appends a frame (at most `size_bytes_max` long); returns how many of the oldest were dropped for it."""
        assert len(frame) <= self._size_bytes_max, "no frame is longer than a queue"
        self._frames.append(frame)
        self._size_bytes += len(frame)
        self._filled.set()
        dropped = 0
        while len(self._frames) > self._frames_max or self._size_bytes > self._size_bytes_max:
            self._size_bytes -= len(self._frames.popleft())
            dropped += 1
        return dropped

    def put_bulk(self, frame: bytes) -> bool:
        """Appends a frame that may wait for all others; False if the bulk lane has no room for it.

        An empty lane takes a frame of any size.
        """
        if self._bulk and self._bulk_size_bytes + len(frame) > self._bulk_size_bytes_max:
            return False
        self._bulk.append(frame)
        self._bulk_size_bytes += len(frame)
        self._filled.set()
        return True

    async def get(self) -> bytes:
        """Waits for the oldest frame and takes it; bulk only if nothing else waits."""
        while not self._frames and not self._bulk:
            self._filled.clear()
            await self._filled.wait()
        if not self._frames:
            frame = self._bulk.popleft()
            self._bulk_size_bytes -= len(frame)
            return frame
        frame = self._frames.popleft()
        self._size_bytes -= len(frame)
        return frame


class OutgoingLink:
    """The way to one peer: its queue, its connection, and the task that keeps it up."""

    def __init__(
        self,
        *,
        endpoint: PeerEndpoint,
        member_of: MemberOf,
        session: aiohttp.ClientSession,
        context: ssl.SSLContext,
        limits: MeshLimits,
        counters: MeshCounters,
        process_id: str,
    ) -> None:
        """Takes the peer, whose a node key is, the session to dial with, the TLS context of this node, and its id."""
        self._endpoint = endpoint
        self._member_of = member_of
        self._url = URL.build(scheme="wss", host=endpoint.host, port=endpoint.port, path=MESH_PATH)
        self._session = session
        self._context = context
        self._limits = limits
        self._counters = counters
        self._quota = PeerQuota(limits)
        self._queue = OutgoingQueue(
            frames_max=limits.queue_frames_max,
            size_bytes_max=limits.queue_size_bytes_max,
            bulk_size_bytes_max=limits.bulk_size_bytes_max,
        )
        self._connected = False
        self._is_wanted = asyncio.Event()
        self._process_id = process_id
        self._key_shared = Sign(asyncio.get_running_loop().time)
        self._problem = ""
        """Why the link is down; empty while it is up, and before it was ever dialled."""
        self._told: set[str] = set()
        """What was logged since the link was up."""
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger(
            component="mesh", peer=endpoint.name, peer_address=endpoint.address.hex()[:8]
        )

    @property
    def connected(self) -> bool:
        """Says whether the link is up."""
        return self._connected

    @property
    def name(self) -> str:
        """The peer's label."""
        return self._endpoint.name

    @property
    def is_key_shared(self) -> bool:
        """Says whether the peer told lately that another process connects with this node's key."""
        return self._key_shared.holds

    @property
    def problem(self) -> str:
        """Why the link is down, in words; empty while it is up, and before it was ever dialled."""
        return self._problem

    def put(self, frame: bytes) -> None:
        """Queues a frame for the peer; never waits."""
        for _ in range(self._queue.put(frame)):
            self._counters.on_message_dropped(self._endpoint.name)

    def put_bulk(self, frame: bytes) -> None:
        """Queues a frame behind all others; never waits."""
        if not self._queue.put_bulk(frame):
            self._counters.on_message_dropped(self._endpoint.name)

    def dial_soon(self) -> None:
        """Ends the pause between two attempts, the present or the next one: the peer was heard of."""
        self._is_wanted.set()

    async def run(self) -> None:
        """Keeps the link up until cancelled."""
        clock = asyncio.get_running_loop()
        failures = 0
        while True:
            try:
                connection = await self._dial()
            except Exception as error:  # noqa: BLE001  (whatever a peer's bytes do in a library never stops the node)
                self._note(_reason(error, self._endpoint.name))
            else:
                up_since_s = clock.time()
                await self._serve(connection)
                if clock.time() - up_since_s > self._limits.backoff_max_s:
                    failures = 0
                self._counters.on_reconnect(self._endpoint.name)
            await self._pause(_pause_s(self._limits, failures))
            failures += 1

    async def _pause(self, longest_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._is_wanted.wait()
        self._is_wanted.clear()

    async def _dial(self) -> aiohttp.ClientWebSocketResponse:
        """Returns a connection to exactly this peer, ready to send."""
        async with asyncio.timeout(self._limits.handshake_s):
            connection = await self._session.ws_connect(
                self._url,
                ssl=self._context,
                headers={PROCESS_HEADER: self._process_id},
                heartbeat=self._limits.heartbeat_s,
                autoping=False,
                max_msg_size=CONTROL_SIZE_BYTES_MAX,
                timeout=aiohttp.ClientWSTimeout(ws_close=self._limits.close_s),
            )
        key = _key_of(connection)
        actual = None if key is None else self._member_of(key)
        if actual != self._endpoint.address:
            self._counters.on_message_refused(MeshRefusal.WRONG_PEER.value)
            await connection.close(code=aiohttp.WSCloseCode.POLICY_VIOLATION)
            shown = "nobody that the chain knows" if actual is None else actual.hex()[:8]
            raise ConnectionRefusedError(f"another member answers at {self._url.authority}: {shown}")
        return connection

    async def _serve(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        """Sends what is queued until the connection ends."""
        self._connected = True
        self._told.clear()
        self._note("")
        tasks = {
            asyncio.create_task(self._send_queued(connection)),
            asyncio.create_task(self._answer_pings(connection)),
        }
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                self._note(task.result())
        finally:
            self._connected = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._close(connection)

    async def _send_queued(self, connection: aiohttp.ClientWebSocketResponse) -> str:
        """Writes frames until one cannot be written; returns why."""
        while True:
            frame = await self._queue.get()
            try:
                async with asyncio.timeout(self._limits.write_s):
                    await connection.send_bytes(frame)
            except _NETWORK_ERRORS as error:
                self._counters.on_message_dropped(self._endpoint.name)
                return f"sending failed: {type(error).__name__}"
            self._counters.on_frame_sent(self._endpoint.name, len(frame))

    async def _answer_pings(self, connection: aiohttp.ClientWebSocketResponse) -> str:
        """Reads until the connection ends; returns why."""
        while True:
            message = await connection.receive()
            if message.type is aiohttp.WSMsgType.PING:
                await self._quota.spend(len(message.data))
                try:
                    async with asyncio.timeout(self._limits.write_s):
                        await connection.pong(message.data)
                except _NETWORK_ERRORS as error:
                    return f"answering a ping failed: {type(error).__name__}"
            elif message.type is aiohttp.WSMsgType.PONG:
                await self._quota.spend(len(message.data))
            elif message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
                self._counters.on_message_refused(MeshRefusal.BAD_FRAME.value)
                return "the peer sends on a link that is not its own"
            elif message.type is aiohttp.WSMsgType.CLOSE and message.data == SHARED_KEY_CLOSE_CODE:
                if self._key_shared.notice():
                    self._log.error("another process connects with this node's key", noticed_by=self.name)
                return "another process connects with this node's key"
            else:
                return "closed"

    async def _close(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        try:
            async with asyncio.timeout(self._limits.close_s):
                await connection.close(code=aiohttp.WSCloseCode.GOING_AWAY)
        except _NETWORK_ERRORS:
            pass  # it is closed, only not politely

    def _note(self, failure: str) -> None:
        """Logs each reason once while the link is down, so that a peer that is away for a week is two lines."""
        self._problem = failure
        if failure in self._told or len(self._told) >= REASONS_MAX:
            return
        self._told.add(failure)
        if self._key_shared.holds:  # two processes throw each other off; that is told already
            self._log.debug("peer_link_down" if failure else "peer_link_up", reason=failure)
        elif failure:
            self._log.warning("peer_link_down", reason=failure)
        else:
            self._log.info("peer_link_up")


def _key_of(connection: aiohttp.ClientWebSocketResponse) -> PublicKey | None:
    encrypted = connection.get_extra_info("ssl_object")
    if encrypted is None:  # the connection is already lost
        return None
    try:
        return key_of_peer(encrypted)
    except (IdentityError, ValueError):  # ValueError: a certificate that OpenSSL reads and cryptography does not
        return None


def _reason(error: BaseException, name: str) -> str:
    """Returns why a peer cannot be dialled, in words that stay the same from one attempt to the next."""
    match error:
        case aiohttp.WSServerHandshakeError():
            return f"the peer refuses the link: status {error.status}"
        case aiohttp.ClientConnectorCertificateError():
            refused = error.certificate_error
            code = refused.verify_code if isinstance(refused, ssl.SSLCertVerificationError) else 0
            words = _CLOCK_REFUSALS.get(code)
            return f"the peer's certificate is refused: {refused}" if words is None else words.format(name=name)
        case aiohttp.ServerDisconnectedError():
            return f"{name} ends the connection, as where its clock or its authority refuses this node's certificate"
        case aiohttp.ClientConnectorError():
            return error.os_error.strerror or type(error.os_error).__name__
        case TimeoutError():
            return "no answer"
        case _:
            return f"{type(error).__name__}: {error}"


def _pause_s(limits: MeshLimits, failures: int) -> float:
    """Returns the pause before the next attempt; random, so that restarted nodes do not dial in step."""
    growth = 2.0 ** min(failures, 16)
    longest_s = min(limits.backoff_max_s, limits.backoff_initial_s * growth)
    return longest_s * random.uniform(0.5, 1.0)  # noqa: S311  (nobody gains by guessing a pause)
