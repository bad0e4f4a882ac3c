"""What the ledger of an honest, stopped node says of a run; everything is computed again from its blocks."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise

from consensus import vrf
from consensus.codec import decode
from consensus.cryptography import address_of, verify
from consensus.identifiers import Address, Digest, Height, Slot
from contracts.execution import BlockContext, execute_block
from contracts.member_records import Misconduct
from contracts.receipts import Receipt, Status
from contracts.state import (
    Account,
    Member,
    Score,
    StateKey,
    Table,
    Trade,
    TradeStatus,
    account_key,
    member_key,
    score_key,
)
from contracts.state_reading import require
from contracts.transactions import (
    Action,
    IssueTokens,
    SignedTransaction,
    Transfer,
    decode_transaction,
)
from ledger.ledger import Ledger
from ledger.verify import verify_ledger
from node.home.era_files import begun_eras
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from tests.support.contracts import transaction_of
from tests.support.declined import moved_nothing


@dataclass(frozen=True, kw_only=True)
class Decided:
    """A transaction on the chain."""

    height: Height
    index: int
    transaction: SignedTransaction
    receipt: Receipt

    @property
    def action(self) -> Action:
        return self.transaction.envelope.action


@dataclass(frozen=True, kw_only=True)
class _At:
    """The state after a height."""

    ledger: Ledger
    height: Height

    def get(self, key: StateKey) -> bytes | None:
        return self.ledger.get_at(key, self.height)


class Books:
    """One node's ledger, opened after the run."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.decided = tuple(self._all_decided())

    def _all_decided(self) -> Iterator[Decided]:
        for height in map(Height, range(1, self.ledger.height + 1)):
            transactions = map(decode_transaction, self.ledger.decided_block(height).transactions)
            for index, (transaction, receipt) in enumerate(
                zip(transactions, self.ledger.receipts(height), strict=True)
            ):
                yield Decided(height=height, index=index, transaction=transaction, receipt=receipt)

    def find(self, transactions: Sequence[str]) -> list[Decided]:
        """Returns what is decided of transactions, named in hex."""
        return [one for one in self.decided if one.receipt.transaction.hex() in transactions]

    def about(self, trades: Sequence[str]) -> list[Decided]:
        """Returns the contracts with these ids, in hex, executed or not."""
        return [one for one in self.decided if one.receipt.reference and one.receipt.reference.hex() in trades]

    def executions(self, trade: str) -> int:
        """Returns how often a contract, or a reading's packet, executed."""
        return sum(one.receipt.status is Status.EXECUTED for one in self.about([trade]))

    # --- what one transaction did ----------------------------------------------------------------------------

    def state_around(self, one: Decided) -> tuple[Mapping[StateKey, bytes], Mapping[StateKey, bytes]]:
        """Returns the changes that the block had made before a transaction, and with it, by executing it again."""
        before, after = (self._changes(one.height, count) for count in (one.index, one.index + 1))
        return before, after

    def _changes(self, height: Height, count: int) -> Mapping[StateKey, bytes]:
        block = self.ledger.decided_block(height)
        addresses = self.ledger.membership_at(height).addresses
        parent = None if height == 1 else self.ledger.decided_block(Height(height - 1)).header
        certificate = block.parent_certificate
        voters = () if certificate is None else tuple(one.signer for one in certificate.endorsements)
        context = BlockContext(
            chain=self.ledger.chain,
            height=height,
            slot=block.header.slot,
            leader=block.header.leader,
            randomness_output=vrf.output(block.header.vrf_proof) if block.header.vrf_proof else b"",
            parent_slot=Slot(0) if parent is None else parent.slot,
            parent_leader=None if parent is None else parent.leader,
            parent_voters=voters,
            cluster=addresses,
        )
        transactions = [transaction_of(raw) for raw in block.transactions]
        state = _At(ledger=self.ledger, height=Height(height - 1))
        execution = execute_block(state, self.ledger.genesis, context, transactions[:count])
        assert execution.receipts == self.ledger.receipts(height)[:count], "executed again, another outcome"
        return execution.changes

    def moved_nothing(self, one: Decided) -> bool:
        """Says whether a declined transaction changed its sender's nonce, the score of who is at fault and a counter,
        and nothing else of anybody, to the unit.
        """
        before, after = self.state_around(one)
        base = _At(ledger=self.ledger, height=Height(one.height - 1))
        return moved_nothing(base, before, after, one.receipt)

    def score_around(self, one: Decided, member: Address) -> tuple[int, int]:
        """Returns a member's score before and after a transaction."""
        base = _At(ledger=self.ledger, height=Height(one.height - 1))
        key = score_key(member)
        found = [changes.get(key) or base.get(key) for changes in self.state_around(one)]
        before, after = (0 if raw is None else decode(raw, Score).value for raw in found)
        return before, after

    # --- scores ------------------------------------------------------------------------------------------------

    def scores_of(self, member: Address) -> list[Score]:
        """Returns all versions of a member's score."""
        return [decode(raw, Score) for _, raw in self.ledger.history(score_key(member))]

    def score_at(self, member: Address, height: int) -> int:
        """Returns a member's score after a height, or after the tip if that is lower."""
        raw = self.ledger.get_at(score_key(member), Height(min(height, self.ledger.height)))
        return 0 if raw is None else decode(raw, Score).value

    def ever_fell(self, member: Address) -> bool:
        versions = self.scores_of(member)
        return versions[-1].is_suspended or any(after.value < before.value for before, after in pairwise(versions))

    def offences_of(self, member: Address) -> list[str]:
        """Returns what is proven of a member on the chain."""
        found = [decode(raw, Misconduct) for _, raw in self.ledger.scan(Table.MISCONDUCT)]
        return sorted(one.offence for one in found if one.offender == member)

    # --- money -------------------------------------------------------------------------------------------------

    def wallets_follow_contracts(self) -> bool:
        """Says whether every member's wallet is what its contracts and transfers come to."""
        first = self.ledger.genesis.members
        expected = Counter(
            {address: member.tokens_micro for address, member in zip(self.members, first, strict=True)}
        )
        for one in self.decided:
            if one.receipt.status is Status.EXECUTED:
                _follow_tokens(expected, one)
        for trade in self.trades().values():
            if trade.status is TradeStatus.COMPLETED:
                expected[trade.seller] += trade.amount_micro
                expected[trade.buyer] -= trade.amount_micro + trade.fee_micro
        wallets = {address: require(self.ledger, account_key(address), Account) for address in self.members}
        return all(
            wallet.available_micro + wallet.held_micro == expected[address] for address, wallet in wallets.items()
        )

    @property
    def members(self) -> tuple[Address, ...]:
        """Of genesis: who is gone keeps its wallet."""
        return tuple(address_of(member.node_key) for member in self.ledger.genesis.members)

    def trades(self) -> dict[Digest, Trade]:
        return {Digest(key[1:]): decode(raw, Trade) for key, raw in self.ledger.scan(Table.TRADE)}

    def signed_by(self, member: Address, message: bytes, signature: bytes) -> bool:
        """Says whether a signature is of the key that the chain registered for a member."""
        key = require(self.ledger, member_key(member), Member).node_key
        return verify(key, message, signature)  # type: ignore[arg-type]


