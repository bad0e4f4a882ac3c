"""Two signed statements of one member about one height that an honest member never signs both.

Different justifications, payloads, certificates or slots are never evidence.
"""

from dataclasses import dataclass
from enum import Enum

from consensus.codec import Record, encode
from consensus.cryptography import verify
from consensus.eras import Era, EraField
from consensus.identifiers import Address, Digest, Domain, Height, PublicKey, Slot
from consensus.messages import (
    AddressField,
    Claim,
    Commit,
    CommitStatement,
    Prepare,
    PrePrepare,
    SignatureField,
    ViewChange,
    ViewChangeStatement,
    VoteStatement,
)

Signed = PrePrepare | Prepare | Commit | ViewChange


class Offence(Enum):
    """What the two statements contradict each other in."""

    TWO_VOTES = "two_votes"
    """Two VOTEs of one slot for different blocks."""
    TWO_COMMITS = "two_commits"
    """Two COMMITs of one slot for different blocks."""
    TWO_VIEW_CHANGES = "two_view_changes"
    """Two VIEW-CHANGEs of one slot with different claims."""
    COMMIT_DENIED = "commit_denied"
    """COMMIT(t, d) and a VIEW-CHANGE above t that claims none, an earlier slot, or another block at t."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Both messages carry valid signatures of `signer` over statements of `height`."""

    offence: Offence
    signer: Address
    height: Height
    first: Signed
    second: Signed


def contradiction(first: Signed, second: Signed) -> Offence | None:
    """Says what two verified statements of one signer at one height contradict each other in, if anything."""
    match first, second:
        case (PrePrepare() | Prepare(), PrePrepare() | Prepare()):
            return _same_slot_other(first, second, Offence.TWO_VOTES)
        case (Commit(), Commit()):
            return _same_slot_other(first, second, Offence.TWO_COMMITS)
        case (ViewChange(), ViewChange()):
            same = first.slot == second.slot and first.claim != second.claim
            return Offence.TWO_VIEW_CHANGES if same else None
        case (Commit(), ViewChange()):
            return _commit_denied(first, second)
        case (ViewChange(), Commit()):
            return _commit_denied(second, first)
        case _:
            return None


def _same_slot_other(
    first: PrePrepare | Prepare | Commit, second: PrePrepare | Prepare | Commit, offence: Offence
) -> Offence | None:
    return offence if first.slot == second.slot and first.block != second.block else None


def _commit_denied(commit: Commit, view_change: ViewChange) -> Offence | None:
    if view_change.slot <= commit.slot:
        return None
    return Offence.COMMIT_DENIED if _denies(view_change.claim, commit.slot, commit.block) else None


def _denies(claim: Claim | None, slot: Slot, block: Digest) -> bool:
    return claim is None or claim.slot < slot or (claim.slot == slot and claim.block != block)


# --- evidence that travels: statements and signatures only, whoever they came with ---------------------------------

Statement = VoteStatement | CommitStatement | ViewChangeStatement


class SignedStatement(Record, frozen=True, kw_only=True):
    """A statement of consensus as its signer signed it."""

    statement: Statement
    signature: SignatureField


class Equivocation(Record, frozen=True, kw_only=True, tag="equivocation"):
    """Two signed statements of one member; `proven_offence` says whether they contradict each other."""

    offender: AddressField
    era: EraField
    """Of the height that both are about: it decides under which key and domain they are checked."""
    first: SignedStatement
    second: SignedStatement

    @property
    def height(self) -> Height:
        """Returns the height that both are about, if they prove anything."""
        return self.first.statement.height


def equivocation_of(evidence: Evidence, era: Era) -> Equivocation:
    """Returns a replica's evidence in the form that travels: without proposals, justifications and certificates."""
    first, second = (_signed_statement(message, era.domain) for message in (evidence.first, evidence.second))
    return Equivocation(offender=evidence.signer, era=era.number, first=first, second=second)


def _signed_statement(message: Signed, domain: Domain) -> SignedStatement:
    height, slot = message.height, message.slot
    statement: Statement
    match message:
        case PrePrepare() | Prepare():
            statement = VoteStatement(domain=domain, height=height, slot=slot, block=message.block)
        case Commit():
            statement = CommitStatement(domain=domain, height=height, slot=slot, block=message.block)
        case ViewChange():
            statement = ViewChangeStatement(domain=domain, height=height, slot=slot, claim=message.claim)
    return SignedStatement(statement=statement, signature=message.signature)


def proven_offence(evidence: Equivocation, key: PublicKey, era: Era) -> Offence | None:
    """Returns what two signed statements prove of the owner of a key; None if they prove nothing.

    Args:
        evidence: the statements.
        key: the offender's node key at the height.
        era: of the height; statements of another era, or of two, prove nothing.
    """
    signed = (evidence.first, evidence.second)
    first, second = (_message(item, evidence.offender) for item in signed)
    is_proof = (
        evidence.era == era.number
        and all(item.statement.domain == era.domain for item in signed)
        and first.height == second.height
        and all(verify(key, encode(item.statement), item.signature) for item in signed)
    )
    return contradiction(first, second) if is_proof else None


def _message(signed: SignedStatement, signer: Address) -> Prepare | Commit | ViewChange:
    statement, signature = signed.statement, signed.signature
    height, slot = statement.height, statement.slot
    match statement:
        case VoteStatement():
            return Prepare(height=height, slot=slot, block=statement.block, signer=signer, signature=signature)
        case CommitStatement():
            return Commit(height=height, slot=slot, block=statement.block, signer=signer, signature=signature)
        case ViewChangeStatement():
            return ViewChange(
                height=height, slot=slot, claim=statement.claim, signer=signer, signature=signature, certificate=None
            )
