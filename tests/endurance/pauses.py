"""`pauses`: half of the network is paused for long; commits go on soon after it is back.

Half an hour at the deployed second per slot is 1,800 slots: attempts to change the view have then long reached
their longest distance (27 slots at N = 4), and nothing differs any more but the number of attempts. At 50 ms per slot
that is a minute and a half.
"""

import json
import signal
import time
from typing import Annotated, Any, Final
from unittest.mock import patch

import typer

from contracts.units import Milliseconds
from tests.endurance.pack import Load, check_end, running_pack, seconds_until

SLOT_MS: Final = Milliseconds(50)
HALF_AN_HOUR_SLOTS: Final = 1_800
COMMIT_S_MAX: Final = 10.0


def run_pause(*, slots: int, seed: int = 1) -> dict[str, Any]:
    """Pauses 2 of 4 for so many slots under load; returns the figures.

    Raises:
        AssertionError: no commit on every node within `COMMIT_S_MAX` after it, or something was lost.
    """
    with patch("node.testnet_init.SLOT_DURATION_MS", SLOT_MS), running_pack(4) as pack, Load(pack, seed) as load:
        seconds_until(pack, 1, above=2, deadline_s=60)
        for number in (1, 2):
            pack.signal(number, signal.SIGSTOP)
        before = pack.highest((3, 4))
        time.sleep(slots * SLOT_MS / 1_000)  # the subject itself
        assert pack.highest((3, 4)) <= before + 1, "two of four decided alone"
        resumed = pack.highest((3, 4))
        for number in (1, 2):
            pack.signal(number, signal.SIGCONT)
        resumed_s = time.monotonic()
        for number in pack.numbers:
            seconds_until(pack, number, above=resumed, deadline_s=COMMIT_S_MAX - (time.monotonic() - resumed_s))
        commit_s = time.monotonic() - resumed_s
        load.__exit__()
        figures = check_end(pack, load.replied)
    return {"slots": slots, "slot_ms": SLOT_MS, "commit_after_s": round(commit_s, 2), **figures}


def pauses(
    slots: Annotated[int, typer.Option(min=1, help="Length of the pause.")] = HALF_AN_HOUR_SLOTS,
) -> None:
    """Two of four daemons are paused as long as half an hour is for the protocol; commits within 10 s after."""
    typer.echo(json.dumps(run_pause(slots=slots), indent=2))
