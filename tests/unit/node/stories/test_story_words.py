"""Words for whatever a chain may hold: numbers that no calendar has, names that look like markup."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.identifiers import Address
from contracts.state import TradeStatus
from node.cli.story_tables import show_trades
from node.cli.terminal import output_console
from node.names.address_book import AddressBook
from node.names.card import call
from node.names.names import Names
from node.replies.state import TradeModel, TradesReply
from node.stories.words import day_text, hour_text, moment_text
from tests.support.contracts import make_genesis

GENESIS = make_genesis(4).genesis
LAST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""


def trade_of(interval_start_ms: int) -> TradeModel:
    hashes = dict.fromkeys(("trade", "seller", "buyer", "transaction"), "00" * 32)
    numbers = dict.fromkeys(TradeModel.model_fields, 0)
    fields = numbers | hashes | {"status": TradeStatus.PENDING.value, "kind": "forward", "quality_total": None}
    return TradeModel.model_validate(fields | {"interval_start_ms": interval_start_ms})


def test_moments_are_told_in_utc() -> None:
    assert hour_text(1_464_739_200_000) == "2016-06-01 00:00 UTC"
    assert moment_text(1_464_739_201_999) == "2016-06-01 00:00:01 UTC"
    assert (day_text(0), day_text(1_464_825_599_999)) == ("1970-01-01", "2016-06-01")
    assert moment_text(LAST_MS) == "9999-12-31 23:59:59 UTC"


@pytest.mark.parametrize("beyond", [LAST_MS + 1, 2**63 - 1, 2**64, 10**40])
def test_what_no_calendar_has_is_told_as_its_number(beyond: int) -> None:
    for told in (hour_text, moment_text, day_text):
        assert told(beyond) == f"{beyond} ms since 1970 (beyond the year 9999)"


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_every_number_of_milliseconds_is_told(milliseconds: int) -> None:
    assert hour_text(milliseconds)
    assert moment_text(milliseconds)
    assert day_text(milliseconds)


def test_a_list_with_an_hour_beyond_the_calendar_and_a_name_like_markup_is_printed() -> None:
    console = output_console()
    book = AddressBook().with_entry(Address(bytes(32)), call("[red]:bomb:"))
    reply = TradesReply(first_height=1, trades=[trade_of(0), trade_of(2**63 - 808)], next_after=None)
    with console.capture() as captured:
        show_trades(console, reply, Names(GENESIS, book))
    assert "1970-01-01 00:00" in captured.get()
    assert "9223372036854775000 ms since 1970" in captured.get()
    assert captured.get().count("[red]:bomb:") == 4
