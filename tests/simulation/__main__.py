"""The command `p2pnode-sim`: runs seeds of the simulator, and draws one."""

import json
import os
import re
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from consensus.messages import RELAY_MEMBERS_MAX
from consensus.quorum import fault_bound
from tests.simulation.ceremony_runs import Summary as CeremonySummary
from tests.simulation.ceremony_runs import failure_text
from tests.simulation.ceremony_runs import run_seeds as run_ceremonies
from tests.simulation.changes import run_changes
from tests.simulation.chart import Chart, FirstViewChange, Recorder
from tests.simulation.clusters import run_clusters
from tests.simulation.faults import Role
from tests.simulation.height_model import LONG_SEARCHES as LONG_HEIGHTS
from tests.simulation.height_model import SEARCHES as HEIGHTS
from tests.simulation.inquiry_model import LONG_SEARCHES as LONG_INQUIRIES
from tests.simulation.inquiry_model import SEARCHES as INQUIRIES
from tests.simulation.leading import lead as lead_blocks
from tests.simulation.links import run_patterns
from tests.simulation.occurrences import (
    JOINED,
    LEFT,
    OF_CHANGES,
    OF_CLUSTERS,
    OF_SUSPENDED,
    RAN_OUT,
    RENEWED,
    TOO_LATE,
)
from tests.simulation.runs import Summary, kept_runs, revision, run_all, run_seeds
from tests.simulation.scale import Plan, compare
from tests.simulation.seeds import LINKS_MEMBERS_MIN, Outcome, run_seed
from tests.simulation.suspended import run_suspended
from tests.simulation.thirty_days import draw, simulate, write_figures
from tests.simulation.twins import SCENARIOS, run_scenario

EXIT_FAILED: Final = 1
PROGRESS_S: Final = 10.0
SOAK_SEEDS: Final = 1_000

SCALE_MEMBERS_MAX: Final = 255
"""The simulator has keys for so many."""

SEED_DIGITS_MAX: Final = 18
"""A range has a length only below 2 ** 63."""

SEED_RANGE: Final = re.compile(rf"([0-9]{{1,{SEED_DIGITS_MAX}}}):([0-9]{{1,{SEED_DIGITS_MAX}}})")
SEEDS_SHOWN: Final = 64
"""Characters of what is no range: enough to see the mistake."""

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


def _refuse_unwritable(path: Path | None) -> Path | None:
    """Runs are long: a file that cannot be written is refused before they begin."""
    if path is None:
        return None
    try:
        if path.is_fifo():  # its reader would take this for the end
            return path
        is_new = not path.exists()
        path.open("ab").close()
        if is_new:
            path.unlink()
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}") from None
    return path


def _refuse_unwritable_plot(path: Path) -> Path:
    if path.suffix != ".svg":
        raise typer.BadParameter(f"{path} is no plot's name, which ends in .svg")
    _refuse_unwritable(path.with_suffix(".json"))
    _refuse_unwritable(path)
    return path


@app.command(epilog="Example: p2pnode-sim run --seeds 0:2000 --json")
def run(
    seeds: Seeds = "0:100", members: Members = None, processes: Processes = None, as_json: AsJson = False
) -> None:
    """Runs many seeds; exit code 1 on any violation of safety, on any run that does not finish, and if a fault never
    occurred in 2,000 seeds or more.
    """
    summary = run_seeds(_range(seeds), members, Progress("seeds"), processes)
    typer.echo(_json(summary.as_json()) if as_json else _text("seeds", summary))
    raise typer.Exit(EXIT_FAILED if summary.has_failed else 0)


@app.command(epilog="Example: p2pnode-sim twins --every 10")
def twins(
    every: Annotated[int, typer.Option(min=1, help="Every so many-th scenario only.")] = 1,
    processes: Processes = None,
    as_json: AsJson = False,
) -> None:
    """Runs the Twins scenarios: 4 + 1 nodes, 3 slots, 2 partitions; exit code 1 as `run`."""
    summary = run_all(run_scenario, range(0, SCENARIOS, every), Progress("Twins scenarios"), processes)
    typer.echo(_json(summary.as_json()) if as_json else _text("Twins scenarios", summary))
    raise typer.Exit(EXIT_FAILED if summary.has_failed else 0)


