"""What is kept of where members say that they are, and what a peer can make this node do about it."""

from collections.abc import Iterator
from random import Random

import pytest
from msgspec.structs import replace

from consensus.codec import DecodeError, Malformed, encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest, PublicKey, Signature
from contracts.transactions import COUNTER_MAX
from contracts.units import Milliseconds
from node.home.hosts import HOST_LENGTH_MAX
from node.mesh.endpoint_book import (
    QUOTA_PERIOD_S,
    RECORDS_PER_KEY_MAX,
    RECORDS_PER_PEER_MAX,
    SEQUENCE_OUTDONE_MAX,
    EndpointBook,
    EndpointRefusal,
)
from node.mesh.endpoint_record import (
    RECORD_SIZE_BYTES_MAX,
    RECORDS_MAX,
    EndpointRecord,
    EndpointStatement,
    Place,
    decode_record,
    sign_record,
)
from node.mesh.messages import FRAME_SIZE_BYTES_MAX, EndpointRecords, encode_peer_message

CHAIN = Digest(bytes([7]) * 32)
OWN, FIRST, SECOND, STRANGER = (SigningKey(bytes([number]) * 32) for number in range(1, 5))
LIAR, PEER = Address(b"l" * 32), Address(b"p" * 32)


def record(
    key: SigningKey = FIRST, sequence: int = 10, *, port: int = 7000, host: str = "meter.lan", chain: Digest = CHAIN
) -> EndpointRecord:
    places = (Place(host=host, port=port),)
    return sign_record(key, chain=chain, places=places, sequence=sequence, expires_ms=Milliseconds(sequence))


def raw(key: SigningKey = FIRST, sequence: int = 10, *, port: int = 7000) -> bytes:
    return encode(record(key, sequence, port=port))


def forged(key: SigningKey = FIRST, sequence: int = 10) -> bytes:
    return encode(replace(record(key, sequence), signature=Signature(bytes(64))))


def fields(of: EndpointRecord) -> dict[str, object]:
    return {name: getattr(of, name) for name in of.__struct_fields__}


class World:
    """A book with a state and a clock."""

    def __init__(self) -> None:
        self.state: dict[PublicKey, Address] = {key.public_key: key.address for key in (OWN, FIRST, SECOND)}
        self.now_s = 0.0
        self.refusals: list[EndpointRefusal] = []
        self.book = self.new_book()

    def new_book(self) -> EndpointBook:
        return EndpointBook(
            own_key=OWN.public_key,
            chain=CHAIN,
            member_of=self.state.get,
            clock_s=lambda: self.now_s,
            refused=self.refusals.append,
        )

    def take(self, *raws: bytes, sender: Address = PEER) -> list[bytes]:
        return [encode(one) for one in self.book.take(sender, raws)]


@pytest.fixture
def world() -> World:
    return World()


# --- the record --------------------------------------------------------------------------------------------------


def test_the_largest_record_fits_its_bound_and_all_of_them_a_frame() -> None:
    places = tuple(Place(host="a" * HOST_LENGTH_MAX, port=65_535) for _ in range(4))
    largest = encode(
        sign_record(FIRST, chain=CHAIN, places=places, sequence=COUNTER_MAX, expires_ms=Milliseconds(COUNTER_MAX))
    )
    assert len(largest) <= RECORD_SIZE_BYTES_MAX < len(largest) + 128
    assert decode_record(largest).places == places
    frame = encode_peer_message(EndpointRecords(raw=(bytes(RECORD_SIZE_BYTES_MAX),) * RECORDS_MAX))
    assert len(frame) <= FRAME_SIZE_BYTES_MAX


def bad_fields() -> Iterator[dict[str, object]]:
    place = ("meter.lan", 7000)
    for host in ("", "Meter", "a b", "a/b", "a@b", "[::1]", "fe80::1%eth0", "1::2::3", "a" * 254, "sträße"):
        yield {"places": ((host, 7000),)}
    for port in (0, -1, 65_536, "7000", 1.0):
        yield {"places": (("meter.lan", port),)}
    yield {"places": ()}
    yield {"places": (place,) * 5}
    for number in (-1, COUNTER_MAX + 1):
        yield {"sequence": number}
        yield {"expires_ms": number}
    yield {"node_key": bytes(31)}
    yield {"signature": bytes(65)}


