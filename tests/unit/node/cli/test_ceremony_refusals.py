"""Files that are not what a step of a ceremony needs: each is refused with its field, nothing is written anywhere."""

import os
import stat
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec.structs import replace

from consensus.ceremony import signed_statement
from consensus.ceremony_records import MemberStatement, SignedMemberStatement, SignedPlan
from consensus.codec import Record, encode
from consensus.cryptography import SigningKey
from consensus.era_plans import AppliedEra, Departure, Plan
from consensus.identifiers import Digest, EraNumber, Height
from ledger.ledger import Ledger
from node.admission.authority import Authority
from node.admission.authority_folder import ROOT_KEY_NAME, AuthorityFolder
from node.admission.identity import load_key
from node.admission.passphrase import read_passphrase_file
from node.cli.main import main
from node.home.era_files import FILE_SIZE_BYTES_MAX, JoinFile, PlanFile, StatementFile, read_record
from node.home.genesis_file import load_genesis
from node.testnet.folder import AUTHORITY_KEY_FILE_NAME, AUTHORITY_NAME
from node.testnet.init import NETWORK, TestnetPlan, initialise_testnet
from tests.support.ceremony_commands import authority
from tests.support.testnet import write_readings

FOREIGN = SigningKey(b"\x77" * 32)
HUGE_BYTES = 100_000_000
LARGE_BYTES = 1_000_000
"""More than any file of these homes has."""


@dataclass(frozen=True)
class Ended:
    code: int
    output: str
    errors: str


def p2pnode(*arguments: str | Path) -> Ended:
    """Runs the command in this process, its streams in files of the system."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["p2pnode", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    return Ended(ended.value.code or 0, "", "")  # type: ignore[arg-type]


class Street:
    """Four stopped homes in the middle of a ceremony: all exported, one plan of all, two agreed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        readings = write_readings(directory / "readings.csv", households=4, hours=1)
        testnet, _ = initialise_testnet(directory / "testnet", TestnetPlan(readings=readings.path))
        self.testnet = testnet.directory
        self.homes = [testnet.home(node) for node in testnet.nodes]
        self.keys = [load_key(home.node_key) for home in self.homes]
        for home in self.homes:
            Ledger.create(home.ledger, load_genesis(home)).close()
        self.statements = [directory / f"{number}.statement" for number in range(4)]
        self.plan = directory / "era1.plan"
        self.joins = [directory / f"{number}.join" for number in range(3)]
        for number, path in enumerate(self.statements):
            self.run("export", *self.config(number), "--output", path)
        self.run("plan", *self.statements, *self.config(0), "--output", self.plan)
        for number, path in enumerate(self.joins):
            self.run("join", self.plan, *self.config(number), "--output", path, "--yes")

    @staticmethod
    def run(*arguments: str | Path) -> None:
        assert p2pnode("recover", *arguments).code == 0, arguments

    def config(self, number: int) -> tuple[str, Path]:
        return "--config", self.homes[number].configuration

    def snapshot(self) -> dict[Path, tuple[int, bytes]]:
        """All that lies in the homes and beside them."""
        return {
            path: (path.lstat().st_mode, content_of(path))
            for folder, _, names in os.walk(self.directory)
            for path in (Path(folder), *(Path(folder, name) for name in names))
        }

    # --- files that are wrong -----------------------------------------------------------------------------------

    def statement(self, *, key: SigningKey | None = None, **changes: Any) -> StatementFile:
        """The first home's statement, changed, and signed by its own key or another one."""
        file = read_record(self.statements[0], StatementFile)
        changed: MemberStatement = replace(file.statement.statement, **changes)
        return replace(file, statement=signed_statement(changed, key or self.keys[0]))

    def planned(self, **changes: Any) -> PlanFile:
        file = read_record(self.plan, PlanFile)
        signed: SignedPlan = file.plans[-1]
        plan: Plan = replace(signed.plan, **changes)
        return PlanFile(plans=(replace(signed, plan=plan),))

    def signed_plan(self, **changes: Any) -> PlanFile:
        (signed,) = read_record(self.plan, PlanFile).plans
        return PlanFile(plans=(replace(signed, **changes),))

    def joined(self, **changes: Any) -> JoinFile:
        file = read_record(self.joins[0], JoinFile)
        return replace(file, join=replace(file.join, **changes))

    def statement_in_plan(self, changed: StatementFile) -> PlanFile:
        (signed,) = read_record(self.plan, PlanFile).plans
        others = [one for one in signed.statements if one.statement.author != changed.statement.statement.author]
        statements = sorted([*others, changed.statement], key=author_of)
        return PlanFile(plans=(replace(signed, statements=tuple(statements)),))