@app.command(epilog="Example: p2pnode-sim record --seeds 0:20000 --output docs/simulation-result.json")
def record(
    output: Annotated[Path, typer.Option(help="The result file.", callback=_refuse_unwritable)],
    seeds: Seeds = "0:20000",
    processes: Processes = None,
) -> None:
    """Runs many seeds and every Twins scenario, and writes the result with the revision that it is of.

    Every run is kept in build/ as it comes: interrupted and started again, it goes on where it stood, as long as no
    file differs from the revision.
    """
    result: dict[str, object] = {"revision": revision(), "cores": processes or os.cpu_count(), "range": seeds}
    ran = run_seeds(_range(seeds), None, Progress("seeds"), processes, kept_runs("seeds"))
    twin = run_all(run_scenario, range(SCENARIOS), Progress("Twins scenarios"), processes, kept_runs("twins"))
    result |= {"seeds": ran.as_json(), "twins": twin.as_json()}
    output.write_text(_json(result) + "\n")
    typer.echo(_text("seeds", ran) + "\n" + _text("Twins scenarios", twin))
    raise typer.Exit(EXIT_FAILED if ran.has_failed or twin.has_failed else 0)


@app.command(epilog="Example: p2pnode-sim links --members 4:7 --output docs/links-result.json")
def links(
    members: Annotated[str, typer.Option(help="A:B, with A to B members, of 4 to 13.")] = "4:4",
    count: Annotated[
        int, typer.Option("--drawn", min=1, help="Patterns that are drawn where there are too many to list.")
    ] = 10_000,
    output: Annotated[Path | None, typer.Option(help="A result file.", callback=_refuse_unwritable)] = None,
    processes: Processes = None,
) -> None:
    """Runs every class of patterns of dead links, or drawn ones, and prints how soon requests are answered; exit code
    1 if anything is not executed by all.
    """
    smallest, largest = _member_range(members)
    figures = []
    for number in range(smallest, largest + 1):
        for is_one_way in (False, True):
            what = f"N = {number}, {'one-way' if is_one_way else 'both ways'}"
            told = Countdown(what)
            one = run_patterns(number, is_one_way=is_one_way, count=count, processes=processes, progress=told)
            typer.echo(one.sentence())
            figures.append(one)
    if output is not None:
        result = {"revision": revision(), "runs": [one.as_json() for one in figures]}
        output.write_text(_json(result) + "\n")
    raise typer.Exit(EXIT_FAILED if any(one.stood for one in figures) else 0)


@app.command(epilog="Example: p2pnode-sim ceremonies --seeds 0:2000 --output docs/ceremony-simulation.json")
def ceremonies(
    seeds: Seeds = "0:100",
    output: Annotated[Path | None, typer.Option(help="A result file.", callback=_refuse_unwritable)] = None,
    processes: Processes = None,
) -> None:
    """Runs operators' ceremonies by chance; exit code 1 on a fork, on a decided block lost with K* complete
    statements, and if something never occurred in 2,000 seeds or more. The last line counts.
    """
    summary = run_ceremonies(_range(seeds), CeremonyProgress(), processes)
    if output is not None:
        result = {"revision": revision(), "range": seeds} | summary.as_json()
        output.write_text(_json(result) + "\n")
    typer.echo("\n".join(summary.told()))
    raise typer.Exit(EXIT_FAILED if summary.has_failed else 0)


@app.command(epilog="Example: p2pnode-sim changes --seeds 0:2500 --output docs/changes-result.json")
def changes(
    seeds: Seeds = "0:100",
    output: Annotated[Path | None, typer.Option(help="A result file.", callback=_refuse_unwritable)] = None,
    processes: Processes = None,
) -> None:
    """Runs networks whose members come and go while much goes wrong: on the production ledger, contracts and driver.
    Exit code 1 on any violation of safety, on any change that does not come into force, and if a fault never occurred
    in 250 seeds or more.
    """
    summary = run_all(run_changes, _range(seeds), Progress("networks"), processes, expected=OF_CHANGES)
    if output is not None:
        result: dict[str, object] = {"revision": revision(), "cores": processes or os.cpu_count(), "range": seeds}
        output.write_text(_json(result | summary.as_json()) + "\n")
    joined, left = summary.occurred[JOINED], summary.occurred[LEFT]
    typer.echo(
        f"{_text('networks', summary)}\n{joined + left:,} changes: {joined:,} joined, {left:,} left, "
        f"{summary.occurred[RAN_OUT]:,} of these as a certificate ran out, {summary.occurred[TOO_LATE]:,} as a "
        f"renewal came too late; {summary.occurred[RENEWED]:,} renewed"
    )
    raise typer.Exit(EXIT_FAILED if summary.has_failed else 0)


