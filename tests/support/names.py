"""The names that tests call members by: home1, home2, ... in the order of genesis, as in a home's address book."""

from pathlib import Path

from consensus.cryptography import address_of
from contracts.genesis import Genesis
from ledger.ledger import Ledger
from node.names.address_book import AddressBook, Entry, change_book
from node.names.card import Called
from node.names.names import Names


def book_of(genesis: Genesis, *names: str) -> AddressBook:
    """Returns an address book with all members of a genesis, in its order; home1, ... without names."""
    given = names or tuple(f"home{number}" for number in range(1, len(genesis.members) + 1))
    return AddressBook(
        entries=tuple(
            Entry(address=address_of(member.node_key), called=Called(name=name, contact=""))
            for member, name in zip(genesis.members, given, strict=True)
        )
    )


def names_in(ledger: Ledger) -> Names:
    """Returns the names home1, home2, ... of those who founded a ledger's chain."""
    return Names(ledger.genesis, book_of(ledger.genesis))


def write_book(path: Path, genesis: Genesis, *names: str) -> None:
    """Writes an address book with all members of a genesis into a home."""
    book = book_of(genesis, *names)
    change_book(path, lambda _: book)
