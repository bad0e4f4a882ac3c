"""What goes between this node and one other member, whoever dialled: one link carries both directions.

A frame goes into the peer's bounded queue at once and leaves through the peer's one writer, in order, as soon as a
connection is up. The queue never blocks its producer: full, it drops its oldest frames. Bulk (ranges of blocks) has
a lane of its own that is served only while nothing else waits, and refuses what it has no room for. Whatever a peer
does wrong ends its own link only. Nothing is read ahead of the quota: a peer that sends too much is not read, and
TCP makes it wait.

Of one peer there is at most one connection that this node dialled and one that the peer did: a new one replaces the
old of its kind, and those of an earlier process of the peer, as a restarted peer dials before its old connections are
known to be dead. An earlier process that is still there dials again, and shows by that that two processes share the
peer's key (`shared_key.py`); both hear of it by the code with which their connections are closed.

Who has a connection does not dial. So there are two only if both dialled at once, or if one of them is dead and only
one side knows. Both are read; the member of the lower address decides which one is written to: always the newest,
which it says by a ping on it. It closes the other one a little later, when all that was under way on it is read. One
of the two decides, so they never close both.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import aiohttp
import structlog
from aiohttp import WebSocketError, WSCloseCode, WSMsgType, web

from consensus.codec import DecodeError
from consensus.identifiers import Address, PublicKey
from node.mesh.limits import MemberOf, MeshCounters, MeshLimits, MeshRefusal, PeerEndpoint, PeerQuota
from node.mesh.messages import PeerMessage, decode_peer_message
from node.mesh.shared_key import SHARED_KEY_CLOSE_CODE, ProcessWatch, Sign

NETWORK_ERRORS: Final = (aiohttp.ClientError, OSError)
"""What a network or a peer can do to a connection; `TimeoutError` and `ssl.SSLError` are kinds of `OSError`."""

USE_THIS: Final = b"use this link"
"""A ping with these bytes, from the member that decides, chooses among two connections."""

REASONS_MAX: Final = 16
"""Different reasons that are logged while a link is down: a peer chooses some of their words."""

WebSocket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse


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


class Connection:
    """One WebSocket to a peer, until it ends."""

    def __init__(self, websocket: WebSocket, *, key: PublicKey, is_dialled: bool, process_id: str | None) -> None:
        """Takes one that is open, the node key that the peer's certificate has, and what process it shows; must be
        made inside a running event loop.
        """
        self.websocket: Final = websocket
        self.key: Final = key
        self.is_dialled: Final = is_dialled
        """Whether this node dialled."""
        self.process_id: Final = process_id
        """As the peer shows it, if it does."""
        self.ended: Final[asyncio.Future[tuple[int, str]]] = asyncio.get_running_loop().create_future()
        """Gets the close code and the reason with which this node ends it."""

    def end(self, reason: str, code: int = WSCloseCode.GOING_AWAY) -> None:
        """Has the connection closed soon; the first reason stays."""
        if not self.ended.done():
            self.ended.set_result((code, reason))


class PeerLink:
    """The way to and from one peer: its queue, its quota and its connections."""

    def __init__(
        self,
        *,
        endpoint: PeerEndpoint,
        own: Address,
        handler: Callable[[Address, PeerMessage], None],
        on_up: Callable[[Address], None],
        on_failure: Callable[[BaseException], None],
        limits: MeshLimits,
        counters: MeshCounters,
    ) -> None:
        """Takes the peer and what its messages go to.

        Args:
            endpoint: the peer.
            own: this node's address.
            handler: called with the peer and each of its messages; what it raises is this node's own bug.
            on_up: called with the peer for each connection that opens; likewise.
            on_failure: called with such a bug.
            limits: bounds.
            counters: what happens is counted here.
        """
        self.endpoint: Final = endpoint
        self._decides = own < endpoint.address
        self._handler = handler
        self._on_up = on_up
        self._on_failure = on_failure
        self._limits = limits
        self._counters = counters
        self._quota = PeerQuota(limits)
        self._queue = OutgoingQueue(
            frames_max=limits.queue_frames_max,
            size_bytes_max=limits.queue_size_bytes_max,
            bulk_size_bytes_max=limits.bulk_size_bytes_max,
        )
        self._connections: dict[bool, Connection] = {}
        """By whether this node dialled."""
        self._used: Connection | None = None
        """The one that is written to."""
        self._is_up = asyncio.Event()
        self._is_down = asyncio.Event()
        self._is_down.set()
        self._processes = ProcessWatch()
        self._peer_key_shared = Sign(asyncio.get_running_loop().time)
        self._own_key_shared = Sign(asyncio.get_running_loop().time)
        self._problem = ""
        self._told: set[str] = set()
        """What was logged since the link came up or went down."""
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger(component="mesh", peer=endpoint.label)

    @property
    def connected(self) -> bool:
        """Says whether a connection is up."""
        return self._used is not None

    @property
    def problem(self) -> str:
        """Why the link is down, in words; empty while it is up, and before it was ever dialled."""
        return self._problem

    @property
    def is_peer_key_shared(self) -> bool:
        """Says whether two processes were seen lately with the peer's key."""
        return self._peer_key_shared.holds

    @property
    def is_own_key_shared(self) -> bool:
        """Says whether the peer told lately that another process connects with this node's key."""
        return self._own_key_shared.holds

    async def wait_until_down(self) -> None:
        """Waits until no connection is up."""
        await self._is_down.wait()

    def put(self, frame: bytes) -> None:
        """Queues a frame for the peer; never waits."""
        for _ in range(self._queue.put(frame)):
            self._counters.on_message_dropped(self.endpoint.label)

    def put_bulk(self, frame: bytes) -> None:
        """Queues a frame behind all others; never waits."""
        if not self._queue.put_bulk(frame):
            self._counters.on_message_dropped(self.endpoint.label)

    def end(self, reason: str) -> None:
        """Has every connection closed soon."""
        for connection in self._connections.values():
            connection.end(reason)

    def end_other_keys(self, member_of: MemberOf) -> None:
        """Has every connection closed soon under a key that is not this peer's any more."""
        for connection in self._connections.values():
            if member_of(connection.key) != self.endpoint.address:
                connection.end("this node's key was exchanged")

    def note(self, failure: str) -> None:
        """Notes why the peer cannot be reached, "" if it is. Logs each reason once while the link is down, so that a
        peer that is away for a week is two lines.
        """
        self._problem = failure
        self._told = {told for told in self._told if bool(told) is bool(failure)}
        if failure in self._told or len(self._told) >= REASONS_MAX:
            return
        self._told.add(failure)
        if self.is_peer_key_shared or self.is_own_key_shared:  # they throw each other off, which is told already
            self._log.debug("peer_link_down" if failure else "peer_link_up", reason=failure)
        elif failure:
            self._log.warning("peer_link_down", reason=failure)
        else:
            self._log.info("peer_link_up")

    async def serve(self, connection: Connection) -> None:
        """Exchanges frames over a connection until it ends, and closes it."""
        reading = asyncio.create_task(self._receive(connection))
        settling = asyncio.create_task(self._settle(connection))
        code: int = WSCloseCode.GOING_AWAY
        reason = "closed"
        try:
            self._open(connection)
            ends: set[asyncio.Future[Any]] = {reading, connection.ended}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if connection.ended.done():
                code, reason = connection.ended.result()
            elif (refusal := reading.result()) is not None:
                self._counters.on_message_refused(refusal.value)
                code, reason = WSCloseCode.POLICY_VIOLATION, refusal.value
        except Exception as error:  # noqa: BLE001  (whatever a peer's bytes do in a library never stops the node)
            reason = f"{type(error).__name__}: {error}"
        finally:
            reading.cancel()
            settling.cancel()
            await asyncio.gather(reading, settling, return_exceptions=True)
            self._leave(connection, reason)
            with suppress(*NETWORK_ERRORS):  # it is closed, only not politely
                async with asyncio.timeout(self._limits.close_s):
                    await connection.websocket.close(code=code)

    # --- which connection ----------------------------------------------------------------------------------

    def _open(self, connection: Connection) -> None:
        if self._processes.has_returned(connection.process_id) and self._peer_key_shared.notice():
            self._log.error("two processes use a member's key")
        kind, process_id = connection.is_dialled, connection.process_id
        for earlier in list(self._connections.values()):
            if earlier.is_dialled is kind or earlier.process_id != process_id:
                del self._connections[earlier.is_dialled]
                code = SHARED_KEY_CLOSE_CODE if self.is_peer_key_shared else WSCloseCode.GOING_AWAY
                earlier.end("replaced by a newer link", code)
        is_used_left = self._used in self._connections.values()
        self._connections[kind] = connection
        if self._decides or not is_used_left:
            self._use(connection)
        self.note("")
        self._hand_over(partial(self._on_up, self.endpoint.address))

    def _use(self, connection: Connection) -> None:
        self._used = connection
        self._is_up.set()
        self._is_down.clear()

    async def _settle(self, connection: Connection) -> None:
        """Who decides has the peer write to its newest connection, too, and then ends the other one. It says so
        twice: the first time may be overtaken by what was said on the other one before.
        """
        for _ in range(2):
            if not self._decides or self._used is not connection:
                return
            with suppress(*NETWORK_ERRORS):
                await connection.websocket.ping(USE_THIS)
            await asyncio.sleep(self._limits.close_s / 2)
        other = self._connections.get(not connection.is_dialled)
        if self._used is connection and other is not None:
            other.end("one link is enough")

    def _leave(self, connection: Connection, reason: str) -> None:
        if self._connections.get(connection.is_dialled) is connection:
            del self._connections[connection.is_dialled]
        if self._used is not connection:
            return
        self._used = next(iter(self._connections.values()), None)
        if self._used is None:
            self._is_up.clear()
            self._is_down.set()
            self._counters.on_reconnect(self.endpoint.label)
            self.note(reason)

    # --- sending -------------------------------------------------------------------------------------------

    async def send_queued(self) -> None:
        """Writes queued frames to the connection in use until cancelled."""
        while True:
            frame = await self._queue.get()
            await self._is_up.wait()
            connection = self._used
            assert connection is not None, "up is a connection in use"
            try:
                async with asyncio.timeout(self._limits.write_s):
                    await connection.websocket.send_bytes(frame)
            except NETWORK_ERRORS as error:
                self._counters.on_message_dropped(self.endpoint.label)
                reason = f"sending failed: {type(error).__name__}"
                connection.end(reason)
                self._leave(connection, reason)
            else:
                self._counters.on_frame_sent(self.endpoint.label, len(frame))

    # --- receiving -----------------------------------------------------------------------------------------

    async def _receive(self, connection: Connection) -> MeshRefusal | None:
        """Hands every message to the handler until the link ends; returns what the peer did wrong, if it did."""
        websocket = connection.websocket
        while True:
            try:
                incoming = await websocket.receive(self._limits.idle_s)
            except TimeoutError:
                return MeshRefusal.IDLE
            match incoming.type:
                case WSMsgType.BINARY:
                    frame: bytes = incoming.data
                    await self._quota.spend(len(frame))
                    self._counters.on_frame_received(self.endpoint.label, len(frame))
                    try:
                        message = decode_peer_message(frame)
                    except DecodeError:
                        return MeshRefusal.MALFORMED_MESSAGE
                    self._hand_over(partial(self._handler, self.endpoint.address, message))
                case WSMsgType.PING:
                    await self._quota.spend(len(incoming.data))
                    try:
                        async with asyncio.timeout(self._limits.write_s):
                            await self._answer_ping(connection, incoming.data)
                    except TimeoutError:
                        return MeshRefusal.SLOW_READER
                case WSMsgType.PONG:
                    await self._quota.spend(len(incoming.data))
                case WSMsgType.TEXT:
                    return MeshRefusal.BAD_FRAME
                case _:
                    if incoming.data == SHARED_KEY_CLOSE_CODE:
                        self._note_own_key_shared(connection)
                    return _refusal_of(incoming.data)

    async def _answer_ping(self, connection: Connection, content: bytes) -> None:
        is_current = self._connections.get(connection.is_dialled) is connection
        if content == USE_THIS and is_current and not self._decides:
            self._use(connection)
        await connection.websocket.pong(content)

    def _note_own_key_shared(self, connection: Connection) -> None:
        if self._own_key_shared.notice():
            self._log.error("another process connects with this node's key")
        connection.end("another process connects with this node's key")

    def _hand_over(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as bug:
            self._on_failure(bug)
            raise ConnectionAbortedError("this node stops") from bug


def _refusal_of(end: object) -> MeshRefusal | None:
    """Returns what was wrong if a link ended by silence or a frame against the WebSocket protocol."""
    if isinstance(end, TimeoutError):  # no pong
        return MeshRefusal.IDLE
    if not isinstance(end, WebSocketError):
        return None
    too_large = end.code == WSCloseCode.MESSAGE_TOO_BIG
    return MeshRefusal.FRAME_TOO_LARGE if too_large else MeshRefusal.BAD_FRAME