@pytest.mark.parametrize("bad", tuple(bad_fields()), ids=str)
def test_a_record_out_of_its_bounds_is_none(bad: dict[str, object]) -> None:
    good = fields(record()) | {"places": (("meter.lan", 7000),)}
    assert decode_record(encode(("endpoint", *good.values()))) == record()
    with pytest.raises(DecodeError):
        decode_record(encode(("endpoint", *(good | bad).values())))


@pytest.mark.parametrize("host", ["meter.lan", "192.0.2.1", "::1", "2001:db8::1", "node_1"])
def test_names_and_addresses_of_both_kinds_are_hosts(host: str) -> None:
    assert decode_record(encode(record(host=host))).places[0].host == host


def test_a_record_that_is_too_long_is_not_decoded() -> None:
    for size_bytes, reason in (
        (RECORD_SIZE_BYTES_MAX, Malformed.NOT_MESSAGEPACK),
        (RECORD_SIZE_BYTES_MAX + 1, Malformed.TOO_LARGE),
    ):
        with pytest.raises(DecodeError) as refused:
            decode_record(bytes(size_bytes))
        assert refused.value.reason is reason


def test_every_changed_byte_of_a_record_is_noticed() -> None:
    good = raw()
    for index in range(len(good)):
        changed = good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :]
        try:
            decoded = decode_record(changed)
        except DecodeError:
            continue
        assert not decoded.holds_on(CHAIN)


def test_a_signature_counts_for_one_chain_and_is_of_nothing_else() -> None:
    assert record().holds_on(CHAIN)
    assert not record().holds_on(Digest(bytes(32)))
    statement = EndpointStatement(chain=CHAIN, places=record().places, sequence=10, expires_ms=Milliseconds(10))
    assert b"p2pnode-1-endpoint" in encode(statement)


# --- which one is kept -------------------------------------------------------------------------------------------


def test_the_newest_of_a_member_is_kept_and_only_news_is_passed_on(world: World) -> None:
    older, newer = raw(sequence=10), raw(sequence=11, port=7001)
    assert world.take(older) == [older]
    assert world.take(newer, older) == [newer]
    assert world.take(newer) == []
    assert [one.places[0].port for one in world.book.records_of(FIRST.address)] == [7001]
    assert world.book.raws() == (newer,)
    assert not world.refusals


def test_of_one_sequence_the_first_stays(world: World) -> None:
    world.take(raw(port=7000))
    before = world.book.verifications
    assert world.take(raw(port=7001)) == []
    assert world.book.records_of(FIRST.address)[0].places[0].port == 7000
    assert world.book.verifications == before, "what would not be kept costs no check"


def test_in_whatever_order_records_come_the_same_is_kept() -> None:
    raws = [raw(key, sequence, port=7000 + sequence) for key in (FIRST, SECOND) for sequence in (1, 2, 3)]
    for seed in range(50):
        world = World()
        shuffled = raws[:]
        Random(seed).shuffle(shuffled)
        world.take(*shuffled)
        assert set(world.book.raws()) == {raw(FIRST, 3, port=7003), raw(SECOND, 3, port=7003)}


def test_who_is_no_member_and_who_signs_for_another_chain_is_not_kept(world: World) -> None:
    assert world.take(raw(STRANGER)) == []
    assert world.take(encode(record(chain=Digest(bytes(32))))) == []
    assert world.refusals == [EndpointRefusal.NOT_A_MEMBER, EndpointRefusal.BAD_SIGNATURE]
    assert world.book.raws() == ()


def test_a_member_with_another_key_begins_anew(world: World) -> None:
    world.take(raw(FIRST, 1_000_000, port=7000))
    new_home = SigningKey(bytes([99]) * 32)
    world.state[new_home.public_key] = FIRST.address  # both keys are the member's while the change is pending
    fresh = raw(new_home, 5, port=7009)
    assert world.take(fresh) == [fresh]
    assert {one.places[0].port for one in world.book.records_of(FIRST.address)} == {7000, 7009}
    del world.state[FIRST.public_key]
    assert [one.places[0].port for one in world.book.records_of(FIRST.address)] == [7009]
    assert world.book.raws() == (fresh,)
    assert world.take(raw(FIRST, 2_000_000)) == []
    world.take(raw(SECOND))
    assert len(world.book._kept) == 2, "what is nobody's is forgotten"


def test_what_was_kept_is_checked_again_when_the_node_starts(world: World) -> None:
    world.take(raw(FIRST, port=7001))
    kept = (*world.book.raws(), forged(SECOND), raw(STRANGER), b"rotten")
    again = world.new_book()
    again.restore(kept)
    assert again.raws() == (raw(FIRST, port=7001),)


