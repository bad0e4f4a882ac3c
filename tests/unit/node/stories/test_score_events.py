"""What moves a score is told completely: against what the rules themselves wrote, block by block."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from consensus import vrf
from consensus.identifiers import Address, Height, Slot
from contracts.execution import BlockContext, execute_block
from contracts.proposal_records import SuspensionChange
from contracts.receipts import Stage
from contracts.run import ScoreBoard
from contracts.state import ScoreCause
from contracts.transactions import (
    Action,
    Approve,
    Propose,
    ReportMisconduct,
    SetStake,
    SubmitTrade,
    TradeTerms,
    transaction_digest,
)
from contracts.units import MicroTokensPerKwh
from ledger.ledger_reading import StateAt
from node.stories.score_events import score_events
from node.stories.score_history import EVENTS_TOLD_MAX, score_history
from qscore.parameters import DEFAULT_PARAMETERS, Millionths
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    Community,
    make_genesis,
    resign,
    seeded_key,
    signed_cancellation,
    signed_forward,
    signed_reading,
    signed_trade,
    transaction_of,
)
from tests.support.joining import newcomer, request_of, verdict_on
from tests.support.ledger import HOUR_MS, ChainBuilder
from tests.support.names import names_in
from tests.support.stories import StoryChain, told, two_votes

Written = tuple[Address, ScoreCause, bytes]


BY_QUORUM = {True: ScoreCause.SUSPENSION, False: ScoreCause.REINSTATEMENT}


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Written]:
    """What the rules write to scores from now on, one by one; they do it as ever."""
    kept: list[Written] = []

    def keep(name: str, cause: ScoreCause | None) -> None:
        original: Callable[..., None] = getattr(ScoreBoard, name)

        def kept_and_done(board: ScoreBoard, address: Address, *arguments: Any, **named: Any) -> None:
            kept.append((address, cause or named.get("cause") or BY_QUORUM[arguments[0]], named["reference"]))
            original(board, address, *arguments, **named)

        monkeypatch.setattr(ScoreBoard, name, kept_and_done)

    for name, cause in (
        ("reward", None),
        ("punish", ScoreCause.FAULT),
        ("stake", ScoreCause.STAKE),
        ("suspend", ScoreCause.SUSPENSION),
        ("set_suspended", None),
    ):
        keep(name, cause)
    return kept


def execute_again(builder: ChainBuilder, height: Height) -> None:
    ledger, addresses = builder.ledger, builder.community.addresses
    block = ledger.decided_block(height)
    parent = None if height == 1 else ledger.decided_block(Height(height - 1)).header
    certificate = block.parent_certificate
    context = BlockContext(
        chain=builder.community.chain,
        height=height,
        slot=block.header.slot,
        leader=block.header.leader,
        randomness_output=vrf.output(block.header.vrf_proof) if block.header.vrf_proof else b"",
        parent_slot=Slot(0) if parent is None else parent.slot,
        parent_leader=None if parent is None else parent.leader,
        parent_voters=() if certificate is None else tuple(item.signer for item in certificate.endorsements),
        cluster=addresses,
    )
    transactions = [transaction_of(raw) for raw in block.transactions]
    execute_block(StateAt(ledger, Height(height - 1)), builder.community.genesis, context, transactions)


def require_explained(builder: ChainBuilder, written: list[Written]) -> set[ScoreCause]:
    """Compares every block's events of every member with what the rules wrote; returns the causes seen."""
    seen: set[ScoreCause] = set()
    for number in range(1, builder.ledger.height + 1):
        height = Height(number)
        written.clear()
        execute_again(builder, height)
        for address in builder.community.addresses:
            wrote = [(cause, bytes(reference)) for whom, cause, reference in written if whom == address]
            events = score_events(builder.ledger, names_in(builder.ledger), address, height)
            explained = [(event.cause, bytes(event.reference)) for event in events if event.cause is not None]
            assert explained == wrote, (height, [event.words for event in events])
            seen |= {cause for cause, _ in wrote}
    return seen


PAIRS = ((0, 1), (2, 1), (0, 3), (2, 3), (0, 1), (2, 1), (0, 3), (2, 3), (1, 0))
"""Homes 1 and 3 mostly sell to homes 2 and 4."""


