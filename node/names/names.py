"""How addresses are shown: by the home's own address book to its people, by their beginning to everybody else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from consensus.identifiers import Address
from contracts.genesis import Genesis
from contracts.office_records import OfficeName
from contracts.offices import office_addresses
from node.errors import AddressBookError
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.logs import get_logger
from node.names.address_book import AddressBook, WatchedBook, load_book

LABEL_DIGITS: Final = 16
"""64 bits: nobody makes a key whose address begins as a neighbour's does."""

_OFFICES: Final = {
    OfficeName.AUTHORITY: "the authority",
    OfficeName.ISSUER: "the issuer",
    OfficeName.GRID: "the grid account",
}


def label_of(address: Address) -> str:
    """Returns what logs, metrics and strangers are told of a member: the beginning of its address."""
    return address.hex()[:LABEL_DIGITS]


def office_names(genesis: Genesis) -> Mapping[Address, str]:
    """Returns how the accounts that are no member's are called."""
    return {office: _OFFICES[name] for name, office in office_addresses(genesis).items()}


class Names:
    """How a home calls members and offices."""

    def __init__(self, genesis: Genesis, book: AddressBook) -> None:
        """Takes the chain's offices, and the home's address book."""
        called = {entry.address: entry.called.name for entry in book.entries}
        self._names: Mapping[Address, str] = {**called, **office_names(genesis)}

    def of(self, address: Address) -> str:
        """Returns the name in the address book, or of an office; else the address' beginning."""
        return self._names.get(address, label_of(address))

    def called(self, name: str) -> list[Address]:
        """Returns whom this home calls so."""
        return [address for address, known in self._names.items() if known == name]


def names_of_home(home: Home) -> Names:
    """Returns the names of a home, as of now.

    Raises:
        NodeError: genesis or the address book is damaged, or there is no genesis.
    """
    return Names(load_genesis(home), load_book(home.address_book))


class NamesOfHome:
    """The names of a home whose address book may change while its node runs."""

    def __init__(self, file: Path, genesis: Genesis) -> None:
        """Takes the file of the address book, and the chain."""
        self._book = WatchedBook(file)
        self._genesis = genesis
        self._names = Names(genesis, AddressBook())
        self._log = get_logger("names")

    def __call__(self) -> Names:
        """Returns the names as of now; of a damaged book none, which the log says once."""
        try:
            book = self._book.changed()
        except AddressBookError as damaged:
            book = AddressBook()
            self._log.warning("members are shown by their addresses", reason=str(damaged))
        if book is not None:
            self._names = Names(self._genesis, book)
        return self._names
