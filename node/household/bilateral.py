"""The bilateral market: homes ask each other for what they lack, and bring countersigned offers to the chain."""

from collections.abc import Collection, Iterable

from consensus.identifiers import Address, Digest, Height
from contracts.receipts import Status
from contracts.transactions import SubmitTrade, trade_id
from contracts.units import MicroTokensPerKwh, Milliseconds
from node.errors import ConfigurationError
from node.household.attendance import Attendance
from node.household.buyer import BuyerDesk, Refused
from node.household.buyer_round import Surroundings
from node.household.interval import Admission, IntervalView, read_admission, read_interval
from node.household.market_design import MarketParts, MarketTurn, Moment
from node.household.offer_checks import PriceBounds
from node.household.offer_inbox import HELD_MS_MAX, Letter, OfferInbox
from node.household.own_transactions import Ending
from node.household.promises import OFFER_LIFETIME_SLOTS, UNDECIDED_SLOTS, Slots
from node.household.seller import SellerDesk, SellerTerms
from node.logs import get_logger
from node.mesh.messages import MarketMessage, OfferDecline, OfferReply, OfferRequest


def bilateral_market(parts: MarketParts) -> "BilateralMarket":
    """Returns the market of an honest household.

    Raises:
        ConfigurationError: its price is one at which the chain declines every trade.
    """
    return BilateralMarket(
        parts,
        seller=SellerDesk(
            key=parts.key, terms=seller_terms(parts), offers=parts.offers, first_counter=parts.first_number
        ),
        buyer=BuyerDesk(
            key=parts.key,
            chain=parts.chain,
            prices=price_bounds(parts),
            contracts=parts.contracts,
            first_request_id=parts.first_number,
        ),
    )


def seller_terms(parts: MarketParts) -> SellerTerms:
    """Returns what this household's offers say.

    Raises:
        ConfigurationError: its price is one at which the chain declines every trade.
    """
    genesis, price = parts.ledger.genesis, parts.prices.sell_micro_per_kwh
    lowest, highest = genesis.price_min_micro_per_kwh, genesis.price_max_micro_per_kwh
    if not lowest <= price <= highest:
        raise ConfigurationError(f"[price] sell_micro_per_kwh is {price}; this chain allows {lowest} to {highest}")
    return SellerTerms(
        chain=parts.chain,
        price_micro_per_kwh=MicroTokensPerKwh(price),
        scores=genesis.scores,
    )


def price_bounds(parts: MarketParts) -> PriceBounds:
    """Returns what this household pays: within the chain's bounds, and not more than it wants to."""
    genesis = parts.ledger.genesis
    highest = min(genesis.price_max_micro_per_kwh, parts.prices.buy_max_micro_per_kwh)
    return PriceBounds(
        lowest_micro_per_kwh=genesis.price_min_micro_per_kwh,
        highest_micro_per_kwh=MicroTokensPerKwh(highest),
        grid_fee_micro_per_kwh=genesis.grid_fee_micro_per_kwh,
    )


