"""What a node tells of where members are: to whom, when, and what it signs itself."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest, PublicKey
from node.mesh.endpoint_book import QUOTA_PERIOD_S, RECORDS_PER_KEY_MAX
from node.mesh.endpoint_exchange import LOOK_S, SIGNED_AGAIN_LOOKS, VALIDITY_MS, EndpointExchange, ExchangePorts
from node.mesh.endpoint_record import EndpointRecord, Place
from node.mesh.messages import EndpointRecords

CHAIN = Digest(bytes([7]) * 32)
KEYS = [SigningKey(bytes([number]) * 32) for number in range(1, 5)]
HERE, THERE = (Place(host="192.0.2.1", port=port) for port in (7000, 7001))


class Street:
    """Exchanges that reach each other at once; a link is up or not."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.wall_ms = 1_000_000
        self.now_s = 0.0
        self.homes: dict[Address, EndpointExchange] = {}
        self.links: set[frozenset[Address]] = set()
        self.sent: list[tuple[Address, Address, EndpointRecords]] = []
        self.moved: list[tuple[Address, Address]] = []
        self.refusals: list[str] = []

    def member_of(self, key: PublicKey) -> Address | None:
        return next((one.address for one in KEYS if one.public_key == key), None)

    def start(self, number: int, *places: Place, wall_ms: int | None = None) -> EndpointExchange:
        key = KEYS[number]
        own = key.address
        for link in [link for link in self.links if own in link]:
            self.links.remove(link)

        def send(peer: Address, message: EndpointRecords) -> None:
            self.sent.append((own, peer, message))
            self.homes[peer].on_records(own, message)

        ports = ExchangePorts(
            send=send,
            connected=lambda: frozenset(peer for link in self.links if own in link for peer in link - {own}),
            moved=lambda member: self.moved.append((own, member)),
            member_of=self.member_of,
            refused=self.refusals.append,
            wall_ms=lambda: self.wall_ms if wall_ms is None else wall_ms,
            clock_s=lambda: self.now_s,
        )
        home = self.homes[own] = EndpointExchange(
            key=key, chain=CHAIN, places=places, file=self.directory / f"endpoints{number}", ports=ports
        )
        home.look()
        return home

    def link(self, one: int, other: int) -> None:
        first, second = KEYS[one].address, KEYS[other].address
        self.links.add(frozenset((first, second)))
        self.homes[first].on_link(second)
        self.homes[second].on_link(first)

    def known(self, at: int, member: int) -> EndpointRecord | None:
        records = self.homes[KEYS[at].address].book.records_of(KEYS[member].address)
        return records[0] if records else None

    def place(self, at: int, member: int) -> Place | None:
        found = self.known(at, member)
        return None if found is None else found.places[0]


@pytest.fixture
def street(tmp_path: Path) -> Street:
    return Street(tmp_path)


def own(home: EndpointExchange) -> EndpointRecord:
    record = home.book.own
    assert record is not None
    return record


def look_until_signed(home: EndpointExchange) -> None:
    for _ in range(SIGNED_AGAIN_LOOKS):
        home.look()


def test_who_has_a_link_to_anybody_is_known_to_all_and_knows_all(street: Street) -> None:
    for number in range(4):
        street.start(number, Place(host="192.0.2.1", port=7000 + number))
    for number in range(3):
        street.link(number, number + 1)  # a chain of links
    for at in range(4):
        for member in range(4):
            assert street.place(at, member) == Place(host="192.0.2.1", port=7000 + member)


def test_what_is_new_is_told_once_to_all_but_who_brought_it(street: Street) -> None:
    for number in range(4):
        street.start(number, HERE)
    for one, other in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
        street.link(one, other)
    street.sent.clear()
    street.start(0, THERE)
    street.link(0, 1)
    raw = encode(own(street.homes[KEYS[0].address]))
    told = [(sender, peer) for sender, peer, message in street.sent if raw in message.raw]
    assert len(told) == len(set(told)) <= 4 * 3, "each member passes it on once to each other one"
    assert all(street.place(at, 0) == THERE for at in (1, 2, 3))
    street.sent.clear()
    street.homes[KEYS[2].address].on_records(KEYS[3].address, EndpointRecords(raw=(raw,)))
    assert not street.sent


def test_a_home_that_is_where_it_was_signs_nothing_new_when_it_starts(street: Street) -> None:
    before = own(street.start(0, HERE))
    street.wall_ms += 1_000
    assert own(street.start(0, HERE)) == before
    street.wall_ms += 1_000
    after = own(street.start(0, THERE))
    assert (after.places, after.sequence) == ((THERE,), street.wall_ms)


