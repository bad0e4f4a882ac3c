"""What a declined transaction may have changed, and nothing else, to the unit."""

from collections.abc import Mapping

from msgspec.structs import replace

from consensus.codec import decode
from contracts.receipts import Receipt
from contracts.state import TOTALS_KEY, Account, StateKey, StateReader, Totals, account_key, score_key


def moved_nothing(
    base: StateReader, before: Mapping[StateKey, bytes], after: Mapping[StateKey, bytes], receipt: Receipt
) -> bool:
    """Says whether a transaction changed its sender's nonce, the score of who is at fault and a counter at most.

    Args:
        base: the state below the block.
        before: what the block's transactions before it changed.
        after: the same with it.
        receipt: its own.
    """
    for key in before.keys() | after.keys():
        was, now = (changes.get(key) or base.get(key) for changes in (before, after))
        if was != now and not _may_change(key, was, now, receipt):
            return False
    return True


def _may_change(key: StateKey, was: bytes | None, now: bytes | None, receipt: Receipt) -> bool:
    if was is None or now is None:
        return False
    if key == account_key(receipt.sender):
        return replace(decode(was, Account), nonce=0) == replace(decode(now, Account), nonce=0)
    if key == TOTALS_KEY:
        return replace(decode(was, Totals), trades_declined=0) == replace(decode(now, Totals), trades_declined=0)
    return receipt.fault is not None and key == score_key(receipt.fault)
