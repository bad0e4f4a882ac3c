"""The seller's desk: signed offers within what is free, which bind until the chain shows that they cannot execute."""

from dataclasses import dataclass, field

import pytest

from consensus.codec import decode, encode
from consensus.cryptography import verify
from consensus.identifiers import Slot
from contracts.genesis_state import genesis_state
from contracts.state import (
    Deficit,
    Interval,
    Offer,
    Packet,
    StateKey,
    StateValue,
    deficit_key,
    interval_key,
    offer_key,
    packet_key,
    score_key,
)
from contracts.transactions import packet_id, trade_id
from contracts.units import MicroTokensPerKwh, WattHours
from node.household.promises import OFFER_LIFETIME_SLOTS, UNDECIDED_SLOTS, Promises, Slots, has_lapsed
from node.household.seller import SellerDesk, SellerTerms
from node.mesh.messages import OfferReply, OfferRequest
from tests.support.contracts import PRICE_MICRO_PER_KWH, make_genesis, make_score
from tests.unit.node.household.market_simulation import MemoryJournal, hour_start

COMMUNITY = make_genesis(4)
SELLER, BUYER, RIVAL, STRANGER = COMMUNITY.addresses
START_MS = hour_start(0)
NOW = Slots(tip=Slot(100), present=Slot(102))
PACKET = packet_id(SELLER, START_MS)


@dataclass
class State:
    """A state with one hour in it."""

    values: dict[StateKey, bytes] = field(default_factory=lambda: dict(genesis_state(COMMUNITY.genesis)))

    def get(self, key: StateKey) -> bytes | None:
        return self.values.get(key)

    def put(self, key: StateKey, value: StateValue) -> None:
        self.values[key] = encode(value)


def make_state(available_wh: int = 500, lacking_wh: int = 400, *, closed: bool = False) -> State:
    state = State()
    meters = (SELLER, BUYER, RIVAL)
    state.put(interval_key(START_MS), Interval(meters=meters, closes_at_slot=Slot(1_000), closed=closed))
    nothing = WattHours(0)
    state.put(
        packet_key(PACKET),
        Packet(
            owner=SELLER,
            interval_start_ms=START_MS,
            source="solar",
            credited_wh=WattHours(500),
            available_wh=WattHours(available_wh),
            escrow_wh=nothing,
            claimed_wh=WattHours(500 - available_wh),
            exported_wh=nothing,
            replaced_wh=nothing,
        ),
    )
    for buyer in (BUYER, RIVAL):
        state.put(
            deficit_key(buyer, START_MS),
            Deficit(
                owner=buyer,
                interval_start_ms=START_MS,
                recorded_wh=WattHours(lacking_wh),
                open_wh=WattHours(lacking_wh),
                reserved_wh=nothing,
                bought_wh=nothing,
                imported_wh=nothing,
                unused_wh=nothing,
            ),
        )
    return state


class Desk:
    """A desk with its journal, on a state."""

    def __init__(self, state: State, journal: MemoryJournal | None = None, first_counter: int = 10) -> None:
        self.state = state
        self.journal = journal or MemoryJournal()
        self.offers = Promises(journal=self.journal, state=state, tip=NOW.tip)
        self.desk = SellerDesk(
            key=COMMUNITY.node_keys[0],
            terms=SellerTerms(
                chain=COMMUNITY.chain,
                price_micro_per_kwh=MicroTokensPerKwh(PRICE_MICRO_PER_KWH),
                scores=COMMUNITY.genesis.scores,
            ),
            offers=self.offers,
            first_counter=first_counter,
        )

    def ask(self, wanted_wh: int, *, buyer: bytes = BUYER, slots: Slots = NOW, hour: int = 0) -> OfferReply:
        request = OfferRequest(request_id=1, interval_start_ms=hour_start(hour), wanted_wh=WattHours(wanted_wh))
        self.desk.refresh(self.state, slots)
        reply = self.desk.answer(buyer, request, self.state, slots)  # type: ignore[arg-type]
        assert reply is not None
        return reply


def energy(reply: OfferReply) -> int | None:
    return None if reply.terms is None else reply.terms.energy_wh


