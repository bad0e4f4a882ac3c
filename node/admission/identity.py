"""Who a node is: its private keys, its certificate, and the TLS contexts that show and check them.

The node's Ed25519 key is its identity everywhere: it signs votes and transactions, and its certificate holds
the same key. The network's authority signs the certificates; one of a member admits to the mesh, and who is at the
other end is the member to whom the chain's state gives the certificate's key: else the authority could speak for a
member by certifying a key of its own. Names in certificates are labels: nothing is decided by them.

Private keys are read once, from files that nobody else may read, and never shown in `repr`, logs or errors.
"""

import os
import ssl
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from consensus.cryptography import SigningKey
from consensus.identifiers import Address, PublicKey
from node.admission.chain import (
    CHAIN_FILE_SIZE_BYTES_MAX,
    UNREADABLE,
    read_chain,
    require_chain,
    require_member,
    require_root,
)
from node.errors import IdentityError
from node.home.bounded_file import FileTooLargeError, open_bounded, read_bounded
from node.home.folder import Home

_NO_CHECK_TIME: Final = ssl.VerifyFlags(0x200000)
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME. Whose certificate ran out the chain removes, in its time and one after the
other (`contracts.validity`); were its links cut before, a street whose certificates all end on one day could not
decide even that. It also keeps a home in whose clock is wrong."""

KEY_FILE_MODE: Final = 0o600
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

KEY_FILE_SIZE_BYTES_MAX: Final = 4_096
"""A PEM file of an Ed25519 key has 119 bytes; a longer file than this is something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A node's keys, and where its certificates are."""

    node_key: SigningKey = field(repr=False)
    """Signs votes and transactions, and is the key of the TLS certificate."""
    meter_key: SigningKey = field(repr=False)
    """Signs readings."""
    address: Address
    """Hash of the node's public key: the member and its wallet."""
    node_key_file: Path
    certificate_file: Path
    authority_file: Path

    @property
    def signer(self) -> SigningKey:
        """The node key as this member's: its address is the hash of the member's first node key."""
        return self.node_key.of_member(self.address)

    def server_ssl_context(self) -> ssl.SSLContext:
        """Returns the context for incoming links: TLS 1.3, a certificate of the authority, of whatever time."""
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = 0  # no resumption: each link proves the key again
        return context

    def client_ssl_context(self) -> ssl.SSLContext:
        """Returns the context for outgoing links: TLS 1.3, a certificate of the authority, of whatever time.

        Host names are not checked, as the caller compares whose the peer's key is (`key_of_peer`) with the member
        that it dialled.
        """
        return self._context(ssl.PROTOCOL_TLS_CLIENT)

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT | _NO_CHECK_TIME
        try:
            context.load_verify_locations(self.authority_file)
            context.load_cert_chain(self.certificate_file, self.node_key_file)
        except (OSError, ssl.SSLError) as error:
            files = f"{self.certificate_file}, {self.authority_file}"
            raise IdentityError(f"TLS does not accept {files}: {error.strerror or error}") from None
        return context


def load_identity(home: Home, keys: Home | None = None) -> Identity:
    """Returns the identity kept in a node's folder.

    Args:
        home: the folder.
        keys: where the node key and its certificate are; None: there as well.

    Raises:
        IdentityError: a file is missing, readable by others, damaged, the certificate is of another key or role, or
            the authority did not sign it.
    """
    keys = keys or home
    node_key, chain = _certified(keys)
    root = load_root(home.authority_certificate)
    try:
        require_chain(chain, root)
        require_member(chain[0])
    except IdentityError as error:
        raise IdentityError(f"{keys.certificate}: {error}") from None
    return Identity(
        node_key=node_key,
        meter_key=load_key(home.meter_key),
        address=node_key.address,
        node_key_file=keys.node_key,
        certificate_file=keys.certificate,
        authority_file=home.authority_certificate,
    )


def load_certified_key(home: Home) -> SigningKey:
    """Returns the node key in a node's folder, once the certificate there is found to be of this key.

    Raises:
        IdentityError: one of them is not usable, or the certificate is of another key.
    """
    return _certified(home)[0]


def _certified(home: Home) -> tuple[SigningKey, tuple[x509.Certificate, ...]]:
    node_key, chain = load_key(home.node_key), load_chain(home.certificate)
    if certificate_key(chain[0]) != node_key.public_key:
        raise IdentityError(f"{home.certificate} is not the certificate of {home.node_key}")
    return node_key, chain


