"""What docs/authority.md says of running homes: another issuing authority changes nothing at the others, another root
is exchanged at all homes on one day, and the chain goes on.
"""

from collections.abc import Sequence
from pathlib import Path

from node.admission.endpoint import Endpoint
from node.admission.request import make_request
from node.testnet.folder import AUTHORITY_KEY_FILE_NAME, AUTHORITY_NAME
from tests.support.ceremony_commands import decide_blocks, height, running
from tests.support.testnet import Node, Street, p2pnode, wait_until


def ca(street: Street, *arguments: str | Path) -> None:
    p2pnode(street.directory, "ca", *arguments, "--key-file", street.directory / AUTHORITY_KEY_FILE_NAME)


def decide_together(street: Street, nodes: Sequence[Node]) -> int:
    """Runs the nodes until all have what was decided, and each other's links; returns the height."""
    with running(*nodes):
        decide_blocks(street, 2)
        wait_until(lambda: all(height(node) == height(nodes[0]) for node in nodes), "all at one height")
        wait_until(lambda: all(links(node) == len(nodes) - 1 for node in nodes), "all links")
        return height(nodes[0])


def links(node: Node) -> int:
    status = node.status()
    return 0 if status is None else int(status["peers_connected"])


def test_homes_of_two_issuing_authorities_decide_together_and_then_under_another_root(street: Street) -> None:
    authority, other = street.directory / AUTHORITY_NAME, street.directory / "ca-2"
    ca(street, "renew", authority, "--issuing", "--yes")
    for node in street.nodes[:2]:
        node.home.certificate.unlink()
        ca(street, "renew", authority, node.name, "--output", node.home.certificate, "--yes")
    before = decide_together(street, street.nodes)
    assert before > 0
    ca(street, "init", other, "--network", "another")
    for node in street.nodes:
        endpoint = Endpoint("127.0.0.1", 7000)
        node.home.request.write_bytes(make_request(node.name, node.home.node_key, endpoint))
        node.home.certificate.unlink()
        ca(street, "issue", other, node.home.request, "--yes")
        node.home.authority_certificate.write_bytes((other / "root.crt").read_bytes())
    assert decide_together(street, street.nodes) > before
