r"""Forward trades: energy that is promised for a delivery window, one metering interval, and paid when it is there.

```
 contract on the chain                  both readings decided
----------------------> pending ---------------------------------> completed (with what came; the rest refunded)
                           |  \---- expiry slot passed ----------> expired   (all refunded; who did not report is
                           |                                                  at fault, the seller first)
                            \------ both sign a cancellation ----> cancelled (all refunded)
```

Execution holds the buyer's tokens and the seller's promise; a member's promises of a window never exceed its
capacity. A reading sets energy aside for the pending trades of its meter before anything else may have it, in the
order of their execution: of the seller its surplus, of the buyer its deficit, since bought energy only covers a
deficit. What is delivered is the smaller of both.

The outcome is x = 2 delivered / due - 1, where due is what the buyer could take: were it the contracted energy, a
buyer who needs nothing could put an honest seller at fault. A trade of which nothing is due moves no score.
"""

from typing import Final

from msgspec.structs import replace

from consensus.cryptography import address_of
from consensus.identifiers import Address, Digest, Slot
from contracts.agenda import schedule
from contracts.agenda_records import TradeEnd
from contracts.closing import leave_to_grid
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
from contracts.member_changes import is_going
from contracts.member_records import Activity
from contracts.receipts import Posting, Reason
from contracts.rewards import FAULT, punish, quality_total, reward_traders
from contracts.run import BlockRun, Refusal
from contracts.settlement import contract_size, execution_postings, final_postings, pay_out, refund_postings
from contracts.state import (
    TRADE_COUNTERS,
    Account,
    Deficit,
    Interval,
    Member,
    MeterReading,
    Offer,
    Packet,
    PromiseBook,
    Trade,
    TradeKind,
    TradeStatus,
    account_key,
    activity_key,
    deficit_key,
    interval_key,
    member_key,
    offer_key,
    packet_key,
    promises_key,
    reading_key,
    trade_key,
)
from contracts.transactions import ForwardTerms, packet_id
from contracts.units import MS_PER_HOUR, MicroTokens, Milliseconds, WattHours
from qscore.equation import Defaulter
from qscore.parameters import ONE, Millionths

PROMISES_PER_WINDOW_MAX: Final = 16
"""Pending forward trades of one member in one window: bounds what a reading has to look at."""

NOTHING: Final = WattHours(0)
NO_TOKENS: Final = MicroTokens(0)


# --- before execution ------------------------------------------------------------------------------------------


def check_window(run: BlockRun, terms: ForwardTerms) -> Refusal | None:
    """The window is an interval of which neither party's reading is decided, and both have room in it; neither of
    them is to go: a counterpart could hold back who leaves by one contract after the other that it signed before.
    """
    start = terms.delivery_start_ms
    for party, address in (("seller", terms.seller), ("buyer", terms.buyer)):
        if is_going(run.overlay, address):
            detail = f"the {party} leaves or is removed, and promises nothing more"
            return Refusal(reason=Reason.TRADE_MEMBER_LEAVING, detail=detail)
    if start % run.genesis.interval_ms:
        detail = f"delivery window {start} ms is no multiple of {run.genesis.interval_ms} ms"
        return Refusal(reason=Reason.TRADE_WRONG_WINDOW, detail=detail)
    interval = run.overlay.get(interval_key(start), Interval)
    for party, address in (("seller", terms.seller), ("buyer", terms.buyer)):
        if interval is not None and (interval.closed or address in interval.meters):
            detail = f"the {party}'s reading of delivery window {start} ms is decided, or its gate is closed"
            return Refusal(reason=Reason.TRADE_WINDOW_PASSED, detail=detail)
        if len(_book(run, address, start)) >= PROMISES_PER_WINDOW_MAX:
            detail = f"the {party} has {PROMISES_PER_WINDOW_MAX} pending trades of delivery window {start} ms"
            return Refusal(reason=Reason.TRADE_WINDOW_FULL, detail=detail)
    room = _room(run, terms.buyer, start)
    if terms.energy_wh > room:
        detail = f"the buyer's connection still takes {room} Wh in the window, contract {terms.energy_wh} Wh"
        return Refusal(reason=Reason.TRADE_ABOVE_CAPACITY, detail=detail, fault=terms.buyer)
    return None


def _room(run: BlockRun, member: Address, start: Milliseconds) -> WattHours:
    """Returns what a member's connection can still deliver, or take, in a window beside what it promised."""
    capacity = run.overlay.require(member_key(member), Member).capacity_w * run.genesis.interval_ms // MS_PER_HOUR
    promised = sum(run.overlay.require(trade_key(trade), Trade).energy_wh for trade in _book(run, member, start))
    return WattHours(capacity - promised)


