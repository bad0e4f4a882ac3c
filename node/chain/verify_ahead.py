"""Verifies many transactions on a worker thread before the event loop needs them."""

import asyncio
from collections.abc import Sequence
from typing import Final

from consensus.identifiers import Digest
from contracts.transactions import transaction_digest
from ledger.errors import TransactionRefused
from ledger.ledger import Ledger

INLINE_VERIFICATIONS_MAX: Final = 8
"""Signatures checked in the event loop: 0.6 ms. More go to a worker thread."""


async def verify_ahead(ledger: Ledger, raws: Sequence[bytes]) -> None:
    """Verifies transactions on a worker thread if they are many, so that later checks find them remembered."""
    named = [(raw, transaction_digest(raw)) for raw in raws]
    unknown = [one for one in named if ledger.verifier.known(one[1]) is None]
    if len(unknown) > INLINE_VERIFICATIONS_MAX:
        await asyncio.to_thread(_verify_all, ledger, unknown)


def _verify_all(ledger: Ledger, named: Sequence[tuple[bytes, Digest]]) -> None:
    for raw, digest in named:
        try:
            ledger.verifier.verify(raw, digest)
        except TransactionRefused:
            continue  # whoever checks it next gets the reason
