"""Passphrases of keys that people keep: what is asked of one, how a file holds one, how a key is encrypted with one.

What a passphrase is worth: the keys are PKCS #8 files as `openssl pkey` reads them, encrypted by the `cryptography`
library's best available way. That is AES-256-CBC under a key that PBKDF2 (HMAC-SHA-256, 2,048 rounds, 16 bytes of
salt) makes of the passphrase. 2,048 rounds are few: whoever has a copy of the file tries about two thousand
passphrases per second on each processor core, and far more on graphics cards. The strength is the passphrase's own:
six words drawn by dice, or a file with 32 random bytes (`create_passphrase_file`), which nobody guesses. Twelve
characters are the least, not a recommendation.
"""

import secrets
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from node.admission.identity import read_private, write_private
from node.errors import IdentityError

LENGTH_MIN: Final = 12
SIZE_BYTES_MAX: Final = 1_000
"""The library takes no more than 1,023 bytes."""

RANDOM_SIZE_BYTES: Final = 32


def checked_passphrase(text: str) -> bytes:
    """Returns a passphrase as keys are encrypted with it.

    Raises:
        IdentityError: too short or too long.
    """
    passphrase = text.encode(errors="surrogateescape")  # a terminal of another encoding
    if len(text) < LENGTH_MIN or len(passphrase) > SIZE_BYTES_MAX:
        raise IdentityError(
            f"a passphrase has at least {LENGTH_MIN} characters and at most {SIZE_BYTES_MAX} bytes; this one has "
            f"{len(text)} characters"
        )
    return passphrase


def create_passphrase_file(path: Path) -> None:
    """Writes a new file with 32 random bytes in hex, readable by its owner only.

    Raises:
        IdentityError: it exists or cannot be written.
    """
    write_private(path, f"{secrets.token_hex(RANDOM_SIZE_BYTES)}\n".encode())


def read_passphrase_file(path: Path) -> bytes:
    """Returns the passphrase in a file: its one line.

    Raises:
        IdentityError: missing, readable or writable by others, or not one line of a passphrase's length.
    """
    content = read_private(path, what="passphrase", danger="open the key")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise IdentityError(f"{path}: is not text, as a passphrase is") from None
    line = text.removesuffix("\n")
    if "\n" in line:
        raise IdentityError(f"{path}: has more than one line, as no passphrase has")
    try:
        return checked_passphrase(line)
    except IdentityError as error:
        raise IdentityError(f"{path}: {error}") from None


def encrypted(key: Ed25519PrivateKey, passphrase: bytes) -> bytes:
    """Returns a key in PKCS #8 PEM form that only the passphrase opens."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
