"""The paper's two use cases: a malicious seller and a malicious buyer, each lying once.

Both get an altered contract out before the original and then act honestly. Everything but the lie is the
product's own desk.
"""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from consensus.codec import encode
from consensus.identifiers import Address
from contracts.state import StateReader
from contracts.transactions import SubmitTrade
from contracts.units import WattHours
from node.buyer import BuyerDesk
from node.household import Desks
from node.meter_agent import DeskParts, DesksFactory, make_desks, price_bounds, seller_terms
from node.peer_messages import OfferReply, OfferRequest
from node.promises import Promise, Slots
from node.seller import SellerDesk

ALTERATION_WH: Final = 1_000
"""What an altered contract adds to the agreed energy."""


class LyingSeller(SellerDesk):
    """Submits its first offer with more energy at the highest price, under the buyer's name, before the buyer
    gets the honest offer. It does not have the buyer's signature, so it puts its own in its place.
    """

    def __init__(self, parts: DeskParts) -> None:
        super().__init__(
            key=parts.key, terms=seller_terms(parts), offers=parts.offers, first_counter=parts.first_number
        )
        self._own_key = parts.key
        self._transactions = parts.transactions
        self._price_max = parts.genesis.price_max_micro_per_kwh
        self._has_lied = False

    def answer(self, buyer: Address, request: OfferRequest, state: StateReader, slots: Slots) -> OfferReply | None:
        reply = super().answer(buyer, request, state, slots)
        if reply is not None and reply.terms is not None and not self._has_lied:
            self._has_lied = True
            altered = replace(
                reply.terms,
                energy_wh=WattHours(reply.terms.energy_wh + ALTERATION_WH),
                price_micro_per_kwh=self._price_max,
            )
            signature = self._own_key.sign(encode(altered))
            self._transactions.sign(SubmitTrade(terms=altered, seller_signature=signature, buyer_signature=signature))
        return reply


class LyingBuyer(BuyerDesk):
    """Submits its first contract with more energy than the seller signed for, and only then the original."""

    def __init__(self, parts: DeskParts) -> None:
        super().__init__(
            key=parts.key,
            chain=parts.chain,
            prices=price_bounds(parts),
            contracts=parts.contracts,
            first_request_id=parts.first_number,
        )
        self._own_key = parts.key
        self._has_lied = False

    def submissions(self, contract: Promise) -> tuple[SubmitTrade, ...]:
        honest = super().submissions(contract)
        if self._has_lied:
            return honest
        self._has_lied = True
        terms = contract.terms
        altered = replace(terms, energy_wh=WattHours(terms.energy_wh + ALTERATION_WH))
        lie = SubmitTrade(
            terms=altered,
            seller_signature=contract.seller_signature,
            buyer_signature=self._own_key.sign(encode(altered)),
        )
        return (lie, *honest)


def lying_seller(parts: DeskParts) -> Desks:
    return Desks(seller=LyingSeller(parts), buyer=make_desks(parts).buyer)


def lying_buyer(parts: DeskParts) -> Desks:
    return Desks(seller=make_desks(parts).seller, buyer=LyingBuyer(parts))


BEHAVIOURS: Final[Mapping[str, DesksFactory]] = {"lying-seller": lying_seller, "lying-buyer": lying_buyer}
