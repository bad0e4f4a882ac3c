"""Proven misconduct on the chain, and evidence files that convince without a node.

An offence is proven by two statements that one member signed: whoever holds both and knows the member's key needs
nobody else.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from consensus.codec import DecodeError, Record, decode, encode
from consensus.evidence import Equivocation, Offence
from consensus.identifiers import Address, Digest, Signature
from contracts.genesis import Genesis, chain_id
from contracts.genesis_state import genesis_state
from contracts.misconduct import DOUBLE_OFFER, misconduct_name, proven
from contracts.state import Misconduct, Overlay, StateKey, Table, misconduct_key
from contracts.transactions import DoubleOffer, ReportMisconduct, decode_transaction
from ledger.ledger import Ledger
from ledger.show import render
from node.errors import FileRefused, NotFound
from node.proofs.receipt_file import member_keys, names_of
from node.proofs.signed_file import bytes_of, file_text, parse_file, require_unchanged
from node.replies.stories import (
    MisconductModel,
    MisconductReply,
    MisconductsReply,
    NamedMember,
    PendingMisconduct,
    SignedStatementModel,
)
from node.stories.member_names import PREFIX, PREFIX_DIGITS_MIN
from node.stories.trade_search import stored_block
from node.stories.trade_story import named

Evidence = Equivocation | DoubleOffer

EVIDENCE_FORMAT: Final = "p2pnode-evidence-1"
EVIDENCE_SUFFIX: Final = ".evidence"
UNKNOWN_EVIDENCE: Final = "unknown_evidence"
"""Reason of `NotFound`."""

OFFENCES: Final[Mapping[str, str]] = {
    Offence.TWO_VOTES.value: "voted for two different blocks in one slot",
    Offence.TWO_COMMITS.value: "committed to two different blocks in one slot",
    Offence.TWO_VIEW_CHANGES.value: "signed two different VIEW-CHANGEs for one slot",
    Offence.COMMIT_DENIED.value: "committed to a block and denied it in a later VIEW-CHANGE",
    DOUBLE_OFFER: "signed two different contracts under one offer id",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Evidence whose signatures hold under a genesis."""

    evidence: Evidence
    offence: str
    name: Digest
    """Misconduct id."""


# --- the chain -------------------------------------------------------------------------------------------------


def list_misconduct(ledger: Ledger) -> MisconductsReply:
    """Returns what the chain has, in its order."""
    found = sorted(_records(ledger), key=lambda item: (item[1].height, item[0]))
    return MisconductsReply(misconducts=[_model(ledger, name, record) for name, record in found])


def show_misconduct(ledger: Ledger, text: str) -> MisconductReply:
    """Returns the misconduct whose id begins with `text`, with both statements.

    Raises:
        NotFound: none, or several.
    """
    if not PREFIX.fullmatch(text):
        raise NotFound(UNKNOWN_EVIDENCE, f"{text!r} is no id: give {PREFIX_DIGITS_MIN} or more of its digits")
    found = [(name, record) for name, record in _records(ledger) if name.hex().startswith(text.lower())]
    if len(found) > 1:
        raise NotFound("ambiguous_name", f"{text} is the beginning of {len(found)} ids: give more digits")
    if not found:
        raise NotFound(UNKNOWN_EVIDENCE, f"the chain holds no misconduct {text}")
    name, record = found[0]
    evidence = _evidence_of(ledger, record)
    return MisconductReply(
        misconduct=_model(ledger, name, record), statements=statements_of(evidence), encoded=encode(evidence).hex()
    )


def is_on_chain(ledger: Ledger, name: Digest) -> bool:
    """Says whether the chain has a misconduct."""
    return ledger.get(misconduct_key(name)) is not None


def _records(ledger: Ledger) -> Iterator[tuple[Digest, Misconduct]]:
    for key, raw in ledger.scan(Table.MISCONDUCT):
        yield Digest(StateKey(key)[1:]), decode(raw, Misconduct)


def _model(ledger: Ledger, name: Digest, record: Misconduct) -> MisconductModel:
    return MisconductModel(
        misconduct=name.hex(),
        offender=named(ledger, record.offender),
        offence=record.offence,
        words=OFFENCES[record.offence],
        transaction=record.transaction.hex(),
        height=record.height,
    )


def _evidence_of(ledger: Ledger, record: Misconduct) -> Evidence:
    location = ledger.find_transaction(record.transaction)
    assert location is not None, "a misconduct names the transaction that brought it"
    raw = stored_block(ledger, location.height).transactions[location.index]
    action = decode_transaction(raw).envelope.action
    assert isinstance(action, ReportMisconduct), "only reports prove misconduct"
    return action.evidence