class TestOffers:
    def test_an_offer_says_everything_that_the_chain_checks_and_is_signed(self) -> None:
        reply = Desk(make_state()).ask(300)
        terms = reply.terms
        assert terms is not None
        assert reply.seller_signature is not None
        assert verify(COMMUNITY.node_keys[0].public_key, encode(terms), reply.seller_signature)
        assert (terms.chain, terms.seller, terms.buyer) == (COMMUNITY.chain, SELLER, BUYER)
        assert (terms.origin_meter, terms.destination_meter, terms.packets) == (SELLER, BUYER, (PACKET,))
        assert (terms.energy_wh, terms.price_micro_per_kwh) == (300, PRICE_MICRO_PER_KWH)
        assert terms.expiry_slot == NOW.present + OFFER_LIFETIME_SLOTS
        assert (reply.free_wh, reply.reserved_wh) == (200, 300)

    @pytest.mark.parametrize(
        ("wanted_wh", "available_wh", "lacking_wh", "offered_wh"),
        [
            (300, 500, 400, 300),  # what was asked
            (400, 350, 400, 350),  # what is free
            (450, 500, 400, 400),  # what the buyer lacks on the chain
            (10**12, 500, 400, 400),  # an absurd wish
            (1, 1, 1, 1),
            (300, 0, 400, None),  # sold out
            (300, 500, 0, None),  # lacks nothing
        ],
    )
    def test_how_much_is_offered(
        self, wanted_wh: int, available_wh: int, lacking_wh: int, offered_wh: int | None
    ) -> None:
        reply = Desk(make_state(available_wh, lacking_wh)).ask(wanted_wh)
        assert energy(reply) == offered_wh
        assert reply.free_wh + reply.reserved_wh == available_wh

    def test_two_buyers_are_never_promised_more_than_there_is(self) -> None:
        desk = Desk(make_state())
        assert energy(desk.ask(400)) == 400
        second = desk.ask(400, buyer=RIVAL)
        assert (energy(second), second.free_wh, second.reserved_wh) == (100, 0, 500)

    def test_an_unanswered_offer_is_sent_again_and_not_made_twice(self) -> None:
        desk = Desk(make_state())
        first = desk.ask(300)
        assert desk.ask(300).terms == first.terms
        assert desk.offers.energy_wh(START_MS) == 300

    def test_a_smaller_wish_does_not_free_what_was_signed(self) -> None:
        desk = Desk(make_state())
        desk.ask(300)
        reply = desk.ask(100)
        assert (reply.terms, reply.free_wh, reply.reserved_wh) == (None, 200, 300)

    def test_counters_are_never_used_twice(self) -> None:
        state = make_state()
        state.put(offer_key(SELLER, 10), Offer(trade=PACKET))
        first, second = Desk(state), None
        terms = first.ask(100).terms
        assert terms is not None
        assert terms.offer_counter == 11, "the chain knows 10"
        first.desk.sync()
        second = Desk(state, first.journal, first_counter=0)
        rival_terms = second.ask(100, buyer=RIVAL).terms
        assert rival_terms is not None
        assert rival_terms.offer_counter == 12


class TestWhoGetsNothing:
    def test_an_hour_whose_readings_this_ledger_lacks_is_put_off(self) -> None:
        desk = Desk(make_state()).desk
        for buyer, hour in ((BUYER, 1), (STRANGER, 0)):
            request = OfferRequest(request_id=1, interval_start_ms=hour_start(hour), wanted_wh=WattHours(5))
            assert desk.answer(buyer, request, make_state(), NOW) is None
        assert desk.put_off(request, WattHours(70)) == OfferReply(
            request_id=1, terms=None, seller_signature=None, free_wh=WattHours(0), reserved_wh=WattHours(70)
        )

    @pytest.mark.parametrize("net_wh", [None, 0, -70])
    def test_a_home_without_surplus_says_that_it_has_nothing(self, net_wh: int | None) -> None:
        request = OfferRequest(request_id=1, interval_start_ms=hour_start(1), wanted_wh=WattHours(5))
        reply = Desk(make_state()).desk.put_off(request, None if net_wh is None else WattHours(net_wh))
        assert (reply.terms, reply.free_wh, reply.reserved_wh) == (None, 0, 0)

    def test_a_closed_gate_a_low_score_and_a_home_without_packet(self) -> None:
        low = make_score(COMMUNITY.genesis.scores.threshold_trade - 1)
        seller_low, buyer_low, no_packet = make_state(), make_state(), make_state()
        seller_low.put(score_key(SELLER), low)
        buyer_low.put(score_key(BUYER), low)
        del no_packet.values[packet_key(PACKET)]
        for state in (make_state(closed=True), seller_low, no_packet):
            reply = Desk(state).ask(100)
            assert (reply.terms, reply.free_wh, reply.reserved_wh) == (None, 0, 0)
        assert Desk(buyer_low).ask(100).terms is None


