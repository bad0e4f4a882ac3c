"""One encoding per value, strict and bounded decoding: everything else is refused with a typed error."""

import tracemalloc
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.codec import ELEMENTS_MAX, RECORD_SIZE_BYTES_MAX, DecodeError, Malformed, Record, decode, encode
from consensus.events import PreparedBlock, SignState
from consensus.identifiers import Address, Height, Slot
from consensus.messages import (
    MEMBERS_MAX,
    NUMBER_MAX,
    PROPOSAL_SIZE_BYTES_MAX,
    BodyRequest,
    Claim,
    Message,
    Prepare,
    Status,
)
from tests.support.consensus import BLOCK_A, BLOCK_B, CHAIN, A, Members, body

FOUR = Members(4)
PREPARED = FOUR.prepared(3)
STATUS = FOUR.status(2, 9, slot=300, hears=(0, 1, 3))
SIGN_STATE = SignState(
    height=Height(7), voted=Claim(slot=Slot(9), block=BLOCK_A), promise=Slot(9), attempts=2, prepared=None
)
MESSAGES: dict[str, Message] = {
    "status": STATUS,
    "body-request": BodyRequest(height=Height(1), block=BLOCK_A),
    "body": body(),
    "prepare": FOUR.vote(1, 5),
    "commit": FOUR.commit(1, 300),
    "view-change": FOUR.view_change(1, 70_000),
    "view-change with a claim": FOUR.view_change(1, 5, PREPARED),
    "pre-prepare": FOUR.pre_prepare(5),
    "pre-prepare, justified": FOUR.pre_prepare(5, A, FOUR.justification(5, {1: PREPARED})),
    "decided": FOUR.decided(5),
}
ALLOCATION_BYTES_MAX = 1_000_000
"""What refusing a hostile message of a few kilobytes may allocate at most."""

each_message = pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())


class Sample(Record, frozen=True, kw_only=True, tag="sample"):
    number: int
    text: str
    flag: bool
    raw: bytes
    numbers: tuple[int, ...]
    maybe: int | None


SAMPLE = Sample(number=5, text="ä", flag=True, raw=b"\x00\xff", numbers=(1, 2), maybe=None)


def decode_message(data: bytes) -> Message:
    return decode(data, Message)  # type: ignore[arg-type]  # a union is a type to msgspec


def refusal(data: bytes, expected: Any = Message) -> Malformed:
    with pytest.raises(DecodeError) as caught:
        decode(data, expected)
    return caught.value.reason


def packed(fields: list[Any]) -> bytes:
    return msgpack.packb(fields, use_bin_type=True)  # type: ignore[no-any-return]


# --- what is accepted ------------------------------------------------------------------------------------------


@each_message
def test_a_message_survives_the_wire(message: Message) -> None:
    assert decode_message(encode(message)) == message


def test_records_of_the_disk_survive_it() -> None:
    for record in (SIGN_STATE, PreparedBlock(certificate=PREPARED, proposal=A), SAMPLE):
        assert decode(encode(record), type(record)) == record


@settings(derandomize=True, max_examples=150, deadline=None)
@given(
    number=st.integers(-(2**63), 2**64 - 1),
    text=st.text(max_size=40),
    flag=st.booleans(),
    raw=st.binary(max_size=40),
    numbers=st.lists(st.integers(-(2**63), 2**63), max_size=20).map(tuple),
    maybe=st.none() | st.integers(0, 2**16),
)
def test_any_value_survives_the_wire(**fields: Any) -> None:
    sample = Sample(**fields)
    assert decode(encode(sample), Sample) == sample


def test_the_layout_is_an_array_with_the_tag_in_front() -> None:
    assert encode(SAMPLE) == packed(["sample", 5, "ä", True, b"\x00\xff", [1, 2], None])


# --- what is not -----------------------------------------------------------------------------------------------


@each_message
def test_no_truncation_is_accepted(message: Message) -> None:
    data = encode(message)
    for size_bytes in range(len(data)):
        assert refusal(data[:size_bytes]) in (Malformed.NOT_MESSAGEPACK, Malformed.WRONG_TYPE)


@each_message
def test_a_changed_byte_is_refused_or_another_value(message: Message) -> None:
    data = encode(message)
    accepted = 0
    for position in range(len(data)):
        for change in (1, 2, 4, 8, 16, 32, 64, 128, 255):
            changed = bytearray(data)
            changed[position] ^= change
            try:
                value = decode_message(bytes(changed))
            except DecodeError:
                continue
            accepted += 1
            assert value != message
            assert encode(value) == bytes(changed)
    assert accepted > 0, "a changed digest is another message"


@settings(derandomize=True, max_examples=500, deadline=None)
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_or_canonical(data: bytes) -> None:
    try:
        value = decode_message(data)
    except DecodeError:
        return
    assert encode(value) == data


@settings(derandomize=True, max_examples=150, deadline=None)
@given(
    fields=st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text(),
        lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=20,
    ),
    kind=st.sampled_from(["vote", "prepare", "status", "view-change", "decided", "body"]),
)
def test_arbitrary_structures_never_decode_to_something_else(fields: Any, kind: str) -> None:
    data = packed([kind, *fields] if isinstance(fields, list) else [kind, fields])
    try:
        value = decode_message(data)
    except DecodeError:
        return
    assert encode(value) == data


