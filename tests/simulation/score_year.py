"""A year of Q-scores, with members that cheat, on the production rules: what moves scores, thresholds, way back.

Households meet in pairs hour by hour; each pair's trade completes, or one of the two cheats and is at fault. What
happens to the scores then is `contracts.rewards` on a real genesis state, with the leader by Eq. 1 and a random
quorum of voters; contracts, signatures and energy are left out, as they do not bear on scores.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final

from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.identifiers import Digest
from consensus.quorum import quorum
from contracts.genesis_state import genesis_state
from contracts.rewards import punish, reward_service, reward_traders
from contracts.rules import first_rules
from contracts.run import BlockRun, ScoreBoard
from contracts.state import Overlay, Score, StateKey, score_key
from contracts.units import MS_PER_HOUR, Milliseconds
from qscore.parameters import ONE
from tests.support.contracts import Community, block_context, make_genesis

DAYS: Final = 365
TRADING_HOURS: Final = range(9, 17)
"""Hours of a day in which the sun leaves some homes a surplus."""
SLOTS_PER_HOUR: Final = 3_600
TRADE: Final = Digest(bytes(32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a year looks like."""

    members: int
    cheating: Mapping[int, float]
    """Share of its trades in which a member cheats, by its number; who is not named is honest."""
    accidents: float = 0.005
    """Share of an honest member's trades in which it is at fault all the same."""
    splits: Mapping[int, int] = field(default_factory=dict)
    """Into how many trades a member splits each trade."""
    days: int = DAYS
    seed: int = 1
    trades_per_day: int = 4
    """Of each pair's hours, so many carry a trade."""


@dataclass(slots=True, kw_only=True)
class Year:
    """What came of it."""

    scores: list[list[float]]
    """Per member, at the end of each day."""
    trades: list[int]
    """Per member, how many it took part in."""
    out_after: dict[int, int]
    """Per member that fell below the trading threshold: after how many own trades, the first time."""


def run_year(plan: Plan) -> Year:
    """Returns the scores of a year."""
    return _Run(plan).run()


class _Run:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.random = Random(f"year {plan.seed}")
        self.faults = Random(f"faults of year {plan.seed}")
        """Apart, so that a year with split trades has the same pairs as one without."""
        self.community: Community = make_genesis(plan.members, slot_duration_ms=1_000)
        self.state: dict[StateKey, bytes] = dict(genesis_state(self.community.genesis))
        self.height = 0
        self.year = Year(scores=[[] for _ in range(plan.members)], trades=[0] * plan.members, out_after={})

    def run(self) -> Year:
        for day in range(self.plan.days):
            hours = sorted(self.random.sample(TRADING_HOURS, self.plan.trades_per_day))
            for hour in hours:
                self._block((day * 24 + hour) * SLOTS_PER_HOUR, self._trade_in_pairs)
            self._block((day + 1) * 24 * SLOTS_PER_HOUR - 1, self._note_scores)
        return self.year

    def _block(self, slot: int, work: Callable[[BlockRun], None]) -> None:
        self.height += 1
        addresses = self.community.addresses
        voters = tuple(sorted(self.random.sample(addresses, quorum(len(addresses)))))
        leader = self.random.choice(addresses)
        parent = {} if self.height == 1 else {"parent_leader": leader, "parent_voters": voters}
        context = block_context(self.community, height=self.height, slot=slot, **parent)
        overlay = Overlay(self.state)
        genesis = self.community.genesis
        scores = ScoreBoard(overlay, cluster=addresses, slot=context.slot, parameters=genesis.scores)
        run = BlockRun(overlay=overlay, genesis=genesis, rules=first_rules(genesis), context=context, scores=scores)
        reward_service(run)
        work(run)
        self.state.update(overlay.encoded_changes())

    def _trade_in_pairs(self, run: BlockRun) -> None:
        able = [number for number in range(self.plan.members) if self._may_trade(run, number)]
        self.random.shuffle(able)
        for seller, buyer in zip(able[::2], able[1::2], strict=False):
            for _ in range(max(self.plan.splits.get(number, 1) for number in (seller, buyer))):
                self._trade(run, seller, buyer)

    def _may_trade(self, run: BlockRun, number: int) -> bool:
        return run.scores.of(self.community.addresses[number]) >= run.genesis.scores.threshold_trade

    def _trade(self, run: BlockRun, seller: int, buyer: int) -> None:
        addresses = self.community.addresses
        pair = (seller, buyer)
        at_fault = next((number for number in pair if self.faults.random() < self._fault_share(number)), None)
        for number in pair:
            self.year.trades[number] += 1
        if at_fault is None:
            reward_traders(
                run,
                seller=addresses[seller],
                buyer=addresses[buyer],
                interval_start=Milliseconds(run.context.slot // SLOTS_PER_HOUR * MS_PER_HOUR),
                trade=TRADE,
            )
            return
        punish(run, addresses[at_fault], TRADE)
        if not self._may_trade(run, at_fault):
            self.year.out_after.setdefault(at_fault, self.year.trades[at_fault])

    def _fault_share(self, number: int) -> float:
        return self.plan.cheating.get(number, self.plan.accidents)

    def _note_scores(self, run: BlockRun) -> None:
        for number, address in enumerate(self.community.addresses):
            self.year.scores[number].append(run.scores.of(address) / ONE)


def honest_curve(own_trades: tuple[int, ...], members: int = 7) -> dict[int, float]:
    """Returns the mean score of honest members after so many own trades, without accidents."""
    run = _Run(Plan(members=members, cheating={}, accidents=0.0))
    found: dict[int, float] = {}
    hour = 0
    for wanted in own_trades:
        while sum(run.year.trades) < wanted * members:
            run._block(hour * SLOTS_PER_HOUR, run._trade_in_pairs)
            hour += 1
        run._block(hour * SLOTS_PER_HOUR, run._note_scores)
        found[wanted] = sum(scores[-1] for scores in run.year.scores) / members
    return found


def trades_until_out(share: float, *, start: float = 1.0, runs: int = 60) -> list[int]:
    """Returns, per run, after how many own trades a member of seven that cheats so often may trade no more.

    Args:
        share: of its trades in which it cheats.
        start: everybody's score at the beginning.
        runs: seeds; those in which it could trade for a year are left out.
    """
    found = []
    for seed in range(runs):
        run = _Run(Plan(members=7, cheating={0: share}, accidents=0.0, seed=seed))
        for address in run.community.addresses:
            key = score_key(address)
            run.state[key] = encode(replace(decode(run.state[key], Score), value=round(start * ONE)))
        hour = 0
        while 0 not in run.year.out_after and hour < DAYS * run.plan.trades_per_day:
            run._block(hour * SLOTS_PER_HOUR, run._trade_in_pairs)
            hour += 1
        found += [run.year.out_after[0]] if 0 in run.year.out_after else []
    return found