def author_of(signed: SignedMemberStatement) -> bytes:
    return signed.statement.author


def content_of(path: Path) -> bytes:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return os.fsencode(path.readlink())
    return path.read_bytes() if stat.S_ISREG(mode) and path.stat().st_size < LARGE_BYTES else b""


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Street:
    return Street(tmp_path_factory.mktemp("refusals") / "street")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Street:
    """Another chain, whose ceremony is as far."""
    return Street(tmp_path_factory.mktemp("refusals") / "elsewhere")


Make = Callable[[Street, Street], Record | bytes]
"""What stands in the bad file."""

UNKNOWN = 7
"""A field more than a record has."""

STATEMENTS: dict[str, tuple[Make, str]] = {
    "truncated": (lambda street, _: street.statements[0].read_bytes()[:-20], "the file as a whole: it is cut off"),
    "empty": (lambda *_: b"", "kind: expected a statement"),
    "more behind its end": (lambda street, _: street.statements[0].read_bytes() + b"\0", "the file as a whole"),
    "another kind": (lambda street, _: street.plan.read_bytes(), "kind: expected a statement (of `recover export`)"),
    "no file of this program": (lambda street, _: street.homes[0].configuration.read_bytes(), "kind: expected"),
    "unknown field": (
        lambda street, _: with_unknown(read_record(street.statements[0], StatementFile)),
        "has an unknown field; expected none behind plans",
    ),
    "unknown field inside": (
        lambda street, _: with_unknown_inside(read_record(street.statements[0], StatementFile)),
        "statement: has an unknown field; expected none behind signature",
    ),
    "a field of another type": (
        lambda street, _: encode(("p2pnode-statement-1", (of_another_type(street), bytes(64)), (), ())),
        "statement.statement.applied.era: Expected `int`, got `str`",
    ),
    "another chain": (
        lambda _, elsewhere: elsewhere.statements[0].read_bytes(),
        "statement.chain: expected this chain",
    ),
    "another era": (lambda street, _: street.statement(era=EraNumber(2)), "statement.era: is 1, and"),
    "an era that is not above its own": (
        lambda street, _: street.statement(applied=AppliedEra(era=EraNumber(3), plan=Digest(bytes(32)))),
        "statement.applied: names a plan that is not among the files",
    ),
    "another height": (
        lambda street, _: street.statement(height=Height(7)),
        "statement.decided: expected the newest",
    ),
    "an author that is no member": (
        lambda street, _: street.statement(author=FOREIGN.address, key=FOREIGN),
        "statement.author: expected a member",
    ),
    "a foreign key": (lambda street, _: street.statement(key=FOREIGN), "statement.signature: expected its author's"),
    "changed": (
        lambda street, _: changed_after_signing(read_record(street.statements[0], StatementFile)),
        "statement.signature",
    ),
    "doubled plans": (
        lambda street, _: replace(
            read_record(street.statements[0], StatementFile), plans=read_record(street.plan, PlanFile).plans * 2
        ),
        "plans: ",
    ),
    "doubled": (lambda street, _: street.statements[1].read_bytes(), "statement.number: node2's statement 1 is in"),
    "a field that is missing": (
        lambda street, _: encode(builtin(read_record(street.statements[0], StatementFile))[:-1]),
        "plans: is missing",
    ),
    "another content under one number": (
        lambda street, _: street.statement(author=street.keys[1].address, key=street.keys[1], promise=3),
        "statement.number: node2's statement 1 is in",
    ),
}

