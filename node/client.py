"""Asks running nodes over their REST API: what `p2pnode testnet` sees of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

import aiohttp
from pydantic import ValidationError

from node.errors import TestnetError
from node.replies.node import BlocksReply, BlockSummary, StatusReply
from node.replies.parameters import BLOCKS_PER_PAGE_MAX
from node.replies.why import WhyReply

TIMEOUT_S: Final = 10.0
"""For one request on the same machine; a node that takes longer counts as away."""


class NodeClient:
    """HTTP client of any number of nodes. Made by `open_client`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def is_ready(self, url: str) -> bool:
        """Says whether the node at `url` reaches a quorum."""
        try:
            async with self._session.get(f"{url}/readyz") as response:
                return response.status == HTTPStatus.OK
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def status(self, url: str) -> StatusReply | None:
        """Returns the status of the node at `url`, None if it does not answer."""
        try:
            async with self._session.get(f"{url}/v1/status") as response:
                return StatusReply.model_validate_json(await response.read())
        except (aiohttp.ClientError, TimeoutError, ValidationError):
            return None

    async def why(self, url: str) -> WhyReply | None:
        """Returns why nothing is decided at the node at `url`, None if it does not answer."""
        try:
            async with self._session.get(f"{url}/v1/why") as response:
                return WhyReply.model_validate_json(await response.read())
        except (aiohttp.ClientError, TimeoutError, ValidationError):
            return None

    async def blocks(self, url: str) -> AsyncIterator[BlockSummary]:
        """Yields all blocks of the node at `url`, from the first.

        Raises:
            TestnetError: it does not answer.
        """
        height: int | None = 1
        while height is not None:
            query = {"from": str(height), "limit": str(BLOCKS_PER_PAGE_MAX)}
            try:
                async with self._session.get(f"{url}/v1/blocks", params=query) as response:
                    page = BlocksReply.model_validate_json(await response.read())
            except (aiohttp.ClientError, TimeoutError, ValidationError) as error:
                raise TestnetError(f"{url} does not list its blocks: {type(error).__name__}") from None
            for block in page.blocks:
                yield block
            height = page.next_from


@asynccontextmanager
async def open_client(*, timeout_s: float = TIMEOUT_S) -> AsyncIterator[NodeClient]:
    """Gives a client while the block runs; each request may take `timeout_s`."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield NodeClient(session)