class TestWhatBinds:
    @pytest.mark.parametrize(
        ("tip", "present", "lapsed"),
        [
            (50, 50, False),
            (51, 51, True),
            (49, 51, False),  # a block of slot 50 may still be decided
            (49, 50 + UNDECIDED_SLOTS, False),
            (49, 51 + UNDECIDED_SLOTS, True),
        ],
    )
    def test_when_a_contract_can_no_longer_execute(self, tip: int, present: int, *, lapsed: bool) -> None:
        assert has_lapsed(Slot(50), Slots(tip=Slot(tip), present=Slot(present))) is lapsed

    def test_a_declined_offer_still_binds_but_is_not_sent_again(self) -> None:
        desk = Desk(make_state())
        terms = desk.ask(300).terms
        assert terms is not None
        desk.desk.decline(RIVAL, terms.offer_counter)
        assert desk.ask(300).terms == terms, "only the buyer can decline"
        desk.desk.decline(BUYER, terms.offer_counter)
        reply = desk.ask(300)
        assert (reply.terms, reply.free_wh, reply.reserved_wh) == (None, 200, 300)

    def test_an_expired_offer_is_free_again(self) -> None:
        desk = Desk(make_state())
        first = desk.ask(300).terms
        later = Slot(NOW.present + OFFER_LIFETIME_SLOTS + 1)
        reply = desk.ask(400, slots=Slots(tip=later, present=later))
        assert first is not None
        assert reply.terms is not None
        assert (reply.terms.energy_wh, reply.terms.offer_counter) == (400, first.offer_counter + 1)

    def test_an_executed_offer_is_counted_by_the_chain_alone(self) -> None:
        desk = Desk(make_state())
        terms = desk.ask(300).terms
        assert terms is not None
        desk.state = make_state(available_wh=200, lacking_wh=100)
        desk.state.put(offer_key(SELLER, terms.offer_counter), Offer(trade=trade_id(terms)))
        reply = desk.ask(100)
        assert (energy(reply), reply.free_wh, reply.reserved_wh) == (100, 100, 100)

    def test_a_closed_gate_ends_every_offer(self) -> None:
        desk = Desk(make_state())
        desk.ask(300)
        desk.desk.refresh(make_state(closed=True), NOW)
        assert desk.offers.binding() == ()

    def test_offers_bind_across_a_restart(self) -> None:
        desk = Desk(make_state())
        terms = desk.ask(300).terms
        desk.desk.sync()
        desk.ask(100, buyer=RIVAL)  # not synced: it never left the node
        desk.journal.crash()
        restarted = Desk(desk.state, desk.journal)
        assert [offer.terms for offer in restarted.offers.binding()] == [terms]
        assert restarted.ask(300).terms == terms
        assert energy(restarted.ask(400, buyer=RIVAL)) == 200

    def test_a_restart_drops_what_no_longer_binds_but_not_the_newest_counters(self) -> None:
        desk = Desk(make_state())
        desk.ask(300)
        desk.ask(100, buyer=RIVAL)
        desk.desk.sync()
        closed = make_state(closed=True)
        restarted = Desk(closed, desk.journal)
        assert restarted.offers.binding() == ()
        assert restarted.offers.highest_counter(SELLER) == 11
        assert len(desk.journal.entries) == 2
        assert decode(closed.values[interval_key(START_MS)], Interval).closed
