"""What must hold of a market's state whatever was sent, summed over all records: never from the code's own deltas.

Each function raises an `AssertionError` that names what does not hold.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeVar

from consensus.codec import Record, decode
from consensus.identifiers import Address, Digest
from contracts.agenda_records import Agenda, Due, GateClosure, TradeEnd
from contracts.applicants import ApplicationEnd
from contracts.conservation import unbalanced_books
from contracts.execution import Execution
from contracts.joining import read_unfinished
from contracts.member_records import Misconduct
from contracts.proposal_records import Proposal, ProposalStatus, SuspensionChange
from contracts.receipts import Asset, Party, Posting, Stage, Status
from contracts.state import (
    AGENDA_KEY,
    Account,
    Deficit,
    Interval,
    MeterReading,
    Overlay,
    Packet,
    PromiseBook,
    Score,
    StateKey,
    Table,
    Trade,
    TradeStatus,
    account_key,
    deficit_key,
    due_key,
    interval_key,
    packet_key,
    trade_key,
)
from contracts.transactions import IssueTokens, PayDebt, RedeemTokens, SignedTransaction, Transfer, packet_id
from tests.support.contracts import Community, DictChain

V = TypeVar("V", bound=Record)
ADDRESS_SIZE_BYTES: Final = 32


def records(state: Mapping[StateKey, bytes], table: Table, expected: type[V]) -> Iterator[tuple[StateKey, V]]:
    """Yields a table's keys and newest values."""
    return ((key, decode(raw, expected)) for key, raw in state.items() if key[:1] == table.value)


class TokenFlows:
    """What every wallet must hold, by the plain actions that executed; trades are added from their records."""

    def __init__(self, community: Community) -> None:
        self._grid = community.grid_key.address
        self._expected = Counter(dict.fromkeys(community.wallets, 0))
        for address, member in zip(community.addresses, community.genesis.members, strict=True):
            self._expected[address] += member.tokens_micro

    def follow(self, transactions: Sequence[SignedTransaction], execution: Execution) -> None:
        """Adds what a block's executed transfers, payments, issues and redemptions moved."""
        for transaction, receipt in zip(transactions, execution.receipts, strict=True):
            if receipt.status is not Status.EXECUTED:
                continue
            match transaction.envelope.action:
                case Transfer(recipient=recipient, amount_micro=amount):
                    self._move(amount, source=receipt.sender, sink=recipient)
                case PayDebt(amount_micro=amount):
                    self._move(amount, source=receipt.sender, sink=self._grid)
                case IssueTokens(recipient=recipient, amount_micro=amount):
                    self._move(amount, sink=recipient)
                case RedeemTokens(amount_micro=amount):
                    self._move(amount, source=receipt.sender)
                case _:
                    pass

    def _move(self, amount: int, *, source: Address | None = None, sink: Address | None = None) -> None:
        if source is not None:
            self._expected[source] -= amount
        if sink is not None:
            self._expected[sink] += amount

    def check(self, chain: DictChain) -> None:
        """Holds every wallet against what was moved, and against what its trades paid it and hold of it."""
        expected, held = Counter(self._expected), Counter[Address]()
        for _, trade in records(chain.state, Table.TRADE, Trade):
            expected[trade.seller] += trade.amount_micro
            expected[trade.buyer] -= trade.amount_micro + trade.fee_micro
            expected[self._grid] += trade.fee_micro
            held[trade.buyer] += trade.held_micro
        for address in self._expected:
            wallet = chain.read(account_key(address), Account)
            assert wallet.held_micro == held[address], f"{address.hex()} holds {wallet}, its trades {held[address]}"
            assert wallet.available_micro == expected[address] - held[address], f"{address.hex()}: {wallet}"


