"""What moved a member's score in a block, all of it, in the order of the block's execution.

A block writes one version of a score, which keeps the last cause only. The rest follows from the block: the service
that it rewards, its receipts, and the records of the forward trades that ended in it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, TypeVar

from consensus.codec import Record, decode
from consensus.identifiers import Address, Digest, Height
from contracts.agenda import DUE_PER_BLOCK_MAX
from contracts.agenda_records import Agenda, Due, TradeEnd
from contracts.attendance import attending
from contracts.genesis import ATTENDANCE_VERSION, Genesis
from contracts.receipts import Receipt, Status
from contracts.service_records import LastBlock
from contracts.state import (
    AGENDA_KEY,
    LAST_BLOCK_KEY,
    MEMBER_LIST_KEY,
    MemberList,
    MeterReading,
    Overlay,
    PromiseBook,
    RewardedPair,
    Score,
    ScoreCause,
    StateKey,
    Trade,
    TradeKind,
    TradeStatus,
    due_key,
    promises_key,
    reading_key,
    rewarded_pair_key,
    score_key,
    trade_key,
)
from contracts.transactions import GiveVerdict, PublishReading, ReportMisconduct, SetStake, decode_transaction
from contracts.units import WattHours, contract_amount
from ledger.ledger import Ledger
from ledger.ledger_reading import StateAt
from ledger.validation import parent_voters
from node.names.names import Names
from node.stories.words import hour_text, short
from qscore.way_back import present_score

R = TypeVar("R", bound=Record)

SUSPENSIONS: Final = frozenset({ScoreCause.SUSPENSION, ScoreCause.REINSTATEMENT})
ENDS = (TradeStatus.COMPLETED, TradeStatus.EXPIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreEvent:
    """One thing that happened to a member in a block."""

    cause: ScoreCause | None
    """None: a trade of the member ended and left its score alone; the words say why."""
    reference: bytes
    """Trade id, or digest of the transaction that was declined, or brought proof or verdict; empty for service."""
    words: str


def score_events(ledger: Ledger, names: Names, address: Address, height: Height) -> list[ScoreEvent]:
    """Returns what a block, not genesis, did to a member's score."""
    return list(_BlockEvents(ledger, names, address, height).all())


