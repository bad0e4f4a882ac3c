"""What people carry from home to home in a ceremony: statements, a plan, agreements to it. All of it is signed.

See `ceremony` for what they are for, `plans` for how a plan follows from statements.
"""

from enum import Enum
from typing import Annotated, Final

from msgspec import Meta

from consensus.codec import Record, encode
from consensus.cryptography import HashKind, digest
from consensus.eras import ERAS_MAX, EraField, EraStart
from consensus.events import JoinedPlan, PreparedBlock
from consensus.identifiers import PUBLIC_KEY_SIZE_BYTES, Address, Digest, EraNumber, Height, PublicKey
from consensus.membership import Membership
from consensus.messages import (
    MEMBERS_MAX,
    NUMBER_MAX,
    AddressField,
    Decided,
    DigestField,
    HeightField,
    PrePrepare,
    SignatureField,
    SlotField,
)

STATED_BLOCKS_MAX: Final = 2
"""Newest decided blocks in a statement: more than one block above the base of another era can only be lost ones."""

LaterEra = Annotated[EraNumber, Meta(ge=1, le=ERAS_MAX)]
NodeKey = Annotated[PublicKey, Meta(min_length=PUBLIC_KEY_SIZE_BYTES, max_length=PUBLIC_KEY_SIZE_BYTES)]
Members = Annotated[tuple[tuple[AddressField, NodeKey], ...], Meta(min_length=1, max_length=MEMBERS_MAX)]


class Missing(Enum):
    """What a home has lost of what it signed."""

    SIGN_STATE = "sign_state"
    """Its sign state, or what it said about this height."""
    RECORD = "record"
    """A record that the sign state names."""
    BLOCKS = "blocks"
    """Decided blocks: the sign state is of a height above."""


class AppliedEra(Record, frozen=True, kw_only=True):
    """The era that somebody takes part in."""

    era: EraField
    plan: DigestField | None
    """That began it; None of the first era."""


class MemberStatement(Record, frozen=True, kw_only=True, tag="p2pnode-2-statement"):
    """What a home has, when it gave up all eras below one. From then on it signs and appends nothing of these."""

    chain: DigestField
    author: AddressField
    era: LaterEra
    """Nothing below is signed or appended any more."""
    number: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
    """Of a home's statements; the newest counts."""
    applied: AppliedEra
    joined: JoinedPlan | None
    """The plan of the highest era that it agreed to."""
    height: HeightField
    """Last decided height."""
    block: DigestField
    """Its block; the chain id at height 0."""
    decided: Annotated[tuple[Decided, ...], Meta(max_length=STATED_BLOCKS_MAX)]
    """The newest decided blocks, oldest first."""
    prepared: PreparedBlock | None
    """At the height above: the block that its VIEW-CHANGE must claim."""
    voted: PrePrepare | None
    """At the height above: the proposal that it voted for last."""
    promise: SlotField
    missing: Annotated[tuple[Missing, ...], Meta(max_length=len(Missing))]
    """What is lost; nothing if the statement is complete."""

    @property
    def is_complete(self) -> bool:
        """Says whether it shows all that its author may have signed at the height above its last one."""
        return not self.missing


class SignedMemberStatement(Record, frozen=True, kw_only=True):
    """A statement under its author's node key."""

    statement: MemberStatement
    signature: SignatureField


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
    """The sets of each of which those who agree must hold a quorum; first that of base + 1 in the era followed."""
    members: Members
    """From base + 1 on."""

    @property
    def start(self) -> EraStart:
        """The era that it begins."""
        return EraStart(number=self.era, plan=plan_digest(self), base=self.base, carried=self.carried)

    @property
    def old_membership(self) -> Membership:
        """The set of base + 1 in the era that it follows."""
        return Membership(self.quorums[0])

    @property
    def is_everybody_there(self) -> bool:
        """Says whether all members of the old set made a statement: then the authority has nothing to say."""
        stated = {(name.author, name.node_key) for name in self.statements}
        return stated.issuperset(self.quorums[0])


class SignedPlan(Record, frozen=True, kw_only=True):
    """A plan with all that it follows from."""

    plan: Plan
    statements: Annotated[tuple[SignedMemberStatement, ...], Meta(max_length=MEMBERS_MAX)]
    """As the plan names them, in its order."""
    added: Annotated[tuple[Decided, ...], Meta(max_length=MEMBERS_MAX)]
    """Decided blocks from receipts, backups or ledgers."""
    authority: SignatureField | None
    """Over the plan; needed where somebody is absent."""


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


def statement_digest(statement: MemberStatement) -> Digest:
    """Returns the name of a statement."""
    return digest(HashKind.STATEMENT, encode(statement))


def plan_digest(plan: Plan) -> Digest:
    """Returns the name of a plan, which the domain of its era covers."""
    return digest(HashKind.PLAN, encode(plan))


def join_bytes(plan: Plan, author: Address) -> bytes:
    """Returns the bytes that a JOIN signs."""
    return encode(JoinStatement(chain=plan.chain, era=plan.era, plan=plan_digest(plan), author=author))


def first_height_of(plan: Plan) -> Height:
    """Returns the first height of the plan's era."""
    return Height(plan.base + 1)
