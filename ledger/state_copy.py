"""The state after one block, copied out of the ledger so that it can be told chunk by chunk: a database of its own.

| table | key after the table's byte | value |
|---|---|---|
| `A` about | nothing | encoded `SnapshotAbout`; written last: a copy without it is not whole |
| `E` entries | hash of the state key | encoded `StateEntry` |
| `O` origin | page (4 bytes big endian) | encoded `Origin`, cut into pages |
| `R` regions | first hash, bits (2 bytes big endian) | `C` if it is a chunk's, else `I`; its subtree's hash |

The ledger keeps the map of its newest state alone, and cannot say which keys stand in a region: a copy can, however
far the chain has gone on. LevelDB sorts it, so memory is bounded whatever the state has.
"""

import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from consensus.codec import DecodeError, Record, decode, encode
from consensus.identifiers import GENESIS_HEIGHT, Digest, Height
from consensus.messages import DigestField, HeightField
from contracts.state import StateKey
from ledger.authenticated_map import hash_key
from ledger.block import BlockHeader
from ledger.errors import (
    BlocksNotHere,
    CopyDamaged,
    LedgerDamaged,
    LedgerError,
    LedgerUnreadable,
    LedgerWriteFailed,
    StateNotCopied,
)
from ledger.ledger import Ledger
from ledger.origin import NAMED_BELOW_MAX, Origin
from ledger.state_ranges import (
    WHOLE,
    HashedEntry,
    Region,
    StateChunk,
    StateEntry,
    divide,
    join_regions,
    region_root,
)
from ledger.store import Store
from ledger.trusted_sets import CHANGES_MAX, SetStep

T = TypeVar("T")

Steps = Generator[None, None, T]
"""Work in short steps that returns a `T`; other work runs between them."""

SNAPSHOT_INTERVAL: Final = 1_024
"""Blocks between two copies: who joins executes at most so many, and those decided while it takes the state."""

ORIGIN_PAGE_SIZE_BYTES: Final = 256 * 1024
ORIGIN_SIZE_BYTES_MAX: Final = 16 * 1024 * 1024
"""A block, its receipts, 64 headers, and the steps to its members: each has its own bound, all reach it never."""

ORIGIN_PAGES_MAX: Final = ORIGIN_SIZE_BYTES_MAX // ORIGIN_PAGE_SIZE_BYTES

ENTRIES_PER_STEP: Final = 256
"""Entries that are copied at once: 5 ms, and one synced write."""

REGIONS_PER_STEP: Final = 256

ABOUT: Final = b"A"
ENTRY: Final = b"E"
ORIGIN: Final = b"O"
REGION: Final = b"R"
CHUNK: Final = b"C"
INNER: Final = b"I"


class SnapshotAbout(Record, frozen=True, kw_only=True, tag="snapshot-about"):
    """Which state a copy has."""

    chain: DigestField
    height: HeightField
    """Of the block after which it is the state."""
    origin_size_bytes: int


def about_in(store: Store) -> SnapshotAbout:
    """Returns which state the database of a whole copy has.

    Raises:
        CopyDamaged: it does not say so.
    """
    try:
        return decode(store.get(ABOUT) or b"", SnapshotAbout)
    except DecodeError as error:
        raise CopyDamaged(f"it does not say what it is of: {error}") from None


class StateCopy:
    """A whole copy, ready to be told. Made by `copying` and `open`; for use by one thread at a time."""

    def __init__(self, store: Store, about: SnapshotAbout) -> None:
        """Takes an open database that holds a whole copy."""
        self._store = store
        self.about: Final = about

    @classmethod
    def open(cls, directory: Path) -> "StateCopy":
        """Opens a copy.

        Raises:
            CopyDamaged: it is not whole, or not what was written.
        """
        store: Store | None = None
        try:
            store = Store.open(directory, verify_checksums=True)
            return cls(store, about_in(store))
        except LedgerError as error:
            if store is not None:
                store.close()
            raise CopyDamaged(f"{directory} holds no whole copy of a state: {error}") from None

    def close(self) -> None:
        """Closes the database."""
        self._store.close()

    def origin_page(self, page: int) -> bytes:
        """Returns a page of the encoded origin, nothing beyond the last.

        Raises:
            CopyDamaged: the copy is not what was written.
        """
        with _damage_of_a_copy():
            return self._store.get(ORIGIN + page.to_bytes(4, "big")) or b""

    def chunk_at(self, position: Digest) -> StateChunk:
        """Returns the chunk whose region holds a hash.

        Raises:
            CopyDamaged: the copy is not what was written.
        """
        region, siblings = WHOLE, []
        with _damage_of_a_copy():
            while self._region(region)[:1] != CHUNK:
                halves = region.halves()
                region, other = halves if position <= halves[0].last else halves[::-1]
                siblings.append(Digest(self._region(other)[1:]))
            entries = tuple(entry for _, entry in _entries_in(self._store, region))
        return StateChunk(siblings=tuple(siblings), entries=entries)

    def _region(self, region: Region) -> bytes:
        stored = self._store.get(_region_key(region))
        if stored is None:
            raise LedgerDamaged("a region of a copied state is missing")
        return stored


