"""What agreement costs as members become many: messages, bytes and waiting, with drawn collectors and without.

Both run the same seeds: the same liars and requests. Time is virtual, blocks are opaque, signatures keyed hashes.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from os import cpu_count
from random import Random
from typing import Any, Final

from consensus.codec import encode
from consensus.messages import Body, BodyRequest, Decided, PrePrepare, Status, ViewChange
from consensus.quorum import fault_bound
from node.mesh.messages import Blocks, BlocksRequest
from tests.simulation.clusters import Drawn
from tests.simulation.faults import Faults, Role
from tests.simulation.host import TAU_MS, Host
from tests.simulation.links import Answers
from tests.simulation.network import Payload
from tests.simulation.signing import keyed_hashes

REQUEST_INTERVAL_MS: Final = 8 * TAU_MS // 5
FIRST_REQUEST_MS: Final = TAU_MS
"""What members tell each other at their start is past by then."""
STANDS_AFTER_SLOTS: Final = 400
"""What is not decided by then is not going to be."""

VOTES: Final = "votes"
"""PREPARE and COMMIT, what collectors make of them, and questions for that."""
PROPOSALS: Final = "proposals"
"""PRE-PREPARE, and blocks for who lacks one."""
VIEW_CHANGES: Final = "view_changes"
STATUSES: Final = "statuses"
REQUESTS: Final = "requests"
"""What clients ask for, passed on."""
OF_BLOCKS: Final = (PrePrepare, BodyRequest, Body, Decided, BlocksRequest, Blocks)
KINDS: Final = (VOTES, PROPOSALS, VIEW_CHANGES, STATUSES, REQUESTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is run; `size` 0: all hear all votes."""

    members: int
    size: int
    requests: int
    role: Role | None = None
    """Of F members."""
    is_captured: bool = False
    """Whether only these F are drawn: the clusters of all slots have no honest member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What came of one seed."""

    heights: int
    messages: dict[str, int]
    """By kind: what honest members sent."""
    size_bytes: dict[str, int]
    """The same in the codec's bytes."""
    latencies: tuple[float, ...]
    """From asking to the answer, in slots."""
    view_changes: int
    is_finished: bool
    """Whether all honest members executed everything."""


