"""Revocation lists as a reader takes them: who signed them, and that they say what a whole list says."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from node.admission import authority as authorities
from node.admission.authority import Authority, certify_issuing, make_root
from node.admission.revocations import SIZE_BYTES_MAX, load_revocations, read_revocations
from node.errors import RevocationsFault, RevocationsRefused

NOW = datetime.now(UTC).replace(microsecond=0)
ROOT_KEY, ROOT = make_root("test", NOW)
AUTHORITY = Authority.of(*certify_issuing(ROOT_KEY, ROOT, NOW), ROOT)
SERIALS = (7, 2**159 - 1)


def revoked(serial: int) -> x509.RevokedCertificate:
    return x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW).build()


def listed(authority: Authority = AUTHORITY, *, number: int = 3, serials: tuple[int, ...] = SERIALS) -> bytes:
    return authority.revocation_list([revoked(serial) for serial in serials], number=number, now=NOW)


def fault_of(pem: bytes, *chain: x509.Certificate) -> tuple[RevocationsFault, str]:
    with pytest.raises(RevocationsRefused) as refused:
        read_revocations(pem, ROOT, chain or (AUTHORITY.issuing,))
    return refused.value.fault, str(refused.value)


def test_a_list_says_who_is_revoked_and_when_the_next_is_due() -> None:
    found = read_revocations(listed(), ROOT, [AUTHORITY.issuing])
    assert [found.is_revoked(serial) for serial in (*SERIALS, 8)] == [True, True, False]
    assert (found.number, found.issued, found.next_list) == (3, NOW, NOW + timedelta(days=30))
    assert read_revocations(listed(serials=()), ROOT, [AUTHORITY.issuing]).revoked == {}


def test_a_file_brings_the_certificate_of_its_signer(tmp_path: Path) -> None:
    path = tmp_path / "ca.crl"
    path.write_bytes(listed())
    assert load_revocations(path, ROOT).is_revoked(7)
    for content, words in (
        (listed().split(b"-----BEGIN CERT")[0], "does not hold a list and the certificate"),
        (listed() + AUTHORITY.certificate_pem() * 2, "holds more than 2 certificates"),
        (AUTHORITY.certificate_pem(), "is not a revocation list"),
        (b"", "does not hold a list"),
    ):
        path.write_bytes(content)
        with pytest.raises(RevocationsRefused, match=words) as refused:
            load_revocations(path, ROOT)
        assert refused.value.fault is RevocationsFault.NO_LIST
    path.unlink()
    with pytest.raises(RevocationsRefused, match=r"ca\.crl: cannot be read: No such file"):
        load_revocations(path, ROOT)


def test_a_list_of_the_newest_issuing_key_speaks_of_what_earlier_ones_signed() -> None:
    renewed = Authority.of(*certify_issuing(ROOT_KEY, ROOT, NOW), ROOT)
    assert read_revocations(listed(renewed), ROOT, [AUTHORITY.issuing, renewed.issuing]).is_revoked(7)
    assert fault_of(listed(renewed), AUTHORITY.issuing)[0] is RevocationsFault.BAD_SIGNATURE


# --- who signed it ---------------------------------------------------------------------------------------------


def test_another_networks_list_is_foreign() -> None:
    other = Authority("test")
    assert fault_of(listed(other), other.issuing)[0] is RevocationsFault.FOREIGN
    assert fault_of(listed(other), other.issuing, other.root)[0] is RevocationsFault.FOREIGN


def test_a_member_signs_no_lists() -> None:
    """Its certificate leads to the root, and is no issuing authority's."""
    key = Ed25519PrivateKey.generate()
    member = x509.load_pem_x509_certificates(AUTHORITY.issue(key.public_key().public_bytes_raw()))[0]  # type: ignore[arg-type]
    assert fault_of(listed(Authority.of(key, member, ROOT)), member, AUTHORITY.issuing)[0] is RevocationsFault.FOREIGN


def test_an_issuing_key_signs_in_its_own_name_alone() -> None:
    """Not even the root's name: the root signs no lists in this network."""
    as_root = Authority.of(AUTHORITY._issuing_key, ROOT, ROOT)
    assert fault_of(listed(as_root), ROOT, AUTHORITY.issuing)[0] is RevocationsFault.FOREIGN


