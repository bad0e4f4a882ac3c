"""Gate closure: when, in which order, how many per block."""

from contracts.agenda import DUE_PER_BLOCK_MAX
from contracts.agenda_records import Agenda, Due, GateClosure
from contracts.receipts import Status
from contracts.state import AGENDA_KEY, Interval, due_key, interval_key
from contracts.units import MS_PER_HOUR
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    DictChain,
    make_genesis,
    moved_keys,
    signed_reading,
    signed_trade,
)

HOMES = make_genesis(3, gate_closure_slots=10)


def closed(chain: DictChain, number: int = 0) -> bool:
    return chain.read(interval_key(FIRST_INTERVAL_MS + number * MS_PER_HOUR), Interval).closed


def test_closes_at_its_slot_and_not_one_before() -> None:
    chain = DictChain(HOMES)
    chain.block((0, signed_reading(HOMES, 0, 500)), (1, signed_reading(HOMES, 1, -200)), slot=5)
    chain.block(slot=14)
    assert not closed(chain)
    chain.block(slot=15)
    assert closed(chain)
    assert (chain.packet(0).available_wh, chain.packet(0).exported_wh) == (0, 500)
    assert (chain.deficit(1).open_wh, chain.deficit(1).imported_wh) == (0, 200)
    totals = chain.totals()
    assert (totals.available_wh, totals.exported_wh, totals.open_wh, totals.imported_wh) == (0, 500, 0, 200)


def test_only_the_unsold_rest_is_exported() -> None:
    chain = DictChain(HOMES)
    chain.block((0, signed_reading(HOMES, 0, 500)), (1, signed_reading(HOMES, 1, -200)), slot=5)
    chain.block((1, signed_trade(HOMES, 0, 1, 150)))
    chain.block(slot=15)
    packet, deficit = chain.packet(0), chain.deficit(1)
    assert (packet.available_wh, packet.claimed_wh, packet.exported_wh) == (0, 150, 350)
    assert (deficit.open_wh, deficit.bought_wh, deficit.imported_wh) == (0, 150, 50)


def test_a_further_reading_puts_the_closure_off() -> None:
    chain = DictChain(HOMES)
    chain.block((0, signed_reading(HOMES, 0, 500)), slot=5)
    chain.block((1, signed_reading(HOMES, 1, -200)), slot=8)
    chain.block(slot=15)
    assert not closed(chain), "the first entry counts no more"
    assert chain.read(AGENDA_KEY, Agenda) == Agenda(size=1, made=2)
    chain.block(slot=17)
    assert not closed(chain)
    chain.block(slot=18)
    assert closed(chain)
    assert chain.read(AGENDA_KEY, Agenda) == Agenda(size=0, made=2)


def test_a_correction_does_not_put_the_closure_off() -> None:
    chain = DictChain(HOMES)
    chain.block((0, signed_reading(HOMES, 0, 500)), slot=5)
    chain.block((0, signed_reading(HOMES, 0, 400, version=1)), slot=8)
    assert chain.read(AGENDA_KEY, Agenda).made == 1
    chain.block(slot=15)
    assert closed(chain)


def test_readings_of_one_slot_share_an_entry() -> None:
    chain = DictChain(HOMES)
    chain.block((0, signed_reading(HOMES, 0, 500)), (1, signed_reading(HOMES, 1, -200)), slot=5)
    chain.block((2, signed_reading(HOMES, 2, -200)), slot=5)
    assert chain.read(AGENDA_KEY, Agenda) == Agenda(size=1, made=1)
    first = Due(slot=15, number=0, subject=GateClosure(interval_start_ms=FIRST_INTERVAL_MS))
    assert chain.read(due_key(0), Due) == first


def test_gates_close_before_the_blocks_transactions() -> None:
    chain = DictChain(HOMES)
    chain.block((0, signed_reading(HOMES, 0, 500)), (1, signed_reading(HOMES, 1, -200)), slot=5)
    (receipt,) = chain.block((1, signed_trade(HOMES, 0, 1, 150)), slot=15).receipts
    assert receipt.status is Status.DECLINED
    assert receipt.fault is None


def test_entries_per_block_are_bounded_and_the_rest_follows_in_order() -> None:
    """Twice the bound per block: before its transactions and after them."""
    chain = DictChain(HOMES)
    count = 2 * DUE_PER_BLOCK_MAX + 1
    starts = [FIRST_INTERVAL_MS + number * MS_PER_HOUR for number in reversed(range(count))]
    chain.block(*((0, signed_reading(HOMES, 0, 5, interval_start_ms=start)) for start in starts), slot=1)
    chain.block(slot=50)
    assert [closed(chain, number) for number in range(count)] == [False] + [True] * (count - 1)
    chain.block(slot=50)
    assert all(closed(chain, number) for number in range(count))
    assert chain.totals().exported_wh == 5 * count


def test_an_idle_block_changes_nothing_but_who_attends() -> None:
    chain = DictChain(HOMES)
    assert not moved_keys(chain.block())
    chain.block((0, signed_reading(HOMES, 0, 500)))
    assert not moved_keys(chain.block())
