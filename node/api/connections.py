"""Limits of the API's connections: how many, how long a header may take, how long a client may not read.

aiohttp closes a connection that waits for a request, or for the rest of its header, after the keep-alive time.
It has no limit on the number of connections, and none on a client that asks and then does not read the reply:
both are here. Errors of HTTP itself, before any route is found, become problem details too.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from node.api.problem import PROBLEM_CONTENT_TYPE, ProblemError, from_http_exception
from node.logs import get_logger
from node.replies.problem import ProblemReason

CONNECTIONS_MAX: Final = 512
"""Connections at once: more than any wallet, dashboard and scraper of a household need; about 100 kB each."""

IDLE_MAX_S: Final = 30.0
"""Longest wait for a request, and for the rest of a header once it began."""

LINGERING_MAX_S: Final = 5.0
"""Longest time that the rest of a refused body is read and thrown away, so that the client sees the reply."""

STALL_MAX_S: Final = 30.0
"""Longest time that a client may leave a reply unread before its connection is cut."""

SWEEP_INTERVAL_S: Final = 5.0
"""Time between two looks for clients that do not read."""

HEADER_LINE_BYTES_MAX: Final = 8_190
HEADERS_MAX: Final = 64

TOO_MANY_HEADERS: Final = "Too many headers received"
"""What aiohttp says of them; it has no error of its own for it."""

_log = get_logger("api")


@dataclass(slots=True)
class _Watched:
    """What a connection still has to be read by its client, and since when nothing of it was."""

    transport: asyncio.Transport
    unread_bytes: int
    unchanged_since_s: float


class ConnectionGuard:
    """Knows every open connection; admits up to a limit and cuts those whose clients do not read."""

    def __init__(
        self,
        *,
        clock_s: Callable[[], float],
        connections_max: int = CONNECTIONS_MAX,
        stall_max_s: float = STALL_MAX_S,
    ) -> None:
        """Takes a monotonic clock in seconds and the two limits."""
        self._clock_s = clock_s
        self._connections_max = connections_max
        self._stall_max_s = stall_max_s
        self._watched: dict[asyncio.BaseProtocol, _Watched] = {}

    def __len__(self) -> int:
        return len(self._watched)

    def admit(self, connection: asyncio.BaseProtocol, transport: asyncio.Transport) -> bool:
        """Says whether there is room for a connection, and watches it if so."""
        if len(self._watched) >= self._connections_max:
            return False
        self._watched[connection] = _Watched(transport, 0, self._clock_s())
        return True

    def forget(self, connection: asyncio.BaseProtocol) -> None:
        """Stops watching a connection that is closed."""
        self._watched.pop(connection, None)

    def sweep(self) -> int:
        """Cuts every connection whose client took nothing of its reply for too long; returns how many."""
        now_s = self._clock_s()
        stalled = [watched.transport for watched in self._watched.values() if self._is_stalled(watched, now_s)]
        for transport in stalled:
            transport.abort()
        return len(stalled)

    def _is_stalled(self, watched: _Watched, now_s: float) -> bool:
        unread_bytes = watched.transport.get_write_buffer_size()
        if unread_bytes == 0 or unread_bytes != watched.unread_bytes:
            watched.unread_bytes = unread_bytes
            watched.unchanged_since_s = now_s
        return now_s - watched.unchanged_since_s > self._stall_max_s

    async def run(self) -> None:
        """Sweeps until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_INTERVAL_S)
            if cut := self.sweep():
                _log.info("cut connections whose clients do not read", connections=cut)


class GuardedConnection(web.RequestHandler):
    """One connection: aiohttp's, admitted by the guard, with every error as problem details."""

    __slots__ = ("_guard", "_refused")

    def __init__(self, manager: web.Server, *, guard: ConnectionGuard, **arguments: Any) -> None:
        """Takes aiohttp's server and arguments, and the guard."""
        super().__init__(manager, **arguments)
        self._guard = guard
        self._refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Serves the connection if there is room, else answers 503 and closes it."""
        assert isinstance(transport, asyncio.Transport)
        if self._guard.admit(self, transport):
            super().connection_made(transport)
            return
        self._refused = True
        transport.write(_no_room())
        transport.close()

    def data_received(self, data: bytes) -> None:
        """Parses what arrives, unless the connection was refused."""
        if not self._refused:
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forgets the connection."""
        self._guard.forget(self)
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answers what aiohttp could not parse, and closes the connection."""
        if request.writer.output_size > 0:
            raise ConnectionError("part of the reply was sent already")
        if status >= 500:  # noqa: PLR2004 - the class of server errors
            _log.error("request failed", exc_info=exc)
            problem = ProblemError(ProblemReason.INTERNAL, "an unexpected error was logged")
        elif isinstance(exc, LineTooLong):
            problem = ProblemError(ProblemReason.HEADER_TOO_LARGE, f"a line has over {HEADER_LINE_BYTES_MAX} bytes")
        elif message == TOO_MANY_HEADERS:
            problem = ProblemError(ProblemReason.HEADER_TOO_LARGE, f"there are over {HEADERS_MAX} fields")
        else:
            problem = ProblemError(ProblemReason.BAD_REQUEST, message or "the request cannot be parsed")
        response = problem.response()
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends a reply; an error that aiohttp raised outside the middleware becomes problem details first."""
        if isinstance(resp, web.HTTPException):
            resp = from_http_exception(resp, request).response()
        return await super().finish_response(request, resp, start_time)


def _no_room() -> bytes:
    problem = ProblemError(ProblemReason.TOO_MANY_CONNECTIONS, "try again shortly", retry_after_s=1)
    body = problem.response().body
    assert isinstance(body, bytes)
    head = (
        f"HTTP/1.1 {problem.status} Service Unavailable\r\nContent-Type: {PROBLEM_CONTENT_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: {problem.retry_after_s}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
