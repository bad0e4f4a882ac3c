"""The decisions of a household: measure, publish, trade as its market says. No I/O, no clock, no waiting.

`turn` looks at the ledger's newest state and at the messages that came, signs transactions and returns what to send.
State is the truth: a turn may be skipped, repeated or come late.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from consensus.identifiers import Address, Height
from contracts.member_changes import is_member
from contracts.receipts import Status
from contracts.state import Interval, Overlay, interval_key
from contracts.state_reading import read
from contracts.transactions import PublishReading, decode_transaction
from contracts.units import Milliseconds
from node.household.market_design import HouseholdLedger, Market, Moment
from node.household.own_transactions import Ending, OwnTransactions
from node.mesh.messages import MarketMessage
from node.meter.meter import Meter

CATCH_UP_HOURS: Final = 64
"""Missed hours in progress at once, more than a window's, so that a meter that was down soon catches up."""

BLOCKS_LOOKED_THROUGH_MAX: Final = 256
"""Blocks read for late readings; after a longer gap every hour is looked at instead."""


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


class Household:
    """One household on the market."""

    def __init__(
        self,
        *,
        address: Address,
        ledger: HouseholdLedger,
        meter: Meter,
        transactions: OwnTransactions,
        market: Market,
        window_hours: int,
    ) -> None:
        """Looks up in the ledger which hours are published already.

        Args:
            address: of this member.
            ledger: where the state comes from.
            meter: what measures and signs the readings.
            transactions: those of this household that are not decided yet.
            market: how it trades.
            window_hours: hours that may be unsettled at once.
        """
        self._address = address
        self._ledger = ledger
        self._meter = meter
        self._transactions = transactions
        self._market = market
        self._window_hours = window_hours
        self._undecided = dict.fromkeys(meter.hours)
        """Hours whose reading is not on the chain."""
        self._height: Height | None = None

    # --- what comes in and goes out ------------------------------------------------------------------------

    def receive(self, sender: Address, message: MarketMessage, now_ms: int) -> None:
        """Hands a neighbour's message to the market."""
        self._market.receive(sender, message, now_ms)

    def turn(self, moment: Moment, endings: Iterable[Ending]) -> Sequence[tuple[Address, MarketMessage]]:
        """Decides everything that can be decided now; returns what may be sent once its transactions are durable.

        Args:
            moment: of the turn.
            endings: what became of own transactions since the last one.
        """
        for ending in endings:
            self._on_ending(ending)
            self._market.on_ending(ending)
        if self._height != self._ledger.height:
            self._look_at_chain()
        trading = self._market.turn(moment)
        self._publish()
        for action in trading.actions:
            self._transactions.sign(action)
        for durable in (self._meter, self._market):
            durable.sync()
        return [(to, message) for to, message in trading.messages if to in moment.connected]

    def progress(self) -> Progress:
        """Returns how far the last turn came."""
        total = len(self._meter.hours)
        published = total - len(self._undecided)
        return Progress(total=total, published=published, settled=published - len(self._market.unsettled))

    # --- the chain -----------------------------------------------------------------------------------------

    def _look_at_chain(self) -> None:
        """Takes in what was decided since the last look."""
        before, self._height = self._height, self._ledger.height
        for start_ms in self._hours_touched(before):
            if start_ms in self._undecided:
                if self._address in self._meters(start_ms):
                    self._on_published(start_ms)
            elif self._meter.net_wh(start_ms) is not None:
                self._market.on_reading(start_ms)

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
        """Gives up a reading that was declined, as it would be again. What was lost is signed again, as its hour or
        contract is still undone.
        """
        action, receipt = ending.transaction.envelope.action, ending.receipt
        if receipt is None or receipt.status is Status.EXECUTED:
            return
        if isinstance(action, PublishReading) and action.reading.interval_start_ms in self._undecided:
            self._on_published(action.reading.interval_start_ms)

    def _on_published(self, start_ms: Milliseconds) -> None:
        del self._undecided[start_ms]
        self._market.on_reading(start_ms)

    def _meters(self, start_ms: Milliseconds) -> tuple[Address, ...]:
        """Returns the members whose reading of an hour is decided."""
        interval = read(self._ledger, interval_key(start_ms), Interval)
        return () if interval is None else interval.meters

    # --- transactions --------------------------------------------------------------------------------------

    def _publish(self) -> None:
        """Signs the next hours' readings, as far as the pace allows; who left the chain publishes nothing."""
        if not is_member(Overlay(self._ledger), self._address):
            return
        waiting = {
            transaction.envelope.action.reading.interval_start_ms
            for transaction in self._transactions.waiting()
            if isinstance(transaction.envelope.action, PublishReading)
        }
        in_progress = len(waiting) + len(self._market.unsettled)
        for start_ms in self._undecided:
            if start_ms in waiting:
                continue
            if in_progress >= (CATCH_UP_HOURS if self._was_missed(start_ms) else self._window_hours):
                return
            self._transactions.sign(self._meter.sign(start_ms))
            in_progress += 1

    def _was_missed(self, start_ms: Milliseconds) -> bool:
        """Says whether the neighbours went on without this hour: one has measured the hour a window later."""
        window_ms = self._window_hours * self._ledger.genesis.interval_ms
        return bool(self._meters(Milliseconds(start_ms + window_ms)))
