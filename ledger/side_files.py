"""The files of a ledger's directory beside LevelDB: the lock, the mark of the tip, and the seal.

| name | content |
|---|---|
| `database/` | LevelDB's own files |
| `lock` | empty; locked by the process that has the ledger open, or verifies it |
| `tip` | two slots, written in turn: height (8 bytes big endian), block digest, checksum of both |
| `seal` | checksum, then the encoded `Seal`; there from a clean stop to the next start |
| `damaged` | what a running node found damaged, in words; the ledger does not open again |

LevelDB was measured to open without an error after its log was truncated, records silently gone. Hence the two
witnesses: the mark says how far the chain had come (it is written after each synced block, so the database is never
behind it), and the seal of a clean stop has the hash of every file, so that any later change shows.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from consensus.codec import ELEMENTS_MAX, DecodeError, Record, decode, encode
from consensus.identifiers import DIGEST_SIZE_BYTES, Digest, Height
from consensus.messages import DigestField, HeightField
from ledger.access import is_denied
from ledger.errors import LedgerBusy, LedgerDamaged

DATABASE_FOLDER: Final = "database"
LOCK_FILE: Final = "lock"
TIP_FILE: Final = "tip"
SEAL_FILE: Final = "seal"
DAMAGE_FILE: Final = "damaged"

LEVELDB_LOCK_FILE: Final = "LOCK"
"""The one file of LevelDB's without content; not sealed."""

CHECKSUM_PERSON: Final = b"p2p.ledger.file"
"""Domain of the checksums in these files; they never leave the machine."""

TIP_SLOTS: Final = 2
TIP_BODY_SIZE_BYTES: Final = 8 + DIGEST_SIZE_BYTES
TIP_SLOT_SIZE_BYTES: Final = TIP_BODY_SIZE_BYTES + DIGEST_SIZE_BYTES

SEALED_FILES_MAX: Final = ELEMENTS_MAX
"""32 GB of LevelDB's 2 MB tables; a larger ledger is not sealed and starts with the other checks alone."""


class SealedFile(Record, frozen=True, kw_only=True):
    """One file as it was at the clean stop."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    """Relative to the ledger's directory."""
    size_bytes: Annotated[int, Meta(ge=0)]
    hash: DigestField


