"""docs/authority.md: every command on the page is run here, in its order, as it stands there."""

import shutil
from pathlib import Path

import pytest

from consensus.identifiers import Address
from node.admission.authority import present
from node.admission.authority_folder import AuthorityFolder
from node.admission.chain import require_chain
from node.admission.endpoint import Endpoint
from node.admission.identity import load_chain, load_identity, load_key, load_root
from node.admission.register import State
from node.admission.request import make_request
from node.home.folder import Home
from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.pages import commands_of, run
from tests.support.testnet import write_readings

OLD_HOMES = ("node1", "node2", "node3")


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """Where the reader stands: homes of a street, two sticks."""
    readings = write_readings(tmp_path / "readings.csv", households=4, hours=1)
    testnet, _ = initialise_testnet(tmp_path / "testnet", TestnetPlan(readings=readings.path))
    street = tmp_path / "street"
    street.mkdir()
    for node in testnet.nodes:
        shutil.copytree(testnet.home(node).directory, street / node.name)
    for name in ("stick-1", "stick-2"):
        (street / name).mkdir()
    return street


def address_of_home(street: Path, name: str) -> Address:
    return load_key(street / name / "node.key").address


def test_the_page_is_run_from_top_to_bottom(street: Path) -> None:
    commands = commands_of("authority.md")
    assert len(commands) >= 20
    assert {command.split()[2] for command in commands if command.startswith("p2pnode ca ")} == {
        *("init", "issue", "list", "renew", "revoke", "crl"),
    }
    first, *others = commands
    run(street, first)
    for number, name in enumerate(OLD_HOMES, 11):
        home = Home(street / name)
        home.request.write_bytes(make_request(name, home.node_key, Endpoint(f"192.0.2.{number}", 7000)))
        home.certificate.unlink()
        run(street, f"p2pnode ca issue ca {name}/node.csr --key-file ca.passphrase")
    said = {command: run(street, command) for command in others}
    require_end(street, said)


def require_end(street: Path, said: dict[str, str]) -> None:
    assert not (street / "ca" / "root.key").exists()
    folder = AuthorityFolder(street / "ca")
    for name in OLD_HOMES:
        require_chain(load_chain(street / "renewed" / f"{name}.crt"), folder.root())
    states = {one.issued.serial: one for one in folder.register().entries(present())}
    valid = [one.issued.name for one in states.values() if one.state is State.VALID]
    assert valid == [*OLD_HOMES], "node4 is revoked, and so is what the earlier issuing keys signed"
    assert "node1" not in said["p2pnode ca list ca --expiring 0"]
    assert load_root(street / "node1" / "ca.crt") == AuthorityFolder(street / "ca-2").root()
    identity = load_identity(Home(street / "node1"))
    assert identity.address == address_of_home(street, "node1")
