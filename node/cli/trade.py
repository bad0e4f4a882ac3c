"""`p2pnode trade`: the story of a contract, from a running node or from the ledger of a stopped one."""

from typing import Annotated, Final
from urllib.parse import quote

import typer

from ledger.ledger import Ledger
from node.cli.asking import Question, ask
from node.cli.options import ConfigOption, JsonOption
from node.cli.story_tables import show_story, show_trades
from node.cli.terminal import output_console
from node.client import path_of
from node.home.configuration import load_configuration
from node.home.folder import Home
from node.names.names import names_of_home
from node.replies.parameters import TRADES_PER_PAGE_MAX, TradesParameters
from node.replies.state import TradesReply
from node.replies.stories import TradeStoryReply
from node.stories.lists import trade_list
from node.stories.member_names import require_id
from node.stories.slices import Slices
from node.stories.trade_story import trade_story

SHOW_EXAMPLE: Final = "Example: p2pnode trade show 3f2a9c41d07be865 --config testnet/node1/meter.toml"
LIST_EXAMPLE: Final = "Example: p2pnode trade list --config testnet/node1/meter.toml --limit 10"

trade_app = typer.Typer(
    name="trade", no_args_is_help=True, help="What became of a contract, and what proves it.", epilog=SHOW_EXAMPLE
)


@trade_app.command(epilog=SHOW_EXAMPLE)
def show(
    name: Annotated[
        str,
        typer.Argument(metavar="ID", help="Trade id, or one of its transactions; the first 8 or more digits do."),
    ],
    config: ConfigOption,
    as_json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Tell a contract's story: who, what, when, price, conditions with values, scores, leader, validators, proof.

    Contracts that were declined are told too.
    """
    require_id(name)

    def read(ledger: Ledger, home: Home) -> Slices[TradeStoryReply]:
        return (yield from trade_story(ledger, names_of_home(home), name))

    story = ask(config, Question(path=f"/v1/trades/{quote(name, safe='')}", model=TradeStoryReply, read=read))
    if as_json:
        typer.echo(story.model_dump_json(indent=2))
    else:
        show_story(output_console(), story)


@trade_app.command("list", epilog=LIST_EXAMPLE)
def list_command(
    config: ConfigOption,
    limit: Annotated[int, typer.Option(min=1, max=TRADES_PER_PAGE_MAX, help="How many.")] = 20,
    as_json: JsonOption = False,  # noqa: FBT002
) -> None:
    """List the newest contracts that executed."""

    def read(ledger: Ledger, _: Home) -> Slices[TradesReply]:
        return (yield from trade_list(ledger, TradesParameters(limit=limit, order="newest")))

    path = path_of("/v1/trades", limit=limit, order="newest")
    reply = ask(config, Question(path=path, model=TradesReply, read=read))
    if as_json:
        typer.echo(reply.model_dump_json(indent=2))
        return
    show_trades(output_console(), reply, names_of_home(load_configuration(config).home))
