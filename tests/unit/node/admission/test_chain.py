"""Chains of certificates under one root: what TLS takes and refuses, and what is refused without a clock.

Each attack is made with the private key that the attacker would have, and shown to real OpenSSL, both ways.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from consensus.cryptography import SigningKey
from node.admission import authority as authorities
from node.admission.authority import ISSUING_VALIDITY, Authority, certify_issuing, make_root
from node.admission.chain import CHAIN_FILE_SIZE_BYTES_MAX, Role, read_chain, require_chain, require_root
from node.admission.endpoint import certified_home
from node.admission.identity import Identity, load_identity, load_root
from node.errors import IdentityError, WrongRole
from node.home.folder import Home
from tests.unit.node.admission.test_identity import GREETING, Exchange, make_home, unchecked

NOW = datetime.now(UTC).replace(microsecond=0)
LONG_AGO = NOW - timedelta(days=100)


@dataclass
class Network:
    """An authority with its root key at hand."""

    root_key: Ed25519PrivateKey
    authority: Authority

    @classmethod
    def made(cls, now: datetime = LONG_AGO) -> "Network":
        root_key, root = make_root("test", now)
        key, issuing = certify_issuing(root_key, root, now)
        return cls(root_key, Authority.of(key, issuing, root))

    def renewed(self) -> Authority:
        key, issuing = certify_issuing(self.root_key, self.authority.root, NOW)
        return Authority.of(key, issuing, self.authority.root)

    @property
    def issuing_key(self) -> Ed25519PrivateKey:
        return self.authority._issuing_key


@pytest.fixture
def network() -> Network:
    return Network.made()


@pytest.fixture
def honest(network: Network, tmp_path: Path) -> Identity:
    return load_identity(make_home(tmp_path / "honest", network.authority))


def with_chain(
    directory: Path, network: Network, chain: Sequence[x509.Certificate], key: Ed25519PrivateKey
) -> Identity:
    """A dishonest node that shows a chain of its own making."""
    home = make_home(directory, network.renewed())
    home.node_key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    home.certificate.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
    return unchecked(home)


def refused_both_ways(honest: Identity, attacker: Identity) -> str:
    """Returns what OpenSSL said on the honest side."""
    as_client = Exchange(honest.server_ssl_context(), attacker.client_ssl_context())
    as_server = Exchange(attacker.server_ssl_context(), honest.client_ssl_context())
    assert as_client.refused
    assert as_server.refused
    assert as_client.server_peer is None
    assert as_server.client_peer is None
    assert "CERTIFICATE_VERIFY_FAILED" in str(as_client.server_error)
    return f"{as_client.server_error} {as_server.client_error}"


def public(key: Ed25519PrivateKey) -> SigningKey:
    return SigningKey(key.private_bytes_raw())


def leaf_of(authority: Authority, key: Ed25519PrivateKey) -> x509.Certificate:
    return read_chain(authority.issue(public(key).public_key))[0]


# --- what is taken ---------------------------------------------------------------------------------------------


def test_homes_of_an_earlier_and_a_renewed_issuing_authority_know_each_other(
    network: Network, honest: Identity, tmp_path: Path
) -> None:
    """Nothing changes at the home that trusts the root."""
    renewed = load_identity(make_home(tmp_path / "renewed", network.renewed()))
    for server, client in ((honest, renewed), (renewed, honest)):
        exchange = Exchange(server.server_ssl_context(), client.client_ssl_context())
        assert exchange.answer == GREETING, (exchange.server_error, exchange.client_error)
        assert exchange.server_peer == client.node_key.public_key


def test_the_lives_of_certificates_lie_within_each_other(network: Network) -> None:
    leaf, issuing = read_chain(network.authority.issue(public(Ed25519PrivateKey.generate()).public_key))
    root = network.authority.root
    assert root.not_valid_before_utc <= issuing.not_valid_before_utc <= leaf.not_valid_before_utc
    assert leaf.not_valid_after_utc < issuing.not_valid_after_utc < root.not_valid_after_utc
    assert [
        one.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length for one in (issuing, root)
    ] == [
        0,
        1,
    ]


# --- attacks over TLS ------------------------------------------------------------------------------------------


def test_a_node_signs_no_certificates(network: Network, honest: Identity, tmp_path: Path) -> None:
    """A certificate under a member's own one, which OpenSSL and the clockless check both refuse."""
    parent, child = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    member = leaf_of(network.authority, parent)
    smuggled = leaf_of(Authority.of(parent, with_long_life(member, network), network.authority.root), child)
    attacker = with_chain(tmp_path / "attacker", network, [smuggled, member, network.authority.issuing], child)
    assert "invalid CA certificate" in refused_both_ways(honest, attacker)
    with pytest.raises(IdentityError, match="the authority did not sign the issuing"):
        require_chain([smuggled, member], network.authority.root)


