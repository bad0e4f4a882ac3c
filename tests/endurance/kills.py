"""`kills`: daemons die by SIGKILL at random moments under load; nothing that was replied is lost."""

import json
import random
import time
from statistics import median
from typing import Annotated, Any, Final

import typer

from consensus.quorum import fault_bound
from tests.endurance.pack import Load, Pack, check_end, running_pack, seconds_until

RECOVERY_S_MAX: Final = 10.0
PAUSE_S_MAX: Final = 1.0
"""Between a recovery and the next kill, at most: the moment is what is random."""

ALL_EVERY: Final = 10
"""One kill of so many is of all nodes at once."""

MANY_EVERY: Final = 4
"""One of so many is of F nodes at once."""


def run_kills(*, nodes: int, kills: int, seed: int, tell: bool = False) -> dict[str, Any]:
    """Kills and starts again, as often as asked; returns the figures.

    Raises:
        AssertionError: a recovery took longer than `RECOVERY_S_MAX`, or something was lost.
    """
    choice = random.Random(f"kills {nodes} {seed}")
    recoveries: list[float] = []
    with running_pack(nodes) as pack, Load(pack, seed) as load:
        number = 0
        while number < kills:
            time.sleep(choice.random() * PAUSE_S_MAX)
            victims = _victims(choice, nodes)
            recoveries.append(_kill(pack, victims))
            number += len(victims)
            if tell:
                typer.echo(f"{nodes} nodes: {number} kills, {len(load.replied)} replies", err=True)
        load.__exit__()
        figures = check_end(pack, load.replied)
    return {
        "nodes": nodes,
        "kills": number,
        "recovery_s": {"median": round(median(recoveries), 2), "max": round(max(recoveries), 2)},
        **figures,
    }


def _victims(choice: random.Random, nodes: int) -> list[int]:
    draw = choice.random()
    count = nodes if draw < 1 / ALL_EVERY else fault_bound(nodes) if draw < 1 / MANY_EVERY else 1
    return choice.sample(range(1, nodes + 1), count)


def _kill(pack: Pack, victims: list[int]) -> float:
    """Returns how long it took until every victim had decided more than anyone had when it started again."""
    for victim in victims:
        pack.kill(victim)
    others = [number for number in pack.numbers if number not in victims]
    before = pack.highest(others) if others else 0
    started_s = time.monotonic()
    for victim in victims:
        pack.start(victim)
    for victim in victims:
        seconds_until(pack, victim, above=before, deadline_s=RECOVERY_S_MAX - (time.monotonic() - started_s))
    return time.monotonic() - started_s


def kills(
    nodes: Annotated[list[int] | None, typer.Option(help="Sizes of the network.")] = None,
    count: Annotated[int, typer.Option("--kills", min=1, help="Kills per size.")] = 100,
    seed: int = 1,
) -> None:
    """Daemons die at random moments under load; nothing that was replied is lost, each is back within 10 s."""
    found = [run_kills(nodes=size, kills=count, seed=seed, tell=True) for size in nodes or (4, 5, 7)]
    typer.echo(json.dumps(found, indent=2))
