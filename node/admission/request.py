"""Requests for certificates (PKCS #10): a home makes one with its own key, the authority answers with a certificate.

Whoever sends one shows that it has the key, and says where its home will be reached.
"""

import warnings
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from consensus.identifiers import PublicKey
from node.admission.chain import CHAIN_FILE_SIZE_BYTES_MAX, UNREADABLE
from node.admission.endpoint import Endpoint, endpoint_of
from node.admission.identity import load_private_key
from node.admission.meter_claim import MeterClaim, meter_claim_of
from node.errors import IdentityError
from node.home.bounded_file import FileTooLargeError, read_bounded
from node.names.rules import require_name


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
        IdentityError: it is none, is not signed with its own key, or its name or endpoint cannot be.
    """
    try:
        asked = x509.load_pem_x509_csr(read_bounded(path, size_bytes_max=CHAIN_FILE_SIZE_BYTES_MAX))
        key, endpoint = asked.public_key(), endpoint_of(asked.extensions)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a name's length, which is told below
            names = [str(one.value) for one in asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        is_signed = isinstance(key, Ed25519PublicKey) and asked.is_signature_valid
    except OSError as error:
        raise IdentityError(f"{path} cannot be read: {error.strerror}") from None
    except FileTooLargeError as error:
        raise IdentityError(f"{path} {error}, which no request is") from None
    except UNREADABLE:
        raise IdentityError(f"{path} is not a request for a certificate in PEM form") from None
    if not isinstance(key, Ed25519PublicKey) or not is_signed:
        raise IdentityError(f"{path}: is not signed with an Ed25519 key of its own")
    if len(names) != 1:
        raise IdentityError(f"{path}: name: expected one common name, and there are {len(names)}")
    if endpoint is None:
        raise IdentityError(
            f"{path}: endpoint: names none, as wss://192.0.2.14:7000; `p2pnode init` makes a request that does"
        )
    node_key = PublicKey(key.public_bytes_raw())
    try:
        require_name(names[0])
        meter = meter_claim_of(asked.extensions, node_key)
    except IdentityError as error:
        raise IdentityError(f"{path}: {error}") from None
    return Request(names[0], node_key, endpoint, meter)
