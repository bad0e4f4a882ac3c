"""A month in the life of seven members, with everything going wrong at once.

Slots last 30 s here, so that a month is 86,400 of them and one core simulates it in minutes; pauses, partitions,
delays and the back-off are as many slots long as elsewhere in the simulator. Each day has 16 hours of storm and 8 of
calm. In a storm each hour draws its own weather: loss, duplication, delays of up to three slots, partitions of both
kinds, crashes at every durable step, pauses, small clock jumps. Two members are faulty all the time: one lies,
another way each day; the other's clock jumps by up to an hour, and once a day its disk has an accident (bit rot, lost
blocks, or the sign state with them). Clients ask for something every four minutes, in storm and calm.

The checker watches as in every run. At the end of each calm, everything asked for an hour before is executed by all.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Final
from unittest.mock import patch

from consensus.identifiers import Address
from tests.simulation import byzantine, host, network
from tests.simulation.faults import BYZANTINE, COLLECTING, Cut, Faults, Role
from tests.simulation.host import Host
from tests.simulation.network import Network
from tests.simulation.signing import KeyedHashKey, keyed_hashes

MEMBERS: Final = 7
LIAR: Final = 2
UNLUCKY: Final = 5
"""The member whose clock is wild and whose disk has accidents."""

SLOT_MS: Final = 30_000
HOUR_MS: Final = 3_600_000
STORM_HOURS: Final = 16
CALM_HOURS: Final = 8
FOR_EVER_MS: Final = 2**62
REQUEST_MS: Final = 240_000
WEATHER_MS: Final = 5 * 60_000
"""How long a partition, or none, lasts."""
LIES: Final = sorted(BYZANTINE - {Role.TWIN, *COLLECTING}, key=lambda role: role.value)
ACCIDENTS: Final = (Role.BIT_ROT, Role.LOSES_BLOCKS, Role.FORGETS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """What came of it."""

    days: int
    storm_hours: int
    """Of each day, from its beginning."""
    calm_hours: int
    members: int
    slot_s: int
    heights_by_hour: tuple[int, ...]
    requests: int
    view_changes: int
    recovery_slots: tuple[int, ...]
    """Per storm: from its end until all that was asked before is executed by all honest members."""
    events: int
    occurred: dict[str, int]

    def as_json(self) -> dict[str, object]:
        """The figures in short, without the hours."""
        storm, calm = ([self.heights_by_hour[hour] for hour in hours] for hours in self.hours_by_weather())
        figures = {key: value for key, value in asdict(self).items() if key not in {"heights_by_hour", "occurred"}}
        return figures | {
            "heights": sum(self.heights_by_hour),
            "heights_per_hour_storm": {"median": median(storm), "min": min(storm), "max": max(storm)},
            "heights_per_hour_calm": {"median": median(calm), "min": min(calm), "max": max(calm)},
            "recovery_slots": {"median": median(self.recovery_slots), "max": max(self.recovery_slots)},
            "occurred": dict(sorted(self.occurred.items())),
        }

    def hours_by_weather(self) -> tuple[list[int], list[int]]:
        """Returns the numbers of the hours of storm and of calm."""
        hours = range(len(self.heights_by_hour))
        is_storm = [hour % (self.storm_hours + self.calm_hours) < self.storm_hours for hour in hours]
        return [hour for hour in hours if is_storm[hour]], [hour for hour in hours if not is_storm[hour]]


@contextmanager
def long_slots() -> Iterator[None]:
    """Has the simulator's times last as many slots as ever, with slots of half a minute."""
    factor = SLOT_MS // host.TAU_MS
    with ExitStack() as stack:
        for owner, name in (
            (host, "TAU_MS"),
            (host, "PASS_ON_MS"),
            (host, "RESTART_MS_MAX"),
            (host, "ATTEMPT_MAX_MS"),
            (network, "TAU_MS"),
            (network, "STRAGGLER_MS_MAX"),
            (network, "MEMORY_LOOK_MS"),
            (byzantine, "LATE_MS_MAX"),
        ):
            stack.enter_context(patch.object(owner, name, getattr(owner, name) * factor))
        yield


