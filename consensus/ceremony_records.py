"""What people carry from home to home in a ceremony: statements, a plan, agreements to it. All of it is signed.

See `ceremony` for what they are for, `plans` for how a plan follows from statements.
"""

from enum import Enum
from typing import Annotated, Final

from msgspec import Meta

from consensus.codec import Record, encode
from consensus.cryptography import HashKind, digest
from consensus.era_plans import AppliedEra, LaterEra, Plan
from consensus.events import JoinedPlan, PreparedBlock
from consensus.identifiers import Digest
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

CHANGES_MAX: Final = 16_384
"""Changes of the members that a file brings: one a week for three hundred years."""

CHANGE_SIZE_BYTES_MAX: Final = 64 * 1024
"""Of 256 members one has some 36 KiB: a header, COMMITs of a quorum, the list."""

Changes = Annotated[
    tuple[Annotated[bytes, Meta(max_length=CHANGE_SIZE_BYTES_MAX)], ...], Meta(max_length=CHANGES_MAX)
]

STATED_BLOCKS_MAX: Final = 2
"""Newest decided blocks in a statement: more than one block above the base of another era can only be lost ones."""


class Missing(Enum):
    """What a home has lost of what it signed."""

    SIGN_STATE = "sign_state"
    """Its sign state, or what it said about this height."""
    RECORD = "record"
    """A record that the sign state names."""
    BLOCKS = "blocks"
    """Decided blocks: the sign state is of a height above."""


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


class SignedPlan(Record, frozen=True, kw_only=True):
    """A plan with all that it follows from."""

    plan: Plan
    statements: Annotated[tuple[SignedMemberStatement, ...], Meta(max_length=MEMBERS_MAX)]
    """As the plan names them, in its order."""
    added: Annotated[tuple[Decided, ...], Meta(max_length=MEMBERS_MAX)]
    """Decided blocks from receipts, backups or ledgers."""
    changes: Changes
    """Decided headers by which the members changed up to its base, with their certificates and the members, as a
    ledger proves them to a light client. Those that plans of earlier eras bring are not repeated.
    """
    authority: SignatureField | None
    """Over the plan; needed where somebody is absent."""


def statement_digest(statement: MemberStatement) -> Digest:
    """Returns the name of a statement."""
    return digest(HashKind.STATEMENT, encode(statement))
