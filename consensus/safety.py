"""The safety rules S1 to S5 of docs/protocol.md: what may be voted for, committed, promised and decided.

No clock is read here but to note when something was sent. Each rule opens with its acceptance conditions, acts
at most once per call, says whether it did, and by acting makes its own condition false.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from consensus.events import Decision, Instant, PreparedBlock
from consensus.height import HeightState
from consensus.identifiers import Address, Digest, Slot
from consensus.member import Member
from consensus.messages import (
    Claim,
    Commit,
    CommitCertificate,
    Justification,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    ViewChange,
    ViewChangeHeader,
    commit_bytes,
    view_change_bytes,
    vote_bytes,
)
from consensus.phases import Phase
from consensus.tally import quorum_for_block

VALIDATIONS_MAX: Final = 2
"""Proposals that the host executes at once: the newest and one before. A liar's own slots cannot pile up more."""


def rule_validate(member: Member, _now: Instant) -> bool:
    """S1, first half: a proposal that this member could vote for is executed in full first; P9: who may not vote and
    passes on what others say does so, too, as only valid ones are passed on.
    """
    state = member.state
    if not (member.may_sign() or member.is_relaying) or member.phase is Phase.APPLYING:
        return False
    if len(state.validating) >= VALIDATIONS_MAX:
        return False
    for proposal in _newest_first(member):
        known = proposal.block in state.origins or proposal.block in state.validating
        if not known and _is_votable(member, proposal):
            return member.request_validation(proposal.block)
    return False


def rule_vote(member: Member, now: Instant) -> bool:
    """S1: one vote per slot, slots ascending, for a valid block; the fresh need no justification."""
    if not member.may_sign():
        return False
    for proposal in _newest_first(member):
        if _may_vote(member, proposal):
            vote(member, proposal, now)
            return True
    return False


def _may_vote(member: Member, proposal: PrePrepare) -> bool:
    """S1 as it stands when the validation's result is at hand. Signatures and the justification's own validity
    were checked before `step`.
    """
    origin = member.state.origins.get(proposal.block)
    if origin is None or not _is_votable(member, proposal):
        return False
    # only a claimed or carried block keeps its older header; else a far-future header slot could end the chain, and
    # one of a slot's two leaders could name the other
    is_claimed = proposal.justification is not None and not claims_nothing(proposal.justification)
    return origin == (proposal.slot, proposal.signer) or is_claimed or proposal.block == member.state.carried


def _is_votable(member: Member, proposal: PrePrepare) -> bool:
    """S1 but for the block's content: the slot is free for a vote, and without justification the height is fresh."""
    state = member.state
    is_free = proposal.justification is not None or state.sign_state.is_fresh
    return is_free and state.carried in {None, proposal.block} and state.may_vote_at(proposal.slot)


def has_proposal_to_judge(member: Member, earliest: Slot) -> bool:
    """Says whether a proposal of a slot, or a later one, is at hand that this member may vote for once the host has
    executed it.
    """
    known = member.state.origins
    return any(
        proposal.slot >= earliest and proposal.block not in known and _is_votable(member, proposal)
        for proposal in member.state.proposals
    )


def _newest_first(member: Member) -> list[PrePrepare]:
    return sorted(member.state.proposals, key=lambda proposal: proposal.slot, reverse=True)


def rule_commit(member: Member, now: Instant) -> bool:
    """S3: with Q votes for one block at one slot and its body, keep the certificate and send COMMIT."""
    state = member.state
    if not member.may_sign():
        return False
    certificate = _highest_votes(state)
    if certificate is None or not state.may_commit_at(certificate.slot):
        return False
    body = member.body_or_ask(certificate.block, _signers(certificate), now)
    if body is None:
        return False
    claim = Claim(slot=certificate.slot, block=certificate.block)
    state.prepared = PreparedBlock(certificate=certificate, proposal=body)
    state.sign_state = msgspec.structs.replace(state.sign_state, prepared=claim)
    member.out.prepared = state.prepared
    state.said_ms = now.monotonic_ms
    member.enter(Phase.PREPARED)
    send_commit(member, now)
    return True


