"""The checkpoint that a home joined with, until its own chain is past it (`ledger/checkpoint.py`)."""

import errno
from pathlib import Path
from typing import Final

from consensus.codec import DecodeError, decode, encode
from consensus.identifiers import Digest
from ledger.checkpoint import Checkpoint
from ledger.side_files import write_whole
from node.errors import JoinError
from node.home.bounded_file import FileTooLargeError, read_bounded

FILE_SIZE_BYTES_MAX: Final = 64 * 1024
"""Two sets of 256 members take 35 kB."""


def load_checkpoint(path: Path, chain: Digest) -> Checkpoint | None:
    """Returns the checkpoint in a file; None if there is none.

    Raises:
        JoinError: it cannot be read, is damaged, or of another chain.
    """
    try:
        checkpoint = decode(read_bounded(path, size_bytes_max=FILE_SIZE_BYTES_MAX), Checkpoint)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise JoinError(f"{path}: cannot be read: {error.strerror}") from None
    except (FileTooLargeError, DecodeError) as error:
        again = "ask a member for a street file, and ask to join with it again (p2pnode join request --again)"
        raise JoinError(f"{path}: is damaged: {error}; {again}") from None
    if checkpoint.chain != chain:
        raise JoinError(f"{path}: is of another chain, {checkpoint.chain.hex()}")
    return checkpoint


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes the file in the place of an earlier one."""
    write_whole(path, encode(checkpoint))