PLANS: dict[str, tuple[Make, str]] = {
    "truncated": (lambda street, _: street.plan.read_bytes()[:-20], "the file as a whole: it is cut off"),
    "another kind": (
        lambda street, _: street.statements[0].read_bytes(),
        "kind: expected a plan (of `recover plan`)",
    ),
    "another chain": (lambda _, elsewhere: elsewhere.plan.read_bytes(), "plan.chain: is "),
    "another era": (lambda street, _: street.planned(era=EraNumber(2)), "plan.statements[0].era: is 1, not 2"),
    "another height": (lambda street, _: street.planned(base=Height(3)), "plan.base: is not what follows"),
    "another block": (lambda street, _: street.planned(base_block=Digest(bytes(32))), "plan.base_block: is not what"),
    "another block carried": (lambda street, _: street.planned(carried=Digest(bytes(32))), "plan.carried: is not"),
    "a statement of another height": (
        lambda street, _: street.statement_in_plan(street.statement(height=Height(7))),
        ".decided: expected the newest decided blocks",
    ),
    "doubled members": (lambda street, _: doubled_members(street), "plan.members: node1 is there twice"),
    "doubled statements": (
        lambda street, _: street.signed_plan(statements=read_record(street.plan, PlanFile).plans[0].statements * 2),
        "is there twice",
    ),
    "doubled plans": (
        lambda street, _: PlanFile(plans=read_record(street.plan, PlanFile).plans * 2),
        "plans: ",
    ),
    "a statement of a foreign key": (
        lambda street, _: street.statement_in_plan(street.statement(key=FOREIGN)),
        ".signature: expected its author's",
    ),
    "a member that nobody is": (
        lambda street, _: street.planned(members=((FOREIGN.address, FOREIGN.public_key),)),
        "plan.members: is not what follows",
    ),
    "too few statements": (
        lambda street, _: street.signed_plan(statements=read_record(street.plan, PlanFile).plans[0].statements[:2]),
        "plan.statements: they are of no quorum",
    ),
    "no word of the authority": (
        lambda street, _: without_the_last(street, None),
        "plan.authority: members are absent",
    ),
    "the word of another authority": (
        lambda street, _: without_the_last(street, FOREIGN),
        "plan.authority: members are absent",
    ),
    "a new home without certificate": (
        lambda street, _: replaced_by(street, ()),
        "plan.departures[0].certificates: expected with a new home's key",
    ),
    "a new home that another authority certified": (
        lambda street, _: replaced_by(street, certificates_of(Authority(NETWORK), FOREIGN)),
        "plan.departures[0].certificates: the authority did not sign the issuing authority's",
    ),
    "a certificate of another key": (
        lambda street, _: replaced_by(street, certificates_of(authority_of(street), SigningKey(b"\x66" * 32))),
        "plan.departures[0].certificates: is of another key",
    ),
    "an end of a certificate that it does not have": (
        lambda street, _: replaced_by(street, certificates_of(authority_of(street), FOREIGN), valid_until_ms=2**50),
        "plan.departures[0].valid_until_ms: the certificate ends on ",
    ),
    "an end without a certificate": (
        lambda street, _: replaced_by(street, (), node_key=None, valid_until_ms=2**50),
        "plan.departures[0].valid_until_ms: expected with a certificate, and only there",
    ),
    "unknown field": (
        lambda street, _: encode((*builtin(read_record(street.plan, PlanFile)), UNKNOWN)),
        "has an unknown field; expected none behind plans",
    ),
}

