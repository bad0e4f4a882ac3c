"""Certificate chains: a home's certificate, that of the issuing authority which signed it, and the root above both.

    root (ca.crt of every home) -> issuing authority -> home    (both in a home's node.crt, and shown in TLS)

Everything is checked here that holds at any time, by whatever clock: who signed whom, what each may sign, that nobody
outlives who signed it. Whether a certificate is valid now, TLS says.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from consensus.era_plans import CERTIFICATES_MAX
from node.errors import IdentityError, WrongRole

CHAIN_FILE_SIZE_BYTES_MAX: Final = 16 * 1024
"""A PEM file of both has about 2 kB, one of a request or the root less."""

UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises on bytes that are no certificate, request or list."""

ROLE_URN: Final = "urn:p2pnode:role:"


class Role(StrEnum):
    """What a certificate is for; it stands in it as a URI."""

    MEMBER = "member"
    """A home that takes part in the chain: it opens links of the mesh."""
    PROVIDER = "provider"
    """The network provider itself, which is no member: no link is opened with it."""

    @property
    def uri(self) -> str:
        """Returns how a certificate names it."""
        return f"{ROLE_URN}{self.value}"


def role_of(certificate: x509.Certificate) -> Role | None:
    """Returns the role that a certificate names; None where it names none, or several.

    Raises:
        IdentityError: its extensions are damaged.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        return None
    except UNREADABLE:
        raise IdentityError("its extensions are damaged") from None
    named = [uri for uri in uris if uri.startswith(ROLE_URN)]
    return next((role for role in Role if named == [role.uri]), None)


def require_member(certificate: x509.Certificate) -> None:
    """Refuses a certificate that opens no links of the mesh.

    Raises:
        WrongRole: says what role it has instead.
        IdentityError: its extensions are damaged.
    """
    role = role_of(certificate)
    if role is not Role.MEMBER:
        has = "names no role" if role is None else f"has the role {role.value}"
        raise WrongRole(f"its certificate {has}, and only one with the role member opens links to other homes")


def read_chain(pem: bytes) -> tuple[x509.Certificate, ...]:
    """Returns the certificates in PEM form, at least one.

    Raises:
        IdentityError: too many bytes or certificates, or none.
    """
    if len(pem) > CHAIN_FILE_SIZE_BYTES_MAX:
        raise IdentityError(f"is larger than {CHAIN_FILE_SIZE_BYTES_MAX} bytes, which no certificate is")
    if pem.count(b"-----BEGIN") > CERTIFICATES_MAX:
        raise IdentityError(f"holds more than {CERTIFICATES_MAX} certificates")
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except UNREADABLE:
        raise IdentityError("is not a certificate in PEM form") from None


def require_chain(chain: Sequence[x509.Certificate], root: x509.Certificate) -> None:
    """Refuses a home's certificate and its issuing authority's unless the root stands behind both.

    Raises:
        IdentityError: says what is wrong with which.
    """
    if len(chain) != CERTIFICATES_MAX:
        raise IdentityError(
            f"there are {len(chain)} certificates, not {CERTIFICATES_MAX}: the home's, and behind it that of the "
            "issuing authority"
        )
    home, issuing = chain
    require_issuing(issuing, root)
    _require_signed(home, issuing, "the issuing authority did not sign the home's certificate")
    if _is_authority(home) or not _usage_of(home).digital_signature:
        raise IdentityError("the home's certificate is one of an authority, not of a home")
    _require_within(home, issuing, "the home's certificate is not within the time of the issuing authority's")


def require_issuing(issuing: x509.Certificate, root: x509.Certificate) -> None:
    """Refuses an issuing authority's certificate unless the root signed it, for homes' certificates and no others.

    Raises:
        IdentityError: says what is wrong.
    """
    _require_signed(issuing, root, "the authority did not sign the issuing authority's certificate")
    constraints = _constraints_of(issuing)
    if not _is_authority(issuing) or not _usage_of(issuing).key_cert_sign:
        raise IdentityError("the second certificate is not one of an issuing authority: it may sign no certificates")
    if constraints.path_length != 0:
        raise IdentityError(
            "the issuing authority's certificate does not say that it signs homes only (path length 0)"
        )
    _require_within(issuing, root, "the issuing authority's certificate is not within the time of the root's")


def require_root(root: x509.Certificate) -> None:
    """Refuses a certificate that is not a network's root.

    Raises:
        IdentityError: says what is wrong.
    """
    _require_signed(root, root, "it is not the root's certificate: another key signed it")
    if not _is_authority(root) or not _usage_of(root).key_cert_sign or _constraints_of(root).path_length != 1:
        raise IdentityError("it is not a root's certificate: it may sign no issuing authority")


def _require_signed(certificate: x509.Certificate, issuer: x509.Certificate, otherwise: str) -> None:
    try:
        if isinstance(issuer.public_key(), Ed25519PublicKey):
            certificate.verify_directly_issued_by(issuer)
            return
    except (InvalidSignature, *UNREADABLE):
        pass  # told below
    raise IdentityError(otherwise)


def _is_authority(certificate: x509.Certificate) -> bool:
    return _constraints_of(certificate).ca


def _constraints_of(certificate: x509.Certificate) -> x509.BasicConstraints:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        raise IdentityError("a certificate does not say whether it is an authority's") from None


def _usage_of(certificate: x509.Certificate) -> x509.KeyUsage:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, *UNREADABLE):
        raise IdentityError("a certificate does not say what its key is for") from None


def _require_within(certificate: x509.Certificate, issuer: x509.Certificate, otherwise: str) -> None:
    starts_within = issuer.not_valid_before_utc <= certificate.not_valid_before_utc
    if not (starts_within and certificate.not_valid_after_utc <= issuer.not_valid_after_utc):
        raise IdentityError(otherwise)
