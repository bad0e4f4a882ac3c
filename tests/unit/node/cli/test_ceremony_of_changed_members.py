"""A ceremony of a chain whose members have changed: five homes, of which the fifth left before the others stopped."""

import io
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.events import fresh_sign_state
from consensus.identifiers import Height
from contracts.transactions import SetLeaving
from ledger.ledger import Ledger
from ledger.trusted_sets import SetChange
from node.cli import ceremony_home
from node.cli.main import main
from node.home.era_files import PlanFile, StatementFile, begun_eras, read_record
from node.home.genesis_file import load_genesis
from node.home.sign_state import SignStateFile
from node.testnet.folder import Testnet
from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.ceremony_commands import authority
from tests.support.changing_members import certify_by
from tests.support.ledger import ChainBuilder
from tests.support.testnet import community_of, write_readings

HEIGHT = 6
STAYING = range(4)


def p2pnode(*arguments: str | Path) -> str:
    """Runs `p2pnode recover`; returns what it refused with, empty if it did what it was asked."""
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(io.StringIO()) as errors:
        patch.setattr(sys, "argv", ["p2pnode", "recover", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert bool(ended.value.code) == bool(errors.getvalue()), errors.getvalue()
    return errors.getvalue()


class Street:
    """The stopped homes of those who stay, and the files that they wrote."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        testnet = Testnet.open(directory / "testnet")
        self.homes = [testnet.home(node) for node in testnet.nodes]
        self.statements = [directory / f"{number}.statement" for number in STAYING]
        self.plan = directory / "era1.plan"
        self.joins = [directory / f"{number}.join" for number in STAYING]

    def config(self, number: int) -> tuple[str, Path]:
        return "--config", self.homes[number].configuration

    def make_plan(self, *options: str | Path) -> str:
        return p2pnode("plan", *self.statements, *self.config(0), "--output", self.plan, *options)

    def join(self, number: int) -> str:
        return p2pnode("join", self.plan, *self.config(number), "--output", self.joins[number], "--yes")

    def bring(self, number: int, *changes: SetChange) -> None:
        """Puts other changes into a home's file; its statement stays as it was signed."""
        path = self.statements[number]
        file = read_record(path, StatementFile)
        path.write_bytes(encode(replace(file, changes=tuple(map(encode, changes)))))

    @property
    def change(self) -> SetChange:
        """Of the members, by block 1: the fifth left."""
        (encoded,) = read_record(self.statements[0], StatementFile).changes
        return decode(encoded, SetChange)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The street after the export, of which each test has a copy."""
    directory = tmp_path_factory.mktemp("stopped")
    readings = write_readings(directory / "readings.csv", households=5, hours=1)
    initialise_testnet(directory / "testnet", TestnetPlan(readings=readings.path))
    shutil.copytree(directory / "testnet", directory / "before" / "testnet")
    write_ledgers(directory, STAYING, height=HEIGHT, leaves=True)
    export_all(Street(directory), STAYING)
    return directory


def write_ledgers(directory: Path, numbers: range, *, height: int, leaves: bool) -> None:
    """One chain at these homes; all signed what they decided, and nothing since."""
    testnet = Testnet.open(directory / "testnet")
    homes = [testnet.home(testnet.nodes[number]) for number in numbers]
    community = community_of(testnet)
    chain = ChainBuilder.create(homes[0].ledger, community)
    keys = {key.public_key: key for key in community.node_keys}
    while chain.ledger.height < height:
        is_first = leaves and chain.ledger.height == 0
        block = chain.build([chain.transaction(4, SetLeaving(leaving=True))] if is_first else [])
        members = chain.ledger.membership_at(block.header.height)
        signers = [keys[key] for _, key in members.members[: members.quorum]]
        chain.ledger.append(block, certify_by(chain.ledger, block, signers))
    chain.ledger.close()
    for home in homes:
        if home is not homes[0]:
            shutil.copytree(homes[0].ledger, home.ledger)
        home.sign_state.unlink()
        SignStateFile.create(home.sign_state, encode(fresh_sign_state(Height(height + 1))))


def export_all(street: Street, numbers: range) -> None:
    street.statements = [street.directory / f"{number}.statement" for number in numbers]
    street.joins = [street.directory / f"{number}.join" for number in numbers]
    for number, output in enumerate(street.statements):
        assert p2pnode("export", *street.config(number), "--output", output) == ""


@pytest.fixture
def street(tmp_path: Path, stopped: Path) -> Street:
    shutil.copytree(stopped, tmp_path / "street")
    return Street(tmp_path / "street")


def test_those_who_stayed_begin_an_era_without_asking_the_one_that_left(street: Street) -> None:
    assert street.make_plan() == ""
    plan = read_record(street.plan, PlanFile).plans[-1].plan
    assert (plan.base, len(plan.quorums), len(plan.members)) == (HEIGHT, 1, len(STAYING))
    assert plan.is_everybody_there
    assert [street.join(number) for number in STAYING] == [""] * len(STAYING)
    for number in STAYING:
        assert p2pnode("apply", street.plan, *street.joins, *street.config(number), "--yes") == ""
    home = street.homes[0]
    ledger = Ledger.open(home.ledger, load_genesis(home), begun=begun_eras(home))
    assert ledger.memberships().undecided.members == plan.members
    ledger.close()


def test_an_era_that_follows_brings_the_changes_before_the_first_one(street: Street) -> None:
    """The plan of the first era has them: whoever checks the second one needs no home's ledger."""
    assert street.make_plan() == ""
    assert [street.join(number) for number in STAYING] == [""] * len(STAYING)
    for number in STAYING:
        output = ("--output", street.statements[number])
        assert p2pnode("export", *street.config(number), *output, "--era", "2") == ""
    change = street.change
    for brings_again in (True, False):
        for number in STAYING:
            street.bring(number, *([change] if brings_again else []))
        assert street.make_plan() == ""
        first, second = read_record(street.plan, PlanFile).plans
        assert (len(first.changes), len(second.changes)) == (1, 0)
    assert street.join(0) == ""


def test_changes_that_one_home_brings_serve_all(street: Street) -> None:
    whole = street.change
    for number in STAYING[1:]:
        street.bring(number)
    assert street.make_plan() == ""
    street.plan.unlink()
    street.bring(0)
    street.bring(2, whole, whole)
    assert street.make_plan() == ""


def test_the_set_of_before_makes_no_plan(street: Street) -> None:
    """All files leave the change out, as where four of five who left since make a plan among themselves."""
    for number in STAYING:
        street.bring(number)
    assert "statement.decided: expected the newest decided blocks" in street.make_plan()
    assert not street.plan.exists()


def forged(change: SetChange) -> SetChange:
    return replace(change, certificate=replace(change.certificate, endorsements=()))


LIES: dict[str, tuple[Callable[[SetChange], SetChange], str]] = {
    "no quorum": (forged, "the certificate does not decide block 1"),
    "other members": (lambda one: replace(one, members=one.members[:3]), "block 1 commits to other members"),
    "another chain": (
        lambda one: replace(one, header=replace(one.header, chain=bytes(32))),
        "block 1 belongs to chain 0000",
    ),
    "an era that nobody knows": (
        lambda one: replace(one, header=replace(one.header, era=1)),
        "block 1 is of era 1, whose plan is not among the files",
    ),
}


@pytest.mark.parametrize(("lie", "words"), LIES.values(), ids=LIES)
def test_a_liars_own_change_is_named(street: Street, lie: Callable[[SetChange], SetChange], words: str) -> None:
    street.bring(0, lie(street.change))
    told = street.make_plan()
    assert f"{street.statements[0]}: changes[0]: {words}" in told
    assert "leave the file out" in told
    file = read_record(street.statements[0], StatementFile)
    street.statements[0].write_bytes(encode(replace(file, changes=(b"",))))
    assert "changes[0]: is no change of the members" in street.make_plan()


def test_a_plan_whose_maker_left_the_change_out_is_refused_at_each_home(street: Street) -> None:
    assert street.make_plan() == ""
    (signed,) = read_record(street.plan, PlanFile).plans
    street.plan.write_bytes(encode(PlanFile(plans=(replace(signed, changes=()),))))
    for number in STAYING:
        assert "plan.statements[0].decided" in street.join(number)


def test_a_past_sets_own_chain_is_no_plan_for_a_home_that_knows_of_the_change(street: Street) -> None:
    """All five keys of before certify another history in which nobody left; its base is above this home's ledger."""
    before = Street(street.directory / "before")
    everybody = range(5)
    write_ledgers(before.directory, everybody, height=HEIGHT + 2, leaves=False)
    export_all(before, everybody)
    assert before.make_plan() == ""
    assert [before.join(number) for number in everybody] == [""] * len(everybody)
    state = street.homes[0].sign_state.read_bytes()
    told = p2pnode("apply", before.plan, *before.joins, *street.config(0), "--yes")
    assert f"plan.changes: this home's ledger has other members at height {HEIGHT + 2}" in told
    assert street.homes[0].sign_state.read_bytes() == state


def test_the_authority_speaks_for_who_is_absent_of_the_changed_set_alone(street: Street) -> None:
    street.statements.pop()
    assert "without a statement: node4. --authority" in street.make_plan()
    gone = ("--gone", "node5", *authority(street.directory / "testnet"))
    assert "departures: node5 is no member any more" in street.make_plan(*gone)
    address, _ = street.change.members[3]
    for name in ("node4", address.hex()):  # who joined since genesis has no name in it
        assert street.make_plan("--gone", name, *authority(street.directory / "testnet")) == ""
        assert len(read_record(street.plan, PlanFile).plans[-1].plan.members) == len(STAYING) - 1
    assert "node9: no member has this name" in street.make_plan("--gone", "node9")


def test_a_history_that_no_file_holds_is_told_before_the_home_gives_anything_up(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ceremony_home, "CHANGES_MAX", 0)
    state = street.homes[0].sign_state.read_bytes()
    told = p2pnode("export", *street.config(0), "--output", street.statements[0])
    assert "the members changed 1 times in era 0, and a statement says at most 0 of them" in told
    assert street.homes[0].sign_state.read_bytes() == state