JOINS: dict[str, tuple[Make, str]] = {
    "truncated": (lambda street, _: street.joins[0].read_bytes()[:-20], "the file as a whole: it is cut off"),
    "another kind": (lambda street, _: street.plan.read_bytes(), "kind: expected an agreement"),
    "another plan": (
        lambda street, _: replace(read_record(street.joins[0], JoinFile), plan=Digest(bytes(32))),
        "plan: is 0000000000000000, and the plan of era 1 is ",
    ),
    "another chain": (lambda _, elsewhere: elsewhere.joins[0].read_bytes(), "plan: is "),
    "an author that is no member": (
        lambda street, _: street.joined(author=FOREIGN.address),
        "join.author: ",
    ),
    "a foreign key": (lambda street, _: street.joined(signature=bytes(64)), "join.signature: is not that of node1"),
    "doubled": (lambda street, _: street.joins[1].read_bytes(), "join.author: the agreement of node2 is in"),
    "unknown field": (
        lambda street, _: encode((*builtin(read_record(street.joins[0], JoinFile)), UNKNOWN)),
        "has an unknown field; expected none behind join",
    ),
}


def builtin(record: Record) -> tuple[Any, ...]:
    return tuple(msgspec.to_builtins(record, builtin_types=(bytes,)))


def with_unknown(file: StatementFile) -> bytes:
    return encode((*builtin(file), UNKNOWN))


def with_unknown_inside(file: StatementFile) -> bytes:
    kind, statement, *others = builtin(file)
    return encode((kind, (*statement, UNKNOWN), *others))


def of_another_type(street: Street) -> tuple[Any, ...]:
    statement = read_record(street.statements[0], StatementFile).statement.statement
    fields = list(builtin(statement))
    fields[5] = ("first", None)
    return tuple(fields)


def changed_after_signing(file: StatementFile) -> StatementFile:
    statement = replace(file.statement.statement, number=9)
    return replace(file, statement=replace(file.statement, statement=statement))


def doubled_members(street: Street) -> PlanFile:
    members = read_record(street.plan, PlanFile).plans[0].plan.members
    first = next(one for one in members if one[1] == street.keys[0].public_key)
    return street.planned(members=(*members, first))


def without_the_last(street: Street, vouching: SigningKey | None) -> PlanFile:
    path = street.directory.parent / "three.plan"
    options = ("--output", path, *authority(street.testnet))
    street.run("plan", *street.statements[:3], *street.config(0), *options)
    (signed,) = read_record(path, PlanFile).plans
    word = None if vouching is None else vouching.sign(encode(signed.plan))
    return PlanFile(plans=(replace(signed, authority=word),))


def replaced_by(street: Street, certificates: tuple[bytes, ...], **others: Any) -> PlanFile:
    (signed,) = without_the_last(street, None).plans
    said = {"node_key": FOREIGN.public_key, "certificates": certificates, **others}
    departure = Departure(address=street.keys[3].address, **said)
    plan = replace(signed.plan, departures=(departure,))
    word = root_key_of(street).sign(encode(plan))
    return PlanFile(plans=(replace(signed, plan=plan, authority=word),))


def authority_of(street: Street) -> Authority:
    return AuthorityFolder(street.testnet / AUTHORITY_NAME).open(passphrase_of(street))


def passphrase_of(street: Street) -> bytes:
    return read_passphrase_file(street.testnet / AUTHORITY_KEY_FILE_NAME)


def root_key_of(street: Street) -> SigningKey:
    return load_key(street.testnet / AUTHORITY_NAME / ROOT_KEY_NAME, passphrase=passphrase_of(street))


def certificates_of(issuer: Authority, key: SigningKey) -> tuple[bytes, ...]:
    pem = issuer.issue(key.public_key, host="127.0.0.1", port=27_004)
    return tuple(one.public_bytes(Encoding.DER) for one in x509.load_pem_x509_certificates(pem))


# --- every command, every kind ---------------------------------------------------------------------------------


@pytest.fixture
def bad(street: Street) -> Iterator[Path]:
    """Where the bad file stands, beside the good ones."""
    path = street.directory / "bad"
    yield path
    path.unlink(missing_ok=True)


