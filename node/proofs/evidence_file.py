"""Evidence files, which convince without a node, and what the files prove that a node itself keeps.

An offence is proven by two statements that one member signed: whoever holds both and knows the member's key needs
nobody else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from consensus.codec import DecodeError, decode, encode
from consensus.identifiers import Digest
from contracts.genesis import Genesis, chain_id
from contracts.genesis_state import genesis_state
from contracts.misconduct import misconduct_name, proven
from contracts.state import Overlay
from node.errors import FileRefused
from node.home.bounded_file import FileTooLargeError, read_bounded
from node.home.evidence_folder import evidence_files
from node.names.names import Names
from node.proofs.genesis_members import genesis_membership
from node.proofs.signed_file import FILE_SIZE_BYTES_MAX, bytes_of, file_text, parse_file, require_unchanged
from node.replies.stories import PendingMisconduct
from node.stories.member_names import named
from node.stories.misconduct import OFFENCES, Evidence, statements_of

EVIDENCE_FORMAT: Final = "p2pnode-evidence-2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Evidence whose signatures hold under a genesis."""

    evidence: Evidence
    offence: str
    name: Digest
    """Misconduct id."""


def show_pending(proof: Proof, names: Names) -> PendingMisconduct:
    """Returns a proof that no block has yet as `show_misconduct` returns those of the chain."""
    offender = proof.evidence.offender
    return PendingMisconduct(
        misconduct=proof.name.hex(),
        offender=named(names, offender),
        offence=proof.offence,
        words=OFFENCES[proof.offence],
        statements=statements_of(proof.evidence),
        encoded=encode(proof.evidence).hex(),
    )


def evidence_text(evidence: Evidence, offence: str) -> str:
    """Returns the file of an evidence."""
    return file_text(_document(evidence, offence))


def _document(evidence: Evidence, offence: str) -> dict[str, Any]:
    offender = evidence.offender
    return {
        "format": EVIDENCE_FORMAT,
        "about": {
            "misconduct": misconduct_name(evidence, offence).hex(),
            "offender": offender.hex(),
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
    require_unchanged(content, _document(proof.evidence, proof.offence))
    return proof


def prove_evidence(encoded: bytes, genesis: Genesis) -> Proof:
    """Returns what canonical bytes prove under a genesis.

    Raises:
        FileRefused: nothing.
    """
    try:
        evidence: Evidence = decode(encoded, Evidence)
    except DecodeError as error:
        raise FileRefused(f"its content is damaged: {error}") from None
    if evidence.offender not in genesis_membership(genesis):
        raise FileRefused(f"{evidence.offender.hex()} is no member of this genesis")
    offence = proven(evidence, Overlay(genesis_state(genesis)), chain_id(genesis))
    if offence is None:
        raise FileRefused(
            f"the two statements do not prove that {evidence.offender.hex()} contradicted itself on this chain"
        )
    return Proof(evidence=evidence, offence=offence, name=misconduct_name(evidence, offence))


def pending_evidence(directory: Path, genesis: Genesis) -> Iterator[tuple[Path, Proof | FileRefused]]:
    """Yields the evidence files of a node's folder, by name, also of what the chain has by now.

    Raises:
        OSError: the folder cannot be read.
    """
    for path in evidence_files(directory):
        try:
            yield path, prove_evidence(read_bounded(path, size_bytes_max=FILE_SIZE_BYTES_MAX), genesis)
        except OSError as error:
            yield path, FileRefused(f"cannot be read: {error.strerror}")
        except FileTooLargeError as error:
            yield path, FileRefused(f"{error}, which no proof is")
        except FileRefused as refused:
            yield path, refused
