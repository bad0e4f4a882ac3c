"""The way back as the chain lives it: declined until the threshold is reached, doubled after the next fall."""

from typing import Any

from msgspec.structs import replace

from contracts.receipts import Reason, Receipt, Status
from contracts.state import Score
from qscore.deltas import Role, rewarded
from qscore.parameters import DEFAULT_PARAMETERS
from qscore.way_back import WayBack
from tests.support.contracts import DictChain, make_genesis, resign, signed_reading, signed_trade

WAY_SLOTS = 1_000
PARAMETERS = replace(DEFAULT_PARAMETERS, way_back_slots=WAY_SLOTS)
HOMES = make_genesis(4, scores=PARAMETERS, gate_closure_slots=10**6)
SELLER, BUYER, CHEAT, _ = range(4)
ALONE: dict[str, Any] = {"parent_voters": (), "parent_leader": None}


def market() -> DictChain:
    """Member 0 has energy that members 1 and 2 lack."""
    chain = DictChain(HOMES)
    nets = {SELLER: 1_000, BUYER: -500, CHEAT: -500}
    chain.block(*((member, signed_reading(HOMES, member, net)) for member, net in nets.items()))
    return chain


def cheat(chain: DictChain, times: int, **block: Any) -> Score:
    forged = resign(signed_trade(HOMES, SELLER, CHEAT, 10), seller=HOMES.node_keys[CHEAT])
    for _ in range(times):
        (receipt,) = chain.block((CHEAT, forged), **{**ALONE, **block}).receipts
        assert receipt.fault == HOMES.addresses[CHEAT]
    return chain.score(CHEAT)


def trade(chain: DictChain, slot: int) -> Receipt:
    (receipt,) = chain.block((CHEAT, signed_trade(HOMES, SELLER, CHEAT, 10)), slot=slot, **ALONE).receipts
    return receipt


def test_declined_with_score_threshold_and_the_way_back_until_it_is_reached() -> None:
    chain = market()
    fallen = cheat(chain, 3)
    assert (fallen.value, fallen.falls) == (125_000, 1)
    assert fallen.way_back == WayBack(from_slot=4, until_slot=4 + WAY_SLOTS)
    receipt = trade(chain, 504)
    assert (receipt.reason, receipt.fault) == (Reason.TRADE_SCORE_BELOW_THRESHOLD, None)
    assert receipt.detail == "buyer's score is 162500 millionths, threshold 200000, back to it at slot 1004"
    assert chain.score(CHEAT) == fallen, "nothing is written while it rises"
    assert "199925" in trade(chain, 1_003).detail
    assert trade(chain, 1_004).status is Status.EXECUTED


def test_the_first_trade_after_it_ends_the_way() -> None:
    chain = market()
    cheat(chain, 3)
    trade(chain, 1_004)
    score = chain.score(CHEAT)
    assert score.way_back is None
    assert score.value == rewarded(200_000, role=Role.TRADER, outcome=1_000_000, parameters=PARAMETERS)
    assert score.falls == 1, "the fall is remembered"


def test_the_next_fall_starts_a_way_twice_as_long() -> None:
    chain = market()
    cheat(chain, 3)
    trade(chain, 1_004)
    again = cheat(chain, 1, slot=2_000)
    assert (again.falls, again.way_back) == (2, WayBack(from_slot=2_000, until_slot=2_000 + 2 * WAY_SLOTS))


def test_a_fault_on_the_way_starts_it_again_from_where_it_stands() -> None:
    """It is no further fall: an outage may break several promises at once."""
    chain = market()
    cheat(chain, 3)
    again = cheat(chain, 1, slot=504)
    assert (again.value, again.falls) == (81_250, 1)
    assert again.way_back == WayBack(from_slot=504, until_slot=504 + WAY_SLOTS)


def test_a_fault_that_stays_above_the_threshold_is_no_fall() -> None:
    score = cheat(market(), 2)
    assert (score.value, score.falls, score.way_back) == (250_000, 0, None)


def test_rising_scores_count_in_the_clusters_mean_and_in_eq_2() -> None:
    """Eq. 2's v, L and B are what the scores are at the block's slot."""
    chain = market()
    cheat(chain, 3)
    address = HOMES.addresses[CHEAT]
    contract = signed_trade(HOMES, SELLER, BUYER, 10)
    block = {"slot": chain.slot + WAY_SLOTS // 2, "leader": address, "cluster": (address,)}
    (receipt,) = chain.block((BUYER, contract), **ALONE, **block).receipts
    assert receipt.quality_total == 162_500 + 162_500 + 2_000_000