def create_key(path: Path) -> SigningKey:
    """Makes a new Ed25519 key and writes it to `path` as PKCS8 PEM, readable by its owner only.

    Raises:
        IdentityError: the file exists or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return SigningKey(key.private_bytes_raw())


def write_private(path: Path, content: bytes) -> None:
    """Writes a new file that only its owner may read, and syncs it; where that fails, none is left.

    Raises:
        IdentityError: the file exists or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, KEY_FILE_MODE)
    except FileExistsError:
        raise IdentityError(f"{path} exists; a key is never overwritten") from None
    except OSError as error:
        raise IdentityError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise IdentityError(f"{path} cannot be written: {error.strerror}") from None


def load_key(path: Path, *, passphrase: bytes | None = None) -> SigningKey:
    """Returns the Ed25519 key in the PKCS8 PEM file at `path`.

    Args:
        path: the file.
        passphrase: that it is encrypted with, as the authority's keys are; None for a node's, which is not.

    Raises:
        IdentityError: missing, readable or writable by others than its owner, not such a key, or not opened by the
            passphrase.
    """
    return SigningKey(load_private_key(path, passphrase=passphrase).private_bytes_raw())


def load_private_key(path: Path, *, passphrase: bytes | None = None) -> Ed25519PrivateKey:
    """Returns the same key in the form that signs certificates and requests.

    Raises:
        IdentityError: as `load_key`.
    """
    pem = read_private(path, what="key", danger="sign with it")
    try:
        key = load_pem_private_key(pem, password=passphrase)
    except TypeError:
        state = "is encrypted, and a node's key is not" if passphrase is None else "is not encrypted, as it must be"
        raise IdentityError(f"{path} {state}") from None
    except (ValueError, UnsupportedAlgorithm, InternalError):
        if passphrase is not None:
            raise IdentityError(f"{path}: the passphrase does not open it, or it is damaged") from None
        raise IdentityError(f"{path} is not a private key in PKCS8 PEM form") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise IdentityError(f"{path} is not an Ed25519 key")
    return key


def read_private(path: Path, *, what: str, danger: str) -> bytes:
    """Returns the content of a file that only its owner may read.

    Args:
        path: the file.
        what: it holds, for people.
        danger: what others could do who read it.

    Raises:
        IdentityError: missing, too large, or readable or writable by others.
    """
    try:
        with open_bounded(path, size_bytes_max=KEY_FILE_SIZE_BYTES_MAX) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(KEY_FILE_SIZE_BYTES_MAX)
    except OSError as error:
        raise IdentityError(f"{path} cannot be read: {error.strerror}") from None
    except FileTooLargeError as error:
        raise IdentityError(f"{path} {error}, which no {what} is") from None
    if mode & _OTHERS:
        raise IdentityError(
            f"{path} is open to other users (mode {mode:04o}): whoever reads it can {danger}; "
            f"run `chmod 600 {path}`, and make a new {what} if others may have read it"
        )
    return content


def key_of_peer(connection: ssl.SSLObject | ssl.SSLSocket) -> PublicKey:
    """Returns the node key of the other end of a TLS connection: its certificate's.

    Args:
        connection: one made with a context of `Identity`, so that its certificate was checked.

    Raises:
        IdentityError: it shows no certificate, one of another kind of key, or one that is no member's.
    """
    encoded = connection.getpeercert(binary_form=True)
    if not encoded:
        raise IdentityError("the peer shows no certificate")
    try:
        certificate = x509.load_der_x509_certificate(encoded)
        require_member(certificate)
    except UNREADABLE:
        raise IdentityError("the peer shows a damaged certificate") from None
    return certificate_key(certificate)


def load_chain(path: Path) -> tuple[x509.Certificate, ...]:
    """Returns the certificates in a PEM file, the home's own first.

    Raises:
        IdentityError: it cannot be read, or holds none or too many.
    """
    try:
        return read_chain(read_bounded(path, size_bytes_max=CHAIN_FILE_SIZE_BYTES_MAX))
    except OSError as error:
        raise IdentityError(f"{path} cannot be read: {error.strerror}") from None
    except FileTooLargeError as error:
        raise IdentityError(f"{path} {error}, which no certificate is") from None
    except IdentityError as error:
        raise IdentityError(f"{path} {error}") from None


def load_root(path: Path) -> x509.Certificate:
    """Returns the network's root in a PEM file, as `ca.crt` of a home.

    Raises:
        IdentityError: it cannot be read, or is no root.
    """
    root, *more = load_chain(path)
    if more:
        raise IdentityError(f"{path} holds more than the root's certificate")
    try:
        require_root(root)
    except IdentityError as error:
        raise IdentityError(f"{path}: {error}") from None
    return root


def certificate_key(certificate: x509.Certificate) -> PublicKey:
    """Returns the Ed25519 key that a certificate is of.

    Raises:
        IdentityError: it is of another kind of key.
    """
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise IdentityError("the certificate holds a damaged key") from None
    if not isinstance(key, Ed25519PublicKey):
        raise IdentityError("the certificate holds no Ed25519 key")
    return PublicKey(key.public_bytes_raw())