class Street:
    """Four homes that do anything at random."""

    def __init__(self, directory: Path, seed: int, **genesis: Any) -> None:
        gentle = replace(DEFAULT_PARAMETERS, fault_share=Millionths(20_000))  # so that trade goes on after faults
        self.community: Community = make_genesis(gate_closure_slots=40, scores=gentle, **genesis)
        self.builder = ChainBuilder.create(directory, self.community)
        self._random = Random(seed)
        self._counter = 0
        self._versions: dict[tuple[int, int], int] = {}
        self._forwards: list[SubmitTrade] = []
        self._price = MicroTokensPerKwh(self.community.genesis.price_min_micro_per_kwh)

    def live(self, blocks: int) -> None:
        for number in range(blocks):
            hour = number // 5
            actions = [self._action(hour) for _ in range(self._random.randrange(7))]
            raw = [self.builder.transaction(sender, action) for sender, action in actions]
            self.builder.append(raw, slot=self.builder.led_slot(self._random.choice((1, 1, 2, 9))))
        self.builder.append(slot=self.builder.led_slot(100))
        self.builder.append()

    def _action(self, hour: int) -> tuple[int, Action]:
        kind = self._random.choices(
            (self._reading, self._spot, self._forged, self._forward, self._cancelled, self._stake, self._report),
            (20, 8, 1, 9, 1, 1, 0.05),
        )[0]
        return kind(hour)

    def _reading(self, hour: int) -> tuple[int, Action]:
        member, when = self._random.randrange(4), max(0, hour - self._random.choice((0, 0, 0, 1)))
        version = self._versions.get((member, when), 0)
        self._versions[member, when] = version + 1
        net = self._random.choice((-90, -40, -40, 30)) if member % 2 else self._random.choice((0, 60, 120))
        start = FIRST_INTERVAL_MS + when * HOUR_MS
        return member, signed_reading(self.community, member, net, interval_start_ms=start, version=version)

    def _terms(self) -> dict[str, Any]:
        self._counter += self._random.random() < 0.95
        return {"offer_counter": self._counter, "price_micro_per_kwh": self._price}

    def _spot(self, hour: int) -> tuple[int, Action]:
        seller, buyer = self._random.choice(PAIRS)
        start = FIRST_INTERVAL_MS + hour * HOUR_MS
        energy = self._random.choice((1, 5, 20, 70))
        contract = signed_trade(self.community, seller, buyer, energy, interval_start_ms=start, **self._terms())
        return buyer, contract

    def _forged(self, hour: int) -> tuple[int, Action]:
        buyer, contract = self._spot(hour)
        assert isinstance(contract, SubmitTrade)
        return buyer, resign(contract, seller=seeded_key("stranger", 0))

    def _forward(self, hour: int) -> tuple[int, Action]:
        seller, buyer = self._random.choice(PAIRS)
        start = FIRST_INTERVAL_MS + (hour + self._random.choice((0, 1, 1))) * HOUR_MS
        contract = signed_forward(
            self.community,
            seller,
            buyer,
            self._random.choice((1, 15, 60)),
            delivery_start_ms=start,
            expiry_slot=Slot(self.builder.ledger.tip_slot + self._random.choice((3, 30, 60))),
            **self._terms(),
        )
        self._forwards.append(contract)
        return buyer, contract

    def _cancelled(self, hour: int) -> tuple[int, Action]:
        if not self._forwards:
            return self._reading(hour)
        terms: TradeTerms = self._random.choice(self._forwards).terms
        keys = {key.address: key for key in self.community.node_keys}
        return 0, signed_cancellation(terms, seller=keys[terms.seller], buyer=keys[terms.buyer])

    def _stake(self, _: int) -> tuple[int, Action]:
        return self._random.randrange(4), SetStake(staked=Millionths(self._random.randrange(1_500_000)))

    def _report(self, _: int) -> tuple[int, Action]:
        return 0, ReportMisconduct(evidence=two_votes(self.community, 3))


