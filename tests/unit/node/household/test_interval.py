"""What a household sees of an hour in its ledger."""

from collections import Counter
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from consensus.codec import decode
from consensus.identifiers import Address, Height, Slot
from contracts.state import (
    MEMBER_LIST_KEY,
    Debt,
    Interval,
    MemberList,
    StateKey,
    debt_key,
    interval_key,
    packet_key,
    score_key,
)
from contracts.transactions import packet_id
from contracts.units import MicroTokens
from node.household.interval import IntervalView, read_admission, read_interval
from qscore.way_back import WayBack
from tests.support.contracts import make_score
from tests.unit.node.household.test_seller import BUYER, COMMUNITY, RIVAL, SELLER, START_MS, State, make_state

SCORE_MIN = COMMUNITY.genesis.scores.threshold_trade


def view(state: State) -> IntervalView:
    admission = read_admission(state, scores=COMMUNITY.genesis.scores, slot=Slot(5))
    return read_interval(state, BUYER, START_MS, admission=admission)


def test_an_hour_that_nobody_has_measured_is_empty() -> None:
    seen = view(State())
    assert (seen.meters, seen.closed, seen.open_wh, seen.supplies) == (frozenset(), False, 0, ())


def test_a_buyer_sees_what_it_lacks_and_what_the_others_have() -> None:
    seen = view(make_state(available_wh=350, lacking_wh=400))
    assert seen.meters == {SELLER, BUYER, RIVAL}
    assert seen.open_wh == 400
    assert [(supply.seller, supply.available_wh) for supply in seen.supplies] == [(SELLER, 350)]


@pytest.mark.parametrize(
    "state",
    [make_state(available_wh=0), make_state(lacking_wh=0), make_state(closed=True)],
    ids=["sold out", "lacks nothing", "closed"],
)
def test_where_nothing_can_be_bought(state: State) -> None:
    assert view(state).supplies == ()


@pytest.mark.parametrize(("until_slot", "supplies"), [(5, 1), (6, 0)])
def test_who_is_back_at_the_threshold_trades(until_slot: int, supplies: int) -> None:
    state = make_state()
    back = WayBack(from_slot=Slot(1), until_slot=Slot(until_slot))
    state.put(score_key(SELLER), replace(make_score(SCORE_MIN - 100), way_back=back))
    assert len(view(state).supplies) == supplies


@pytest.mark.parametrize("member", [SELLER, BUYER])
def test_who_is_suspended_does_not_trade(member: Address) -> None:
    state = make_state()
    state.put(score_key(member), replace(make_score(10 * SCORE_MIN), is_suspended=True))
    assert view(state).supplies == ()


def test_who_owes_the_grid_account_does_not_sell() -> None:
    state = make_state()
    state.put(debt_key(SELLER), Debt(owed_micro=MicroTokens(1)))
    assert view(state).supplies == ()
    state.put(debt_key(SELLER), Debt(owed_micro=MicroTokens(0)))
    assert len(view(state).supplies) == 1


@pytest.mark.parametrize("member", [SELLER, BUYER])
def test_who_has_too_low_a_score_does_not_trade(member: object) -> None:
    for value, supplies in ((SCORE_MIN, 1), (SCORE_MIN - 1, 0)):
        state = make_state()
        state.put(score_key(member), make_score(value))  # type: ignore[arg-type]
        assert len(view(state).supplies) == supplies


def test_own_surplus_is_no_supply() -> None:
    state = make_state()
    state.put(interval_key(START_MS), Interval(meters=(BUYER,), closes_at_slot=Slot(9), closed=False))
    state.values[packet_key(packet_id(BUYER, START_MS))] = state.values[packet_key(packet_id(SELLER, START_MS))]
    assert view(state).supplies == ()


@pytest.mark.parametrize("gone", [SELLER, BUYER], ids=["seller", "buyer"])
def test_who_left_the_chain_neither_sells_nor_buys(gone: Address) -> None:
    """The chain would decline each contract, and a neighbour that asks on settles its hour only at gate closure."""
    state = make_state()
    assert len(view(state).supplies) == 1
    known = decode(state.values[MEMBER_LIST_KEY], MemberList)
    terms = (replace(term, last_height=Height(3)) if term.address == gone else term for term in known.terms)
    state.put(MEMBER_LIST_KEY, MemberList(terms=tuple(terms)))
    assert view(state).supplies == ()


@dataclass
class CountingState(State):
    """A state that counts how often each key is read."""

    reads: Counter[StateKey] = field(default_factory=Counter)

    def get(self, key: StateKey) -> bytes | None:
        self.reads[key] += 1
        return super().get(key)


def test_the_list_of_members_is_decoded_once_for_all_hours_and_sellers() -> None:
    """It has a key per member: of a hundred homes it takes longer to read than all else of an hour."""
    state = CountingState(values=make_state().values)
    admission = read_admission(state, scores=COMMUNITY.genesis.scores, slot=Slot(5))
    for _ in range(3):
        assert len(read_interval(state, BUYER, START_MS, admission=admission).supplies) == 1
    assert state.reads[MEMBER_LIST_KEY] == 1
