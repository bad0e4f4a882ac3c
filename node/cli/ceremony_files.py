"""The files that people bring to a ceremony, checked before a home is opened: what is wrong is told, with the field.

Nothing here writes. What a plan follows from is computed (`consensus.plans`); here it gets its words.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509

from consensus.ceremony_records import SignedMemberStatement, SignedPlan
from consensus.codec import DecodeError, decode
from consensus.era_plans import Departure, Join, Plan, holds_quorum, joiners, plan_digest
from consensus.identifiers import Address, Digest, Height, PublicKey
from consensus.membership import Membership
from consensus.past import Past
from consensus.plans import PlanRefusal, follow, followed_era, make_plan, required_sets
from consensus.statements import author_key, bad_field
from contracts.genesis import Genesis, chain_id
from ledger.block import block_digest
from ledger.eras import authority_in, members_in, parent_of
from ledger.trusted_sets import SetChange, change_fault
from node.admission.endpoint import certified_home
from node.admission.identity import load_root
from node.admission.voucher import time_ms
from node.errors import FileRefused, IdentityError
from node.home.era_files import JoinFile, PlanFile, StatementFile, kept_plans, read_record
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.names.names import Names, names_of_home

DIGEST_DIGITS: Final = 16
"""Hexadecimal digits of a plan or chain in a sentence."""

STATEMENT_FIELDS: Final = {
    "chain": "expected this chain, {chain}",
    "applied": "names a plan that is not among the files: bring the statement of a member that began that era",
    "joined": "names a plan that is not among the files: bring the statement of a member that agreed to it",
    "era": "expected an era above the one that its author takes part in",
    "author": "expected a member",
    "signature": "expected its author's, over the statement as it is: it was changed, or the key is another one",
    "decided": "expected the newest decided blocks, in order, each with the certificate of a quorum, up to `height`",
    "changes": "the newest blocks name other members than all files' changes lead to: one was left out or forged",
    "voted": "expected a proposal for the height above `height`, signed by its leader, on top of `block`",
    "prepared": "expected a block of the height above `height` with the votes of a quorum, on top of `block`",
}
"""What a statement's fields must hold, by `consensus.statements.bad_field`."""

PLAN_REFUSALS: Final = {
    PlanRefusal.BAD_STATEMENT: ("statements", "the signatures or blocks of one do not hold"),
    PlanRefusal.UNKNOWN_PLAN: ("statements", "one names a plan that is not among the files"),
    PlanRefusal.RIVAL_PLANS: (
        "statements",
        "two plans were agreed to for one era: leave out the statements of those who agreed to one of them",
    ),
    PlanRefusal.TOO_FEW: ("statements", "they are of no quorum of the members: bring more"),
    PlanRefusal.FORK: ("statements", "two blocks are proven for one height: more members lied than may"),
    PlanRefusal.NOT_ABSENT: (
        "departures",
        "somebody is said to be gone or replaced who made a statement, or is no member, or gets a member's key",
    ),
    PlanRefusal.BLOCK_MISSING: (
        "added",
        "an older era decided above the base, and its block is not among the files: bring the statement that has it",
    ),
    PlanRefusal.NOBODY_LEFT: ("departures", "no member goes on"),
    PlanRefusal.NO_AUTHORITY: (
        "authority",
        "members are absent, and the key that acts for the authority then did not sign the plan: make it again with "
        "that one, which `p2pnode recover plan` names",
    ),
}
"""The field of a plan that is at fault, and why."""


class PlacedChange(NamedTuple):
    """A change of the members in a file."""

    place: str
    """Where it stands, for people."""
    encoded: bytes
    change: SetChange


class Admission(NamedTuple):
    """What a node's folder says of who may take part."""

    genesis: Genesis
    authority: x509.Certificate
    names: Names

    def name_of(self, address: Address) -> str:
        """Returns how this home calls a member."""
        return self.names.of(address)


class CheckedPlan(NamedTuple):
    """A plan that follows from its statements, and what it follows."""

    signed: SignedPlan
    past: Past
    followed: tuple[SignedPlan, ...]
    """All plans of the eras before it, oldest first, and itself."""


