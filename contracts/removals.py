"""Members that are removed for cause: whose key the authority revokes, whose certificate ran out, whom a quorum
expels, who contradicts itself.

A removal waits as a leave does, before all leaves, and is carried out in the same way (`member_changes`). What
members have is theirs: wallet, debt and score stay. What they promised is settled by the rules for who does not
deliver.
Each cause has its own brake, as each could be a mistake or an attack:

- the authority's word removes one member in a waiting time. Who has stolen its key cannot end a chain at once, and
  what still waits of its word ends with the key (`member_changes.forget_revocations`);
- a certificate that ran out removes one member in a waiting time as well, after a grace (`validity`), and nobody
  below genesis' `members_min`: an authority that closed down ends no chain, a jump of block time costs one member.
  What has to wait for that waits on the agenda, not among the changes: so these members trade on;
- an expulsion takes a quorum, and a waiting time in which its members may withdraw (`proposals`);
- one contradiction may be an accident: a home that is restored from an old copy signs once more what it does not know
  that it signed, and so do two processes with one key. Whatever such a home signed twice lies at heights that were
  undecided when it was copied, so below the block with the first proof. What removes is a contradiction at a height
  above that block, in slots later than a waiting time after it, under the same key.

The first and the last speak of a key, and end with it: a home that exchanged its key is not removed for the old one.
"""

from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import address_of, verify
from consensus.evidence import Equivocation
from consensus.identifiers import Address, Digest, Slot
from contracts.agenda import schedule
from contracts.genesis import Genesis
from contracts.joining import end_candidate, is_candidate
from contracts.member_changes import is_member, speaks_of_present, waiting_with
from contracts.member_records import FirstProof, MemberQueue, Removal, RemovalCause
from contracts.offices import acting_key
from contracts.receipts import Reason
from contracts.run import BlockRun, Outcome, Refusal
from contracts.state import (
    LAST_EXPIRY_KEY,
    MEMBER_LIST_KEY,
    MEMBER_QUEUE_KEY,
    Member,
    MemberList,
    Overlay,
    first_proof_key,
    member_key,
    validity_key,
)
from contracts.transactions import Revocation, Revoke
from contracts.used_keys import key_owner
from contracts.validity_records import CertificateEnd, LastExpiry, Validity


def has_to_go(overlay: Overlay, address: Address, cause: RemovalCause) -> bool:
    """Says whether a member's removal waits for this cause."""
    waiting = overlay.require(MEMBER_QUEUE_KEY, MemberQueue).waiting
    return any(isinstance(one, Removal) and (one.address, one.cause) == (address, cause) for one in waiting)


def let_go(run: BlockRun, removal: Removal) -> None:
    """Has a member's removal wait, unless it does so for the same cause already."""
    if not has_to_go(run.overlay, removal.address, removal.cause):
        queue = run.overlay.require(MEMBER_QUEUE_KEY, MemberQueue)
        run.overlay.put(MEMBER_QUEUE_KEY, waiting_with(queue, removal))


# --- the authority's word --------------------------------------------------------------------------------------


def execute_revocation(run: BlockRun, transaction: Digest, action: Revoke) -> Outcome:
    """Has the owner of a revoked key removed, or ends its admission; declines what says nothing of a present key."""
    revocation = action.revocation
    owner = key_owner(run.overlay, revocation.node_key)
    refusal = _revocation_refusal(run, revocation, owner) or _signature_refusal(run, action)
    if refusal is not None:
        return Outcome(refusal=refusal)
    assert owner is not None, "it was not refused"
    if is_candidate(run.overlay, owner):
        end_candidate(run, owner)
    else:
        cause, key = RemovalCause.REVOKED, revocation.node_key
        let_go(run, Removal(address=owner, cause=cause, node_key=key, reference=transaction))
    return Outcome()


def _revocation_refusal(run: BlockRun, revocation: Revocation, owner: Address | None) -> Refusal | None:
    """Costs no signature."""
    key, overlay = revocation.node_key, run.overlay
    if revocation.chain != run.context.chain:
        return Refusal(reason=Reason.REVOCATION_WRONG_CHAIN, detail=f"for chain {revocation.chain.hex()}")
    member = None if owner is None else overlay.get(member_key(owner), Member)
    if owner is None or member is None or key == member.meter_key:
        return Refusal(reason=Reason.REVOCATION_UNKNOWN_KEY, detail=f"key {key.hex()} is no home's node key")
    if key != member.node_key:
        detail = f"{owner.hex()} acts by key {member.node_key.hex()} now"
        return Refusal(reason=Reason.REVOCATION_REPLACED_KEY, detail=detail)
    if not (is_member(overlay, owner) or is_candidate(overlay, owner)):
        detail = f"{owner.hex()} is neither member nor candidate"
        return Refusal(reason=Reason.REVOCATION_NOT_MEMBER, detail=detail)
    if has_to_go(overlay, owner, RemovalCause.REVOKED):
        detail = f"the removal of {owner.hex()} waits already"
        return Refusal(reason=Reason.REVOCATION_ALREADY_KNOWN, detail=detail)
    return None


