"""The mesh over real TLS sockets on loopback: honest nodes, strangers, and peers that misbehave."""

import asyncio
import gc
import os
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import psutil
import pytest
from aiohttp import WSMsgType
from structlog.testing import capture_logs

from consensus.cryptography import address_of
from consensus.identifiers import Address, Digest, EraNumber, Height, PublicKey, Slot
from consensus.messages import Body, Status
from node.admission.authority import Authority
from node.admission.chain import Role
from node.admission.endpoint import Endpoint
from node.admission.identity import Identity, create_key
from node.mesh.limits import MESH_PATH, MeshLimits, MeshRefusal, PeerEndpoint
from node.mesh.link import USE_THIS
from node.mesh.mesh import Mesh
from node.mesh.messages import FRAME_SIZE_BYTES_MAX, OfferDecline, PeerMessage, encode_peer_message
from tests.support.ports import free_port

DEADLINE_S = 20.0
"""Longest wait for a condition: only a failing test waits so long."""

QUICK = MeshLimits(
    handshake_s=0.5, heartbeat_s=0.4, idle_s=1.0, write_s=0.5, close_s=0.3, backoff_initial_s=0.02, backoff_max_s=0.1
)
"""Deadlines that a test can wait for."""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  (the condition is the meshes' own state, without an event)
            await asyncio.sleep(0.005)


@dataclass
class Counts:
    """A `MeshCounters` that a test can read."""

    sent: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    reconnects: Counter[str] = field(default_factory=Counter)

    def on_frame_sent(self, peer: str, size_bytes: int) -> None:
        self.sent[peer] += 1

    def on_frame_received(self, peer: str, size_bytes: int) -> None:
        self.received[peer] += 1

    def on_message_dropped(self, peer: str) -> None:
        self.dropped[peer] += 1

    def on_message_refused(self, reason: str) -> None:
        self.refused[reason] += 1

    def on_reconnect(self, peer: str) -> None:
        self.reconnects[peer] += 1

    def has_refused(self, refusal: MeshRefusal) -> bool:
        return self.refused[refusal.value] > 0


class Node:
    """A mesh with what it received, at a port that stays its own over restarts."""

    def __init__(self, identity: Identity, port: int) -> None:
        self.identity = identity
        self.port = port
        self.counts = Counts()
        self.received: list[tuple[Address, PeerMessage]] = []
        self.mesh: Mesh | None = None
        self.host = "127.0.0.1"
        self.member_of: Callable[[PublicKey], Address | None] = address_of
        self.other: Identity | None = None
        """With the other key of a node that exchanges its key."""
        self.places: dict[Address, tuple[Endpoint, ...]] = {}
        """Where to dial a peer, if elsewhere than first known."""

    @property
    def address(self) -> Address:
        return self.identity.address

    @property
    def endpoint(self) -> PeerEndpoint:
        return PeerEndpoint(address=self.address, host="127.0.0.1", port=self.port)

    def handle(self, sender: Address, message: PeerMessage) -> None:
        self.received.append((sender, message))

    async def start(self, *peers: PeerEndpoint, limits: MeshLimits = QUICK, admitted: Sequence[Address] = ()) -> Mesh:
        self.mesh = Mesh(
            identity=self.identity,
            peers=peers,
            places_of=lambda peer: self.places.get(peer.address, (Endpoint(peer.host, peer.port),)),
            member_of=lambda key: self.member_of(key),  # noqa: PLW0108  (it changes)
            listen_host=self.host,
            listen_port=self.port,
            handler=self.handle,
            on_link=lambda peer: None,
            metrics=self.counts,
            limits=limits,
            other=self.other,
        )
        self.mesh.admit(admitted)
        await self.mesh.start()
        return self.mesh

    async def stop(self) -> None:
        if self.mesh is not None:
            await self.mesh.stop()
            self.mesh = None


def name_of(address: Address) -> str:
    return address.hex()[:16]


def make_identity(folder: Path, authority: Authority, role: Role = Role.MEMBER) -> Identity:
    folder.mkdir(parents=True)
    key = create_key(folder / "node.key")
    (folder / "node.crt").write_bytes(authority.issue(key.public_key, role=role))
    (folder / "ca.crt").write_bytes(authority.certificate_pem())
    return Identity(
        node_key=key,
        meter_key=create_key(folder / "meter.key"),
        address=key.address,
        node_key_file=folder / "node.key",
        certificate_file=folder / "node.crt",
        authority_file=folder / "ca.crt",
    )


class Town:
    """One authority and the nodes that it signed certificates for."""

    def __init__(self, folder: Path, cleanup: AsyncExitStack) -> None:
        self.folder = folder
        self.authority = Authority("test", now=datetime.now(UTC) - timedelta(days=30))
        self.cleanup = cleanup
        self.made = 0

    def identity(self, authority: Authority | None = None, role: Role = Role.MEMBER) -> Identity:
        self.made += 1
        return make_identity(self.folder / f"node{self.made}", authority or self.authority, role)

    def node(self, authority: Authority | None = None, role: Role = Role.MEMBER) -> Node:
        node = Node(self.identity(authority, role), free_port())
        self.cleanup.push_async_callback(node.stop)
        return node

    async def started(self, count: int, *, limits: MeshLimits = QUICK) -> list[Node]:
        nodes = [self.node() for _ in range(count)]
        for node in nodes:
            await node.start(*(other.endpoint for other in nodes if other is not node), limits=limits)
        await until(lambda: all(len(meshed(node).connected()) == count - 1 for node in nodes))
        return nodes


def meshed(node: Node) -> Mesh:
    assert node.mesh is not None
    return node.mesh


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with AsyncExitStack() as cleanup:
        yield Town(tmp_path, cleanup)


@asynccontextmanager
async def dialled(
    identity: Identity, port: int, *, path: str = MESH_PATH
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A raw WebSocket to a node, for a peer that does as it likes."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(
            f"wss://127.0.0.1:{port}{path}",
            ssl=identity.client_ssl_context(),
            autoping=False,
            timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
        ) as connection,
    ):
        yield connection