@app.command(epilog="Example: p2pnode-sim suspended --seeds 0:1000")
def suspended(seeds: Seeds = "0:100", processes: Processes = None) -> None:
    """Runs networks of four to ten some of whose members are suspended, and lead nothing, while much goes wrong. Exit
    code 1 on any violation of safety, and on any request that is not executed.
    """
    summary = run_all(run_suspended, _range(seeds), Progress("networks"), processes, expected=OF_SUSPENDED)
    typer.echo(_text("networks", summary))
    raise typer.Exit(EXIT_FAILED if summary.has_failed else 0)


@app.command(epilog="Example: p2pnode-sim clusters --seeds 0:1000")
def clusters(seeds: Seeds = "0:100", processes: Processes = None) -> None:
    """Runs networks of seven to thirteen that draw clusters of four to seven, while much goes wrong. Exit code 1 on
    any violation of safety, and on any request that is not executed.
    """
    summary = run_all(run_clusters, _range(seeds), Progress("networks"), processes, expected=OF_CLUSTERS)
    typer.echo(_text("networks", summary))
    raise typer.Exit(EXIT_FAILED if summary.has_failed else 0)


@app.command(epilog="Example: p2pnode-sim scale --members 100 --size 10 --role silent --captured hoarding")
def scale(
    members: Annotated[int, typer.Option(min=4, max=SCALE_MEMBERS_MAX, help="N.")] = 31,
    size: Annotated[int, typer.Option(min=1, help="Members that are drawn for each slot.")] = 7,
    role: Annotated[list[Role] | None, typer.Option(help="F members do this; several times.")] = None,
    captured: Annotated[
        list[Role] | None, typer.Option(help="F members do this, and only they are drawn; several times.")
    ] = None,
    requests: Annotated[int, typer.Option(min=1, help="Of each seed, one every 1.6 slots.")] = 10,
    seeds: Seeds = "0:2",
    output: Annotated[Path | None, typer.Option(help="A result file.", callback=_refuse_unwritable)] = None,
    processes: Processes = None,
) -> None:
    """Measures messages, bytes and waiting where collectors are drawn, beside all members as collectors.

    Nobody lies in the first run. A block of 100 members takes three seconds of a processor where all collect. Exit
    code 1 if something is not executed by all.
    """
    plans = [Plan(members=members, size=size, requests=requests)]
    plans += [replace(plans[0], role=one) for one in role or ()]
    plans += [replace(plans[0], role=one, is_captured=True) for one in captured or ()]
    drawn_of = fault_bound(members) if captured else members
    if size >= drawn_of:
        raise typer.BadParameter(f"{size} are drawn of more members than {drawn_of}", param_hint="--size")
    comparisons = compare(plans, _range(seeds), processes, Countdown("scale", "runs"))
    typer.echo("\n".join(line for one in comparisons for line in one.lines()))
    if output is not None:
        result = {"revision": revision(), "members": members, "seeds": seeds, "requests": requests}
        output.write_text(_json(result | {"runs": [one.as_json() for one in comparisons]}) + "\n")
    raise typer.Exit(EXIT_FAILED if any(one.stood for one in comparisons) else 0)


@app.command(epilog="Example: p2pnode-sim models --short")
def models(
    is_short: Annotated[bool, typer.Option("--short", help="Only what every `make test` searches: seconds.")] = False,
    output: Annotated[Path | None, typer.Option(help="A result file.", callback=_refuse_unwritable)] = None,
) -> None:
    """Searches small chains in full: every state that any course of them can come to, under the production rules.

    First chains whose members change while one forgets what it signed; then a height with two leaders in each slot.

    A line per search: how many states there are, and the shortest course to a violation if there is one.

    Naive rules stand beside the true ones: each must be seen to break. Exit code 1 if not, or if a true one breaks.

    docs/models.md says what is left out.
    """
    searches = (*INQUIRIES, *HEIGHTS) if is_short else (*INQUIRIES, *HEIGHTS, *LONG_HEIGHTS, *LONG_INQUIRIES)
    result: dict[str, object] = {"revision": revision()}
    rows: list[dict[str, object]] = []
    has_failed = False
    for search in searches:
        began_s = time.process_time()
        found = search.run()
        seconds = round(time.process_time() - began_s)
        has_failed |= (found.violation is not None) != search.is_naive
        typer.echo(f"{search.sentence(found)} ({seconds} s)")
        rows.append({"search": search.title, "seconds": seconds, "is_naive": search.is_naive} | found._asdict())
    if output is not None:
        output.write_text(_json(result | {"runs": rows}) + "\n")
    raise typer.Exit(EXIT_FAILED if has_failed else 0)


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


