"""The buying side: asks for what the household lacks, checks offers, countersigns them within its means.

Never over-committed: what is still lacking is counted without what binding contracts will bring, and the tokens
without what they will cost, over all hours in trading at once. The desk does no I/O and reads no clock. What it
returns may be sent once its contracts are synced.
"""

from dataclasses import dataclass
from typing import Final

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest
from contracts.state import Account, StateReader, account_key
from contracts.state_reading import require
from contracts.transactions import ENERGY_WH_MAX, SubmitTrade
from contracts.units import WH_PER_KWH, MicroTokens, MicroTokensPerKwh, Milliseconds, WattHours, contract_amount
from node.household.buyer_round import REQUEST_TIMEOUT_MS, BuyerRound, Surroundings
from node.household.interval import IntervalView, Supply
from node.household.offer_checks import Ask, OfferContext, OfferFault, PriceBounds, offer_fault
from node.household.promises import Promise, Promises, Slots
from node.mesh.messages import OfferDecline, OfferReply, OfferRequest

NOTHING: Final = WattHours(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An offer that was countersigned."""

    contract: Promise


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An offer that is not used."""

    fault: OfferFault
    decline: OfferDecline


class BuyerDesk:
    """One household's purchases."""

    def __init__(
        self, *, key: SigningKey, chain: Digest, prices: PriceBounds, contracts: Promises, first_request_id: int
    ) -> None:
        """Takes the contracts that still bind.

        Args:
            key: the node key, which signs contracts.
            chain: the chain's id.
            prices: what this household pays.
            contracts: this household's countersigned contracts, kept in its home.
            first_request_id: lowest number of a request, above those of before a restart.
        """
        self._key = key
        self._chain = chain
        self._prices = prices
        self._contracts = contracts
        self._next_request_id = first_request_id
        self._rounds: dict[Milliseconds, BuyerRound] = {}
        self._too_dear: set[Address] = set()
        self._mute: set[Address] = set()

    # --- asking --------------------------------------------------------------------------------------------

    def ask(self, view: IntervalView, state: StateReader, around: Surroundings) -> Ask | None:
        """Returns the next request of an open hour, None if there is nothing to ask now."""
        self._too_dear.difference_update(around.out_of_reach_ms)
        self._mute.difference_update(around.out_of_reach_ms)
        purchase = self._round(view.start_ms)
        purchase.forget_unreachable(around)
        self._drop_unanswered(purchase, around)
        wanted_wh = min(self._lacking_wh(view), self._affordable_wh(state))
        if purchase.ask is not None or wanted_wh <= 0:
            return None
        supply = purchase.next_seller(self._payable(view), self._bound(view.start_ms), around)
        if supply is None:
            return None
        purchase.ask = Ask(
            request_id=self._next_request_id,
            interval_start_ms=view.start_ms,
            buyer=self._key.address,
            seller=supply.seller,
            wanted_wh=WattHours(wanted_wh),
            available_wh=supply.available_wh,
            asked_ms=around.now_ms,
        )
        self._next_request_id += 1
        return purchase.ask

    def is_settled(self, view: IntervalView, state: StateReader, around: Surroundings) -> bool:
        """Says whether this household waits for nothing more in an open hour."""
        if view.closed or view.open_wh == 0:
            return True
        if self._contracts.of_interval(view.start_ms):
            return False
        if self._affordable_wh(state) == 0 and not self._contracts.binding() and not self._asks():
            return True
        return self._round(view.start_ms).is_over(self._payable(view), around)

    def has_no_hope(self, view: IntervalView) -> bool:
        """Says whether only a further reading can bring energy to a settled hour."""
        return view.closed or view.open_wh == 0 or not self._payable(view)

    def forget(self, start_ms: Milliseconds) -> None:
        """Drops what is known of an hour."""
        self._rounds.pop(start_ms, None)

    def _round(self, start_ms: Milliseconds) -> BuyerRound:
        purchase = self._rounds.get(start_ms)
        if purchase is None:
            purchase = BuyerRound(buyer=self._key.address, start_ms=start_ms, mute=self._mute)
            self._rounds[start_ms] = purchase
        return purchase

    def _payable(self, view: IntervalView) -> tuple[Supply, ...]:
        """Returns what is not known to be too dear. Asking binds the seller's energy until the offer expires, so a
        price is remembered: it is configured, and changes only by a restart, which breaks the link.
        """
        return tuple(supply for supply in view.supplies if supply.seller not in self._too_dear)

    def _drop_unanswered(self, purchase: BuyerRound, around: Surroundings) -> None:
        ask = purchase.ask
        if ask is not None and around.now_ms - ask.asked_ms >= REQUEST_TIMEOUT_MS:
            purchase.ask = None
            purchase.on_timeout(ask, around)

    def _lacking_wh(self, view: IntervalView) -> int:
        return view.open_wh - self._contracts.energy_wh(view.start_ms)

    def _bound(self, start_ms: Milliseconds) -> frozenset[Address]:
        return frozenset(contract.terms.seller for contract in self._contracts.of_interval(start_ms))

    def _asks(self) -> tuple[Ask, ...]:
        return tuple(purchase.ask for purchase in self._rounds.values() if purchase.ask is not None)

    def _affordable_wh(self, state: StateReader) -> int:
        """Returns what the uncommitted tokens buy at the highest price that this household pays."""
        highest = self._prices.highest_micro_per_kwh + self._prices.grid_fee_micro_per_kwh
        asked_micro = sum(contract_amount(ask.wanted_wh, MicroTokensPerKwh(highest)) for ask in self._asks())
        free_micro = self._free_micro(state) - asked_micro
        return max(0, free_micro * WH_PER_KWH // highest) if highest else ENERGY_WH_MAX

    def _free_micro(self, state: StateReader) -> MicroTokens:
        account = require(state, account_key(self._key.address), Account)
        return MicroTokens(
            account.available_micro - self._contracts.amount_micro(self._prices.grid_fee_micro_per_kwh)
        )

    # --- answers -------------------------------------------------------------------------------------------

    def request(self, ask: Ask) -> OfferRequest:
        """Returns the message of a request."""
        return OfferRequest(
            request_id=ask.request_id, interval_start_ms=ask.interval_start_ms, wanted_wh=ask.wanted_wh
        )

    def take(
        self, sender: Address, reply: OfferReply, state: StateReader, slots: Slots, around: Surroundings
    ) -> Accepted | Refused | None:
        """Takes a seller's answer.

        Returns:
            What became of its offer; None if it offers nothing or answers no outstanding request. An offer that
            comes too late is passed over: the seller sends the same one again when it is asked again.
        """
        purchase = self._asked(sender, reply.request_id)
        if purchase is None or purchase.ask is None:
            return None
        ask, purchase.ask = purchase.ask, None
        self._mute.discard(sender)
        if reply.terms is None or reply.seller_signature is None:
            if reply.free_wh or reply.reserved_wh:
                purchase.on_held(ask, around)
            else:
                purchase.on_empty(ask, around)
            return None
        context = OfferContext(ask=ask, chain=self._chain, prices=self._prices, state=state, slots=slots)
        fault = offer_fault(reply.terms, reply.seller_signature, context)
        if not self._contracts.may_sign(reply.terms.seller, reply.terms.offer_counter):
            fault = OfferFault.USED
        if fault is OfferFault.TOO_DEAR:
            self._too_dear.add(sender)
        if fault is not None:
            purchase.on_fault(ask, fault, around)
            return Refused(fault=fault, decline=OfferDecline(offer_counter=reply.terms.offer_counter))
        purchase.on_accepted(ask)
        contract = Promise(
            interval_start_ms=ask.interval_start_ms, terms=reply.terms, seller_signature=reply.seller_signature
        )
        self._contracts.add(contract)
        return Accepted(contract=contract)

    def _asked(self, sender: Address, request_id: int) -> BuyerRound | None:
        for purchase in self._rounds.values():
            if purchase.ask is not None and (purchase.ask.seller, purchase.ask.request_id) == (sender, request_id):
                return purchase
        return None

    # --- contracts -----------------------------------------------------------------------------------------

    def submissions(self, contract: Promise) -> tuple[SubmitTrade, ...]:
        """Returns what to submit for a contract, in this order: the contract with both signatures."""
        return (
            SubmitTrade(
                terms=contract.terms,
                seller_signature=contract.seller_signature,
                buyer_signature=self._key.sign(encode(contract.terms)),
            ),
        )

    def binding(self) -> tuple[Promise, ...]:
        """Returns the countersigned contracts that may still execute."""
        return self._contracts.binding()

    def refresh(self, state: StateReader, slots: Slots) -> None:
        """Forgets contracts that were executed or expired."""
        self._contracts.refresh(state, slots)

    def sync(self) -> None:
        """Makes all contracts durable."""
        self._contracts.sync()