async def ended(connection: aiohttp.ClientWebSocketResponse) -> int | None:
    """Waits until the other side closes; returns its close code, None if it just went."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            message = await connection.receive()
            if message.type not in (aiohttp.WSMsgType.PING, aiohttp.WSMsgType.PONG):
                return message.data if message.type is aiohttp.WSMsgType.CLOSE else None


def status(number: int) -> Status:
    return Status(
        era=EraNumber(0),
        undecided=Height(number + 1),
        tip=Digest(bytes(32)),
        clock_slot=Slot(number),
        origin=Address(bytes(32)),
        hears=b"",
    )


# --- honest nodes ------------------------------------------------------------------------------------------


async def test_three_nodes_exchange_messages_and_know_the_senders(town: Town) -> None:
    first, second, third = await town.started(3)
    meshed(first).broadcast(status(1))
    meshed(second).send(first.address, OfferDecline(offer_counter=2))
    meshed(third).send(first.address, status(3))
    await until(lambda: len(first.received) == 2 and bool(second.received) and bool(third.received))
    assert second.received == third.received == [(first.address, status(1))]
    assert set(first.received) == {
        (second.address, OfferDecline(offer_counter=2)),
        (third.address, status(3)),
    }
    assert first.counts.sent == {name_of(second.address): 1, name_of(third.address): 1}
    assert first.counts.received == {name_of(second.address): 1, name_of(third.address): 1}
    assert not first.counts.refused


async def test_a_senders_messages_arrive_in_order(town: Town) -> None:
    first, second = await town.started(2)
    for number in range(1_000):
        meshed(first).send(second.address, status(number))
    await until(lambda: len(second.received) == 1_000)
    assert [message for _, message in second.received] == [status(number) for number in range(1_000)]


async def test_the_largest_frame_arrives(town: Town) -> None:
    first, second = await town.started(2)
    envelope = len(encode_peer_message(Body(height=Height(1), block=Digest(bytes(32)), proposal=bytes(70_000))))
    largest = 6 * 1024 * 1024
    assert largest + envelope - 70_000 <= FRAME_SIZE_BYTES_MAX
    body = Body(height=Height(1), block=Digest(bytes(32)), proposal=bytes(largest))
    meshed(first).send(second.address, body)
    await until(lambda: second.received == [(first.address, body)])


async def test_a_restarted_node_is_back_with_what_was_queued_for_it(town: Town) -> None:
    first, second, third = await town.started(3)
    await second.stop()
    await until(lambda: meshed(first).connected() == {third.address})
    meshed(first).send(second.address, status(5))
    assert not second.received
    await second.start(first.endpoint, third.endpoint)
    await until(lambda: (first.address, status(5)) in second.received)
    await until(lambda: len(meshed(second).connected()) == 2)
    meshed(second).broadcast(status(6))
    await until(lambda: (second.address, status(6)) in first.received)
    assert first.counts.reconnects[name_of(second.address)] >= 1


async def test_a_peer_that_dials_is_connected_at_once(town: Town) -> None:
    first, second = await town.started(2, limits=replace(QUICK, backoff_initial_s=3_600, backoff_max_s=3_600))
    await second.stop()
    await until(lambda: not meshed(first).connected())
    await second.start(first.endpoint)
    await until(lambda: meshed(first).connected() == {second.address})


async def test_idle_links_outlive_every_deadline(town: Town) -> None:
    first, second = await town.started(2)
    loop = asyncio.get_running_loop()
    later_s = loop.time() + 2 * QUICK.idle_s
    await until(lambda: loop.time() > later_s)
    await assert_unaffected(first, second)
    assert not first.counts.refused


async def test_both_ends_send_without_delay(town: Town) -> None:
    first, second = await town.started(2)
    await until(lambda: open_connections(first.port) + open_connections(second.port) == 1)
    options = []
    for connection in established_sockets(first.port) + established_sockets(second.port):
        with connection:
            options.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    assert options == [1, 1], "one link with two ends"


async def test_stopping_is_quick_and_leaves_nothing_open(town: Town) -> None:
    nodes = await town.started(3)
    ports = [node.port for node in nodes]
    async with asyncio.timeout(5):
        await asyncio.gather(*(node.stop() for node in nodes))
    await until(lambda: not any(open_connections(port) for port in ports))
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_that_comes_as_the_node_stops_is_closed(town: Town, turns: int) -> None:
    node = town.node()
    await node.start()
    await asyncio.sleep(0)  # now it waits for connections
    with socket.create_connection(("127.0.0.1", node.port)):
        for _ in range(turns):  # turns of the event loop, one of which accepts
            await asyncio.sleep(0)
        await node.stop()
    gc.collect()  # what is not closed is told here, as an error


async def test_a_bug_in_the_handler_is_told_and_not_swallowed(town: Town) -> None:
    first, second = town.node(), town.node()

    def broken(sender: Address, message: PeerMessage) -> None:
        raise ConnectionResetError("a bug of this node, whatever its type")

    second.handle = broken  # type: ignore[method-assign]
    await first.start(second.endpoint)
    await second.start(first.endpoint)
    meshed(first).send(second.address, status(1))
    with pytest.raises(ConnectionResetError, match="a bug of this node"):
        async with asyncio.timeout(DEADLINE_S):
            await meshed(second).failed
    assert not meshed(first).failed.done()


# --- one link, whoever dialled ------------------------------------------------------------------------------


async def test_who_cannot_be_dialled_but_dials_is_a_full_member(town: Town) -> None:
    first, home = town.node(), town.node()
    elsewhere = replace(home.endpoint, port=free_port())
    await first.start(elsewhere)
    meshed(first).send(home.address, status(1))
    await home.start(first.endpoint)
    await until(lambda: meshed(first).connected() == {home.address})
    meshed(home).send(first.address, status(2))
    meshed(first).send(home.address, status(3))
    await until(lambda: home.received == [(first.address, status(1)), (first.address, status(3))])
    await until(lambda: first.received == [(home.address, status(2))])
    await first.stop()
    await until(lambda: not meshed(home).connected())
    await first.start(elsewhere)  # nobody but the home can bring the link back
    meshed(first).send(home.address, status(4))
    await until(lambda: (first.address, status(4)) in home.received)


async def test_many_that_dial_each_other_at_once_end_with_one_link_each_and_lose_nothing(town: Town) -> None:
    nodes = [town.node() for _ in range(5)]
    others = {node.address: [other for other in nodes if other is not node] for node in nodes}
    limits = replace(QUICK, handshake_s=DEADLINE_S)  # 20 at once take their time
    starting = (node.start(*(other.endpoint for other in others[node.address]), limits=limits) for node in nodes)
    await asyncio.gather(*starting)
    for number in range(100):
        for node in nodes:
            meshed(node).broadcast(status(number))
        await asyncio.sleep(0.005)
    await until(lambda: sum(open_connections(node.port) for node in nodes) == 5 * 4 // 2)
    for node in nodes:
        await until(lambda node=node: len(node.received) == 4 * 100)  # type: ignore[misc]
        assert set(node.received) == {
            (other.address, status(n)) for other in others[node.address] for n in range(100)
        }
        assert not node.counts.reconnects
        assert not node.counts.dropped


def ordered(town: Town, *, first_is_lower: bool) -> tuple[Node, Identity]:
    """A node and a member for the test to play, in the order of their addresses or against it."""
    node, played = town.node(), town.identity()
    while (node.address < played.address) is not first_is_lower:
        played = town.identity()
    return node, played


def ordered_nodes(town: Town, *, first_is_lower: bool) -> tuple[Node, Node]:
    first, identity = ordered(town, first_is_lower=first_is_lower)
    second = Node(identity, free_port())
    town.cleanup.push_async_callback(second.stop)
    return first, second


async def test_who_decides_uses_the_newest_link_says_so_and_closes_the_other(town: Town) -> None:
    node, played = ordered(town, first_is_lower=True)
    heard: list[bytes] = []
    closed: list[int | None] = []

    async def listen(connection: Connection, _: asyncio.Transport) -> None:
        while (message := await connection.receive()).type in (WSMsgType.BINARY, WSMsgType.PING):
            heard.append(bytes(message.data))
        closed.append(message.data)

    async with listening(played, free_port(), listen) as endpoint:
        await node.start(endpoint, limits=MeshLimits(close_s=0.3))
        await until(lambda: USE_THIS in heard)
        async with dialled(played, node.port) as newest:
            assert (await newest.receive()).data == USE_THIS
            meshed(node).send(played.address, status(1))
            assert (await newest.receive()).data == encode_peer_message(status(1))
            assert (await newest.receive()).data == USE_THIS
            await until(lambda: closed == [aiohttp.WSCloseCode.GOING_AWAY])
            assert set(heard) == {USE_THIS}
            assert meshed(node).connected() == {played.address}
    assert node.counts.reconnects == Counter()


async def test_who_does_not_decide_writes_where_it_is_told_to(town: Town) -> None:
    node, played = ordered(town, first_is_lower=False)
    heard: list[bytes] = []

    async def listen(connection: Connection, _: asyncio.Transport) -> None:
        while (message := await connection.receive()).type is WSMsgType.BINARY:
            heard.append(message.data)

    async with listening(played, free_port(), listen) as endpoint:
        await node.start(endpoint, limits=MeshLimits(close_s=0.3))
        await until(lambda: meshed(node).connected() == {played.address})
        async with dialled(played, node.port) as newest:
            await newest.send_bytes(encode_peer_message(status(1)))
            await until(lambda: (played.address, status(1)) in node.received)
            meshed(node).send(played.address, status(2))
            await until(lambda: heard == [encode_peer_message(status(2))])
            await newest.ping(USE_THIS)
            assert (await newest.receive()).type is WSMsgType.PONG
            meshed(node).send(played.address, status(3))
            assert (await newest.receive()).data == encode_peer_message(status(3))
        meshed(node).send(played.address, status(4))  # the first one is still there
        await until(lambda: heard[1:] == [encode_peer_message(status(4))])
    assert node.counts.reconnects == Counter()


async def test_two_links_of_a_member_share_its_quota(town: Town) -> None:
    limits = MeshLimits(frames_per_s=100, burst_s=1, close_s=0.3, write_s=0.5)
    node, flooder = ordered(town, first_is_lower=False)
    frames = 125

    async def flood(connection: Connection | aiohttp.ClientWebSocketResponse, *_: object) -> None:
        for number in range(frames):
            await connection.send_bytes(encode_peer_message(status(number)))

    async def flood_and_stay(connection: Connection, _: asyncio.Transport) -> None:
        await flood(connection)
        await connection.receive()

    loop = asyncio.get_running_loop()
    began_s = loop.time()
    async with listening(flooder, free_port(), flood_and_stay) as endpoint:
        await node.start(endpoint, limits=limits)
        async with dialled(flooder, node.port) as connection:
            await flood(connection)
            await until(lambda: len(node.received) == 2 * frames)
    assert loop.time() - began_s > (2 * frames - 100) / 100 * 0.9, "100 at once, the others at 100 per second"


# --- who is not let in -------------------------------------------------------------------------------------


async def test_another_authority_is_refused_both_ways(town: Town) -> None:
    member = town.node()
    stranger = town.node(Authority("elsewhere"))
    await member.start(stranger.endpoint)
    await stranger.start(member.endpoint)
    meshed(stranger).broadcast(status(1))
    await until(lambda: member.counts.has_refused(MeshRefusal.TLS_FAILED))
    await until(lambda: stranger.counts.has_refused(MeshRefusal.TLS_FAILED))
    assert not member.received
    assert not meshed(member).connected() | meshed(stranger).connected()


async def test_a_certified_node_that_is_no_member_is_refused(town: Town) -> None:
    first, _ = await town.started(2)
    outsider = town.node()
    with capture_logs() as logs:
        await outsider.start(first.endpoint)
        meshed(outsider).broadcast(status(1))
        await until(lambda: first.counts.refused[MeshRefusal.NOT_A_MEMBER.value] >= 5)
    assert not first.received
    assert not meshed(outsider).connected()
    failures = [entry["reason"] for entry in logs if entry["event"] == "peer_link_down"]
    assert len(failures) == 1, "one line for five attempts"
    assert "knows no member with the key of this node's certificate" in failures[0]


async def test_a_provider_is_refused_both_ways_though_the_chain_knows_its_key(town: Town) -> None:
    member, provider = town.node(), town.node(role=Role.PROVIDER)
    with capture_logs() as logs:
        await provider.start(member.endpoint)
        await member.start(provider.endpoint)
        meshed(provider).broadcast(status(1))
        await until(lambda: member.counts.refused[MeshRefusal.WRONG_ROLE.value] >= 4)
    assert not member.received
    assert not meshed(member).connected()
    said = {entry["reason"] for entry in logs if "has the role provider" in str(entry.get("reason"))}
    assert any(f"no member answers at 127.0.0.1:{provider.port}" in one for one in said), "who dials it"
    assert any(one.startswith("its certificate has the role") for one in said), "who is dialled"


async def test_no_certificate_is_refused(town: Town) -> None:
    first, _ = await town.started(2)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(first.identity.authority_file)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):  # under TLS 1.3 only data shows the refusal
            await session.ws_connect(f"wss://127.0.0.1:{first.port}{MESH_PATH}", ssl=context)
    await until(lambda: first.counts.has_refused(MeshRefusal.TLS_FAILED))


async def test_another_member_at_the_dialled_place_is_not_sent_to(town: Town) -> None:
    dialler, meant, actual = town.node(), town.node(), town.node()
    await actual.start(dialler.endpoint)
    misplaced = PeerEndpoint(address=meant.address, host="127.0.0.1", port=actual.port)
    await dialler.start(misplaced)
    meshed(dialler).broadcast(status(1))
    await until(lambda: dialler.counts.refused[MeshRefusal.WRONG_PEER.value] >= 2)
    assert not meshed(dialler).connected()
    assert not actual.received


async def test_another_route_is_refused(town: Town) -> None:
    first, second = await town.started(2)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with dialled(second.identity, first.port, path="/elsewhere"):
            pass
    assert refused.value.status == 400
    assert first.counts.has_refused(MeshRefusal.BAD_REQUEST)


async def test_a_request_that_breaks_a_library_stops_nobody(town: Town) -> None:
    first, second, liar = await with_liar(town)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", first.port, ssl=liar.client_ssl_context(), server_hostname=""
    )
    # decoding this key raises a ValueError that aiohttp does not expect
    writer.write(
        b"GET /p2p HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \xc3\xa9\r\n\r\n"
    )
    async with asyncio.timeout(DEADLINE_S):
        assert (await reader.read()).startswith(b"HTTP/1.1 500")
    writer.close()
    assert first.counts.has_refused(MeshRefusal.BAD_REQUEST)
    assert not meshed(first).failed.done()
    await assert_unaffected(first, second)


async def test_a_peer_that_dials_again_and_again_is_cut_off(town: Town) -> None:
    limits = MeshLimits(connects_per_period=3, connect_period_s=60, close_s=0.3)
    node, peer = town.node(), town.identity()
    await node.start(endpoint_of(peer), limits=limits)
    for _ in range(3):
        async with dialled(peer, node.port) as connection:
            await connection.send_bytes(b"garbage")
            await ended(connection)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with dialled(peer, node.port):
            pass
    assert refused.value.status == 429


# --- peers that misbehave ----------------------------------------------------------------------------------


def endpoint_of(identity: Identity) -> PeerEndpoint:
    """A member that nobody listens for: a test plays it by dialling."""
    return PeerEndpoint(address=identity.address, host="127.0.0.1", port=free_port())


async def with_liar(town: Town, limits: MeshLimits = QUICK) -> tuple[Node, Node, Identity]:
    """Two honest nodes with a link, and a third member for the test to play."""
    liar = town.identity()
    first, second = town.node(), town.node()
    await first.start(second.endpoint, endpoint_of(liar), limits=limits)
    await second.start(first.endpoint, endpoint_of(liar), limits=limits)
    await until(lambda: bool(meshed(first).connected()) and bool(meshed(second).connected()))
    return first, second, liar


async def assert_unaffected(first: Node, second: Node) -> None:
    assert first.counts.reconnects[name_of(second.address)] == 0
    assert second.counts.reconnects[name_of(first.address)] == 0
    meshed(second).send(first.address, status(99))
    await until(lambda: (second.address, status(99)) in first.received)


async def test_garbage_closes_its_own_link_only(town: Town) -> None:
    first, second, liar = await with_liar(town)
    async with dialled(liar, first.port) as connection:
        await connection.send_bytes(encode_peer_message(status(1)))
        await connection.send_bytes(b"\xc1garbage")
        await connection.send_bytes(encode_peer_message(status(2)))
        assert await ended(connection) == aiohttp.WSCloseCode.POLICY_VIOLATION
    assert first.received == [(liar.address, status(1))]
    assert first.counts.has_refused(MeshRefusal.MALFORMED_MESSAGE)
    await assert_unaffected(first, second)


async def test_text_closes_its_own_link_only(town: Town) -> None:
    first, second, liar = await with_liar(town)
    async with dialled(liar, first.port) as connection:
        await connection.send_str("hello")
        await ended(connection)
    assert first.counts.has_refused(MeshRefusal.BAD_FRAME)
    await assert_unaffected(first, second)


async def test_a_frame_past_the_limit_is_refused_by_its_claimed_size(town: Town) -> None:
    first, second, liar = await with_liar(town)
    async with dialled(liar, first.port) as connection:
        # only the header of a frame of one byte too many; its bytes are never sent
        header = b"\x82\xff" + (FRAME_SIZE_BYTES_MAX + 1).to_bytes(8, "big") + bytes(4)
        raw_write(connection, header)
        assert await ended(connection) == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
    assert first.counts.has_refused(MeshRefusal.FRAME_TOO_LARGE)
    await assert_unaffected(first, second)


async def test_a_frame_of_exactly_the_limit_is_read(town: Town) -> None:
    first, _, liar = await with_liar(town)
    async with dialled(liar, first.port) as connection:
        await connection.send_bytes(bytes(FRAME_SIZE_BYTES_MAX))
        await ended(connection)
    assert first.counts.received[name_of(liar.address)] == 1
    assert first.counts.has_refused(MeshRefusal.MALFORMED_MESSAGE)
    assert not first.counts.has_refused(MeshRefusal.FRAME_TOO_LARGE)


async def test_a_second_link_of_a_peer_replaces_the_first(town: Town) -> None:
    first, _, liar = await with_liar(town, MeshLimits(close_s=0.3))
    async with dialled(liar, first.port) as old, dialled(liar, first.port) as new:
        await new.send_bytes(encode_peer_message(status(2)))
        await ended(old)
        await until(lambda: (liar.address, status(2)) in first.received)
        assert not new.closed


async def test_a_flood_is_read_no_faster_than_the_quota(town: Town) -> None:
    limits = MeshLimits(frames_per_s=100, burst_s=1, close_s=0.3, write_s=0.5)
    node, flooder = town.node(), town.identity()
    frames = 250
    with pytest.raises(AssertionError, match="the quota admits every frame"):
        MeshLimits(size_bytes_per_s=1)
    await node.start(endpoint_of(flooder), limits=limits)
    loop = asyncio.get_running_loop()
    async with dialled(flooder, node.port) as connection:
        began_s = loop.time()
        for number in range(frames):
            await connection.send_bytes(encode_peer_message(status(number)))
        await until(lambda: len(node.received) == frames)
        took_s = loop.time() - began_s
    assert took_s > (frames - 100) / 100 * 0.9, "250 frames: 100 at once, the others at 100 per second"


async def test_silent_connections_are_closed_before_they_are_links(town: Town) -> None:
    first, second, liar = await with_liar(town)
    without_tls = await asyncio.open_connection("127.0.0.1", first.port)
    without_request = await asyncio.open_connection(
        "127.0.0.1", first.port, ssl=liar.client_ssl_context(), server_hostname=""
    )
    half_a_header = await asyncio.open_connection(
        "127.0.0.1", first.port, ssl=liar.client_ssl_context(), server_hostname=""
    )
    half_a_header[1].write(b"GET /p2p HTTP/1.1\r\nUpgrade: web")
    for reader, writer in (without_tls, without_request, half_a_header):
        async with asyncio.timeout(DEADLINE_S):
            with suppress(ConnectionError):  # closed by a reset
                assert await reader.read(1) == b""
        writer.close()
    assert first.counts.refused[MeshRefusal.HANDSHAKE_TIMEOUT.value] == 3
    await assert_unaffected(first, second)


async def test_connections_of_strangers_have_few_places(town: Town) -> None:
    limits = MeshLimits(handshakes_max=4, close_s=0.3)
    first, second, _ = await with_liar(town, limits)
    strangers = [await asyncio.open_connection("127.0.0.1", first.port) for _ in range(10)]
    await until(lambda: first.counts.refused[MeshRefusal.TOO_MANY_HANDSHAKES.value] == 6)
    assert sum(open_connections(first.port, remote=writer) for _, writer in strangers) == 4
    await second.stop()
    await second.start(first.endpoint, limits=limits)  # an honest peer still gets in
    await until(lambda: bool(meshed(second).connected()))
    for _, writer in strangers:
        writer.close()


async def test_a_peer_that_falls_silent_is_closed(town: Town) -> None:
    first, second, liar = await with_liar(town, MeshLimits(heartbeat_s=0.4, close_s=0.3))
    async with dialled(liar, first.port) as connection:
        await connection.send_bytes(encode_peer_message(status(1)))
        await until(lambda: bool(first.received))
        # it answers no ping, as a machine without power would not
        await until(lambda: first.counts.has_refused(MeshRefusal.IDLE))
    await assert_unaffected(first, second)


async def test_a_peer_that_trickles_a_frame_is_closed(town: Town) -> None:
    limits = MeshLimits(idle_s=0.6, heartbeat_s=0.4, close_s=0.3)
    node, liar = town.node(), town.identity()
    await node.start(endpoint_of(liar), limits=limits)
    async with dialled(liar, node.port) as connection:
        raw_write(connection, b"\x82\xfe\x10\x00" + bytes(4))
        async with asyncio.timeout(DEADLINE_S):
            while not node.counts.has_refused(MeshRefusal.IDLE):
                raw_write(connection, b"x")  # each byte ends the silence, none ends the frame
                await asyncio.sleep(0.02)


async def test_a_silent_listener_is_dialled_again(town: Town) -> None:
    """The dialling side sends pings, too: a peer that takes everything and answers nothing is left."""
    dialler, mute = town.node(), town.identity()
    async with listening(mute, free_port()) as endpoint:
        await dialler.start(endpoint)
        await until(lambda: dialler.counts.reconnects[endpoint.label] >= 2)


async def test_a_listeners_ping_is_answered(town: Town) -> None:
    dialler, pinger = town.node(), town.identity()
    answers: list[bytes] = []

    async def ping(connection: Connection, _: asyncio.Transport) -> None:
        await connection.ping(b"there?")
        while not answers:
            message = await connection.receive()
            if message.type is aiohttp.WSMsgType.PONG:
                answers.append(message.data)

    async with listening(pinger, free_port(), ping) as endpoint:
        await dialler.start(endpoint)
        await until(lambda: answers == [b"there?"])


async def test_a_listener_that_goes_before_its_pings_are_answered_stops_nobody(town: Town) -> None:
    dialler, hasty = town.node(), town.identity()
    few_at_once = replace(QUICK, frames_per_s=10, burst_s=1)

    async def ping_and_go(connection: Connection, transport: asyncio.Transport) -> None:
        for _ in range(20):
            await connection.ping(b"there?")
        transport.abort()

    async with listening(hasty, free_port(), ping_and_go) as endpoint:
        await dialler.start(endpoint, limits=few_at_once)
        await until(lambda: dialler.counts.reconnects[endpoint.label] >= 2)
    assert not meshed(dialler).failed.done()


async def test_a_listener_is_heard_on_the_link_that_was_dialled(town: Town) -> None:
    dialler, talker = town.node(), town.identity()

    async def talk(connection: Connection, _: asyncio.Transport) -> None:
        await connection.send_bytes(encode_peer_message(status(1)))
        await connection.send_bytes(b"\xc1garbage")
        await connection.receive()

    async with listening(talker, free_port(), talk) as endpoint:
        await dialler.start(endpoint)
        await until(lambda: dialler.counts.has_refused(MeshRefusal.MALFORMED_MESSAGE))
        await until(lambda: dialler.counts.reconnects[endpoint.label] >= 1)
    assert set(dialler.received) == {(talker.address, status(1))}


async def test_a_slow_reader_does_not_make_memory_grow(town: Town) -> None:
    limits = MeshLimits(write_s=60, heartbeat_s=60, queue_size_bytes_max=8 * 1024 * 1024, close_s=0.3)
    sender, mute = town.node(), town.identity()
    async with listening(mute, free_port()) as endpoint:
        mesh = await sender.start(endpoint, limits=limits)
        await until(lambda: bool(mesh.connected()))
        process = psutil.Process()
        before_bytes = process.memory_info().rss
        for number in range(500):
            body = Body(height=Height(number + 1), block=Digest(bytes(32)), proposal=bytes(1024 * 1024))
            mesh.send(mute.address, body)
            await asyncio.sleep(0)
        grown_bytes = process.memory_info().rss - before_bytes
        assert sender.counts.dropped[endpoint.label] > 450
        assert grown_bytes < 64 * 1024 * 1024, "500 MiB were sent"


async def test_a_reader_that_stalls_is_left_after_the_deadline(town: Town) -> None:
    more_than_the_kernel_takes = 32 * 1024 * 1024
    limits = MeshLimits(
        write_s=0.3,
        heartbeat_s=60,
        close_s=0.3,
        backoff_max_s=0.1,
        queue_size_bytes_max=more_than_the_kernel_takes,
    )
    sender, mute = town.node(), town.identity()
    async with listening(mute, free_port()) as endpoint:
        mesh = await sender.start(endpoint, limits=limits)
        await until(lambda: bool(mesh.connected()))
        for number in range(31):
            body = Body(height=Height(number + 1), block=Digest(bytes(32)), proposal=bytes(1024 * 1024))
            mesh.send(mute.address, body)
        await until(lambda: sender.counts.reconnects[endpoint.label] >= 1)


Connection = aiohttp.web.WebSocketResponse
Behaviour = Callable[[Connection, asyncio.Transport], Awaitable[None]]


async def neither_read_nor_answer(_: Connection, transport: asyncio.Transport) -> None:
    transport.pause_reading()
    await asyncio.get_running_loop().create_future()


@asynccontextmanager
async def listening(
    identity: Identity, port: int, behave: Behaviour = neither_read_nor_answer
) -> AsyncIterator[PeerEndpoint]:
    """A member that accepts every link as a WebSocket and then does as it likes."""

    async def accept(request: aiohttp.web.BaseRequest) -> aiohttp.web.StreamResponse:
        connection = aiohttp.web.WebSocketResponse(autoping=False)
        await connection.prepare(request)
        assert request.transport is not None
        await behave(connection, request.transport)
        return connection

    server = aiohttp.web.Server(accept, handler_cancellation=True)
    listener = await asyncio.get_running_loop().create_server(
        server, "127.0.0.1", port, ssl=identity.server_ssl_context(), ssl_shutdown_timeout=0.1
    )
    try:
        yield PeerEndpoint(address=identity.address, host="127.0.0.1", port=port)
    finally:
        listener.close()
        await server.shutdown(0.1)


def raw_write(connection: aiohttp.ClientWebSocketResponse, data: bytes) -> None:
    """Writes bytes past the WebSocket layer."""
    transport = connection._response.connection.transport  # type: ignore[union-attr]
    assert transport is not None
    transport.write(data)


def open_connections(port: int, remote: asyncio.StreamWriter | None = None) -> int:
    """Returns how many established connections this process's listening side has at a port."""
    own = None if remote is None else remote.get_extra_info("sockname")[1]
    return sum(
        connection.laddr.port == port
        and connection.status == psutil.CONN_ESTABLISHED
        and (own is None or connection.raddr.port == own)
        for connection in psutil.Process().net_connections("tcp")
    )


