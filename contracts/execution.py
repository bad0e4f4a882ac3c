"""Executes a block's transactions on a state: the one entry point that the ledger calls.

A block runs in a fixed order: the era that it begins, what its leader proved, service rewards for block h - 1, what
is due by itself, the transactions one by one, what they made due, a change of the members, one of the rules, then the
books are checked. Everything happens on an overlay, the temporary ledger; the state below is only read. The same
state, context and transactions give the same bytes on every node.
"""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from consensus.codec import Record
from consensus.identifiers import Address, Digest
from contracts.agenda import take_due
from contracts.agenda_records import GateClosure, TradeEnd
from contracts.applicants import ApplicationEnd
from contracts.cancellations import execute_cancellation
from contracts.closing import close_gate
from contracts.conservation import assert_conserved
from contracts.debts import execute_pay_debt
from contracts.eras import begin_era
from contracts.evidence_window import note_slot
from contracts.forwards import end_trade
from contracts.genesis import ATTENDANCE_VERSION, Genesis
from contracts.issuing import execute_issue, execute_redeem
from contracts.joining import (
    become_member,
    draw_panels,
    end_application,
    execute_join_request,
    execute_ready,
    execute_verdict,
)
from contracts.key_changes import act_by_new_key, execute_replace_meter, execute_rotate_key
from contracts.member_changes import (
    carry_out_change,
    execute_set_leaving,
    execute_show_presence,
    note_seen,
)
from contracts.member_records import Join, Rotate
from contracts.misconduct import execute_report
from contracts.offices import acting_key, execute_replacement
from contracts.proposal_records import ProposalTurn
from contracts.proposals import (
    change_rules,
    execute_approval,
    execute_objection,
    execute_proposal,
    execute_withdrawal,
    take_turn,
)
from contracts.randomness import season_keys, take_output
from contracts.readings import execute_reading
from contracts.receipts import Posting, Reason, Receipt, Status
from contracts.removals import execute_revocation, expire_member
from contracts.rewards import reward_service
from contracts.rule_records import Rules
from contracts.run import BlockContext, BlockRun, Outcome, ScoreBoard, declined
from contracts.stakes import execute_set_stake
from contracts.state import RULES_KEY, Account, Overlay, StateKey, StateReader, account_key
from contracts.trades import execute_trade
from contracts.transactions import (
    Action,
    Approve,
    CancelTrade,
    GiveVerdict,
    IssueTokens,
    PayDebt,
    Propose,
    PublishReading,
    RaiseObjection,
    RedeemTokens,
    Renew,
    ReplaceMeter,
    ReplaceOfficeKey,
    ReportMisconduct,
    RequestJoin,
    Revoke,
    RotateKey,
    SayReady,
    SetLeaving,
    SetStake,
    ShowPresence,
    SubmitTrade,
    Transaction,
    Transfer,
    Withdraw,
)
from contracts.transfers import execute_transfer
from contracts.validity import execute_renew
from contracts.validity_records import CertificateEnd

__all__ = ["BlockContext", "Execution", "execute_block"]


class Execution(Record, frozen=True, kw_only=True):
    """What executing a block yields."""

    changes: Mapping[StateKey, bytes]
    """New state versions, encoded, sorted by key."""
    receipts: tuple[Receipt, ...]
    """One per transaction, in their order."""
    postings: tuple[Posting, ...]
    """Of all trades that passed a stage, in their order."""


def execute_block(
    state: StateReader,
    genesis: Genesis,
    context: BlockContext,
    transactions: Sequence[Transaction],
) -> Execution:
    """Returns the state versions, receipts and postings of a block.

    Args:
        state: the state after block h - 1; only read.
        genesis: what stays of the chain's parameters; the rest the state has.
        context: the block's header and carried certificate.
        transactions: in the block's order. Their envelopes were checked: form, signature, chain, last valid
            height, the key that acted for the sender before the block, a nonce above its last (asserted again here).

    Raises:
        AssertionError: a broken invariant, ours alone: the books do not balance, or an envelope was not checked.
    """
    assert context.height > 0, "genesis is not executed"
    overlay = Overlay(state)
    run = BlockRun(
        overlay=overlay,
        genesis=genesis,
        rules=overlay.require(RULES_KEY, Rules),
        context=context,
        scores=_score_board(overlay, genesis, context),
    )
    begin_era(run)
    if run.rules.version >= ATTENDANCE_VERSION:
        note_slot(run)
    draw_panels(run, take_output(run))
    reward_service(run)
    for voter in context.parent_voters:
        note_seen(run, voter)
    postings = _carry_out_due(run)
    receipts: list[Receipt] = []
    for transaction in transactions:
        receipt, outcome = _execute(run, transaction)
        receipts.append(receipt)
        postings.extend(outcome.postings)
    postings.extend(_carry_out_due(run))
    match carry_out_change(run):
        case Join() as join:
            become_member(run, join)
        case Rotate() as rotation:
            act_by_new_key(run, rotation)
        case _:
            pass
    season_keys(run)
    change_rules(run)
    assert_conserved(overlay, genesis.scores)
    return Execution(changes=overlay.encoded_changes(), receipts=tuple(receipts), postings=tuple(postings))


