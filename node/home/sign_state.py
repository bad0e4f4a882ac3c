"""The durable sign state: two alternating checksummed records in one file, synced before each signature.

What a replica has promised and voted for must survive a crash, or it could sign twice. This file keeps the
newest such record as opaque bytes. It lies beside the key, outside the ledger, and is created once, together
with the key; a node never creates it again.

File, `FILE_SIZE_BYTES` long from the start: record n at position (n mod 2) x `POSITION_SIZE_BYTES`, and the same
again `COPY_DISTANCE_BYTES` behind.

| bytes | what |
|---|---|
| 4 | `MAGIC` |
| 8 | n, the sequence number, big endian |
| 2 | length of the payload, big endian |
| length | payload |
| 32 | BLAKE2b-256 of all the above |

A write goes to the position of the older record, both copies at once. If it is torn, the newest whole copy is the
record before it or itself; nothing was signed under it yet, as `save` had not returned, and to be bound by it already
does no harm. If a bit of the newest record rots, its other copy still says what was signed; falling back to the
record before would forget it. So a position without a whole copy is damage, and is refused. Where one copy is lost,
the next torn write could take the other; so it is made again, it alone, before anything else is written. Writes never
change the file's length, so a file of another length was damaged, too.
"""

import errno
import fcntl
import os
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from consensus.cryptography import HashKind, digest
from consensus.identifiers import DIGEST_SIZE_BYTES
from ledger.access import is_denied
from ledger.side_files import sync_directory
from node.errors import SignStateError, SignStateFault

PAYLOAD_SIZE_BYTES_MAX: Final = 512
"""Longest record: heights, slots, eras and five digests, the largest of each, take less than 300 bytes."""

POSITION_SIZE_BYTES: Final = 4_096
"""Distance of the two records: a page each, so that one torn page never damages both."""

COPY_DISTANCE_BYTES: Final = POSITION_SIZE_BYTES // 2
"""Distance of a record's two copies: sectors apart, so that one bad sector never damages both."""

FILE_SIZE_BYTES: Final = 2 * POSITION_SIZE_BYTES
FILE_MODE: Final = 0o600

MAGIC: Final = b"PSS3"
"""Ends with the version of the file's layout and of its payload; another one is refused."""
MAGIC_NAME: Final = MAGIC[:-1]
_SEQUENCE_SIZE_BYTES: Final = 8
_LENGTH_SIZE_BYTES: Final = 2
_HEADER_SIZE_BYTES: Final = len(MAGIC) + _SEQUENCE_SIZE_BYTES + _LENGTH_SIZE_BYTES


class _Record(NamedTuple):
    sequence: int
    payload: bytes


class SignStateDevice(Protocol):
    """The bytes of one sign state, locked against any other process. The simulator has one of its own."""

    def read(self) -> bytes:
        """Returns all bytes.

        Raises:
            OSError: they cannot be read.
        """
        ...

    def write(self, data: bytes, offset: int) -> None:
        """Writes bytes and syncs them.

        Raises:
            OSError: they are not known to be durable.
        """
        ...

    def close(self) -> None:
        """Gives up the bytes and their lock."""
        ...


class SignStateStore:
    """The open sign state of one node."""

    __slots__ = ("_device", "_path", "_record")

    def __init__(self, device: SignStateDevice, path: Path) -> None:
        """Finds the newest record of a device, whose name in messages is `path`.

        Raises:
            SignStateError: a record damaged in both copies, or in one and the disk does not take it again.
        """
        self._path = path
        self._device: SignStateDevice | None = device
        try:
            content = _read_whole(device, path)
            _require_version(content, path)
            records = _newest_records(content, path)
            self._record = max(records)
            for record in records:
                self._mend(record, content)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def content(payload: bytes) -> bytes:
        """Returns all bytes of a new sign state that holds `payload`."""
        return b"".join(_encode_copy(_Record(sequence, payload)) * 2 for sequence in (0, 1))

    def load(self) -> bytes:
        """Returns the newest durable payload."""
        return self._record.payload

    def save(self, payload: bytes) -> None:
        """Makes `payload` durable; only when this returns may anything be signed under it.

        Raises:
            SignStateError: the write or its sync failed. Nothing may be believed of the disk after that, so
                every later call raises too.
        """
        record = _Record(self._record.sequence + 1, payload)
        self._write(_encode_copy(record) * 2, _offsets(record)[0])
        self._record = record

    def _mend(self, record: _Record, content: bytes) -> None:
        copy = _encode_copy(record)
        for offset in _offsets(record):
            if content[offset : offset + COPY_DISTANCE_BYTES] != copy:
                self._write(copy, offset)

    def _write(self, data: bytes, offset: int) -> None:
        if self._device is None:
            raise SignStateError(SignStateFault.WRITE_FAILED, f"{self._path} is closed")
        try:
            self._device.write(data, offset)
        except OSError as error:
            self.close()
            raise _write_failed(self._path, error) from None

    def close(self) -> None:
        """Gives up the bytes and their lock. `load` still answers, `save` raises."""
        if self._device is not None:
            self._device.close()
            self._device = None