def refused(street: Street, capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Runs a command that must be refused; returns its one line, once nothing was found to have changed."""
    before = street.snapshot()
    capsys.readouterr()
    ended = p2pnode(*arguments)
    printed = capsys.readouterr()
    assert ended.code == 1, (printed, arguments)
    assert printed.out == ""
    assert printed.err.startswith("p2pnode: ")
    assert printed.err.count("\n") == 1
    assert street.snapshot() == before
    return printed.err


def write(path: Path, made: Record | bytes) -> None:
    path.write_bytes(made if isinstance(made, bytes) else encode(made))


def with_statement(street: Street, bad: Path) -> tuple[str | Path, ...]:
    output = ("--output", street.directory / "new.plan")
    return ("recover", "plan", bad, *street.statements[1:], *street.config(0), *output)


def with_plan_to_join(street: Street, bad: Path) -> tuple[str | Path, ...]:
    return ("recover", "join", bad, *street.config(3), "--output", street.directory / "new.join", "--yes")


def with_plan_to_apply(street: Street, bad: Path) -> tuple[str | Path, ...]:
    return ("recover", "apply", bad, *street.joins, *street.config(3), "--yes", "--accept-loss")


def with_join(street: Street, bad: Path) -> tuple[str | Path, ...]:
    return ("recover", "apply", street.plan, bad, *street.joins[1:], *street.config(3), "--yes", "--accept-loss")


Command = Callable[[Street, Path], tuple[str | Path, ...]]
COMMANDS: dict[str, tuple[Command, dict[str, tuple[Make, str]]]] = {
    "plan, a statement": (with_statement, STATEMENTS),
    "join, the plan": (with_plan_to_join, PLANS),
    "apply, the plan": (with_plan_to_apply, PLANS),
    "apply, an agreement": (with_join, JOINS),
}
CASES = [
    pytest.param(command, make, text, id=f"{name}: {kind}")
    for name, (command, kinds) in COMMANDS.items()
    for kind, (make, text) in kinds.items()
]


@pytest.mark.parametrize(("command", "make", "text"), CASES)
def test_a_bad_file_is_refused_with_its_field_and_nothing_is_written(
    street: Street,
    elsewhere: Street,
    bad: Path,
    capsys: pytest.CaptureFixture[str],
    command: Command,
    make: Make,
    text: str,
) -> None:
    write(bad, make(street, elsewhere))
    said = refused(street, capsys, *command(street, bad))
    assert text in said
    assert "bad" in said


@pytest.mark.parametrize("name", COMMANDS)
def test_a_symbolic_link_is_refused_by_name(
    street: Street, bad: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    good = {"plan, a statement": street.statements[0], "apply, an agreement": street.joins[0]}.get(name, street.plan)
    bad.symlink_to(good)
    assert f"{bad}: cannot be read: it is a symbolic link" in refused(street, capsys, *COMMANDS[name][0](street, bad))


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(HUGE_BYTES, f"is larger than {FILE_SIZE_BYTES_MAX} bytes"), (FILE_SIZE_BYTES_MAX, "kind: expected")],
)
def test_a_large_file_is_refused_before_it_is_read(
    street: Street, bad: Path, capsys: pytest.CaptureFixture[str], name: str, size_bytes: int, text: str
) -> None:
    with bad.open("wb") as file:
        file.truncate(size_bytes)
    tracemalloc.start()
    try:
        said = refused(street, capsys, *COMMANDS[name][0](street, bad))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert text in said
    assert peak_bytes < FILE_SIZE_BYTES_MAX // 4


# --- where output goes -----------------------------------------------------------------------------------------


def outputs(street: Street, output: Path) -> dict[str, tuple[str | Path, ...]]:
    return {
        "export": ("recover", "export", *street.config(3), "--era", "2", "--output", output),
        "plan": ("recover", "plan", *street.statements, *street.config(0), "--output", output),
        "join": ("recover", "join", street.plan, *street.config(3), "--output", output, "--yes"),
    }


@pytest.mark.parametrize("command", ["export", "plan", "join"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "another kind", "key", "folder", "no folder"])
def test_an_output_that_cannot_be_is_refused_before_anything_is_done(
    street: Street, bad: Path, capsys: pytest.CaptureFixture[str], command: str, kind: str
) -> None:
    output, text = bad, "something else than a"
    match kind:
        case "link":
            bad.symlink_to(street.statements[0])
            text = "is a symbolic link"
        case "dangling link":
            bad.symlink_to(street.directory / "nothing")
            text = "is a symbolic link"
        case "another kind":
            write(bad, street.joins[0].read_bytes() if command != "join" else street.plan.read_bytes())
        case "key":
            output = street.homes[3].node_key
        case "folder":
            output = street.homes[3].directory
        case _:
            output, text = street.directory / "nowhere" / "file", "there is no folder"
    said = refused(street, capsys, *outputs(street, output)[command])
    assert f"--output {output}: " in said
    assert text in said


def test_an_earlier_file_of_the_same_kind_is_replaced(street: Street) -> None:
    street.run(*outputs(street, street.plan)["plan"][1:])
    street.run("join", street.plan, *street.config(0), "--output", street.joins[0], "--yes")
    assert not [*street.directory.glob("*.partial"), *street.directory.glob("*.new")]


# --- what stands in the options --------------------------------------------------------------------------------


def test_what_a_plan_is_told_of_absent_members_must_hold(
    street: Street, elsewhere: Street, bad: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ("recover", "plan", *street.statements[:3], *street.config(0), "--output", street.directory / "new.plan")
    right = authority(street.testnet)
    key_file, other = right[2:], authority(elsewhere.testnet)
    foreign = certificate_pem(Authority("elsewhere"))
    write(bad, foreign)
    ended = street.directory.parent / "ended.crt"
    second, issuer = timedelta(seconds=1), authority_of(street)
    begins = issuer.issuing.not_valid_before_utc
    ended.write_bytes(issuer.issue(FOREIGN.public_key, host="127.0.0.1", port=27_004, now=begins, validity=second))
    link = street.directory.parent / "link.crt"
    link.symlink_to(street.homes[3].certificate)
    for options, text in (
        (("--authority", street.homes[0].node_key, *key_file), "is not encrypted, as it must be"),
        ((*right[:2], *other[2:]), "the passphrase does not open it"),
        (("--authority", bad.with_name("root.key"), *key_file), "if it was taken away, bring it"),
        (other, "does not act for this chain's authority: in what the plan keeps of the chain its key is "),
        ((*right, "--replaced", f"node4={bad}"), "the authority did not sign the issuing authority"),
        ((*right, "--replaced", f"node4={link}"), "is a symbolic link"),
        ((*right, "--replaced", f"node4={ended}"), "its certificate ended on "),
        ((*right, "--replaced", f"node4={street.plan}"), "is not a certificate"),
        ((*right, "--replaced", f"node4={street.homes[3].certificate}"), "has the key of node4"),
        ((*right, "--replaced", f"node9={bad}"), "node9"),
    ):
        assert text in refused(street, capsys, *base, *options)


def certificate_pem(issuer: Authority) -> bytes:
    return issuer.issue(FOREIGN.public_key, host="127.0.0.1", port=27_004)


def test_steps_that_the_home_refuses_change_its_ledger_and_sign_state_in_nothing(
    street: Street, capsys: pytest.CaptureFixture[str]
) -> None:
    """LevelDB writes beside its data whenever it is opened; a step that needs no ledger opens none."""
    home = street.homes[0]
    home.process_id.touch()
    other = without_the_last(street, root_key_of(street))
    path = street.directory / "three.plan"
    write(path, other)
    join = ("recover", "join", path, *street.config(0), "--output", street.directory / "no", "--yes")
    assert "agreed to another plan of era 1" in refused(street, capsys, *join)
    assert "this node agreed to a plan" in refused(street, capsys, "recover", "release", *street.config(0))
    path.unlink()
