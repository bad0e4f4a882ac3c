"""One street through all that becomes of one, by the commands of the pages, while its homes trade.

Four homes found it, each with keys of its own; two join, one moves, one exchanges its node key, one replaces a
dead meter, one leaves, one is revoked. No block is lost: every ledger holds, and receipts of before and after can be
checked with genesis alone.
"""

import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from consensus.identifiers import PublicKey
from node.admission.identity import load_key
from node.meter.readings_file import read_readings
from tests.integration.test_founding import found, node_of
from tests.integration.test_moved_homes import move
from tests.support.ceremony_commands import config, height, members_at, newest_trade, running
from tests.support.new_homes import show_identity
from tests.support.ports import free_port
from tests.support.testnet import Node, cleaned_up, p2pnode, wait_until, write_readings

pytestmark = pytest.mark.alone("six daemons trade all the time")

HOURS = 3_000
"""More than are traded while the test runs."""
PASSPHRASE = ("--key-file", "ca.passphrase")


class Community(NamedTuple):
    """Where everybody works."""

    directory: Path
    provider: Path
    founders: list[Node]

    def certify(self, request: Path) -> Path:
        """The authority issues a certificate for what a home brought."""
        brought = self.provider / f"{request.parent.parent.name}-{height(self.founders[0])}.csr"
        shutil.copyfile(request, brought)
        p2pnode(self.provider, "ca", "issue", "ca", brought, *PASSPHRASE, "--yes")
        return brought.with_suffix(".crt")


@pytest.fixture
def community(tmp_path: Path) -> Iterator[Community]:
    homes = [tmp_path / f"home{number}" for number in range(1, 5)]
    places = [*homes, tmp_path / "provider", tmp_path / "coordinator"]
    for place in places:
        place.mkdir()
    readings = write_readings(tmp_path / "readings.csv", households=4, hours=HOURS)
    founders = found(places, read_readings(readings.path))
    for node in founders:
        node.trade_hour_by_hour()
    with cleaned_up(tmp_path):
        yield Community(tmp_path, tmp_path / "provider", founders)


def are(members: int, *nodes: Node) -> None:
    wait_until(lambda: all(members_at(node) == members for node in nodes), f"{members} members")


def receipt_after(community: Community, above: int) -> Path:
    """Waits for a trade above a height, and exports its receipt."""
    first = community.founders[0]
    wait_until(lambda: newest_trade(first)[1] > above, "a trade")
    trade, _ = newest_trade(first)
    receipt = community.directory / f"{trade}.receipt"
    p2pnode(community.directory, "receipt", "export", trade, *config(first), "--output", receipt)
    return receipt


def join(community: Community, stack: ExitStack, name: str, sponsor: Node) -> Node:
    """A household that was no part of the founding joins by the steps of docs/operations.md."""
    place, first = community.directory / name, community.founders[0]
    place.mkdir()
    ports = (free_port(), free_port())
    where = ("--host", "127.0.0.1", "--listen", "127.0.0.1", "--port", str(ports[0]), "--api-port", str(ports[1]))
    p2pnode(place, "init", "home", "--name", name, *where)
    certificate = community.certify(place / "home" / "node.csr")
    p2pnode(place, "join", "street", *config(first), "--output", "street.json")
    (place / "who.txt").write_text(f"The household of {name}", encoding="utf-8")
    (place / "contract.txt").write_text("the main contract", encoding="utf-8")
    files = ("--street", "street.json", "--certificate", certificate, "--identity", "who.txt")
    p2pnode(place, "join", "request", "home", *files, "--terms", "contract.txt", "--yes")
    new = node_of(place, name, ports)
    stack.enter_context(running(new))
    members = members_at(first)
    p2pnode(place, "join", "submit", new.home.join_request, *config(sponsor))
    assert "all have it" in show_identity(place, new, by=sponsor)
    for verifier in community.founders[:3]:
        p2pnode(place, "verify-queue", "accept", new.address.hex()[:12], *config(verifier), "--yes")
    are(members + 1, *community.founders, new)
    return new


def exchange(community: Community, node: Node, command: str) -> PublicKey:
    """A home exchanges its node key or its meter; returns the new key."""
    place = node.home.directory.parent
    p2pnode(place, "member", command, *config(node), "--yes")
    key = load_key(node.home.next.node_key if command == "rotate" else node.home.next.meter_key).public_key
    p2pnode(place, "member", command, *config(node), "--certificate", community.certify(node.home.next.request))
    return key


def test_a_street_changes_while_it_trades_and_nothing_is_lost(community: Community) -> None:
    founders = community.founders
    first, moving, rotating, measuring = founders
    with ExitStack() as stack:
        for node in founders:
            stack.enter_context(running(node))
        before = receipt_after(community, above=0)

        fifth = join(community, stack, "fifth", sponsor=first)
        sixth = join(community, stack, "sixth", sponsor=moving)
        everybody = [*founders, fifth, sixth]

        moving.end_by(signal.SIGTERM)
        move(moving)
        stack.enter_context(running(moving))
        wait_until(lambda: moving.present_status()["peers_connected"] == 5, "found where it is now")

        key = exchange(community, rotating, "rotate")
        assert load_key(rotating.home.node_key).public_key == key
        meter = exchange(community, measuring, "replace-meter")
        assert load_key(measuring.home.meter_key).public_key == meter
        amid = receipt_after(community, above=height(first))

        p2pnode(community.directory, "member", "leave", *config(sixth), "--yes")
        are(5, *founders, fifth)
        revoke = ("ca", "revoke", "ca", "fifth", "--reason", "key-compromise", "--yes")
        p2pnode(community.provider, *revoke, "--genesis", first.home.genesis, *PASSPHRASE)
        (statement,) = (community.provider / "ca").glob("*.revocation")
        p2pnode(community.directory, "member", "revoke", statement, *config(moving), "--yes")
        are(4, *founders)

        after = receipt_after(community, above=height(first))
        at = newest_trade(first)[1]
        for node in everybody:
            wait_until(lambda node=node: height(node) >= at, "who left and who was removed hear what is decided")
        blocks = [node.request(f"/v1/blocks/{at}").document for node in everybody]
        assert len({block["header"]["state_root"] for block in blocks}) == 1
        assert all(node.present_status()["conserved"] for node in everybody)
    for node in everybody:
        verified = p2pnode(community.directory, "ledger", "verify", "--home", node.home.directory)
        assert "holds" in verified.output
    genesis = community.directory / "genesis.json"
    shutil.copyfile(sixth.home.genesis, genesis)
    for receipt in (before, amid, after):
        p2pnode(community.directory, "receipt", "verify", receipt, "--genesis", genesis)
