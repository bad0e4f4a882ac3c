"""The buyer's desk: what it accepts, whom it asks next, when it stops, and that it never over-commits."""

from typing import Any

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest, Height, Signature, Slot
from contracts.state import Account, Offer, account_key, offer_key
from contracts.transactions import SpotTerms, packet_id, trade_amount, trade_id
from contracts.units import MicroTokens, MicroTokensPerKwh, WattHours
from node.household.buyer import Accepted, BuyerDesk, Refused
from node.household.buyer_round import (
    MISSES_MAX,
    REQUEST_TIMEOUT_MS,
    RETRY_MS,
    SLOW_RETRY_MS,
    Surroundings,
    order_of,
)
from node.household.interval import IntervalView, Supply
from node.household.offer_checks import (
    REMAINING_SLOTS_MAX,
    REMAINING_SLOTS_MIN,
    Ask,
    OfferContext,
    OfferFault,
    PriceBounds,
    offer_fault,
)
from node.household.promises import Promises, Slots
from node.mesh.messages import OfferReply
from tests.support.contracts import PRICE_MICRO_PER_KWH, make_genesis
from tests.unit.node.household.market_simulation import MemoryJournal, hour_start
from tests.unit.node.household.test_seller import State

COMMUNITY = make_genesis(5)
BUYER = COMMUNITY.addresses[1]
SELLERS = tuple(
    sorted(
        (COMMUNITY.addresses[index] for index in (0, 2, 3)), key=lambda seller: order_of(hour_start(0), BUYER, seller)
    )
)
FIRST, SECOND, THIRD = SELLERS
NOW = Slots(tip=Slot(100), present=Slot(102))
PRICES = PriceBounds(
    lowest_micro_per_kwh=MicroTokensPerKwh(80_000),
    highest_micro_per_kwh=MicroTokensPerKwh(250_000),
    grid_fee_micro_per_kwh=MicroTokensPerKwh(0),
)
GRACE_MS, PATIENCE_MS = 5_000, 40_000


def key_of(seller: Address) -> SigningKey:
    return COMMUNITY.node_keys[COMMUNITY.addresses.index(seller)]


def make_terms(seller: Address = FIRST, energy_wh: int = 300, **overrides: Any) -> SpotTerms:
    fields: dict[str, Any] = {
        "chain": COMMUNITY.chain,
        "offer_counter": 7,
        "seller": seller,
        "buyer": BUYER,
        "energy_wh": WattHours(energy_wh),
        "price_micro_per_kwh": PRICE_MICRO_PER_KWH,
        "packets": (packet_id(seller, hour_start(0)),),
        "origin_meter": seller,
        "destination_meter": BUYER,
        "expiry_slot": Slot(NOW.present + 40),
    }
    return SpotTerms(**{**fields, **overrides})


