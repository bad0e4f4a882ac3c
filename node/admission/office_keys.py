"""Keys of offices at home: made with a passphrase, never overwritten, and what they show before they act.

A key that is to act for an office signs that it is to: the file of a successor holds no secret, and goes to whoever
replaces the office's key.
"""

import json
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.codec import Record, encode
from consensus.cryptography import SigningKey, verify
from consensus.identifiers import Address, Digest
from consensus.messages import DigestField
from consensus.rendering import render, unrender
from contracts.transactions import OfficeSuccessor, office_possession_bytes, office_successor
from node.admission.identity import read_private, write_private
from node.admission.passphrase import encrypted
from node.errors import FileRefused
from node.home.bounded_file import FileTooLargeError, read_bounded

SUCCESSOR_SUFFIX: Final = ".successor"

FILE_SIZE_BYTES_MAX: Final = 4_096
"""A successor has about 500 bytes."""

SHOWN_LENGTH_MAX: Final = 200
"""Of what is wrong in a file."""

_ENCRYPTED: Final = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


class SuccessorFile(Record, frozen=True, kw_only=True, tag="p2pnode-office-successor"):
    """A key that agrees to act for an office of a chain."""

    chain: DigestField
    successor: OfficeSuccessor


def create_office_key(path: Path, passphrase: bytes) -> None:
    """Makes a new key, encrypted and readable by its owner only.

    Raises:
        IdentityError: the file exists or cannot be written.
    """
    write_private(path, encrypted(Ed25519PrivateKey.generate(), passphrase))


def is_encrypted(path: Path) -> bool:
    """Says whether a key file needs a passphrase: keys that a founding makes do not.

    Raises:
        IdentityError: missing, or readable or writable by others.
    """
    return read_private(path, what="key", danger="act for the office").startswith(_ENCRYPTED)


def make_successor(chain: Digest, office: Address, key: SigningKey) -> bytes:
    """Returns the content of the file with which `key` agrees to act for an office."""
    file = SuccessorFile(chain=chain, successor=office_successor(chain, office, key))
    return (json.dumps(render(file), indent=2) + "\n").encode("ascii")


def read_successor(path: Path, chain: Digest) -> OfficeSuccessor:
    """Returns the key in a successor's file, which signed that it is to act for an office of this chain.

    Raises:
        FileRefused: it cannot be read, is none, is another chain's, or its signature does not hold.
    """
    try:
        content = read_bounded(path, size_bytes_max=FILE_SIZE_BYTES_MAX)
        fields = json.loads(content)
        made = unrender(fields, SuccessorFile)
        encode(made)  # JSON can escape halves of characters, which no text has
    except OSError as error:
        raise FileRefused(f"{path}: cannot be read: {error.strerror}") from None
    except FileTooLargeError as error:
        raise FileRefused(f"{path}: {error}, which no office's successor is") from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise FileRefused(f"{path}: is no office's successor: {str(error)[:SHOWN_LENGTH_MAX]}") from None
    if fields != render(made):
        raise FileRefused(f"{path}: is no office's successor: it was changed by hand, or damaged")
    if made.chain != chain:
        raise FileRefused(f"{path}.chain: is {made.chain.hex()}, and this chain is {chain.hex()}")
    one = made.successor
    if not verify(one.key, office_possession_bytes(chain, one.office, one.key), one.possession):
        raise FileRefused(f"{path}.successor.possession: the key did not sign that it is to act for this office")
    return one
