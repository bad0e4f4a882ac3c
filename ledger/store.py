"""The LevelDB layer: key layouts, reads by table, and one synced atomic batch per write.

| table | key after the table's byte | value |
|---|---|---|
| `B` blocks | height | encoded `Block` |
| `C` certificates | height | encoded `CommitCertificate` that decided the block |
| `D` block digests | block digest | height |
| `F` format | nothing | encoded `StoredFormat` |
| `H` tip | nothing | encoded `StoredTip` |
| `N` map nodes | node hash | kind byte and two hashes; of the newest state's map only |
| `O` origin | nothing | encoded `StoredOrigin` (`ledger.origin`), of a ledger that began at one |
| `R` receipts | height | encoded array of `Receipt` |
| `S` state versions | state key, height | encoded state value; added, never edited or removed |
| `T` transactions | transaction digest | height, index in the block (4 bytes big endian) |
| `U` undecided | consensus' own key | consensus' own record of height tip + 1 |

Heights are 8 bytes big endian, so that a key's versions and the blocks sort by height. State keys of one table
have one length, so no state key is a prefix of another.

LevelDB is opened with paranoid checks and never repaired: `repair_db` was seen to bring back wrong values.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

import plyvel

from consensus.codec import Record
from consensus.identifiers import Digest, Height
from consensus.messages import NUMBER_MAX, DigestField, HeightField
from contracts.state import StateKey, Table
from ledger.access import is_denied
from ledger.errors import LedgerDamaged, LedgerError, LedgerUnreadable, LedgerWriteFailed

FORMAT_VERSION: Final = 2
"""Of the layouts above, with every block from the first; another one is refused."""

ORIGIN_FORMAT_VERSION: Final = 3
"""Of a ledger that began at an origin: who takes it for one from genesis would call what is not there lost."""

BLOOM_FILTER_BITS: Final = 10
"""Per key: answers 99 of 100 reads of absent keys (fresh nonces, unused offers) without a disk read."""

HEIGHT_SIZE_BYTES: Final = 8
INDEX_SIZE_BYTES: Final = 4


class Space(bytes, Enum):
    """The first byte of every stored key."""

    BLOCK = b"B"
    CERTIFICATE = b"C"
    BLOCK_DIGEST = b"D"
    FORMAT = b"F"
    TIP = b"H"
    MAP_NODE = b"N"
    ORIGIN = b"O"
    RECEIPTS = b"R"
    STATE = b"S"
    TRANSACTION = b"T"
    UNDECIDED = b"U"


class StoredFormat(Record, frozen=True, kw_only=True, tag="format"):
    """Says whose data this is."""

    version: int
    chain: DigestField


class StoredTip(Record, frozen=True, kw_only=True, tag="stored-tip"):
    """The last decided block."""

    height: HeightField
    block: DigestField
    """Its digest; the chain id at genesis."""
    state_root: DigestField


FORMAT_KEY: Final = Space.FORMAT.value
TIP_KEY: Final = Space.TIP.value
ORIGIN_KEY: Final = Space.ORIGIN.value


def height_bytes(height: Height) -> bytes:
    """Returns a height as keys and index values carry it."""
    return height.to_bytes(HEIGHT_SIZE_BYTES, "big")


def height_from(data: bytes) -> Height:
    """Returns the height that `height_bytes` wrote."""
    return Height(int.from_bytes(data, "big"))


def location_bytes(height: Height, index: int) -> bytes:
    """Returns the place of a transaction as the index stores it."""
    return height_bytes(height) + index.to_bytes(INDEX_SIZE_BYTES, "big")


def block_key(height: Height) -> bytes:
    """Key of a block."""
    return Space.BLOCK.value + height_bytes(height)


def certificate_key(height: Height) -> bytes:
    """Key of a commit certificate."""
    return Space.CERTIFICATE.value + height_bytes(height)


def block_digest_key(block: Digest) -> bytes:
    """Key of a block's height by its digest."""
    return Space.BLOCK_DIGEST.value + block


_MAP_NODE: Final = Space.MAP_NODE.value  # looking a member up takes longer than the rest of `node_key`