def established_sockets(port: int) -> list[socket.socket]:
    """Returns duplicates of this process's sockets of connections to or from a port."""
    return [
        socket.socket(fileno=os.dup(connection.fd))
        for connection in psutil.Process().net_connections("tcp")
        if connection.status == psutil.CONN_ESTABLISHED and port in (connection.laddr.port, connection.raddr.port)
    ]


# --- two processes with one key ------------------------------------------------------------------------------


async def test_two_processes_with_one_key_are_told_on_all_sides(town: Town) -> None:
    first, second, third = await town.started(3)
    copy = Node(first.identity, free_port())
    town.cleanup.push_async_callback(copy.stop)
    with capture_logs() as logs:
        await copy.start(second.endpoint, third.endpoint)
        for node in (first, copy):
            await until(
                lambda node=node: any("this node's key" in notice for notice in meshed(node).notices(name_of))
            )  # type: ignore[misc]
        name = name_of(first.address)
        for node in (second, third):
            await until(lambda node=node: any(f"the key of {name}" in text for text in meshed(node).notices(name_of)))  # type: ignore[misc]
    events = Counter((entry["event"], entry.get("peer")) for entry in logs if entry["log_level"] == "error")
    assert events.pop(("two processes use a member's key", name)) == 2, "once on each of the two others"
    assert {event for event, _ in events} == {"another process connects with this node's key"}
    assert all(count <= 2 for count in events.values()), "once in each process, by each of the others"
    (notice,) = meshed(second).notices(name_of)
    assert notice.startswith(f"Two processes use the key of {name}: one of them must stop")


