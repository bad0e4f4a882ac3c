"""Files that homes pass on to join a chain: read as they were written, and what is none is refused in words."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from contracts.genesis import Genesis, chain_id
from ledger.checkpoint import CheckpointProof
from node.admission.authority import Authority
from node.admission.joining.files import (
    FILE_SIZE_BYTES_MAX,
    IDENTITY_LENGTH_MAX,
    JoinIdentity,
    Street,
    read_join_identity,
    read_join_request,
    read_street,
    write_join_identity,
    write_join_request,
    write_street,
)
from node.errors import JoinError
from node.home.configuration import PeerEntry
from tests.support.checkpoints import proof_of_one_block
from tests.support.contracts import make_genesis
from tests.support.joining import newcomer, request_of

HOMES = make_genesis(4)
AUTHORITY = Authority("street")
PEERS = tuple(
    PeerEntry(address=HOMES.addresses[number].hex(), host=host, port=7_000 + number)
    for number, host in enumerate(("192.0.2.4", "meter.lan", "2001:db8::1"))
)
PROOF = proof_of_one_block(HOMES)
STREET = Street(genesis=HOMES.genesis, root=AUTHORITY.root, proof=PROOF, peers=PEERS)
SHOWN = JoinIdentity(salt=bytes(range(32)), identity="Ada Löwe\nSunny Street 5")  # type: ignore[arg-type]

Fields = dict[str, Any]


# --- a street --------------------------------------------------------------------------------------------------


def test_a_street_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "street.json"
    write_street(path, STREET)
    assert read_street(path) == STREET
    assert json.loads(path.read_text())["chain"] == HOMES.chain.hex(), "people compare it"


def contact(**changes: Any) -> Callable[[Fields], Fields]:
    return lambda fields: fields | {"contacts": [fields["contacts"][0] | changes]}


def with_endorsements(proof: CheckpointProof, count: int) -> CheckpointProof:
    return replace(proof, certificate=replace(proof.certificate, endorsements=proof.certificate.endorsements[:count]))


def pem(certificates: bytes) -> Callable[[Fields], Fields]:
    return lambda fields: fields | {"authority": certificates.decode()}


ROOT = AUTHORITY.certificate_pem()
REFUSED_STREETS: dict[str, tuple[Callable[[Fields], Fields], str]] = {
    "another chain": (lambda fields: fields | {"chain": bytes(32).hex()}, ".chain: does not follow from genesis"),
    "other rules": (
        lambda fields: fields | {"genesis": fields["genesis"] | {"slot_duration_ms": 251}},
        ".chain: does not follow from genesis",
    ),
    "a field more": (lambda fields: fields | {"more": 1}, "changed by hand, or damaged"),
    "a field less": (lambda fields: {"chain": fields["chain"]}, "is no street file: KeyError"),
    "other digits": (lambda fields: fields | {"chain": fields["chain"].upper()}, "changed by hand, or damaged"),
    "another kind of file": (lambda fields: fields | {"type": "p2pnode-2-join-identity"}, "is no street file"),
    "no root": (pem(b""), "is not a certificate in PEM form"),
    "a root and another certificate": (pem(ROOT + Authority("other").certificate_pem()), "there are 2 certificates"),
    "a home's certificate for a root": (
        pem(AUTHORITY.issue(HOMES.node_keys[0].public_key).split(b"-----END CERTIFICATE-----\n")[0]
            + b"-----END CERTIFICATE-----\n"),
        "it is not the root's certificate",
    ),
    "more certificates than there can be": (pem(ROOT * 3), "holds more than 2 certificates"),
    "nobody to be found": (lambda fields: fields | {"contacts": []}, "is no street file"),
    "more members than there can be": (
        lambda fields: fields | {"contacts": fields["contacts"] * 100},
        "is no street file",
    ),
    "two at one address": (lambda fields: fields | {"contacts": fields["contacts"][:1] * 2}, "two are of one"),
    "a host that is none": (contact(host="a b"), "contacts.host: String should match"),
    "no host": (contact(host=""), "contacts.host: String should have at least 1"),
    "no port": (contact(port=0), "contacts.port: Input should be greater"),
    "a port that is none": (contact(port=65_536), "contacts.port: Input should be less"),
    "an address that is none": (contact(address="ff"), "is no street file"),
    "a name, which none has": (contact(name="home1"), "changed by hand, or damaged"),
    "somebody who is no member": (contact(address="ab" * 32), "is no member after block 1"),
    "no proof": (lambda fields: fields | {"proof": ""}, ".proof: "),
    "a proof for another chain": (
        lambda fields: fields | {"proof": encode(proof_of_one_block(make_genesis(5))).hex()},
        ".proof: block 1 belongs to chain",
    ),
    "a proof by too few": (
        lambda fields: fields | {"proof": encode(with_endorsements(PROOF, 2)).hex()},
        ".proof: the certificate does not decide block 1",
    ),
    "half of a character": (contact(host="\ud800"), "is no street file"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED_STREETS)
def test_a_street_that_is_none_is_refused(tmp_path: Path, case: str) -> None:
    change, text = REFUSED_STREETS[case]
    path = tmp_path / "street.json"
    write_street(path, STREET)
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(JoinError) as refused:
        read_street(path)
    assert str(refused.value).startswith(str(path))
    assert text in str(refused.value)


@pytest.mark.parametrize(
    ("genesis", "text"),
    [
        (make_genesis(4, price_min_micro_per_kwh=320_001).genesis, "lowest price 320001 is above the highest"),
    ],
)
def test_rules_that_no_chain_may_have_are_refused(tmp_path: Path, genesis: Genesis, text: str) -> None:
    path = tmp_path / "street.json"
    write_street(path, Street(genesis=genesis, root=AUTHORITY.root, proof=PROOF, peers=PEERS))
    assert json.loads(path.read_text())["chain"] == chain_id(genesis).hex()
    with pytest.raises(JoinError) as refused:
        read_street(path)
    assert text in str(refused.value)


# --- a request, and who lives there ----------------------------------------------------------------------------


def test_a_request_is_read_as_it_was_written_and_names_nobody(tmp_path: Path) -> None:
    path, request = tmp_path / "join-request.json", request_of(HOMES, newcomer(1), identity=SHOWN.commitment)
    write_join_request(path, request)
    assert read_join_request(path) == request
    assert "Ada" not in path.read_text()


def test_an_identity_is_read_as_it_was_written_and_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "join-identity.json"
    for shown in (SHOWN, replace(SHOWN, identity="")):  # the second one in the place of the first
        write_join_identity(path, shown)
        assert read_join_identity(path) == shown
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_commitment_is_to_salt_and_identity() -> None:
    others = (SHOWN, replace(SHOWN, salt=bytes(32)), replace(SHOWN, identity="Ada Lowe\nSunny Street 5"))
    assert len({shown.commitment for shown in others}) == 3


@pytest.mark.parametrize(
    ("identity", "text"),
    [
        ("Ada\n\x1b]0;you are root\x07", "line 2 of the identity has a character that cannot be printed"),
        ("\u202eadA", "line 1 of the identity"),
        ("Ada\r\nStreet", "line 1 of the identity"),
        ("Ada\n\nStreet\u2028", "line 3 of the identity"),
        ("A" * (IDENTITY_LENGTH_MAX + 1), "is no identity of a home that joins"),
        ("\ud800", "is no identity of a home that joins"),
    ],
)
def test_an_identity_that_cannot_be_shown_is_refused(tmp_path: Path, identity: str, text: str) -> None:
    path = tmp_path / "join-identity.json"
    write_join_identity(path, SHOWN)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"identity": identity}))
    with pytest.raises(JoinError) as refused:
        read_join_identity(path)
    assert text in str(refused.value)


# --- what is no file of these ----------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [read_street, read_join_request, read_join_identity])
@pytest.mark.parametrize(
    "content", [None, b"", b"[]", b"{}", b"\xff", b"1", b"[" * 100_000, b" " * (FILE_SIZE_BYTES_MAX + 1)]
)
def test_what_is_no_such_file_is_refused(
    tmp_path: Path, read: Callable[[Path], object], content: bytes | None
) -> None:
    path = tmp_path / "file.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(JoinError, match=r"file\.json") as refused:
        read(path)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("read", [read_street, read_join_request, read_join_identity])
def test_a_pipe_is_not_waited_for(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(JoinError, match="a pipe"):
        read(tmp_path / "pipe")
