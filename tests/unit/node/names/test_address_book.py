"""A home's address book, and the cards that fill it: what a liar writes on one, and two who write at once."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from consensus.cryptography import SigningKey
from node.errors import AddressBookError
from node.home.json_record import json_of
from node.names.address_book import ENTRIES_MAX, AddressBook, Entry, change_book, load_book
from node.names.card import CONTACT_LENGTH_MAX, call, read_card, sign_card
from node.names.names import Names, NamesOfHome
from tests.support.contracts import make_genesis, seeded_key
from tests.support.names import book_of

HOMES = make_genesis(4)
FIRST, SECOND, *_ = HOMES.addresses
KEY = seeded_key("node", 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "address-book.json"


def put(path: Path, address: bytes, name: str) -> AddressBook:
    return change_book(path, lambda book: book.with_entry(address, call(name)))  # type: ignore[arg-type]


# --- cards -----------------------------------------------------------------------------------------------------


def test_a_card_is_read_as_it_was_signed_and_no_other(tmp_path: Path) -> None:
    card, path = sign_card(KEY, call("The Müllers", "0221 4710815")), tmp_path / "a.card"
    path.write_bytes(json_of(card))
    assert read_card(path) == card
    for wrong in (
        replace(card, called=call("Somebody")),
        replace(card, called=replace(card.called, contact="")),
        replace(card, node_key=SigningKey(bytes(32)).public_key),
    ):
        path.write_bytes(json_of(wrong))
        with pytest.raises(AddressBookError, match="did not sign it"):
            read_card(path)
    path.write_bytes(json_of(card).replace(b"M\\u00fcller", b"M\\u202eller"))
    with pytest.raises(AddressBookError, match=r"is no card: .*U\+202E"):
        read_card(path)


@pytest.mark.parametrize(
    ("name", "contact", "words"),
    [
        ("", "", "length >= 1|has 0 characters"),
        ("x" * 65, "", "65 characters"),
        ("home\x1b[2J", "", "U\\+001B"),
        ("\u202eemoh", "", "U\\+202E"),
        (" home", "", "space at an end"),
        (FIRST.hex()[:8], "", "reads as an address"),
        (FIRST.hex(), "", "reads as an address"),
        ("home", "a\nb", "cannot be printed"),
        ("home", "0" * (CONTACT_LENGTH_MAX + 1), "201 characters"),
    ],
)
def test_what_people_would_misread_is_no_name(name: str, contact: str, words: str) -> None:
    with pytest.raises(AddressBookError, match=words):
        call(name, contact)


# --- the book --------------------------------------------------------------------------------------------------


def test_a_book_is_its_owners_alone_and_read_as_it_was_written(path: Path) -> None:
    assert load_book(path) == AddressBook()
    book = put(path, FIRST, "home1")
    assert load_book(path) == book == AddressBook(entries=(Entry(address=FIRST, called=call("home1")),))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.called.name for one in put(path, FIRST, "The Millers").entries] == ["The Millers"]
    assert change_book(path, lambda book: book.without(FIRST)) == AddressBook() == load_book(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nobody_takes_a_neighbours_name(path: Path) -> None:
    put(path, FIRST, "home1")
    before = path.read_bytes()
    with pytest.raises(AddressBookError, match=r"'home1' is .* in this address book"):
        put(path, SECOND, "home1")
    assert path.read_bytes() == before
    assert put(path, FIRST, "home1").entries[0].called == call("home1"), "its own once more"


def test_a_full_book_takes_no_more_and_changes_who_is_in_it() -> None:
    entries = (Entry(address=n.to_bytes(32), called=call(f"home {n}")) for n in range(ENTRIES_MAX))  # type: ignore[arg-type]
    full = AddressBook(entries=tuple(entries))
    with pytest.raises(AddressBookError, match="takes no more"):
        full.with_entry(FIRST, call("one more"))
    assert len(full.with_entry(full.entries[0].address, call("another")).entries) == ENTRIES_MAX


def test_a_book_that_is_none_is_refused(path: Path) -> None:
    put(path, FIRST, "home1")
    fields = json.loads(path.read_text())
    (entry,) = fields["entries"]
    for wrong in (
        fields | {"entries": [entry, entry]},
        fields | {"entries": [entry, entry | {"address": SECOND.hex()}]},
        fields | {"entries": [entry | {"called": {"name": "\u202e", "contact": ""}}]},
        fields | {"surplus": 1},
        [],
    ):
        path.write_text(json.dumps(wrong))
        with pytest.raises(AddressBookError, match="is no address book"):
            load_book(path)
        with pytest.raises(AddressBookError):
            put(path, SECOND, "home2")
        assert json.loads(path.read_text()) == wrong, "what is damaged is not written over"


def test_nothing_is_lost_where_many_write_at_once(path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: put(path, n.to_bytes(32), f"home {n}"), range(64)))
    assert len(load_book(path).entries) == 64


# --- names -----------------------------------------------------------------------------------------------------


def test_who_is_not_in_the_book_is_shown_by_its_address() -> None:
    names = Names(HOMES.genesis, AddressBook().with_entry(FIRST, call("home1")))
    assert (names.of(FIRST), names.of(SECOND)) == ("home1", SECOND.hex()[:16])
    assert names.of(HOMES.issuer_key.address) == "the issuer"
    assert (names.called("home1"), names.called("home2")) == ([FIRST], [])
    usurper = Names(HOMES.genesis, AddressBook().with_entry(HOMES.grid_key.address, call("the bank")))
    assert usurper.of(HOMES.grid_key.address) == "the grid account"


def test_a_node_that_runs_sees_what_the_commands_change(path: Path) -> None:
    names = NamesOfHome(path, HOMES.genesis)
    assert names().of(FIRST) == FIRST.hex()[:16]
    book = book_of(HOMES.genesis)
    change_book(path, lambda _: book)
    assert names().of(FIRST) == "home1"
    put(path, FIRST, "homeX")  # of the same length, in the same moment
    assert names().of(FIRST) == "homeX"
    path.write_text("{")
    with capture_logs() as lines:
        assert (names().of(FIRST), names().of(SECOND)) == (FIRST.hex()[:16], SECOND.hex()[:16])
        names()
    assert [line["event"] for line in lines] == ["members are shown by their addresses"]
    path.unlink()
    assert names().of(FIRST) == FIRST.hex()[:16]
