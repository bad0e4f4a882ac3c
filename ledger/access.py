"""Tells what this process may not open from what is damaged: nothing is known to be wrong with the former.

A ledger that is taken for damaged is set aside and fetched again, so a wrong owner, a read-only disk or too many open
files must never look like damage.
"""

import errno
import os
from pathlib import Path
from typing import Final

from ledger.errors import LedgerUnreadable

DENIALS: Final = frozenset(
    {
        errno.EACCES,
        errno.EAGAIN,
        errno.EDQUOT,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.EPERM,
        errno.EROFS,
    }
)
"""What the system answers when it opens nothing, whatever the file holds."""

_WORDS: Final = tuple(os.strerror(number) for number in DENIALS)


def is_denied(error: OSError) -> bool:
    """Says whether the system refused to open a file, without a look at its content.

    LevelDB's own errors have no number, but end in the system's words.
    """
    return error.errno in DENIALS if error.errno is not None else str(error).rstrip("'\"").endswith(_WORDS)


def is_there(database: Path) -> bool:
    """Says whether LevelDB's folder of a ledger exists.

    Raises:
        LedgerUnreadable: that cannot be told.
    """
    try:
        return database.is_dir()
    except OSError as error:
        raise LedgerUnreadable(f"{database} cannot be opened: {error.strerror}") from None


def require_access(directory: Path, database: Path, *, is_writing: bool) -> None:
    """Tries every file of a ledger; changes nothing.

    Args:
        directory: of the ledger.
        database: LevelDB's folder in it.
        is_writing: whether the folders and LevelDB's lock are written to, too.

    Raises:
        LedgerUnreadable: one of them may not be opened; names it.
    """
    try:
        for folder in (directory, database):
            if is_writing:
                _require_writable(folder)
            for path in sorted(folder.iterdir()):
                if path.is_file():
                    os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
    except OSError as error:
        if is_denied(error):
            raise LedgerUnreadable(f"{error.filename} cannot be opened: {error.strerror}") from None
        # the rest, such as a bad sector, is for those to name who read the file


def _require_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        raise LedgerUnreadable(f"{folder} cannot be written to: no permission, or a read-only disk")
