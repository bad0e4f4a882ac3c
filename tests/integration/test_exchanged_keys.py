"""Homes exchange keys while four trade: one its node key, another its meter, by the commands; one is killed."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from consensus.cryptography import SigningKey
from node.admission.identity import load_key
from node.testnet.folder import AUTHORITY_KEY_FILE_NAME, AUTHORITY_NAME
from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.ceremony_commands import config, height, newest_trade, running
from tests.support.ports import free_ports
from tests.support.testnet import (
    Node,
    Street,
    background,
    cleaned_up,
    daemon,
    p2pnode,
    refused,
    succeeded,
    wait_until,
)
from tests.support.testnet import write_readings as write_rows

pytestmark = pytest.mark.alone("four daemons trade all the time")


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    """Four households that have more hours to trade than the test takes."""
    readings = write_rows(tmp_path / "readings.csv", households=4, hours=4_000)
    directory = tmp_path / "testnet"
    initialise_testnet(directory, TestnetPlan(readings=readings.path, base_port=free_ports(8)))
    street = Street(directory)
    for node in street.nodes:
        node.trade_hour_by_hour()
    with cleaned_up(directory):
        yield street


def certified(street: Street, node: Node) -> Path:
    """What the authority does with a home's request."""
    output = street.directory / f"{node.name}-{height(street.node(1))}.crt"
    key_file = street.directory / AUTHORITY_KEY_FILE_NAME
    authority, request = street.directory / AUTHORITY_NAME, node.home.next.request
    p2pnode(street.directory, "ca", "issue", authority, request, "--output", output, "--key-file", key_file, "--yes")
    return output


def decide_block(street: Street) -> None:
    """Beside what the homes sign themselves, whose nonces lie below."""
    first = street.node(1)
    raw = first.transfer(street.node(4), 1, nonce=first.next_nonce() + 1_000)
    assert first.submit(raw, wait_s=60).status == 200


def registered(at: Node, of: Node) -> dict[str, str]:
    """What a node says that the chain has of a member."""
    document = at.request(f"/v1/state/member:{of.address.hex()}").document
    fields: dict[str, str] = document["record"]["fields"]
    return fields


def key_is(at: Node, of: Node, name: str, key: SigningKey) -> None:
    wait_until(lambda: registered(at, of)[name] == key.public_key.hex(), f"{at.name} has the new {name}")


def test_one_home_exchanges_its_node_key_and_another_its_meter_while_all_trade(street: Street) -> None:
    rotating, measuring, directory = street.node(3), street.node(2), street.directory
    with running(*street.nodes):
        decide_block(street)
        said = p2pnode(directory, "member", "rotate", *config(rotating), "--yes").output
        assert "bring it to the authority" in said.replace("\n", " ")
        assert rotating.home.next.node_key.stat().st_mode & 0o777 == 0o600
        new = load_key(rotating.home.next.node_key)
        asked = ("member", "rotate", *config(rotating), "--certificate", certified(street, rotating))
        with background(directory, *asked) as command:
            wait_until(
                lambda: registered(street.node(1), rotating)["node_key"] == new.public_key.hex(), "the new key"
            )
            rotating.end_by(signal.SIGKILL)
            with daemon(rotating):
                assert "acts and votes by its new node key" in succeeded(command.wait()).output
                assert load_key(rotating.home.node_key).public_key == new.public_key
                assert not rotating.home.next.directory.exists()
                meter = replace_meter(street, measuring)
                for node in street.nodes:
                    key_is(node, rotating, "node_key", new)
                    key_is(node, measuring, "meter_key", meter)
                exchanged = height(measuring)
                wait_until(lambda: newest_trade(rotating)[1] > exchanged, "trades under the new keys")
                trade, at = newest_trade(rotating)
                for node in street.nodes:
                    wait_until(lambda node=node: height(node) >= at, "all have decided it")
                blocks = [node.request(f"/v1/blocks/{at}").document for node in street.nodes]
                assert len({block["header"]["state_root"] for block in blocks}) == 1
                receipt = directory / "receipt.json"
                p2pnode(directory, "receipt", "export", trade, *config(rotating), "--output", receipt)
                rotating.end_by(signal.SIGTERM)
    for node in street.nodes:
        assert "holds" in p2pnode(directory, "ledger", "verify", "--home", node.home.directory).output
    p2pnode(directory, "receipt", "verify", receipt, "--genesis", street.node(1).home.genesis)


def replace_meter(street: Street, node: Node) -> SigningKey:
    """By the commands; returns the new meter's key."""
    directory = street.directory
    p2pnode(directory, "member", "replace-meter", *config(node), "--yes")
    meter = load_key(node.home.next.meter_key)
    certificate = certified(street, node)
    p2pnode(directory, "member", "replace-meter", *config(node), "--certificate", certificate)
    assert load_key(node.home.meter_key).public_key == meter.public_key
    return meter


def test_what_is_begun_may_be_given_up_and_nothing_else_begins_meanwhile(street: Street) -> None:
    node, directory = street.node(4), street.directory
    before = load_key(node.home.node_key).public_key
    with running(*street.nodes):
        early = ("--certificate", node.home.certificate)
        assert "no key was made yet" in refused(directory, "member", "rotate", *config(node), *early)
        assert "no next key is there" in refused(directory, "member", "rotate", *config(node), "--discard")
        p2pnode(directory, "member", "rotate", *config(node), "--yes")
        assert "member rotate" in refused(directory, "member", "replace-meter", *config(node), "--yes")
        assert "not of the key" in refused(directory, "member", "rotate", *config(node), *early)
        p2pnode(directory, "member", "rotate", *config(node), "--discard")
        assert not node.home.next.directory.exists()
        assert load_key(node.home.node_key).public_key == before
