"""Handler that lists completed trades."""

from aiohttp import web

from node.api_context import ApiContext, answer
from node.api_lists import trade_list
from node.api_parameters import TradesParameters


async def list_trades(context: ApiContext, parameters: TradesParameters, _: web.Request) -> web.Response:
    """Answers with trades in the order of the chain, or the newest first."""
    return answer(await trade_list(context.chain.ledger, parameters))
