"""Finds the attempts of a contract on the chain, also of one that was declined and left no record in the state.

Receipts name the contract that they are about. A block is decoded only if its stored receipts contain the name's
bytes, so looking through 10,000 blocks takes a fraction of a second and the ledger needs no index.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from consensus.identifiers import GENESIS_HEIGHT, Digest, Height
from contracts.receipts import Receipt, Status
from contracts.state import StateKey, offer_key, trade_key
from contracts.transactions import CancelTrade, SignedTransaction, SubmitTrade, TradeTerms, decode_transaction
from ledger.ledger import Ledger
from node.errors import NotFound
from node.stories.member_names import require_id
from node.stories.slices import Progress, Slices, heights_in_slices

DECLINED_KEPT_MAX: Final = 16
"""Newest declined attempts of a contract that are kept: whoever has one may repeat it block by block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A receipt and where it stands."""

    height: Height
    index: int
    receipt: Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """A contract with everything that was tried about it, in the order of the chain."""

    name: Digest
    """Trade id."""
    attempts: tuple[Found, ...]
    """Submissions and cancellations; at least one. Of those that were declined the newest."""
    attempts_left_out: int
    """Earlier ones that were declined."""
    terms: TradeTerms
    decisive: Found
    """The submission that executed; else the cancellation, else the last submission that was declined."""


def find_contract(ledger: Ledger, text: str) -> Slices[Contract]:
    """Returns the contract whose trade id, or one of whose transactions, begins with `text`.

    Raises:
        NotFound: none, several, or `text` is no such name.
        BlocksNotHere: none that this ledger can tell all of.
    """
    matches = yield from _find_matches(ledger, text)
    found = matches.contracts()
    names = {item.receipt.reference for item in found if item.receipt.reference is not None}
    if len(names) > 1:
        raise NotFound("ambiguous_name", f"{text} is the beginning of {len(names)} contracts: give more digits")
    if not names:
        ledger.require_whole()
        raise NotFound("unknown_trade", f"the chain holds no contract {text}, and no contract's transaction {text}")
    (name,) = names
    if not name.hex().startswith(text.lower()):  # found by a transaction: there may be others
        matches = yield from _find_matches(ledger, name.hex())
    return (yield from _contract(ledger, name, matches))


def find_receipt(ledger: Ledger, text: str) -> Slices[Found]:
    """Returns the receipt of one transaction, or the decisive one of a contract, whose name begins with `text`.

    Raises:
        NotFound: none, or several.
    """
    named = (yield from _find_matches(ledger, text)).named
    if not named:
        return (yield from find_contract(ledger, text)).decisive
    if len(named) > 1:
        raise NotFound("ambiguous_name", f"{text} is the beginning of {len(named)} transactions: give more digits")
    return named[0]


class _Matches:
    """Receipts whose transaction's name or reference begins with some digits, in the order of the chain."""

    def __init__(self, digits: str) -> None:
        self._digits = digits
        self.named: list[Found] = []
        """Those of transactions of this name."""
        self._executed: list[Found] = []
        self._declined: deque[Found] = deque(maxlen=DECLINED_KEPT_MAX)
        self.left_out = 0

    def take(self, found: Found) -> None:
        """Keeps a receipt if it fits."""
        receipt = found.receipt
        if receipt.transaction.hex().startswith(self._digits):
            self.named.append(found)
        elif receipt.reference is None or not receipt.reference.hex().startswith(self._digits):
            return
        elif receipt.status is Status.EXECUTED:
            self._executed.append(found)
        else:
            self.left_out += len(self._declined) == DECLINED_KEPT_MAX
            self._declined.append(found)

    def contracts(self) -> list[Found]:
        """Returns what is about contracts."""
        found = [item for item in (*self.named, *self._executed, *self._declined) if item.receipt.parties]
        return sorted(found, key=lambda item: (item.height, item.index))


def _find_matches(ledger: Ledger, text: str) -> Slices[_Matches]:
    require_id(text)
    matches = _Matches(text.lower())
    wanted = bytes.fromhex(text[: len(text) // 2 * 2])  # an odd last digit is compared with the receipts
    yield from search(ledger, wanted, matches.take)
    return matches


def search(ledger: Ledger, wanted: bytes, take: Callable[[Found], None]) -> Slices[None]:
    """Gives `take` all receipts of the blocks whose stored receipts contain `wanted`, in the order of the chain."""
    for height, progress in heights_in_slices(ledger.first_height, ledger.height):
        if wanted in ledger.receipts_bytes(height):
            for index, receipt in enumerate(ledger.receipts(height)):
                take(Found(height=height, index=index, receipt=receipt))
            yield Progress(height, ledger.height)
        elif progress is not None:
            yield progress


def began_below(ledger: Ledger, key: StateKey) -> bool:
    """Says whether a key may have been written below the blocks that are here: it was there at the first of them."""
    return ledger.lacks(GENESIS_HEIGHT) and ledger.get_at(key, ledger.first_height) is not None


def transaction_of(ledger: Ledger, found: Found) -> SignedTransaction:
    """Returns the transaction of a receipt."""
    return decode_transaction(ledger.decided_block(found.height).transactions[found.index])


def _contract(ledger: Ledger, name: Digest, matches: _Matches) -> Slices[Contract]:
    attempts = matches.contracts()
    actions = []
    for done, attempt in enumerate(attempts, start=1):
        actions.append(transaction_of(ledger, attempt).envelope.action)
        yield Progress(done, len(attempts))
    terms = [action.terms for action in actions if isinstance(action, SubmitTrade | CancelTrade)]
    assert terms, "receipts with parties belong to contracts"
    for key in (trade_key(name), offer_key(terms[0].seller, terms[0].offer_counter)):
        if began_below(ledger, key):
            ledger.require_whole()  # what decided about it lies there

    def rank(place: int) -> tuple[bool, bool, int]:
        executed = attempts[place].receipt.status is Status.EXECUTED
        return (executed and isinstance(actions[place], SubmitTrade), executed, place)

    decisive = attempts[max(range(len(attempts)), key=rank)]
    return Contract(
        name=name,
        attempts=tuple(attempts),
        attempts_left_out=matches.left_out,
        terms=terms[0],
        decisive=decisive,
    )