class BroughtStatements(NamedTuple):
    """Statements for one era, each of which holds."""

    statements: tuple[SignedMemberStatement, ...]
    plans: tuple[SignedPlan, ...]
    """That they bring along, each once, by era."""
    past: Past
    changes: tuple[bytes, ...]
    """Of the members, that those plans do not bring."""

    @property
    def authors(self) -> frozenset[tuple[Address, PublicKey]]:
        """Who made them, by the keys that signed them."""
        spoken = [one.statement for one in self.statements]
        return frozenset((one.author, key) for one in spoken if (key := author_key(one, self.past)) is not None)

    def required_sets(self) -> list[Membership]:
        """Returns the sets whose quorums must have stated; first that of the members that a plan changes."""
        spoken = [one.statement for one in self.statements]
        follows, newest = followed_era(spoken), Height(max(one.height for one in spoken))
        return [] if follows is None else required_sets(spoken, follows, newest, self.past) or []


def admission_of(home: Home) -> Admission:
    """Returns what a node's folder says of its chain.

    Raises:
        NodeError: a file is missing or damaged.
    """
    genesis = load_genesis(home)
    return Admission(genesis, load_root(home.authority_certificate), names_of_home(home))


# --- statements ------------------------------------------------------------------------------------------------


def read_statements(paths: Sequence[Path], admission: Admission) -> BroughtStatements:
    """Returns the statements in files.

    Raises:
        FileRefused: one is not what it should be, or is there twice.
    """
    brought = [(path, read_record(path, StatementFile)) for path in paths]
    plans = [(f"{path}: plans", plan) for path, one in brought for plan in one.plans]
    for path, one in brought:
        _refuse_doubled(f"{path}: plans", [plan_name(plan.plan) for plan in one.plans])
    changes = _opened((f"{path}: changes", one.changes) for path, one in brought)
    past = _past_of(admission, plans, changes)
    for path, one in brought:
        _require_statement(f"{path}: statement", one.statement, past)
    _require_one_era(brought)
    _require_different(brought, admission)
    earlier = {plan_digest(plan.plan): plan for _, plan in plans}
    return BroughtStatements(
        tuple(one.statement for _, one in brought),
        tuple(sorted(earlier.values(), key=lambda plan: plan.plan.era)),
        past,
        _not_in(earlier.values(), changes),
    )


def _require_statement(place: str, signed: SignedMemberStatement, past: Past) -> None:
    field = bad_field(signed, past)
    if field is not None:
        raise FileRefused(f"{place}.{field}: {STATEMENT_FIELDS[field].format(chain=_short(past.chain))}")


def _require_one_era(brought: Sequence[tuple[Path, StatementFile]]) -> None:
    path, newest = max(brought, key=lambda one: one[1].statement.statement.era)
    era = newest.statement.statement.era
    for other, one in brought:
        found = one.statement.statement.era
        if found != era:
            raise FileRefused(f"{other}: statement.era: is {found}, and {path} is for era {era}: leave one out")


def _require_different(brought: Sequence[tuple[Path, StatementFile]], admission: Admission) -> None:
    """A home numbers its statements, and the newest counts: two of one number are one given twice, or of a copy."""
    seen: dict[tuple[Address, int], Path] = {}
    for path, one in brought:
        statement = one.statement.statement
        other = seen.setdefault((statement.author, statement.number), path)
        if other is not path:
            name = admission.name_of(statement.author)
            raise FileRefused(
                f"{path}: statement.number: {name}'s statement {statement.number} is in {other} already"
            )


def why_no_plan(
    refusal: PlanRefusal, brought: BroughtStatements, departures: Sequence[Departure], admission: Admission
) -> str:
    """Returns why statements make no plan, with the field at fault and who it is about."""
    field, text = PLAN_REFUSALS[refusal]
    if refusal is PlanRefusal.NOT_ABSENT:
        text = _why_not_absent(brought, departures, admission) or text
    elif refusal is PlanRefusal.TOO_FEW:
        stated = brought.authors
        lacking = next((one for one in brought.required_sets() if not holds_quorum(stated, one)), None)
        if lacking is not None:
            count = len(stated.intersection(lacking.members))
            text = f"{count} of {len(lacking)} members made one, {lacking.quorum} needed: bring more"
    return f"{field}: {text}"


def _why_not_absent(brought: BroughtStatements, departures: Sequence[Departure], admission: Admission) -> str | None:
    old, *_ = brought.required_sets()
    keys, given = {key: address for address, key in old.members}, set[PublicKey]()
    for departure in departures:
        name, address = admission.name_of(departure.address), departure.address
        key = old.key_of(address)
        if key is None:
            return f"{name} is no member any more: leave it out"
        if (address, key) in brought.authors:
            return f"{name} made a statement, so it is neither gone nor replaced: leave out the one or the other"
        if departure.node_key in keys:
            of = admission.name_of(keys[departure.node_key])
            return f"{name}'s new home has the key of {of}: a new home needs a key of its own"
        if departure.node_key in given or sum(one.address == address for one in departures) > 1:
            return f"{name}, or the key of its new home, is there twice"
        if departure.node_key is not None:
            given.add(departure.node_key)
    return None


