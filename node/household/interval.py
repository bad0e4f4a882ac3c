"""One interval of the market as a household sees it in its own ledger: who measured what, what is left to trade.

The state is the truth: everything that the agent decides, it decides from these views and its own promises.
Events only say that it is time to look again.
"""

from dataclasses import dataclass

from consensus.identifiers import Address, Slot
from contracts.state import (
    MEMBER_LIST_KEY,
    Debt,
    Deficit,
    Interval,
    MemberList,
    Packet,
    Score,
    StateReader,
    debt_key,
    deficit_key,
    interval_key,
    packet_key,
    score_key,
)
from contracts.state_reading import read, require
from contracts.transactions import packet_id
from contracts.units import Milliseconds, WattHours
from qscore.parameters import ScoreParameters
from qscore.way_back import present_score


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Whose trades the chain does not decline for what they did before."""

    scores: ScoreParameters
    slot: Slot
    """Of the last decided block."""
    members: tuple[Address, ...]
    """In the order of admission."""

    def may_trade(self, state: StateReader, member: Address) -> bool:
        """Says whether somebody is a member, its score admits it to trades, and it is not suspended."""
        if member not in self.members:
            return False
        score = read(state, score_key(member), Score)
        if score is None or score.is_suspended:
            return False
        return present_score(score.value, score.way_back, self.slot, self.scores) >= self.scores.threshold_trade

    def may_sell(self, state: StateReader, member: Address) -> bool:
        """Says whether a member may trade and owes the grid account nothing."""
        debt = read(state, debt_key(member), Debt)
        return self.may_trade(state, member) and (debt is None or debt.owed_micro == 0)


def read_admission(state: StateReader, *, scores: ScoreParameters, slot: Slot) -> Admission:
    """Returns who may trade in a state, which must be read anew after each block."""
    members = require(state, MEMBER_LIST_KEY, MemberList).addresses
    return Admission(scores=scores, slot=slot, members=members)


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


def read_interval(state: StateReader, own: Address, start_ms: Milliseconds, *, admission: Admission) -> IntervalView:
    """Returns the view of an interval.

    Args:
        state: the newest state.
        own: address of this household.
        start_ms: start of the interval; one that nobody has measured yet is empty.
        admission: when the chain declines every trade of a member.
    """
    interval = read(state, interval_key(start_ms), Interval)
    if interval is None:
        interval = Interval(meters=(), closes_at_slot=Slot(0), closed=False)
    deficit = read(state, deficit_key(own, start_ms), Deficit)
    open_wh = WattHours(0) if deficit is None else deficit.open_wh
    can_buy = open_wh > 0 and not interval.closed and admission.may_trade(state, own)
    return IntervalView(
        start_ms=start_ms,
        meters=frozenset(interval.meters),
        closed=interval.closed,
        open_wh=open_wh,
        supplies=_supplies(state, own, start_ms, interval.meters, admission) if can_buy else (),
    )


def _supplies(
    state: StateReader,
    own: Address,
    start_ms: Milliseconds,
    meters: tuple[Address, ...],
    admission: Admission,
) -> tuple[Supply, ...]:
    found = []
    for seller in meters:
        packet = None if seller == own else read(state, packet_key(packet_id(seller, start_ms)), Packet)
        if packet is not None and packet.available_wh > 0 and admission.may_sell(state, seller):
            found.append(Supply(seller=seller, available_wh=packet.available_wh))
    return tuple(found)
