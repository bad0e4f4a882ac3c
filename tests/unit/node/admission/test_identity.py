"""Keys, certificates and mutual TLS, over real files and real loopback sockets."""

import os
import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from consensus.cryptography import SigningKey, verify
from consensus.identifiers import Address
from node.admission.authority import Authority
from node.admission.identity import Identity, create_key, key_of_peer, load_identity, load_key
from node.errors import IdentityError
from node.home.folder import Home

GREETING = b"ping"


def make_home(directory: Path, authority: Authority, *, issuer: Authority | None = None, **issue: Any) -> Home:
    """Makes a node's folder whose certificate `issuer` signed and that trusts `authority`."""
    directory.mkdir()
    home = Home(directory)
    key = create_key(home.node_key)
    create_key(home.meter_key)
    signer = authority if issuer is None else issuer
    home.certificate.write_bytes(signer.issue(key.public_key, **issue))
    home.authority_certificate.write_bytes(authority.certificate_pem())
    return home


def unchecked(home: Home) -> Identity:
    """The identity in a folder as a dishonest node has it, which looks at none of its files."""
    key = load_key(home.node_key)
    return Identity(
        node_key=key,
        meter_key=load_key(home.meter_key),
        address=key.address,
        node_key_file=home.node_key,
        certificate_file=home.certificate,
        authority_file=home.authority_certificate,
    )


@pytest.fixture
def authority() -> Authority:
    return Authority("test", now=datetime.now(UTC) - timedelta(days=60))


@pytest.fixture
def server(tmp_path: Path, authority: Authority) -> Identity:
    return load_identity(make_home(tmp_path / "server", authority))


@pytest.fixture
def client(tmp_path: Path, authority: Authority) -> Identity:
    return load_identity(make_home(tmp_path / "client", authority))


# --- keys --------------------------------------------------------------------------------------------------


def test_a_made_key_loads_and_signs(tmp_path: Path) -> None:
    made = create_key(tmp_path / "node.key")
    key = load_key(tmp_path / "node.key")
    assert key.address == made.address
    assert verify(key.public_key, b"message", key.sign(b"message"))


def test_two_keys_differ(tmp_path: Path) -> None:
    assert create_key(tmp_path / "a").address != create_key(tmp_path / "b").address


def test_a_key_file_is_its_owners_whatever_the_umask(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        create_key(tmp_path / "node.key")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "node.key").stat().st_mode) == 0o600


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    made = create_key(tmp_path / "node.key")
    with pytest.raises(IdentityError, match="never overwritten"):
        create_key(tmp_path / "node.key")
    assert load_key(tmp_path / "node.key").address == made.address


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o602, 0o777])
def test_a_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "node.key"
    create_key(path)
    path.chmod(mode)
    with pytest.raises(IdentityError, match=f"open to other users .mode {mode:04o}.*chmod 600"):
        load_key(path)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_file_of_its_owner_only_is_taken(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "node.key"
    create_key(path)
    path.chmod(mode)
    load_key(path)


def _pem(key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"secret",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        _pem(ec.generate_private_key(ec.SECP256R1())),
        _pem(Ed25519PrivateKey.generate(), b"password"),
    ],
)
def test_anything_but_an_open_ed25519_key_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "node.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(IdentityError) as caught:
        load_key(path)
    assert str(path) in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match=r"node\.key cannot be read: No such file"):
        load_key(tmp_path / "node.key")


# --- identity ----------------------------------------------------------------------------------------------


def test_an_identity_has_the_address_of_its_key(tmp_path: Path, server: Identity) -> None:
    key = load_key(tmp_path / "server" / "node.key")
    assert server.address == key.address == server.node_key.address
    assert server.meter_key.address != server.address


def test_no_secret_shows_in_repr(tmp_path: Path, server: Identity) -> None:
    pem = (tmp_path / "server" / "node.key").read_bytes()
    shown = f"{server!r} {server.node_key!r} {server.meter_key!r} {server}"
    assert pem.splitlines()[1].decode() not in shown
    for key in (server.node_key, server.meter_key):
        secret: bytes = key._secret  # that this never shows is what is tested
        assert secret.hex() not in shown
        assert repr(secret[:32]) not in shown


def test_a_certificate_of_another_key_is_refused(tmp_path: Path, authority: Authority) -> None:
    home = make_home(tmp_path / "node", authority)
    other = make_home(tmp_path / "other", authority)
    home.certificate.write_bytes(other.certificate.read_bytes())
    with pytest.raises(IdentityError, match="is not the certificate of"):
        load_identity(home)


def test_damaged_and_missing_certificates_are_named(tmp_path: Path, authority: Authority) -> None:
    home = make_home(tmp_path / "node", authority)
    home.certificate.write_bytes(b"certificate")
    with pytest.raises(IdentityError, match=r"node\.crt is not a certificate"):
        load_identity(home)
    home.certificate.unlink()
    with pytest.raises(IdentityError, match=r"node\.crt cannot be read"):
        load_identity(home)


