"""Identities sealed to drawn verifiers: who opens which box, and what is refused of what others make."""

import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace
from nacl.bindings import sodium_pad

from consensus.codec import encode
from consensus.cryptography import BOX_ADDED_BYTES, SigningKey, seal
from consensus.identifiers import Digest, PublicKey, Slot
from contracts.applicants import Applicant, Standing
from contracts.panels import PANEL_MAX
from node.admission.joining.files import IDENTITY_SIZE_BYTES_MAX, JoinIdentity
from node.admission.joining.sealing import (
    BOX_SIZE_BYTES,
    CONTENT_SIZE_BYTES,
    IdentityBox,
    IdentityContent,
    Panel,
    open_box,
    panel_of,
    read_sealed_identity,
    seal_identity,
    write_sealed_identity,
)
from node.errors import BoxFault, BoxRefused, JoinError
from tests.support.contracts import seeded_key

WHO = "Ada Löwe\nSunny Street 5, 50667 Köln\nada@example.org\n0221 4710815"
SHOWN = JoinIdentity(salt=Digest(bytes(range(32))), identity=WHO)
KEYS = tuple(seeded_key("node", number) for number in range(PANEL_MAX))
PANEL = Panel(
    chain=Digest(b"\x01" * 32),
    applicant=seeded_key("new-node", 1).address,
    number=7,
    identity=SHOWN.commitment,
    request=Digest(b"\x02" * 32),
    verifiers=tuple(key.address for key in KEYS),
    until_slot=Slot(100),
)
TO = tuple((key.address, key.public_key) for key in KEYS)
FOREIGN = {
    "another chain": {"chain": Digest(b"\x03" * 32)},
    "another home": {"applicant": seeded_key("new-node", 2).address},
    "another application": {"request": Digest(b"\x03" * 32)},
    "another panel": {"verifiers": PANEL.verifiers[:-1]},
    "another order": {"verifiers": PANEL.verifiers[::-1]},
}


def with_field(panel: Panel, **fields: object) -> Panel:
    return Panel(**{name: getattr(panel, name) for name in Panel.__slots__} | fields)


def fault_of(box: IdentityBox, panel: Panel, key: SigningKey) -> BoxFault:
    with pytest.raises(BoxRefused) as refused:
        open_box(box, panel, key)
    assert not [word for word in re.findall(r"\w{3,}", WHO) if word in str(refused.value)], "it tells who lives there"
    return refused.value.fault


def box_of(content: bytes, key: SigningKey = KEYS[0], *, fill: bool = True) -> IdentityBox:
    filled = sodium_pad(content, CONTENT_SIZE_BYTES) if fill else content
    return IdentityBox(verifier=key.address, key=key.public_key, sealed=seal(key.public_key, filled))


def content(**fields: object) -> IdentityContent:
    made = IdentityContent(panel=PANEL.name, verifier=KEYS[0].address, key=KEYS[0].public_key, shown=SHOWN)
    return replace(made, **fields)


def test_each_verifier_opens_its_own_box_and_nobody_else_any() -> None:
    sealed = seal_identity(SHOWN, PANEL, TO)
    assert (sealed.chain, sealed.applicant, sealed.panel) == (PANEL.chain, PANEL.applicant, PANEL.name)
    for box, key in zip(sealed.boxes, KEYS, strict=True):
        assert open_box(box, PANEL, key) == SHOWN
        assert [one for one in (*KEYS, seeded_key("node", 99)) if one.unseal(box.sealed) is not None] == [key]
    raw = encode(sealed)
    assert not [word for word in ("Ada", "Sunny", "example", "4710815") if word.encode() in raw]
    assert SHOWN.salt not in raw


