"""`pauses`: half of the network is paused for long; commits go on soon after it is back.

What a long pause does to the protocol is counted in slots: how far the clocks of the paused run ahead of what they
know, and how many slots the others ask for a view change in vain (for one and the same slot: attempts grow only when
a quorum takes part, so no back-off is left to wait for). Half an hour at the deployed second per slot is 1,800 slots;
at 50 ms per slot that is a minute and a half, and longest attempts are 27 slots in both. What a pause does to
connections is counted in seconds, and ends with the mesh's deadlines (60 s at most): the second pause is longer than
all of them, at the testnet's own slot.
"""

import json
import signal
import time
from typing import Annotated, Any, Final
from unittest.mock import patch

import typer

from contracts.units import Milliseconds
from node.admission.founding_rules import SLOT_DURATION_MS
from node.home.genesis_file import load_genesis
from tests.endurance.pack import Load, check_end, running_pack, seconds_until

HALF_AN_HOUR_SLOTS: Final = 1_800
SHORT_SLOT_MS: Final = Milliseconds(50)
PLAIN_S: Final = 75.0
COMMIT_S_MAX: Final = 10.0
PAUSED: Final = (1, 2)
LEFT: Final = (3, 4)


def run_pause(*, slots: int, slot_ms: Milliseconds = SLOT_DURATION_MS, seed: int = 1) -> dict[str, Any]:
    """Pauses 2 of 4 for so many slots under load; returns the figures.

    Raises:
        AssertionError: no commit on every node within `COMMIT_S_MAX` after it, or something was lost.
    """
    with (
        patch("node.admission.founding_rules.SLOT_DURATION_MS", slot_ms),
        running_pack(4) as pack,
        Load(pack.street, seed) as load,
    ):
        assert load_genesis(pack.node(1).home).slot_duration_ms == slot_ms
        seconds_until(pack, 1, above=2, deadline_s=60)
        for number in PAUSED:
            pack.signal(number, signal.SIGSTOP)
        before = pack.highest(LEFT)
        time.sleep(slots * slot_ms / 1_000)  # the subject itself
        resumed = pack.highest(LEFT)
        assert resumed <= before + 1, "two of four decided alone"
        for number in PAUSED:
            pack.signal(number, signal.SIGCONT)
        resumed_s = time.monotonic()
        for number in pack.numbers:
            seconds_until(pack, number, above=resumed, deadline_s=COMMIT_S_MAX - (time.monotonic() - resumed_s))
        commit_s = time.monotonic() - resumed_s
        load.__exit__()
        figures = check_end(pack, load.replied)
    return {
        "slots": slots,
        "slot_ms": slot_ms,
        "commit_after_s": round(commit_s, 2),
        "commit_after_slots": round(commit_s * 1_000 / slot_ms),
        **figures,
    }


def pauses(
    slots: Annotated[int, typer.Option(min=1, help="Length of the compressed pause.")] = HALF_AN_HOUR_SLOTS,
    plain_s: Annotated[float, typer.Option(help="Length of the pause at the testnet's slot.")] = PLAIN_S,
) -> None:
    """Two of four daemons are paused as long as half an hour is for the protocol; commits within 10 s after."""
    found = [
        run_pause(slots=slots, slot_ms=SHORT_SLOT_MS),
        run_pause(slots=round(plain_s * 1_000 / SLOT_DURATION_MS)),
    ]
    typer.echo(json.dumps(found, indent=2))