@pytest.mark.parametrize("price", [80_000, 0], ids=["priced", "free"])
@pytest.mark.parametrize("seed", range(4))
def test_what_the_rules_wrote_is_told_and_nothing_else(
    tmp_path: Path, written: list[Written], seed: int, price: int
) -> None:
    street = Street(tmp_path / "ledger", seed, price_min_micro_per_kwh=price)
    street.live(60)
    seen = require_explained(street.builder, written)
    street.builder.ledger.close()
    assert seen >= {ScoreCause.FAULT, ScoreCause.SELLER, ScoreCause.BUYER, ScoreCause.LEADER, ScoreCause.VALIDATOR}


def test_a_chain_on_which_everything_happened_is_explained(tmp_path: Path, written: list[Written]) -> None:
    chain = StoryChain(tmp_path / "ledger")
    seen = require_explained(chain.builder, written)
    apart = {ScoreCause.GENESIS, ScoreCause.STAKE, ScoreCause.VERIFIER, ScoreCause.REINSTATEMENT}
    assert seen == set(ScoreCause) - apart
    chain.ledger.close()


def test_what_a_quorum_decides_is_told(tmp_path: Path, written: list[Written]) -> None:
    """Suspended and reinstated; proven to have lied, and reinstated; of one that is proposed, nothing is told."""
    builder = ChainBuilder.create(tmp_path / "ledger")
    addresses = builder.community.addresses

    def propose(*, suspended: bool, approvers: tuple[int, ...] = (1, 2)) -> None:
        subject = SuspensionChange(member=addresses[3], suspended=suspended)
        proposal = builder.transaction(0, Propose(subject=subject))
        approve = Approve(proposer=addresses[0], proposal=transaction_digest(proposal))
        builder.append([proposal, *(builder.transaction(approver, approve) for approver in approvers)])

    propose(suspended=True)
    propose(suspended=False)
    builder.append([builder.transaction(1, ReportMisconduct(evidence=two_votes(builder.community, 3)))])
    propose(suspended=False)
    propose(suspended=True, approvers=())
    assert require_explained(builder, written) == {ScoreCause.SUSPENSION, ScoreCause.REINSTATEMENT}
    words = [
        [
            event.words
            for event in score_events(builder.ledger, names_in(builder.ledger), addresses[3], Height(height))
        ]
        for height in range(1, builder.ledger.height + 1)
    ]
    said = [text.split(" (")[0] for texts in words for text in texts]
    assert said == [
        "suspended, by a quorum of the members",
        "suspended no more, by a quorum of the members",
        "proven misconduct",
        "suspended no more, by a quorum of the members",
    ]
    builder.ledger.close()


def test_verdicts_that_counted_are_told_and_no_others(tmp_path: Path, written: list[Written]) -> None:
    builder = ChainBuilder.create(tmp_path / "ledger")
    joining = newcomer(1)
    builder.append([builder.transaction(0, request_of(builder.community, joining))])
    for verifier in (1, 1, 2, 3, 0):
        builder.append([builder.transaction(verifier, verdict_on(joining))])
    assert require_explained(builder, written) == {ScoreCause.VERIFIER}
    history = score_history(builder.ledger, names_in(builder.ledger), "home2", after=None, versions_max=9)
    (_, verdict) = told(history).versions
    assert verdict.words.startswith("verified who joins (transaction ")
    builder.ledger.close()


def test_service_below_the_threshold_is_told_as_nothing(tmp_path: Path, written: list[Written]) -> None:
    builder = ChainBuilder.create(tmp_path / "ledger")
    builder.append([forged(builder, counter) for counter in range(3)])  # home 1 falls to 0.125
    for hour in range(4):
        nets = ((1, 90), (2, -90))
        start = FIRST_INTERVAL_MS + hour * HOUR_MS
        readings = [signed_reading(builder.community, member, net, interval_start_ms=start) for member, net in nets]
        builder.append([builder.transaction(1, readings[0]), builder.transaction(2, readings[1])])
        contract = signed_trade(builder.community, 1, 2, 9, offer_counter=hour, interval_start_ms=start)
        builder.append([builder.transaction(2, contract)])
    builder.append()
    assert ScoreCause.VALIDATOR in require_explained(builder, written)
    signers = builder.ledger.decided_block(Height(builder.ledger.height)).parent_certificate
    assert signers is not None
    assert builder.community.addresses[0] in {item.signer for item in signers.endorsements}
    assert (
        len(
            told(
                score_history(builder.ledger, names_in(builder.ledger), "home1", after=None, versions_max=99)
            ).versions
        )
        == 2
    )
    builder.ledger.close()


