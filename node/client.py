"""Asks running nodes over their REST API: the one HTTP client of the command line and of `p2pnode testnet`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import urlencode, urlsplit

import aiohttp
import msgspec
from pydantic import BaseModel, ValidationError

from node.errors import NodeAway, NodeError, NotFound, TestnetError
from node.home.configuration import Configuration
from node.replies.node import BlocksReply, BlockSummary, Problem, ReadyReply, StatusReply, SubmissionReply
from node.replies.parameters import BLOCKS_PER_PAGE_MAX
from node.replies.state import MemberChangesReply
from node.replies.why import WhyReply

M = TypeVar("M", bound=BaseModel)

TIMEOUT_S: Final = 10.0
"""For one request on the same machine; a node that takes longer counts as away."""

MESSAGEPACK_TYPE: Final = "application/msgpack"
JSON_TYPE: Final = "application/json"

URL_SHOWN_MAX: Final = 200
"""Characters of somebody's URL that a message shows."""

ANY_HOSTS: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  (where to ask what listens everywhere)


def api_url(configuration: Configuration) -> str:
    """Returns where a node's API is reached on its own machine."""
    table = configuration.api
    return f"http://{ANY_HOSTS.get(table.host, table.host)}:{table.port}"


def require_url(text: str) -> str:
    """Returns the root of an API that somebody named, without a slash at its end.

    Raises:
        NodeError: it is no such URL.
    """
    try:
        parts = urlsplit(text)
        is_url = parts.scheme in {"http", "https"} and bool(parts.netloc)
    except ValueError:  # such as half an IPv6 address
        is_url = False
    if not is_url:
        raise NodeError(f"{text[:URL_SHOWN_MAX]!r} is no URL of an API: write it as http://127.0.0.1:8000")
    return text.rstrip("/")


def path_of(path: str, **query: object) -> str:
    """Returns a path with a query; what is None is left out."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


class NodeClient:
    """HTTP client of any number of nodes, each named by the root of its API. Made by `open_client`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, url: str, path: str, model: type[M]) -> M:
        """Returns what the node at `url` answers.

        Raises:
            NotFound: there is no such thing.
            NodeAway: there is no answer.
            NodeError: another problem.
        """
        status, body = await self._read(f"{require_url(url)}{path}")
        return _answer_of(url, status, body, model)

    async def submit(self, url: str, raw: bytes, *, wait_s: float) -> SubmissionReply:
        """Submits a signed transaction to the node at `url`, and waits for its block; returns what became of it.

        Raises:
            NodeAway: the node does not answer.
            NodeError: it does not take it.
        """
        path = path_of("/v1/transactions", wait=wait_s)
        return await self._post(url, path, raw, MESSAGEPACK_TYPE, SubmissionReply)

    async def post(self, url: str, path: str, body: msgspec.Struct, model: type[M]) -> M:
        """Sends the node at `url` a JSON body, and returns what it answers.

        Raises:
            NodeAway: the node does not answer.
            NodeError: it does not take it.
        """
        return await self._post(url, path, msgspec.json.encode(body), JSON_TYPE, model)

    async def _post(self, url: str, path: str, data: bytes, media_type: str, model: type[M]) -> M:
        place = f"{require_url(url)}{path}"
        try:
            async with self._session.post(place, data=data, headers={"Content-Type": media_type}) as response:
                status, body = response.status, await response.read()
        except (aiohttp.ClientError, ValueError, TimeoutError) as error:
            raise NodeAway(f"{url} does not answer ({type(error).__name__}); is the node running?") from None
        return _answer_of(url, status, body, model)

    async def _read(self, url: str) -> tuple[int, bytes]:
        try:
            async with self._session.get(url) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, ValueError, TimeoutError) as error:
            raise NodeAway(f"{url} does not answer ({type(error).__name__}); is the node running?") from None

    async def _answer(self, url: str, path: str, model: type[M]) -> M | None:
        try:
            return await self.get(url, path, model)
        except NodeError:
            return None

    async def is_ready(self, url: str) -> bool:
        """Says whether the node at `url` reaches a quorum."""
        return await self._answer(url, "/readyz", ReadyReply) is not None

    async def status(self, url: str) -> StatusReply | None:
        """Returns the status of the node at `url`, None if it does not answer."""
        return await self._answer(url, "/v1/status", StatusReply)

    async def why(self, url: str) -> WhyReply | None:
        """Returns why nothing is decided at the node at `url`, None if it does not answer."""
        return await self._answer(url, "/v1/why", WhyReply)

    async def left(self, url: str) -> frozenset[str]:
        """Returns the addresses of who left, as the node at `url` has it; none if it does not answer."""
        reply = await self._answer(url, "/v1/members/changes", MemberChangesReply)
        return frozenset() if reply is None else frozenset(one.address for one in reply.left)

    async def blocks(self, url: str) -> AsyncIterator[BlockSummary]:
        """Yields all blocks of the node at `url`, from the first.

        Raises:
            TestnetError: it does not answer.
        """
        height: int | None = 1
        while height is not None:
            path = path_of("/v1/blocks", **{"from": height, "limit": BLOCKS_PER_PAGE_MAX})
            try:
                page = await self.get(url, path, BlocksReply)
            except NodeError as error:
                raise TestnetError(f"{url} does not list its blocks: {error}") from None
            for block in page.blocks:
                yield block
            height = page.next_from


@asynccontextmanager
async def open_client(*, timeout_s: float = TIMEOUT_S) -> AsyncIterator[NodeClient]:
    """Gives a client while the block runs; each request may take `timeout_s`."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield NodeClient(session)


def _answer_of(url: str, status: int, body: bytes, model: type[M]) -> M:
    try:
        if status in {HTTPStatus.OK, HTTPStatus.ACCEPTED}:
            return model.model_validate_json(body)
        problem = Problem.model_validate_json(body)
    except ValidationError:
        raise NodeError(f"{url} does not answer as a node of this version does (HTTP {status})") from None
    if status == HTTPStatus.NOT_FOUND:
        raise NotFound(problem.reason, problem.detail)
    raise NodeError(problem.detail)
