"""A street of real daemons whose households have names: what a search of every disk, log and answer finds of them,
while they are members, and after one left and asked to be forgotten.
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from node.testnet.init import TestnetPlan, initialise_testnet
from tests.support.ceremony_commands import config, decide_blocks, running
from tests.support.ports import free_ports
from tests.support.searching import found_on_disk
from tests.support.testnet import Node, Street, cleaned_up, p2pnode, refused, wait_until, write_readings

NAMES = {number: f"Quittenbaum{number}" for number in range(1, 6)}
CONTACTS = {number: f"kontakt{number}@example.org" for number in range(1, 6)}
OWN_FILES = {"meter.toml", "address-book.json"}
"""Where a household's own name stands in its own home."""


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    """Five households that measure three hours, each with a name on a card that it gave to all."""
    readings = write_readings(tmp_path / "readings.csv", households=5, hours=3)
    directory = tmp_path / "testnet"
    initialise_testnet(directory, TestnetPlan(readings=readings.path, base_port=free_ports(10)))
    street = Street(directory)
    for number, node in enumerate(street.nodes, start=1):
        text = node.home.configuration.read_text().replace(f'name = "{node.name}"', f'name = "{NAMES[number]}"')
        node.home.configuration.write_text(text)
        card = ("--output", card_of(street, number), "--contact", CONTACTS[number])
        p2pnode(directory, "names", "share", *config(node), *card)
    cards = [card_of(street, number) for number in NAMES]
    for node in street.nodes:
        p2pnode(directory, "names", "add", *cards, *config(node))
    with cleaned_up(directory):
        yield street


def card_of(street: Street, number: int) -> Path:
    return street.directory.parent / f"{number}.card"


def words_in(content: bytes) -> set[str]:
    return {word for word in (*NAMES.values(), *CONTACTS.values()) if word.encode() in content}


def logged(street: Street) -> set[str]:
    """What stands in all that the daemons wrote to standard output and error."""
    written = [path.read_bytes() for path in street.directory.glob("start-*")]
    assert any(b"peer_connected" in text or b"peer" in text for text in written), "it was searched"
    return set().union(*map(words_in, written))


def answers(node: Node) -> dict[str, set[str]]:
    """What stands in the answers of a node's API, whatever they are of."""
    address = node.address.hex()
    trades = node.request("/v1/trades").document["trades"]
    paths = [
        "/v1/status", "/v1/why", "/v1/blocks", "/v1/members", "/v1/offices", "/v1/members/changes",
        "/v1/applications", "/v1/scores", "/v1/evidence", "/v1/trades", f"/v1/accounts/{address}",
        f"/v1/scores/{address}/history", f"/v1/accounts/{address}/transactions",
        f"/v1/state/member:{address}", f"/v1/statements/{address}?month=2024-06", "/metrics",
        *(f"/v1/blocks/{height}" for height in range(1, node.present_status()["height"] + 1)),
        *(f"/v1/trades/{trade['trade']}{of}" for trade in trades for of in ("", "/receipt")),
    ]  # fmt: skip
    assert trades, "there is something to tell"
    found = {}
    for path in paths:
        with urlopen(f"{node.url}{path}") as answer:
            found[path] = words_in(answer.read())
    return {path: words for path, words in found.items() if words}


def test_names_stand_in_address_books_alone_and_after_a_forget_nowhere(street: Street) -> None:
    staying, leaver = street.nodes[:4], street.node(5)
    gone = {NAMES[5], CONTACTS[5]}
    with running(*street.nodes):
        wait_until(lambda: all(node.present_status()["meter"]["finished"] for node in street.nodes), "three hours")
        street.at_one_tip()
        assert logged(street) == set()
        for number, node in enumerate(street.nodes, start=1):
            said = answers(node)
            assert said["/v1/members"] == set(NAMES.values()), "the home's own people see its address book"
            assert not {path for path in said if path == "/metrics" or path.endswith("/receipt")}
            assert said["/v1/status"] == {NAMES[number]}
        p2pnode(street.directory, "member", "leave", *config(leaver), "--yes")
        forget = street.directory.parent / "5.forget"
        p2pnode(street.directory, "names", "forget", *config(leaver), "--output", forget, "--yes")
        wait_until(
            lambda: all(not words_in(node.home.address_book.read_bytes()) & gone for node in street.nodes),
            "the others hear of it",
        )
        for node in staying:
            said = answers(node)
            assert said["/v1/members"] == {NAMES[number] for number in range(1, 5)}
            assert not {path for path, words in said.items() if words & gone}
        decide_blocks(street, 1)
    assert logged(street) == set()
    everybodys = {*NAMES.values(), *CONTACTS.values()} - gone
    for number, node in enumerate(staying, start=1):
        assert found_on_disk(node, words_in) == {"address-book.json": everybodys, "meter.toml": {NAMES[number]}}
    assert found_on_disk(leaver, words_in) == {"address-book.json": everybodys, "meter.toml": {NAMES[5]}}, (
        "its own home's name"
    )
    with running(*staying):
        wait_until(lambda: all(node.is_ready() for node in staying), "they run again")
        again = refused(street.directory, "names", "add", card_of(street, 5), *config(staying[0]))
        assert "asked to be forgotten" in again
        assert not {path for path, words in answers(staying[0]).items() if words & gone}


def test_who_has_no_links_any_more_is_forgotten_by_a_file(street: Street) -> None:
    first, leaver = street.node(1), street.node(5)
    forget = street.directory.parent / "5.forget"
    p2pnode(street.directory, "names", "forget", *config(leaver), "--output", forget, "--yes")
    others = street.nodes[:4]
    with running(*others):
        said = p2pnode(street.directory, "names", "obey", forget, *config(first)).output
        assert leaver.address.hex() in said
        wait_until(
            lambda: all(NAMES[5] not in words_in(node.home.address_book.read_bytes()) for node in others),
            "one told the others",
        )
    assert words_in(first.home.address_book.read_bytes()) >= {NAMES[4]}
