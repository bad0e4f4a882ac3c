"""Two signed statements of one member about one height that an honest member never signs both.

Different justifications, payloads, certificates or slots are never evidence.
"""

from dataclasses import dataclass
from enum import Enum

from consensus.identifiers import Address, Digest, Height, Slot
from consensus.messages import Claim, Commit, Prepare, PrePrepare, ViewChange

Signed = PrePrepare | Prepare | Commit | ViewChange


class Offence(Enum):
    """What the two statements contradict each other in."""

    TWO_VOTES = "two_votes"
    """Two VOTEs of one slot for different blocks."""
    TWO_COMMITS = "two_commits"
    """Two COMMITs of one slot for different blocks."""
    TWO_VIEW_CHANGES = "two_view_changes"
    """Two VIEW-CHANGEs of one slot with different claims."""
    COMMIT_DENIED = "commit_denied"
    """COMMIT(t, d) and a VIEW-CHANGE above t that claims none, an earlier slot, or another block at t."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Both messages carry valid signatures of `signer` over statements of `height`."""

    offence: Offence
    signer: Address
    height: Height
    first: Signed
    second: Signed


def contradiction(first: Signed, second: Signed) -> Offence | None:
    """Says what two verified statements of one signer at one height contradict each other in, if anything."""
    match first, second:
        case (PrePrepare() | Prepare(), PrePrepare() | Prepare()):
            return _same_slot_other(first, second, Offence.TWO_VOTES)
        case (Commit(), Commit()):
            return _same_slot_other(first, second, Offence.TWO_COMMITS)
        case (ViewChange(), ViewChange()):
            same = first.slot == second.slot and first.claim != second.claim
            return Offence.TWO_VIEW_CHANGES if same else None
        case (Commit(), ViewChange()):
            return _commit_denied(first, second)
        case (ViewChange(), Commit()):
            return _commit_denied(second, first)
        case _:
            return None


def _same_slot_other(
    first: PrePrepare | Prepare | Commit, second: PrePrepare | Prepare | Commit, offence: Offence
) -> Offence | None:
    return offence if first.slot == second.slot and first.block != second.block else None


def _commit_denied(commit: Commit, view_change: ViewChange) -> Offence | None:
    if view_change.slot <= commit.slot:
        return None
    return Offence.COMMIT_DENIED if _denies(view_change.claim, commit.slot, commit.block) else None


def _denies(claim: Claim | None, slot: Slot, block: Digest) -> bool:
    return claim is None or claim.slot < slot or (claim.slot == slot and claim.block != block)