def test_a_record_is_renewed_at_half_of_its_time(street: Street) -> None:
    home = street.start(0, HERE)
    first = own(home)
    assert first.expires_ms == street.wall_ms + VALIDITY_MS
    street.wall_ms += VALIDITY_MS // 2 - 1
    look_until_signed(home)
    assert own(home) == first
    street.wall_ms += 1
    look_until_signed(home)
    assert own(home).expires_ms == street.wall_ms + VALIDITY_MS
    assert own(home).sequence > first.sequence


def test_a_home_that_signed_with_a_clock_that_was_ahead_comes_back_to_the_present(street: Street) -> None:
    year_ms = 365 * 24 * 3_600 * 1_000
    ahead = own(street.start(0, HERE, wall_ms=street.wall_ms + year_ms))
    for number, place in enumerate((HERE, THERE), 1):
        home = street.start(0, place)
        assert own(home).sequence == ahead.sequence + number
        assert own(home).expires_ms == street.wall_ms + VALIDITY_MS


def test_a_home_that_lost_its_file_after_its_clock_was_ahead_is_not_locked_out(street: Street) -> None:
    year_ms = 365 * 24 * 3_600 * 1_000
    street.start(1, HERE)
    street.start(0, HERE, wall_ms=street.wall_ms + year_ms)
    street.link(0, 1)
    (street.directory / "endpoints0").unlink()
    home = street.start(0, THERE)
    street.link(0, 1)
    assert street.place(1, 0) == HERE, "what it says now is older"
    look_until_signed(home)
    assert street.place(1, 0) == THERE


def test_two_processes_with_one_key_do_not_outdo_each_other_all_the_time(street: Street) -> None:
    first = street.start(0, HERE)
    (street.directory / "endpoints0").unlink()
    second = street.start(0, THERE)
    second.on_records(KEYS[1].address, EndpointRecords(raw=(encode(own(first)),)))
    signed = 0
    for _ in range(600):
        street.now_s += LOOK_S
        for home, other in ((first, second), (second, first)):
            before = own(home)
            home.look()
            if own(home) != before:
                signed += 1
                other.on_records(KEYS[1].address, EndpointRecords(raw=(encode(own(home)),)))
    assert 10 < signed <= 2 * 600 / SIGNED_AGAIN_LOOKS


def test_what_was_heard_is_there_after_a_start_and_a_damaged_file_is_told_and_begun_anew(street: Street) -> None:
    street.start(0, HERE)
    home = street.start(1, HERE)
    street.link(0, 1)
    home.look()
    street.start(1, HERE)
    assert street.place(1, 0) == HERE
    (street.directory / "endpoints1").write_bytes(b"damaged")
    with capture_logs() as logs:
        street.start(1, HERE)
    assert street.known(1, 0) is None
    assert [log["event"] for log in logs if log["log_level"] == "warning"] == [
        "begun anew, with the peers of meter.toml"
    ]
    street.link(0, 1)
    assert street.place(1, 0) == HERE


def test_a_disk_that_takes_nothing_stops_nothing(street: Street) -> None:
    (street.directory / "endpoints0.new").mkdir()  # in the place of the file that is written first
    with capture_logs() as logs:
        home = street.start(0, HERE)
    assert [log["event"] for log in logs] == ["cannot be written"]
    assert own(home).places == (HERE,)


def test_a_home_that_nobody_can_reach_says_so_and_tells_what_it_hears(street: Street) -> None:
    with capture_logs() as logs:
        home = street.start(0)
    assert home.book.own is None
    assert "set [p2p] advertise" in logs[0]["event"]
    street.start(1, HERE)
    street.link(0, 1)
    street.start(2, HERE)
    street.link(0, 2)
    assert street.place(2, 1) == HERE


def test_a_member_is_looked_for_once_it_is_known_to_have_moved(street: Street) -> None:
    home = street.start(0, HERE)
    street.start(1, HERE)
    street.link(0, 1)
    home.look()  # writes down what it heard
    street.moved.clear()
    street.start(0, THERE)
    street.link(0, 1)
    assert street.moved == [(KEYS[1].address, KEYS[0].address)]


def test_others_take_as_many_records_as_a_home_signs() -> None:
    assert QUOTA_PERIOD_S / (SIGNED_AGAIN_LOOKS * LOOK_S) < RECORDS_PER_KEY_MAX
