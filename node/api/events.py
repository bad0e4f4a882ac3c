"""The events: a WebSocket that sends every decided block from a height on, as JSON, one event per message.

Events come from the stored chain, in its order: per height the block, then its receipts, then its trades. A
follower therefore costs no memory however far behind it is, and one that resumes sees nothing missing; after a
cut it may see one height again. A follower that leaves its socket unread is cut off, and the close reason names
the height to resume from.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from consensus.identifiers import Height
from ledger.block import block_digest
from ledger.errors import BlocksNotHere
from ledger.ledger import Ledger
from node.api.context import ApiContext
from node.api.problem import ProblemError
from node.replies.parameters import EventsParameters
from node.replies.problem import ProblemReason
from node.replies.state import BlockEvent, ReceiptEvent, TradeEvent
from node.replies.views import receipt_view
from node.stories.lists import logged_trade_view
from node.stories.trade_log import trades_of

HEARTBEAT_S: Final = 30.0
"""Time between pings; a follower that does not answer is gone."""

MESSAGE_SIZE_BYTES_MAX: Final = 1_024
"""Largest message from a follower; it has nothing to say."""

EVENTS_PER_SLICE: Final = 32
"""Events between two turns of the event loop: some milliseconds."""

CLOSE_DEADLINE_S: Final = 2.0
"""Longest wait for a follower to confirm the close."""


async def follow_events(
    context: ApiContext, parameters: EventsParameters, request: web.Request
) -> web.StreamResponse:
    """Sends events until the follower leaves, does not read, or the node stops."""
    socket = web.WebSocketResponse(heartbeat=HEARTBEAT_S, max_msg_size=MESSAGE_SIZE_BYTES_MAX)
    if not socket.can_prepare(request):
        detail = "open this path as a WebSocket"
        raise ProblemError(ProblemReason.WEBSOCKET_EXPECTED, detail, headers={"Upgrade": "websocket"})
    if len(context.followers) >= context.limits.followers_max:
        detail = f"{len(context.followers)} clients follow already"
        raise ProblemError(ProblemReason.TOO_MANY_FOLLOWERS, detail, retry_after_s=10)
    ledger = context.chain.ledger
    first = Height(ledger.height + 1 if parameters.from_height is None else parameters.from_height)
    if first > ledger.height + 1:
        detail = f"from {first} is above the next height, {ledger.height + 1}"
        raise ProblemError(ProblemReason.UNKNOWN_BLOCK, detail)
    if ledger.lacks(first):
        raise BlocksNotHere(ledger.first_height)
    context.followers[socket] = first
    try:
        await socket.prepare(request)
        await _serve(context, socket)
    finally:
        del context.followers[socket]
    return socket


async def close_followers(context: ApiContext) -> None:
    """Tells every follower that the node stops, and from which height to resume."""
    closing = [
        _close(socket, WSCloseCode.GOING_AWAY, f"node stops; resume with from={height}")
        for socket, height in list(context.followers.items())
    ]
    await asyncio.gather(*closing)


async def _serve(context: ApiContext, socket: web.WebSocketResponse) -> None:
    sending = asyncio.create_task(_send_all(context, socket))
    receiving = asyncio.create_task(_receive_all(socket))
    try:
        await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, receiving):
            task.cancel()
        results = await asyncio.gather(sending, receiving, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception) and not isinstance(result, ConnectionError):
            raise result


async def _send_all(context: ApiContext, socket: web.WebSocketResponse) -> None:
    ledger = context.chain.ledger
    while True:
        height = context.followers[socket]
        if height > ledger.height:
            await context.tip.wait()
            continue
        try:
            for count, event in enumerate(events_of(ledger, height), start=1):
                async with asyncio.timeout(context.limits.send_deadline_s):
                    await socket.send_str(event)
                if count % EVENTS_PER_SLICE == 0:
                    await asyncio.sleep(0)
        except TimeoutError:
            reason = f"too slow; resume with from={height}"
            await _close(socket, WSCloseCode.TRY_AGAIN_LATER, reason)
            return
        context.followers[socket] = Height(height + 1)
        await asyncio.sleep(0)


async def _receive_all(socket: web.WebSocketResponse) -> None:
    message = await socket.receive()
    if message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
        await _close(socket, WSCloseCode.UNSUPPORTED_DATA, "this socket only sends")


async def _close(socket: web.WebSocketResponse, code: int, reason: str) -> None:
    with suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(CLOSE_DEADLINE_S):
            await socket.close(code=code, message=reason.encode())


def events_of(ledger: Ledger, height: Height) -> Iterator[str]:
    """Yields the events of a decided height as JSON."""
    block = ledger.decided_block(height)
    header = block.header
    yield BlockEvent(
        type="block",
        height=height,
        digest=block_digest(header).hex(),
        slot=header.slot,
        leader=header.leader.hex(),
        transactions=len(block.transactions),
        state_root=header.state_root.hex(),
    ).model_dump_json()
    for index, receipt in enumerate(ledger.receipts(height)):
        view = receipt_view(receipt)
        yield ReceiptEvent(type="receipt", height=height, index=index, receipt=view).model_dump_json()
    for logged in trades_of(ledger, height):
        yield TradeEvent(type="trade", height=height, trade=logged_trade_view(logged)).model_dump_json()
