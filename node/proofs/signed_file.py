"""Proofs that people hand to each other: a small JSON object around canonical bytes in hexadecimal.

The readable part follows from the bytes and from genesis, so a reader makes it again and compares the whole file: no
byte of it can differ from what the proof says.
"""

import json
from pathlib import Path
from typing import Any, Final

from node.errors import FileRefused
from node.home.bounded_file import FileTooLargeError, read_bounded

FILE_SIZE_BYTES_MAX: Final = 4 * 1024 * 1024
"""A receipt of the largest membership with four certificates takes about 300 kB."""

CHANGED: Final = "its readable part is not what its content says: the file was changed"


def file_text(document: dict[str, Any]) -> str:
    """Returns the one text of a proof's file."""
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def read_file(path: Path) -> bytes:
    """Returns a file that claims to be a proof.

    Raises:
        FileRefused: it cannot be read, or is far too large.
    """
    try:
        return read_bounded(path, size_bytes_max=FILE_SIZE_BYTES_MAX)
    except OSError as error:
        raise FileRefused(f"{path}: cannot be read: {error.strerror}") from None
    except FileTooLargeError as error:
        raise FileRefused(f"{path}: {error}, which no proof is") from None


def parse_file(content: bytes, file_format: str) -> dict[str, Any]:
    """Returns the JSON object of a proof of some format.

    Raises:
        FileRefused: it is none.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FileRefused(f"it is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise FileRefused("it is not a JSON object")
    if document.get("format") != file_format:
        raise FileRefused(f"its format is {str(document.get('format'))[:80]!r}, this software reads {file_format!r}")
    return document


def bytes_of(document: dict[str, Any], field: str) -> bytes:
    """Returns a field of hexadecimal digits.

    Raises:
        FileRefused: it is none.
    """
    try:
        return bytes.fromhex(document[field])
    except (KeyError, TypeError, ValueError):
        raise FileRefused(f"`{field}` is not hexadecimal") from None


def require_unchanged(content: bytes, document: dict[str, Any]) -> None:
    """Refuses a file that is not the one text of its document.

    Raises:
        FileRefused: it differs.
    """
    if content != file_text(document).encode("ascii"):
        raise FileRefused(CHANGED)
