"""Dead links: which members do not hear which, for good, and whether the others still decide, and how soon.

Clients ask each member in turn, a second apart. Measured is the time from asking to the answer, in slots.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from os import cpu_count
from statistics import median
from typing import Any, Final

from tests.simulation.faults import Faults
from tests.simulation.host import TAU_MS, Host
from tests.simulation.link_patterns import EXHAUSTIVE_LINKS_MAX, Pattern, classes, drawn, links_of
from tests.simulation.network import START_MS, Network
from tests.simulation.signing import keyed_hash_keys, keyed_hashes

REQUESTS: Final = 5
REQUEST_INTERVAL_MS: Final = 1_000
STANDS_AFTER_SLOTS: Final = 100
"""What is not decided by then is not going to be: the worst pattern takes a tenth."""
JOBS_PER_TASK: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """What came of one pattern."""

    members: int
    pattern: Pattern
    first_slots: float | None
    """From the first request to its answer; None if it never came."""
    later_slots: tuple[float, ...]
    stood: bool
    """Whether some member did not execute everything."""
    messages: int


@dataclass(slots=True, kw_only=True)
class Figures:
    """What came of many patterns of one kind."""

    members: int
    is_one_way: bool
    is_exhaustive: bool
    """Whether these are all classes; otherwise they are drawn."""
    runs: list[Latencies] = field(default_factory=list)

    @property
    def stood(self) -> list[Pattern]:
        """Patterns in which something was not decided, or not by all."""
        return [run.pattern for run in self.runs if run.stood]

    def sentence(self) -> str:
        """Returns the figures for people."""
        told = self.as_json()
        first, later = told["first_request_slots"], told["later_request_slots"]
        return (
            f"N = {self.members}, {told['links']}: {told['count']:,} patterns ({told['patterns']}), "
            f"{told['stood']} stood; "
            f"slots to the answer, median / worst: first request {first['median']} / {first['worst']}, "
            f"later ones {later['median']} / {later['worst']}"
        )

    def as_json(self) -> dict[str, Any]:
        first = [run.first_slots for run in self.runs if run.first_slots is not None]
        later = [slots for run in self.runs for slots in run.later_slots]
        return {
            "members": self.members,
            "links": "one-way" if self.is_one_way else "both ways",
            "patterns": "all classes" if self.is_exhaustive else "drawn",
            "count": len(self.runs),
            "patterns_that_stood": [sorted(pattern) for pattern in self.stood],
            "stood": len(self.stood),
            "first_request_slots": {"median": _rounded(median(first)), "worst": _rounded(max(first))},
            "later_request_slots": {"median": _rounded(median(later)), "worst": _rounded(max(later))},
        }


# --- runs --------------------------------------------------------------------------------------------------------


class Answers:
    """An observer that notes when each client was answered."""

    def __init__(self) -> None:
        self.answered_ms: dict[int, int] = {}

    def on_message(self, **_: object) -> None:
        """Says nothing of an answer."""

    def on_note(self, at_ms: int, host: Host, text: str) -> None:
        if text.startswith("decided"):
            for number, request in host.asked.items():
                if host.application.is_executed(request):
                    self.answered_ms.setdefault(number, at_ms)


def run_pattern(pattern: Pattern, members: int) -> Latencies:
    """Runs one pattern."""
    with keyed_hashes():
        answers = Answers()
        faults = Faults(dead_links=pattern)
        network = Network(members, 1, faults, keys=keyed_hash_keys(members), observer=answers)
        for number in range(REQUESTS):
            network.push(number * REQUEST_INTERVAL_MS, "submit", network.hosts[number % members], number)
        last_ms = START_MS + (REQUESTS - 1) * REQUEST_INTERVAL_MS
        is_finished = network.run(
            lambda: network.now_ms > last_ms and network.is_everything_executed(), STANDS_AFTER_SLOTS * TAU_MS
        )
    slots = {
        number: (at_ms - START_MS - number * REQUEST_INTERVAL_MS) / TAU_MS
        for number, at_ms in answers.answered_ms.items()
    }
    return Latencies(
        members=members,
        pattern=pattern,
        first_slots=slots.pop(0, None),
        later_slots=tuple(slots.values()),
        stood=not is_finished,
        messages=network.sequence,
    )


def run_patterns(
    members: int,
    *,
    is_one_way: bool,
    count: int,
    processes: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Figures:
    """Runs all classes of a kind where they can be listed, else, or if there are more, so many drawn patterns."""
    is_exhaustive = len(links_of(members, is_one_way=is_one_way)) <= EXHAUSTIVE_LINKS_MAX
    patterns: Sequence[Pattern] = list(
        classes(members, is_one_way=is_one_way) if is_exhaustive else drawn(members, count, is_one_way=is_one_way)
    )
    figures = Figures(members=members, is_one_way=is_one_way, is_exhaustive=is_exhaustive)
    run = partial(run_pattern, members=members)
    with get_context("spawn").Pool(processes or cpu_count() or 1) as pool:
        for latencies in pool.imap_unordered(run, patterns, chunksize=JOBS_PER_TASK):
            figures.runs.append(latencies)
            progress(len(figures.runs), len(patterns))
    return figures


def _rounded(slots: float) -> float:
    return round(slots, 2)
