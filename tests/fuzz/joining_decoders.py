"""Decoders of what homes pass on that join, and of the vouchers in their certificates."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consensus.codec import Record
from consensus.identifiers import Digest
from contracts.vouchers import Vouchers
from node.admission.authority import Authority
from node.admission.chain import read_chain
from node.admission.identity import certificate_key
from node.admission.join_file import (
    JoinIdentity,
    Street,
    read_join_identity,
    read_join_request,
    read_street,
    write_join_identity,
    write_join_request,
    write_street,
)
from node.admission.meter_claim import claim_meter
from node.admission.voucher import home_uri, issuing_uri, vouchers_of
from node.errors import AddressBookError, IdentityError, JoinError
from node.home.configuration import PeerEntry
from node.home.json_record import json_of
from node.names.address_book import AddressBook, Forgotten, load_book
from node.names.card import call, read_card, read_forget, sign_card, sign_forget
from tests.fuzz.decoder import Decoder, Form, through
from tests.support.checkpoints import proof_of_one_block
from tests.support.contracts import make_genesis, seeded_key
from tests.support.joining import newcomer, request_of
from tests.support.names import book_of

PERSON: Final = Digest(bytes([7]) * 32)


def joining_decoders(directory: Path) -> Iterator[Decoder]:
    """Yields them; files are written into `directory`, which is theirs alone."""
    yield from _file_decoders(directory)
    yield from _voucher_decoders()


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
    forget = Forgotten(address=key.address, forget=sign_forget(key))
    books = (AddressBook(), book_of(homes.genesis), book_of(homes.genesis).forgetting(forget))
    kinds: tuple[tuple[str, Callable[[Path], Any], Callable[[Path, Any], None], tuple[Any, ...]], ...] = (
        ("street-file", read_street, write_street, streets),
        ("join-request", read_join_request, write_join_request, requests),
        ("join-identity", read_join_identity, write_join_identity, identities),
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
