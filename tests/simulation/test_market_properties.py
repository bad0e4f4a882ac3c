"""Random histories of a small market, honest and not: whatever is sent, the books balance and nothing leaks."""

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from msgspec.structs import replace

from consensus.codec import decode
from contracts.receipts import Reason, Receipt, Status
from contracts.state import (
    ATTENDANCE_KEY,
    MEMBER_LIST_KEY,
    MEMBER_QUEUE_KEY,
    RULES_KEY,
    TOTALS_KEY,
    Account,
    StateKey,
    Table,
    Totals,
    account_key,
    activity_key,
    score_key,
)
from contracts.transactions import Action, CancelTrade, SubmitTrade
from tests.support.joining import JoiningChain
from tests.support.market_checks import PostingTrail, Suspensions, TokenFlows, check_whole_state
from tests.support.market_operations import MarketOperations, Operation, busy_market

HOMES = busy_market()
SEEDS = range(12)
OPERATIONS = 250
"""Of each seed; the run over 100,000 is not a unit test."""

OFFICE_SEEDS = range(100, 104)
OFFICE_OPERATIONS = 150
"""All about one office's key: between readings and trades nobody would come to its last corners in time."""

JOINING_SEEDS = range(200, 206)
JOINING_OPERATIONS = 150
"""All about homes that want to join, likewise."""

REMOVAL_SEEDS = range(300, 304)
REMOVAL_OPERATIONS = 400
"""Mostly about members that are to go."""

RULES_SEEDS = range(400, 404)
RULES_OPERATIONS = 250
"""Mostly about the rules, which change in the middle of what the others began."""

OUT_OF_REACH = {
    Reason.JOIN_TOO_FEW_STAKERS,
    Reason.JOIN_TOO_MANY,
    Reason.READY_SAID_BEFORE,
    Reason.REVOCATION_REPLACED_KEY,
    Reason.EXPULSION_WAITS,
    Reason.EVIDENCE_TOO_OLD,
}
"""For eight members that are all there, whose homes nobody replaces, and of whom some are left to be removed, in less
than the three days for which evidence counts (unit/contracts/test_evidence_window.py).
"""

ALONE = {"parent_leader": None, "parent_voters": ()}
"""No service rewards: a block changes then only what is due and what its transactions change."""


def check_declined(before: dict[StateKey, bytes], chain: JoiningChain, receipt: Receipt, *, is_trade: bool) -> None:
    """A declined transaction moves the sender's nonce and when it was seen, its fault's score, the count of declined
    trades. A change of the members may be carried out behind any transaction, and one of the rules; each block notes
    who attends.
    """
    allowed = {account_key(receipt.sender), activity_key(receipt.sender)}
    allowed |= {MEMBER_LIST_KEY, MEMBER_QUEUE_KEY, ATTENDANCE_KEY}
    if is_trade:
        allowed.add(TOTALS_KEY)
    if receipt.fault is not None:
        allowed.add(score_key(receipt.fault))
    changed = {key for key in chain.state if chain.state[key] != before.get(key)}
    if RULES_KEY in changed:
        allowed |= {RULES_KEY, *(key for key in changed if key.startswith(Table.PROPOSAL.value))}
    assert changed <= allowed
    old, new = (decode(state[account_key(receipt.sender)], Account) for state in (before, chain.state))
    assert replace(new, nonce=old.nonce) == old
    old_totals, new_totals = (decode(state[TOTALS_KEY], Totals) for state in (before, chain.state))
    assert replace(new_totals, trades_declined=old_totals.trades_declined) == old_totals
    assert new_totals.trades_declined == old_totals.trades_declined + is_trade


