"""Files of a home that only ever grow: one JSON object per line, readable by their owner only, synced on demand.

What the meter and its agent promise must be known after a crash: they append it here and sync before anything
leaves the node. A crash in the middle of a write leaves a torn last line, which is cut off when the file is
opened: nothing that was written without being synced had left the node.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from ledger.side_files import sync_directory
from node.errors import NodeError

FILE_MODE: Final = 0o600

Entry = Mapping[str, Any]


class AppendLogError(NodeError):
    """A file of promises cannot be read or written; the message names the file and, if in a line, the line."""


class Journal(Protocol):
    """What the agent needs of such a file."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What stood in the file when it was opened, oldest first."""
        ...

    def append(self, entry: Entry) -> None:
        """Adds an entry, which is durable after the next `sync`."""
        ...

    def sync(self) -> None:
        """Makes all added entries durable."""
        ...

    def replace(self, entries: Iterable[Entry]) -> None:
        """Exchanges the whole content, durably and all at once."""
        ...


class AppendLog:
    """A `Journal` in a file, which is made if it is not there."""

    def __init__(self, path: Path) -> None:
        """Opens the file and reads it whole.

        Raises:
            AppendLogError: it cannot be opened, or a line in it is damaged.
        """
        self._path = path
        self._added: list[Entry] = []
        try:
            self._descriptor = _open(path)
        except OSError as error:
            raise self._failed(error) from None
        try:
            sync_directory(path.parent)  # else a power cut could take a new file with all that is synced in it
            self._entries = self._read()
        except OSError as error:
            self.close()
            raise self._failed(error) from None
        except AppendLogError:
            self.close()
            raise

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What stood in the file when it was opened, oldest first."""
        return self._entries

    def append(self, entry: Entry) -> None:
        """Adds an entry, which is durable after the next `sync`."""
        self._added.append(entry)

    def sync(self) -> None:
        """Makes all added entries durable; costs nothing if there is none.

        Raises:
            AppendLogError: the disk does not take them; nothing may leave the node that relies on them.
        """
        if not self._added:
            return
        try:
            _write(self._descriptor, self._added)
        except OSError as error:
            raise self._failed(error) from None
        self._added.clear()

    def replace(self, entries: Iterable[Entry]) -> None:
        """Exchanges the whole content, durably and all at once.

        Raises:
            AppendLogError: the disk does not take it; the old content stays.
        """
        assert not self._added, "entries that were added are synced before the content is exchanged"
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            fresh.unlink(missing_ok=True)
            descriptor = _open(fresh)
            _write(descriptor, entries)
            fresh.replace(self._path)
            sync_directory(self._path.parent)
        except OSError as error:
            raise self._failed(error) from None
        os.close(self._descriptor)
        self._descriptor = descriptor

    def close(self) -> None:
        """Gives the file up; entries that were not synced are lost, as by a crash."""
        os.close(self._descriptor)

    def _read(self) -> tuple[Entry, ...]:
        """Returns all whole lines and cuts off a torn last one."""
        content = self._path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.ftruncate(self._descriptor, len(whole))
        return tuple(self._parse(number, line) for number, line in enumerate(whole.split(b"\n")[:-1], start=1))

    def _parse(self, number: int, line: bytes) -> Entry:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict) or _line(entry) != line + b"\n":
            raise AppendLogError(f"{self._path}, line {number}: is damaged")
        return entry

    def _failed(self, error: OSError) -> AppendLogError:
        return AppendLogError(f"{self._path} cannot be used: {error.strerror or error}")


def require_same(read: Entry, written: Entry) -> None:
    """Refuses an entry that is not what its reader would write: one line per value.

    Raises:
        ValueError: it differs.
    """
    if _line(read) != _line(written):
        raise ValueError("not in the form that is written here")


def _line(entry: Entry) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _open(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, FILE_MODE)
    os.fchmod(descriptor, FILE_MODE)
    return descriptor


def _write(descriptor: int, entries: Iterable[Entry]) -> None:
    lines = b"".join(map(_line, entries))
    while lines:
        lines = lines[os.write(descriptor, lines) :]
    os.fdatasync(descriptor)
