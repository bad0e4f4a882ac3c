"""A daemon that writes down what the others signed: `python -m tests.endurance.witness --config FILE`.

Whoever signs twice for one step is found by comparing what all witnesses saw, without the product's own evidence.
"""

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from consensus.identifiers import Address
from consensus.messages import Commit, Message, Prepare, PrePrepare, ViewChange
from node.chain.driver import Driver
from node.daemon import run_daemon
from node.home.configuration import load_configuration

FILE_NAME: Final = "witnessed"
VOTE: Final = "vote"
COMMIT: Final = "commit"
VIEW_CHANGE: Final = "view-change"
NONE: Final = "-"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What somebody signed."""

    kind: str
    signer: str
    height: int
    slot: int
    content: str
    """The block; of a VIEW-CHANGE `SLOT:BLOCK` that it claims, or `NONE`."""

    def line(self) -> str:
        return f"{self.kind} {self.signer} {self.height} {self.slot} {self.content}\n"

    @classmethod
    def of_line(cls, line: str) -> "Statement":
        kind, signer, height, slot, content = line.split()
        return cls(kind=kind, signer=signer, height=int(height), slot=int(slot), content=content)

    def claims_at_least(self, commit: "Statement") -> bool:
        """Says whether a VIEW-CHANGE above a COMMIT's slot knows of it, or of a later one."""
        if self.content == NONE:
            return False
        slot, block = self.content.split(":")
        return int(slot) > commit.slot or (int(slot), block) == (commit.slot, commit.content)


def statement_of(message: Message) -> Statement | None:
    """Returns what a message's sender signed in it, if anything."""
    match message:
        case PrePrepare() | Prepare():
            kind, content = VOTE, message.block.hex()
        case Commit():
            kind, content = COMMIT, message.block.hex()
        case ViewChange():
            claim = message.claim
            kind, content = VIEW_CHANGE, NONE if claim is None else f"{claim.slot}:{claim.block.hex()}"
        case _:
            return None
    return Statement(
        kind=kind, signer=message.signer.hex(), height=message.height, slot=message.slot, content=content
    )


class WitnessDriver(Driver):
    """Writes down each statement before the replica sees it; one system call each, so a kill tears none."""

    file: Path

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self._descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def receive(self, sender: Address, message: Message) -> None:
        statement = statement_of(message)
        if statement is not None:
            os.write(self._descriptor, statement.line().encode())
        super().receive(sender, message)


def contradictions(statements: Iterable[Statement]) -> list[str]:
    """Returns who signed what it must not have, in words."""
    contents: dict[tuple[str, str, int, int], set[str]] = defaultdict(set)
    commits: dict[tuple[str, int], set[Statement]] = defaultdict(set)
    view_changes: dict[tuple[str, int], set[Statement]] = defaultdict(set)
    for one in statements:
        contents[one.kind, one.signer, one.height, one.slot].add(one.content)
        if one.kind == COMMIT:
            commits[one.signer, one.height].add(one)
        elif one.kind == VIEW_CHANGE:
            view_changes[one.signer, one.height].add(one)
    found = [f"{step}: {sorted(signed)}" for step, signed in contents.items() if len(signed) > 1]
    for signer_height, changes in view_changes.items():
        for commit in commits[signer_height]:
            found += [
                f"{commit} forgotten in {change}"
                for change in changes
                if change.slot > commit.slot and not change.claims_at_least(commit)
            ]
    return found


def read_statements(homes: Iterable[Path]) -> set[Statement]:
    """Returns all that the nodes of these homes saw signed."""
    return {
        Statement.of_line(line)
        for home in homes
        for line in (home / FILE_NAME).read_text(encoding="ascii").splitlines()
    }


def main(driver: type[WitnessDriver] = WitnessDriver) -> int:
    """Runs the daemon with this driver."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args()
    driver.file = options.config.parent / FILE_NAME
    with patch("node.chain.participant.Driver", driver):
        return run_daemon(load_configuration(options.config))


if __name__ == "__main__":
    sys.exit(main())
