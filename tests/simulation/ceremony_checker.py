"""Judges ceremonies by chance apart from the code: it has its own members of every height, its own quorum and its own
domains, and believes no home but what it said and what lies in its ledger.

- An honest home votes for one block and commits to one block per domain, height and slot, promises once per slot what
  it claims, and commits to nothing below a promise.
- Nobody signs in an era that its last statement gave up, unless it took the seal back.
- Each block that a participant holds has COMMITs of Q members of its height under the domain of its height, and leads
  to the block before it.
- One complete plan per era; participants have one chain; what an honest home decided is in it, unless a complete plan
  had fewer than K* complete statements of who agreed.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from consensus.ceremony_records import SignedPlan
from consensus.codec import decode, encode
from consensus.cryptography import HashKind, digest
from consensus.era_plans import AppliedEra, Join, JoinStatement, Plan
from consensus.identifiers import Address, Digest, Domain, PublicKey
from consensus.messages import Commit, Decided, Message, Prepare, PrePrepare, ViewChange, commit_bytes
from tests.simulation.signing import is_signed

Members = Sequence[tuple[Address, PublicKey]]
Homes = Iterable[tuple[AppliedEra, Sequence[Decided]]]


class ViolationError(AssertionError):
    """What must never happen."""


class ForkError(ViolationError):
    """Two participants have different blocks at a height, or a block that nobody could decide."""


def faults_borne(members: int) -> int:
    return (members - 1) // 3


def quorum_of(members: int) -> int:
    """The fewest of whom any two share more than may lie."""
    return next(count for count in range(members + 1) if 2 * count - members > faults_borne(members))


def complete_needed(members: int) -> int:
    """So many share an honest one with any quorum."""
    return next(
        count for count in range(1, members + 1) if count + quorum_of(members) - members > faults_borne(members)
    )


class CeremonyChecker:
    """Of one run."""

    def __init__(self, chain: Digest, genesis: Members) -> None:
        self._chain = chain
        self._genesis: Final = tuple(genesis)
        self._plans: dict[Digest, Plan] = {}
        self._said: dict[tuple[str, PublicKey, Domain, int, int], object] = {}
        self._promised: dict[tuple[PublicKey, Domain, int], int] = {}
        self._sealed: dict[PublicKey, int] = {}

    # --- what homes say ---------------------------------------------------------------------------------------

    def note_said(self, key: PublicKey, applied: AppliedEra, message: Message) -> None:
        """An honest home signed something."""
        if not isinstance(message, PrePrepare | Prepare | Commit | ViewChange):
            return
        number, domain = self._era_at(applied, message.height)
        if number < self._sealed.get(key, 0):
            raise ViolationError(f"signed in era {number}, which its statement gave up")
        where = (key, domain, message.height)
        if isinstance(message, ViewChange):
            kind, content = "VIEW-CHANGE", message.claim
            self._promised[where] = max(self._promised.get(where, 0), message.slot)
        else:
            kind, content = "COMMIT" if isinstance(message, Commit) else "VOTE", message.block
        step = (kind, *where, message.slot)
        if step not in self._said and kind != "VIEW-CHANGE" and message.slot < self._promised.get(where, 0):
            raise ViolationError(f"a {kind} below a promise at height {message.height}")
        if self._said.setdefault(step, content) != content:
            raise ViolationError(f"two {kind}s at height {message.height}, slot {message.slot}")

    def note_stated(self, key: PublicKey, era: int) -> None:
        """A statement left a home: it gave up all below."""
        self._sealed[key] = era

    def note_released(self, key: PublicKey) -> None:
        """It took that back."""
        self._sealed.pop(key, None)

    # --- eras as it sees them ----------------------------------------------------------------------------------

    def note_plan(self, signed: SignedPlan) -> None:
        self._plans[self.name_of(signed.plan)] = signed.plan

    @staticmethod
    def name_of(plan: Plan) -> Digest:
        return digest(HashKind.PLAN, encode(plan))

    def _followed(self, applied: AppliedEra) -> list[Plan]:
        """The plans behind an era, newest first."""
        found = []
        while applied.plan is not None:
            found.append(self._plans[applied.plan])
            applied = found[-1].follows
        return found

    def _era_at(self, applied: AppliedEra, height: int) -> tuple[int, Domain]:
        for plan in self._followed(applied):
            if height > plan.base:
                return plan.era, Domain(digest(HashKind.ERA, encode((self._chain, plan.era, self.name_of(plan)))))
        return 0, Domain(self._chain)

    def members_at(self, applied: AppliedEra, height: int) -> Members:
        """M(height): only a ceremony changes it, by the authority's word."""
        members = list(self._genesis)
        for plan in reversed(self._followed(applied)):
            if height > plan.base:
                words = {departure.address: departure.node_key for departure in plan.departures}
                named = [(address, words.get(address, key)) for address, key in members]
                members = [(address, key) for address, key in named if key is not None]
        return members

    def joiners_of(self, plan: Plan, joins: Iterable[Join]) -> set[tuple[Address, PublicKey]]:
        """Who of those that stated agreed, by their own signatures."""
        keys = {name.author: name.node_key for name in plan.statements}
        found = set()
        for one in joins:
            statement = JoinStatement(chain=self._chain, era=plan.era, plan=self.name_of(plan), author=one.author)
            if one.author in keys and is_signed(keys[one.author], encode(statement), one.signature):
                found.add((one.author, keys[one.author]))
        return found

    def is_complete(self, plan: Plan, joins: Iterable[Join]) -> bool:
        """Q of the old members agreed, the set of base + 1 in the era that the plan follows."""
        old = self.members_at(plan.follows, plan.base + 1)
        return len(self.joiners_of(plan, joins).intersection(old)) >= quorum_of(len(old))

    def complete_statements(self, plan: Plan, joins: Iterable[Join]) -> tuple[int, int]:
        """K and K*."""
        agreed = {address for address, _ in self.joiners_of(plan, joins)}
        complete = sum(name.is_complete for name in plan.statements if name.author in agreed)
        return complete, complete_needed(len(self.members_at(plan.follows, plan.base + 1)))

    # --- the end --------------------------------------------------------------------------------------------------

    def check_plans(self, applied: Iterable[tuple[Plan, Iterable[Join]]]) -> None:
        """What anybody applied was complete, and one per era."""
        of_era: dict[int, Digest] = {}
        for plan, joins in applied:
            if not self.is_complete(plan, joins):
                raise ForkError(f"a plan of era {plan.era} was applied without a quorum of the old members")
            if of_era.setdefault(plan.era, self.name_of(plan)) != self.name_of(plan):
                raise ForkError(f"two plans of era {plan.era} were applied")

    def check_chains(self, homes: Homes) -> None:
        """Participants have one chain, decided by whom it says."""
        at: dict[int, Digest] = {}
        for applied, blocks in homes:
            parent = self._chain
            for height, decided in enumerate(blocks, start=1):
                self._check_decided(applied, height, decided, parent)
                parent = decided.certificate.block
                if at.setdefault(height, parent) != parent:
                    raise ForkError(f"two blocks at height {height} among those who took part")

    def _check_decided(self, applied: AppliedEra, height: int, decided: Decided, parent: Digest) -> None:
        certificate = decided.certificate
        number, domain = self._era_at(applied, height)
        members = dict(self.members_at(applied, height))
        signers = {
            one.signer
            for one in certificate.endorsements
            if one.signer in members
            and is_signed(
                members[one.signer],
                commit_bytes(domain, certificate.height, certificate.slot, certificate.block),
                one.signature,
            )
        }
        if (certificate.era, certificate.height) != (number, height) or len(signers) < quorum_of(len(members)):
            raise ForkError(f"block {height} was decided by {len(signers)} of {len(members)} members in era {number}")
        if (
            digest(HashKind.BLOCK, decided.proposal) != certificate.block
            or decode(decided.proposal, tuple)[0] != parent
        ):
            raise ForkError(f"block {height} does not follow the one before it")

    def lost(self, decided_ever: Mapping[int, set[Digest]], homes: Homes) -> list[int]:
        """Heights at which a participant has another block than an honest home once decided."""
        found = defaultdict(set)
        for _, blocks in homes:
            for height, decided in enumerate(blocks, start=1):
                found[height] |= decided_ever.get(height, set()) - {decided.certificate.block}
        return sorted(height for height, others in found.items() if others)
