"""What ends a process, and the process id file of a running daemon: locked as long as it runs, so that a stale one is
never believed.

The lock says that a daemon of this home runs; the process table says that the number in the file is that
daemon's here. Both must hold before anyone sends a signal: the number alone may belong to another process by
now, or to another container.
"""

import asyncio
import fcntl
import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from node.errors import NodeError
from node.home.folder import Home

_PROCESSES: Final = Path("/proc")
_DIGITS_MAX: Final = 10
_STANDARD_INPUT: Final = 0

_ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""`kill`, Ctrl-C, a terminal that is closed, and Ctrl-\\."""


def on_ending_signal(act: Callable[[signal.Signals], object]) -> None:
    """Calls `act` in the running event loop for each signal that asks this process to end.

    A hang-up that whoever started it ignores (`nohup`) stays ignored.
    """
    loop = asyncio.get_running_loop()
    for number in _ENDING:
        if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, act, number)


def on_end_of_input(act: Callable[[], object]) -> None:
    """Calls `act` in the running event loop when standard input ends, unless a byte came before.

    Raises:
        NodeError: standard input is no pipe.
    """
    if not stat.S_ISFIFO(os.fstat(_STANDARD_INPUT).st_mode):
        raise NodeError("standard input is no pipe, so its end is no sign that whoever started this is gone")
    loop = asyncio.get_running_loop()

    def look() -> None:
        loop.remove_reader(_STANDARD_INPUT)
        if not os.read(_STANDARD_INPUT, 1):
            act()

    loop.add_reader(_STANDARD_INPUT, look)


@contextmanager
def process_id_file(home: Home) -> Iterator[None]:
    """Marks this process as the daemon of `home` while the block runs.

    Raises:
        NodeError: another process runs on this home, or the file cannot be written.
    """
    path = home.process_id
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise NodeError(f"{path} cannot be written: {error.strerror}") from None
    try:
        if not _lock(descriptor):
            process = _read(descriptor)
            known = "" if process is None else f" (process {process}): stop it first (kill {process})"
            raise NodeError(f"a daemon is running on {home.directory} already{known}")
        _write(descriptor, path)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def running_process(home: Home) -> int | None:
    """Returns the process id of the daemon that runs on `home`, None if none does."""
    try:
        descriptor = os.open(home.process_id, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        process = _read(descriptor)
        # The lock is tried last: trying it disturbs a daemon that is just starting.
        if process is None or not _runs_on(process, home) or _lock(descriptor):
            return None
        return process
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _write(descriptor: int, path: Path) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        raise NodeError(f"{path} cannot be written: {error.strerror}") from None


def _read(descriptor: int) -> int | None:
    text = os.pread(descriptor, _DIGITS_MAX, 0).strip()
    return int(text) if text.isdigit() else None


def _runs_on(process: int, home: Home) -> bool:
    """Says whether a process was started with the configuration of `home` as an argument."""
    try:
        arguments = (_PROCESSES / str(process) / "cmdline").read_bytes().split(b"\0")
        folder = (_PROCESSES / str(process) / "cwd").resolve()
    except OSError:
        return False
    wanted = home.configuration.resolve()
    return any((folder / os.fsdecode(argument)).resolve() == wanted for argument in arguments if argument)
