"""The command line: what can be put right is told in one message, without a stack trace."""

import json
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from contracts.genesis import known_text
from ledger.ledger import Ledger
from node.admission.identity import load_identity
from node.cli.main import main
from node.errors import IdentityError
from node.home import configuration, genesis_file
from node.home.bounded_file import FileTooLargeError, read_bounded
from node.home.configuration import load_configuration
from node.home.genesis_file import load_genesis
from node.proofs import signed_file
from node.testnet.folder import Testnet
from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.disk import full_above


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Outcome]


@pytest.fixture
def p2pnode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in the test's own folder, as the installed program does."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["p2pnode", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int | None)
        return Outcome(returncode=ended.value.code or 0, stdout=printed.out, stderr=printed.err)

    return run


@pytest.mark.parametrize("size_bytes", [0, 200, 1_500])
def test_a_full_disk_is_told_in_one_line(p2pnode: Command, testnet: Testnet, size_bytes: int) -> None:
    like = ("--like", testnet.home(testnet.nodes[0]).configuration, "--member", "node4", "--host", "127.0.0.1")
    with full_above(size_bytes):
        ended = p2pnode("home", "new", "new", *like, "--port", "27004", "--api-port", "28004")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("p2pnode: ")
    assert ended.stderr.endswith("File too large\n")
    assert ended.stderr.count("\n") == 1
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--host", "0.0.0.0"), "--host 0.0.0.0: is every address of the machine"),
        (("--host", "::"), "--host ::: is every address of the machine"),
        (("--host", "999.1.1.1"), "--host 999.1.1.1: is neither a name nor an address"),
        (("--host=-x",), "--host -x: is neither a name nor an address"),
        (("--host", ""), "--host : is neither a name nor an address"),
        (("--host", "a b"), "--host a b: is neither a name nor an address"),
        (("--host", "meter.lan", "--listen", "a b"), "--listen a b: is no address"),
        (("--host", "meter.lan", "--listen", "999.1.1.1"), "--listen 999.1.1.1: is no address"),
        (("--host", "meter.lan", "--listen", ""), "--listen : is no address"),
        (("--host", "meter.lan", "--api-port", "27004"), "--api-port 27004: is --port, too"),
        (("--host", "meter.lan", "--member", "n" * 5_000), "no member has this name"),
    ],
)
def test_a_place_that_a_home_cannot_have_is_refused_with_its_option(
    p2pnode: Command, testnet: Testnet, options: tuple[str, ...], text: str
) -> None:
    like = ("--like", testnet.home(testnet.nodes[0]).configuration, "--member", "node4", "--port", "27004")
    ended = p2pnode("home", "new", "new", *like, "--api-port", "28004", *options)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert text in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not Path("new").exists()


@pytest.mark.parametrize(
    ("host", "listen"), [("Meter-4.lan", "0.0.0.0"), ("192.0.2.4", "::"), ("2001:db8::4", "127.0.0.1")]
)
def test_a_home_has_a_place_that_others_reach_and_one_to_listen_on(
    p2pnode: Command, testnet: Testnet, host: str, listen: str
) -> None:
    like = ("--like", testnet.home(testnet.nodes[0]).configuration, "--member", "node4", "--port", "27004")
    assert (
        p2pnode("home", "new", "new", *like, "--api-port", "28004", "--host", host, "--listen", listen).returncode
        == 0
    )
    assert load_configuration(Path("new/meter.toml")).p2p.host == listen


@pytest.fixture(scope="module")
def testnet(tmp_path_factory: pytest.TempPathFactory) -> Testnet:
    """A testnet whose first node has a ledger with nothing but genesis."""
    testnet, _ = initialise_testnet(tmp_path_factory.mktemp("cli") / "testnet", TestnetPlan())
    home = testnet.home(testnet.nodes[0])
    Ledger.create(home.ledger, load_genesis(home)).close()
    return testnet


