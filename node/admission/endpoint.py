"""Where a home is reached, as its certificate names it: host and port that the authority signed beside the key.

The plan of a ceremony carries the certificate of a home that takes a member's place, so the other homes learn both
from it.
"""

import re
from datetime import datetime
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from consensus.identifiers import PublicKey
from node.admission.identity import certificate_key
from node.admission.meter_claim import MeterClaim, meter_claim_of
from node.errors import IdentityError

_SCHEME: Final = "wss"
_HOST_NAME: Final = re.compile(r"[0-9a-z._-]{1,253}")


class Endpoint(NamedTuple):
    """A host and the port that its mesh listens on."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def uri(self) -> str:
        """Returns how a certificate names it."""
        return f"{_SCHEME}://{self}"


class CertifiedHome(NamedTuple):
    """What a certificate says of a home."""

    name: str
    """Label for people; empty where it names none."""
    node_key: PublicKey
    endpoint: Endpoint | None
    """None where it names none."""
    meter: MeterClaim | None
    """None where it names none."""
    valid_from: datetime
    valid_until: datetime


def endpoint_of(names: x509.Extensions) -> Endpoint | None:
    """Returns the endpoint that a certificate, or a request for one, names; None if it names none."""
    try:
        alternatives = names.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    named = (parse_endpoint(uri) for uri in alternatives.get_values_for_type(x509.UniformResourceIdentifier))
    return next((endpoint for endpoint in named if endpoint is not None), None)


def parse_endpoint(uri: str) -> Endpoint | None:
    """Returns the endpoint that a URI is; None if it is none, or its host is neither a name nor an address."""
    try:
        parts = urlsplit(uri)
        if parts.scheme != _SCHEME or not parts.hostname or not parts.port:
            return None
        if ":" in parts.hostname:
            ip_address(parts.hostname)
        elif _HOST_NAME.fullmatch(parts.hostname) is None:
            return None
    except ValueError:  # a port or an address that is none
        return None
    return Endpoint(parts.hostname, parts.port)


def certified_home(encoded: bytes, authority: x509.Certificate | None = None) -> CertifiedHome:
    """Returns what a certificate in DER form says.

    Args:
        encoded: the certificate.
        authority: who must have issued it; None where that was checked before.

    Raises:
        IdentityError: it is none, is not the authority's, or is of another kind of key.
    """
    try:
        certificate = x509.load_der_x509_certificate(encoded)
        names = certificate.extensions
        if authority is not None:
            certificate.verify_directly_issued_by(authority)
    except InvalidSignature:
        raise IdentityError("the authority did not sign it") from None
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ):
        raise IdentityError("it is no certificate of the authority") from None
    node_key = certificate_key(certificate)
    labels = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return CertifiedHome(
        name=str(labels[0].value) if labels else "",
        node_key=node_key,
        endpoint=endpoint_of(names),
        meter=meter_claim_of(names, node_key),
        valid_from=certificate.not_valid_before_utc,
        valid_until=certificate.not_valid_after_utc,
    )
