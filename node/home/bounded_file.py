"""Reads files that somebody names: regular ones only, and never more of one than its kind can have.

A pipe would be waited for, a device need not end, and neither can be read a second time: they are refused at once.
"""

import errno
import io
import os
import stat
from pathlib import Path
from typing import Final

CHUNK_SIZE_BYTES: Final = 1024 * 1024

_KINDS: Final = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class FileTooLargeError(ValueError):
    """A file has more bytes than anything of its kind."""

    def __init__(self, size_bytes_max: int) -> None:
        """Takes the limit."""
        super().__init__(f"is larger than {size_bytes_max} bytes")


def open_bounded(path: Path, *, size_bytes_max: int, follows_links: bool = True) -> io.BufferedReader:
    """Opens a regular file for reading; never waits.

    Args:
        path: the file.
        size_bytes_max: the most that it may have.
        follows_links: a symbolic link stands for what it leads to; else it is refused.

    Raises:
        FileTooLargeError: it has more bytes than that.
        OSError: it cannot be opened, or is no regular file; `strerror` says what it is.
    """
    _refuse_other_kinds(path, os.stat(path, follow_symlinks=follows_links).st_mode)  # noqa: PTH116  (see fstat)
    # what stands there may have become a pipe meanwhile: opening one without a writer would wait
    no_link = 0 if follows_links else os.O_NOFOLLOW
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | no_link)
    try:
        _refuse_other_kinds(path, os.fstat(descriptor).st_mode)
        _refuse_larger(descriptor, size_bytes_max)
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_bounded(path: Path, *, size_bytes_max: int) -> bytes:
    """Returns the content of a regular file, reading one chunk more than the limit at most.

    Raises:
        FileTooLargeError: it does not end by then.
        OSError: it cannot be read, or is no regular file.
    """
    with open_bounded(path, size_bytes_max=size_bytes_max) as file:
        return read_to_end(file, size_bytes_max=size_bytes_max)


def read_to_end(file: io.BufferedReader, *, size_bytes_max: int) -> bytes:
    """Returns the rest of an open file, reading one chunk more than the limit at most.

    Raises:
        FileTooLargeError: it does not end by then.
        OSError: it cannot be read.
    """
    content = bytearray()
    # asked for at once, the limit would be taken of memory whatever the file has; and it may grow meanwhile
    while len(content) <= size_bytes_max and (read := file.read(CHUNK_SIZE_BYTES)):
        content += read
    if len(content) > size_bytes_max:
        raise FileTooLargeError(size_bytes_max)
    return bytes(content)


def _refuse_larger(descriptor: int, size_bytes_max: int) -> None:
    if os.fstat(descriptor).st_size > size_bytes_max:
        raise FileTooLargeError(size_bytes_max)


def _refuse_other_kinds(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    for is_kind, name in _KINDS:
        if is_kind(mode):
            raise OSError(errno.EINVAL, f"it is {name}, not a regular file", str(path))
