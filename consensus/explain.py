"""Collects the facts of `explanation` from a replica's state. Only reads: changes, sends and decides nothing."""

from collections.abc import Iterable, Mapping
from typing import Final

from consensus.collecting import handed_by
from consensus.events import Instant
from consensus.explanation import (
    Collecting,
    Contact,
    Explanation,
    MemberFacts,
    MissingBody,
    NextAttempt,
    SlotFacts,
    Stage,
    Step,
    Support,
    Wait,
)
from consensus.heights import STATUS_RECIPIENTS
from consensus.identifiers import Address, Digest, Slot
from consensus.liveness import START_AGE_SLOTS, attempt_after, first_attempt, waiting_since_ms
from consensus.member import Member
from consensus.messages import Claim, Commit, Prepare
from consensus.phases import Phase
from consensus.tally import Tally

SLOTS_MAX: Final = 4
"""Slots shown: the own vote's, promise's and commit's, and the one that most members speak of."""

SILENCE_ROUNDS: Final = 2
"""STATUS reaches each member once a round; a member counts as silent after this many rounds and a slot more."""

NO_CONTACT: Final = Contact(is_connected=False, heard_ms=None)


def silence_max_ms(members: int, slot_duration_ms: int) -> int:
    """Returns how long an honest, reachable member may go without a message: STATUS goes to two others a slot."""
    round_slots = -(-(members - 1) // STATUS_RECIPIENTS)
    return (SILENCE_ROUNDS * round_slots + 1) * slot_duration_ms


def explain(member: Member, now: Instant, contacts: Mapping[Address, Contact]) -> Explanation:
    """Returns what this member knows of its undecided height.

    Args:
        member: the replica's state; only read.
        now: the present instant, by the wall clock.
        contacts: the links to the other members; one without an entry counts as never connected.
    """
    clock_jump, now = member.own_clock.jump(now), member.own_clock.followed(now)
    state = member.state
    since_ms = waiting_since_ms(member)
    reported = member.clocks.reported(now)
    waits_for = _waits_for(member, now)
    return Explanation(
        height=state.height,
        era=state.era.number,
        own=member.own,
        members=tuple(
            _member_facts(member, address, now, contacts.get(address, NO_CONTACT), reported.get(address))
            for address in state.membership.addresses
        ),
        fault_bound=state.membership.fault_bound,
        quorum=state.membership.quorum,
        weak_quorum=state.membership.weak_quorum,
        slot_duration_ms=member.tau_ms,
        phase=member.phase,
        undecided_ms=now.monotonic_ms - state.started_ms,
        waiting_ms=None if since_ms is None else now.monotonic_ms - since_ms,
        oldest_request_ms=None if member.oldest_arrival_ms is None else now.monotonic_ms - member.oldest_arrival_ms,
        is_pending=_is_pending(member),
        present_slot=member.present_slot(now),
        clock_slot=now.slot(member.tau_ms),
        clock_jump=clock_jump,
        leader=member.leaders.whose(member.present_slot(now)),
        attempt_leader=member.leaders.whose(member.present_slot(now), is_justified=True),
        collecting=_collecting(member, now, waits_for),
        silence=member.silence,
        silent_through=member.silent_through,
        signed=state.sign_state,
        next_attempt=_next_attempt(member, now),
        waits_for=waits_for,
        slots=tuple(_slot_facts(member, slot) for slot in _slots_of_interest(member)),
        bodies_missing=_bodies_missing(member, now),
    )


# --- members and links ---------------------------------------------------------------------------------------


def _member_facts(
    member: Member, address: Address, now: Instant, contact: Contact, reported: Slot | None
) -> MemberFacts:
    state, is_own = member.state, address == member.own
    age_ms = None if contact.heard_ms is None else now.monotonic_ms - contact.heard_ms
    is_heard = age_ms is not None and age_ms <= silence_max_ms(len(state.membership), member.tau_ms)
    return MemberFacts(
        address=address,
        is_own=is_own,
        is_connected=is_own or contact.is_connected,
        heard_age_ms=0 if is_own else age_ms,
        is_reachable=is_own or (contact.is_connected and is_heard),
        undecided=state.height if is_own else member.told.get(address),
        clock_slot=now.slot(member.tau_ms) if is_own else reported,
        is_silent=member.silence is not None if is_own else member.silent_at.get(address) == state.height,
        other_era=member.other_eras.get(address),
        may_lead=address not in member.leaders.passing,
        vote=_highest(state.votes, address),
        commit=_highest(state.commits, address),
        view_change=max((change.slot for change in state.view_changes.of(address)), default=None),
    )


def _highest(tally: Tally[Prepare] | Tally[Commit], signer: Address) -> Claim | None:
    statement = max(tally.of(signer), key=lambda found: found.slot, default=None)
    return None if statement is None else Claim(slot=statement.slot, block=statement.block)


# --- this member ---------------------------------------------------------------------------------------------


def _is_pending(member: Member) -> bool:
    state = member.state
    has_said = state.proposals.slots() or state.votes.slots() or state.commits.slots() or state.view_changes.slots()
    return waiting_since_ms(member) is not None or not state.sign_state.is_fresh or bool(has_said)


def _next_attempt(member: Member, now: Instant) -> NextAttempt | None:
    if not member.may_sign():
        return None
    if member.state.sign_state.attempts > 0:
        attempt = attempt_after(member)
        if attempt is None:
            return None
        target, due_ms = attempt
        return NextAttempt(slot=target, due_in_ms=max(0, due_ms - now.monotonic_ms))
    since_ms = waiting_since_ms(member)
    if since_ms is None:
        return None
    due_in_ms = max(0, since_ms + START_AGE_SLOTS * member.tau_ms - now.monotonic_ms)
    # as if nothing were heard until then
    then = Instant(monotonic_ms=now.monotonic_ms + due_in_ms, clock_ms=now.clock_ms + due_in_ms)
    return NextAttempt(slot=first_attempt(member, then), due_in_ms=due_in_ms)


def _bodies_missing(member: Member, now: Instant) -> tuple[MissingBody, ...]:
    state = member.state
    missing = {block: asked_ms for block, asked_ms in state.bodies_wanted.items() if block not in state.bodies}
    return tuple(
        MissingBody(
            block=block,
            holders=_in_order(member, _holders(member, block)),
            asked_age_ms=now.monotonic_ms - asked_ms,
        )
        for block, asked_ms in sorted(missing.items())
    )


def _holders(member: Member, block: Digest) -> set[Address]:
    state = member.state
    signers = {statement.signer for statement in (*state.votes, *state.commits) if statement.block == block}
    return (signers | set(state.claimants(block))) - {member.own}


# --- who collects --------------------------------------------------------------------------------------------


def _collecting(member: Member, now: Instant, waits_for: Wait | None) -> Collecting | None:
    if not member.leaders.is_drawn:
        return None
    slot = member.present_slot(now) if waits_for is None else waits_for.slot
    return Collecting(
        slot=slot,
        cluster=member.leaders.cluster(slot),
        handed_by=handed_by(member.state, member.own, slot),
        stage=_stage(member),
    )


def _stage(member: Member) -> Stage:
    state, voted = member.state, member.state.voted
    has_failed = state.is_plain or state.sign_state.attempts > 0 or member.is_relaying
    if has_failed or (voted is not None and not member.is_fast_at(voted.slot)):
        return Stage.ALL
    return Stage.ASKING if state.asks else Stage.CLUSTER


# --- the step at hand ----------------------------------------------------------------------------------------


def _waits_for(member: Member, now: Instant) -> Wait | None:
    """Returns the step that the own state stands at; of a member that may not sign, the one the others stand at."""
    signed = member.state.sign_state
    if member.phase is Phase.APPLYING or not _is_pending(member):
        return None
    if not member.may_sign():
        return _step_of_others(member, now)
    if signed.prepared is not None and signed.prepared.slot >= signed.promise:
        return _wait(member, Step.COMMITS, signed.prepared.slot, signed.prepared.block)
    if signed.voted is not None and signed.voted.slot >= signed.promise:
        return _wait(member, Step.VOTES, signed.voted.slot, signed.voted.block)
    is_justified = signed.attempts > 0
    if is_justified:
        view_changes = _wait(member, Step.VIEW_CHANGES, signed.promise, None)
        if view_changes.needed > 0:
            return view_changes
    slot = signed.promise if is_justified else member.present_slot(now)
    return _proposal_or_execution(member, slot, is_justified=is_justified)


def _step_of_others(member: Member, now: Instant) -> Wait:
    kinds: tuple[tuple[Step, Tally[Commit] | Tally[Prepare]], ...] = (
        (Step.COMMITS, member.state.commits),
        (Step.VOTES, member.state.votes),
    )
    for step, tally in kinds:
        if tally.slots():
            slot = max(tally.slots())
            return _wait(member, step, slot, _by_block(member, tally, slot)[0].block)
    if member.state.view_changes.slots():
        return _wait(member, Step.VIEW_CHANGES, max(member.state.view_changes.slots()), None)
    return _proposal_or_execution(member, member.present_slot(now), is_justified=False)


def _wait(member: Member, step: Step, slot: Slot, block: Digest | None) -> Wait:
    facts = _slot_facts(member, slot)
    if step is Step.VIEW_CHANGES:
        found = facts.view_changes
    else:
        supports = facts.votes if step is Step.VOTES else facts.commits
        nothing = _support(member, block, (), ())  # after a restart even the own one is not there yet
        found = next((support for support in supports if support.block == block), nothing)
        collectors = handed_by(member.state, member.own, slot) if member.leaders.is_drawn else ()
        if found.needed > 0 and collectors and _stage(member) is not Stage.ALL:  # of the others it hears nothing
            return Wait(step=Step.CERTIFICATE, slot=slot, block=block, members=(), missing=collectors, needed=1)
    return Wait(step=step, slot=slot, block=block, members=found.members, missing=found.missing, needed=found.needed)


def _proposal_or_execution(member: Member, slot: Slot, *, is_justified: bool) -> Wait:
    state = member.state
    slot = member.leaders.next_slot(slot, is_justified=is_justified)  # nobody proposes before
    step, missing, block = Step.PROPOSAL, member.leaders.whose(slot, is_justified=is_justified), None
    if state.validating:
        step, missing, block = Step.EXECUTION, member.own, min(state.validating)
    return Wait(step=step, slot=slot, block=block, members=(), missing=(missing,), needed=1)


# --- slots ---------------------------------------------------------------------------------------------------


def _slots_of_interest(member: Member) -> list[Slot]:
    """The own ones first, then by the number of members that speak of them: a liar alone cannot hide the rest."""
    state, signed = member.state, member.state.sign_state
    own = {claim.slot for claim in (signed.voted, signed.prepared) if claim is not None}
    own |= {signed.promise} if signed.attempts > 0 else set()
    speakers: dict[Slot, set[Address]] = {}
    for statement in (*state.proposals, *state.votes, *state.commits, *state.view_changes):
        speakers.setdefault(statement.slot, set()).add(statement.signer)
    others = sorted(set(speakers) - own, key=lambda slot: (-len(speakers[slot]), -slot))
    return sorted([*own, *others][:SLOTS_MAX])


def _slot_facts(member: Member, slot: Slot) -> SlotFacts:
    state = member.state
    proposals = [*state.proposals.at(slot), *state.waiting.values()]
    proposals += [] if state.voted is None else [state.voted]
    asking = [change.signer for change in state.view_changes.at(slot)]
    return SlotFacts(
        slot=slot,
        leader=member.leaders.whose(slot, is_justified=bool(asking)),
        proposed=next((proposal.block for proposal in proposals if proposal.slot == slot), None),
        votes=_by_block(member, state.votes, slot),
        commits=_by_block(member, state.commits, slot),
        view_changes=_support(member, None, asking, asking),
    )


def _by_block(member: Member, tally: Tally[Prepare] | Tally[Commit], slot: Slot) -> tuple[Support, ...]:
    signers: dict[Digest, list[Address]] = {}
    for statement in tally.at(slot):
        signers.setdefault(statement.block, []).append(statement.signer)
    said = [signer for found in signers.values() for signer in found]
    blocks = sorted(signers, key=lambda block: (-len(signers[block]), block))
    return tuple(_support(member, block, signers[block], said) for block in blocks)


def _support(member: Member, block: Digest | None, signers: Iterable[Address], said: Iterable[Address]) -> Support:
    members = _in_order(member, signers)
    return Support(
        block=block,
        members=members,
        missing=_in_order(member, set(member.state.membership.addresses) - set(said)),
        needed=max(0, member.state.membership.quorum - len(members)),
    )


def _in_order(member: Member, addresses: Iterable[Address]) -> tuple[Address, ...]:
    found = set(addresses)
    return tuple(address for address in member.state.membership.addresses if address in found)