def test_all_boxes_have_one_size_whatever_is_in_them() -> None:
    shortest, longest = (replace(SHOWN, identity=text) for text in ("", "ö" * (IDENTITY_SIZE_BYTES_MAX // 2)))
    for shown in (shortest, SHOWN, longest):
        (box,) = seal_identity(shown, with_field(PANEL, identity=shown.commitment), TO[:1]).boxes
        assert len(box.sealed) == BOX_SIZE_BYTES
        assert open_box(box, with_field(PANEL, identity=shown.commitment), KEYS[0]) == shown
    assert seal_identity(SHOWN, PANEL, TO[:1]).boxes != seal_identity(SHOWN, PANEL, TO[:1]).boxes, "each has its key"


# --- what a household cannot seal ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("A\x1b[2J", "identity: line 1 of the identity has a character that cannot be printed"),
        ("A\nB\u202eC", "identity: line 2 of the identity has a character that cannot be printed"),
        ("A\nB\n\u200fC", "identity: line 3 of the identity"),
        ("A\u0007", "identity: line 1 of the identity"),
        ("A\r\nB", "identity: line 1 of the identity"),
        ("ö" * (IDENTITY_SIZE_BYTES_MAX // 2) + "o", "identity: the identity has 4,097 bytes, and 4,096 are allowed"),
    ],
)
def test_an_identity_that_nobody_could_be_shown_is_not_sealed(text: str, fault: str) -> None:
    shown = replace(SHOWN, identity=text)
    with pytest.raises(JoinError, match=re.escape(fault)):
        seal_identity(shown, with_field(PANEL, identity=shown.commitment), TO)


def test_another_identity_than_the_committed_one_is_not_sealed() -> None:
    for other in (replace(SHOWN, identity="Eve"), replace(SHOWN, salt=Digest(bytes(32)))):
        with pytest.raises(JoinError, match="identity: is not the one that the application commits to"):
            seal_identity(other, PANEL, TO)


def test_recipients_are_verifiers_once_each() -> None:
    stranger = seeded_key("node", 99)
    for recipients, fault in (
        ((), "boxes: there is no verifier to seal to"),
        ((TO[0], TO[1], TO[0]), f"boxes: verifier {TO[0][0].hex()} stands twice"),
        ((TO[0], (stranger.address, stranger.public_key)), f"boxes: {stranger.address.hex()} is no verifier"),
    ):
        with pytest.raises(JoinError, match=fault):
            seal_identity(SHOWN, PANEL, recipients)


P256 = ec.generate_private_key(ec.SECP256R1()).public_key()
RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2_048).public_key()


@pytest.mark.parametrize(
    "key",
    [
        b"",
        bytes(32),
        b"\x01" + bytes(31),
        b"\xff" * 32,
        bytes(33),
        P256.public_bytes(Encoding.X962, PublicFormat.CompressedPoint),
        P256.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint),
        RSA.public_bytes(Encoding.DER, PublicFormat.PKCS1),
    ],
    ids=["none", "zero", "small order", "no point", "too long", "P-256", "P-256 whole", "RSA"],
)
def test_a_key_that_is_no_ed25519_key_is_named(key: bytes) -> None:
    with pytest.raises(JoinError, match=f"key of verifier {TO[1][0].hex()}: is no Ed25519 public key"):
        seal_identity(SHOWN, PANEL, (TO[0], (TO[1][0], PublicKey(key))))


# --- what a verifier does not open -----------------------------------------------------------------------------


@pytest.mark.parametrize("fields", FOREIGN.values(), ids=FOREIGN)
def test_a_box_counts_for_one_panel_of_one_application_alone(fields: dict[str, object]) -> None:
    box, other = seal_identity(SHOWN, PANEL, TO[:1]).boxes[0], with_field(PANEL, **fields)
    assert fault_of(box, other, KEYS[0]) is BoxFault.OTHER_PANEL


def test_a_box_counts_for_one_verifier_with_one_key_alone() -> None:
    box, other, stranger = seal_identity(SHOWN, PANEL, TO[:1]).boxes[0], KEYS[1], seeded_key("node", 99)
    rotated = stranger.of_member(KEYS[0].address)
    assert fault_of(box, PANEL, other) is BoxFault.OTHER_VERIFIER
    assert fault_of(box, PANEL, rotated) is BoxFault.OTHER_KEY
    assert fault_of(replace(box, verifier=other.address), PANEL, other) is BoxFault.OTHER_KEY
    renamed = replace(box, verifier=other.address, key=other.public_key)
    assert fault_of(renamed, PANEL, other) is BoxFault.UNREADABLE
    resealed = box_of(encode(content()), other)
    assert fault_of(resealed, PANEL, other) is BoxFault.OTHER_VERIFIER, "passed on by who could open it"
    assert fault_of(box_of(encode(content(verifier=stranger.address)), stranger), PANEL, stranger) is (
        BoxFault.OTHER_VERIFIER
    )


def test_another_identity_in_a_box_is_refused_and_told_apart() -> None:
    for shown in (replace(SHOWN, identity="Eve"), replace(SHOWN, salt=Digest(bytes(32)))):
        assert fault_of(box_of(encode(content(shown=shown))), PANEL, KEYS[0]) is BoxFault.NOT_COMMITTED
    evil = replace(SHOWN, identity="\x1b[2J" + WHO)
    panel = with_field(PANEL, identity=evil.commitment)
    box = box_of(encode(content(shown=evil, panel=panel.name)))
    assert fault_of(box, panel, KEYS[0]) is BoxFault.NOT_PRINTABLE


def test_what_is_no_identity_is_unreadable() -> None:
    raw = encode(content())
    for inside in (b"", raw[:-1], raw + b"\x00", encode(SHOWN), bytes(CONTENT_SIZE_BYTES - 1)):
        assert fault_of(box_of(inside), PANEL, KEYS[0]) is BoxFault.UNREADABLE
    for unfilled in (bytes(CONTENT_SIZE_BYTES), raw + bytes(CONTENT_SIZE_BYTES - len(raw)), b"", raw):
        assert fault_of(box_of(unfilled, fill=False), PANEL, KEYS[0]) is BoxFault.UNREADABLE
    box = box_of(raw)
    assert open_box(box, PANEL, KEYS[0]) == SHOWN
    for place in range(0, len(box.sealed), 97):
        changed = bytearray(box.sealed)
        changed[place] ^= 1
        assert fault_of(replace(box, sealed=bytes(changed)), PANEL, KEYS[0]) is BoxFault.UNREADABLE
    assert KEYS[0].unseal(bytes(BOX_ADDED_BYTES - 1)) is None


# --- whom an application is for --------------------------------------------------------------------------------


def test_a_panel_verifies_while_its_application_is_open_alone() -> None:
    applicant = Applicant(
        number=7,
        node_key=seeded_key("new-node", 1).public_key,
        meter_key=seeded_key("new-meter", 1).public_key,
        capacity_w=1,
        identity=PANEL.identity,
        terms=PANEL.chain,
        person=PANEL.chain,
        sponsor=KEYS[0].address,
        standing=Standing.OPEN,
        request=PANEL.request,
        panel=PANEL.verifiers,
        panels=1,
        may_verify=(),
        verdicts=(),
        until_slot=Slot(100),
        ready_slot=None,
    )
    assert panel_of(PANEL.chain, PANEL.applicant, applicant) == PANEL
    assert panel_of(PANEL.chain, PANEL.applicant, None) is None
    assert panel_of(PANEL.chain, PANEL.applicant, replace(applicant, panel=())) is None
    for standing in set(Standing) - {Standing.OPEN}:
        assert panel_of(PANEL.chain, PANEL.applicant, replace(applicant, standing=standing)) is None


# --- the file that goes around ---------------------------------------------------------------------------------


def test_a_sealed_identity_is_read_as_it_was_written(tmp_path: Path) -> None:
    path, sealed = tmp_path / "join-sealed.json", seal_identity(SHOWN, PANEL, TO)
    write_sealed_identity(path, sealed)
    assert read_sealed_identity(path) == sealed
    assert "Ada" not in path.read_text()


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (lambda text: text[:-40], "is no sealed identity"),
        (lambda text: text.replace('"applicant"', '"aplicant"'), "is no sealed identity: "),
        (lambda text: text.replace('"sealed": "', '"sealed": "00'), r"boxes\[0\]\.sealed: "),
        (lambda text: text + " " * 200_000, "which no sealed identity is"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_field(tmp_path: Path, changed, fault: str) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "join-sealed.json"
    write_sealed_identity(path, seal_identity(SHOWN, PANEL, TO))
    path.write_text(changed(path.read_text()))
    with pytest.raises(JoinError, match=fault):
        read_sealed_identity(path)