def test_a_free_promise_that_ends_in_the_block_that_brought_it_is_told(
    tmp_path: Path, written: list[Written]
) -> None:
    builder = ChainBuilder.create(tmp_path / "ledger", make_genesis(price_min_micro_per_kwh=0))
    promise = signed_forward(builder.community, 0, 1, 10, price_micro_per_kwh=MicroTokensPerKwh(0))
    actions = (
        (1, promise),
        *((member, signed_reading(builder.community, member, net)) for member, net in NOTHING_CAME),
    )
    block = builder.append([builder.transaction(member, action) for member, action in actions])
    assert {posting.stage for posting in block.postings} == {Stage.EXECUTION}
    assert require_explained(builder, written) == {ScoreCause.FAULT}
    assert words_of(builder, "home1")[0].endswith("expired, 0 of 10 Wh of 2016-06-01 00:00 UTC delivered")
    builder.ledger.close()


NOTHING_CAME = ((0, 0), (1, -9))
"""Readings of seller and buyer."""


# --- in words ------------------------------------------------------------------------------------------------------


@pytest.fixture
def market(tmp_path: Path) -> Iterator[ChainBuilder]:
    """Homes 1 to 3 with a reading each: 300 Wh to sell, 200 Wh wanted, twice."""
    builder = ChainBuilder.create(tmp_path / "ledger")
    nets = ((0, 300), (1, -200), (2, -200))
    builder.append(
        [builder.transaction(member, signed_reading(builder.community, member, net)) for member, net in nets]
    )
    yield builder
    builder.ledger.close()


def forged(builder: ChainBuilder, counter: int) -> bytes:
    contract = signed_trade(builder.community, 0, 2, 10, offer_counter=counter)
    return builder.transaction(0, resign(contract, buyer=seeded_key("stranger", 0)))


def words_of(builder: ChainBuilder, member: str) -> list[str]:
    newest = told(
        score_history(
            builder.ledger, names_in(builder.ledger), member, after=builder.ledger.height - 1, versions_max=1
        )
    ).versions[0]
    return newest.words.split("; ")


def test_a_fault_and_a_reward_of_one_block_are_both_told(market: ChainBuilder) -> None:
    good = signed_trade(market.community, 0, 1, 10, offer_counter=0)
    market.append([forged(market, 1), market.transaction(1, good)])
    fault, sale = words_of(market, "home1")
    assert fault.startswith("at fault: trade_buyer_signature: buyer ")
    assert sale.startswith("sold 10 Wh of 2016-06-01 00:00 UTC to home2 (trade ")
    assert words_of(market, "home2")[0].startswith("bought 10 Wh of 2016-06-01 00:00 UTC from home1 (trade ")


def test_three_faults_of_one_block_are_three(market: ChainBuilder) -> None:
    market.append([forged(market, counter) for counter in range(3)])
    words = words_of(market, "home1")
    assert len(words) == len(set(words)) == 3
    assert all(text.startswith("at fault: trade_buyer_signature: ") for text in words)


def test_a_second_trade_of_a_pair_is_told_as_one_without_a_reward(market: ChainBuilder) -> None:
    first, second = (signed_trade(market.community, 0, 1, 10 + counter, offer_counter=counter) for counter in (0, 1))
    market.append([market.transaction(1, first), market.transaction(1, second)])
    rewarded, other = words_of(market, "home1")
    assert "without a reward" not in rewarded
    assert other.startswith("sold 11 Wh of 2016-06-01 00:00 UTC to home2")
    assert other.endswith("without a reward: these two had one for that time")


def test_more_faults_than_anybody_reads_are_counted(market: ChainBuilder) -> None:
    market.append([forged(market, counter) for counter in range(EVENTS_TOLD_MAX + 5)])
    words = words_of(market, "home1")
    assert len(words) == EVENTS_TOLD_MAX + 1
    assert words[-1] == "and 5 more in this block: 5 fault"
