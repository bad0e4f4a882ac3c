"""The progress rule P10 of docs/protocol.md: where clusters are drawn, who is in a slot's cluster collects the votes
and COMMITs of all, and hands certificates back.

Whom a statement is sent to is its sender's affair (`Member.hearers`), and no rule counts a cluster's members: a
certificate needs Q of all, as ever, and counts whoever brings it. So a cluster of liars costs time, nothing else: who
has waited for a third of a slot asks others of the cluster, and after two thirds says what it says to all.

A certificate costs who takes it Q signatures. So it is looked at only if it comes from who may be expected to have
it, once for each kind and slot, and for ten minutes not from who brought one that does not hold.
"""

from collections.abc import Iterable
from typing import Final

from consensus.events import Arrived, Instant
from consensus.gathering import Certificate, gathered_of
from consensus.height import HeightState
from consensus.heights import ASK_FRACTION, ask, status
from consensus.identifiers import Address, Slot
from consensus.member import Member, SecondCopy
from consensus.messages import (
    CertificateRequest,
    CommitCertificate,
    EndorsedStatement,
    Gathered,
    Message,
    PreparedCertificate,
)
from consensus.phases import Phase
from consensus.safety import send_commit, send_vote

SECOND_COPY_FRACTION: Final = 8
"""1/8 of a slot after it had a certificate a collector hands it to those of the one before it, too, if nothing shows
that they have it.
"""

FIRST_ASK_FRACTION: Final = 3
"""A third of a slot after the own statement its certificate is asked for."""

NEXT_ASK_FRACTION: Final = 6
"""A sixth of a slot later others are asked, and another sixth later all are told."""

ASKS_MAX: Final = 2

ASKED_AT_ONCE: Final = 2
"""Each answers with Q signatures: to ask all of a cluster costs more than to send to all."""

DISTRUSTED_MS: Final = 600_000
"""For so long no certificate is looked at from whom one came that does not hold."""


# --- handing out -------------------------------------------------------------------------------------------------


def rule_hand_out(member: Member, now: Instant) -> bool:
    """P10: a collector hands a certificate that it holds to those outside the cluster that fall to it, once."""
    state = member.state
    if not state.leaders.is_drawn:
        return False
    if state.whole_commits is not None and EndorsedStatement.COMMIT not in state.handed:
        _hand_out(member, EndorsedStatement.COMMIT, state.whole_commits, now)
        return True
    votes = _highest_votes(state)
    if votes is None or member.phase is Phase.APPLYING or votes.slot <= state.handed.get(EndorsedStatement.VOTE, -1):
        return False
    _hand_out(member, EndorsedStatement.VOTE, votes, now)
    return True


def _hand_out(member: Member, kind: EndorsedStatement, certificate: Certificate, now: Instant) -> None:
    """Of who was told by all of the slot's voters nobody needs it: not where the proposal was justified."""
    state = member.state
    state.handed[kind] = certificate.slot
    cluster = state.leaders.cluster(certificate.slot)
    if member.own not in cluster or _is_justified(state, certificate.slot):
        return
    place, size = cluster.index(member.own), len(cluster)
    within = frozenset(cluster)
    numbered = [(number, one) for number, one in enumerate(state.memberships.addresses) if one not in within]
    gathered = gathered_of(certificate, state.membership)
    member.send(gathered, _lacking(member, gathered, (one for number, one in numbered if number % size == place)))
    member.collected.second_copies[kind] = SecondCopy(
        gathered=gathered,
        recipients=tuple(one for number, one in numbered if (number + 1) % size == place),
        due_ms=now.monotonic_ms + member.tau_ms // SECOND_COPY_FRACTION,
    )


def handed_by(state: HeightState, address: Address, slot: Slot) -> tuple[Address, ...]:
    """Returns who of a slot's cluster hands a member its certificates: one at once, the other if they do not seem to
    have come; nobody to those that collect themselves, or are no members.
    """
    cluster, addresses = state.leaders.cluster(slot), state.memberships.addresses
    if address in cluster or address not in addresses:
        return ()
    number = addresses.index(address)
    return tuple(cluster[(number + later) % len(cluster)] for later in (0, 1))


