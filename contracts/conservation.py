"""Asserts, after every block, that nothing was lost and nothing invented.

Each written record must balance in itself; what the written records changed together must be what `Totals`
changed by; and `Totals` must balance. Genesis balances, so by induction the whole state does, at the cost of the
block's own writes. A failure is our own bug: it stops the node (`AssertionError`), and no vote is given.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from consensus.codec import Record
from contracts.state import TOTALS_KEY, Account, Deficit, Overlay, Packet, Score, Totals, Trade
from qscore.parameters import ScoreParameters

ENERGY_FIELDS: Final[Mapping[type[Record], Mapping[str, str]]] = {
    Packet: {
        "credited_wh": "credited_wh",
        "available_wh": "available_wh",
        "escrow_wh": "escrow_wh",
        "claimed_wh": "claimed_wh",
        "exported_wh": "exported_wh",
    },
    Deficit: {
        "recorded_wh": "deficit_wh",
        "open_wh": "open_wh",
        "bought_wh": "bought_wh",
        "imported_wh": "imported_wh",
    },
}
"""Which field of a record each energy total sums."""

TOKENS_IN_CIRCULATION: Final = "issued - redeemed"


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
            assert min(parts) >= 0, f"negative energy: {record}"
            assert record.credited_wh == sum(parts), f"packet does not balance: {record}"
        case Deficit():
            covered = (record.open_wh, record.bought_wh, record.imported_wh)
            assert min(covered) >= 0, f"negative energy: {record}"
            assert record.recorded_wh == sum(covered), f"deficit does not balance: {record}"
        case Score():
            assert scores.floor <= record.value <= scores.maximum, f"score out of bounds: {record}"
        case _:
            pass


def assert_totals(totals: Totals) -> None:
    """Asserts that the sums balance: credited and deficit by where they went, and sold energy by its claims."""
    kept = totals.available_wh + totals.escrow_wh + totals.claimed_wh + totals.exported_wh
    assert totals.credited_wh == kept, f"credited energy does not balance: {totals}"
    covered = totals.open_wh + totals.bought_wh + totals.imported_wh
    assert totals.deficit_wh == covered, f"deficits do not balance: {totals}"
    assert totals.claimed_wh == totals.bought_wh, f"energy sold is not energy bought: {totals}"
    assert totals.redeemed_micro <= totals.issued_micro, f"more tokens redeemed than issued: {totals}"


def _deltas(before: Record | None, after: Record) -> Iterator[tuple[str, int]]:
    """Yields what a written record adds to each total."""
    for field, total in ENERGY_FIELDS.get(type(after), {}).items():
        yield total, getattr(after, field) - (0 if before is None else getattr(before, field))
    if isinstance(after, Account):
        yield TOKENS_IN_CIRCULATION, _tokens(after) - (_tokens(before) if isinstance(before, Account) else 0)
    if isinstance(after, Trade):
        assert before is None, f"a trade is recorded once: {after}"
        yield "trades_completed", 1
        yield "traded_micro", after.amount_micro


def _tokens(account: Account) -> int:
    return account.available_micro + account.held_micro


def _totals_deltas(before: Totals, after: Totals) -> Iterator[tuple[str, int]]:
    energy_names = [total for fields in ENERGY_FIELDS.values() for total in fields.values()]
    for name in (*energy_names, "trades_completed", "traded_micro"):
        yield name, getattr(after, name) - getattr(before, name)
    circulating_after = after.issued_micro - after.redeemed_micro
    yield TOKENS_IN_CIRCULATION, circulating_after - (before.issued_micro - before.redeemed_micro)