@dataclass(slots=True, kw_only=True)
class Figures:
    """What came of all seeds of a plan."""

    plan: Plan
    runs: list[Run] = field(default_factory=list)

    @property
    def stood(self) -> int:
        """Runs in which something was not executed by all."""
        return sum(not run.is_finished for run in self.runs)

    @property
    def heights(self) -> int:
        return sum(run.heights for run in self.runs)

    @property
    def view_changes(self) -> int:
        return sum(run.view_changes for run in self.runs)

    def messages(self, kind: str) -> float:
        """Of each decided block."""
        return sum(run.messages.get(kind, 0) for run in self.runs) / self.heights

    def size_bytes(self, kind: str) -> float:
        """Of each decided block."""
        return sum(run.size_bytes.get(kind, 0) for run in self.runs) / self.heights

    def latency(self, share: float) -> float:
        """Returns what so large a share of the answers took at most, in slots."""
        ordered = sorted(slots for run in self.runs for slots in run.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def as_json(self) -> dict[str, Any]:
        shares = {"median": 0.5, "p90": 0.9, "worst": 1.0}
        return {
            "cluster_size": self.plan.size,
            "blocks": self.heights,
            "messages_per_block": {kind: round(self.messages(kind)) for kind in KINDS},
            "bytes_per_block": {kind: round(self.size_bytes(kind)) for kind in KINDS},
            "latency_slots": {name: round(self.latency(share), 2) for name, share in shares.items()},
            "view_changes": self.view_changes,
            "stood": self.stood,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Collectors that are drawn beside all members as collectors."""

    drawn: Figures
    all: Figures

    @property
    def stood(self) -> int:
        return self.drawn.stood + self.all.stood

    def lines(self) -> list[str]:
        """Returns the figures for people: of the drawn first."""
        plan = self.drawn.plan
        liars = "nobody lies" if plan.role is None else f"{fault_bound(plan.members)} {plan.role.value}"
        who = f"{liars}, and nobody else is drawn" if plan.is_captured else liars
        blocks = f"{self.drawn.heights} blocks beside {self.all.heights}"
        lines = [f"N = {plan.members}, {plan.size} drawn beside all, {who}: {blocks}"]
        lines += [f"  {kind.replace('_', ' ')} per block: {self._beside(kind)}" for kind in KINDS]
        lines.append(
            "  slots from asking to the answer, median / 90 % / worst: "
            + " beside ".join(
                " / ".join(f"{figures.latency(share):.2f}" for share in (0.5, 0.9, 1.0))
                for figures in (self.drawn, self.all)
            )
        )
        lines.append(f"  view changes: {self.drawn.view_changes:,} beside {self.all.view_changes:,}")
        if self.stood:
            lines.append(f"  not executed by all: {self.drawn.stood} runs beside {self.all.stood}")
        return lines

    def _beside(self, kind: str) -> str:
        messages = _share(self.drawn.messages(kind), self.all.messages(kind), "messages")
        kilobytes = _share(self.drawn.size_bytes(kind) / 1_000, self.all.size_bytes(kind) / 1_000, "KB")
        return f"{messages}, {kilobytes}"

    def as_json(self) -> dict[str, Any]:
        plan = self.drawn.plan
        return {
            "role": None if plan.role is None else plan.role.value,
            "is_captured": plan.is_captured,
            "drawn": self.drawn.as_json(),
            "all": self.all.as_json(),
        }


def _share(drawn: float, of_all: float, unit: str) -> str:
    ratio = f" ({drawn / of_all:.2f})" if of_all else ""
    return f"{drawn:,.0f} beside {of_all:,.0f} {unit}{ratio}"


class Counted(Answers):
    """Counts what honest members send. A message to many is one object: its bytes are counted once."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: Counter[str] = Counter()
        self.size_bytes: Counter[str] = Counter()
        self._last: tuple[Payload | None, str, int] = (None, "", 0)

    def on_message(self, *, sender: Host, payload: Payload, **_: object) -> None:
        if not sender.is_honest:
            return
        last, kind, size_bytes = self._last
        if last is not payload:
            kind, size_bytes = kind_of(payload), len(encode(payload))
            self._last = payload, kind, size_bytes
        self.messages[kind] += 1
        self.size_bytes[kind] += size_bytes


def kind_of(payload: Payload) -> str:
    """Returns the kind that a message counts among."""
    if isinstance(payload, tuple):
        return REQUESTS
    if isinstance(payload, Status):
        return STATUSES
    if isinstance(payload, ViewChange):
        return VIEW_CHANGES
    return PROPOSALS if isinstance(payload, OF_BLOCKS) else VOTES


def run_plan(seed: int, plan: Plan) -> Run:
    """Runs one seed: a request every 1.6 slots, of each honest member in turn."""
    liars = Random(f"liars of seed {seed}").sample(range(plan.members), fault_bound(plan.members))
    roles = {} if plan.role is None else dict.fromkeys(liars, plan.role)
    counted = Counted()
    with keyed_hashes():
        network = Drawn(
            plan.members,
            plan.size,
            seed,
            Faults(),
            roles=roles,
            eligible=frozenset(liars) if plan.is_captured else None,
            observer=counted,
        )
        asked_ms = {}
        for number in range(plan.requests):
            delay_ms = FIRST_REQUEST_MS + number * REQUEST_INTERVAL_MS
            asked_ms[number] = network.now_ms + delay_ms
            network.push(delay_ms, "submit", network.honest[number % len(network.honest)], number)
        last_ms = max(asked_ms.values())
        is_finished = network.run(
            lambda: network.now_ms > last_ms and network.is_everything_executed(),
            last_ms - network.now_ms + STANDS_AFTER_SLOTS * TAU_MS,
        )
    return Run(
        heights=max(network.checker.decided, default=0),
        messages=dict(counted.messages),
        size_bytes=dict(counted.size_bytes),
        latencies=tuple((at_ms - asked_ms[number]) / TAU_MS for number, at_ms in counted.answered_ms.items()),
        view_changes=sum(host.view_changes for host in network.honest),
        is_finished=is_finished,
    )


def compare(
    plans: Sequence[Plan],
    seeds: range,
    processes: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> list[Comparison]:
    """Runs all seeds of each plan and of the same without clusters, in so many processes, by default one per core."""
    both = [[Figures(plan=plan), Figures(plan=replace(plan, size=0, is_captured=False))] for plan in plans]
    figures = [one for pair in both for one in pair]
    jobs = [(number, seed, one.plan) for number, one in enumerate(figures) for seed in seeds]
    with get_context("spawn").Pool(min(processes or cpu_count() or 1, len(jobs))) as pool:
        for done, (number, run) in enumerate(pool.imap_unordered(_run_job, jobs)):
            figures[number].runs.append(run)
            progress(done + 1, len(jobs))
    return [Comparison(drawn=drawn, all=of_all) for drawn, of_all in both]


def _run_job(job: tuple[int, int, Plan]) -> tuple[int, Run]:
    number, seed, plan = job
    return number, run_plan(seed, plan)
