"""`python -m tests.fuzz`: damaged and grown inputs for every decoder, on all cores."""

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from secrets import randbelow
from typing import Annotated, Final

import typer

from tests.fuzz.decoder import WrongError, judge
from tests.fuzz.fuzzer import Portion, Result, decoders, run_portion
from tests.support.long_chain import scratch

PORTION_CASES: Final = 20_000
"""Some seconds of work. What a portion has grown ends with it, so any number of processes runs the same cases."""

SHOWN_BYTES_MAX: Final = 200
FINDINGS_FOLDER: Final = Path("build/fuzz")

app = typer.Typer(add_completion=False, help="Every decoder of what comes from outside or from disk.")


@app.command()
def run(
    cases: Annotated[int, typer.Option(min=1, help="Of all decoders together.")] = 100_000,
    seed: Annotated[
        int | None, typer.Option(help="The same one gives the same cases; a new one by default.", show_default=False)
    ] = None,
    processes: Annotated[int, typer.Option(min=1)] = os.cpu_count() or 1,
    only: Annotated[list[str] | None, typer.Option(help="Name of a decoder; again for several.")] = None,
) -> None:
    """Fuzz every decoder with as many cases as any other. Exit code 1 if one did what it must not."""
    names = list(decoders())
    unknown = set(only or ()) - set(names)
    if unknown:
        raise typer.BadParameter(f"no decoder {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    seed = randbelow(2**32) if seed is None else seed
    portions = portions_of(only or names, cases, seed)
    typer.echo(f"{cases:,} cases, seed {seed}, {len(only or names)} decoders, {processes} processes")
    started_s, done, results = time.monotonic(), 0, []
    with scratch() as folder, ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(run_portion, portion, folder) for portion in portions]):
            result = future.result()
            results.append(result)
            done += result.cases
            typer.echo(f"{done:>11,} of {cases:,}  {result.portion.decoder} {result.portion.number}", err=True)
            _tell_findings(result)
    _print_table(results)
    took_s = time.monotonic() - started_s
    findings = sum(len(result.findings) for result in results)
    typer.echo(f"{done:,} cases ran in {took_s:,.0f} s, {findings} findings")
    if findings:
        raise typer.Exit(1)


@app.command()
def replay(decoder: str, file: Path) -> None:
    """Give a file, such as one of build/fuzz, to a decoder, and say what comes of it."""
    try:
        typer.echo(judge(decoders()[decoder], file.read_bytes()))
    except WrongError as wrong:
        typer.echo(f"wrong: {wrong}")
        raise typer.Exit(1) from None


def portions_of(names: Sequence[str], cases: int, seed: int) -> list[Portion]:
    """Returns portions that share the cases out evenly, of all decoders in turn."""
    share, rest = divmod(cases, len(names))
    wanted = {name: share + (place < rest) for place, name in enumerate(names)}
    found = [
        Portion(decoder=name, seed=seed, number=first // PORTION_CASES, cases=min(PORTION_CASES, count - first))
        for name, count in wanted.items()
        for first in range(0, count, PORTION_CASES)
    ]
    return sorted(found, key=lambda portion: portion.number)


def _tell_findings(result: Result) -> None:
    for finding in result.findings:
        typer.echo(f"WRONG: {finding.decoder}: {finding.what}", err=True)
        if len(finding.data) <= SHOWN_BYTES_MAX:
            typer.echo(f"  {finding.data!r}", err=True)
        FINDINGS_FOLDER.mkdir(parents=True, exist_ok=True)
        path = FINDINGS_FOLDER / f"{finding.decoder}-{result.digest.hex()[:8]}-{result.findings.index(finding)}"
        path.write_bytes(finding.data)
        typer.echo(f"  kept as {path}", err=True)


def _print_table(results: Sequence[Result]) -> None:
    typer.echo(f"{'decoder':<24} {'cases':>10} {'decoded':>10} {'outcomes':>9} {'kept':>6} {'cases/CPU s':>12}")
    for name in dict.fromkeys(result.portion.decoder for result in results):
        own = [result for result in results if result.portion.decoder == name]
        cases, cpu_s = sum(result.cases for result in own), sum(result.cpu_s for result in own)
        outcomes = len(frozenset[str]().union(*(result.reasons for result in own)))
        decoded, kept = sum(result.decoded for result in own), sum(result.kept for result in own)
        typer.echo(
            f"{name:<24} {cases:>10,} {decoded:>10,} {outcomes:>9} {kept:>6} {cases / max(cpu_s, 1e-9):>12,.0f}"
        )


if __name__ == "__main__":
    sys.exit(app())