@pytest.mark.parametrize("trailing", [b"\x00", b"\xc0", encode(STATUS)])
@each_message
def test_trailing_bytes_are_refused(message: Message, trailing: bytes) -> None:
    assert refusal(encode(message) + trailing) is Malformed.NOT_MESSAGEPACK


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (["sample", 5.0, "ä", True, b"", [], None], Malformed.WRONG_TYPE),
        (["sample", 5.5, "ä", True, b"", [], None], Malformed.WRONG_TYPE),
        (["sample", True, "ä", True, b"", [], None], Malformed.WRONG_TYPE),
        (["sample", 5, "ä", 1, b"", [], None], Malformed.WRONG_TYPE),
        (["sample", 5, b"text", True, b"", [], None], Malformed.WRONG_TYPE),
        (["sample", 5, "ä", True, "QUJD", [], None], Malformed.NOT_CANONICAL),
        (["sample", 5, "ä", True, b"", [1.0], None], Malformed.WRONG_TYPE),
        (["sample", 5, "ä", True, b"", [], False], Malformed.WRONG_TYPE),
        (["sample", "5", "ä", True, b"", [], None], Malformed.WRONG_TYPE),
        (["sample", 5, "ä", True, b"", {}, None], Malformed.WRONG_TYPE),
        (["sample", 5, "ä", True, b"", []], Malformed.WRONG_TYPE),
        (["sample", 5, "ä", True, b"", [], None, None], Malformed.WRONG_TYPE),
        (["simple", 5, "ä", True, b"", [], None], Malformed.WRONG_TYPE),
        ([5, "ä", True, b"", [], None], Malformed.WRONG_TYPE),
        ([], Malformed.WRONG_TYPE),
    ],
)
def test_another_type_in_a_field_is_refused(fields: list[Any], reason: Malformed) -> None:
    assert refusal(packed(fields), Sample) is reason


STATUS_BYTES = encode(STATUS)
TAG = packed(["status"])[1:]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(STATUS_BYTES.replace(b"\x09", b"\xcc\x09", 1), id="uint8 for a fixint"),
        pytest.param(STATUS_BYTES.replace(b"\x09", b"\xd0\x09", 1), id="int8 for a fixint"),
        pytest.param(STATUS_BYTES.replace(b"\x09", b"\xcf" + bytes(7) + b"\x09", 1), id="uint64 for a fixint"),
        pytest.param(STATUS_BYTES.replace(b"\xcd\x01\x2c", b"\xce\x00\x00\x01\x2c"), id="uint32 for a uint16"),
        pytest.param(STATUS_BYTES.replace(b"\xc4\x20", b"\xc5\x00\x20"), id="bin16 for a bin8"),
        pytest.param(STATUS_BYTES.replace(TAG, b"\xd9\x06status"), id="str8 for a fixstr"),
        pytest.param(b"\xdc\x00\x08" + STATUS_BYTES[1:], id="array16 for a fixarray"),
        pytest.param(b"\xdd\x00\x00\x00\x08" + STATUS_BYTES[1:], id="array32 for a fixarray"),
    ],
)
def test_a_long_form_of_a_valid_message_is_refused(data: bytes) -> None:
    assert data != STATUS_BYTES
    assert refusal(data) is Malformed.NOT_CANONICAL


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", Malformed.NOT_MESSAGEPACK, id="nothing"),
        pytest.param(b"\xc1", Malformed.NOT_MESSAGEPACK, id="never used byte"),
        pytest.param(b"\xa2\xff\xfe", Malformed.NOT_MESSAGEPACK, id="not UTF-8"),
        pytest.param(b"\xa3\xed\xa0\x80", Malformed.NOT_MESSAGEPACK, id="a surrogate"),
        pytest.param(b"\x94\xa6statu\xff\x09\xc4\x20" + CHAIN + b"\x09", Malformed.NOT_MESSAGEPACK, id="bad tag"),
        pytest.param(b"\x81\x01\x02", Malformed.NOT_MESSAGEPACK, id="map"),
        pytest.param(b"\x82\x01\x02\x01\x02", Malformed.NOT_MESSAGEPACK, id="map with a key twice"),
        pytest.param(b"\x80", Malformed.WRONG_TYPE, id="empty map"),
        pytest.param(b"\xd4\x01\x00", Malformed.NOT_MESSAGEPACK, id="ext of one byte"),
        pytest.param(b"\xc7\x00\x01", Malformed.WRONG_TYPE, id="empty ext"),
        pytest.param(b"\xd6\xff\x00\x00\x00\x00", Malformed.NOT_MESSAGEPACK, id="timestamp"),
        pytest.param(b"\xdd\xff\xff\xff\xff", Malformed.NOT_MESSAGEPACK, id="array of four billion"),
        pytest.param(b"\xc6\xff\xff\xff\xff", Malformed.NOT_MESSAGEPACK, id="bin of four gigabytes"),
        pytest.param(b"\xdb\xff\xff\xff\xff", Malformed.NOT_MESSAGEPACK, id="str of four gigabytes"),
        pytest.param(b"\xdf\xff\xff\xff\xff", Malformed.NOT_MESSAGEPACK, id="map of four billion"),
        pytest.param(b"\xc9\xff\xff\xff\xff\x01", Malformed.NOT_MESSAGEPACK, id="ext of four gigabytes"),
    ],
)
def test_what_no_message_contains_is_refused(data: bytes, reason: Malformed) -> None:
    assert refusal(data) is reason


