"""Where the command line writes: results to standard output, progress and errors to standard error; how it asks."""

import io
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TextIO, TypeVar

import typer
from rich.console import Console

from node.errors import NodeError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

T = TypeVar("T")

PLAIN_WIDTH: Final = 160
"""Columns of a table that goes into a file or a pipe: wide enough that nothing is cut off."""

EXIT_NOBODY_READS: Final = 128 + signal.SIGPIPE
"""What a shell shows for a program that a closed pipe ended, as `p2pnode ... | head -1` does."""

EXIT_INTERRUPTED: Final = 128 + signal.SIGINT

_STANDARD_INPUT, _STANDARD_OUTPUT, _STANDARD_ERROR = 0, 1, 2


class _Output(io.FileIO):
    """Standard output: a failed write ends the command, quietly if nobody reads any more, else in words."""

    _is_lost = False

    def write(self, data: "ReadableBuffer", /) -> int:
        if self._is_lost:
            return memoryview(data).nbytes  # what waits in buffers has nowhere to go
        try:
            return super().write(data)
        except BrokenPipeError:
            self._is_lost = True
            raise SystemExit(EXIT_NOBODY_READS) from None
        except OSError as error:
            self._is_lost = True
            raise NodeError(f"standard output cannot be written: {error.strerror}") from None


class _Errors(io.FileIO):
    """Standard error: a failed write is passed over, as there is nowhere to tell it and no reason to stop."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def guard_standard_streams() -> None:
    """Lets no full disk, closed pipe or closed descriptor behind a standard stream show a stack trace.

    A closed descriptor is taken before a file of the node gets its number.
    """
    for descriptor, flags in (
        (_STANDARD_INPUT, os.O_RDONLY),
        (_STANDARD_OUTPUT, os.O_RDONLY),  # a result that is written there is lost, and that is told
        (_STANDARD_ERROR, os.O_WRONLY),
    ):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, flags)  # takes the lowest free number, which is this one
    sys.stdout = _text(_Output(_STANDARD_OUTPUT, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Errors(_STANDARD_ERROR, "w", closefd=False), sys.stderr)


def _text(raw: io.FileIO, replaced: TextIO | None) -> io.TextIOWrapper:
    """Returns a stream that takes every character, in the encoding of the one that it replaces."""
    encoding = "utf-8" if replaced is None else replaced.encoding
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding=encoding, errors="backslashreplace", line_buffering=True)


def asked(ask: Callable[[], T], *, option: str) -> T:
    """Returns what the operator answers to a question; Ctrl-C there ends the command as anywhere else.

    Raises:
        NodeError: there is nobody to answer; names the option that answers instead.
    """
    try:
        return ask()
    except typer.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise SystemExit(EXIT_INTERRUPTED) from None
        raise NodeError(f"nothing was changed: nobody answered ({option} answers without being asked)") from None


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
