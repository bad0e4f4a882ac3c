"""Passes on who wants to be forgotten: a home that left says so once, and every member that hears of it obeys.

A peer is told all that is known as a link to it comes up, and again every hour: a home that joined or was far behind
may not have known at first whose key it is. In between only what is new is told, once.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consensus.codec import DecodeError, encode
from consensus.identifiers import Address, PublicKey
from node.errors import AddressBookError
from node.logs import get_logger
from node.mesh.messages import FORGETS_PER_MESSAGE_MAX, ForgetNotes
from node.names.address_book import AddressBook, Forgotten, WatchedBook, change_book
from node.names.card import Forget, decode_forget
from node.names.names import label_of

LOOK_S: Final = 1.0
"""Between two looks at the address book, which the commands change."""

RETOLD_LOOKS: Final = 3_600
"""Between two times that everybody is told everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetPorts:
    """What the exchange needs of the world."""

    send: Callable[[Address, ForgetNotes], None]
    connected: Callable[[], frozenset[Address]]
    whose: Callable[[PublicKey], Address | None]
    """Says whose last node key this is, of members and of who left; None for a key of nobody."""
    refused: Callable[[str], None]
    """Counts what a peer brought and is not obeyed."""


class ForgetExchange:
    """This node's part in forgetting who left."""

    def __init__(self, *, file: Path, ports: ForgetPorts) -> None:
        """Takes the file of the home's address book, and the world."""
        self._file = file
        self._book = WatchedBook(file)
        self._ports = ports
        self._known: dict[PublicKey, Forget] = {}
        self._looks_to_wait = RETOLD_LOOKS
        self._log = get_logger("names")

    def on_link(self, peer: Address) -> None:
        """Tells a peer, to which a link came up, all that is known."""
        self._tell(tuple(self._known.values()), {peer})

    def on_notes(self, sender: Address, message: ForgetNotes) -> None:
        """Obeys what is new, and passes it on. The first bad one of a message ends it: a liar's costs one check."""
        new: dict[PublicKey, Forgotten] = {}
        for raw in message.raw:
            try:
                forget = decode_forget(raw)
            except DecodeError:
                self._ports.refused("bad_forget")
                break
            if forget.node_key in self._known or forget.node_key in new:
                continue
            address = self._ports.whose(forget.node_key)
            if address is None:
                continue  # of nobody, or of who joined above this node's height
            if not forget.is_signed:
                self._ports.refused("bad_forget")
                break
            new[forget.node_key] = Forgotten(address=address, forget=forget)
        if new and self._obey(tuple(new.values())):
            self._take_up({key: one.forget for key, one in new.items()}, but=sender)

    def _obey(self, new: tuple[Forgotten, ...]) -> bool:
        def change(book: AddressBook) -> AddressBook:
            for one in new:
                book = book.forgetting(one)
            return book

        try:
            change_book(self._file, change)
        except (AddressBookError, OSError) as error:
            self._log.warning("a forget waits for the address book", reason=str(error))
            return False
        for one in new:
            self._log.info("forgot who lived there", member=label_of(one.address))
        return True

    async def run(self) -> None:
        """Looks what the commands added until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Passes on what the home's people added to the book; tells everybody everything now and then."""
        try:
            book = self._book.changed()
        except AddressBookError:
            book = None  # who reads the names says so
        if book is not None:
            self._take_up({one.forget.node_key: one.forget for one in book.forgotten})
        self._looks_to_wait -= 1
        if self._looks_to_wait == 0:
            self._looks_to_wait = RETOLD_LOOKS
            self._tell(tuple(self._known.values()), self._ports.connected())

    def _take_up(self, known: dict[PublicKey, Forget], *, but: Address | None = None) -> None:
        new = tuple(forget for key, forget in known.items() if key not in self._known)
        self._known |= known
        self._tell(new, self._ports.connected() - {but})

    def _tell(self, forgets: tuple[Forget, ...], peers: frozenset[Address] | set[Address]) -> None:
        for first in range(0, len(forgets), FORGETS_PER_MESSAGE_MAX):
            raw = tuple(encode(forget) for forget in forgets[first : first + FORGETS_PER_MESSAGE_MAX])
            for peer in peers:
                self._ports.send(peer, ForgetNotes(raw=raw))
