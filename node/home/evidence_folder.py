"""The evidence that a node keeps: one file of canonical bytes each, in a folder of its home."""

from pathlib import Path
from typing import Final

EVIDENCE_SUFFIX: Final = ".evidence"


def evidence_files(directory: Path) -> list[Path]:
    """Returns the files of a node's folder in the order of their names; none if there is no such folder.

    Raises:
        OSError: the folder cannot be read, which says nothing of what it holds.
    """
    try:
        return sorted(path for path in directory.iterdir() if path.name.endswith(EVIDENCE_SUFFIX))
    except FileNotFoundError:
        return []
