"""`p2pnode member return` at a stopped home: what it writes down, what it refuses."""

import sys
from pathlib import Path

import pytest

from node.admission.identity import load_chain
from node.admission.joining.files import Street, write_street
from node.cli.main import main
from node.home.checkpoint_file import load_checkpoint
from node.home.configuration import PeerEntry, load_configuration
from node.home.folder import Home
from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.checkpoints import proof_of_tip
from tests.support.contracts import Community
from tests.support.ledger import ChainBuilder
from tests.support.testnet import community_of, write_readings


class Away:
    """A home without blocks, and a neighbour's chain of three."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(exist_ok=True)
        readings = write_readings(directory / "readings.csv", households=4, hours=1)
        testnet, _ = initialise_testnet(directory / "testnet", TestnetPlan(readings=readings.path))
        self.home: Home = testnet.home(testnet.nodes[3])
        self.community: Community = community_of(testnet)
        self.file = directory / "my-street.json"
        self.street = self.write(self.chain(directory / "neighbour", blocks=3))

    def chain(self, directory: Path, *, blocks: int, slot: int = 1) -> ChainBuilder:
        builder = ChainBuilder.create(directory, self.community)
        for _ in range(blocks):
            builder.append([], slot=slot)
        return builder

    def write(self, chain: ChainBuilder) -> Street:
        """Writes the file that the neighbour with this chain gives; closes the chain."""
        place = PeerEntry(address=self.community.addresses[0].hex(), host="192.0.2.1", port=7_001)
        root = load_chain(self.home.authority_certificate)[0]
        street = Street(genesis=self.community.genesis, root=root, proof=proof_of_tip(chain.ledger), peers=(place,))
        chain.ledger.close()
        write_street(self.file, street)
        return street


@pytest.fixture
def away(tmp_path: Path) -> Away:
    return Away(tmp_path)


def returned(away: Away, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Runs the command; returns what it says."""
    options = ("member", "return", away.file, "--config", away.home.configuration, "--yes")
    monkeypatch.setattr(sys, "argv", ["p2pnode", *map(str, options)])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert bool(ended.value.code) is bool(printed.err)
    return " ".join((printed.out + printed.err).split())


def test_a_home_learns_who_the_members_are_and_where(
    away: Away, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    away.chain(away.home.ledger, blocks=2).ledger.close()
    said = returned(away, monkeypatch, capsys)
    assert "knows the 4 members after block 3, and where 1 of them are: start its node" in said
    assert load_checkpoint(away.home.checkpoint, away.community.chain) == away.street.checkpoint
    assert load_configuration(away.home.configuration).p2p.peers == away.street.peers


def test_what_is_of_no_use_changes_nothing(
    away: Away, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = away.home.configuration.read_bytes()

    def refused() -> str:
        said = returned(away, monkeypatch, capsys)
        assert (away.home.configuration.read_bytes(), away.home.checkpoint.exists()) == (before, False)
        return said

    write_street(away.file, Away(tmp_path / "elsewhere").street)
    assert "is of chain" in refused()
    away.write(away.chain(away.file.with_name("later"), blocks=3))
    away.chain(away.home.ledger, blocks=3).ledger.close()
    assert "this home has block 3 of" in refused()
    away.write(away.chain(away.file.with_name("fork"), blocks=3, slot=2))
    assert "has another block 3 than this home: it is of another chain" in refused()
