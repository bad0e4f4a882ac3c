"""Where the command line writes: results to standard output, progress and errors to standard error."""

import sys
from typing import Final

from rich.console import Console

PLAIN_WIDTH: Final = 160
"""Columns of a table that goes into a file or a pipe: wide enough that nothing is cut off."""


def output_console() -> Console:
    """Returns the console for results."""
    return _console(is_terminal=sys.stdout.isatty(), stderr=False)


def error_console() -> Console:
    """Returns the console for progress and errors."""
    return _console(is_terminal=sys.stderr.isatty(), stderr=True)


def _console(*, is_terminal: bool, stderr: bool) -> Console:
    """Returns a console that prints names and details as they are: nothing in them is markup."""
    width = None if is_terminal else PLAIN_WIDTH
    return Console(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)