def rule_second_copy(member: Member, now: Instant) -> bool:
    """P10: an eighth of a slot later, those of the collector before that do not seem to have the certificate."""
    for kind, copy in member.collected.second_copies.items():
        if now.monotonic_ms >= copy.due_ms:
            del member.collected.second_copies[kind]
            if kind is EndorsedStatement.COMMIT or copy.gathered.height == member.state.height:
                member.send(copy.gathered, _lacking(member, copy.gathered, copy.recipients))
            return True
    return False


def tell_applied(member: Member, decided: HeightState, now: Instant) -> None:
    """P10: who was handed what decided a height says that it came, to the collector that would hand it out again."""
    commits = decided.whole_commits
    if not decided.leaders.is_drawn or commits is None or decided.is_plain:
        return
    member.send(status(member, now), handed_by(decided, member.own, commits.slot)[1:])


def _lacking(member: Member, gathered: Gathered, recipients: Iterable[Address]) -> list[Address]:
    """Returns who may lack a certificate: of votes, who was not heard to commit; of COMMITs, who was not heard to be
    further.
    """
    if gathered.kind is EndorsedStatement.COMMIT:
        return [one for one in recipients if member.told.get(one, 0) <= gathered.height]
    return [one for one in recipients if not _has_committed(member.state, one, gathered.slot)]


def _has_committed(state: HeightState, address: Address, slot: Slot) -> bool:
    return any(commit.slot == slot for commit in state.commits.of(address))


def _is_justified(state: HeightState, slot: Slot) -> bool:
    proposals = [*state.proposals.at(slot), *([] if state.voted is None else [state.voted])]
    return any(one.slot == slot and one.justification is not None for one in proposals)


def _highest_votes(state: HeightState) -> PreparedCertificate | None:
    own, whole = None if state.prepared is None else state.prepared.certificate, state.whole_votes
    return max((one for one in (own, whole) if one is not None), key=lambda one: one.slot, default=None)


# --- taking ------------------------------------------------------------------------------------------------------


def may_verify(arrived: Arrived, member: Member, now: Instant) -> bool:
    """Says whether a message may cost what its signatures cost; only of certificates that are handed out this is a
    question.
    """
    message, sender, state = arrived.message, arrived.sender, member.state
    if not isinstance(message, Gathered):
        return True
    refused_ms = member.collected.distrusted.get(sender)
    is_distrusted = refused_ms is not None and now.monotonic_ms - refused_ms < DISTRUSTED_MS
    if not state.leaders.is_drawn or is_distrusted or _is_of_no_use(state, message):
        return False
    is_slow = state.is_plain or state.sign_state.attempts > 0
    return is_slow or sender in state.asked or sender in state.leaders.cluster(message.slot)


def _is_of_no_use(state: HeightState, message: Gathered) -> bool:
    if message.kind is EndorsedStatement.COMMIT:
        return state.whole_commits is not None
    known = _highest_votes(state)
    return (known is not None and message.slot <= known.slot) or message.slot < state.sign_state.promise


def note_refused(member: Member, sender: Address, message: Message, now: Instant) -> None:
    """Notes who brought a certificate that does not hold."""
    if isinstance(message, Gathered):
        member.collected.distrusted[sender] = now.monotonic_ms


def keep_whole(state: HeightState, certificate: Certificate) -> None:
    """Keeps a certificate that holds. Its statements are counted, too, but of each signer only those of two slots: a
    liar that signs two of higher slots would take its own out of it, for whom it tells of them alone.
    """
    if isinstance(certificate, CommitCertificate):
        state.whole_commits = state.whole_commits or certificate
    elif state.whole_votes is None or certificate.slot > state.whole_votes.slot:
        state.whole_votes = certificate


# --- asking ------------------------------------------------------------------------------------------------------


