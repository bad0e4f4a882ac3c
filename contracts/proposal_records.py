"""Records of the state about what members propose. `proposals` has the rules."""

from enum import Enum

from consensus.codec import Record
from consensus.identifiers import Address, Digest, Slot
from consensus.messages import AddressField
from contracts.office_records import OfficeKeyChange
from contracts.rule_records import RulesChange


class Expulsion(Record, frozen=True, kw_only=True, tag="expulsion"):
    """Somebody is to be a member no more."""

    member: AddressField


class SuspensionChange(Record, frozen=True, kw_only=True, tag="suspension-change"):
    """A member is to be suspended, or to be so no more."""

    member: AddressField
    suspended: bool


class ProposalStatus(Enum):
    """Where a proposal stands."""

    OPEN = "open"
    """Members may approve it."""
    APPROVED = "approved"
    """By a quorum: it waits for its time."""
    DONE = "done"
    LAPSED = "lapsed"
    """No quorum approved it in time, or members withdrew until it was none."""
    OBJECTED = "objected"
    """The owner of the office was there after all."""
    VOID = "void"
    """When its time came, what it proposes could not be done any more."""


class Proposal(Record, frozen=True, kw_only=True, tag="proposal"):
    """What a member proposed last; earlier ones are earlier versions of the record."""

    name: Digest
    """Of the transaction that proposed it."""
    subject: OfficeKeyChange | Expulsion | SuspensionChange | RulesChange
    slot: Slot
    """Of the block that has that transaction."""
    status: ProposalStatus
    approvals: tuple[Address, ...]
    """Of members, in their order, the proposer's first."""
    until_slot: Slot
    """When an open one lapses and an approved one is carried out. An approved change of the rules waits for its
    height instead, however long that takes."""

    @property
    def waits_for_height(self) -> bool:
        """Says whether it is an approved change of the rules."""
        return self.status is ProposalStatus.APPROVED and isinstance(self.subject, RulesChange)


class ProposalTurn(Record, frozen=True, kw_only=True, tag="proposal-turn"):
    """A member's unfinished proposal lapses or is carried out, if its time has come."""

    proposer: Address
