"""`python -m bench.pairs OTHER`: this revision beside another one, a checkout in a folder, in interleaved pairs.

Prints the processor time per transfer of both (medians and spread), and its ratio; half a minute per load.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from node.cli.terminal import error_console, output_console

HERE: Final = Path(__file__).resolve().parent.parent
BUILD: Final = HERE / "build"
UNITS: Final = {"cpu_us": "us of processor time per transfer", "health_p95_ms": "ms, p95 of /healthz under that load"}


def main(
    other: Annotated[Path, typer.Argument(help="Checkout of the revision to compare with.", exists=True)],
    pairs: Annotated[int, typer.Option(min=1, help="How many times each is measured.")] = 5,
) -> None:
    """Measures this revision and another one in turns, with this one's installed libraries."""
    BUILD.mkdir(exist_ok=True)
    measured: dict[Path, list[dict[str, float]]] = {HERE: [], other.resolve(): []}
    for number in range(pairs):
        # Whoever goes first finds a cooler or a busier machine: they take turns at that too.
        for checkout in sorted(measured, reverse=bool(number % 2)):
            error_console().print(f"pair {number + 1} of {pairs}: {checkout.name} ...", markup=False)
            measured[checkout].append(_measure(checkout))
    for name, unit in UNITS.items():
        this, that = ([one[name] for one in results] for results in measured.values())
        ratio = statistics.median(this) / statistics.median(that)
        output_console().print(f"{_told(this)} against {_told(that)} {unit}: {ratio:.3f}", highlight=False)


def _measure(checkout: Path) -> dict[str, float]:
    command = [sys.executable, "-P", HERE / "bench" / "one_load.py", BUILD]
    # Before all that is installed; the daemons that it starts have it from there too.
    variables = {**os.environ, "PYTHONPATH": str(checkout)}
    run = subprocess.run(command, env=variables, stdout=subprocess.PIPE, check=False)
    if run.returncode:
        raise typer.Exit(1)
    result: dict[str, float] = json.loads(run.stdout)
    return result


def _told(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


if __name__ == "__main__":
    typer.run(main)
