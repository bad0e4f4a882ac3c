"""A home joins a street where nobody acts by a key that genesis names, by the commands of docs/operations.md."""

import signal
from contextlib import ExitStack

from consensus.identifiers import PublicKey
from node.admission.identity import load_key
from node.admission.joining.files import read_street
from node.home.genesis_file import load_genesis
from node.testnet.folder import AUTHORITY_KEY_FILE_NAME, AUTHORITY_NAME
from tests.support.ceremony_commands import config, decide_blocks, height, members_at, running
from tests.support.new_homes import NewHome, ask_to_join, let_in
from tests.support.testnet import Node, Street, daemon, p2pnode, wait_until


def exchange_node_key(street: Street, node: Node) -> PublicKey:
    """By the commands; returns the new key once its node goes on with it."""
    directory, output = street.directory, street.directory / f"{node.name}-new.crt"
    p2pnode(directory, "member", "rotate", *config(node), "--yes")
    key = load_key(node.home.next.node_key).public_key
    asked = (node.home.next.request, "--output", output, "--key-file", directory / AUTHORITY_KEY_FILE_NAME, "--yes")
    p2pnode(directory, "ca", "issue", directory / AUTHORITY_NAME, *asked)
    p2pnode(directory, "member", "rotate", *config(node), "--certificate", output)
    wait_until(lambda: load_key(node.home.node_key).public_key == key, "the key is in its place")
    wait_until(lambda: node.status() is not None, "its node runs again")
    return key


def come_back(street: Street, away: Node) -> None:
    """A home was away while all others exchanged their keys: it knows nobody, says so, and finds them again."""
    with daemon(away):
        wait_until(lambda: away.status() is not None, "it runs")
        wait_until(lambda: "p2pnode member return" in str(away.request("/v1/why").document), "it is told the way")
        assert height(away) < height(street.node(1))
        away.end_by(signal.SIGTERM)
    file = street.directory / "back.street"
    p2pnode(street.directory, "join", "street", *config(street.node(1)), "--output", file)
    p2pnode(street.directory, "member", "return", file, *config(away), "--yes")
    assert away.home.checkpoint.exists()


def test_a_home_joins_when_every_founder_has_another_key(street: Street) -> None:
    *others, away = street.nodes
    with running(*others), ExitStack() as back:
        keys = {exchange_node_key(street, node) for node in others}
        come_back(street, away)
        back.enter_context(running(away))
        wait_until(lambda: height(away) >= height(others[0]), "it has what it missed")
        assert not away.home.checkpoint.exists()
        keys.add(exchange_node_key(street, away))
        street = Street(street.directory)  # its homes as they act now
        founders = street.nodes
        decide_blocks(street, 2)
        new = NewHome(street, "fifth")
        request, file = ask_to_join(street, new, who="The Fifths"), street.directory / "fifth.street"
        with daemon(new):
            p2pnode(street.directory, "join", "submit", request, *config(founders[0]))
            let_in(street, new, founders[:3])
            wait_until(lambda: all(members_at(node) == 5 for node in (*founders, new)), "five members")
            names = decide_blocks(street, 3)
            wait_until(lambda: new.request(f"/v1/transactions/{names[-1]}").status == 200, "it executes all")
            given = read_street(file).checkpoint
            assert {key for _, key in given.following} == keys
            assert not keys & {member.node_key for member in load_genesis(new.home).members}
            assert height(new) > given.height
            assert not new.home.checkpoint.exists()
            for neighbour in founders[1:3]:
                said = p2pnode(street.directory, "join", "check", file, *config(neighbour)).output
                assert "is of this home's chain" in said
    for node in (*founders, new):
        assert "holds" in p2pnode(street.directory, "ledger", "verify", "--home", node.home.directory).output
