"""Settles a contract: reads the balances, runs both stages, asks the four conditions, then writes the records.

Nothing is written before all four conditions hold, so a declined contract leaves no trace in the balances.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from consensus.codec import Record
from consensus.identifiers import Digest
from contracts.conditions import (
    Balances,
    ContractSize,
    Failure,
    condition_1,
    condition_2,
    condition_3,
    condition_4,
    execution_stage,
    final_stage,
)
from contracts.receipts import POSTINGS_PER_TRADE, Asset, Party, Posting, Stage
from contracts.run import BlockRun
from contracts.state import (
    Account,
    Deficit,
    Offer,
    Packet,
    Trade,
    account_key,
    deficit_key,
    offer_key,
    packet_key,
    trade_key,
)
from contracts.transactions import TradeTerms, trade_amount
from contracts.units import MicroTokens, Milliseconds, WattHours


class Settlement(Record, frozen=True, kw_only=True):
    """A contract's balances before, between and after its stages; all four conditions hold of them."""

    before: Balances
    escrowed: Balances
    settled: Balances


def settle(size: ContractSize, before: Balances) -> Settlement | Failure:
    """Runs both stages on `before`; returns the first condition that fails, in the paper's order."""
    escrowed = execution_stage(size, before)
    settled = final_stage(size, escrowed)
    failure = (
        condition_1(size, before, escrowed)
        or condition_2(size, before, escrowed)
        or condition_3(size, escrowed, settled)
        or condition_4(size, escrowed, settled)
    )
    return failure or Settlement(before=before, escrowed=escrowed, settled=settled)


def contract_size(terms: TradeTerms) -> ContractSize:
    """Returns what a contract moves."""
    return ContractSize(energy_wh=terms.energy_wh, amount_micro=trade_amount(terms))


def read_balances(run: BlockRun, terms: TradeTerms, packets: Sequence[Packet]) -> Balances:
    """Returns the balances of a contract whose packets are known; its escrow is empty."""
    overlay = run.overlay
    deficit = overlay.get(deficit_key(terms.buyer, packets[0].interval_start_ms), Deficit)
    bought, still_open = (0, 0) if deficit is None else (deficit.bought_wh, deficit.open_wh)
    return Balances(
        seller_wh=WattHours(sum(packet.available_wh for packet in packets)),
        seller_micro=overlay.require(account_key(terms.seller), Account).available_micro,
        buyer_wh=WattHours(bought),
        buyer_micro=overlay.require(account_key(terms.buyer), Account).available_micro,
        buyer_deficit_wh=WattHours(bought + still_open),
        escrow_wh=WattHours(0),
        escrow_micro=MicroTokens(0),
    )


def postings_of(trade: Digest, settlement: Settlement) -> tuple[Posting, ...]:
    """Returns the eight balance changes of a settlement, the execution stage's first."""
    before, escrowed, settled = settlement.before, settlement.escrowed, settlement.settled
    energy, tokens = Asset.ENERGY_WH, Asset.TOKENS_MICRO
    rows = (
        (Stage.EXECUTION, Party.SELLER, energy, before.seller_wh, escrowed.seller_wh),
        (Stage.EXECUTION, Party.ESCROW, energy, before.escrow_wh, escrowed.escrow_wh),
        (Stage.EXECUTION, Party.BUYER, tokens, before.buyer_micro, escrowed.buyer_micro),
        (Stage.EXECUTION, Party.ESCROW, tokens, before.escrow_micro, escrowed.escrow_micro),
        (Stage.FINAL, Party.ESCROW, energy, escrowed.escrow_wh, settled.escrow_wh),
        (Stage.FINAL, Party.BUYER, energy, escrowed.buyer_wh, settled.buyer_wh),
        (Stage.FINAL, Party.ESCROW, tokens, escrowed.escrow_micro, settled.escrow_micro),
        (Stage.FINAL, Party.SELLER, tokens, escrowed.seller_micro, settled.seller_micro),
    )
    assert len(rows) == POSTINGS_PER_TRADE
    return tuple(
        Posting(trade=trade, stage=stage, party=party, asset=asset, before=first, after=last)
        for stage, party, asset, first, last in rows
    )


def write_settlement(
    run: BlockRun, terms: TradeTerms, *, trade: Digest, settlement: Settlement, quality_total: int
) -> None:
    """Writes the settled balances, marks the offer id as used and records the trade."""
    amount, interval_start = trade_amount(terms), _claim_packets(run, terms)
    _claim_deficit(run, terms, interval_start)
    for party, balance in (
        (terms.buyer, settlement.settled.buyer_micro),
        (terms.seller, settlement.settled.seller_micro),
    ):
        wallet = run.overlay.require(account_key(party), Account)
        run.overlay.put(account_key(party), replace(wallet, available_micro=balance))
    run.overlay.put(offer_key(terms.seller, terms.offer_counter), Offer(trade=trade))
    run.overlay.put(
        trade_key(trade),
        Trade(
            seller=terms.seller,
            buyer=terms.buyer,
            interval_start_ms=interval_start,
            energy_wh=terms.energy_wh,
            price_micro_per_kwh=terms.price_micro_per_kwh,
            amount_micro=amount,
            height=run.context.height,
            slot=run.context.slot,
            quality_total=quality_total,
        ),
    )
    run.add_to_totals(
        available_wh=-terms.energy_wh,
        claimed_wh=terms.energy_wh,
        open_wh=-terms.energy_wh,
        bought_wh=terms.energy_wh,
        trades_completed=1,
        traded_micro=amount,
    )


def _claim_packets(run: BlockRun, terms: TradeTerms) -> Milliseconds:
    """Draws the contract's energy from its packets in their order; returns their interval."""
    missing = terms.energy_wh
    for name in terms.packets:
        packet = run.overlay.require(packet_key(name), Packet)
        part = min(missing, packet.available_wh)
        missing = WattHours(missing - part)
        run.overlay.put(
            packet_key(name),
            replace(
                packet,
                available_wh=WattHours(packet.available_wh - part),
                claimed_wh=WattHours(packet.claimed_wh + part),
            ),
        )
    assert missing == 0, "condition 1 held, so the packets cover the contract"
    return packet.interval_start_ms


def _claim_deficit(run: BlockRun, terms: TradeTerms, interval_start: Milliseconds) -> None:
    key = deficit_key(terms.buyer, interval_start)
    deficit = run.overlay.require(key, Deficit)
    run.overlay.put(
        key,
        replace(
            deficit,
            open_wh=WattHours(deficit.open_wh - terms.energy_wh),
            bought_wh=WattHours(deficit.bought_wh + terms.energy_wh),
        ),
    )
