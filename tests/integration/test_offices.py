"""Keys of offices change on a running street, by the commands of docs/authority.md; an old one is nobody's."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from consensus.cryptography import SigningKey
from consensus.identifiers import Height
from contracts.transactions import IssueTokens, sign_transaction
from contracts.units import MicroTokens
from node.admission.identity import load_key
from node.testnet.folder import GRID_KEY_NAME, ISSUER_KEY_NAME
from tests.support.ceremony_commands import config, running
from tests.support.long_chain import make_street
from tests.support.testnet import Node, Reply, Street, cleaned_up, p2pnode, refused


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    target = tmp_path / "testnet"
    make_street(target, nodes=4)
    with cleaned_up(target):
        yield Street(target)


def issue(street: Street, key: SigningKey, amount_micro: int) -> Reply:
    """Lets a key issue tokens to the first home."""
    node = street.node(2)
    raw = sign_transaction(
        key,
        chain=street.chain,
        nonce=int(node.account(key.address)["nonce"]) + 1,
        valid_until_height=Height(10**6),
        action=IssueTokens(recipient=street.node(1).address, amount_micro=MicroTokens(amount_micro)),
    )
    return node.submit(raw, wait_s=60)


def successor(street: Street, office: str, name: str) -> tuple[Path, Path, Path]:
    """Makes the next key of an office; returns it, its passphrase, and what it shows."""
    key, key_file = street.directory / f"{name}.key", street.directory / f"{name}.passphrase"
    genesis = street.node(1).home.genesis
    p2pnode(street.directory, "office", "key", key, "--office", office, "--genesis", genesis, "--key-file", key_file)
    return key, key_file, key.with_suffix(".successor")


def asking(node: Node) -> tuple[str | Path, ...]:
    return "--genesis", node.home.genesis, "--url", node.url


def test_the_issuers_key_is_replaced_by_its_owner(street: Street) -> None:
    first = load_key(street.directory / ISSUER_KEY_NAME)
    key, key_file, agreed = successor(street, "issuer", "issuer-2")
    assert (key.stat().st_mode & 0o777, b"ENCRYPTED" in key.read_bytes()) == (0o600, True)
    with running(*street.nodes):
        assert issue(street, first, 5).document["status"] == "executed"
        with_another = ("--key", street.directory / GRID_KEY_NAME, *asking(street.node(1)), "--yes")
        said = refused(street.directory, "office", "replace", agreed, *with_another)
        assert f"{GRID_KEY_NAME}: is not the present key of the issuer" in said
        owned = ("--key", street.directory / ISSUER_KEY_NAME, *asking(street.node(1)), "--yes")
        said = p2pnode(street.directory, "office", "replace", agreed, *owned).output
        assert "from the next block on the new key acts for the issuer" in said
        again = p2pnode(street.directory, "office", "replace", agreed, *owned).output
        assert "This key acts for the issuer since block" in again

        old = issue(street, first, 7)
        assert (old.status, old.document["reason"]) == (422, "other_key")
        assert f"{first.public_key.hex()} is not the key of {first.address.hex()}" in old.document["detail"]
        following = load_key(key, passphrase=key_file.read_bytes().strip())
        assert issue(street, following.of_member(first.address), 11).document["status"] == "executed"
        street.at_one_tip()
        shown = p2pnode(street.directory, "office", "show", *config(street.node(4))).output
        assert following.public_key.hex() in shown
        assert first.public_key.hex() not in shown
    p2pnode(street.directory, "ledger", "verify", "--home", street.node(1).home.directory)
    assert following.public_key.hex() in p2pnode(street.directory, "office", "show", *config(street.node(4))).output
