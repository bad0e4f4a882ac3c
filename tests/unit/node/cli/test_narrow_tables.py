"""Tables on a terminal of 80 columns: whatever is long, no id, day, address or amount is cut off."""

import pytest
from rich.console import Console
from typer.testing import CliRunner

from consensus.identifiers import Address
from contracts.state import TradeStatus
from node.cli.main import app
from node.cli.story_tables import LISTED_DIGITS, show_month, show_trades
from node.meter.readings_file import COLUMNS as READINGS_COLUMNS
from node.names.address_book import AddressBook
from node.names.card import call
from node.names.names import Names
from node.replies.node import MeterStatus, StatusReply
from node.replies.state import TradeModel, TradesReply
from node.replies.stories import NamedMember, StatementLine, StatementReply
from node.testnet.folder import TestnetNode
from node.testnet.tables import show_status
from tests.support.contracts import make_genesis

GENESIS = make_genesis(4).genesis
WIDTH = 80
ADDRESS = "4f" * 32


@pytest.fixture
def console() -> Console:
    return Console(width=WIDTH, highlight=False, markup=False, emoji=False, force_terminal=False)


def words_of(printed: str) -> set[str]:
    assert max(len(line) for line in printed.splitlines() if "  " in line) <= WIDTH
    return set(printed.split())


def test_a_month_of_a_large_household_shows_every_figure(console: Console) -> None:
    energies = {name: 1_234_567 + at for at, name in enumerate(StatementLine.model_fields) if name.endswith("_wh")}
    amounts = {
        name: 1_234_567_891 + at for at, name in enumerate(StatementLine.model_fields) if name.endswith("_micro")
    }
    scores = {"score_start_millionths": 1_000_000, "score_end_millionths": 1_146_275}
    days = [
        StatementLine.model_validate({"day": day, "intervals": 24, **energies, **amounts, **scores})
        for day in ("2016-08-24", "2016-08")
    ]
    statement = StatementReply(
        member=NamedMember(address=ADDRESS, name="node1"),
        month="2016-08",
        height=1,
        retail_micro_per_kwh=300_000,
        feed_in_micro_per_kwh=80_000,
        days=days[:1],
        total=days[1],
        is_balanced=True,
    )
    with console.capture() as captured:
        show_month(console, statement)
    hidden = {"surplus_wh", "deficit_wh", "replaced_wh", "unused_wh"}
    shown = {f"{energy_wh:,}" for name, energy_wh in energies.items() if name not in hidden}
    shown |= {f"{micro // 1_000_000:,}.{micro % 1_000_000:06d}" for micro in amounts.values()}
    assert shown | {"2016-08-24", "2016-08", "1.000000", "1.146275"} <= words_of(captured.get())


def test_a_list_of_trades_shows_ids_that_commands_take(console: Console) -> None:
    hashes = dict.fromkeys(("trade", "seller", "buyer", "transaction"), ADDRESS)
    numbers = dict.fromkeys(TradeModel.model_fields, 0) | {"energy_wh": 20_000, "amount_micro": 1_234_567_891}
    status = {"status": TradeStatus.PENDING.value, "kind": "forward", "quality_total": None}
    trade = TradeModel.model_validate(numbers | hashes | status | {"interval_start_ms": 1_464_739_200_000})
    book = AddressBook().with_entry(Address(bytes.fromhex(ADDRESS)), call("a household's long name"))
    with console.capture() as captured:
        show_trades(console, TradesReply(first_height=1, trades=[trade], next_after=None), Names(GENESIS, book))
    assert {ADDRESS[:LISTED_DIGITS], "2016-06-01", "1,234.567891", "20,000"} <= words_of(captured.get())


def test_the_status_of_a_testnet_shows_addresses_that_can_be_opened(console: Console) -> None:
    node = TestnetNode(
        name="node256",
        address=ADDRESS,
        household="home256",
        p2p_host="127.0.0.1",
        p2p_port=65_000,
        api_host="127.0.0.1",
        api_port=65_001,
    )
    meter = MeterStatus.model_construct(intervals_total=1_344, intervals_settled=999)
    status = StatusReply.model_construct(
        height=1_234_567,
        slot=12_345_678,
        phase="waiting_for_quorum",
        peers_connected=255,
        members=256,
        meter=meter,
        state_root=ADDRESS,
    )
    with console.capture() as captured:
        show_status(console, [(node, 4_194_303, status), (node, 4_194_304, None), (node, None, None)])
    printed = captured.get()
    assert {"http://127.0.0.1:65001", "4194303", "1,234,567", "12,345,678", "waiting_for_quorum"} <= words_of(printed)
    for words in ("255 of 255", "999 of 1,344", "does not answer", "stopped"):
        assert words in printed
    assert "left" not in words_of(printed)
    with console.capture() as captured:
        show_status(console, [(node, 4_194_303, status), (node, None, None)], ["node256"])
    printed = captured.get()
    assert "255 of 256" in printed, "it is none of the members"
    assert printed.split().count("left") == 2


@pytest.mark.parametrize("command", ["run", "init"])
def test_help_names_the_columns_of_readings(command: str) -> None:
    printed = CliRunner().invoke(app, ["testnet", command, "--help"], terminal_width=WIDTH).output
    assert all(column in printed for column in READINGS_COLUMNS)
