"""Decoders of records: of the mesh, of transactions, and of what a ledger stores."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

from consensus import vrf
from consensus.codec import DecodeError, decode, encode
from consensus.events import PreparedBlock, SignState
from consensus.gathering import gathered_of
from consensus.identifiers import Digest, Height
from consensus.messages import CommitCertificate, Gathered, PreparedCertificate, PrePrepare
from consensus.verification import certificate_in
from contracts.receipts import Receipt
from contracts.state import StateKey, StateValue, Table
from contracts.transactions import SignedTransaction, SpotTerms, decode_transaction
from ledger.authenticated_map import hash_key
from ledger.block import Block
from ledger.checkpoint import CheckpointProof
from ledger.errors import CopyDamaged, LedgerDamaged, LedgerForeign
from ledger.ledger import Ledger
from ledger.origin import Origin, StoredOrigin
from ledger.reading import BlockReader, TransactionLocation
from ledger.startup import _check_format, _read_tip, read_origin
from ledger.state_copy import SnapshotAbout, about_in
from ledger.state_intake import StoredIntake, covered_in, origin_in
from ledger.state_ranges import WHOLE, StateChunk, StateEntry, chunk_fault, region_root
from ledger.store import (
    FORMAT_VERSION,
    ORIGIN_FORMAT_VERSION,
    Store,
    StoredFormat,
    StoredTip,
    height_bytes,
    location_bytes,
)
from node.mesh.endpoint_record import EndpointRecord, decode_record
from node.mesh.messages import Frame, decode_peer_message, encode_peer_message
from node.names.card import Forget, decode_forget
from node.stories.misconduct import Evidence
from tests.fuzz.decoder import Decoder
from tests.fuzz.specimens import encodings
from tests.support.consensus import Members
from tests.support.contracts import make_genesis, seeded_key

PLAIN: Final[dict[str, Any]] = {
    "state-value": StateValue,
    "undecided-vote": PrePrepare,
    "undecided-block": PreparedBlock,
    "undecided-sign-state": SignState,
    "proposal": Block,
    "evidence": Evidence,
    "terms": SpotTerms,
    "checkpoint-proof": CheckpointProof,
    "snapshot-origin": Origin,
}
"""What production code hands to `decode` as it came, with nothing between."""

STORED: Final[dict[str, tuple[Callable[[BlockReader], Any], Any]]] = {
    "block": (lambda reader: reader.block(HEIGHT), Block),
    "certificate": (lambda reader: reader.certificate(HEIGHT), CommitCertificate),
    "receipts": (lambda reader: reader.receipts(HEIGHT), tuple[Receipt, ...]),
}
"""What the ledger reads of a height, and the type of it."""

ROOTS: Final = (
    Frame,
    SignedTransaction,
    EndpointRecord,
    Forget,
    StoredFormat,
    StoredOrigin,
    StoredTip,
    SnapshotAbout,
    StoredIntake,
    *PLAIN.values(),
    *(row[1] for row in STORED.values()),
)
"""All that is decoded here: every record in them has a specimen."""

HEIGHT: Final = Height(1)
DIGEST: Final = Digest(bytes(32))
ORIGIN_FORMAT: Final = StoredFormat(version=ORIGIN_FORMAT_VERSION, chain=DIGEST)


class NoProofError(Exception):
    """No proof of what it is checked against."""


class OneValue:
    """A database that holds one value under every key; the store and all above it are the production code's."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def get(self, key: bytes, *, verify_checksums: bool) -> bytes:
        return self._value


def store_of(value: bytes) -> Store:
    return Store(OneValue(value), verify_checksums=False)


def record_decoders(ledger: Ledger, random: Random) -> Iterator[Decoder]:
    """Yields them with specimens of every kind, and with those of a chain on which everything happened."""
    lived = lived_on(ledger)
    rows: list[tuple[str, Any, Callable[[bytes], Any], Callable[[Any], bytes], tuple[type[Exception], ...]]] = [
        ("frame", Frame, decode_peer_message, encode_peer_message, (DecodeError,)),
        ("transaction", SignedTransaction, decode_transaction, encode, (DecodeError,)),
        ("endpoint", EndpointRecord, decode_record, encode, (DecodeError,)),
        ("forget", Forget, decode_forget, encode, (DecodeError,)),
        ("tip", StoredTip, lambda data: _read_tip(store_of(data)), encode, (LedgerDamaged,)),
        ("intake-origin", Origin, lambda data: origin_in(store_of(data)), encode, (CopyDamaged,)),
        ("snapshot-about", SnapshotAbout, lambda data: about_in(store_of(data)), encode, (CopyDamaged,)),
        ("origin", StoredOrigin, lambda data: read_origin(store_of(data), ORIGIN_FORMAT), encode, (LedgerDamaged,)),
    ]
    rows += [(name, root, _decoder_of(root), encode, (DecodeError,)) for name, root in PLAIN.items()]
    rows += [(name, root, _reader_of(read), encode, (LedgerDamaged,)) for name, (read, root) in STORED.items()]
    for name, root, read, write, refusals in rows:
        specimens = (*encodings(root, random), *lived.get(name, ()))
        yield Decoder(name=name, read=read, write=write, refusals=refusals, specimens=specimens)
    yield _format_decoder()
    yield _covered_decoder()
    yield _chunk_decoder(random)
    yield _proof_decoder()
    yield _gathered_decoder()
    yield from _index_decoders()