class TestOfferFault:
    ASK = Ask(
        request_id=1,
        interval_start_ms=hour_start(0),
        buyer=BUYER,
        seller=FIRST,
        wanted_wh=WattHours(300),
        available_wh=WattHours(350),
        asked_ms=0,
    )

    def fault(self, terms: SpotTerms, *, state: State | None = None, ask: Ask | None = None) -> OfferFault | None:
        context = OfferContext(
            ask=ask or self.ASK, chain=COMMUNITY.chain, prices=PRICES, state=state or make_state(), slots=NOW
        )
        return offer_fault(terms, key_of(FIRST).sign(encode(terms)), context)

    @pytest.mark.parametrize(
        ("overrides", "fault"),
        [
            ({}, None),
            ({"energy_wh": 1}, None),
            ({"energy_wh": 301}, OfferFault.TOO_MUCH_ENERGY),
            ({"chain": Digest(bytes(32))}, OfferFault.WRONG_CHAIN),
            ({"seller": SECOND}, OfferFault.WRONG_PARTY),
            ({"buyer": SECOND}, OfferFault.WRONG_PARTY),
            ({"origin_meter": SECOND}, OfferFault.WRONG_ROUTE),
            ({"destination_meter": FIRST}, OfferFault.WRONG_ROUTE),
            ({"packets": (packet_id(FIRST, hour_start(1)),)}, OfferFault.WRONG_PACKETS),
            ({"packets": (packet_id(SECOND, hour_start(0)),)}, OfferFault.WRONG_PACKETS),
            ({"packets": (packet_id(FIRST, hour_start(0)),) * 2}, OfferFault.WRONG_PACKETS),
            ({"price_micro_per_kwh": 250_000}, None),
            ({"price_micro_per_kwh": 250_001}, OfferFault.TOO_DEAR),
            ({"price_micro_per_kwh": 80_000}, None),
            ({"price_micro_per_kwh": 79_999}, OfferFault.PRICE_BELOW_BOUND),
            ({"expiry_slot": NOW.latest + REMAINING_SLOTS_MIN}, None),
            ({"expiry_slot": NOW.latest + REMAINING_SLOTS_MIN - 1}, OfferFault.BAD_EXPIRY),
            ({"expiry_slot": NOW.latest + REMAINING_SLOTS_MAX}, None),
            ({"expiry_slot": NOW.latest + REMAINING_SLOTS_MAX + 1}, OfferFault.BAD_EXPIRY),
        ],
    )
    def test_every_field_of_the_terms(self, overrides: dict[str, Any], fault: OfferFault | None) -> None:
        assert self.fault(make_terms(**overrides)) is fault

    def test_more_than_the_chain_shows_in_the_packet(self) -> None:
        ask = Ask(
            request_id=1,
            interval_start_ms=hour_start(0),
            buyer=BUYER,
            seller=FIRST,
            wanted_wh=WattHours(300),
            available_wh=WattHours(299),
            asked_ms=0,
        )
        assert self.fault(make_terms(), ask=ask) is OfferFault.TOO_MUCH_ENERGY

    def test_a_used_offer_id(self) -> None:
        state = make_state()
        state.put(offer_key(FIRST, 7), Offer(trade=trade_id(make_terms())))
        assert self.fault(make_terms(), state=state) is OfferFault.USED

    def test_a_signature_over_other_terms_or_by_another_key(self) -> None:
        context = OfferContext(ask=self.ASK, chain=COMMUNITY.chain, prices=PRICES, state=make_state(), slots=NOW)
        terms = make_terms()
        for signature in (
            key_of(FIRST).sign(encode(replace(terms, energy_wh=WattHours(299)))),
            key_of(SECOND).sign(encode(terms)),
            Signature(bytes(64)),
        ):
            assert offer_fault(terms, signature, context) is OfferFault.BAD_SIGNATURE


def make_state(tokens_micro: int = 10_000_000_000) -> State:
    state = State(dict(_GENESIS_STATE))
    account = Account(available_micro=MicroTokens(tokens_micro), held_micro=MicroTokens(0), nonce=-1)
    state.put(account_key(BUYER), account)
    return state


def view_of(open_wh: int, available_wh: dict[Address, int], hour: int = 0) -> IntervalView:
    return IntervalView(
        start_ms=hour_start(hour),
        meters=frozenset((BUYER, *available_wh)),
        closed=False,
        open_wh=WattHours(open_wh),
        supplies=tuple(
            Supply(seller=seller, available_wh=WattHours(energy)) for seller, energy in available_wh.items()
        ),
    )


def around(now_ms: int = 0, height: int = 5, out_of_reach_ms: dict[Address, int] | None = None) -> Surroundings:
    return Surroundings(
        now_ms=now_ms,
        height=Height(height),
        out_of_reach_ms=out_of_reach_ms or {},
        grace_ms=GRACE_MS,
        patience_ms=PATIENCE_MS,
    )


