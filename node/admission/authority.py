"""The certificate authority in memory: a root, the issuing authority that it certified, and what this one signs.

    root                20 years: the life of the meters. Its key signs issuing authorities and plans of ceremonies,
                        so it is needed once in years and lies elsewhere meanwhile (docs/authority.md).
    issuing authority    5 years: its key is on the machine where homes are certified, and may be lost with it.
    home                 2 years: who is not renewed is out by then, without anybody's doing.

A home trusts the root alone (`ca.crt`) and shows its own certificate and the issuing authority's (`node.crt`), so a
renewed issuing authority changes nothing at the other homes. Its files are `node/admission/authority_folder.py`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from consensus.cryptography import address_of
from consensus.identifiers import Digest, PublicKey
from node.admission.chain import Role
from node.admission.endpoint import Endpoint
from node.admission.meter_claim import MeterClaim
from node.admission.voucher import home_uri, home_voucher, issuing_uri, issuing_voucher, signed_bytes
from node.errors import IdentityError
from node.names.names import label_of

DAYS_PER_YEAR: Final = 365.25

ROOT_VALIDITY: Final = timedelta(days=round(20 * DAYS_PER_YEAR))
ISSUING_VALIDITY: Final = timedelta(days=round(5 * DAYS_PER_YEAR))
MEMBER_VALIDITY: Final = timedelta(days=round(2 * DAYS_PER_YEAR))

BACKDATED: Final = timedelta(hours=1)
"""Certificates count from an hour ago, for nodes whose clock is behind."""

LIST_VALIDITY: Final = timedelta(days=30)
"""When the next revocation list is due: long enough for a provider that looks in once a month."""


class Authority:
    """A network's authority. Its keys never appear in `repr`."""

    __slots__ = ("_issuing_key", "issuing", "root")

    def __init__(self, network: str, *, now: datetime | None = None) -> None:
        """Makes a new authority in memory, root and issuing, that forgets its root key.

        Args:
            network: its name, for people.
            now: start of its validity; the present by default.
        """
        made = make_root(network, present() if now is None else now)
        self._take(*certify_issuing(*made, present() if now is None else now), made[1])

    @classmethod
    def of(cls, issuing_key: Ed25519PrivateKey, issuing: x509.Certificate, root: x509.Certificate) -> "Authority":
        """Returns the authority that has these, which belong together."""
        authority = cls.__new__(cls)
        authority._take(issuing_key, issuing, root)  # noqa: SLF001
        return authority

    def _take(self, issuing_key: Ed25519PrivateKey, issuing: x509.Certificate, root: x509.Certificate) -> None:
        self._issuing_key = issuing_key
        self.issuing: x509.Certificate = issuing
        self.root: x509.Certificate = root

    def issue(
        self,
        public_key: PublicKey,
        *,
        host: str = "localhost",
        port: int | None = None,
        meter: MeterClaim | None = None,
        person: Digest | None = None,
        now: datetime | None = None,
        validity: timedelta = MEMBER_VALIDITY,
        role: Role = Role.MEMBER,
    ) -> bytes:
        """Returns the chain of a node's key in PEM form: its certificate, and behind it the issuing authority's.

        Args:
            public_key: the node's Ed25519 key, 32 bytes. The certificate is called after its address: every peer
                sees it, and need not know who lives there.
            host: name or IP address that others reach it under, beside localhost.
            port: where others reach it there; without, the certificate names no endpoint.
            meter: the home's meter, as its request claims it.
            person: tag of who lives there; with a meter, the certificate vouches for both on a chain.
            now: start of its validity; the present by default.
            validity: how long it is valid.
            role: what it is for.

        Raises:
            IdentityError: it would outlive the issuing authority, or end before that one begins.
        """
        key = Ed25519PublicKey.from_public_bytes(public_key)
        start = present() if now is None else now
        require_lifetime(self.issuing, start + validity)
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        # a clock that was set back since the issuing authority was made starts nothing before it
        first = max(start - BACKDATED, self.issuing.not_valid_before_utc)
        names = _alternative_names(public_key, host, port, meter, role)
        if meter is not None and person is not None:
            voucher = home_voucher(public_key, meter, person, first, start + validity)
            uri = home_uri(person, self._issuing_key.sign(signed_bytes(voucher)))
            names = x509.SubjectAlternativeName([*names, x509.UniformResourceIdentifier(uri)])
        builder = (
            _builder(_name(label_of(address_of(public_key))), self.issuing.subject, key, first, start + validity)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(usages, critical=False)
            .add_extension(names, critical=False)
            .add_extension(_issued_by(self._issuing_key), critical=False)
        )
        certificate = builder.sign(self._issuing_key, algorithm=None)
        return b"".join(one.public_bytes(Encoding.PEM) for one in (certificate, self.issuing))

    def revocation_list(
        self, revoked: Iterable[x509.RevokedCertificate], *, number: int, now: datetime | None = None
    ) -> bytes:
        """Returns a signed list in PEM form (RFC 5280), and behind it the certificate of the key that signed it.

        The issuing authority keeps its name over all its keys, and serial numbers are unique under that name: so the
        list of its present key speaks of what its earlier keys signed, too (RFC 5280, 6.3.3).

        Args:
            revoked: all that ever were.
            number: one more than that of the list before.
            now: when it was made; the present by default.
        """
        start = present() if now is None else now
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.issuing.subject)
            .last_update(start)
            .next_update(start + LIST_VALIDITY)
            .add_extension(x509.CRLNumber(number), critical=False)
            .add_extension(_issued_by(self._issuing_key), critical=False)
        )
        for one in revoked:
            builder = builder.add_revoked_certificate(one)
        signed = builder.sign(self._issuing_key, algorithm=None).public_bytes(Encoding.PEM)
        return signed + self.issuing.public_bytes(Encoding.PEM)

    def certificate_pem(self) -> bytes:
        """Returns the root's certificate: what a home keeps as `ca.crt`."""
        return self.root.public_bytes(Encoding.PEM)


