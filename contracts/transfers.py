"""Transfers of tokens from the sender's wallet to another member's."""

from msgspec.structs import replace

from consensus.identifiers import Address
from contracts.receipts import Reason
from contracts.run import BlockRun, Outcome, declined
from contracts.state import Account, account_key
from contracts.transactions import Transfer
from contracts.units import MicroTokens


def execute_transfer(run: BlockRun, sender: Address, transfer: Transfer) -> Outcome:
    """Moves tokens, or declines: unknown recipient, more than the sender has available."""
    overlay, amount = run.overlay, transfer.amount_micro
    recipient_key = account_key(transfer.recipient)
    if overlay.get(recipient_key, Account) is None:
        detail = f"no wallet has address {transfer.recipient.hex()}"
        return declined(Reason.TRANSFER_UNKNOWN_RECIPIENT, detail)
    source = overlay.require(account_key(sender), Account)
    if amount > source.available_micro:
        detail = f"available {source.available_micro} micro-tokens, transfer {amount}"
        return declined(Reason.TRANSFER_INSUFFICIENT_TOKENS, detail)
    overlay.put(account_key(sender), replace(source, available_micro=MicroTokens(source.available_micro - amount)))
    # Read after the debit: sender and recipient may be the same wallet.
    target = overlay.require(recipient_key, Account)
    overlay.put(recipient_key, replace(target, available_micro=MicroTokens(target.available_micro + amount)))
    return Outcome()
