"""The present slot: the own clock, held back by what the other members report and never behind the chain.

Clocks serve progress only; no safety rule reads them. One clock an hour ahead must not drag the chain with it,
and a chain whose slots ran ahead of all clocks must go on.
"""

from typing import Final

from consensus import quorum
from consensus.events import Instant
from consensus.identifiers import Address, Slot

REPORT_AGE_MAX_SLOTS: Final = 128
"""A report older than this is forgotten: long enough to hear from 2 F + 1 of 256 members, two a slot."""


class MemberClocks:
    """What the members lately reported as their slot, carried forward by this member's elapsed time."""

    __slots__ = ("_reports", "_slot_duration_ms")

    def __init__(self, slot_duration_ms: int) -> None:
        self._slot_duration_ms = slot_duration_ms
        self._reports: dict[Address, tuple[Slot, int]] = {}

    def report(self, member: Address, slot: Slot, now: Instant) -> None:
        """Takes the slot of a STATUS, as of now; the part of the slot already past is taken from the own clock."""
        phase_ms = now.clock_ms % self._slot_duration_ms
        self._reports[member] = (slot, now.monotonic_ms - phase_ms)

    def present_slot(self, own: Address, now: Instant, members: int) -> Slot:
        """Returns min(own slot, (F + 1)-th highest slot reported, own included); own until 2 F + 1 are known."""
        own_slot = now.slot(self._slot_duration_ms)
        slots = [own_slot, *(slot for member, slot in self.reported(now).items() if member != own)]
        if len(slots) < quorum.clock_quorum(members):
            return own_slot
        return min(own_slot, sorted(slots, reverse=True)[quorum.fault_bound(members)])

    def reported(self, now: Instant) -> dict[Address, Slot]:
        """Returns the slot that each member's clock shows now, by its last report that is not too old."""
        oldest_ms = now.monotonic_ms - REPORT_AGE_MAX_SLOTS * self._slot_duration_ms
        return {
            member: Slot(slot + (now.monotonic_ms - started_ms) // self._slot_duration_ms)
            for member, (slot, started_ms) in self._reports.items()
            if started_ms >= oldest_ms
        }

    def keep_only(self, members: tuple[Address, ...]) -> None:
        """Forgets reports of those who are no members (any more)."""
        self._reports = {member: self._reports[member] for member in self._reports if member in members}
