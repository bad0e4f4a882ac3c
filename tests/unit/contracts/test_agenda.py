"""The agenda: a heap in the state that gives what a sorted list would give, some per block."""

from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.agenda import DUE_PER_BLOCK_MAX, schedule, take_due
from contracts.agenda_records import Agenda, Due, GateClosure, TradeEnd
from contracts.rules import first_rules
from contracts.run import BlockRun, ScoreBoard
from contracts.state import AGENDA_KEY, Overlay, due_key
from tests.support.contracts import DictChain, block_context, make_genesis

HOMES = make_genesis(1)
STATE = DictChain(HOMES).state
BOUNDED = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def run_at(slot: int, overlay: Overlay | None = None) -> BlockRun:
    overlay = Overlay(STATE) if overlay is None else overlay
    context = block_context(HOMES, height=1, slot=slot)
    scores = ScoreBoard(overlay, cluster=context.cluster, slot=context.slot, parameters=HOMES.genesis.scores)
    rules = first_rules(HOMES.genesis)
    return BlockRun(overlay=overlay, genesis=HOMES.genesis, rules=rules, context=context, scores=scores)


def put(run: BlockRun, *slots: int) -> None:
    for slot in slots:
        schedule(run, slot, GateClosure(interval_start_ms=slot))


def taken(run: BlockRun) -> list[tuple[int, int]]:
    return [(due.slot, due.number) for due in take_due(run)]


@BOUNDED
@given(rounds=st.lists(st.tuples(st.lists(st.integers(0, 30), max_size=20), st.integers(0, 4)), max_size=12))
def test_gives_what_a_sorted_list_gives(rounds: list[tuple[list[int], int]]) -> None:
    """Entries come in and go out in turns, at slots that only grow."""
    overlay, expected, slot, made = Overlay(STATE), list[tuple[int, int]](), 0, 0
    for entries, passed in rounds:
        slot += passed
        run = run_at(slot, overlay)
        put(run, *entries)
        expected = sorted([*expected, *((entry, made + index) for index, entry in enumerate(entries))])
        made += len(entries)
        due = [entry for entry in expected if entry[0] <= slot][:DUE_PER_BLOCK_MAX]
        assert taken(run) == due
        expected = expected[len(due) :]
        assert overlay.require(AGENDA_KEY, Agenda) == Agenda(size=len(expected), made=made)
        left = [overlay.require(due_key(place), Due) for place in range(len(expected))]
        assert sorted((each.slot, each.number) for each in left) == expected


def test_one_slot_keeps_the_order_in_which_entries_were_made() -> None:
    run = run_at(9)
    put(run, 7, 5, 7, 5, 7, 5)
    assert taken(run) == [(5, 1), (5, 3), (5, 5), (7, 0), (7, 2), (7, 4)]


def test_due_at_its_slot_and_not_one_before() -> None:
    run = run_at(6)
    put(run, 7)
    assert taken(run) == []
    assert taken(run_at(7, run.overlay)) == [(7, 0)]
    assert taken(run_at(8, run.overlay)) == []


def test_no_more_than_the_bound_at_once() -> None:
    run = run_at(1)
    put(run, *[1] * (DUE_PER_BLOCK_MAX + 1))
    assert len(taken(run)) == DUE_PER_BLOCK_MAX
    assert taken(run) == [(1, DUE_PER_BLOCK_MAX)]


def test_takes_what_is_scheduled_meanwhile() -> None:
    run = run_at(5)
    put(run, 5, 5)
    numbers = []
    for due in take_due(run):
        numbers.append(due.number)
        if due.number == 0:
            put(run, 4, 6)
    assert numbers == [0, 2, 1]


def test_the_last_slot_that_a_contract_may_name_fits() -> None:
    run = run_at(1)
    schedule(run, 2**63, TradeEnd(trade=bytes(32)))
    base = {**STATE, **run.overlay.encoded_changes()}
    assert [due.slot for due in take_due(run_at(2**63, Overlay(base)))] == [2**63]
