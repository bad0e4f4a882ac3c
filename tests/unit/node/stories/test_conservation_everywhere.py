"""Each quantity of the conservation laws, broken by one unit in a real market's state, in every place that asks.

The places: the block that would write it, `ledger verify`, a testnet's summary, and a node's status.
"""

import shutil
from pathlib import Path
from typing import Any, Final, get_type_hints

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from consensus.codec import Record, decode, encode
from consensus.identifiers import Height
from contracts.conservation import LAWS, OUTSIDE, SIGNED, Term, assert_conserved, unbalanced_books
from contracts.state import (
    MEMBER_LIST_KEY,
    Account,
    Deficit,
    MemberList,
    Overlay,
    Packet,
    StateKey,
    StateValue,
    Totals,
    Trade,
    TradeStatus,
    account_key,
    trade_key,
)
from contracts.state_reading import conserved, read_totals, sum_tokens
from contracts.units import MS_PER_HOUR, MicroTokens, WattHours
from ledger.ledger import Ledger
from ledger.verify import verify_ledger
from node.cli.main import app
from node.home.genesis_file import load_genesis
from node.meter.readings_file import EnergySummary
from node.testnet.folder import Testnet
from node.testnet.init import TestnetPlan, initialise_testnet
from node.testnet.summary import CommitLatencies, RunSummary, figures_from_ledgers
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    DictChain,
    make_genesis,
    signed_forward,
    signed_reading,
    signed_trade,
)

HOMES: Final = make_genesis(4)
SCORES: Final = HOMES.genesis.scores
WINDOW_MS: Final = FIRST_INTERVAL_MS + MS_PER_HOUR
QUANTITIES: Final = sorted(
    {(kind, term) for law in LAWS for side in (law.left, law.right) for kind in side for term in side[kind]}, key=str
)
IN_STATUS: Final = frozenset(
    {"Account.available_micro", "Account.held_micro", "Debt.owed_micro"}
    | {f"Totals.{name}_micro" for name in ("issued", "redeemed", "held", "owed")}
    | {f"Totals.{name}_wh" for name in ("credited", "available", "escrow", "claimed", "exported", "replaced")}
    | {f"Totals.{name}_wh" for name in ("deficit", "open", "reserved", "bought", "imported", "unused")}
)
"""What a status can notice without reading every packet and trade: the totals against themselves, wallets, debts."""


def market_state() -> dict[StateKey, bytes]:
    """A spot trade whose energy a correction took back, so that there is a debt, and a promise an hour later."""
    chain = DictChain(HOMES)
    chain.block((0, signed_reading(HOMES, 0, 500)), (1, signed_reading(HOMES, 1, -300)))
    chain.block((1, signed_trade(HOMES, 0, 1, 100)))
    chain.block((0, signed_reading(HOMES, 0, 90, version=1)))
    chain.block((2, signed_forward(HOMES, 2, 1, 150, offer_counter=1, delivery_start_ms=WINDOW_MS)))
    chain.block(
        (2, signed_reading(HOMES, 2, 200, interval_start_ms=WINDOW_MS)),
        (3, signed_reading(HOMES, 3, -40, interval_start_ms=WINDOW_MS)),
    )
    return chain.state


STATE: Final = market_state()


def name_of(quantity: tuple[type[Record], Term]) -> str:
    kind, term = quantity
    return f"{kind.__name__}.{term}" if isinstance(term, str) else f"{kind.__name__}.{term.value} trades"


def broken_by_one(kind: type[Record], term: Term) -> tuple[StateKey, Any]:
    """Returns a state key and the record that breaks one quantity there: one unit or one trade more."""
    found = [(key, decode(raw, StateValue)) for key, raw in sorted(STATE.items())]
    records = [(key, record) for key, record in found if isinstance(record, kind)]
    if isinstance(term, TradeStatus):
        completed = next(record for _, record in records if record.status is TradeStatus.COMPLETED)
        nothing = dict.fromkeys(("delivered_wh", "amount_micro", "fee_micro"), 0)
        return trade_key(bytes(32)), replace(completed, status=term, **nothing)
    if kind is Trade:  # one that is over may not change at all
        records = [(key, record) for key, record in records if record.status is TradeStatus.PENDING]
    key, record = records[0]
    return key, replace(record, **{term: getattr(record, term) + 1})


def broken_state(kind: type[Record], term: Term) -> dict[StateKey, bytes]:
    key, record = broken_by_one(kind, term)
    return {**STATE, key: encode(record)}