def rule_ask_cluster(member: Member, now: Instant) -> bool:
    """P10: a third of a slot after an own statement without its certificate, say it again to the cluster and ask two
    of it; a sixth later the next two; another sixth later, say it to all. Who has said nothing asks, too, once it
    heard of the height.
    """
    state = member.state
    is_over = member.phase is Phase.APPLYING or state.is_plain or state.sign_state.attempts > 0
    if not state.leaders.is_drawn or is_over or state.whole_commits is not None:
        return False
    has_said = member.may_sign() and state.said_ms is not None
    since_ms = state.said_ms if has_said else state.heard_ms
    if since_ms is None or (state.validating and not has_said):
        return False
    if state.asks_since_ms != since_ms:
        state.asks, state.asks_since_ms = 0, since_ms
    due_ms = since_ms + member.tau_ms // FIRST_ASK_FRACTION + state.asks * member.tau_ms // NEXT_ASK_FRACTION
    if now.monotonic_ms < due_ms or state.asks > ASKS_MAX or (state.asks == ASKS_MAX and not has_said):
        return False
    state.asks += 1
    if state.asks == 1:
        member.collected.times_asked += 1
    if state.asks > ASKS_MAX:
        member.collected.times_told_all += 1
        state.is_plain = True
        _say_again(member, now, None)
    else:
        _ask(member, now)
    return True


def _ask(member: Member, now: Instant) -> None:
    state = member.state
    slot = _slot_asked_for(state)
    if slot is None:
        if state.ahead is not None:
            ask(member, state.ahead, now)
        return
    cluster, addresses = state.leaders.cluster(slot), state.memberships.addresses
    if state.asks == 1:
        _say_again(member, now, cluster)
    first = addresses.index(member.own) + ASKED_AT_ONCE * state.asks if member.own in addresses else 0
    asked = [cluster[place % len(cluster)] for place in range(first, first + ASKED_AT_ONCE)]
    state.asked.update(asked)
    member.send(CertificateRequest(era=state.era.number, height=state.height, slot=slot), asked)


def _slot_asked_for(state: HeightState) -> Slot | None:
    """Returns the slot of the last own statement, else the newest in which a leader proposed."""
    signed = state.sign_state
    said = [claim.slot for claim in (signed.voted, signed.prepared) if claim is not None]
    return max(said or state.proposals.slots(), default=None)


def _say_again(member: Member, now: Instant, hearers: tuple[Address, ...] | None) -> None:
    """Says what was said last to some members, or all that was said at this height to all."""
    state = member.state
    if not member.may_sign():
        return
    if state.voted is not None and (hearers is None or state.sign_state.prepared is None):
        send_vote(member, state.voted, now, hearers)
    if state.sign_state.prepared is not None:
        send_commit(member, now, hearers)


def answer(member: Member, sender: Address, request: CertificateRequest, now: Instant) -> None:
    """Answers who asks for a certificate of the undecided height with the highest that it may lack."""
    state = member.state
    certificate: Certificate | None = state.whole_commits
    if certificate is None:
        certificate = _highest_votes(state)
        if certificate is None or certificate.slot < request.slot or _has_committed(state, sender, certificate.slot):
            return
    if _may_answer(member, sender, now):
        member.send(gathered_of(certificate, state.membership), (sender,))


def answer_last(member: Member, sender: Address, request: CertificateRequest, now: Instant) -> bool:
    """Answers who asks for a certificate of the last decided height with the one that decided it; False if another
    height is asked for.
    """
    settled = member.collected.settled
    if settled is None or settled[0].height != request.height:
        return False
    if _may_answer(member, sender, now):
        member.send(gathered_of(*settled), (sender,))
    return True


def _may_answer(member: Member, sender: Address, now: Instant) -> bool:
    """Says whether somebody was not answered for a quarter of a slot, and notes that it is now."""
    sent_ms = member.collected.answered.get(sender)
    if sent_ms is not None and now.monotonic_ms - sent_ms < member.tau_ms // ASK_FRACTION:
        return False
    member.collected.answered[sender] = now.monotonic_ms
    return True
