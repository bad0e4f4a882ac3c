"""What `verify` found, and the full sums that it checks the books against."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from consensus.codec import decode
from consensus.identifiers import Height
from contracts.state import TOTALS_KEY, Account, Deficit, Packet, StateKey, Table, Totals

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
    """The outcome of verifying a ledger from genesis."""

    tip: Height
    """Highest height that a stored block or the tip record names."""
    heights_checked: int
    """Blocks re-executed, from height 1; fewer than `tip` if the chain breaks on the way."""
    transactions: int
    """In those blocks."""
    damage: tuple[Damage, ...]
    """At most `DAMAGE_LISTED_MAX`, in the order of finding."""
    damage_count: int
    """All findings, listed or not."""
    totals: Totals | None
    """The books after the last block checked; None if not even genesis could be checked."""
    conserved: bool
    """Whether the books equal the sum over every account, packet and deficit."""

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


def unbalanced_books(state: Iterable[tuple[StateKey, bytes]]) -> list[str]:
    """Compares the books of a whole state with the sum over all its accounts, packets and deficits.

    Returns:
        One line per total that differs; nothing if tokens and energy are conserved to the unit.
    """
    totals: Totals | None = None
    tokens_micro = 0
    packets = dict.fromkeys(("credited_wh", "available_wh", "escrow_wh", "claimed_wh", "exported_wh"), 0)
    deficits = dict.fromkeys(("recorded_wh", "open_wh", "bought_wh", "imported_wh"), 0)
    for key, value in state:
        if key == TOTALS_KEY:
            totals = decode(value, Totals)
        elif key.startswith(Table.ACCOUNT.value):
            account = decode(value, Account)
            tokens_micro += account.available_micro + account.held_micro
        elif key.startswith(Table.PACKET.value):
            _add_fields(packets, decode(value, Packet))
        elif key.startswith(Table.DEFICIT.value):
            _add_fields(deficits, decode(value, Deficit))
    if totals is None:
        return ["the totals are missing"]
    deficits["deficit_wh"] = deficits.pop("recorded_wh")
    sums = {**packets, **deficits}
    faults = [
        f"{name} is {getattr(totals, name)}, the sum over all records is {value}"
        for name, value in sums.items()
        if getattr(totals, name) != value
    ]
    if tokens_micro != totals.issued_micro - totals.redeemed_micro:
        faults.append(
            f"{tokens_micro} micro-tokens in wallets, {totals.issued_micro} - {totals.redeemed_micro} issued"
        )
    if sums["claimed_wh"] != sums["bought_wh"]:
        faults.append(f"{sums['claimed_wh']} Wh sold, {sums['bought_wh']} Wh bought")
    return faults


def _add_fields(sums: dict[str, int], record: Packet | Deficit) -> None:
    for name in sums:
        sums[name] += getattr(record, name)
