"""The commands of a page of docs/, as they stand there."""

import os
import re
import subprocess
from pathlib import Path

from tests.support.testnet import COMMAND

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands_of(page: str) -> list[str]:
    """Returns the lines of a page's blocks without a language, in their order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [line for block in _BLOCK.findall(text) for line in block.splitlines()]


def run(folder: Path, command: str) -> str:
    """Runs a command in a shell, which must succeed, and says yes to what it asks; returns what it printed."""
    ended = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=os.environ | {"PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}"},
        input="y\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, (command, ended.stdout, ended.stderr)
    return ended.stdout
