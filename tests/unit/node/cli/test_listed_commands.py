"""The list of all commands says what each says of itself, and only the command that is asked for is loaded."""

import inspect
import json
import subprocess
import sys

import pytest

from node.cli.main import COMMANDS, load

MODULES_AFTER = """
import json, sys
from node.__main__ import main
try:
    main()
except SystemExit:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def modules_after(*arguments: str) -> set[str]:
    """Returns what a process has loaded that ran the program."""
    command = (sys.executable, "-c", MODULES_AFTER, *arguments)
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(ended.stderr.splitlines()[-1]))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_the_first_sentence_of_each_commands_help(name: str) -> None:
    command = load(name)
    assert command.name == name
    assert " ".join(inspect.cleandoc(command.help).split("\n\n")[0].split()) == COMMANDS[name].summary


@pytest.mark.parametrize(
    ("arguments", "loaded"),
    [
        (("--help",), set()),
        (("version",), set()),
        (("start", "--config", "nowhere"), set()),
        (("ledger", "show", "--home", "nowhere"), {"node.cli.ledger"}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_only_the_command_that_is_asked_for_is_loaded(arguments: tuple[str, ...], loaded: set[str]) -> None:
    found = modules_after(*arguments)
    assert "node.cli.main" in found
    assert found & {listed.module for listed in COMMANDS.values()} == loaded


def test_the_list_is_shown_without_what_commands_need() -> None:
    assert not modules_after("--help") & {"pydantic", "aiohttp", "cryptography", "plyvel"}
