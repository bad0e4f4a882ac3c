"""Asserts, after every block, that nothing was lost and nothing invented.

Each written record must balance in itself; what the written records changed together must be what `Totals`
changed by; and `Totals` must balance. Genesis balances, so by induction the whole state does, at the cost of the
block's own writes. A failure is our own bug: it stops the node (`AssertionError`), and no vote is given.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from consensus.codec import Record
from contracts.state import (
    ENERGY_TOTALS,
    TOTALS_KEY,
    Account,
    Debt,
    Deficit,
    Overlay,
    Packet,
    Score,
    Totals,
    Trade,
    TradeStatus,
)
from qscore.parameters import ScoreParameters

TOKENS_IN_CIRCULATION: Final = "issued - redeemed"
HELD_BY_TRADES: Final = "tokens that trades hold"
SET_ASIDE_BY_TRADES: Final = "energy that trades hold"
RESERVED_BY_TRADES: Final = "deficits that trades hold"
TRADE_COUNTERS: Final[Mapping[TradeStatus, str]] = {
    TradeStatus.PENDING: "trades_pending",
    TradeStatus.COMPLETED: "trades_completed",
    TradeStatus.EXPIRED: "trades_expired",
    TradeStatus.CANCELLED: "trades_cancelled",
}
"""Which total counts the trades of a status."""


def assert_conserved(overlay: Overlay, scores: ScoreParameters) -> None:
    """Asserts that the overlay's writes conserve tokens and energy to the unit and leave no negative balance."""
    changed: Counter[str] = Counter()
    for key, record in overlay.written().items():
        if not isinstance(record, Totals):
            assert_record(record, scores)
            before = overlay.before(key, type(record))
            for name, delta in _deltas(before, record):
                changed[name] += delta
    totals_before = overlay.before(TOTALS_KEY, Totals)
    assert totals_before is not None, "totals stand in the state from genesis on"
    totals_after = overlay.require(TOTALS_KEY, Totals)
    assert_totals(totals_after)
    for name, delta in _totals_deltas(totals_before, totals_after):
        assert changed[name] == delta, f"records changed {name} by {changed[name]}, totals by {delta}"


def assert_record(record: Record, scores: ScoreParameters) -> None:
    """Asserts that one record balances and that nothing in it is negative."""
    match record:
        case Account():
            assert min(record.available_micro, record.held_micro) >= 0, f"negative balance: {record}"
        case Packet():
            parts = (record.available_wh, record.escrow_wh, record.claimed_wh, record.exported_wh)
            assert min(*parts, record.credited_wh, record.replaced_wh) >= 0, f"negative energy: {record}"
            assert record.credited_wh + record.replaced_wh == sum(parts), f"packet does not balance: {record}"
        case Deficit():
            covered = (record.open_wh, record.reserved_wh, record.bought_wh, record.imported_wh)
            assert min(*covered, record.recorded_wh, record.unused_wh) >= 0, f"negative energy: {record}"
            assert record.recorded_wh + record.unused_wh == sum(covered), f"deficit does not balance: {record}"
        case Score():
            assert scores.floor <= record.value <= scores.maximum, f"score out of bounds: {record}"
            assert 0 <= record.staked <= record.value, f"stake out of bounds: {record}"
        case Debt():
            assert record.owed_micro >= 0, f"negative debt: {record}"
        case Trade():
            assert 0 <= record.delivered_wh <= record.energy_wh, f"more delivered than contracted: {record}"
            holds = record.held_micro, record.set_aside_wh, record.reserved_wh
            assert min(holds) >= 0, f"negative balance: {record}"
            assert record.status is TradeStatus.PENDING or not any(holds), f"over, and still holds: {record}"
        case _:
            pass


def assert_totals(totals: Totals) -> None:
    """Asserts that the sums balance: credited and deficit by where they went, and sold energy by its claims."""
    kept = totals.available_wh + totals.escrow_wh + totals.claimed_wh + totals.exported_wh
    assert totals.credited_wh + totals.replaced_wh == kept, f"credited energy does not balance: {totals}"
    covered = totals.open_wh + totals.reserved_wh + totals.bought_wh + totals.imported_wh
    assert totals.deficit_wh + totals.unused_wh == covered, f"deficits do not balance: {totals}"
    assert totals.claimed_wh == totals.bought_wh, f"energy sold is not energy bought: {totals}"
    assert totals.redeemed_micro <= totals.issued_micro, f"more tokens redeemed than issued: {totals}"


def _deltas(before: Record | None, after: Record) -> Iterator[tuple[str, int]]:
    """Yields what a written record adds to each total."""
    for field, total in ENERGY_TOTALS.get(type(after), {}).items():
        yield total, getattr(after, field) - (0 if before is None else getattr(before, field))
    match after:
        case Account():
            yield TOKENS_IN_CIRCULATION, _tokens(after) - (_tokens(before) if isinstance(before, Account) else 0)
            yield "held_micro", after.held_micro - (before.held_micro if isinstance(before, Account) else 0)
        case Debt():
            yield "owed_micro", after.owed_micro - (before.owed_micro if isinstance(before, Debt) else 0)
        case Trade():
            yield from _trade_deltas(before if isinstance(before, Trade) else None, after)
        case _:
            pass


def _trade_deltas(before: Trade | None, after: Trade) -> Iterator[tuple[str, int]]:
    """Yields what a trade adds to the totals of trades, and to what the trades themselves say that they hold."""
    is_open = before is None or before.status is TradeStatus.PENDING
    assert is_open or before == after, f"over, and changed: {after}"
    for trade, sign in ((before, -1), (after, 1)):
        if trade is not None:
            yield TRADE_COUNTERS[trade.status], sign
            yield "traded_micro", sign * trade.amount_micro
            yield "fees_micro", sign * trade.fee_micro
            yield HELD_BY_TRADES, sign * trade.held_micro
            yield SET_ASIDE_BY_TRADES, sign * trade.set_aside_wh
            yield RESERVED_BY_TRADES, sign * trade.reserved_wh


def _tokens(account: Account) -> int:
    return account.available_micro + account.held_micro


def _totals_deltas(before: Totals, after: Totals) -> Iterator[tuple[str, int]]:
    energy_names = [total for fields in ENERGY_TOTALS.values() for total in fields.values()]
    for name in (*energy_names, *TRADE_COUNTERS.values(), "traded_micro", "fees_micro", "held_micro", "owed_micro"):
        yield name, getattr(after, name) - getattr(before, name)
    circulating_after = after.issued_micro - after.redeemed_micro
    yield TOKENS_IN_CIRCULATION, circulating_after - (before.issued_micro - before.redeemed_micro)
    yield HELD_BY_TRADES, after.held_micro - before.held_micro
    yield SET_ASIDE_BY_TRADES, after.escrow_wh - before.escrow_wh
    yield RESERVED_BY_TRADES, after.reserved_wh - before.reserved_wh
