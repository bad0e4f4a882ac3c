"""Decoders of what homes pass on that join, of what is sealed for verifiers, and of vouchers in certificates."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.bindings import sodium_pad

from consensus.codec import DecodeError, Record, decode, encode
from consensus.cryptography import seal
from consensus.identifiers import Digest, Slot
from contracts.vouchers import Vouchers
from node.admission.authority import Authority
from node.admission.chain import read_chain
from node.admission.identity import certificate_key
from node.admission.joining.files import (
    JoinIdentity,
    Street,
    read_join_identity,
    read_join_request,
    read_street,
    write_join_identity,
    write_join_request,
    write_street,
)
from node.admission.joining.sealing import (
    CONTENT_SIZE_BYTES,
    IdentityBox,
    IdentityContent,
    Panel,
    SealedIdentity,
    open_box,
    read_sealed_identity,
    seal_identity,
    write_sealed_identity,
)
from node.admission.meter_claim import claim_meter
from node.admission.voucher import home_uri, issuing_uri, vouchers_of
from node.errors import AddressBookError, BoxRefused, FileRefused, IdentityError, JoinError
from node.home.configuration import PeerEntry
from node.home.json_record import json_of
from node.names.address_book import AddressBook, Forgotten, load_book
from node.names.card import call, read_card, read_forget, sign_card, sign_forget
from node.proofs.panel_file import PanelContent, check_panel, document_of, export_panel
from node.proofs.signed_file import file_text
from tests.fuzz.decoder import Decoder, Form, through
from tests.fuzz.specimens import encodings
from tests.support.checkpoints import proof_of_one_block
from tests.support.contracts import make_genesis, seeded_key
from tests.support.joining import newcomer, request_of
from tests.support.ledger import ChainBuilder
from tests.support.names import book_of
from tests.support.stories import told

PERSON: Final = Digest(bytes([7]) * 32)
SHOWN: Final = JoinIdentity(salt=PERSON, identity="Ada Löwe\nSunny Street 5 ☀")
VERIFIERS: Final = tuple(seeded_key("node", number) for number in range(3))
TO: Final = tuple((key.address, key.public_key) for key in VERIFIERS)
PANEL: Final = Panel(
    chain=PERSON,
    applicant=newcomer(1).address,
    number=1,
    identity=SHOWN.commitment,
    request=PERSON,
    verifiers=tuple(key.address for key in VERIFIERS),
    until_slot=Slot(1),
)


ROOTS: Final = (PanelContent, IdentityContent, SealedIdentity)
"""Every record in them has a specimen."""


def joining_decoders(directory: Path, random: Random) -> Iterator[Decoder]:
    """Yields them; files are written into `directory`, which is theirs alone."""
    yield from _file_decoders(directory)
    yield from _voucher_decoders()
    yield from _box_decoders(random)
    yield from _panel_decoders(directory, random)


def _file_decoders(directory: Path) -> Iterator[Decoder]:
    homes, root = make_genesis(4), Authority("fuzz").root
    proof = proof_of_one_block(homes)
    peers = tuple(
        PeerEntry(address=homes.addresses[number].hex(), host=host, port=7_000 + number)
        for number, host in enumerate(("192.0.2.4", "meter.lan", "2001:db8::1"))
    )
    streets = tuple(
        Street(genesis=homes.genesis, root=root, proof=proof, peers=peers[: 1 + last]) for last in range(3)
    )
    requests = tuple(request_of(homes, newcomer(number)) for number in (1, 2))
    identities = tuple(
        JoinIdentity(salt=PERSON, identity=identity) for identity in ("", "Ada Löwe\nSunny Street 5 ☀")
    )
    key = seeded_key("node", 1)
    cards = (sign_card(key, call("Müller")), sign_card(key, call("The Millers", "0221 4710815")))
    sealed = tuple(seal_identity(SHOWN, PANEL, TO[:last]) for last in (1, len(TO)))
    forget = Forgotten(address=key.address, forget=sign_forget(key))
    books = (AddressBook(), book_of(homes.genesis), book_of(homes.genesis).forgetting(forget))
    kinds: tuple[tuple[str, Callable[[Path], Any], Callable[[Path, Any], None], tuple[Any, ...]], ...] = (
        ("street-file", read_street, write_street, streets),
        ("join-request", read_join_request, write_join_request, requests),
        ("join-identity", read_join_identity, write_join_identity, identities),
        ("sealed-identity", read_sealed_identity, write_sealed_identity, sealed),
        ("card", read_card, _write_record, cards),
        ("forget-file", read_forget, _write_record, (forget.forget,)),
        ("address-book", load_book, _write_record, books),
    )
    for name, read, write, values in kinds:
        written = _content_by(write, directory / f"{name}.written")
        yield Decoder(
            name=name,
            read=through(directory / name, read),
            write=written,
            refusals=(JoinError, AddressBookError),
            specimens=tuple(map(written, values)),
            form=Form.FREE,
            is_text=True,
        )


def _box_decoders(random: Random) -> Iterator[Decoder]:
    """A liar puts anything into a box: what its verifier finds when it opens it."""
    key = VERIFIERS[0]

    def content(shown: JoinIdentity) -> bytes:
        return encode(IdentityContent(panel=PANEL.name, verifier=key.address, key=key.public_key, shown=shown))

    def opened(data: bytes) -> JoinIdentity:
        sealed = seal(key.public_key, sodium_pad(data[: CONTENT_SIZE_BYTES - 1], CONTENT_SIZE_BYTES))
        return open_box(IdentityBox(verifier=key.address, key=key.public_key, sealed=sealed), PANEL, key)

    yield Decoder(
        name="identity-in-a-box",
        read=opened,
        write=lambda shown: encode(
            IdentityContent(panel=PANEL.name, verifier=key.address, key=key.public_key, shown=shown)
        ),
        refusals=(BoxRefused,),
        specimens=(content(SHOWN), *encodings(IdentityContent, random)),
        kept=lambda data: data[: CONTENT_SIZE_BYTES - 1],
    )
    yield Decoder(
        name="sealed-identity-body",
        read=lambda data: decode(data, SealedIdentity),
        write=encode,
        refusals=(DecodeError,),
        specimens=(encode(seal_identity(SHOWN, PANEL, TO)), *encodings(SealedIdentity, random)),
    )


def _panel_decoders(directory: Path, random: Random) -> Iterator[Decoder]:
    homes, new = make_genesis(4), newcomer(1)
    builder = ChainBuilder.create(directory / "panel-ledger", homes)
    builder.append([builder.transaction(0, request_of(homes, new))])
    document = told(export_panel(builder.ledger, new.address))
    builder.ledger.close()
    right = bytes.fromhex(document["content"])

    def checked(data: bytes) -> PanelContent:
        check_panel(data, homes.genesis)
        return decode(bytes.fromhex(json.loads(data)["content"]), PanelContent)

    def of_a_liar(data: bytes) -> PanelContent:
        content = decode(data, PanelContent)
        return checked(_panel_file(content))

    yield Decoder(
        name="panel-file",
        read=checked,
        write=_panel_file,
        refusals=(FileRefused,),
        specimens=(file_text(document).encode(),),
        is_text=True,
    )
    yield Decoder(
        name="panel-of-a-liar",
        read=of_a_liar,
        write=encode,
        refusals=(FileRefused, DecodeError),
        specimens=(right, *encodings(PanelContent, random)),
    )


def _panel_file(content: PanelContent) -> bytes:
    return file_text(document_of(content)).encode()


def _write_record(path: Path, record: Record) -> None:
    path.write_bytes(json_of(record))


def _content_by(write: Callable[[Path, Any], None], path: Path) -> Callable[[Any], bytes]:
    def content(value: Any) -> bytes:
        write(path, value)
        return path.read_bytes()

    return content


def _voucher_decoders() -> Iterator[Decoder]:
    """A liar puts any name into a certificate, where the authority's signature under a voucher stands."""
    authority, key = Authority("fuzz"), seeded_key("node", 1)
    root_key, meter = certificate_key(authority.root), claim_meter(key.public_key, seeded_key("meter", 1), 11_000)
    home, issuing = read_chain(
        authority.issue(key.public_key, meter=meter, person=PERSON, validity=timedelta(days=9))
    )
    right = vouchers_of((home, issuing), root_key)
    uris = (home_uri(PERSON, right.home_signature), issuing_uri(right.issuing_signature))

    def of_home(data: bytes) -> Vouchers:
        return vouchers_of((_renamed(home, meter.uri, _text(data)), issuing), root_key)

    def of_issuing(data: bytes) -> Vouchers:
        return vouchers_of((home, _renamed(issuing, _text(data))), root_key)

    for name, read, uri in (("home-voucher", of_home, uris[0]), ("issuing-voucher", of_issuing, uris[1])):
        yield Decoder(
            name=name,
            read=read,
            write=lambda _, uri=uri: uri.encode(),  # type: ignore[misc]  # nobody else can sign one
            refusals=(IdentityError,),
            specimens=(uri.encode(),),
            kept=lambda data: _text(data).encode(),
            is_text=True,
        )


def _text(data: bytes) -> str:
    """Returns a text that a certificate may have as a name, whatever the input."""
    return bytes(byte & 0x7F for byte in data).decode("ascii")


def _renamed(certificate: x509.Certificate, *uris: str) -> x509.Certificate:
    """Returns a certificate of the same key and time with other names, signed by anybody: who looks for vouchers has
    checked that before.
    """
    builder = x509.CertificateBuilder(
        issuer_name=certificate.issuer,
        subject_name=certificate.subject,
        public_key=certificate.public_key(),
        serial_number=1,
        not_valid_before=certificate.not_valid_before_utc,
        not_valid_after=certificate.not_valid_after_utc,
    )
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
    signer = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
    return builder.add_extension(names, critical=False).sign(signer, algorithm=None)
