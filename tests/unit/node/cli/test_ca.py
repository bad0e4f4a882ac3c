"""`p2pnode ca`: what each command does to real files, and what it refuses with one line and no change."""

import json
import re
import subprocess
import warnings
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from consensus.codec import encode
from consensus.cryptography import SigningKey, verify
from contracts.genesis import chain_id
from ledger.side_files import locked
from node.admission.authority import MEMBER_VALIDITY, present
from node.admission.authority_folder import create_authority
from node.admission.chain import Role, require_chain, role_of
from node.admission.identity import certificate_key, load_chain, load_key
from node.admission.register import Reason
from node.admission.revocations import load_revocations
from node.cli.provider import ca
from node.home.folder import Home
from node.home.genesis_file import write_genesis
from node.proofs.revocation_file import read_revocation
from tests.support.authority_commands import NETWORK, Provider, p2pnode
from tests.support.contracts import make_genesis


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    made = Provider(tmp_path)
    made.init()
    return made


Refused = Callable[..., str]


@pytest.fixture
def refused(provider: Provider, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Runs `p2pnode ca`, which must fail with one line and change nothing; returns the line."""

    def run(*arguments: str | Path) -> str:
        before = provider.snapshot()
        capsys.readouterr()
        assert p2pnode("ca", *arguments) == 1, arguments
        errors = capsys.readouterr().err
        assert errors.startswith("p2pnode: ")
        assert errors.count("\n") == 1, errors
        assert provider.snapshot() == before
        assert provider.passphrase.decode() not in errors
        return errors

    return run


def listed(provider: Provider, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    capsys.readouterr()
    assert p2pnode("ca", "list", provider.authority, "--json", *options) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def states(provider: Provider, capsys: pytest.CaptureFixture[str], *options: str) -> list[tuple[str, str]]:
    return [(one["name"], one["state"]) for one in listed(provider, capsys, *options)["certificates"]]


def is_listed(provider: Provider, certificate: x509.Certificate) -> bool:
    """Whether the revocation list on disk has a certificate."""
    return load_revocations(provider.folder.revocation_list, provider.folder.root()).is_revoked(
        certificate.serial_number
    )


# --- init ------------------------------------------------------------------------------------------------------


def test_a_new_authority_is_its_owners_and_encrypted(provider: Provider) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in provider.authority.iterdir()}
    assert modes.pop("root.key") == modes.pop("issuing.key") == 0o600
    assert set(modes) == {"root.crt", "issuing.crt", "register.json", "ca.crl", "lock"} - ({"lock"} - set(modes))
    assert provider.authority.stat().st_mode & 0o777 == 0o700
    assert provider.key_file.stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"[0-9a-f]{64}\n", provider.key_file.read_text())
    for name in ("root.key", "issuing.key"):
        assert b"BEGIN ENCRYPTED PRIVATE KEY" in (provider.authority / name).read_bytes()
        load_key(provider.authority / name, passphrase=provider.passphrase)
    assert provider.folder.register().network == NETWORK


def test_an_authority_is_never_made_over_another_nor_over_anything(provider: Provider, refused: Refused) -> None:
    (provider.directory / "link").symlink_to(provider.directory / "nothing")
    for name in ("ca", "ca.passphrase", "link"):
        again = ("init", provider.directory / name, "--network", "x", *provider.opened)
        assert "is there already" in refused(*again)
    missing = ("--key-file", provider.directory / "no-file-is-left")
    bad_name = ("init", provider.directory / "new", "--network", "\u202ex", *missing)
    assert "network: '\\u202ex' has the character U+202E" in refused(*bad_name)
    assert "there is no folder" in refused("init", provider.directory / "no" / "ca", "--network", "x", *missing)


# --- issue -----------------------------------------------------------------------------------------------------


def test_several_requests_are_answered_beside_them(provider: Provider, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = provider.issue("node1", "Haus 2, Süd")
    said = capsys.readouterr().out
    for path, name in ((first, "node1"), (second, "Haus 2, Süd")):
        chain = load_chain(path)
        require_chain(chain, provider.folder.root())
        key = load_key(path.with_name("node.key"))
        assert name in said
        assert key.address.hex() in said
        assert role_of(chain[0]) is Role.MEMBER
        assert chain[0].not_valid_after_utc - present() <= MEMBER_VALIDITY
        assert f"{chain[0].not_valid_after_utc:%Y-%m-%d}" in said
    assert "192.0.2.14:7000" in said
    assert states(provider, capsys) == [("node1", "valid"), ("Haus 2, Süd", "valid")]
    entry = listed(provider, capsys)["certificates"][0]
    assert entry["serial"] == f"{load_chain(first)[0].serial_number:x}"
    assert (entry["endpoint"], entry["role"], entry["revoked"]) == ("wss://192.0.2.14:7000", "member", None)
    assert datetime.fromisoformat(entry["valid_until"]) == load_chain(first)[0].not_valid_after_utc


def test_output_is_a_file_or_a_folder_and_days_and_role_count(provider: Provider) -> None:
    out, file = provider.directory / "out", provider.directory / "grid.crt"
    out.mkdir()
    two = (provider.request("node1"), provider.request("node2"))
    assert p2pnode("ca", "issue", provider.authority, *two, "--output", out, "--days", "7", *provider.confirmed) == 0
    assert sorted(path.name for path in out.iterdir()) == ["node1.crt", "node2.crt"]
    assert 6 <= (load_chain(out / "node1.crt")[0].not_valid_after_utc - present()).days <= 7
    grid = ("issue", provider.authority, provider.request("grid"), "--output", file, "--role", "provider")
    assert p2pnode("ca", *grid, *provider.confirmed) == 0
    assert role_of(load_chain(file)[0]) is Role.PROVIDER


def test_the_root_key_is_not_needed_to_issue_renew_revoke_or_list(provider: Provider) -> None:
    provider.folder.root_key.unlink()
    provider.issue("node1")
    renew = ("renew", provider.authority, "node1", "--output", provider.directory)
    revoke = ("revoke", provider.authority, "node1", "--reason", "superseded")
    for command in (renew, revoke):
        assert p2pnode("ca", *command, *provider.confirmed) == 0, command
    assert p2pnode("ca", "crl", provider.authority, *provider.opened) == 0


def request_of(path: Path, key: Any, names: list[x509.NameAttribute], uris: list[str]) -> Path:
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    if uris:
        alternatives = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(alternatives, critical=False)
    algorithm = None if isinstance(key, Ed25519PrivateKey) else SHA256()
    path.write_bytes(builder.sign(key, algorithm).public_bytes(Encoding.PEM))
    return path


def common_name(name: str) -> x509.NameAttribute:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library says that it is too short or too long, and makes it
        return x509.NameAttribute(NameOID.COMMON_NAME, name, _validate=False)


PLACE = ["wss://192.0.2.14:7000"]
OWN = Ed25519PrivateKey.generate()
BAD_REQUESTS: dict[str, tuple[Any, list[x509.NameAttribute], list[str], str]] = {
    "rsa": (rsa.generate_private_key(65_537, 2_048), [common_name("node1")], PLACE, "not signed with an Ed25519 key"),
    "p-256": (
        ec.generate_private_key(ec.SECP256R1()),
        [common_name("node1")],
        PLACE,
        "not signed with an Ed25519 key",
    ),
    "control": (OWN, [common_name("node\n1")], PLACE, "name: 'node\\n1' has the character U+000A"),
    "escape": (OWN, [common_name("\x1b[31mnode1")], PLACE, "has the character U+001B"),
    "bidirectional": (OWN, [common_name("node\u202e1")], PLACE, "name: 'node\\u202e1' has the character U+202E"),
    "zero width": (OWN, [common_name("node\u200b1")], PLACE, "has the character U+200B"),
    "slash": (OWN, [common_name("../node1")], PLACE, "has the character U+002F"),
    "step": (OWN, [common_name("..")], PLACE, "is a step in a path"),
    "space": (OWN, [common_name("node1 ")], PLACE, "has a space at an end"),
    "empty": (OWN, [common_name("")], PLACE, "name: has 0 characters, and 1 to 64 are allowed"),
    "long": (OWN, [common_name("n" * 65)], PLACE, "name: has 65 characters"),
    "no name": (OWN, [], PLACE, "name: expected one common name, and there are 0"),
    "two names": (OWN, [common_name("node1"), common_name("node2")], PLACE, "there are 2"),
    "no endpoint": (OWN, [common_name("node1")], [], "endpoint: names none"),
    "another scheme": (OWN, [common_name("node1")], ["https://192.0.2.14:7000"], "endpoint: names none"),
    "no port": (OWN, [common_name("node1")], ["wss://192.0.2.14"], "endpoint: names none"),
    "no host": (OWN, [common_name("node1")], ["wss://:7000"], "endpoint: names none"),
}


@pytest.mark.parametrize("kind", BAD_REQUESTS)
def test_a_bad_request_is_refused_by_its_field_and_a_good_one_beside_it_is_not_signed(
    provider: Provider, refused: Refused, kind: str
) -> None:
    key, names, uris, words = BAD_REQUESTS[kind]
    good, bad = provider.request("good"), request_of(provider.directory / "bad.csr", key, names, uris)
    said = refused("issue", provider.authority, good, bad, *provider.confirmed)
    assert words in said
    assert str(bad) in said


def test_a_request_that_another_key_signed_is_refused(provider: Provider, refused: Refused) -> None:
    path = provider.request("node1")
    asked = x509.load_pem_x509_csr(path.read_bytes())
    encoded = bytearray(asked.public_bytes(Encoding.DER))
    encoded[-1] ^= 1
    path.write_bytes(x509.load_der_x509_csr(bytes(encoded)).public_bytes(Encoding.PEM))
    assert "is not signed with an Ed25519 key of its own" in refused(
        "issue", provider.authority, path, *provider.confirmed
    )
    path.write_bytes(b"nonsense")
    assert "is not a request" in refused("issue", provider.authority, path, *provider.confirmed)


def test_a_key_has_one_name_and_a_revoked_one_none(provider: Provider, refused: Refused) -> None:
    provider.issue("node1", "node2")
    other = provider.request("node3", file="node1")
    (provider.directory / "node1" / "node.crt").unlink()
    issue = ("issue", provider.authority, other, *provider.confirmed)
    assert "name: is node3, and this key is registered as node1" in refused(*issue)
    assert p2pnode("ca", "revoke", provider.authority, "node2", "--reason", "superseded", *provider.confirmed) == 0
    (provider.directory / "node2" / "node.crt").unlink()
    again = ("issue", provider.authority, provider.directory / "node2" / "node.csr", *provider.confirmed)
    assert "node_key: was revoked on " in refused(*again)
    assert "node_key: was revoked on " in refused("renew", provider.authority, "node2", *provider.confirmed)


def test_a_second_key_of_a_name_is_signed_and_pointed_out(
    provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.issue("node4")
    assert "another key" not in capsys.readouterr().out
    second = provider.request("node4", file="node4-new")
    assert p2pnode("ca", "issue", provider.authority, second, *provider.confirmed) == 0
    assert "  has another key, too" in capsys.readouterr().out


def test_what_stands_where_a_certificate_would_go_is_left(provider: Provider, refused: Refused) -> None:
    request, file = provider.request("node1"), provider.directory / "node1" / "node.crt"
    issue = ("issue", provider.authority, request, *provider.confirmed)
    file.write_text("mine")
    assert f"{file}: is there already" in refused(*issue)
    file.unlink()
    file.symlink_to(provider.directory / "nowhere")
    assert f"{file}: is there already" in refused(*issue)
    missing = provider.directory / "nothing" / "node.crt"
    assert "there is no folder" in refused(*issue, "--output", missing)
    two = ("issue", provider.authority, request, provider.request("node2"), *provider.confirmed)
    assert "is no folder, and there are 2 certificates" in refused(*two, "--output", provider.directory / "one.crt")


def test_the_same_key_or_file_twice_is_refused(provider: Provider, refused: Refused) -> None:
    request, copy = provider.request("node1"), provider.directory / "copy.csr"
    copy.write_bytes(request.read_bytes())
    assert "node_key: is the same as in" in refused("issue", provider.authority, request, copy, *provider.confirmed)
    other = provider.request("node1", file="other")
    out = ("--output", provider.directory)
    assert "two certificates would have this file" in refused(
        "issue", provider.authority, request, other, *out, *provider.confirmed
    )


def test_a_validity_beyond_the_issuing_authoritys_is_refused(
    provider: Provider, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.request("node1")
    monkeypatch.setattr(ca, "present", lambda: present() + timedelta(seconds=1))  # not in the second of its making
    assert "--days" in refused(
        "issue", provider.authority, provider.directory / "node1" / "node.csr", "--days", "1826", *provider.confirmed
    )


# --- passphrases -----------------------------------------------------------------------------------------------


def test_another_passphrase_is_told_in_one_line(provider: Provider, refused: Refused) -> None:
    other = provider.directory / "other.passphrase"
    other.write_text("another passphrase\n")
    other.chmod(0o600)
    for command in (
        ("issue", provider.authority, provider.request("node1"), "--yes"),
        ("crl", provider.authority),
        ("renew", provider.authority, "--issuing", "--yes"),
    ):
        assert "the passphrase does not open it" in refused(*command, "--key-file", other)


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("correct horse battery\n", 0o640, "is open to other users (mode 0640)"),
        ("correct horse battery\n", 0o604, "is open to other users"),
        ("short\n", 0o600, "at least 12 characters"),
        ("correct horse\nbattery staple\n", 0o600, "more than one line"),
        ("x" * 1_001, 0o600, "at most 1000 bytes"),
        ("x" * 5_000, 0o600, "is larger than 4096 bytes"),
    ],
)
def test_a_key_file_is_ones_own_and_holds_one_passphrase(
    provider: Provider, refused: Refused, content: str, mode: int, words: str
) -> None:
    file = provider.directory / "key-file"
    file.write_text(content)
    file.chmod(mode)
    said = refused("init", provider.directory / "new", "--network", "x", "--key-file", file)
    assert words in said
    assert content.strip() not in said


def test_a_key_file_that_is_missing_is_made_by_init_alone(provider: Provider, refused: Refused) -> None:
    missing = provider.directory / "missing"
    assert "cannot be read: No such file" in refused("crl", provider.authority, "--key-file", missing)


# --- renew -----------------------------------------------------------------------------------------------------


def test_a_renewed_certificate_is_of_the_same_key_name_and_place(
    provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    (first,) = provider.issue("node1")
    out = provider.directory / "out"
    out.mkdir()
    address = load_key(first.with_name("node.key")).address.hex()
    for number, name in enumerate(("node1", address, address[:8].upper())):
        file = out / f"{number}.crt"
        assert p2pnode("ca", "renew", provider.authority, name, "--output", file, *provider.confirmed) == 0
        old, new = load_chain(first)[0], load_chain(file)[0]
        assert old.public_key() == new.public_key()
        assert old.subject == new.subject
        assert old.serial_number != new.serial_number
        names = [one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value for one in (old, new)]
        assert names[0] == names[1]
    assert states(provider, capsys) == [("node1", "replaced")] * 3 + [("node1", "valid")]


def test_who_is_renewed_must_be_clear(provider: Provider, refused: Refused) -> None:
    provider.issue("node4")
    second = provider.request("node4", file="node4-new")
    assert p2pnode("ca", "issue", provider.authority, second, *provider.confirmed) == 0
    assert "'node4' has 2 keys: name one by its address" in refused(
        "renew", provider.authority, "node4", *provider.confirmed
    )
    assert "no certificate of this name" in refused("renew", provider.authority, "node9", *provider.confirmed)
    for arguments in ((), ("node4", "--issuing")):
        assert "give names, or --issuing" in refused("renew", provider.authority, *arguments, *provider.confirmed)
    address = load_key(second.with_name("node.key")).address.hex()
    out = ("--output", provider.directory / "again.crt")
    assert p2pnode("ca", "renew", provider.authority, address, *out, *provider.confirmed) == 0


def test_a_renewed_issuing_authority_needs_the_root_key_alone(provider: Provider, refused: Refused) -> None:
    """Also where its own key is lost; and then the key goes away again."""
    before, away = load_chain(provider.authority / "issuing.crt"), provider.directory / "stick.key"
    (early,) = provider.issue("node1")
    provider.folder.root_key.rename(away)
    (provider.authority / "issuing.key").unlink()
    renew = ("renew", provider.authority, "--issuing", *provider.confirmed)
    assert "root.key: is not there. The root's key certifies issuing authorities; if it was taken away" in refused(
        *renew
    )
    assert "the key is not that of" in refused(*renew, "--root-key", foreign_key(provider))
    assert p2pnode("ca", *renew, "--root-key", away) == 0
    after = load_chain(provider.authority / "issuing.crt")
    assert before[0].public_key() != after[0].public_key()
    assert before[0].subject == after[0].subject
    (late,) = provider.issue("node2")
    for path in (early, late):
        require_chain(load_chain(path), provider.folder.root())
    assert not provider.folder.root_key.exists()


def foreign_key(provider: Provider) -> Path:
    create_authority(provider.directory / "foreign", "x", provider.passphrase)
    return provider.directory / "foreign" / "root.key"


# --- revoke and the list ---------------------------------------------------------------------------------------


def test_a_revoked_key_is_in_the_list_with_its_reason_and_stays(
    provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = provider.issue("node1", "node2")
    out = ("--output", provider.directory / "again.crt")
    assert p2pnode("ca", "renew", provider.authority, "node1", *out, *provider.confirmed) == 0
    revoke = ("revoke", provider.authority, "node1", "--reason", "key-compromise", *provider.confirmed)
    assert p2pnode("ca", *revoke) == 0
    for path in (first, out[1]):
        assert is_listed(provider, load_chain(Path(path))[0]), "both certificates of the key"
    assert not is_listed(provider, load_chain(second)[0])
    found = x509.load_pem_x509_crl(provider.folder.revocation_list.read_bytes())
    entry = found.get_revoked_certificate_by_serial_number(load_chain(first)[0].serial_number)
    assert entry is not None
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.key_compromise
    assert states(provider, capsys) == [("node1", "revoked"), ("node2", "valid"), ("node1", "revoked")]
    before = provider.snapshot()
    assert p2pnode("ca", *revoke) == 0
    assert "node1 is revoked already: nothing was changed" in capsys.readouterr().out
    assert provider.snapshot() == before
    assert p2pnode("ca", "crl", provider.authority, *provider.opened) == 0
    assert "node1" in capsys.readouterr().out
    assert is_listed(provider, load_chain(first)[0])


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_one_of_rfc_5280(provider: Provider, reason: Reason) -> None:
    provider.issue("node1")
    assert p2pnode("ca", "revoke", provider.authority, "node1", "--reason", reason, *provider.confirmed) == 0
    (entry,) = x509.load_pem_x509_crl(provider.folder.revocation_list.read_bytes())
    if reason is Reason.UNSPECIFIED:
        assert len(entry.extensions) == 0
    else:
        assert entry.extensions[0].value.reason is reason.flag


def test_a_chain_gets_the_roots_word_on_a_key(
    provider: Provider, refused: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    home, rules = Home(provider.directory), make_genesis().genesis
    write_genesis(home, rules)
    chain = load_chain(provider.issue("node1")[0])
    revoke = ("revoke", provider.authority, "node1", "--reason", "cessation", *provider.confirmed)
    for_chain = (*revoke, "--genesis", home.genesis)
    away = provider.directory / "root.key"
    provider.folder.root_key.rename(away)
    assert "root.key: is not there. It says on the chain whose key is no member's" in refused(*for_chain)
    assert "cannot be read" in refused(*revoke, "--genesis", provider.directory / "none.json", "--root-key", away)
    issuing = ("revoke", provider.authority, "--issuing", "--reason", "cessation", *provider.confirmed)
    assert "--genesis: a chain knows homes" in refused(*issuing, "--genesis", home.genesis)
    assert p2pnode("ca", *revoke) == 0, "first the list alone"
    assert p2pnode("ca", *for_chain, "--root-key", away) == 0
    assert is_listed(provider, chain[0])
    (file,) = provider.authority.glob("node1-*.revocation")
    assert f"{file}: bring it to any member" in capsys.readouterr().out.replace("\n", "")
    made = read_revocation(file, chain_id(rules))
    assert made.revocation.node_key == certificate_key(chain[0])
    assert verify(certificate_key(provider.folder.root()), encode(made.revocation), made.signature)


def test_what_an_earlier_issuing_key_signed_can_be_revoked(
    provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    """OpenSSL's own check of the list agrees: the issuing authority has one name over all its keys."""
    (early,) = provider.issue("node1")
    assert p2pnode("ca", "renew", provider.authority, "--issuing", *provider.confirmed) == 0
    (late,) = provider.issue("node2")
    for path in (early, late):
        assert openssl_refuses(provider, path) is None
    revoke = ("revoke", provider.authority, "node1", "--reason", "cessation", *provider.confirmed)
    assert p2pnode("ca", *revoke) == 0
    assert is_listed(provider, load_chain(early)[0])
    assert "certificate revoked" in str(openssl_refuses(provider, early))
    assert openssl_refuses(provider, late) is None


def openssl_refuses(provider: Provider, path: Path) -> str | None:
    """What `openssl verify` says of a home's certificate with the revocation list, None if it takes it."""
    folder, untrusted = provider.authority, provider.directory / "untrusted.pem"
    issuing = load_chain(path)[1].public_bytes(Encoding.PEM)
    untrusted.write_bytes(issuing + (folder / "issuing.crt").read_bytes())
    files = ("-CAfile", folder / "root.crt", "-untrusted", untrusted, "-CRLfile", folder / "ca.crl")
    ended = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-crl_check", "-extended_crl", *map(str, files), str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if ended.returncode == 0 else ended.stderr


def test_a_stolen_issuing_key_is_revoked_with_all_that_it_signed(
    provider: Provider, capsys: pytest.CaptureFixture[str], refused: Refused
) -> None:
    (first,) = provider.issue("node1")
    revoke = ("revoke", provider.authority, "--issuing", "--reason", "ca-compromise", *provider.confirmed)
    assert p2pnode("ca", *revoke) == 0
    assert "no earlier certificate of the issuing authority is left to revoke" in capsys.readouterr().out
    assert p2pnode("ca", "renew", provider.authority, "--issuing", *provider.confirmed) == 0
    assert p2pnode("ca", *revoke) == 0
    assert is_listed(provider, load_chain(first)[1])
    assert not is_listed(provider, load_chain(provider.authority / "issuing.crt")[0])
    assert states(provider, capsys) == [("node1", "revoked")]
    assert states(provider, capsys, "--expiring", "0") == [("node1", "revoked")], "this key wants a certificate"
    out = ("--output", provider.directory / "new.crt")
    assert p2pnode("ca", "renew", provider.authority, "node1", *out, *provider.confirmed) == 0
    assert states(provider, capsys) == [("node1", "revoked"), ("node1", "valid")]
    assert states(provider, capsys, "--expiring", "0") == []
    assert "give a name, or --issuing" in refused("revoke", provider.authority, "--reason", "superseded")


def test_the_list_has_a_new_number_each_time_and_thirty_days(
    provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = []
    for _ in range(3):
        assert p2pnode("ca", "crl", provider.authority, *provider.opened) == 0
        made = load_revocations(provider.folder.revocation_list, provider.folder.root())
        numbers.append(made.number)
        said = capsys.readouterr().out
        assert f"list {made.number} of" in said
        assert f"due by {made.next_list:%Y-%m-%d}" in said
        assert (made.next_list - made.issued).days == 30
    assert numbers == [2, 3, 4]


# --- list ------------------------------------------------------------------------------------------------------


def test_the_list_is_for_people_and_shows_what_ends_soon(
    provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    soon = provider.request("node1")
    assert p2pnode("ca", "issue", provider.authority, soon, "--days", "30", *provider.confirmed) == 0
    provider.issue("node2")
    assert states(provider, capsys, "--expiring", "60") == [("node1", "valid")]
    assert states(provider, capsys, "--expiring", "900") == [("node1", "valid"), ("node2", "valid")]
    out = ("--output", provider.directory / "again.crt")
    assert p2pnode("ca", "renew", provider.authority, "node1", *out, *provider.confirmed) == 0
    assert states(provider, capsys, "--expiring", "60") == [], "it has a later one"
    assert p2pnode("ca", "list", provider.authority) == 0
    said = capsys.readouterr().out
    assert load_key(soon.with_name("node.key")).address.hex()[:16] in said
    assert "replaced" in said
    assert "Root key: in the folder: take it away" in said
    assert "Revocation list 1: the next one is due by" in said


# --- the folder ------------------------------------------------------------------------------------------------


def test_two_commands_do_not_change_a_folder_at_once(provider: Provider, refused: Refused) -> None:
    request = provider.request("node1")
    with locked(provider.authority):
        assert "is open in another process" in refused("issue", provider.authority, request, *provider.confirmed)


def test_a_folder_that_is_none_or_damaged_is_told(provider: Provider, refused: Refused) -> None:
    request, register = provider.request("node1"), provider.authority / "register.json"
    issue = ("issue", provider.authority, request, *provider.confirmed)
    assert "there is no authority; `p2pnode ca init` makes one" in refused("crl", provider.directory / "node1")
    whole = register.read_text()
    for content, words in (
        (whole.replace('"list_number": 1', '"list_number": -1'), "register.json is damaged: list_number:"),
        (whole[:-20], "is damaged"),
        (whole.replace("p2pnode-register-1", "p2pnode-register-9"), "is damaged: format:"),
    ):
        register.write_text(content)
        assert words in refused(*issue)
    register.write_text(whole)
    create_authority(provider.directory / "foreign", "x", provider.passphrase)
    for name, words in (("issuing.crt", "did not sign the issuing"), ("issuing.key", "is not the key of")):
        kept = (provider.authority / name).read_bytes()
        (provider.authority / name).write_bytes((provider.directory / "foreign" / name).read_bytes())
        assert words in refused(*issue)
        (provider.authority / name).write_bytes(kept)


def test_no_secret_shows_in_what_is_kept_in_memory(provider: Provider) -> None:
    authority = provider.folder.open(provider.passphrase)
    shown = f"{authority!r} {authority} {provider.folder!r} {provider.folder.register()!r}"
    secret = authority._issuing_key.private_bytes_raw()
    assert secret.hex() not in shown
    assert SigningKey(secret).address.hex() not in shown