def test_init_makes_a_testnet_and_says_when_it_is_there(tmp_path: Path, p2pnode: Command) -> None:
    first = p2pnode("testnet", "init", "--nodes", "6")
    assert (first.returncode, first.stderr) == (0, "")
    assert f"testnet in {tmp_path / 'testnet'} made: 6 nodes, 5 of them with a household" in first.stdout
    second = p2pnode("testnet", "init", "--dir", tmp_path / "testnet")
    assert (second.returncode, second.stderr) == (0, "")
    assert "is there already and was not changed" in second.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("start", "--config", "nothing.toml"), "nothing.toml: cannot be read"),
        (("testnet", "init", "--dir", "t", "--readings", "bad.csv"), "bad.csv, line 2: consumption_wh is negative"),
        (("testnet", "run", "--dir", "t", "--readings", "bad.csv"), "bad.csv, line 2: consumption_wh is negative"),
        (("testnet", "run", "--dir", "t", "--json", "--readings", "."), "cannot be read: Is a directory"),
        (("testnet", "init", "--dir", "t", "--nodes", "4"), "4 nodes asked for"),
        (("testnet", "status", "--dir", "t"), "there is no testnet in t"),
        (("testnet", "stop", "--dir", "t"), "there is no testnet in t"),
        (("ledger", "verify", "--home", "t"), "t/meter.toml: cannot be read"),
        (("ledger", "show", "--home", "t", "--block", "1", "--key", "totals"), "show one thing at a time"),
    ],
)
def test_a_failure_is_one_line_on_standard_error(
    tmp_path: Path, arguments: tuple[str, ...], complaint: str, p2pnode: Command
) -> None:
    bad = "timestamp,household_id,consumption_wh,generation_wh\n2016-06-01T00:00:00Z,a,-1,0\n"
    (tmp_path / "bad.csv").write_text(bad, encoding="utf-8")
    failed = p2pnode(*arguments)
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.startswith("p2pnode: ")
    assert failed.stderr.count("\n") == 1
    assert complaint in failed.stderr
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://localhost", "http://", "http://[", "node1"])
def test_what_is_no_url_is_told_so(tmp_path: Path, url: str, testnet: Testnet, p2pnode: Command) -> None:
    asked = p2pnode("why", "--url", url)
    assert (asked.returncode, asked.stdout) == (1, "")
    assert asked.stderr == f"p2pnode: {url!r} is no URL of an API: write it as http://127.0.0.1:8000\n"
    genesis = testnet.home(testnet.nodes[0]).genesis_text
    assert (
        f"{url!r} is no URL of an API"
        in p2pnode("receipt", "ask", "0" * 8, "--genesis", genesis, "--url", url).stdout
    )


def test_a_folder_for_a_file_and_a_file_for_a_folder_are_told(testnet: Testnet, p2pnode: Command) -> None:
    home = testnet.home(testnet.nodes[0])
    told = p2pnode("start", "--config", home.directory)
    assert (
        told.stderr == f"p2pnode: {home.directory}: cannot be read: Is a directory; is {home.configuration} meant?\n"
    )
    told = p2pnode("ledger", "show", "--home", home.configuration)
    assert told.stderr.endswith(f" is a file: --home is the folder that it lies in, {home.directory}\n")


@pytest.mark.parametrize(
    ("arguments", "size_bytes_max", "kind"),
    [
        (("start", "--config", "endless"), configuration.FILE_SIZE_BYTES_MAX, "configuration"),
        (("trade", "list", "--config", "endless"), configuration.FILE_SIZE_BYTES_MAX, "configuration"),
        (("evidence", "verify", "small", "--genesis", "endless"), genesis_file.FILE_SIZE_BYTES_MAX, "genesis"),
        (("evidence", "verify", "endless", "--genesis", "small"), signed_file.FILE_SIZE_BYTES_MAX, "proof"),
    ],
)
def test_no_more_of_a_file_is_read_than_its_kind_can_have(
    tmp_path: Path, arguments: tuple[str, ...], size_bytes_max: int, kind: str, p2pnode: Command
) -> None:
    (tmp_path / "small").write_bytes(b"{}")
    with (tmp_path / "endless").open("wb") as file:
        file.truncate(size_bytes_max + 1)
    failed = p2pnode(*arguments)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == f"p2pnode: endless: is larger than {size_bytes_max} bytes, which no {kind} is\n"
    with (tmp_path / "endless").open("wb") as file:
        file.truncate(size_bytes_max)
    assert "is larger than" not in p2pnode(*arguments).stderr


OTHER_KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "it is a pipe, not a regular file"),
    "socket": (lambda path: os.mknod(path, stat.S_IFSOCK | 0o600), "it is a socket, not a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "it is a device, not a regular file"),
    "folder": (Path.mkdir, "Is a directory"),
    "nothing": (lambda _: None, "No such file or directory"),
}

FILE_OPTIONS = [
    ("start", "--config", "{}"),
    ("why", "--config", "{}"),
    ("recover", "alone", "--config", "{}"),
    ("trade", "list", "--config", "{}"),
    ("evidence", "verify", "small", "--genesis", "{}"),
    ("evidence", "verify", "{}", "--genesis", "small"),
    ("receipt", "verify", "small", "--genesis", "{}"),
    ("receipt", "verify", "{}", "--genesis", "small"),
    ("testnet", "init", "--dir", "t", "--readings", "{}"),
    ("testnet", "run", "--dir", "t", "--readings", "{}"),
]