class Suspensions:
    """Who must be suspended: by each new proof, until a quorum of the members reinstates it, or by a quorum."""

    def __init__(self) -> None:
        self._expected: set[Address] = set()

    def follow(self, execution: Execution) -> None:
        """Takes what a block recorded: proofs first, as the block that has the last approval carries it out last."""
        changed: dict[StateKey, bytes] = dict(execution.changes)
        self._expected |= {record.offender for _, record in records(changed, Table.MISCONDUCT, Misconduct)}
        for _, proposal in records(changed, Table.PROPOSAL, Proposal):
            if proposal.status is ProposalStatus.DONE and isinstance(proposal.subject, SuspensionChange):
                change = self._expected.add if proposal.subject.suspended else self._expected.discard
                change(proposal.subject.member)

    def check(self, chain: DictChain) -> None:
        """Holds the scores against it."""
        suspended = {key[1:] for key, score in records(chain.state, Table.SCORE, Score) if score.is_suspended}
        assert suspended == self._expected


def check_whole_state(chain: DictChain) -> None:
    """Checks records, sums, trades against what they moved, books and agenda."""
    unbalanced = unbalanced_books(chain.state.items(), chain.community.genesis.scores)
    assert not unbalanced, unbalanced
    _check_readings(chain)
    _check_trades(chain)
    _check_books(chain)
    _check_agenda(chain)


def _check_readings(chain: DictChain) -> None:
    """A packet and a deficit say what the newest reading says; behind a closed gate nothing is on the market."""
    state = chain.state
    credited = {key: packet.credited_wh for key, packet in records(state, Table.PACKET, Packet)}
    recorded = {key: deficit.recorded_wh for key, deficit in records(state, Table.DEFICIT, Deficit)}
    for key, reading in records(state, Table.READING, MeterReading):
        meter, start = Address(key[1 : 1 + ADDRESS_SIZE_BYTES]), int.from_bytes(key[1 + ADDRESS_SIZE_BYTES :], "big")
        assert credited.pop(packet_key(packet_id(meter, start)), 0) == max(reading.net_wh, 0)
        assert recorded.pop(deficit_key(meter, start), 0) == max(-reading.net_wh, 0)
        assert meter in chain.read(interval_key(start), Interval).meters
    assert not credited, "energy without a reading"
    assert not recorded, "a deficit without a reading"
    for record in (*records(state, Table.PACKET, Packet), *records(state, Table.DEFICIT, Deficit)):
        if chain.read(interval_key(record[1].interval_start_ms), Interval).closed:
            assert (record[1].available_wh if isinstance(record[1], Packet) else record[1].open_wh) == 0


def _check_trades(chain: DictChain) -> None:
    """What packets and deficits say that trades took and hold is what these trades took and hold."""
    state = chain.state
    sold, bought = Counter[StateKey](), Counter[StateKey]()
    aside, reserved = Counter[StateKey](), Counter[StateKey]()
    for _, trade in records(state, Table.TRADE, Trade):
        packet = packet_key(packet_id(trade.seller, trade.interval_start_ms))
        deficit = deficit_key(trade.buyer, trade.interval_start_ms)
        sold[packet] += trade.delivered_wh
        bought[deficit] += trade.delivered_wh
        aside[packet] += trade.set_aside_wh
        reserved[deficit] += trade.reserved_wh
    for key, packet_record in records(state, Table.PACKET, Packet):
        assert (packet_record.claimed_wh, packet_record.escrow_wh) == (sold.pop(key, 0), aside.pop(key, 0))
    for key, deficit_record in records(state, Table.DEFICIT, Deficit):
        assert (deficit_record.bought_wh, deficit_record.reserved_wh) == (bought.pop(key, 0), reserved.pop(key, 0))
    assert not any((sold + bought + aside + reserved).values()), "trades moved energy that is nowhere"


