"""Decoders of what a node keeps in its folder: sign state, side files of the ledger, journals, keys and certificates,
and the record of a testnet.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from consensus.codec import decode, encode
from consensus.events import SignState
from consensus.identifiers import Digest, Height, PublicKey, Signature, Slot
from consensus.rendering import render
from contracts.transactions import RevocationReason, SpotTerms
from contracts.units import MicroTokens
from ledger.checkpoint import Checkpoint
from ledger.errors import LedgerDamaged
from ledger.side_files import (
    DATABASE_FOLDER,
    SEAL_FILE,
    TIP_FILE,
    Seal,
    TipMark,
    _checksum,
    create_tip_mark,
    read_tip_mark,
    seal_faults,
    write_seal,
)
from node.admission.authority import Authority, present
from node.admission.chain import Role, read_chain
from node.admission.endpoint import CertifiedHome, Endpoint, certified_home
from node.admission.founding import (
    Founding,
    begin_founding,
    check_founding,
    sign_founding,
    with_card,
    with_member,
    with_signature,
)
from node.admission.founding_file import (
    read_founding,
    read_from_home,
    render_founding,
    write_signature,
)
from node.admission.founding_rules import Accounts, Tariffs, make_rules
from node.admission.identity import (
    KEY_FILE_MODE,
    certificate_key,
    create_key,
    key_of_peer,
    load_chain,
    load_key,
)
from node.admission.meter_claim import MeterClaim, claim_meter
from node.admission.office_keys import SuccessorFile, make_successor, read_successor
from node.admission.register import (
    IssuedToHome,
    Reason,
    Register,
    Revoked,
    issued_of,
    read_register,
    render_register,
)
from node.admission.request import make_request, read_request
from node.admission.revocations import load_revocations
from node.errors import (
    AddressBookError,
    EndpointsDamaged,
    FileRefused,
    FoundingError,
    IdentityError,
    JoinError,
    RevocationsRefused,
    SignStateError,
    TestnetError,
)
from node.home.append_log import AppendLog, AppendLogError, Entry
from node.home.checkpoint_file import load_checkpoint
from node.home.json_record import json_of
from node.home.sign_state import PAYLOAD_SIZE_BYTES_MAX, SignStateStore
from node.home.storage import read_sign_state
from node.household import own_transactions, promises
from node.mesh.endpoint_file import StoredEndpoints, load_endpoints
from node.meter.meter import Meter, MeterIdentity
from node.names.card import call, sign_card
from node.proofs.revocation_file import make_revocation, read_revocation
from node.testnet.folder import MANIFEST_NAME, Manifest, Testnet, TestnetNode
from tests.fuzz.decoder import Decoder, Form, through
from tests.fuzz.specimens import encodings
from tests.support.contracts import FIRST_INTERVAL_MS, seeded_key, trade_terms
from tests.support.stories import StoryChain

ROOTS: Final = (Checkpoint, Seal, SignState, SpotTerms, StoredEndpoints)
"""All records in these files: every record in them has a specimen."""


def folder_decoders(chain: StoryChain, directory: Path, random: Random) -> Iterator[Decoder]:
    """Yields them; files are written into `directory`, which is theirs alone."""
    yield from _sign_state_decoders(random)
    yield from _side_file_decoders(directory / "ledger")
    yield _endpoints_decoder(directory, random)
    yield _checkpoint_decoder(directory, random)
    yield from _journal_decoders(chain, directory)
    yield from _identity_decoders(directory)
    yield from _authority_decoders(directory)
    yield from _founding_decoders(directory)
    yield _successor_decoder(directory)
    yield _revocation_decoder(directory)
    yield _manifest_decoder(directory)


class MemoryDevice:
    """The bytes of a sign state, as the simulator holds them."""

    def __init__(self, content: bytes) -> None:
        self._content = bytearray(content)

    def read(self) -> bytes:
        return bytes(self._content)

    def write(self, data: bytes, offset: int) -> None:
        self._content[offset : offset + len(data)] = data

    def close(self) -> None:
        pass


def _sign_state_decoders(random: Random) -> Iterator[Decoder]:
    payloads = encodings(SignState, random)

    def read(content: bytes) -> SignState:
        return read_sign_state(SignStateStore(MemoryDevice(content), Path("sign-state")))  # type: ignore[arg-type]

    written = MemoryDevice(SignStateStore.content(payloads[0]))
    store = SignStateStore(written, Path("sign-state"))
    store.save(payloads[1])
    yield Decoder(
        name="sign-state",
        read=read,
        write=lambda state: SignStateStore.content(encode(state)),
        refusals=(SignStateError,),
        specimens=(*map(SignStateStore.content, payloads), written.read()),
        form=Form.FREE,
    )
    yield Decoder(
        name="sign-state-record",  # under a checksum that holds
        read=lambda payload: read(SignStateStore.content(payload[:PAYLOAD_SIZE_BYTES_MAX])),
        write=encode,
        refusals=(SignStateError,),
        specimens=payloads,
        kept=lambda payload: payload[:PAYLOAD_SIZE_BYTES_MAX],
    )


def _endpoints_decoder(directory: Path, random: Random) -> Decoder:
    made = [decode(content, StoredEndpoints) for content in encodings(StoredEndpoints, random)]
    chain = made[0].chain
    return Decoder(
        name="endpoints",
        read=through(directory / "endpoints", lambda path: load_endpoints(path, chain)),
        write=lambda raws: encode(StoredEndpoints(chain=chain, raw=raws)),
        refusals=(EndpointsDamaged,),
        specimens=tuple(map(encode, made)),
    )


def _checkpoint_decoder(directory: Path, random: Random) -> Decoder:
    made = [decode(content, Checkpoint) for content in encodings(Checkpoint, random)]
    chain = made[0].chain
    return Decoder(
        name="checkpoint",
        read=through(directory / "checkpoint", lambda path: load_checkpoint(path, chain)),
        write=encode,
        refusals=(JoinError,),
        specimens=tuple(map(encode, made)),
    )


class AlteredError(Exception):
    """What `seal_faults` found."""


def _side_file_decoders(directory: Path) -> Iterator[Decoder]:
    (directory / DATABASE_FOLDER).mkdir(parents=True)
    for name in ("000005.ldb", "CURRENT"):
        (directory / DATABASE_FOLDER / name).write_text(name)
    marks = [TipMark(height=Height(height), block=Digest(bytes([height % 256]) * 32)) for height in (1, 2, 2**62)]

    def written(mark: TipMark) -> bytes:
        create_tip_mark(directory, mark)
        return (directory / TIP_FILE).read_bytes()

    tips = tuple(map(written, marks))
    yield Decoder(
        name="tip-mark",
        read=through(directory / TIP_FILE, lambda path: read_tip_mark(path.parent)),
        write=written,
        refusals=(LedgerDamaged,),
        specimens=(*tips, tips[0][: len(tips[0]) // 2] + tips[1][len(tips[1]) // 2 :]),
        form=Form.FREE,
    )
    sealed = directory.with_name("sealed")
    (sealed / DATABASE_FOLDER).mkdir(parents=True)
    for name in ("000005.ldb", "CURRENT"):
        (sealed / DATABASE_FOLDER / name).write_text(name)
    write_seal(sealed, height=Height(7), tip=Digest(bytes(32)))
    seal = (sealed / SEAL_FILE).read_bytes()

    def unaltered(data: bytes) -> bytes:
        (sealed / SEAL_FILE).write_bytes(data)
        faults = seal_faults(sealed)
        if faults:
            raise AlteredError(faults[0])
        return encode(decode(data[32:], Seal))

    yield Decoder(
        name="seal",
        read=unaltered,
        write=lambda body: _checksum(body) + body,
        refusals=(AlteredError,),
        specimens=(seal,),
    )
    yield Decoder(
        name="seal-content",  # under a checksum that holds
        read=lambda body: unaltered(_checksum(body) + body),
        write=bytes,
        refusals=(AlteredError,),
        specimens=(seal[32:],),
    )


def _whole_lines(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]


class EmptyChain:
    """What journals ask of a chain on which nothing was decided."""

    height = Height(0)

    def get(self, key: bytes) -> None:
        return None

    def last_nonce(self, sender: bytes) -> None:
        return None

    def find_transaction(self, digest: bytes) -> None:
        return None


def _journal_decoders(chain: StoryChain, directory: Path) -> Iterator[Decoder]:
    path, other = directory / "journal", directory / "rewritten"
    community, nothing = chain.community, EmptyChain()
    terms = [trade_terms(community, 0, 1, 10, offer_counter=counter) for counter in (5, 6)]
    promised = [
        promises.Promise(interval_start_ms=FIRST_INTERVAL_MS, terms=each, seller_signature=Signature(bytes(64)))
        for each in terms
    ]
    salts = [
        {"interval_start_ms": start, "consumption_wh": 5, "generation_wh": 0, "salt": bytes(32).hex()}
        for start in (FIRST_INTERVAL_MS, FIRST_INTERVAL_MS + 3_600_000)
    ]
    raws = [{"raw": raw.hex()} for raw in chain.ledger.decided_block(Height(1)).transactions[:2]]

    def lines(entries: Sequence[Entry]) -> bytes:
        other.unlink(missing_ok=True)
        log = AppendLog(other)
        for entry in entries:
            log.append(entry)
        log.sync()
        log.close()
        return other.read_bytes()

    def read_promises(journal: AppendLog) -> Sequence[Entry]:
        promises.Promises(journal=journal, state=nothing, tip=Slot(0))  # type: ignore[arg-type]
        return [promises._entry(promises._from_entry(entry)) for entry in journal.entries]

    def read_salts(journal: AppendLog) -> Sequence[Entry]:
        identity = MeterIdentity(key=seeded_key("meter", 0), member=community.addresses[0], chain=community.chain)
        Meter(identity=identity, hours={}, salts=journal)
        return journal.entries

    def read_own(journal: AppendLog) -> Sequence[Entry]:
        own_transactions.OwnTransactions(
            key=community.node_keys[0],
            chain=community.chain,
            ledger=nothing,  # type: ignore[arg-type]
            journal=journal,
        )
        return [own_transactions._entry(own_transactions._from_entry(entry)) for entry in journal.entries]

    readers: Mapping[str, tuple[Callable[[AppendLog], Sequence[Entry]], Sequence[Entry]]] = {
        "journal-of-promises": (read_promises, [promises._entry(promise) for promise in promised]),
        "journal-of-salts": (read_salts, salts),
        "journal-of-transactions": (read_own, raws),
    }

    def reader_of(read: Callable[[AppendLog], Sequence[Entry]]) -> Callable[[Path], Sequence[Entry]]:
        def read_entries(file: Path) -> Sequence[Entry]:
            log = AppendLog(file)
            try:
                return read(log)
            finally:
                log.close()

        return read_entries

    for name, (read, entries) in readers.items():
        yield Decoder(
            name=name,
            read=through(path, reader_of(read)),
            write=lines,
            refusals=(AppendLogError,),
            specimens=(lines(entries[:1]), lines(entries)),
            is_text=True,
            kept=_whole_lines,
        )


class Connection:
    """A TLS connection whose other end shows some bytes as its certificate."""

    def __init__(self, certificate: bytes) -> None:
        self._certificate = certificate

    def getpeercert(self, *, binary_form: bool) -> bytes:
        return self._certificate


def _identity_decoders(directory: Path) -> Iterator[Decoder]:
    own = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node1")])
    day = datetime(2026, 1, 1, tzinfo=UTC)

    def key_pem(seed: bytes) -> bytes:
        key = Ed25519PrivateKey.from_private_bytes(seed)
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def certificate(public_key: bytes, encoding: Encoding = Encoding.PEM) -> bytes:
        builder = x509.CertificateBuilder(name, name, Ed25519PublicKey.from_public_bytes(public_key), 1, day, day)
        return builder.sign(own, algorithm=None).public_bytes(encoding)

    path = directory / "node.key"
    path.touch(mode=KEY_FILE_MODE)
    yield Decoder(
        name="private-key",
        read=through(path, lambda file: load_key(file)._secret[:32]),
        write=key_pem,
        refusals=(IdentityError,),
        specimens=tuple(key_pem(bytes([number]) * 32) for number in (1, 2)),
        form=Form.FREE,
        is_text=True,
    )

    def shown_key(data: bytes) -> bytes:
        key = key_of_peer(Connection(data))  # type: ignore[arg-type]
        assert key == certificate_key(x509.load_der_x509_certificate(data))
        return key

    authority = Authority("fuzz")

    def chain(home: _Home) -> bytes:
        host, port = home.endpoint or ("localhost", None)
        return authority.issue(home.node_key, host=host, port=port, meter=home.meter)

    def certified(home: _Home) -> bytes:
        return read_chain(chain(home))[0].public_bytes(Encoding.DER)

    yield Decoder(
        name="certificate-of-a-peer",
        read=shown_key,
        write=lambda key: certified(_Home(key, None, None)),
        refusals=(IdentityError,),
        specimens=tuple(
            certified(_Home(PublicKey(seeded_key("node", number).public_key), None, None)) for number in (1, 2)
        ),
        form=Form.FREE,
    )
    public_key = PublicKey(seeded_key("node", 1).public_key)
    homes = [
        _Home(public_key, endpoint, meter)
        for endpoint in (None, Endpoint("192.0.2.4", 7000), Endpoint("::1", 1), Endpoint("meter.lan", 65_535))
        for meter in (None, claim_meter(public_key, seeded_key("meter", 1), 11_000))
    ]
    yield Decoder(
        name="certificate-of-a-new-home",
        read=lambda data: _home(certified_home((data,))),
        write=certified,
        refusals=(IdentityError,),
        specimens=tuple(map(certified, homes)),
        form=Form.FREE,
    )

    def home_of_chain(pem: bytes) -> _Home:
        certificates = [one.public_bytes(Encoding.DER) for one in read_chain(pem)]
        return _home(certified_home(certificates, authority.root))

    yield Decoder(
        name="certificate-chain",
        read=home_of_chain,
        write=chain,
        refusals=(IdentityError,),
        specimens=tuple(map(chain, homes)),
        form=Form.FREE,
        is_text=True,
    )
    path = directory / "asking.key"
    path.unlink(missing_ok=True)
    requests = {create_key(path).public_key: make_request("node", path, Endpoint("meter.lan", 7000))}
    yield Decoder(
        name="certificate-request",
        read=through(directory / "node.csr", read_request),
        write=lambda request: requests[request.node_key],  # nobody else can sign one
        refusals=(IdentityError,),
        specimens=tuple(requests.values()),
        form=Form.FREE,
        is_text=True,
    )
    yield Decoder(
        name="certificate",
        read=through(directory / "node.crt", lambda file: certificate_key(load_chain(file)[0])),
        write=certificate,
        refusals=(IdentityError,),
        specimens=tuple(certificate(seeded_key("node", number).public_key) for number in (1, 2)),
        form=Form.FREE,
        is_text=True,
    )


class _Home(NamedTuple):
    """What of a certificate this authority can write again: another name or term is another certificate."""

    node_key: PublicKey
    endpoint: Endpoint | None
    meter: MeterClaim | None


def _home(home: CertifiedHome) -> _Home:
    return _Home(home.node_key, home.endpoint, home.meter)


def _founding_decoders(directory: Path) -> Iterator[Decoder]:
    authority = Authority("fuzz")
    accounts = Accounts(
        certificate_key(authority.root), *(seeded_key(name, 0).public_key for name in ("issuer", "grid"))
    )
    founding = begin_founding(make_rules("fuzz", accounts, Tariffs()), authority.root)
    states = [founding]
    for number in (1, 2):
        key, meter = seeded_key("node", number), seeded_key("meter", number)
        claim = claim_meter(key.public_key, meter, 11_000)
        certificate = authority.issue(key.public_key, host="192.0.2.4", port=7_000 + number, meter=claim)
        founding = with_member(founding, certificate.decode("ascii"), MicroTokens(1), now=present())
        states.append(founding)
    states.append(with_card(founding, sign_card(seeded_key("node", 1), call("Müller", "0221 4710815"))))
    signature = sign_founding(founding, seeded_key("node", 1))
    states.append(with_signature(founding, signature))

    def checked(path: Path) -> Founding:
        read = read_founding(path)
        check_founding(read, now=present())
        return read

    yield Decoder(
        name="founding",
        read=through(directory / "founding.json", checked),
        write=lambda found: render_founding(found).encode(),
        refusals=(FoundingError,),
        specimens=tuple(render_founding(state).encode() for state in states),
        form=Form.FREE,
        is_text=True,
    )
    write_signature(directory / "home1.signature", signature)
    (card, *_) = states[3].cards
    text = (directory / "home1.signature").read_bytes()
    yield Decoder(
        name="founding-signature",
        read=through(directory / "home1.signature", read_from_home),
        write=lambda found: found.encode() if isinstance(found, str) else json.dumps(render(found)).encode(),
        refusals=(FoundingError, AddressBookError),
        specimens=(text, authority.certificate_pem(), json_of(card)),
        form=Form.FREE,
        is_text=True,
    )


def _successor_decoder(directory: Path) -> Decoder:
    chain, key = Digest(bytes(range(32))), seeded_key("successor", 1)
    return Decoder(
        name="office-successor",
        read=through(directory / "issuer-2.successor", lambda path: read_successor(path, chain)),
        write=lambda made: json.dumps(render(SuccessorFile(chain=chain, successor=made))).encode(),
        refusals=(FileRefused,),
        specimens=(make_successor(chain, seeded_key("issuer", 1).address, key),),
        form=Form.FREE,
        is_text=True,
    )


def _revocation_decoder(directory: Path) -> Decoder:
    chain, key = Digest(bytes(range(32))), seeded_key("authority", 1)
    reason = RevocationReason.KEY_COMPROMISE
    return Decoder(
        name="key-revocation",
        read=through(directory / "node4.revocation", lambda path: read_revocation(path, chain)),
        write=lambda made: json.dumps(render(made)).encode(),
        refusals=(FileRefused,),
        specimens=(make_revocation(chain, seeded_key("node", 1).public_key, reason, key),),
        form=Form.FREE,
        is_text=True,
    )


def _authority_decoders(directory: Path) -> Iterator[Decoder]:
    authority, now = Authority("fuzz"), datetime(2026, 1, 1, tzinfo=UTC)
    key = seeded_key("node", 1)
    issuing = issued_of(authority.issuing)
    issued = IssuedToHome(
        **(issuing.model_dump() | {"serial": "7f"}),
        name="node1",
        address=key.address.hex(),
        node_key=key.public_key.hex(),
        role=Role.MEMBER,
        endpoint="wss://192.0.2.4:7000",
        issued_by=issuing.serial,
    )
    register = Register(network="fuzz", list_number=1, issuing=(issuing,), certificates=(issued,))
    revoked = register.with_revoked(["7f"], Revoked(at=now, reason=Reason.KEY_COMPROMISE))
    yield Decoder(
        name="authority-register",
        read=read_register,
        write=render_register,
        refusals=(IdentityError,),
        specimens=(render_register(register), render_register(revoked)),
        form=Form.FREE,
        is_text=True,
    )
    lists = {
        number: authority.revocation_list(state.revocations, number=number, now=present())
        for number, state in enumerate((register, revoked))
    }
    yield Decoder(
        name="revocation-list",
        read=through(directory / "ca.crl", lambda path: load_revocations(path, authority.root)),
        write=lambda found: lists[found.number],  # nobody else can sign one
        refusals=(RevocationsRefused,),
        specimens=tuple(lists.values()),
        form=Form.FREE,
        is_text=True,
    )


def _manifest_decoder(directory: Path) -> Decoder:
    nodes = tuple(
        TestnetNode(
            name=f"node{number}",
            address=f"{number:064x}",
            household=household,
            p2p_host="127.0.0.1",
            p2p_port=7_000 + number,
            api_host="127.0.0.1",
            api_port=8_000 + number,
        )
        for number, household in ((1, "home1"), (2, None))
    )
    manifest = Manifest(
        chain="00" * 32, layout="loopback", readings_name="households.csv", readings_sha256="11" * 32, nodes=nodes
    )
    return Decoder(
        name="testnet-manifest",
        read=through(directory / MANIFEST_NAME, lambda path: Testnet.open(path.parent).manifest),
        write=lambda value: value.model_dump_json().encode(),
        refusals=(TestnetError,),
        specimens=(manifest.model_dump_json(indent=2).encode(),),
        form=Form.FREE,
        is_text=True,
    )
