"""The process id file: locked while a daemon runs, and never believed when it does not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.errors import NodeError
from node.home.folder import Home
from node.home.process import process_id_file, running_process
from tests.support.disk import full_above

DAEMON = """
import sys
from pathlib import Path
from node.home.folder import Home
from node.home.process import process_id_file
with process_id_file(Home(Path(sys.argv[2]).parent)):
    print("running", flush=True)
    sys.stdin.read()
"""


@contextmanager
def daemon(home: Home, argument: str, *, folder: Path | None = None) -> Iterator[subprocess.Popen[str]]:
    """Runs a process that holds the file of `home`, as `start --config ARGUMENT` would."""
    program = DAEMON.replace("sys.argv[2]", repr(str(home.configuration)))
    with subprocess.Popen(
        [sys.executable, "-c", program, "--config", argument],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_a_running_daemon_is_found(home: Home) -> None:
    with daemon(home, str(home.configuration)) as process:
        assert running_process(home) == process.pid
    assert running_process(home) is None


def test_a_daemon_started_with_a_relative_path_is_found(home: Home) -> None:
    with daemon(home, "meter.toml", folder=home.directory) as process:
        assert running_process(home) == process.pid


def test_a_process_of_another_home_is_not_believed(home: Home) -> None:
    with daemon(home, "/elsewhere/meter.toml"):
        assert running_process(home) is None


def test_a_stale_file_is_not_believed_even_if_its_number_fits_a_process(home: Home) -> None:
    other = Home(home.directory / "other")
    other.directory.mkdir()
    with daemon(other, str(home.configuration)) as process:
        home.process_id.write_text(f"{process.pid}\n", encoding="ascii")
        assert running_process(home) is None


@pytest.mark.parametrize("content", ["", "\n", "many\n", "-1\n", "99999999999999999999\n"])
def test_a_file_without_a_process_id_is_not_believed(home: Home, content: str) -> None:
    home.process_id.write_text(content, encoding="ascii")
    assert running_process(home) is None


def test_without_a_file_nothing_runs(home: Home) -> None:
    assert running_process(home) is None


def test_a_second_daemon_of_a_home_is_refused(home: Home) -> None:
    with (
        daemon(home, str(home.configuration)) as process,
        pytest.raises(NodeError, match=rf"process {process.pid}\): stop it first \(kill {process.pid}\)"),
        process_id_file(home),
    ):
        pytest.fail("two daemons run on one home")
    with process_id_file(home):
        assert home.process_id.read_text(encoding="ascii") == f"{os.getpid()}\n"
    assert home.process_id.read_text(encoding="ascii") == ""


def test_a_full_disk_is_told_with_the_file(home: Home) -> None:
    with (
        full_above(0),
        pytest.raises(NodeError, match=f"{home.process_id} cannot be written: File too large"),
        process_id_file(home),
    ):
        pytest.fail("nobody could tell whose process it is")
    with process_id_file(home):
        assert home.process_id.read_text(encoding="ascii") == f"{os.getpid()}\n"


def test_a_home_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="cannot be written"), process_id_file(Home(tmp_path / "missing")):
        pytest.fail("the file cannot be there")
