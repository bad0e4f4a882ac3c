"""`p2pnode testnet run` before any daemon starts: how many hours, and what the meters are told."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from contracts.transactions import SetLeaving
from ledger.ledger import Ledger
from node.cli.main import app
from node.errors import TestnetError
from node.home.configuration import load_configuration
from node.home.genesis_file import load_genesis
from node.testnet.folder import Testnet
from node.testnet.init import TestnetPlan, initialise_testnet
from node.testnet.run import homes_that_left, prepare_run
from node.testnet.summary import CommitLatencies, RunSummary, figures_from_ledgers
from tests.support.ledger import ChainBuilder
from tests.support.testnet import community_of


@pytest.fixture
def testnet(tmp_path: Path) -> Testnet:
    return initialise_testnet(tmp_path / "testnet", TestnetPlan(nodes=6))[0]


def told(testnet: Testnet) -> list[int | None]:
    meters = [load_configuration(testnet.home(node).configuration).meter for node in testnet.nodes]
    return [None if meter is None else meter.hours for meter in meters]


def make_first_ledger(testnet: Testnet) -> None:
    home = testnet.home(testnet.nodes[0])
    Ledger.create(home.ledger, load_genesis(home)).close()


def test_every_meter_is_told_the_hours_in_its_own_file(testnet: Testnet) -> None:
    energy = prepare_run(testnet, 48)
    assert (energy.hours, energy.tradable_wh) == (48, 11_894)
    assert told(testnet) == [48] * 5 + [None]


def test_all_hours_are_the_default(testnet: Testnet) -> None:
    assert prepare_run(testnet, None).tradable_wh == 349_134
    assert told(testnet) == [1_344] * 5 + [None]


def test_only_the_hours_change_in_a_configuration(testnet: Testnet) -> None:
    path = testnet.home(testnet.nodes[0]).configuration
    before = path.read_text(encoding="utf-8").splitlines()
    prepare_run(testnet, 24)
    after = path.read_text(encoding="utf-8").splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [("hours = 0", "hours = 24")]


@pytest.mark.parametrize("hours", [0, 1_345])
def test_more_hours_than_there_are_are_refused(testnet: Testnet, hours: int) -> None:
    with pytest.raises(TestnetError, match=r"households\.csv has 1,344"):
        prepare_run(testnet, hours)
    assert told(testnet) == [0] * 5 + [None]


def test_a_chain_does_not_go_back(testnet: Testnet) -> None:
    prepare_run(testnet, 48)
    prepare_run(testnet, 24)  # nothing was run yet
    make_first_ledger(testnet)
    with pytest.raises(TestnetError, match="run over 24 hours and cannot go back to 12"):
        prepare_run(testnet, 12)
    assert prepare_run(testnet, 24).hours == 24
    assert prepare_run(testnet, 48).hours == 48


def test_a_testnet_for_containers_is_not_run_here(tmp_path: Path) -> None:
    testnet, _ = initialise_testnet(tmp_path / "t", TestnetPlan(layout="containers"))
    with pytest.raises(TestnetError, match="made for containers"):
        prepare_run(testnet, 24)


@pytest.mark.parametrize("before", ["nothing", "a folder", "a link", "a testnet"])
def test_a_run_of_too_many_hours_is_refused_before_anything_is_made(tmp_path: Path, before: str) -> None:
    directory = tmp_path / "new" / "testnet"
    if before != "nothing":
        directory.parent.mkdir()
    if before == "a folder":
        directory.mkdir()
    elif before == "a link":
        (tmp_path / "elsewhere").mkdir()
        directory.symlink_to(tmp_path / "elsewhere")
    elif before == "a testnet":
        initialise_testnet(directory, TestnetPlan())
    found = sorted(tmp_path.rglob("*"))
    ended = CliRunner().invoke(app, ["testnet", "run", "--dir", str(directory), "--hours", "99999"])
    assert isinstance(ended.exception, TestnetError)
    assert str(ended.exception) == "99,999 hours asked for, but households.csv has 1,344"
    assert sorted(tmp_path.rglob("*")) == found


# --- a home that left ------------------------------------------------------------------------------------------


def decide(testnet: Testnet, number: int, *, leaver: int, blocks: int) -> None:
    """Fills the ledger of a node with blocks; the first one lets another one's home leave."""
    chain = ChainBuilder.create(testnet.home(testnet.nodes[number]).ledger, community_of(testnet))
    chain.append([chain.transaction(leaver, SetLeaving(leaving=True))])
    for _ in range(blocks - 1):
        chain.append()
    chain.ledger.close()


def test_who_left_is_known_from_the_longest_chain_that_can_be_read(testnet: Testnet) -> None:
    assert homes_that_left(testnet) == frozenset()
    make_first_ledger(testnet)
    assert homes_that_left(testnet) == frozenset()
    decide(testnet, 1, leaver=5, blocks=2)
    behind, damaged = (testnet.home(testnet.nodes[number]) for number in (2, 3))
    for home in (behind, damaged):
        Ledger.create(home.ledger, load_genesis(home)).close()
    for file in damaged.ledger.rglob("CURRENT"):
        file.write_bytes(b"nothing")
    assert homes_that_left(testnet) == {"node6"}


def test_figures_are_those_of_the_members(testnet: Testnet) -> None:
    """One home left, and stopped where it was."""
    members = testnet.nodes[:5]
    for number, _ in enumerate(testnet.nodes):
        decide(testnet, number, leaver=5, blocks=3 if number < len(members) else 1)
    chain, nodes = figures_from_ledgers(testnet, members)
    assert (chain.height, list(nodes)) == (3, [node.name for node in members])
    energy = prepare_run(testnet, None)
    for left, problems in ((("node6",), 0), ((), 2)):
        summary = RunSummary(
            energy=energy,
            chain=chain,
            nodes=nodes,
            left=left,
            latencies=CommitLatencies(p50_ms=None, p95_ms=None),
            wall_s=1.0,
            continued=False,
        )
        assert len(summary.problems) == problems, "of one that left, later readings are missing"
        assert summary.as_json()["left"] == list(left)