def test_a_signature_that_does_not_hold_is_bad() -> None:
    encoded = bytearray(x509.load_pem_x509_crl(listed()).public_bytes(Encoding.DER))
    for place in (-1, encoded.index(b"\x02\x01\x07") + 2):  # the signature; a serial number under it
        changed = (
            bytes(encoded[:place])
            + bytes([encoded[place] ^ 1])
            + (bytes(encoded[place + 1 :]) if place != -1 else b"")
        )
        pem = x509.load_der_x509_crl(changed).public_bytes(Encoding.PEM)
        assert fault_of(pem)[0] is RevocationsFault.BAD_SIGNATURE


def test_a_list_that_another_kind_of_key_signed_is_refused() -> None:
    builder = x509.CertificateRevocationListBuilder(AUTHORITY.issuing.subject, NOW, NOW + timedelta(days=1))
    signed = builder.add_extension(x509.CRLNumber(1), critical=False).sign(
        ec.generate_private_key(ec.SECP256R1()), SHA256()
    )
    assert fault_of(signed.public_bytes(Encoding.PEM))[0] is RevocationsFault.BAD_SIGNATURE


def test_a_key_whose_certificate_is_revoked_cannot_take_that_back() -> None:
    """A thief of the issuing key signs a list without its own certificate; who has seen the newer list knows both."""
    fault, words = fault_of(listed(serials=(AUTHORITY.issuing.serial_number,)))
    assert (fault, "there is a newer list" in words) == (RevocationsFault.FOREIGN, True)


# --- that it is a whole list -----------------------------------------------------------------------------------

Builder = x509.CertificateRevocationListBuilder
WHOLE: list[tuple[x509.ExtensionType, bool]] = [(x509.CRLNumber(1), False)]


def signed_with(*extensions: tuple[x509.ExtensionType, bool], entry: x509.RevokedCertificate | None = None) -> bytes:
    builder = Builder(AUTHORITY.issuing.subject, NOW, NOW + timedelta(days=1))
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    if entry is not None:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(AUTHORITY._issuing_key, None).public_bytes(Encoding.PEM)


def with_issuer() -> x509.RevokedCertificate:
    issuer = x509.CertificateIssuer([x509.DirectoryName(ROOT.subject)])
    builder = x509.RevokedCertificateBuilder().serial_number(7).revocation_date(NOW)
    return builder.add_extension(issuer, critical=True).build()


def scope() -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(
        full_name=None,
        relative_name=None,
        only_contains_user_certs=True,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (signed_with, "not a revocation list"),
        (lambda: signed_with(*WHOLE, (x509.DeltaCRLIndicator(1), True)), "not a whole list"),
        (lambda: signed_with(*WHOLE, (scope(), True)), "not a whole list"),
        (lambda: signed_with(*WHOLE, entry=with_issuer()), "an entry has the extension 2.5.29.29"),
        (lambda: b"nonsense", "not a revocation list"),
        (AUTHORITY.certificate_pem, "not a revocation list"),
    ],
    ids=["no number", "changes only", "another scope", "another issuer's entry", "nonsense", "a certificate"],
)
def test_what_a_reader_would_misunderstand_is_refused(make: Callable[[], bytes], words: str) -> None:
    fault, said = fault_of(make())
    assert fault is RevocationsFault.NO_LIST
    assert words in said


def test_size_is_looked_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(_: bytes) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr(x509, "load_pem_x509_crl", parsed)
    fault, words = fault_of(bytes(SIZE_BYTES_MAX + 1))
    assert (fault, "larger than" in words) == (RevocationsFault.NO_LIST, True)


def test_an_issuing_authority_that_may_sign_no_lists_signs_none() -> None:
    key = Ed25519PrivateKey.generate()
    usage = x509.KeyUsage(
        digital_signature=False,
        key_cert_sign=True,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = authorities._builder(AUTHORITY.issuing.subject, ROOT.subject, key.public_key(), NOW, NOW + timedelta(9))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    issuing = builder.add_extension(usage, critical=True).sign(ROOT_KEY, None)
    assert fault_of(listed(Authority.of(key, issuing, ROOT)), issuing)[0] is RevocationsFault.FOREIGN