class _BlockEvents:
    def __init__(self, ledger: Ledger, names: Names, address: Address, height: Height) -> None:
        self._ledger = ledger
        self._names = names
        self._address = address
        self._height = height
        self._before = Height(height - 1)
        self._block = ledger.decided_block(height)
        self._receipts = ledger.receipts(height)
        score = self._at(score_key(address), Score, self._before)
        assert score is not None, "every member has a score from genesis on"
        slot, parameters = self._block.header.slot, ledger.genesis.scores
        present = present_score(score.value, score.way_back, slot, parameters)
        self._serves = present >= parameters.threshold_service and not score.is_suspended
        self._is_suspended = score.is_suspended
        self._proofs: set[bytes] = set()
        """Transactions that proved misconduct of the member in this block."""

    def all(self) -> Iterator[ScoreEvent]:
        yield from self._service()
        due = self._due()
        early = _trades_of(due[:DUE_PER_BLOCK_MAX])
        for name in early:
            yield from self._ended_forward(name, as_of=self._before)
        for index, receipt in enumerate(self._receipts):
            yield from self._of_receipt(index, receipt)
        for name in dict.fromkeys((*_trades_of(due), *self._moved_trades())):
            if name not in early:
                yield from self._ended_forward(name, as_of=self._height)
        yield from self._by_quorum()

    # --- service ---------------------------------------------------------------------------------------------------

    def _service(self) -> Iterator[ScoreEvent]:
        """Yields what the member was rewarded for as validator and as leader of the block before."""
        last = self._at(LAST_BLOCK_KEY, LastBlock, self._before)
        trades = 0 if last is None else last.trades_rewarded
        if self._before == 0 or trades == 0 or not self._serves:
            return
        counted = f"block {self._before} with {trades} rewarded trade{'s' if trades > 1 else ''}"
        if self._address not in self._members_after_ceremony():
            return
        voters = parent_voters(self._block.parent_certificate)
        if self._block.header.version < ATTENDANCE_VERSION:
            if self._address in voters:
                yield ScoreEvent(cause=ScoreCause.VALIDATOR, reference=b"", words=f"signed {counted}")
        elif self._address in attending(Overlay(StateAt(self._ledger, self._before)), self._height, voters):
            yield ScoreEvent(cause=ScoreCause.VALIDATOR, reference=b"", words=f"attended {counted}")
        if self._ledger.decided_block(self._before).header.leader == self._address:
            yield ScoreEvent(cause=ScoreCause.LEADER, reference=b"", words=f"led {counted}")

    def _members_after_ceremony(self) -> tuple[Address, ...]:
        """Returns the newest list as the block found it; the members of the era that it begins, if it begins one."""
        if self._block.ceremony is not None:
            return tuple(address for address, _ in self._block.ceremony.plan.members)
        known = self._at(MEMBER_LIST_KEY, MemberList, self._before)
        return () if known is None else known.addresses

    # --- transactions ----------------------------------------------------------------------------------------------

    def _of_receipt(self, index: int, receipt: Receipt) -> Iterator[ScoreEvent]:
        brought_by = f"transaction {short(receipt.transaction.hex())}"
        if receipt.fault == self._address:
            why = f"at fault: {receipt.reason.value}: {receipt.detail}"
            yield ScoreEvent(cause=ScoreCause.FAULT, reference=receipt.transaction, words=f"{why} ({brought_by})")
        if receipt.status is not Status.EXECUTED:
            return
        if receipt.parties:
            trade = None if receipt.reference is None else self._trade(receipt.reference, self._height)
            is_spot = trade is not None and trade.kind is TradeKind.SPOT and trade.transaction == receipt.transaction
            if is_spot and trade is not None and receipt.reference is not None and self._address in receipt.parties:
                yield self._rewarded(receipt.reference, trade)
            return
        raw = self._block.transactions[index]
        if receipt.sender != self._address and raw.find(self._address) < 0:
            return  # whoever is reported is named in the transaction: most need not be decoded
        action = decode_transaction(raw).envelope.action
        if isinstance(action, SetStake) and receipt.sender == self._address:
            words = f"changed its stake ({brought_by})"
            yield ScoreEvent(cause=ScoreCause.STAKE, reference=receipt.transaction, words=words)
        if isinstance(action, GiveVerdict) and self._block.header.version >= ATTENDANCE_VERSION:
            words = f"verified who joins ({brought_by})"
            yield ScoreEvent(cause=ScoreCause.VERIFIER, reference=receipt.transaction, words=words)
        if isinstance(action, ReportMisconduct) and action.evidence.offender == self._address:
            self._is_suspended = True
            self._proofs.add(receipt.transaction)
            words = f"proven misconduct ({brought_by})"
            yield ScoreEvent(cause=ScoreCause.SUSPENSION, reference=receipt.transaction, words=words)

    def _by_quorum(self) -> Iterator[ScoreEvent]:
        """Yields what members decided about the member's suspension: the block with the last approval does it, last
        of all, so it is what moved the score last.
        """
        score, before = (self._at(score_key(self._address), Score, height) for height in (self._height, self._before))
        assert score is not None, "who had a score has one"
        if score == before or score.cause not in SUSPENSIONS or score.reference in self._proofs:
            return
        words = "suspended" if score.is_suspended else "suspended no more"
        words = f"{words}, by a quorum of the members (proposal {short(score.reference.hex())})"
        yield ScoreEvent(cause=score.cause, reference=score.reference, words=words)

    def _rewarded(self, name: Digest, trade: Trade) -> ScoreEvent:
        """Returns the reward for a completed trade, of which a pair gets one per interval."""
        is_seller = trade.seller == self._address
        other = trade.buyer if is_seller else trade.seller
        verb, to = ("sold", "to") if is_seller else ("bought", "from")
        what = f"{verb} {trade.delivered_wh:,} Wh of {hour_text(trade.interval_start_ms)}"
        words = f"{what} {to} {self._names.of(other)} (trade {short(name.hex())})"
        cause: ScoreCause | None = ScoreCause.SELLER if is_seller else ScoreCause.BUYER
        pair = rewarded_pair_key(trade.seller, trade.buyer, trade.interval_start_ms)
        marked = self._at(pair, RewardedPair, self._height)
        if marked is None or marked.trade != name:
            cause, words = None, f"{words}, without a reward: these two had one for that time"
        elif self._is_suspended:
            cause, words = None, f"{words}, without a reward: it is suspended"
        return ScoreEvent(cause=cause, reference=name, words=words)

    # --- forward trades --------------------------------------------------------------------------------------------

    def _ended_forward(self, name: Digest, *, as_of: Height) -> Iterator[ScoreEvent]:
        """Yields what the end of a forward trade did.

        Args:
            name: of any trade.
            as_of: its readings are looked for in the state after this block.
        """
        trade, earlier = self._trade(name, self._height), self._trade(name, self._before)
        if trade is None or trade.kind is not TradeKind.FORWARD or self._address not in (trade.seller, trade.buyer):
            return
        if trade.status not in ENDS or (earlier is not None and earlier.status is not TradeStatus.PENDING):
            return
        at_fault = self._forward_fault(trade, as_of)
        if at_fault is None and trade.delivered_wh:
            yield self._rewarded(name, trade)
            return
        delivered = f"{trade.delivered_wh:,} of {trade.energy_wh:,} Wh of {hour_text(trade.interval_start_ms)}"
        words = f"forward trade {short(name.hex())} {trade.status.value}, {delivered} delivered"
        if at_fault == self._address:
            yield ScoreEvent(cause=ScoreCause.FAULT, reference=name, words=f"at fault: {words}")
        else:
            who = "nobody" if at_fault is None else self._names.of(at_fault)
            yield ScoreEvent(cause=None, reference=name, words=f"{words}, at fault: {who}")

    def _forward_fault(self, trade: Trade, as_of: Height) -> Address | None:
        """Returns who did not report, the seller first, or the seller who delivered too little.

        Eq. 2's total, which is recorded with the trade, has the sign of the outcome where the seller is at fault.
        """
        if trade.status is TradeStatus.EXPIRED:
            for party in (trade.seller, trade.buyer):
                if self._at(reading_key(party, trade.interval_start_ms), MeterReading, as_of) is None:
                    return party
        return trade.seller if trade.quality_total is not None and trade.quality_total < 0 else None

    def _due(self) -> Sequence[Due]:
        """Returns what was due before the transactions, in its order: the top of the agenda's heap.

        A block carries out `DUE_PER_BLOCK_MAX` of it then, and as many after the transactions.
        """
        agenda = self._at(AGENDA_KEY, Agenda, self._before)
        size = 0 if agenda is None else agenda.size
        found: list[Due] = []
        places = [0]
        while places:
            place = places.pop()
            due = self._at(due_key(place), Due, self._before) if place < size else None
            if due is not None and due.slot <= self._block.header.slot:
                found.append(due)
                places += [2 * place + 1, 2 * place + 2]
        return sorted(found, key=attrgetter("slot", "number"))

    def _moved_trades(self) -> list[Digest]:
        """Returns the contracts that the block may have ended after its transactions, and others.

        An execution posts, and an end posts what was paid or refunded. Where a contract may cost nothing its end may
        post nothing: then it is one that the member promised for a time that a reading in the block is of.
        """
        moved = [Digest(posting.trade) for posting in self._block.postings]
        if not _may_cost_nothing(self._ledger.genesis):
            return moved
        for raw in self._block.transactions:
            action = decode_transaction(raw).envelope.action
            if isinstance(action, PublishReading):
                key = promises_key(self._address, action.reading.interval_start_ms)
                book = self._at(key, PromiseBook, self._before)
                moved += () if book is None else book.trades
        return moved

    # --- reading ---------------------------------------------------------------------------------------------------

    def _trade(self, name: Digest, height: Height) -> Trade | None:
        return self._at(trade_key(name), Trade, height)

    def _at(self, key: StateKey, expected: type[R], height: Height) -> R | None:
        raw = self._ledger.get_at(key, height)
        return None if raw is None else decode(raw, expected)


def _trades_of(due: Sequence[Due]) -> list[Digest]:
    return list(dict.fromkeys(item.subject.trade for item in due if isinstance(item.subject, TradeEnd)))


def _may_cost_nothing(genesis: Genesis) -> bool:
    """Says whether a contract may be so small and so cheap that its price and fee are rounded to nothing."""
    least = WattHours(1)
    price = contract_amount(least, genesis.price_min_micro_per_kwh)
    return price + contract_amount(least, genesis.grid_fee_micro_per_kwh) == 0
