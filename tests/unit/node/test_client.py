"""What the client makes of a server's answers: of a real one, on this machine."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from node.client import NodeClient, open_client, path_of
from node.errors import NodeError, NotFound, TestnetError
from node.replies.node import HealthReply

PROBLEM = {"type": "/docs#problem-x", "title": "No", "status": 404, "detail": "no block 7", "reason": "unknown_block"}
GONE = "http://127.0.0.1:9"
"""Nobody listens there."""


@asynccontextmanager
async def served(status: int, body: object) -> AsyncIterator[tuple[NodeClient, str, list[str]]]:
    """Gives a client and the URL of a server that answers everything with one reply, and what it was asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return web.Response(status=status, text=body if isinstance(body, str) else json.dumps(body))

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with open_client() as client:
            yield client, f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


async def test_an_answer_is_its_model_and_a_slash_behind_the_url_does_not_matter() -> None:
    async with served(200, {"status": "ok", "notices": []}) as (client, url, asked):
        assert await client.get(f"{url}/", "/healthz", HealthReply) == HealthReply(status="ok", notices=[])
    assert asked == ["/healthz"]


async def test_what_is_not_there_is_told_with_its_reason() -> None:
    async with served(404, PROBLEM) as (client, url, _):
        with pytest.raises(NotFound, match="no block 7") as refused:
            await client.get(url, "/v1/blocks/7", HealthReply)
    assert refused.value.reason == "unknown_block"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (503, {**PROBLEM, "status": 503, "reason": "halted", "detail": "it halted"}, "^it halted$"),
        (200, {"status": "ok", "more": 1}, r"does not answer as a node of this version does \(HTTP 200\)"),
        (404, "<html>a router's page</html>", r"does not answer as a node of this version does \(HTTP 404\)"),
    ],
)
async def test_every_other_answer_is_an_error_and_to_the_testnet_none(status: int, body: object, said: str) -> None:
    async with served(status, body) as (client, url, _):
        with pytest.raises(NodeError, match=said) as refused:
            await client.get(url, "/healthz", HealthReply)
        assert not isinstance(refused.value, NotFound)
        assert (await client.status(url), await client.why(url), await client.is_ready(url)) == (None, None, False)
        with pytest.raises(TestnetError, match="does not list its blocks"):
            _ = [block async for block in client.blocks(url)]


async def test_nobody_there_is_told_with_the_url() -> None:
    async with open_client() as client:
        with pytest.raises(NodeError, match=rf"{GONE}/healthz does not answer .*is the node running"):
            await client.get(GONE, "/healthz", HealthReply)
        assert await client.status(GONE) is None


def test_what_is_none_is_left_out_of_a_query() -> None:
    assert path_of("/v1/trades", limit=3, after=None) == "/v1/trades?limit=3"
    assert path_of("/v1/trades", after=None) == "/v1/trades"
