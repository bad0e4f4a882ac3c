"""Where the command line writes: results to standard output, progress and errors to standard error."""

import sys
from typing import Final

from rich.console import Console

PLAIN_WIDTH: Final = 160
"""Columns of a table that goes into a file or a pipe: wide enough that nothing is cut off."""


def output_console() -> Console:
    """Returns the console for results."""
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)


def error_console() -> Console:
    """Returns the console for progress and errors."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else PLAIN_WIDTH, highlight=False)
