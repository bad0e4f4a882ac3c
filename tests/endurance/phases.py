"""`phases`: the leader is killed at each point of a block; the others go on, and it comes back."""

import json
import signal
from typing import Any, Final

import typer

from consensus.identifiers import Digest
from ledger.ledger import Ledger
from node.home.genesis_file import load_genesis
from tests.endurance.dying import DEATH_NAME, POINTS, SENT_POINTS, Death
from tests.endurance.pack import Load, Pack, check_end, running_pack, seconds_until
from tests.support.testnet import wait_until

DYING: Final = 2
PROGRESS_S_MAX: Final = 10.0


def run_phase(point: str, *, nodes: int = 4, seed: int = 1) -> dict[str, Any]:
    """Has one node die at a point of a block that it leads; returns the figures.

    Raises:
        AssertionError: the others do not go on, or it does not come back, within `PROGRESS_S_MAX`.
    """
    with running_pack(nodes) as pack, Load(pack.street, seed) as load:
        pack.kill(DYING)
        pack.start(DYING, "tests.endurance.dying", point)
        home = pack.node(DYING).home.directory
        wait_until((home / DEATH_NAME).exists, f"node {DYING} died at {point}")
        assert pack.processes.pop(DYING).wait() == -signal.SIGKILL
        death = Death.read(home)
        assert death.point == point
        others = [number for number in pack.numbers if number != DYING]
        before = pack.highest(others)
        others_s = max(seconds_until(pack, number, above=before, deadline_s=PROGRESS_S_MAX) for number in others)
        pack.start(DYING)
        back_s = seconds_until(pack, DYING, above=pack.highest(others), deadline_s=PROGRESS_S_MAX)
        load.__exit__()
        figures = check_end(pack, load.replied)
        is_decided = _is_decided(pack, death)
        assert is_decided or point not in SENT_POINTS, "a quorum had the proposal, so it was decided"
    return {
        "point": point,
        "others_go_on_s": round(others_s, 2),
        "back_s": round(back_s, 2),
        "its_block_decided": is_decided,
        **figures,
    }


def _is_decided(pack: Pack, death: Death) -> bool:
    """Says whether the block that it led when it died was decided in the end; the pack is stopped."""
    home = pack.node(DYING).home
    ledger = Ledger.open(home.ledger, load_genesis(home))
    try:
        return ledger.height_of_block(Digest(bytes.fromhex(death.block))) == death.height
    finally:
        ledger.close()


def phases() -> None:
    """The leader dies at each point of a block; the others go on and it comes back, both within 10 s."""
    typer.echo(json.dumps([run_phase(point) for point in POINTS], indent=2))