# --- the plan --------------------------------------------------------------------------------------------------


def read_plan(path: Path, home: Home, admission: Admission) -> CheckedPlan:
    """Returns the plan in a file, once it is found to follow from its statements, and all that it follows.

    Raises:
        FileRefused: it does not; says which field is at fault.
    """
    file = read_record(path, PlanFile)
    _refuse_doubled(f"{path}: plans", [plan_name(plan.plan) for plan in file.plans])
    *earlier, signed = file.plans
    kept = [(f"{home.eras}", plan) for plan in kept_plans(home)]
    own = _opened([(f"{path}: plan.changes", signed.changes)])
    past = _past_of(admission, [*((f"{path}: plans", plan) for plan in earlier), *kept], own)
    _require_plan(f"{path}: plan", signed, past, admission)
    known = {plan_digest(one.plan): one for one in (*file.plans, *(plan for _, plan in kept))}
    followed = [signed]
    while (name := followed[-1].plan.follows.plan) is not None:
        followed.append(known[name])
    return CheckedPlan(signed, past, tuple(reversed(followed)))


def _past_of(admission: Admission, plans: Iterable[tuple[str, SignedPlan]], changes: Iterable[PlacedChange]) -> Past:
    """Returns all configurations that statements may name: genesis' and those of plans, checked one after another.

    Whoever brought it, every change is learned before what lies above it is checked: so files that leave changes out
    gain nothing by it, as long as one file has them.
    """
    plans = sorted(plans, key=lambda one: one[1].plan.era)
    in_plans = _opened((f"{place} (era {one.plan.era}).changes", one.changes) for place, one in plans)
    waiting = deque(_in_order([*changes, *in_plans]))
    members = Membership.of_keys([member.node_key for member in admission.genesis.members])
    past = Past(
        chain_id(admission.genesis),
        lambda _: members,
        first_authority=admission.genesis.authority_key,
        parent_of=parent_of,
        authority_in=authority_in,
        members_in=members_in,
    )
    for place, signed in plans:
        while waiting and waiting[0].change.header.era < signed.plan.era:
            _learn(waiting.popleft(), past)
        if not past.knows(signed.plan.applied):
            _require_plan(f"{place} (era {signed.plan.era})", signed, past, admission)
    for one in waiting:
        _learn(one, past)
    return past


def _opened(brought: Iterable[tuple[str, Sequence[bytes]]]) -> list[PlacedChange]:
    """Returns the changes of the members in files.

    Raises:
        FileRefused: one is none.
    """
    found = []
    for field, changes in brought:
        for index, encoded in enumerate(changes):
            place = f"{field}[{index}]"
            try:
                found.append(PlacedChange(place, encoded, decode(encoded, SetChange)))
            except DecodeError as error:
                raise FileRefused(f"{place}: is no change of the members: {error}") from None
    return found


def _in_order(changes: Iterable[PlacedChange]) -> list[PlacedChange]:
    """Returns changes by era and height, each block once: homes may have different certificates of it."""
    once = {block_digest(one.change.header): one for one in reversed(list(changes))}
    return sorted(once.values(), key=lambda one: (one.change.header.era, one.change.header.height))


def _not_in(plans: Iterable[SignedPlan], changes: Iterable[PlacedChange]) -> tuple[bytes, ...]:
    """Returns the changes that plans do not bring, by era and height."""
    brought = _opened(("plans", plan.changes) for plan in plans)
    known = {block_digest(one.change.header) for one in brought}
    return tuple(one.encoded for one in _in_order(changes) if block_digest(one.change.header) not in known)


def _learn(placed: PlacedChange, past: Past) -> None:
    """Takes a change among what is known, in the era that made it."""
    place, _, change = placed
    height, number = change.header.height, change.header.era
    fault: str | None = f"block {height} is of era {number}, whose plan is not among the files"
    for applied in past.numbered(number):
        membership = past.membership(applied, height)
        assert membership is not None, "all members of the first era are known"
        fault = change_fault(change, past.chain, membership, past.eras(applied).at(height))
        if fault is None and not past.learn(applied, change.first_height, Membership(change.members)):
            fault = f"another block {height} with other members is proven as well: more members lied than may"
        if fault is None:
            return
    raise FileRefused(
        f"{place}: {fault}; a change before it is missing or forged, or this one is: leave the file out"
    )


