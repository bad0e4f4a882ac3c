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

from tests.simulation.occurrences import SEEDS_MIN, missing
from tests.simulation.seeds import TWINS_KIND, Outcome, failed, run_seed

FAILURES_SHOWN: Final = 20
JOBS_PER_TASK: Final = 8
"""Runs that a process takes at once: some seconds of work."""

PROJECT: Final = Path(__file__).parent.parent.parent

Progress = Callable[[int, int, "Summary"], None]
"""Is told: runs done, runs altogether, what came of them so far."""


@dataclass(slots=True)
class Summary:
    """What came of many runs."""

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
    started_s: float = field(default_factory=time.monotonic)

    def add(self, outcome: Outcome) -> None:
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
        return time.monotonic() - self.started_s

    @property
    def missing(self) -> list[str]:
        """What should have happened in so many seeds, and did not."""
        return missing(self.occurred) if self.seeds >= SEEDS_MIN and TWINS_KIND not in self.kinds else []

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
            "wall_s": round(self.wall_s, 1),
            "seeds_per_s": round(self.seeds / max(self.wall_s, 0.001), 2),
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


def run_seeds(seeds: range, members: int | None, progress: Progress, processes: int | None = None) -> Summary:
    """Runs seeds on all cores, or in so many processes."""
    return run_all(partial(run_seed, members=members), seeds, progress, processes)


def run_all(
    run: Callable[[int], Outcome], jobs: Sequence[int], progress: Progress, processes: int | None = None
) -> Summary:
    """Runs a job per number; `run` must be importable by other processes."""
    summary = Summary()
    chosen = min(processes or cpu_count() or 1, len(jobs))
    for outcome in _outcomes(run, jobs, chosen):
        summary.add(outcome)
        progress(summary.seeds, len(jobs), summary)
    summary.failures.sort(key=lambda outcome: outcome.seed)
    return summary


def _outcomes(run: Callable[[int], Outcome], jobs: Iterable[int], processes: int) -> Iterator[Outcome]:
    if processes <= 1:
        yield from map(run, jobs)
        return
    with get_context("spawn").Pool(processes) as pool:
        yield from pool.imap_unordered(run, jobs, chunksize=JOBS_PER_TASK)


def revision() -> str:
    """Returns the commit that runs, with `+changes` if files differ from it; `unknown` outside a repository."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(PROJECT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
