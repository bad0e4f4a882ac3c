"""The event WebSocket over a real socket: order, resuming, limits, slow readers, the end of the node."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import TypeAdapter

from node.api.context import ApiLimits
from node.replies.state import Event
from tests.support.api import ApiHarness, running_api
from tests.support.contracts import raw_transaction, transfer

EVENTS: TypeAdapter[Any] = TypeAdapter(Event)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiHarness]:
    async with running_api(tmp_path, limits=ApiLimits(followers_max=2)) as harness:
        yield harness


@asynccontextmanager
async def following(api: ApiHarness, **parameters: int) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    query = "&".join(f"{name.rstrip('_')}={value}" for name, value in parameters.items())
    async with api.client.ws_connect(f"/v1/events?{query}") as follower:
        yield follower


async def receive(follower: aiohttp.ClientWebSocketResponse, count: int) -> list[dict[str, Any]]:
    """Returns the next events, each checked against the documented model."""
    events = []
    async with asyncio.timeout(10):
        for _ in range(count):
            text = await follower.receive_str()
            EVENTS.validate_json(text)
            events.append(json.loads(text))
    return events


async def submit(api: ApiHarness, nonce: int) -> None:
    raw = raw_transaction(api.community, 0, transfer(api.community, 1, 5), nonce=nonce)
    await api.post({"transaction": raw.hex()})


async def followers(api: ApiHarness, count: int) -> None:
    """Waits until so many clients follow."""
    async with asyncio.timeout(10):
        while len(api.api.context.followers) != count:  # noqa: ASYNC110 - followers announce nothing
            await asyncio.sleep(0)


async def test_follower_gets_blocks_receipts_and_trades_in_order(api: ApiHarness) -> None:
    api.builder.append_trading_hour()
    async with following(api, from_=1) as follower:
        events = await receive(follower, 8)
    kinds = [(event["type"], event["height"]) for event in events]
    assert kinds == [("block", 1), *[("receipt", 1)] * 4, ("block", 2), ("receipt", 2), ("trade", 2)]
    assert events[0]["digest"] == (await api.get("/v1/blocks/1"))["digest"]
    assert [event["index"] for event in events[1:5]] == [0, 1, 2, 3]
    assert events[7]["trade"] == (await api.get("/v1/trades"))["trades"][0]


async def test_without_from_only_what_comes_is_sent(api: ApiHarness) -> None:
    api.builder.append_trading_hour()
    async with following(api) as follower:
        await followers(api, 1)
        await submit(api, 1)
        api.decide()
        events = await receive(follower, 2)
    assert [(event["type"], event["height"]) for event in events] == [("block", 3), ("receipt", 3)]


async def test_follower_resumes_and_goes_on_with_what_comes(api: ApiHarness) -> None:
    api.builder.append_trading_hour()
    async with following(api, from_=2) as follower:
        assert [event["height"] for event in await receive(follower, 3)] == [2, 2, 2]
        for nonce in (1, 2, 3):
            await submit(api, nonce)
            api.decide()
        assert [event["height"] for event in await receive(follower, 6)] == [3, 3, 4, 4, 5, 5]


async def test_height_that_nobody_can_know_yet_is_refused(api: ApiHarness) -> None:
    async with following(api, from_=1):
        pass
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await api.client.ws_connect("/v1/events?from=2")
    assert refused.value.status == 404


async def test_followers_are_bounded_and_room_comes_back(api: ApiHarness) -> None:
    async with following(api), following(api):
        await followers(api, 2)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await api.client.ws_connect("/v1/events")
        assert refused.value.status == 503
    await followers(api, 0)
    async with following(api):
        await followers(api, 1)


async def test_follower_that_talks_is_closed(api: ApiHarness) -> None:
    async with following(api) as follower:
        await follower.send_str("hello")
        message = await asyncio.wait_for(follower.receive(), 10)
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.UNSUPPORTED_DATA)


async def test_node_that_stops_says_where_to_resume(api: ApiHarness) -> None:
    api.builder.append_trading_hour()
    async with following(api, from_=1) as follower:
        await receive(follower, 8)
        stopping = asyncio.create_task(api.api.stop())
        message = await asyncio.wait_for(follower.receive(), 10)
        assert (message.data, message.extra) == (1001, "node stops; resume with from=3")
        await follower.close()
        await stopping


UPGRADE = (
    b"GET /v1/events?from=1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


async def open_with_small_buffers(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects a client for which little is under way when it stops reading."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    return await asyncio.open_connection(sock=client, limit=1_024)


async def test_follower_that_does_not_read_is_cut_off_and_told_where_to_resume(tmp_path: Path) -> None:
    blocks = 40
    async with running_api(tmp_path, limits=ApiLimits(send_deadline_s=0.2)) as api:
        for height in range(blocks):
            api.builder.append([api.builder.transfer(0, 1, 1 + height) for _ in range(250)])
        reader, writer = await open_with_small_buffers(api.api.port)
        writer.write(UPGRADE)
        await followers(api, 1)
        await followers(api, 0)  # nothing is read: the buffers fill, the deadline passes
        received = bytearray()
        async with asyncio.timeout(30):
            while chunk := await reader.read(65_536):
                received += chunk
        writer.close()
        await writer.wait_closed()
        resume = int(received[received.rindex(b"resume with from=") :].removeprefix(b"resume with from="))
        assert 1 < resume <= blocks
        assert f'"height":{resume - 1},"index":249,'.encode() in received, "the height before came in full"
        assert f'"height":{resume + 1},'.encode() not in received
        async with following(api, from_=resume) as follower:
            assert (await receive(follower, 1))[0]["height"] == resume
