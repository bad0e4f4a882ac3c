"""Real daemons between which links are missing: pairs that cannot dial each other, a home that nobody can dial."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import tomlkit

from tests.support.long_chain import make_street
from tests.support.testnet import Node, Street, cleaned_up, daemon, wait_until

pytestmark = pytest.mark.alone("each transfer has fifteen seconds to be decided")

NODES = 4
NOBODY_LISTENS: int = 1
"""A port of loopback."""

SUBMIT_WAIT_S = 15.0
BLOCKS_MAX = 60
"""So many slots have every leader's turn many times over."""


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    directory = tmp_path / "testnet"
    with cleaned_up(directory):
        yield make_street(directory, nodes=NODES)


def cannot_dial(node: Node, other: Node) -> None:
    """Has a node look for another one where nobody listens."""
    document = tomlkit.parse(node.home.configuration.read_text(encoding="utf-8"))
    peers = document["p2p"]["peers"]  # type: ignore[index]
    (entry,) = (peer for peer in peers if peer["address"] == other.address.hex())  # type: ignore[union-attr,index]
    entry["port"] = NOBODY_LISTENS  # type: ignore[index]
    node.home.configuration.write_text(tomlkit.dumps(document), encoding="utf-8")


def says_a_wrong_place(node: Node) -> None:
    """Has a node tell the others that it is where nobody listens: as one behind a router that forwards nothing."""
    document = tomlkit.parse(node.home.configuration.read_text(encoding="utf-8"))
    document["p2p"]["advertise"] = [f"127.0.0.1:{NOBODY_LISTENS}"]  # type: ignore[index]
    node.home.configuration.write_text(tomlkit.dumps(document), encoding="utf-8")


@contextmanager
def running(street: Street, *, peers: int | None = None) -> Iterator[None]:
    """Runs all nodes; each has so many peers."""
    with ExitStack() as stack:
        for node in street.nodes:
            stack.enter_context(daemon(node))
        wait_until(lambda: all(node.status() for node in street.nodes), "all answer")
        if peers is not None:
            wait_until(
                lambda: all(node.present_status()["peers_connected"] == peers for node in street.nodes), "links"
            )
        yield


def transfer_at(node: Node, recipient: Node) -> int:
    """Has a node's wallet pay another one; returns the height at which that was decided."""
    reply = node.submit(node.transfer(recipient, 1, nonce=node.next_nonce()), wait_s=SUBMIT_WAIT_S)
    assert reply.status == 200, reply.document
    return int(reply.document["height"])


def test_where_two_pairs_have_no_link_every_members_requests_are_decided_by_all(street: Street) -> None:
    first, second, third, fourth = street.nodes
    for node in street.nodes:
        says_a_wrong_place(node)
    for one, other in ((first, second), (third, fourth)):
        cannot_dial(one, other)
        cannot_dial(other, one)
    with running(street, peers=2):
        for node in street.nodes:
            transfer_at(node, first if node is not first else fourth)
        statuses = street.at_one_tip()
        assert min(status["height"] for status in statuses) >= NODES
        assert {status["peers_connected"] for status in statuses} == {2}


def test_a_home_that_can_only_dial_out_takes_part_and_its_proposals_are_decided(street: Street) -> None:
    *others, home = street.nodes
    says_a_wrong_place(home)
    for other in others:
        cannot_dial(other, home)
    with running(street, peers=NODES - 1):
        for _ in range(BLOCKS_MAX):
            height = transfer_at(home, others[0])
            if home.request(f"/v1/blocks/{height}").document["leader"] == home.address.hex():
                break
        else:
            pytest.fail("the home's turn never came")
        street.at_one_tip()