class Desk:
    """A buyer's desk in one hour with three sellers."""

    def __init__(self, open_wh: int = 300, tokens_micro: int = 10_000_000_000) -> None:
        self.state = make_state(tokens_micro)
        self.journal = MemoryJournal()
        self.contracts = Promises(journal=self.journal, state=self.state, tip=NOW.tip)
        self.view = view_of(open_wh, dict.fromkeys(SELLERS, 500))
        self.desk = BuyerDesk(
            key=COMMUNITY.node_keys[1],
            chain=COMMUNITY.chain,
            prices=PRICES,
            contracts=self.contracts,
            first_request_id=100,
        )

    def ask(self, surroundings: Surroundings | None = None) -> Ask | None:
        return self.desk.ask(self.view, self.state, surroundings or around())

    def asked(self, surroundings: Surroundings | None = None) -> Ask:
        ask = self.ask(surroundings)
        assert ask is not None
        return ask

    def settled(self, surroundings: Surroundings | None = None) -> bool:
        return self.desk.is_settled(self.view, self.state, surroundings or around())

    def take(
        self, ask: Ask, terms: SpotTerms | None, surroundings: Surroundings | None = None, **amounts: int
    ) -> Accepted | Refused | None:
        reply = OfferReply(
            request_id=ask.request_id,
            terms=terms,
            seller_signature=None if terms is None else key_of(ask.seller).sign(encode(terms)),
            free_wh=WattHours(amounts.get("free_wh", 0)),
            reserved_wh=WattHours(amounts.get("reserved_wh", 0)),
        )
        return self.desk.take(ask.seller, reply, self.state, NOW, surroundings or around())


class TestAsking:
    def test_sellers_are_asked_one_at_a_time_in_the_drawn_order(self) -> None:
        desk = Desk(open_wh=900)
        first = desk.asked()
        assert (first.seller, first.wanted_wh) == (FIRST, 900)
        assert desk.ask() is None, "one at a time"
        desk.take(first, make_terms(FIRST, 500))
        second = desk.asked()
        assert (second.seller, second.wanted_wh) == (SECOND, 400)
        assert second.request_id == first.request_id + 1

    def test_orders_differ_between_buyers_and_hours(self) -> None:
        orders = {
            tuple(sorted(SELLERS, key=lambda seller: order_of(hour_start(hour), buyer, seller)))
            for hour in range(20)
            for buyer in (BUYER, COMMUNITY.addresses[4])
        }
        assert len(orders) == 6, "every order comes up"

    def test_nothing_is_asked_beyond_what_contracts_on_the_way_will_bring(self) -> None:
        desk = Desk(open_wh=300)
        desk.take(desk.asked(), make_terms(FIRST, 300))
        assert desk.ask() is None
        assert not desk.settled(), "it waits for the receipt"

    def test_a_seller_with_a_binding_contract_is_not_asked_for_another(self) -> None:
        desk = Desk(open_wh=600)
        desk.view = view_of(600, {FIRST: 500})
        desk.take(desk.asked(), make_terms(FIRST, 300))
        assert desk.ask() is None

    def test_a_seller_out_of_reach_is_skipped_and_waited_for_until_the_grace_period_is_over(self) -> None:
        desk = Desk()
        desk.view = view_of(300, {FIRST: 500})
        for away_ms, settled in ((0, False), (GRACE_MS - 1, False), (GRACE_MS, True)):
            surroundings = around(away_ms, out_of_reach_ms={FIRST: away_ms})
            assert desk.ask(surroundings) is None
            assert desk.settled(surroundings) is settled
        assert desk.asked(around(GRACE_MS + 1)).seller == FIRST, "asked as soon as it is back"

    def test_an_ask_to_a_seller_that_went_away_is_forgotten(self) -> None:
        desk = Desk()
        desk.asked()
        assert desk.asked(around(1, out_of_reach_ms={FIRST: 1})).seller == SECOND

    @pytest.mark.parametrize(("tokens_micro", "wanted_wh"), [(75_000, 300), (74_999, 299), (250, 1), (249, None)])
    def test_no_more_is_asked_for_than_the_tokens_pay_at_the_highest_price(
        self, tokens_micro: int, wanted_wh: int | None
    ) -> None:
        desk = Desk(open_wh=300, tokens_micro=tokens_micro)
        ask = desk.ask()
        assert (None if ask is None else ask.wanted_wh) == wanted_wh
        assert desk.settled() is (wanted_wh is None)

    def test_tokens_are_counted_over_all_hours_in_trading(self) -> None:
        desk = Desk(open_wh=300, tokens_micro=100_000)
        desk.asked()  # 300 Wh at 250,000 per kWh: 75,000
        later = view_of(300, {FIRST: 500}, hour=1)
        ask = desk.desk.ask(later, desk.state, around())
        assert ask is not None
        assert ask.wanted_wh == 100

    def test_a_low_wallet_waits_for_contracts_on_the_way(self) -> None:
        desk = Desk(open_wh=300, tokens_micro=75_000)
        contract = desk.take(desk.asked(), make_terms(FIRST, 300))
        assert isinstance(contract, Accepted)
        later = view_of(300, {FIRST: 500}, hour=1)
        left_micro = 75_000 - trade_amount(contract.contract.terms)
        ask = desk.desk.ask(later, desk.state, around())
        assert ask is not None
        assert ask.wanted_wh == left_micro * 1_000 // 250_000
        assert not desk.desk.is_settled(later, desk.state, around())