def own_is_outdone(world: World) -> bool:
    return world.book.is_outdone


# --- the own record ----------------------------------------------------------------------------------------------


def test_an_own_sequence_is_the_clocks_but_above_the_last(world: World) -> None:
    assert world.book.next_sequence(500) == 500
    world.book.keep_own(record(OWN, 500))
    assert world.book.next_sequence(700) == 700
    assert world.book.next_sequence(100) == 501, "the clock went back"
    assert not own_is_outdone(world)


def test_a_home_that_lost_its_file_goes_above_what_others_have_of_it(world: World) -> None:
    world.book.keep_own(record(OWN, 500))
    assert world.take(raw(OWN, 9_000)) == [], "it is not passed on"
    assert own_is_outdone(world)
    assert world.book.own == record(OWN, 500)
    assert world.book.next_sequence(600) == 9_001
    world.book.keep_own(record(OWN, 9_001))
    world.take(raw(OWN, 9_000), raw(OWN, 9_001))
    assert not own_is_outdone(world), "its own words, come back"


def test_another_own_record_with_the_same_sequence_is_outdone_too(world: World) -> None:
    """Others keep the first, so this one would never reach them."""
    world.book.keep_own(record(OWN, 500, port=7001))
    world.take(raw(OWN, 500, port=7000))
    assert own_is_outdone(world)
    assert world.book.next_sequence(400) == 501


def test_an_own_sequence_that_no_clock_ever_said_takes_nobody_to_the_end_of_numbers(world: World) -> None:
    world.book.keep_own(record(OWN, 500))
    world.take(raw(OWN, COUNTER_MAX))
    sequence = world.book.next_sequence(600)
    assert sequence == SEQUENCE_OUTDONE_MAX + 1
    world.book.keep_own(record(OWN, sequence))
    assert not own_is_outdone(world), "it does not sign for ever"


def test_nobody_makes_a_node_outdone_but_its_own_key(world: World) -> None:
    world.book.keep_own(record(OWN, 500))
    world.take(forged(OWN, 9_000))
    assert not own_is_outdone(world)


# --- what a liar costs -------------------------------------------------------------------------------------------


def test_a_flood_of_forged_records_costs_one_check_a_minute(world: World) -> None:
    for minute in range(3):
        world.now_s = minute * QUOTA_PERIOD_S
        for sequence in range(1, 1_000):
            world.take(forged(FIRST, sequence), forged(SECOND, sequence), sender=LIAR)
        assert world.book.verifications == minute + 1
    good = raw(FIRST)
    assert world.take(good) == [good], "nobody else is shut out"


def test_what_many_forge_in_a_members_name_does_not_use_up_its_quota(world: World) -> None:
    for number in range(2 * RECORDS_PER_KEY_MAX):
        world.take(forged(FIRST, 100 + number), sender=Address(bytes([number]) * 32))
    assert world.book.verifications == 2 * RECORDS_PER_KEY_MAX
    assert world.take(raw(FIRST)) == [raw(FIRST)]


def test_malformed_records_shut_their_bringer_out_for_the_minute(world: World) -> None:
    assert world.take(b"\xc1", raw(FIRST), sender=LIAR) == []
    assert world.refusals == [EndpointRefusal.MALFORMED, EndpointRefusal.TOO_OFTEN]
    world.now_s = QUOTA_PERIOD_S
    assert world.take(raw(FIRST), sender=LIAR) == [raw(FIRST)]


def test_a_member_that_signs_all_day_is_heard_now_and_then(world: World) -> None:
    for sequence in range(1, 1_000):
        world.take(raw(FIRST, sequence), sender=FIRST.address)
    assert world.book.verifications == RECORDS_PER_KEY_MAX
    assert world.take(raw(SECOND), sender=FIRST.address) == [raw(SECOND)]
    world.now_s = QUOTA_PERIOD_S
    assert world.take(raw(FIRST, 5_000)) == [raw(FIRST, 5_000)]


def test_who_repeats_all_it_knows_is_not_heard_for_ever(world: World) -> None:
    known = raw(FIRST)
    for _ in range(2 * RECORDS_PER_PEER_MAX):
        world.take(known, sender=LIAR)
    assert world.refusals == [EndpointRefusal.TOO_OFTEN] * RECORDS_PER_PEER_MAX
    assert world.book.verifications == 1
