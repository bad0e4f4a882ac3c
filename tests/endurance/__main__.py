"""`python -m tests.endurance COMMAND`: each subject is a command of its own module and prints what it measured."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from tests.endurance.flips import flips
from tests.endurance.flood import flood
from tests.endurance.kills import kills
from tests.endurance.pauses import pauses
from tests.endurance.phases import phases
from tests.endurance.sync import sync
from tests.simulation.runs import revision

SUBJECTS: Final = {
    "kills": ("kills",),
    "phases": ("phases",),
    "pauses": ("pauses",),
    "flips": ("flips", "--json"),
    "sync": ("sync", "--json"),
    "flood": ("flood", "--json"),
}
"""What `record` runs, each in a process of its own."""

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Long tests on real nodes.")
app.command()(kills)
app.command()(phases)
app.command()(pauses)
app.command()(flips)
app.command()(flood)
app.command()(sync)


@app.command()
def record(output: Annotated[Path, typer.Option(help="The result file.")]) -> None:
    """Run every subject at full length and write the figures with the revision that they are of."""
    result: dict[str, object] = {"revision": revision()}
    for name, arguments in SUBJECTS.items():
        typer.echo(f"{name} ...", err=True)
        ran = subprocess.run(
            [sys.executable, "-m", "tests.endurance", *arguments], stdout=subprocess.PIPE, check=True
        )
        result[name] = json.loads(ran.stdout)
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(app())
