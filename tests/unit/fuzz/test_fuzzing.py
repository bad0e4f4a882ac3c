"""What is fuzzed is everything that is decoded, and a decoder that does what it must not is found."""

import ast
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import msgpack
import msgspec
import pytest

from consensus.codec import DecodeError, Record, decode, encode
from consensus.messages import PrePrepare
from contracts.state import StateValue
from contracts.transactions import Action
from node.mesh.messages import PeerMessage
from tests.fuzz import ceremony_decoders, file_decoders, folder_decoders, fuzzer, joining_decoders, record_decoders
from tests.fuzz.__main__ import portions_of
from tests.fuzz.decoder import Decoder, judge
from tests.fuzz.fuzzer import Portion, decoders, fuzz
from tests.fuzz.mutations import INPUT_SIZE_BYTES_MAX
from tests.fuzz.specimens import kinds_in, kinds_of

ROOT = Path(__file__).parents[3]
CASES = 100_000
ROOTS = (
    *record_decoders.ROOTS,
    *file_decoders.ROOTS,
    *ceremony_decoders.ROOTS,
    *folder_decoders.ROOTS,
    *joining_decoders.ROOTS,
)
EACH = tuple(decoders())


def share_of(name: str) -> Portion:
    """Returns what a decoder gets of the cases of this test."""
    (portion,) = (each for each in portions_of(EACH, CASES, seed=1) if each.decoder == name)
    return portion


@pytest.mark.parametrize("name", EACH)
def test_specimens_are_what_a_decoder_takes(name: str) -> None:
    decoder = decoders()[name]
    verdicts = [judge(decoder, specimen) for specimen in decoder.specimens]
    assert any(verdict.decoded for verdict in verdicts)


def test_the_same_portion_has_the_same_cases_and_another_has_others() -> None:
    def outcome(**changes: int) -> bytes:
        fields = {"decoder": "frame", "seed": 1, "number": 0, "cases": 300, **changes}
        return fuzz(decoders()["frame"], Portion(**fields)).digest  # type: ignore[arg-type]

    assert outcome() == outcome()
    assert len({outcome(), outcome(seed=2), outcome(number=1)}) == 3


# --- nothing is left out ---------------------------------------------------------------------------------------


def records_of_specimens() -> Iterator[set[type[Record]]]:
    """Yields the kinds of records in each specimen of any decoder that is an encoding of one of the roots."""
    for decoder in decoders().values():
        for specimen in decoder.specimens:
            for root in ROOTS:
                with suppress(DecodeError):
                    yield kinds_of(decode(specimen, root))


def test_every_kind_of_record_has_a_specimen() -> None:
    found = set[type[Record]]().union(*records_of_specimens())
    wanted = set[type[Record]]().union(*map(kinds_in, ROOTS))
    assert set(PeerMessage.__args__) | set(StateValue.__args__) | set(Action.__args__) <= wanted
    assert wanted <= found, f"no specimen of {wanted - found}"


def calls_in(module: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call))


MODULES = sorted(
    path
    for package in ("node", "ledger", "contracts", "consensus", "qscore")
    for path in (ROOT / package).rglob("*.py")
)


def test_every_record_that_production_code_decodes_is_fuzzed() -> None:
    """A type that a call of `decode` names is one whose specimens are fuzzed; `expected` is a caller's."""
    fuzzed = {kind.__name__ for root in ROOTS for kind in kinds_in(root)} | {"StateValue", "Evidence", "expected"}
    named = {
        (path.relative_to(ROOT).as_posix(), call.args[1].id)
        for path in MODULES
        for call in calls_in(path)
        if isinstance(call.func, ast.Name) and call.func.id == "decode" and isinstance(call.args[1], ast.Name)
    }
    assert len(named) > 20
    assert {(path, name) for path, name in named if name not in fuzzed} == set()


