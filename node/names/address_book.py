"""The address book of a home: who is called how, known here and nowhere else on the chain.

It is one private file of the home, which its node and the commands change in turn: each reads it, changes it and
writes it under a lock, so nothing is lost. The node reads it again when it changed.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta
from msgspec.structs import replace

from consensus.codec import Record
from consensus.identifiers import Address
from consensus.messages import AddressField
from ledger.side_files import write_whole
from node.errors import AddressBookError
from node.home.json_record import json_of, read_json_record
from node.names.card import Called, Forget

ENTRIES_MAX: Final = 1_024
"""Four times the members that a chain may have: who left stays until somebody removes it."""

FORGOTTEN_MAX: Final = 1_024
"""Each was a member of this chain."""

FILE_SIZE_BYTES_MAX: Final = 4 * 1024 * 1024
"""So many of the longest entries, each character written as six or twelve."""


class Entry(Record, frozen=True, kw_only=True):
    """How a member is called in this home."""

    address: AddressField
    called: Called


class Forgotten(Record, frozen=True, kw_only=True):
    """A member whose name this home forgot, and the word for it, which it passes on."""

    address: AddressField
    forget: Forget


class AddressBook(Record, frozen=True, kw_only=True, tag="p2pnode-2-address-book"):
    """What the file holds: each address once, each name once, and no name of who is forgotten."""

    entries: Annotated[tuple[Entry, ...], Meta(max_length=ENTRIES_MAX)] = ()
    forgotten: Annotated[tuple[Forgotten, ...], Meta(max_length=FORGOTTEN_MAX)] = ()
    """Who was forgotten last comes last."""

    def with_entry(self, address: Address, called: Called) -> "AddressBook":
        """Returns the book with an entry more, in the place of an earlier one of the same address.

        Raises:
            AddressBookError: it asked to be forgotten, another address has the name, or the book is full.
        """
        if any(one.address == address for one in self.forgotten):
            raise AddressBookError(f"{address.hex()[:16]} asked to be forgotten: no home gives it a name any more")
        others = tuple(entry for entry in self.entries if entry.address != address)
        namesake = next((entry for entry in others if entry.called.name == called.name), None)
        if namesake is not None:
            raise AddressBookError(
                f"{called.name!r} is {namesake.address.hex()[:16]} in this address book: two of one name would be "
                "mistaken for each other (p2pnode names set gives another name)"
            )
        if len(others) == ENTRIES_MAX:
            raise AddressBookError(f"the address book has {ENTRIES_MAX} entries, and takes no more")
        return replace(self, entries=(*others, Entry(address=address, called=called)))

    def forgetting(self, one: Forgotten) -> "AddressBook":
        """Returns the book without a member that is to be forgotten, remembered by its address. Beyond the bound the
        oldest is remembered no more; its name is gone all the same.
        """
        others = tuple(other for other in self.forgotten if other.forget.node_key != one.forget.node_key)
        return replace(self.without(one.address), forgotten=(*others, one)[-FORGOTTEN_MAX:])

    def without(self, address: Address) -> "AddressBook":
        """Returns the book without an address."""
        return replace(self, entries=tuple(entry for entry in self.entries if entry.address != address))


def load_book(path: Path) -> AddressBook:
    """Returns the address book in a file; an empty one if there is no file.

    Raises:
        AddressBookError: it cannot be read, or is none.
    """
    if not path.exists():
        return AddressBook()
    book = read_json_record(
        path, AddressBook, what="address book", size_bytes_max=FILE_SIZE_BYTES_MAX, refused=AddressBookError
    )
    for what in (
        [entry.address for entry in book.entries],
        [entry.called.name for entry in book.entries],
    ):
        if len(set(what)) < len(what):
            raise AddressBookError(f"{path}: is no address book: two entries have one address, or one name")
    return book


def change_book(path: Path, change: Callable[[AddressBook], AddressBook]) -> AddressBook:
    """Returns the book of a home as a change makes it, written down.

    Args:
        path: the file.
        change: from the book that is there to the one that is wanted.

    Raises:
        AddressBookError: the file is none, or the change refuses.
        OSError: the disk does not take it.
    """
    with _in_turn(path.parent):
        before = load_book(path)
        after = change(before)
        if after != before:
            write_whole(path, json_of(after), private=True)
        return after


def with_all(book: AddressBook, called: Iterable[tuple[Address, Called]]) -> AddressBook:
    """Returns a book with several entries more.

    Raises:
        AddressBookError: as `with_entry`.
    """
    for address, one in called:
        book = book.with_entry(address, one)
    return book


class WatchedBook:
    """The address book of a node that runs, which the commands change."""

    def __init__(self, path: Path) -> None:
        """Takes the file."""
        self._path = path
        self._seen: tuple[int, int, int] | None = (0, 0, 0)

    def changed(self) -> AddressBook | None:
        """Returns the book if it changed since the last call; None if it did not.

        Raises:
            AddressBookError: it changed, and is none.
        """
        seen = self._look()
        if seen == self._seen:
            return None
        self._seen = seen
        return load_book(self._path)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


@contextmanager
def _in_turn(directory: Path) -> Iterator[None]:
    """Waits for whoever else changes the book: the moment that it takes to write a file."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
