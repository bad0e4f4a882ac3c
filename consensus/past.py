"""The configurations that statements and plans may name: genesis' and those of plans, with each height's members.

Who the members of a height are follows from genesis, or the newest plan below, by the changes since, each proven by a
decided header (`Past.learn`). The headers of the blocks that a statement shows commit to the members above them: so
changes that were left out show at the first honest statement.
"""

from collections.abc import Callable
from typing import Final

from consensus.era_plans import AppliedEra, Plan, plan_digest
from consensus.eras import FIRST_ERA, Eras
from consensus.identifiers import Digest, EraNumber, Height, PublicKey
from consensus.membership import Membership

FIRST: Final = AppliedEra(era=FIRST_ERA, plan=None)

# Blocks are bytes to the consensus: the ledger opens them.

ParentOf = Callable[[Digest, bytes], Digest | None]
"""Returns the parent that a proposal names, if the proposal is the block that a digest names; else None."""

AuthorityIn = Callable[[bytes], PublicKey]
"""Returns the key that acts for the authority after a block, as the block says; takes a proposal that is one."""

MembersIn = Callable[[bytes, EraNumber], Digest | None]
"""Returns the digest of the members two heights above a block, as the block says; takes a proposal that is one. None
if another era than the one given made it: who the members are when an era begins, its plan says.
"""


class Past:
    """The configurations that plans may follow: the first era's and those of plans that were checked before."""

    def __init__(
        self,
        chain: Digest,
        membership_at: Callable[[Height], Membership | None],
        *,
        first_authority: PublicKey,
        parent_of: ParentOf,
        authority_in: AuthorityIn,
        members_in: MembersIn,
    ) -> None:
        """Takes what a ledger or a light client knows.

        Args:
            chain: hash of genesis.
            membership_at: M(height) of the first era below all changes learned, None where that is not known.
            first_authority: the authority's key in genesis.
            parent_of: opens a proposal.
            authority_in: reads a later key in a proposal.
            members_in: reads the digest of later members in a proposal.
        """
        self.chain: Final = chain
        self.first_authority: Final = first_authority
        self.parent_of: Final = parent_of
        self.authority_in: Final = authority_in
        self.members_in: Final = members_in
        self._membership_at = membership_at
        self._plans: dict[Digest, Plan] = {}
        self._carried: dict[Digest, bytes] = {}
        self._changed: dict[AppliedEra, list[tuple[Height, Membership]]] = {}

    def take(self, plan: Plan, carried: bytes | None) -> None:
        """Takes a plan that others may follow, after those that it builds on; whoever calls has checked it.

        Args:
            plan: that holds (`consensus.plans.follow`).
            carried: the bytes of the block that it carries, None if it carries none.
        """
        self._plans[plan_digest(plan)] = plan
        if plan.carried is not None and carried is not None:
            self._carried[plan.carried] = carried

    def learn(self, applied: AppliedEra, first: Height, members: Membership) -> bool:
        """Takes the members from a height on, which a block of an era fixed as whoever calls has checked.

        Returns:
            Whether they are above all that are known: else two blocks of one height, or one without those before it.
        """
        changed = self._changed.setdefault(applied, [])
        is_next = not changed or changed[-1][0] < first
        if is_next:
            changed.append((first, members))
        return is_next

    def carried(self, block: Digest) -> bytes | None:
        """Returns the bytes of a block that an earlier plan carried, None if none did."""
        return self._carried.get(block)

    def knows(self, applied: AppliedEra) -> bool:
        """Says whether the plan of an era is at hand, and is of this era."""
        if applied.plan is None:
            return applied.era == FIRST_ERA
        plan = self._plans.get(applied.plan)
        return plan is not None and plan.era == applied.era

    def numbered(self, number: EraNumber) -> list[AppliedEra]:
        """Returns the eras of a number: one, or of plans that rivalled several; none if its plan is not at hand."""
        plans = [plan.applied for plan in self._plans.values() if plan.era == number]
        return [FIRST] if number == FIRST_ERA else plans

    def plan(self, applied: AppliedEra) -> Plan | None:
        """Returns the plan that began an era, None of the first one."""
        return None if applied.plan is None else self._plans[applied.plan]

    def eras(self, applied: AppliedEra) -> Eras:
        """Returns the eras of who takes part in one."""
        starts = []
        plan = self.plan(applied)
        while plan is not None:
            starts.append(plan.start)
            plan = self.plan(plan.follows)
        return Eras(self.chain, tuple(reversed(starts)))

    def membership(self, applied: AppliedEra, height: Height) -> Membership | None:
        """Returns M(height) for who takes part in an era: above a plan's base its members, until they changed."""
        plan = self.plan(applied)
        while plan is not None and height <= plan.base:
            applied, plan = plan.follows, self.plan(plan.follows)
        changed = self._changed.get(applied, [])
        found = next((members for first, members in reversed(changed) if first <= height), None)
        if found is not None:
            return found
        return self._membership_at(height) if plan is None else Membership(plan.members)
