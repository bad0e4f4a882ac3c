"""Who left is forgotten by all that hear of it, and by nobody else's word; it stays so over starts."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Address, PublicKey
from node.errors import AddressBookError
from node.mesh.forget_exchange import LOOKED_AT_MAX, LOOKS_PER_MINUTE, RETOLD_LOOKS, ForgetExchange, ForgetPorts
from node.mesh.messages import FORGETS_PER_MESSAGE_MAX, ForgetNotes
from node.names.address_book import FORGOTTEN_MAX, AddressBook, Forgotten, change_book, load_book
from node.names.card import FORGET_SIZE_BYTES_MAX, call, sign_card, sign_forget

KEYS = [SigningKey(bytes([number]) * 32) for number in range(1, 5)]
LEAVER, STAYS = KEYS[3], KEYS[2]
OTHER = SigningKey(bytes([9]) * 32)


class Street:
    """Homes that call each other by name and reach each other at once; a link is up or not."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.homes: dict[Address, ForgetExchange] = {}
        self.links: set[frozenset[Address]] = set()
        self.sent: list[tuple[Address, Address, ForgetNotes]] = []
        self.refusals: list[str] = []
        self.asked: list[PublicKey] = []
        self.left: dict[PublicKey, Address] = {}
        self.states_read = 0
        self.known = {key.public_key: key.address for key in KEYS}
        for number, _ in enumerate(KEYS):
            book = AddressBook()
            for other, key in enumerate(KEYS):
                book = book.with_entry(key.address, call(f"home{other}"))
            change_book(self.path(number), lambda _, book=book: book)  # type: ignore[misc]
            self.start(number)

    def path(self, number: int) -> Path:
        return self.directory / f"address-book{number}.json"

    def member_of(self, key: PublicKey) -> Address | None:
        self.asked.append(key)
        return self.known.get(key)

    def who_left(self) -> dict[PublicKey, Address]:
        self.states_read += 1
        return self.left

    def start(self, number: int) -> ForgetExchange:
        own = KEYS[number].address
        self.links = {link for link in self.links if own not in link}

        def send(peer: Address, message: ForgetNotes) -> None:
            self.sent.append((own, peer, message))
            self.homes[peer].on_notes(own, message)

        home = self.homes[own] = ForgetExchange(
            file=self.path(number),
            ports=ForgetPorts(
                send=send,
                connected=lambda: frozenset(peer for link in self.links if own in link for peer in link - {own}),
                member_of=self.member_of,
                who_left=self.who_left,
                refused=self.refusals.append,
            ),
        )
        home.look()
        return home

    def link(self, one: int, other: int) -> None:
        first, second = KEYS[one].address, KEYS[other].address
        self.links.add(frozenset((first, second)))
        self.homes[first].on_link(second)
        self.homes[second].on_link(first)

    def names(self, number: int) -> set[str]:
        return {entry.called.name for entry in load_book(self.path(number)).entries}

    def say(self, number: int, key: SigningKey) -> None:
        """As `names forget` and `names obey` do."""
        one = Forgotten(address=key.address, forget=sign_forget(key))
        change_book(self.path(number), lambda book: book.forgetting(one))
        self.home(number).look()

    def home(self, number: int) -> ForgetExchange:
        return self.homes[KEYS[number].address]

    def bring(self, number: int, *raw: bytes) -> None:
        self.home(number).on_notes(STAYS.address, ForgetNotes(raw=raw))


@pytest.fixture
def street(tmp_path: Path) -> Street:
    return Street(tmp_path)


ALL = {"home0", "home1", "home2", "home3"}
RAW = encode(sign_forget(LEAVER))


def test_all_that_hear_of_it_forget_its_name_and_nobody_elses(street: Street) -> None:
    for one, other in ((3, 0), (0, 1), (1, 2)):
        street.link(one, other)
    street.say(3, LEAVER)
    assert [street.names(number) for number in range(4)] == [ALL - {"home3"}] * 4
    assert len(street.sent) == 3, "told once to each, and not back to whom it came from"
    assert not any(b"home3" in street.path(number).read_bytes() for number in range(4))


def test_who_was_away_hears_of_it_as_a_link_comes_up_also_after_a_start(street: Street) -> None:
    street.say(3, LEAVER)
    street.start(3)
    street.link(3, 0)
    assert street.names(0) == ALL - {"home3"}
    street.start(0)
    street.link(0, 1)
    assert street.names(1) == ALL - {"home3"}, "by the word of one that heard of it"


def test_it_is_remembered_and_a_card_brings_nothing_back(street: Street) -> None:
    card = sign_card(LEAVER, call("home3"))
    street.bring(0, RAW)
    street.start(0)
    with pytest.raises(AddressBookError, match="asked to be forgotten"):
        change_book(street.path(0), lambda book: book.with_entry(LEAVER.address, card.called))
    assert street.names(0) == ALL - {"home3"}
    assert [one.address for one in load_book(street.path(0)).forgotten] == [LEAVER.address]