def with_long_life(certificate: x509.Certificate, network: Network) -> x509.Certificate:
    """A certificate of the same subject and key that may be put in front of what `issue` checks."""
    builder = authorities._authority_builder(
        certificate.subject,
        certificate.subject,
        public_of(certificate),
        LONG_AGO,
        NOW + ISSUING_VALIDITY,
        path_length=0,
    )
    return builder.sign(network.issuing_key, algorithm=None)


def public_of(certificate: x509.Certificate) -> Ed25519PublicKey:
    key = certificate.public_key()
    assert isinstance(key, Ed25519PublicKey)
    return key


def test_an_issuing_authority_certifies_no_other(network: Network, honest: Identity, tmp_path: Path) -> None:
    """Its path length is 0, and the root's 1."""
    below, child = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "below")])
    issuing = network.authority.issuing
    builder = authorities._authority_builder(
        name, issuing.subject, below.public_key(), NOW, NOW + timedelta(days=900), path_length=0
    ).add_extension(authorities._issued_by(network.issuing_key), critical=False)
    second = builder.sign(network.issuing_key, algorithm=None)
    smuggled = leaf_of(Authority.of(below, second, network.authority.root), child)
    attacker = with_chain(tmp_path / "attacker", network, [smuggled, second, issuing], child)
    assert "path length constraint exceeded" in refused_both_ways(honest, attacker)
    with pytest.raises(IdentityError, match="3 certificates, not 2"):
        require_chain([smuggled, second, issuing], network.authority.root)
    with pytest.raises(IdentityError, match="did not sign the issuing"):
        require_chain([smuggled, second], network.authority.root)


def test_a_home_under_an_issuing_authority_that_ended_shows_its_key_as_any_other(tmp_path: Path) -> None:
    """Were it refused, a street would stand still on the day on which its issuing authority ends."""
    began = NOW - ISSUING_VALIDITY - timedelta(days=1)
    network = Network.made(began)
    honest = load_identity(make_home(tmp_path / "honest", network.renewed()))
    ended = load_identity(make_home(tmp_path / "ended", network.authority, now=began, validity=timedelta(days=1)))
    as_client = Exchange(honest.server_ssl_context(), ended.client_ssl_context())
    as_server = Exchange(ended.server_ssl_context(), honest.client_ssl_context())
    assert as_client.server_peer == as_server.client_peer == ended.node_key.public_key


def test_a_home_that_would_outlive_its_issuing_authority_is_not_certified(tmp_path: Path) -> None:
    """A home's certificate that outlives it, as `issue` never makes one: the chain learns no such end."""
    began = NOW - ISSUING_VALIDITY - timedelta(days=1)
    network, key = Network.made(began), Ed25519PrivateKey.generate()
    issuing = network.authority.issuing
    young = leaf_of(Authority.of(network.issuing_key, network.renewed().issuing, network.authority.root), key)
    with pytest.raises(IdentityError, match="not within the time of the issuing authority's"):
        require_chain([young, issuing], network.authority.root)


def test_a_home_directly_under_the_root_is_no_home(network: Network) -> None:
    key = Ed25519PrivateKey.generate()
    direct = leaf_of(Authority.of(network.root_key, network.authority.root, network.authority.root), key)
    with pytest.raises(IdentityError, match="1 certificates, not 2"):
        require_chain([direct], network.authority.root)
    with pytest.raises(IdentityError, match=r"it may sign no certificates|did not sign"):
        require_chain([direct, direct], network.authority.root)


def test_a_chain_without_the_issuing_authority_is_refused_at_the_home_itself(
    network: Network, tmp_path: Path
) -> None:
    """Else every other home would refuse it, with less to say."""
    home = make_home(tmp_path / "node", network.authority)
    first = read_chain(home.certificate.read_bytes())[0]
    home.certificate.write_bytes(first.public_bytes(Encoding.PEM))
    with pytest.raises(IdentityError, match=r"node\.crt: there are 1 certificates, not 2"):
        load_identity(home)


def test_a_home_that_another_authority_certified_does_not_start(network: Network, tmp_path: Path) -> None:
    home = make_home(tmp_path / "node", network.authority, issuer=Network.made().authority)
    with pytest.raises(IdentityError, match=r"node\.crt: the authority did not sign the issuing"):
        load_identity(home)


# --- what is refused without a clock ---------------------------------------------------------------------------


def der(chain: Sequence[x509.Certificate]) -> tuple[bytes, ...]:
    return tuple(one.public_bytes(Encoding.DER) for one in chain)


def test_an_issuing_authority_is_no_home(network: Network) -> None:
    """The second certificate in the first place: a key that may sign may not take part."""
    key = Ed25519PrivateKey.generate()
    builder = authorities._authority_builder(
        leaf_of(network.authority, key).subject,
        network.authority.issuing.subject,
        key.public_key(),
        NOW,
        NOW + timedelta(days=1),
        path_length=0,
    )
    wrong = builder.sign(network.issuing_key, algorithm=None)
    with pytest.raises(IdentityError, match="one of an authority, not of a home"):
        require_chain([wrong, network.authority.issuing], network.authority.root)