each_quantity = pytest.mark.parametrize("quantity", QUANTITIES, ids=name_of)


def test_the_market_that_is_broken_is_whole() -> None:
    assert unbalanced_books(STATE.items(), SCORES) == []
    assert seen_by_status(STATE)
    assert_conserved(Overlay(STATE), SCORES)


@each_quantity
def test_a_block_that_would_write_it_stops(quantity: tuple[type[Record], Term]) -> None:
    overlay = Overlay(STATE)
    overlay.put(*broken_by_one(*quantity))
    with pytest.raises(AssertionError) as stopped:
        assert_conserved(overlay, SCORES)
    assert name_of(quantity) in str(stopped.value).split(": Totals(")[0]


@each_quantity
def test_verify_names_it(
    quantity: tuple[type[Record], Term], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `verify` executes again is whole unless the software is wrong, so here genesis itself is."""
    Ledger.create(tmp_path / "ledger", HOMES.genesis).close()
    monkeypatch.setattr("ledger.verify.genesis_state", lambda _: broken_state(*quantity))
    report = verify_ledger(tmp_path / "ledger", HOMES.genesis, lambda _height, _tip: None)
    assert not report.holds
    assert any(name_of(quantity) in line for line in report.unbalanced), report.unbalanced


def test_the_command_prints_it(testnet: Testnet, monkeypatch: pytest.MonkeyPatch) -> None:
    home = testnet.home(testnet.nodes[1])
    state = broken_state(Totals, "trades_expired")
    monkeypatch.setattr("ledger.verify.genesis_state", lambda _: state)
    result = CliRunner().invoke(app, ["ledger", "verify", "--home", str(home.directory)])
    assert result.exit_code != 0
    assert "does not add up: trades expired: Trade.expired trades sums to 0, Totals.trades_expired" in " ".join(
        result.output.split()
    )
    assert "energy or tokens do not add up" in str(result.exception)


@pytest.fixture(scope="module")
def testnet(tmp_path_factory: pytest.TempPathFactory) -> Testnet:
    """Five nodes with ledgers at genesis."""
    testnet = initialise_testnet(tmp_path_factory.mktemp("summary") / "testnet", TestnetPlan(nodes=5))[0]
    for node in testnet.nodes:
        home = testnet.home(node)
        Ledger.create(home.ledger, load_genesis(home)).close()
    return testnet


def write_first_state(testnet: Testnet, state: dict[StateKey, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the first node's ledger anew, with another state at genesis."""
    home = testnet.home(testnet.nodes[0])
    shutil.rmtree(home.ledger)
    monkeypatch.setattr("ledger.entries.genesis_state", lambda _: state)
    Ledger.create(home.ledger, load_genesis(home)).close()


def summary_of(testnet: Testnet) -> RunSummary:
    chain, nodes = figures_from_ledgers(testnet, testnet.nodes)
    return RunSummary(
        energy=EnergySummary(hours=0, surplus_wh=0, deficit_wh=0, tradable_wh=0),
        chain=chain,
        nodes=nodes,
        left=(),
        latencies=CommitLatencies(p50_ms=None, p95_ms=None),
        wall_s=0.0,
        continued=False,
    )


@each_quantity
def test_a_testnets_summary_names_it_and_the_node(
    quantity: tuple[type[Record], Term], testnet: Testnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_first_state(testnet, broken_state(*quantity), monkeypatch)
    summary = summary_of(testnet)
    assert not summary.conserved
    lines = [line for line in summary.problems if name_of(quantity) in line]
    assert lines
    assert all(line.startswith("energy or tokens are not conserved on node1: ") for line in lines)


def test_a_testnets_summary_of_whole_books_names_nothing(testnet: Testnet, monkeypatch: pytest.MonkeyPatch) -> None:
    write_first_state(testnet, STATE, monkeypatch)
    assert summary_of(testnet).conserved


def seen_by_status(state: dict[StateKey, bytes]) -> bool:
    genesis = HOMES.genesis
    return conserved(read_totals(state), sum_tokens(state, genesis))


@each_quantity
def test_a_status_notices_what_it_can_sum_up(quantity: tuple[type[Record], Term]) -> None:
    assert seen_by_status(broken_state(*quantity)) == (name_of(quantity) not in IN_STATUS)


def test_who_is_no_member_any_more_keeps_its_tokens() -> None:
    known = decode(STATE[MEMBER_LIST_KEY], MemberList)
    gone = replace(known.terms[0], last_height=Height(1))
    ended = {**STATE, MEMBER_LIST_KEY: encode(MemberList(terms=(gone, *known.terms[1:])))}
    assert decode(STATE[account_key(gone.address)], Account).available_micro > 0
    assert seen_by_status(ended)


@pytest.mark.parametrize(("kind", "field"), [(Packet, "available_wh"), (Deficit, "open_wh")])
def test_energy_that_moved_between_two_records_is_found_in_both(kind: type[Record], field: str) -> None:
    """All sums stay as they were."""
    overlay = Overlay(STATE)
    first, second = (key for key, raw in sorted(STATE.items()) if isinstance(decode(raw, StateValue), kind))
    for key, moved in ((first, -1), (second, 1)):
        record = overlay.require(key, kind)
        overlay.put(key, replace(record, **{field: getattr(record, field) + moved}))
    law = f"energy of a {kind.__name__.lower()}: "
    with pytest.raises(AssertionError, match=law):
        assert_conserved(overlay, SCORES)
    written = {key: encode(record) for key, record in overlay.written().items()}
    found = [line for line in unbalanced_books({**STATE, **written}.items(), SCORES) if law in line]
    assert {line.split(":")[0] for line in found} == {f"{kind.__name__} {key.hex()}" for key in (first, second)}


# --- the table ---------------------------------------------------------------------------------------------------


def unplaced(kind: type[Record]) -> set[str]:
    """Returns the fields of a record that hold energy or tokens, or count, and that no law is about."""
    hints = get_type_hints(kind)
    names = {
        name
        for name in kind.__struct_fields__
        if hints[name] in (WattHours, MicroTokens) or name.endswith(("_wh", "_micro")) or kind is Totals
    }
    placed = {term for found, term in QUANTITIES if found is kind}
    return names - placed - OUTSIDE.get(kind, frozenset())


@pytest.mark.parametrize("kind", StateValue.__args__)
def test_every_field_with_energy_or_tokens_has_a_place_in_the_table(kind: type[Record]) -> None:
    assert unplaced(kind) == set()


@pytest.mark.parametrize("total", [name for kind, name in QUANTITIES if kind is Totals])
def test_every_total_is_a_sum_over_other_records(total: str) -> None:
    """Else one that moved together with another total would balance."""
    other = {"issued_micro": "redeemed_micro", "redeemed_micro": "issued_micro"}.get(total)
    allowed = {frozenset({total}), frozenset({total, other})}
    assert any(
        len(law.kinds) > 1 and frozenset((*law.left.get(Totals, ()), *law.right.get(Totals, ()))) in allowed
        for law in LAWS
    )


@pytest.mark.parametrize("quantity", [found for found in QUANTITIES if found[0] is not Totals], ids=name_of)
def test_every_quantity_of_a_record_is_summed_up(quantity: tuple[type[Record], Term]) -> None:
    kind, term = quantity
    assert any(term in (*law.left.get(kind, ()), *law.right.get(kind, ())) for law in LAWS if len(law.kinds) > 1)


def test_a_field_without_a_place_is_found() -> None:
    class Battery(Record, frozen=True, kw_only=True):
        owner: bytes
        stored: WattHours
        charged_wh: int

    assert unplaced(Battery) == {"stored", "charged_wh"}


def test_every_status_of_a_trade_is_counted() -> None:
    assert {term for kind, term in QUANTITIES if kind is Trade and isinstance(term, TradeStatus)} == set(TradeStatus)


def test_what_is_outside_the_laws_exists_and_is_in_none() -> None:
    named = {(kind, name) for kind, names in OUTSIDE.items() for name in names}
    assert all(name in kind.__struct_fields__ for kind, name in named)
    assert not named & set(QUANTITIES)


def test_names_of_laws_are_distinct() -> None:
    assert len({law.name for law in LAWS}) == len(LAWS)


@pytest.mark.parametrize(
    ("kind", "term"),
    [(kind, term) for kind, term in QUANTITIES if isinstance(term, str) and kind not in SIGNED],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_nothing_is_below_zero(kind: type[Record], term: str) -> None:
    key, record = broken_by_one(kind, term)
    lines = unbalanced_books([*STATE.items(), (key, encode(replace(record, **{term: -1})))], SCORES)
    assert any(f"negative {term}" in line for line in lines)
