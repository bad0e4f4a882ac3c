"""The incoming half of the mesh: accepts connections, admits members, reads their frames.

A connection passes three gates under one deadline: TLS with a certificate of the authority, a key that the state
gives to a known member, and a WebSocket request of the one route. Until then it holds one of few places. Behind them
each member has one link; a new one replaces the old, as a restarted peer dials before its old link is known to
be dead. Whatever a peer does wrong ends its own link only. Nothing is read ahead of the quota: a peer that
sends too much is not read, and TCP makes it wait.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import WebSocketError, WSCloseCode, WSMsgType, web
from aiolimiter import AsyncLimiter

from consensus.codec import DecodeError
from consensus.identifiers import Address, PublicKey
from node.admission.identity import key_of_peer
from node.errors import IdentityError
from node.mesh.limits import MESH_PATH, MemberOf, MeshCounters, MeshLimits, MeshRefusal, PeerQuota
from node.mesh.messages import FRAME_SIZE_BYTES_MAX, PeerMessage, decode_peer_message
from node.mesh.shared_key import PROCESS_HEADER, SHARED_KEY_CLOSE_CODE, ProcessWatch, Sign

LISTEN_BACKLOG: Final = 128
"""Connections that the kernel holds while this node accepts at its own pace."""

HEADER_LINE_BYTES_MAX: Final = 1_024
HEADERS_MAX: Final = 32
"""A WebSocket request of the mesh has one line of 20 bytes and 9 short headers."""

ACCEPT_PAUSE_S: Final = 0.5
"""Pause after the kernel had no file descriptor or memory for a new connection: those in use go on."""

_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_REFUSAL_STATUS: Final = {
    MeshRefusal.BAD_REQUEST: 400,
    MeshRefusal.NOT_A_MEMBER: 403,
    MeshRefusal.CONNECTING_TOO_OFTEN: 429,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLink:
    """A member's WebSocket and what it runs over."""

    websocket: web.WebSocketResponse
    transport: asyncio.Transport


class MemberState:
    """What is remembered of a member over all its connections."""

    def __init__(self, name: str, limits: MeshLimits) -> None:
        """Takes its label."""
        self.name: Final = name
        self.quota: Final = PeerQuota(limits)
        self.connects: Final = AsyncLimiter(limits.connects_per_period, limits.connect_period_s)
        self.link: OpenLink | None = None
        """Its present link, None if it has none."""
        self.processes: Final = ProcessWatch()
        self.key_shared: Final = Sign(asyncio.get_running_loop().time)
        """Two processes connect with its key."""


