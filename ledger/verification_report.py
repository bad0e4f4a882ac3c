"""What `verify` found."""

from dataclasses import dataclass, field
from typing import Final

from consensus.identifiers import Height
from contracts.state import Totals

DAMAGE_LISTED_MAX: Final = 100
"""Findings kept; more are only counted. One altered block can make thousands of others wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One thing that is not as it must be."""

    height: Height | None
    """Where; None if that is not known."""
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """The outcome of verifying a ledger."""

    tip: Height
    """Highest height that a stored block or the tip record names."""
    executed_from: Height
    """Height whose state execution began with: 0, or the ledger's origin, whose state was taken as members decided
    it."""
    heights_checked: int
    """Blocks re-executed, from the one above on; fewer than up to `tip` if the chain breaks on the way."""
    transactions: int
    """In those blocks."""
    damage: tuple[Damage, ...]
    """At most `DAMAGE_LISTED_MAX`, in the order of finding."""
    damage_count: int
    """All findings, listed or not."""
    totals: Totals | None
    """The books after the last block checked; None if not even genesis could be checked."""
    unbalanced: tuple[str, ...]
    """What does not add up after the last block checked, of each record and of all: a line each, at most
    `DAMAGE_LISTED_MAX`; empty if tokens and energy are conserved."""

    @property
    def conserved(self) -> bool:
        """Whether tokens and energy add up to the unit."""
        return not self.unbalanced

    @property
    def holds(self) -> bool:
        """Whether everything is as it must be."""
        return self.damage_count == 0 and self.conserved

    @property
    def heights_damaged(self) -> tuple[Height, ...]:
        """The heights named in `damage`, ascending."""
        return tuple(sorted({damage.height for damage in self.damage if damage.height is not None}))


@dataclass(slots=True)
class Findings:
    """Damage as it is found, listed up to the limit."""

    listed: list[Damage] = field(default_factory=list)
    count: int = 0

    def add(self, height: Height | None, what: str) -> None:
        """Adds one finding."""
        self.count += 1
        if len(self.listed) < DAMAGE_LISTED_MAX:
            self.listed.append(Damage(height=height, what=what))
