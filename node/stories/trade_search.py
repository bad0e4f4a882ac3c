"""Finds the attempts of a contract on the chain, also of one that was declined and left no record in the state.

Receipts name the contract that they are about. A block is decoded only if its stored receipts contain the name's
bytes, so looking through 10,000 blocks takes a fraction of a second and the ledger needs no index.
"""

from collections.abc import Callable
from dataclasses import dataclass

from consensus.identifiers import Digest, Height
from contracts.receipts import Receipt, Status
from contracts.transactions import CancelTrade, SignedTransaction, SubmitTrade, TradeTerms, decode_transaction
from ledger.ledger import Ledger
from node.errors import NotFound
from node.stories.member_names import require_id
from node.stories.slices import Slices, heights_in_slices


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
    """Submissions and cancellations; at least one."""
    terms: TradeTerms
    decisive: Found
    """The submission that executed; else the cancellation, else the last submission that was declined."""


def find_contract(ledger: Ledger, text: str) -> Slices[Contract]:
    """Returns the contract whose trade id, or one of whose transactions, begins with `text`.

    Raises:
        NotFound: none, several, or `text` is no such name.
    """
    found = [item for item in (yield from find_receipts(ledger, text)) if item.receipt.parties]
    names = {item.receipt.reference for item in found if item.receipt.reference is not None}
    if len(names) > 1:
        raise NotFound("ambiguous_name", f"{text} is the beginning of {len(names)} contracts: give more digits")
    if not names:
        raise NotFound("unknown_trade", f"the chain holds no contract {text}, and no contract's transaction {text}")
    (name,) = names
    attempts = found
    if not name.hex().startswith(text.lower()):  # found by a transaction: there may be others
        attempts = [item for item in (yield from find_receipts(ledger, name.hex())) if item.receipt.parties]
    return _contract(ledger, name, tuple(attempts))


def find_receipt(ledger: Ledger, text: str) -> Slices[Found]:
    """Returns the receipt of one transaction, or the decisive one of a contract, whose name begins with `text`.

    Raises:
        NotFound: none, or several.
    """
    found = yield from find_receipts(ledger, text)
    named = [item for item in found if item.receipt.transaction.hex().startswith(text.lower())]
    if not named:
        return (yield from find_contract(ledger, text)).decisive
    if len(named) > 1:
        raise NotFound("ambiguous_name", f"{text} is the beginning of {len(named)} transactions: give more digits")
    return named[0]


def find_receipts(ledger: Ledger, text: str) -> Slices[list[Found]]:
    """Returns all receipts whose transaction's name or reference begins with `text`, in the order of the chain.

    Raises:
        NotFound: `text` is not 8 to 64 hexadecimal digits.
    """
    require_id(text)
    digits = text.lower()
    wanted = bytes.fromhex(digits[: len(digits) // 2 * 2])  # an odd last digit is compared below

    def fits(receipt: Receipt) -> bool:
        reference = b"" if receipt.reference is None else receipt.reference
        return receipt.transaction.hex().startswith(digits) or reference.hex().startswith(digits)

    return (yield from search(ledger, wanted, fits))


def search(ledger: Ledger, wanted: bytes, fits: Callable[[Receipt], bool]) -> Slices[list[Found]]:
    """Returns all receipts that fit, of the blocks whose stored receipts contain `wanted`."""
    found: list[Found] = []
    for height, progress in heights_in_slices(ledger.height):
        if wanted in ledger.receipts_bytes(height):
            found += [
                Found(height=height, index=index, receipt=receipt)
                for index, receipt in enumerate(ledger.receipts(height))
                if fits(receipt)
            ]
        if progress is not None:
            yield progress
    return found


def transaction_of(ledger: Ledger, found: Found) -> SignedTransaction:
    """Returns the transaction of a receipt."""
    return decode_transaction(ledger.decided_block(found.height).transactions[found.index])


def _contract(ledger: Ledger, name: Digest, attempts: tuple[Found, ...]) -> Contract:
    actions = [transaction_of(ledger, attempt).envelope.action for attempt in attempts]
    terms = [action.terms for action in actions if isinstance(action, SubmitTrade | CancelTrade)]
    assert terms, "receipts with parties belong to contracts"

    def rank(place: int) -> tuple[bool, bool, int]:
        executed = attempts[place].receipt.status is Status.EXECUTED
        return (executed and isinstance(actions[place], SubmitTrade), executed, place)

    decisive = attempts[max(range(len(attempts)), key=rank)]
    return Contract(name=name, attempts=attempts, terms=terms[0], decisive=decisive)
