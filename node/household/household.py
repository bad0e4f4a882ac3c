"""The decisions of a household's meter and trader: measure, publish, sell, buy. No I/O, no clock, no waiting.

`turn` looks at the ledger's newest state and at the messages that came, and returns what to send and to submit.
Everything in a `Turn` is durable already (salts, offers, contracts, transactions), so the law *persist, sync,
then send* is kept by its type. State is the truth: a turn may be skipped, repeated or come late.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from consensus.identifiers import Address, Digest, Height, Slot
from contracts.genesis import Genesis
from contracts.receipts import Status
from contracts.state import MEMBER_LIST_KEY, MemberList, StateReader
from contracts.state_reading import require
from contracts.transactions import PublishReading, ReportMisconduct, SubmitTrade, decode_transaction, trade_id
from contracts.units import Milliseconds
from ledger.block import Block
from node.household.attendance import Attendance
from node.household.buyer import BuyerDesk, Refused
from node.household.buyer_round import Surroundings
from node.household.interval import Admission, IntervalView, read_interval
from node.household.offer_inbox import HELD_MS_MAX, Letter, OfferInbox
from node.household.own_transactions import DecidedTransactions, Ending, OwnTransaction, OwnTransactions
from node.household.promises import OFFER_LIFETIME_SLOTS, UNDECIDED_SLOTS, Slots
from node.household.seller import SellerDesk
from node.logs import get_logger
from node.mesh.messages import OfferDecline, OfferReply, OfferRequest, PeerMessage
from node.meter.meter import Meter

CATCH_UP_HOURS: Final = 64
"""Missed hours in progress at once, more than a window's, so that a meter that was down soon catches up."""

BLOCKS_LOOKED_THROUGH_MAX: Final = 256
"""Blocks read for late readings; after a longer gap every hour is looked at instead."""