def was_promised(run: BlockRun, member: Address, start: Milliseconds) -> bool:
    """Says whether a member ever had a forward trade of a window."""
    return run.overlay.get(promises_key(member, start), PromiseBook) is not None


def _book(run: BlockRun, member: Address, start: Milliseconds) -> tuple[Digest, ...]:
    book = run.overlay.get(promises_key(member, start), PromiseBook)
    return () if book is None else book.trades


# --- execution -------------------------------------------------------------------------------------------------


def execute_forward(
    run: BlockRun, terms: ForwardTerms, *, trade: Digest, transaction: Digest
) -> tuple[Posting, ...] | Failure:
    """Holds the buyer's tokens and the seller's promise, or returns the condition that fails."""
    start = terms.delivery_start_ms
    size = contract_size(run.genesis, energy=terms.energy_wh, price=terms.price_micro_per_kwh)
    before = _balances(run, terms.seller, terms.buyer, seller_wh=_room(run, terms.seller, start))
    escrowed = execution_stage(size, before)
    failure = condition_1(size, before, escrowed) or condition_2(size, before, escrowed)
    if failure is not None:
        return failure
    run.move_tokens(terms.buyer, available=-size.held_micro, held=size.held_micro)
    for party in (terms.seller, terms.buyer):
        book = PromiseBook(trades=(*_book(run, party, start), trade))
        run.overlay.put(promises_key(party, start), book)
        _count_pending(run, party, 1)
    run.overlay.put(offer_key(terms.seller, terms.offer_counter), Offer(trade=trade))
    run.overlay.put(trade_key(trade), _pending(run, terms, size, transaction))
    run.add_to_totals(trades_pending=1, held_micro=size.held_micro)
    schedule(run, Slot(terms.expiry_slot + 1), TradeEnd(trade=trade))
    return execution_postings(trade, before, escrowed)


def _count_pending(run: BlockRun, party: Address, delta: int) -> None:
    """Keeps how many trades a party has to settle before it can leave."""
    activity = run.overlay.require(activity_key(party), Activity)
    run.overlay.put(activity_key(party), replace(activity, trades_pending=activity.trades_pending + delta))


def _pending(run: BlockRun, terms: ForwardTerms, size: ContractSize, transaction: Digest) -> Trade:
    return Trade(
        seller=terms.seller,
        buyer=terms.buyer,
        status=TradeStatus.PENDING,
        kind=TradeKind.FORWARD,
        interval_start_ms=terms.delivery_start_ms,
        energy_wh=terms.energy_wh,
        delivered_wh=NOTHING,
        set_aside_wh=NOTHING,
        reserved_wh=NOTHING,
        price_micro_per_kwh=terms.price_micro_per_kwh,
        held_micro=size.held_micro,
        amount_micro=NO_TOKENS,
        fee_micro=NO_TOKENS,
        expiry_slot=terms.expiry_slot,
        transaction=transaction,
        height=run.context.height,
        slot=run.context.slot,
        quality_total=None,
    )


def _balances(
    run: BlockRun,
    seller: Address,
    buyer: Address,
    *,
    seller_wh: WattHours = NOTHING,
    deficit: Deficit | None = None,
    escrow_wh: WattHours = NOTHING,
    escrow_micro: MicroTokens = NO_TOKENS,
    reserved_wh: WattHours = NOTHING,
) -> Balances:
    wallets = [
        run.overlay.require(account_key(address), Account).available_micro
        for address in (seller, buyer, address_of(run.genesis.grid_key))
    ]
    bought = NOTHING if deficit is None else deficit.bought_wh
    return Balances(
        seller_wh=seller_wh,
        seller_micro=wallets[0],
        buyer_wh=bought,
        buyer_micro=wallets[1],
        buyer_deficit_wh=WattHours(bought + reserved_wh),
        escrow_wh=escrow_wh,
        escrow_micro=escrow_micro,
        grid_micro=wallets[2],
    )


# --- readings --------------------------------------------------------------------------------------------------


def take_back(run: BlockRun, meter: Address, start: Milliseconds) -> None:
    """Undoes `set_aside`, before what there is for the meter's pending trades changes."""
    for name in _book(run, meter, start):
        trade = run.overlay.require(trade_key(name), Trade)
        if meter == trade.seller:
            _move_surplus(run, trade, back=trade.set_aside_wh)
            trade = replace(trade, set_aside_wh=NOTHING)
        else:
            _move_deficit(run, trade, back=trade.reserved_wh)
            trade = replace(trade, reserved_wh=NOTHING)
        run.overlay.put(trade_key(name), trade)


