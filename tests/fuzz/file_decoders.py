"""Decoders of files: those that people hand in, those of a node's folder, and the bodies that clients send."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.cryptography import SigningKey, address_of
from consensus.events import SignState
from consensus.evidence import Equivocation
from consensus.identifiers import Digest, Height, Signature, Slot
from contracts.genesis import Genesis
from contracts.transactions import DoubleOffer, SpotTerms
from ledger.errors import LedgerDamaged, StateKeyRefused
from ledger.ledger import Ledger
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
from ledger.state_keys import parse_state_key, state_key_text
from node.admission.identity import KEY_FILE_MODE, _ed25519_key, _load_certificate, address_of_peer, load_key
from node.api.problem import FieldFault, ProblemError
from node.api.transactions import _claimed_sender, _raw_or_problem
from node.api.validation import parse_body
from node.client import NodeClient
from node.errors import (
    ConfigurationError,
    FileRefused,
    IdentityError,
    NodeError,
    ReadingsError,
    SignStateError,
    TestnetError,
)
from node.home.append_log import AppendLog, AppendLogError, Entry
from node.home.configuration import (
    ApiTable,
    Configuration,
    MeterTable,
    NodeTable,
    PeerEntry,
    PeerToPeerTable,
    load_configuration,
)
from node.home.configuration_text import render_configuration
from node.home.genesis_file import load_genesis_file, render_genesis
from node.home.sign_state import PAYLOAD_SIZE_BYTES_MAX, SignStateStore
from node.home.storage import read_sign_state
from node.household import own_transactions, promises
from node.meter.meter import Meter, MeterIdentity
from node.meter.readings_file import SHIPPED_READINGS, Readings, read_readings, write_household
from node.proofs.evidence_file import check_evidence_file, evidence_text, prove_evidence
from node.proofs.receipt_check import check_receipt_file
from node.proofs.receipt_file import RECEIPT_FORMAT, ReceiptContent, SignedReceipt, export_receipt, parse_receipt
from node.proofs.signed_file import file_text
from node.replies.node import Problem, TransactionBody
from node.replies.problem import ProblemReason
from node.stories.member_names import names_of
from node.stories.misconduct import Evidence
from node.testnet.folder import MANIFEST_NAME, Manifest, Testnet, TestnetNode
from tests.fuzz.decoder import Decoder, Form
from tests.fuzz.specimens import encodings
from tests.support.contracts import FIRST_INTERVAL_MS, make_genesis, seeded_key, trade_terms
from tests.support.stories import StoryChain, told, two_votes

ROOTS: Final = (Genesis, Seal, SignState, ReceiptContent, Evidence, SpotTerms)
"""All records in files: every record in them has a specimen."""


def file_decoders(chain: StoryChain, directory: Path, random: Random) -> Iterator[Decoder]:
    """Yields them; files are written into `directory`, which is theirs alone."""
    yield from _genesis_decoders(directory, random)
    yield from _proof_decoders(chain, random)
    yield from _sign_state_decoders(random)
    yield from _side_file_decoders(directory / "ledger")
    yield from _journal_decoders(chain, directory)
    yield from _identity_decoders(directory)
    yield _readings_decoder(directory)
    yield _configuration_decoder(directory)
    yield _manifest_decoder(directory)
    yield _body_decoder(chain.ledger)
    yield _answer_decoder()
    yield _state_key_decoder()


def _through(path: Path, read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    """Returns a reader of bytes that puts them into a file first."""

    def read_bytes(data: bytes) -> Any:
        path.write_bytes(data)
        return read(path)

    return read_bytes


# --- what people hand in ---------------------------------------------------------------------------------------


def _genesis_decoders(directory: Path, random: Random) -> Iterator[Decoder]:
    genesis = [make_genesis(members).genesis for members in (1, 4)]
    read = _through(directory / "genesis", load_genesis_file)
    made = encodings(Genesis, random)
    yield Decoder(
        name="genesis",
        read=read,
        write=encode,
        refusals=(ConfigurationError,),
        specimens=(*map(encode, genesis), *made),
    )
    yield Decoder(
        name="genesis-json",
        read=read,
        write=encode,
        refusals=(ConfigurationError,),
        specimens=tuple(render_genesis(each).encode() for each in genesis),
        form=Form.FREE,
        is_text=True,
    )


def _readings_decoder(directory: Path) -> Decoder:
    path, other = directory / "readings.csv", directory / "household.csv"
    shipped = read_readings(SHIPPED_READINGS)

    def rows(readings: Readings, household: str) -> bytes:
        write_household(readings, household, other)
        return other.read_bytes()

    def write(readings: Readings) -> bytes:
        files = [rows(readings, household) for household in readings.households]
        header = files[0].partition(b"\n")[0] + b"\n"
        return header + b"".join(content.removeprefix(header) for content in files)

    few = [b"".join(rows(shipped, household).splitlines(keepends=True)[:4]) for household in shipped.households]
    header = few[0].splitlines(keepends=True)[0]
    both = few[0] + few[1].removeprefix(header)
    return Decoder(
        name="readings",
        read=_through(path, read_readings),
        write=write,
        refusals=(ReadingsError,),
        specimens=(few[0], both, both.replace(b"Z,", b"+00:00,"), b"\xef\xbb\xbf" + few[2].replace(b"\n", b"\r\n")),
        form=Form.FREE,
        is_text=True,
    )


def _configuration_decoder(directory: Path) -> Decoder:
    peers = tuple(
        PeerEntry(name=f"node{index}", address=f"{index:064x}", host=f"host{index}", port=7_000 + index)
        for index in (2, 3)
    )
    full = Configuration(
        node=NodeTable(name='node "one" ☀', log_format="json"),
        p2p=PeerToPeerTable(port=7_001, peers=peers),
        api=ApiTable(port=8_001),
        meter=MeterTable(household_id="home = 1 # not a comment", hours=48, grace_period_s=2.5),
    )
    minimal = '[node]\nname = "node1"\n[p2p]\nport = 7001\n[api]\nport = 8001\n'
    return Decoder(
        name="meter.toml",
        read=_through(directory / "meter.toml", load_configuration),
        write=lambda configuration: render_configuration(configuration).encode(),
        refusals=(ConfigurationError,),
        specimens=(minimal.encode(), render_configuration(full).encode()),
        form=Form.FREE,
        is_text=True,
    )


def _proof_decoders(chain: StoryChain, random: Random) -> Iterator[Decoder]:
    genesis, keys, names = chain.community.genesis, chain.community.node_keys, chain.names
    asked = (names.spot, names.too_large, names.partial, names.expired, names.cancelled, names.transfer)
    receipts = [told(export_receipt(chain.ledger, name.hex(), keys[0])) for name in asked]

    def checked(content: bytes) -> SignedReceipt:
        check_receipt_file(content, genesis)
        return parse_receipt(content, genesis)

    yield Decoder(
        name="receipt-file",
        read=checked,
        write=lambda receipt: receipt.text(genesis).encode(),
        refusals=(FileRefused,),
        specimens=tuple(receipt.text(genesis).encode() for receipt in receipts),
        is_text=True,
    )
    made = [decode(content, ReceiptContent) for content in encodings(ReceiptContent, random)]
    by_member = [encode(replace(content, exporter=keys[0].address)) for content in made]
    yield Decoder(
        name="receipt-of-a-liar",
        read=lambda data: _receipt_of_a_liar(data, keys[0], genesis),
        write=encode,
        refusals=(FileRefused,),
        specimens=(*(encode(receipt.content) for receipt in receipts), *by_member),
    )
    yield from _evidence_decoders(chain, random)


def _receipt_of_a_liar(data: bytes, key: SigningKey, genesis: Genesis) -> ReceiptContent:
    """Checks a file that a member made of any content: it signs what it likes, and tells what that says."""
    signature = key.sign(data)
    file = {"format": RECEIPT_FORMAT, "about": {}, "content": data.hex(), "signature": signature.hex()}
    try:
        parse_receipt(file_text(file).encode(), genesis)
    except FileRefused as refused:
        if "readable part" not in str(refused):
            raise
    receipt = SignedReceipt(content=decode(data, ReceiptContent), signature=signature)
    check_receipt_file(receipt.text(genesis).encode(), genesis)
    return receipt.content


def _evidence_decoders(chain: StoryChain, random: Random) -> Iterator[Decoder]:
    genesis, keys = chain.community.genesis, chain.community.node_keys
    first, second = (trade_terms(chain.community, 0, buyer, 10, offer_counter=5) for buyer in (1, 2))
    offers = DoubleOffer(
        offender=keys[0].address,
        first=first,
        first_signature=keys[0].sign(encode(first)),
        second=second,
        second_signature=keys[0].sign(encode(second)),
    )
    proofs = [prove_evidence(encode(evidence), genesis) for evidence in (two_votes(chain.community, 3), offers)]

    def text(evidence: Equivocation | DoubleOffer) -> bytes:
        proof = prove_evidence(encode(evidence), genesis)
        return evidence_text(proof.evidence, proof.offence, names_of(genesis)).encode()

    yield Decoder(
        name="evidence-file",
        read=lambda content: check_evidence_file(content, genesis).evidence,
        write=text,
        refusals=(FileRefused,),
        specimens=tuple(text(proof.evidence) for proof in proofs),
        is_text=True,
    )

    def of_a_liar(data: bytes) -> Equivocation | DoubleOffer:
        """Has the first member sign whatever the statements say, so that no signature hides what comes after."""
        signed = _signed_by(prove_or_decode(data), keys[0])
        return check_evidence_file(text(signed), genesis).evidence

    def prove_or_decode(data: bytes) -> Equivocation | DoubleOffer:
        try:
            return prove_evidence(data, genesis).evidence
        except FileRefused as refused:
            if "is damaged" in str(refused):
                raise
            return decode(data, Evidence)

    own = [replace(proof.evidence, offender=keys[0].address) for proof in proofs]
    yield Decoder(
        name="evidence-of-a-liar",
        read=of_a_liar,
        write=encode,
        refusals=(FileRefused,),
        specimens=(*(encode(_signed_by(evidence, keys[0])) for evidence in own), *encodings(Evidence, random)),
        form=Form.FREE,
    )


def _signed_by(evidence: Equivocation | DoubleOffer, key: SigningKey) -> Equivocation | DoubleOffer:
    if isinstance(evidence, DoubleOffer):
        first, second = key.sign(encode(evidence.first)), key.sign(encode(evidence.second))
        return replace(evidence, offender=key.address, first_signature=first, second_signature=second)
    first, second = (
        replace(item, signature=key.sign(encode(item.statement))) for item in (evidence.first, evidence.second)
    )
    return replace(evidence, offender=key.address, first=first, second=second)


# --- what a node keeps -----------------------------------------------------------------------------------------


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
        read=_through(directory / TIP_FILE, lambda path: read_tip_mark(path.parent)),
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
            read=_through(path, reader_of(read)),
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
        read=_through(path, lambda file: load_key(file)._secret[:32]),
        write=key_pem,
        refusals=(IdentityError,),
        specimens=tuple(key_pem(bytes([number]) * 32) for number in (1, 2)),
        form=Form.FREE,
        is_text=True,
    )

    def shown_key(data: bytes) -> bytes:
        address = address_of_peer(Connection(data))  # type: ignore[arg-type]
        key = _ed25519_key(x509.load_der_x509_certificate(data))
        assert address == address_of(key)
        return key

    yield Decoder(
        name="certificate-of-a-peer",
        read=shown_key,
        write=lambda key: certificate(key, Encoding.DER),
        refusals=(IdentityError,),
        specimens=tuple(certificate(seeded_key("node", number).public_key, Encoding.DER) for number in (1, 2)),
        form=Form.FREE,
    )
    yield Decoder(
        name="certificate",
        read=_through(directory / "node.crt", lambda file: _ed25519_key(_load_certificate(file))),
        write=certificate,
        refusals=(IdentityError,),
        specimens=tuple(certificate(seeded_key("node", number).public_key) for number in (1, 2)),
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
        read=_through(directory / MANIFEST_NAME, lambda path: Testnet.open(path.parent).manifest),
        write=lambda value: value.model_dump_json().encode(),
        refusals=(TestnetError,),
        specimens=(manifest.model_dump_json(indent=2).encode(),),
        form=Form.FREE,
        is_text=True,
    )


# --- what clients send -----------------------------------------------------------------------------------------

ANSWER_LENGTH_MAX: Final = 8_000
"""Of problem details, whatever was sent."""


def _body_decoder(ledger: Ledger) -> Decoder:
    raws = [raw for height in (1, 2) for raw in ledger.decided_block(Height(height)).transactions]
    bodies = [
        {"transaction": raws[0].hex()},
        {"transaction": base64.b64encode(raws[1]).decode()},
        {"transactions": [raws[2].hex(), base64.b64encode(raws[3]).decode(), "neither"]},
    ]

    def read(body: bytes) -> TransactionBody:
        try:
            return taken(body)
        except ProblemError as problem:
            answer = json.dumps(problem.document())
            if len(answer) > ANSWER_LENGTH_MAX:
                raise AssertionError(f"an answer of {len(answer)} characters to {len(body)} bytes") from None
            raise

    def taken(body: bytes) -> TransactionBody:
        parsed = parse_body(body, TransactionBody)
        one = [parsed.transaction] if isinstance(parsed.transaction, str) else []
        several = parsed.transactions if isinstance(parsed.transactions, list) else []
        found = [_raw_or_problem(text, "transaction") for text in (*one, *several)]
        for raw in found:
            if isinstance(raw, bytes):
                _claimed_sender(raw)
        return parsed

    return Decoder(
        name="http-body",
        read=read,
        write=msgspec.json.encode,
        refusals=(ProblemError,),
        specimens=tuple(json.dumps(body).encode() for body in bodies),
        form=Form.FREE,
        is_text=True,
    )


class AnsweredClient(NodeClient):
    """Asked a node and got some bytes."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def _read(self, url: str) -> tuple[int, bytes]:
        return HTTPStatus.OK, self._body


