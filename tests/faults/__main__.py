"""`python -m tests.faults`: every behaviour against real daemons, at 4 and 7 nodes; the table and build/faults.json."""

import sys
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from tests.faults.members import member_rows
from tests.faults.table import Row, as_text, write_table
from tests.faults.traders import trader_rows

SIZES: Final = (4, 7)
RESULT: Final = Path("build/faults.json")


def main(
    nodes: Annotated[list[int] | None, typer.Option(help="Sizes of the network.")] = None,
    only: Annotated[str, typer.Option(help="Behaviours whose name contains this.")] = "",
) -> None:
    """Run the real daemons with one behaviour replaced; exit code 1 if a row does not hold."""
    rows: list[Row] = []
    beyond: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="p2pnode-faults-") as directory:
        for size in nodes or SIZES:
            place = Path(directory) / str(size)
            rows += trader_rows(size, place, only=only, tell=_tell)
            within, past = member_rows(size, place, only=only, tell=_tell)
            rows += within
            beyond += past
    write_table(rows, beyond, RESULT)
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(as_text(rows, "Within the bound of F liars"))
    console.print(as_text(beyond, "Beyond it: F + 1 liars"))
    held = sum(row.held for row in rows)
    console.print(f"{held} of {len(rows)} rows hold; {RESULT}")
    raise typer.Exit(0 if held == len(rows) else 1)


def _tell(text: str) -> None:
    typer.echo(text, err=True)


if __name__ == "__main__":
    typer.run(main)
