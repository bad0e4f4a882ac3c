"""Malicious sellers, and meters that lie."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Slot
from contracts.state import (
    Deficit,
    Member,
    Packet,
    StateReader,
    Trade,
    TradeStatus,
    deficit_key,
    member_key,
    packet_key,
    trade_key,
)
from contracts.state_reading import read, require
from contracts.transactions import (
    PublishReading,
    Reading,
    SubmitTrade,
    TradeTerms,
    gross_commitment,
    packet_id,
    trade_id,
)
from contracts.units import MS_PER_HOUR, Milliseconds, WattHours
from node.household.promises import Promise, Slots
from node.mesh.messages import OfferReply, OfferRequest, PeerMessage, Transactions
from tests.faults.tricks import NO_SIGNATURE, Answer, Trick, contracts_in

ALTERATION_WH: Final = 1_000
"""What an altered contract adds to the agreed energy."""

AGREED_NAME: Final = "agreed-contracts"
"""File in the home of a seller that never delivers: forward trades that both parties signed."""

AHEAD_SLOTS: Final = 20
"""A forward trade's expiry, at least, when it is submitted."""

SPARE_HOUR_MS: Final = Milliseconds(480_000 * MS_PER_HOUR)
"""An hour that no household's file has."""


class _SellerAlters(Trick):
    """Submits its first offer altered, under the buyer's name, before the buyer has the honest one."""

    def altered(self, terms: TradeTerms) -> TradeTerms:
        raise NotImplementedError

    def answer(
        self, buyer: Address, request: OfferRequest, honest: Answer, state: StateReader, slots: Slots
    ) -> OfferReply | None:
        reply = honest()
        if reply is not None and reply.terms is not None and not self.lies:
            altered = self.altered(reply.terms)
            own = self.signed(altered)  # it has no signature of the buyer, so its own stands in its place
            lie = SubmitTrade(terms=altered, seller_signature=own, buyer_signature=own)
            self.lie(lie, original=reply.terms)
        return reply


class SellerAltersEnergy(_SellerAlters):
    def altered(self, terms: TradeTerms) -> TradeTerms:
        return replace(terms, energy_wh=WattHours(terms.energy_wh + ALTERATION_WH))


class SellerAltersPrice(_SellerAlters):
    def altered(self, terms: TradeTerms) -> TradeTerms:
        return replace(terms, price_micro_per_kwh=self.desk.ledger.genesis.price_max_micro_per_kwh)


class SellsTwice(Trick):
    """Waits until two buyers ask for one packet, and offers all of it to both in one turn."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._asked: dict[Milliseconds, set[Address]] = {}
        self._sold: dict[Address, Promise] = {}

    def answer(
        self, buyer: Address, request: OfferRequest, honest: Answer, state: StateReader, slots: Slots
    ) -> OfferReply | None:
        start_ms = request.interval_start_ms
        sold = self._sold.get(buyer)
        if sold is not None and sold.interval_start_ms == start_ms and not self.is_done:
            return _offered(request, sold)  # again: the first one came too late
        if sold is not None or len(self._sold) == 2:
            return honest()
        if self._sold and start_ms != next(iter(self._sold.values())).interval_start_ms:
            return honest()
        packet = read(state, packet_key(packet_id(self.own, start_ms)), Packet)
        if packet is None or packet.available_wh >= 2 * request.wanted_wh:
            return honest()  # unknown yet, or enough for two
        asked = self._asked.setdefault(start_ms, set())
        deficits = [read(state, deficit_key(one, start_ms), Deficit) for one in asked]
        lacking_wh = [deficit.open_wh for deficit in deficits if deficit is not None]
        if buyer not in asked or len(lacking_wh) < 2:
            asked.add(buyer)
            return None  # the next turn asks for this one again, and for the other's as well
        return self._offer(buyer, request, min(packet.available_wh, *lacking_wh), state, slots)

    def _offer(
        self, buyer: Address, request: OfferRequest, energy_wh: int, state: StateReader, slots: Slots
    ) -> OfferReply:
        start_ms = request.interval_start_ms
        counter = self.seller._unused_counter(state)
        energy = WattHours(min(energy_wh, request.wanted_wh))
        promise = self.seller._sign(buyer, start_ms, energy, counter, slots)
        if not self._sold:
            self.seller._offers.add(promise)  # so that what is left is not sold a third time
        self._sold[buyer] = promise
        self.note("lie", trade=trade_id(promise.terms).hex())
        return _offered(request, promise)

    def has_ended(self, state: StateReader) -> bool:
        wanted = {trade_id(promise.terms) for promise in self._sold.values()}
        return len(wanted) == 2 and wanted <= {receipt.reference for receipt in self.receipts}


def _offered(request: OfferRequest, promise: Promise) -> OfferReply:
    return OfferReply(
        request_id=request.request_id,
        terms=promise.terms,
        seller_signature=promise.seller_signature,
        free_wh=WattHours(0),
        reserved_wh=promise.terms.energy_wh,
    )


class NeverDelivers(Trick):
    """Submits a forward trade that both parties signed, and never measures the hour of its window."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._contract: SubmitTrade | None = None

    def step(self, state: StateReader, slots: Slots) -> None:
        if self._contract is not None:
            return
        assert self.parts is not None
        for contract in agreed_contracts(self.parts.configuration.home.directory):
            if contract.terms.expiry_slot >= slots.latest + AHEAD_SLOTS:
                self._contract = contract
                self.fair(contract)
                self.note("promise", trade=trade_id(contract.terms).hex())
                return

    def has_ended(self, state: StateReader) -> bool:
        if self._contract is None:
            return False
        trade = read(state, trade_key(trade_id(self._contract.terms)), Trade)
        return trade is not None and trade.status is not TradeStatus.PENDING


