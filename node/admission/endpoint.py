"""Where a home is reached, as its certificate names it: host and port that the authority signed beside the key.

The plan of a ceremony carries the certificate of a home that takes a member's place, so the other homes learn both
from it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from cryptography import x509

from consensus.era_plans import CERTIFICATE_SIZE_BYTES_MAX, CERTIFICATES_MAX
from consensus.identifiers import PublicKey
from node.admission.chain import UNREADABLE, require_chain, require_member
from node.admission.identity import certificate_key
from node.admission.meter_claim import MeterClaim, meter_claim_of
from node.errors import IdentityError
from node.home.hosts import is_host

_SCHEME: Final = "wss"


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
        if parts.scheme != _SCHEME or not parts.hostname or not parts.port or not is_host(parts.hostname):
            return None
    except ValueError:  # a port that is none
        return None
    return Endpoint(parts.hostname, parts.port)


def certified_home(certificates: Sequence[bytes], root: x509.Certificate | None = None) -> CertifiedHome:
    """Returns what the certificates of a home say.

    Args:
        certificates: the home's and its issuing authority's, in DER form.
        root: who must stand behind them; None where that was checked before.

    Raises:
        IdentityError: they are too many or too long, or none, do not lead to the root, or are no member's.
    """
    if len(certificates) > CERTIFICATES_MAX or any(len(one) > CERTIFICATE_SIZE_BYTES_MAX for one in certificates):
        raise IdentityError(
            f"more than {CERTIFICATES_MAX} certificates, or one of more than {CERTIFICATE_SIZE_BYTES_MAX} bytes"
        )
    try:
        chain = [x509.load_der_x509_certificate(one) for one in certificates]
        home, names = chain[0], chain[0].extensions
        said = CertifiedHome(
            node_key=certificate_key(home),
            endpoint=endpoint_of(names),
            meter=meter_claim_of(names, certificate_key(home)),
            valid_from=home.not_valid_before_utc,
            valid_until=home.not_valid_after_utc,
        )
    except (IndexError, *UNREADABLE):
        raise IdentityError("it is no certificate of the authority") from None
    if root is not None:
        require_chain(chain, root)
    require_member(home)
    return said
