"""The copies of the state that this node can tell to those who join: made at intervals, the last two kept.

A copy is of a height that is a multiple of the interval, so that all members have the same ones. It is made beside
all other work, at a fifth of a processor, and never while this node is behind. Before a copy is begun the older ones
go, all but one: each can be had for an interval at least, and two lie on the disk at most. A copy that cannot be made
is left out, with a line in the log: a node that tells nothing to those who join is whole otherwise.
"""

import asyncio
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from consensus.identifiers import Height
from ledger.errors import CopyDamaged, StateNotCopied
from ledger.ledger import Ledger
from ledger.side_files import database_path
from ledger.state_copy import SNAPSHOT_INTERVAL, StateCopy, Steps, copying
from node.home.folder import Home
from node.logs import get_logger

LOOK_S: Final = 5.0
"""Between two looks at the chain."""

SLICE_S: Final = 0.005
"""Time that copying works before other tasks get their turn; a step that it began is finished."""

PAUSE_SLICES: Final = 4
"""Pauses between two slices, in lengths of the slice before: a fifth of a processor."""

FREE_SIZE_BYTES_MIN: Final = 256 * 1024 * 1024
"""What a copy leaves free on the disk: the ledger needs it."""

DATABASE_FACTOR: Final = 2
"""A copy is taken to be at most so many times the ledger's files, which LevelDB compresses."""


class OwnSnapshots:
    """All copies that can be told. For use by one thread."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        home: Home,
        is_behind: Callable[[], bool],
        interval: int = SNAPSHOT_INTERVAL,
    ) -> None:
        """Takes the ledger, the home that it lies in, and who says whether blocks are being fetched."""
        self._ledger = ledger
        self._database = database_path(home.ledger)
        self._directory = directory = home.snapshots
        self._is_behind = is_behind
        self._interval = interval
        self._copies: dict[Height, StateCopy] = {}
        self._tried: Height | None = None
        self._log = get_logger("snapshots")
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            for folder in sorted(directory.iterdir()):
                self._open(folder)
        except OSError as error:
            self._log.warning("copies of the state cannot be read", reason=str(error))

    def close(self) -> None:
        """Closes all copies."""
        while self._copies:
            self._copies.popitem()[1].close()

    def newest(self) -> StateCopy | None:
        """Returns the newest copy, None if there is none."""
        return self._copies[max(self._copies)] if self._copies else None

    def at(self, height: Height) -> StateCopy | None:
        """Returns the copy of a height, None if there is none."""
        return self._copies.get(height)

    def drop(self, copy: StateCopy, why: str) -> None:
        """Removes a copy that cannot be told."""
        self._log.warning("a copy of the state is dropped", height=copy.about.height, reason=why)
        self._remove(copy.about.height)

    async def run(self) -> None:
        """Makes copies until cancelled.

        Raises:
            LedgerDamaged: the ledger is not what was written.
        """
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Makes the copy that is due, if there is one."""
        height = self.due()
        if height is not None:
            await self._make(height)

    def due(self) -> Height | None:
        """Returns the height whose state is to be copied now, None if there is none."""
        height = Height(self._ledger.height - self._ledger.height % self._interval)
        newest = max(self._copies, default=0)
        is_wanted = height > newest and height != self._tried and not self._is_behind()
        return height if is_wanted else None

    async def _make(self, height: Height) -> None:
        self._tried = height  # one that failed is not tried again: the next one may not
        for older in sorted(self._copies)[:-1]:
            self._remove(older)
        folder, began_s = self._directory / str(height), time.monotonic()
        try:
            self._require_room()
            await _in_turns(copying(self._ledger, height, folder))
        except (StateNotCopied, OSError) as error:
            self._log.warning("the state is not copied", height=height, reason=str(error))
            shutil.rmtree(folder, ignore_errors=True)
            return
        self._open(folder)
        self._log.info(
            "the state is copied for those who join", height=height, took_s=round(time.monotonic() - began_s)
        )

    def _require_room(self) -> None:
        stored_bytes = 0
        for file in self._database.iterdir():
            with suppress(FileNotFoundError):  # LevelDB may have merged it meanwhile
                stored_bytes += file.stat().st_size
        needed, free = FREE_SIZE_BYTES_MIN + DATABASE_FACTOR * stored_bytes, shutil.disk_usage(self._directory).free
        if free < needed:
            raise StateNotCopied(f"the disk has {free:,} bytes free, and it takes {needed:,}")

    def _open(self, folder: Path) -> None:
        try:
            copy = StateCopy.open(folder)
        except CopyDamaged:  # a copy that was not finished, or a file that a stranger put there
            _remove_all(folder)
            return
        if copy.about.chain != self._ledger.chain or folder.name != str(copy.about.height):
            copy.close()
            _remove_all(folder)
            return
        self._copies[copy.about.height] = copy

    def _remove(self, height: Height) -> None:
        self._copies.pop(height).close()
        _remove_all(self._directory / str(height))


def _remove_all(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


async def _in_turns(work: Steps[None]) -> None:
    """Does the work in slices, with pauses for others between them."""
    try:
        while True:
            began_s = time.perf_counter()
            while time.perf_counter() - began_s < SLICE_S:
                try:
                    next(work)
                except StopIteration:
                    return
            await asyncio.sleep(PAUSE_SLICES * (time.perf_counter() - began_s))
    finally:
        work.close()