class TestAnswers:
    def test_an_accepted_offer_is_countersigned_and_durable(self) -> None:
        desk = Desk()
        outcome = desk.take(desk.asked(), make_terms(FIRST, 300))
        assert isinstance(outcome, Accepted)
        (submission,) = desk.desk.submissions(outcome.contract)
        assert submission.terms == outcome.contract.terms == make_terms(FIRST, 300)
        assert submission.buyer_signature == COMMUNITY.node_keys[1].sign(encode(submission.terms))
        assert submission.seller_signature == key_of(FIRST).sign(encode(submission.terms))
        desk.desk.sync()
        restarted = Promises(journal=desk.journal, state=desk.state, tip=NOW.tip)
        assert [contract.terms for contract in restarted.binding()] == [submission.terms]

    def test_an_answer_to_another_question_or_by_another_seller_is_passed_over(self) -> None:
        desk = Desk()
        ask = desk.asked()
        terms = make_terms(FIRST, 300)
        reply = OfferReply(
            request_id=ask.request_id,
            terms=terms,
            seller_signature=key_of(FIRST).sign(encode(terms)),
            free_wh=WattHours(0),
            reserved_wh=WattHours(0),
        )
        assert desk.desk.take(SECOND, reply, desk.state, NOW, around()) is None
        assert desk.desk.take(FIRST, replace(reply, request_id=99), desk.state, NOW, around()) is None
        assert desk.contracts.binding() == ()
        assert isinstance(desk.desk.take(FIRST, reply, desk.state, NOW, around()), Accepted)
        assert desk.desk.take(FIRST, reply, desk.state, NOW, around()) is None, "the same answer twice"

    def test_a_bad_offer_is_declined_and_its_seller_given_up_after_a_few(self) -> None:
        desk = Desk()
        desk.view = view_of(300, {FIRST: 500})
        for miss in range(MISSES_MAX):
            now = around(miss * RETRY_MS)
            assert not desk.settled(now)
            outcome = desk.take(desk.asked(now), make_terms(FIRST, 301), now)
            assert isinstance(outcome, Refused)
            assert outcome.fault is OfferFault.TOO_MUCH_ENERGY
            assert outcome.decline.offer_counter == 7
        assert desk.settled(now)
        assert desk.contracts.binding() == ()

    def test_a_seller_that_is_too_dear_is_done_in_every_hour_until_its_link_breaks(self) -> None:
        desk = Desk()
        dear = make_terms(FIRST, 300, price_micro_per_kwh=250_001)
        desk.view = view_of(300, {FIRST: 500})
        desk.take(desk.asked(), dear)
        assert desk.settled()
        assert desk.desk.has_no_hope(desk.view)
        desk.view = view_of(300, {FIRST: 500}, hour=1)
        assert desk.ask(around(10**6)) is None
        assert desk.settled(around(10**6))
        assert desk.ask(around(10**6, out_of_reach_ms={FIRST: 1})) is None
        assert desk.asked(around(10**6 + 1)).seller == FIRST

    def test_two_contracts_under_one_offer_id_are_not_signed(self) -> None:
        desk = Desk(open_wh=600)
        desk.take(desk.asked(), make_terms(FIRST, 300))
        later = view_of(300, {FIRST: 500}, hour=1)
        ask = desk.desk.ask(later, desk.state, around())
        assert ask is not None
        terms = make_terms(FIRST, 200, packets=(packet_id(FIRST, hour_start(1)),))
        outcome = desk.take(ask, terms)
        assert isinstance(outcome, Refused)
        assert outcome.fault is OfferFault.USED