def _score_board(overlay: Overlay, genesis: Genesis, context: BlockContext) -> ScoreBoard:
    return ScoreBoard(overlay, cluster=context.cluster, slot=context.slot, parameters=genesis.scores)


def _carry_out_due(run: BlockRun) -> list[Posting]:
    """Does what is due by itself: before the transactions, and after them what they made due."""
    postings: list[Posting] = []
    for due in take_due(run):
        match due.subject:
            case GateClosure() as closure:
                close_gate(run, closure.interval_start_ms)
            case TradeEnd() as end:
                postings.extend(end_trade(run, end.trade))
            case ProposalTurn() as turn:
                take_turn(run, turn)
            case ApplicationEnd() as end_of_application:
                end_application(run, end_of_application)
            case CertificateEnd() as end_of_certificate:
                expire_member(run, end_of_certificate)
    return postings


def _execute(run: BlockRun, transaction: Transaction) -> tuple[Receipt, Outcome]:
    envelope, sender, name = transaction.envelope, transaction.sender, transaction.digest
    wallet = run.overlay.require(account_key(sender), Account)
    assert envelope.nonce > wallet.nonce, f"nonce {envelope.nonce} after {wallet.nonce} got past the ledger"
    run.overlay.put(account_key(sender), replace(wallet, nonce=envelope.nonce))
    note_seen(run, sender)
    if envelope.sender_key == acting_key(run.overlay, sender):
        outcome = _execute_action(run, sender, name, envelope.action)
    else:  # replaced in this very block, after the ledger admitted it
        outcome = declined(Reason.SENDER_KEY_REPLACED, f"key {envelope.sender_key.hex()} was replaced in this block")
    refusal = outcome.refusal
    receipt = Receipt(
        transaction=name,
        sender=sender,
        status=Status.EXECUTED if refusal is None else Status.DECLINED,
        reason=Reason.NONE if refusal is None else refusal.reason,
        detail="" if refusal is None else refusal.detail,
        fault=None if refusal is None else refusal.fault,
        reference=outcome.reference,
        parties=outcome.parties,
        quality_total=outcome.quality_total,
    )
    return receipt, outcome


def _execute_action(run: BlockRun, sender: Address, name: Digest, action: Action) -> Outcome:  # noqa: C901, PLR0911, PLR0912  (a case each)
    match action:
        case PublishReading():
            return execute_reading(run, sender, action)
        case Transfer():
            return execute_transfer(run, sender, action)
        case SubmitTrade():
            return execute_trade(run, sender, name, action)
        case CancelTrade():
            return execute_cancellation(run, action)
        case IssueTokens():
            return execute_issue(run, sender, action)
        case RedeemTokens():
            return execute_redeem(run, sender, action)
        case PayDebt():
            return execute_pay_debt(run, sender, action)
        case SetStake():
            return execute_set_stake(run, sender, name, action)
        case SetLeaving():
            return execute_set_leaving(run, sender, action)
        case ShowPresence():
            return execute_show_presence(run, sender)
        case RotateKey():
            return execute_rotate_key(run, sender, name, action)
        case ReplaceMeter():
            return execute_replace_meter(run, sender, name, action)
        case Renew():
            return execute_renew(run, sender, name, action)
        case RequestJoin():
            return execute_join_request(run, sender, name, action)
        case GiveVerdict():
            return execute_verdict(run, sender, name, action)
        case SayReady():
            return execute_ready(run, sender, action)
        case ReportMisconduct():
            return execute_report(run, name, action)
        case Revoke():
            return execute_revocation(run, name, action)
        case ReplaceOfficeKey():
            return execute_replacement(run, sender, action)
        case Propose():
            return execute_proposal(run, sender, name, action)
        case Approve():
            return execute_approval(run, sender, action)
        case Withdraw():
            return execute_withdrawal(run, sender, action)
        case RaiseObjection():
            return execute_objection(run, sender, action)
