"""Whose signatures decide which height, for who has genesis and nothing else: the chain of the sets.

Genesis names the members of heights 1 and 2. Block h fixes the members of h + 2 and its header commits to them; so
each header at which they change, with its certificate under the members of its own height, leads on to the next set.
What a prover leaves out only makes its own headers unprovable.

A ceremony leads on as well: its plan, with the agreements of a quorum of the members before, and the word of the
authority on who was absent. The plan names the key that acts for the authority then, which may be a later one than
that of genesis: the same quorum has found it in the newest block that the plan keeps.

Who trusts genesis alone trusts every set on the way: keys of a past set that were stolen or sold later could certify
another history from there. Checks name the sets that they trusted.
"""

from collections.abc import Iterable
from typing import Final

from consensus.codec import Record
from consensus.era_plans import EraProof, Members, first_height_of, is_complete, is_vouched_for
from consensus.eras import Era, Eras
from consensus.identifiers import FIRST_HEIGHT, FIXED_AHEAD, Address, Digest, Height, PublicKey
from consensus.membership import Membership
from consensus.messages import CommitCertificate
from contracts.genesis import Genesis, chain_id
from ledger.block import BlockHeader, block_digest
from ledger.validation import certificate_fault, version_fault

CHANGES_MAX: Final = 1_024
"""Changes that a proof may carry; beyond them it needs a later point to start from."""


class SetChange(Record, frozen=True, kw_only=True, tag="set-change"):
    """A decided header that commits to other members than the one before, and these members."""

    header: BlockHeader
    certificate: CommitCertificate
    members: Members

    @property
    def first_height(self) -> Height:
        """The first height of these members."""
        return Height(self.header.height + FIXED_AHEAD)


SetStep = SetChange | EraProof


class TrustedSets:
    """The members of every height, as far as genesis and the changes taken so far say."""

    def __init__(self, genesis: Genesis) -> None:
        """Takes the members of the first heights."""
        self.eras = Eras(chain_id(genesis))
        self._sets = [(FIRST_HEIGHT, Membership.of_keys([member.node_key for member in genesis.members]))]

    def take(self, step: SetStep) -> str | None:
        """Takes the next step in the order of heights; says in words why it is none."""
        return self._take_era(step) if isinstance(step, EraProof) else self._take_change(step)

    def take_all(self, steps: Iterable[SetStep]) -> str | None:
        """Takes steps in their order up to the first that is none; says in words why that is so."""
        return next((fault for fault in map(self.take, steps) if fault is not None), None)

    def _take_era(self, proof: EraProof) -> str | None:
        plan, newest = proof.plan, self.eras.newest
        first = first_height_of(plan)
        if plan.chain != self.eras.chain or plan.era <= newest.number or first < self._sets[-1][0]:
            return f"the ceremony of era {plan.era} is not in its order"
        if (plan.follows.era, plan.follows.plan) != (newest.number, newest.plan):
            return f"the ceremony of era {plan.era} follows another than era {newest.number}"
        if plan.quorums[0] != self.at(first).members or not is_complete(plan, proof.joins):
            return f"the ceremony of era {plan.era} has no quorum of the members of height {first}"
        if not is_vouched_for(plan, proof.authority):
            return f"the authority did not sign the ceremony of era {plan.era}, from which members are absent"
        try:
            members = Membership(plan.members)
        except AssertionError:
            return f"the ceremony of era {plan.era} names a member twice"
        self.eras = Eras(self.eras.chain, (*self.eras.starts, plan.start))
        self._sets.append((first, members))
        return None

    def _take_change(self, change: SetChange) -> str | None:
        height = change.header.height
        if change.first_height <= self._sets[-1][0] or height <= self.eras.newest.base:
            return f"the change of members by block {height} is not in its order"
        fault = change_fault(change, self.eras.chain, self.at(height), self.eras.at(height))
        if fault is None:
            self._sets.append((change.first_height, Membership(change.members)))
        return fault

    def at(self, height: Height) -> Membership:
        """Returns M(height), which is right if no change was left out."""
        found = (members for first, members in reversed(self._sets) if first <= height)
        return next(found, self._sets[0][1])

    def key_of(self, address: Address) -> PublicKey | None:
        """Returns the newest node key of who is or was a member."""
        keys = (members.key_of(address) for _, members in reversed(self._sets))
        return next((key for key in keys if key is not None), None)


def change_fault(change: SetChange, chain: Digest, membership: Membership, era: Era) -> str | None:
    """Says in words why a change does not hold, None if it does.

    Args:
        change: with the header of a height.
        chain: hash of genesis.
        membership: M(height).
        era: of the height.
    """
    header, height = change.header, change.header.height
    fault = decided_fault(header, change.certificate, chain, membership, era)
    if fault is not None:
        return fault
    if header.era != era.number:
        return f"block {height} was carried over into era {era.number}, which began with its plan's members"
    try:
        members = Membership(change.members)
    except AssertionError:
        return f"block {height} names a member twice"
    return None if members.digest() == header.membership else f"block {height} commits to other members"


def decided_fault(
    header: BlockHeader, certificate: CommitCertificate, chain: Digest, membership: Membership, era: Era
) -> str | None:
    """Says in words why a header is not shown to be decided by these members, None if it is.

    Args:
        header: of any height.
        certificate: of its block.
        chain: hash of genesis.
        membership: of the header's height.
        era: of the height.
    """
    unknown = version_fault(header)
    if unknown is not None:
        return unknown
    height = header.height
    if header.chain != chain:
        return f"block {height} belongs to chain {header.chain.hex()}"
    fault = certificate_fault(certificate, height, block_digest(header), membership, era)
    return None if fault is None else f"the certificate does not decide block {height}: {fault}"
