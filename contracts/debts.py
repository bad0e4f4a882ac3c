"""What sellers owe the grid account for energy that they sold and that a correction took back."""

from consensus.cryptography import address_of
from consensus.identifiers import Address
from contracts.receipts import Reason
from contracts.run import BlockRun, Outcome, declined
from contracts.state import Account, Debt, Overlay, account_key, debt_key
from contracts.transactions import PayDebt
from contracts.units import MicroTokens


def owed_by(overlay: Overlay, member: Address) -> MicroTokens:
    """Returns what a member owes, in micro-tokens."""
    debt = overlay.get(debt_key(member), Debt)
    return MicroTokens(0) if debt is None else debt.owed_micro


def execute_pay_debt(run: BlockRun, sender: Address, action: PayDebt) -> Outcome:
    """Pays a part or all of a debt, or declines: more than is owed, more than the sender has available."""
    owed, amount = owed_by(run.overlay, sender), action.amount_micro
    if amount > owed:
        detail = f"owed {owed} micro-tokens, payment {amount}"
        return declined(Reason.DEBT_NOT_OWED, detail)
    available = run.overlay.require(account_key(sender), Account).available_micro
    if amount > available:
        detail = f"available {available} micro-tokens, payment {amount}"
        return declined(Reason.DEBT_INSUFFICIENT_TOKENS, detail)
    run.move_tokens(sender, available=-amount)
    run.move_tokens(address_of(run.genesis.grid_key), available=amount)
    run.overlay.put(debt_key(sender), Debt(owed_micro=MicroTokens(owed - amount)))
    run.add_to_totals(owed_micro=-amount)
    return Outcome()