def rule_decide(member: Member, now: Instant) -> bool:
    """S5: Q COMMITs for one block at one slot decide it, whatever was promised; never across slots."""
    state = member.state
    if member.phase is Phase.APPLYING or member.is_sealed:
        return False
    # of those counted here first: the own COMMIT may be among them, and who leads next carries it (rewards)
    certificate = _commits_of_quorum(state) or state.whole_commits
    if certificate is None:
        return False
    state.whole_commits = certificate
    body = member.body_or_ask(certificate.block, _signers(certificate), now)
    if body is None:
        return False
    decide(member, certificate, body)
    return True


def _highest_votes(state: HeightState) -> PreparedCertificate | None:
    """Returns Q votes for one block at one slot, as they were counted here or came whole, of the higher slot."""
    found, whole = quorum_for_block(state.votes, state.membership.quorum), state.whole_votes
    if found is None or (whole is not None and whole.slot >= found[0]):
        return whole
    slot, block, endorsements = found
    return PreparedCertificate(
        era=state.era.number, height=state.height, slot=slot, block=block, endorsements=endorsements
    )


def _commits_of_quorum(state: HeightState) -> CommitCertificate | None:
    found = quorum_for_block(state.commits, state.membership.quorum)
    if found is None:
        return None
    slot, block, endorsements = found
    return CommitCertificate(
        era=state.era.number, height=state.height, slot=slot, block=block, endorsements=endorsements
    )


def _signers(certificate: PreparedCertificate | CommitCertificate) -> Iterator[Address]:
    return (endorsement.signer for endorsement in certificate.endorsements)


def decide(member: Member, certificate: CommitCertificate, proposal: bytes) -> None:
    """Hands a decided block to the host; nothing at this height happens any more. Who gave up its era appends nothing
    that this era decides: people have counted what it has.
    """
    if member.is_sealed:
        return
    member.collected.settled = certificate, member.state.membership
    member.enter(Phase.APPLYING)
    member.out.apply = Decision(
        height=member.state.height, block=certificate.block, proposal=proposal, certificate=certificate
    )


def vote(member: Member, proposal: PrePrepare, now: Instant) -> None:
    """Records the vote, to be persisted with the proposal, and sends it."""
    state = member.state
    state.sign_state = msgspec.structs.replace(
        state.sign_state, voted=Claim(slot=proposal.slot, block=proposal.block)
    )
    state.voted = proposal
    state.voted_ms = state.said_ms = now.monotonic_ms
    member.out.voted = proposal
    member.enter(Phase.VOTED)
    send_vote(member, proposal, now)


def send_vote(member: Member, proposal: PrePrepare, now: Instant, hearers: tuple[Address, ...] | None = None) -> None:
    """Sends the own VOTE for a proposal, to some members or to who hears it first: the leader's is the PRE-PREPARE
    itself, and goes to all.
    """
    state = member.state
    state.sent_ms = now.monotonic_ms
    if proposal.signer == member.own:
        state.votes.add(vote_of(proposal))
        member.send(proposal, hearers or state.memberships.addresses)
        return
    signed = vote_bytes(state.era.domain, state.height, proposal.slot, proposal.block)
    prepare = Prepare(
        height=state.height,
        slot=proposal.slot,
        block=proposal.block,
        signer=member.own,
        signature=member.sign(signed),
    )
    state.votes.add(prepare)
    member.send(prepare, hearers or member.hearers(proposal.slot))