@pytest.mark.timeout(20)  # a pipe that is waited for
@pytest.mark.parametrize("kind", OTHER_KINDS)
@pytest.mark.parametrize("arguments", FILE_OPTIONS, ids=lambda arguments: "-".join(arguments[:2]))
def test_what_is_no_regular_file_is_refused_at_once(
    tmp_path: Path, kind: str, arguments: tuple[str, ...], p2pnode: Command
) -> None:
    make, complaint = OTHER_KINDS[kind]
    make(Path("other"))
    (tmp_path / "small").write_bytes(b"{}")
    failed = p2pnode(*(argument.format("other") for argument in arguments))
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == f"p2pnode: other: cannot be read: {complaint}\n"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["node.key", "meter.key", "node.crt", "ca.crt"])
def test_a_pipe_in_the_place_of_a_key_or_certificate_is_not_waited_for(testnet: Testnet, name: str) -> None:
    home = testnet.home(testnet.nodes[1])
    path, kept = home.directory / name, home.directory / "kept"
    path.rename(kept)
    try:
        os.mkfifo(path, 0o600)
        with pytest.raises(IdentityError, match=f"{name} cannot be read: it is a pipe, not a regular file"):
            load_identity(home)
    finally:
        kept.replace(path)


def test_a_file_that_grows_while_it_is_read_is_not_read_to_its_end() -> None:
    """A file of the process table says that it has no bytes at all."""
    with pytest.raises(FileTooLargeError, match="larger than 100 bytes"):
        read_bounded(Path("/proc/self/maps"), size_bytes_max=100)


def test_the_example_configuration_loads(tmp_path: Path, p2pnode: Command) -> None:
    printed = p2pnode("config")
    assert (printed.returncode, printed.stderr) == (0, "")
    path = tmp_path / "meter.toml"
    path.write_text(printed.stdout, encoding="utf-8")
    assert load_configuration(path).node.name == "node1"


def test_version_names_program_and_protocol(p2pnode: Command) -> None:
    assert p2pnode("version").stdout == f"p2pnode 0.1.0, protocol {known_text()}\n"


def test_nothing_runs_and_nothing_is_stopped(testnet: Testnet, p2pnode: Command) -> None:
    shown = p2pnode("testnet", "status", "--dir", testnet.directory)
    assert shown.returncode == 0
    assert shown.stdout.count("stopped") == 5
    stopped = p2pnode("testnet", "stop", "--dir", testnet.directory)
    assert stopped.stdout == f"no node of {testnet.directory} runs\n"


def test_a_good_ledger_verifies_and_shows(testnet: Testnet, p2pnode: Command) -> None:
    home = testnet.home(testnet.nodes[0]).directory
    verified = p2pnode("ledger", "verify", "--home", home)
    assert verified.returncode == 0
    assert "holds: 0 blocks" in verified.stdout
    totals = json.loads(p2pnode("ledger", "show", "--home", home, "--key", "totals").stdout)
    assert totals["value"]["issued_micro"] == 5 * 10_000 * 1_000_000
    history = json.loads(p2pnode("ledger", "show", "--home", home, "--history", "totals").stdout)
    assert history == [totals]
    assert json.loads(p2pnode("ledger", "show", "--home", home, "--json").stdout) == []


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--block", "7", "the chain holds no block 7; the tip is 0"),
        ("--block", "9" * 20, f"the chain holds no block {'9' * 20}; the tip is 0"),
        ("--from", "100", "the chain holds no block 100; the tip is 0"),
        ("--from", "9" * 20, "the tip is 0"),
        ("--key", "nope", "there are account, activity, agenda, applicant,"),
        ("--transaction", "00" * 32, "the chain holds no transaction"),
        ("--transaction", "xyz", "64 hexadecimal digits"),
        ("--key", "account:" + "00" * 32, "the chain holds no value of account:"),
        ("--history", "wallet:1", "wallet"),
    ],
)
def test_what_the_ledger_does_not_hold_is_told(
    testnet: Testnet, option: str, value: str, complaint: str, p2pnode: Command
) -> None:
    failed = p2pnode("ledger", "show", "--home", testnet.home(testnet.nodes[0]).directory, option, value)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert complaint in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_list_of_blocks_that_is_empty_by_the_way_it_was_asked_for_is_refused(
    testnet: Testnet, p2pnode: Command
) -> None:
    home = testnet.home(testnet.nodes[0]).directory
    for extra in ((), ("--json",)):
        failed = p2pnode("ledger", "show", "--home", home, "--from", "10", "--to", "5", *extra)
        assert (failed.returncode, failed.stdout) == (1, "")
        assert "there are no blocks from 10 to 5" in failed.stderr
    empty = p2pnode("ledger", "show", "--home", home)
    assert empty.returncode == 0
    assert "no block is decided yet" in empty.stdout
    assert "Eq. 1" not in empty.stdout


def test_a_damaged_ledger_is_told_with_what_is_damaged(tmp_path: Path, p2pnode: Command) -> None:
    testnet, _ = initialise_testnet(tmp_path / "testnet", TestnetPlan())
    home = testnet.home(testnet.nodes[0])
    Ledger.create(home.ledger, load_genesis(home)).close()
    damaged = max(home.ledger.rglob("*.l*"), key=lambda path: path.stat().st_size)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    failed = p2pnode("ledger", "verify", "--home", home.directory)
    assert failed.returncode == 1
    assert "is damaged" in failed.stderr
    assert "Traceback" not in failed.stderr
