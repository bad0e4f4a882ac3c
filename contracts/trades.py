"""Trades: the checks before the conditions, the execution, and whose fault a failure is.

A contract is asked, in this order, whether it is of this chain, between two different members, signed by both,
submitted by one of them, new, in time, between members who may trade, at an allowed price, along the parties'
own meters and over packets that the seller has or, if it is a forward trade, in a window that both have room in;
then the conditions decide: all four of a spot trade, the first two of a forward trade, whose last two come with
its delivery (`forwards`). The first rule that fails
declines it, and a declined contract changes the score of the party at fault and nothing else of the market: in
particular it never uses up its offer id.

The signatures come before everything that can be a party's fault: what a party did not sign is never held
against it, but against whoever submitted it under that party's name.
"""

from collections.abc import Callable
from typing import Final

from consensus.codec import Record, encode
from consensus.cryptography import verify
from consensus.identifiers import Address, Digest
from contracts.conditions import Failure
from contracts.debts import owed_by
from contracts.forwards import check_window, execute_forward
from contracts.key_changes import held_keys
from contracts.member_changes import is_member
from contracts.receipts import Party, Reason
from contracts.rewards import FAULT, SUCCESS, punish, quality_total, reward_traders
from contracts.run import BlockRun, Outcome, Refusal
from contracts.settlement import (
    contract_size,
    postings_of,
    read_balances,
    settle,
    write_settlement,
)
from contracts.state import (
    Interval,
    Member,
    Offer,
    Packet,
    Trade,
    TradeStatus,
    interval_key,
    member_key,
    offer_key,
    packet_key,
    trade_key,
)
from contracts.transactions import ForwardTerms, SpotTerms, SubmitTrade, TradeTerms, trade_id
from contracts.units import Milliseconds
from qscore.equation import Defaulter


class Submission(Record, frozen=True, kw_only=True):
    """A contract as it reached the chain."""

    action: SubmitTrade
    submitter: Address
    trade: Digest
    """Trade id: hash of the terms."""
    transaction: Digest

    @property
    def terms(self) -> TradeTerms:
        """What both parties are said to have agreed."""
        return self.action.terms


def execute_trade(run: BlockRun, sender: Address, transaction: Digest, action: SubmitTrade) -> Outcome:
    """Settles a contract through all stages, or declines it for the first rule that fails."""
    submission = Submission(action=action, submitter=sender, trade=trade_id(action.terms), transaction=transaction)
    for check in CHECKS:
        refusal = check(run, submission)
        if refusal is not None:
            return _decline(run, submission, refusal)
    match action.terms:
        case SpotTerms() as terms:
            return _execute_spot(run, submission, terms)
        case ForwardTerms() as terms:
            return _execute_forward(run, submission, terms)


def _execute_spot(run: BlockRun, submission: Submission, terms: SpotTerms) -> Outcome:
    trade = submission.trade
    packets = [run.overlay.require(packet_key(name), Packet) for name in terms.packets]
    interval_start = packets[0].interval_start_ms
    size = contract_size(run.genesis, energy=terms.energy_wh, price=terms.price_micro_per_kwh)
    settlement = settle(size, read_balances(run, terms, packets))
    if isinstance(settlement, Failure):
        return _decline(run, submission, _refusal_of(run, submission, settlement, interval_start))
    total = quality_total(run, seller=terms.seller, buyer=terms.buyer, outcome=SUCCESS, defaulter=None)
    write_settlement(run, terms, trade=trade, transaction=submission.transaction, size=size, quality_total=total)
    reward_traders(run, seller=terms.seller, buyer=terms.buyer, interval_start=interval_start, trade=trade)
    return Outcome(
        reference=trade,
        parties=(terms.seller, terms.buyer),
        quality_total=total,
        postings=postings_of(trade, settlement),
    )


def _execute_forward(run: BlockRun, submission: Submission, terms: ForwardTerms) -> Outcome:
    trade = submission.trade
    postings = execute_forward(run, terms, trade=trade, transaction=submission.transaction)
    if isinstance(postings, Failure):
        return _decline(run, submission, _refusal_of(run, submission, postings, terms.delivery_start_ms))
    return Outcome(reference=trade, parties=(terms.seller, terms.buyer), postings=postings)


