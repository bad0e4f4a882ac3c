"""`p2pnode join` and `p2pnode verify-queue` at homes whose nodes do not run: what they show, what they refuse."""

import json
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from consensus.identifiers import Digest
from contracts.applicants import Verdict
from contracts.genesis import Genesis, chain_id
from contracts.transactions import Action
from contracts.units import MS_PER_HOUR, Milliseconds
from node.admission.authority import Authority
from node.admission.identity import load_key
from node.admission.joining.files import (
    JoinIdentity,
    Street,
    read_street,
    write_join_identity,
    write_join_request,
    write_street,
)
from node.admission.joining.sealing import read_sealed_identity
from node.cli.main import app, main
from node.home.configuration import (
    ApiTable,
    Configuration,
    NodeTable,
    PeerEntry,
    PeerToPeerTable,
    load_configuration,
)
from node.home.configuration_text import render_configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis, write_genesis
from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.checkpoints import proof_of_one_block
from tests.support.contracts import Community, make_genesis
from tests.support.joining import newcomer, request_of, verdict_on
from tests.support.ledger import ChainBuilder
from tests.support.names import write_book
from tests.support.testnet import community_of

HOMES = make_genesis(4)
NEW, OTHER = newcomer(1), newcomer(2)
SHOWN = JoinIdentity(salt=Digest(bytes(32)), identity="Ada Löwe\nSunny Street 5")

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["p2pnode", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert isinstance(ended.value.code, int | None)
        return ended.value.code or 0, printed.out, printed.err

    return command


def make_stopped(directory: Path, *blocks: list[tuple[int, Action]]) -> Home:
    """The home of a stopped node whose chain has these blocks."""
    home = Home(directory)
    configuration = Configuration(
        node=NodeTable(name="home1", home=directory), p2p=PeerToPeerTable(port=7_000), api=ApiTable(port=8_000)
    )
    home.configuration.write_text(render_configuration(configuration))
    write_genesis(home, HOMES.genesis)
    write_book(home.address_book, HOMES.genesis)
    builder = ChainBuilder.create(home.ledger, HOMES)
    for block in blocks:
        builder.append([builder.transaction(sender, action) for sender, action in block])
    builder.ledger.close()
    return home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Two homes asked to join; two verifiers of four gave their verdicts on the first."""
    asked = (request_of(HOMES, NEW, identity=SHOWN.commitment), request_of(HOMES, OTHER))
    return make_stopped(tmp_path, list(enumerate(asked)), [(verifier, verdict_on(NEW)) for verifier in (0, 2)])


COMMANDS = [
    ("join", "street"),
    ("join", "check"),
    ("join", "request"),
    ("join", "submit"),
    ("join", "status"),
    ("join", "panel"),
    ("join", "seal"),
    ("join", "deliver"),
    ("verify-queue", "list"),
    ("verify-queue", "show"),
    ("verify-queue", "accept"),
    ("verify-queue", "refuse"),
]


@pytest.mark.parametrize("command", COMMANDS, ids="-".join)
def test_help_has_an_example(command: tuple[str, ...]) -> None:
    printed = CliRunner().invoke(app, [*command, "--help"]).output
    assert f"Example: p2pnode {' '.join(command)} " in printed


# --- where applications stand ----------------------------------------------------------------------------------


def test_the_queue_shows_what_verifiers_look_at(home: Home, run: Command) -> None:
    code, shown, _ = run("verify-queue", "list", "--config", home.configuration)
    assert code == 0
    for one in (NEW, OTHER):
        assert f"{one.address.hex()[:16]}: 3 of 4 verifiers must say the same" in shown
        assert f"person {one.voucher.person.hex()}" in shown
    assert "2 accepted, 0 refused" in shown
    assert f"identity {SHOWN.commitment.hex()}" in shown
    assert "connection 1000 W; contract 0202" in shown
    assert shown.count("this home's node was not shown who it is, or started since") == 2


def test_status_shows_each_verifier_and_which_home_is_this_one(home: Home, run: Command) -> None:
    write_join_request(home.join_request, request_of(HOMES, NEW))
    code, shown, _ = run("join", "status", "--config", home.configuration)
    first, *verifiers = shown.splitlines()[:5]
    assert (code, first[:9]) == (0, "this home")
    verdicts = ("accept", "no verdict yet", "accept", "no verdict yet")
    assert verifiers == [f"    home{number}: {verdict}" for number, verdict in enumerate(verdicts, start=1)]
    assert f"home {OTHER.address.hex()[:16]}: 3 of 4" in shown


def test_an_admitted_home_is_a_candidate_and_no_verifiers_work(tmp_path: Path, run: Command) -> None:
    home = make_stopped(
        tmp_path, [(0, request_of(HOMES, NEW))], [(verifier, verdict_on(NEW)) for verifier in range(3)]
    )
    option = ("--config", home.configuration)
    assert "admitted; its node has not said yet" in run("join", "status", *option)[1]
    assert run("verify-queue", "list", *option)[1] == "no application is open\n"
    code, _, complaint = run("verify-queue", "refuse", NEW.address.hex(), *option, "--reason", "identity_wrong")
    assert (code, "names 0 open applications" in complaint) == (1, True)


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        (Verdict.ACCEPT, "admitted; its node has not said yet"),
        (Verdict.IDENTITY_WRONG, "refused by its verifiers; it may apply again from slot 345601 on"),
    ],
)
def test_what_became_of_an_application_is_told_at_any_home(
    tmp_path: Path, run: Command, verdict: Verdict, text: str
) -> None:
    home = make_stopped(
        tmp_path, [(0, request_of(HOMES, NEW))], [(verifier, verdict_on(NEW, verdict)) for verifier in range(3)]
    )
    option = ("--config", home.configuration)
    code, shown, _ = run("join", "status", NEW.address.hex(), *option)
    assert code == 0
    assert shown.startswith(f"home {NEW.address.hex()[:16]}: {text}")
    assert "never asked to join" in run("join", "status", OTHER.address.hex(), *option)[1]
    write_join_request(home.join_request, request_of(HOMES, NEW))
    assert run("join", "status", *option)[1].startswith(f"this home: {text}")


@pytest.mark.parametrize("address", ["", "ab", NEW.address.hex().upper(), "x" * 10_000, NEW.address.hex() + "\n"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, run: Command, address: str) -> None:
    code, _, complaint = run("join", "status", address, "--config", make_stopped(tmp_path).configuration)
    assert code == 1
    assert "is no address of a home: it has 64 digits" in complaint
    assert len(complaint) < 300


def test_nobody_asks(tmp_path: Path, run: Command) -> None:
    home = make_stopped(tmp_path)
    assert "no home asks to join" in run("join", "status", "--config", home.configuration)[1]


# --- verdicts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [NEW.address.hex()[:7], "00000000", "", NEW.address.hex() + "0", "x" * 10_000])
@pytest.mark.parametrize("command", ["show", "accept"])
def test_an_application_is_named_by_eight_digits_of_one(home: Home, run: Command, command: str, named: str) -> None:
    code, _, complaint = run("verify-queue", command, named, "--config", home.configuration)
    assert code == 1
    assert "open applications; give at least 8 digits of one address" in complaint
    assert len(complaint) < 300


@pytest.mark.parametrize("command", ["show", "accept"])
def test_who_a_home_is_comes_from_the_memory_of_a_node_that_runs(home: Home, run: Command, command: str) -> None:
    named = NEW.address.hex()[:8].upper()
    code, shown, complaint = run("verify-queue", command, named, "--config", home.configuration)
    assert (code, shown) == (1, "")
    assert "http://127.0.0.1:8000/v1/identities does not answer" in complaint


def test_accepting_is_no_reason_to_refuse(home: Home, run: Command) -> None:
    code, _, complaint = run(
        "verify-queue", "refuse", NEW.address.hex(), "--config", home.configuration, "--reason", "accept", "--yes"
    )
    assert (code, complaint) == (1, "p2pnode: accept is no reason to refuse\n")


# --- showing who lives there to the panel ------------------------------------------------------------------------


@pytest.fixture
def panel(home: Home, tmp_path: Path, run: Command) -> Path:
    """The file that a member gives."""
    path = tmp_path / "new.panel"
    code, shown, _ = run("join", "panel", NEW.address.hex(), "--config", home.configuration, "--output", path)
    assert (code, shown.startswith(f"{path}: give it to home {NEW.address.hex()[:16]}")) == (0, True)
    return path


def make_new(directory: Path, genesis: Genesis = HOMES.genesis, **request: Any) -> Home:
    """The home that asked, with the request that is on the chain."""
    directory.mkdir()
    new = Home(directory)
    write_genesis(new, genesis)
    write_join_identity(new.join_identity, SHOWN)
    write_join_request(new.join_request, request_of(HOMES, NEW, identity=SHOWN.commitment, **request))
    return new


def at_slot(monkeypatch: pytest.MonkeyPatch, slot: int) -> None:
    now_ns = (HOMES.genesis.start_ms + slot * HOMES.genesis.slot_duration_ms) * 1_000_000
    monkeypatch.setattr("node.cli.homes.show_identity.time.time_ns", lambda: now_ns)


def test_a_home_seals_to_whom_the_proof_names_and_shows_them_before(
    panel: Path, tmp_path: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = make_new(tmp_path / "fifth")
    at_slot(monkeypatch, 345_600)
    code, shown, _ = run("join", "seal", new.directory, "--panel", panel, "--yes")
    assert code == 0
    first, *verifiers = shown.splitlines()[:5]
    assert first == "Drawn to verify this home, as of block 2:"
    assert [line.split()[-1] for line in verifiers] == [address.hex() for address in HOMES.addresses]
    sealed = read_sealed_identity(new.join_sealed)
    assert [box.verifier for box in sealed.boxes] == list(HOMES.addresses)
    assert not [word for word in ("Ada", "Sunny") if word in new.join_sealed.read_text()]
    code, shown, complaint = run("join", "deliver", new.join_sealed, "--config", tmp_path / "meter.toml")
    assert (code, shown) == (1, "")
    assert "does not answer" in complaint


def test_nothing_is_sealed_unless_the_household_says_so(
    panel: Path, tmp_path: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = make_new(tmp_path / "fifth")
    at_slot(monkeypatch, 1)
    monkeypatch.setattr("sys.stdin", StringIO("n\n"))
    code, _, _ = run("join", "seal", new.directory, "--panel", panel)
    assert (code, new.join_sealed.exists()) == (1, False)


def test_a_panel_whose_time_is_over_is_an_earlier_state(
    panel: Path, tmp_path: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = make_new(tmp_path / "fifth")
    at_slot(monkeypatch, 345_601)
    code, shown, complaint = run("join", "seal", new.directory, "--panel", panel, "--yes")
    assert (code, shown, new.join_sealed.exists()) == (1, "", False)
    assert "these verified until slot 345601, and by this machine's clock it is slot 345601" in complaint


def test_nothing_is_sealed_to_a_false_panel_or_anothers(
    home: Home, panel: Path, tmp_path: Path, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_slot(monkeypatch, 1)
    other = tmp_path / "other.panel"
    run("join", "panel", OTHER.address.hex(), "--config", home.configuration, "--output", other)
    lie = tmp_path / "lie.panel"
    lie.write_text(panel.read_text().replace(HOMES.addresses[0].hex(), OTHER.address.hex()))
    new, again = make_new(tmp_path / "fifth"), make_new(tmp_path / "again", number=2)
    elsewhere = make_new(tmp_path / "elsewhere", make_genesis(5).genesis)
    for place, file, text in (
        (new, lie, "is NOT valid, seal nothing to it: no quorum of the members"),
        (new, other, f"is about home {OTHER.address.hex()[:16]}, and this is {NEW.address.hex()[:16]}"),
        (again, panel, "is about another application of this home"),
        (elsewhere, panel, "is NOT valid"),
        (new, new.join_request, "is NOT valid"),
        (new, tmp_path / "missing", "cannot be read"),
    ):
        code, shown, complaint = run("join", "seal", place.directory, "--panel", file, "--yes")
        assert (code, shown, place.join_sealed.exists()) == (1, "", False)
        assert text in complaint


def test_a_panel_is_written_for_who_asked_and_over_no_file(
    home: Home, panel: Path, tmp_path: Path, run: Command
) -> None:
    option = ("--config", home.configuration, "--output")
    assert "no verifiers of home" in run("join", "panel", "ab" * 32, *option, tmp_path / "none.panel")[2]
    assert "is no address of a home" in run("join", "panel", "ab", *option, tmp_path / "none.panel")[2]
    before = panel.read_bytes()
    assert run("join", "panel", NEW.address.hex(), *option, panel)[0] == 1
    assert panel.read_bytes() == before
    assert not (tmp_path / "none.panel").exists()


# --- asking ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The home of a member that is not started; its chain has a block."""
    testnet, _ = initialise_testnet(tmp_path_factory.mktemp("joining") / "testnet", TestnetPlan())
    home = testnet.home(testnet.nodes[0])
    community = community_of(testnet)
    builder = ChainBuilder.create(home.ledger, community)
    builder.append([])
    builder.ledger.close()
    return home


def test_any_member_gives_the_street(member: Home, tmp_path: Path, run: Command) -> None:
    path = tmp_path / "street.json"
    code, shown, _ = run("join", "street", "--config", member.configuration, "--output", path)
    street, genesis = read_street(path), load_genesis(member)
    assert (code, street.genesis) == (0, genesis)
    block = f"block 1 ({street.checkpoint.block.hex()})"
    assert shown == f"{path}: chain {chain_id(genesis).hex()}, {block}, 5 of 5 members to be found\n"
    others = load_configuration(member.configuration).p2p.peers
    own = load_key(member.node_key).address.hex()
    assert [peer.address for peer in street.peers] == [own, *(peer.address for peer in others)]


def test_a_neighbour_says_whether_a_street_file_is_of_its_chain(member: Home, tmp_path: Path, run: Command) -> None:
    path, config = tmp_path / "street.json", ("--config", member.configuration)
    run("join", "street", *config, "--output", path)
    block = read_street(path).checkpoint.block.hex()
    code, shown, _ = run("join", "check", path, *config)
    assert (code, shown) == (0, f"{path}: is of this home's chain, and block 1 ({block}) is this home's, too\n")
    write_street(path, of_another_chain(HOMES))
    code, _, complaint = run("join", "check", path, *config)
    assert (code, f"is of chain {HOMES.chain.hex()}, and this home is on" in complaint) == (1, True)


def of_another_chain(homes: Community) -> Street:
    (peer,) = (PeerEntry(address=homes.addresses[0].hex(), host="192.0.2.1", port=7_000),)
    return Street(genesis=homes.genesis, root=Authority("other").root, proof=proof_of_one_block(homes), peers=(peer,))


def test_a_block_that_is_not_this_homes_is_told(tmp_path: Path, run: Command) -> None:
    """A quorum that sold its keys decided another block."""
    (tmp_path / "honest").mkdir()
    home, path = make_stopped(tmp_path / "honest", []), tmp_path / "street.json"
    write_street(path, of_another_chain(HOMES))
    assert run("join", "check", path, "--config", home.configuration)[0] == 0
    (tmp_path / "other").mkdir()
    other = make_stopped(tmp_path / "other", [(0, request_of(HOMES, NEW))])
    code, _, complaint = run("join", "check", path, "--config", other.configuration)
    assert (code, "has another block 1 than this home" in complaint) == (1, True)
    (tmp_path / "empty").mkdir()
    behind = make_stopped(tmp_path / "empty")
    code, _, complaint = run("join", "check", path, "--config", behind.configuration)
    assert (code, "this home has no block 1 yet" in complaint) == (1, True)
    code, _, complaint = run("join", "street", "--config", behind.configuration, "--output", tmp_path / "none.json")
    assert (code, "no block is decided yet" in complaint) == (1, True)


def test_a_street_file_of_long_ago_is_refused(tmp_path: Path, run: Command) -> None:
    """Its members may have sold their keys since: nobody acts by them any more."""
    long_ago = Milliseconds(int(time.time() * 1_000) - 30 * 24 * MS_PER_HOUR - 60_000)
    homes = make_genesis(4, start_ms=long_ago)
    path = tmp_path / "street.json"
    write_street(path, of_another_chain(homes))
    nothing = [part for name in ("--identity", "--terms", "--certificate") for part in (name, "none")]
    code, _, complaint = run("join", "request", tmp_path, "--street", path, *nothing, "--yes")
    assert (code, "longer ago than 30 days: ask a member for a new one" in complaint) == (1, True)


@pytest.mark.parametrize(
    ("option", "content", "text"),
    [
        ("--identity", b"\xff", "is not UTF-8 text"),
        ("--identity", b"Ada\x1b[2J", "line 1 of the identity has a character that cannot be printed"),
        ("--identity", b"A" * 4_097, "is larger than 4096 bytes"),
        ("--terms", None, "is larger than"),
        ("--street", b"{}", "is no street file"),
        ("--certificate", b"none", "is not a certificate in PEM form"),
    ],
)
def test_a_bad_file_is_refused_and_changes_nothing(
    member: Home, tmp_path: Path, run: Command, option: str, content: bytes | None, text: str
) -> None:
    new = tmp_path / "fifth"
    run("init", new, "--host", "127.0.0.1", "--port", "7005", "--api-port", "8005")
    before = {path.name: path.read_bytes() for path in new.iterdir()}
    files = {name: tmp_path / name for name in ("--identity", "--terms", "--street", "--certificate")}
    run("join", "street", "--config", member.configuration, "--output", files["--street"])
    files["--identity"].write_text("Ada Löwe\n")
    files["--terms"].write_bytes(b"the main contract")
    files["--certificate"].write_bytes(member.certificate.read_bytes())
    if content is None:
        with files[option].open("wb") as large:
            large.truncate(16 * 1024 * 1024 + 1)
    else:
        files[option].write_bytes(content)
    arguments = [part for name, path in files.items() for part in (name, path)]
    code, printed, complaint = run("join", "request", new, *arguments, "--yes")
    assert (code, printed) == (1, "")
    assert text in complaint
    assert {path.name: path.read_bytes() for path in new.iterdir()} == before


def test_asking_twice_is_asked_for(tmp_path: Path, run: Command) -> None:
    home = Home(tmp_path)
    home.join_request.touch()
    nothing = [part for name in ("--identity", "--terms", "--street", "--certificate") for part in (name, "none")]
    code, _, complaint = run("join", "request", tmp_path, *nothing, "--yes")
    assert (code, "--again asks anew" in complaint) == (1, True)


def test_a_request_for_another_chain_is_brought_nowhere(home: Home, tmp_path: Path, run: Command) -> None:
    elsewhere = make_genesis(5)
    write_join_request(tmp_path / "request.json", request_of(elsewhere, NEW))
    code, _, complaint = run("join", "submit", tmp_path / "request.json", "--config", home.configuration)
    assert code == 1
    assert f"is for chain {elsewhere.chain.hex()}, and this home is on {HOMES.chain.hex()}" in complaint
    (tmp_path / "request.json").write_text(json.dumps({}))
    assert "is no join request" in run("join", "submit", tmp_path / "request.json", "--config", home.configuration)[2]
