"""A ceremony of homes of which one exchanged its node key: stopped before, while and after both keys count."""

import io
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.events import fresh_sign_state
from consensus.identifiers import Height, PublicKey
from contracts.transactions import KeyUse
from ledger.ledger import Ledger
from node.admission.identity import load_key
from node.admission.next_keys import action_of, prepare, take, take_certificate
from node.cli.main import main
from node.home.era_files import PlanFile, begun_eras, read_record
from node.home.genesis_file import load_genesis
from node.home.sign_state import SignStateFile
from node.testnet.folder import AUTHORITY_KEY_FILE_NAME, AUTHORITY_NAME, Testnet
from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.changing_members import certify_by
from tests.support.ledger import ChainBuilder
from tests.support.testnet import community_of, write_readings

WHO = 2
"""Home 3 exchanges its key: block 1 carries it out, and height 3 is the first one of the new key."""


def p2pnode(*arguments: str | Path) -> str:
    """Runs a command; returns what it refused with, empty if it did what it was asked."""
    errors = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stderr(errors), redirect_stdout(io.StringIO()):
        patch.setattr(sys, "argv", ["p2pnode", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert bool(ended.value.code) == bool(errors.getvalue()), errors.getvalue()
    return errors.getvalue()


class Street:
    """Four stopped homes of one chain."""

    def __init__(self, directory: Path, height: int) -> None:
        readings = write_readings(directory / "readings.csv", households=4, hours=1)
        initialise_testnet(directory / "testnet", TestnetPlan(readings=readings.path))
        self.directory, testnet = directory, Testnet.open(directory / "testnet")
        self.homes = [testnet.home(node) for node in testnet.nodes]
        self.community = community_of(testnet)
        self.new = self._next_key()
        self._decide(height)

    def _next_key(self) -> SigningKey:
        home, testnet = self.homes[WHO], self.directory / "testnet"
        capacity_w = self.community.genesis.members[WHO].capacity_w
        prepare(home, KeyUse.NODE, name="home3", capacity_w=capacity_w)
        key_file, output = testnet / AUTHORITY_KEY_FILE_NAME, self.directory / "new.crt"
        issue = (testnet / AUTHORITY_NAME, home.next.request, "--output", output, "--key-file", key_file, "--yes")
        assert p2pnode("ca", "issue", *issue) == ""
        take_certificate(home, KeyUse.NODE, output.read_bytes())
        return load_key(home.next.node_key).of_member(self.community.addresses[WHO])

    def _decide(self, height: int) -> None:
        chain = ChainBuilder.create(self.homes[0].ledger, self.community)
        keys = {key.public_key: key for key in (*self.community.node_keys, self.new)}
        rotation = action_of(self.homes[WHO], KeyUse.NODE, self.community.chain, self.community.addresses[WHO])
        while chain.ledger.height < height:
            block = chain.build([chain.transaction(WHO, rotation)] if chain.ledger.height == 0 else [])
            members = chain.ledger.membership_at(block.header.height)
            signers = [keys[key] for _, key in members.members[: members.quorum]]
            chain.ledger.append(block, certify_by(chain.ledger, block, signers))
        chain.ledger.close()
        for home in self.homes:
            if home is not self.homes[0]:
                shutil.copytree(self.homes[0].ledger, home.ledger)
            home.sign_state.unlink()
            SignStateFile.create(home.sign_state, encode(fresh_sign_state(Height(height + 1))))

    def config(self, number: int) -> tuple[str, Path]:
        return "--config", self.homes[number].configuration

    def key_of(self, number: int) -> PublicKey:
        return self.community.node_keys[number].public_key


@pytest.mark.parametrize(
    ("height", "is_taken"), [(1, False), (2, False), (2, True), (5, True)], ids=["both", "next", "taken", "later"]
)
def test_an_era_begins_whichever_of_its_keys_counts(tmp_path: Path, height: int, is_taken: bool) -> None:
    """At height 2 the old key counts, from 3 on the new one, in its own folder still or in the old one's place."""
    street = Street(tmp_path, height)
    if is_taken:
        take(street.homes[WHO])
    numbers = range(4)
    statements = [tmp_path / f"{number}.statement" for number in numbers]
    joins, plan = [tmp_path / f"{number}.join" for number in numbers], tmp_path / "era1.plan"
    for number in numbers:
        assert p2pnode("recover", "export", *street.config(number), "--output", statements[number]) == ""
    assert p2pnode("recover", "plan", *statements, *street.config(0), "--output", plan) == ""
    made = read_record(plan, PlanFile).plans[-1].plan
    keys = {name.author: name.node_key for name in made.statements}
    is_old = height + 1 < 3
    assert keys[street.new.address] == (street.key_of(WHO) if is_old else street.new.public_key)
    for number in numbers:
        assert p2pnode("recover", "join", plan, *street.config(number), "--output", joins[number], "--yes") == ""
    for number in numbers:
        assert p2pnode("recover", "apply", plan, *joins, *street.config(number), "--yes") == ""
    home = street.homes[WHO]
    ledger = Ledger.open(home.ledger, load_genesis(home), begun=begun_eras(home))
    assert ledger.memberships().undecided.members == made.members
    ledger.close()
