"""Files that a command makes where somebody says: always new ones, so that a slip costs no key."""

import os
from contextlib import suppress
from pathlib import Path

from node.errors import NodeError


def require_new_file(path: Path, *, option: str) -> None:
    """Says before any work is done that a file can be made there.

    Raises:
        NodeError: something is there, a symbolic link too, or no folder that may be written.
    """
    if path.is_symlink() or path.exists():
        raise _not_new(f"{option} {path}")
    if not path.parent.is_dir():
        raise NodeError(f"{option} {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise NodeError(f"{option} {path}: the folder {path.parent} may not be written")


def write_new_file(path: Path, content: bytes) -> None:
    """Makes a file, never in the place of another one and never through a link; half a file is not left.

    Raises:
        NodeError: something is there by now, or the disk does not take it.
    """
    try:
        file = path.open("xb")
    except FileExistsError:
        raise _not_new(str(path)) from None
    except OSError as error:
        raise NodeError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        with file:
            file.write(content)
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise NodeError(f"{path}: cannot be written: {error.strerror}") from None


def _not_new(place: str) -> NodeError:
    return NodeError(f"{place}: is there already, and is not replaced")
