"""A ceremony: how people go on when more members lost what they signed than the protocol can bear.

No protocol can decide a height at which more than F members keep silent without an end: what they signed is nowhere.
People can stop all of it and say: nothing older counts. A ceremony is the last view change of an era, taken by hand.

1. *State* (`state`). Each home writes down, durably and before anything leaves it, that it signs and appends nothing
   in eras below E any more: it is sealed. Then it says what it has.
2. *Plan* (`plans`). Whoever has the statements makes a plan: the highest decided height, the block above it that may
   have been decided, and the members that go on.
3. *Join* (`join`). Each home that stated checks the plan, and agrees to it: to one per era, and only if its newest
   statement is the one in the plan.
4. *Apply* (`apply`). With the agreement of a quorum of the old members the plan is complete, and there is one
   complete plan per era. A home that applies it begins the era with a sign state that binds nothing, but for one that
   may have been there before: it keeps silent and asks the others (`recovery`).
5. *Release* (`release`) takes a seal back where nothing was agreed to yet.

Each step takes a sign state and returns the one that must be durable before anything else happens; nothing here does
I/O. What is trusted: at most F of the old members lie, in statements and agreements too; at most F' of those who go
on lie; the authority says that a home is gone only if it is; who states does so from the node's real home.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from msgspec.structs import replace

from consensus import quorum
from consensus.ceremony_records import (
    STATED_BLOCKS_MAX,
    MemberStatement,
    Missing,
    SignedMemberStatement,
    statement_digest,
)
from consensus.codec import encode
from consensus.era_plans import AppliedEra, Join, Plan, first_height_of, is_complete, join_bytes, joiners, plan_digest
from consensus.events import (
    EraStanding,
    JoinedPlan,
    SignState,
    forgetful_sign_state,
    fresh_sign_state,
)
from consensus.identifiers import FIRST_HEIGHT, Digest, EraNumber, Height, PublicKey
from consensus.member import Signer
from consensus.membership import Membership
from consensus.messages import Decided
from consensus.replica import Start, binding, standing_where_the_chain_is


class CeremonyRefusal(Enum):
    """Why a step is not taken. Nothing changed."""

    ERA_PASSED = "era_passed"
    """Not above the era that this home takes part in."""
    SEALED_HIGHER = "sealed_higher"
    """This home made a statement for a later era since."""
    NOT_SEALED = "not_sealed"
    """This home is not sealed below exactly this era: it made no statement for it, or took it back."""
    OTHER_STATEMENT = "other_statement"
    """The plan was not made of this home's newest statement."""
    JOINED_ANOTHER = "joined_another"
    """This home agreed to another plan of this era or of a later one."""
    NOT_COMPLETE = "not_complete"
    """Too few of the old members agreed to the plan."""
    NO_MEMBER = "no_member"
    """This home's key is none of the members'."""
    OTHER_BLOCK = "other_block"
    """This home's ledger has another block at the plan's base or below."""
    LEDGER_ABOVE = "ledger_above"
    """This home's ledger has blocks above the plan's base, and not just the one that is carried over."""
    AGREED = "agreed"
    """The seal stands: this home agreed to a plan of this era."""


# --- stating -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """What a stopped home finds in its files: where its replica would start, and its newest decided blocks."""

    chain: Digest
    start: Start
    decided: Sequence[Decided]
    """The newest ones, oldest first."""


def state(home: Home, era: EraNumber, signer: Signer) -> tuple[SignState, MemberStatement] | CeremonyRefusal:
    """Seals a home below an era and says what it has.

    Returns:
        The sign state, to be durable before the statement leaves, and the statement; or why not.
    """
    signed = standing_where_the_chain_is(home.start)
    standing = signed.standing
    if era <= standing.era:
        return CeremonyRefusal.ERA_PASSED
    if era < standing.sealed_below:
        return CeremonyRefusal.SEALED_HIGHER
    if home.start.memberships.undecided.key_of(signer.address) != signer.public_key:
        return CeremonyRefusal.NO_MEMBER
    number = standing.statement + 1
    statement = MemberStatement(
        chain=home.chain,
        author=signer.address,
        era=era,
        number=number,
        applied=AppliedEra(era=standing.era, plan=standing.plan),
        joined=standing.joined,
        height=Height(home.start.height - 1),
        block=home.start.tip,
        decided=tuple(home.decided[-STATED_BLOCKS_MAX:]),
        prepared=home.start.prepared,
        voted=home.start.voted,
        promise=signed.promise,
        missing=missing_of(home.start, signed),
    )
    sealed = replace(standing, sealed_below=era, statement=number, stated=statement_digest(statement))
    return replace(signed, standing=sealed), statement


def missing_of(start: Start, signed: SignState) -> tuple[Missing, ...]:
    """Returns what a home has lost of what it may have signed at its undecided height."""
    missing = []
    if start.height <= signed.silent_through:
        missing.append(Missing.SIGN_STATE)
    if signed.height > start.height and signed.bound_through >= start.height:
        missing.append(Missing.BLOCKS)
    if binding(start) is None:
        missing.append(Missing.RECORD)
    return tuple(missing)


def signed_statement(statement: MemberStatement, signer: Signer) -> SignedMemberStatement:
    """Returns a statement under its author's key; the seal that it speaks of is durable by now."""
    return SignedMemberStatement(statement=statement, signature=signer.sign(encode(statement)))


def release(signed: SignState) -> SignState | CeremonyRefusal:
    """Takes a seal back, down to the highest era that this home takes part in or agreed to."""
    standing = signed.standing
    agreed = standing.era if standing.joined is None else max(standing.era, standing.joined.era)
    if standing.sealed_below <= agreed:
        return CeremonyRefusal.AGREED if standing.is_sealed else CeremonyRefusal.NOT_SEALED
    return replace(signed, standing=replace(standing, sealed_below=agreed))


