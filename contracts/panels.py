"""Who verifies an application: the one place where a panel is named, and how many of it must say the same."""

from typing import Final

from consensus.cryptography import address_of
from consensus.identifiers import Address
from contracts.genesis import Genesis
from contracts.state import MEMBER_LIST_KEY, MemberList, Overlay, Score, score_key

PANEL_MAX: Final = 10
VERDICTS_MIN: Final = 3
"""A single dishonest verifier, or two, never decide who comes in."""


def named_panel(overlay: Overlay, genesis: Genesis) -> tuple[Address, ...]:
    """Returns the verifiers of an application that a block decides on this state, in the order of admission.

    The founding verifiers that are members and not suspended, the first `PANEL_MAX` of them. When verifiers are drawn
    from those that staked, this is where.
    """
    keys = genesis.membership.verifier_keys or tuple(member.node_key for member in genesis.members)
    founding = {address_of(key) for key in keys}
    members = overlay.require(MEMBER_LIST_KEY, MemberList).addresses
    fit = (
        address
        for address in members
        if address in founding and not overlay.require(score_key(address), Score).is_suspended
    )
    return tuple(fit)[:PANEL_MAX]


def verdicts_needed(panel_size: int) -> int:
    """Returns how many equal verdicts decide: t = floor(2 m / 3) + 1, at least `VERDICTS_MIN`."""
    return max(VERDICTS_MIN, 2 * panel_size // 3 + 1)
