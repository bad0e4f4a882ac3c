"""`p2pnode office key`: what is made at home, and what is refused before."""

from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.genesis import chain_id
from node.admission.identity import load_key
from node.admission.office_keys import read_successor
from node.home.folder import Home
from node.home.genesis_file import load_genesis, write_genesis
from tests.support.contracts import make_genesis
from tests.unit.node.cli.test_founding_commands import Command, p2pnode

__all__ = ["p2pnode"]


@pytest.fixture
def key_command(p2pnode: Command, tmp_path: Path) -> Callable[..., str]:
    """Runs `office key` for the issuer in the test's folder."""
    home = Home(tmp_path)
    write_genesis(home, make_genesis().genesis)

    def run(*arguments: str | Path, exit_code: int = 0) -> str:
        return p2pnode(
            "office", "key", *arguments, "--office", "issuer", "--genesis", home.genesis, exit_code=exit_code
        )

    return run


def made_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if not path.name.startswith("genesis")}


@pytest.mark.parametrize(
    ("path", "key_file"),
    [
        ("issuer-2.successor", "issuer-2.passphrase"),
        ("issuer-2.key", "issuer-2.successor"),
        ("issuer-2.key", "./issuer-2.key"),
        (".", "issuer-2.passphrase"),
        ("..", "issuer-2.passphrase"),
    ],
)
def test_no_secret_gets_the_name_of_the_file_that_is_sent_around(
    key_command: Callable[..., str], tmp_path: Path, path: str, key_file: str
) -> None:
    key_command(path, "--key-file", key_file, exit_code=1)
    assert made_in(tmp_path) == set()


def test_a_passphrase_is_typed_twice_and_not_once_more(
    key_command: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def prompt(text: str, **_: object) -> str:
        asked.append(text)
        return "a passphrase of some length"

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.prompt", prompt)
    key_command("issuer-2.key")
    assert len(asked) == 1
    assert "authority" not in asked[0]
    assert load_key(tmp_path / "issuer-2.key", passphrase=b"a passphrase of some length")


@pytest.mark.parametrize("missing", [("issuer-2.successor",), ("issuer-2.successor", "issuer-2.key")])
def test_cut_off_after_any_file_it_goes_on_when_given_again(
    key_command: Callable[..., str], tmp_path: Path, missing: tuple[str, ...]
) -> None:
    words = ("issuer-2.key", "--key-file", "issuer-2.passphrase")
    key_command(*words)
    for name in missing:
        (tmp_path / name).unlink()
    left = {name: (tmp_path / name).read_bytes() for name in made_in(tmp_path)}
    key_command(*words)
    assert made_in(tmp_path) == {"issuer-2.key", "issuer-2.passphrase", "issuer-2.successor"}
    assert all((tmp_path / name).read_bytes() == content for name, content in left.items())
    made = load_key(tmp_path / "issuer-2.key", passphrase=(tmp_path / "issuer-2.passphrase").read_bytes().strip())
    chain = chain_id(load_genesis(Home(tmp_path)))
    assert read_successor(tmp_path / "issuer-2.successor", chain).key == made.public_key