class Seal(Record, frozen=True, kw_only=True, tag="seal"):
    """What a clean stop leaves: every file's hash, and the tip for people."""

    height: HeightField
    tip: DigestField
    files: tuple[SealedFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TipMark:
    """How far the chain had come at least."""

    height: Height
    block: Digest


def _checksum(data: bytes) -> bytes:
    return blake2b(data, digest_size=DIGEST_SIZE_BYTES, person=CHECKSUM_PERSON).digest()


def database_path(directory: Path) -> Path:
    """Returns where LevelDB keeps its files."""
    return directory / DATABASE_FOLDER


def sync_directory(directory: Path) -> None:
    """Makes created, renamed and removed names durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes, *, private: bool = False) -> None:
    """Writes a file, synced, in the place of an earlier one; a half-written one never has its name, and none is left.

    Args:
        path: the file.
        content: all of it.
        private: only its owner may read it.

    Raises:
        OSError: the disk does not take it.
    """
    unfinished = path.with_name(f"{path.name}.new")
    try:
        unfinished.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC  # never through a link
        with os.fdopen(os.open(unfinished, flags, 0o600 if private else 0o666), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
        sync_directory(path.parent)
    except OSError:
        with suppress(OSError):
            unfinished.unlink()
        raise


# --- the lock ----------------------------------------------------------------------------------------------


class DirectoryLock:
    """Keeps everyone else out of a ledger's directory until `release` or the end of the process."""

    def __init__(self, directory: Path) -> None:
        """Takes the lock.

        Raises:
            LedgerBusy: somebody else has it.
        """
        self._descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise LedgerBusy(f"{directory} is open in another process or twice in this one") from None

    def release(self) -> None:
        """Gives the lock back; once."""
        os.close(self._descriptor)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Holds a directory's lock for a `with` block.

    Raises:
        LedgerBusy: somebody else has it.
    """
    lock = DirectoryLock(directory)
    try:
        yield
    finally:
        lock.release()


# --- the mark of the tip -----------------------------------------------------------------------------------


def create_tip_mark(directory: Path, mark: TipMark) -> None:
    """Writes a new mark, both slots alike, durably."""
    descriptor = os.open(directory / TIP_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, _tip_slot(mark) * TIP_SLOTS)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_tip_mark(directory: Path, mark: TipMark) -> None:
    """Moves the mark on, in the slot whose turn it is.

    Not synced: after a power cut an older mark is still true, and a block's own write is synced before.
    """
    descriptor = os.open(directory / TIP_FILE, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(descriptor, _tip_slot(mark), mark.height % TIP_SLOTS * TIP_SLOT_SIZE_BYTES)
    finally:
        os.close(descriptor)


def read_tip_mark(directory: Path) -> TipMark:
    """Returns the newer of the two slots; one may be torn by a power cut.

    Raises:
        LedgerDamaged: the file is missing, has another size, or neither slot is valid.
        OSError: the system does not let this process open it.
    """
    try:
        data = (directory / TIP_FILE).read_bytes()
    except OSError as error:
        if is_denied(error):
            raise
        raise LedgerDamaged(f"the mark of the tip cannot be read: {error.strerror}") from None
    if len(data) != TIP_SLOTS * TIP_SLOT_SIZE_BYTES:
        raise LedgerDamaged(f"the mark of the tip has {len(data)} bytes")
    slots = [data[:TIP_SLOT_SIZE_BYTES], data[TIP_SLOT_SIZE_BYTES:]]
    marks = [
        TipMark(height=Height(int.from_bytes(slot[:8], "big")), block=Digest(slot[8:TIP_BODY_SIZE_BYTES]))
        for slot in slots
        if _checksum(slot[:TIP_BODY_SIZE_BYTES]) == slot[TIP_BODY_SIZE_BYTES:]
    ]
    if not marks:
        raise LedgerDamaged("neither slot of the mark of the tip is valid")
    return max(marks, key=lambda mark: mark.height)


def _tip_slot(mark: TipMark) -> bytes:
    body = mark.height.to_bytes(8, "big") + mark.block
    return body + _checksum(body)


# --- the mark of damage ------------------------------------------------------------------------------------


def mark_damage(directory: Path, what: str) -> None:
    """Says that the database was found damaged while it was open, so that the next start need not find it again."""
    (directory / DAMAGE_FILE).write_text(f"{what}\n", encoding="utf-8")
    sync_directory(directory)


def read_damage(directory: Path) -> str | None:
    """Returns what was found damaged, None if nothing was."""
    try:
        return (directory / DAMAGE_FILE).read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None


# --- the seal ----------------------------------------------------------------------------------------------


def write_seal(directory: Path, *, height: Height, tip: Digest) -> None:
    """Hashes all files of a closed database and leaves the seal, durably and all at once."""
    names = _sealed_names(directory)
    if len(names) > SEALED_FILES_MAX:
        return
    files = tuple(_sealed_file(directory, name) for name in names)
    body = encode(Seal(height=height, tip=tip, files=files))
    write_whole(directory / SEAL_FILE, _checksum(body) + body)


def remove_seal(directory: Path) -> None:
    """Breaks the seal before the database is opened; from here on only a clean stop makes a new one."""
    with suppress(FileNotFoundError):
        (directory / SEAL_FILE).unlink()
    sync_directory(directory)


def seal_faults(directory: Path) -> list[str]:
    """Compares every file with the seal of the last clean stop.

    Returns:
        What differs, one line per file; nothing if all is as it was, or if there is no seal (after a crash).

    Raises:
        OSError: the system does not let this process open one of them.
    """
    try:
        data = (directory / SEAL_FILE).read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        if is_denied(error):
            raise
        return [f"the seal cannot be read: {error.strerror}"]
    body = data[DIGEST_SIZE_BYTES:]
    if _checksum(body) != data[:DIGEST_SIZE_BYTES]:
        return ["the seal of the last clean stop is itself altered"]
    try:
        sealed = {file.name: file for file in decode(body, Seal).files}
    except DecodeError as error:
        return [f"the seal of the last clean stop is itself altered: {error}"]
    present = set(_sealed_names(directory))
    faults = [f"file {name} is missing since the last clean stop" for name in sorted(sealed.keys() - present)]
    faults += [f"file {name} is new since the last clean stop" for name in sorted(present - sealed.keys())]
    for name in sorted(present & sealed.keys()):
        try:
            unchanged = _sealed_file(directory, name) == sealed[name]
        except OSError as error:
            if is_denied(error):
                raise
            faults.append(f"file {name} cannot be read: {error.strerror}")
            continue
        if not unchanged:
            faults.append(f"file {name} was altered since the last clean stop")
    return faults


def _sealed_names(directory: Path) -> list[str]:
    database = database_path(directory)
    names = [f"{DATABASE_FOLDER}/{path.name}" for path in database.iterdir() if path.name != LEVELDB_LOCK_FILE]
    if (directory / TIP_FILE).exists():
        names.append(TIP_FILE)
    return sorted(names)


def _sealed_file(directory: Path, name: str) -> SealedFile:
    path = directory / name
    with path.open("rb") as file:
        content = file_digest(file, lambda: blake2b(digest_size=DIGEST_SIZE_BYTES, person=CHECKSUM_PERSON))
    return SealedFile(name=name, size_bytes=path.stat().st_size, hash=Digest(content.digest()))