def test_a_liar_makes_nobody_forget(street: Street) -> None:
    forged = encode(replace(sign_forget(STAYS), node_key=LEAVER.public_key))
    for raw in (forged, b"\x00", RAW + b"\x00", bytes(FORGET_SIZE_BYTES_MAX)):
        street.bring(0, raw, RAW)  # what stands behind a lie costs nothing
        street.bring(0, raw, RAW)  # and the liar is not heard
        for _ in range(LOOKS_PER_MINUTE):
            street.home(0).look()
    assert (street.names(0), street.refusals) == (ALL, ["bad_forget"] * 4)
    street.bring(0, RAW)
    assert street.names(0) == ALL - {"home3"}, "a minute later it is heard again"


def test_what_a_home_signed_as_a_card_is_no_forget(street: Street) -> None:
    card = encode(sign_card(LEAVER, call("home3")).called)
    assert not replace(sign_forget(LEAVER), signature=LEAVER.sign(card)).is_signed, "its word on a card is no forget"
    street.bring(0, encode(sign_forget(OTHER)))  # of nobody on this chain
    assert street.names(0) == ALL
    assert load_book(street.path(0)).forgotten == ()


def test_a_flood_of_keys_of_nobody_is_looked_at_up_to_a_bound(street: Street) -> None:
    keys = [SigningKey(number.to_bytes(32)) for number in range(100, 100 + FORGETS_PER_MESSAGE_MAX)]
    raws = [encode(sign_forget(key)) for key in keys]
    for _ in range(LOOKED_AT_MAX // FORGETS_PER_MESSAGE_MAX + 3):
        street.bring(0, *raws)
    assert len(street.asked) == LOOKED_AT_MAX
    assert street.states_read == LOOKED_AT_MAX // FORGETS_PER_MESSAGE_MAX, "once for a message"


def test_who_is_gone_from_the_mesh_is_known_by_its_last_key(street: Street) -> None:
    del street.known[LEAVER.public_key]
    street.left = {LEAVER.public_key: LEAVER.address}
    street.bring(0, RAW)
    assert street.names(0) == ALL - {"home3"}


def test_a_replaced_key_forgets_nobody(street: Street) -> None:
    del street.known[LEAVER.public_key]
    street.bring(0, RAW)
    assert street.names(0) == ALL


def test_what_nobody_knew_yet_is_told_again_every_hour(street: Street) -> None:
    street.link(3, 0)
    del street.known[LEAVER.public_key]
    street.say(3, LEAVER)
    assert street.names(0) == ALL, "it has not come to the height at which the leaver joined"
    street.known[LEAVER.public_key] = LEAVER.address
    for _ in range(RETOLD_LOOKS):
        street.home(3).look()
    assert street.names(0) == ALL - {"home3"}


def test_the_same_word_again_costs_no_signature_and_no_write(street: Street) -> None:
    street.bring(0, RAW)
    before = street.path(0).stat()
    street.bring(0, RAW, RAW)
    street.bring(1, RAW, RAW)
    assert street.asked == [LEAVER.public_key] * 2, "once by each home, before its signature is looked at"
    assert street.path(0).stat() == before
    assert street.refusals == []


def test_many_are_told_in_parts(street: Street) -> None:
    keys = [SigningKey(number.to_bytes(32)) for number in range(100, 100 + FORGETS_PER_MESSAGE_MAX + 1)]
    street.known |= {key.public_key: key.address for key in keys}
    for key in keys:
        street.say(0, key)
    street.link(0, 1)
    to_second = [len(message.raw) for _, peer, message in street.sent if peer == KEYS[1].address]
    assert to_second == [FORGETS_PER_MESSAGE_MAX, 1]
    assert len(load_book(street.path(1)).forgotten) == FORGETS_PER_MESSAGE_MAX + 1


def test_a_book_remembers_so_many_and_forgets_all() -> None:
    book = AddressBook()
    for number in range(FORGOTTEN_MAX + 1):
        key = SigningKey((1_000 + number).to_bytes(32))
        forget = sign_forget(LEAVER)
        one = Forgotten(address=key.address, forget=replace(forget, node_key=key.public_key))
        book = book.with_entry(key.address, call(f"home {number}")).forgetting(one)
    assert (len(book.entries), len(book.forgotten)) == (0, FORGOTTEN_MAX)


def test_a_damaged_book_is_left_as_it_is_and_the_word_is_heard_again(street: Street) -> None:
    whole = street.path(0).read_bytes()
    street.path(0).write_bytes(b"{")
    with capture_logs() as lines:
        street.bring(0, RAW)
    assert [line["event"] for line in lines] == ["a forget waits for the address book"]
    assert street.path(0).read_bytes() == b"{"
    street.path(0).write_bytes(whole)
    street.bring(0, RAW)
    assert street.names(0) == ALL - {"home3"}
