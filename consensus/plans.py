"""How a plan follows from statements (`ceremony`): what is decided, what may be, and who goes on.

The same statements and the same word of the authority give the same plan, so whoever is asked to agree makes it
again and compares. A plan of era E follows the highest era that somebody takes part in or agreed to begin, e: it
changes that era's configuration.

*Base*: the highest height that is proven decided in e's own chain. What an older era decided above e's base is none
of e's decisions: it is a claim on the height above that base, older than all of e's, newer than all of its own era.

*Carried*: of all blocks above the base that are prepared or claimed, the one of the highest (era, slot): if a block
was decided there at all, it is this one. Where nothing is prepared, and somebody may have lost what was, the newest
block that F + 1 statements voted for: no duty, it only saves what may have been decided; one of F + 1 is honest and
has executed it.

*Authority*: its word counts under the key that acts once all that the plan keeps is decided. Each block says which
one acts after it. So no low statement brings an earlier one back, and none has a word whose replacement is carried.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from consensus.ceremony_records import MemberStatement, SignedMemberStatement, SignedPlan, statement_digest
from consensus.era_plans import AppliedEra, Departure, Plan, StatementName, holds_quorum, is_vouched_for
from consensus.eras import FIRST_ERA
from consensus.identifiers import GENESIS_HEIGHT, Address, Digest, EraNumber, Height, PublicKey
from consensus.membership import Membership
from consensus.messages import Decided
from consensus.past import Past
from consensus.quorum import weak_quorum
from consensus.statements import agreed_era, author_key, bad_field, decided_holds, is_whole

DECIDED_ABOVE: Final = 2**63
"""Slot of a block that an older era decided: above all that the era prepared."""
CARRIED_BEFORE: Final = -1
"""Slot of the block that the followed plan carries: below all that its era prepared."""


_PLAN_FIELDS: Final = frozenset({"applied", "joined"})
"""Fields of a statement that name plans."""


class PlanRefusal(Enum):
    """Why statements make no plan."""

    BAD_STATEMENT = "bad_statement"
    """A statement's signatures or blocks do not hold."""
    UNKNOWN_PLAN = "unknown_plan"
    """A statement names a plan that is not at hand."""
    RIVAL_PLANS = "rival_plans"
    """Two plans were agreed to for one era: more statements, or others, are needed."""
    TOO_FEW = "too_few"
    """The statements hold no quorum of a set that must agree."""
    FORK = "fork"
    """Two blocks are proven for one height: more members lied than may."""
    NOT_ABSENT = "not_absent"
    """Somebody is said to be gone or replaced who made a statement or is no member."""
    BLOCK_MISSING = "block_missing"
    """An older era decided above the base, and its block there is not among the statements: add it."""
    NOBODY_LEFT = "nobody_left"
    """No member goes on."""
    NO_AUTHORITY = "no_authority"
    """Members are absent and the authority did not sign."""
    NOT_THE_PLAN = "not_the_plan"
    """The plan is not the one that follows from its statements."""


class _Candidate(NamedTuple):
    """A block that the height above the base may be, and how new the proof of it is."""

    era: EraNumber
    slot: int
    block: Digest


@dataclass(frozen=True, slots=True)
class _Stated:
    """A statement as the followed era sees it."""

    statement: MemberStatement
    height: Height
    """Its last block that the followed era can share."""
    block: Digest
    claim: _Candidate | None
    """A block above it that an older era decided."""


def statement_fault(signed: SignedMemberStatement, past: Past) -> PlanRefusal | None:
    """Says what is wrong with a statement: each of its proofs must hold in the era that its author takes part in."""
    field = bad_field(signed, past)
    if field is None:
        return None
    return PlanRefusal.UNKNOWN_PLAN if field in _PLAN_FIELDS else PlanRefusal.BAD_STATEMENT


