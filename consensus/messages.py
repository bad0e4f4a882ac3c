"""What members sign, the certificates made of it, and the messages that carry both.

Signed are statements only: VOTE, COMMIT and VIEW-CHANGE over (domain, height, slot, ...). PRE-PREPARE and
PREPARE carry the same VOTE; the leader sends no PREPARE. Justifications, certificates and bodies are not
signed: they prove themselves by the statements inside.
"""

from enum import Enum
from typing import Annotated, Final

from msgspec import Meta

from consensus.codec import Record, encode
from consensus.eras import EraField
from consensus.identifiers import (
    DIGEST_SIZE_BYTES,
    SIGNATURE_SIZE_BYTES,
    Address,
    Digest,
    Domain,
    Height,
    Signature,
    Slot,
)

MEMBERS_MAX: Final = 256
"""Largest membership: certificates and justifications stay within a frame."""

PROPOSAL_SIZE_BYTES_MAX: Final = 6 * 1024 * 1024
"""Largest opaque proposal: the largest block that genesis can allow, with its postings."""

MESSAGE_SIZE_BYTES_MAX: Final = PROPOSAL_SIZE_BYTES_MAX + 512 * 1024
"""Largest encoded message: a proposal with a justification of 256 headers and a certificate."""

RELAY_MEMBERS_MAX: Final = 13
"""Up to so many members pass on what others say (`relaying`); its cost grows with their cube."""

NUMBER_MAX: Final = 2**63 - 1

DigestField = Annotated[Digest, Meta(min_length=DIGEST_SIZE_BYTES, max_length=DIGEST_SIZE_BYTES)]
DomainField = Annotated[Domain, Meta(min_length=DIGEST_SIZE_BYTES, max_length=DIGEST_SIZE_BYTES)]
AddressField = Annotated[Address, Meta(min_length=DIGEST_SIZE_BYTES, max_length=DIGEST_SIZE_BYTES)]
SignatureField = Annotated[Signature, Meta(min_length=SIGNATURE_SIZE_BYTES, max_length=SIGNATURE_SIZE_BYTES)]
HeightField = Annotated[Height, Meta(ge=0, le=NUMBER_MAX)]
BlockHeightField = Annotated[Height, Meta(ge=1, le=NUMBER_MAX)]
"""A height that members decide: genesis, 0, is none, and nobody can be asked for it."""
SlotField = Annotated[Slot, Meta(ge=0, le=NUMBER_MAX)]
ProposalField = Annotated[bytes, Meta(max_length=PROPOSAL_SIZE_BYTES_MAX)]


# --- statements: the bytes under a signature ---------------------------------------------------------------


class VoteStatement(Record, frozen=True, kw_only=True, tag="p2pnode-2-vote"):
    """This block is valid and was executed by the signer, at this height and slot."""

    domain: DomainField
    height: BlockHeightField
    slot: SlotField
    block: DigestField


class CommitStatement(Record, frozen=True, kw_only=True, tag="p2pnode-2-commit"):
    """The signer holds a certificate of Q votes for this block, at this height and slot."""

    domain: DomainField
    height: BlockHeightField
    slot: SlotField
    block: DigestField


class Claim(Record, frozen=True, kw_only=True):
    """The block that the signer holds as prepared, and the slot it was prepared in."""

    slot: SlotField
    block: DigestField


class ViewChangeStatement(Record, frozen=True, kw_only=True, tag="p2pnode-2-view-change"):
    """The signer votes and commits no more below this slot, and holds this block (or none) as prepared."""

    domain: DomainField
    height: BlockHeightField
    slot: SlotField
    claim: Claim | None


# --- certificates ------------------------------------------------------------------------------------------


class Endorsement(Record, frozen=True, kw_only=True):
    """One member's signature under the statement that a certificate names."""

    signer: AddressField
    signature: SignatureField


Endorsements = Annotated[tuple[Endorsement, ...], Meta(max_length=MEMBERS_MAX)]


class PreparedCertificate(Record, frozen=True, kw_only=True, tag="prepared"):
    """PC(s, d): exactly Q VOTEs for one block at one height and slot, sorted by signer."""

    era: EraField
    height: BlockHeightField
    slot: SlotField
    block: DigestField
    endorsements: Endorsements