class HouseholdLedger(DecidedTransactions, StateReader, Protocol):
    """What a household reads of its ledger."""

    @property
    def genesis(self) -> Genesis:
        """The chain's parameters."""
        ...

    @property
    def tip_slot(self) -> Slot:
        """Slot of the last decided block."""
        ...

    def decided_block(self, height: Height) -> Block:
        """Returns the block of a decided height."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a turn knows beyond the ledger and the messages."""

    now_ms: int
    """Monotonic clock."""
    present_slot: Slot
    connected: frozenset[Address]
    """Members that can be sent to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What may leave the node now."""

    messages: tuple[tuple[Address, PeerMessage], ...]
    transactions: tuple[OwnTransaction, ...]
    """All that are not decided yet, in the order of nonces; most are in the mempool already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a household has come."""

    total: int
    published: int
    settled: int

    @property
    def is_finished(self) -> bool:
        """All hours are published and settled."""
        return self.published == self.total == self.settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Desks:
    """What deals with the neighbours."""

    seller: SellerDesk
    buyer: BuyerDesk


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a household goes through its hours."""

    window_hours: int
    """Hours that may be unsettled at once."""
    grace_ms: int
    """How long an hour waits for somebody."""


@dataclass(slots=True)
class _Hours:
    """Where each hour of this run stands; a decided hour is live, or parked until a further reading comes."""

    undecided: dict[Milliseconds, None] = field(default_factory=dict)
    live: dict[Milliseconds, None] = field(default_factory=dict)
    unsettled: set[Milliseconds] = field(default_factory=set)


class Household:
    """One household on the market."""

    def __init__(
        self,
        *,
        address: Address,
        ledger: HouseholdLedger,
        meter: Meter,
        transactions: OwnTransactions,
        desks: Desks,
        pace: Pace,
    ) -> None:
        """Looks up in the ledger which hours are published already."""
        self._address = address
        self._ledger = ledger
        self._meter = meter
        self._transactions = transactions
        self._seller = desks.seller
        self._buyer = desks.buyer
        self._pace = pace
        self._attendance = Attendance(grace_ms=pace.grace_ms)
        self._inbox = OfferInbox()
        self._out_of_reach_since_ms: dict[Address, int] = {}
        self._declined: set[Digest] = set()
        self._reports: list[ReportMisconduct] = []
        self._views: dict[Milliseconds, IntervalView] = {}
        self._members: tuple[Address, ...] = ()
        self._hours = _Hours(undecided=dict.fromkeys(meter.hours))
        self._height: Height | None = None
        self._log = get_logger("meter")

    # --- what comes in and goes out ------------------------------------------------------------------------

    def receive(self, sender: Address, message: OfferRequest | OfferReply | OfferDecline, now_ms: int) -> None:
        """Keeps a neighbour's message for the next turn; dropped if that neighbour sends too much."""
        if not self._inbox.put(Letter(sender=sender, message=message, arrived_ms=now_ms)):
            self._log.debug("message dropped", sender=sender.hex())

    def report(self, action: ReportMisconduct) -> None:
        """Keeps a proof of misconduct for the next turn, which signs it unless it is on its way to the chain."""
        self._reports.append(action)

    def turn(self, moment: Moment) -> Turn:
        """Decides everything that can be decided now."""
        slots = Slots(tip=self._ledger.tip_slot, present=moment.present_slot)
        self._seller.refresh(self._ledger, slots)
        self._buyer.refresh(self._ledger, slots)
        if self._height != self._ledger.height:
            self._look_at_chain()
        around = self._surroundings(moment)
        messages = [*self._deal(slots, around), *self._ask(around)]
        self._publish()
        self._submit_contracts(slots)
        self._submit_reports()
        for durable in (self._meter, self._seller, self._buyer, self._transactions):
            durable.sync()
        reachable = [(to, message) for to, message in messages if to in moment.connected]
        return Turn(messages=tuple(reachable), transactions=tuple(self._transactions.waiting()))

    def progress(self) -> Progress:
        """Returns how far the last turn came."""
        total = len(self._meter.hours)
        published = total - len(self._hours.undecided)
        return Progress(total=total, published=published, settled=published - len(self._hours.unsettled))

    # --- the chain -----------------------------------------------------------------------------------------

    def _look_at_chain(self) -> None:
        """Takes in what was decided since the last look."""
        before, self._height = self._height, self._ledger.height
        self._views.clear()
        self._members = require(self._ledger, MEMBER_LIST_KEY, MemberList).addresses
        for ending in self._transactions.follow():
            self._on_ending(ending)
        for start_ms in self._hours_touched(before):
            if start_ms in self._hours.undecided:
                if self._address in self._view(start_ms).meters:
                    self._on_published(start_ms)
            elif self._meter.net_wh(start_ms) is not None:
                self._hours.live[start_ms] = None

    def _hours_touched(self, before: Height | None) -> Iterable[Milliseconds]:
        """Returns the hours that had a reading since a height: all, if that is unknown or long ago."""
        if before is None or self._ledger.height - before > BLOCKS_LOOKED_THROUGH_MAX:
            return self._meter.hours
        heights = range(before + 1, self._ledger.height + 1)
        return dict.fromkeys(start_ms for height in heights for start_ms in self._hours_read(Height(height)))

    def _hours_read(self, height: Height) -> Iterable[Milliseconds]:
        for raw in self._ledger.decided_block(height).transactions:
            action = decode_transaction(raw).envelope.action
            if isinstance(action, PublishReading):
                yield action.reading.interval_start_ms

    def _on_ending(self, ending: Ending) -> None:
        """Logs what went wrong. What was lost is signed again, as its hour or contract is still undone."""
        action, receipt = ending.transaction.envelope.action, ending.receipt
        if receipt is None or receipt.status is Status.EXECUTED or isinstance(action, ReportMisconduct):
            return  # of a proof, another member's report may have come first
        self._log.warning("declined", reason=receipt.reason.value, detail=receipt.detail)
        if isinstance(action, SubmitTrade):
            self._declined.add(trade_id(action.terms))
        elif isinstance(action, PublishReading) and action.reading.interval_start_ms in self._hours.undecided:
            self._on_published(action.reading.interval_start_ms)  # it would be declined again

    def _on_published(self, start_ms: Milliseconds) -> None:
        del self._hours.undecided[start_ms]
        self._hours.live[start_ms] = None
        self._hours.unsettled.add(start_ms)

    def _view(self, start_ms: Milliseconds) -> IntervalView:
        view = self._views.get(start_ms)
        if view is None:
            admission = Admission(scores=self._ledger.genesis.scores, slot=self._ledger.tip_slot)
            view = read_interval(self._ledger, self._address, start_ms, admission=admission)
            self._views[start_ms] = view
        return view

    # --- trading -------------------------------------------------------------------------------------------

    def _deal(self, slots: Slots, around: Surroundings) -> Iterable[tuple[Address, PeerMessage]]:
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
        return self._seller.put_off(request, self._meter.net_wh(request.interval_start_ms))

    def _ask(self, around: Surroundings) -> Iterable[tuple[Address, PeerMessage]]:
        """Asks for what is lacking in each live hour that is open, and parks those in which nothing is left."""
        for start_ms in sorted(self._hours.live):
            view = self._view(start_ms)
            if not (view.closed or self._attendance.is_open(view, self._members, around.now_ms)):
                self._hours.unsettled.add(start_ms)
                continue
            ask = self._buyer.ask(view, self._ledger, around)
            if ask is not None:
                yield ask.seller, self._buyer.request(ask)
            self._note_settled(view, around)

    def _note_settled(self, view: IntervalView, around: Surroundings) -> None:
        if not self._buyer.is_settled(view, self._ledger, around):
            self._hours.unsettled.add(view.start_ms)
            return
        self._hours.unsettled.discard(view.start_ms)
        if self._buyer.has_no_hope(view):
            del self._hours.live[view.start_ms]
            self._buyer.forget(view.start_ms)
            self._attendance.forget(view.start_ms)

    def _surroundings(self, moment: Moment) -> Surroundings:
        since_ms = self._out_of_reach_since_ms
        for member in self._members:
            if member == self._address or member in moment.connected:
                since_ms.pop(member, None)
            else:
                since_ms.setdefault(member, moment.now_ms)
        offer_ms = (OFFER_LIFETIME_SLOTS + UNDECIDED_SLOTS) * self._ledger.genesis.slot_duration_ms
        return Surroundings(
            now_ms=moment.now_ms,
            height=self._ledger.height,
            out_of_reach_ms={member: moment.now_ms - since for member, since in since_ms.items()},
            grace_ms=self._pace.grace_ms,
            patience_ms=2 * offer_ms,
        )

    # --- transactions --------------------------------------------------------------------------------------

    def _publish(self) -> None:
        """Signs the next hours' readings, as far as the pace allows."""
        waiting = {
            transaction.envelope.action.reading.interval_start_ms
            for transaction in self._transactions.waiting()
            if isinstance(transaction.envelope.action, PublishReading)
        }
        in_progress = len(waiting) + len(self._hours.unsettled)
        for start_ms in self._hours.undecided:
            if start_ms in waiting:
                continue
            if in_progress >= (CATCH_UP_HOURS if self._was_missed(start_ms) else self._pace.window_hours):
                return
            self._transactions.sign(self._meter.sign(start_ms))
            in_progress += 1

    def _was_missed(self, start_ms: Milliseconds) -> bool:
        """Says whether the neighbours went on without this hour: one has measured the hour a window later."""
        window_ms = self._pace.window_hours * self._ledger.genesis.interval_ms
        return bool(self._view(Milliseconds(start_ms + window_ms)).meters)

    def _submit_contracts(self, slots: Slots) -> None:
        """Signs a transaction for each contract that has none on its way: a new one, or one that was lost."""
        contracts = {trade_id(contract.terms): contract for contract in self._buyer.binding()}
        self._declined &= contracts.keys()
        if not contracts:
            return
        on_the_way = {
            trade_id(transaction.envelope.action.terms)
            for transaction in self._transactions.waiting()
            if isinstance(transaction.envelope.action, SubmitTrade)
        }
        for trade in [trade for trade in contracts if trade not in on_the_way | self._declined]:
            contract = contracts[trade]
            if contract.terms.expiry_slot > slots.latest:
                for submission in self._buyer.submissions(contract):
                    self._transactions.sign(submission)

    def _submit_reports(self) -> None:
        """Signs a transaction for each proof that has none on its way: a new one, or one that was lost."""
        on_the_way = [transaction.envelope.action for transaction in self._transactions.waiting()]
        while self._reports:
            report = self._reports.pop()
            if report not in on_the_way:
                self._transactions.sign(report)
                on_the_way.append(report)
