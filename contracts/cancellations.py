"""Cancellation of a contract by both parties: a pending forward trade is refunded, any other never executes."""

from consensus.cryptography import verify
from consensus.identifiers import Digest
from contracts.forwards import cancel_pending
from contracts.receipts import Reason
from contracts.run import BlockRun, Outcome, Refusal
from contracts.state import Member, Offer, Trade, TradeStatus, member_key, offer_key, trade_key
from contracts.transactions import CancelTrade, cancellation_bytes, trade_id


def execute_cancellation(run: BlockRun, action: CancelTrade) -> Outcome:
    """Ends a contract that is not final, or declines: other chain, not signed by both, final already.

    Anybody may bring it: both parties' signatures are the will that counts.
    """
    terms, trade = action.terms, trade_id(action.terms)
    parties = (terms.seller, terms.buyer)
    refusal = _signature_refusal(run, action)
    offer = run.overlay.get(offer_key(terms.seller, terms.offer_counter), Offer)
    if refusal is None and offer is not None:
        refusal = _final_refusal(run, trade, offer)
    if refusal is not None:
        return Outcome(refusal=refusal, reference=trade, parties=parties)
    if offer is not None:
        pending = run.overlay.require(trade_key(trade), Trade)
        return Outcome(reference=trade, parties=parties, postings=cancel_pending(run, trade, pending))
    run.overlay.put(offer_key(terms.seller, terms.offer_counter), Offer(trade=trade))
    return Outcome(reference=trade, parties=parties)


def _signature_refusal(run: BlockRun, action: CancelTrade) -> Refusal | None:
    terms, signed = action.terms, cancellation_bytes(action.terms)
    if terms.chain != run.context.chain:
        return Refusal(reason=Reason.TRADE_WRONG_CHAIN, detail=f"signed for chain {terms.chain.hex()}")
    for name, address, signature, reason in (
        ("seller", terms.seller, action.seller_signature, Reason.CANCEL_SELLER_SIGNATURE),
        ("buyer", terms.buyer, action.buyer_signature, Reason.CANCEL_BUYER_SIGNATURE),
    ):
        member = run.overlay.get(member_key(address), Member)
        if member is None:
            return Refusal(reason=Reason.TRADE_UNKNOWN_PARTY, detail=f"{name} {address.hex()} is no member")
        if not verify(member.node_key, signed, signature):
            return Refusal(reason=reason, detail=f"{name} {address.hex()} did not sign this cancellation")
    return None


def _final_refusal(run: BlockRun, trade: Digest, offer: Offer) -> Refusal | None:
    """The offer id is used: only the very contract, and only while it is pending, can be cancelled."""
    record = run.overlay.get(trade_key(trade), Trade)
    if record is not None and record.status is TradeStatus.PENDING:
        return None
    if record is not None:
        detail = f"the contract is {record.status.value}"
    elif offer.trade == trade:
        detail = "the contract is cancelled"
    else:
        detail = f"its offer id served contract {offer.trade.hex()}"
    return Refusal(reason=Reason.CANCEL_ALREADY_FINAL, detail=detail)
