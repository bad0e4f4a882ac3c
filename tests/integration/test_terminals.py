"""Commands that ask: at a terminal of their own, where somebody types or presses Ctrl-C, and where nobody is."""

import os
import pty
import select
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from node.admission.identity import load_private_key
from node.home.sign_state import SignStateFile
from node.home.storage import read_sign_state
from tests.support.authority_commands import Provider
from tests.support.ceremony_commands import config, export_all, file, plan_of
from tests.support.testnet import COMMAND, Street, init_testnet

SHELL_SIGNAL_BASE = 128
CTRL_C = b"\x03"
PRESSED_AGAIN_S = 1.0


def on_a_terminal(directory: Path, *arguments: str | Path, answers: tuple[bytes, ...]) -> tuple[int, str]:
    """Runs the command, types an answer whenever it asks; returns its code as a shell tells it, and what showed."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(directory)
        os.execv(sys.executable, [sys.executable, "-m", "node", *map(str, arguments)])
    shown, waiting = b"", list(answers)
    with os.fdopen(terminal, "r+b", buffering=0) as screen, suppress(OSError):  # the other end is closed
        while True:
            if not waiting and answers[-1] == CTRL_C and not select.select([screen], [], [], PRESSED_AGAIN_S)[0]:
                screen.write(CTRL_C)  # just before Python waits for input it is only noted: one presses it again
            elif part := screen.read(1_000):
                shown += part
                if waiting and shown.endswith(b": "):  # the space comes once nothing shows any more
                    screen.write(waiting.pop(0))
            else:
                break
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return (SHELL_SIGNAL_BASE - code if code < 0 else code), shown.decode()


# --- a ceremony ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Street, Path]:
    """Five homes that never ran, and a plan that nobody agreed to yet."""
    directory = tmp_path_factory.mktemp("planned") / "testnet"
    init_testnet(directory, nodes=5)
    street = Street(directory)
    return street, plan_of(street, export_all(street, 1, 2, 3, 4, 5))


@pytest.mark.parametrize(
    ("keys", "code", "text"),
    [(CTRL_C, 130, ""), (b"\x04", 1, "nobody answered"), (b"n\n", 1, "nothing was changed")],
    ids=["Ctrl-C", "Ctrl-D", "n"],
)
def test_a_question_that_is_not_agreed_to_changes_nothing(
    planned: tuple[Street, Path], keys: bytes, code: int, text: str
) -> None:
    street, plan = planned
    home, output = street.node(1).home, file(street, "no.join")
    before = home.sign_state.read_bytes()
    join = ("recover", "join", plan, *config(street.node(1)), "--output", output)
    ended, shown = on_a_terminal(street.directory, *join, answers=(keys,))
    assert (ended, text in shown, "Traceback" in shown) == (code, True, False), shown
    assert (home.sign_state.read_bytes(), output.exists()) == (before, False)


def test_agreeing_is_written_down(planned: tuple[Street, Path]) -> None:
    street, plan = planned
    home, output = street.node(2).home, file(street, "yes.join")
    join = ("recover", "join", plan, *config(street.node(2)), "--output", output)
    assert on_a_terminal(street.directory, *join, answers=(b"y\n",))[0] == 0
    states = SignStateFile(home.sign_state)
    try:
        assert read_sign_state(states).standing.joined is not None
    finally:
        states.close()
    assert output.exists()


# --- an authority ----------------------------------------------------------------------------------------------


def test_a_typed_passphrase_is_asked_twice_and_never_shown(tmp_path: Path) -> None:
    secret = b"correct horse battery staple"
    init = ("ca", "init", "ca", "--network", "x")
    code, shown = on_a_terminal(tmp_path, *init, answers=(b"too short\n", b"too short\n"))
    assert (code, "at least 12 characters" in shown, "too short" in shown) == (1, True, False)
    assert not (tmp_path / "ca").exists()
    typed = (secret, b"another one here", secret, secret)
    code, shown = on_a_terminal(tmp_path, *init, answers=tuple(one + b"\n" for one in typed))
    assert (code, secret.decode() in shown, "another one here" in shown) == (0, False, False), shown
    load_private_key(tmp_path / "ca" / "root.key", passphrase=secret)
    assert on_a_terminal(tmp_path, "ca", "crl", "ca", answers=(secret + b"\n",))[0] == 0


def test_where_nobody_answers_an_option_is_named(tmp_path: Path) -> None:
    provider = Provider(tmp_path)
    provider.init()
    request = provider.request("node1")
    for arguments, option in (
        (("issue", provider.authority, request, *provider.opened), "nobody answered (--yes answers"),
        (("crl", provider.authority), "--key-file names a file that holds it"),
    ):
        before = provider.snapshot()
        ended = subprocess.run(
            [COMMAND, "ca", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, option in ended.stderr) == (1, True), ended.stderr
        assert provider.snapshot() == before