def send_commit(member: Member, now: Instant, hearers: tuple[Address, ...] | None = None) -> None:
    """Sends COMMIT for the prepared block, to some members or to who hears it first."""
    state = member.state
    claim = state.sign_state.prepared
    assert claim is not None, "COMMIT without a certificate"
    state.sent_ms = now.monotonic_ms
    signed = commit_bytes(state.era.domain, state.height, claim.slot, claim.block)
    commit = Commit(
        height=state.height,
        slot=claim.slot,
        block=claim.block,
        signer=member.own,
        signature=member.sign(signed),
    )
    state.commits.add(commit)
    member.send(commit, hearers or member.hearers(claim.slot))


def view_change(member: Member, slot: Slot, now: Instant) -> bool:
    """S4: VIEW-CHANGE only above base; from then on no new vote or COMMIT below it."""
    state = member.state
    if not member.may_sign() or slot <= state.base:
        return False
    signed = state.sign_state
    state.sign_state = msgspec.structs.replace(signed, promise=slot, attempts=signed.attempts + 1)
    state.view_change_quorum_ms = None
    state.said_ms = now.monotonic_ms
    member.view_changes_sent += 1
    member.enter(Phase.CHANGING_VIEW)
    send_view_change(member, now)
    return True


def send_view_change(member: Member, now: Instant) -> None:
    """Sends VIEW-CHANGE for the promised slot, claiming what is prepared. Sent again it has the same bytes:
    nothing can become prepared below the promise once it is made.
    """
    state = member.state
    promise, claim = state.sign_state.promise, state.sign_state.prepared
    state.sent_ms = now.monotonic_ms
    message = ViewChange(
        height=state.height,
        slot=promise,
        claim=claim,
        signer=member.own,
        signature=member.sign(view_change_bytes(state.era.domain, state.height, promise, claim)),
        certificate=None if state.prepared is None else state.prepared.certificate,
    )
    state.view_changes.add(message)
    member.send(message, state.memberships.addresses)


def pre_prepare(
    member: Member,
    *,
    slot: Slot,
    block: Digest,
    proposal: bytes,
    justification: Justification | None,
    now: Instant,
) -> None:
    """Proposes and thereby votes. The host executed the block when it built or validated it."""
    state = member.state
    leader = member.leaders.at(slot, is_justified=justification is not None)
    assert leader == member.own, "only the slot's leader proposes"
    assert state.may_vote_at(slot), "a proposal is a vote"
    signed = vote_bytes(state.era.domain, state.height, slot, block)
    message = PrePrepare(
        height=state.height,
        slot=slot,
        block=block,
        signer=member.own,
        signature=member.sign(signed),
        justification=justification,
        proposal=proposal,
    )
    state.bodies[block] = proposal
    vote(member, message, now)


def justification_for(member: Member, slot: Slot, now: Instant) -> Justification | None:
    """S2: Q VIEW-CHANGEs for exactly this slot, counting one only once its claimed body is at hand."""
    state = member.state
    usable = [
        message
        for message in state.view_changes.at(slot)
        if message.claim is None
        or member.body_or_ask(message.claim.block, state.claimants(message.claim.block), now) is not None
    ]
    if len(usable) < state.membership.quorum:
        return None
    chosen = usable[: state.membership.quorum]
    headers = tuple(
        ViewChangeHeader(signer=message.signer, claim=message.claim, signature=message.signature)
        for message in chosen
    )
    certificates = [message.certificate for message in chosen if message.certificate is not None]
    highest = max(certificates, key=lambda certificate: certificate.slot, default=None)
    return Justification(headers=headers, certificate=highest)


def claims_nothing(justification: Justification) -> bool:
    """Says whether no header of a justification claims a block: its leader may propose any."""
    return justification.certificate is None


def vote_of(proposal: PrePrepare) -> Prepare:
    """Returns the leader's VOTE, which PRE-PREPARE and PREPARE sign alike."""
    return Prepare(
        height=proposal.height,
        slot=proposal.slot,
        block=proposal.block,
        signer=proposal.signer,
        signature=proposal.signature,
    )
