"""What `make test` runs: no test is left out, and both parts of the integration tests count."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOGETHER, ALONE = "not alone", "alone"
NOTHING_COLLECTED = 5
"""Of pytest: what it returns where no test carries the marker any more."""

RECORDER = """#!/bin/sh
for argument; do printf '%s ' "'$argument'"; done >> "$0.calls"
echo >> "$0.calls"
case "$*" in *"-m not alone"*) exit {together};; *"-m alone"*) exit {alone};; esac
"""
"""Stands in for what make calls: writes down with which arguments, and ends as it is told."""


def calls(directory: Path, target: str, *, together: int = 0, alone: int = 0) -> tuple[int, list[list[str]]]:
    """Runs a target with another pytest and p2pnode-sim; returns how make ended, and what pytest was asked."""
    for name in (".ready", "pytest", "p2pnode-sim"):  # in this order: each is made from the one before
        script = directory / name
        script.write_text(RECORDER.format(together=together, alone=alone))
        script.chmod(0o755)
    command = ("make", target, f"BIN={directory}", f"SETUP={directory / '.ready'}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return ended.returncode, list(map(shlex.split, (directory / "pytest.calls").read_text().splitlines()))


def chosen(call: list[str]) -> str | None:
    """Returns by which markers a call chooses tests, if it does."""
    return call[call.index("-m") + 1] if "-m" in call else None


@pytest.mark.parametrize(
    ("together", "alone", "is_good"),
    [(0, 0, True), (1, 0, False), (0, 1, False), (1, 1, False), (0, NOTHING_COLLECTED, False)],
)
def test_both_parts_of_the_integration_tests_run_and_either_fails_the_target(
    tmp_path: Path, together: int, alone: int, is_good: bool
) -> None:
    code, asked = calls(tmp_path, "integration", together=together, alone=alone)
    assert [chosen(call) for call in asked] == [TOGETHER, ALONE]
    assert (code == 0) is is_good


def test_every_test_is_in_exactly_one_part(tmp_path: Path) -> None:
    _, asked = calls(tmp_path, "test")
    parts = [(Path(argument), chosen(call)) for call in asked for argument in call if argument.startswith("tests/")]
    for module in sorted((ROOT / "tests").rglob("test_*.py")):
        by = [marker for part, marker in parts if module.relative_to(ROOT).is_relative_to(part)]
        assert by in ([None], [TOGETHER, ALONE]), module
