"""What a node signs by itself: that it is there where a change of the members waits for that, that it is ready where
it is a candidate, proofs of misconduct, and what its household wants if it has a meter. No I/O, no clock, no waiting.

A node that only validates has these duties as well. All of one node's transactions have one sender, so they have one
row of nonces and one journal, and are followed here, whoever asked for them.
"""

from dataclasses import dataclass

from consensus.identifiers import Address, Height, Slot
from contracts.joining import should_say_ready
from contracts.member_changes import should_show_presence
from contracts.receipts import Status
from contracts.state import Overlay
from contracts.transactions import ReportMisconduct, SayReady, ShowPresence
from node.household.household import Household, Progress
from node.household.market_design import HouseholdLedger, Moment
from node.household.own_transactions import Ending, OwnTransaction, OwnTransactions
from node.logs import get_logger
from node.mesh.messages import MarketMessage
from node.stories.members import MS_PER_DAY, own_notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What may leave the node now. All that it relies on is durable already (salts, offers, contracts, transactions),
    so the law *persist, sync, then send* is kept by its type.
    """

    messages: tuple[tuple[Address, MarketMessage], ...]
    transactions: tuple[OwnTransaction, ...]
    """All that are not decided yet, in the order of nonces; most are in the mempool already."""


class MemberDuties:
    """One member's own transactions, and its household if it has one."""

    def __init__(
        self,
        *,
        address: Address,
        ledger: HouseholdLedger,
        transactions: OwnTransactions,
        household: Household | None,
    ) -> None:
        """Takes the member, its chain, those of its transactions that are not decided yet, and its household."""
        self._address = address
        self._ledger = ledger
        self._transactions = transactions
        self._household = household
        self._reports: list[ReportMisconduct] = []
        self._followed: Height | None = None
        self._looked: tuple[Height, Slot] | None = None
        self._said_ready: tuple[Height, Slot] | None = None
        self._told_on_day: int | None = None
        self._log = get_logger("node")

    def receive(self, sender: Address, message: MarketMessage, now_ms: int) -> None:
        """Hands a neighbour's message to the household; where there is none, nobody trades."""
        if self._household is not None:
            self._household.receive(sender, message, now_ms)

    def report(self, action: ReportMisconduct) -> None:
        """Keeps a proof of misconduct for the next turn, which signs it unless it is on its way to the chain."""
        self._reports.append(action)

    def progress(self) -> Progress | None:
        """Returns how far the household came in the last turn; None where there is none."""
        return None if self._household is None else self._household.progress()

    def turn(self, moment: Moment) -> Turn:
        """Decides everything that can be decided now."""
        endings = self._follow()
        messages = () if self._household is None else self._household.turn(moment, endings)
        self._show_presence(moment.present_slot)
        self._say_ready(moment)
        self._submit_reports()
        self._tell_end(moment.present_slot)
        self._transactions.sync()
        return Turn(messages=tuple(messages), transactions=tuple(self._transactions.waiting()))

    def _follow(self) -> tuple[Ending, ...]:
        """Returns what became of own transactions since the last turn, and logs what was declined."""
        if self._followed == self._ledger.height:
            return ()
        self._followed = self._ledger.height
        endings = self._transactions.follow()
        for ending in endings:
            action, receipt = ending.transaction.envelope.action, ending.receipt
            if isinstance(action, ReportMisconduct) or receipt is None or receipt.status is Status.EXECUTED:
                continue  # of a proof, another member's report may have come first
            self._log.warning("declined", reason=receipt.reason.value, detail=receipt.detail)
        return endings

    def _show_presence(self, slot: Slot) -> None:
        """Signs that this member is there, once at a time; looks once in a slot of a height whether it is to."""
        moment = (self._ledger.height, slot)
        if self._looked == moment or self._is_on_the_way(ShowPresence()):
            return
        self._looked = moment
        next_height = Height(self._ledger.height + 1)
        if should_show_presence(
            Overlay(self._ledger), self._address, height=next_height, slot=slot, genesis=self._ledger.genesis
        ):
            self._transactions.sign(ShowPresence())

    def _tell_end(self, slot: Slot) -> None:
        """Warns once a day while the certificate of this home ends soon, or ran out."""
        genesis = self._ledger.genesis
        day = (genesis.start_ms + slot * genesis.slot_duration_ms) // MS_PER_DAY
        if day == self._told_on_day:
            return
        self._told_on_day = day
        notice = own_notice(self._ledger, genesis, self._address, slot)
        if notice is not None:
            self._log.warning("this home's certificate ends", reason=notice)

    def _say_ready(self, moment: Moment) -> None:
        """Signs that this home, a candidate that has followed the chain, is ready to be a member; once at a time."""
        at = (self._ledger.height, moment.present_slot)
        if moment.is_behind or self._said_ready == at or self._is_ready_on_the_way():
            return
        self._said_ready = at
        slot, genesis = moment.present_slot, self._ledger.genesis
        if self._ledger.height and should_say_ready(Overlay(self._ledger), self._address, slot=slot, genesis=genesis):
            self._transactions.sign(SayReady(height=self._ledger.height, block=self._ledger.tip))

    def _is_ready_on_the_way(self) -> bool:
        return any(isinstance(own.envelope.action, SayReady) for own in self._transactions.waiting())

    def _submit_reports(self) -> None:
        """Signs a transaction for each proof that has none on its way: a new one, or one that was lost."""
        while self._reports:
            report = self._reports.pop()
            if not self._is_on_the_way(report):
                self._transactions.sign(report)

    def _is_on_the_way(self, action: ReportMisconduct | ShowPresence) -> bool:
        return any(own.envelope.action == action for own in self._transactions.waiting())
