"""Real daemons whose homes move: each is told in its own meter.toml alone, and the others find it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import tomlkit

from contracts.genesis import chain_id
from node.errors import EndpointsDamaged
from node.home.genesis_file import load_genesis
from node.mesh.endpoint_file import load_endpoints
from node.mesh.endpoint_record import decode_record
from tests.integration.test_links import cannot_dial, transfer_at
from tests.support.long_chain import make_street
from tests.support.ports import free_port
from tests.support.testnet import Node, Street, cleaned_up, daemon, wait_until

NODES = 4


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    directory = tmp_path / "testnet"
    with cleaned_up(directory):
        yield make_street(directory, nodes=NODES)


def move(node: Node, **keys: object) -> int:
    """Writes another port, and whatever else, into a home's own meter.toml; returns the port."""
    document = tomlkit.parse(node.home.configuration.read_text(encoding="utf-8"))
    port = free_port()
    for key, value in {"port": port, **keys}.items():
        document["p2p"][key] = value  # type: ignore[index]
    node.home.configuration.write_text(tomlkit.dumps(document), encoding="utf-8")
    return port


def configurations(street: Street) -> dict[str, bytes]:
    return {node.name: node.home.configuration.read_bytes() for node in street.nodes}


def ports_known(node: Node) -> dict[bytes, int]:
    """Returns the port of each home, by node key, as a node wrote it down."""
    try:
        raws = load_endpoints(node.home.endpoints, chain_id(load_genesis(node.home)))
    except EndpointsDamaged:  # not written anew yet
        return {}
    return {record.node_key: record.places[0].port for record in map(decode_record, raws)}


def linked(*nodes: Node) -> None:
    """Waits until each of the nodes has a link with each other one."""
    wait_until(
        lambda: all((status := node.status()) and status["peers_connected"] == len(nodes) - 1 for node in nodes),
        "all are linked",
    )


@contextmanager
def running(*nodes: Node) -> Iterator[None]:
    with ExitStack() as stack:
        for node in nodes:
            stack.enter_context(daemon(node))
        yield


def port_of(node: Node, other: Node) -> int:
    """Returns the port at which a node knows another one, once it wrote one down."""
    return wait_until(lambda: ports_known(node).get(other.key.public_key), f"{other.name} is written down")


def test_two_homes_that_move_at_the_same_time_are_found_by_all(street: Street) -> None:
    first, second, third, fourth = street.nodes
    with running(first, second):
        with running(third, fourth):
            linked(*street.nodes)
            transfer_at(third, first)
        moved = {node.key.public_key: move(node) for node in (third, fourth)}
        before = configurations(street)
        with running(third, fourth):
            linked(*street.nodes)
            for node in street.nodes:
                transfer_at(node, first if node is not first else fourth)
            street.at_one_tip()
            wait_until(
                lambda: all(moved.items() <= ports_known(node).items() for node in street.nodes), "all wrote it down"
            )
    assert configurations(street) == before


def test_a_home_that_was_away_hears_from_others_where_one_is_that_moved_meanwhile(street: Street) -> None:
    first, second, third, fourth = street.nodes
    with running(first, second):
        with running(third, fourth):
            linked(*street.nodes)
        port = move(third)
        with running(third):
            linked(first, second, third)
            wait_until(lambda: port_of(first, third) == port, "told to the first")
        with running(fourth):  # the third is away now, and cannot tell it
            wait_until(lambda: port_of(fourth, third) == port, "told by others")
            with running(third):
                linked(*street.nodes)
                transfer_at(fourth, third)
                street.at_one_tip()


def test_a_home_that_knows_nobody_is_dialled_where_it_said_that_it_is(street: Street) -> None:
    """At an address of the other kind, behind a name that is none; it told that once, and can tell nobody now.

    The others start after it: whoever looked for it in vain meanwhile makes pauses of up to a minute.
    """
    *others, home = street.nodes
    port = move(home, host="::1", advertise=["nobody.invalid", "[::1]"])
    with running(*street.nodes):
        linked(*street.nodes)
        wait_until(lambda: all(port_of(other, home) == port for other in others), "all wrote it down")
    home.home.endpoints.unlink()
    for other in others:
        cannot_dial(home, other)
    with running(home):
        wait_until(home.status, "it answers")
        with running(*others):
            linked(*street.nodes)
            wait_until(lambda: len(ports_known(home)) == NODES, "it was told of all")
            transfer_at(home, others[0])
            street.at_one_tip()


def test_a_damaged_file_is_told_in_one_line_and_begun_anew(street: Street) -> None:
    *others, home = street.nodes
    with running(*others):
        with running(home):
            wait_until(lambda: len(ports_known(home)) == NODES, "all are known")
        home.home.endpoints.write_bytes(b"\xc1" * 100)
        with daemon(home) as process:
            linked(*street.nodes)
            assert process.errors().count("begun anew") == 1
        assert len(ports_known(home)) == NODES
