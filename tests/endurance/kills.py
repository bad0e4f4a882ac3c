"""`kills`: daemons die by SIGKILL at random moments under load; nothing that was replied is lost."""

import json
import random
import time
from statistics import quantiles
from typing import Annotated, Any, Final

import typer

from consensus.quorum import fault_bound
from tests.endurance.pack import Load, Pack, check_end, running_pack
from tests.support.testnet import wait_until

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
    with running_pack(nodes) as pack, Load(pack.street, seed) as load:
        number = 0
        while number < kills:
            time.sleep(choice.random() * PAUSE_S_MAX)
            victims = _victims(choice, nodes)
            recoveries.append(_kill(pack, victims))
            number += len(victims)
            if tell:
                said = f"{number} kills, the last of {victims}: {recoveries[-1]:.2f} s, {len(load.replied)} replies"
                typer.echo(f"{nodes} nodes: {said}", err=True)
        load.__exit__()
        figures = check_end(pack, load.replied)
    return {
        "nodes": nodes,
        "kills": number,
        "recovery_s": percentiles(recoveries),
        **figures,
    }


def percentiles(seconds: list[float]) -> dict[str, float]:
    parts = quantiles(seconds, n=20, method="inclusive") if len(seconds) > 1 else seconds * 19
    return {"p50": round(parts[9], 2), "p95": round(parts[18], 2), "max": round(max(seconds), 2)}


def _victims(choice: random.Random, nodes: int) -> list[int]:
    draw = choice.random()
    count = nodes if draw < 1 / ALL_EVERY else fault_bound(nodes) if draw < 1 / MANY_EVERY else 1
    return choice.sample(range(1, nodes + 1), count)


def _kill(pack: Pack, victims: list[int]) -> float:
    """Returns how long it took from the kill until every victim was at the others' height, above all earlier ones."""
    others = [number for number in pack.numbers if number not in victims]
    before = pack.highest(pack.numbers)
    killed_s = time.monotonic()
    for victim in victims:
        pack.kill(victim)
    for victim in victims:
        pack.start(victim)

    def are_back() -> bool:
        needed = max(pack.highest(others), before + 1)
        reached = pack.heights(victims)
        return len(reached) == len(victims) and min(reached.values()) >= needed

    wait_until(are_back, f"nodes {victims} back at height {before}", deadline_s=RECOVERY_S_MAX)
    return time.monotonic() - killed_s


def kills(
    nodes: Annotated[list[int] | None, typer.Option(help="Sizes of the network.")] = None,
    count: Annotated[int, typer.Option("--kills", min=1, help="Kills per size.")] = 100,
    seed: int = 1,
) -> None:
    """Daemons die at random moments under load; nothing that was replied is lost, each is back within 10 s."""
    found = []
    for size in nodes or (4, 5, 7):
        found.append(run_kills(nodes=size, kills=count, seed=seed, tell=True))
        typer.echo(json.dumps(found[-1]), err=True)
    typer.echo(json.dumps(found, indent=2))
