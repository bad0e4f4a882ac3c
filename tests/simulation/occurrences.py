"""What has to have happened in a large run of seeds, counted where it happens: a simulation that met none of it
proved nothing. The counts are part of a run's result.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from consensus.evidence import Offence
from tests.simulation.faults import Cut

CRASH_POINTS: Final = ("records", "sign state", "block")
"""Durable writes: a process dies before one, or in the middle of it."""

LIES: Final = (
    *(f"equivocating: bent {kind}" for kind in ("PrePrepare", "Prepare", "Commit", "ViewChange")),
    *(f"equivocating: bent {kind}" for kind in ("Status", "Body", "Decided", "HeightAnswer")),
    *(f"forging: bent {kind}" for kind in ("PrePrepare", "ViewChange", "Status", "Body", "Decided")),
    *(f"forging: bent {kind}" for kind in ("HeightAnswer", "Blocks")),
    *(f"forging: added {kind}" for kind in ("PrePrepare", "Prepare", "Commit", "ViewChange", "Decided")),
    *(f"withholding: held back {kind}" for kind in ("PrePrepare", "Body", "Decided", "HeightAnswer")),
    "silent: held back Prepare",
    "stale: bent ViewChange",
    "far_future: added PrePrepare",
    "greedy: early PrePrepare",
)


class Expected(NamedTuple):
    """What happens in many runs of a kind."""

    names: tuple[str, ...]
    runs_min: int
    """In so many runs all of it happens; in fewer some of it may not."""

    def missing(self, occurred: Mapping[str, int], runs: int) -> list[str]:
        """Returns what should have happened in so many runs, and did not."""
        return [name for name in self.names if not occurred.get(name)] if runs >= self.runs_min else []


NOTHING: Final = Expected((), 0)

_OF_SEEDS: Final = (
    "a message was lost",
    "a message was doubled",
    *(f"a {flaps}{cut.value} partition" for cut in Cut for flaps in ("", "flapping ")),
    "a message was sent over a dead link",
    *(f"{kind} was passed on" for kind in ("PrePrepare", "Prepare", "Commit", "ViewChange", "Status")),
    "a member paused",
    "a clock jumped",
    "a clock jumped by more than ten minutes",
    "all clocks jumped together",
    *(f"died {how}: {point}" for point in CRASH_POINTS for how in ("before", "in the middle of")),
    "died before: sending",
    "died before: applied",
    "blocks were lost",
    "an old sign state was put back",
    *(f"a write failed: {point}" for point in CRASH_POINTS),
    "a member stopped on a failed write",
    "a forgetful member was answered",
    "a bit changed after a clean stop",
    "a bit changed after a crash",
    "damage was found at the start",
    "a member far behind asked for ranges of blocks",
    "a block came by sync",
    *LIES,
    *(f"evidence of {offence.value}" for offence in Offence),
    *(f"refused: {reason}" for reason in ("bad_signature", "bad_certificate", "bad_justification")),
    *(f"refused: {reason}" for reason in ("claim_without_certificate", "not_the_leader", "answer_bad_signature")),
    "refused: a range of blocks",
)

OF_SEEDS: Final = Expected(_OF_SEEDS, runs_min=2_000)

JOINED: Final = "a home joined"
LEFT: Final = "a home left"
RAN_OUT: Final = "a certificate ran out and its member went"
RENEWED: Final = "a member was renewed before it went"
TOO_LATE: Final = "a renewal came too late"
KEPT: Final = "a member stayed as no fewer may be left"
ATTENDED: Final = "who attends was compared with what blocks say"

PROPOSED: Final = "a liar proposed in a slot that passes unused"
ASKED: Final = "a liar asked for a slot that passes unused"

DRAWN: Final = "a vote for what a drawn leader proposed"
BY_ORDER: Final = "a vote for what a leader of the order proposed"
MISNAMED: Final = "a liar made a block under the other leader's name"
CAPTURED: Final = "only liars were drawn"

HANDED: Final = "a certificate was handed out"
REQUESTED: Final = "a certificate was asked for"
PLAIN: Final = "a member told all after two thirds of a slot"

OF_CLUSTERS: Final = Expected(
    (
        *(DRAWN, BY_ORDER, MISNAMED, CAPTURED, HANDED, REQUESTED, PLAIN, "a message was lost"),
        *("hoarding: held back Gathered", "half_telling: held back Prepare"),
        *("counterfeiting: bent Gathered", "counterfeiting: added Gathered"),
        "counterfeiting: added CertificateRequest",
    ),
    runs_min=14,
)

OF_SUSPENDED: Final = Expected((PROPOSED, ASKED, "a message was lost"), 50)
"""Of networks some of whose members are suspended."""

OF_CHANGES: Final = Expected(
    (
        JOINED,
        LEFT,
        RAN_OUT,
        RENEWED,
        TOO_LATE,
        ATTENDED,
        "a message was lost",
        "a message was doubled",
        *(f"a {flaps}{cut.value} partition" for cut in Cut for flaps in ("", "flapping ")),
        "a member paused",
        "a clock jumped",
        *(f"died {how}: {point}" for point in CRASH_POINTS for how in ("before", "in the middle of")),
        "blocks were lost",
        "a forgetful member was answered",
        "a block came by sync",
        *(f"evidence of {offence.value}" for offence in Offence),
        *(f"equivocating: bent {kind}" for kind in ("PrePrepare", "Prepare", "Commit", "ViewChange")),
    ),
    runs_min=250,
)
