"""What members proposed: of each the last proposal, as the API shows it."""

from collections.abc import Iterator
from typing import TypedDict

from consensus.identifiers import Address
from consensus.quorum import quorum
from contracts.office_records import Office, OfficeKeyChange
from contracts.proposal_records import Expulsion, Proposal, ProposalStatus, SuspensionChange
from contracts.rule_records import RulesChange
from contracts.state import MEMBER_LIST_KEY, MemberList, office_key, proposal_key
from contracts.state_reading import read, require
from ledger.ledger import Ledger
from node.names.names import Names
from node.replies.offices import OfficeProposalModel
from node.replies.proposals import Measure, MemberProposalModel, ProposalStatusText
from node.replies.rules import RuleParametersModel, RulesProposalModel
from node.replies.views import record_fields


class _Common(TypedDict):
    """What the models of all proposals have."""

    proposal: str
    proposer: str
    proposer_name: str
    status: ProposalStatusText
    approvals: list[str]
    quorum: int
    slot: int
    until_slot: int
    until_ms: int


def office_proposals(ledger: Ledger, names: Names) -> Iterator[OfficeProposalModel]:
    """Yields what members proposed last, where it is about the key of an office."""
    for proposer, proposal in _proposals(ledger):
        if isinstance(proposal.subject, OfficeKeyChange):
            office = require(ledger, office_key(proposal.subject.office), Office)
            yield OfficeProposalModel(
                **_common(ledger, names, proposer, proposal), office=office.name.value, key=proposal.subject.key.hex()
            )


def member_proposals(ledger: Ledger, names: Names) -> Iterator[MemberProposalModel]:
    """Yields what members proposed last, where it is about a member."""
    for proposer, proposal in _proposals(ledger):
        if isinstance(proposal.subject, Expulsion | SuspensionChange):
            member = proposal.subject.member
            yield MemberProposalModel(
                **_common(ledger, names, proposer, proposal),
                measure=_measure(proposal.subject),
                member=member.hex(),
                member_name=names.of(member),
            )


def _measure(subject: Expulsion | SuspensionChange) -> Measure:
    if isinstance(subject, Expulsion):
        return "expel"
    return "suspend" if subject.suspended else "reinstate"


def rules_proposals(ledger: Ledger, names: Names) -> Iterator[RulesProposalModel]:
    """Yields what members proposed last, where it is that the rules change."""
    for proposer, proposal, change in changes_of_rules(ledger):
        yield RulesProposalModel(
            **_common(ledger, names, proposer, proposal),
            version=change.version,
            from_height=change.from_height,
            parameters=RuleParametersModel.model_validate(record_fields(change.parameters)),
        )


def changes_of_rules(ledger: Ledger) -> Iterator[tuple[Address, Proposal, RulesChange]]:
    """Yields who proposed what about the rules: each one's last proposal, where that is its subject."""
    for proposer, proposal in _proposals(ledger):
        if isinstance(proposal.subject, RulesChange):
            yield proposer, proposal, proposal.subject


def _proposals(ledger: Ledger) -> Iterator[tuple[Address, Proposal]]:
    """Yields the last proposal of everybody who is or was a member."""
    terms = require(ledger, MEMBER_LIST_KEY, MemberList).terms
    for address in dict.fromkeys(term.address for term in terms):
        proposal = read(ledger, proposal_key(address), Proposal)
        if proposal is not None:
            yield address, proposal


def _common(ledger: Ledger, names: Names, proposer: Address, proposal: Proposal) -> _Common:
    genesis, is_open = ledger.genesis, proposal.status is ProposalStatus.OPEN
    present = frozenset(require(ledger, MEMBER_LIST_KEY, MemberList).addresses)
    counting = [address for address in proposal.approvals if not is_open or address in present]
    return {
        "proposal": proposal.name.hex(),
        "proposer": proposer.hex(),
        "proposer_name": names.of(proposer),
        "status": proposal.status.value,
        "approvals": [address.hex() for address in counting],
        "quorum": quorum(len(present)),
        "slot": proposal.slot,
        "until_slot": proposal.until_slot,
        "until_ms": genesis.start_ms + proposal.until_slot * genesis.slot_duration_ms,
    }
