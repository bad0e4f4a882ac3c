"""Homes that were no part of the founding of a testnet, from their keys to their place among the members, by the
commands of docs/operations.md.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from consensus.identifiers import Digest
from node.admission.identity import load_key
from node.home.folder import Home
from node.testnet.folder import AUTHORITY_KEY_FILE_NAME, AUTHORITY_NAME
from tests.support.ceremony_commands import config, height
from tests.support.ports import free_ports
from tests.support.testnet import Node, Street, p2pnode, wait_until


class NewHome(Node):
    """A home with keys of its own, made beside those of a testnet; of a household that may have had another one."""

    def __init__(self, street: Street, name: str, *, household: str | None = None) -> None:
        self.home = Home(street.directory / name)  # type: ignore[misc]
        self.name = name  # type: ignore[misc]
        port = free_ports(2)
        self.url = f"http://127.0.0.1:{port + 1}"  # type: ignore[misc]
        made = ("--name", household or name, "--host", "127.0.0.1", "--listen", "127.0.0.1", "--port", str(port))
        p2pnode(street.directory, "init", self.home.directory, *made, "--api-port", str(port + 1))
        self.key = load_key(self.home.node_key)  # type: ignore[misc]
        self.address = self.key.address  # type: ignore[misc]
        self._chain = Digest(bytes.fromhex(street.node(1)._chain.hex()))


def ask_to_join(street: Street, new: NewHome, *, who: str) -> Path:
    """What a member, the authority and the household do: join street, ca issue, join request; returns the request.

    Args:
        street: its first node runs, and comes to a block.
        new: the home.
        who: the identity that the verifiers are shown.
    """
    file = street.directory / f"{new.name}.street"
    wait_until(lambda: height(street.node(1)) > 0, "a block")
    p2pnode(street.directory, "join", "street", *config(street.node(1)), "--output", file)
    return ask_with(street, file, new, who=who)


def ask_with(street: Street, file: Path, new: NewHome, *, who: str) -> Path:
    """What the authority and the household do, once a member gave a street file; no node needs to run."""
    directory = street.directory
    key_file = directory / AUTHORITY_KEY_FILE_NAME
    p2pnode(directory, "ca", "issue", directory / AUTHORITY_NAME, new.home.request, "--key-file", key_file, "--yes")
    identity, contract = (directory / f"{new.name}.{what}" for what in ("who", "contract"))
    identity.write_text(who, encoding="utf-8")
    contract.write_text("the main contract", encoding="utf-8")
    said = p2pnode(
        directory, "join", "request", new.home.directory, "--street", file,
        "--certificate", new.home.request.with_suffix(".crt"), "--identity", identity, "--terms", contract, "--yes",
    )  # fmt: skip
    assert new.address.hex() in said.output
    return new.home.join_request


def let_in(street: Street, new: NewHome, verifiers: Sequence[Node]) -> None:
    """The verifiers, who are shown who it is unless they were, accept a home whose request the chain has."""
    if not new.home.join_sealed.exists():
        show_identity(street.directory, new, by=verifiers[0])
    for verifier in verifiers:
        p2pnode(street.directory, "verify-queue", "accept", new.address.hex()[:12], *config(verifier), "--yes")


def show_identity(place: Path, new: Node, *, by: Node) -> str:
    """A member writes who verifies, the household seals to these, the member brings it to them; returns what it is
    told then.
    """
    panel = place / f"{new.name}-{time.monotonic_ns()}.panel"
    p2pnode(place, "join", "panel", new.address.hex(), *config(by), "--output", panel)
    p2pnode(place, "join", "seal", new.home.directory, "--panel", panel, "--yes")
    return p2pnode(place, "join", "deliver", new.home.join_sealed, *config(by)).output
