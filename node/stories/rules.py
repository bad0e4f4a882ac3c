"""The rules of the chain, what members propose about them, and what of that this node's program does not know."""

from dataclasses import dataclass

from consensus.identifiers import Address
from contracts.genesis import known_text, known_versions, knows_version
from contracts.proposal_records import Proposal, ProposalStatus
from contracts.rule_records import Rules, RulesChange
from contracts.rules import NOTICE_HEIGHTS
from contracts.state import RULES_KEY, proposal_key
from contracts.state_reading import require
from ledger.errors import RulesUnknown
from ledger.ledger import Ledger
from node.names.names import Names
from node.replies.rules import RuleParametersModel, RulesReply
from node.replies.views import record_fields
from node.stories.proposals import changes_of_rules, rules_proposals


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesNotice:
    """What this node's program lacks for rules that are in force, approved or proposed, as of one block."""

    text: str
    proposer: Address | None = None
    """Whose proposal it is; None once it is decided."""

    def told(self, names: Names) -> str:
        """Returns the sentence that people read."""
        return self.text if self.proposer is None else f"{names.of(self.proposer)} {self.text}"


def rules_of(ledger: Ledger, names: Names) -> RulesReply:
    """Returns the rules of the next block, and the members' last proposals about them."""
    present = require(ledger, RULES_KEY, Rules)
    notice = rules_notice(ledger)
    return RulesReply(
        version=present.version,
        first_height=present.first_height,
        parameters=RuleParametersModel.model_validate(record_fields(present.parameters)),
        known_versions=list(known_versions()),
        earliest_height=ledger.height + 1 + NOTICE_HEIGHTS,
        notice=None if notice is None else notice.told(names),
        proposals=list(rules_proposals(ledger, names)),
    )


def rules_notice(ledger: Ledger) -> RulesNotice | None:
    """Returns what this node's program lacks; None: nothing.

    It reads the last proposals of everybody who is or was a member: once per block (`RulesWatch`).
    """
    text = _lacking_text(ledger)
    return _proposed(ledger) if text is None else RulesNotice(text=text)


def unknown_from(ledger: Ledger) -> RulesUnknown | None:
    """Returns from which block on this program cannot execute the chain, as far as that is decided; None: it can.

    It costs two reads of the state at most, whatever members proposed.
    """
    rules = require(ledger, RULES_KEY, Rules)
    version, first = rules.version, rules.first_height
    if rules.waiting is not None and knows_version(version):
        change = require(ledger, proposal_key(rules.waiting), Proposal).subject
        assert isinstance(change, RulesChange), "nothing else waits for a height"
        version, first = change.version, change.from_height
    return None if knows_version(version) else RulesUnknown(version=version, first_height=first, known=known_text())


def _lacking_text(ledger: Ledger) -> str | None:
    """Says what is decided of rules that this program does not know, and what to do; None: nothing."""
    unknown = unknown_from(ledger)
    if unknown is None:
        return None
    if unknown.first_height <= ledger.height + 1:
        return str(unknown)
    version, first = unknown.version, unknown.first_height
    return (
        f"the members approved protocol version {version} from block {first:,} on; this software knows "
        f"{known_text()}, and stops before that block. Nothing will be lost: install software that knows version "
        f"{version}, before or after, and start it on the same home"
    )


def _proposed(ledger: Ledger) -> RulesNotice | None:
    for proposer, proposal, change in changes_of_rules(ledger):
        if proposal.status is ProposalStatus.OPEN and not knows_version(change.version):
            text = (
                f"proposes protocol version {change.version} from block {change.from_height:,} on; "
                f"this software knows {known_text()}. If a quorum approves it, this node stops before that block: "
                f"install software that knows version {change.version}"
            )
            return RulesNotice(text=text, proposer=proposer)
    return None