def node_key(node: Digest) -> bytes:
    """Key of a node of the authenticated map."""
    return _MAP_NODE + node


def receipts_key(height: Height) -> bytes:
    """Key of a block's receipts."""
    return Space.RECEIPTS.value + height_bytes(height)


def version_key(key: StateKey, height: Height) -> bytes:
    """Key of the value that a state key was given at a height."""
    return Space.STATE.value + key + height_bytes(height)


def transaction_key(transaction: Digest) -> bytes:
    """Key of a transaction's place."""
    return Space.TRANSACTION.value + transaction


def undecided_key(name: bytes) -> bytes:
    """Key of a record that consensus keeps of the undecided height."""
    return Space.UNDECIDED.value + name


def _failure(what: str, error: Exception) -> LedgerError:
    """Returns what a failed opening or reading is: LevelDB opens its tables only when they are read."""
    if isinstance(error, OSError) and is_denied(error):
        return LedgerUnreadable(f"{what}: {error}")
    said = error.args[0] if error.args else error
    return LedgerDamaged(f"{what}: {said.decode(errors='replace') if isinstance(said, bytes) else said}")


def _behind_versions_of(key: StateKey) -> bytes:
    return version_key(key, Height(NUMBER_MAX)) + b"\0"


def _newest_up_to(iterator: Any, key: StateKey, height: Height) -> bytes:
    """Returns the value that a key had after a height, which has one; moves the iterator."""
    iterator.seek(version_key(key, height) + b"\0")
    value: bytes = iterator.prev()[1]
    return value