class SignStateFile(SignStateStore):
    """A sign state in a file, locked against any other process."""

    __slots__ = ()

    def __init__(self, path: Path) -> None:
        """Opens and locks the sign state at `path`.

        Raises:
            SignStateError: missing, not to be opened by this process, in use by another one, a record damaged in
                both copies, or in one and the disk does not take it again.
        """
        super().__init__(_LockedFile(_open_locked(path)), path)

    @staticmethod
    def create(path: Path, payload: bytes) -> None:
        """Makes the sign state of a new key, holding `payload`, readable by its owner only.

        Raises:
            SignStateError: it exists already (a second one could make the node sign twice), or the disk
                does not take it.
        """
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        except FileExistsError:
            raise SignStateError(SignStateFault.EXISTS, f"{path} exists; it is made only once") from None
        except OSError as error:
            raise _write_failed(path, error) from None
        try:
            _LockedFile(descriptor).write(SignStateStore.content(payload), 0)
            sync_directory(path.parent)
        except OSError as error:
            raise _write_failed(path, error) from None
        finally:
            os.close(descriptor)


def newest_payload(path: Path) -> bytes | None:
    """Returns what a sign state says, for who only reads and takes no lock; None if that cannot be told."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    file = _LockedFile(descriptor)
    try:
        return max(_newest_records(_read_whole(file, path), path)).payload
    except SignStateError:
        return None
    finally:
        file.close()


class _LockedFile:
    """An open file. See `SignStateDevice`."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self) -> bytes:
        return os.pread(self._descriptor, FILE_SIZE_BYTES + 1, 0)

    def write(self, data: bytes, offset: int) -> None:
        if os.pwrite(self._descriptor, data, offset) != len(data):
            raise OSError(0, "the disk took only a part of the record")
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def _open_locked(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        detail = f"{path} is missing: this node may have signed what it no longer knows, so it must not sign"
        raise SignStateError(SignStateFault.MISSING, detail) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            detail = f"{path} is a symbolic link: put the file itself there"
            raise SignStateError(SignStateFault.UNREADABLE, detail) from None
        fault = SignStateFault.UNREADABLE if is_denied(error) else SignStateFault.DAMAGED
        raise SignStateError(fault, f"{path} cannot be opened: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        detail = f"{path} is in use: this node is running already"
        raise SignStateError(SignStateFault.IN_USE, detail) from None
    return descriptor


def _require_version(content: bytes, path: Path) -> None:
    """Another program's file is whole: it is neither damaged nor lost, and must not be set aside."""
    found = {content[offset : offset + len(MAGIC)] for offset in range(0, FILE_SIZE_BYTES, COPY_DISTANCE_BYTES)}
    if len(found) == 1 and MAGIC not in found and (magic := found.pop()).startswith(MAGIC_NAME):
        versions = f"version {magic[-1:].decode('latin-1')}, this software knows version {MAGIC[-1:].decode('ascii')}"
        raise SignStateError(SignStateFault.OTHER_VERSION, f"{path} is of {versions}")


def _read_whole(device: SignStateDevice, path: Path) -> bytes:
    try:
        content = device.read()
    except OSError as error:
        raise SignStateError(SignStateFault.DAMAGED, f"{path} cannot be read: {error.strerror}") from None
    if len(content) != FILE_SIZE_BYTES:
        detail = f"{path} has not {FILE_SIZE_BYTES} bytes: it was damaged"
        raise SignStateError(SignStateFault.DAMAGED, detail)
    return content


def _newest_records(content: bytes, path: Path) -> list[_Record]:
    """Returns the newest whole record of each position."""
    newest = [_newest_at(content, position) for position in (0, 1)]
    whole = [record for record in newest if record is not None]
    if len(whole) < len(newest):
        raise SignStateError(SignStateFault.DAMAGED, f"a record of {path} is damaged in both copies")
    return whole


def _newest_at(content: bytes, position: int) -> _Record | None:
    copies = [
        _decode(content[offset : offset + COPY_DISTANCE_BYTES], position)
        for offset in _offsets(_Record(position, b""))
    ]
    return max((record for record in copies if record is not None), default=None)


def _offsets(record: _Record) -> tuple[int, int]:
    """Returns where the two copies of a record begin."""
    start = record.sequence % 2 * POSITION_SIZE_BYTES
    return start, start + COPY_DISTANCE_BYTES


def _encode_copy(record: _Record) -> bytes:
    return _encode(record).ljust(COPY_DISTANCE_BYTES, b"\0")


def _encode(record: _Record) -> bytes:
    assert len(record.payload) <= PAYLOAD_SIZE_BYTES_MAX, f"a payload of {len(record.payload)} bytes"
    body = (
        MAGIC
        + record.sequence.to_bytes(_SEQUENCE_SIZE_BYTES, "big")
        + len(record.payload).to_bytes(_LENGTH_SIZE_BYTES, "big")
        + record.payload
    )
    return body + digest(HashKind.SIGN_STATE, body)


def _decode(data: bytes, position: int) -> _Record | None:
    """Returns the record of a copy at a position, None if it is torn or damaged."""
    length = int.from_bytes(data[_HEADER_SIZE_BYTES - _LENGTH_SIZE_BYTES : _HEADER_SIZE_BYTES], "big")
    body, checksum = data[: _HEADER_SIZE_BYTES + length], data[_HEADER_SIZE_BYTES + length :]
    if length > PAYLOAD_SIZE_BYTES_MAX or not body.startswith(MAGIC):
        return None
    if checksum[:DIGEST_SIZE_BYTES] != digest(HashKind.SIGN_STATE, body):
        return None
    sequence = int.from_bytes(body[len(MAGIC) : len(MAGIC) + _SEQUENCE_SIZE_BYTES], "big")
    return _Record(sequence, body[_HEADER_SIZE_BYTES:]) if sequence % 2 == position else None


def _write_failed(path: Path, error: OSError) -> SignStateError:
    return SignStateError(SignStateFault.WRITE_FAILED, f"{path} cannot be written: {error.strerror}")
