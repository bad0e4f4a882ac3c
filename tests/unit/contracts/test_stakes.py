"""Staked Q-score: how much, who may, what a fault takes of it."""

import pytest

from consensus.codec import encode
from contracts.receipts import Reason, Status
from contracts.stakes import lock_slots
from contracts.state import ScoreCause, Table
from contracts.transactions import DoubleOffer, ReportMisconduct, SetStake
from tests.support.contracts import DictChain, make_genesis, moved_tables, resign, signed_trade, trade_terms

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
    assert moved_tables(execution) == {Table.ACCOUNT.value}


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


# --- what is taken back ----------------------------------------------------------------------------------------


def unlocking(chain: DictChain) -> tuple[int, int] | None:
    """What is locked, and for how many slots from the last block on."""
    found = chain.score(MEMBER).unlocking
    return None if found is None else (found.amount, found.until_slot - chain.slot)


def convict(chain: DictChain, slot: int | None = None) -> int:
    """A proof of the member's misconduct comes to the chain; returns how much of the score it took."""
    before = chain.score(MEMBER).value
    first, second = (trade_terms(HOMES, MEMBER, OTHER, 10, price_micro_per_kwh=price) for price in (100_000, 110_000))
    key = HOMES.node_keys[MEMBER]
    evidence = DoubleOffer(
        offender=HOMES.addresses[MEMBER],
        first=first,
        first_signature=key.sign(encode(first)),
        second=second,
        second_signature=key.sign(encode(second)),
    )
    (receipt,) = chain.block((OTHER, ReportMisconduct(evidence=evidence)), slot=slot, **ALONE).receipts
    assert receipt.status is Status.EXECUTED, receipt.detail
    return before - chain.score(MEMBER).value


LOCKED = lock_slots(HOMES.genesis)


def test_what_is_taken_back_stays_locked() -> None:
    chain = DictChain(HOMES)
    stake(chain, 700_000)
    assert unlocking(chain) is None
    stake(chain, 400_000)
    assert unlocking(chain) == (300_000, LOCKED)
    stake(chain, 100_000)
    assert unlocking(chain) == (600_000, LOCKED), "all of it waits as long as what came last"


def test_what_is_staked_again_is_locked_no_more() -> None:
    chain = DictChain(HOMES)
    stake(chain, 700_000)
    stake(chain, 100_000)
    stake(chain, 500_000)
    assert unlocking(chain) == (200_000, LOCKED - 1), "the rest waits no longer than before"
    stake(chain, 900_000)
    assert unlocking(chain) is None


@pytest.mark.parametrize(("after", "taken"), [(LOCKED - 1, 700_000), (LOCKED, 200_000)])
def test_misconduct_takes_what_is_locked_and_no_more_once_it_is_free(after: int, taken: int) -> None:
    chain = DictChain(HOMES)
    stake(chain, 700_000)
    stake(chain, 200_000)
    assert convict(chain, slot=chain.slot + after) == taken
    assert (chain.score(MEMBER).staked, unlocking(chain)) == (0, None)


def test_what_is_free_is_forgotten_with_the_next_stake() -> None:
    chain = DictChain(HOMES)
    stake(chain, 700_000)
    stake(chain, 200_000)
    chain.block(slot=chain.slot + LOCKED, **ALONE)
    stake(chain, 200_000)
    assert unlocking(chain) is None


def test_a_fault_takes_what_is_locked_before_what_is_staked() -> None:
    chain = DictChain(HOMES)
    stake(chain, 900_000)
    stake(chain, 300_000)
    cheat(chain)
    assert (chain.score(MEMBER).value, chain.score(MEMBER).staked) == (500_000, 300_000)
    assert unlocking(chain) == (200_000, LOCKED - 1)
    cheat(chain)
    assert (chain.score(MEMBER).value, chain.score(MEMBER).staked) == (250_000, 250_000)
    assert unlocking(chain) is None