def agreed_contracts(directory: Path) -> Sequence[SubmitTrade]:
    return [decode(bytes.fromhex(line), SubmitTrade) for line in (directory / AGREED_NAME).read_text().split()]


def write_agreed_contracts(
    directory: Path, terms: TradeTerms, *, seller: SigningKey, buyer: SigningKey, expiry_slots: Sequence[int]
) -> None:
    """Writes one contract per expiry slot: which one is used, the seller decides when the chain runs."""
    lines = []
    for counter, slot in enumerate(expiry_slots):
        one = replace(terms, offer_counter=counter, expiry_slot=Slot(slot))
        signed = encode(one)
        contract = SubmitTrade(terms=one, seller_signature=seller.sign(signed), buyer_signature=buyer.sign(signed))
        lines.append(encode(contract).hex())
    (directory / AGREED_NAME).write_text("\n".join(lines))


class _LyingMeter(Trick):
    """Publishes readings of an hour that is in nobody's file, so that its household's own hours stay as they are."""

    def reading(self, net_wh: int, *, key: SigningKey | None = None, shift_ms: int = 0) -> PublishReading:
        assert self.parts is not None
        reading = Reading(
            chain=self.desk.chain,
            meter=self.own,
            interval_start_ms=Milliseconds(SPARE_HOUR_MS + shift_ms),
            net_wh=WattHours(net_wh),
            source="solar",
            gross_commitment=gross_commitment(bytes(32), WattHours(0), WattHours(net_wh)),
        )
        signer = self.parts.identity.meter_key if key is None else key
        return PublishReading(reading=reading, meter_signature=signer.sign(encode(reading)))

    def lying_reading(self, state: StateReader) -> PublishReading:
        raise NotImplementedError

    def step(self, state: StateReader, slots: Slots) -> None:
        if not self.lies:
            self.lie(self.lying_reading(state))
        elif self.are_decided(self.lies) and not self.originals:
            self.originals.add(packet_id(self.own, SPARE_HOUR_MS))
            self.fair(self.reading(700))


class ReadingsUnsigned(_LyingMeter):
    def lying_reading(self, state: StateReader) -> PublishReading:
        return self.reading(5_000, key=self.key)


class ReadingsAboveCapacity(_LyingMeter):
    def lying_reading(self, state: StateReader) -> PublishReading:
        return self.reading(require(state, member_key(self.own), Member).capacity_w + 1)


class ReadingsOverlap(_LyingMeter):
    """Its hour is decided; then comes the same hour with more energy, and the time from half of it on."""

    def step(self, state: StateReader, slots: Slots) -> None:
        credited = packet_id(self.own, SPARE_HOUR_MS)
        if not self.originals:
            self.originals.add(credited)
            self.fair(self.reading(700))
        elif not self.lies and credited in self.executed():
            self.lie(self.reading(900))
            self.lie(self.reading(800, shift_ms=MS_PER_HOUR // 2))


class FramesBuyer(Trick):
    """Hears the contract that a buyer countersigned, and submits it with its own signature spoilt."""

    def heard(self, sender: Address, message: PeerMessage) -> None:
        if not isinstance(message, Transactions) or self.lies:
            return
        for contract in contracts_in(message.raw):
            if contract.terms.seller == self.own:
                self.lie(replace(contract, seller_signature=NO_SIGNATURE), original=contract.terms)
                return


class RacesAlteredCopy(Trick):
    """Hears the contract of two others, and races it with a copy that has their signatures and more energy."""

    def heard(self, sender: Address, message: PeerMessage) -> None:
        if not isinstance(message, Transactions) or self.lies:
            return
        for contract in contracts_in(message.raw):
            if self.own not in (contract.terms.seller, contract.terms.buyer):
                more = replace(contract.terms, energy_wh=WattHours(contract.terms.energy_wh + ALTERATION_WH))
                self.lie(replace(contract, terms=more), original=contract.terms)
                return