def present() -> datetime:
    """Returns the time in whole seconds, as certificates have it."""
    return datetime.now(UTC).replace(microsecond=0)


def network_of(root: x509.Certificate) -> str:
    """Returns the name of the network that a root is of; empty if it names none."""
    names = root.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    return str(names[0].value) if names else ""


def make_root(network: str, now: datetime) -> tuple[Ed25519PrivateKey, x509.Certificate]:
    """Returns the key and the certificate of a new root."""
    key, name = Ed25519PrivateKey.generate(), _name("p2pnode root", network)
    builder = _authority_builder(name, name, key.public_key(), now - BACKDATED, now + ROOT_VALIDITY, path_length=1)
    return key, builder.sign(key, algorithm=None)


def certify_issuing(
    root_key: Ed25519PrivateKey, root: x509.Certificate, now: datetime
) -> tuple[Ed25519PrivateKey, x509.Certificate]:
    """Returns the key and the certificate of a new issuing authority under a root.

    Raises:
        IdentityError: it would outlive the root.
    """
    key, name = Ed25519PrivateKey.generate(), _name("p2pnode issuing authority", network_of(root))
    until = now + ISSUING_VALIDITY
    if until > root.not_valid_after_utc:
        raise IdentityError(
            f"an issuing authority would be valid until {until:%Y-%m-%d}, and the root ends before, on "
            f"{root.not_valid_after_utc:%Y-%m-%d}: the network needs a new root (docs/authority.md)"
        )
    first = max(now - BACKDATED, root.not_valid_before_utc)
    voucher = issuing_voucher(PublicKey(key.public_key().public_bytes_raw()), first, until)
    vouched = x509.UniformResourceIdentifier(issuing_uri(root_key.sign(signed_bytes(voucher))))
    builder = (
        _authority_builder(name, root.subject, key.public_key(), first, until, path_length=0)
        .add_extension(_issued_by(root_key), critical=False)
        .add_extension(x509.SubjectAlternativeName([vouched]), critical=False)
    )
    return key, builder.sign(root_key, algorithm=None)


def require_lifetime(issuing: x509.Certificate, until: datetime) -> None:
    """Refuses a certificate that would outlive the issuing authority, or end before that one begins.

    Raises:
        IdentityError: says both ends, and what to do.
    """
    if until <= issuing.not_valid_before_utc:
        raise IdentityError(
            f"a certificate until {until:%Y-%m-%d} would end before the issuing authority begins, on "
            f"{issuing.not_valid_before_utc:%Y-%m-%d}: is the clock right?"
        )
    if until > issuing.not_valid_after_utc:
        raise IdentityError(
            f"a certificate until {until:%Y-%m-%d} would outlive the issuing authority, which ends on "
            f"{issuing.not_valid_after_utc:%Y-%m-%d}: make its next one (p2pnode ca renew --issuing, which needs the "
            "root's key), or give fewer --days"
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Ed25519PublicKey, first: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(first)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _authority_builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: Ed25519PublicKey,
    first: datetime,
    until: datetime,
    *,
    path_length: int,
) -> x509.CertificateBuilder:
    return (
        _builder(subject, issuer, key, first, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
    )


def _issued_by(key: Ed25519PrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _name(common_name: str, network: str | None = None) -> x509.Name:
    of_network = [] if network is None else [x509.NameAttribute(NameOID.ORGANIZATION_NAME, network)]
    return x509.Name([*of_network, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative_names(
    public_key: PublicKey, host: str, port: int | None, meter: MeterClaim | None, role: Role
) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [
        x509.UniformResourceIdentifier(f"urn:p2pnode:{address_of(public_key).hex()}"),
        x509.UniformResourceIdentifier(role.uri),
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
