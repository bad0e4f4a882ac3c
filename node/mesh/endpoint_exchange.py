"""Says where this node is, hears where the others are, passes on what is new, and writes it down.

A peer is told all that is known as a link to it comes up; from then on only what is new, once. So a home that moves
needs one link to anybody, of its own or of others', and one that was away hears of it from whom it meets first.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest
from contracts.units import Milliseconds
from node.admission.endpoint import Endpoint
from node.errors import EndpointsDamaged
from node.logs import get_logger
from node.mesh.endpoint_book import EndpointBook, EndpointRefusal
from node.mesh.endpoint_file import load_endpoints, save_endpoints
from node.mesh.endpoint_record import Place, sign_record
from node.mesh.endpoints import places_of
from node.mesh.limits import MemberOf, PeerEndpoint
from node.mesh.messages import EndpointRecords

LOOK_S: Final = 1.0
"""Between two looks at what is to be signed and written down."""

VALIDITY_MS: Final = 7 * 24 * 3_600 * 1_000
"""Of a record; its home signs the next one at half of it."""

SIGNED_AGAIN_LOOKS: Final = 15
"""Least time between two own records: others take six a minute of one home."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangePorts:
    """What the exchange needs of the world."""

    send: Callable[[Address, EndpointRecords], None]
    connected: Callable[[], frozenset[Address]]
    moved: Callable[[Address], None]
    """Called with a member of which there is a newer record."""
    member_of: MemberOf
    refused: Callable[[str], None]
    """Counts a record that a peer brought and that is not kept."""
    wall_ms: Callable[[], int]
    clock_s: Callable[[], float]
    """Monotonic."""


class EndpointExchange:
    """This node's part in telling where the members are."""

    def __init__(
        self, *, key: SigningKey, chain: Digest, places: tuple[Place, ...], file: Path, ports: ExchangePorts
    ) -> None:
        """Takes up what the file holds; a damaged one is told, and begun anew.

        Args:
            key: the node key.
            chain: hash of genesis.
            places: where this node says that it is; none: it says nothing.
            file: where what is known stays.
            ports: the world.
        """
        self._key = key
        self._chain = chain
        self._places = places
        self._file = file
        self._ports = ports
        self._log = get_logger("mesh")
        self._is_saved = True
        self._looks_to_wait = 0
        self.book: Final = EndpointBook(
            own_key=key.public_key,
            chain=chain,
            member_of=ports.member_of,
            clock_s=ports.clock_s,
            refused=self._refused,
        )
        self._restore()
        if not places:
            self._log.warning(
                "this node tells nobody where it is: it listens on every address of the machine, and its certificate "
                "names none; set [p2p] advertise"
            )

    def places_of(self, peer: PeerEndpoint) -> tuple[Endpoint, ...]:
        """Returns where to dial a peer now, in the order to try."""
        return places_of(peer, self.book.records_of(peer.address), self._ports.wall_ms())

    def on_link(self, peer: Address) -> None:
        """Tells a peer, to which a link came up, all that is known."""
        raws = self.book.raws()
        if raws:
            self._ports.send(peer, EndpointRecords(raw=raws))

    def on_records(self, sender: Address, message: EndpointRecords) -> None:
        """Keeps what is new, looks for those members there, and passes it on."""
        new = self.book.take(sender, message.raw)
        if not new:
            return
        self._is_saved = False
        for record in new:
            member = self._ports.member_of(record.node_key)
            assert member is not None, "it was kept"
            self._ports.moved(member)
        self._tell((encode(record) for record in new), but=sender)

    async def run(self) -> None:
        """Looks what there is to do until cancelled; then writes down what is not."""
        try:
            while True:
                self.look()
                await asyncio.sleep(LOOK_S)
        finally:
            self._save()

    def look(self) -> None:
        """Signs what is due, and writes down what is new."""
        self._looks_to_wait = max(0, self._looks_to_wait - 1)
        if self._places and self._looks_to_wait == 0 and self._is_due():
            self._looks_to_wait = SIGNED_AGAIN_LOOKS
            self._sign()
        self._save()

    def _is_due(self) -> bool:
        own = self.book.own
        if own is None or own.places != self._places or self.book.is_outdone:
            return True
        left_ms = own.expires_ms - self._ports.wall_ms()
        return not VALIDITY_MS // 2 < left_ms <= VALIDITY_MS  # more is left if the clock was ahead

    def _sign(self) -> None:
        wall_ms = max(0, self._ports.wall_ms())
        record = sign_record(
            self._key,
            chain=self._chain,
            places=self._places,
            sequence=self.book.next_sequence(wall_ms),
            expires_ms=Milliseconds(wall_ms + VALIDITY_MS),
        )
        self.book.keep_own(record)
        self._is_saved = False
        self._tell((encode(record),))

    def _tell(self, raws: Iterable[bytes], *, but: Address | None = None) -> None:
        message = EndpointRecords(raw=tuple(raws))
        for peer in self._ports.connected() - {but}:
            self._ports.send(peer, message)

    def _refused(self, refusal: EndpointRefusal) -> None:
        self._ports.refused(refusal.value)

    def _restore(self) -> None:
        try:
            self.book.restore(load_endpoints(self._file, self._chain))
        except EndpointsDamaged as damaged:
            self._log.warning("begun anew, with the peers of meter.toml", reason=str(damaged))

    def _save(self) -> None:
        if self._is_saved:
            return
        self._is_saved = True  # or tried: it is only a cache, and the next news tries again
        try:
            save_endpoints(self._file, self._chain, self.book.raws())
        except OSError as error:
            self._log.warning("cannot be written", file=str(self._file), reason=error.strerror)
