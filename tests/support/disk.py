"""A disk that takes no more, and what the operating system was asked to make durable."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plyvel
import pytest

from ledger import store


@contextmanager
def full_above(size_bytes: int) -> Iterator[None]:
    """Has the system refuse every write of this process behind the first bytes of a file, LevelDB's too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@dataclass(frozen=True, slots=True)
class Sync:
    """One file or folder made durable."""

    path: Path
    content: bytes | None
    """Of a file, as it was then; None for a folder."""


def watch_syncs(monkeypatch: pytest.MonkeyPatch) -> list[Sync]:
    """Returns the list to which each sync that Python asks the system for is added when it is done."""
    done: list[Sync] = []

    def watched(sync: Any) -> Any:
        def synced(descriptor: int) -> None:
            sync(descriptor)
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            done.append(Sync(path, path.read_bytes() if path.is_file() else None))

        return synced

    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, watched(getattr(os, name)))
    return done


class _WatchedDatabase:
    """LevelDB, as it is but for the note of each batch."""

    def __init__(self, database: Any, batches: list[bool]) -> None:
        self._database = database
        self._batches = batches

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def write_batch(self, *arguments: Any, sync: bool = False, **named: Any) -> Any:
        self._batches.append(sync)
        return self._database.write_batch(*arguments, sync=sync, **named)

    def put(self, *_arguments: Any, **_named: Any) -> None:
        raise AssertionError("a write beside the batches")

    delete = put


def watch_batches(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Returns the list to which, for each batch that LevelDB is given from now on, is added whether it is synced."""
    batches: list[bool] = []
    true_database = plyvel.DB

    def database(*arguments: Any, **named: Any) -> _WatchedDatabase:
        return _WatchedDatabase(true_database(*arguments, **named), batches)

    monkeypatch.setattr(store.plyvel, "DB", database)
    return batches