@app.command(epilog="Example: p2pnode-sim month --output docs/thirty-days.svg")
def month(
    output: Annotated[
        Path,
        typer.Option(
            help="The plot, SVG; its figures go beside it, one line of JSON.", callback=_refuse_unwritable_plot
        ),
    ],
    days: Annotated[int, typer.Option(min=1, help="Simulated days; 30 take about five minutes of one core.")] = 30,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is other weather.")] = 1,
) -> None:
    """Simulates a month of seven members with everything going wrong at once, and plots it; stops on any violation
    and when something is stuck.
    """
    result = simulate(days, seed, progress=lambda day: typer.echo(f"day {day + 1} of {days}", err=True))
    draw(result, output)
    write_figures(result, output.with_suffix(".json"))
    typer.echo(f"{output}: {sum(result.heights_by_hour):,} heights", err=True)


@app.command(epilog="Example: p2pnode-sim lead --members 7")
def lead(
    members: Annotated[int, typer.Option(min=2, max=64, help="N.")] = 4,
    blocks: Annotated[int, typer.Option(min=1, help="2,000 take about ten seconds of four members.")] = 2_000,
    greedy: Annotated[
        list[int] | None, typer.Option(min=0, help="Who leads early: 0 to N - 1; several times.")
    ] = None,
) -> None:
    """Has members that lead a slot before it begins, member 1 by default, decide blocks under an endless backlog;
    exit code 1 if someone leads 10 % more or 12.5 % fewer than an equal share, or a view changes.
    """
    chosen = [1] if greedy is None else greedy
    if max(chosen) >= members:
        raise typer.BadParameter(f"members are 0 to {members - 1}", param_hint="--greedy")
    led = lead_blocks(members, blocks, greedy=chosen)
    typer.echo(
        f"N = {members}, greedy {', '.join(map(str, chosen))}: {blocks:,} blocks in {led.slots:,} slots, "
        f"led by member {', '.join(f'{member}: {count:,}' for member, count in enumerate(led.blocks))}; "
        f"{led.view_changes:,} view changes"
    )
    raise typer.Exit(0 if led.is_fair else EXIT_FAILED)


