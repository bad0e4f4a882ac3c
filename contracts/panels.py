"""Who verifies an application: who may, how a panel of them is drawn, and how many of it must say the same."""

from typing import Final

from consensus.cryptography import address_of
from consensus.identifiers import Address, Digest, Height, Slot
from consensus.quorum import quorum
from consensus.sampling import PANEL, Candidate, draw_cluster, seed_of
from contracts.genesis import Genesis
from contracts.state import MEMBER_LIST_KEY, MemberList, Overlay, Score, score_key

PANEL_MAX: Final = 10
VERDICTS_MIN: Final = 3
"""A single dishonest verifier, or two, never decide who comes in."""


def verifiers(overlay: Overlay, genesis: Genesis) -> tuple[Address, ...]:
    """Returns who may verify an application, in the order of admission.

    Members that are not suspended and staked at least genesis' `threshold_stake`. Every score begins below that:
    until a quorum of the members staked, and a whole panel, the founding verifiers may, too. Else ten liars, the
    first that staked, would verify alone.
    """
    keys = genesis.membership.verifier_keys or tuple(member.node_key for member in genesis.members)
    founding = {address_of(key) for key in keys}
    members = overlay.require(MEMBER_LIST_KEY, MemberList).addresses
    scores = {address: overlay.require(score_key(address), Score) for address in members}
    fit = [address for address in members if not scores[address].is_suspended]
    staked = [address for address in fit if scores[address].staked >= genesis.scores.threshold_stake]
    if len(staked) >= max(PANEL_MAX, quorum(len(members))):
        return tuple(staked)
    return tuple(address for address in fit if address in staked or address in founding)


def draw_panel(
    may_verify: tuple[Address, ...], *, randomness: Digest, height: Height, request: Digest
) -> tuple[Address, ...]:
    """Returns `PANEL_MAX` of those who may verify, in the order drawn; all, in theirs, where there are no more.

    Args:
        may_verify: since before anybody could know the randomness.
        randomness: after the block of `height`.
        height: of the block that the draw waited for.
        request: the transaction that brought the application.
    """
    candidates = [Candidate(number, region=0) for number in range(len(may_verify))]
    seed = seed_of(randomness, height, Slot(0), PANEL + request)
    drawn = draw_cluster(candidates, size=PANEL_MAX, cap=PANEL_MAX, seed=seed)
    return tuple(may_verify[number] for number in drawn)


def verdicts_needed(panel_size: int) -> int:
    """Returns how many equal verdicts decide: t = floor(2 m / 3) + 1, at least `VERDICTS_MIN`."""
    return max(VERDICTS_MIN, 2 * panel_size // 3 + 1)