def _follow_tokens(expected: Counter[Address], one: Decided) -> None:
    match one.action:
        case Transfer(recipient=recipient, amount_micro=amount):
            expected[one.receipt.sender] -= amount
            expected[recipient] += amount
        case IssueTokens(recipient=recipient, amount_micro=amount):
            expected[recipient] += amount


@contextmanager
def opened(homes: Sequence[Home]) -> Iterator[list[Books]]:
    """Opens the ledgers of stopped nodes."""
    with ExitStack() as stack:
        books = []
        for home in homes:
            ledger = Ledger.open(home.ledger, load_genesis(home), begun=begun_eras(home))
            stack.callback(ledger.close)
            books.append(Books(ledger))
        yield books


def is_sound(home: Home) -> bool:
    """Says whether `ledger verify` finds nothing: every block executed again, every balance summed up."""
    return verify_ledger(home.ledger, load_genesis(home), lambda _height, _tip: None, begun=begun_eras(home)).holds


def fork_height(books: Sequence[Books]) -> Height | None:
    """Returns the first height at which two ledgers hold different blocks, None if there is none."""
    common = min(one.ledger.height for one in books)
    for height in map(Height, range(1, common + 1)):
        if len({one.ledger.decided_block(height).header.state_root for one in books}) > 1:
            return height
        if len({one.ledger.decided_block(height) for one in books}) > 1:
            return height
    return None
