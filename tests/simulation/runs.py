"""Runs many seeds or scenarios on all cores, in processes of their own, and sums up what came of them."""

import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from typing import Any, Final

from tests.simulation.kept_runs import KeptRuns, Ran
from tests.simulation.occurrences import NOTHING, OF_SEEDS, Expected
from tests.simulation.seeds import Outcome, failed, run_seed

FAILURES_SHOWN: Final = 20
JOBS_PER_TASK: Final = 8
"""Runs that a process takes at once: some seconds of work."""

PROJECT: Final = Path(__file__).parent.parent.parent

UNKNOWN: Final = "unknown"
CHANGED: Final = "+changes"

Progress = Callable[[int, int, "Summary"], None]
"""Is told: runs done, runs altogether, what came of them so far."""


@dataclass(slots=True)
class Summary:
    """What came of many runs."""

    expected: Expected = NOTHING
    seeds: int = 0
    violations: int = 0
    stuck: int = 0
    heights: int = 0
    events: int = 0
    view_changes: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    by_members: Counter[int] = field(default_factory=Counter)
    occurred: Counter[str] = field(default_factory=Counter)
    recovery_slots: list[int] = field(default_factory=list)
    failures: list[Outcome] = field(default_factory=list)
    processor_s: float = 0.0
    started_s: float = field(default_factory=time.monotonic)

    def add(self, ran: Ran) -> None:
        outcome = ran.outcome
        self.processor_s += ran.processor_s
        self.seeds += 1
        self.violations += outcome.violation is not None
        self.stuck += outcome.is_stuck
        self.heights += outcome.heights
        self.events += outcome.events
        self.view_changes += outcome.view_changes
        self.kinds[outcome.kind] += 1
        self.by_members[outcome.members] += 1
        self.occurred.update(outcome.occurred)
        self.recovery_slots.append(outcome.recovery_slots)
        self.failures += failed([outcome])

    @property
    def wall_s(self) -> float:
        """Since the beginning, or since an interrupted recording was taken up."""
        return time.monotonic() - self.started_s

    @property
    def per_processor_s(self) -> float:
        """Runs per second of processor time, whatever else the machine does."""
        return self.seeds / max(self.processor_s, 0.001)

    @property
    def missing(self) -> list[str]:
        """What should have happened in so many seeds, and did not."""
        return self.expected.missing(self.occurred, self.seeds)

    @property
    def has_failed(self) -> bool:
        return bool(self.failures or self.missing)

    def as_json(self) -> dict[str, Any]:
        ordered = sorted(self.recovery_slots)
        return {
            "seeds": self.seeds,
            "violations": self.violations,
            "stuck": self.stuck,
            "heights": self.heights,
            "events": self.events,
            "processor_s": round(self.processor_s, 1),
            "seeds_per_processor_s": round(self.per_processor_s, 2),
            "view_changes": self.view_changes,
            "recovery_slots": {
                "median": _at(ordered, 0.5),
                "p99": _at(ordered, 0.99),
                "max": _at(ordered, 1.0),
            },
            "by_members": {str(members): self.by_members[members] for members in sorted(self.by_members)},
            "kinds": dict(sorted(self.kinds.items())),
            "never_occurred": self.missing,
            "occurred": dict(sorted(self.occurred.items())),
            "failures": [asdict(outcome) for outcome in self.failures[:FAILURES_SHOWN]],
        }


def _at(ordered: Sequence[int], share: float) -> int:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0


def run_seeds(
    seeds: range,
    members: int | None,
    progress: Progress,
    processes: int | None = None,
    kept: KeptRuns | None = None,
) -> Summary:
    """Runs seeds on all cores, or in so many processes."""
    return run_all(partial(run_seed, members=members), seeds, progress, processes, kept, OF_SEEDS)


def run_all(
    run: Callable[[int], Outcome],
    jobs: Sequence[int],
    progress: Progress,
    processes: int | None = None,
    kept: KeptRuns | None = None,
    expected: Expected = NOTHING,
) -> Summary:
    """Runs a job per number; `run` must be importable by other processes.

    Args:
        run: makes the outcome of a number.
        jobs: the numbers.
        progress: is told after each.
        processes: one per core by default.
        kept: what is there of these jobs is taken, what is not is run and kept.
        expected: what has to have happened.
    """
    summary = Summary(expected)
    done = {} if kept is None else {job: kept.runs[job] for job in jobs if job in kept.runs}
    for ran in done.values():
        summary.add(ran)
    left = [job for job in jobs if job not in done]
    for ran in _runs(partial(_timed, run), left, min(processes or cpu_count() or 1, len(left))):
        if kept is not None:
            kept.keep(ran)
        summary.add(ran)
        progress(summary.seeds, len(jobs), summary)
    summary.failures.sort(key=lambda outcome: outcome.seed)
    return summary


def _timed(run: Callable[[int], Outcome], job: int) -> Ran:
    started_s = time.process_time()
    outcome = run(job)
    return Ran(outcome, time.process_time() - started_s)


def _runs(run: Callable[[int], Ran], jobs: Iterable[int], processes: int) -> Iterator[Ran]:
    if processes <= 1:
        yield from map(run, jobs)
        return
    with get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(run, jobs, chunksize=JOBS_PER_TASK)


def kept_runs(what: str) -> KeptRuns | None:
    """Returns where runs of this revision are kept; nowhere if files differ from it."""
    of = revision()
    return (
        None
        if of == UNKNOWN or of.endswith(CHANGED)
        else KeptRuns(PROJECT / "build" / f"runs-{of}" / f"{what}.jsonl")
    )


def revision() -> str:
    """Returns the commit that runs, with `+changes` if files differ from it; `unknown` outside a repository."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + (CHANGED if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(PROJECT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