class BilateralMarket:
    """A `Market` whose seller answers and whose buyer asks."""

    def __init__(self, parts: MarketParts, *, seller: SellerDesk, buyer: BuyerDesk) -> None:
        """Takes what deals with the neighbours."""
        self._address = parts.key.address
        self._ledger = parts.ledger
        self._transactions = parts.transactions
        self._net_wh = parts.net_wh
        self._grace_ms = parts.grace_ms
        self._seller = seller
        self._buyer = buyer
        self._attendance = Attendance(grace_ms=parts.grace_ms)
        self._inbox = OfferInbox()
        self._out_of_reach_since_ms: dict[Address, int] = {}
        self._declined: set[Digest] = set()
        self._views: dict[Milliseconds, IntervalView] = {}
        self._admission = self._read_admission()
        self._live: dict[Milliseconds, None] = {}
        """Hours with something to decide; the others are parked until a further reading comes."""
        self._unsettled: set[Milliseconds] = set()
        self._height: Height | None = None
        self._log = get_logger("meter")

    # --- what comes in -------------------------------------------------------------------------------------

    def receive(self, sender: Address, message: MarketMessage, now_ms: int) -> None:
        """Keeps a neighbour's message for the next turn; dropped if that neighbour sends too much."""
        if not self._inbox.put(Letter(sender=sender, message=message, arrived_ms=now_ms)):
            self._log.debug("message dropped", sender=sender.hex())

    def on_reading(self, start_ms: Milliseconds) -> None:
        """Looks at an hour (again) from the next turn on."""
        self._live[start_ms] = None

    def on_ending(self, ending: Ending) -> None:
        """Notes a contract that was declined, which would be declined again; one that was lost is submitted again."""
        action, receipt = ending.transaction.envelope.action, ending.receipt
        if isinstance(action, SubmitTrade) and receipt is not None and receipt.status is Status.DECLINED:
            self._declined.add(trade_id(action.terms))

    # --- what comes out ------------------------------------------------------------------------------------

    def turn(self, moment: Moment) -> MarketTurn:
        """Deals with the messages, asks for what is lacking, and says which contracts the chain must see."""
        slots = Slots(tip=self._ledger.tip_slot, present=moment.present_slot)
        self._seller.refresh(self._ledger, slots)
        self._buyer.refresh(self._ledger, slots)
        if self._height != self._ledger.height:
            self._height = self._ledger.height
            self._views.clear()
            self._admission = self._read_admission()
        around = self._surroundings(moment)
        messages = (*self._deal(slots, around), *self._ask(around))
        return MarketTurn(messages=messages, actions=tuple(self._contracts(slots)))

    @property
    def unsettled(self) -> Collection[Milliseconds]:
        """Hours in which this household still lacks energy that somebody may have, or waits for somebody."""
        return self._unsettled

    def sync(self) -> None:
        """Makes all offers and contracts durable."""
        self._seller.sync()
        self._buyer.sync()

    # --- trading -------------------------------------------------------------------------------------------

    def _read_admission(self) -> Admission:
        return read_admission(self._ledger, scores=self._ledger.genesis.scores, slot=self._ledger.tip_slot)

    def _view(self, start_ms: Milliseconds) -> IntervalView:
        view = self._views.get(start_ms)
        if view is None:
            view = read_interval(self._ledger, self._address, start_ms, admission=self._admission)
            self._views[start_ms] = view
        return view

    def _deal(self, slots: Slots, around: Surroundings) -> Iterable[tuple[Address, MarketMessage]]:
        """Deals with the neighbours' messages in their order."""
        for letter in self._inbox.take():
            sender = letter.sender
            match letter.message:
                case OfferDecline(offer_counter=offer_counter):
                    self._seller.decline(sender, offer_counter)
                case OfferRequest() as request:
                    reply = self._seller.answer(sender, request, self._ledger, slots)
                    if reply is None and around.now_ms - letter.arrived_ms < HELD_MS_MAX:
                        self._inbox.hold(letter)
                        continue
                    yield sender, reply or self._put_off(request)
                case OfferReply() as reply:
                    outcome = self._buyer.take(sender, reply, self._ledger, slots, around)
                    if isinstance(outcome, Refused):
                        self._log.info("offer refused", seller=sender.hex(), fault=outcome.fault.value)
                        yield sender, outcome.decline

    def _put_off(self, request: OfferRequest) -> OfferReply:
        return self._seller.put_off(request, self._net_wh(request.interval_start_ms))

    def _ask(self, around: Surroundings) -> Iterable[tuple[Address, MarketMessage]]:
        """Asks for what is lacking in each live hour that is open, and parks those in which nothing is left."""
        for start_ms in sorted(self._live):
            view = self._view(start_ms)
            if not (view.closed or self._attendance.is_open(view, self._admission.members, around.now_ms)):
                self._unsettled.add(start_ms)
                continue
            ask = self._buyer.ask(view, self._ledger, around)
            if ask is not None:
                yield ask.seller, self._buyer.request(ask)
            self._note_settled(view, around)

    def _note_settled(self, view: IntervalView, around: Surroundings) -> None:
        if not self._buyer.is_settled(view, self._ledger, around):
            self._unsettled.add(view.start_ms)
            return
        self._unsettled.discard(view.start_ms)
        if self._buyer.has_no_hope(view):
            del self._live[view.start_ms]
            self._buyer.forget(view.start_ms)
            self._attendance.forget(view.start_ms)

    def _surroundings(self, moment: Moment) -> Surroundings:
        since_ms = self._out_of_reach_since_ms
        for member in self._admission.members:
            if member == self._address or member in moment.connected:
                since_ms.pop(member, None)
            else:
                since_ms.setdefault(member, moment.now_ms)
        offer_ms = (OFFER_LIFETIME_SLOTS + UNDECIDED_SLOTS) * self._ledger.genesis.slot_duration_ms
        return Surroundings(
            now_ms=moment.now_ms,
            height=self._ledger.height,
            out_of_reach_ms={member: moment.now_ms - since for member, since in since_ms.items()},
            grace_ms=self._grace_ms,
            patience_ms=2 * offer_ms,
        )

    def _contracts(self, slots: Slots) -> Iterable[SubmitTrade]:
        """Yields each contract that has no transaction on its way: a new one, or one that was lost."""
        contracts = {trade_id(contract.terms): contract for contract in self._buyer.binding()}
        self._declined &= contracts.keys()
        if not contracts:
            return
        on_the_way = {
            trade_id(transaction.envelope.action.terms)
            for transaction in self._transactions.waiting()
            if isinstance(transaction.envelope.action, SubmitTrade)
        }
        for trade, contract in contracts.items():
            if trade not in on_the_way | self._declined and contract.terms.expiry_slot > slots.latest:
                yield from self._buyer.submissions(contract)
