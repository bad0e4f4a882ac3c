"""`python -m tests.faults`: every behaviour as a real daemon among 4 and 7; prints and writes the table."""

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from tests.faults.admission_runs import admission_rows
from tests.faults.member_runs import collector_rows, member_rows
from tests.faults.table import AdmissionRow, AnyRow, Row, admissions_as_text, as_text, write_table
from tests.faults.traders import Tell, trader_rows

SIZES: Final = (4, 7)
RESULT: Final = Path("build/faults.json")
TABLE_WIDTH: Final = 260
"""Where the output is no terminal."""


def main(
    nodes: Annotated[list[int] | None, typer.Option(help="Sizes of the network; 4 and 7 by default.")] = None,
    only: Annotated[str, typer.Option(help="Behaviours whose name contains this.")] = "",
    output: Annotated[Path, typer.Option(help="The result file.")] = RESULT,
) -> None:
    """Runs real daemons, some with one behaviour replaced; exit code 1 if a row does not hold."""
    rows: list[Row] = []
    beyond: list[Row] = []
    joining: list[AdmissionRow] = []
    captured: list[AdmissionRow] = []
    tell = _teller()
    with tempfile.TemporaryDirectory(prefix="p2pnode-faults-") as directory:
        for size in nodes or SIZES:
            place = Path(directory) / str(size)
            rows += trader_rows(size, place, only=only, tell=tell)
            within, past = member_rows(size, place, only=only, tell=tell)
            rows += within
            beyond += past
            admitted, past_admissions = admission_rows(size, place, only=only, tell=tell)
            joining += admitted
            captured += past_admissions
        rows += collector_rows(Path(directory) / "clusters", only=only, tell=tell)
    write_table([*rows, *joining], [*beyond, *captured], output)
    console = Console(width=None if sys.stdout.isatty() else TABLE_WIDTH)
    console.print(as_text(rows, "Within the bound of F liars"))
    console.print(admissions_as_text(joining, "Who joins, within the bound"))
    console.print(as_text(beyond, "Beyond it: F + 1 liars; held: no honest member holds an invalid balance"))
    console.print(admissions_as_text(captured, "Who joins, beyond the bound of liars among the verifiers"))
    raise typer.Exit(_judge([*rows, *joining, *beyond, *captured], console, output))


def _judge(rows: Sequence[AnyRow], console: Console, output: Path) -> int:
    failed = [row for row in rows if not row.held]
    console.print(f"{len(rows) - len(failed)} of {len(rows)} rows hold; {output}")
    return 1 if failed or not rows else 0


def _teller() -> Tell:
    started_s = time.monotonic()
    return lambda text: typer.echo(f"{time.monotonic() - started_s:6.1f} s  {text}", err=True)


if __name__ == "__main__":
    typer.run(main)