PARSERS = {"loads", "reader", "unpackb", "model_validate_json", "b64decode", "load_pem_private_key"} | {
    "load_pem_x509_certificate",
    "load_der_x509_certificate",
    "load_pem_x509_certificates",
    "load_pem_x509_crl",
    "load_pem_x509_csr",
    "read_json_record",
}
PARSED_IN = {
    "consensus/codec.py": "frame",
    "node/admission/chain.py": "certificate-chain",
    "node/admission/endpoint.py": "certificate-of-a-new-home",
    "node/admission/founding_file.py": "founding",
    "node/admission/identity.py": "certificate",
    "node/admission/joining/files.py": "street-file",
    "node/admission/joining/sealing.py": "sealed-identity",
    "node/admission/office_keys.py": "office-successor",
    "node/admission/register.py": "authority-register",
    "node/admission/request.py": "certificate-request",
    "node/proofs/revocation_file.py": "key-revocation",
    "node/admission/revocations.py": "revocation-list",
    "node/api/transactions.py": "http-body",
    "node/home/append_log.py": "journal-of-promises",
    "node/home/configuration.py": "meter.toml",
    "node/home/genesis_file.py": "genesis-json",
    "node/home/json_record.py": "street-file",
    "node/meter/readings_file.py": "readings",
    "node/names/address_book.py": "address-book",
    "node/names/card.py": "card",
    "node/proofs/signed_file.py": "receipt-file",
    "node/testnet/folder.py": "testnet-manifest",
    "node/client.py": "node-answer",
}
"""Modules that parse something themselves, each with a decoder that goes through it."""


def test_every_module_that_parses_is_fuzzed() -> None:
    parsing = {
        path.relative_to(ROOT).as_posix()
        for path in MODULES
        for call in calls_in(path)
        if getattr(call.func, "attr", getattr(call.func, "id", None)) in PARSERS
    }
    assert parsing == set(PARSED_IN)
    assert set(PARSED_IN.values()) <= set(EACH)


# --- what must not be is found ---------------------------------------------------------------------------------


def without_trailing_check(data: bytes) -> PrePrepare:
    unpacker = msgpack.Unpacker(max_buffer_size=max(1, len(data)))
    unpacker.feed(data)
    try:
        size_bytes = (unpacker.skip(), unpacker.tell())[1]
    except (ValueError, msgpack.UnpackException):
        raise DecodeError(*refused()) from None
    return decode(data[:size_bytes], PrePrepare)


def without_canonical_check(data: bytes) -> PrePrepare:
    try:
        return msgspec.msgpack.decode(data, type=PrePrepare)
    except (ValueError, RecursionError):
        raise DecodeError(*refused()) from None


def without_skipping_through(data: bytes) -> PrePrepare:
    try:
        msgpack.unpackb(data, max_array_len=2**31 - 1)
    except (ValueError, RecursionError, msgpack.UnpackException):
        raise DecodeError(*refused()) from None
    return decode(data, PrePrepare)


def with_an_untyped_refusal(data: bytes) -> PrePrepare:
    if data[-1:] >= b"\xfc":
        raise KeyError("slot")
    return decode(data, PrePrepare)


def with_work_by_the_square(data: bytes) -> PrePrepare:
    if len(data) > INPUT_SIZE_BYTES_MAX // 2:
        while True:
            data = data[1:] + data[:1]
    return decode(data, PrePrepare)


def with_a_refusal_as_long_as_the_input(data: bytes) -> PrePrepare:
    try:
        return decode(data, PrePrepare)
    except DecodeError as error:
        raise DecodeError(error.reason, data.hex()) from None


def refused() -> tuple[object, str]:
    try:
        decode(b"", PrePrepare)
    except DecodeError as error:
        return error.reason, "refused"
    raise AssertionError


@pytest.mark.parametrize(
    ("read", "what"),
    [
        (without_trailing_check, "another encoding"),
        (without_canonical_check, "another encoding"),
        (without_skipping_through, "MemoryError"),
        (with_an_untyped_refusal, "KeyError"),
        (with_work_by_the_square, "CPU time"),
        (with_a_refusal_as_long_as_the_input, "a refusal of"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_broken_decoder_is_found_by_its_share_of_the_cases(
    read: Callable[[bytes], PrePrepare], what: str, fresh_process: Executor
) -> None:
    assert any(what in found for found in fresh_process.submit(found_wrong, read).result())


def found_wrong(read: Callable[[bytes], PrePrepare]) -> list[str]:
    right = decoders()["undecided-vote"]
    broken = Decoder(name=right.name, read=read, write=encode, refusals=right.refusals, specimens=right.specimens)
    return [finding.what for finding in fuzz(broken, share_of(right.name)).findings]


def be_impatient() -> None:
    fuzzer.CPU_S_MAX = 0.3


@pytest.fixture(scope="module")
def fresh_process() -> Iterator[Executor]:
    """Its heap has nothing left over from other tests, which decoders could use on top of their bound."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=be_impatient) as pool:
        yield pool
