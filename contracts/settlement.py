"""Settles a spot trade: reads the balances, runs both stages, asks the four conditions, then writes the records.

Nothing is written before all four conditions hold, so a declined contract leaves no trace in the balances.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from consensus.codec import Record
from consensus.cryptography import address_of
from consensus.identifiers import Address, Digest
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
from contracts.genesis import Genesis
from contracts.receipts import Asset, Party, Posting, Stage
from contracts.run import BlockRun
from contracts.state import (
    Account,
    Deficit,
    Offer,
    Packet,
    Trade,
    TradeKind,
    TradeStatus,
    account_key,
    deficit_key,
    offer_key,
    packet_key,
    trade_key,
)
from contracts.transactions import SpotTerms
from contracts.units import MicroTokens, MicroTokensPerKwh, Milliseconds, WattHours, contract_amount


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


def contract_size(genesis: Genesis, *, energy: WattHours, price: MicroTokensPerKwh) -> ContractSize:
    """Returns what moves for some energy: itself, the seller's income, the grid fee."""
    return ContractSize(
        energy_wh=energy,
        amount_micro=contract_amount(energy, price),
        fee_micro=contract_amount(energy, genesis.grid_fee_micro_per_kwh),
    )


def read_balances(run: BlockRun, terms: SpotTerms, packets: Sequence[Packet]) -> Balances:
    """Returns the balances of a spot trade whose packets are known; its escrow is empty."""
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
        grid_micro=overlay.require(account_key(address_of(run.genesis.grid_key)), Account).available_micro,
    )


def postings_of(trade: Digest, settlement: Settlement) -> tuple[Posting, ...]:
    """Returns the balance changes of a settlement, the execution stage's first."""
    return (
        *execution_postings(trade, settlement.before, settlement.escrowed),
        *final_postings(trade, settlement.escrowed, settlement.settled),
    )


def execution_postings(trade: Digest, before: Balances, after: Balances) -> tuple[Posting, ...]:
    """Returns the four balance changes of the execution stage."""
    energy, tokens = Asset.ENERGY_WH, Asset.TOKENS_MICRO
    rows = (
        (Party.SELLER, energy, before.seller_wh, after.seller_wh),
        (Party.ESCROW, energy, before.escrow_wh, after.escrow_wh),
        (Party.BUYER, tokens, before.buyer_micro, after.buyer_micro),
        (Party.ESCROW, tokens, before.escrow_micro, after.escrow_micro),
    )
    return _postings(trade, Stage.EXECUTION, rows)


def final_postings(trade: Digest, before: Balances, after: Balances) -> tuple[Posting, ...]:
    """Returns the four balance changes of the final stage, and the grid's where there is a fee."""
    energy, tokens = Asset.ENERGY_WH, Asset.TOKENS_MICRO
    rows = [
        (Party.ESCROW, energy, before.escrow_wh, after.escrow_wh),
        (Party.BUYER, energy, before.buyer_wh, after.buyer_wh),
        (Party.ESCROW, tokens, before.escrow_micro, after.escrow_micro),
        (Party.SELLER, tokens, before.seller_micro, after.seller_micro),
    ]
    if before.grid_micro != after.grid_micro:
        rows.append((Party.GRID, tokens, before.grid_micro, after.grid_micro))
    return _postings(trade, Stage.FINAL, rows)


def refund_postings(trade: Digest, *, escrow_micro: MicroTokens, buyer_micro: MicroTokens) -> tuple[Posting, ...]:
    """Returns the balance changes of tokens that go back from the escrow to the buyer, if there are any.

    Args:
        trade: trade id.
        escrow_micro: what the escrow still held.
        buyer_micro: what the buyer had available before.
    """
    if escrow_micro == 0:
        return ()
    rows = (
        (Party.ESCROW, Asset.TOKENS_MICRO, escrow_micro, 0),
        (Party.BUYER, Asset.TOKENS_MICRO, buyer_micro, buyer_micro + escrow_micro),
    )
    return _postings(trade, Stage.REFUND, rows)


def _postings(trade: Digest, stage: Stage, rows: Sequence[tuple[Party, Asset, int, int]]) -> tuple[Posting, ...]:
    return tuple(
        Posting(trade=trade, stage=stage, party=party, asset=asset, before=before, after=after)
        for party, asset, before, after in rows
    )


def write_settlement(
    run: BlockRun,
    terms: SpotTerms,
    *,
    trade: Digest,
    transaction: Digest,
    size: ContractSize,
    quality_total: int,
) -> None:
    """Moves what a spot trade moves, marks the offer id as used and records the trade."""
    interval_start = _claim_packets(run, terms)
    _claim_deficit(run, terms, interval_start)
    run.move_tokens(terms.buyer, available=-size.held_micro)
    pay_out(run, terms.seller, size)
    run.overlay.put(offer_key(terms.seller, terms.offer_counter), Offer(trade=trade))
    run.overlay.put(
        trade_key(trade),
        Trade(
            seller=terms.seller,
            buyer=terms.buyer,
            status=TradeStatus.COMPLETED,
            kind=TradeKind.SPOT,
            interval_start_ms=interval_start,
            energy_wh=terms.energy_wh,
            delivered_wh=terms.energy_wh,
            set_aside_wh=WattHours(0),
            reserved_wh=WattHours(0),
            price_micro_per_kwh=terms.price_micro_per_kwh,
            held_micro=MicroTokens(0),
            amount_micro=size.amount_micro,
            fee_micro=size.fee_micro,
            expiry_slot=terms.expiry_slot,
            transaction=transaction,
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
        traded_micro=size.amount_micro,
        fees_micro=size.fee_micro,
    )


def pay_out(run: BlockRun, seller: Address, size: ContractSize) -> None:
    """Pays the seller its income and the grid account its fee, out of an escrow that the caller empties."""
    run.move_tokens(seller, available=size.amount_micro)
    run.move_tokens(address_of(run.genesis.grid_key), available=size.fee_micro)


def _claim_packets(run: BlockRun, terms: SpotTerms) -> Milliseconds:
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


def _claim_deficit(run: BlockRun, terms: SpotTerms, interval_start: Milliseconds) -> None:
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
