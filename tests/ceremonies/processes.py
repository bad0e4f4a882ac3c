"""The daemons and commands of a ceremony: real processes, started together, each with its output in a file."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from node.cli.main import main
from tests.ceremonies import deaf
from tests.support.forking import FORKING
from tests.support.testnet import COMMAND_DEADLINE_S, STACK_TRACE, STOP_DEADLINE_S, Ended, Node

Arguments = Sequence[str | Path]


def _become(program: str, arguments: Sequence[str], output: Path, errors: Path, typed: Path) -> None:
    """Turns this process into `p2pnode`, or into a daemon that is a witness and may be deaf."""
    for descriptor, path, flags in (
        (0, typed, os.O_RDONLY),
        (1, output, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        os.dup2(os.open(path, flags, 0o644), descriptor)
    sys.stdin = os.fdopen(0, "r")
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    os.environ["COLUMNS"] = "400"
    sys.argv = [program, *arguments]
    sys.exit(main() if program == "p2pnode" else deaf.main())


def _fork(program: str, arguments: Arguments, output: Path, errors: Path, typed: Path) -> ForkServerProcess:
    texts = [str(one) for one in arguments]
    process = FORKING.Process(target=_become, args=(program, texts, output, errors, typed))
    process.start()
    return process


class Commands:
    """`p2pnode`, run to its end: several at once where they are of different homes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = 0

    def run(self, *commands: Arguments, typed: str = "") -> list[str]:
        """Returns what each printed; all must succeed.

        Args:
            commands: each the words after `p2pnode`.
            typed: what the operator types at each.
        """
        found = self.end(*commands, typed=typed)
        for ended in found:
            assert ended.exit_code == 0, ended.errors + ended.output
            assert STACK_TRACE not in ended.output + ended.errors
        return [ended.output for ended in found]

    def refused(self, command: Arguments, typed: str = "") -> str:
        """Returns the one message of a command that must be refused."""
        (ended,) = self.end(command, typed=typed)
        assert ended.exit_code == 1, (ended.exit_code, ended.output, ended.errors)
        assert STACK_TRACE not in ended.errors
        return " ".join(ended.errors.split())

    def end(self, *commands: Arguments, typed: str = "") -> list[Ended]:
        self._directory.mkdir(exist_ok=True)
        running = [self._start(command, typed) for command in commands]
        found = []
        for process, output, errors in running:
            process.join(COMMAND_DEADLINE_S)
            if process.is_alive():
                process.kill()
                process.join()
            assert process.exitcode is not None
            found.append(Ended(process.exitcode, output.read_text(), errors.read_text()))
        return found

    def _start(self, command: Arguments, typed: str) -> tuple[ForkServerProcess, Path, Path]:
        self._number += 1
        output, errors, words = (self._directory / f"{self._number}.{what}" for what in ("out", "err", "in"))
        words.write_text(typed)
        return _fork("p2pnode", command, output, errors, words), output, errors


class Daemons:
    """Daemons of a street, each a witness; they log to their home's own log."""

    def __init__(self) -> None:
        self._processes: dict[str, ForkServerProcess] = {}

    def start(self, *nodes: Node) -> None:
        for node in nodes:
            log = node.home.log
            self._processes[node.name] = _fork(
                "daemon", ("--config", node.home.configuration), log, log, Path(os.devnull)
            )

    def is_running(self, node: Node) -> bool:
        return node.name in self._processes and self._processes[node.name].is_alive()

    def kill(self, *nodes: Node) -> None:
        """kill -9, in this order, all of them before any is waited for."""
        killed = [self._processes.pop(node.name) for node in nodes]
        for process in killed:
            process.kill()
        for process in killed:
            process.join()

    def stop(self, *nodes: Node) -> None:
        """SIGTERM; each must end by itself, with exit code 0."""
        stopped = [(node.name, self._processes.pop(node.name)) for node in nodes]
        for _, process in stopped:
            process.terminate()
        for name, process in stopped:
            process.join(STOP_DEADLINE_S)
            if process.is_alive():
                process.kill()
                process.join()
            assert process.exitcode == 0, f"{name} ended with {process.exitcode}"

    def stop_all(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.join()
        self._processes.clear()


@contextmanager
def daemons() -> Iterator[Daemons]:
    """Gives a street's daemons, and ends what still runs."""
    running = Daemons()
    try:
        yield running
    finally:
        running.stop_all()