# --- agreeing ------------------------------------------------------------------------------------------------


def join(plan: Plan, signed: SignState, signer: Signer) -> tuple[SignState, Join] | CeremonyRefusal:
    """Agrees to a plan that `plans.plan_fault` found to follow from its statements.

    Returns:
        The sign state, to be durable before the agreement leaves, and the agreement; or why not.
    """
    standing = signed.standing
    if plan.era <= standing.era:
        return CeremonyRefusal.ERA_PASSED
    if standing.sealed_below != plan.era:
        return CeremonyRefusal.NOT_SEALED
    own = next((name for name in plan.statements if name.node_key == signer.public_key), None)
    if own is None or own.digest != standing.stated:
        return CeremonyRefusal.OTHER_STATEMENT
    if _joined_another(plan, standing):
        return CeremonyRefusal.JOINED_ANOTHER
    joined = replace(standing, joined=JoinedPlan(era=plan.era, plan=plan_digest(plan)))
    signature = signer.sign(join_bytes(plan, own.author))
    return replace(signed, standing=joined), Join(author=own.author, signature=signature)


def _joined_another(plan: Plan, standing: EraStanding) -> bool:
    joined = standing.joined
    return joined is not None and joined.era >= plan.era and joined.plan != plan_digest(plan)


def complete_statements(plan: Plan, joins: Iterable[Join]) -> int:
    """Returns K: how many of those who agreed showed all that they may have signed."""
    agreed = {address for address, _ in joiners(plan, joins)}
    return sum(name.is_complete for name in plan.statements if name.author in agreed)


def complete_statements_needed(members: int) -> int:
    """Returns K*: with so many complete statements of who agreed, no decided block is replaced.

    N - Q + F + 1: they share an honest member with any Q that committed.
    """
    return members - quorum.quorum(members) + quorum.fault_bound(members) + 1


def keeps_all_decided(plan: Plan, joins: Iterable[Join]) -> bool:
    """Says whether it is certain that the plan replaces no block that anybody has decided."""
    needed = complete_statements_needed(len(plan.old_membership))
    return complete_statements(plan, joins) >= needed


# --- applying ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFacts:
    """What a home's ledger has."""

    height: Height
    block_at: Callable[[Height], Digest]
    """Digest of a decided block from height 0 (the chain id) to `height`."""
    signed_in: EraNumber
    """The highest era that the ledger shows this home to have signed in: by a record beside its blocks, or by a block
    of that era.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """How a home begins an era."""

    sign_state: SignState
    """To be durable at once: era, plan and what binds, in one record."""
    drops_carried: bool
    """The ledger has the carried block by a certificate of an older era: it goes first, to be decided anew. Nothing
    is lost with it that says where this home signed.
    """


def apply(
    plan: Plan, joins: Iterable[Join], *, signed: SignState, key: PublicKey, ledger: LedgerFacts
) -> Applied | CeremonyRefusal:
    """Begins the era of a plan at a home.

    Args:
        plan: that `plans.plan_fault` found to follow from its statements.
        joins: agreements to it.
        signed: the home's sign state.
        key: the home's node key.
        ledger: the home's ledger.
    """
    refusal = _apply_refusal(plan, joins, signed=signed, key=key, ledger=ledger)
    if refusal is not None:
        return refusal
    standing = replace(signed.standing, era=plan.era, plan=plan_digest(plan), sealed_below=plan.era)
    first = first_height_of(plan)
    is_new_home = any(departure.node_key == key for departure in plan.departures)
    is_free = _binds_nothing(plan, signed, ledger, is_new_home=is_new_home)
    begun = fresh_sign_state(first, standing) if is_free else forgetful_sign_state(first, standing)
    has_older_certificate = ledger.height > plan.base and ledger.signed_in < plan.era
    return Applied(sign_state=begun, drops_carried=has_older_certificate)


def _apply_refusal(
    plan: Plan, joins: Iterable[Join], *, signed: SignState, key: PublicKey, ledger: LedgerFacts
) -> CeremonyRefusal | None:
    standing = signed.standing
    if plan.era <= standing.era:
        return CeremonyRefusal.ERA_PASSED
    if standing.sealed_below > plan.era:
        return CeremonyRefusal.SEALED_HIGHER
    if _joined_another(plan, standing):
        return CeremonyRefusal.JOINED_ANOTHER
    if not is_complete(plan, joins):
        return CeremonyRefusal.NOT_COMPLETE
    if Membership(plan.members).member_of(key) is None:
        return CeremonyRefusal.NO_MEMBER
    return _ledger_refusal(plan, ledger)


def _ledger_refusal(plan: Plan, ledger: LedgerFacts) -> CeremonyRefusal | None:
    if ledger.height >= plan.base and ledger.block_at(plan.base) != plan.base_block:
        return CeremonyRefusal.OTHER_BLOCK
    if ledger.height <= plan.base:
        return None
    first = first_height_of(plan)
    is_carried = ledger.height == first and ledger.block_at(first) == plan.carried
    return None if is_carried else CeremonyRefusal.LEDGER_ABOVE


def _binds_nothing(plan: Plan, signed: SignState, ledger: LedgerFacts, *, is_new_home: bool) -> bool:
    """Says whether a home cannot have signed in the plan's era before: its sign state remembers that it agreed, or it
    was made with a key that the plan brings in, and its ledger knows nothing of the era.
    """
    joined = signed.standing.joined
    has_agreed = joined is not None and (joined.era, joined.plan) == (plan.era, plan_digest(plan))
    is_untouched = signed == fresh_sign_state(FIRST_HEIGHT)
    return ledger.signed_in < plan.era and (has_agreed or (is_new_home and is_untouched))
