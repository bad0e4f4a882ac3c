"""The outgoing half of the mesh: dials a peer while no link to it is up, whoever dialled that.

A peer is dialled again, for ever, with growing pauses. One that nobody can dial, as behind a router that forwards
nothing, dials itself: its link carries both directions (`mesh_link`).
"""

import asyncio
import random
import ssl

import aiohttp
from yarl import URL

from consensus.identifiers import Address
from node.admission.identity import address_of_peer
from node.errors import IdentityError
from node.mesh.limits import MESH_PATH, MeshCounters, MeshLimits, MeshRefusal
from node.mesh.link import PeerLink
from node.mesh.messages import FRAME_SIZE_BYTES_MAX


class Dialler:
    """Keeps a link to one peer up from this side."""

    def __init__(
        self,
        *,
        link: PeerLink,
        session: aiohttp.ClientSession,
        context: ssl.SSLContext,
        limits: MeshLimits,
        counters: MeshCounters,
    ) -> None:
        """Takes the link to the peer, the session to dial with and the TLS context that shows this node's
        certificate.
        """
        endpoint = link.endpoint
        self._link = link
        self._url = URL.build(scheme="wss", host=endpoint.host, port=endpoint.port, path=MESH_PATH)
        self._session = session
        self._context = context
        self._limits = limits
        self._counters = counters

    async def run(self) -> None:
        """Dials whenever no link is up, until cancelled."""
        clock = asyncio.get_running_loop()
        failures = 0
        while True:
            if self._link.connected:
                await self._link.wait_until_down()
                failures = 0
            else:
                try:
                    connection = await self._dial()
                except Exception as error:  # noqa: BLE001  (whatever a peer's bytes do in a library never stops the node)
                    self._note(_reason(error))
                else:
                    up_since_s = clock.time()
                    await self._link.serve(connection, is_dialled=True)
                    if clock.time() - up_since_s > self._limits.backoff_max_s:
                        failures = 0
            await asyncio.sleep(_pause_s(self._limits, failures))
            failures += 1

    async def _dial(self) -> aiohttp.ClientWebSocketResponse:
        """Returns a connection to exactly this peer, ready to use."""
        async with asyncio.timeout(self._limits.handshake_s):
            connection = await self._session.ws_connect(
                self._url,
                ssl=self._context,
                heartbeat=self._limits.heartbeat_s,
                autoping=False,  # pings count in the quota
                compress=0,
                max_msg_size=FRAME_SIZE_BYTES_MAX + 1,  # aiohttp refuses a frame of exactly this size
                timeout=aiohttp.ClientWSTimeout(ws_close=self._limits.close_s),
            )
        actual = _peer_of(connection)
        if actual != self._link.endpoint.address:
            self._counters.on_message_refused(MeshRefusal.WRONG_PEER.value)
            await connection.close(code=aiohttp.WSCloseCode.POLICY_VIOLATION)
            shown = "none" if actual is None else actual.hex()[:8]
            raise ConnectionRefusedError(f"another member answers at {self._url.authority}: {shown}")
        return connection

    def _note(self, failure: str) -> None:
        if not self._link.connected:  # else the peer dialled meanwhile
            self._link.note(failure)


def _peer_of(connection: aiohttp.ClientWebSocketResponse) -> Address | None:
    encrypted = connection.get_extra_info("ssl_object")
    if encrypted is None:  # the connection is already lost
        return None
    try:
        return address_of_peer(encrypted)
    except (IdentityError, ValueError):  # ValueError: a certificate that OpenSSL reads and cryptography does not
        return None


def _reason(error: BaseException) -> str:
    """Returns why a peer cannot be dialled, in words that stay the same from one attempt to the next."""
    match error:
        case aiohttp.WSServerHandshakeError():
            return f"the peer refuses the link: status {error.status}"
        case aiohttp.ClientConnectorCertificateError():
            return f"the peer's certificate is refused: {error.certificate_error}"
        case aiohttp.ClientConnectorError():
            return error.os_error.strerror or type(error.os_error).__name__
        case TimeoutError():
            return "no answer"
        case _:
            return f"{type(error).__name__}: {error}"


def _pause_s(limits: MeshLimits, failures: int) -> float:
    """Returns the pause before the next attempt; random, so that restarted nodes do not dial in step."""
    growth = 2.0 ** min(failures, 16)
    longest_s = min(limits.backoff_max_s, limits.backoff_initial_s * growth)
    return longest_s * random.uniform(0.5, 1.0)  # noqa: S311  (nobody gains by guessing a pause)