def set_aside(run: BlockRun, meter: Address, start: Milliseconds) -> None:
    """Gives the meter's pending trades, in their order, what its reading has; `take_back` came before."""
    for name in _book(run, meter, start):
        trade = run.overlay.require(trade_key(name), Trade)
        if meter == trade.seller:
            packet = run.overlay.get(packet_key(packet_id(meter, start)), Packet)
            part = NOTHING if packet is None else min(trade.energy_wh, packet.available_wh)
            _move_surplus(run, trade, back=WattHours(-part))
            trade = replace(trade, set_aside_wh=part)
        else:
            deficit = run.overlay.get(deficit_key(meter, start), Deficit)
            part = NOTHING if deficit is None else min(trade.energy_wh, deficit.open_wh)
            _move_deficit(run, trade, back=WattHours(-part))
            trade = replace(trade, reserved_wh=part)
        run.overlay.put(trade_key(name), trade)


def schedule_ends(run: BlockRun, meter: Address, start: Milliseconds) -> None:
    """Has those of the meter's pending trades end in this block whose other party's reading is decided too.

    Only a meter's first reading of an interval can make a trade ready: a correction puts nothing on the agenda.
    """
    for name in _book(run, meter, start):
        trade = run.overlay.require(trade_key(name), Trade)
        other = trade.buyer if meter == trade.seller else trade.seller
        if _is_reported(run, other, start):
            schedule(run, run.context.slot, TradeEnd(trade=name))


def _is_reported(run: BlockRun, meter: Address, start: Milliseconds) -> bool:
    return run.overlay.get(reading_key(meter, start), MeterReading) is not None


def _move_surplus(run: BlockRun, trade: Trade, *, back: WattHours) -> None:
    """Moves energy of the seller's packet from the escrow back to what is available (or the other way, below 0)."""
    if back == 0:
        return
    key = packet_key(packet_id(trade.seller, trade.interval_start_ms))
    packet = run.overlay.require(key, Packet)
    escrow, available = WattHours(packet.escrow_wh - back), WattHours(packet.available_wh + back)
    run.overlay.put(key, replace(packet, escrow_wh=escrow, available_wh=available))
    run.add_to_totals(escrow_wh=-back, available_wh=back)


def _move_deficit(run: BlockRun, trade: Trade, *, back: WattHours) -> None:
    """Moves energy of the buyer's deficit from reserved back to open (or the other way, below 0)."""
    if back == 0:
        return
    key = deficit_key(trade.buyer, trade.interval_start_ms)
    deficit = run.overlay.require(key, Deficit)
    reserved, still_open = WattHours(deficit.reserved_wh - back), WattHours(deficit.open_wh + back)
    run.overlay.put(key, replace(deficit, reserved_wh=reserved, open_wh=still_open))
    run.add_to_totals(reserved_wh=-back, open_wh=back)


# --- the end ---------------------------------------------------------------------------------------------------


def end_trade(run: BlockRun, name: Digest) -> tuple[Posting, ...]:
    """Completes a pending trade whose readings are there, or lets it expire; one that is over stays as it is."""
    trade = run.overlay.require(trade_key(name), Trade)
    if trade.status is not TradeStatus.PENDING:
        return ()
    missing = [
        party for party in (trade.seller, trade.buyer) if not _is_reported(run, party, trade.interval_start_ms)
    ]
    if not missing:
        return _complete(run, name, trade)
    assert run.context.slot > trade.expiry_slot, "ends for a missing reading only after its expiry slot"
    defaulter = Defaulter.SELLER if missing[0] == trade.seller else Defaulter.BUYER
    total = quality_total(run, seller=trade.seller, buyer=trade.buyer, outcome=FAULT, defaulter=defaulter)
    punish(run, missing[0], name, outcome=FAULT)
    return _give_back(run, name, replace(trade, status=TradeStatus.EXPIRED, quality_total=total))


def cancel_pending(run: BlockRun, name: Digest, trade: Trade) -> tuple[Posting, ...]:
    """Ends a pending trade by the will of both parties."""
    return _give_back(run, name, replace(trade, status=TradeStatus.CANCELLED))