def statements_of(evidence: Evidence) -> list[SignedStatementModel]:
    """Returns the two statements with their signatures."""
    signed: list[tuple[Record, Signature]]
    if isinstance(evidence, Equivocation):
        signed = [(item.statement, item.signature) for item in (evidence.first, evidence.second)]
    else:
        signed = [(evidence.first, evidence.first_signature), (evidence.second, evidence.second_signature)]
    return [_statement(statement, signature) for statement, signature in signed]


def _statement(statement: Record, signature: Signature) -> SignedStatementModel:
    fields = render(statement)
    return SignedStatementModel(
        kind=fields.pop("type"), fields=fields, signature=signature.hex(), encoded=encode(statement).hex()
    )


def show_pending(proof: Proof, names: Mapping[Address, str]) -> PendingMisconduct:
    """Returns a proof that no block has yet as `show_misconduct` returns those of the chain."""
    offender = proof.evidence.offender
    return PendingMisconduct(
        misconduct=proof.name.hex(),
        offender=NamedMember(name=names[offender], address=offender.hex()),
        offence=proof.offence,
        words=OFFENCES[proof.offence],
        statements=statements_of(proof.evidence),
        encoded=encode(proof.evidence).hex(),
    )


# --- files -----------------------------------------------------------------------------------------------------


def evidence_text(evidence: Evidence, offence: str, names: Mapping[Address, str]) -> str:
    """Returns the file of an evidence."""
    return file_text(_document(evidence, offence, names))


def _document(evidence: Evidence, offence: str, names: Mapping[Address, str]) -> dict[str, Any]:
    offender = evidence.offender
    return {
        "format": EVIDENCE_FORMAT,
        "about": {
            "misconduct": misconduct_name(evidence, offence).hex(),
            "offender": names.get(offender, offender.hex()),
            "address": offender.hex(),
            "offence": offence,
            "words": OFFENCES[offence],
            "statements": [
                {"kind": item.kind, **item.fields, "signature": item.signature} for item in statements_of(evidence)
            ],
        },
        "content": encode(evidence).hex(),
    }


def check_evidence_file(content: bytes, genesis: Genesis) -> Proof:
    """Returns what an evidence file proves; it may also be a node's own file, the bare canonical bytes.

    Raises:
        FileRefused: it proves nothing under this genesis, or was changed.
    """
    if not content.lstrip().startswith(b"{"):
        return prove_evidence(content, genesis)
    document = parse_file(content, EVIDENCE_FORMAT)
    proof = prove_evidence(bytes_of(document, "content"), genesis)
    require_unchanged(content, _document(proof.evidence, proof.offence, names_of(genesis)))
    return proof


def prove_evidence(encoded: bytes, genesis: Genesis) -> Proof:
    """Returns what canonical bytes prove under a genesis.

    Raises:
        FileRefused: nothing.
    """
    try:
        evidence: Evidence = decode(encoded, Evidence)  # type: ignore[arg-type]  # a union is a type to msgspec
    except DecodeError as error:
        raise FileRefused(f"its content is damaged: {error}") from None
    if evidence.offender not in member_keys(genesis):
        raise FileRefused(f"{evidence.offender.hex()} is no member of this genesis")
    offence = proven(evidence, Overlay(genesis_state(genesis)), chain_id(genesis))
    if offence is None:
        name = names_of(genesis)[evidence.offender]
        raise FileRefused(f"the two statements do not prove that {name} contradicted itself on this chain")
    return Proof(evidence=evidence, offence=offence, name=misconduct_name(evidence, offence))


def evidence_files(directory: Path) -> list[Path]:
    """Returns the files of a node's folder in the order of their names; none if there is no such folder.

    Raises:
        OSError: the folder cannot be read, which says nothing of what it holds.
    """
    try:
        return sorted(path for path in directory.iterdir() if path.name.endswith(EVIDENCE_SUFFIX))
    except FileNotFoundError:
        return []


def pending_evidence(directory: Path, genesis: Genesis) -> Iterator[tuple[Path, Proof | FileRefused]]:
    """Yields the evidence files of a node's folder, by name, also of what the chain has by now.

    Raises:
        OSError: the folder cannot be read.
    """
    for path in evidence_files(directory):
        try:
            yield path, prove_evidence(path.read_bytes(), genesis)
        except OSError as error:
            yield path, FileRefused(f"cannot be read: {error.strerror}")
        except FileRefused as refused:
            yield path, refused
