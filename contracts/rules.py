"""The rules of a chain change while it runs: another version of them, other parameters, or both, from a height on.

A quorum of the members approves it as any proposal (`proposals`). It holds from the height that it names, if by then
a quorum of who is a member still approves. Which rules a version has is the program's. Every node executes the
proposal under the rules before it, whether or not it knows those that it names: else two programs would not agree. So
a version follows the one before, which bounds what a slip of the pen can ask for; and who approves one says that its
own program knows it (`p2pnode rules approve` looks), so a quorum that approves is one that goes on.
"""

from typing import Final

from msgspec.structs import replace

from consensus.codec import ELEMENTS_MAX
from consensus.identifiers import Address, Height
from contracts.agenda import DUE_PER_BLOCK_MAX
from contracts.genesis import Genesis, RuleParameters
from contracts.receipts import POSTINGS_PER_TRADE_MAX, Reason
from contracts.rule_records import Rules, RulesChange
from contracts.run import BlockRun, Refusal
from contracts.state import RULES_KEY

BLOCK_TRANSACTIONS_LIMIT: Final = ELEMENTS_MAX // POSTINGS_PER_TRADE_MAX - 2 * DUE_PER_BLOCK_MAX
"""Most transactions that may be allowed in a block: if all are trades, their postings and those of the forward trades
that end before and after them still fit one array."""

NOTICE_HEIGHTS: Final = 64
"""Blocks between a quorum's approval and the first one under other rules, at least: every node that takes part has
executed the approval, and said what it means for it, long before; and who approved by mistake can withdraw."""


def first_rules(genesis: Genesis) -> Rules:
    """Returns what the first block is executed under."""
    return Rules(
        version=genesis.protocol_version, first_height=Height(1), parameters=genesis.parameters, waiting=None
    )


def parameters_fault(parameters: RuleParameters) -> str | None:
    """Says why no chain may have such parameters; None if it may. The bounds of single fields are their types'."""
    if parameters.block_transactions_max <= BLOCK_TRANSACTIONS_LIMIT:
        return None
    return f"block_transactions_max {parameters.block_transactions_max}, at most {BLOCK_TRANSACTIONS_LIMIT}"


def change_refusal(run: BlockRun, change: RulesChange) -> Refusal | None:
    """Says why the rules may not change so: not to the next version, not at all, too soon, or absurdly."""
    present, first = run.rules, run.context.height + NOTICE_HEIGHTS
    if not present.version <= change.version <= present.version + 1:
        detail = f"version {change.version}, the present one is {present.version}: that or the next one"
        return Refusal(reason=Reason.RULES_VERSION, detail=detail)
    if (change.version, change.parameters) == (present.version, present.parameters):
        return Refusal(reason=Reason.RULES_SAME, detail=f"these are the rules since block {present.first_height}")
    if change.from_height < first:
        detail = f"from block {change.from_height}, not before block {first}"
        return Refusal(reason=Reason.RULES_TOO_NEAR, detail=detail)
    fault = parameters_fault(change.parameters)
    return None if fault is None else Refusal(reason=Reason.RULES_PARAMETERS, detail=fault)


def waiting_change(run: BlockRun) -> Address | None:
    """Returns who made the approved proposal that waits for its height; None if none does."""
    return run.overlay.require(RULES_KEY, Rules).waiting


def let_change_wait(run: BlockRun, proposer: Address | None) -> None:
    """Notes whose approved proposal waits for its height; None: nobody's does."""
    rules = run.overlay.require(RULES_KEY, Rules)
    run.overlay.put(RULES_KEY, replace(rules, waiting=proposer))


def install_rules(run: BlockRun, change: RulesChange) -> None:
    """Writes what the next block is executed under."""
    following = Rules(
        version=change.version, first_height=change.from_height, parameters=change.parameters, waiting=None
    )
    run.overlay.put(RULES_KEY, following)