@app.command(epilog="Example: p2pnode-sim show --seed 17 --members 4 --output seed-17.html")
def show(
    seed: Annotated[int, typer.Option(min=0, help="The seed, or with --twins the scenario.")],
    members: Members = None,
    is_twins: Annotated[bool, typer.Option("--twins", help="A Twins scenario in the place of a seed.")] = False,
    height: Annotated[int | None, typer.Option(min=1, help="By default the first with a view change, or 1.")] = None,
    first_ms: Annotated[int | None, typer.Option("--from-ms", help="Every height, from this moment.")] = None,
    last_ms: Annotated[int | None, typer.Option("--to-ms", help="Every height, to this moment.")] = None,
    with_quiet: Annotated[bool, typer.Option("--all", help="With STATUS and passed-on requests.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="An HTML file; standard output by default.", callback=_refuse_unwritable)
    ] = None,
) -> None:
    """Runs one seed and draws its messages as a sequence chart."""
    if is_twins and seed >= SCENARIOS:
        raise typer.BadParameter(f"Twins scenarios are 0 to {SCENARIOS - 1}", param_hint="--seed")
    run_it = run_scenario if is_twins else partial(run_seed, members=members)
    has_moments = first_ms is not None or last_ms is not None
    if height is None and not has_moments:
        found = FirstViewChange()
        run_it(seed, observer=found)
        height = found.height or 1
    recorder = Recorder(first_ms=first_ms or 0, last_ms=last_ms or 2**62, height=height, with_quiet=with_quiet)
    outcome = run_it(seed, observer=recorder)
    what = "Twins scenario" if is_twins else "Seed"
    page = Chart(recorder).html(
        f"{what} {seed}: {'all heights' if height is None else f'height {height}'}", _facts(outcome, recorder)
    )
    if output is None:
        typer.echo(page)
    else:
        output.write_text(page)
        typer.echo(f"{output}: {len(recorder.arrows):,} messages", err=True)


def _facts(outcome: Outcome, recorder: Recorder) -> str:
    assert recorder.network is not None
    end = outcome.violation or ("stuck" if outcome.is_stuck else "safe, everything executed")
    faults = ", ".join(
        f"{name.replace('_', ' ')} {getattr(recorder.network.faults, name)}"
        for name in ("loss", "duplication", "delay_ms_max", "crash_per_point", "partition_ms", "until_ms")
    )
    return f"N = {outcome.members}, {outcome.kind}: {end}. {faults}. Trace {outcome.trace}."


class Progress:
    """A line on standard error every few seconds, and at once for each run that fails."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._told_s = time.monotonic()
        self._failures_told = 0

    def __call__(self, done: int, of: int, summary: Summary) -> None:
        for outcome in summary.failures[self._failures_told :]:
            typer.echo(_failure(outcome), err=True)
        self._failures_told = len(summary.failures)
        if time.monotonic() - self._told_s >= PROGRESS_S or (done == of and of > 1):
            self._told_s = time.monotonic()
            typer.echo(f"{done:,} of {of:,} {_text(self._what, summary, done=False)}", err=True)


class CeremonyProgress:
    """The same for ceremonies."""

    def __init__(self) -> None:
        self._told_s = time.monotonic()
        self._failures_told = 0

    def __call__(self, done: int, of: int, summary: CeremonySummary) -> None:
        for outcome in summary.failures[self._failures_told :]:
            typer.echo(failure_text(outcome), err=True)
        self._failures_told = len(summary.failures)
        if time.monotonic() - self._told_s >= PROGRESS_S:
            self._told_s = time.monotonic()
            typer.echo(f"{done:,} of {of:,}: {summary.sentence()}", err=True)


class Countdown:
    """A line on standard error every few seconds."""

    def __init__(self, what: str, of_what: str = "patterns") -> None:
        self._what = what
        self._of_what = of_what
        self._told_s = time.monotonic()

    def __call__(self, done: int, of: int) -> None:
        if time.monotonic() - self._told_s >= PROGRESS_S:
            self._told_s = time.monotonic()
            typer.echo(f"{self._what}: {done:,} of {of:,} {self._of_what}", err=True)


def _text(what: str, summary: Summary, *, done: bool = True) -> str:
    counts = f"{summary.violations} violations, {summary.stuck} stuck, {summary.heights:,} heights decided"
    lines = [f"{what}: {counts}, {summary.per_processor_s:.1f} per second of a processor"]
    if done:
        lines[0] = f"{summary.seeds:,} {lines[0]}, {summary.wall_s:.0f} s"
        lines += [_failure(one) for one in summary.failures]
        lines += [f"  never happened: {name}" for name in summary.missing]
    return "\n".join(lines)


def _failure(outcome: Outcome) -> str:
    return f"  {outcome.seed} (N = {outcome.members}): {outcome.violation or 'stuck'}"


def _json(result: dict[str, Any]) -> str:
    return json.dumps(result, indent=2)


def _range(text: str) -> range:
    bounds = SEED_RANGE.fullmatch(text)
    if bounds is None or int(bounds[1]) >= int(bounds[2]):
        raise typer.BadParameter(
            f"{text[:SEEDS_SHOWN]!r} is not A:B with A < B, of {SEED_DIGITS_MAX} digits at most", param_hint="--seeds"
        )
    return range(int(bounds[1]), int(bounds[2]))


def _member_range(text: str) -> tuple[int, int]:
    bounds = SEED_RANGE.fullmatch(text)
    if bounds is None or not LINKS_MEMBERS_MIN <= int(bounds[1]) <= int(bounds[2]) <= RELAY_MEMBERS_MAX:
        wanted = f"A:B with {LINKS_MEMBERS_MIN} <= A <= B <= {RELAY_MEMBERS_MAX}"
        raise typer.BadParameter(f"{text[:SEEDS_SHOWN]!r} is not {wanted}", param_hint="--members")
    return int(bounds[1]), int(bounds[2])


def main() -> None:
    app(prog_name="p2pnode-sim")


if __name__ == "__main__":
    main()