@contextmanager
def _damage_of_a_copy() -> Iterator[None]:
    """What is damaged in a copy says nothing of the ledger that it was made of."""
    try:
        yield
    except (LedgerDamaged, LedgerUnreadable) as error:
        raise CopyDamaged(str(error)) from None


def copying(ledger: Ledger, height: Height, directory: Path) -> Steps[None]:
    """Copies the state after a decided block, in steps of at most some 15 ms, between which the ledger may grow.

    Args:
        ledger: that has the block.
        height: of the block.
        directory: for the copy alone; what is there is replaced.

    Raises:
        StateNotCopied: the ledger does not have all of it, the disk does not take it, or the block commits to another
            state.
        LedgerDamaged: the ledger is not what was written.
    """
    shutil.rmtree(directory, ignore_errors=True)
    try:
        origin = yield from _origin(ledger, height)
    except BlocksNotHere as error:
        raise StateNotCopied(f"what goes with the state after block {height} is not here: {error}") from None
    encoded = encode(origin)
    if len(encoded) > ORIGIN_SIZE_BYTES_MAX:
        raise StateNotCopied(f"what goes with the state after block {height} has {len(encoded):,} bytes")
    store: Store | None = None
    try:
        store = Store.create(directory)
        yield from _copy_entries(ledger, height, store)
        with _damage_of_a_copy():
            root = yield from _index_regions(store)
        if root != origin.block.header.state_root:
            raise StateNotCopied(
                f"the state after block {height} hashes to {root.hex()}, and the block commits to another: "
                "p2pnode ledger verify finds out why"
            )
        about = SnapshotAbout(chain=ledger.chain, height=height, origin_size_bytes=len(encoded))
        store.write({**_pages(encoded), ABOUT: encode(about)})
    except (LedgerWriteFailed, CopyDamaged) as error:
        raise StateNotCopied(f"the disk does not take a copy of the state: {error}") from None
    finally:
        if store is not None:
            store.close()


def _origin(ledger: Ledger, height: Height) -> Steps[Origin]:
    """Returns what goes with the state after a decided block, one block read per step."""
    block = ledger.decided_block(height)
    headers: list[BlockHeader] = []
    for number in range(height - 1, max(GENESIS_HEIGHT, height - 1 - NAMED_BELOW_MAX), -1):
        yield
        headers.append(ledger.decided_header(Height(number)))
    steps: list[SetStep] = []
    for some in ledger.set_steps_in_turns():
        yield
        steps += some
    if len(steps) > CHANGES_MAX:
        raise StateNotCopied(
            f"{len(steps):,} changes of members lead to block {height}, and {CHANGES_MAX:,} can be told"
        )
    yield
    certificate, receipts = ledger.certificate(height), ledger.receipts(height)
    assert certificate is not None, "a decided block has its certificate"
    return Origin(block=block, certificate=certificate, receipts=receipts, steps=tuple(steps), headers=tuple(headers))


def _pages(encoded: bytes) -> dict[bytes, bytes]:
    starts = range(0, len(encoded), ORIGIN_PAGE_SIZE_BYTES)
    return {
        ORIGIN + page.to_bytes(4, "big"): encoded[start : start + ORIGIN_PAGE_SIZE_BYTES]
        for page, start in enumerate(starts)
    }


def _copy_entries(ledger: Ledger, height: Height, store: Store) -> Steps[None]:
    key: StateKey | None = None
    while True:
        rows = list(islice(ledger.state_at(height, after=key), ENTRIES_PER_STEP))
        values = [StateEntry(key=one, value=value) for one, value in rows if value is not None]
        if values:
            store.write({ENTRY + hash_key(entry.key): encode(entry) for entry in values})
        yield
        if len(rows) < ENTRIES_PER_STEP:
            return
        key = rows[-1][0]


def _index_regions(store: Store) -> Steps[Digest]:
    """Finds the chunks and all above them; returns the map's root."""
    chunks: list[tuple[Region, Digest]] = []
    for region, entries in divide(_entries_in(store, WHOLE)):
        chunks.append((region, region_root(region, entries)))
        yield
    nodes = {_region_key(region): CHUNK + name for region, name in chunks}
    root = chunks[0][1]
    for region, root in join_regions(chunks):
        nodes[_region_key(region)] = INNER + root
        if len(nodes) >= REGIONS_PER_STEP:
            store.write(nodes)
            nodes = {}
            yield
    store.write(nodes)
    return root


def _entries_in(store: Store, region: Region) -> Iterator[HashedEntry]:
    """Yields the entries of a region in their order."""
    last = ENTRY + region.last
    below = region.preceding
    for stored, value in store.entries(ENTRY, after=ENTRY if below is None else ENTRY + below):
        if stored > last:
            return
        try:
            yield Digest(stored[1:]), decode(value, StateEntry)
        except DecodeError as error:
            raise LedgerDamaged(f"an entry of a copied state is not one: {error}") from None


def _region_key(region: Region) -> bytes:
    return REGION + region.start + region.depth.to_bytes(2, "big")