# --- bounds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(b"\x91" * 20_000, id="deep"),
        pytest.param(b"\xdc\x40\x00" * 1_000 + bytes(17_000), id="deep and claiming to be wide"),
        pytest.param(b"\xdd\x00\x00\x40\x00" * 1_000 + bytes(17_000), id="the same with array32"),
        pytest.param(b"\xdc\x40\x00" + b"\xdc\x40\x00" * 900, id="claims without content"),
        pytest.param(b"\x94\xa6status" + b"\xdc\x40\x00" * 900 + bytes(17_000), id="inside a message"),
    ],
)
def test_an_array_bomb_is_refused_in_bounded_memory(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        assert refusal(bomb) is Malformed.NOT_MESSAGEPACK
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < ALLOCATION_BYTES_MAX


def test_the_size_limit_is_inclusive() -> None:
    data = encode(STATUS)
    assert decode(data, Status, size_bytes_max=len(data)) == STATUS
    with pytest.raises(DecodeError) as caught:
        decode(data, Status, size_bytes_max=len(data) - 1)
    assert caught.value.reason is Malformed.TOO_LARGE
    assert refusal(bytes(RECORD_SIZE_BYTES_MAX + 1)) is Malformed.TOO_LARGE


@pytest.mark.parametrize(("count", "is_accepted"), [(ELEMENTS_MAX, True), (ELEMENTS_MAX + 1, False)])
def test_the_longest_array(count: int, is_accepted: bool) -> None:
    data = encode((7,) * count)
    if is_accepted:
        assert len(decode(data, tuple[int, ...])) == count
    else:
        assert refusal(data, tuple[int, ...]) is Malformed.NOT_MESSAGEPACK


@pytest.mark.parametrize(
    ("message", "is_accepted"),
    [
        (FOUR.status(0, 1, slot=NUMBER_MAX), True),
        (FOUR.status(0, 1, slot=NUMBER_MAX + 1), False),
        (FOUR.status(0, 1, slot=-1), False),
        (msgspec.structs.replace(STATUS, hears=bytes(3)), False),
        (msgspec.structs.replace(STATUS, origin=Address(bytes(31))), False),
        # height 0 is genesis, which nobody decides: an answer to it would ask for a block that is none
        (FOUR.status(0, 0, slot=0), False),
        (BodyRequest(height=Height(0), block=BLOCK_A), False),
        (FOUR.vote(0, 0, height=0), False),
        (FOUR.vote(0, 0, height=1), True),
        (FOUR.decided(0, height=0), False),
        (BodyRequest(height=Height(1), block=BLOCK_A[:-1]), False),  # type: ignore[arg-type]
        (BodyRequest(height=Height(1), block=BLOCK_A + b"\x00"), False),  # type: ignore[arg-type]
        (body(bytes(PROPOSAL_SIZE_BYTES_MAX)), True),
        (body(bytes(PROPOSAL_SIZE_BYTES_MAX + 1)), False),
    ],
    ids=map(str, range(12)),
)
def test_fields_are_accepted_up_to_their_limit(message: Message, is_accepted: bool) -> None:
    data = encode(message)
    if is_accepted:
        assert decode_message(data) == message
    else:
        assert refusal(data) is Malformed.WRONG_TYPE


@pytest.mark.parametrize(("members", "is_accepted"), [(MEMBERS_MAX, True), (MEMBERS_MAX + 1, False)])
def test_a_certificate_has_at_most_as_many_endorsements_as_members(members: int, is_accepted: bool) -> None:
    endorsement = FOUR.committed(5).endorsements[0]
    data = encode(FOUR.decided(5)).replace(encode(FOUR.committed(5).endorsements), encode((endorsement,) * members))
    if is_accepted:
        decode_message(data)
    else:
        assert refusal(data) is Malformed.WRONG_TYPE


def test_a_signature_of_another_length_is_refused() -> None:
    vote = FOUR.vote(0, 5)
    fields = ["prepare", vote.height, vote.slot, vote.block, vote.signer, vote.signature[:-1]]
    assert refusal(packed(fields)) is Malformed.WRONG_TYPE
    fields[-1] = vote.signature
    assert decode(packed(fields), Prepare) == vote
    fields[-1] = vote.signature + b"\x00"
    assert refusal(packed(fields)) is Malformed.WRONG_TYPE


def test_different_blocks_differ_in_their_bytes() -> None:
    assert encode(FOUR.vote(0, 5, BLOCK_A)) != encode(FOUR.vote(0, 5, BLOCK_B))
