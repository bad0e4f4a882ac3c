"""Many ceremonies by chance, spread over the settings that count, and what has to have happened in them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from os import cpu_count
from time import monotonic, process_time
from typing import Any, Final, NamedTuple

from tests.simulation.ceremonies import Absent, Outcome, run_ceremony
from tests.simulation.ceremony_home import STEP_POINTS
from tests.simulation.network import drop_logs
from tests.simulation.signing import keyed_hashes

SEEDS_MIN: Final = 2_000
"""In so many seeds everything happens; in fewer some of it may not."""
SEEDS_PER_TASK: Final = 16
FAILURES_SHOWN: Final = 20


class Setting(NamedTuple):
    """Who takes part in a run."""

    members: int
    liars: int
    absent: Absent

    def __str__(self) -> str:
        who = "" if self.absent is Absent.ANY else f", {self.absent.value}"
        return f"{self.members} members, {self.liars} of them liars{who}"


SETTINGS: Final = (
    Setting(4, 1, Absent.NOBODY),
    Setting(4, 1, Absent.REPLACED),
    Setting(7, 2, Absent.ANY),
    Setting(3, 0, Absent.ANY),
    Setting(4, 1, Absent.NOBODY),
    Setting(4, 1, Absent.REPLACED),
    Setting(7, 2, Absent.ANY),
    Setting(5, 0, Absent.ANY),
    Setting(4, 1, Absent.ANY),
    Setting(5, 1, Absent.ANY),
    Setting(6, 0, Absent.ANY),
    Setting(6, 1, Absent.ANY),
    Setting(4, 0, Absent.ANY),
)
"""Of seed s the s-th, over and over."""

SELDOM: Final = "apply: ledger"
"""A ledger with the carried block is set aside once in hundreds of runs; `test_interrupted_ceremonies` dies there."""

EXPECTED: Final = (
    "era 1 began",
    "era 2 began",
    "a complete plan was applied by a part only",
    "a complete plan removed a member",
    "a complete plan replaced a member",
    "a new home began an era in another's place",
    "a complete plan carried a block",
    "a carried block was decided",
    "the carried block replaced the authority's key",
    "a complete plan had K* complete statements",
    "a complete plan had fewer than K* complete statements",
    "a plan had agreements and stayed incomplete",
    "a plan followed one that nobody had begun",
    "two plans of one era",
    "a home that had not agreed began an era",
    "a home began an era silent, and asks",
    "who forgot was answered",
    "a plan was applied again",
    "a seal was taken back",
    "a ledger above the base was refused",
    "a ledger was set aside",
    "an interrupted step was taken again",
    *(f"died before {point}" for point in STEP_POINTS if point != SELDOM),
    *(f"died in the middle of {step}: sign state" for step in ("export", "join", "apply")),
    *(f"died before {point}" for point in ("records", "sign state", "block", "applied")),
)


@dataclass(slots=True)
class Summary:
    """What came of many runs."""

    seeds: int = 0
    completed: int = 0
    """Complete plans."""
    eras: Counter[int] = field(default_factory=Counter)
    """Runs by the highest era that a home began."""
    carried: int = 0
    lost: int = 0
    forks: int = 0
    broken: int = 0
    occurred: Counter[str] = field(default_factory=Counter)
    settings: Counter[str] = field(default_factory=Counter)
    failures: list[Outcome] = field(default_factory=list)
    cpu_s: float = 0.0
    started_s: float = field(default_factory=monotonic)

    def add(self, outcome: Outcome, cpu_s: float) -> None:
        self.seeds += 1
        self.completed += outcome.complete
        self.eras[outcome.eras] += 1
        self.carried += outcome.carried
        self.lost += outcome.lost and outcome.violation is None
        self.forks += outcome.fork is not None
        self.broken += outcome.fork is None and outcome.broken is not None
        self.occurred.update(outcome.occurred)
        self.settings[str(setting_of(outcome.seed))] += 1
        self.cpu_s += cpu_s
        if outcome.violation is not None:
            self.failures.append(outcome)

    @property
    def missing(self) -> list[str]:
        """What should have happened in so many seeds, and did not."""
        return [name for name in EXPECTED if not self.occurred[name]] if self.seeds >= SEEDS_MIN else []

    @property
    def has_failed(self) -> bool:
        return bool(self.failures or self.missing)

    def sentence(self) -> str:
        """The counts, in one line."""
        eras = ", ".join(f"era {era}: {self.eras[era]:,}" for era in sorted(self.eras))
        return (
            f"{self.seeds:,} ceremonies, {self.completed:,} completed, reached {eras}; carried {self.carried:,}; "
            f"lost with K < K* {self.lost:,}; forks {self.forks}; lost with K >= K* {self.broken}"
        )

    def told(self) -> list[str]:
        """All that people should read, the counts last."""
        lines = [failure_text(outcome) for outcome in self.failures[:FAILURES_SHOWN]]
        lines += [f"  never happened: {name}" for name in self.missing]
        return [*lines, self.sentence()]

    def as_json(self) -> dict[str, Any]:
        return {
            "ceremonies": self.seeds,
            "completed": self.completed,
            "eras_reached": {str(era): self.eras[era] for era in sorted(self.eras)},
            "carried": self.carried,
            "lost_with_k_below": self.lost,
            "forks": self.forks,
            "lost_with_k_reached": self.broken,
            "wall_s": round(monotonic() - self.started_s, 1),
            "cpu_s": round(self.cpu_s, 1),
            "settings": dict(sorted(self.settings.items())),
            "never_occurred": self.missing,
            "occurred": dict(sorted(self.occurred.items())),
            "failures": [asdict(outcome) for outcome in self.failures[:FAILURES_SHOWN]],
        }


Progress = Callable[[int, int, Summary], None]


def setting_of(seed: int) -> Setting:
    return SETTINGS[seed % len(SETTINGS)]


def run_seed(seed: int) -> Outcome:
    """Runs one seed in its setting."""
    setting = setting_of(seed)
    return run_ceremony(setting.members, seed, liars=setting.liars, absent=setting.absent)


def _run(seed: int) -> tuple[Outcome, float]:
    began_s = process_time()
    drop_logs()
    with keyed_hashes():
        outcome = run_seed(seed)
    return outcome, process_time() - began_s


def run_seeds(seeds: range, progress: Progress = lambda *_: None, processes: int | None = None) -> Summary:
    """Runs seeds on all cores, or in so many processes."""
    summary = Summary()
    chosen = min(processes or cpu_count() or 1, len(seeds))
    if chosen <= 1:
        for seed in seeds:
            summary.add(*_run(seed))
            progress(summary.seeds, len(seeds), summary)
        return summary
    with get_context("spawn").Pool(chosen) as pool:
        for outcome, cpu_s in pool.imap_unordered(_run, seeds, chunksize=SEEDS_PER_TASK):
            summary.add(outcome, cpu_s)
            progress(summary.seeds, len(seeds), summary)
    summary.failures.sort(key=lambda outcome: outcome.seed)
    return summary


def failure_text(outcome: Outcome) -> str:
    return f"  seed {outcome.seed} ({setting_of(outcome.seed)}): {outcome.violation}"
