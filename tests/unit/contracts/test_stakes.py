"""Staked Q-score: how much, who may, what a fault takes of it."""

import pytest

from contracts.receipts import Reason, Status
from contracts.state import ScoreCause, Table
from contracts.transactions import SetStake
from tests.support.contracts import DictChain, make_genesis, resign, signed_trade

HOMES = make_genesis(3)
MEMBER, OTHER, THIRD = range(3)
ALONE = {"parent_voters": (), "parent_leader": None}


def stake(chain: DictChain, staked: int, member: int = MEMBER) -> Reason:
    (receipt,) = chain.block((member, SetStake(staked=staked)), **ALONE).receipts
    assert receipt.fault is None
    return receipt.reason


def cheat(chain: DictChain, member: int = MEMBER) -> None:
    forged = resign(signed_trade(HOMES, OTHER, THIRD, 10), seller=HOMES.node_keys[THIRD])
    (receipt,) = chain.block((member, forged), **ALONE).receipts
    assert receipt.fault == HOMES.addresses[member]


@pytest.mark.parametrize(
    ("staked", "reason"), [(0, Reason.NONE), (1_000_000, Reason.NONE), (1_000_001, Reason.STAKE_ABOVE_SCORE)]
)
def test_at_most_the_score(staked: int, reason: Reason) -> None:
    chain = DictChain(HOMES)
    assert stake(chain, staked) is reason
    assert chain.score(MEMBER).staked == (staked if reason is Reason.NONE else 0)
    assert chain.score(MEMBER).value == 1_000_000, "a stake stays part of the score"


def test_a_stake_says_what_wrote_it() -> None:
    chain = DictChain(HOMES)
    (receipt,) = chain.block((MEMBER, SetStake(staked=300_000))).receipts
    score = chain.score(MEMBER)
    assert (score.cause, score.reference) == (ScoreCause.STAKE, receipt.transaction)


def test_it_is_set_not_added_and_taken_back_with_0() -> None:
    chain = DictChain(HOMES)
    for staked in (700_000, 400_000, 0):
        assert stake(chain, staked) is Reason.NONE
        assert chain.score(MEMBER).staked == staked


@pytest.mark.parametrize("key", [HOMES.issuer_key, HOMES.grid_key])
def test_who_is_no_member_has_no_stake(key: object) -> None:
    execution = DictChain(HOMES).block((key, SetStake(staked=0)))
    assert execution.receipts[0].reason is Reason.STAKE_NOT_MEMBER
    assert {bytes(name[:1]) for name in execution.changes} == {Table.ACCOUNT.value}


def test_a_fault_takes_the_stake_with_the_score() -> None:
    chain = DictChain(HOMES)
    stake(chain, 800_000)
    cheat(chain)
    assert (chain.score(MEMBER).value, chain.score(MEMBER).staked) == (500_000, 500_000)
    stake(chain, 100_000)
    cheat(chain)
    assert (chain.score(MEMBER).value, chain.score(MEMBER).staked) == (250_000, 100_000)


def test_a_score_on_its_way_back_is_staked_as_it_is_then() -> None:
    homes = make_genesis(3)
    chain = DictChain(homes)
    for _ in range(3):
        cheat(chain)
    fallen = chain.score(MEMBER)
    assert fallen.value == 125_000
    assert fallen.way_back is not None
    half = (fallen.way_back.from_slot + fallen.way_back.until_slot) // 2
    first, second = chain.block(
        (MEMBER, SetStake(staked=162_501)), (MEMBER, SetStake(staked=162_500)), slot=half, **ALONE
    ).receipts
    assert (first.reason, second.status) == (Reason.STAKE_ABOVE_SCORE, Status.EXECUTED)
    score = chain.score(MEMBER)
    assert (score.value, score.staked, score.falls) == (162_500, 162_500, 1)
    assert score.way_back is not None
    assert (score.way_back.from_slot, score.way_back.until_slot) == (half, fallen.way_back.until_slot)
