"""Decoders of files that people hand in, and of what clients and nodes send over HTTP."""

import base64
import json
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Final

import msgspec
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.cryptography import SigningKey
from consensus.evidence import Equivocation
from consensus.identifiers import Height
from contracts.genesis import Genesis
from contracts.transactions import DoubleOffer
from ledger.errors import StateKeyRefused
from ledger.ledger import Ledger
from ledger.state_keys import parse_state_key, state_key_text
from node.api.problem import FieldFault, ProblemError
from node.api.transactions import _claimed_sender, _raw_or_problem
from node.api.validation import parse_body
from node.client import NodeClient
from node.errors import (
    ConfigurationError,
    FileRefused,
    NodeError,
    ReadingsError,
)
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
from node.meter.readings_file import SHIPPED_READINGS, Readings, read_readings, write_household
from node.proofs.evidence_file import check_evidence_file, evidence_text, prove_evidence
from node.proofs.receipt_check import check_receipt_file
from node.proofs.receipt_file import RECEIPT_FORMAT, ReceiptContent, SignedReceipt, export_receipt, parse_receipt
from node.proofs.signed_file import file_text
from node.replies.node import Problem, TransactionBody
from node.replies.problem import ProblemReason
from node.stories.misconduct import Evidence
from tests.fuzz.decoder import Decoder, Form, through
from tests.fuzz.specimens import encodings
from tests.support.contracts import make_genesis, trade_terms
from tests.support.stories import StoryChain, told, two_votes

ROOTS: Final = (Genesis, ReceiptContent, Evidence)
"""All records in files: every record in them has a specimen."""


def file_decoders(chain: StoryChain, directory: Path, random: Random) -> Iterator[Decoder]:
    """Yields them; files are written into `directory`, which is theirs alone."""
    yield from _genesis_decoders(directory, random)
    yield from _proof_decoders(chain, random)
    yield _readings_decoder(directory)
    yield _configuration_decoder(directory)
    yield _body_decoder(chain.ledger)
    yield _answer_decoder()
    yield _state_key_decoder()


# --- what people hand in ---------------------------------------------------------------------------------------


def _genesis_decoders(directory: Path, random: Random) -> Iterator[Decoder]:
    genesis = [make_genesis(members).genesis for members in (1, 4)]
    read = through(directory / "genesis", load_genesis_file)
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
        read=through(path, read_readings),
        write=write,
        refusals=(ReadingsError,),
        specimens=(few[0], both, both.replace(b"Z,", b"+00:00,"), b"\xef\xbb\xbf" + few[2].replace(b"\n", b"\r\n")),
        form=Form.FREE,
        is_text=True,
    )


def _configuration_decoder(directory: Path) -> Decoder:
    peers = tuple(PeerEntry(address=f"{index:064x}", host=f"host{index}", port=7_000 + index) for index in (2, 3))
    full = Configuration(
        node=NodeTable(name='node "one" ☀', log_format="json"),
        p2p=PeerToPeerTable(port=7_001, peers=peers),
        api=ApiTable(port=8_001),
        meter=MeterTable(household_id="home = 1 # not a comment", hours=48, grace_period_s=2.5),
    )
    minimal = '[node]\nname = "node1"\n[p2p]\nport = 7001\n[api]\nport = 8001\n'
    return Decoder(
        name="meter.toml",
        read=through(directory / "meter.toml", load_configuration),
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
        return evidence_text(proof.evidence, proof.offence).encode()

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