def _complete(run: BlockRun, name: Digest, trade: Trade) -> tuple[Posting, ...]:
    due, delivered = trade.reserved_wh, min(trade.set_aside_wh, trade.reserved_wh)
    outcome = Millionths(2 * delivered * ONE // due - ONE) if due else Millionths(0)
    defaulter = Defaulter.SELLER if outcome < 0 else None
    total = quality_total(run, seller=trade.seller, buyer=trade.buyer, outcome=outcome, defaulter=defaulter)
    status = TradeStatus.COMPLETED if delivered else TradeStatus.EXPIRED
    trade = replace(trade, status=status, quality_total=total)
    final: tuple[Posting, ...] = ()
    if delivered:
        trade, final = _deliver(run, name, trade, delivered)
    if outcome < 0:
        punish(run, trade.seller, name, outcome=outcome)
    elif delivered:
        reward_traders(
            run,
            seller=trade.seller,
            buyer=trade.buyer,
            interval_start=trade.interval_start_ms,
            trade=name,
            outcome=outcome,
        )
    return (*final, *_give_back(run, name, trade))


def _deliver(run: BlockRun, name: Digest, trade: Trade, delivered: WattHours) -> tuple[Trade, tuple[Posting, ...]]:
    """Runs the final stage for what came: energy to the buyer, tokens to the seller, the fee to the grid."""
    packet_name = packet_key(packet_id(trade.seller, trade.interval_start_ms))
    deficit_name = deficit_key(trade.buyer, trade.interval_start_ms)
    packet = run.overlay.require(packet_name, Packet)
    deficit = run.overlay.require(deficit_name, Deficit)
    size = contract_size(run.genesis, energy=delivered, price=trade.price_micro_per_kwh)
    before = _balances(
        run,
        trade.seller,
        trade.buyer,
        deficit=deficit,
        escrow_wh=trade.set_aside_wh,
        escrow_micro=trade.held_micro,
        reserved_wh=trade.reserved_wh,
    )
    after = final_stage(size, before)
    failure = condition_3(size, before, after) or condition_4(size, before, after)
    assert failure is None, f"what was set aside and held is there: {failure}"
    escrow, claimed = WattHours(packet.escrow_wh - delivered), WattHours(packet.claimed_wh + delivered)
    run.overlay.put(packet_name, replace(packet, escrow_wh=escrow, claimed_wh=claimed))
    reserved, bought = WattHours(deficit.reserved_wh - delivered), WattHours(deficit.bought_wh + delivered)
    run.overlay.put(deficit_name, replace(deficit, reserved_wh=reserved, bought_wh=bought))
    run.move_tokens(trade.buyer, held=-size.held_micro)
    pay_out(run, trade.seller, size)
    run.add_to_totals(
        escrow_wh=-delivered,
        claimed_wh=delivered,
        reserved_wh=-delivered,
        bought_wh=delivered,
        held_micro=-size.held_micro,
        traded_micro=size.amount_micro,
        fees_micro=size.fee_micro,
    )
    paid = replace(
        trade,
        delivered_wh=delivered,
        set_aside_wh=WattHours(trade.set_aside_wh - delivered),
        reserved_wh=WattHours(trade.reserved_wh - delivered),
        held_micro=MicroTokens(trade.held_micro - size.held_micro),
        amount_micro=size.amount_micro,
        fee_micro=size.fee_micro,
    )
    return paid, final_postings(name, before, after)


def _give_back(run: BlockRun, name: Digest, trade: Trade) -> tuple[Posting, ...]:
    """Returns what an ended trade still holds to where it came from, and takes it out of both books.

    What it set aside and did not use serves the promises behind it before the market or the grid.
    """
    buyer_micro = run.overlay.require(account_key(trade.buyer), Account).available_micro
    refund = refund_postings(name, escrow_micro=trade.held_micro, buyer_micro=buyer_micro)
    run.move_tokens(trade.buyer, available=trade.held_micro, held=-trade.held_micro)
    _move_surplus(run, trade, back=trade.set_aside_wh)
    _move_deficit(run, trade, back=trade.reserved_wh)
    run.add_to_totals(**{"trades_pending": -1, TRADE_COUNTERS[trade.status]: 1, "held_micro": -trade.held_micro})
    ended = replace(trade, set_aside_wh=NOTHING, reserved_wh=NOTHING, held_micro=NO_TOKENS)
    run.overlay.put(trade_key(name), ended)
    start = trade.interval_start_ms
    for party in (trade.seller, trade.buyer):
        rest = tuple(other for other in _book(run, party, start) if other != name)
        run.overlay.put(promises_key(party, start), PromiseBook(trades=rest))
        _count_pending(run, party, -1)
        take_back(run, party, start)
        set_aside(run, party, start)
        leave_to_grid(run, party, start)
    return refund
