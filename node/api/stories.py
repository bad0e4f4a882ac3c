"""Handlers that tell stories: a contract's, a receipt to keep, a score's, a month's, and proven misconduct."""

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from consensus.identifiers import Height
from node.api.context import ApiContext, answer
from node.api.problem import ProblemError
from node.errors import NotFound
from node.proofs.receipt_file import export_receipt
from node.replies.parameters import (
    EvidenceParameters,
    MemberParameters,
    NoParameters,
    OwnTransactionsParameters,
    ReceiptParameters,
    ScoreHistoryParameters,
    StatementParameters,
    TradeParameters,
    TradesParameters,
)
from node.replies.problem import ProblemReason
from node.replies.stories import ReceiptFileReply
from node.stories.lists import trade_list
from node.stories.members import member_of
from node.stories.misconduct import list_misconduct, show_misconduct
from node.stories.own_transactions import own_transactions
from node.stories.score_history import score_history
from node.stories.statement import month_statement
from node.stories.trade_story import trade_story


async def show_trade(context: ApiContext, parameters: TradeParameters, _: web.Request) -> web.Response:
    """Answers with everything that the chain knows of a contract."""
    with _problems():
        work = trade_story(context.chain.ledger, context.node.names(), parameters.trade)
        return answer(await context.read_slowly(work))


async def show_receipt(context: ApiContext, parameters: ReceiptParameters, _: web.Request) -> web.Response:
    """Answers with a receipt that this node signed."""
    ledger = context.chain.ledger
    with _problems():
        receipt = await context.read_slowly(export_receipt(ledger, parameters.trade, context.node.signer))
    return answer(ReceiptFileReply.model_validate(receipt.document(ledger.genesis)))


async def show_score_history(context: ApiContext, parameters: ScoreHistoryParameters, _: web.Request) -> web.Response:
    """Answers with the versions of a member's score."""
    with _problems():
        after = None if parameters.after is None else Height(parameters.after)
        work = score_history(
            context.chain.ledger, context.node.names(), parameters.member, after=after, versions_max=parameters.limit
        )
        return answer(await context.read_slowly(work))


async def show_member(context: ApiContext, parameters: MemberParameters, _: web.Request) -> web.Response:
    """Answers with all that the chain says of who is or was a member."""
    connected = context.node.replica.connected() | {context.node.address}
    with _problems():
        return answer(member_of(context.chain.ledger, context.node.names(), parameters.member, connected))


async def list_evidence(context: ApiContext, _: NoParameters, __: web.Request) -> web.Response:
    """Answers with all proven misconduct."""
    return answer(list_misconduct(context.chain.ledger, context.node.names()))


async def show_evidence(context: ApiContext, parameters: EvidenceParameters, _: web.Request) -> web.Response:
    """Answers with a proven misconduct and both statements."""
    with _problems():
        return answer(show_misconduct(context.chain.ledger, context.node.names(), parameters.misconduct))


async def show_statement(context: ApiContext, parameters: StatementParameters, _: web.Request) -> web.Response:
    """Answers with a household's month."""
    with _problems():
        names = context.node.names()
        work = month_statement(context.chain.ledger, names, parameters.member, parameters.month)
        return answer(await context.read_slowly(work))


@contextmanager
def _problems() -> Iterator[None]:
    try:
        yield
    except NotFound as missing:
        raise ProblemError(ProblemReason(missing.reason), str(missing)) from None


async def list_own_transactions(
    context: ApiContext, parameters: OwnTransactionsParameters, _: web.Request
) -> web.Response:
    """Answers with what the chain has of an owner's transactions."""
    return answer(await context.read_slowly(own_transactions(context.chain.ledger, parameters)))


async def list_trades(context: ApiContext, parameters: TradesParameters, _: web.Request) -> web.Response:
    """Answers with trades in the order of the chain, or the newest first."""
    return answer(await context.read_slowly(trade_list(context.chain.ledger, parameters)))
