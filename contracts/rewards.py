"""What moves a member's Q-score: service for the last block, completed trades, faults."""

from fractions import Fraction
from typing import Final

from consensus.identifiers import Address, Digest, Height
from consensus.quorum import quorum
from contracts.attendance import attending, note_attendance
from contracts.genesis import ATTENDANCE_VERSION
from contracts.run import BlockRun
from contracts.service_records import LastBlock
from contracts.state import (
    LAST_BLOCK_KEY,
    MEMBER_LIST_KEY,
    MemberList,
    RewardedPair,
    ScoreCause,
    rewarded_pair_key,
)
from contracts.units import Milliseconds
from qscore.deltas import WHOLE, Role, after_fault, rewarded
from qscore.equation import Defaulter, equation_2_of_mean
from qscore.parameters import ONE, Millionths

SUCCESS: Final = ONE
"""x of a spot trade that completed."""

FAULT: Final = Millionths(-ONE)
"""x of a spot trade that a party's fault made fail."""


def reward_service(run: BlockRun) -> None:
    """Rewards the leader of h - 1 and who of its cluster attends, once per trade rewarded in h - 1; notes who does.

    Who leads also votes, and is rewarded for both. Nobody below `threshold_service` is rewarded. Trades that earned
    their traders nothing count for nobody: splitting an hour into many trades must not farm score.
    """
    trades = run.overlay.require(LAST_BLOCK_KEY, LastBlock).trades_rewarded
    run.overlay.put(LAST_BLOCK_KEY, LastBlock(trades_rewarded=0))
    if trades:
        _reward_those_who_served(run, trades)
    if run.rules.version >= ATTENDANCE_VERSION:
        note_attendance(run)


def _reward_those_who_served(run: BlockRun, trades: int) -> None:
    context, list_now = run.context, run.overlay.require(MEMBER_LIST_KEY, MemberList)
    validators, share = context.parent_voters, WHOLE
    if run.rules.version >= ATTENDANCE_VERSION:
        validators = attending(run.overlay, context.height, context.parent_voters)
        share = validators_share(len(list_now.at(Height(context.height - 1))))
    members = frozenset(list_now.addresses)  # who left meanwhile earns nothing
    for validator in validators:
        if validator in members:
            _reward_service(run, validator, Role.VALIDATOR, trades, share)
    if context.parent_leader in members:
        _reward_service(run, context.parent_leader, Role.LEADER, trades, WHOLE)


def validators_share(members: int) -> Fraction:
    """Returns Q / N, the part of `rate_validator` that each is rewarded with who attends: as much in all, where
    everybody is in the cluster and attends, as if those in one certificate had the whole rate.
    """
    return Fraction(quorum(members), members)


def _reward_service(run: BlockRun, address: Address, role: Role, trades: int, share: Fraction) -> None:
    score = run.scores.of(address)
    if score < run.genesis.scores.threshold_service or run.scores.record(address).is_suspended:
        return
    for _ in range(trades):
        score = rewarded(score, role=role, outcome=SUCCESS, parameters=run.genesis.scores, share=share)
    run.scores.reward(address, score, cause=ScoreCause(role.name.lower()), reference=b"")


def reward_verdict(run: BlockRun, verifier: Address, *, reference: Digest) -> None:
    """Rewards a verdict that came before its application was decided, as leading a block with one rewarded trade,
    whatever the verdict is: were those rewarded that agree, each would say what it expects the others to say.
    """
    score = rewarded(run.scores.of(verifier), role=Role.LEADER, outcome=SUCCESS, parameters=run.genesis.scores)
    run.scores.reward(verifier, score, cause=ScoreCause.VERIFIER, reference=reference)


def reward_traders(
    run: BlockRun,
    *,
    seller: Address,
    buyer: Address,
    interval_start: Milliseconds,
    trade: Digest,
    outcome: Millionths = SUCCESS,
) -> None:
    """Rewards both parties of a completed trade with outcome x >= 0, a pair once per interval, whoever sells."""
    pair_key = rewarded_pair_key(seller, buyer, interval_start)
    if run.overlay.get(pair_key, RewardedPair) is not None:
        return
    run.overlay.put(pair_key, RewardedPair(trade=trade))
    rewarded_before = run.overlay.require(LAST_BLOCK_KEY, LastBlock).trades_rewarded
    run.overlay.put(LAST_BLOCK_KEY, LastBlock(trades_rewarded=rewarded_before + 1))
    for address, cause in ((seller, ScoreCause.SELLER), (buyer, ScoreCause.BUYER)):
        if not run.scores.record(address).is_suspended:
            score = rewarded(run.scores.of(address), role=Role.TRADER, outcome=outcome, parameters=run.genesis.scores)
            run.scores.reward(address, score, cause=cause, reference=trade)


def punish(run: BlockRun, address: Address, reference: Digest, *, outcome: Millionths = FAULT) -> None:
    """Takes the fault's share, for an outcome x < 0, from the score of the member at fault.

    Args:
        run: the block.
        address: the member at fault.
        reference: digest of the declined transaction, or id of the forward trade.
        outcome: x.
    """
    score = after_fault(run.scores.of(address), outcome=outcome, parameters=run.genesis.scores)
    run.scores.punish(address, score, reference=reference)


def quality_total(
    run: BlockRun, *, seller: Address, buyer: Address, outcome: Millionths, defaulter: Defaulter | None
) -> int:
    """Returns Eq. 2's total in millionths, from the present scores, of a trade with outcome x."""
    return equation_2_of_mean(
        seller=run.scores.of(seller),
        buyer=run.scores.of(buyer),
        leader=run.scores.of(run.context.leader),
        validators=run.scores.cluster_mean(),
        outcome=outcome,
        defaulter=defaulter,
    )
