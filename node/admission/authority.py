"""The certificate authority: signs the certificates that admit nodes to the mesh.

`p2pnode testnet init` makes one, `p2pnode home certify` lets it sign a request; a running node has the authority's
certificate, never its key.
"""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from consensus.cryptography import address_of
from consensus.identifiers import PublicKey
from node.admission.endpoint import Endpoint
from node.admission.identity import certificate_key, load_certificate, load_key, load_private_key
from node.admission.meter_claim import MeterClaim
from node.errors import IdentityError

VALIDITY: Final = timedelta(days=3_652)
"""Ten years: the life of a meter's installation. Renewal is not built yet."""

BACKDATED: Final = timedelta(hours=1)
"""Certificates count from an hour ago, for nodes whose clock is behind."""


class Authority:
    """Signs node certificates with a key of its own. The key never appears in `repr`."""

    __slots__ = ("_key", "certificate")

    def __init__(self, network: str, *, now: datetime | None = None) -> None:
        """Makes a new authority with a new key.

        Args:
            network: its name, for people.
            now: start of its validity; the present by default.
        """
        self._key = Ed25519PrivateKey.generate()
        name = _name(f"p2pnode authority of {network}")
        builder = _builder(name, name, self._key.public_key(), datetime.now(UTC) if now is None else now)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
        self.certificate = builder.sign(self._key, algorithm=None)

    @classmethod
    def of_files(cls, key: Path, certificate: Path) -> "Authority":
        """Returns the authority whose key and certificate lie in files.

        Raises:
            IdentityError: one cannot be read, or the key is not the certificate's.
        """
        authority = cls.__new__(cls)
        authority._key, authority.certificate = load_private_key(key), load_certificate(certificate)  # noqa: SLF001
        if certificate_key(authority.certificate) != load_key(key).public_key:
            raise IdentityError(f"{key}: is not the key of the authority whose certificate is {certificate}")
        return authority

    def issue(
        self,
        name: str,
        public_key: PublicKey,
        *,
        host: str = "localhost",
        port: int | None = None,
        meter: MeterClaim | None = None,
        now: datetime | None = None,
        validity: timedelta = VALIDITY,
    ) -> bytes:
        """Returns the PEM certificate of a node's key.

        Args:
            name: label of the node, the certificate's common name.
            public_key: the node's Ed25519 key, 32 bytes.
            host: name or IP address that others reach it under, beside localhost.
            port: where others reach it there; without, the certificate names no endpoint.
            meter: the home's meter, as its request claims it.
            now: start of its validity; the present by default.
            validity: how long it is valid.
        """
        key = Ed25519PublicKey.from_public_bytes(public_key)
        start = datetime.now(UTC) if now is None else now
        builder = _builder(_name(name), self.certificate.subject, key, start, validity)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = builder.add_extension(usages, critical=False)
        builder = builder.add_extension(_alternative_names(public_key, host, port, meter), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        return builder.sign(self._key, algorithm=None).public_bytes(Encoding.PEM)

    def certificate_pem(self) -> bytes:
        """Returns the authority's own certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    def key_pem(self) -> bytes:
        """Returns the authority's private key, to be kept in a file that only its owner reads."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: Ed25519PublicKey,
    now: datetime,
    validity: timedelta = VALIDITY,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + validity)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative_names(
    public_key: PublicKey, host: str, port: int | None, meter: MeterClaim | None
) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier(f"urn:p2pnode:{address_of(public_key).hex()}"),
        x509.DNSName("localhost"),
        x509.IPAddress(ip_address("127.0.0.1")),
    ]
    if port is not None:
        names.append(x509.UniformResourceIdentifier(Endpoint(host, port).uri))
    if meter is not None:
        names.append(x509.UniformResourceIdentifier(meter.uri))
    try:
        names.append(x509.IPAddress(ip_address(host)))
    except ValueError:
        names.append(x509.DNSName(host))
    return x509.SubjectAlternativeName(list(dict.fromkeys(names)))


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