def test_an_issuing_authority_without_a_bound_on_its_paths_is_refused(network: Network) -> None:
    key, child = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    builder = authorities._authority_builder(
        network.authority.issuing.subject,
        network.authority.root.subject,
        key.public_key(),
        LONG_AGO,
        NOW + timedelta(days=900),
        path_length=1,
    )
    loose = builder.sign(network.root_key, algorithm=None)
    chain = [leaf_of(Authority.of(key, loose, network.authority.root), child), loose]
    with pytest.raises(IdentityError, match="path length 0"):
        require_chain(chain, network.authority.root)


def test_size_and_number_are_looked_at_before_anything_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    def parsed(_: bytes) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr(x509, "load_der_x509_certificate", parsed)
    monkeypatch.setattr(x509, "load_pem_x509_certificates", parsed)
    for certificates in ((b"",) * 3, (b"", bytes(4_097))):
        with pytest.raises(IdentityError, match="more than 2 certificates, or one of more than 4096 bytes"):
            certified_home(certificates)
    with pytest.raises(IdentityError, match=f"larger than {CHAIN_FILE_SIZE_BYTES_MAX} bytes"):
        read_chain(bytes(CHAIN_FILE_SIZE_BYTES_MAX + 1))
    with pytest.raises(IdentityError, match="more than 2 certificates"):
        read_chain(b"-----BEGIN CERTIFICATE-----\n" * 3)


@pytest.mark.parametrize("certificates", [(), (b"",), (b"nonsense", b"nonsense")])
def test_what_is_no_certificate_is_said_to_be_none(certificates: tuple[bytes, ...]) -> None:
    with pytest.raises(IdentityError, match="no certificate of the authority"):
        certified_home(certificates)


def test_a_plan_takes_no_provider_for_a_home(network: Network) -> None:
    issued = network.authority.issue(SigningKey(bytes(32)).public_key, role=Role.PROVIDER)
    with pytest.raises(WrongRole, match="has the role provider, and only one with the role member"):
        certified_home(der(read_chain(issued)), network.authority.root)


def test_a_node_with_a_providers_certificate_does_not_start(network: Network, tmp_path: Path) -> None:
    home = make_home(tmp_path / "node", network.authority, role=Role.PROVIDER)
    with pytest.raises(IdentityError, match=r"node\.crt: its certificate has the role provider"):
        load_identity(home)


def test_only_a_root_stands_in_a_homes_ca_crt(network: Network, tmp_path: Path) -> None:
    authority, path = network.authority, tmp_path / "ca.crt"
    root, issuing = authority.root, authority.issuing
    assert require_root(root) is None
    for chain, words in (
        ([issuing], "another key signed it"),
        ([root, issuing], "holds more than the root's certificate"),
        ([leaf_of(authority, Ed25519PrivateKey.generate())], "another key signed it"),
        ([of_elliptic_curve()], "another key signed it"),
    ):
        path.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
        with pytest.raises(IdentityError, match=words):
            load_root(path)
    path.write_bytes(authority.certificate_pem())
    assert load_root(path) == root


def of_elliptic_curve() -> x509.Certificate:
    """A self-signed root of a kind of key that this network has none of."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "p2pnode root")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=9))
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True).sign(key, SHA256())


# --- lives -----------------------------------------------------------------------------------------------------


def test_nobody_outlives_who_signed_it(network: Network) -> None:
    key = public(Ed25519PrivateKey.generate()).public_key
    with pytest.raises(IdentityError, match=r"would outlive the issuing authority.*renew --issuing.*fewer --days"):
        network.authority.issue(key, validity=ISSUING_VALIDITY)
    with pytest.raises(IdentityError, match=r"end before the issuing authority begins.*is the clock right"):
        network.authority.issue(key, now=LONG_AGO - timedelta(days=9), validity=timedelta(days=1))
    late = LONG_AGO + timedelta(days=16 * 365)
    with pytest.raises(IdentityError, match=r"the root ends before.*needs a new root"):
        certify_issuing(network.root_key, network.authority.root, late)


def test_a_clock_that_was_set_back_starts_nothing_before_the_issuing_authority(network: Network) -> None:
    key = public(Ed25519PrivateKey.generate()).public_key
    chain = read_chain(network.authority.issue(key, now=LONG_AGO - timedelta(days=9)))
    require_chain(chain, network.authority.root)


def test_no_secret_shows(network: Network) -> None:
    shown = f"{network.authority!r} {network.authority}"
    for key in (network.issuing_key, network.root_key):
        assert key.private_bytes_raw().hex() not in shown


def test_a_home_has_the_place_that_its_certificate_names(network: Network, tmp_path: Path) -> None:
    home: Home = make_home(tmp_path / "node", network.authority, host="192.0.2.4", port=7000)
    found = certified_home(der(read_chain(home.certificate.read_bytes())), network.authority.root)
    assert found.endpoint == ("192.0.2.4", 7000)