def make_plan(
    statements: Iterable[SignedMemberStatement],
    departures: Iterable[Departure],
    *,
    era: EraNumber,
    past: Past,
    added: Sequence[Decided] = (),
) -> SignedPlan | PlanRefusal:
    """Makes the plan of an era, not signed by the authority yet, nor with the changes that `past` has learned.

    Args:
        statements: for this era; of each author the one with the highest number counts.
        departures: the authority's word on members that made none.
        era: that it begins.
        past: what is known of earlier eras.
        added: decided blocks from elsewhere.
    """
    chosen = newest_statements(statements, era)
    fault = next((fault for one in chosen if (fault := statement_fault(one, past)) is not None), None)
    if fault is not None:
        return fault
    spoken = [one.statement for one in chosen]
    follows = followed_era(spoken)
    if follows is None:
        return PlanRefusal.RIVAL_PLANS
    names = tuple(_name_of(statement, past) for statement in spoken)
    found = _blocks_of(spoken, follows, past, added)
    if isinstance(found, PlanRefusal):
        return found
    (base, base_block), carried = found
    quorums = required_sets(spoken, follows, base, past)
    authors = frozenset((name.author, name.node_key) for name in names)
    if quorums is None or not all(holds_quorum(authors, membership) for membership in quorums):
        return PlanRefusal.TOO_FEW
    gone = tuple(sorted(departures, key=lambda departure: departure.address))
    members = _going_on(quorums[0], gone, authors)
    if isinstance(members, PlanRefusal):
        return members
    last = _body_of(base_block if carried is None else carried, spoken, added, past)
    plan = Plan(
        chain=past.chain,
        era=era,
        follows=follows,
        base=base,
        base_block=base_block,
        carried=carried,
        statements=names,
        departures=gone,
        quorums=tuple(membership.members for membership in quorums),
        members=members,
        authority=_authority_known(follows, past) if last is None else past.authority_in(last),
    )
    return SignedPlan(plan=plan, statements=chosen, added=tuple(added), changes=(), authority=None)


def _authority_known(follows: AppliedEra, past: Past) -> PublicKey:
    """Returns the authority's key where the followed era has no block yet: as its own plan, or genesis, says."""
    plan = past.plan(follows)
    return past.first_authority if plan is None else plan.authority


def plan_fault(signed: SignedPlan, past: Past) -> PlanRefusal | None:
    """Says why a plan is none: it must be the one that follows from its statements, and the authority must have
    signed it where members are absent.
    """
    plan = signed.plan
    made = make_plan(signed.statements, plan.departures, era=plan.era, past=past, added=signed.added)
    if isinstance(made, PlanRefusal):
        return made
    if made.plan != plan or made.statements != signed.statements:
        return PlanRefusal.NOT_THE_PLAN
    return None if is_vouched_for(plan, signed.authority) else PlanRefusal.NO_AUTHORITY


def follow(signed: SignedPlan, past: Past) -> PlanRefusal | None:
    """Takes a plan among what others may follow, after those that it builds on; says why not."""
    fault = plan_fault(signed, past)
    if fault is None:
        past.take(signed.plan, carried_proposal(signed, past))
    return fault


def newest_statements(
    statements: Iterable[SignedMemberStatement], era: EraNumber
) -> tuple[SignedMemberStatement, ...]:
    """Returns one statement for an era per author, the one with the highest number, sorted by author."""
    newest: dict[Address, SignedMemberStatement] = {}
    for one in statements:
        if one.statement.era == era:
            other = newest.setdefault(one.statement.author, one)
            if one.statement.number > other.statement.number:
                newest[one.statement.author] = one
    return tuple(newest[author] for author in sorted(newest))


def followed_era(statements: Sequence[MemberStatement]) -> AppliedEra | None:
    """Returns the highest era that somebody takes part in or agreed to begin, with its plan; None if it has two."""
    named = _named_eras(statements)
    highest = max((applied.era for applied in named), default=FIRST_ERA)
    plans = {applied.plan for applied in named if applied.era == highest}
    return AppliedEra(era=highest, plan=plans.pop()) if len(plans) == 1 else None


