"""The help of `recover` and `home`: what they give as examples is run here, in their order, as it stands there."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import typer

from ledger.ledger import Ledger
from node.cli.ceremony import recover_app
from node.cli.homes.home import home_app
from node.cli.main import main
from node.cli.provider.ca import ca_app
from node.home.genesis_file import load_genesis
from node.home.sign_state import SignStateFile
from node.home.storage import read_sign_state
from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.testnet import write_readings

EXAMPLE = re.compile(r": (p2pnode (?:recover|home|ca) \S+[^\n]* --\S+[^\n]*)")


def examples(app: typer.Typer, name: str) -> list[str]:
    """The commands in what a command's help ends with."""
    found = next(
        one for one in app.registered_commands if (one.name or getattr(one.callback, "__name__", "")) == name
    )
    return EXAMPLE.findall(str(found.epilog))


def run(command: str, monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    monkeypatch.setattr(sys, "argv", [*shlex.split(command), *more])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, command


def of_node(command: str, number: int) -> str:
    """The same command at another home."""
    return command.replace("node1/", f"node{number}/").replace("--output node1", f"--output node{number}")


@pytest.fixture
def street(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    readings = write_readings(tmp_path / "readings.csv", households=4, hours=1)
    testnet, _ = initialise_testnet(tmp_path / "testnet", TestnetPlan(readings=readings.path))
    for node in testnet.nodes:
        home = testnet.home(node)
        Ledger.create(home.ledger, load_genesis(home)).close()
    monkeypatch.chdir(testnet.directory)
    return testnet.directory


def era_of(street: Path, name: str) -> int:
    file = SignStateFile(street / name / "sign-state")
    try:
        return read_sign_state(file).standing.era
    finally:
        file.close()


def test_the_examples_hold_a_ceremony(street: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (export,), (plan, _), (join,) = (examples(recover_app, name) for name in ("export", "plan", "join"))
    ((apply,), (release,)) = (examples(recover_app, name) for name in ("apply", "release"))
    run(export, monkeypatch)
    run(release, monkeypatch)
    for number in range(1, 5):
        run(of_node(export, number), monkeypatch)
    run(plan, monkeypatch)
    for number in range(1, 5):
        run(of_node(join, number), monkeypatch, "--yes")
    for number in range(1, 5):
        run(of_node(apply, number), monkeypatch, "--yes")
        assert era_of(street, f"node{number}") == 1


def test_the_examples_put_a_new_home_in_a_members_place(street: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (new,), (certify,), (export,) = (
        examples(home_app, "new"),
        examples(ca_app, "issue"),
        examples(recover_app, "export"),
    )
    (_, plan), (join,), (apply,) = (examples(recover_app, name) for name in ("plan", "join", "apply"))
    run(new, monkeypatch)
    run(certify, monkeypatch, "--yes")
    for number in (1, 2, 3):
        run(of_node(export, number), monkeypatch)
    run(plan.replace("--gone node4", "--replaced node4=node4-new/node.crt"), monkeypatch)
    for number in (1, 2, 3):
        run(of_node(join, number), monkeypatch, "--yes")
    for name in ("node1", "node2", "node3", "node4-new"):
        run(apply.replace(" node4.join", "").replace("node1/", f"{name}/"), monkeypatch, "--yes")
        assert era_of(street, name) == 1


def test_the_help_says_what_comes_first_and_next(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for group in ("recover", "home"):
        run(f"p2pnode {group} --help", monkeypatch)
    text = " ".join(re.sub(r"[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    for words in (
        "1. export",
        "2. plan",
        "3. join",
        "4. apply",
        "instead of 3: takes an export back",
        "2. ca issue",
    ):
        assert words in text