class Simulation:
    """The network, day after day."""

    def __init__(self, seed: int, storm_hours: int, calm_hours: int) -> None:
        self._storm_hours, self._calm_hours = storm_hours, calm_hours
        self._random = Random(f"month {seed}")
        self.network = Network(
            MEMBERS,
            seed,
            Faults(until_ms=FOR_EVER_MS, drift_per_million_max=200, clock_offset_ms_max=SLOT_MS),
            keys=[KeyedHashKey(bytes([index + 1])) for index in range(MEMBERS)],
            roles={LIAR: Role.SILENT, UNLUCKY: Role.WILD_CLOCK},
            tick_ms=SLOT_MS // 3,
        )
        self._start_ms = self.network.now_ms
        self._requests = 0
        self._heights = 0
        self.heights_by_hour: list[int] = []
        self.recovery_slots: list[int] = []

    def run_day(self, day: int) -> None:
        """A day: another lie, a disk accident, hours of storm, then calm until all is executed, and longer."""
        liar, unlucky = self.network.hosts[LIAR], self.network.hosts[UNLUCKY]
        assert liar.liar is not None, "the liar lies"
        liar.role = liar.liar.role = LIES[day % len(LIES)]
        accident_hour = self._random.randrange(self._storm_hours)
        for hour in range(self._storm_hours):
            self.network.faults = self._storm()
            assert self.network.is_faulty, "a storm without wind"
            if hour == accident_hour:
                self._accident(unlucky, ACCIDENTS[day % len(ACCIDENTS)])
            self._run_hour()
        self.network.faults, self.network.cut = Faults(), frozenset()
        asked, ended_ms = self._requests, self.network.now_ms
        recovered_ms: int | None = None
        for _ in range(self._calm_hours):
            moment_ms = self._run_hour(asked_before=asked)
            recovered_ms = recovered_ms or moment_ms
        assert recovered_ms is not None, f"day {day}: stuck"
        self.recovery_slots.append((recovered_ms - ended_ms) // SLOT_MS)
        self._check_calm(day)

    def _storm(self) -> Faults:
        """The weather of an hour; everything at once, more or less of each."""
        draw = self._random.choice
        per_tick = network.TICK_MS / HOUR_MS
        return Faults(
            until_ms=FOR_EVER_MS,
            loss=draw((0.02, 0.1, 0.3)),
            duplication=draw((0.02, 0.1)),
            delay_ms_max=draw((100, SLOT_MS // 4, SLOT_MS, 3 * SLOT_MS)),
            straggling=draw((0.0, 0.02)),
            crash_per_tick=draw((0.1, 0.5)) * per_tick,
            crash_per_point=draw((0.001, 0.005)),
            pause_per_tick=draw((0.1, 0.5)) * per_tick,
            clock_jump_per_tick=draw((0.5, 2.0)) * per_tick,
            cut=draw(tuple(Cut)),
        )

    def _accident(self, unlucky: Host, kind: Role) -> None:
        """The member dies, and its disk has lost something when it is back: so the checker expects no more of it."""
        self.network.run(lambda: unlucky.is_up, HOUR_MS)
        unlucky.role = kind
        unlucky.crash()
        unlucky.role = Role.WILD_CLOCK
        checker = self.network.checker
        checker.appended.pop(unlucky, None)
        checker.answered.pop(unlucky, None)
        self.network.occurred[f"accident: {kind.value}"] += 1

    def _run_hour(self, asked_before: int | None = None) -> int | None:
        """Returns when all requests below a number were executed, None if not in this hour."""
        simulated, recovered_ms = self.network, None
        end_ms = self._start_ms + (len(self.heights_by_hour) + 1) * HOUR_MS
        while simulated.now_ms < end_ms:
            self._blow()
            next_ms = min(end_ms, simulated.now_ms + WEATHER_MS)
            while simulated.now_ms < next_ms:
                self._ask()
                simulated.run(lambda: False, min(SLOT_MS, next_ms - simulated.now_ms))
                if asked_before is not None and recovered_ms is None and self._is_executed(asked_before):
                    recovered_ms = simulated.now_ms
        height = max(simulated.checker.decided, default=0)
        self.heights_by_hour.append(height - self._heights)
        self._heights = height
        self._forget()
        return recovered_ms

    def _blow(self) -> None:
        """In a storm the network is cut in two half of the time, every few minutes elsewhere."""
        simulated = self.network
        side: list[Address] = []
        if simulated.faults.loss and self._random.random() < 0.5:
            side = self._random.sample(simulated.membership.addresses, self._random.randint(1, MEMBERS - 1))
            simulated.occurred[f"a {simulated.faults.cut.value} partition"] += 1
        simulated.cut = frozenset(side)

    def _ask(self) -> None:
        """Clients ask each honest member in turn, whatever the weather."""
        honest = self.network.honest
        while self._requests * REQUEST_MS < self.network.now_ms - self._start_ms:
            honest[self._requests % len(honest)].submit(self._requests)
            self._requests += 1

    def _is_executed(self, before: int) -> bool:
        behind = min(member.application.height for member in self.network.honest)
        told = max(member.answered_height for member in self.network.honest)
        open_numbers = (number for member in self.network.honest for number in member.asked)
        return behind >= told - 1 and all(number >= before for number in open_numbers)

    def _check_calm(self, day: int) -> None:
        old = self._requests - HOUR_MS // REQUEST_MS
        assert self._is_executed(old), f"day {day}: what was asked for an hour ago in calm is not executed"

    def _forget(self) -> None:
        """Lets the checker forget signatures of heights that everyone has decided, or a month would not fit."""
        checker, everybody = self.network.checker, min(member.application.height for member in self.network.honest)
        for signed in (checker.votes, checker.commits, checker.view_changes, checker.promises):
            for step in [step for step in signed if step[1] <= everybody]:
                del signed[step]  # type: ignore[arg-type]
        checker.forgotten_through = everybody

    def result(self, days: int) -> Month:
        simulated = self.network
        return Month(
            days=days,
            storm_hours=self._storm_hours,
            calm_hours=self._calm_hours,
            members=MEMBERS,
            slot_s=SLOT_MS // 1_000,
            heights_by_hour=tuple(self.heights_by_hour),
            requests=self._requests,
            view_changes=sum(member.view_changes for member in simulated.honest),
            recovery_slots=tuple(self.recovery_slots),
            events=simulated.sequence,
            occurred=dict(sum((member.application.occurred for member in simulated.hosts), simulated.occurred)),
        )


def simulate(
    days: int,
    seed: int = 1,
    *,
    storm_hours: int = STORM_HOURS,
    calm_hours: int = CALM_HOURS,
    progress: Callable[[int], None] = lambda _day: None,
) -> Month:
    """Runs days of it; `progress` is told which is over.

    Raises:
        AssertionError: something unsafe happened, or something was not executed in time.
    """
    with long_slots(), keyed_hashes():
        simulation = Simulation(seed, storm_hours, calm_hours)
        for day in range(days):
            simulation.run_day(day)
            progress(day)
        return simulation.result(days)


def draw(month: Month, file: Path) -> None:
    """Plots the heights decided per simulated hour as SVG."""
    import matplotlib as mpl  # noqa: PLC0415  (half a second, for this command only)
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({"svg.hashsalt": "p2pnode", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(11, 4), layout="constrained")
        axes = figure.subplots()
        day_hours = month.storm_hours + month.calm_hours
        for day in range(month.days):
            label = "storm" if day == 0 else None
            axes.axvspan(day, day + month.storm_hours / day_hours, color="#f4d9c6", linewidth=0, label=label)
        hours = [hour / day_hours for hour in range(len(month.heights_by_hour) + 1)]
        axes.stairs(month.heights_by_hour, hours, fill=True, color="#1f5f8b", label="heights decided")
        asked = HOUR_MS / REQUEST_MS
        axes.axhline(asked, color="#b3261e", linewidth=1, linestyle="--", label="requests made")
        axes.set(
            xlabel="simulated day",
            ylabel="per hour",
            xlim=(0, month.days),
            ylim=(0, 1.3 * max(month.heights_by_hour)),
        )
        axes.set_xticks(range(0, month.days + 1, max(1, month.days // 15)))
        axes.legend(loc="upper right", ncols=3, frameon=True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        figure.savefig(file, metadata={"Date": None})


def write_figures(month: Month, file: Path) -> None:
    """Writes the figures, one line of JSON."""
    file.write_text(json.dumps(month.as_json()) + "\n")
