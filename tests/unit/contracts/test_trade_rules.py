"""Spot trades: what a completed one moves, every reason to decline one, and whose fault it is."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from consensus.cryptography import SigningKey
from contracts.execution import Execution
from contracts.receipts import Asset, Party, Reason, Receipt, Stage, Status
from contracts.state import (
    ATTENDANCE_KEY,
    TOTALS_KEY,
    Offer,
    ScoreCause,
    Table,
    Totals,
    Trade,
    TradeKind,
    TradeStatus,
    account_key,
    offer_key,
    rewarded_pair_key,
    score_key,
    trade_key,
)
from contracts.transactions import SubmitTrade, packet_id, trade_id
from contracts.units import MS_PER_HOUR
from qscore.parameters import DEFAULT_PARAMETERS
from tests.support.contracts import (
    EXPIRY_SLOT,
    FIRST_INTERVAL_MS,
    PRICE_MICRO_PER_KWH,
    DictChain,
    make_genesis,
    moved_keys,
    resign,
    seeded_key,
    sign_trade,
    signed_reading,
    signed_trade,
    trade_terms,
    transfer,
)

TOKENS = 1_000_000
HOMES = make_genesis(4, tokens_micro=TOKENS)
SELLER, BUYER, OTHER, POOR = range(4)
NOBODY = None
NEXT_INTERVAL_MS = FIRST_INTERVAL_MS + MS_PER_HOUR


def market() -> DictChain:
    """Member 0 has 500 Wh, members 1 and 2 lack 300 each; an hour later 0 has 50 Wh. 3 has 400 Wh, no tokens."""
    chain = DictChain(HOMES)
    chain.block(
        (SELLER, signed_reading(HOMES, SELLER, 500)),
        (BUYER, signed_reading(HOMES, BUYER, -300)),
        (OTHER, signed_reading(HOMES, OTHER, -300)),
        (SELLER, signed_reading(HOMES, SELLER, 50, interval_start_ms=NEXT_INTERVAL_MS)),
        (POOR, signed_reading(HOMES, POOR, -400)),
        (POOR, transfer(HOMES, OTHER, TOKENS)),
    )
    return chain


def submit(chain: DictChain, sender: int, contract: SubmitTrade, **block: Any) -> tuple[Receipt, Execution]:
    execution = chain.block((sender, contract), **block)
    return execution.receipts[0], execution


def keys(seller: int = SELLER, buyer: int = BUYER) -> dict[str, SigningKey]:
    return {"seller": HOMES.node_keys[seller], "buyer": HOMES.node_keys[buyer]}


# -- completed ------------------------------------------------------------------------------------------------


def test_a_trade_moves_energy_and_tokens_through_the_escrow() -> None:
    chain = market()
    receipt, execution = submit(chain, BUYER, signed_trade(HOMES, SELLER, BUYER, 300))
    trade, amount = trade_id(trade_terms(HOMES, SELLER, BUYER, 300)), 60_000
    assert (receipt.status, receipt.reason, receipt.fault) == (Status.EXECUTED, Reason.NONE, None)
    assert (receipt.reference, receipt.quality_total) == (trade, 4_000_000)
    assert (chain.packet(SELLER).available_wh, chain.packet(SELLER).claimed_wh) == (200, 300)
    assert (chain.deficit(BUYER).open_wh, chain.deficit(BUYER).bought_wh) == (0, 300)
    assert chain.account(SELLER).available_micro == TOKENS + amount
    assert chain.account(BUYER).available_micro == TOKENS - amount
    wh, micro = Asset.ENERGY_WH, Asset.TOKENS_MICRO
    assert [
        (row.stage, row.party, row.asset, row.before, row.after) for row in execution.postings if row.trade == trade
    ] == [
        (Stage.EXECUTION, Party.SELLER, wh, 500, 200),
        (Stage.EXECUTION, Party.ESCROW, wh, 0, 300),
        (Stage.EXECUTION, Party.BUYER, micro, TOKENS, TOKENS - amount),
        (Stage.EXECUTION, Party.ESCROW, micro, 0, amount),
        (Stage.FINAL, Party.ESCROW, wh, 300, 0),
        (Stage.FINAL, Party.BUYER, wh, 0, 300),
        (Stage.FINAL, Party.ESCROW, micro, amount, 0),
        (Stage.FINAL, Party.SELLER, micro, TOKENS, TOKENS + amount),
    ]


def test_a_trade_is_recorded_and_its_offer_id_used() -> None:
    chain = market()
    contract = signed_trade(HOMES, SELLER, BUYER, 300, offer_counter=7)
    receipt, _ = submit(chain, SELLER, contract)
    trade = trade_id(contract.terms)
    assert chain.read(trade_key(trade), Trade) == Trade(
        seller=HOMES.addresses[SELLER],
        buyer=HOMES.addresses[BUYER],
        status=TradeStatus.COMPLETED,
        kind=TradeKind.SPOT,
        interval_start_ms=FIRST_INTERVAL_MS,
        energy_wh=300,
        delivered_wh=300,
        set_aside_wh=0,
        reserved_wh=0,
        price_micro_per_kwh=PRICE_MICRO_PER_KWH,
        held_micro=0,
        amount_micro=60_000,
        fee_micro=0,
        expiry_slot=EXPIRY_SLOT,
        transaction=receipt.transaction,
        height=2,
        slot=2,
        quality_total=4_000_000,
    )
    assert chain.read(offer_key(HOMES.addresses[SELLER], 7), Offer).trade == trade
    totals = chain.totals()
    assert (totals.trades_completed, totals.trades_declined, totals.traded_micro) == (1, 0, 60_000)
    assert (totals.claimed_wh, totals.bought_wh) == (300, 300)


def test_the_amount_is_rounded_once_per_contract() -> None:
    chain = market()
    submit(chain, BUYER, signed_trade(HOMES, SELLER, BUYER, 3, price_micro_per_kwh=100_500))
    assert chain.totals().traded_micro == 302  # 301.5


def test_both_parties_are_rewarded_once_per_interval() -> None:
    chain = market()
    submit(chain, BUYER, signed_trade(HOMES, SELLER, BUYER, 100), parent_voters=())
    first = trade_id(trade_terms(HOMES, SELLER, BUYER, 100))
    for member, cause in ((SELLER, ScoreCause.SELLER), (BUYER, ScoreCause.BUYER)):
        score = chain.score(member)
        assert (score.value, score.cause, score.reference) == (1_018_000, cause, first)
    alone = {"parent_voters": (), "parent_leader": None}
    submit(chain, BUYER, signed_trade(HOMES, SELLER, BUYER, 100, offer_counter=1), **alone)
    assert chain.score(SELLER).value == chain.score(BUYER).value == 1_018_000
    submit(chain, OTHER, signed_trade(HOMES, SELLER, OTHER, 100, offer_counter=2), **alone)
    assert chain.score(SELLER).value > 1_018_000, "another pair is rewarded"
    assert chain.score(BUYER).value == 1_018_000


def test_selling_to_and_fro_is_one_pair() -> None:
    first, second = HOMES.addresses[SELLER], HOMES.addresses[BUYER]
    keys = {rewarded_pair_key(*pair, FIRST_INTERVAL_MS) for pair in ((first, second), (second, first))}
    assert len(keys) == 1


@pytest.mark.parametrize(("second_wh", "reason"), [(90, Reason.NONE), (91, Reason.CONDITION_3_BUYER_ENERGY)])
def test_a_deficit_is_bought_in_parts_and_never_more(second_wh: int, reason: Reason) -> None:
    chain = market()
    submit(chain, BUYER, signed_trade(HOMES, SELLER, BUYER, 210))
    receipt, _ = submit(chain, BUYER, signed_trade(HOMES, SELLER, BUYER, second_wh, offer_counter=1))
    assert receipt.reason is reason


# -- declined -------------------------------------------------------------------------------------------------


def genuine(**terms: Any) -> SubmitTrade:
    energy = terms.pop("energy_wh", 300)
    return signed_trade(HOMES, SELLER, BUYER, energy, **terms)


def altered() -> SubmitTrade:
    """A contract whose energy was altered after both signed it."""
    contract = genuine()
    return replace(contract, terms=replace(contract.terms, energy_wh=299))


def resigned_by_seller() -> SubmitTrade:
    """The malicious seller's: altered energy, its own signature fresh, the buyer's borrowed."""
    return resign(altered(), seller=HOMES.node_keys[SELLER])


def resigned_by_buyer() -> SubmitTrade:
    """The malicious buyer's: lower price, its own signature fresh, the seller's borrowed."""
    contract = genuine()
    cheaper = replace(contract, terms=replace(contract.terms, price_micro_per_kwh=100_000))
    return resign(cheaper, buyer=HOMES.node_keys[BUYER])


def with_stranger() -> SubmitTrade:
    stranger = seeded_key("stranger", 0)
    terms = replace(genuine().terms, buyer=stranger.address, destination_meter=stranger.address)
    return sign_trade(terms, seller=HOMES.node_keys[SELLER], buyer=stranger)


def with_oneself() -> SubmitTrade:
    terms = trade_terms(HOMES, SELLER, SELLER, 300)
    return sign_trade(terms, **keys(SELLER, SELLER))


FIRST_PACKET = packet_id(HOMES.addresses[SELLER], FIRST_INTERVAL_MS)
NEXT_PACKET = packet_id(HOMES.addresses[SELLER], NEXT_INTERVAL_MS)
DEFICIT_IS_NO_PACKET = packet_id(HOMES.addresses[BUYER], FIRST_INTERVAL_MS)

DECLINED: list[tuple[Reason, int, Callable[[], SubmitTrade], int | None, str]] = [
    (Reason.TRADE_WRONG_CHAIN, BUYER, lambda: genuine(chain=bytes(32)), NOBODY, "00" * 32),
    (Reason.TRADE_SAME_PARTY, SELLER, with_oneself, NOBODY, "both"),
    (Reason.TRADE_UNKNOWN_PARTY, SELLER, with_stranger, NOBODY, seeded_key("stranger", 0).address.hex()),
    (Reason.TRADE_SELLER_SIGNATURE, BUYER, resigned_by_buyer, BUYER, "did not sign"),
    (Reason.TRADE_SELLER_SIGNATURE, SELLER, resigned_by_buyer, SELLER, "did not sign"),
    (Reason.TRADE_SELLER_SIGNATURE, OTHER, resigned_by_buyer, OTHER, "did not sign"),
    (Reason.TRADE_SELLER_SIGNATURE, BUYER, altered, BUYER, "did not sign"),
    (Reason.TRADE_BUYER_SIGNATURE, SELLER, resigned_by_seller, SELLER, "did not sign"),
    (Reason.TRADE_BUYER_SIGNATURE, BUYER, resigned_by_seller, BUYER, "did not sign"),
    (Reason.TRADE_SUBMITTER_NOT_PARTY, OTHER, genuine, NOBODY, HOMES.addresses[OTHER].hex()),
    (Reason.TRADE_EXPIRED, BUYER, lambda: genuine(expiry_slot=1), NOBODY, "slot 2, contract expired after 1"),
    (Reason.TRADE_PRICE_OUT_OF_BOUNDS, BUYER, lambda: genuine(price_micro_per_kwh=79_999), NOBODY, "79999"),
    (Reason.TRADE_PRICE_OUT_OF_BOUNDS, BUYER, lambda: genuine(price_micro_per_kwh=320_001), NOBODY, "320001"),
    (Reason.TRADE_WRONG_ROUTE, BUYER, lambda: genuine(origin_meter=HOMES.addresses[OTHER]), NOBODY, "origin"),
    (
        Reason.TRADE_WRONG_ROUTE,
        BUYER,
        lambda: genuine(destination_meter=HOMES.addresses[OTHER]),
        NOBODY,
        "destination",
    ),
    (Reason.TRADE_WRONG_PACKETS, BUYER, lambda: genuine(packets=[]), SELLER, "no packet"),
    (Reason.TRADE_WRONG_PACKETS, BUYER, lambda: genuine(packets=[bytes(32)]), SELLER, "00" * 32),
    (
        Reason.TRADE_WRONG_PACKETS,
        BUYER,
        lambda: genuine(packets=[FIRST_PACKET, DEFICIT_IS_NO_PACKET]),
        SELLER,
        DEFICIT_IS_NO_PACKET.hex(),
    ),
    (
        Reason.TRADE_WRONG_PACKETS,
        BUYER,
        lambda: genuine(packets=[FIRST_PACKET, NEXT_PACKET]),
        SELLER,
        "2 intervals",
    ),
    (
        Reason.TRADE_WRONG_PACKETS,
        BUYER,
        lambda: genuine(packets=[FIRST_PACKET, FIRST_PACKET]),
        SELLER,
        "twice",
    ),
    (
        Reason.CONDITION_1_SELLER_ENERGY,
        BUYER,
        lambda: genuine(energy_wh=501),
        SELLER,
        "seller has 500 Wh available, contract 501 Wh",
    ),
    (
        Reason.CONDITION_2_BUYER_TOKENS,
        POOR,
        lambda: signed_trade(HOMES, SELLER, POOR, 400),
        POOR,
        "buyer has 0 micro-tokens available, contract 80000",
    ),
    (
        Reason.CONDITION_3_BUYER_ENERGY,
        BUYER,
        lambda: genuine(energy_wh=301),
        BUYER,
        "open deficit is 300 Wh, contract 301 Wh",
    ),
]


@pytest.mark.parametrize(("reason", "sender", "build", "fault", "shown"), DECLINED)
def test_declined_trade_changes_the_fault_and_nothing_else(
    reason: Reason, sender: int, build: Callable[[], SubmitTrade], fault: int | None, shown: str
) -> None:
    chain = market()
    before, totals = dict(chain.state), chain.totals()
    account = chain.account(sender)
    receipt, execution = submit(chain, sender, build())
    assert (receipt.status, receipt.reason) == (Status.DECLINED, reason)
    assert receipt.fault == (None if fault is None else HOMES.addresses[fault])
    assert shown in receipt.detail
    assert receipt.reference == trade_id(build().terms)
    assert execution.postings == ()
    allowed = {account_key(HOMES.addresses[sender]), TOTALS_KEY}
    if fault is not None:
        allowed.add(score_key(HOMES.addresses[fault]))
        score = chain.score(fault)
        assert (score.value, score.cause, score.reference) == (500_000, ScoreCause.FAULT, receipt.transaction)
    changed = {key for key in chain.state if chain.state[key] != before.get(key)}
    assert changed - {ATTENDANCE_KEY} == allowed == moved_keys(execution)
    assert chain.totals() == replace(totals, trades_declined=1)
    assert replace(chain.account(sender), nonce=account.nonce) == account


@pytest.mark.parametrize("key", [HOMES.issuer_key, HOMES.grid_key])
@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (genuine, Reason.TRADE_SUBMITTER_NOT_PARTY),
        (altered, Reason.TRADE_SELLER_SIGNATURE),
        (resigned_by_seller, Reason.TRADE_BUYER_SIGNATURE),
    ],
)
def test_who_is_no_member_has_no_score_to_lose(
    key: SigningKey, build: Callable[[], SubmitTrade], reason: Reason
) -> None:
    chain = market()
    (receipt,) = chain.block((key, build())).receipts
    assert (receipt.reason, receipt.fault) == (reason, None)
    assert [chain.score(member).value for member in range(4)] == [1_000_000] * 4


def test_every_reason_of_a_trade_has_a_case() -> None:
    listed = {reason for reason, *_ in DECLINED}
    elsewhere = {
        Reason.TRADE_ALREADY_EXECUTED,
        Reason.TRADE_OFFER_REUSED,
        Reason.TRADE_SCORE_BELOW_THRESHOLD,
        Reason.TRADE_MEMBER_LEAVING,  # test_member_changes
        Reason.TRADE_MEMBER_SUSPENDED,  # test_misconduct
        Reason.TRADE_SELLER_IN_DEBT,  # test_corrections
        Reason.TRADE_WRONG_WINDOW,  # the windows: test_forward_trades
        Reason.TRADE_WINDOW_PASSED,
        Reason.TRADE_WINDOW_FULL,
        Reason.TRADE_ABOVE_CAPACITY,
        Reason.CONDITION_4_SELLER_TOKENS,  # cannot fail on balances of our own: see test_trade_conditions
    }
    trades = {reason for reason in Reason if reason.value.startswith(("trade_", "condition_"))}
    assert listed | elsewhere == trades


@pytest.mark.parametrize("price", [80_000, 320_000])
def test_the_bounds_of_the_price_are_allowed(price: int) -> None:
    receipt, _ = submit(market(), BUYER, genuine(price_micro_per_kwh=price))
    assert receipt.status is Status.EXECUTED


def test_the_expiry_slot_itself_is_in_time() -> None:
    receipt, _ = submit(market(), BUYER, genuine(expiry_slot=9), slot=9)
    assert receipt.status is Status.EXECUTED


def test_a_missing_deficit_is_an_empty_one() -> None:
    chain = market()
    terms = trade_terms(HOMES, SELLER, BUYER, 10, packets=[NEXT_PACKET])
    receipt, _ = submit(chain, BUYER, sign_trade(terms, **keys()))
    assert receipt.reason is Reason.CONDITION_3_BUYER_ENERGY
    assert receipt.detail == "buyer's open deficit is 0 Wh, contract 10 Wh"
    assert receipt.fault == HOMES.addresses[BUYER]


def test_a_closed_gate_is_nobodys_fault() -> None:
    chain = market()
    receipt, execution = submit(chain, BUYER, genuine(), slot=1_000)
    assert (receipt.reason, receipt.fault) == (Reason.CONDITION_1_SELLER_ENERGY, None)
    assert "gate is closed" in receipt.detail
    assert receipt.quality_total is None
    assert not any(key.startswith(Table.SCORE.value) for key in execution.changes)


# -- the original, sent again; two contracts under one offer id ------------------------------------------------


@pytest.mark.parametrize("sender", [SELLER, BUYER])
def test_a_settled_contract_settles_once(sender: int) -> None:
    chain = market()
    submit(chain, BUYER, genuine(energy_wh=100))
    seller, buyer = chain.account(SELLER).available_micro, chain.account(BUYER).available_micro
    receipt, execution = submit(chain, sender, genuine(energy_wh=100))
    assert (receipt.reason, receipt.fault) == (Reason.TRADE_ALREADY_EXECUTED, None)
    assert execution.postings == ()
    assert (chain.account(SELLER).available_micro, chain.account(BUYER).available_micro) == (seller, buyer)


def test_a_settled_contract_that_has_expired_is_still_called_settled() -> None:
    chain = market()
    submit(chain, BUYER, genuine(expiry_slot=2))
    receipt, _ = submit(chain, BUYER, genuine(expiry_slot=2), slot=3)
    assert receipt.reason is Reason.TRADE_ALREADY_EXECUTED


def test_both_submissions_in_one_block_settle_once() -> None:
    chain = market()
    first, second = chain.block((BUYER, genuine()), (SELLER, genuine())).receipts
    assert (first.reason, second.reason) == (Reason.NONE, Reason.TRADE_ALREADY_EXECUTED)


def test_another_contract_under_a_used_offer_id_is_the_sellers_fault() -> None:
    chain = market()
    submit(chain, BUYER, genuine(energy_wh=100))
    chain.block(parent_leader=None)
    before = chain.score(SELLER).value
    second = signed_trade(HOMES, SELLER, OTHER, 100)
    receipt, _ = submit(chain, OTHER, second)
    assert (receipt.reason, receipt.fault) == (Reason.TRADE_OFFER_REUSED, HOMES.addresses[SELLER])
    assert chain.score(SELLER).value == before // 2
    assert chain.score(OTHER).cause is ScoreCause.VALIDATOR


def test_an_offer_reuse_that_the_seller_did_not_sign_is_not_the_sellers_fault() -> None:
    chain = market()
    submit(chain, BUYER, genuine())
    receipt, _ = submit(chain, BUYER, resigned_by_buyer())
    assert (receipt.reason, receipt.fault) == (Reason.TRADE_SELLER_SIGNATURE, HOMES.addresses[BUYER])


@pytest.mark.parametrize(("liar", "build"), [(SELLER, resigned_by_seller), (BUYER, resigned_by_buyer)])
def test_after_an_altered_contract_the_original_settles_exactly_once(
    liar: int, build: Callable[[], SubmitTrade]
) -> None:
    chain = market()
    honest = BUYER if liar == SELLER else SELLER
    submit(chain, liar, build())
    assert chain.score(honest).value == 1_000_000
    retries = [submit(chain, honest, genuine())[0] for _ in range(3)]
    assert [receipt.reason for receipt in retries] == [Reason.NONE] + [Reason.TRADE_ALREADY_EXECUTED] * 2
    assert chain.totals().claimed_wh == 300
    assert chain.score(liar).value < 1_000_000 < chain.score(honest).value


# -- scores ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cheat", "name"), [(SELLER, "seller"), (BUYER, "buyer")])
def test_who_fell_below_the_threshold_trades_no_more(cheat: int, name: str) -> None:
    chain = market()
    build = resigned_by_seller if cheat == SELLER else resigned_by_buyer
    for _ in range(3):
        submit(chain, cheat, build())
    assert chain.score(cheat).value == 125_000
    receipt, _ = submit(chain, SELLER, genuine())
    assert (receipt.reason, receipt.fault) == (Reason.TRADE_SCORE_BELOW_THRESHOLD, None)
    back = 4 + DEFAULT_PARAMETERS.way_back_slots
    assert receipt.detail == f"{name}'s score is 125000 millionths, threshold 200000, back to it at slot {back}"


def test_the_threshold_itself_may_trade() -> None:
    limit = make_genesis(2, tokens_micro=TOKENS, scores=replace(DEFAULT_PARAMETERS, threshold_trade=1_000_000))
    chain = DictChain(limit)
    chain.block((0, signed_reading(limit, 0, 10)), (1, signed_reading(limit, 1, -10)))
    (receipt,) = chain.block((0, signed_trade(limit, 0, 1, 10))).receipts
    assert receipt.status is Status.EXECUTED


def test_scores_stop_at_the_floor() -> None:
    chain = market()
    for _ in range(6):
        submit(chain, BUYER, resigned_by_buyer())
    assert chain.score(BUYER).value == DEFAULT_PARAMETERS.floor


@pytest.mark.parametrize(
    ("sender", "build", "expected"),
    [
        (BUYER, genuine, 4_000_000),
        (SELLER, resigned_by_seller, -3_000_000),  # v, L and S of 1 each, all negative
        (BUYER, resigned_by_buyer, -1_000_000),  # the paper's + B
        (OTHER, resigned_by_buyer, None),  # at fault, but no party: Eq. 2 knows no such term
        (OTHER, genuine, None),
    ],
)
def test_quality_total(sender: int, build: Callable[[], SubmitTrade], expected: int | None) -> None:
    receipt, _ = submit(market(), sender, build())
    assert receipt.quality_total == expected


def test_quality_total_uses_the_scores_before_leader_and_cluster() -> None:
    chain = market()
    submit(chain, OTHER, resigned_by_buyer())  # OTHER falls to 0.5
    cluster = (HOMES.addresses[OTHER], HOMES.addresses[POOR])
    receipt, _ = submit(chain, BUYER, genuine(), leader=HOMES.addresses[OTHER], cluster=cluster)
    assert receipt.quality_total == 750_000 + 500_000 + 2_000_000


def test_quality_total_follows_the_scores_within_a_block() -> None:
    chain = market()
    cluster = (HOMES.addresses[OTHER],)
    _, receipt = chain.block(
        (OTHER, resigned_by_buyer()), (BUYER, genuine()), leader=HOMES.addresses[POOR], cluster=cluster
    ).receipts
    assert receipt.quality_total == 500_000 + 1_000_000 + 2_000_000


def test_totals_are_those_of_the_state() -> None:
    chain = market()
    submit(chain, BUYER, genuine())
    totals = chain.read(TOTALS_KEY, Totals)
    assert totals.issued_micro == sum(chain.account(member).available_micro for member in range(4))
