"""Plans of ceremonies as a chain keeps them, and whether enough of the old members agreed to one.

`ceremony` says what a plan is for; `plans` how it follows from statements, which the chain does not keep.
"""

from collections.abc import Iterable
from typing import Annotated

from msgspec import Meta

from consensus.codec import Record, encode
from consensus.cryptography import HashKind, digest, verify
from consensus.eras import ERAS_MAX, EraField, EraStart
from consensus.identifiers import (
    PUBLIC_KEY_SIZE_BYTES,
    TIME_MS_MAX,
    Address,
    Digest,
    EraNumber,
    Height,
    PublicKey,
    Signature,
)
from consensus.membership import Membership
from consensus.messages import MEMBERS_MAX, AddressField, DigestField, HeightField, SignatureField

LaterEra = Annotated[EraNumber, Meta(ge=1, le=ERAS_MAX)]
KeyField = Annotated[PublicKey, Meta(min_length=PUBLIC_KEY_SIZE_BYTES, max_length=PUBLIC_KEY_SIZE_BYTES)]
NodeKey = KeyField
CERTIFICATE_SIZE_BYTES_MAX = 4_096
"""A certificate in DER form has about 600 bytes."""
CERTIFICATES_MAX = 2
"""A home's, and that of the issuing authority which signed it."""
Certificates = Annotated[
    tuple[Annotated[bytes, Meta(max_length=CERTIFICATE_SIZE_BYTES_MAX)], ...], Meta(max_length=CERTIFICATES_MAX)
]
Members = Annotated[tuple[tuple[AddressField, NodeKey], ...], Meta(min_length=1, max_length=MEMBERS_MAX)]


class AppliedEra(Record, frozen=True, kw_only=True):
    """The era that somebody takes part in."""

    era: EraField
    plan: DigestField | None
    """That began it; None of the first era."""


class StatementName(Record, frozen=True, kw_only=True):
    """Which statement of whom a plan is made of."""

    author: AddressField
    node_key: NodeKey
    """That signed it."""
    number: int
    digest: DigestField
    is_complete: bool


class Departure(Record, frozen=True, kw_only=True):
    """What the authority says of a member that made no statement and does not come back as it was."""

    address: AddressField
    node_key: NodeKey | None
    """The key of the new home that takes the member's place; None: the member is gone."""
    certificates: Certificates = ()
    """The new home's, which says where it is reached, and behind it the issuing authority's; in DER form. None where
    the member is gone.
    """
    valid_until_ms: Annotated[int, Meta(ge=0, le=TIME_MS_MAX)] | None = None
    """When the new home's certificate ends, since the epoch, as it says itself: for the chain, which reads no
    certificates. None where the member is gone.
    """


class Plan(Record, frozen=True, kw_only=True, tag="p2pnode-2-plan"):
    """What the next era begins with; follows from the statements and the authority's word alone."""

    chain: DigestField
    era: LaterEra
    follows: AppliedEra
    """The era whose configuration it changes."""
    base: HeightField
    """Highest height proven decided in that era's chain."""
    base_block: DigestField
    carried: DigestField | None
    """The block that height base + 1 must be: it may have been decided. None: any."""
    statements: Annotated[tuple[StatementName, ...], Meta(min_length=1, max_length=MEMBERS_MAX)]
    """By author."""
    departures: Annotated[tuple[Departure, ...], Meta(max_length=MEMBERS_MAX)]
    """By address."""
    quorums: Annotated[tuple[Members, ...], Meta(min_length=1, max_length=2 * MEMBERS_MAX)]
    """The sets of each of which those who agree must hold a quorum: old ones, never the members that go on. First
    that of base + 1 in the era followed.
    """
    members: Members
    """From base + 1 on."""
    authority: KeyField
    """The key that acts for the authority after `carried`, else after the base, as that block says: its word counts
    under it.
    """

    @property
    def start(self) -> EraStart:
        """The era that it begins."""
        return EraStart(number=self.era, plan=plan_digest(self), base=self.base, carried=self.carried)

    @property
    def applied(self) -> AppliedEra:
        """The same for who takes part in it."""
        return AppliedEra(era=self.era, plan=plan_digest(self))

    @property
    def old_membership(self) -> Membership:
        """The set of base + 1 in the era that it follows."""
        return Membership(self.quorums[0])

    @property
    def is_everybody_there(self) -> bool:
        """Says whether all members of the old set made a statement: then the authority has nothing to say."""
        stated = {(name.author, name.node_key) for name in self.statements}
        return stated.issuperset(self.quorums[0])


class JoinStatement(Record, frozen=True, kw_only=True, tag="p2pnode-2-join"):
    """The signer begins this era by this plan and by no other."""

    chain: DigestField
    era: LaterEra
    plan: DigestField
    author: AddressField


class Join(Record, frozen=True, kw_only=True):
    """A member's agreement to a plan."""

    author: AddressField
    signature: SignatureField
    """Under the `JoinStatement`."""


class EraProof(Record, frozen=True, kw_only=True, tag="era-proof"):
    """Why an era began: what its first own block carries, and what a home keeps."""

    plan: Plan
    joins: Annotated[tuple[Join, ...], Meta(max_length=MEMBERS_MAX)]
    """Of a quorum of the old members; by author."""
    authority: SignatureField | None


def plan_digest(plan: Plan) -> Digest:
    """Returns the name of a plan, which the domain of its era covers."""
    return digest(HashKind.PLAN, encode(plan))


def join_bytes(plan: Plan, author: Address) -> bytes:
    """Returns the bytes that a JOIN signs."""
    return encode(JoinStatement(chain=plan.chain, era=plan.era, plan=plan_digest(plan), author=author))


def first_height_of(plan: Plan) -> Height:
    """Returns the first height of the plan's era."""
    return Height(plan.base + 1)


def joiners(plan: Plan, joins: Iterable[Join]) -> frozenset[tuple[Address, PublicKey]]:
    """Returns who of those that stated agreed to a plan, by valid signatures."""
    keys = {name.author: name.node_key for name in plan.statements}
    return frozenset(
        (one.author, keys[one.author])
        for one in joins
        if one.author in keys and verify(keys[one.author], join_bytes(plan, one.author), one.signature)
    )


def is_complete(plan: Plan, joins: Iterable[Join]) -> bool:
    """Says whether those who agreed hold a quorum of the old members, and of every other set that the plan names."""
    agreed = joiners(plan, joins)
    return all(holds_quorum(agreed, Membership(members)) for members in plan.quorums)


def is_vouched_for(plan: Plan, signature: Signature | None) -> bool:
    """Says whether the authority signed a plan that members are absent from; where all are there, it has no say."""
    return plan.is_everybody_there or (signature is not None and verify(plan.authority, encode(plan), signature))


def holds_quorum(who: Iterable[tuple[Address, PublicKey]], membership: Membership) -> bool:
    """Says whether Q members of a set, by address and key, are among these."""
    return len(set(membership.members).intersection(who)) >= membership.quorum
