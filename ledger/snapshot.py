"""A private copy of a closed LevelDB directory, so that opening it leaves the evidence as it is.

Opening LevelDB replays its log into new tables, writes a new manifest, renames files and deletes others. Hence
nothing that it may write to is shared with the copy: tables are hard-linked only where LevelDB never opens them for
writing again, everything else is copied, and LOCK is left out.

LevelDB numbers its files from one counter and writes a new table under the next number, truncating what a crash may
have left there. The manifest's own number came from that counter, so a table with a lower one is never reused.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ledger.side_files import LEVELDB_LOCK_FILE, database_path

SNAPSHOT_PREFIX: Final = "verify-"
TABLE_PATTERN: Final = re.compile(r"(\d+)\.(?:ldb|sst)")
MANIFEST_PATTERN: Final = re.compile(r"MANIFEST-(\d+)\n")


@contextmanager
def snapshot(directory: Path) -> Iterator[Path]:
    """Makes the copy inside a ledger's directory, for a `with` block; the caller holds the directory's lock.

    Yields:
        A directory that LevelDB may open and write to.

    Raises:
        OSError: the files cannot be read or copied.
    """
    for leftover in directory.glob(f"{SNAPSHOT_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    copy = Path(tempfile.mkdtemp(prefix=SNAPSHOT_PREFIX, dir=directory))
    try:
        source = database_path(directory)
        limit = _reusable_from(source)
        for file in sorted(source.iterdir()):
            if file.name != LEVELDB_LOCK_FILE:
                _take(file, copy / file.name, limit)
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _reusable_from(source: Path) -> int:
    """Returns the lowest file number that LevelDB might give out again; 0 where CURRENT does not say."""
    try:
        content = (source / "CURRENT").read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return 0
    match = MANIFEST_PATTERN.fullmatch(content)
    return int(match.group(1)) if match else 0


def _take(file: Path, copy: Path, reusable_from: int) -> None:
    match = TABLE_PATTERN.fullmatch(file.name)
    if match is not None and int(match.group(1)) < reusable_from:
        try:
            os.link(file, copy)
        except OSError:
            pass  # a filesystem without hard links: copy
        else:
            return
    shutil.copyfile(file, copy)
