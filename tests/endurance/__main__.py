"""`python -m tests.endurance COMMAND`: each subject is a command of its own module and prints what it measured."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from tests.endurance.changes import changes
from tests.endurance.flips import flips
from tests.endurance.flood import flood
from tests.endurance.joins import joins
from tests.endurance.kills import kills
from tests.endurance.pauses import pauses
from tests.endurance.phases import phases
from tests.endurance.sync import sync
from tests.simulation.runs import revision

SUBJECTS: Final = {
    "kills": ("kills",),
    "phases": ("phases",),
    "pauses": ("pauses",),
    "changes": ("changes",),
    "joins": ("joins",),
    "flips": ("flips", "--json"),
    "sync": ("sync", "--json"),
    "flood": ("flood", "--json"),
}
"""What `record` runs, each in a process of its own."""

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Long tests on real nodes.")
app.command()(kills)
app.command()(phases)
app.command()(pauses)
app.command()(changes)
app.command()(joins)
app.command()(flips)
app.command()(flood)
app.command()(sync)


@app.command()
def record(output: Annotated[Path, typer.Option(help="The result file.")]) -> None:
    """Run every subject at full length and write the figures with the revision that they are of, one after the other.

    Exit code 1 if one failed; the others' figures are written all the same.
    """
    result: dict[str, object] = {"revision": revision()}
    failed = []
    for name, arguments in SUBJECTS.items():
        typer.echo(f"{name} ...", err=True)
        command = [sys.executable, "-m", "tests.endurance", *arguments]
        ran = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        if ran.returncode == 0:
            result[name] = json.loads(ran.stdout)
            output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        else:
            failed.append(name)
    if failed:
        typer.echo(f"failed: {', '.join(failed)}", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    sys.exit(app())
