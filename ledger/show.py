"""What `p2pnode ledger show` shows, as values that JSON can carry. Reads an open ledger, prints nothing."""

from collections.abc import Iterator
from typing import Any

from consensus.codec import Record, decode
from consensus.identifiers import GENESIS_HEIGHT, Digest, Height
from consensus.rendering import render
from contracts.state import StateKey, StateValue
from contracts.transactions import decode_transaction, transaction_digest
from ledger.block import block_digest
from ledger.ledger import Ledger
from ledger.past_leaders import collectors_of, expected_leader, leaders_at
from ledger.state_keys import state_key_text

Json = dict[str, Any]
"""An object of JSON: text keys; text, whole numbers, booleans, null, lists and objects as values."""


class BlockRow(Record, frozen=True, kw_only=True):
    """One line of the list of blocks."""

    height: Height
    era: int
    """That the height is of."""
    slot: int
    leader: str
    """Address in the header, hexadecimal."""
    expected_leader: str
    """Address that Eq. 1 gives for the slot: of the two that it gives where clusters are drawn, the one in the header
    if it is one of them.
    """
    transactions: int
    digest: str


def block_rows(ledger: Ledger, *, first: Height, last: Height) -> Iterator[BlockRow]:
    """Yields a line for each decided height from `first` to `last`, both included, that is here."""
    for number in range(max(first, ledger.first_height), min(last, ledger.height) + 1):
        height = Height(number)
        block = ledger.decided_block(height)
        header = block.header
        yield BlockRow(
            height=height,
            era=ledger.eras.at(height).number,
            slot=header.slot,
            leader=header.leader.hex(),
            expected_leader=expected_leader(leaders_at(ledger, height), header).hex(),
            transactions=len(block.transactions),
            digest=block_digest(header).hex(),
        )


def show_block(ledger: Ledger, height: Height) -> Json | None:
    """Returns a decided block with its transactions, receipts and certificate; None if there is none."""
    if not GENESIS_HEIGHT < height <= ledger.height:
        return None
    block, certificate = ledger.decided_block(height), ledger.certificate(height)
    header, leaders = block.header, leaders_at(ledger, height)
    return {
        "digest": block_digest(header).hex(),
        "expected_leader": expected_leader(leaders, header).hex(),
        "collectors": [address.hex() for address in collectors_of(leaders, header)],
        "header": render(header),
        "transactions": [_show_raw(raw) for raw in block.transactions],
        "receipts": render(ledger.receipts(height)),
        "postings": render(block.postings),
        "parent_certificate": render(block.parent_certificate),
        "certificate": render(certificate),
    }


def show_transaction(ledger: Ledger, digest: Digest) -> Json | None:
    """Returns a decided transaction with its place and receipt; None if the chain does not have it.

    Raises:
        BlocksNotHere: it may stand below the origin; so do the others of what lies there.
    """
    location = ledger.find_transaction(digest)
    if location is None:
        ledger.require_whole()
        return None
    block = ledger.decided_block(location.height)
    return {
        "height": location.height,
        "index": location.index,
        "slot": block.header.slot,
        "block": block_digest(block.header).hex(),
        **_show_raw(block.transactions[location.index]),
        "receipt": render(ledger.receipts(location.height)[location.index]),
    }


def show_state(ledger: Ledger, key: StateKey) -> Json | None:
    """Returns the newest value of a state key with the height that wrote it; None if it was never written.

    What was written at the ledger's origin or before it has the origin's height; so has the first one of its history.
    """
    newest = ledger.newest(key)
    return None if newest is None else _show_version(key, *newest)


def show_history(ledger: Ledger, key: StateKey) -> Iterator[Json]:
    """Yields every value of a state key with the height that wrote it, oldest first."""
    for height, value in ledger.history(key):
        yield _show_version(key, height, value)


def render_state_value(value: bytes) -> Json:
    """Returns an encoded state value as JSON."""
    record: Json = render(decode(value, StateValue))
    return record


def _show_version(key: StateKey, height: Height, value: bytes) -> Json:
    return {"key": state_key_text(key), "height": height, "value": render_state_value(value)}


def _show_raw(raw: bytes) -> Json:
    return {
        "digest": transaction_digest(raw).hex(),
        "size_bytes": len(raw),
        "transaction": render(decode_transaction(raw)),
    }
