"""The table of all ceremonies: what was lost, who took part, what was decided before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HEADINGS: Final = (
    "case",
    "N",
    "lost",
    "K",
    "K*",
    "joined",
    "late",
    "gone",
    "replaced",
    "height before",
    "base",
    "carried",
    "height after",
    "told decided",
    "lost of these",
    "forks",
    "holds",
)


@dataclass(kw_only=True)
class Row:
    """One ceremony, as it was seen from the members' ledgers; filled in as it goes."""

    case: str
    members: int
    lost: str
    complete: int | None = None
    """K: of those who agreed, how many showed all that they may have signed."""
    complete_needed: int | None = None
    """K*."""
    joined: tuple[int, ...] = ()
    late: int | None = None
    gone: int | None = None
    replaced: int | None = None
    height_before: int | None = None
    """The highest that anybody had decided when all were dead."""
    base: int | None = None
    carried: bool | None = None
    """Whether the plan names the block above the base."""
    height_after: int | None = None
    told: int = 0
    """Transactions of which a client was told, before, that they are decided."""
    told_lost: int = 0
    """Of these, how many are not on the chain after, where they were."""
    forks: int = 0
    """Heights at which two participants have different blocks; with K >= K* the burnt home's ledger counts too."""
    statements: int = 0
    """That daemons signed and others heard: none contradicts another of its era."""
    why: dict[str, str] | None = None
    """What `p2pnode why` said of each running node while the chain stood still."""
    elapsed_s: float = 0.0
    note: str = ""
    """What does not hold."""

    @property
    def keeps_all(self) -> bool:
        """Says whether no decided block may be lost."""
        assert self.complete is not None
        assert self.complete_needed is not None
        return self.complete >= self.complete_needed

    @property
    def held(self) -> bool:
        return not self.note and self.forks == 0 and (self.told_lost == 0 or not self.keeps_all)


def as_markdown(rows: Sequence[Row]) -> str:
    """Returns the table as it stands in a document."""
    lines = [f"| {' | '.join(HEADINGS)} |", f"|{'---|' * len(HEADINGS)}"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    return "\n".join(lines)


def _cells(row: Row) -> list[str]:
    numbers = (row.complete, row.complete_needed)
    return [
        row.case,
        str(row.members),
        row.lost,
        *map(_text, numbers),
        ", ".join(map(str, row.joined)),
        *map(_text, (row.late, row.gone, row.replaced, row.height_before, row.base)),
        "" if row.carried is None else ("yes" if row.carried else "no"),
        _text(row.height_after),
        str(row.told),
        str(row.told_lost),
        str(row.forks),
        "yes" if row.held else f"NO: {row.note}",
    ]


def _text(number: int | None) -> str:
    return "" if number is None else str(number)
