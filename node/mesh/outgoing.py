"""The outgoing half of the mesh: dials a peer while no link to it is up, whoever dialled that.

A peer is dialled again, for ever, with growing pauses, at one of its places after the other (`dial_schedule.py`); a
name is resolved anew each time. One that nobody can dial, as behind a router that forwards
nothing, dials itself: its link carries both directions (`link.py`).
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import aiohttp
from yarl import URL

from consensus.identifiers import PublicKey
from node.admission.endpoint import Endpoint
from node.admission.identity import key_of_peer
from node.errors import IdentityError, WrongRole
from node.mesh.dial_schedule import DialSchedule
from node.mesh.limits import MESH_PATH, MemberOf, MeshCounters, MeshLimits, MeshRefusal, PeerEndpoint
from node.mesh.link import Connection, PeerLink
from node.mesh.messages import FRAME_SIZE_BYTES_MAX
from node.mesh.own_certificates import OwnCertificates
from node.mesh.shared_key import PROCESS_HEADER
from node.names.names import label_of


class DialledWebSocket(aiohttp.ClientWebSocketResponse):
    """A WebSocket that still knows what the peer's answer to its request showed."""

    @property
    def process_id(self) -> str | None:
        """The peer's process id, None if it shows none."""
        return self._response.headers.get(PROCESS_HEADER)


class Dialler:
    """Keeps a link to one peer up from this side."""

    def __init__(
        self,
        *,
        link: PeerLink,
        places_of: Callable[[PeerEndpoint], Sequence[Endpoint]],
        member_of: MemberOf,
        session: aiohttp.ClientSession,
        certificates: OwnCertificates,
        limits: MeshLimits,
        counters: MeshCounters,
        process_id: str,
    ) -> None:
        """Takes the link to the peer, where to dial it, whose a node key is, a session to dial with that makes each
        WebSocket a `DialledWebSocket`, the certificates that this node shows, and this process's id.
        """
        self._link = link
        self._places_of = places_of
        self._schedule = DialSchedule(first=link.endpoint.first, limits=limits)
        self._has_changed = asyncio.Event()
        self._member_of = member_of
        self._session = session
        self._certificates = certificates
        self._limits = limits
        self._counters = counters
        self._process_id = process_id

    def look_again(self) -> None:
        """Has the places looked at again, if it waits for its next attempt."""
        self._has_changed.set()

    async def run(self) -> None:
        """Dials whenever no link is up, until cancelled."""
        clock = asyncio.get_running_loop()
        while True:
            if self._link.connected:
                await self._link.wait_until_down()
                self._schedule.link_ended(clock.time())
            self._has_changed.clear()
            places = self._places_of(self._link.endpoint)
            if not places:  # of who joined, until it says where it is
                await self._has_changed.wait()
                continue
            place, due_s = self._schedule.next(places)
            if due_s > clock.time():
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(due_s):
                        await self._has_changed.wait()
            elif not self._link.connected:
                await self._try(place)

    async def _try(self, place: Endpoint) -> None:
        """Dials a place, and serves the link until it ends."""
        clock = asyncio.get_running_loop()
        try:
            connection = await self._dial(place)
        except Exception as error:  # noqa: BLE001  (whatever a peer's bytes do in a library never stops the node)
            self._note(_reason(error))
            self._schedule.failed(place, clock.time())
            return
        self._schedule.found(place)
        up_since_s = clock.time()
        await self._link.serve(connection)
        if clock.time() - up_since_s > self._limits.backoff_max_s:
            self._schedule.link_ended(clock.time())
        else:
            self._schedule.failed(place, clock.time())

    async def _dial(self, place: Endpoint) -> Connection:
        """Returns a connection to exactly this peer, ready to use."""
        url = URL.build(scheme="wss", host=place.host, port=place.port, path=MESH_PATH)
        async with asyncio.timeout(self._limits.handshake_s):
            websocket = await self._session.ws_connect(
                url,
                ssl=self._certificates.for_link().client,
                headers={PROCESS_HEADER: self._process_id},
                heartbeat=self._limits.heartbeat_s,
                autoping=False,  # pings count in the quota
                compress=0,
                max_msg_size=FRAME_SIZE_BYTES_MAX + 1,  # aiohttp refuses a frame of exactly this size
                timeout=aiohttp.ClientWSTimeout(ws_close=self._limits.close_s),
            )
        assert isinstance(websocket, DialledWebSocket), "the session was made so"
        key = _key_of(websocket)
        actual = self._member_of(key) if isinstance(key, bytes) else None
        if actual != self._link.endpoint.address:
            refusal = MeshRefusal.WRONG_ROLE if isinstance(key, WrongRole) else MeshRefusal.WRONG_PEER
            self._counters.on_message_refused(refusal.value)
            await websocket.close(code=aiohttp.WSCloseCode.POLICY_VIOLATION)
            if isinstance(key, WrongRole):
                raise ConnectionRefusedError(f"no member answers at {place}: {key}")
            if actual is None:
                raise ConnectionRefusedError(f"no member answers at {place}: {_STRANGER}")
            raise ConnectionRefusedError(f"another member answers at {place}: {label_of(actual)}")
        assert isinstance(key, bytes), "it is the peer's"
        return Connection(websocket, key=key, is_dialled=True, process_id=websocket.process_id)

    def _note(self, failure: str) -> None:
        if not self._link.connected:  # else the peer dialled meanwhile
            self._link.note(failure)


_STRANGER: Final = (
    "the key of its certificate is nobody's, as far as this home has followed the chain. After a long absence "
    "`p2pnode member return` finds the members by their keys of today"
)


def _key_of(websocket: aiohttp.ClientWebSocketResponse) -> PublicKey | WrongRole | None:
    encrypted = websocket.get_extra_info("ssl_object")
    if encrypted is None:  # the connection is already lost
        return None
    try:
        return key_of_peer(encrypted)
    except WrongRole as refused:
        return refused
    except (IdentityError, ValueError):  # ValueError: a certificate that OpenSSL reads and cryptography does not
        return None


def _reason(error: BaseException) -> str:
    """Returns why a peer cannot be dialled, in words that stay the same from one attempt to the next."""
    match error:
        case aiohttp.WSServerHandshakeError():
            is_stranger = error.status == HTTPStatus.FORBIDDEN
            nobody = "the peer knows no member with the key of this node's certificate: was it removed or replaced?"
            return nobody if is_stranger else f"the peer refuses the link: status {error.status}"
        case aiohttp.ClientConnectorCertificateError():
            return f"the peer's certificate is refused: {error.certificate_error}"
        case aiohttp.ServerDisconnectedError():
            return "the peer ends the connection, as where its authority refuses this node's certificate"
        case aiohttp.ClientConnectorError():
            return error.os_error.strerror or type(error.os_error).__name__
        case TimeoutError():
            return "no answer"
        case _:
            return f"{type(error).__name__}: {error}"
