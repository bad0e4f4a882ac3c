"""`phases`: the leader is killed at each point of a block; the others go on, and it comes back."""

import json
from typing import Any, Final

import typer

from tests.endurance.dying import POINTS
from tests.endurance.pack import Load, check_end, running_pack, seconds_until
from tests.support.testnet import wait_until

DYING: Final = 2
PROGRESS_S_MAX: Final = 10.0


def run_phase(point: str, *, nodes: int = 4, seed: int = 1) -> dict[str, Any]:
    """Has one node die at a point of a block that it leads; returns the figures.

    Raises:
        AssertionError: the others do not go on, or it does not come back, within `PROGRESS_S_MAX`.
    """
    with running_pack(nodes) as pack, Load(pack, seed) as load:
        pack.kill(DYING)
        pack.start(DYING, "tests.endurance.dying", point)
        died = pack.node(DYING).home.directory / "died"
        wait_until(died.exists, f"node {DYING} died at {point}")
        pack.processes.pop(DYING).wait()
        assert died.read_text() == point
        others = [number for number in pack.numbers if number != DYING]
        before = pack.highest(others)
        others_s = max(seconds_until(pack, number, above=before, deadline_s=PROGRESS_S_MAX) for number in others)
        pack.start(DYING)
        back_s = seconds_until(pack, DYING, above=pack.highest(others), deadline_s=PROGRESS_S_MAX)
        load.__exit__()
        figures = check_end(pack, load.replied)
    return {"point": point, "others_go_on_s": round(others_s, 2), "back_s": round(back_s, 2), **figures}


def phases() -> None:
    """The leader dies at each point of a block; the others go on and it comes back, both within 10 s."""
    typer.echo(json.dumps([run_phase(point) for point in POINTS], indent=2))
