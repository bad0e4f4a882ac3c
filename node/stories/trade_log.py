"""Contracts that executed in the order of the chain, read from its receipts: needs no index and no memory. Where
earlier blocks are not here, the log begins with the first one that is.

A page reads at most so many blocks and gives way to other work between them; where it ends, the next begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from consensus.identifiers import Digest, Height
from contracts.receipts import Receipt, Status
from contracts.state import Trade, trade_key
from contracts.state_reading import read
from ledger.ledger import Ledger
from node.stories.slices import Progress, Slices

BLOCKS_PER_PAGE_MAX: Final = 4_096
"""Blocks read for one page: well under a second, in slices."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a transaction stands on the chain."""

    height: Height
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedTrade:
    """A contract that executed, and where."""

    place: Place
    trade_id: Digest
    trade: Trade


@dataclass(frozen=True, slots=True, kw_only=True)
class TradePage:
    """A part of the log."""

    trades: tuple[LoggedTrade, ...]
    continues_behind: Place | None
    """Where the next page begins; None at the end of the log."""


def read_trades(ledger: Ledger, *, after: Place | None, trades_max: int, newest_first: bool) -> Slices[TradePage]:
    """Returns the trades behind `after` in the chosen direction, `trades_max` (>= 1) at most."""
    found: list[LoggedTrade] = []
    last = after
    heights = _heights(ledger, after, newest_first=newest_first)
    for count, height in enumerate(heights, start=1):
        yield Progress(count, len(heights))
        trades = trades_of(ledger, height)
        for logged in reversed(trades) if newest_first else trades:
            if after is not None and not _is_behind(logged.place, after, newest_first=newest_first):
                continue
            found.append(logged)
            if len(found) == trades_max:
                return TradePage(trades=tuple(found), continues_behind=logged.place)
        last = Place(height, 0 if newest_first else len(ledger.receipts(height)))
    reached = last is None or _is_end(last.height, ledger, newest_first=newest_first)
    return TradePage(trades=tuple(found), continues_behind=None if reached else last)


def trades_of(ledger: Ledger, height: Height) -> list[LoggedTrade]:
    """Returns the contracts that a block executed, in their order."""
    return [
        logged
        for index, receipt in enumerate(ledger.receipts(height))
        if (logged := _logged(ledger, Place(height, index), receipt)) is not None
    ]


def _logged(ledger: Ledger, place: Place, receipt: Receipt) -> LoggedTrade | None:
    if receipt.status is not Status.EXECUTED or receipt.reference is None or not receipt.parties:
        return None
    trade = read(ledger, trade_key(receipt.reference), Trade)
    if trade is None or trade.transaction != receipt.transaction:
        return None  # a cancellation
    return LoggedTrade(place=place, trade_id=receipt.reference, trade=trade)


def _heights(ledger: Ledger, after: Place | None, *, newest_first: bool) -> Sequence[Height]:
    tip = ledger.height
    if newest_first:
        first = tip if after is None else min(after.height, tip)
        last = max(ledger.first_height - 1, first - BLOCKS_PER_PAGE_MAX)
        return [Height(height) for height in range(first, last, -1)]
    first = Height(ledger.first_height if after is None else max(ledger.first_height, after.height))
    return [Height(height) for height in range(first, min(tip, first + BLOCKS_PER_PAGE_MAX - 1) + 1)]


def _is_behind(place: Place, after: Place, *, newest_first: bool) -> bool:
    return place < after if newest_first else place > after


def _is_end(height: Height, ledger: Ledger, *, newest_first: bool) -> bool:
    return height <= ledger.first_height if newest_first else height >= ledger.height
