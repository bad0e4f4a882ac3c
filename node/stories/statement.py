"""The monthly statement of a household, from the chain alone.

Days are days of meter time in UTC. Energy is read from the meter's packets and deficits, money from its trades; both
must agree. Tokens are counted with the day whose energy they paid for.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final, TypeVar

from consensus.codec import Record, decode
from consensus.identifiers import GENESIS_HEIGHT, Address, Digest, Height, Slot
from contracts.conservation import law_faults
from contracts.genesis import Genesis
from contracts.receipts import Status
from contracts.state import (
    Deficit,
    MeterReading,
    Packet,
    Score,
    StateKey,
    Trade,
    deficit_key,
    packet_key,
    reading_key,
    score_key,
    trade_key,
)
from contracts.transactions import packet_id
from contracts.units import Milliseconds, contract_amount
from ledger.ledger import Ledger
from node.errors import NotFound
from node.names.names import Names
from node.replies.parameters import MONTH_PATTERN
from node.replies.stories import StatementLine, StatementReply
from node.stories.member_names import find_member, named
from node.stories.slices import Progress, Slices
from node.stories.trade_search import Found, search
from node.stories.words import day_text
from qscore.way_back import present_score

MONTH: Final = re.compile(MONTH_PATTERN)

SUMMED: Final = tuple(
    name for name in StatementLine.model_fields if name == "intervals" or name.endswith(("_wh", "_micro"))
)
"""Fields of a line that its total sums."""


R = TypeVar("R", bound=Record)

DAYS_MAX: Final = 31


@dataclass(slots=True, kw_only=True)
class _Day:
    """What is read of a day; heights tell when the chain learnt of it."""

    packets: list[Packet] = field(default_factory=list)
    deficits: list[Deficit] = field(default_factory=list)
    sold: list[Trade] = field(default_factory=list)
    bought: list[Trade] = field(default_factory=list)
    intervals: int = 0
    first_height: Height | None = None
    last_height: Height = GENESIS_HEIGHT


def month_statement(ledger: Ledger, names: Names, member: str, month: str) -> Slices[StatementReply]:
    """Returns a household's statement of a month.

    Args:
        ledger: of any member.
        names: how the reader calls the members.
        member: name, address or its first 8 or more digits.
        month: such as 2016-08, in meter time.

    Raises:
        NotFound: no such member, or its meter has no reading in the month.
        BlocksNotHere: some of what happened lies below what this ledger can tell.
    """
    address, tip = find_member(ledger, names, member), ledger.height
    days: dict[str, _Day] = {}
    for day, start in _intervals(ledger.genesis, month):
        if start is None:
            yield Progress(len(days), DAYS_MAX)
        else:
            _read_interval(ledger, tip, address, start, days.setdefault(day, _Day()))
    yield from _read_trades(ledger, tip, address, days)
    if any(read.first_height == ledger.first_height for read in days.values()):
        ledger.require_whole()
    lines = {}
    for name, read in days.items():
        if read.intervals:
            lines[name] = _line(ledger, address, name, read)
            yield Progress(len(lines), DAYS_MAX)
    if not lines:
        raise NotFound("nothing_metered", f"the chain has no reading of {member} in {month}")
    is_balanced = all(_is_balanced(days[name], line) for name, line in lines.items())
    if not is_balanced:
        ledger.require_whole()  # contracts may be missing that were made before
    return StatementReply(
        member=named(names, address),
        month=month,
        height=tip,
        retail_micro_per_kwh=ledger.genesis.price_max_micro_per_kwh,
        feed_in_micro_per_kwh=ledger.genesis.price_min_micro_per_kwh,
        days=list(lines.values()),
        total=_total(month, list(lines.values())),
        is_balanced=is_balanced,
    )


def _intervals(genesis: Genesis, month: str) -> Iterator[tuple[str, Milliseconds | None]]:
    """Yields day and start of each interval that begins in a month, and the day alone at its end."""
    year, number = map(int, month.split("-"))
    first = datetime(year, number, 1, tzinfo=UTC)
    following = (first + timedelta(days=31)).replace(day=1)
    starts = [first + timedelta(days=count) for count in range((following - first).days + 1)]
    for begin, end in pairwise(int(moment.timestamp()) * 1_000 for moment in starts):
        day = day_text(begin)
        for start in range(-(-begin // genesis.interval_ms) * genesis.interval_ms, end, genesis.interval_ms):
            yield day, Milliseconds(start)
        yield day, None


def _read_interval(ledger: Ledger, tip: Height, address: Address, start: Milliseconds, day: _Day) -> None:
    key = reading_key(address, start)
    first = next(ledger.history(key), None)
    if first is None or first[0] > tip:
        return
    day.intervals += 1
    day.first_height = first[0] if day.first_height is None else min(day.first_height, first[0])
    _record(ledger, tip, day, key, MeterReading)
    packet = _record(ledger, tip, day, packet_key(packet_id(address, start)), Packet)
    deficit = _record(ledger, tip, day, deficit_key(address, start), Deficit)
    day.packets += [] if packet is None else [packet]
    day.deficits += [] if deficit is None else [deficit]


def _record(ledger: Ledger, tip: Height, day: _Day, key: StateKey, expected: type[R]) -> R | None:
    """Returns a record as the tip left it, None if there is none, and remembers the height that wrote it."""
    version = ledger.version_at(key, tip)
    if version is None:
        return None
    day.last_height = max(day.last_height, version[0])
    return decode(version[1], expected)


def _read_trades(ledger: Ledger, tip: Height, address: Address, days: dict[str, _Day]) -> Slices[None]:
    names: set[Digest] = set()

    def take(found: Found) -> None:
        name, parties = found.receipt.reference, found.receipt.parties
        if found.receipt.status is not Status.EXECUTED or address not in parties or name is None or name in names:
            return
        raw = ledger.get_at(trade_key(name), tip)
        trade = None if raw is None else decode(raw, Trade)
        day = None if trade is None else days.get(day_text(trade.interval_start_ms))
        if trade is not None and day is not None:
            names.add(name)
            _record(ledger, tip, day, trade_key(name), Trade)
            (day.sold if trade.seller == address else day.bought).append(trade)

    yield from search(ledger, address, take)


def _line(ledger: Ledger, address: Address, name: str, day: _Day) -> StatementLine:
    genesis = ledger.genesis
    paid, fee = sum(trade.amount_micro for trade in day.bought), sum(trade.fee_micro for trade in day.bought)
    received = sum(trade.amount_micro for trade in day.sold)
    retail = sum(contract_amount(trade.delivered_wh, genesis.price_max_micro_per_kwh) for trade in day.bought)
    feed_in = sum(contract_amount(trade.delivered_wh, genesis.price_min_micro_per_kwh) for trade in day.sold)
    return StatementLine(
        day=name,
        intervals=day.intervals,
        surplus_wh=sum(packet.credited_wh for packet in day.packets),
        deficit_wh=sum(deficit.recorded_wh for deficit in day.deficits),
        sold_wh=sum(packet.claimed_wh for packet in day.packets),
        exported_wh=sum(packet.exported_wh for packet in day.packets),
        bought_wh=sum(deficit.bought_wh for deficit in day.deficits),
        imported_wh=sum(deficit.imported_wh for deficit in day.deficits),
        unsettled_wh=sum(packet.available_wh + packet.escrow_wh for packet in day.packets)
        + sum(deficit.open_wh + deficit.reserved_wh for deficit in day.deficits),
        replaced_wh=sum(packet.replaced_wh for packet in day.packets),
        unused_wh=sum(deficit.unused_wh for deficit in day.deficits),
        paid_micro=paid,
        fee_micro=fee,
        received_micro=received,
        saved_micro=retail - paid - fee,
        gained_micro=received - feed_in,
        score_start_millionths=_score(ledger, address, None if day.first_height is None else day.first_height - 1),
        score_end_millionths=_score(ledger, address, day.last_height),
    )


def _score(ledger: Ledger, address: Address, height: int | None) -> int | None:
    if height is None:
        return None
    raw = ledger.get_at(score_key(address), Height(height))
    assert raw is not None, "every member has a score from genesis on"
    score = decode(raw, Score)
    slot = Slot(0) if height == 0 else ledger.decided_block(Height(height)).header.slot
    return present_score(score.value, score.way_back, slot, ledger.genesis.scores)


def _total(month: str, lines: list[StatementLine]) -> StatementLine:
    sums = {name: sum(getattr(line, name) for line in lines) for name in SUMMED}
    start, end = lines[0].score_start_millionths, lines[-1].score_end_millionths
    return StatementLine(day=month, **sums, score_start_millionths=start, score_end_millionths=end)


def _is_balanced(day: _Day, line: StatementLine) -> bool:
    traded = (_delivered(day.sold), _delivered(day.bought)) == (line.sold_wh, line.bought_wh)
    return traded and not any(law_faults(record) for record in (*day.packets, *day.deficits))


def _delivered(trades: Iterable[Trade]) -> int:
    return sum(trade.delivered_wh for trade in trades)
