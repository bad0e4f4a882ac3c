"""What libraries and Python itself have to say reaches the structured log, in both forms, with a component."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

TROUBLES = {
    "task": """
async def fail():
    raise ValueError("nobody asked")

async def main():
    asyncio.create_task(fail())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    gc.collect()
asyncio.run(main())
""",
    "slow": """
async def main():
    asyncio.get_running_loop().slow_callback_duration = 0
asyncio.run(main(), debug=True)
""",
    "unclosed": """
socket.socket()
gc.collect()
""",
    "warning": """
warnings.warn("the meter is old", UserWarning)
""",
    "unraisable": """
class Ends:
    def __del__(self):
        raise ValueError("too late")
Ends()
""",
    "thread": """
def fail():
    raise ValueError("all alone")
thread = threading.Thread(target=fail, name="worker")
thread.start()
thread.join()
""",
    "library": """
logging.getLogger("aiohttp.server").error("a library speaks")
""",
}
"""Programs that do something of which a library or Python itself has to tell."""

EXPECTED = {
    "task": ("asyncio", "error", "Task exception was never retrieved", "ValueError: nobody asked"),
    "slow": ("asyncio", "warning", "Executing <Task", " took "),
    "unclosed": ("python", "warning", "warning", "unclosed <socket.socket"),
    "warning": ("python", "warning", "warning", "the meter is old"),
    "unraisable": ("python", "error", "nobody can catch this", "ValueError: too late"),
    "thread": ("python", "error", "a thread ended by an exception", "ValueError: all alone"),
    "library": ("aiohttp", "error", "a library speaks", ""),
}
"""Component, level, the beginning of the event, and what the line says besides."""


def said(trouble: str, log_format: str) -> str:
    """Returns what a program with this trouble writes to standard error."""
    program = "import asyncio, gc, logging, socket, threading, warnings\nfrom node.logs import configure_logs\n"
    program += f"configure_logs(log_format={log_format!r}, log_level='info', node='node7')\n{TROUBLES[trouble]}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    return ended.stderr


@pytest.mark.parametrize("trouble", TROUBLES)
def test_troubles_are_lines_of_json(trouble: str) -> None:
    component, level, event, besides = EXPECTED[trouble]
    lines: list[dict[str, Any]] = [json.loads(line) for line in said(trouble, "json").splitlines()]
    line = next(line for line in lines if line["event"].startswith(event))
    assert (line["component"], line["level"], line["node"]) == (component, level, "node7")
    assert besides in json.dumps(line)
    assert {line["component"] for line in lines} <= {"asyncio", component}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_troubles_are_lines_for_people(trouble: str) -> None:
    component, level, event, besides = EXPECTED[trouble]
    text = said(trouble, "console")
    line = next(line for line in text.splitlines() if f"] {event}" in line)
    assert f"[{level:9}]" in line
    assert f"component={component}" in text  # an event of asyncio has several lines
    assert "node=node7" in text
    assert besides in text
