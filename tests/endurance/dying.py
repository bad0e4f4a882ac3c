"""A daemon that dies once as leader, at a named point: `python -m tests.endurance.dying POINT --config FILE`.

The points lie between a leader's durable steps and what it sends; dying is SIGKILL by its own hand, so nothing is
cleaned up. What it led at that moment is written down in its home before (`Death`); it starts again as any other.
"""

import argparse
import json
import os
import signal
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from consensus.events import Decision, Effects
from consensus.messages import Commit, PrePrepare
from node.daemon import run_daemon
from node.home.configuration import load_configuration
from node.home.sign_state import SignStateFile
from node.mesh.link import PeerLink
from node.metrics.counters import NodeMetrics
from tests.endurance.witness import FILE_NAME, WitnessDriver

LED_BEFORE: Final = 2
"""It dies only when so many of its blocks were decided: it has caught up by then, and the others listen to it."""

DEATH_NAME: Final = "died"

POINTS: Final = (
    "proposal-half-persisted",
    "proposal-persisted",
    "proposal-sent",
    "prepared-half-persisted",
    "prepared-persisted",
    "commit-sent",
    "decided",
    "applied",
)
"""Half persisted: among the records of the height, but not yet in the sign state. Sent: handed to the system, to all;
nothing else is done before. Decided: nothing of it is written yet. Applied: written; nobody was told.
"""

SENT_POINTS: Final = frozenset(POINTS[2:])
"""From the first one on the others have the proposal: a quorum without the leader decides it."""


@dataclass(frozen=True, kw_only=True)
class Death:
    """Where a leader died."""

    point: str
    height: int
    block: str
    """Digest of its proposal, in hex."""

    @classmethod
    def read(cls, home: Path) -> "Death":
        return cls(**json.loads((home / DEATH_NAME).read_text(encoding="utf-8")))


class CountedLink(PeerLink):
    """Counts the frames of all links that wait to be sent."""

    unsent = 0

    def put(self, frame: bytes) -> None:
        CountedLink.unsent += 1
        super().put(frame)


class DyingDriver(WitnessDriver):
    """Counts the blocks that it leads, and dies at `point` of one of them."""

    point = ""
    home: Path
    alive: "DyingDriver | None" = None

    def __init__(self, **parts: Any) -> None:
        self._led = 0
        self._leading: PrePrepare | None = None
        self._is_frozen = False
        self._saving = ""
        DyingDriver.alive = self
        super().__init__(**parts)

    def _carry_out(self, effects: Effects) -> None:
        if self._is_frozen:
            return
        super()._carry_out(effects)
        self._freeze("proposal-sent", self._sends(effects, PrePrepare))
        self._freeze("commit-sent", self._sends(effects, Commit))

    def _persist(self, effects: Effects) -> None:
        voted = effects.voted
        if voted is not None:
            self._leading = voted if voted.signer == self._own else None
        self._saving = "proposal" if voted is not None else "prepared" if effects.prepared is not None else ""
        super()._persist(effects)
        self.reach(f"{self._saving}-persisted")

    def before_sign_state(self) -> None:
        """Called when the records of the height are durable, and the sign state is about to be."""
        self.reach(f"{self._saving}-half-persisted")

    def _apply(self, decision: Decision) -> None:
        if self._leading is not None and self._leading.block != decision.block:
            self._leading = None
        self.reach("decided")
        super()._apply(decision)
        self.reach("applied")
        self._led += self._leading is not None
        self._leading = None

    @staticmethod
    def _sends(effects: Effects, kind: type) -> bool:
        return any(isinstance(send.message, kind) for send in effects.send)

    def _is_there(self, point: str) -> bool:
        return point == self.point and self._leading is not None and self._led >= LED_BEFORE

    def _freeze(self, point: str, is_there: bool) -> None:
        """Does nothing more until all is sent, and dies then."""
        if is_there and self._is_there(point):
            self._is_frozen = True

    def sent(self) -> None:
        """Called when a frame has left."""
        if self._is_frozen and CountedLink.unsent == 0:
            self.reach(self.point)

    def reach(self, point: str) -> None:
        """Dies if this is the place."""
        if not self._is_there(point):
            return
        assert self._leading is not None
        death = Death(point=point, height=self._leading.height, block=self._leading.block.hex())
        (self.home / DEATH_NAME).write_text(json.dumps(asdict(death)), encoding="utf-8")
        os.kill(os.getpid(), signal.SIGKILL)


def save_sign_state(file: SignStateFile, payload: bytes) -> None:
    """Stands for `SignStateFile.save`."""
    if DyingDriver.alive is not None:
        DyingDriver.alive.before_sign_state()
    SAVE(file, payload)


def count_sent(metrics: NodeMetrics, peer: str, size_bytes: int) -> None:
    """Stands for `NodeMetrics.on_frame_sent`."""
    COUNT(metrics, peer, size_bytes)
    CountedLink.unsent -= 1
    if DyingDriver.alive is not None:
        DyingDriver.alive.sent()


SAVE: Final = SignStateFile.save
COUNT: Final = NodeMetrics.on_frame_sent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("point", choices=POINTS)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args()
    DyingDriver.point = options.point
    DyingDriver.home = options.config.parent
    DyingDriver.file = DyingDriver.home / FILE_NAME
    with ExitStack() as stack:
        stack.enter_context(patch("node.chain.participant.Driver", DyingDriver))
        stack.enter_context(patch("node.mesh.mesh.PeerLink", CountedLink))
        stack.enter_context(patch.object(SignStateFile, "save", save_sign_state))
        stack.enter_context(patch.object(NodeMetrics, "on_frame_sent", count_sent))
        return run_daemon(load_configuration(options.config))


if __name__ == "__main__":
    sys.exit(main())
