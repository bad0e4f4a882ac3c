"""A daemon that dies once as leader, at a named point: `python -m tests.endurance.dying POINT --config FILE`.

The points lie between a leader's durable steps and what it sends; dying is SIGKILL by its own hand, so nothing is
cleaned up. A node that died so once starts as any other (`POINT` is written down in its home).
"""

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from consensus.events import Decision, Effects
from consensus.messages import Commit, PrePrepare
from node.configuration import load_configuration
from node.daemon import run_daemon
from node.driver import Driver

FIRST_LED: Final = 3
"""It dies in the third block that it leads: the network is at work by then."""

POINTS: Final = (
    "proposal-persisted",
    "proposal-sent",
    "prepared-persisted",
    "commit-sent",
    "decided",
    "applied",
)


class DyingDriver(Driver):
    """Counts the blocks that it leads, and dies at `point` of one of them."""

    point = ""
    died: Path

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self._led = 0
        self._leads = False

    def _carry_out(self, effects: Effects) -> None:
        voted = effects.voted
        if voted is not None:
            self._leads = voted.signer == self._own
            self._led += self._leads
        super()._carry_out(effects)
        self._reach("proposal-sent", self._sends(effects, PrePrepare))
        self._reach("commit-sent", self._sends(effects, Commit))

    def _persist(self, effects: Effects) -> None:
        super()._persist(effects)
        self._reach("proposal-persisted", effects.voted is not None)
        self._reach("prepared-persisted", effects.prepared is not None)

    def _apply(self, decision: Decision) -> None:
        self._reach("decided", True)
        super()._apply(decision)
        self._reach("applied", True)

    @staticmethod
    def _sends(effects: Effects, kind: type) -> bool:
        return any(isinstance(send.message, kind) for send in effects.send)

    def _reach(self, point: str, is_there: bool) -> None:
        if point == self.point and is_there and self._leads and self._led >= FIRST_LED:
            self.died.write_text(point)
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("point", choices=POINTS)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args()
    DyingDriver.point = options.point
    DyingDriver.died = options.config.parent / "died"
    with patch("node.daemon.Driver", DyingDriver):
        return run_daemon(load_configuration(options.config))


if __name__ == "__main__":
    sys.exit(main())