def test_a_missing_authority_is_named(tmp_path: Path, authority: Authority) -> None:
    home = make_home(tmp_path / "node", authority)
    home.authority_certificate.unlink()
    with pytest.raises(IdentityError, match=r"ca\.crt"):
        load_identity(home).server_ssl_context()


def test_a_certificate_says_who_the_node_is(authority: Authority) -> None:
    key = SigningKey(bytes(32))
    certificate, issuing = x509.load_pem_x509_certificates(authority.issue(key.public_key, host="node1"))
    assert issuing == authority.issuing
    assert certificate.subject.rfc4514_string() == f"CN={key.address.hex()[:16]}"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == [f"urn:p2pnode:{key.address.hex()}", "urn:p2pnode:role:member"]
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "node1"]
    lifetime = certificate.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=729) < lifetime < timedelta(days=731)


# --- mutual TLS --------------------------------------------------------------------------------------------


class Exchange:
    """What both ends of one connection saw: data, or what broke it."""

    def __init__(self, server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
        self.server_peer: Address | None = None
        self.client_peer: Address | None = None
        self.server_error: Exception | None = None
        self.client_error: Exception | None = None
        self.version: str | None = None
        self.answer = b""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(10)
            thread = threading.Thread(target=self._serve, args=(listener, server_context))
            thread.start()
            self._dial(listener.getsockname()[1], client_context)
            thread.join()

    def _serve(self, listener: socket.socket, context: ssl.SSLContext) -> None:
        try:
            connection, _ = listener.accept()
            connection.settimeout(10)
            with connection, context.wrap_socket(connection, server_side=True) as secured:
                self.server_peer = key_of_peer(secured)
                secured.sendall(secured.recv(len(GREETING)))
        except (OSError, IdentityError) as error:
            self.server_error = error

    def _dial(self, port: int, context: ssl.SSLContext) -> None:
        try:
            with (
                socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
                context.wrap_socket(connection) as secured,
            ):
                self.version = secured.version()
                self.client_peer = key_of_peer(secured)
                secured.sendall(GREETING)
                self.answer = secured.recv(len(GREETING))
        except (OSError, IdentityError) as error:
            self.client_error = error

    @property
    def refused(self) -> bool:
        """No data came through: under TLS 1.3 a refused client may see its handshake succeed first."""
        return self.answer == b"" and (self.server_error is not None or self.client_error is not None)


def test_two_nodes_know_each_other_by_their_keys(server: Identity, client: Identity) -> None:
    exchange = Exchange(server.server_ssl_context(), client.client_ssl_context())
    assert exchange.answer == GREETING
    assert exchange.version == "TLSv1.3"
    assert exchange.server_peer == client.node_key.public_key
    assert exchange.client_peer == server.node_key.public_key


def test_a_client_without_certificate_is_refused(server: Identity, tmp_path: Path) -> None:
    anonymous = ssl.create_default_context(cafile=server.authority_file)
    anonymous.check_hostname = False
    exchange = Exchange(server.server_ssl_context(), anonymous)
    assert exchange.refused
    assert exchange.server_peer is None
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in str(exchange.server_error)


def test_a_client_of_another_authority_is_refused(server: Identity, authority: Authority, tmp_path: Path) -> None:
    stranger = unchecked(make_home(tmp_path / "stranger", authority, issuer=Authority("test")))
    exchange = Exchange(server.server_ssl_context(), stranger.client_ssl_context())
    assert exchange.refused
    assert exchange.server_peer is None
    assert "CERTIFICATE_VERIFY_FAILED" in str(exchange.server_error)


def test_a_server_of_another_authority_is_refused(client: Identity, authority: Authority, tmp_path: Path) -> None:
    stranger = unchecked(make_home(tmp_path / "stranger", authority, issuer=Authority("test")))
    exchange = Exchange(stranger.server_ssl_context(), client.client_ssl_context())
    assert exchange.refused
    assert exchange.client_peer is None
    assert "CERTIFICATE_VERIFY_FAILED" in str(exchange.client_error)


@pytest.mark.parametrize("start", [timedelta(days=-30), timedelta(days=30)], ids=["ended", "not yet valid"])
def test_a_certificate_outside_its_time_shows_its_key_as_any_other(
    server: Identity, authority: Authority, tmp_path: Path, start: timedelta
) -> None:
    """Whom a link is opened to the chain says, which removes members whose certificates ran out."""
    times: dict[str, Any] = {"now": datetime.now(UTC) + start, "validity": timedelta(days=1)}
    late = load_identity(make_home(tmp_path / "late", authority, **times))
    as_client = Exchange(server.server_ssl_context(), late.client_ssl_context())
    as_server = Exchange(late.server_ssl_context(), server.client_ssl_context())
    assert (as_client.server_peer, as_client.answer) == (late.node_key.public_key, GREETING)
    assert (as_server.client_peer, as_server.answer) == (late.node_key.public_key, GREETING)


def test_older_tls_is_refused(server: Identity, client: Identity) -> None:
    old = client.client_ssl_context()
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    assert Exchange(server.server_ssl_context(), old).refused