def replay_alone(
    seed: int, operations_count: int, draw: Callable[[MarketOperations], Operation] = MarketOperations.next
) -> Counter[object]:
    """What is due first, in a block without transactions, then one transaction, so that its effect is seen alone."""
    random, chain, seen = Random(seed), JoiningChain(HOMES), Counter[object]()
    operations, flows, trail = MarketOperations(random, chain), TokenFlows(HOMES), PostingTrail()
    suspensions = Suspensions()
    for number in range(operations_count):
        due = chain.block(slot=chain.slot + random.choice((0, 0, 1)), **ALONE)
        sender, action = draw(operations)
        before, transaction = dict(chain.state), chain.sign(sender, action)
        execution = chain.apply([transaction], slot=chain.slot, **ALONE)
        (receipt,) = execution.receipts
        if receipt.status is Status.DECLINED:
            is_tried = receipt.reason is not Reason.SENDER_KEY_REPLACED
            check_declined(before, chain, receipt, is_trade=is_tried and isinstance(action, SubmitTrade))
            assert not isinstance(action, CancelTrade) or receipt.fault is None
        assert before.keys() <= chain.state.keys(), "nothing is removed"
        flows.follow([transaction], execution)
        trail.follow((*due.postings, *execution.postings))
        suspensions.follow(due)
        suspensions.follow(execution)
        seen["rules changed"] += RULES_KEY in execution.changes or RULES_KEY in due.changes
        seen.update([receipt.reason, (type(action).__name__, receipt.status)])
        if number % 10 == 0:
            check_whole_state(chain)
            suspensions.check(chain)
    for check in (check_whole_state, flows.check, trail.check, suspensions.check):
        check(chain)
    seen.update({name: getattr(chain.totals(), name) for name in chain.totals().__struct_fields__})
    return seen


@pytest.fixture(scope="module")
def seen() -> Counter[object]:
    """What all histories came to; every check on the way held."""
    about_offices = MarketOperations.next_about_an_office
    histories = [replay_alone(seed, OPERATIONS) for seed in SEEDS]
    histories += [replay_alone(seed, OFFICE_OPERATIONS, about_offices) for seed in OFFICE_SEEDS]
    about_joining = MarketOperations.next_about_joining
    histories += [replay_alone(seed, JOINING_OPERATIONS, about_joining) for seed in JOINING_SEEDS]
    about_removals = MarketOperations.next_about_removals
    histories += [replay_alone(seed, REMOVAL_OPERATIONS, about_removals) for seed in REMOVAL_SEEDS]
    about_rules = MarketOperations.next_about_rules
    histories += [replay_alone(seed, RULES_OPERATIONS, about_rules) for seed in RULES_SEEDS]
    return sum(histories, Counter[object]())


def test_books_balance_whatever_is_sent(seen: Counter[object]) -> None:
    assert seen["trades_completed"] > 20 * len(SEEDS)


def test_the_histories_reach_every_corner(seen: Counter[object]) -> None:
    for name in ("trades_expired", "trades_cancelled", "replaced_wh", "unused_wh", "exported_wh", "redeemed_micro"):
        assert seen[name], name
    reachable = set(Reason) - OUT_OF_REACH
    assert len(seen.keys() & reachable) >= len(reachable) - 8, f"not reached: {reachable - seen.keys()}"
    offices = ("office_", "proposal_", "objection_", "sender_")
    members = ("join_", "verdict_", "ready_", "revocation_", "expulsion_", "suspension_", "renew_", "rules_")
    apart = {one for one in reachable if one.value.startswith((*offices, *members))}
    assert apart <= seen.keys(), f"not reached: {apart - seen.keys()}"
    assert seen["rules changed"] > len(RULES_SEEDS)
    kinds = {key for key in seen if isinstance(key, tuple)}
    assert len(kinds) == 2 * len(Action.__args__), "every action was executed and declined"


@pytest.mark.parametrize("seed", SEEDS)
def test_two_members_compute_the_same_bytes(seed: int) -> None:
    """Full blocks with service rewards, executed on two states that hold the same records in another order."""
    random, one, other = Random(1_000 + seed), JoiningChain(HOMES), JoiningChain(HOMES)
    other.state = dict(reversed(other.state.items()))
    operations, flows = MarketOperations(random, one), TokenFlows(HOMES)
    for _ in range(30):
        drawn = [operations.next() for _ in range(random.randint(1, 12))]
        transactions = [one.sign(sender, action) for sender, action in drawn]
        slot = one.slot + random.randint(0, 4)
        first, second = one.apply(transactions, slot=slot), other.apply(transactions, slot=slot)
        assert list(first.changes.items()) == list(second.changes.items())
        assert (first.receipts, first.postings) == (second.receipts, second.postings)
        flows.follow(transactions, first)
    check_whole_state(one)
    flows.check(one)
