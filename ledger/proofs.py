"""Proofs that a wallet or an auditor checks alone, with nothing but the chain's members, and may keep.

Each carries a header with the commit certificate that decided it; the rest is a path to one of the header's roots.
"""

from typing import Annotated

from msgspec import Meta

from consensus.codec import Record, encode
from consensus.eras import Eras
from consensus.identifiers import Digest
from consensus.membership import Membership
from consensus.messages import CommitCertificate
from contracts.receipts import Posting, Receipt
from contracts.state import StateKey
from ledger.authenticated_map import MapProof, proof_holds
from ledger.block import Block, BlockHeader, block_digest
from ledger.merkle_tree import InclusionProof, inclusion_holds, prove_inclusion
from ledger.validation import certificate_fault


class ReceiptProof(Record, frozen=True, kw_only=True, tag="receipt-proof"):
    """That a decided block has this receipt, hence its transaction, at this place."""

    header: BlockHeader
    certificate: CommitCertificate
    receipt: Receipt
    inclusion: InclusionProof


class PostingProof(Record, frozen=True, kw_only=True, tag="posting-proof"):
    """That a block has this posting, at this place; the header comes from elsewhere."""

    posting: Posting
    inclusion: InclusionProof


class StateProof(Record, frozen=True, kw_only=True, tag="state-proof"):
    """That a state key had this value, or none, after a decided block."""

    header: BlockHeader
    certificate: CommitCertificate
    key: Annotated[StateKey, Meta(min_length=1, max_length=128)]
    value: bytes | None
    """None: the key was never written."""
    path: MapProof


def prove_postings(block: Block, trade: Digest) -> tuple[PostingProof, ...]:
    """Returns the postings of a contract in a block, each with its path to the header's root."""
    encoded = [encode(posting) for posting in block.postings]
    return tuple(
        PostingProof(posting=posting, inclusion=prove_inclusion(encoded, place))
        for place, posting in enumerate(block.postings)
        if posting.trade == trade
    )


def posting_proof_holds(proof: PostingProof, header: BlockHeader) -> bool:
    """Says whether the block of a header, which the caller knows to be decided, has this posting."""
    return inclusion_holds(proof.inclusion, header.postings_root, encode(proof.posting))


def header_is_decided(
    header: BlockHeader, certificate: CommitCertificate, *, membership: Membership, eras: Eras
) -> bool:
    """Says whether a quorum of the members of the header's height decided it on this chain."""
    fault = certificate_fault(certificate, header.height, block_digest(header), membership, eras.at(header.height))
    return header.chain == eras.chain and fault is None


def receipt_proof_holds(proof: ReceiptProof, *, membership: Membership, eras: Eras) -> bool:
    """Says whether a receipt is on the chain.

    Args:
        proof: from anyone.
        membership: the members of the proof's height, which the verifier knows and does not take from the prover.
        eras: of the chain, which the verifier knows likewise.
    """
    return header_is_decided(proof.header, proof.certificate, membership=membership, eras=eras) and inclusion_holds(
        proof.inclusion, proof.header.receipts_root, encode(proof.receipt)
    )


def state_proof_holds(proof: StateProof, *, membership: Membership, eras: Eras) -> bool:
    """Says whether a key had the proof's value, or none, after the block of the proof's header.

    Args:
        proof: from anyone.
        membership: the members of the proof's height, which the verifier knows and does not take from the prover.
        eras: of the chain, which the verifier knows likewise.
    """
    return header_is_decided(proof.header, proof.certificate, membership=membership, eras=eras) and proof_holds(
        proof.path, proof.header.state_root, proof.key, proof.value
    )
