"""A process killed, or a disk full, at any write of any command of `p2pnode ca`: the folder stays usable, and the
command is run again.

Writes are counted where they become durable: each sync and each rename. At each of them in turn a child process ends
on the spot, as by `kill -9`, or it and all later ones fail as on a full disk.
"""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from node.admission.chain import read_chain, require_chain
from node.admission.register import serial_of
from node.admission.revocations import load_revocations
from tests.support.authority_commands import NETWORK, Provider, p2pnode

POINTS = ("fsync", "replace", "rename")
KILLED = 77
WRITES_MAX = 40

Arguments = tuple[str | Path, ...]
COMMANDS: dict[str, Callable[[Provider], Arguments]] = {
    "init": lambda provider: (
        "init",
        provider.directory / "new",
        "--network",
        NETWORK,
        "--key-file",
        new_file(provider),
    ),
    "issue": lambda provider: (
        *("issue", provider.authority, provider.directory / "node2" / "node.csr"),
        *("--output", out(provider), *provider.confirmed),
    ),
    "issue two": lambda provider: (
        *("issue", provider.authority, provider.directory / "node2" / "node.csr"),
        *(provider.directory / "node3" / "node.csr", "--output", out(provider), *provider.confirmed),
    ),
    "renew": lambda provider: ("renew", provider.authority, "node1", "--output", out(provider), *provider.confirmed),
    "renew --issuing": lambda provider: ("renew", provider.authority, "--issuing", *provider.confirmed),
    "revoke": lambda provider: ("revoke", provider.authority, "node1", "--reason", "superseded", *provider.confirmed),
    "crl": lambda provider: ("crl", provider.authority, *provider.opened),
}


def new_file(provider: Provider) -> Path:
    return provider.directory / "new.passphrase"


def out(provider: Provider) -> Path:
    return provider.directory / "out"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Provider:
    provider = Provider(tmp_path_factory.mktemp("interrupted") / "provider")
    provider.directory.mkdir()
    provider.init()
    provider.issue("node1")
    for name in ("node2", "node3"):
        provider.request(name)
    out(provider).mkdir()
    return provider


def in_a_child(run: Callable[[], int]) -> int:
    """Runs a command in a process of its own, which may be ended on the spot; returns its exit code."""
    process = os.fork()
    if process == 0:
        code = 99
        try:
            code = run()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def broken_at(number: int, *, is_kill: bool) -> pytest.MonkeyPatch:
    """Breaks the writes from the given one on."""
    patch, count = pytest.MonkeyPatch(), iter(range(1, 10_000))

    def breaking(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            if next(count) < number:
                return real(*arguments, **more)
            if is_kill:
                os._exit(KILLED)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        return call

    for name in POINTS:
        patch.setattr(os, name, breaking(getattr(os, name)))
    return patch


def interrupted(arguments: Arguments, number: int, *, is_kill: bool) -> int:
    def run() -> int:
        patch = broken_at(number, is_kill=is_kill)
        try:
            return p2pnode("ca", *arguments)
        finally:
            patch.undo()

    return in_a_child(run)


def require_usable(provider: Provider) -> None:
    """What must hold after any end: it opens, issues, and what left is in the register."""
    folder, root = provider.folder, provider.folder.root()
    register = folder.register()
    authority = folder.open(provider.passphrase)
    known = {one.serial for one in (*register.certificates, *register.issuing)}
    assert serial_of(authority.issuing) in known
    for path in (
        (*provider.directory.glob("*/node.crt"), *out(provider).glob("*.crt")) if register.certificates else ()
    ):
        chain = read_chain(path.read_bytes())
        require_chain(chain, root)
        assert {serial_of(one) for one in chain} <= known, "what left is registered"
    revocations = load_revocations(folder.revocation_list, root)
    assert revocations.number <= register.list_number
    if not folder.is_list_behind(register):
        revoked = {int(one.serial, 16) for one in register.certificates if one.revoked is not None}
        assert set(revocations.revoked) == revoked
    left = [path.name for path in provider.authority.iterdir()]
    assert not [name for name in left if name.endswith(".partial")]


@pytest.mark.parametrize("is_kill", [True, False], ids=["killed", "disk full"])
@pytest.mark.parametrize("name", COMMANDS)
def test_an_end_at_any_write_leaves_the_folder_usable(
    made: Provider, tmp_path: Path, name: str, *, is_kill: bool
) -> None:
    for number in range(1, WRITES_MAX):
        provider = Provider(tmp_path / f"{number}")
        shutil.copytree(made.directory, provider.directory)
        arguments = COMMANDS[name](provider)
        code = interrupted(arguments, number, is_kill=is_kill)
        if code == 0:
            assert number > 3, "it was interrupted before"
            return
        assert code == (KILLED if is_kill else 1), number
        require_usable(provider)
        again(provider, name, arguments, is_kill=is_kill)
        require_usable(provider)
    raise AssertionError("it never ends")


def again(provider: Provider, name: str, arguments: Arguments, *, is_kill: bool) -> None:
    """Runs the command once more, and looks at what it was for."""
    present = [path.name for path in out(provider).glob("*.crt")]
    if not is_kill:
        assert present == [], "what could be taken back is"
    for path in out(provider).glob("*.crt"):
        path.unlink()  # the command names it and leaves it; it is whole and registered (`require_usable`)
    if name == "init" and (provider.directory / "new").exists():  # made, and killed before that was told
        assert provider_of(provider).folder.open(provider_of(provider).passphrase) is not None
        return
    assert p2pnode("ca", *arguments) == 0
    match name:
        case "init":
            require_usable(provider_of(provider))
        case "issue" | "issue two":
            wanted = ["node2.crt", "node3.crt"] if name == "issue two" else ["node2.crt"]
            assert sorted(path.name for path in out(provider).glob("*.crt")) == wanted
        case "renew":
            assert (out(provider) / "node1.crt").exists()
        case "renew --issuing":
            assert not (provider.authority / "issuing.key.next").exists()
        case _:
            register = provider.folder.register()
            assert not provider.folder.is_list_behind(register)
            assert name == "crl" or register.certificates[0].revoked is not None


def provider_of(provider: Provider) -> Provider:
    """The one that `init` made beside the other."""
    new = Provider(provider.directory)
    new.authority, new.key_file = provider.directory / "new", new_file(provider)
    return new


@pytest.mark.parametrize("number", range(1, 12))
def test_a_renewal_that_was_killed_is_ended_by_whatever_comes_next(
    made: Provider, tmp_path: Path, number: int
) -> None:
    """Not by another renewal, for which the root key would be needed."""
    provider = Provider(tmp_path / "provider")
    shutil.copytree(made.directory, provider.directory)
    interrupted(COMMANDS["renew --issuing"](provider), number, is_kill=True)
    provider.folder.root_key.unlink()
    for name in ("issue", "revoke", "crl"):
        assert p2pnode("ca", *COMMANDS[name](provider)) == 0
        require_usable(provider)


def test_a_key_file_that_cannot_be_written_to_its_end_is_not_kept(made: Provider, tmp_path: Path) -> None:
    provider = Provider(tmp_path / "provider")
    shutil.copytree(made.directory, provider.directory)
    assert interrupted(COMMANDS["init"](provider), 1, is_kill=False) == 1
    assert not new_file(provider).exists()
