"""The order in which `p2pnode recover` makes things durable: nothing leaves a home before what it binds it to is."""

import io
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from consensus.codec import decode
from consensus.eras import ERAS_MAX
from consensus.events import SignState
from contracts.transactions import ReplaceOfficeKey, SetLeaving, office_successor
from ledger.ledger import Ledger
from node.admission.authority_folder import AuthorityFolder
from node.admission.identity import create_key, load_chain, load_key
from node.admission.office_keys import create_office_key
from node.admission.passphrase import create_passphrase_file, read_passphrase_file
from node.cli import ceremony as cli_ceremony
from node.cli.main import main
from node.errors import NodeError
from node.home import era_files
from node.home.bounded_file import read_bounded
from node.home.era_files import JoinFile, StatementFile, begun_eras, read_record
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.home.sign_state import SignStateFile
from node.home.storage import read_sign_state
from node.testnet.folder import AUTHORITY_KEY_FILE_NAME, AUTHORITY_NAME, Testnet
from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.ceremony_commands import authority
from tests.support.contracts import raw_transaction
from tests.support.ledger import ChainBuilder
from tests.support.testnet import community_of, write_readings

Recover = Callable[..., str]


class Street:
    """Four stopped homes whose ledgers have nothing but genesis."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        testnet = Testnet.open(directory / "testnet")
        self.homes = [testnet.home(node) for node in testnet.nodes]

    def file(self, name: str) -> Path:
        return self.directory / name

    def state(self, number: int) -> SignState:
        file = SignStateFile(self.homes[number].sign_state)
        try:
            return read_sign_state(file)
        finally:
            file.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A testnet, of which each test has a copy."""
    directory = tmp_path_factory.mktemp("made")
    readings = write_readings(directory / "readings.csv", households=4, hours=1)
    testnet, _ = initialise_testnet(directory / "testnet", TestnetPlan(readings=readings.path))
    for node in testnet.nodes:
        Ledger.create(testnet.home(node).ledger, load_genesis(testnet.home(node))).close()
    return testnet.directory


@pytest.fixture
def street(tmp_path: Path, made: Path) -> Street:
    shutil.copytree(made, tmp_path / "testnet")
    return Street(tmp_path)


