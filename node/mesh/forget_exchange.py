"""Passes on who wants to be forgotten: a home that left says so once, and every member that hears of it obeys.

A peer is told all that is known as a link to it comes up, and again every hour: a home that joined or was far behind
may not have known at first whose key it is. In between only what is new is told, once.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from consensus.codec import DecodeError, encode
from consensus.identifiers import Address, PublicKey
from node.errors import AddressBookError
from node.logs import get_logger
from node.mesh.limits import MemberOf
from node.mesh.messages import FORGETS_PER_MESSAGE_MAX, ForgetNotes
from node.names.address_book import FORGOTTEN_MAX, AddressBook, Forgotten, WatchedBook, change_book
from node.names.card import Forget, decode_forget
from node.names.names import label_of

LOOK_S: Final = 1.0
"""Between two looks at the address book, which the commands change."""

LOOKS_PER_MINUTE: Final = 60

LOOKED_AT_MAX: Final = FORGOTTEN_MAX
"""Of what one peer brings in a minute: all that an honest one remembers."""

RETOLD_LOOKS: Final = 60 * LOOKS_PER_MINUTE
"""Between two times that everybody is told everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetPorts:
    """What the exchange needs of the world."""

    send: Callable[[Address, ForgetNotes], None]
    connected: Callable[[], frozenset[Address]]
    member_of: MemberOf
    who_left: Callable[[], Mapping[PublicKey, Address]]
    """Reads the last node keys of those that left, from the state."""
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
        self._looked_at: Counter[Address] = Counter()
        """What each peer brought this minute and nobody here knew."""
        self._looks_to_wait = RETOLD_LOOKS
        self._log = get_logger("names")

    def on_link(self, peer: Address) -> None:
        """Tells a peer, to which a link came up, all that is known."""
        self._tell(tuple(self._known.values()), {peer})

    def on_notes(self, sender: Address, message: ForgetNotes) -> None:
        """Obeys what is new, and passes it on. Who brings a bad one, or more in a minute than there can be, is not
        heard until that is over; what it did not get to say is told again.
        """
        new: dict[PublicKey, Forgotten] = {}
        gone: Mapping[PublicKey, Address] | None = None
        for raw in message.raw:
            if self._looked_at[sender] >= LOOKED_AT_MAX:
                break
            try:
                forget = decode_forget(raw)
            except DecodeError:
                self._refuse(sender)
                break
            if forget.node_key in self._known or forget.node_key in new:
                continue
            self._looked_at[sender] += 1
            address = self._ports.member_of(forget.node_key)
            if address is None:
                gone = self._ports.who_left() if gone is None else gone
                address = gone.get(forget.node_key)
            if address is None:
                continue  # of nobody, or of who joined above this node's height
            if not forget.is_signed:
                self._refuse(sender)
                break
            new[forget.node_key] = Forgotten(address=address, forget=forget)
        if new and self._obey(tuple(new.values())):
            self._take_up({key: one.forget for key, one in new.items()}, but=sender)

    def _refuse(self, sender: Address) -> None:
        self._looked_at[sender] = LOOKED_AT_MAX
        self._ports.refused("bad_forget")

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
        if self._looks_to_wait % LOOKS_PER_MINUTE == 0:
            self._looked_at.clear()
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
