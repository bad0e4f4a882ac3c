"""The present slot: the own clock, held back by what the other members report and never behind the chain.

Clocks serve progress only; no safety rule reads them. One clock an hour ahead must not drag the chain with it,
and a chain whose slots ran ahead of all clocks must go on. Nor may all clocks, set wrong for some seconds by the
server that they share: a wall clock that jumps is believed once others are there or it has stayed.
"""

from dataclasses import dataclass
from typing import Final

from consensus import quorum
from consensus.events import Instant
from consensus.identifiers import Address, Slot

REPORT_AGE_MAX_SLOTS: Final = 128
"""A report older than this is forgotten: long enough to hear from 2 F + 1 of 256 members, two a slot."""

CLOCK_JUMP_SLOTS: Final = 2
"""A wall clock that moves by more than this against the monotonic one has jumped. Less is what P2 waits anyway."""

CLOCK_SETTLE_MS: Final = 30_000
"""After a jump a clock is followed once it has stayed for so long: longer than a time server's slip, which is taken
back within seconds, and short for a board that is set right after it booted.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockJump:
    """A jump of the own wall clock that is not followed yet."""

    by_ms: int
    """From the clock that is followed; below 0 it jumped back."""
    followed_in_ms: int
    """Unless it jumps again, or F + 1 others are seen there before."""


class OwnClock:
    """The wall clock as this member follows it: the monotonic clock and an offset.

    Small steps are followed at once. After a jump the time goes on as before until F + 1 other members' followed
    slots are where the wall clock is now, one of which is honest, or until it has stayed there. What is followed at
    the start is the wall clock: there is nothing to hold it against. So time never stands still: a clock that goes on
    jumping counts on as the monotonic one, until it stays or jumps to where the others are.
    """

    __slots__ = ("_jump_ms", "_jumped_ms", "_offset_ms", "_settle_ms", "_slot_duration_ms")

    def __init__(self, *, slot_duration_ms: int, settle_ms: int, now: Instant) -> None:
        self._slot_duration_ms = slot_duration_ms
        self._settle_ms = settle_ms
        self._offset_ms = _offset_ms(now)
        """Wall clock less monotonic clock, as followed."""
        self._jump_ms = 0
        """How far the wall clock is from there since its last jump; 0 while it is followed."""
        self._jumped_ms = now.monotonic_ms
        """Monotonic time of the last jump."""

    def followed(self, now: Instant) -> Instant:
        """Returns an instant with the clock that is followed in the place of the wall clock."""
        return Instant(monotonic_ms=now.monotonic_ms, clock_ms=now.monotonic_ms + self._offset_ms)

    def observe(self, now: Instant) -> bool:
        """Takes what both clocks show, and follows the wall clock as far as it may. Says whether a jump is not
        followed yet.
        """
        by_ms = _offset_ms(now) - self._offset_ms
        if self._is_jump(by_ms):
            if self._jump_ms == 0 or self._is_jump(by_ms - self._jump_ms):
                self._jumped_ms = now.monotonic_ms
            self._jump_ms = by_ms
            if now.monotonic_ms - self._jumped_ms < self._settle_ms:
                return True
        self.follow(now)
        return False

    def follow(self, now: Instant) -> None:
        """Follows the wall clock from now on, wherever it is."""
        self._offset_ms = _offset_ms(now)
        self._jump_ms = 0

    def jump(self, now: Instant) -> ClockJump | None:
        """Returns the jump that is not followed yet, if there is one."""
        if self._jump_ms == 0:
            return None
        left_ms = max(0, self._jumped_ms + self._settle_ms - now.monotonic_ms)
        return ClockJump(by_ms=self._jump_ms, followed_in_ms=left_ms)

    def _is_jump(self, by_ms: int) -> bool:
        return abs(by_ms) > CLOCK_JUMP_SLOTS * self._slot_duration_ms


def _offset_ms(now: Instant) -> int:
    return now.clock_ms - now.monotonic_ms


class MemberClocks:
    """What the members lately reported as their slot, carried forward by this member's elapsed time. Instants here
    carry the clock that this member follows.
    """

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

    def near(self, own: Address, now: Instant) -> int:
        """Returns how many other members' slots are where the clock of an instant is, or a jump's width from it."""
        slot = now.slot(self._slot_duration_ms)
        return sum(
            member != own and abs(there - slot) <= CLOCK_JUMP_SLOTS for member, there in self.reported(now).items()
        )

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
