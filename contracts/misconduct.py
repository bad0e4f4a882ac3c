"""Proven misconduct: two statements that one member signed and that contradict each other, on the chain once.

Whoever reports it needs no trust: the proof holds by its signatures alone. The offender is suspended (no trading,
leading, sampling or stake) and loses its stake. It stays a member, and votes, unless it goes on contradicting itself
in consensus (`removals`).
"""

from collections.abc import Iterable
from typing import Final

from consensus.codec import encode
from consensus.cryptography import HashKind, digest, verify
from consensus.eras import Eras
from consensus.evidence import Equivocation, proven_offence
from consensus.identifiers import Address, Digest, PublicKey
from contracts.evidence_window import counting_keys, oldest_height
from contracts.key_changes import held_keys
from contracts.member_records import Misconduct
from contracts.receipts import Reason
from contracts.removals import note_equivocation
from contracts.run import BlockRun, Outcome, declined
from contracts.state import (
    ERAS_KEY,
    MEMBER_LIST_KEY,
    EraTable,
    Member,
    MemberList,
    Overlay,
    Score,
    member_key,
    misconduct_key,
    score_key,
)
from contracts.transactions import DoubleOffer, ReportMisconduct

DOUBLE_OFFER: Final = "double_offer"


def execute_report(run: BlockRun, transaction: Digest, action: ReportMisconduct) -> Outcome:
    """Suspends the offender, or declines: no member, nothing proven, known already, too old."""
    evidence = action.evidence
    offender = evidence.offender
    if run.overlay.get(member_key(offender), Member) is None:
        return declined(Reason.EVIDENCE_UNKNOWN_OFFENDER, f"{offender.hex()} is no member")
    offence = proven(evidence, run.overlay, run.context.chain)
    if offence is None:
        detail = f"the two statements do not prove that {offender.hex()} contradicted itself"
        return declined(Reason.EVIDENCE_PROVES_NOTHING, detail)
    name = misconduct_name(evidence, offence)
    known = run.overlay.get(misconduct_key(name), Misconduct)
    if known is not None:
        return declined(Reason.EVIDENCE_ALREADY_KNOWN, f"on the chain since height {known.height}")
    if is_too_old(evidence, run.overlay, run.context.chain):
        detail = f"evidence counts for heights from {oldest_height(run.overlay)} on, and under keys of these heights"
        return declined(Reason.EVIDENCE_TOO_OLD, detail)
    run.overlay.put(
        misconduct_key(name),
        Misconduct(offender=offender, offence=offence, transaction=transaction, height=run.context.height),
    )
    run.scores.suspend(offender, reference=transaction)
    if isinstance(evidence, Equivocation):
        note_equivocation(run, transaction, evidence)
    return Outcome(reference=name)


def proven(evidence: Equivocation | DoubleOffer, state: Overlay, chain: Digest) -> str | None:
    """Returns the offence that two signed statements prove of a member, None if they prove nothing.

    Args:
        evidence: the statements with their signatures.
        state: says whose key was which at every height, and which era a height belongs to.
        chain: hash of genesis; statements for other chains prove nothing here.
    """
    if isinstance(evidence, Equivocation):
        key = state.require(MEMBER_LIST_KEY, MemberList).key_at(evidence.offender, evidence.height)
        eras = Eras(chain, state.require(ERAS_KEY, EraTable).starts)
        offence = None if key is None else proven_offence(evidence, key, eras.at(evidence.height))
        return None if offence is None else offence.value
    return DOUBLE_OFFER if _is_double(evidence, held_keys(state, evidence.offender), chain) else None


def is_too_old(evidence: Equivocation | DoubleOffer, state: Overlay, chain: Digest) -> bool:
    """Says whether what evidence proves counts no more: of a height too long ago, or under a key of such a height."""
    if isinstance(evidence, Equivocation):
        return evidence.height < oldest_height(state)
    return not _is_double(evidence, counting_keys(state, evidence.offender), chain)


def _is_double(evidence: DoubleOffer, keys: tuple[PublicKey, ...], chain: Digest) -> bool:
    """Contracts name no height: each counts under any of the offender's keys that are given, else another key were a
    way out of what it promised twice.
    """
    first, second = evidence.first, evidence.second
    return (
        first.chain == second.chain == chain
        and (first.seller, first.offer_counter) == (second.seller, second.offer_counter)
        and first != second
        and all(evidence.offender in (terms.seller, terms.buyer) for terms in (first, second))
        and all(
            any(verify(key, encode(terms), signature) for key in keys)
            for terms, signature in ((first, evidence.first_signature), (second, evidence.second_signature))
        )
    )


def suspended_among(members: Iterable[Address], state: Overlay) -> frozenset[Address]:
    """Returns who of some members is suspended in a state."""
    return frozenset(member for member in members if state.require(score_key(member), Score).is_suspended)


def misconduct_name(evidence: Equivocation | DoubleOffer, offence: str) -> Digest:
    """Returns what is punished once: however many statements prove it, and in which order they are named.

    Of consensus that is an offence at a height, of trade an offer id.
    """
    if isinstance(evidence, Equivocation):
        what: tuple[object, ...] = (evidence.height,)
    else:
        what = (evidence.first.seller, evidence.first.offer_counter)
    return digest(HashKind.MISCONDUCT, encode((evidence.offender, offence, *what)))