class CommitCertificate(Record, frozen=True, kw_only=True, tag="committed"):
    """CC(s, d): exactly Q COMMITs for one block at one height and slot, sorted by signer. Decides the block."""

    era: EraField
    height: BlockHeightField
    slot: SlotField
    block: DigestField
    endorsements: Endorsements


class EndorsedStatement(Enum):
    """Of which kind the statements are that a certificate endorses."""

    VOTE = "vote"
    COMMIT = "commit"


class Gathered(Record, frozen=True, kw_only=True, tag="gathered"):
    """A certificate as one hands it to who knows the members of its height: numbers in the place of addresses."""

    era: EraField
    kind: EndorsedStatement
    height: BlockHeightField
    slot: SlotField
    block: DigestField
    signers: Annotated[bytes, Meta(min_length=1, max_length=(MEMBERS_MAX + 7) // 8)]
    """A bit per member in the order of admission, the first one lowest in the first byte; exactly Q are set."""
    signatures: Annotated[bytes, Meta(max_length=MEMBERS_MAX * SIGNATURE_SIZE_BYTES)]
    """Theirs, in the same order, with nothing between."""


class CertificateRequest(Record, frozen=True, kw_only=True, tag="certificate-request"):
    """Asks who collects for the certificates of a height and slot that it has."""

    era: EraField
    height: BlockHeightField
    slot: SlotField


class ViewChangeHeader(Record, frozen=True, kw_only=True):
    """One member's VIEW-CHANGE inside a justification, for the justification's height and slot."""

    signer: AddressField
    claim: Claim | None
    signature: SignatureField


class Justification(Record, frozen=True, kw_only=True):
    """Why a proposal after a failed slot is safe: exactly Q VIEW-CHANGE headers, sorted by signer, and the
    certificate of the highest claim if any header claims a block.
    """

    headers: Annotated[tuple[ViewChangeHeader, ...], Meta(max_length=MEMBERS_MAX)]
    certificate: PreparedCertificate | None


# --- messages ----------------------------------------------------------------------------------------------


class PrePrepare(Record, frozen=True, kw_only=True, tag="pre-prepare"):
    """The leader's proposal for a slot, with its own VOTE."""

    height: BlockHeightField
    slot: SlotField
    block: DigestField
    signer: AddressField
    signature: SignatureField
    """Under the `VoteStatement`."""
    justification: Justification | None
    proposal: ProposalField
    """Opaque to consensus; its host checks that `block` names it."""


class Prepare(Record, frozen=True, kw_only=True, tag="prepare"):
    """A member's VOTE."""

    height: BlockHeightField
    slot: SlotField
    block: DigestField
    signer: AddressField
    signature: SignatureField


class Commit(Record, frozen=True, kw_only=True, tag="commit"):
    """A member's COMMIT."""

    height: BlockHeightField
    slot: SlotField
    block: DigestField
    signer: AddressField
    signature: SignatureField


class ViewChange(Record, frozen=True, kw_only=True, tag="view-change"):
    """A member's VIEW-CHANGE with the certificate of what it claims."""

    height: BlockHeightField
    slot: SlotField
    claim: Claim | None
    signer: AddressField
    signature: SignatureField
    certificate: PreparedCertificate | None


class Decided(Record, frozen=True, kw_only=True, tag="decided"):
    """A decided block with its commit certificate; proves itself to anyone."""

    certificate: CommitCertificate
    proposal: ProposalField


class Status(Record, frozen=True, kw_only=True, tag="status"):
    """Where the sender stands: asks whoever is ahead for what it lacks."""

    era: EraField
    """Of that height, as far as the sender knows: who is in another era is told so, not taken for a liar."""
    undecided: BlockHeightField
    """The height that the sender has not decided yet."""
    tip: DigestField
    """Digest of the last decided block (the chain id at genesis)."""
    clock_slot: SlotField
    origin: AddressField
    """Who stands there; not the sender where another member passes it on."""
    hears: Annotated[bytes, Meta(max_length=(RELAY_MEMBERS_MAX + 7) // 8)]
    """Whom the origin lately heard itself: a bit per member in the order of admission, the lowest first. Empty above
    `RELAY_MEMBERS_MAX` members.
    """
    is_silent: bool = False
    """The origin signs nothing at that height and will not: what it signed there is lost, or it gave the era up."""


class BodyRequest(Record, frozen=True, kw_only=True, tag="body-request"):
    """Asks a claimant for the proposal that its VIEW-CHANGE claims."""

    height: BlockHeightField
    block: DigestField


class Body(Record, frozen=True, kw_only=True, tag="body"):
    """Answers a `BodyRequest`."""

    height: BlockHeightField
    block: DigestField
    proposal: ProposalField


NONCE_SIZE_BYTES: Final = 32


NonceField = Annotated[bytes, Meta(min_length=NONCE_SIZE_BYTES, max_length=NONCE_SIZE_BYTES)]
"""Random; an answer to an earlier question does not have it."""


class HeightQuestionStatement(Record, frozen=True, kw_only=True, tag="p2pnode-2-height-question"):
    """The signer asks how far the chain is."""

    domain: DomainField
    asker: AddressField
    nonce: NonceField


class HeightAnswerStatement(Record, frozen=True, kw_only=True, tag="p2pnode-2-height-answer"):
    """The signer has decided nothing from this height on, and keeps silent at none from it on."""

    domain: DomainField
    asker: AddressField
    nonce: NonceField
    undecided: BlockHeightField


class HeightQuestion(Record, frozen=True, kw_only=True, tag="height-question"):
    """A member that does not know what it signed asks the others how far the chain is (`recovery`).

    Signed, and naming who asks: anybody may pass it on.
    """

    era: EraField
    """The newest one that the asker knows of, whose domain the signature covers."""
    asker: AddressField
    nonce: NonceField
    signature: SignatureField
    """Under the `HeightQuestionStatement`."""


class HeightAnswer(Record, frozen=True, kw_only=True, tag="height-answer"):
    """Answers a `HeightQuestion`. It proves nothing: it counts once the asker's own ledger is as far."""

    era: EraField
    """The newest one that the signer knows of, whose domain the signature covers."""
    asker: AddressField
    nonce: NonceField
    undecided: BlockHeightField
    """The height that the signer has not decided yet."""
    signer: AddressField
    signature: SignatureField
    """Under the `HeightAnswerStatement`."""


Message = (
    PrePrepare | Prepare | Commit | ViewChange | Decided | Status | BodyRequest | Body | Gathered | CertificateRequest
)

Checked = (
    PrePrepare
    | Prepare
    | Commit
    | ViewChange
    | Decided
    | Status
    | BodyRequest
    | Body
    | PreparedCertificate
    | CommitCertificate
    | CertificateRequest
)
"""What a message says once it was checked: of a certificate in few bytes, the certificate."""


def vote_bytes(domain: Domain, height: Height, slot: Slot, block: Digest) -> bytes:
    """Returns the bytes that a VOTE signs."""
    return encode(VoteStatement(domain=domain, height=height, slot=slot, block=block))


def commit_bytes(domain: Domain, height: Height, slot: Slot, block: Digest) -> bytes:
    """Returns the bytes that a COMMIT signs."""
    return encode(CommitStatement(domain=domain, height=height, slot=slot, block=block))


def view_change_bytes(domain: Domain, height: Height, slot: Slot, claim: Claim | None) -> bytes:
    """Returns the bytes that a VIEW-CHANGE signs."""
    return encode(ViewChangeStatement(domain=domain, height=height, slot=slot, claim=claim))


def height_question_bytes(domain: Domain, asker: Address, nonce: bytes) -> bytes:
    """Returns the bytes that a HEIGHT-QUESTION signs."""
    return encode(HeightQuestionStatement(domain=domain, asker=asker, nonce=nonce))


def height_answer_bytes(domain: Domain, asker: Address, nonce: bytes, undecided: Height) -> bytes:
    """Returns the bytes that a HEIGHT-ANSWER signs."""
    return encode(HeightAnswerStatement(domain=domain, asker=asker, nonce=nonce, undecided=undecided))
