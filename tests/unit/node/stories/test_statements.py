"""A household's month from the chain alone, against sums made without the product."""

from collections.abc import Iterator

import pytest
from rich.console import Console

from contracts.transactions import packet_id
from contracts.units import Milliseconds
from node.cli.story_tables import average_price_text, show_month
from node.errors import NotFound
from node.replies.stories import StatementReply
from node.stories.statement import month_statement
from tests.support.contracts import FIRST_INTERVAL_MS, make_genesis, signed_reading, signed_trade
from tests.support.ledger import HOUR_MS, ChainBuilder
from tests.support.names import names_in
from tests.support.stories import GRID_FEE_MICRO_PER_KWH, StoryChain, told

DAY_MS = 24 * HOUR_MS
JULY_MS = FIRST_INTERVAL_MS + 30 * DAY_MS


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainBuilder]:
    """Three homes in June: the first and last hour of the month and one between; and the first hour of July."""
    community = make_genesis(grid_fee_micro_per_kwh=GRID_FEE_MICRO_PER_KWH)
    builder = ChainBuilder.create(tmp_path_factory.mktemp("month") / "ledger", community)
    hours = (FIRST_INTERVAL_MS, FIRST_INTERVAL_MS + 5 * DAY_MS, JULY_MS - HOUR_MS, JULY_MS)
    for counter, start in enumerate(hours):
        builder.append(
            [
                builder.transaction(member, signed_reading(community, member, net, interval_start_ms=start))
                for member, net in ((0, 500), (1, -300), (2, -50))
            ]
        )
        contract = signed_trade(
            community,
            0,
            1,
            100 * (counter + 1) if counter < 3 else 10,
            offer_counter=counter,
            packets=[packet_id(community.addresses[0], Milliseconds(start))],
            price_micro_per_kwh=200_000 - 10_000 * counter,
        )
        builder.append([builder.transaction(1, contract)])
    builder.append(slot=builder.ledger.tip_slot + 100)
    builder.append([builder.transaction(1, signed_trade(community, 0, 1, 1_000, offer_counter=50))])
    yield builder
    builder.ledger.close()


def statement(builder: ChainBuilder, member: str, name: str = "2016-06") -> StatementReply:
    return told(month_statement(builder.ledger, names_in(builder.ledger), member, name))


def test_the_buyers_month(month: ChainBuilder) -> None:
    reply = statement(month, "home2")
    assert [line.day for line in reply.days] == ["2016-06-01", "2016-06-06", "2016-06-30"]
    assert [line.bought_wh for line in reply.days] == [100, 200, 300]
    assert [line.imported_wh for line in reply.days] == [200, 100, 0]
    assert [line.paid_micro for line in reply.days] == [20_000, 38_000, 54_000]
    assert [line.fee_micro for line in reply.days] == [2_000, 4_000, 6_000]
    total = reply.total
    assert (total.deficit_wh, total.bought_wh, total.imported_wh, total.sold_wh) == (900, 600, 300, 0)
    assert (total.paid_micro, total.fee_micro, total.received_micro) == (112_000, 12_000, 0)
    assert total.saved_micro == 600 * 320 - 112_000 - 12_000
    assert total.gained_micro == 0
    assert (total.intervals, total.unsettled_wh) == (3, 0)
    assert reply.is_balanced
    assert total.score_start_millionths == 1_000_000
    assert total.score_end_millionths is not None
    assert total.score_end_millionths > 1_050_000


def test_the_sellers_month_mirrors_it(month: ChainBuilder) -> None:
    total = statement(month, "home1").total
    assert (total.surplus_wh, total.sold_wh, total.exported_wh) == (1_500, 600, 900)
    assert (total.received_micro, total.paid_micro, total.saved_micro) == (112_000, 0, 0)
    assert total.gained_micro == 112_000 - 600 * 80


def test_a_month_ends_where_the_next_begins(month: ChainBuilder) -> None:
    july = statement(month, "home2", "2016-07")
    assert [line.day for line in july.days] == ["2016-07-01"]
    assert (july.total.bought_wh, july.total.paid_micro) == (10, 1_700)


@pytest.mark.parametrize(("member", "name"), [("home4", "2016-06"), ("home2", "2016-05"), ("home2", "2016-08")])
def test_a_month_without_readings_has_no_statement(month: ChainBuilder, member: str, name: str) -> None:
    with pytest.raises(NotFound) as refused:
        statement(month, member, name)
    assert refused.value.reason == "nothing_metered"


def test_it_is_printed_for_people(month: ChainBuilder) -> None:
    console = Console(width=200, force_terminal=False)
    with console.capture() as captured:
        show_month(console, statement(month, "home2"))
    assert "2016-06-30" in captured.get()
    assert "they agree" in captured.get()
    assert average_price_text(112_000, 600) == "0.186667"
    assert average_price_text(0, 0) == "-"


def test_forward_trades_and_open_energy_are_counted(tmp_path) -> None:  # type: ignore[no-untyped-def]
    chain = StoryChain(tmp_path / "ledger")
    for member, traded in (("home2", 150), ("home1", 200)):
        reply = told(month_statement(chain.ledger, names_in(chain.ledger), member, "2016-06"))
        assert reply.is_balanced
        assert reply.total.bought_wh + reply.total.sold_wh == traded
    chain.ledger.close()