def _signature_refusal(run: BlockRun, action: Revoke) -> Refusal | None:
    key = acting_key(run.overlay, address_of(run.genesis.authority_key))
    assert key is not None, "the authority is an office"
    if verify(key, encode(action.revocation), action.signature):
        return None
    detail = f"the authority's key, {key.hex()}, did not sign it"
    return Refusal(reason=Reason.REVOCATION_NOT_SIGNED, detail=detail)


# --- certificates that ran out ---------------------------------------------------------------------------------


def expire_member(run: BlockRun, end: CertificateEnd) -> None:
    """Has a member's removal wait whose certificate ran out a grace ago, or looks again later; of who was renewed, or
    is gone, nothing.
    """
    known = run.overlay.require(validity_key(end.member), Validity)
    is_over = known.until_ms != end.until_ms or has_to_go(run.overlay, end.member, RemovalCause.EXPIRED)
    if is_over or not is_member(run.overlay, end.member):
        return
    slot, from_slot = run.context.slot, next_expiry_slot(run.overlay, slot=run.context.slot, genesis=run.genesis)
    if from_slot > slot:
        schedule(run, from_slot, end)
        return
    run.overlay.put(LAST_EXPIRY_KEY, LastExpiry(slot=slot))
    run.overlay.put(validity_key(end.member), replace(known, going_slot=slot))
    cause = RemovalCause.EXPIRED
    let_go(run, Removal(address=end.member, cause=cause, node_key=None, reference=known.reference))


def next_expiry_slot(overlay: Overlay, *, slot: Slot, genesis: Genesis) -> Slot:
    """Returns when a removal may begin to wait, for a certificate that ran out: one member in a waiting time, and
    none as long as no more are members than genesis wants.
    """
    wait_slots = genesis.membership.removal_wait_slots
    if len(overlay.require(MEMBER_LIST_KEY, MemberList).addresses) <= genesis.membership.members_min:
        return Slot(slot + wait_slots)
    last = overlay.get(LAST_EXPIRY_KEY, LastExpiry)
    return Slot(slot if last is None else last.slot + wait_slots)


# --- contradictions --------------------------------------------------------------------------------------------


def note_equivocation(run: BlockRun, transaction: Digest, evidence: Equivocation) -> None:
    """Has a member removed that went on to contradict itself, or notes the first proof; of an old key, nothing."""
    if would_remove(run.overlay, evidence, run.genesis):
        member = run.overlay.require(member_key(evidence.offender), Member)
        cause, key = RemovalCause.EQUIVOCATED, member.node_key
        let_go(run, Removal(address=evidence.offender, cause=cause, node_key=key, reference=transaction))
    elif _first_proof(run.overlay, evidence) is None and _is_of_present_key(run.overlay, evidence):
        member = run.overlay.require(member_key(evidence.offender), Member)
        first = FirstProof(node_key=member.node_key, height=run.context.height, slot=run.context.slot)
        run.overlay.put(first_proof_key(evidence.offender), first)


def would_remove(overlay: Overlay, evidence: Equivocation, genesis: Genesis) -> bool:
    """Says whether a contradiction, if it is proven, removes the member whose it is."""
    first = _first_proof(overlay, evidence)
    if first is None or not _is_of_present_key(overlay, evidence):
        return False
    from_slot = first.slot + genesis.membership.removal_wait_slots
    slots = (evidence.first.statement.slot, evidence.second.statement.slot)
    is_waiting = has_to_go(overlay, evidence.offender, RemovalCause.EQUIVOCATED)
    return evidence.height > first.height and min(slots) >= from_slot and not is_waiting


def _first_proof(overlay: Overlay, evidence: Equivocation) -> FirstProof | None:
    """Returns the first proof against the offender under its present key."""
    first = overlay.get(first_proof_key(evidence.offender), FirstProof)
    is_meant = first is not None and speaks_of_present(overlay, evidence.offender, first.node_key)
    return first if is_meant else None


def _is_of_present_key(overlay: Overlay, evidence: Equivocation) -> bool:
    key = overlay.require(MEMBER_LIST_KEY, MemberList).key_at(evidence.offender, evidence.height)
    return key is not None and speaks_of_present(overlay, evidence.offender, key)
