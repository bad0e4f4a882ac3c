"""Blocks as they are hashed, sent and stored.

A block's digest is the hash of its header; the header's roots commit to the body. Receipts are not in the
block: every member computes them and the header commits to them.
"""

from typing import Annotated

from msgspec import Meta

from consensus.codec import Record, encode
from consensus.cryptography import HashKind, digest
from consensus.era_plans import EraProof, KeyField
from consensus.eras import EraField
from consensus.identifiers import Digest
from consensus.messages import AddressField, CommitCertificate, DigestField, HeightField, SlotField
from consensus.vrf import PROOF_SIZE_BYTES
from contracts.receipts import Posting
from ledger.merkle_tree import tree_root


class BlockHeader(Record, frozen=True, kw_only=True, tag="header"):
    """Names a block and commits to all that it contains and leads to."""

    version: int
    """Protocol version that the block follows."""
    chain: DigestField
    era: EraField
    """In which it was made; a block that a ceremony carries over keeps it."""
    height: HeightField
    slot: SlotField
    """Slot of the first proposal; a block proposed again in a later slot keeps it."""
    leader: AddressField
    """L(height, slot)."""
    parent: DigestField
    """Digest of block h - 1; the chain id at height 1."""
    parent_certificate: DigestField
    """Hash of the carried certificate of h - 1; of nil at height 1."""
    transactions_root: DigestField
    postings_root: DigestField
    receipts_root: DigestField
    state_root: DigestField
    """Root of the authenticated map after executing this block."""
    membership: DigestField
    """Digest of M(h + 2): its members' addresses and node keys, in their order."""
    authority: KeyField
    """The key that acts for the authority after this block: who has no state still knows whose word counts."""
    ceremony: DigestField
    """Hash of the carried ceremony, or of nil."""
    vrf_proof: Annotated[bytes, Meta(max_length=PROOF_SIZE_BYTES)]
    """What moves the chain's randomness (`contracts.randomness`); empty where that asks for none."""


class Block(Record, frozen=True, kw_only=True, tag="block"):
    """Header and body."""

    header: BlockHeader
    transactions: tuple[bytes, ...]
    """Raw signed transactions, exactly as received."""
    postings: tuple[Posting, ...]
    """The leader's claimed escrow postings, recomputed by every validator."""
    parent_certificate: CommitCertificate | None
    """Exactly Q COMMITs for h - 1, sorted by signer; None at height 1."""
    ceremony: EraProof | None = None
    """Of the first block that an era makes: why it began."""


def block_digest(header: BlockHeader) -> Digest:
    """Returns the name of a block."""
    return digest(HashKind.BLOCK, encode(header))


def certificate_digest(certificate: CommitCertificate | None) -> Digest:
    """Returns the hash of a carried certificate (or of nil) that a header commits to."""
    return digest(HashKind.CERTIFICATE, encode(certificate))


def ceremony_digest(proof: EraProof | None) -> Digest:
    """Returns the hash of a carried ceremony (or of nil) that a header commits to."""
    return digest(HashKind.CEREMONY, encode(proof))


def block_is_whole(block: Block) -> bool:
    """Says whether the body is the one that the header commits to, as far as that shows without executing it.

    Then a digest names one block only: nobody can have a good block judged by a body that was swapped.
    """
    header = block.header
    return (
        tree_root(block.transactions) == header.transactions_root
        and tree_root([encode(posting) for posting in block.postings]) == header.postings_root
        and certificate_digest(block.parent_certificate) == header.parent_certificate
        and ceremony_digest(block.ceremony) == header.ceremony
    )