def _decline(run: BlockRun, submission: Submission, refusal: Refusal) -> Outcome:
    """Counts the declined contract; Eq. 2's total is recorded where one of the two parties is at fault."""
    run.add_to_totals(trades_declined=1)
    terms, total = submission.terms, None
    if refusal.fault is not None:
        defaulter = {terms.seller: Defaulter.SELLER, terms.buyer: Defaulter.BUYER}.get(refusal.fault)
        if defaulter is not None:
            total = quality_total(run, seller=terms.seller, buyer=terms.buyer, outcome=FAULT, defaulter=defaulter)
        punish(run, refusal.fault, submission.transaction)
    return Outcome(
        refusal=refusal,
        reference=submission.trade,
        parties=(terms.seller, terms.buyer),
        quality_total=total,
    )


def _refusal_of(run: BlockRun, submission: Submission, failure: Failure, interval_start: Milliseconds) -> Refusal:
    """Names the member at fault for a failed condition: nobody, if only the closed gate took the energy."""
    fault = {Party.SELLER: submission.terms.seller, Party.BUYER: submission.terms.buyer}.get(
        failure.fault or Party.ESCROW
    )
    detail = failure.detail
    interval = run.overlay.get(interval_key(interval_start), Interval)
    if interval is not None and interval.closed:
        fault, detail = None, f"{detail}; the interval's gate is closed"
    return Refusal(reason=failure.reason, detail=detail, fault=fault)


def _check_chain(run: BlockRun, submission: Submission) -> Refusal | None:
    chain = submission.terms.chain
    if chain == run.context.chain:
        return None
    return Refusal(reason=Reason.TRADE_WRONG_CHAIN, detail=f"signed for chain {chain.hex()}")


def _check_two_parties(_: BlockRun, submission: Submission) -> Refusal | None:
    terms = submission.terms
    if terms.seller != terms.buyer:
        return None
    detail = f"{terms.seller.hex()} is both seller and buyer"
    return Refusal(reason=Reason.TRADE_SAME_PARTY, detail=detail)


def _check_members(run: BlockRun, submission: Submission) -> Refusal | None:
    terms = submission.terms
    for name, address in (("seller", terms.seller), ("buyer", terms.buyer)):
        if not is_member(run.overlay, address):
            detail = f"{name} {address.hex()} is no member"
            return Refusal(reason=Reason.TRADE_UNKNOWN_PARTY, detail=detail)
    return None


def _check_signatures(run: BlockRun, submission: Submission) -> Refusal | None:
    """Who submits what a party did not sign is at fault; the issuer and the grid account have no score to lose. What
    it signed under a key that it replaced since counts no more, and is nobody's fault: the other could not know.
    """
    action, terms, submitter = submission.action, submission.terms, submission.submitter
    signed = encode(terms)
    fault = None if run.overlay.get(member_key(submitter), Member) is None else submitter
    for name, address, signature, reason in (
        ("seller", terms.seller, action.seller_signature, Reason.TRADE_SELLER_SIGNATURE),
        ("buyer", terms.buyer, action.buyer_signature, Reason.TRADE_BUYER_SIGNATURE),
    ):
        present, *earlier = held_keys(run.overlay, address)
        if verify(present, signed, signature):
            continue
        if any(verify(key, signed, signature) for key in earlier):
            detail = f"{name} {address.hex()} signed these terms under a key that it replaced since"
            return Refusal(reason=reason, detail=detail)
        detail = f"{name} {address.hex()} did not sign these terms"
        return Refusal(reason=reason, detail=detail, fault=fault)
    return None


def _check_submitter(_: BlockRun, submission: Submission) -> Refusal | None:
    if submission.submitter in (submission.terms.seller, submission.terms.buyer):
        return None
    detail = f"submitted by {submission.submitter.hex()}, who is neither seller nor buyer"
    return Refusal(reason=Reason.TRADE_SUBMITTER_NOT_PARTY, detail=detail)


def _check_not_executed(run: BlockRun, submission: Submission) -> Refusal | None:
    terms = submission.terms
    offer = run.overlay.get(offer_key(terms.seller, terms.offer_counter), Offer)
    if offer is None or offer.trade != submission.trade:
        return None
    trade = run.overlay.get(trade_key(submission.trade), Trade)
    status = TradeStatus.CANCELLED if trade is None else trade.status
    detail = f"contract {submission.trade.hex()} is {status.value}"
    return Refusal(reason=Reason.TRADE_ALREADY_EXECUTED, detail=detail)


def _check_in_time(run: BlockRun, submission: Submission) -> Refusal | None:
    slot, expiry = run.context.slot, submission.terms.expiry_slot
    if slot <= expiry:
        return None
    return Refusal(reason=Reason.TRADE_EXPIRED, detail=f"slot {slot}, contract expired after {expiry}")