@pytest.mark.parametrize("first_is_lower", [True, False])
@pytest.mark.parametrize("first_dials", [True, False])
async def test_a_second_process_is_noticed_whoever_dialled_and_whoever_decides(
    town: Town, first_dials: bool, first_is_lower: bool
) -> None:
    first, second = ordered_nodes(town, first_is_lower=first_is_lower)
    dialler, listener = (first, second) if first_dials else (second, first)
    late = replace(QUICK, backoff_initial_s=1)  # it finds nobody at first, and is dialled before it tries again
    await listener.start(dialler.endpoint, limits=late)
    await dialler.start(listener.endpoint)
    await until(lambda: bool(meshed(first).connected() and meshed(second).connected()))
    copy = Node(first.identity, free_port())
    town.cleanup.push_async_callback(copy.stop)
    await copy.start(second.endpoint)
    for node in (first, copy):
        await until(lambda node=node: any("this node's key" in text for text in meshed(node).notices(name_of)))  # type: ignore[misc]
    await until(lambda: any("Two processes use the key" in notice for notice in meshed(second).notices(name_of)))


async def test_restarts_are_no_second_process(town: Town) -> None:
    first, second = await town.started(2)
    for _ in range(4):
        await first.stop()
        await first.start(second.endpoint)
        await until(lambda: bool(meshed(first).connected() and meshed(second).connected()))
        meshed(first).send(second.address, status(1))
    assert not meshed(first).notices(name_of) + meshed(second).notices(name_of)


# --- wrong clocks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [timedelta(days=2), timedelta(days=-20)], ids=["not yet", "no longer"])
async def test_a_certificate_that_a_clock_would_refuse_links_as_long_as_the_chain_names_its_key(
    town: Town, ahead: timedelta
) -> None:
    """Accident: all certificates of a street run out on one day, or a home's clock is wrong. Only the chain ends a
    membership: without links it could not even decide that.
    """
    first, second = town.node(), town.node()
    now = datetime.now(UTC) + ahead
    issued = town.authority.issue(second.identity.node_key.public_key, now=now, validity=timedelta(days=1))
    second.identity.certificate_file.write_bytes(issued)
    await first.start(second.endpoint)
    await second.start(first.endpoint)
    await until(lambda: bool(meshed(first).connected() and meshed(second).connected()))
