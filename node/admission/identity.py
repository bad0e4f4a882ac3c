"""Who a node is: its private keys, its certificate, and the TLS contexts that show and check them.

The node's Ed25519 key is its identity everywhere: it signs votes and transactions, and its certificate holds
the same key. The testnet's authority signs the certificates; a certificate admits to the mesh, and who is at the
other end is the member to whom the chain's state gives the certificate's key: else the authority could speak for a
member by certifying a key of its own. Names in certificates are labels: nothing is decided by them.

Private keys are read once, from files that nobody else may read, and never shown in `repr`, logs or errors.
"""

import os
import ssl
import stat
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
from node.errors import IdentityError
from node.home.bounded_file import FileTooLargeError, open_bounded, read_bounded
from node.home.folder import Home

KEY_FILE_MODE: Final = 0o600
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

KEY_FILE_SIZE_BYTES_MAX: Final = 4_096
"""A PEM file of an Ed25519 key has 119 bytes; a longer file than this is something else."""

CERTIFICATE_FILE_SIZE_BYTES_MAX: Final = 64 * 1024
"""A PEM file of a member's or the authority's certificate has about 1 kB."""


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
        """Returns the context for incoming links: TLS 1.3, a certificate of the authority required."""
        context = self._context(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = 0  # no resumption: each link proves the key again
        return context

    def client_ssl_context(self) -> ssl.SSLContext:
        """Returns the context for outgoing links: TLS 1.3, a certificate of the authority required.

        Host names are not checked, as the caller compares whose the peer's key is (`key_of_peer`) with the member
        that it dialled.
        """
        return self._context(ssl.PROTOCOL_TLS_CLIENT)

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        try:
            context.load_verify_locations(self.authority_file)
            context.load_cert_chain(self.certificate_file, self.node_key_file)
        except (OSError, ssl.SSLError) as error:
            files = f"{self.certificate_file}, {self.authority_file}"
            raise IdentityError(f"TLS does not accept {files}: {error.strerror or error}") from None
        return context


def load_identity(home: Home) -> Identity:
    """Returns the identity kept in a node's folder.

    Raises:
        IdentityError: a file is missing, readable by others, damaged, or the certificate is of another key.
    """
    node_key = load_certified_key(home)
    load_certificate(home.authority_certificate)  # OpenSSL opens it by its name, and would wait for a pipe
    return Identity(
        node_key=node_key,
        meter_key=load_key(home.meter_key),
        address=node_key.address,
        node_key_file=home.node_key,
        certificate_file=home.certificate,
        authority_file=home.authority_certificate,
    )


def load_certified_key(home: Home) -> SigningKey:
    """Returns the node key in a node's folder, once the certificate there is found to be of this key.

    Raises:
        IdentityError: one of them is not usable, or the certificate is of another key.
    """
    node_key = load_key(home.node_key)
    if load_certificate_key(home.certificate) != node_key.public_key:
        raise IdentityError(f"{home.certificate} is not the certificate of {home.node_key}")
    return node_key


def create_key(path: Path) -> SigningKey:
    """Makes a new Ed25519 key and writes it to `path` as PKCS8 PEM, readable by its owner only.

    Raises:
        IdentityError: the file exists or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return SigningKey(key.private_bytes_raw())


def write_private(path: Path, content: bytes) -> None:
    """Writes a new file that only its owner may read, and syncs it.

    Raises:
        IdentityError: the file exists or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, KEY_FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise IdentityError(f"{path} exists; a key is never overwritten") from None
    except OSError as error:
        raise IdentityError(f"{path} cannot be written: {error.strerror}") from None


def load_key(path: Path) -> SigningKey:
    """Returns the Ed25519 key in the PKCS8 PEM file at `path`.

    Raises:
        IdentityError: missing, readable or writable by others than its owner, or not such a key.
    """
    return SigningKey(load_private_key(path).private_bytes_raw())


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Returns the same key in the form that signs certificates and requests.

    Raises:
        IdentityError: as `load_key`.
    """
    try:
        with open_bounded(path, size_bytes_max=KEY_FILE_SIZE_BYTES_MAX) as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            pem = file.read(KEY_FILE_SIZE_BYTES_MAX)
    except OSError as error:
        raise IdentityError(f"{path} cannot be read: {error.strerror}") from None
    except FileTooLargeError as error:
        raise IdentityError(f"{path} {error}, which no key is") from None
    if mode & _OTHERS:
        raise IdentityError(
            f"{path} is open to other users (mode {mode:04o}): whoever reads it can sign as this node; "
            f"run `chmod 600 {path}`, and make new keys if others may have read it"
        )
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):
        raise IdentityError(f"{path} is not a private key in PKCS8 PEM form") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise IdentityError(f"{path} is not an Ed25519 key")
    return key


def key_of_peer(connection: ssl.SSLObject | ssl.SSLSocket) -> PublicKey:
    """Returns the node key of the other end of a TLS connection: its certificate's.

    Args:
        connection: one made with a context of `Identity`, so that its certificate was checked.

    Raises:
        IdentityError: it shows no certificate, or one of another kind of key.
    """
    encoded = connection.getpeercert(binary_form=True)
    if not encoded:
        raise IdentityError("the peer shows no certificate")
    try:
        certificate = x509.load_der_x509_certificate(encoded)
    except (ValueError, x509.InvalidVersion):
        raise IdentityError("the peer shows a damaged certificate") from None
    return certificate_key(certificate)


def load_certificate_key(path: Path) -> PublicKey:
    """Returns the Ed25519 key that a certificate in PEM form is of.

    Raises:
        IdentityError: it cannot be read, or holds another kind of key.
    """
    return certificate_key(load_certificate(path))


def load_certificate(path: Path) -> x509.Certificate:
    """Returns the certificate in a PEM file.

    Raises:
        IdentityError: it cannot be read, or is none.
    """
    try:
        return x509.load_pem_x509_certificate(read_bounded(path, size_bytes_max=CERTIFICATE_FILE_SIZE_BYTES_MAX))
    except OSError as error:
        raise IdentityError(f"{path} cannot be read: {error.strerror}") from None
    except FileTooLargeError as error:
        raise IdentityError(f"{path} {error}, which no certificate is") from None
    except (ValueError, x509.InvalidVersion):
        raise IdentityError(f"{path} is not a certificate in PEM form") from None


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