def _answer_decoder() -> Decoder:
    problem = ProblemError(
        ProblemReason.QUOTA, "slower", retry_after_s=1, errors=[FieldFault(location="a", detail="b")]
    )

    def read(body: bytes) -> Problem:
        try:
            AnsweredClient(body).get("http://node", "/", Problem).send(None)
        except StopIteration as returned:
            return returned.value  # type: ignore[no-any-return]
        raise AssertionError("nothing to wait for")

    return Decoder(
        name="node-answer",
        read=read,
        write=lambda answer: answer.model_dump_json().encode(),
        refusals=(NodeError,),
        specimens=(json.dumps(problem.document()).encode(),),
        form=Form.FREE,
        is_text=True,
    )


def _state_key_decoder() -> Decoder:
    name = "ab" * 32
    hour = "2016-06-01T00:00:00Z"
    return Decoder(
        name="state-key",
        read=lambda text: parse_state_key(text.decode("utf-8", errors="replace")),
        write=lambda key: state_key_text(key).encode(),
        refusals=(StateKeyRefused,),
        specimens=tuple(
            text.encode()
            for text in (
                "totals",
                f"account:{name}",
                "agenda:7",
                f"deficit:{name}:{hour}",
                f"interval:{hour}",
                "interval:2016-06-01T00:00:00.123+02:00",
                f"offer:{name}:300",
                f"pair:{name}:{name}:{hour}",
            )
        ),
        form=Form.FREE,
        is_text=True,
    )
