"""One interval of the market as a household sees it in its own ledger: who measured what, what is left to trade.

The state is the truth: everything that the agent decides, it decides from these views and its own promises.
Events only say that it is time to look again.
"""

from dataclasses import dataclass

from consensus.identifiers import Address, Slot
from contracts.state import (
    Deficit,
    Interval,
    Packet,
    Score,
    StateReader,
    deficit_key,
    interval_key,
    packet_key,
    score_key,
)
from contracts.transactions import packet_id
from contracts.units import Milliseconds, WattHours
from node.state_views import read
from qscore.parameters import Millionths


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """Energy of one neighbour that is not sold yet; some of it may be promised to others."""

    seller: Address
    available_wh: WattHours


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalView:
    """An interval at the ledger's present height."""

    start_ms: Milliseconds
    meters: frozenset[Address]
    """Members whose reading is decided."""
    closed: bool
    """The gate is closed: nothing is traded any more."""
    open_wh: WattHours
    """What this household still lacks."""
    supplies: tuple[Supply, ...]
    """What the neighbours who may trade still have; empty if this household may not trade."""


def read_interval(state: StateReader, own: Address, start_ms: Milliseconds, *, score_min: Millionths) -> IntervalView:
    """Returns the view of an interval.

    Args:
        state: the newest state.
        own: address of this household.
        start_ms: start of the interval; one that nobody has measured yet is empty.
        score_min: score below which the chain declines every trade of a member.
    """
    interval = read(state, interval_key(start_ms), Interval)
    if interval is None:
        interval = Interval(meters=(), closes_at_slot=Slot(0), closed=False)
    deficit = read(state, deficit_key(own, start_ms), Deficit)
    open_wh = WattHours(0) if deficit is None else deficit.open_wh
    can_buy = open_wh > 0 and not interval.closed and may_trade(state, own, score_min)
    return IntervalView(
        start_ms=start_ms,
        meters=frozenset(interval.meters),
        closed=interval.closed,
        open_wh=open_wh,
        supplies=_supplies(state, own, start_ms, interval.meters, score_min) if can_buy else (),
    )


def _supplies(
    state: StateReader,
    own: Address,
    start_ms: Milliseconds,
    meters: tuple[Address, ...],
    score_min: Millionths,
) -> tuple[Supply, ...]:
    found = []
    for seller in meters:
        packet = None if seller == own else read(state, packet_key(packet_id(seller, start_ms)), Packet)
        if packet is not None and packet.available_wh > 0 and may_trade(state, seller, score_min):
            found.append(Supply(seller=seller, available_wh=packet.available_wh))
    return tuple(found)


def may_trade(state: StateReader, member: Address, score_min: Millionths) -> bool:
    """Says whether a member's score admits it to trades."""
    score = read(state, score_key(member), Score)
    return score is not None and score.value >= score_min
