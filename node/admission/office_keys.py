"""Keys of offices at home: made with a passphrase, never overwritten, and what they show before they act.

A key that is to act for an office signs that it is to: the file of a successor holds no secret, and goes to whoever
replaces the office's key.
"""

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.codec import Record
from consensus.cryptography import SigningKey, verify
from consensus.identifiers import Address, Digest
from consensus.messages import DigestField
from contracts.transactions import OfficeSuccessor, office_possession_bytes, office_successor
from node.admission.identity import read_private, write_private
from node.admission.passphrase import encrypted
from node.errors import FileRefused
from node.home.json_record import json_of, read_json_record

SUCCESSOR_SUFFIX: Final = ".successor"

FILE_SIZE_BYTES_MAX: Final = 4_096
"""A successor has about 500 bytes."""

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
    return json_of(file)


def read_successor(path: Path, chain: Digest) -> OfficeSuccessor:
    """Returns the key in a successor's file, which signed that it is to act for an office of this chain.

    Raises:
        FileRefused: it cannot be read, is none, is another chain's, or its signature does not hold.
    """
    made = read_json_record(
        path, SuccessorFile, what="office's successor", size_bytes_max=FILE_SIZE_BYTES_MAX, refused=FileRefused
    )
    if made.chain != chain:
        raise FileRefused(f"{path}.chain: is {made.chain.hex()}, and this chain is {chain.hex()}")
    one = made.successor
    if not verify(one.key, office_possession_bytes(chain, one.office, one.key), one.possession):
        raise FileRefused(f"{path}.successor.possession: the key did not sign that it is to act for this office")
    return one