def _require_plan(place: str, signed: SignedPlan, past: Past, admission: Admission) -> None:
    """Takes a plan among what others may follow, if it is one."""
    plan = signed.plan
    if plan.chain != past.chain:
        raise FileRefused(f"{place}.chain: is {_short(plan.chain)}, and this chain is {_short(past.chain)}")
    _refuse_doubled(f"{place}.members", [admission.name_of(one) for one, _ in plan.members])
    _refuse_doubled(f"{place}.statements", [admission.name_of(one.statement.author) for one in signed.statements])
    for index, statement in enumerate(signed.statements):
        _require_statement(f"{place}.statements[{index}]", statement, past)
        if statement.statement.era != plan.era:
            raise FileRefused(f"{place}.statements[{index}].era: is {statement.statement.era}, not {plan.era}")
    for index, departure in enumerate(plan.departures):
        _require_new_home(f"{place}.departures[{index}]", departure, admission)
    fault = follow(signed, past)
    if fault is PlanRefusal.NOT_THE_PLAN:
        raise FileRefused(f"{place}.{_differing_field(signed, past)}: is not what follows from the plan's statements")
    if fault is not None:
        field, text = PLAN_REFUSALS[fault]
        raise FileRefused(f"{place}.{field}: {text}")


def _require_new_home(place: str, departure: Departure, admission: Admission) -> None:
    """A home that takes a member's place shows the authority's certificate, of the key that the plan brings in."""
    if (departure.node_key is None) == bool(departure.certificates):
        raise FileRefused(f"{place}.certificates: expected with a new home's key, and only there")
    if not departure.certificates:
        if departure.valid_until_ms is not None:
            raise FileRefused(f"{place}.valid_until_ms: expected with a certificate, and only there")
        return
    try:
        home = certified_home(departure.certificates, admission.authority)
    except IdentityError as error:
        raise FileRefused(f"{place}.certificates: {error}") from None
    if home.node_key != departure.node_key:
        raise FileRefused(f"{place}.certificates: is of another key than the plan's")
    if time_ms(home.valid_until) != departure.valid_until_ms:
        raise FileRefused(f"{place}.valid_until_ms: the certificate ends on {home.valid_until:%Y-%m-%d}")


def _differing_field(signed: SignedPlan, past: Past) -> str:
    """Returns the first field of a plan that is another one than its statements say."""
    plan = signed.plan
    made = make_plan(signed.statements, plan.departures, era=plan.era, past=past, added=signed.added)
    assert not isinstance(made, PlanRefusal), "it is a plan, if not this one"
    fields = Plan.__struct_fields__
    return next((field for field in fields if getattr(made.plan, field) != getattr(plan, field)), "statements")


# --- agreements ------------------------------------------------------------------------------------------------


def read_joins(paths: Sequence[Path], plan: Plan, admission: Admission) -> list[Join]:
    """Returns the agreements to a plan in files, by author.

    Raises:
        FileRefused: one is to another plan, of nobody who made a statement, not signed, or there twice.
    """
    wanted, authors = plan_digest(plan), {name.author for name in plan.statements}
    found: dict[Address, tuple[Path, Join]] = {}
    for path in paths:
        file = read_record(path, JoinFile)
        join, name = file.join, admission.name_of(file.join.author)
        if file.plan != wanted:
            raise FileRefused(
                f"{path}: plan: is {_short(file.plan)}, and the plan of era {plan.era} is {_short(wanted)}"
            )
        if join.author not in authors:
            raise FileRefused(f"{path}: join.author: {name} made none of the plan's statements")
        if not joiners(plan, [join]):
            raise FileRefused(f"{path}: join.signature: is not that of {name} under this plan")
        other, _ = found.setdefault(join.author, (path, join))
        if other is not path:
            raise FileRefused(f"{path}: join.author: the agreement of {name} is in {other} already")
    return [join for _, (_, join) in sorted(found.items())]


# --- parts -----------------------------------------------------------------------------------------------------


def _refuse_doubled(place: str, names: Sequence[str]) -> None:
    doubled = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if doubled is not None:
        raise FileRefused(f"{place}: {doubled} is there twice")


def plan_name(plan: Plan) -> str:
    """Returns how a plan is called in a sentence."""
    return _short(plan_digest(plan))


def _short(digest: Digest) -> str:
    return digest.hex()[:DIGEST_DIGITS]
