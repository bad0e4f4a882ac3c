"""What a buyer checks in an offer before it signs: every field of the terms, the price, and who signed."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from consensus.codec import encode
from consensus.cryptography import verify
from consensus.identifiers import Address, Digest, Signature
from contracts.state import Member, StateReader, member_key, offer_key
from contracts.state_reading import read
from contracts.transactions import SpotTerms, packet_id
from contracts.units import MicroTokensPerKwh, Milliseconds, WattHours
from node.household.promises import OFFER_LIFETIME_SLOTS, Slots

REMAINING_SLOTS_MIN: Final = 4
"""Time to reach a block: an offer that expires sooner is asked for again, rather than declined on the chain."""

REMAINING_SLOTS_MAX: Final = 4 * OFFER_LIFETIME_SLOTS
"""A countersigned contract binds the buyer's tokens until it expires, so a seller may not choose it freely."""


class OfferFault(Enum):
    """Why an offer is not accepted."""

    NOT_ASKED = "not_asked"
    WRONG_CHAIN = "wrong_chain"
    WRONG_PARTY = "wrong_party"
    WRONG_ROUTE = "wrong_route"
    WRONG_PACKETS = "wrong_packets"
    TOO_MUCH_ENERGY = "too_much_energy"
    BAD_SIGNATURE = "bad_signature"
    PRICE_BELOW_BOUND = "price_below_bound"
    TOO_DEAR = "too_dear"
    BAD_EXPIRY = "bad_expiry"
    USED = "used"
    """Its offer id has executed: the seller's ledger is behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """An outstanding request of a buyer."""

    request_id: int
    interval_start_ms: Milliseconds
    buyer: Address
    seller: Address
    wanted_wh: WattHours
    available_wh: WattHours
    """What the buyer's ledger showed in the seller's packet; it only falls."""
    asked_ms: int
    """Monotonic clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBounds:
    """What a buyer pays."""

    lowest_micro_per_kwh: MicroTokensPerKwh
    """The chain declines contracts below."""
    highest_micro_per_kwh: MicroTokensPerKwh
    """The lower one of the chain's bound and this household's own."""
    grid_fee_micro_per_kwh: MicroTokensPerKwh
    """What the chain takes from the buyer besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferContext:
    """What an offer is held against."""

    ask: Ask
    chain: Digest
    prices: PriceBounds
    state: StateReader
    slots: Slots


def offer_fault(terms: SpotTerms, signature: Signature, context: OfferContext) -> OfferFault | None:
    """Returns the first fault of an offer, None if it is to be accepted."""
    for check in CHECKS:
        fault = check(terms, context)
        if fault is not None:
            return fault
    seller = read(context.state, member_key(terms.seller), Member)
    if seller is None or not verify(seller.node_key, encode(terms), signature):
        return OfferFault.BAD_SIGNATURE
    return None


def _check_names(terms: SpotTerms, context: OfferContext) -> OfferFault | None:
    ask = context.ask
    if terms.chain != context.chain:
        return OfferFault.WRONG_CHAIN
    if (terms.seller, terms.buyer) != (ask.seller, ask.buyer):
        return OfferFault.WRONG_PARTY
    if (terms.origin_meter, terms.destination_meter) != (ask.seller, ask.buyer):
        return OfferFault.WRONG_ROUTE
    if terms.packets != (packet_id(ask.seller, ask.interval_start_ms),):
        return OfferFault.WRONG_PACKETS
    return None


def _check_energy(terms: SpotTerms, context: OfferContext) -> OfferFault | None:
    most_wh = min(context.ask.wanted_wh, context.ask.available_wh)
    return OfferFault.TOO_MUCH_ENERGY if terms.energy_wh > most_wh else None


def _check_price(terms: SpotTerms, context: OfferContext) -> OfferFault | None:
    if terms.price_micro_per_kwh > context.prices.highest_micro_per_kwh:
        return OfferFault.TOO_DEAR
    if terms.price_micro_per_kwh < context.prices.lowest_micro_per_kwh:
        return OfferFault.PRICE_BELOW_BOUND
    return None


def _check_unused(terms: SpotTerms, context: OfferContext) -> OfferFault | None:
    used = context.state.get(offer_key(terms.seller, terms.offer_counter))
    return None if used is None else OfferFault.USED


def _check_expiry(terms: SpotTerms, context: OfferContext) -> OfferFault | None:
    remaining = terms.expiry_slot - context.slots.latest
    return None if REMAINING_SLOTS_MIN <= remaining <= REMAINING_SLOTS_MAX else OfferFault.BAD_EXPIRY


CHECKS: Final[tuple[Callable[[SpotTerms, OfferContext], OfferFault | None], ...]] = (
    _check_names,
    _check_unused,
    _check_energy,
    _check_price,
    _check_expiry,
)
"""In this order; the signature comes last, as the dear one."""
