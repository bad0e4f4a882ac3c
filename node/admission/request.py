"""Requests for certificates (PKCS #10): a home makes one with its own key, the authority answers with a certificate.

Whoever sends one shows that it has the key, and says where its home will be reached.
"""

from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from consensus.identifiers import PublicKey
from node.admission.authority import Authority
from node.admission.endpoint import Endpoint, endpoint_of
from node.admission.identity import CERTIFICATE_FILE_SIZE_BYTES_MAX, load_private_key
from node.admission.meter_claim import MeterClaim, meter_claim_of
from node.errors import IdentityError
from node.home.bounded_file import FileTooLargeError, read_bounded

_UNREADABLE: Final = (
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class Request(NamedTuple):
    """What a home asks for."""

    name: str
    node_key: PublicKey
    endpoint: Endpoint
    meter: MeterClaim | None
    """None where a new home takes a member's place: its meter stays as the chain knows it."""


def make_request(name: str, node_key: Path, endpoint: Endpoint, meter: MeterClaim | None = None) -> bytes:
    """Returns a home's request in PEM form, signed with its node key.

    Args:
        name: label of the node, the certificate's common name.
        node_key: file of the key.
        endpoint: where others reach it.
        meter: its meter, where the home is a member's first one.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    uris = [endpoint.uri] if meter is None else [endpoint.uri, meter.uri]
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(names, critical=False)
    return builder.sign(load_private_key(node_key), algorithm=None).public_bytes(Encoding.PEM)


def read_request(path: Path) -> Request:
    """Returns what a request asks for.

    Raises:
        IdentityError: it is none, is not signed with its own key, or names no endpoint.
    """
    try:
        asked = x509.load_pem_x509_csr(read_bounded(path, size_bytes_max=CERTIFICATE_FILE_SIZE_BYTES_MAX))
        key, endpoint = asked.public_key(), endpoint_of(asked.extensions)
        names = asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        is_signed = isinstance(key, Ed25519PublicKey) and asked.is_signature_valid
    except OSError as error:
        raise IdentityError(f"{path} cannot be read: {error.strerror}") from None
    except FileTooLargeError as error:
        raise IdentityError(f"{path} {error}, which no request is") from None
    except (ValueError, TypeError, *_UNREADABLE):
        raise IdentityError(f"{path} is not a request for a certificate in PEM form") from None
    if not isinstance(key, Ed25519PublicKey) or not is_signed:
        raise IdentityError(f"{path}: is not signed with an Ed25519 key of its own")
    if endpoint is None or not names:
        raise IdentityError(f"{path}: names no node and no endpoint; `p2pnode init` makes one that does")
    node_key = PublicKey(key.public_bytes_raw())
    try:
        meter = meter_claim_of(asked.extensions, node_key)
    except IdentityError as error:
        raise IdentityError(f"{path}: {error}") from None
    return Request(str(names[0].value), node_key, endpoint, meter)


def certify(request: Request, authority: Authority) -> bytes:
    """Returns the certificate that a request asks for, in PEM form."""
    return authority.issue(
        request.name,
        request.node_key,
        host=request.endpoint.host,
        port=request.endpoint.port,
        meter=request.meter,
    )