class Store:
    """An open LevelDB directory. Not for use by several threads at once."""

    def __init__(self, database: Any, *, verify_checksums: bool) -> None:
        """Takes an open plyvel database; use `create` or `open`."""
        self._database = database
        self._verify_checksums = verify_checksums
        self._failure: str | None = None

    @classmethod
    def create(cls, directory: Path) -> "Store":
        """Makes a new database in a directory that does not hold one.

        Raises:
            LedgerWriteFailed: the disk does not take it.
        """
        try:
            database = plyvel.DB(
                str(directory),
                create_if_missing=True,
                error_if_exists=True,
                paranoid_checks=True,
                bloom_filter_bits=BLOOM_FILTER_BITS,
            )
        except (plyvel.Error, OSError) as error:
            raise LedgerWriteFailed(f"cannot create a database: {error}") from None
        return cls(database, verify_checksums=False)

    @classmethod
    def open(cls, directory: Path, *, verify_checksums: bool = False) -> "Store":
        """Opens an existing database with paranoid checks.

        Args:
            directory: where LevelDB keeps its files.
            verify_checksums: also check the checksum of every block that a read touches.

        Raises:
            LedgerDamaged: LevelDB refuses its own files.
            LedgerUnreadable: the system does not let LevelDB open them; so may every read.
        """
        try:
            database = plyvel.DB(
                str(directory),
                create_if_missing=False,
                paranoid_checks=True,
                bloom_filter_bits=BLOOM_FILTER_BITS,
            )
        except (plyvel.Error, OSError) as error:
            raise _failure("LevelDB refuses to open", error) from None
        return cls(database, verify_checksums=verify_checksums)

    def close(self) -> None:
        """Closes the database; a second call does nothing."""
        self._database.close()

    @property
    def failed(self) -> bool:
        """Whether a write has failed, after which nothing is known to be durable."""
        return self._failure is not None

    def write(self, puts: Mapping[bytes, bytes], deletes: Iterable[bytes] = ()) -> None:
        """Writes everything or nothing, and returns once it is on the disk.

        Raises:
            LedgerWriteFailed: it is not known to be; no later write is accepted either.
        """
        if self._failure is not None:
            raise LedgerWriteFailed(f"an earlier write failed: {self._failure}")
        batch = self._database.write_batch(sync=True)
        for key in deletes:
            batch.delete(key)
        for key, value in puts.items():
            batch.put(key, value)
        try:
            batch.write()
        except (plyvel.Error, OSError) as error:
            self._failure = str(error)
            raise LedgerWriteFailed(f"LevelDB did not take a write: {error}") from None

    def get(self, key: bytes) -> bytes | None:
        """Returns the stored value of a full key, None if there is none.

        Raises:
            LedgerDamaged: LevelDB finds its files damaged.
        """
        try:
            value: bytes | None = self._database.get(key, verify_checksums=self._verify_checksums)
        except (plyvel.Error, OSError) as error:
            raise _failure(f"LevelDB cannot read key {key[:64].hex()}", error) from None
        return value

    def entries(
        self, prefix: bytes = b"", *, after: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yields all keys with a prefix and their values, in order, as they were when the iteration began.

        Args:
            prefix: of the keys; none for the whole database.
            after: begins behind this key, which has the prefix.
            reverse: from the last key to the first.

        Raises:
            LedgerDamaged: LevelDB finds its files damaged; what came before is valid.
        """
        try:
            with self._database.iterator(
                prefix=prefix or None, reverse=reverse, verify_checksums=self._verify_checksums
            ) as iterator:
                if after is not None:
                    iterator.seek(after + b"\0")
                yield from iterator
        except (plyvel.Error, OSError) as error:
            raise _failure("LevelDB cannot read on", error) from None

    def node(self, name: Digest) -> bytes | None:
        """Returns a node of the authenticated map."""
        return self.get(node_key(name))

    def newest_version(self, key: StateKey) -> tuple[Height, bytes] | None:
        """Returns the newest value of a state key and the height that wrote it, None if it was never written."""
        return self.version_at(key, Height(NUMBER_MAX))

    def version_at(self, key: StateKey, height: Height) -> tuple[Height, bytes] | None:
        """Returns the value that a state key had after a height and the height that wrote it, None if none had."""
        try:
            with self._database.iterator(
                start=Space.STATE.value + key,
                stop=version_key(key, height),
                include_stop=True,
                reverse=True,
                verify_checksums=self._verify_checksums,
            ) as iterator:
                entry: tuple[bytes, bytes] | None = next(iterator, None)
        except (plyvel.Error, OSError) as error:
            raise _failure(f"LevelDB cannot read state key {key.hex()}", error) from None
        return None if entry is None else (height_from(entry[0][-HEIGHT_SIZE_BYTES:]), entry[1])

    def versions(self, key: StateKey, above: Height | None = None) -> Iterator[tuple[Height, bytes]]:
        """Yields all values of a state key that were written above a height, with their heights, oldest first."""
        after = None if above is None else version_key(key, above)
        for stored, value in self.entries(Space.STATE.value + key, after=after):
            yield height_from(stored[-HEIGHT_SIZE_BYTES:]), value

    def newest_versions(self, table: Table) -> Iterator[tuple[StateKey, bytes]]:
        """Yields every key of a state table with its newest value, in the order of the keys."""
        waiting: tuple[StateKey, bytes] | None = None
        for stored, value in self.entries(Space.STATE.value + table.value):
            key = StateKey(stored[1:-HEIGHT_SIZE_BYTES])
            if waiting is not None and waiting[0] != key:
                yield waiting
            waiting = (key, value)
        if waiting is not None:
            yield waiting

    def values_at(self, height: Height, *, after: StateKey | None = None) -> Iterator[tuple[StateKey, bytes | None]]:
        """Yields every state key behind one with the value that it had after a height, in the order of the keys; None
        for those that are written only later. Each step is short, however many versions a key has.
        """
        try:
            with self._database.iterator(
                prefix=Space.STATE.value, verify_checksums=self._verify_checksums
            ) as iterator:
                if after is not None:
                    iterator.seek(_behind_versions_of(after))
                for stored, _ in iterator:
                    key = StateKey(stored[1:-HEIGHT_SIZE_BYTES])
                    is_later = height_from(stored[-HEIGHT_SIZE_BYTES:]) > height
                    yield key, None if is_later else _newest_up_to(iterator, key, height)
                    iterator.seek(_behind_versions_of(key))
        except (plyvel.Error, OSError) as error:
            raise _failure("LevelDB cannot read on", error) from None

    def highest(self, space: Space) -> Height | None:
        """Returns the highest height that a table keyed by height has, None if it is empty."""
        for stored, _ in self.entries(space.value, reverse=True):
            return height_from(stored[1:])
        return None
