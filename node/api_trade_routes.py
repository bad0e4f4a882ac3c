"""Handler that lists completed trades."""

from aiohttp import web

from consensus.identifiers import Height
from ledger.ledger import Ledger
from node.api_context import ApiContext, answer
from node.api_parameters import TradesParameters
from node.api_state_models import TradeModel, TradesReply
from node.api_views import trade_view
from node.trade_log import LoggedTrade, Place, read_trades


async def list_trades(context: ApiContext, parameters: TradesParameters, _: web.Request) -> web.Response:
    """Answers with trades in the order of the chain, or the newest first."""
    return answer(await trade_list(context.chain.ledger, parameters))


async def trade_list(ledger: Ledger, parameters: TradesParameters) -> TradesReply:
    """Returns a page of trades."""
    page = await read_trades(
        ledger,
        after=_parse_place(parameters.after),
        trades_max=parameters.limit,
        newest_first=parameters.order == "newest",
    )
    behind = page.continues_behind
    return TradesReply(
        trades=[logged_trade_view(logged) for logged in page.trades],
        next_after=None if behind is None else f"{behind.height}.{behind.index}",
    )


def logged_trade_view(logged: LoggedTrade) -> TradeModel:
    """Returns a trade of the log as the API shows it."""
    return trade_view(logged.trade_id, logged.trade, index=logged.place.index)


def _parse_place(text: str | None) -> Place | None:
    if text is None:
        return None
    height, index = text.split(".")
    return Place(Height(int(height)), int(index))