class TestStopping:
    def only(self, seller: Address = FIRST) -> Desk:
        desk = Desk()
        desk.view = view_of(300, {seller: 500})
        return desk

    @pytest.mark.parametrize(
        ("view", "settled"),
        [
            (view_of(0, {FIRST: 500}), True),  # lacks nothing
            (view_of(300, {}), True),  # nobody has anything
            (view_of(300, {FIRST: 1}), False),
        ],
    )
    def test_what_the_chain_shows(self, view: IntervalView, *, settled: bool) -> None:
        desk = Desk()
        desk.view = view
        assert desk.settled() is settled
        assert desk.desk.has_no_hope(view) is settled

    def test_reserved_energy_is_asked_for_again_at_the_next_block_or_after_a_moment(self) -> None:
        desk = self.only()
        desk.take(desk.asked(), None, reserved_wh=500)
        assert desk.ask(around(RETRY_MS - 1)) is None
        assert not desk.settled(around(RETRY_MS - 1))
        ask = desk.asked(around(1, height=6))
        desk.take(ask, None, around(1, height=6), reserved_wh=500)
        assert desk.ask(around(RETRY_MS, height=6)) is None
        assert desk.asked(around(RETRY_MS + 1, height=6)).seller == FIRST

    def test_reserved_energy_is_not_waited_for_for_ever(self) -> None:
        desk = self.only()
        for now_ms in range(0, PATIENCE_MS, 1_000):
            now = around(now_ms)
            desk.take(desk.asked(now), None, now, reserved_wh=500)
            assert not desk.settled(now)
        assert desk.settled(around(PATIENCE_MS))
        assert not desk.desk.has_no_hope(desk.view), "it is still asked now and then"

    def test_a_seller_that_has_nothing_left_ends_the_purchase(self) -> None:
        desk = self.only()
        for miss in range(MISSES_MAX):
            now = around(miss * RETRY_MS)
            assert not desk.settled(now)
            desk.take(desk.asked(now), None, now)
        assert desk.settled(now)
        again_ms = now.now_ms + SLOW_RETRY_MS
        assert desk.ask(around(again_ms - 1)) is None
        assert desk.asked(around(again_ms)).seller == FIRST
        assert desk.settled(around(again_ms)), "nothing waits on the answer"

    def test_a_change_on_the_chain_begins_anew(self) -> None:
        desk = self.only()
        for miss in range(MISSES_MAX):
            now = around(miss * RETRY_MS)
            desk.take(desk.asked(now), None, now)
        desk.view = view_of(300, {FIRST: 400})
        assert not desk.settled(now)
        assert desk.asked(now).seller == FIRST

    def test_a_mute_seller_is_waited_for_once_and_in_later_hours_for_one_answer(self) -> None:
        desk = self.only()
        now_ms = 0
        while not desk.settled(around(now_ms)):
            desk.ask(around(now_ms))
            now_ms += 50
        assert PATIENCE_MS <= now_ms <= PATIENCE_MS + 2 * REQUEST_TIMEOUT_MS
        desk.ask(around(now_ms + REQUEST_TIMEOUT_MS))  # the last question stays without an answer, too
        desk.view = view_of(300, {FIRST: 500}, hour=1)
        desk.asked(around(now_ms))
        assert not desk.settled(around(now_ms))
        desk.ask(around(now_ms + REQUEST_TIMEOUT_MS))
        assert desk.settled(around(now_ms + REQUEST_TIMEOUT_MS))

    def test_a_lost_answer_is_asked_for_again(self) -> None:
        desk = self.only()
        first = desk.asked()
        assert desk.ask(around(REQUEST_TIMEOUT_MS - 1)) is None
        assert desk.ask(around(REQUEST_TIMEOUT_MS)) is None, "a moment's pause"
        second = desk.asked(around(REQUEST_TIMEOUT_MS + RETRY_MS))
        assert second.request_id != first.request_id
        assert desk.take(first, make_terms(FIRST, 300)) is None, "too late"
        assert isinstance(desk.take(second, make_terms(FIRST, 300)), Accepted)


_GENESIS_STATE = State().values
