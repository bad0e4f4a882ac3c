"""Checks signatures and certificates against a membership, before the replica sees a message.

`Verified[T]` says in the type that this happened. Checks that need no signature come first, so that garbage
costs little. Runs anywhere: it touches no state.
"""

from enum import Enum
from itertools import pairwise
from typing import Generic, TypeVar

import msgspec

from consensus.cryptography import verify
from consensus.eras import Era
from consensus.gathering import Certificate, certificate_of
from consensus.identifiers import Address, Digest, Height, Signature, Slot
from consensus.membership import Leaders, Membership
from consensus.messages import (
    Checked,
    Claim,
    Commit,
    CommitCertificate,
    Decided,
    Endorsement,
    Gathered,
    Justification,
    Message,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    ViewChange,
    commit_bytes,
    view_change_bytes,
    vote_bytes,
)

M = TypeVar("M")


class Refusal(Enum):
    """Why a message was not taken. Counted by the node, per sender."""

    UNKNOWN_SIGNER = "unknown_signer"
    BAD_SIGNATURE = "bad_signature"
    NOT_THE_LEADER = "not_the_leader"
    BAD_CERTIFICATE = "bad_certificate"
    BAD_JUSTIFICATION = "bad_justification"
    CLAIM_WITHOUT_CERTIFICATE = "claim_without_certificate"


class Verified(msgspec.Struct, Generic[M], frozen=True):
    """A message whose signatures all hold under the membership of its height."""

    message: M


def verify_message(message: Message, leaders: Leaders, era: Era) -> Verified[Checked] | Refusal:
    """Checks everything about a message that needs keys but no replica state.

    Args:
        message: as decoded from the wire.
        leaders: the members of the message's height, and who of them may lead.
        era: the message's height belongs to.

    Returns:
        The message as `Verified`, a certificate in few bytes as the certificate that it is, or why it is refused.
    """
    if isinstance(message, Gathered):
        certificate = certificate_in(message, leaders.membership, era)
        return Refusal.BAD_CERTIFICATE if certificate is None else Verified(certificate)
    refusal = _check(message, leaders, era)
    return Verified(message) if refusal is None else refusal


def _check(message: Checked, leaders: Leaders, era: Era) -> Refusal | None:
    membership = leaders.membership
    match message:
        case PrePrepare():
            return _check_pre_prepare(message, leaders, era)
        case Prepare():
            signed = vote_bytes(era.domain, message.height, message.slot, message.block)
            return _check_signature(message.signer, signed, message.signature, membership)
        case Commit():
            signed = commit_bytes(era.domain, message.height, message.slot, message.block)
            return _check_signature(message.signer, signed, message.signature, membership)
        case ViewChange():
            return _check_view_change(message, membership, era)
        case Decided():
            holds = commit_certificate_holds(message.certificate, membership, era)
            return None if holds else Refusal.BAD_CERTIFICATE
        case _:
            return None  # unsigned: STATUS and bodies are checked by what they lead to


def _check_signature(signer: Address, signed: bytes, signature: Signature, membership: Membership) -> Refusal | None:
    key = membership.key_of(signer)
    if key is None:
        return Refusal.UNKNOWN_SIGNER
    return None if verify(key, signed, signature) else Refusal.BAD_SIGNATURE


def _check_pre_prepare(message: PrePrepare, leaders: Leaders, era: Era) -> Refusal | None:
    if message.signer != leaders.at(message.slot, is_justified=message.justification is not None):
        return Refusal.NOT_THE_LEADER
    return proposal_refusal(message, leaders.membership, era)


def proposal_refusal(message: PrePrepare, membership: Membership, era: Era) -> Refusal | None:
    """Says why a proposal is refused, whoever leads its slot; None if signature and justification hold."""
    signed = vote_bytes(era.domain, message.height, message.slot, message.block)
    refusal = _check_signature(message.signer, signed, message.signature, membership)
    if refusal is not None or message.justification is None:
        return refusal
    holds = justification_holds(message.justification, message.height, message.slot, message.block, membership, era)
    return None if holds else Refusal.BAD_JUSTIFICATION


