"""The file of the members' endpoints: a cache, so that a home that starts finds those that moved since its
`meter.toml` was written. What is damaged is begun anew from there.
"""

import errno
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from consensus.codec import DecodeError, Record, decode, encode
from consensus.identifiers import Digest
from consensus.messages import DigestField
from ledger.side_files import write_whole
from node.errors import EndpointsDamaged
from node.home.bounded_file import FileTooLargeError, read_bounded
from node.mesh.endpoint_record import RECORD_SIZE_BYTES_MAX, RECORDS_MAX, RawRecord

FILE_SIZE_BYTES_MAX: Final = RECORDS_MAX * (RECORD_SIZE_BYTES_MAX + 3) + 64
"""So many of the longest records, with their lengths, the chain and the tag."""


class StoredEndpoints(Record, frozen=True, kw_only=True, tag="p2pnode-1-endpoints"):
    """What the file holds."""

    chain: DigestField
    raw: Annotated[tuple[RawRecord, ...], Meta(max_length=RECORDS_MAX)]


def load_endpoints(path: Path, chain: Digest) -> tuple[bytes, ...]:
    """Returns the records in the file, which nobody checked since; none if there is no file.

    Raises:
        EndpointsDamaged: it cannot be read, is larger than any, is none, or of another chain.
    """
    try:
        stored = decode(read_bounded(path, size_bytes_max=FILE_SIZE_BYTES_MAX), StoredEndpoints)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return ()
        raise EndpointsDamaged(f"{path}: cannot be read: {error.strerror}") from None
    except FileTooLargeError as error:
        raise EndpointsDamaged(f"{path}: {error}, which no such file is") from None
    except DecodeError as error:
        raise EndpointsDamaged(f"{path}: is damaged: {error}") from None
    if stored.chain != chain:
        raise EndpointsDamaged(f"{path}: is of another chain, {stored.chain.hex()}")
    return stored.raw


def save_endpoints(path: Path, chain: Digest, raws: tuple[bytes, ...]) -> None:
    """Writes the file in the place of the earlier one.

    Raises:
        OSError: the disk does not take it.
    """
    write_whole(path, encode(StoredEndpoints(chain=chain, raw=raws)))