@pytest.fixture
def recover(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Recover:
    """Runs `p2pnode recover` and returns what it printed; an error message begins with `p2pnode: `."""

    def run(*arguments: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["p2pnode", "recover", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert (not ended.value.code) == (printed.err == ""), printed
        return printed.out + printed.err

    return run


class DiskFullError(NodeError):
    """The sign state cannot be written."""


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on no sign state becomes durable."""

    def fill() -> None:
        def save(_: SignStateFile, __: bytes) -> None:
            raise DiskFullError("no room left")

        monkeypatch.setattr(SignStateFile, "save", save)

    return fill


def config(home: Home) -> tuple[str, Path]:
    return "--config", home.configuration


def export(street: Street, recover: Recover, number: int) -> Path:
    path = street.file(f"{number}.statement")
    assert "gave up all eras below 1" in recover("export", *config(street.homes[number]), "--output", path)
    return path


def plan(street: Street, recover: Recover) -> Path:
    statements = [export(street, recover, number) for number in range(4)]
    path = street.file("era.plan")
    assert "the plan " in recover("plan", *statements, *config(street.homes[0]), "--output", path)
    return path


def join(street: Street, recover: Recover, agreed: Path, number: int) -> Path:
    path = street.file(f"{number}.join")
    assert "agreed" in recover("join", agreed, *config(street.homes[number]), "--output", path, "--yes")
    return path


# --- export ----------------------------------------------------------------------------------------------------


def test_no_statement_leaves_before_the_era_is_given_up_durably(
    street: Street, recover: Recover, full_disk: Callable[[], None]
) -> None:
    before, path = street.state(0), street.file("0.statement")
    full_disk()
    assert "no room left" in recover("export", *config(street.homes[0]), "--output", path)
    assert not path.exists()
    assert street.state(0) == before


def test_a_statement_that_cannot_be_written_has_given_the_era_up_already(
    street: Street, recover: Recover, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = street.file("0.statement")
    with monkeypatch.context() as broken:
        broken.setattr(cli_ceremony, "write_record", refuse)
        assert "no room left" in recover("export", *config(street.homes[0]), "--output", path)
    assert not path.exists()
    assert (street.state(0).standing.sealed_below, street.state(0).standing.statement) == (1, 1)
    statement = read_record(export(street, recover, 0), StatementFile).statement.statement
    assert statement.number == 2, "the one that was lost can not be agreed with"


@pytest.mark.parametrize("era", [0, -1, ERAS_MAX + 1, 10**30])
def test_an_era_that_there_cannot_be_is_refused_before_anything_is_read(
    street: Street, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], era: int
) -> None:
    before = street.state(0)
    arguments = ("export", *config(street.homes[0]), "--era", era, "--output", street.file("0.statement"), "--yes")
    monkeypatch.setattr(sys, "argv", ["p2pnode", "recover", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--era" in capsys.readouterr().err
    assert (street.state(0), street.file("0.statement").exists()) == (before, False)


def test_the_last_era_can_be_read_again_and_there_is_none_after_it(street: Street, recover: Recover) -> None:
    statements = [street.file(f"{number}.statement") for number in range(4)]
    for home, path in zip(street.homes, statements, strict=True):
        recover("export", *config(home), "--era", str(ERAS_MAX), "--output", path, "--yes")
    agreed = street.file("last.plan")
    recover("plan", *statements, *config(street.homes[0]), "--output", agreed)
    joins = [join(street, recover, agreed, number) for number in range(3)]
    recover("apply", agreed, *joins, *config(street.homes[0]), "--yes")
    assert street.state(0).standing.era == ERAS_MAX
    said = recover("export", *config(street.homes[0]), "--output", street.file("beyond.statement"))
    assert f"era {ERAS_MAX} is the last one that there can be. Nothing was changed" in said


def test_an_export_is_for_the_era_that_was_stated_or_the_next(street: Street, recover: Recover) -> None:
    assert [street_era(street, recover, 0) for _ in range(2)] == [1, 1]
    agreed = plan(street, recover)
    joins = [join(street, recover, agreed, number) for number in range(4)]
    assert street_era(street, recover, 0) == 1, "who agreed and who did not say the same"
    for number in range(1, 4):
        recover("apply", agreed, *joins, *config(street.homes[number]), "--yes")
    assert [street_era(street, recover, number) for number in range(1, 4)] == [2, 2, 2]


def street_era(street: Street, recover: Recover, number: int) -> int:
    recover("export", *config(street.homes[number]), "--output", street.file("again.statement"))
    return read_record(street.file("again.statement"), StatementFile).statement.statement.era


def test_after_a_plan_without_agreements_the_next_era_is_no_gap(street: Street, recover: Recover) -> None:
    join(street, recover, plan(street, recover), 0)
    for number in (0, 1):
        next_one = ("export", *config(street.homes[number]), "--era", "2", "--output", street.file("2.statement"))
        assert "gave up all eras below 2" in recover(*next_one)


def test_an_era_that_leaves_others_out_is_asked_for(
    street: Street, recover: Recover, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, before = street.file("0.statement"), street.state(0)
    third = ("export", *config(street.homes[0]), "--era", "3", "--output", path)
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    said = recover(*third)
    assert "this home knows of no era above 0, so the next one is 1" in said
    assert "nothing was changed" in said
    assert (street.state(0), path.exists()) == (before, False)
    assert "gave up all eras below 3" in recover(*third, "--yes")


def test_a_refused_era_says_what_to_type_next(street: Street, recover: Recover) -> None:
    agreed = plan(street, recover)
    joins = [join(street, recover, agreed, number) for number in range(4)]
    recover("apply", agreed, *joins, *config(street.homes[0]), "--yes")
    first, path = config(street.homes[0]), street.file("again.statement")
    said = recover("export", *first, "--era", "1", "--output", path)
    assert "takes part in era 1 already: the next one is era 2 (`p2pnode recover export --era 2`)" in said
    recover("export", *first, "--era", "3", "--output", path, "--yes")
    said = recover("export", *first, "--era", "2", "--output", path)
    assert "made a statement for era 3 since: go on with that one (`p2pnode recover export --era 3`)" in said
    assert "or take it back (`p2pnode recover release`)" in said


# --- join ------------------------------------------------------------------------------------------------------


def test_no_agreement_leaves_before_it_is_durable(
    street: Street, recover: Recover, full_disk: Callable[[], None]
) -> None:
    agreed, path = plan(street, recover), street.file("0.join")
    before = street.state(0)
    full_disk()
    assert "no room left" in recover("join", agreed, *config(street.homes[0]), "--output", path, "--yes")
    assert not path.exists()
    assert street.state(0) == before


def test_an_agreement_is_written_again_the_same(street: Street, recover: Recover) -> None:
    agreed = plan(street, recover)
    first = read_record(join(street, recover, agreed, 0), JoinFile)
    assert read_record(join(street, recover, agreed, 0), JoinFile) == first


def test_nothing_happens_without_the_operators_word(
    street: Street, recover: Recover, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed, path = plan(street, recover), street.file("0.join")
    monkeypatch.setattr(cli_ceremony.typer, "confirm", lambda _: False)
    before = street.state(0)
    assert "nothing was changed" in recover("join", agreed, *config(street.homes[0]), "--output", path)
    assert (street.state(0), path.exists()) == (before, False)


def test_a_question_that_nobody_answers_changes_nothing(
    street: Street, recover: Recover, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed, path = plan(street, recover), street.file("0.join")
    before = street.state(0)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert "nobody answered" in recover("join", agreed, *config(street.homes[0]), "--output", path)
    assert (street.state(0), path.exists()) == (before, False)


# --- apply -----------------------------------------------------------------------------------------------------


def test_an_interrupted_beginning_is_done_again(
    street: Street, recover: Recover, monkeypatch: pytest.MonkeyPatch, full_disk: Callable[[], None]
) -> None:
    """The era's file is there before the sign state speaks of it; until then the home signs nothing of either era."""
    agreed = plan(street, recover)
    joins = [join(street, recover, agreed, number) for number in range(3)]
    apply = ("apply", agreed, *joins, *config(street.homes[0]), "--yes")
    with monkeypatch.context() as broken:
        broken.setattr(era_files, "write_record", refuse)
        assert "no room left" in recover(*apply)
    assert begun_eras(street.homes[0]) == []
    with monkeypatch.context():
        full_disk()
        assert "no room left" in recover(*apply)
        monkeypatch.undo()
    (begun,) = begun_eras(street.homes[0])
    assert (begun.number, street.state(0).standing.era, street.state(0).standing.sealed_below) == (1, 0, 1)
    recovered = recover_again(monkeypatch, recover, apply)
    assert "begins era 1 at height 1" in recovered
    assert street.state(0).standing.era == 1


def recover_again(monkeypatch: pytest.MonkeyPatch, recover: Recover, arguments: tuple[str | Path, ...]) -> str:
    monkeypatch.undo()
    return recover(*arguments)


def refuse(*_: object) -> None:
    raise DiskFullError("no room left")


def test_too_few_agreements_are_counted_before_the_home_is_opened(street: Street, recover: Recover) -> None:
    agreed = plan(street, recover)
    joins = [join(street, recover, agreed, number) for number in range(2)]
    apply = ("apply", agreed, *joins, *config(street.homes[0]), "--yes")
    assert "too few of the old members agreed: 2 of 4, and 3 are needed" in recover(*apply)


def test_where_statements_are_incomplete_the_operator_types_the_word(
    street: Street, recover: Recover, monkeypatch: pytest.MonkeyPatch
) -> None:
    for home in street.homes[:2]:
        home.sign_state.unlink(missing_ok=True)
    agreed = plan(street, recover)
    joins = [join(street, recover, agreed, number) for number in range(4)]
    apply = ("apply", agreed, *joins, *config(street.homes[3]), "--yes")
    for word, is_begun in (("yes", False), ("replace", True)):
        monkeypatch.setattr(cli_ceremony.typer, "prompt", lambda _, word=word: word)
        text = recover(*apply)
        assert "4 members agreed, 2 of them with complete statements; from 3 on" in text
        assert ("begins era 1" in text) == is_begun


# --- other files -----------------------------------------------------------------------------------------------


def test_a_file_of_another_kind_is_refused_with_its_name(street: Street, recover: Recover) -> None:
    statement = export(street, recover, 0)
    text = recover("join", statement, *config(street.homes[0]), "--output", street.file("0.join"), "--yes")
    assert f"{statement}: kind: expected a plan (of `recover plan`)" in text


def test_what_is_kept_is_read_back(street: Street, recover: Recover) -> None:
    agreed = plan(street, recover)
    join(street, recover, agreed, 1)
    kept = sorted(street.homes[1].eras.glob("*.plan"))
    assert [path.suffix for path in kept] == [".plan"]
    content = read_bounded(kept[0], size_bytes_max=era_files.FILE_SIZE_BYTES_MAX)
    signed = decode(content, era_files.SignedPlan, size_bytes_max=era_files.FILE_SIZE_BYTES_MAX)
    assert era_files.kept_plans(street.homes[1]) == [signed]


def test_an_absent_member_needs_the_authority_and_a_name_that_is_known(street: Street, recover: Recover) -> None:
    statements = [export(street, recover, number) for number in range(3)]
    base = ("plan", *statements, *config(street.homes[0]), "--output", street.file("era.plan"))
    for options, text in (
        (("--gone", "nobody"), "nobody: no member has this name"),
        (("--replaced", "node4"), "NAME=CERTIFICATE is needed"),
        (("--gone", "node4"), "--authority must name"),
        (("--gone", "node1"), "node1 made a statement"),
    ):
        assert text in " ".join(recover(*base, *options).split())
    assert not street.file("era.plan").exists()


# --- what is lost of a home ------------------------------------------------------------------------------------


def begin(street: Street, recover: Recover) -> tuple[str | Path, ...]:
    """The first home begins era 1; returns with which command."""
    agreed = plan(street, recover)
    joins = [join(street, recover, agreed, number) for number in range(3)]
    apply: tuple[str | Path, ...] = ("apply", agreed, *joins, *config(street.homes[0]), "--yes")
    assert "begins era 1" in recover(*apply)
    return apply


def test_a_lost_folder_of_eras_is_told_first_and_comes_back_by_applying_again(
    street: Street, recover: Recover, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    apply, home = begin(street, recover), street.homes[0]
    kept = {path.name: path.read_bytes() for path in home.eras.iterdir()}
    shutil.rmtree(home.eras)
    told = (
        f"p2pnode: {home.eras}: the plan of era 1, in which this node signs, is missing: put the folder back, or take"
    )
    for command in (
        ("ledger", "verify", "--home", home.directory),
        ("ledger", "show", "--home", home.directory),
        ("trade", "list", *config(home)),
        ("recover", "alone", *config(home)),
        ("recover", "export", *config(home), "--output", street.file("no")),
        ("recover", "release", *config(home)),
    ):
        monkeypatch.setattr(sys, "argv", ["p2pnode", *map(str, command)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert (ended.value.code, capsys.readouterr().err.startswith(told)) == (1, True), command
    before = street.state(0)
    assert "applied already" in recover(*apply)
    assert {path.name: path.read_bytes() for path in home.eras.iterdir()} == kept
    assert street.state(0) == before


def test_applying_the_same_plan_again_changes_nothing_and_is_no_failure(street: Street, recover: Recover) -> None:
    apply = begin(street, recover)
    before = street.state(0)
    assert "applied already: nothing was changed" in recover(*apply)
    assert street.state(0) == before


def test_a_damaged_ledger_says_how_an_export_goes_on_without_it(street: Street, recover: Recover) -> None:
    home, path = street.homes[0], street.file("0.statement")
    (home.ledger / "tip").write_bytes(b"")
    before = street.state(0)
    said = recover("export", *config(home), "--output", path)
    assert "the ledger is damaged" in said
    (command,) = re.findall(r"run `(mv [^`]+)`", said)
    assert street.state(0) == before
    subprocess.run(shlex.split(command), check=True)
    assert "gave up all eras below 1" in recover("export", *config(home), "--output", path)


def test_what_is_refused_leaves_a_damaged_sign_state_where_it_is(street: Street, recover: Recover) -> None:
    home = street.homes[0]
    home.sign_state.write_bytes(b"damaged")
    assert "Nothing was changed" in recover("release", *config(home))
    assert home.sign_state.read_bytes() == b"damaged"
    said = recover("export", *config(home), "--output", street.file("0.statement"))
    assert "not complete, as this is lost: sign state" in said
    assert home.sign_state.with_name("sign-state.damaged-1").read_bytes() == b"damaged"


def test_an_export_at_a_home_that_is_no_members_leaves_no_ledger(street: Street, recover: Recover) -> None:
    home = street.homes[0]
    shutil.rmtree(home.ledger)
    testnet = home.directory.parent
    passphrase = read_passphrase_file(testnet / AUTHORITY_KEY_FILE_NAME)
    stranger = AuthorityFolder(testnet / AUTHORITY_NAME).open(passphrase)
    home.node_key.unlink()
    home.certificate.write_bytes(stranger.issue(create_key(home.node_key).public_key, host="::1", port=1))
    said = recover("export", *config(home), "--output", street.file("0.statement"))
    assert "this node's key is none of the members'. Nothing was changed" in said
    assert not home.ledger.exists()


def test_a_key_that_is_not_of_the_homes_certificate_signs_nothing(street: Street, recover: Recover) -> None:
    agreed, home, before = plan(street, recover), street.homes[0], street.state(0)
    home.certificate.write_bytes(street.homes[1].certificate.read_bytes())
    for step in (("export", *config(home)), ("join", agreed, *config(home), "--yes")):
        said = recover(*step, "--output", street.file("no"))
        assert f"{home.certificate} is not the certificate of {home.node_key}" in said
    assert (street.state(0), street.file("no").exists()) == (before, False)


def test_a_sign_state_that_is_a_link_is_refused_and_not_followed(street: Street, recover: Recover) -> None:
    home = street.homes[0]
    elsewhere = street.file("elsewhere")
    home.sign_state.rename(elsewhere)
    home.sign_state.symlink_to(elsewhere)
    content = elsewhere.read_bytes()
    for step in (("export", *config(home), "--output", street.file("no")), ("release", *config(home))):
        assert f"{home.sign_state} is a symbolic link" in recover(*step)
    assert (home.sign_state.is_symlink(), elsewhere.read_bytes()) == (True, content)


# --- questions -------------------------------------------------------------------------------------------------


def test_a_word_that_nobody_can_give_has_an_option(
    street: Street, recover: Recover, monkeypatch: pytest.MonkeyPatch
) -> None:
    for home in street.homes[:2]:
        home.sign_state.unlink()
    agreed = plan(street, recover)
    joins = [join(street, recover, agreed, number) for number in range(4)]
    apply = ("apply", agreed, *joins, *config(street.homes[3]), "--yes")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert "nobody answered (--accept-loss answers" in recover(*apply)
    assert "begins era 1" in recover(*apply, "--accept-loss")


# --- what is said ----------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_written_says_what_is_done_already(
    street: Street, recover: Recover, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, path, agreed = street.homes[0], street.file("no"), plan(street, recover)
    for step, done in (
        (("join", agreed, *config(home), "--yes"), "node1 agreed to the plan already: run the same command again"),
        (("export", *config(home)), "node1 gave up all eras below 1 already: run the same command again"),
    ):
        with monkeypatch.context() as broken:
            broken.setattr(cli_ceremony, "write_record", refuse)
            assert f"no room left. {done}, it writes the file" in recover(*step, "--output", path)
        recover(*step, "--output", path)
        path.unlink()


def test_a_plan_is_shown_by_its_digits_with_the_new_homes_key(street: Street, recover: Recover) -> None:
    testnet, certificate = street.homes[0].directory.parent, street.file("new.crt")
    key = create_key(street.file("new.key")).public_key
    passphrase = read_passphrase_file(testnet / AUTHORITY_KEY_FILE_NAME)
    issuer = AuthorityFolder(testnet / AUTHORITY_NAME).open(passphrase)
    certificate.write_bytes(issuer.issue(key, host="192.0.2.4", port=7_000))
    statements, agreed = [export(street, recover, number) for number in range(3)], street.file("era.plan")
    replaced = ("--replaced", f"node4={certificate}", *authority(testnet), "--output", agreed)
    made = recover("plan", *statements, *config(street.homes[0]), *replaced)
    (digits,) = re.findall(r"the plan ([0-9a-f]{16}) of era 1", made)
    joins = []
    for number in range(3):
        joins.append(street.file(f"{number}.join"))
        shown = recover("join", agreed, *config(street.homes[number]), "--output", joins[-1], "--yes")
        assert f"Plan {digits}: era 1, above height 0" in shown
        until = load_chain(certificate)[0].not_valid_after_utc
        told = f"a new home at 192.0.2.4:7000, key {key.hex()[:16]}, certified until {until:%Y-%m-%d}"
        assert told in " ".join(shown.split())
    shown = recover("apply", agreed, *joins, *config(street.homes[0]), "--yes")
    assert f"Everybody sees the same plan, {digits}: compare" in " ".join(shown.split())
    new = street.homes[3]
    shutil.copy(street.file("new.key"), new.node_key)
    shutil.copy(certificate, new.certificate)
    said = recover("join", agreed, *config(new), "--output", street.file("no"), "--yes")
    assert "node4 is a new home of this plan: it need not agree" in said
    assert not street.file("no").exists()


def test_of_who_is_absent_only_the_authoritys_present_key_speaks(street: Street, recover: Recover) -> None:
    """One of three homes that state has the block that replaces it."""
    first, testnet = street.homes[0], Testnet.open(street.homes[0].directory.parent)
    root = authority(testnet.directory)
    keys = [street.file(f"{name}.key") for name in ("next", "stranger")]
    key_file = ("--key-file", street.file("passphrase"))
    create_passphrase_file(key_file[1])
    for path in keys:
        create_office_key(path, read_passphrase_file(key_file[1]))
    following = load_key(keys[0], passphrase=read_passphrase_file(key_file[1]))
    digits = following.public_key.hex()[:16]
    builder = ChainBuilder(Ledger.open(first.ledger, load_genesis(first)), community_of(testnet))
    present = load_key(root[1], passphrase=read_passphrase_file(root[3]))
    successor = office_successor(builder.community.chain, present.address, following)
    builder.append([raw_transaction(builder.community, present, ReplaceOfficeKey(successor=successor), nonce=0)])
    builder.ledger.close()

    statements = [export(street, recover, number) for number in range(4)]
    to_plan, agreed = ("plan", *statements[:3], *config(first)), street.file("era.plan")
    for signed_by, said in (
        (root, f"{root[1]}: acts no more for this chain's authority: in what the plan keeps"),
        (("--authority", keys[1], *key_file), f"{keys[1]}: does not act for this chain's authority"),
    ):
        refused = recover(*to_plan, *signed_by, "--output", agreed)
        assert said in refused
        assert f"its key is {following.public_key.hex()}. Bring that one" in refused
        assert not agreed.exists()
    shown = recover(*to_plan, "--authority", keys[0], *key_file, "--output", agreed)
    assert f"the authority speaks, by the key that it has in what the plan keeps of the chain, {digits}. Who" in shown
    shown = recover("join", agreed, *config(street.homes[2]), "--output", street.file("2.join"), "--yes")
    assert f"the authority speaks, by the key that it has in what the plan keeps of the chain, {digits}. Who" in shown
    shown = recover("plan", *statements, *config(first), "--output", street.file("all.plan"))
    assert "authority" not in shown


def test_statements_that_make_no_plan_are_counted_and_members_named(street: Street, recover: Recover) -> None:
    statements = [export(street, recover, number) for number in range(3)]
    signed = authority(street.homes[0].directory.parent)
    base = (*config(street.homes[0]), *signed, "--output", street.file("era.plan"))
    said = recover("plan", *statements[:2], *base)
    assert "there is no plan (statements: 2 of 4 members made one, 3 needed: bring more)" in said
    for options, text in (
        (("--gone", "node1"), "node1 made a statement, so it is neither gone nor replaced"),
        (("--replaced", f"node4={street.homes[1].certificate}"), "node4's new home has the key of node2"),
        (("--gone", "node4", "--gone", "node4"), "node4, or the key of its new home, is there twice"),
    ):
        assert f"departures: {text}" in recover("plan", *statements, *base, *options)


@pytest.mark.parametrize(
    ("blocks", "words"), [(1, "gave up all eras below 1, at height 1"), (2, "node5 left with height 2")]
)
def test_a_home_that_left_makes_no_statement_once_it_is_no_member(
    tmp_path: Path, recover: Recover, blocks: int, words: str
) -> None:
    """Before, its statement counts: nobody else may have the height that it decides with the others."""
    readings = write_readings(tmp_path / "readings.csv", households=5, hours=1)
    testnet, _ = initialise_testnet(tmp_path / "testnet", TestnetPlan(readings=readings.path))
    home = testnet.home(testnet.nodes[4])
    chain = ChainBuilder.create(home.ledger, community_of(testnet))
    chain.append([chain.transaction(4, SetLeaving(leaving=True))])
    for _ in range(blocks - 1):
        chain.append()
    chain.ledger.close()
    before = home.sign_state.read_bytes()
    told = recover("export", *config(home), "--output", tmp_path / "5.statement")
    assert words in told
    assert (home.sign_state.read_bytes() == before) == (blocks == 2)
