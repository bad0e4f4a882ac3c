"""Revocation lists (RFC 5280) as readers take them: a pure reader that believes the root alone.

What is checked: the size, before anything is parsed; that the issuer is the issuing authority, one whose certificate
the root signed and that the list does not revoke itself; its signature; that it is a whole list with a number and the
time of the next one, and says nothing that a reader would have to understand and does not (another scope, another
issuer's entries). Entries are by serial number, which is unique over all keys of the issuing authority, so a list of
its newest key speaks of what older ones signed. Whether a list is the newest one, a reader knows who kept the number
of the last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from consensus.era_plans import CERTIFICATES_MAX
from node.admission.chain import UNREADABLE, require_issuing
from node.errors import IdentityError, RevocationsFault, RevocationsRefused
from node.home.bounded_file import FileTooLargeError, read_bounded

SIZE_BYTES_MAX: Final = 4 * 1024 * 1024
"""About 50,000 entries of 60 bytes, in base64."""

_LIST_EXTENSIONS: Final = frozenset({x509.CRLNumber.oid, x509.AuthorityKeyIdentifier.oid})
_ENTRY_EXTENSIONS: Final = frozenset({x509.CRLReason.oid, x509.InvalidityDate.oid})


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocations:
    """What a list of the network's issuing authority says."""

    number: int
    """Counts up from list to list: who has read a higher one believes no lower one."""
    issued: datetime
    next_list: datetime
    """By when another one is out."""
    revoked: Mapping[int, datetime] = field(repr=False)
    """When each serial number was revoked."""

    def is_revoked(self, serial: int) -> bool:
        """Says whether the certificate of this serial number, a home's or an issuing authority's, is revoked."""
        return serial in self.revoked


def read_revocations(pem: bytes, root: x509.Certificate, chain: Sequence[x509.Certificate]) -> Revocations:
    """Returns what a revocation list says.

    Args:
        pem: the list in PEM form.
        root: whom the reader believes.
        chain: certificates among which that of the key which signed the list is, as behind it in `ca.crl`.

    Raises:
        RevocationsRefused: says what is wrong.
    """
    if len(pem) > SIZE_BYTES_MAX:
        raise _no_list(f"it is larger than {SIZE_BYTES_MAX} bytes")
    try:
        found = x509.load_pem_x509_crl(pem)
        issuer, number, next_list = found.issuer, _number_of(found), found.next_update_utc
        revoked = {one.serial_number: _revoked_at(one) for one in found}
        issued = found.last_update_utc
    except (x509.ExtensionNotFound, *UNREADABLE):
        raise _no_list("it is not a revocation list in PEM form") from None
    if next_list is None:
        raise _no_list("it does not say when the next one is due")
    signer = _signer(found, issuer, root, chain)
    if signer.serial_number in revoked:
        raise RevocationsRefused(
            RevocationsFault.FOREIGN, "it is signed with a key whose certificate it revokes: there is a newer list"
        )
    return Revocations(number=number, issued=issued, next_list=next_list, revoked=revoked)


def load_revocations(path: Path, root: x509.Certificate) -> Revocations:
    """Returns what the list in a file says, `ca.crl`, which holds the certificate of its signer, too.

    Raises:
        RevocationsRefused: it cannot be read, or `read_revocations` refuses it.
    """
    try:
        pem = read_bounded(path, size_bytes_max=SIZE_BYTES_MAX)
        if pem.count(b"-----BEGIN CERT") > CERTIFICATES_MAX:
            raise _no_list(f"it holds more than {CERTIFICATES_MAX} certificates")
        return read_revocations(pem, root, x509.load_pem_x509_certificates(pem))
    except OSError as error:
        raise _no_list(f"{path}: cannot be read: {error.strerror}") from None
    except FileTooLargeError as error:
        raise _no_list(f"{path}: {error}, which no revocation list is") from None
    except RevocationsRefused as error:
        raise RevocationsRefused(error.fault, f"{path}: {error}") from None
    except UNREADABLE:
        raise _no_list(f"{path}: does not hold a list and the certificate of the key that signed it") from None


def _number_of(found: x509.CertificateRevocationList) -> int:
    unknown = [one.oid for one in found.extensions if one.oid not in _LIST_EXTENSIONS]
    if unknown:
        raise _no_list(f"it is not a whole list: it has the extension {unknown[0].dotted_string}")
    return found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def _revoked_at(one: x509.RevokedCertificate) -> datetime:
    unknown = [extension.oid for extension in one.extensions if extension.oid not in _ENTRY_EXTENSIONS]
    if unknown:
        raise _no_list(f"an entry has the extension {unknown[0].dotted_string}, which these lists do not have")
    return one.revocation_date_utc


def _signer(
    found: x509.CertificateRevocationList,
    issuer: x509.Name,
    root: x509.Certificate,
    chain: Sequence[x509.Certificate],
) -> x509.Certificate:
    """Returns the certificate of the key that signed a list."""
    trusted = [one for one in chain if one.subject == issuer and _is_issuing(one, root)]
    if not trusted:
        raise RevocationsRefused(
            RevocationsFault.FOREIGN, "its issuer is not an issuing authority that the root certified"
        )
    for one in trusted:
        key = one.public_key()
        try:
            if isinstance(key, Ed25519PublicKey) and found.is_signature_valid(key):
                return one
        except (InvalidSignature, *UNREADABLE):
            continue
    raise RevocationsRefused(RevocationsFault.BAD_SIGNATURE, "its signature is not that of the issuing authority")


def _is_issuing(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        require_issuing(certificate, root)
    except IdentityError:
        return False
    return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign


def _no_list(detail: str) -> RevocationsRefused:
    return RevocationsRefused(RevocationsFault.NO_LIST, detail)
