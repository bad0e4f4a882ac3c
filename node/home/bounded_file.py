"""Reads files that somebody names: never more of one than its kind can have."""

from pathlib import Path


class FileTooLargeError(ValueError):
    """A file has more bytes than anything of its kind."""

    def __init__(self, size_bytes_max: int) -> None:
        """Takes the limit."""
        super().__init__(f"is larger than {size_bytes_max} bytes")


def read_bounded(path: Path, *, size_bytes_max: int) -> bytes:
    """Returns the content of a file, which may be a pipe, reading one byte more than the limit at most.

    Raises:
        FileTooLargeError: it does not end by then.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(size_bytes_max + 1)
    if len(content) > size_bytes_max:
        raise FileTooLargeError(size_bytes_max)
    return content