class IncomingLinks:
    """The listening socket and every connection that came through it."""

    def __init__(
        self,
        *,
        context: ssl.SSLContext,
        names: Mapping[Address, str],
        member_of: MemberOf,
        listener: socket.socket,
        handler: Callable[[Address, PeerMessage], None],
        on_link: Callable[[Address], None],
        on_failure: Callable[[BaseException], None],
        limits: MeshLimits,
        counters: MeshCounters,
    ) -> None:
        """Takes what it serves with; must be made inside a running event loop.

        Args:
            context: shows this node's certificate and requires one of the same authority.
            names: the other members and their labels.
            member_of: whose a node key is.
            listener: bound, listening and non-blocking; closed by `stop`.
            handler: called with each message and its sender; what it raises is this node's own bug.
            on_link: called with each member that opened a link.
            on_failure: called with such a bug.
            limits: bounds.
            counters: what happens is counted here.
        """
        self._context = context
        self._member_of = member_of
        self._listener = listener
        self._handler = handler
        self._on_link = on_link
        self._on_failure = on_failure
        self._limits = limits
        self._counters = counters
        self._members = {address: MemberState(name, limits) for address, name in names.items()}
        self._answers: dict[web.RequestHandler, asyncio.Future[None]] = {}
        self._openings: dict[asyncio.Task[None], None] = {}  # in the order of accepting
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger(component="mesh")
        self._http = web.Server(
            self._on_request,
            access_log=None,
            # a member's bad HTTP would be logged with a stack trace each time; the handler's bugs go to `on_failure`
            logger=logging.Logger("mesh", level=logging.CRITICAL + 1),
            lingering_time=0,
            max_line_size=HEADER_LINE_BYTES_MAX,
            max_field_size=HEADER_LINE_BYTES_MAX,
            max_headers=HEADERS_MAX,
        )

    async def run(self) -> None:
        """Accepts connections until cancelled."""
        pace = AsyncLimiter(self._limits.handshakes_per_s, 1)
        while True:
            await pace.acquire()
            connection = await self._accept()
            if len(self._openings) >= self._limits.handshakes_max:
                self._refuse(MeshRefusal.TOO_MANY_HANDSHAKES)
                oldest = next(iter(self._openings))
                del self._openings[oldest]
                oldest.cancel()
            opening = asyncio.create_task(self._open(connection))
            self._openings[opening] = None
            opening.add_done_callback(self._on_opened)
            await asyncio.sleep(0)  # the new task starts, and so owns the connection

    def members_with_shared_keys(self) -> tuple[str, ...]:
        """Returns the members with whose keys two processes were seen lately."""
        return tuple(member.name for member in self._members.values() if member.key_shared.holds)

    async def stop(self) -> None:
        """Closes the socket and every connection. `run` must have ended."""
        self._listener.close()
        for opening in self._openings:
            opening.cancel()
        await asyncio.gather(*self._openings, return_exceptions=True)
        links = [member.link for member in self._members.values() if member.link is not None]
        await asyncio.gather(*(link.websocket.close(code=WSCloseCode.GOING_AWAY) for link in links))
        await self._http.shutdown(self._limits.close_s)

    # --- from accepting to a WebSocket ---------------------------------------------------------------------

    async def _accept(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._log.error("cannot_accept_connections", reason=error.strerror)
                    await asyncio.sleep(ACCEPT_PAUSE_S)
                # else: the connection was gone before it was accepted
            else:
                return connection

    async def _open(self, connection: socket.socket) -> None:
        """Takes a connection through TLS and its request, or ends it at the deadline."""
        protocol = self._http()
        answered = self._answers[protocol] = asyncio.get_running_loop().create_future()
        transport: asyncio.Transport | None = None
        try:
            async with asyncio.timeout(self._limits.handshake_s):
                transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: protocol,
                    connection,
                    ssl=self._context,
                    ssl_handshake_timeout=self._limits.handshake_s,
                    ssl_shutdown_timeout=self._limits.close_s,
                )
                await answered
        except TimeoutError:
            self._refuse(MeshRefusal.HANDSHAKE_TIMEOUT)
        except OSError:
            self._refuse(MeshRefusal.TLS_FAILED)
        except Exception as error:  # noqa: BLE001  (whatever a stranger's bytes do in a library never stops the node)
            self._refuse(MeshRefusal.TLS_FAILED)
            self._log.debug("handshake_failed", error=repr(error))
        finally:
            del self._answers[protocol]
            if transport is not None and not (answered.done() and not answered.cancelled()):
                transport.abort()

    def _on_opened(self, opening: asyncio.Task[None]) -> None:
        self._openings.pop(opening, None)

    async def _on_request(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers the one request of a connection: with a WebSocket, read to its end, or with a refusal."""
        try:
            return await self._admit(request)
        except ConnectionError:
            raise  # the connection ended
        except Exception as error:  # a member's bytes never stop the node, whatever they do in a library
            self._refuse(MeshRefusal.BAD_REQUEST)
            self._log.warning("peer_request_failed", error=repr(error))
            raise

    async def _admit(self, request: web.BaseRequest) -> web.StreamResponse:
        answered = self._answers.get(request.protocol)
        key = _key_of(request)
        sender = None if key is None else self._member_of(key)
        member = None if sender is None else self._members.get(sender)
        websocket = web.WebSocketResponse(
            heartbeat=self._limits.heartbeat_s,
            autoping=False,  # pings count in the quota
            compress=False,
            max_msg_size=FRAME_SIZE_BYTES_MAX + 1,  # aiohttp refuses a frame of exactly this size
            timeout=self._limits.close_s,
        )
        if answered is not None and not answered.done():
            answered.set_result(None)
        if sender is None or member is None:
            return self._refusal(MeshRefusal.NOT_A_MEMBER)
        if not member.connects.has_capacity():
            return self._refusal(MeshRefusal.CONNECTING_TOO_OFTEN)
        await member.connects.acquire()  # there is capacity, so this does not wait
        if request.path != MESH_PATH or not websocket.can_prepare(request):
            return self._refusal(MeshRefusal.BAD_REQUEST)
        await websocket.prepare(request)
        if request.transport is not None:
            link = OpenLink(websocket=websocket, transport=request.transport)
            if member.processes.has_returned(request.headers.get(PROCESS_HEADER)) and member.key_shared.notice():
                self._log.error("two processes use a member's key", peer=member.name, peer_address=sender.hex()[:8])
            await self._serve(link, sender, member)
        return websocket

    def _refusal(self, refusal: MeshRefusal) -> web.Response:
        self._refuse(refusal)
        response = web.Response(status=_REFUSAL_STATUS[refusal], text=refusal.value)
        response.force_close()
        return response

    # --- an open link --------------------------------------------------------------------------------------

    async def _serve(self, link: OpenLink, sender: Address, member: MemberState) -> None:
        replaced, member.link = member.link, link
        if replaced is not None:
            await self._end_replaced(replaced, member)
        log = self._log.bind(peer=member.name, peer_address=sender.hex()[:8])
        told = logging.DEBUG if member.key_shared.holds else logging.INFO  # two processes throw each other off
        log.log(told, "peer_listening_link_up")
        self._on_link(sender)
        try:
            ended = await self._receive(link, sender, member)
        finally:
            if member.link is link:
                member.link = None
        if ended is None:
            log.log(told, "peer_listening_link_down", reason="closed")
            return
        self._refuse(ended)
        log.warning("peer_listening_link_down", reason=ended.value)
        await link.websocket.close(code=WSCloseCode.POLICY_VIOLATION)

    async def _end_replaced(self, link: OpenLink, member: MemberState) -> None:
        """Ends the link that a newer one replaced; told why if another process opened that one."""
        if member.key_shared.holds:
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(self._limits.close_s):
                    await link.websocket.close(code=SHARED_KEY_CLOSE_CODE)
        link.transport.abort()

    async def _receive(self, link: OpenLink, sender: Address, member: MemberState) -> MeshRefusal | None:
        """Hands every message to the handler until the link ends; returns what the peer did wrong, if it did."""
        while member.link is link:
            try:
                incoming = await link.websocket.receive(self._limits.idle_s)
            except TimeoutError:
                return MeshRefusal.IDLE
            match incoming.type:
                case WSMsgType.BINARY:
                    frame: bytes = incoming.data
                    await member.quota.spend(len(frame))
                    self._counters.on_frame_received(member.name, len(frame))
                    try:
                        message = decode_peer_message(frame)
                    except DecodeError:
                        return MeshRefusal.MALFORMED_MESSAGE
                    self._deliver(sender, message)
                case WSMsgType.PING:
                    await member.quota.spend(len(incoming.data))
                    try:
                        async with asyncio.timeout(self._limits.write_s):
                            await link.websocket.pong(incoming.data)
                    except TimeoutError:
                        return MeshRefusal.SLOW_READER
                case WSMsgType.PONG:
                    await member.quota.spend(len(incoming.data))
                case WSMsgType.TEXT:
                    return MeshRefusal.BAD_FRAME
                case _:
                    return _refusal_of(incoming.data)
        return None  # replaced

    def _deliver(self, sender: Address, message: PeerMessage) -> None:
        try:
            self._handler(sender, message)
        except Exception as bug:
            self._on_failure(bug)
            raise ConnectionAbortedError("this node stops") from bug

    def _refuse(self, refusal: MeshRefusal) -> None:
        self._counters.on_message_refused(refusal.value)


def _refusal_of(end: object) -> MeshRefusal | None:
    """Returns what was wrong if a link ended by silence or a frame against the WebSocket protocol."""
    if isinstance(end, TimeoutError):  # no pong
        return MeshRefusal.IDLE
    if not isinstance(end, WebSocketError):
        return None
    too_large = end.code == WSCloseCode.MESSAGE_TOO_BIG
    return MeshRefusal.FRAME_TOO_LARGE if too_large else MeshRefusal.BAD_FRAME


def _key_of(request: web.BaseRequest) -> PublicKey | None:
    transport = request.transport
    encrypted = None if transport is None else transport.get_extra_info("ssl_object")
    if encrypted is None:  # the connection is already lost
        return None
    try:
        return key_of_peer(encrypted)
    except (IdentityError, ValueError):  # ValueError: a certificate that OpenSSL reads and cryptography does not
        return None
