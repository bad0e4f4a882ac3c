"""Random histories of a small market, honest and not: whatever is sent, the books balance and nothing leaks."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from consensus.codec import Record, decode
from contracts.conservation import assert_record, assert_totals
from contracts.receipts import Asset, Party, Posting, Reason, Receipt, Stage, Status
from contracts.state import (
    TOTALS_KEY,
    Account,
    Deficit,
    Packet,
    Score,
    StateKey,
    Table,
    Totals,
    Trade,
    account_key,
    score_key,
)
from contracts.transactions import PublishReading, SignedTransaction, SubmitTrade, Transfer
from contracts.units import MS_PER_HOUR
from qscore.parameters import DEFAULT_PARAMETERS
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    DictChain,
    make_genesis,
    resign,
    signed_reading,
    signed_trade,
    transfer,
)

MEMBERS = 4
HOMES = make_genesis(MEMBERS, capacity_w=1_000, tokens_micro=100_000, gate_closure_slots=6)
BOUNDED = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
"""Moderate and the same in every run."""

V = TypeVar("V", bound=Record)
Action = PublishReading | Transfer | SubmitTrade

member = st.integers(0, MEMBERS - 1)
interval = st.integers(0, 1).map(lambda number: FIRST_INTERVAL_MS + number * MS_PER_HOUR)


@st.composite
def readings(draw: st.DrawFn) -> tuple[int, Action]:
    owner = draw(member)
    key = HOMES.meter_keys[draw(st.sampled_from([owner, owner, owner, 0]))]
    net_wh = draw(st.integers(-1_001, 1_001))
    reading = signed_reading(HOMES, owner, net_wh, interval_start_ms=draw(interval), meter_key=key)
    return draw(st.sampled_from([owner, owner, owner, draw(member)])), reading


@st.composite
def transfers(draw: st.DrawFn) -> tuple[int, Action]:
    return draw(member), transfer(HOMES, draw(member), draw(st.integers(1, 120_000)))


@st.composite
def trades(draw: st.DrawFn) -> tuple[int, Action]:
    """A contract: genuine, or altered afterwards and signed again by one party, the other or nobody."""
    seller, buyer = draw(st.sampled_from([0, 0, 0, draw(member)])), draw(st.sampled_from([1, 2, draw(member)]))
    contract = signed_trade(
        HOMES,
        seller,
        buyer,
        draw(st.one_of(st.integers(1, 100), st.integers(1, 1_000))),
        offer_counter=draw(st.integers(0, 3)),
        interval_start_ms=draw(st.sampled_from([FIRST_INTERVAL_MS, FIRST_INTERVAL_MS, draw(interval)])),
        price_micro_per_kwh=draw(st.sampled_from([79_999, 80_000, 200_000, 320_000])),
        expiry_slot=draw(st.sampled_from([2, 10**6, 10**6])),
    )
    alteration = draw(st.sampled_from(["none", "none", "none", "seller", "buyer", "nobody"]))
    if alteration != "none":
        contract = replace(contract, terms=replace(contract.terms, energy_wh=draw(st.integers(1, 800))))
        keys = HOMES.node_keys
        contract = resign(
            contract,
            seller=keys[seller] if alteration == "seller" else None,
            buyer=keys[buyer] if alteration == "buyer" else None,
        )
    return draw(st.sampled_from([seller, buyer, buyer, draw(member)])), contract


@dataclass(frozen=True)
class Step:
    """One block: its actions, the slots since the last one, and whether the last actions are sent again."""

    actions: Sequence[tuple[int, Action]]
    slots: int
    repeat: bool


steps = st.builds(
    Step,
    actions=st.lists(st.one_of(readings(), transfers(), trades(), trades(), trades()), min_size=1, max_size=8),
    slots=st.integers(0, 2),
    repeat=st.booleans(),
)


histories = st.lists(steps, min_size=2, max_size=8)


def records(chain: DictChain, table: Table, expected: type[V]) -> Iterator[V]:
    return (decode(raw, expected) for key, raw in chain.state.items() if key[:1] == table.value)


def check_whole_state(chain: DictChain) -> None:
    """Sums over every record of the state, independently of the deltas that each block asserts."""
    accounts = list(records(chain, Table.ACCOUNT, Account))
    packets = list(records(chain, Table.PACKET, Packet))
    deficits = list(records(chain, Table.DEFICIT, Deficit))
    trades_done = list(records(chain, Table.TRADE, Trade))
    for record in (*accounts, *packets, *deficits, *records(chain, Table.SCORE, Score)):
        assert_record(record, DEFAULT_PARAMETERS)
    totals = chain.totals()
    assert_totals(totals)
    assert sum(one.available_micro + one.held_micro for one in accounts) == totals.issued_micro == 400_000
    for name in ("credited_wh", "available_wh", "escrow_wh", "claimed_wh", "exported_wh"):
        assert getattr(totals, name) == sum(getattr(packet, name) for packet in packets), name
    assert totals.deficit_wh == sum(one.recorded_wh for one in deficits)
    for name in ("open_wh", "bought_wh", "imported_wh"):
        assert getattr(totals, name) == sum(getattr(one, name) for one in deficits), name
    assert totals.bought_wh == sum(trade.energy_wh for trade in trades_done)
    assert totals.traded_micro == sum(trade.amount_micro for trade in trades_done)
    assert totals.trades_completed == len(trades_done)


def check_declined(before: dict[StateKey, bytes], chain: DictChain, receipt: Receipt) -> None:
    """A declined transaction moves the sender's nonce, its fault's score, the count of declined trades."""
    allowed = {account_key(receipt.sender)}
    if receipt.reference is not None:
        allowed.add(TOTALS_KEY)
    if receipt.fault is not None:
        allowed.add(score_key(receipt.fault))
    changed = {key for key in chain.state if chain.state[key] != before.get(key)}
    assert changed <= allowed
    old, new = (decode(state[account_key(receipt.sender)], Account) for state in (before, chain.state))
    assert replace(new, nonce=old.nonce) == old
    old_totals, new_totals = (decode(state[TOTALS_KEY], Totals) for state in (before, chain.state))
    assert replace(new_totals, trades_declined=old_totals.trades_declined) == old_totals


def check_postings(postings: Sequence[Posting]) -> None:
    """Eight per trade; per asset what one party loses the other gains, and the escrow ends empty."""
    for start in range(0, len(postings), 8):
        rows = postings[start : start + 8]
        assert len({row.trade for row in rows}) == 1
        assert Counter(row.stage for row in rows) == {Stage.EXECUTION: 4, Stage.FINAL: 4}
        for asset in Asset:
            assert sum(row.after - row.before for row in rows if row.asset is asset) == 0
            escrow = [row for row in rows if row.asset is asset and row.party is Party.ESCROW]
            assert (escrow[0].before, escrow[-1].after) == (0, 0)


def opened_market() -> DictChain:
    """A chain on which member 0 has 900 Wh in the first interval and 1 and 2 lack 500 and 400."""
    chain = DictChain(HOMES)
    for owner, net_wh in ((0, 900), (1, -500), (2, -400)):
        chain.block((owner, signed_reading(HOMES, owner, net_wh)), slot=1)
    return chain


ALONE = {"parent_leader": None, "parent_voters": ()}
"""No service rewards: a block changes then only what its gates and its transactions change."""


def replay_alone(history: list[Step], seen: Counter[Reason | str]) -> None:
    """Gates first, in a block without transactions, then one transaction, so that its effect is seen alone."""
    chain = opened_market()
    for step in history:
        chain.slot += step.slots
        for sender, action in [*step.actions, *(step.actions if step.repeat else ())]:
            chain.block(slot=chain.slot, **ALONE)
            before = dict(chain.state)
            execution = chain.block((sender, action), slot=chain.slot, **ALONE)
            (receipt,) = execution.receipts
            if receipt.status is Status.DECLINED:
                check_declined(before, chain, receipt)
            check_postings(execution.postings)
            assert before.keys() <= chain.state.keys(), "nothing is removed"
            seen[receipt.reason] += 1
            seen["postings"] += len(execution.postings)
        check_whole_state(chain)


def test_books_balance_whatever_is_sent() -> None:
    seen: Counter[Reason | str] = Counter()

    @BOUNDED
    @given(history=histories)
    def property_holds(history: list[Step]) -> None:
        replay_alone(history, seen)

    property_holds()
    assert seen["postings"] >= 20 * "the histories complete trades"
    assert len(seen.keys() & set(Reason)) >= 12, "and break most rules"


@BOUNDED
@given(history=histories)
def test_two_members_compute_the_same_bytes(history: list[Step]) -> None:
    """Full blocks with service rewards, executed on two states that hold the same records in another order."""
    one, other = opened_market(), opened_market()
    other.state = dict(reversed(other.state.items()))
    for step in history:
        actions = [*step.actions, *(step.actions if step.repeat else ())]
        transactions: list[SignedTransaction] = [one.sign(sender, action) for sender, action in actions]
        slot = one.slot + step.slots
        first, second = one.apply(transactions, slot=slot), other.apply(transactions, slot=slot)
        assert list(first.changes.items()) == list(second.changes.items())
        assert (first.receipts, first.postings) == (second.receipts, second.postings)
        check_whole_state(one)
