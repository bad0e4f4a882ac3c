"""Deliberate breaks of how the rules change: who agrees, from when on, what overtakes it, who may go on."""

from typing import Any, Final

from contracts import execution, proposals
from contracts.receipts import Reason
from ledger import execution as ledger_execution
from ledger import ledger as ledger_module
from ledger import validation
from tests.simulation.directed import directed
from tests.simulation.mutant import Killer, Mutant, edited
from tests.unit.contracts import test_rules
from tests.unit.ledger import test_rules_of_heights

R = test_rules
H = test_rules_of_heights
RULE: Final = "the rules change"

holds = directed(R.test_what_a_quorum_approves_holds_from_its_height_on)
who_left = directed(R.test_who_left_before_the_height_counts_no_more)
too_late = directed(R.test_a_quorum_that_comes_too_late_for_the_height_does_not_come_at_all)
one_waits = directed(R.test_one_change_of_the_rules_waits_at_a_time)
withdrawn = directed(R.test_who_withdraws_ends_what_then_lacks_a_quorum)
last_moment = directed(R.test_a_liar_cannot_make_up_the_quorum_and_withdraw_at_the_last_moment)
patient = directed(R.test_the_height_comes_however_long_that_takes)
lacking = directed(H.test_a_program_that_lacks_the_rules_executes_up_to_them_and_nothing_more)


def broken(name: str, owner: Any, function: str, old: str, new: str, *killers: Killer) -> Mutant:
    """A function with one text of it replaced."""
    return Mutant(name=name, rule=RULE, breaks=(edited(owner, function, (old, new)),), killers=killers)


def proposed(subject: R.RulesChange, reason: Reason) -> Killer:
    return directed(R.test_what_may_not_be_proposed, subject=subject, reason=reason)


RULES_MUTANTS: Final = (
    broken(
        "the rules change a height too late",
        execution,
        "change_rules",
        "proposal.subject.from_height != run.context.height + 1",
        "proposal.subject.from_height != run.context.height",
        holds,
        directed(R.test_each_block_is_executed_under_its_own_rules, last=R.FROM - 1, slots=7),
    ),
    broken(
        "the rules change with the approval",
        execution,
        "change_rules",
        "proposal.subject.from_height != run.context.height + 1",
        "False",
        holds,
    ),
    broken(
        "approvals of who left count",
        execution,
        "change_rules",
        "if _is_approved(run, proposal):",
        "if True:",
        who_left,
        directed(R.test_members_that_a_ceremony_leaves_out_count_no_more),
    ),
    broken(
        "a change that lapsed at its height waits for ever",
        execution,
        "change_rules",
        "let_change_wait(run, None)",
        "pass",
        who_left,
    ),
    broken(
        "a change that is withdrawn goes on waiting",
        proposals,
        "_wait_no_more",
        "let_change_wait(run, None)",
        "pass",
        withdrawn,
        one_waits,
    ),
    broken(
        "two changes wait at a time",
        proposals,
        "_other_change_refusal",
        "if waiting is None:",
        "if True:",
        one_waits,
    ),
    broken(
        "a quorum that comes late counts",
        proposals,
        "_waiting_refusal",
        "_other_change_refusal(run) or change_refusal(run, change)",
        "_other_change_refusal(run)",
        too_late,
    ),
    broken(
        "a change waits for a time as other proposals do",
        execution,
        "take_turn",
        "or proposal.waits_for_height",
        "",
        patient,
    ),
    broken(
        "others cannot approve what waits for its height",
        proposals,
        "_is_over",
        "and not proposal.waits_for_height",
        "",
        last_moment,
    ),
    broken(
        "a version may be skipped",
        proposals,
        "change_refusal",
        "<= present.version + 1",
        "<= present.version + 2",
        proposed(R.change(version=R.VERSION + 2), Reason.RULES_VERSION),
    ),
    broken(
        "a version comes back",
        proposals,
        "change_refusal",
        "not present.version <= change.version",
        "not 0 <= change.version",
        proposed(R.change(version=R.VERSION - 1), Reason.RULES_VERSION),
        directed(R.test_one_change_after_another),
    ),
    broken(
        "there need be no heights to hear of it",
        proposals,
        "change_refusal",
        "if change.from_height < first:",
        "if False:",
        proposed(R.change(from_height=R.NOTICE_HEIGHTS), Reason.RULES_TOO_NEAR),
        too_late,
    ),
    broken(
        "parameters that no genesis may have",
        proposals,
        "change_refusal",
        "return None if fault is None else",
        "return None if True else",
        proposed(R.change(block_transactions_max=R.BLOCK_TRANSACTIONS_LIMIT + 1), Reason.RULES_PARAMETERS),
    ),
    broken(
        "what changes nothing may be proposed",
        proposals,
        "change_refusal",
        "(change.version, change.parameters) == (present.version, present.parameters)",
        "False",
        proposed(R.change(gate_closure_slots=R.FIRST.gate_closure_slots), Reason.RULES_SAME),
    ),
    Mutant(
        name="a program executes rules that it lacks",
        rule=RULE,
        breaks=tuple(
            edited(owner, "rules_in", ("if not knows_version(rules.version):", "if False:"))
            for owner in (ledger_module, ledger_execution, validation)
        ),
        killers=(lacking,),
    ),
    broken(
        "any version of a header is valid",
        validation,
        "_header_refusal",
        "(BlockRefusalReason.WRONG_VERSION, header.version, rules.version),",
        "(BlockRefusalReason.WRONG_VERSION, 0, 0),",
        directed(H.test_the_header_names_the_version_of_its_height_and_no_other_counts),
    ),
    broken(
        "headers name the version of genesis for ever",
        ledger_module,
        "execute",
        "version=version",
        "version=genesis.protocol_version",
        directed(H.test_the_header_names_the_version_of_its_height_and_no_other_counts),
    ),
)
