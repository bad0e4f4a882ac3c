"""The incoming half of the mesh: accepts connections and admits members.

A connection passes three gates under one deadline: TLS with a certificate of the authority, a key that the state
gives to a known member, and a WebSocket request of the one route. Until then it holds one of few places. What lies
behind them is `link.py`.
"""

import asyncio
import errno
import logging
import socket
import ssl
from typing import Final

import structlog
from aiohttp import web
from aiolimiter import AsyncLimiter

from consensus.identifiers import Address, PublicKey
from node.admission.identity import key_of_peer
from node.errors import IdentityError, WrongRole
from node.mesh.limits import MESH_PATH, MemberOf, MeshCounters, MeshLimits, MeshRefusal
from node.mesh.link import Connection, PeerLink
from node.mesh.messages import FRAME_SIZE_BYTES_MAX
from node.mesh.shared_key import PROCESS_HEADER

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
    MeshRefusal.WRONG_ROLE: 403,
    MeshRefusal.CONNECTING_TOO_OFTEN: 429,
}


class MemberState:
    """What is remembered of a member over all its connections."""

    def __init__(self, link: PeerLink, limits: MeshLimits) -> None:
        """Takes what its connections are handed to."""
        self.link: Final = link
        self.connects: Final = AsyncLimiter(limits.connects_per_period, limits.connect_period_s)


class IncomingLinks:
    """The listening socket and every connection that came through it."""

    def __init__(
        self,
        *,
        context: ssl.SSLContext,
        member_of: MemberOf,
        listener: socket.socket,
        limits: MeshLimits,
        counters: MeshCounters,
        process_id: str,
    ) -> None:
        """Takes what it serves with; must be made inside a running event loop.

        Args:
            context: shows this node's certificate and requires one of the same authority.
            member_of: whose a node key is.
            listener: bound, listening and non-blocking; closed by `stop`.
            limits: bounds.
            counters: what happens is counted here.
            process_id: shown to who dials.
        """
        self._context = context
        self._member_of = member_of
        self._listener = listener
        self._limits = limits
        self._counters = counters
        self._process_id = process_id
        self._members: dict[Address, MemberState] = {}
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

    def admit(self, link: PeerLink) -> None:
        """Admits a peer from now on, whose connections go to its link."""
        self._members[link.endpoint.address] = MemberState(link, self._limits)

    def dismiss(self, peer: Address) -> None:
        """Admits a peer no more, and ends its connections."""
        self._members.pop(peer).link.end("this node knows no such member any more")

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

    async def stop(self) -> None:
        """Closes the socket and every connection. `run` must have ended."""
        self._listener.close()
        for opening in self._openings:
            opening.cancel()
        await asyncio.gather(*self._openings, return_exceptions=True)
        for member in self._members.values():
            member.link.end("this node stops")
        await self._http.shutdown(self._limits.close_s)

    # --- from accepting to a WebSocket ---------------------------------------------------------------------

    async def _accept(self) -> socket.socket:
        while True:
            await self._readable()
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self._log.error("cannot_accept_connections", reason=error.strerror)
                    await asyncio.sleep(ACCEPT_PAUSE_S)
                # else: the connection was gone before it was accepted
            else:
                connection.settimeout(0)  # as the event loop wants it: never blocking
                return connection

    async def _readable(self) -> None:
        """Waits for a connection to accept. `sock_accept` accepts and then wakes its caller: one that is cancelled in
        between never gets the connection, and nobody closes it.
        """
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._listener, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._listener)

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
        sender = self._member_of(key) if isinstance(key, bytes) else None
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
        if isinstance(key, WrongRole):
            self._log.debug("peer_refused", reason=str(key))
            return self._refusal(MeshRefusal.WRONG_ROLE)
        if sender is None or member is None:
            return self._refusal(MeshRefusal.NOT_A_MEMBER)
        if not member.connects.has_capacity():
            return self._refusal(MeshRefusal.CONNECTING_TOO_OFTEN)
        await member.connects.acquire()  # there is capacity, so this does not wait
        if request.path != MESH_PATH or not websocket.can_prepare(request):
            return self._refusal(MeshRefusal.BAD_REQUEST)
        websocket.headers[PROCESS_HEADER] = self._process_id
        await websocket.prepare(request)
        shown = request.headers.get(PROCESS_HEADER)
        await member.link.serve(Connection(websocket, is_dialled=False, process_id=shown))
        return websocket

    def _refusal(self, refusal: MeshRefusal) -> web.Response:
        self._refuse(refusal)
        response = web.Response(status=_REFUSAL_STATUS[refusal], text=refusal.value)
        response.force_close()
        return response

    def _refuse(self, refusal: MeshRefusal) -> None:
        self._counters.on_message_refused(refusal.value)


def _key_of(request: web.BaseRequest) -> PublicKey | WrongRole | None:
    transport = request.transport
    encrypted = None if transport is None else transport.get_extra_info("ssl_object")
    if encrypted is None:  # the connection is already lost
        return None
    try:
        return key_of_peer(encrypted)
    except WrongRole as refused:
        return refused
    except (IdentityError, ValueError):  # ValueError: a certificate that OpenSSL reads and cryptography does not
        return None