def _check_books(chain: DictChain) -> None:
    """Each member's book of a window names exactly its pending trades, and serves them in its order."""
    pending: defaultdict[tuple[bytes, int], set[Digest]] = defaultdict(set)
    for key, trade in records(chain.state, Table.TRADE, Trade):
        if trade.status is TradeStatus.PENDING:
            for party in (trade.seller, trade.buyer):
                pending[party, trade.interval_start_ms].add(Digest(key[1:]))
    for key, book in records(chain.state, Table.PROMISES, PromiseBook):
        member, start = key[1 : 1 + ADDRESS_SIZE_BYTES], int.from_bytes(key[1 + ADDRESS_SIZE_BYTES :], "big")
        assert set(book.trades) == pending.pop((member, start), set())
        assert len(set(book.trades)) == len(book.trades)
        trades = [chain.read(trade_key(name), Trade) for name in book.trades]
        assert [trade.height for trade in trades] == sorted(trade.height for trade in trades)
        _check_served_in_order(chain, Address(member), start, trades)
    assert not pending, "a pending trade that stands in no book"


def _check_served_in_order(chain: DictChain, member: Address, start: int, trades: Sequence[Trade]) -> None:
    """Nothing is left on the market, and no later promise has anything, while an earlier one lacks something."""
    parts = {
        packet_key(packet_id(member, start)): [
            (trade.set_aside_wh, trade.energy_wh) for trade in trades if trade.seller == member
        ],
        deficit_key(member, start): [
            (trade.reserved_wh, trade.energy_wh) for trade in trades if trade.buyer == member
        ],
    }
    for key, served in parts.items():
        lacking = [number for number, (part, whole) in enumerate(served) if part < whole]
        if key in chain.state and lacking:
            assert not any(part for part, _ in served[lacking[0] + 1 :]), "a later promise was served first"
            record = decode(chain.state[key], Packet | Deficit)
            rest = record.available_wh if isinstance(record, Packet) else record.open_wh
            assert rest == 0, "on the market before the promises are served"


def _check_agenda(chain: DictChain) -> None:
    """The agenda is a heap, and has an entry for whatever must still happen by itself."""
    size = chain.read(AGENDA_KEY, Agenda).size
    heap = [chain.read(due_key(place), Due) for place in range(size)]
    order = [(due.slot, due.number) for due in heap]
    assert all(order[(place - 1) // 2] < order[place] for place in range(1, size)), "no heap"
    closures = {(due.slot, due.subject.interval_start_ms) for due in heap if isinstance(due.subject, GateClosure)}
    ends = {due.subject.trade for due in heap if isinstance(due.subject, TradeEnd)}
    lapses = {(due.subject.applicant, due.subject.number) for due in heap if isinstance(due.subject, ApplicationEnd)}
    for key, interval in records(chain.state, Table.INTERVAL, Interval):
        assert interval.closed or (interval.closes_at_slot, int.from_bytes(key[1:], "big")) in closures
    for key, trade in records(chain.state, Table.TRADE, Trade):
        assert trade.status is not TradeStatus.PENDING or key[1:] in ends, "a promise that never ends"
    for address, applicant in read_unfinished(Overlay(chain.state)):
        assert (address, applicant.number) in lapses, "an application that never ends"


class PostingTrail:
    """Follows the postings of all blocks: nothing appears or vanishes, and each escrow goes on where it stood."""

    def __init__(self) -> None:
        self._escrow_micro: Counter[Digest] = Counter()

    def follow(self, postings: Sequence[Posting]) -> None:
        """Checks one block's postings; per trade, stage and asset what one party loses others gain."""
        moved: Counter[tuple[Digest, Stage, Asset]] = Counter()
        for row in postings:
            moved[row.trade, row.stage, row.asset] += row.after - row.before
            if row.party is Party.ESCROW and row.asset is Asset.TOKENS_MICRO:
                assert row.before == self._escrow_micro[row.trade], f"an escrow that jumps: {row}"
                self._escrow_micro[row.trade] = row.after
        assert not any(moved.values()), f"postings that do not balance: {moved}"

    def check(self, chain: DictChain) -> None:
        """Holds what the postings left in the escrows against what the trades hold."""
        for key, trade in records(chain.state, Table.TRADE, Trade):
            assert self._escrow_micro[Digest(key[1:])] == trade.held_micro
