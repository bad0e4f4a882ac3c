"""The table of all behaviours: what each tried, who noticed, what it cost whom."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.table import Table

BEYOND_BOUND: Final = "beyond_bound"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One behaviour at one size of the network, as it was seen from the honest nodes' ledgers."""

    behaviour: str
    n: int
    liars: int = 1
    detected_by: str
    """Who noticed: `every validator`, `the buyer's node`, ..."""
    declined_at: str
    """`refused` (never on the chain), `declined` (receipt), `no vote` (block), `expired`, `evidence`, or `harmless`."""
    reason: str
    """Of the receipt or the log, as the product names it."""
    balances_unchanged: bool
    """To the unit, by what was declined: of both parties."""
    honest_retry_settled: bool | None
    """Exactly once; None where there is nothing to retry."""
    attacker_score_before: int
    attacker_score_after: int
    """Millionths."""
    honest_scores_fell: bool
    chain_went_on: bool
    evidence: str
    """Offence on the chain, or `none`."""
    note: str = ""
    held: bool


def write_table(rows: Sequence[Row], beyond_bound: Sequence[Row], path: Path) -> None:
    """Writes all rows as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"rows": [asdict(row) for row in rows], BEYOND_BOUND: [asdict(row) for row in beyond_bound]}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def as_text(rows: Sequence[Row], title: str) -> Table:
    """Returns the table for people."""
    table = Table(title=title, title_justify="left")
    headings = ("behaviour", "n", "detected by", "stage", "reason", "balances", "retry", "score", "evidence", "held")
    for heading in headings:
        table.add_column(heading)
    for row in rows:
        table.add_row(
            row.behaviour,
            str(row.n),
            row.detected_by,
            row.declined_at,
            row.reason,
            "unchanged" if row.balances_unchanged else "CHANGED",
            {True: "once", False: "NOT once", None: "-"}[row.honest_retry_settled],
            f"{row.attacker_score_before / 10**6:.2f} to {row.attacker_score_after / 10**6:.2f}",
            row.evidence,
            "yes" if row.held else "NO",
        )
    return table
