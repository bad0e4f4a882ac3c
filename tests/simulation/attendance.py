"""Who attended, found anew from a ledger's blocks, by name: what the state's bitmaps have to say."""

from collections import deque

from consensus.identifiers import Address, Height
from contracts.attendance import CERTIFICATES_KEPT, attending
from contracts.state import Overlay
from ledger.ledger import Ledger
from ledger.ledger_reading import StateAt
from ledger.validation import parent_voters


def check_attendance(ledger: Ledger) -> int:
    """Compares, block by block, whom the state and the carried certificate let be rewarded with what all blocks say.

    Returns:
        How many blocks were compared.
    """
    signers: deque[frozenset[Address]] = deque(maxlen=CERTIFICATES_KEPT)
    for number in range(2, ledger.height + 1):
        height, below = Height(number), Height(number - 1)
        voters = parent_voters(ledger.decided_block(height).parent_certificate)
        signers.append(frozenset(voters))
        expected = frozenset[Address]().union(*signers) & {*ledger.membership_at(below).addresses}
        found = attending(Overlay(StateAt(ledger, below)), height, voters)
        assert len(found) == len(set(found))
        assert set(found) == expected, f"block {height} rewards {len(found)}, by its blocks {len(expected)}"
    return max(0, ledger.height - 1)