def _named_eras(statements: Sequence[MemberStatement]) -> set[AppliedEra]:
    """Returns the eras that authors take part in, and those that they agreed to begin."""
    agreed = (agreed_era(statement) for statement in statements)
    return {statement.applied for statement in statements} | {one for one in agreed if one is not None}


def required_sets(
    statements: Sequence[MemberStatement], follows: AppliedEra, base: Height, past: Past
) -> list[Membership] | None:
    """Returns the different sets of which those who state, and those who agree, must hold quorums: of base + 1, of
    base + 2, and of every earlier era that a statement names. None if one of them is not known.
    """
    named = {follows} | _named_eras(statements)
    sets: list[Membership] = []
    for applied in sorted(named, key=lambda applied: (applied != follows, -applied.era, applied.plan or b"")):
        plan = past.plan(applied)
        first = max(base, GENESIS_HEIGHT if plan is None else plan.base) + 1
        for height in (first, first + 1):
            membership = past.membership(applied, Height(height))
            if membership is None:
                return None
            if all(membership.members != known.members for known in sets):
                sets.append(membership)
    return sets


def _name_of(statement: MemberStatement, past: Past) -> StatementName:
    key = author_key(statement, past)
    assert key is not None, "the statement was checked"
    return StatementName(
        author=statement.author,
        node_key=key,
        number=statement.number,
        digest=statement_digest(statement),
        is_complete=statement.is_complete,
    )


def _going_on(
    old: Membership, departures: Sequence[Departure], authors: frozenset[tuple[Address, PublicKey]]
) -> tuple[tuple[Address, PublicKey], ...] | PlanRefusal:
    """Returns the old set less who is gone, the keys of replaced homes in their places."""
    absent = {address for address, key in old.members if (address, key) not in authors}
    words = {departure.address: departure.node_key for departure in departures}
    if len(words) < len(departures) or not absent.issuperset(words):
        return PlanRefusal.NOT_ABSENT
    kept = [(address, key) for address, key in old.members if address not in words]
    new_keys = [key for key in words.values() if key is not None]
    if len(set(new_keys)) < len(new_keys) or {key for _, key in old.members}.intersection(new_keys):
        return PlanRefusal.NOT_ABSENT
    places = ((address, words.get(address, key)) for address, key in old.members)
    members = tuple((address, key) for address, key in places if key is not None)
    assert len(members) == len(kept) + len(new_keys), "everybody else stays"
    return members if members else PlanRefusal.NOBODY_LEFT


# --- what is decided, and what may be ------------------------------------------------------------------------


def _blocks_of(
    statements: Sequence[MemberStatement], follows: AppliedEra, past: Past, added: Sequence[Decided]
) -> tuple[tuple[Height, Digest], Digest | None] | PlanRefusal:
    """Returns the base with its block, and the block that is carried."""
    seen: list[_Stated] = []
    for statement in statements:
        stated = as_seen_from(statement, follows, past, added)
        if stated is None:
            return PlanRefusal.BLOCK_MISSING
        seen.append(stated)
    base = highest_decided(seen, follows, past, added)
    if base is None:
        return PlanRefusal.FORK
    candidates = list(_candidates(seen, base, follows, past))
    newest = max(candidates, default=None, key=newness)
    if newest is not None:
        is_rivalled = any(newness(other) == newness(newest) and other.block != newest.block for other in candidates)
        return PlanRefusal.FORK if is_rivalled else (base, newest.block)
    return base, None if all(one.is_complete for one in statements) else voted_for(seen, base, follows, past)


def newness(candidate: _Candidate) -> tuple[EraNumber, int]:
    """Returns what the newest proof has most of: era first, then slot."""
    return candidate.era, candidate.slot


