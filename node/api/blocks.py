"""Handlers about decided blocks."""

import asyncio
from typing import Final

from aiohttp import web

from consensus.identifiers import Height
from ledger.errors import NothingToProve
from ledger.ledger import Ledger
from ledger.past_leaders import leaders_at
from node.api.context import ApiContext, answer
from node.api.problem import ProblemError
from node.replies.node import BlocksReply, BlockSummary
from node.replies.parameters import BlockParameters, BlocksParameters, NoParameters
from node.replies.problem import ProblemReason
from node.replies.views import block_view, summary_view
from node.stories.checkpoint import checkpoint_reply
from node.stories.slices import Progress, Slices, between_turns

INLINE_TRANSACTIONS_MAX: Final = 32
"""Blocks with more transactions are rendered on a worker thread: some 50 microseconds each."""


async def list_blocks(context: ApiContext, parameters: BlocksParameters, _: web.Request) -> web.Response:
    """Answers with the headers of consecutive blocks."""
    ledger = context.chain.ledger
    first = parameters.from_height
    if first is None:
        first = max(ledger.first_height, ledger.height - parameters.limit + 1)
    last = min(first + parameters.limit - 1, ledger.height)
    blocks = await between_turns(_summaries(ledger, first, last))
    next_from = last + 1 if first <= last < ledger.height else None
    return answer(BlocksReply(first_height=ledger.first_height, blocks=blocks, next_from=next_from))


def _summaries(ledger: Ledger, first: int, last: int) -> Slices[list[BlockSummary]]:
    """Where clusters are drawn, each block takes a read of each member: a millisecond for a hundred."""
    blocks = []
    for height in range(first, last + 1):
        blocks.append(summary_view(ledger.decided_block(Height(height)), leaders_at(ledger, Height(height))))
        yield Progress(height, last)
    return blocks


async def show_block(context: ApiContext, parameters: BlockParameters, _: web.Request) -> web.Response:
    """Answers with one block, its receipts and its certificate."""
    ledger = context.chain.ledger
    height = Height(parameters.height)
    if not 1 <= height <= ledger.height:
        raise ProblemError(ProblemReason.UNKNOWN_BLOCK, f"block {height} is not among 1 to {ledger.height}")
    block = ledger.decided_block(height)
    certificate = ledger.certificate(height)
    assert certificate is not None, f"block {height} is stored without its certificate"
    receipts = ledger.receipts(height)
    leaders = leaders_at(ledger, height)
    if len(receipts) <= INLINE_TRANSACTIONS_MAX:
        return answer(block_view(block, receipts, certificate, leaders))
    return await asyncio.to_thread(lambda: answer(block_view(block, receipts, certificate, leaders)))


async def show_checkpoint(context: ApiContext, _: NoParameters, __: web.Request) -> web.Response:
    """Answers with the newest block, and what proves it to who has genesis."""
    try:
        return answer(await context.read_slowly(checkpoint_reply(context.chain.ledger)))
    except NothingToProve as error:
        raise ProblemError(ProblemReason.UNKNOWN_BLOCK, str(error)) from None
