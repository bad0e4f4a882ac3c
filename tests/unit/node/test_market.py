"""What a household sees of an hour in its ledger."""

import pytest

from consensus.identifiers import Slot
from contracts.state import Interval, Score, interval_key, packet_key, score_key
from contracts.transactions import packet_id
from node.market import IntervalView, read_interval
from qscore.parameters import Millionths
from tests.unit.node.test_seller import BUYER, COMMUNITY, RIVAL, SELLER, START_MS, State, make_state

SCORE_MIN = COMMUNITY.genesis.scores.threshold_trade


def view(state: State) -> IntervalView:
    return read_interval(state, BUYER, START_MS, score_min=SCORE_MIN)


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


@pytest.mark.parametrize("member", [SELLER, BUYER])
def test_who_has_too_low_a_score_does_not_trade(member: object) -> None:
    for value, supplies in ((SCORE_MIN, 1), (SCORE_MIN - 1, 0)):
        state = make_state()
        state.put(score_key(member), Score(value=Millionths(value), cause="fault", reference=b""))  # type: ignore[arg-type]
        assert len(view(state).supplies) == supplies


def test_own_surplus_is_no_supply() -> None:
    state = make_state()
    state.put(interval_key(START_MS), Interval(meters=(BUYER,), closes_at_slot=Slot(9), closed=False))
    state.values[packet_key(packet_id(BUYER, START_MS))] = state.values[packet_key(packet_id(SELLER, START_MS))]
    assert view(state).supplies == ()
