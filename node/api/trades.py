"""Handler that lists completed trades."""

from aiohttp import web

from node.api.context import ApiContext, answer
from node.replies.parameters import TradesParameters
from node.stories.lists import trade_list


async def list_trades(context: ApiContext, parameters: TradesParameters, _: web.Request) -> web.Response:
    """Answers with trades in the order of the chain, or the newest first."""
    return answer(await context.read_slowly(trade_list(context.chain.ledger, parameters)))
