"""Tokens come into being and leave: the issuer puts them into wallets, whoever holds them may redeem them."""

from consensus.cryptography import address_of
from consensus.identifiers import Address
from contracts.receipts import Reason
from contracts.run import BlockRun, Outcome, declined
from contracts.state import TOTALS_KEY, Account, Totals, account_key
from contracts.transactions import TOKENS_MAX, IssueTokens, RedeemTokens


def execute_issue(run: BlockRun, sender: Address, action: IssueTokens) -> Outcome:
    """Creates tokens in a wallet, or declines: not the issuer, unknown recipient, more than there may ever be."""
    amount = action.amount_micro
    if sender != address_of(run.genesis.issuer_key):
        return declined(Reason.ISSUE_NOT_ISSUER, f"{sender.hex()} is not the issuer")
    if run.overlay.get(account_key(action.recipient), Account) is None:
        return declined(Reason.ISSUE_UNKNOWN_RECIPIENT, f"no wallet has address {action.recipient.hex()}")
    issued = run.overlay.require(TOTALS_KEY, Totals).issued_micro
    if issued + amount > TOKENS_MAX:
        return declined(Reason.ISSUE_ABOVE_BOUND, f"issued {issued} micro-tokens, {amount} more pass {TOKENS_MAX}")
    run.move_tokens(action.recipient, available=amount)
    run.add_to_totals(issued_micro=amount)
    return Outcome()


def execute_redeem(run: BlockRun, sender: Address, action: RedeemTokens) -> Outcome:
    """Takes tokens of the sender out of circulation, or declines: more than it has available."""
    available = run.overlay.require(account_key(sender), Account).available_micro
    if action.amount_micro > available:
        detail = f"available {available} micro-tokens, redeem {action.amount_micro}"
        return declined(Reason.REDEEM_INSUFFICIENT_TOKENS, detail)
    run.move_tokens(sender, available=-action.amount_micro)
    run.add_to_totals(redeemed_micro=action.amount_micro)
    return Outcome()
