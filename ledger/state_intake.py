"""A state that a home takes in chunk by chunk, until it can begin a ledger with it: a database of its own.

| table | key after the table's byte | value |
|---|---|---|
| `E` entries | hash of the state key | encoded `StateEntry` |
| `I` intake | nothing | encoded `StoredIntake`: how much of it is here |
| `O` origin | nothing | encoded `Origin`: whose state it is |

A chunk is written with what it covers in one synced batch. So whenever the process ends, what is said to be here is
here, and at most the chunk that was just being written is not.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from consensus.codec import DecodeError, Record, decode, encode
from consensus.identifiers import Digest, Height
from consensus.messages import DigestField
from contracts.state import StateKey
from ledger.authenticated_map import hash_key
from ledger.errors import CopyDamaged, LedgerDamaged, LedgerUnreadable
from ledger.origin import Origin
from ledger.state_copy import ORIGIN_SIZE_BYTES_MAX
from ledger.state_ranges import Covered, StateChunk, StateEntry, region_at
from ledger.store import Store

ENTRY: Final = b"E"
INTAKE: Final = b"I"

ORIGIN: Final = b"O"
INTERVALS_MAX: Final = 4_096
"""There are as many as places that are asked from at once, some tens."""


class StoredIntake(Record, frozen=True, kw_only=True, tag="state-intake"):
    """How much of a state is here: first and last hash of each interval of keys, in their order."""

    covered: Annotated[tuple[tuple[DigestField, DigestField], ...], Meta(max_length=INTERVALS_MAX)]


class StateIntake:
    """A state that is being taken in. For use by one thread; one object per folder."""

    def __init__(self, store: Store, origin: Origin, covered: Covered) -> None:
        """Takes an open database and what it holds; use `create` or `open`."""
        self._store = store
        self.origin: Final = origin
        self.covered: Final = covered

    @classmethod
    def create(cls, directory: Path, origin: Origin) -> "StateIntake":
        """Begins with nothing of a state, in place of what is in the folder.

        Args:
            directory: for the intake alone.
            origin: that is proven.

        Raises:
            LedgerWriteFailed: the disk does not take it.
        """
        shutil.rmtree(directory, ignore_errors=True)
        store = Store.create(directory)
        covered = Covered()
        try:
            store.write({ORIGIN: encode(origin), INTAKE: _stored(covered)})
        except BaseException:
            store.close()
            raise
        return cls(store, origin, covered)

    @classmethod
    def open(cls, directory: Path) -> "StateIntake":
        """Goes on with what was taken before.

        Raises:
            CopyDamaged: there is nothing that could be gone on with.
        """
        store: Store | None = None
        try:
            store = Store.open(directory, verify_checksums=True)
            return cls(store, origin_in(store), covered_in(store))
        except (CopyDamaged, LedgerDamaged, LedgerUnreadable) as error:
            if store is not None:
                store.close()
            raise CopyDamaged(f"{directory} holds no state that was begun: {error}") from None

    def close(self) -> None:
        """Closes the database."""
        self._store.close()

    @property
    def chain(self) -> Digest:
        """Whose state it is."""
        return self.origin.block.header.chain

    @property
    def height(self) -> Height:
        """Of the block after which it is the state."""
        return self.origin.block.header.height

    @property
    def root(self) -> Digest:
        """The state's."""
        return self.origin.block.header.state_root

    def put(self, position: Digest, chunk: StateChunk) -> None:
        """Writes a chunk that was found right for a position, durably, with what it covers.

        Raises:
            LedgerWriteFailed: the disk does not take it.
        """
        self.covered.add(region_at(position, len(chunk.siblings)))
        entries = {ENTRY + hash_key(entry.key): encode(entry) for entry in chunk.entries}
        self._store.write({**entries, INTAKE: _stored(self.covered)})

    def entries(self) -> Iterator[tuple[StateKey, bytes]]:
        """Yields all keys and values of the state once it is whole, in the order of the keys' hashes.

        Raises:
            CopyDamaged: they are not what was written.
        """
        assert self.covered.is_whole, "a part of the state is missing"
        try:
            for _, value in self._store.entries(ENTRY):
                entry = decode(value, StateEntry)
                yield entry.key, entry.value
        except (DecodeError, LedgerDamaged, LedgerUnreadable) as error:
            raise CopyDamaged(f"the state that was taken in cannot be read: {error}") from None


def origin_in(store: Store) -> Origin:
    """Returns the origin in the database of an intake.

    Raises:
        CopyDamaged: it is not there, or none.
    """
    try:
        return decode(store.get(ORIGIN) or b"", Origin, size_bytes_max=ORIGIN_SIZE_BYTES_MAX)
    except DecodeError as error:
        raise CopyDamaged(f"the origin is not one: {error}") from None


def covered_in(store: Store) -> Covered:
    """Returns how much of a state is in the database of an intake.

    Raises:
        CopyDamaged: it does not say so.
    """
    try:
        return Covered(decode(store.get(INTAKE) or b"", StoredIntake).covered)
    except (DecodeError, ValueError) as error:
        raise CopyDamaged(f"what is there of it is not told: {error}") from None


def _stored(covered: Covered) -> bytes:
    return encode(StoredIntake(covered=covered.intervals))
