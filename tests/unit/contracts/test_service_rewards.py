"""Rewards for leading and voting in block h - 1, paid in block h, under rules from before attendance counted."""

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.identifiers import Height
from contracts.genesis import ATTENDANCE_VERSION
from contracts.state import MEMBER_LIST_KEY, MemberList, ScoreCause
from contracts.units import MS_PER_HOUR
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    DictChain,
    make_genesis,
    resign,
    signed_reading,
    signed_trade,
)

HOMES = make_genesis(5, protocol_version=ATTENDANCE_VERSION - 1)
SELLER, BUYER, LEADER, VOTER, IDLE = range(5)
A = HOMES.addresses


def after_trades(count: int, *, intervals: int = 3) -> DictChain:
    """A chain whose last block completed `count` trades, in turn of each interval."""
    chain = DictChain(HOMES)
    starts = [FIRST_INTERVAL_MS + number * MS_PER_HOUR for number in range(intervals)]
    for start in starts:
        surplus = signed_reading(HOMES, SELLER, 500, interval_start_ms=start)
        chain.block((SELLER, surplus), (BUYER, signed_reading(HOMES, BUYER, -500, interval_start_ms=start)))
    contracts = [
        signed_trade(HOMES, SELLER, BUYER, 10, offer_counter=number, interval_start_ms=starts[number % intervals])
        for number in range(count)
    ]
    chain.block(*((BUYER, contract) for contract in contracts))
    return chain


def test_leader_and_voters_are_rewarded_once() -> None:
    chain = after_trades(1)
    chain.block(parent_leader=A[LEADER], parent_voters=(A[VOTER],))
    assert (chain.score(LEADER).value, chain.score(LEADER).cause) == (1_001_800, ScoreCause.LEADER)
    assert (chain.score(VOTER).value, chain.score(VOTER).cause) == (1_000_450, ScoreCause.VALIDATOR)
    assert chain.score(VOTER).reference == b""
    assert chain.score(IDLE).value == 1_000_000
    chain.block(parent_leader=A[LEADER], parent_voters=(A[VOTER],))
    assert chain.score(LEADER).value == 1_001_800, "the block after completed no trade"


def test_once_per_trade() -> None:
    chain = after_trades(3)
    chain.block(parent_leader=A[LEADER], parent_voters=(A[VOTER],))
    assert chain.score(VOTER).value == 1_001_350
    assert chain.score(LEADER).value == 1_005_409  # 1 -> 1.0018 -> 1.003603 -> 1.005409


def test_splitting_an_hour_into_many_trades_earns_nothing_more() -> None:
    chain = after_trades(3, intervals=1)
    assert chain.totals().trades_completed == 3
    chain.block(parent_leader=A[LEADER], parent_voters=(A[VOTER],))
    assert (chain.score(LEADER).value, chain.score(VOTER).value) == (1_001_800, 1_000_450)


def test_a_leader_that_voted_is_rewarded_for_both() -> None:
    chain = after_trades(1)
    chain.block(parent_leader=A[LEADER], parent_voters=(A[LEADER],))
    assert (chain.score(LEADER).value, chain.score(LEADER).cause) == (1_002_251, ScoreCause.LEADER)


@pytest.mark.parametrize(("frauds", "rewarded"), [(2, True), (3, False)])
def test_nobody_below_the_service_threshold_is_rewarded(frauds: int, rewarded: bool) -> None:
    chain = after_trades(0)
    forged = resign(signed_trade(HOMES, SELLER, BUYER, 10), seller=HOMES.node_keys[IDLE])
    for _ in range(frauds):
        chain.block((VOTER, forged))
    chain.block((BUYER, signed_trade(HOMES, SELLER, BUYER, 10)))
    before = chain.score(VOTER).value
    assert before == 1_000_000 >> frauds
    chain.block(parent_leader=A[VOTER], parent_voters=(A[VOTER],))
    assert (chain.score(VOTER).value > before) is rewarded


def test_declined_trades_earn_nothing() -> None:
    chain = after_trades(0)
    forged = resign(signed_trade(HOMES, SELLER, BUYER, 10), seller=HOMES.node_keys[IDLE])
    chain.block((BUYER, forged))
    assert chain.block(parent_leader=A[LEADER], parent_voters=(A[VOTER],)).changes == {}


def test_who_is_no_member_any_more_earns_nothing_for_the_last_block() -> None:
    chain = after_trades(1)
    members = chain.read(MEMBER_LIST_KEY, MemberList)
    left = {A[LEADER], A[VOTER]}
    terms = [replace(term, last_height=Height(4) if term.address in left else None) for term in members.terms]
    chain.state[MEMBER_LIST_KEY] = encode(replace(members, terms=tuple(terms)))
    before = chain.score(IDLE).value
    chain.block(parent_leader=A[LEADER], parent_voters=(A[VOTER], A[IDLE]))
    assert (chain.score(LEADER).value, chain.score(VOTER).value) == (1_000_000, 1_000_000)
    assert chain.score(IDLE).value > before
