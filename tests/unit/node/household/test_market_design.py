"""The seam between household and market: another design than the bilateral one drives the same household."""

from collections.abc import Collection

import pytest

from consensus.identifiers import Address
from contracts.transactions import PublishReading, SetStake
from contracts.units import Milliseconds
from node.household.bilateral import MarketParts
from node.household.market_design import Market, MarketTurn, Moment
from node.household.own_transactions import Ending
from node.mesh.messages import MarketMessage, OfferDecline, OfferRequest
from qscore.parameters import Millionths
from tests.unit.node.household.market_simulation import Simulation, hour_start

HOURS = 3


class PatientMarket:
    """Settles an hour some turns after its reading, brings one action to the chain, answers whoever asks."""

    def __init__(self) -> None:
        self.told: list[Milliseconds] = []
        self.heard: list[tuple[Address, MarketMessage]] = []
        self.endings: list[Ending] = []
        self.synced_before: list[int] = []
        self.turns = 0
        self.waits_for: dict[Milliseconds, int] = {}
        self.asks_for_stake = True

    def receive(self, sender: Address, message: MarketMessage, now_ms: int) -> None:
        self.heard.append((sender, message))

    def on_reading(self, start_ms: Milliseconds) -> None:
        self.told.append(start_ms)
        self.waits_for[start_ms] = self.turns + 5

    def on_ending(self, ending: Ending) -> None:
        self.endings.append(ending)

    def turn(self, moment: Moment) -> MarketTurn:
        self.turns += 1
        actions = (SetStake(staked=Millionths(7)),) if self.asks_for_stake else ()
        self.asks_for_stake = False
        messages = tuple((to, OfferDecline(offer_counter=self.turns)) for to in sorted(self.neighbours()))
        return MarketTurn(messages=messages, actions=actions)

    def neighbours(self) -> set[Address]:
        return {sender for sender, _ in self.heard}

    @property
    def unsettled(self) -> Collection[Milliseconds]:
        return [start for start, turn in self.waits_for.items() if turn > self.turns]

    def sync(self) -> None:
        self.synced_before.append(self.turns)


@pytest.fixture
def market_and_simulation() -> tuple[list[PatientMarket], Simulation]:
    made: list[PatientMarket] = []

    def factory(_: MarketParts) -> Market:
        made.append(PatientMarket())
        return made[-1]

    return made, Simulation([[500] * HOURS, [-300] * HOURS], markets={0: factory})


def test_a_household_with_another_market_publishes_waits_and_finishes(
    market_and_simulation: tuple[list[PatientMarket], Simulation],
) -> None:
    (market,), simulation = market_and_simulation
    household = simulation.members[0].home
    assert household is not None
    seen = set()
    for _ in range(200):
        simulation.tick()
        progress = household.progress()
        seen.add((progress.published, progress.settled))
        if progress.is_finished:
            break
    assert household.progress().is_finished
    assert any(settled < published for published, settled in seen), "it waited for its market"
    assert set(market.told) == {hour_start(hour) for hour in range(HOURS)}
    assert market.synced_before == list(range(1, market.turns + 1)), "durable once in each turn"


def test_what_a_market_wants_on_the_chain_is_signed_and_its_end_told(
    market_and_simulation: tuple[list[PatientMarket], Simulation],
) -> None:
    (market,), simulation = market_and_simulation
    for _ in range(100):
        simulation.tick()
    kinds = [type(ending.transaction.envelope.action) for ending in market.endings]
    assert kinds.count(SetStake) == 1
    assert kinds.count(PublishReading) == HOURS
    assert all(ending.receipt is not None for ending in market.endings)


def test_neighbours_messages_reach_the_market_and_its_own_leave(
    market_and_simulation: tuple[list[PatientMarket], Simulation],
) -> None:
    """The other household trades bilaterally: it asks, and this market answers in its own way."""
    (market,), simulation = market_and_simulation
    for _ in range(100):
        simulation.tick()
    assert {type(message) for _, message in market.heard} == {OfferRequest}
    assert market.neighbours() == {simulation.community.addresses[1]}
    household = simulation.members[0].home
    assert household is not None
    everybody = frozenset(simulation.community.addresses)
    turn = household.turn(Moment(now_ms=simulation.now_ms, present_slot=simulation.slot, connected=everybody))
    assert [to for to, _ in turn.messages] == [simulation.community.addresses[1]]
    unreachable = household.turn(
        Moment(now_ms=simulation.now_ms, present_slot=simulation.slot, connected=frozenset())
    )
    assert unreachable.messages == ()
