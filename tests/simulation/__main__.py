"""The command `p2pnode-sim`: runs seeds of the simulator, and draws one."""

import json
import time
from typing import Annotated, Final

import typer

from tests.simulation.runs import Summary, run_seeds

EXIT_FAILED: Final = 1
PROGRESS_S: Final = 10.0
SOAK_SEEDS: Final = 1_000

app = typer.Typer(
    name="p2pnode-sim",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Runs production replicas on a virtual clock, network and disk; one seed is one run.",
)

Seeds = Annotated[str, typer.Option(help="A:B, the seeds A to B - 1.")]
Members = Annotated[int | None, typer.Option(min=1, max=64, help="N; by default each seed chooses 1 to 13.")]
Processes = Annotated[int | None, typer.Option(min=1, help="By default one per core.")]
AsJson = Annotated[bool, typer.Option("--json", help="The result as JSON on standard output.")]


@app.command(epilog="Example: p2pnode-sim run --seeds 0:2000 --json")
def run(
    seeds: Seeds = "0:100", members: Members = None, processes: Processes = None, as_json: AsJson = False
) -> None:
    """Runs many seeds; exit code 1 on any violation of safety and any run that does not finish."""
    summary = run_seeds(_range(seeds), members, Progress("seeds"), processes)
    typer.echo(json.dumps(summary.as_json(), indent=2) if as_json else _text("seeds", summary))
    raise typer.Exit(EXIT_FAILED if summary.has_failed else 0)


@app.command(epilog="Example: p2pnode-sim soak --first 1000000")
def soak(
    first: Annotated[int, typer.Option(help="The first seed.")] = 1_000_000, processes: Processes = None
) -> None:
    """Runs one thousand seeds after the other until one fails."""
    while True:
        seeds = range(first, first + SOAK_SEEDS)
        summary = run_seeds(seeds, None, Progress(f"seeds from {first}"), processes)
        typer.echo(_text(f"seeds from {first}", summary))
        if summary.has_failed:
            raise typer.Exit(EXIT_FAILED)
        first += SOAK_SEEDS


class Progress:
    """A line on standard error every few seconds."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._told_s = time.monotonic()

    def __call__(self, done: int, of: int, summary: Summary) -> None:
        if time.monotonic() - self._told_s >= PROGRESS_S or (done == of and of > 1):
            self._told_s = time.monotonic()
            typer.echo(f"{done:,} of {of:,} {_text(self._what, summary, done=False)}", err=True)


def _text(what: str, summary: Summary, *, done: bool = True) -> str:
    rate = summary.seeds / max(summary.wall_s, 0.001)
    counts = f"{summary.violations} violations, {summary.stuck} stuck, {summary.heights:,} heights decided"
    lines = [f"{what}: {counts}, {rate:.1f} a second"]
    if done:
        lines[0] = f"{summary.seeds:,} {lines[0]}, {summary.wall_s:.0f} s"
        lines += [f"  {one.seed} (N = {one.members}): {one.violation or 'stuck'}" for one in summary.failures]
    return "\n".join(lines)


def _range(text: str) -> range:
    first, _, end = text.partition(":")
    if not (first.isdigit() and end.isdigit() and int(first) < int(end)):
        raise typer.BadParameter(f"{text!r} is not A:B with A < B", param_hint="--seeds")
    return range(int(first), int(end))


def main() -> None:
    app(prog_name="p2pnode-sim")


if __name__ == "__main__":
    main()
