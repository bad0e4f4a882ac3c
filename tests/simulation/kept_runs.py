"""Outcomes of a long recording, kept as they come: one that was interrupted goes on where it stood.

A revision's runs are the same whenever they run, so what was kept of it counts; of changed files nothing is kept.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from tests.simulation.seeds import Outcome


class Ran(NamedTuple):
    """A run, and what it took."""

    outcome: Outcome
    processor_s: float


class KeptRuns:
    """A file with a line of JSON per run."""

    def __init__(self, path: Path) -> None:
        """Takes up what is there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self.runs: dict[int, Ran] = {ran.outcome.seed: ran for ran in self._read()}

    def _read(self) -> Iterator[Ran]:
        if not self._path.exists():
            return
        *lines, torn = self._path.read_bytes().split(b"\n")
        if torn:
            self._path.write_bytes(b"".join(line + b"\n" for line in lines))
        for line in lines:
            kept = json.loads(line)
            yield Ran(Outcome(**kept["outcome"]), kept["processor_s"])

    def keep(self, ran: Ran) -> None:
        """Writes one more."""
        line = json.dumps({"outcome": asdict(ran.outcome), "processor_s": ran.processor_s})
        with self._path.open("a", encoding="ascii") as file:
            file.write(line + "\n")
