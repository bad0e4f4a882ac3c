"""The table of all behaviours: what each tried, who noticed, what it cost whom."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.table import Table

BEYOND_BOUND: Final = "beyond_bound"
UNCHANGED_OR_RISEN: Final = "unchanged or risen"
FELL: Final = "fell"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One behaviour at one size of the network, as it was seen from the honest nodes' ledgers."""

    behaviour: str
    n: int
    liars: int
    detected_by: str
    """Who noticed, counted from their ledgers, logs or the proof on the chain."""
    declined_at: str
    """The stage: `reading`, `before execution`, `execution`, `final`, `expiry`, `vote`, `next leader`, `quorum`."""
    reason: str
    """Of the receipts, refusals or log, as the product names it."""
    balances_unchanged: bool
    """To the unit, of everybody, by what was declined; and every wallet follows from the contracts that it signed."""
    honest_retry_settled_once: bool
    """What the lie was about settled exactly once in the end; of a promise that was not kept: refunded in full."""
    attacker_score_before: int
    attacker_score_after: int
    """Millionths, around the lies."""
    honest_scores: str
    """`unchanged or risen`, or `fell`."""
    chain_went_on: bool
    """All honest members decided the same blocks, further ones after the lies too."""
    evidence: str
    """Offence that is proven on the chain, or `none`."""
    note: str = ""
    """What does not hold, or what broke."""
    held: bool


@dataclass(frozen=True, kw_only=True)
class AdmissionRow:
    """One behaviour around joining at one size of the network, as it was seen from the honest nodes' ledgers."""

    behaviour: str
    n: int
    liars: int
    """Members, verifiers and candidates; a stranger that applies is none of them."""
    at_the_door: str
    """Reasons of the receipts by which every member declined what somebody brought."""
    past_the_door: str
    """Why honest members gave no vote to a leader's blocks with the same, executed as if it were fit; else what."""
    applicant: str
    """What became of the home that applied meanwhile: how it stands in the state in the end."""
    balances_unchanged: bool
    """To the unit, of everybody, by what was declined; and every wallet follows from the contracts that it signed."""
    honest_scores: str
    """`unchanged or risen`, or `fell`."""
    chain_went_on: bool
    """All honest members decided the same blocks, further ones after the lies too."""
    note: str = ""
    """What does not hold, or what broke."""
    held: bool


AnyRow = Row | AdmissionRow


def write_table(rows: Sequence[AnyRow], beyond_bound: Sequence[AnyRow], path: Path) -> None:
    """Writes all rows as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {"rows": [asdict(row) for row in rows], BEYOND_BOUND: [asdict(row) for row in beyond_bound]}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def as_text(rows: Sequence[Row], title: str) -> Table:
    """Returns the table for people."""
    table = Table(title=title, title_justify="left")
    for heading in (
        "behaviour",
        "n",
        "liars",
        "detected by",
        "stage",
        "reason",
        "balances",
        "retry",
        "attacker's score",
        "honest scores",
        "chain",
        "evidence",
        "held",
        "note",
    ):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            row.behaviour,
            str(row.n),
            str(row.liars),
            row.detected_by,
            row.declined_at,
            row.reason,
            "unchanged" if row.balances_unchanged else "CHANGED",
            "once" if row.honest_retry_settled_once else "NOT once",
            f"{row.attacker_score_before / 10**6:.3f} to {row.attacker_score_after / 10**6:.3f}",
            row.honest_scores,
            "went on" if row.chain_went_on else "STOPPED",
            row.evidence,
            "yes" if row.held else "NO",
            row.note,
        )
    return table


def admissions_as_text(rows: Sequence[AdmissionRow], title: str) -> Table:
    """Returns the table of who joins for people."""
    table = Table(title=title, title_justify="left")
    for heading in (
        "behaviour",
        "n",
        "liars",
        "at the door",
        "past the door",
        "who applied",
        "balances",
        "honest scores",
        "chain",
        "held",
        "note",
    ):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            row.behaviour,
            str(row.n),
            str(row.liars),
            row.at_the_door,
            row.past_the_door,
            row.applicant,
            "unchanged" if row.balances_unchanged else "CHANGED",
            row.honest_scores,
            "went on" if row.chain_went_on else "STOPPED",
            "yes" if row.held else "NO",
            row.note,
        )
    return table