def as_seen_from(
    statement: MemberStatement, follows: AppliedEra, past: Past, added: Sequence[Decided]
) -> _Stated | None:
    """Returns a statement as the followed era sees it. What an older era decided above the followed one's base is a
    claim on the height above that base; None if that block is not at hand.
    """
    plan = past.plan(follows)
    if plan is None or statement.applied == follows or statement.height <= plan.base:
        return _Stated(statement, statement.height, statement.block, None)
    first = Height(plan.base + 1)
    blocks = (*statement.decided, *(one for one in added if decided_holds(one, statement.applied, past)))
    found = next((one for one in blocks if one.certificate.height == first), None)
    if found is None:
        return None
    parent = past.parent_of(found.certificate.block, found.proposal)
    assert parent is not None, "the block was checked"
    claim = _Candidate(found.certificate.era, DECIDED_ABOVE, found.certificate.block)
    return _Stated(statement, plan.base, parent, claim)


def highest_decided(
    seen: Sequence[_Stated], follows: AppliedEra, past: Past, added: Sequence[Decided]
) -> tuple[Height, Digest] | None:
    """Returns the highest height proven decided in the followed era's chain, and its block; None if it has two."""
    plan = past.plan(follows)
    proven = [(GENESIS_HEIGHT, past.chain) if plan is None else (plan.base, plan.base_block)]
    proven += [(stated.height, stated.block) for stated in seen if stated.statement.applied == follows]
    proven += [(one.certificate.height, one.certificate.block) for one in added if decided_holds(one, follows, past)]
    highest = max(height for height, _ in proven)
    blocks = {block for height, block in proven if height == highest}
    return (highest, blocks.pop()) if len(blocks) == 1 else None


def _candidates(
    seen: Sequence[_Stated], base: tuple[Height, Digest], follows: AppliedEra, past: Past
) -> Iterable[_Candidate]:
    """Yields what may have been decided above the base: it must extend the base's block."""
    plan = past.plan(follows)
    if plan is not None and plan.carried is not None and (plan.base, plan.base_block) == base:
        yield _Candidate(plan.era, CARRIED_BEFORE, plan.carried)
    for stated in seen:
        if (stated.height, stated.block) != base:
            continue
        if stated.claim is not None:
            yield stated.claim
        elif stated.statement.prepared is not None:
            certificate = stated.statement.prepared.certificate
            yield _Candidate(certificate.era, certificate.slot, certificate.block)


def voted_for(seen: Sequence[_Stated], base: tuple[Height, Digest], follows: AppliedEra, past: Past) -> Digest | None:
    """Returns the block of the highest slot that F + 1 statements voted for above the base; None if there is none."""
    votes: Counter[Digest] = Counter()
    highest: dict[Digest, tuple[int, Digest]] = {}
    for stated in seen:
        voted = stated.statement.voted
        if voted is not None and stated.claim is None and (stated.height, stated.block) == base:
            votes[voted.block] += 1
            highest[voted.block] = max(highest.get(voted.block, (0, voted.block)), (voted.slot, voted.block))
    membership = past.membership(follows, Height(base[0] + 1))
    assert membership is not None, "the statements' signatures were checked under it"
    needed = weak_quorum(len(membership))
    found = [highest[block] for block, count in votes.items() if count >= needed]
    return max(found)[1] if found else None


def carried_proposal(signed: SignedPlan, past: Past) -> bytes | None:
    """Returns the bytes of the block that a plan carries, None if it carries none."""
    carried = signed.plan.carried
    statements = (one.statement for one in signed.statements)
    return None if carried is None else _body_of(carried, statements, signed.added, past)


def _body_of(
    block: Digest, statements: Iterable[MemberStatement], added: Sequence[Decided], past: Past
) -> bytes | None:
    """Returns the bytes of a block that checked statements show, or that an earlier plan carried; None of no such."""
    shown = {name: body for statement in statements for name, body in _bodies_in(statement)}
    elsewhere = {one.certificate.block: one.proposal for one in added if is_whole(one, past)}
    return (shown | elsewhere).get(block, past.carried(block))


def _bodies_in(statement: MemberStatement) -> Iterable[tuple[Digest, bytes]]:
    if statement.prepared is not None:
        yield statement.prepared.certificate.block, statement.prepared.proposal
    if statement.voted is not None:
        yield statement.voted.block, statement.voted.proposal
    for decided in statement.decided:
        yield decided.certificate.block, decided.proposal
