"""The selling side: answers requests with signed offers, never promising more than is free.

Free is what the ledger shows available in the hour's packet less what signed offers bind (`promises.py`). The
desk does no I/O and reads no clock: it is handed the newest state and the slots. What it answers may be sent
once its promises are synced.
"""

from dataclasses import dataclass
from typing import Final

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest, Slot
from contracts.state import Deficit, Interval, Packet, StateReader, deficit_key, interval_key, offer_key, packet_key
from contracts.state_reading import read
from contracts.transactions import SpotTerms, packet_id
from contracts.units import MicroTokensPerKwh, Milliseconds, WattHours
from node.household.interval import Admission, read_admission
from node.household.promises import OFFER_LIFETIME_SLOTS, Promise, Promises, Slots
from node.mesh.messages import OfferReply, OfferRequest
from qscore.parameters import ScoreParameters

OFFERS_MAX: Final = 4_096
"""Binding offers at once; beyond it nothing is offered. Bounds memory: about 1 KB each."""

NOTHING: Final = WattHours(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerTerms:
    """What every offer of this household says."""

    chain: Digest
    price_micro_per_kwh: MicroTokensPerKwh
    scores: ScoreParameters
    """When the chain declines every trade of a member."""


class SellerDesk:
    """One household's offers."""

    def __init__(self, *, key: SigningKey, terms: SellerTerms, offers: Promises, first_counter: int) -> None:
        """Takes the offers that still bind.

        Args:
            key: the node key, which signs offers.
            terms: what every offer says.
            offers: this household's signed offers, kept in its home: their highest counter makes counters
                unique across restarts.
            first_counter: lowest counter to use. A wall clock in milliseconds, so that counters stay unique
                even where that file was lost; the chain's own record of used ones is asked as well.
        """
        self._key = key
        self._terms = terms
        self._offers = offers
        self._next_counter = max(first_counter, offers.highest_counter(key.address) + 1)
        self._declined: set[int] = set()

    def answer(self, buyer: Address, request: OfferRequest, state: StateReader, slots: Slots) -> OfferReply | None:
        """Returns the answer to a neighbour.

        Args:
            buyer: who asks, as its certificate shows.
            request: what it asks for.
            state: the newest state; the offers were refreshed by it.
            slots: where the chain is.

        Returns:
            The answer; None if this ledger does not know the hour's readings of both yet: ask again after the
            next block. Whoever asks has usually applied a block some milliseconds earlier.
        """
        start_ms = request.interval_start_ms
        interval = read(state, interval_key(start_ms), Interval)
        if interval is None or not {self._key.address, buyer} <= set(interval.meters):
            return None
        packet = read(state, packet_key(packet_id(self._key.address, start_ms)), Packet)
        admission = read_admission(state, scores=self._terms.scores, slot=slots.tip)
        if packet is None or interval.closed or not admission.may_sell(state, self._key.address):
            return _reply(request, free_wh=NOTHING, reserved_wh=NOTHING)
        reserved = self._offers.energy_wh(start_ms)
        free = WattHours(max(NOTHING, packet.available_wh - reserved))
        offer = self._offer_to(buyer, request, free, state, slots, admission)
        if offer is None:
            return _reply(request, free_wh=free, reserved_wh=reserved)
        reserved = self._offers.energy_wh(start_ms)
        free = WattHours(max(NOTHING, packet.available_wh - reserved))
        return _reply(request, offer=offer, free_wh=free, reserved_wh=reserved)

    def put_off(self, request: OfferRequest, net_wh: WattHours | None) -> OfferReply:
        """Returns the answer while the ledger lacks a reading of the hour: what will be credited is not free yet.

        Args:
            request: what a neighbour asks for.
            net_wh: this household's own net of the hour, None if it measures no such hour.
        """
        return _reply(request, free_wh=NOTHING, reserved_wh=WattHours(max(NOTHING, net_wh or NOTHING)))

    def decline(self, buyer: Address, offer_counter: int) -> None:
        """Notes that a buyer will not use an offer. It still binds until it expires, as the buyer could."""
        offer = self._offers.find(self._key.address, offer_counter)
        if offer is not None and offer.terms.buyer == buyer:
            self._declined.add(offer_counter)

    def refresh(self, state: StateReader, slots: Slots) -> None:
        """Forgets offers that were executed or expired."""
        self._offers.refresh(state, slots)
        self._declined = {
            counter for counter in self._declined if self._offers.find(self._key.address, counter) is not None
        }

    def sync(self) -> None:
        """Makes all offers durable."""
        self._offers.sync()

    def _offer_to(
        self,
        buyer: Address,
        request: OfferRequest,
        free_wh: WattHours,
        state: StateReader,
        slots: Slots,
        admission: Admission,
    ) -> Promise | None:
        """Returns the offer that already binds to this buyer if it fits, else a new one; None if there is none."""
        start_ms = request.interval_start_ms
        for offer in self._offers.of_interval(start_ms):
            if offer.terms.buyer == buyer:
                fits = offer.terms.energy_wh <= request.wanted_wh
                return offer if fits and offer.terms.offer_counter not in self._declined else None
        deficit = read(state, deficit_key(buyer, start_ms), Deficit)
        lacking_wh = NOTHING if deficit is None else deficit.open_wh
        energy_wh = WattHours(min(request.wanted_wh, free_wh, lacking_wh))
        if energy_wh <= 0 or len(self._offers.binding()) >= OFFERS_MAX:
            return None
        if not admission.may_trade(state, buyer):
            return None
        offer = self._sign(buyer, start_ms, energy_wh, self._unused_counter(state), slots)
        self._offers.add(offer)
        return offer

    def _unused_counter(self, state: StateReader) -> int:
        counter = self._next_counter
        while state.get(offer_key(self._key.address, counter)) is not None:
            counter += 1
        self._next_counter = counter + 1
        return counter

    def _sign(
        self, buyer: Address, start_ms: Milliseconds, energy_wh: WattHours, counter: int, slots: Slots
    ) -> Promise:
        own = self._key.address
        terms = SpotTerms(
            chain=self._terms.chain,
            offer_counter=counter,
            seller=own,
            buyer=buyer,
            energy_wh=energy_wh,
            price_micro_per_kwh=self._terms.price_micro_per_kwh,
            packets=(packet_id(own, start_ms),),
            origin_meter=own,
            destination_meter=buyer,
            expiry_slot=Slot(slots.latest + OFFER_LIFETIME_SLOTS),
        )
        return Promise(interval_start_ms=start_ms, terms=terms, seller_signature=self._key.sign(encode(terms)))


def _reply(
    request: OfferRequest, *, free_wh: WattHours, reserved_wh: WattHours, offer: Promise | None = None
) -> OfferReply:
    return OfferReply(
        request_id=request.request_id,
        terms=None if offer is None else offer.terms,
        seller_signature=None if offer is None else offer.seller_signature,
        free_wh=free_wh,
        reserved_wh=reserved_wh,
    )
