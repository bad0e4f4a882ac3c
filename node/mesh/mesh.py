"""The mesh: one link over mutual TLS between every two members, whoever of them dialled. Candidates have links as
well: who is to become a member follows the chain before.

A frame is the canonical encoding of one message, in one binary WebSocket frame. Who sent it is the member whose
node key the certificate of the link has, never something in the frame. Nothing here waits for a peer: sending
fills a bounded queue, receiving is bounded in rate and size (`link.py`) and in the number of connections
(`incoming.py`). Messages may be lost whenever a link breaks: consensus sends again.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

import aiohttp

from consensus.identifiers import Address, PublicKey
from node.admission.endpoint import Endpoint
from node.admission.identity import Identity
from node.mesh.incoming import LISTEN_BACKLOG, IncomingLinks
from node.mesh.limits import MemberOf, MeshCounters, MeshLimits, PeerEndpoint
from node.mesh.link import PeerLink
from node.mesh.messages import PeerMessage, encode_peer_message
from node.mesh.outgoing import DialledWebSocket, Dialler
from node.mesh.own_certificates import OwnCertificates
from node.mesh.shared_key import draw_process_id

STOP_ONE: Final = "one of them must stop, as both sign with it and what they sign will contradict itself"


class Mesh:
    """The links of one node to all other members."""

    def __init__(
        self,
        *,
        identity: Identity,
        peers: Sequence[PeerEndpoint],
        places_of: Callable[[PeerEndpoint], Sequence[Endpoint]],
        member_of: MemberOf,
        listen_host: str,
        listen_port: int,
        handler: Callable[[Address, PeerMessage], None],
        on_link: Callable[[Address], None],
        metrics: MeshCounters,
        limits: MeshLimits | None = None,
        other: Identity | None = None,
    ) -> None:
        """Takes everything; touches no socket before `start`.

        Args:
            identity: this node's keys and certificates.
            peers: other members that this home's files name; who else is admitted, `admit` says.
            places_of: where to dial a peer now, in the order to try; none where nobody said where it is.
            member_of: whose a node key is.
            listen_host: name or address to listen on.
            listen_port: port to listen on; 0 chooses a free one.
            handler: called in the event loop with a sender and its message, in the sender's order; must not
                block. What it raises is a bug of this node and ends up in `failed`.
            on_link: called likewise with a peer to which a connection came up, before any of its messages.
            metrics: counts what happens.
            limits: bounds, the defaults if None.
            other: with the other node key and certificate of a node that exchanges its key; None: it does not.
        """
        assert all(peer.address != identity.address for peer in peers), "a node is not its own peer"
        assert len({peer.address for peer in peers}) == len(peers), "a peer has one endpoint"
        self._identity = identity
        self._other = other
        self._peers = tuple(peers)
        self._admitted: frozenset[Address] = frozenset()
        self._places_of = places_of
        self._member_of = member_of
        self._listen_host = listen_host
        self._listen_port = listen_port
        self._handler = handler
        self._on_link = on_link
        self._metrics = metrics
        self._limits = MeshLimits() if limits is None else limits
        self._links: dict[Address, PeerLink] = {}
        self._diallers: dict[Address, Dialler] = {}
        self._tasks: dict[asyncio.Task[None], Address | None] = {}
        """With the peer that a task serves, if it serves one."""
        self._session: aiohttp.ClientSession | None = None
        self._certificates: OwnCertificates | None = None
        self._process_id = ""
        self._incoming: IncomingLinks | None = None
        self._failed: asyncio.Future[None] | None = None

    @property
    def failed(self) -> asyncio.Future[None]:
        """Gets the exception that shows a bug of this node: the daemon must stop. Cancelled by `stop`."""
        assert self._failed is not None, "the mesh is started"
        return self._failed

    @property
    def port(self) -> int:
        """The port that the mesh listens on."""
        return self._listen_port

    async def start(self) -> None:
        """Listens, and begins to dial every peer.

        Raises:
            OSError: it cannot listen there.
            IdentityError: the certificates are not usable.
        """
        assert self._failed is None, "a mesh starts once"
        certificates = OwnCertificates([one for one in (self._identity, self._other) if one is not None])
        listener = await _listen(self._listen_host, self._listen_port)
        self._listen_port = listener.getsockname()[1]
        self._failed = asyncio.get_running_loop().create_future()
        self._certificates = certificates
        self._process_id = draw_process_id()
        self._incoming = IncomingLinks(
            certificates=certificates,
            member_of=self._member_of,
            listener=listener,
            limits=self._limits,
            counters=self._metrics,
            process_id=self._process_id,
        )
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, use_dns_cache=False),  # a name is resolved anew at every dial
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),  # each link has its own deadlines
            ws_response_class=DialledWebSocket,
        )
        self._supervise(self._incoming.run())
        for peer in (*self._peers, *self._known_by_state()):
            self._open(peer)

    def _known_by_state(self) -> list[PeerEndpoint]:
        return [PeerEndpoint(address=address) for address in self._admitted]

    def _open(self, peer: PeerEndpoint) -> None:
        """Begins to dial a peer, and to admit it."""
        assert self._session is not None, "the mesh is started"
        assert self._incoming is not None
        assert self._certificates is not None
        link = self._links[peer.address] = PeerLink(
            endpoint=peer,
            own=self._identity.address,
            handler=self._handler,
            on_up=self._on_link,
            on_failure=self._on_failure,
            limits=self._limits,
            counters=self._metrics,
        )
        dialler = self._diallers[peer.address] = Dialler(
            link=link,
            places_of=self._places_of,
            member_of=self._member_of,
            session=self._session,
            certificates=self._certificates,
            limits=self._limits,
            counters=self._metrics,
            process_id=self._process_id,
        )
        self._incoming.admit(link)
        self._supervise(dialler.run(), peer.address)
        self._supervise(link.send_queued(), peer.address)

    def admit(self, known: Iterable[Address]) -> None:
        """Has links to these, besides the peers that this home's files name, and to nobody else any more; and under
        no key that was exchanged since.

        Args:
            known: who the chain's state says is a member, a candidate, or was a member lately.
        """
        configured = {peer.address for peer in self._peers}
        wanted = frozenset(known) - configured
        before, self._admitted = self._admitted, wanted
        if self._incoming is None:
            return
        for address in before - wanted:
            self._close(address)
        for link in self._links.values():
            link.end_other_keys(self._member_of)
        for address in wanted - before:
            self._open(PeerEndpoint(address=address))

    def _close(self, address: Address) -> None:
        assert self._incoming is not None, "the mesh is started"
        self._incoming.dismiss(address)
        del self._links[address], self._diallers[address]
        for task, peer in self._tasks.items():
            if peer == address:
                task.cancel()

    async def stop(self) -> None:
        """Closes every link and the listening socket; what is still queued is dropped."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._incoming is not None:
            await self._incoming.stop()
        if self._session is not None:
            await self._session.close()
        if self._failed is not None:
            self._failed.cancel()

    def send(self, recipient: Address, message: PeerMessage) -> None:
        """Queues a message for one peer; never waits, and drops the oldest when the queue is full. A member of past
        heights that a ceremony removed is no peer: what would go there is dropped.
        """
        link = self._links.get(recipient)
        if link is not None:
            link.put(encode_peer_message(message))

    def send_bulk(self, recipient: Address, message: PeerMessage) -> None:
        """Queues a message that leaves only while no other waits for this peer; dropped where it has no room."""
        link = self._links.get(recipient)
        if link is not None:
            link.put_bulk(encode_peer_message(message))

    def broadcast(self, message: PeerMessage) -> None:
        """Queues a message, encoded once, for every peer."""
        frame = encode_peer_message(message)
        for link in self._links.values():
            link.put(frame)

    def show_alone(self, key: PublicKey) -> None:
        """Opens links with the certificate of one key alone: the other one of this node is of no use any more."""
        if self._certificates is not None:
            self._certificates.show_alone(key)

    def look_again(self, peer: Address) -> None:
        """Looks for a peer at the places that there are for it now; a link that stands is left as it is."""
        dialler = self._diallers.get(peer)
        if dialler is not None:
            dialler.look_again()

    def connected(self) -> frozenset[Address]:
        """Returns the peers to which a link is up."""
        return frozenset(address for address, link in self._links.items() if link.connected)

    def notices(self, name_of: Callable[[Address], str]) -> tuple[str, ...]:
        """Returns what somebody must put right so that the links work, a sentence each.

        Args:
            name_of: how the reader calls the others.
        """
        links = [(name_of(address), link) for address, link in self._links.items()]
        told_by = ", ".join(name for name, link in links if link.is_own_key_shared)
        own = [f"Another process connects with this node's key, as {told_by} noticed: {STOP_ONE}."] if told_by else []
        return (
            *own,
            *(f"Two processes use the key of {name}: {STOP_ONE}." for name, link in links if link.is_peer_key_shared),
            *(f"The link to {name} is down: {link.problem}" for name, link in links if "certificate" in link.problem),
        )

    def _supervise(self, work: Coroutine[Any, Any, None], peer: Address | None = None) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._on_ended)
        self._tasks[task] = peer

    def _on_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (bug := task.exception()) is not None:
            self._on_failure(bug)

    def _on_failure(self, bug: BaseException) -> None:
        assert self._failed is not None, "failures come from started parts"
        if not self._failed.done():
            self._failed.set_exception(bug)


async def _listen(host: str, port: int) -> socket.socket:
    """Returns a listening, non-blocking socket on the first address that the host name stands for."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, place = found[0]
    is_every = place[0] == "::" and socket.has_dualstack_ipv6()
    listener = socket.create_server(
        (place[0], place[1]), family=family, backlog=LISTEN_BACKLOG, dualstack_ipv6=is_every
    )
    listener.settimeout(0)  # as the event loop wants it: never blocking
    return listener
