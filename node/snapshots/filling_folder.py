"""The folder in which earlier blocks fill in: the ledger from genesis, and what is known of it beside its blocks.

| name | content |
|---|---|
| `ledger/` | a ledger from genesis, until it takes the place of the one that began with a snapshot |
| `sources` | the beginnings of the addresses of those who gave blocks, a line each |
| `differs` | how the history was found to differ from the snapshot, in words; it is not gone on with |
"""

import shutil
from pathlib import Path
from typing import Final

from ledger.side_files import write_whole
from node.home.bounded_file import FileTooLargeError, read_bounded

TEXT_SIZE_BYTES_MAX: Final = 64 * 1024


class FillingFolder:
    """Paths and texts; nothing is opened here."""

    def __init__(self, directory: Path) -> None:
        """Takes the folder, which need not be there."""
        self.directory: Final = directory

    @property
    def ledger(self) -> Path:
        """Folder of the ledger from genesis."""
        return self.directory / "ledger"

    @property
    def sources(self) -> frozenset[str]:
        """Who gave blocks."""
        return frozenset(_text(self.directory / "sources").split())

    def write_sources(self, names: frozenset[str]) -> None:
        """Notes who gave blocks, durably."""
        write_whole(self.directory / "sources", "".join(f"{name}\n" for name in sorted(names)).encode())

    @property
    def difference(self) -> str | None:
        """How the history differs from the snapshot; None if that was not found."""
        return _text(self.directory / "differs").strip() or None

    def write_difference(self, how: str) -> None:
        """Says for good that the history differs."""
        write_whole(self.directory / "differs", f"{how}\n".encode())

    def remove(self) -> None:
        """Removes all of it."""
        shutil.rmtree(self.directory, ignore_errors=True)


def _text(path: Path) -> str:
    try:
        return read_bounded(path, size_bytes_max=TEXT_SIZE_BYTES_MAX).decode(errors="replace")
    except (FileNotFoundError, FileTooLargeError):
        return ""