def _decoder_of(root: Any) -> Callable[[bytes], Any]:
    return lambda data: decode(data, root)


def _reader_of(read: Callable[[BlockReader], Any]) -> Callable[[bytes], Any]:
    return lambda data: read(BlockReader(store_of(data)))


def _format_decoder() -> Decoder:
    community = make_genesis()
    versions = (FORMAT_VERSION, ORIGIN_FORMAT_VERSION)
    known = (StoredFormat(version=version, chain=community.chain) for version in versions)
    other = StoredFormat(version=70_000, chain=DIGEST)

    def read(data: bytes) -> StoredFormat:
        return _check_format(store_of(data), community.chain)

    return Decoder(
        name="format",
        read=read,
        write=encode,
        refusals=(LedgerDamaged, LedgerForeign),
        specimens=(*map(encode, known), encode(other)),
    )


def _proof_decoder() -> Decoder:
    """A leader's proof: bytes of a stranger that are points and scalars."""
    key = seeded_key("node", 0)
    specimens = tuple(key.prove(statement) for statement in (b"", b"height"))

    def read(data: bytes) -> bytes:
        if not any(vrf.verify(key.public_key, statement, data) for statement in (b"", b"height")):
            raise NoProofError
        return data

    return Decoder(name="vrf-proof", read=read, write=bytes, refusals=(NoProofError,), specimens=specimens)


def _gathered_decoder() -> Decoder:
    """Certificates in few bytes: what holds is the one form of its certificate."""
    members = Members(4)
    certificates = (members.prepared(9), members.committed(9), members.prepared(9, by=(1, 2, 3)))

    def write(certificate: PreparedCertificate | CommitCertificate) -> bytes:
        return encode(gathered_of(certificate, members.membership))

    def read(data: bytes) -> PreparedCertificate | CommitCertificate:
        certificate = certificate_in(decode(data, Gathered), members.membership, members.era)
        if certificate is None:
            raise NoProofError
        return certificate

    return Decoder(
        name="gathered",
        read=read,
        write=write,
        refusals=(DecodeError, NoProofError),
        specimens=tuple(map(write, certificates)),
    )


def _covered_decoder() -> Decoder:
    """How much of a state is here: intervals that must be apart and in their order."""
    first, last = Digest(bytes(32)), Digest(b"\xff" * 32)
    middle = (Digest(b"\x10" + bytes(31)), Digest(b"\x20" + bytes(31)))
    return Decoder(
        name="state-intake",
        read=lambda data: covered_in(store_of(data)),
        write=lambda covered: encode(StoredIntake(covered=covered.intervals)),
        refusals=(CopyDamaged,),
        specimens=tuple(
            encode(StoredIntake(covered=covered))
            for covered in ((), ((first, last),), ((first, first), middle), (middle, (last, last)))
        ),
    )


def _chunk_decoder(random: Random) -> Decoder:
    """A chunk of a state from a stranger, judged under the root of that state."""
    entries = [StateEntry(key=StateKey(b"key %d" % number), value=random.randbytes(9)) for number in range(40)]
    hashed = sorted((hash_key(entry.key), entry) for entry in entries)
    left, right = WHOLE.halves()
    parts = {half: [one for one in hashed if half.start <= one[0] <= half.last] for half in (left, right)}
    names = {half: region_root(half, part) for half, part in parts.items()}
    root = region_root(WHOLE, hashed)
    whole = StateChunk(siblings=(), entries=tuple(entry for _, entry in hashed))
    half = StateChunk(siblings=(names[right],), entries=tuple(entry for _, entry in parts[left]))

    def read(data: bytes) -> StateChunk:
        chunk = decode(data, StateChunk)
        if chunk_fault(chunk, root, WHOLE.start) is not None:
            raise NoProofError
        return chunk

    return Decoder(
        name="state-chunk",
        read=read,
        write=encode,
        refusals=(DecodeError, NoProofError),
        specimens=(encode(whole), encode(half)),
    )


def _index_decoders() -> Iterator[Decoder]:
    heights = tuple(height_bytes(Height(number)) for number in (0, 1, 300, 2**63 - 1))
    yield Decoder(
        name="height-of-block",
        read=lambda data: BlockReader(store_of(data)).height_of_block(DIGEST),
        write=height_bytes,
        refusals=(LedgerDamaged,),
        specimens=heights,
    )

    def location(data: bytes) -> TransactionLocation | None:
        return BlockReader(store_of(data)).find_transaction(DIGEST)

    yield Decoder(
        name="place-of-transaction",
        read=location,
        write=lambda found: location_bytes(found.height, found.index),
        refusals=(LedgerDamaged,),
        specimens=tuple(height + bytes(4) for height in heights),
    )


def lived_on(ledger: Ledger) -> dict[str, tuple[bytes, ...]]:
    """Returns what a chain has really written, by decoder."""
    heights = [Height(number) for number in range(1, ledger.height + 1)]
    blocks = [ledger.decided_block(height) for height in heights]
    encoded_blocks = tuple(map(encode, blocks))
    return {
        "transaction": tuple(raw for block in blocks for raw in block.transactions),
        "block": encoded_blocks,
        "proposal": encoded_blocks,
        "certificate": tuple(encode(ledger.certificate(height)) for height in heights),
        "receipts": tuple(encode(ledger.receipts(height)) for height in heights),
        "state-value": tuple(sorted({value for table in Table for _, value in ledger.scan(table)})),
    }
