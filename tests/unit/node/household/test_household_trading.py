"""Whole households on a simulated chain: everything that can be traded is traded, to the watt-hour, whatever is
lost, delayed or restarted; nobody promises more than there is; an honest household is never at fault.
"""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replace_fields

from consensus.codec import encode
from consensus.identifiers import Slot
from contracts.receipts import Reason, Status
from contracts.state import Score, score_key
from contracts.state_reading import require
from contracts.transactions import DoubleOffer, PublishReading, ReportMisconduct, SubmitTrade
from contracts.units import Milliseconds, WattHours
from node.home.configuration import PriceTable
from node.household.bilateral import BilateralMarket, MarketParts, bilateral_market
from node.household.market_design import Moment
from node.household.promises import Promise, Promises
from tests.faults.liars import lying_buyer, lying_seller
from tests.support.contracts import trade_terms
from tests.unit.node.household.market_simulation import Faults, MemoryJournal, Simulation, StateOf

BAD_NETWORK = Faults(loss=0.1, delay_ms_max=300, gossip_loss=0.1, lag=0.3)

community_nets = st.integers(1, 5).flatmap(
    lambda hours: st.lists(st.lists(st.integers(-900, 900), min_size=hours, max_size=hours), min_size=2, max_size=6)
)


def check(simulation: Simulation) -> None:
    """Checks a finished simulation of honest households."""
    assert simulation.traded_wh() == simulation.tradable_wh()
    assert simulation.declined(PublishReading) == [], "no hour is published twice"
    assert all(receipt.fault is None for receipt in simulation.receipts_of(SubmitTrade))
    assert {len(contracts) for contracts in simulation.signed.values()} <= {1}, "two under one offer id: an offence"


@given(nets=community_nets)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_everything_is_traded_in_good_surroundings(nets: list[list[int]]) -> None:
    simulation = Simulation(nets)
    simulation.run(ticks_max=200)
    check(simulation)
    assert simulation.declined(SubmitTrade) == []


@given(nets=community_nets, number=st.integers(0, 10**6))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_everything_is_traded_over_a_bad_network(nets: list[list[int]], number: int) -> None:
    simulation = Simulation(nets, seed=number, faults=BAD_NETWORK)
    simulation.run()
    check(simulation)


@pytest.mark.parametrize("number", range(30))
def test_everything_is_traded_across_crashes(number: int) -> None:
    random = Random(number)
    households, hours = random.randint(2, 6), random.randint(1, 8)
    nets = [
        [random.choice([0, random.randint(1, 900), -random.randint(1, 900)]) for _ in range(hours)]
        for _ in range(households)
    ]
    simulation = Simulation(nets, seed=number, faults=BAD_NETWORK)
    down_until_ms: dict[int, int] = {}
    for _ in range(random.randint(50, 500)):
        simulation.tick()
        for index in [index for index, until_ms in down_until_ms.items() if simulation.now_ms >= until_ms]:
            simulation.start(index)
            del down_until_ms[index]
        index = random.randrange(households)
        if random.random() < 0.03 and index not in down_until_ms and len(down_until_ms) < households - 1:
            simulation.crash(index)
            down_until_ms[index] = simulation.now_ms + random.randint(50, 15_000)
    for index in down_until_ms:
        simulation.start(index)
    simulation.run()
    check(simulation)


def test_one_buyer_that_pays_too_little_leaves_everything_to_the_others() -> None:
    prices = [PriceTable(), PriceTable(buy_max_micro_per_kwh=100_000), PriceTable()]
    simulation = Simulation([[500] * 4, [-400] * 4, [-300] * 4], prices=prices)
    simulation.run()
    assert simulation.traded_wh() == 4 * 300
    assert simulation.declined(SubmitTrade) == []


def test_a_buyer_without_enough_tokens_buys_what_it_can_pay_and_stops() -> None:
    simulation = Simulation([[500] * 4, [-400] * 4], tokens_micro=100_000)
    simulation.run()
    assert simulation.declined(SubmitTrade) == []
    spent = 100_000 - simulation.traded_wh() * 200_000 // 1_000
    assert 0 <= spent < 20_000, "what is left does not pay for the highest price"


@pytest.mark.parametrize(
    ("liar", "market", "reason"),
    [(0, lying_seller, Reason.TRADE_BUYER_SIGNATURE), (1, lying_buyer, Reason.TRADE_SELLER_SIGNATURE)],
)
def test_a_liar_is_declined_and_the_original_settles_once(liar: int, market: object, reason: Reason) -> None:
    simulation = Simulation([[500, 500], [-400, -400], [-50, -50]], markets={liar: market})  # type: ignore[dict-item]
    simulation.run()
    (lie,) = simulation.declined(SubmitTrade)
    assert (lie.reason, lie.fault) == (reason, simulation.community.addresses[liar])
    assert simulation.traded_wh() == simulation.tradable_wh() == 900
    executed = [receipt for receipt in simulation.receipts_of(SubmitTrade) if receipt.status is Status.EXECUTED]
    assert len(executed) == len({receipt.reference for receipt in executed}) == 4
    scores = [
        require(StateOf(simulation.shared.state), score_key(address), Score).value
        for address in simulation.community.addresses
    ]
    assert [score < simulation.community.genesis.scores.initial for score in scores] == [
        index == liar for index in range(3)
    ]


def test_a_contract_that_the_chain_declined_is_not_submitted_again() -> None:
    """The seller sells more than it has, as if its file of offers had been lost."""

    def forgetful(parts: MarketParts) -> BilateralMarket:
        return bilateral_market(replace(parts, offers=_ForgetfulPromises(parts)))

    simulation = Simulation([[500], [-400], [-300]], markets={0: forgetful}, seed=1)
    for _ in range(60):
        simulation.tick()
    (declined,) = simulation.declined(SubmitTrade)
    assert (declined.reason, declined.fault) == (
        Reason.CONDITION_1_SELLER_ENERGY,
        simulation.community.addresses[0],
    )


class _ForgetfulPromises(Promises):
    def __init__(self, parts: MarketParts) -> None:
        super().__init__(journal=MemoryJournal(), state=StateOf({}), tip=Slot(0))

    def of_interval(self, interval_start_ms: Milliseconds) -> tuple[Promise, ...]:
        return ()


def test_a_proof_is_signed_once_while_it_is_on_its_way() -> None:
    simulation = Simulation([[500], [-400]])
    keys, first = simulation.community.node_keys, trade_terms(simulation.community, 0, 1, 100)
    second = replace_fields(first, energy_wh=WattHours(150))
    report = ReportMisconduct(
        evidence=DoubleOffer(
            offender=keys[0].address,
            first=first,
            first_signature=keys[0].sign(encode(first)),
            second=second,
            second_signature=keys[0].sign(encode(second)),
        )
    )
    member = simulation.members[1]
    moment = Moment(now_ms=0, present_slot=Slot(1), connected=frozenset())

    def reports() -> list[bytes]:
        """Hands the proof over and returns what is signed and undecided of it."""
        assert member.home is not None
        member.home.report(report)
        turn = member.home.turn(moment)
        return [one.raw for one in turn.transactions if one.envelope.action == report]

    (raw,) = reports()
    member.home.report(report)
    assert reports() == [raw]
    simulation.start(1)
    assert reports() == [raw], "after a restart too"
    simulation.shared.decide(Slot(1), [raw])
    assert member.ledger.apply_next()
    (again,) = reports()
    assert again != raw
