"""`p2pnode names`: what a person types, and what the other homes take of it."""

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from consensus.cryptography import SigningKey
from node.admission.endpoint import Endpoint
from node.admission.identity import load_key
from node.admission.new_home import make_home
from node.cli.homes.names import owner_among
from node.cli.main import app
from node.errors import AddressBookError
from node.home.configuration import ApiTable, Configuration, NodeTable, PeerToPeerTable
from node.home.folder import Home
from node.names.address_book import load_book

Command = Callable[..., str]


@pytest.fixture
def homes(tmp_path: Path) -> tuple[Home, Home]:
    first, second = (
        make_home(
            tmp_path / name,
            Configuration(node=NodeTable(name=name), p2p=PeerToPeerTable(port=7_000), api=ApiTable(port=8_000)),
            Endpoint("127.0.0.1", 7_000),
            capacity_w=11_000,
        )
        for name in ("ours", "theirs")
    )
    return first, second


def names(home: Home, *arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["names", *map(str, arguments), "--config", str(home.configuration)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def book(home: Home) -> dict[str, tuple[str, str]]:
    return {
        entry.called.name: (entry.address.hex(), entry.called.contact)
        for entry in load_book(home.address_book).entries
    }


def address(home: Home) -> str:
    return load_key(home.node_key).address.hex()


def test_a_home_knows_itself_from_its_beginning(homes: tuple[Home, Home]) -> None:
    first, _ = homes
    assert book(first) == {"ours": (address(first), "")}
    assert stat.S_IMODE(first.address_book.stat().st_mode) == 0o600


def test_a_card_is_made_given_and_taken(homes: tuple[Home, Home], tmp_path: Path) -> None:
    first, second = homes
    card = tmp_path / "ours.card"
    names(first, "share", "--output", card, "--contact", "0221 4710815")
    assert "ours" in names(second, "add", card)
    assert book(second)["ours"] == (address(first), "0221 4710815")
    shown = names(second, "list")
    assert ("ours" in shown, "0221 4710815" in shown) == (True, True)
    with pytest.raises(Exception, match="is there already"):
        names(first, "share", "--output", card)


def test_what_is_refused_changes_nothing(homes: tuple[Home, Home], tmp_path: Path) -> None:
    first, second = homes
    good, forged = tmp_path / "good.card", tmp_path / "forged.card"
    names(first, "share", "--output", good)
    forged.write_text(good.read_text().replace("ours", "hers"))
    before = second.address_book.read_bytes()
    with pytest.raises(AddressBookError, match="did not sign it"):
        names(second, "add", good, forged)
    names(first, "set", "ours", "theirs")  # in its own book, not on its card
    for who, words in (("nobody", "nobody is called so"), ("ff" * 31, "is no address of 64 digits")):
        with pytest.raises(AddressBookError, match=words):
            names(second, "set", who, "a name")
    with pytest.raises(AddressBookError, match="reads as an address"):
        names(second, "set", "theirs", "deadbeef")
    with pytest.raises(AddressBookError, match="is not in this address book"):
        names(second, "remove", "ff" * 32)
    assert second.address_book.read_bytes() == before


def test_a_key_that_was_replaced_speaks_for_nobody() -> None:
    first, second, stranger = (SigningKey(bytes([number]) * 32) for number in (1, 2, 3))
    address = first.address.hex()
    assert owner_among({first.public_key.hex(): address}, first.public_key) == first.address
    replaced = {second.public_key.hex(): address}
    assert owner_among(replaced, second.public_key) == first.address
    with pytest.raises(AddressBookError, match="has another key by now"):
        owner_among(replaced, first.public_key)
    assert owner_among(replaced, stranger.public_key) == stranger.address, "it may be about to join"


def test_who_is_to_be_forgotten_is_by_every_home_that_hears_of_it(homes: tuple[Home, Home], tmp_path: Path) -> None:
    first, second = homes
    card, said = tmp_path / "ours.card", tmp_path / "ours.forget"
    names(first, "share", "--output", card)
    names(second, "add", card)
    names(first, "forget", "--output", said, "--yes")
    assert book(first) == {}
    names(second, "obey", said)
    assert set(book(second)) == {"theirs"}
    with pytest.raises(AddressBookError, match="asked to be forgotten"):
        names(second, "add", card)
    with pytest.raises(AddressBookError, match="asked to be forgotten"):
        names(second, "set", address(first), "ours")
    with pytest.raises(AddressBookError, match="is no forget"):
        names(second, "obey", card)


def test_a_name_is_set_changed_and_removed(homes: tuple[Home, Home]) -> None:
    first, _ = homes
    names(first, "set", "ab" * 32, "The Millers", "--contact", "next door")
    names(first, "set", "The Millers", "The Smiths")
    assert book(first)["The Smiths"] == ("ab" * 32, "")
    names(first, "remove", "The Smiths")
    assert set(book(first)) == {"ours"}
