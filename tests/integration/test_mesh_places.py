"""The mesh dials where a peer is now: other ports, both kinds of address, names, and strangers' doors."""

import asyncio
import ssl
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from node.admission.authority import Authority
from node.admission.endpoint import Endpoint
from tests.integration.test_mesh import QUICK, Node, Town, meshed, status, town, until
from tests.support.ports import free_port

__all__ = ["town"]

SLOW = replace(QUICK, backoff_initial_s=3_600, backoff_max_s=3_600)
"""Who dials in vain once does not dial again while a test lasts, but for news."""


def at(node: Node, host: str = "127.0.0.1") -> Endpoint:
    return Endpoint(host, node.port)


async def test_a_peer_is_dialled_at_once_where_it_is_known_to_be_now(town: Town) -> None:
    first, second = town.node(), town.node()
    await second.start()
    await first.start(replace(second.endpoint, port=free_port()), limits=SLOW)
    await until(lambda: bool(meshed(first)._links[second.address].problem))
    first.places[second.address] = (Endpoint("127.0.0.1", free_port()), at(second))
    meshed(first).look_again(second.address)
    await until(lambda: bool(second.counts.refused))  # it knows no peer: but it was found


async def test_a_link_that_stands_is_left_and_the_next_dial_goes_to_the_new_place(town: Town) -> None:
    first, second = town.node(), town.node()
    await second.start(replace(first.endpoint, port=free_port()))
    await first.start(second.endpoint)
    await until(lambda: meshed(first).connected() == {second.address})
    moved = free_port()
    first.places[second.address] = (Endpoint("127.0.0.1", moved),)
    meshed(first).look_again(second.address)
    meshed(first).broadcast(status(1))
    await until(lambda: second.received == [(first.address, status(1))])
    assert first.counts.reconnects == {}
    await second.stop()
    second.port = moved
    await second.start(replace(first.endpoint, port=free_port()))
    meshed(first).broadcast(status(2))
    await until(lambda: (first.address, status(2)) in second.received)


@pytest.mark.parametrize(
    ("listen", "dial"), [("::1", "::1"), ("::", "::1"), ("::", "127.0.0.1"), ("127.0.0.1", "localhost")]
)
async def test_addresses_of_both_kinds_and_names_are_dialled(town: Town, listen: str, dial: str) -> None:
    first, second = town.node(), town.node()
    second.host = listen
    await second.start(replace(first.endpoint, port=free_port()))
    await first.start(replace(second.endpoint, host=dial))
    await until(lambda: meshed(first).connected() == {second.address})


@pytest.mark.parametrize("host", ["nobody.invalid", "a..b", "-", ".", "999.999.999.999", "_"])
async def test_a_name_that_is_none_stops_nothing_and_the_next_place_is_tried(town: Town, host: str) -> None:
    first, second = town.node(), town.node()
    await second.start(replace(first.endpoint, port=free_port()))
    first.places[second.address] = (Endpoint(host, 7000), at(second))
    await first.start(second.endpoint)
    await until(lambda: meshed(first).connected() == {second.address})
    assert not meshed(first).failed.done()


async def test_a_strangers_server_that_a_liar_names_learns_nothing_of_who_dials(town: Town) -> None:
    """It is not one of the network's: the dial ends at its certificate, before this node shows its own."""
    first = town.node()
    stranger = town.identity(Authority("elsewhere", now=datetime.now(UTC)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(stranger.certificate_file, stranger.node_key_file)
    context.load_verify_locations(first.identity.authority_file)
    context.verify_mode = ssl.CERT_REQUIRED
    met = []

    class Stranger(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            met.append(transport.get_extra_info("peercert"))

    server = await asyncio.get_running_loop().create_server(Stranger, "127.0.0.1", 0, ssl=context)
    async with server:
        peer = town.node()
        port = server.sockets[0].getsockname()[1]
        first.places[peer.address] = (Endpoint("127.0.0.1", port),)
        await first.start(peer.endpoint)
        await until(lambda: "certificate is refused" in meshed(first)._links[peer.address].problem)
    assert met == []
