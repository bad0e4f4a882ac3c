"""Until when the authority vouches for members, for people: how long that is, what follows, and what to do."""

from typing import Final, NamedTuple

from consensus.identifiers import Address, Slot
from contracts.genesis import Genesis
from contracts.state import MEMBER_LIST_KEY, MemberList, Overlay, StateReader
from contracts.state_reading import require
from contracts.units import MS_PER_HOUR
from contracts.validity import removal_slot, validity_of
from node.stories.words import day_text

MS_PER_DAY: Final = 24 * MS_PER_HOUR

NOTICE_DAYS: Final = 60
"""So long before its certificate ends a home is told to have it renewed."""


class Certificate(NamedTuple):
    """The end of a member's certificate, beside a moment."""

    until_ms: int
    days_left: int
    """Whole days until then; below 0: it ran out."""
    removed_from_ms: int
    """From then on the member is removed unless it is renewed."""
    waits_for_floor: bool
    """There are no more members than genesis wants: it stays for as long."""

    def told(self, whose: str) -> str:
        """Returns the same for people; `whose` is how the sentence calls the member."""
        until = day_text(self.until_ms)
        if self.days_left >= 0:
            return f"The authority vouches for {whose} until {until}, {self.days_left} days from now."
        if self.waits_for_floor:
            follows = "it stays a member until another home joins, as genesis allows no fewer"
        else:
            follows = f"from {day_text(self.removed_from_ms)} on it is removed, unless it is renewed before"
        return f"The certificate of {whose} ran out on {until}: {follows}."


def certificate_of(state: StateReader, genesis: Genesis, address: Address, slot: Slot) -> Certificate | None:
    """Returns the end of a member's certificate as the chain knows it, at the time of a slot; None: it knows none."""
    known = validity_of(Overlay(state), address)
    if known is None:
        return None
    members = require(state, MEMBER_LIST_KEY, MemberList).addresses
    left_ms = known.until_ms - _time_ms(slot, genesis)
    return Certificate(
        until_ms=known.until_ms,
        days_left=left_ms // MS_PER_DAY,
        removed_from_ms=_time_ms(removal_slot(known.until_ms, genesis), genesis),
        waits_for_floor=len(members) <= genesis.membership.members_min,
    )


def own_notice(state: StateReader, genesis: Genesis, own: Address, slot: Slot) -> str | None:
    """Returns what to tell a home whose certificate ends soon, or ran out; None if it is no member, or has time."""
    found = certificate_of(state, genesis, own, slot)
    if found is None or found.days_left > NOTICE_DAYS:
        return None
    if own not in require(state, MEMBER_LIST_KEY, MemberList).addresses:
        return None
    return f"{found.told('this home')} Have the authority renew it, then `p2pnode member renew`"


def _time_ms(slot: Slot, genesis: Genesis) -> int:
    return genesis.start_ms + slot * genesis.slot_duration_ms
