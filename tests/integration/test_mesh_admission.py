"""The mesh has links to whom the state names, from the moment it does and no longer: over real TLS sockets."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from consensus.cryptography import address_of
from consensus.identifiers import Address, PublicKey
from node.admission.endpoint import Endpoint
from node.admission.identity import Identity
from node.mesh.limits import MeshRefusal
from tests.integration.test_mesh import Node, Town, meshed, status, town, until

__all__ = ["town"]


def at(node: Node) -> Endpoint:
    return Endpoint("127.0.0.1", node.port)


def admit(node: Node, *others: Node) -> None:
    meshed(node).admit([other.address for other in others])


async def two(town: Town) -> tuple[Node, Node]:
    """Two nodes that have no peers; the first can find the second, but nobody told the second where the first is."""
    first, second = town.node(), town.node()
    first.places, second.places = {second.address: (at(second),)}, {first.address: ()}
    for node in (first, second):
        await node.start()
    return first, second


async def linked(first: Node, second: Node) -> None:
    pairs = ((first, second), (second, first))
    await until(lambda: all(other.address in meshed(node).connected() for node, other in pairs))
    assert not any(meshed(node).failed.done() for node, _ in pairs)


async def test_who_is_admitted_on_both_sides_has_a_link_and_is_heard(town: Town) -> None:
    first, second = await two(town)
    admit(first, second)
    await until(lambda: second.counts.has_refused(MeshRefusal.NOT_A_MEMBER))
    assert meshed(second).connected() == frozenset(), "only one side knows the other"
    admit(second, first)
    await linked(first, second)
    for sender, recipient in ((first, second), (second, first)):
        meshed(sender).send(recipient.address, status(1))
        await until(lambda: (sender.address, status(1)) in recipient.received)  # noqa: B023


async def test_who_is_named_no_more_is_out_at_once_and_stays_out(town: Town) -> None:
    first, second = await two(town)
    admit(first, second)
    admit(second, first)
    await linked(first, second)
    admit(second)
    await until(lambda: second.counts.has_refused(MeshRefusal.NOT_A_MEMBER))
    assert meshed(second).connected() == frozenset()
    assert meshed(second)._links == {}
    meshed(second).send(first.address, status(1))  # to nobody
    meshed(second).broadcast(status(2))
    admit(second, first)
    await linked(first, second)
    meshed(second).send(first.address, status(3))
    await until(lambda: (second.address, status(3)) in first.received)
    assert first.received == [(second.address, status(3))]


async def test_out_and_in_again_in_one_breath_is_one_link(town: Town) -> None:
    first, second = await two(town)
    admit(second, first)
    admit(first, second)
    await linked(first, second)
    running = len(asyncio.all_tasks())
    for _ in range(20):
        admit(first)
        admit(first, second)
    await linked(first, second)
    meshed(first).send(second.address, status(1))
    await until(lambda: (first.address, status(1)) in second.received)
    await until(lambda: len(asyncio.all_tasks()) <= running)  # what served the former links has ended
    assert len(meshed(first)._tasks) <= running, "and is forgotten"
    assert not meshed(first).failed.done()


async def test_naming_the_same_again_changes_nothing(town: Town) -> None:
    """As every block does."""
    first, second = await two(town)
    admit(first, second)
    admit(second, first)
    await linked(first, second)
    link, running = meshed(first)._links[second.address], asyncio.all_tasks()
    for _ in range(20):
        admit(first, second)
    assert meshed(first)._links[second.address] is link
    assert asyncio.all_tasks() == running
    assert meshed(first).connected() == {second.address}


async def test_who_is_admitted_before_the_start_is_dialled_from_it_on(town: Town) -> None:
    first, second = await two(town)
    admit(second, first)
    await first.stop()
    await first.start(admitted=[second.address])
    await linked(first, second)


async def test_who_stands_in_this_homes_files_stays_whatever_the_state_names(town: Town) -> None:
    first, second = town.node(), town.node()
    await first.start(second.endpoint)
    await second.start(first.endpoint)
    await linked(first, second)
    link = meshed(first)._links[second.address]
    for others in ((second,), (), (second,)):
        admit(first, *others)
        assert meshed(first)._links[second.address] is link
    meshed(first).send(second.address, status(1))
    await until(lambda: (first.address, status(1)) in second.received)
    assert first.counts.reconnects == {}


async def test_nobody_is_dialled_before_somebody_says_where_it_is(town: Town) -> None:
    first, second = await two(town)
    third = town.node()
    await third.start(first.endpoint)
    first.places = {second.address: (), third.address: ()}
    admit(second, first)
    admit(first, second, third)
    await linked(first, third)
    assert meshed(first).connected() == {third.address}
    first.places[second.address] = (at(second),)
    meshed(first).look_again(second.address)
    await linked(first, second)


async def test_a_mesh_ends_with_all_that_it_admitted(town: Town) -> None:
    before = len(asyncio.all_tasks())
    first, second = await two(town)
    admit(first, second)
    admit(second, first)
    await linked(first, second)
    await first.stop()
    await second.stop()
    assert len(asyncio.all_tasks()) == before


def of_members(*known: tuple[PublicKey, Node]) -> Callable[[PublicKey], Address | None]:
    """How a chain knows whose keys these are."""
    table = {key: node.address for key, node in known}
    return lambda key: table.get(key, address_of(key))


async def exchanging(town: Town) -> tuple[Node, Node, Identity]:
    """The second node exchanges its key for that of the identity; the first one has not heard of that yet."""
    first, second = town.node(), town.node()
    following = replace(town.identity(), address=second.address)
    first.places, second.places = {second.address: (at(second),)}, {first.address: ()}
    return first, second, following


@pytest.mark.parametrize("is_ahead", [False, True])
@pytest.mark.parametrize("who_dials", ["the one that exchanges its key", "the other"])
async def test_who_has_two_keys_is_known_by_either(town: Town, is_ahead: bool, who_dials: str) -> None:
    """Whoever is behind knows the old one alone, whoever is ahead the new one."""
    first, second, following = await exchanging(town)
    old, new = second.identity.node_key.public_key, following.node_key.public_key
    second.identity, second.other = following, second.identity
    nobody: Address = address_of(PublicKey(bytes(32)))
    first.member_of = lambda key: (
        second.address if key == (new if is_ahead else old) else nobody if key in (old, new) else address_of(key)
    )
    second.member_of = of_members((new, second))
    if who_dials == "the other":
        first.places, second.places = {second.address: (at(second),)}, {first.address: ()}
    else:
        first.places, second.places = {second.address: ()}, {first.address: (at(first),)}
    for node in (first, second):
        await node.start()
    admit(first, second)
    admit(second, first)
    await linked(first, second)


async def test_a_link_under_a_key_that_was_exchanged_ends_with_the_block_that_says_so(town: Town) -> None:
    """Else who stole the key could stay and listen."""
    first, second, following = await exchanging(town)
    for node in (first, second):
        await node.start()
    admit(first, second)
    admit(second, first)
    await linked(first, second)
    old = second.identity.node_key.public_key
    both = of_members((following.node_key.public_key, second))
    first.member_of = both
    admit(first, second)
    await linked(first, second)
    assert second.counts.reconnects == {}, "while either counts it stays"
    first.member_of = lambda key: None if key == old else both(key)
    admit(first, second)
    await until(lambda: meshed(first).connected() == frozenset())
    await second.stop()
    second.identity, second.member_of = following, both
    await second.start()
    admit(second, first)
    await linked(first, second)


async def test_once_the_old_key_is_of_no_use_links_are_opened_with_the_new_one_alone(town: Town) -> None:
    """Half of all would be refused, for as long as the node runs."""
    first, second, following = await exchanging(town)
    old, new = second.identity.node_key.public_key, following.node_key.public_key
    second.identity, second.other = following, second.identity
    first.member_of = lambda key: None if key == old else of_members((new, second))(key)
    second.member_of = of_members((new, second))
    for node in (first, second):
        await node.start()
    meshed(second).show_alone(new)
    for _ in range(8):
        admit(first, second)
        admit(second, first)
        await linked(first, second)
        admit(second)
        await until(lambda: meshed(first).connected() == frozenset())
    assert not first.counts.has_refused(MeshRefusal.WRONG_PEER)
    assert not first.counts.has_refused(MeshRefusal.NOT_A_MEMBER)