def _check_offer_unused(run: BlockRun, submission: Submission) -> Refusal | None:
    """Two contracts under one offer id, both validly signed by the seller: it offered the same thing twice."""
    terms = submission.terms
    offer = run.overlay.get(offer_key(terms.seller, terms.offer_counter), Offer)
    if offer is None:
        return None
    detail = f"offer {terms.offer_counter} of the seller served contract {offer.trade.hex()}"
    return Refusal(reason=Reason.TRADE_OFFER_REUSED, detail=detail, fault=terms.seller)


def _check_scores(run: BlockRun, submission: Submission) -> Refusal | None:
    threshold = run.genesis.scores.threshold_trade
    for name, address in (("seller", submission.terms.seller), ("buyer", submission.terms.buyer)):
        score, record = run.scores.of(address), run.scores.record(address)
        if record.is_suspended:
            detail = f"the {name} is suspended for proven misconduct"
            return Refusal(reason=Reason.TRADE_MEMBER_SUSPENDED, detail=detail)
        if score < threshold:
            assert record.way_back is not None, "only a fault leads below the threshold"
            back = f"back to it at slot {record.way_back.until_slot}"
            detail = f"{name}'s score is {score} millionths, threshold {threshold}, {back}"
            return Refusal(reason=Reason.TRADE_SCORE_BELOW_THRESHOLD, detail=detail)
    return None


def _check_debt(run: BlockRun, submission: Submission) -> Refusal | None:
    """Its own correction put the seller into debt after it signed: else that were a way out of a contract."""
    owed = owed_by(run.overlay, submission.terms.seller)
    if owed == 0:
        return None
    detail = f"the seller owes {owed} micro-tokens to the grid account"
    return Refusal(reason=Reason.TRADE_SELLER_IN_DEBT, detail=detail, fault=submission.terms.seller)


def _check_price(run: BlockRun, submission: Submission) -> Refusal | None:
    price, genesis = submission.terms.price_micro_per_kwh, run.genesis
    lowest, highest = genesis.price_min_micro_per_kwh, genesis.price_max_micro_per_kwh
    if lowest <= price <= highest:
        return None
    detail = f"price {price}, allowed {lowest} to {highest} micro-tokens per kWh"
    return Refusal(reason=Reason.TRADE_PRICE_OUT_OF_BOUNDS, detail=detail)


def _check_route(_: BlockRun, submission: Submission) -> Refusal | None:
    terms = submission.terms
    for end, meter, name, party in (
        ("origin", terms.origin_meter, "seller", terms.seller),
        ("destination", terms.destination_meter, "buyer", terms.buyer),
    ):
        if meter != party:
            detail = f"{end} {meter.hex()} is not the {name}'s meter"
            return Refusal(reason=Reason.TRADE_WRONG_ROUTE, detail=detail)
    return None


def _check_energy(run: BlockRun, submission: Submission) -> Refusal | None:
    """Packets of a spot trade, a delivery window of a forward trade."""
    match submission.terms:
        case SpotTerms() as terms:
            return _check_packets(run, terms)
        case ForwardTerms() as terms:
            return check_window(run, terms)


def _check_packets(run: BlockRun, terms: SpotTerms) -> Refusal | None:
    """There are packets, each is the seller's and of the first one's interval, none is named twice."""
    packets = [run.overlay.get(packet_key(name), Packet) for name in terms.packets]
    starts = {packet.interval_start_ms for packet in packets if packet is not None}
    strays = [
        name.hex()
        for name, packet in zip(terms.packets, packets, strict=True)
        if packet is None or packet.owner != terms.seller
    ]
    if not packets:
        detail = "a contract over no packet"
    elif strays:
        detail = f"packet {strays[0]} is not the seller's"
    elif len(starts) > 1:
        detail = f"packets of {len(starts)} intervals"
    elif len(set(terms.packets)) < len(terms.packets):
        detail = "a packet is named twice"
    else:
        return None
    return Refusal(reason=Reason.TRADE_WRONG_PACKETS, detail=detail, fault=terms.seller)


CHECKS: Final[tuple[Callable[[BlockRun, Submission], Refusal | None], ...]] = (
    _check_chain,
    _check_two_parties,
    _check_members,
    _check_signatures,
    _check_submitter,
    _check_not_executed,
    _check_in_time,
    _check_offer_unused,
    _check_scores,
    _check_debt,
    _check_price,
    _check_route,
    _check_energy,
)
"""The rules before the conditions, in the order in which they are asked."""
