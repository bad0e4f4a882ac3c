"""What became of a contract, in one or two sentences."""

from contracts.receipts import Status
from contracts.state import Trade, TradeStatus
from node.names.names import Names
from node.stories.trade_search import Contract
from node.stories.words import hour_text, price_text, tokens_text


def story_sentence(names: Names, contract: Contract, trade: Trade | None, refunded_micro: int) -> str:
    """Returns what became of a contract, in one or two sentences."""
    terms = contract.terms
    seller, buyer = names.of(terms.seller), names.of(terms.buyer)
    wanted = f"{terms.energy_wh:,} Wh at {price_text(terms.price_micro_per_kwh)} tokens per kWh"
    if trade is None:
        receipt = contract.decisive.receipt
        if receipt.status is Status.EXECUTED:
            return f"{seller} and {buyer} cancelled a contract over {wanted} before it executed."
        at_fault = "nobody" if receipt.fault is None else names.of(receipt.fault)
        why = f"{receipt.reason.value}: {receipt.detail}"
        declined = f"{seller} was to sell {buyer} {wanted}; it was declined, no energy and no tokens moved"
        return f"{declined} ({why}). At fault: {at_fault}."
    hour = hour_text(trade.interval_start_ms)
    paid = f"{tokens_text(trade.amount_micro)} tokens to {seller}"
    if trade.fee_micro:
        paid += f" and {tokens_text(trade.fee_micro)} as grid fee"
    back = f" {tokens_text(refunded_micro)} tokens went back to {buyer}." if refunded_micro else ""
    match trade.status:
        case TradeStatus.COMPLETED:
            part = "" if trade.delivered_wh == trade.energy_wh else f" of {trade.energy_wh:,} contracted"
            at = f"at {price_text(trade.price_micro_per_kwh)} tokens per kWh"
            return f"{seller} sold {buyer} {trade.delivered_wh:,} Wh{part} of {hour} {at}; {buyer} paid {paid}.{back}"
        case TradeStatus.PENDING:
            held = f"{tokens_text(trade.held_micro)} tokens of {buyer} are held"
            return f"{seller} promised {buyer} {wanted} for {hour}; {held} until the energy is there."
        case TradeStatus.EXPIRED:
            return f"{seller} promised {buyer} {wanted} for {hour}, and nothing was delivered.{back}"
        case TradeStatus.CANCELLED:
            return f"{seller} and {buyer} cancelled {wanted} for {hour}.{back}"
