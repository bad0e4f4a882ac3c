"""The REST API of a node: the aiohttp application, its limits and its one way to fail.

It reads the chain and hands transactions on; it signs nothing and holds no rule of the market. Routes come from
the table in `routes.py`. Every error leaves as problem details: known ones by `ProblemError`, those of aiohttp
translated, anything unexpected logged with its trace and answered with 500 without it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp import web

from ledger.errors import BlocksNotHere, LedgerDamaged
from node.api.connections import (
    HEADER_LINE_BYTES_MAX,
    HEADERS_MAX,
    IDLE_MAX_S,
    LINGERING_MAX_S,
    ConnectionGuard,
    GuardedConnection,
)
from node.api.context import ApiContext, ApiLimits, ApiNode
from node.api.events import close_followers
from node.api.hosts import ServedHosts
from node.api.openapi import openapi_text
from node.api.problem import ProblemError, from_http_exception
from node.api.routes import ROUTES, Route
from node.api.validation import parse_parameters
from node.chain.applied import SubscriberTooSlow
from node.logs import get_logger
from node.replies.problem import ProblemReason

STOP_DEADLINE_S: Final = 3.0
"""Longest time that requests under way may take when the node stops."""

BACKLOG_MAX: Final = 512
"""Connections that wait to be accepted."""

UNKNOWN_ROUTE: Final = "unknown"
"""Route label of requests to paths outside the table: raw paths would make a metric of each."""

_log = get_logger("api")

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """Serves one node's API."""

    def __init__(
        self,
        *,
        node: ApiNode,
        host: str,
        port: int,
        host_names: Sequence[str] = (),
        limits: ApiLimits | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes the node, the address to listen on (port 0 takes a free one) and a monotonic clock in seconds.

        Requests for the address, for this machine's loopback names and for `host_names` are answered.
        """
        limits = limits or ApiLimits()
        self.context: Final = ApiContext(
            node=node, limits=limits, quota=limits.quota(clock_s), make_openapi=openapi_text
        )
        self._host = host
        self._port = port
        self._hosts = ServedHosts((host, *host_names))
        self._guard = ConnectionGuard(clock_s=clock_s, connections_max=limits.connections_max)
        self._clock_s = clock_s
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def node(self) -> ApiNode:
        """The node behind it."""
        return self.context.node

    @property
    def port(self) -> int:
        """The port it listens on."""
        assert self._server is not None, "the server is not started"
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Listens.

        Raises:
            OSError: the address is in use or not this machine's.
        """
        self._runner = web.AppRunner(
            build_application(self.context, self._hosts, clock_s=self._clock_s), shutdown_timeout=STOP_DEADLINE_S
        )
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._make_connection, self._host, self._port, backlog=BACKLOG_MAX)
        self._tasks = [
            asyncio.create_task(self._guard.run(), name="api-guard"),
            asyncio.create_task(_announce_blocks(self.context), name="api-tip"),
        ]

    def _make_connection(self) -> GuardedConnection:
        assert self._runner is not None
        server = self._runner.server
        assert server is not None
        return GuardedConnection(
            server,
            guard=self._guard,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_MAX_S,
            lingering_time=LINGERING_MAX_S,
            max_line_size=HEADER_LINE_BYTES_MAX,
            max_field_size=HEADER_LINE_BYTES_MAX,
            max_headers=HEADERS_MAX,
            auto_decompress=False,
            access_log=None,
        )

    async def stop(self) -> None:
        """Tells followers where to resume, lets requests under way finish within a deadline, closes."""
        if self._server is not None:
            self._server.close()
        await close_followers(self.context)
        if self._runner is not None:
            await self._runner.cleanup()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()


def build_application(context: ApiContext, hosts: ServedHosts, *, clock_s: Callable[[], float]) -> web.Application:
    """Returns the aiohttp application with every route of the table."""
    application = web.Application(middlewares=[_guarding_middleware(context, hosts, clock_s)])
    for route in ROUTES:
        application.router.add_route(route.method, route.path, _adapt(route, context))
    return application


def _adapt(route: Route, context: ApiContext) -> _Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await route.handler(context, parse_parameters(request, route.parameters), request)

    return handle


def _guarding_middleware(
    context: ApiContext, hosts: ServedHosts, clock_s: Callable[[], float]
) -> Callable[..., Awaitable[web.StreamResponse]]:
    @web.middleware
    async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
        started_s = clock_s()
        try:
            hosts.check(request)
            response = await handler(request)
        except ProblemError as problem:
            response = problem.response()
        except web.HTTPException as error:
            response = from_http_exception(error, request).response()
        except ConnectionError:
            raise
        except BlocksNotHere as missing:
            response = ProblemError(ProblemReason.BLOCKS_NOT_HERE, str(missing)).response()
        except LedgerDamaged as damaged:
            context.node.damaged(damaged)
            response = ProblemError(ProblemReason.HALTED, str(damaged)).response()
        except Exception:  # noqa: BLE001 - whatever went wrong, the client gets an answer and the log the trace
            _log.exception("request failed", method=request.method, path=request.path)
            response = ProblemError(ProblemReason.INTERNAL, "an unexpected error was logged").response()
        duration_s = clock_s() - started_s
        context.node.metrics.on_request(request.method, _route_label(request), response.status, duration_s)
        return response

    return guard


def _route_label(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return UNKNOWN_ROUTE if resource is None else resource.canonical


async def _announce_blocks(context: ApiContext) -> None:
    """Wakes the followers at every written block, until cancelled."""
    while True:
        try:
            async with context.chain.subscribe() as applied:
                context.tip.announce()
                async for _ in applied:
                    context.tip.announce()
        except SubscriberTooSlow:
            continue  # nothing is lost: followers read the ledger, this only wakes them