def _check_view_change(message: ViewChange, membership: Membership, era: Era) -> Refusal | None:
    """S2: a claim >= s or without its certificate is thrown away, never read as "none"."""
    if not _claim_has_its_certificate(message):
        return Refusal.CLAIM_WITHOUT_CERTIFICATE
    signed = view_change_bytes(era.domain, message.height, message.slot, message.claim)
    refusal = _check_signature(message.signer, signed, message.signature, membership)
    certificate = message.certificate
    if refusal is not None or certificate is None:
        return refusal
    holds = prepared_certificate_holds(certificate, membership, era)
    return None if holds else Refusal.CLAIM_WITHOUT_CERTIFICATE


def _claim_has_its_certificate(message: ViewChange) -> bool:
    """Says whether the form fits; the certificate's signatures are checked apart, and later."""
    claim, certificate = message.claim, message.certificate
    if claim is None or certificate is None:
        return claim is None and certificate is None
    return claim.slot < message.slot and certificate_is_for(certificate, message.height, claim)


def certificate_is_for(certificate: PreparedCertificate, height: Height, claim: Claim) -> bool:
    """Says whether a certificate names the height, slot and block that a claim names."""
    return (certificate.height, certificate.slot, certificate.block) == (height, claim.slot, claim.block)


def justification_holds(
    justification: Justification,
    height: Height,
    slot: Slot,
    block: Digest,
    membership: Membership,
    era: Era,
) -> bool:
    """Says whether Q VIEW-CHANGEs for exactly (height, slot) allow `block` (docs/protocol.md, rule S2)."""
    headers = justification.headers
    signers = [header.signer for header in headers]
    if len(headers) != membership.quorum or not _strictly_ascending(signers):
        return False
    highest = highest_claim(justification)
    certificate = justification.certificate
    if highest is None:
        if certificate is not None:
            return False
    elif (
        certificate is None
        or highest.slot >= slot
        or highest.block != block
        or not certificate_is_for(certificate, height, highest)
        or not prepared_certificate_holds(certificate, membership, era)
    ):
        return False
    return all(
        _check_signature(
            header.signer, view_change_bytes(era.domain, height, slot, header.claim), header.signature, membership
        )
        is None
        for header in headers
    )


def highest_claim(justification: Justification) -> Claim | None:
    """Returns the claim of the highest slot in a justification, None if no header claims a block."""
    claims = [header.claim for header in justification.headers if header.claim is not None]
    return max(claims, key=lambda claim: claim.slot, default=None)


def certificate_in(gathered: Gathered, membership: Membership, era: Era) -> Certificate | None:
    """Returns the certificate that a short form is; None if it is none, or does not hold.

    What costs nothing is looked at first: Q signatures are checked only of what has the form.

    Args:
        gathered: from anybody.
        membership: of the height that it names.
        era: of that height.
    """
    certificate = certificate_of(gathered, membership)
    if certificate is None or gathered.era != era.number:
        return None
    if isinstance(certificate, PreparedCertificate):
        return certificate if prepared_certificate_holds(certificate, membership, era) else None
    return certificate if commit_certificate_holds(certificate, membership, era) else None


def prepared_certificate_holds(certificate: PreparedCertificate, membership: Membership, era: Era) -> bool:
    """Says whether exactly Q distinct members voted for the certificate's block at its height and slot."""
    signed = vote_bytes(era.domain, certificate.height, certificate.slot, certificate.block)
    return certificate.era == era.number and _endorsements_hold(certificate.endorsements, signed, membership)


def commit_certificate_holds(certificate: CommitCertificate, membership: Membership, era: Era) -> bool:
    """Says whether exactly Q distinct members committed to the certificate's block at its height and slot."""
    signed = commit_bytes(era.domain, certificate.height, certificate.slot, certificate.block)
    return certificate.era == era.number and _endorsements_hold(certificate.endorsements, signed, membership)


def _endorsements_hold(endorsements: tuple[Endorsement, ...], signed: bytes, membership: Membership) -> bool:
    signers = [endorsement.signer for endorsement in endorsements]
    return (
        len(endorsements) == membership.quorum
        and _strictly_ascending(signers)
        and all(
            _check_signature(endorsement.signer, signed, endorsement.signature, membership) is None
            for endorsement in endorsements
        )
    )


def _strictly_ascending(signers: list[Address]) -> bool:
    return all(first < second for first, second in pairwise(signers))
