"""Frames between nodes: round trip, bounds, every truncation and every single-byte change."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.codec import DecodeError, Malformed, encode
from consensus.eras import ERAS_MAX
from consensus.evidence import Equivocation, SignedStatement
from consensus.identifiers import Address, Digest, EraNumber, Height, PublicKey, Signature, Slot
from consensus.messages import (
    NUMBER_MAX,
    Body,
    BodyRequest,
    CertificateRequest,
    Claim,
    Commit,
    CommitCertificate,
    CommitStatement,
    Decided,
    EndorsedStatement,
    Endorsement,
    Gathered,
    HeightAnswer,
    HeightQuestion,
    Justification,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Status,
    ViewChange,
    ViewChangeHeader,
    ViewChangeStatement,
    VoteStatement,
)
from contracts.state import StateKey
from contracts.transactions import TRANSACTION_SIZE_BYTES_MAX, DoubleOffer, SpotTerms
from contracts.units import MicroTokensPerKwh, Milliseconds, WattHours
from ledger.state_copy import ORIGIN_PAGES_MAX, ORIGIN_SIZE_BYTES_MAX
from ledger.state_ranges import CHUNK_ENTRIES_MAX, VALUE_SIZE_BYTES_MAX, StateChunk, StateEntry
from node.admission.joining.sealing import BOX_SIZE_BYTES, IdentityBox
from node.errors import BoxFault
from node.mesh.messages import (
    BLOCKS_PER_ANSWER_MAX,
    FRAME_SIZE_BYTES_MAX,
    TRANSACTIONS_PER_MESSAGE_MAX,
    Blocks,
    BlocksRequest,
    ChunkAnswer,
    ChunkRequest,
    EndpointRecords,
    EvidenceNote,
    ForgetNotes,
    IdentityAnswer,
    IdentityNote,
    OfferDecline,
    OfferReply,
    OfferRequest,
    OriginPage,
    OriginRequest,
    PeerMessage,
    SnapshotOffer,
    SnapshotRequest,
    Transactions,
    decode_peer_message,
    encode_peer_message,
)

ERA_NUMBERS = st.integers(0, ERAS_MAX).map(EraNumber)
HEIGHTS = st.integers(1, NUMBER_MAX).map(Height)
SLOTS = st.integers(0, NUMBER_MAX).map(Slot)
COUNTERS = st.integers(0, NUMBER_MAX)
DIGESTS = st.binary(min_size=32, max_size=32).map(Digest)
ADDRESSES = st.binary(min_size=32, max_size=32).map(Address)
SIGNATURES = st.binary(min_size=64, max_size=64).map(Signature)
NONCES = st.binary(min_size=32, max_size=32)
SOME_BYTES = st.binary(min_size=1, max_size=40)
PAGES = st.integers(0, ORIGIN_PAGES_MAX - 1)
ENERGIES = st.integers(0, 10**12).map(WattHours)
VOTED = {"height": HEIGHTS, "slot": SLOTS, "block": DIGESTS, "signer": ADDRESSES, "signature": SIGNATURES}

ENDORSEMENTS = st.lists(st.builds(Endorsement, signer=ADDRESSES, signature=SIGNATURES), max_size=3).map(tuple)
CLAIMS = st.none() | st.builds(Claim, slot=SLOTS, block=DIGESTS)
PREPARED = st.builds(
    PreparedCertificate, era=ERA_NUMBERS, height=HEIGHTS, slot=SLOTS, block=DIGESTS, endorsements=ENDORSEMENTS
)
COMMITTED = st.builds(
    CommitCertificate, era=ERA_NUMBERS, height=HEIGHTS, slot=SLOTS, block=DIGESTS, endorsements=ENDORSEMENTS
)
JUSTIFICATIONS = st.builds(
    Justification,
    headers=st.lists(
        st.builds(ViewChangeHeader, signer=ADDRESSES, claim=CLAIMS, signature=SIGNATURES), max_size=2
    ).map(tuple),
    certificate=st.none() | PREPARED,
)
TERMS = st.builds(
    SpotTerms,
    chain=DIGESTS,
    offer_counter=COUNTERS,
    seller=ADDRESSES,
    buyer=ADDRESSES,
    energy_wh=st.integers(1, 10**12).map(WattHours),
    price_micro_per_kwh=st.integers(0, 10**12).map(MicroTokensPerKwh),
    origin_meter=ADDRESSES,
    destination_meter=ADDRESSES,
    expiry_slot=SLOTS,
    packets=st.lists(DIGESTS, min_size=1, max_size=2).map(tuple),
)
STATEMENTS = st.builds(
    SignedStatement,
    statement=st.builds(VoteStatement, domain=DIGESTS, height=HEIGHTS, slot=SLOTS, block=DIGESTS)
    | st.builds(CommitStatement, domain=DIGESTS, height=HEIGHTS, slot=SLOTS, block=DIGESTS)
    | st.builds(ViewChangeStatement, domain=DIGESTS, height=HEIGHTS, slot=SLOTS, claim=CLAIMS),
    signature=SIGNATURES,
)
NO_OFFER = st.builds(
    OfferReply,
    request_id=COUNTERS,
    terms=st.none(),
    seller_signature=st.none(),
    free_wh=ENERGIES,
    reserved_wh=ENERGIES,
)
OFFER = st.builds(
    OfferReply,
    request_id=COUNTERS,
    terms=TERMS,
    seller_signature=SIGNATURES,
    free_wh=ENERGIES,
    reserved_wh=ENERGIES,
)
CHUNKS = st.builds(
    StateChunk,
    siblings=st.lists(DIGESTS, max_size=2).map(tuple),
    entries=st.lists(st.builds(StateEntry, key=SOME_BYTES.map(StateKey), value=SOME_BYTES), max_size=2).map(tuple),
)
KINDS: dict[type, st.SearchStrategy[Any]] = {
    PrePrepare: st.builds(
        PrePrepare, **VOTED, justification=st.none() | JUSTIFICATIONS, proposal=st.binary(max_size=40)
    ),
    Prepare: st.builds(Prepare, **VOTED),
    Commit: st.builds(Commit, **VOTED),
    ViewChange: st.builds(
        ViewChange,
        height=HEIGHTS,
        slot=SLOTS,
        claim=CLAIMS,
        signer=ADDRESSES,
        signature=SIGNATURES,
        certificate=st.none() | PREPARED,
    ),
    Decided: st.builds(Decided, certificate=COMMITTED, proposal=SOME_BYTES),
    Status: st.builds(
        Status,
        era=ERA_NUMBERS,
        undecided=HEIGHTS,
        tip=DIGESTS,
        clock_slot=SLOTS,
        origin=ADDRESSES,
        hears=st.binary(max_size=2),
    ),
    BodyRequest: st.builds(BodyRequest, height=HEIGHTS, block=DIGESTS),
    Gathered: st.builds(
        Gathered,
        era=ERA_NUMBERS,
        kind=st.sampled_from(EndorsedStatement),
        height=HEIGHTS,
        slot=SLOTS,
        block=DIGESTS,
        signers=st.binary(min_size=1, max_size=32),
        signatures=SOME_BYTES,
    ),
    CertificateRequest: st.builds(CertificateRequest, era=ERA_NUMBERS, height=HEIGHTS, slot=SLOTS),
    Body: st.builds(Body, height=HEIGHTS, block=DIGESTS, proposal=SOME_BYTES),
    Transactions: st.builds(Transactions, raw=st.lists(SOME_BYTES, min_size=1, max_size=4).map(tuple)),
    HeightQuestion: st.builds(HeightQuestion, era=ERA_NUMBERS, asker=ADDRESSES, nonce=NONCES, signature=SIGNATURES),
    HeightAnswer: st.builds(
        HeightAnswer,
        era=ERA_NUMBERS,
        asker=ADDRESSES,
        nonce=NONCES,
        undecided=HEIGHTS,
        signer=ADDRESSES,
        signature=SIGNATURES,
    ),
    BlocksRequest: st.builds(BlocksRequest, first=HEIGHTS, count=st.integers(1, BLOCKS_PER_ANSWER_MAX)),
    Blocks: st.builds(
        Blocks,
        first=HEIGHTS,
        blocks=st.lists(st.builds(Decided, certificate=COMMITTED, proposal=SOME_BYTES), max_size=2).map(tuple),
    ),
    SnapshotRequest: st.just(SnapshotRequest()),
    SnapshotOffer: st.builds(SnapshotOffer, height=HEIGHTS, origin_size_bytes=st.integers(0, ORIGIN_SIZE_BYTES_MAX)),
    OriginRequest: st.builds(OriginRequest, height=HEIGHTS, page=PAGES),
    OriginPage: st.builds(OriginPage, height=HEIGHTS, page=PAGES, content=st.binary(max_size=40)),
    ChunkRequest: st.builds(ChunkRequest, height=HEIGHTS, position=DIGESTS),
    ChunkAnswer: st.builds(ChunkAnswer, height=HEIGHTS, position=DIGESTS, chunk=st.none() | CHUNKS),
    OfferRequest: st.builds(
        OfferRequest,
        request_id=COUNTERS,
        interval_start_ms=st.integers(0, NUMBER_MAX).map(Milliseconds),
        wanted_wh=st.integers(1, 10**12).map(WattHours),
    ),
    OfferReply: NO_OFFER | OFFER,
    OfferDecline: st.builds(OfferDecline, offer_counter=COUNTERS),
    EvidenceNote: st.builds(
        EvidenceNote,
        evidence=st.builds(Equivocation, offender=ADDRESSES, era=ERA_NUMBERS, first=STATEMENTS, second=STATEMENTS)
        | st.builds(
            DoubleOffer,
            offender=ADDRESSES,
            first=TERMS,
            first_signature=SIGNATURES,
            second=TERMS,
            second_signature=SIGNATURES,
        ),
    ),
    ForgetNotes: st.builds(ForgetNotes, raw=st.lists(SOME_BYTES, min_size=1, max_size=3).map(tuple)),
    IdentityNote: st.builds(
        IdentityNote,
        applicant=ADDRESSES,
        box=st.builds(
            IdentityBox,
            verifier=ADDRESSES,
            key=ADDRESSES.map(PublicKey),
            sealed=st.binary(min_size=32, max_size=32).map(lambda end: end.rjust(BOX_SIZE_BYTES, b"\x00")),
        ),
    ),
    IdentityAnswer: st.builds(IdentityAnswer, applicant=ADDRESSES, fault=st.none() | st.sampled_from(BoxFault)),
    EndpointRecords: st.builds(EndpointRecords, raw=st.lists(SOME_BYTES, min_size=1, max_size=3).map(tuple)),
}
MESSAGES = st.one_of(list(KINDS.values()))


def test_every_kind_of_message_is_tested() -> None:
    assert set(KINDS) == set(PeerMessage.__args__)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(MESSAGES)
def test_a_message_survives_the_wire(message: PeerMessage) -> None:
    decoded = decode_peer_message(encode_peer_message(message))
    assert decoded == message
    assert type(decoded) is type(message)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(MESSAGES)
def test_every_truncation_is_refused(message: PeerMessage) -> None:
    frame = encode_peer_message(message)
    for length in range(len(frame)):
        with pytest.raises(DecodeError):
            decode_peer_message(frame[:length])
    with pytest.raises(DecodeError):
        decode_peer_message(frame + b"\x00")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(derandomize=True, max_examples=30, deadline=None)
@given(data=st.data())
def test_every_changed_byte_is_refused_or_another_message(kind: type, data: st.DataObject) -> None:
    message = data.draw(KINDS[kind])
    flip = data.draw(st.integers(1, 255))
    frame = encode_peer_message(message)
    for position in range(len(frame)):
        changed = bytearray(frame)
        changed[position] ^= flip
        try:
            decoded = decode_peer_message(bytes(changed))
        except DecodeError:
            continue
        assert decoded != message
        assert encode_peer_message(decoded) == bytes(changed)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_never_raises_anything_else(garbage: bytes) -> None:
    try:
        decoded = decode_peer_message(garbage)
    except DecodeError:
        return
    assert encode_peer_message(decoded) == garbage


def framed(message: object) -> bytes:
    """Returns the frame of something that need not be a message."""
    return encode((message,))


def reason_of(frame: bytes) -> Malformed:
    with pytest.raises(DecodeError) as refused:
        decode_peer_message(frame)
    return refused.value.reason


def test_a_frame_past_the_limit_is_refused_before_decoding() -> None:
    assert reason_of(b"\xc1" * (FRAME_SIZE_BYTES_MAX + 1)) is Malformed.TOO_LARGE
    assert reason_of(b"\xc1" * FRAME_SIZE_BYTES_MAX) is Malformed.NOT_MESSAGEPACK


def test_the_largest_batch_of_transactions_fits_a_frame_and_one_more_is_refused() -> None:
    largest = (bytes(TRANSACTION_SIZE_BYTES_MAX),) * TRANSACTIONS_PER_MESSAGE_MAX
    frame = encode_peer_message(Transactions(raw=largest))
    assert len(frame) <= FRAME_SIZE_BYTES_MAX
    assert decode_peer_message(frame) == Transactions(raw=largest)
    assert reason_of(framed(Transactions(raw=(b"t",) * (TRANSACTIONS_PER_MESSAGE_MAX + 1)))) is Malformed.WRONG_TYPE
    assert reason_of(framed(Transactions(raw=(bytes(TRANSACTION_SIZE_BYTES_MAX + 1),)))) is Malformed.WRONG_TYPE
    assert reason_of(framed(Transactions(raw=()))) is Malformed.WRONG_TYPE


def test_the_largest_chunk_fits_a_frame_and_one_entry_or_byte_more_is_refused() -> None:
    def answer(*entries: StateEntry) -> ChunkAnswer:
        chunk = StateChunk(siblings=(Digest(bytes(32)),) * 256, entries=entries)
        return ChunkAnswer(height=Height(1), position=Digest(bytes(32)), chunk=chunk)

    small = StateEntry(key=StateKey(bytes(128)), value=bytes(128))
    for right in (
        answer(*(small,) * CHUNK_ENTRIES_MAX),
        answer(StateEntry(key=StateKey(b"k"), value=bytes(VALUE_SIZE_BYTES_MAX))),
    ):
        assert decode_peer_message(encode_peer_message(right)) == right
    assert reason_of(framed(answer(*(small,) * (CHUNK_ENTRIES_MAX + 1)))) is Malformed.WRONG_TYPE
    too_large = StateEntry(key=StateKey(b"k"), value=bytes(VALUE_SIZE_BYTES_MAX + 1))
    assert reason_of(framed(answer(too_large))) is Malformed.WRONG_TYPE


@settings(derandomize=True, max_examples=5, deadline=None)
@given(OFFER)
def test_an_offer_without_its_signature_is_refused_and_the_other_way_round(offer: OfferReply) -> None:
    tag, request_id, terms, signature, *energies = msgspec.to_builtins(offer, builtin_types=(bytes,))
    assert decode_peer_message(framed((tag, request_id, terms, signature, *energies))) == offer
    assert reason_of(framed((tag, request_id, terms, None, *energies))) is Malformed.WRONG_TYPE
    assert reason_of(framed((tag, request_id, None, signature, *energies))) is Malformed.WRONG_TYPE
