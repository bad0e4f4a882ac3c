"""What the chain has of an owner's transactions: those it signed, and those that name it. Needs no index."""

from consensus.identifiers import Height
from contracts.transactions import decode_transaction, transaction_digest
from ledger.ledger import Ledger
from node.replies.parameters import OwnTransactionsParameters
from node.replies.state import OwnTransaction, OwnTransactionsReply
from node.replies.views import receipt_view, transaction_view
from node.stories.slices import Progress, Slices
from node.stories.trade_log import BLOCKS_PER_PAGE_MAX


def own_transactions(ledger: Ledger, parameters: OwnTransactionsParameters) -> Slices[OwnTransactionsReply]:
    """Returns a page of the transactions in which an address stands, as sender or in any other place."""
    address, tip = bytes.fromhex(parameters.address), ledger.height
    first, passed = (1, -1) if parameters.after is None else tuple(map(int, parameters.after.split(".")))
    if first < ledger.first_height:
        first, passed = ledger.first_height, -1
    last = min(tip, first + BLOCKS_PER_PAGE_MAX - 1)
    found: list[OwnTransaction] = []
    for number in range(first, last + 1):
        height = Height(number)
        yield Progress(number - first, last - first + 1)
        block = ledger.decided_block(height)
        named = [index for index, raw in enumerate(block.transactions) if address in raw]
        for index in named if number > first else (one for one in named if one > passed):
            raw = block.transactions[index]
            found.append(
                OwnTransaction(
                    height=height,
                    index=index,
                    slot=block.header.slot,
                    digest=transaction_digest(raw).hex(),
                    transaction=transaction_view(decode_transaction(raw)),
                    receipt=receipt_view(ledger.receipts(height)[index]),
                )
            )
            if len(found) == parameters.limit:
                return _page(ledger, found, f"{height}.{index}")
    behind_last = f"{last}.{len(ledger.receipts(Height(last)))}" if last < tip else None
    return _page(ledger, found, behind_last)


def _page(ledger: Ledger, found: list[OwnTransaction], next_after: str | None) -> OwnTransactionsReply:
    return OwnTransactionsReply(first_height=ledger.first_height, transactions=found, next_after=next_after)
