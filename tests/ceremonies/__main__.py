"""`python -m tests.ceremonies record`: every case at 4, 5 and 7 members on real daemons; prints, writes the table."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from tests.ceremonies.cases import CASES
from tests.ceremonies.ceremony import run_case
from tests.ceremonies.run import Tell
from tests.ceremonies.table import as_markdown
from tests.simulation.runs import revision
from tests.support.long_chain import scratch

SIZES: Final = (4, 5, 7)

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Ceremonies on real daemons.")


@app.callback()
def choose() -> None:
    """The only command has a name: more may come."""


@app.command()
def record(
    output: Annotated[Path, typer.Option(help="The result file.")],
    members: Annotated[list[int] | None, typer.Option(help="Sizes of the network; 4, 5 and 7 by default.")] = None,
    only: Annotated[str, typer.Option(help="Letters of the cases; all by default.")] = "".join(CASES),
) -> None:
    """Loses what the case says, holds the ceremony, goes on; exit code 1 on a fork, or a loss that may not be."""
    started_s = time.monotonic()
    rows = []
    for letter in only:
        for size in members or SIZES:
            with scratch() as directory:
                rows.append(run_case(letter, size, directory, _tell(started_s, f"{letter}, {size} members")))
            said = "held" if rows[-1].held else f"DOES NOT HOLD: {rows[-1].note}"
            typer.echo(f"{letter}, {size} members: {said}, {rows[-1].elapsed_s:.1f} s", err=True)
            found = [{**asdict(row), "held": row.held} for row in rows]
            elapsed_s = round(time.monotonic() - started_s, 1)
            result = {"revision": revision(), "elapsed_s": elapsed_s, "ceremonies": found}
            output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    typer.echo(as_markdown(rows))
    raise typer.Exit(0 if rows and all(row.held for row in rows) else 1)


def _tell(started_s: float, which: str) -> Tell:
    return lambda text: typer.echo(f"{time.monotonic() - started_s:6.1f} s  {which}: {text}", err=True)


if __name__ == "__main__":
    sys.exit(app())
