"""`p2pnode statement`: a household's month, from the chain alone."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

import typer

from ledger.ledger import Ledger
from node.cli.asking import Question, ask
from node.cli.options import ConfigOption, JsonOption
from node.cli.story_tables import NOTHING, average_price_text, show_month
from node.cli.terminal import output_console
from node.client import path_of
from node.errors import NodeError
from node.home.folder import Home
from node.home.new_file import require_new_file, write_new_file
from node.names.names import names_of_home
from node.replies.stories import StatementLine, StatementReply
from node.stories.member_names import require_member_text
from node.stories.slices import Slices
from node.stories.statement import MONTH, month_statement
from node.stories.words import score_text, tokens_text

STATEMENT_EXAMPLE: Final = (
    "Example: p2pnode statement node1 --month 2016-08 --config testnet/node1/meter.toml --csv august.csv"
)

MONTH_TEXT_SHOWN: Final = 64
"""Characters of what is no month: enough to see the mistake."""


statement_app = typer.Typer()


@statement_app.command(epilog=STATEMENT_EXAMPLE)
def statement(
    member: Annotated[
        str, typer.Argument(metavar="METER", help="Name or address; the address' first 8 or more digits do.")
    ],
    month: Annotated[str, typer.Option(help="Month of meter time, such as 2016-08.", show_default=False)],
    config: ConfigOption,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Also make a CSV file of it, a row per day.", show_default=False)
    ] = None,
    as_json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Show what a household bought, sold, imported and exported in a month, what it paid, saved and gained.

    Everything is read from the chain: any member's node gives the same statement.
    """
    require_member_text(member)
    if not MONTH.fullmatch(month):
        raise NodeError(f"{month[:MONTH_TEXT_SHOWN]!r} is no month from 1970-01 to 2999-12: write it as 2016-08")
    if csv_file is not None:
        require_new_file(csv_file, option="--csv")

    def read(ledger: Ledger, home: Home) -> Slices[StatementReply]:
        return (yield from month_statement(ledger, names_of_home(home), member, month))

    path = path_of(f"/v1/statements/{quote(member, safe='')}", month=month)
    reply = ask(config, Question(path=path, model=StatementReply, read=read))
    if csv_file is not None:
        write_new_file(csv_file, _csv_text(reply).encode("utf-8"))
    if as_json:
        typer.echo(reply.model_dump_json(indent=2))
    else:
        show_month(output_console(), reply)
    if not reply.is_balanced:
        raise NodeError("meter records and trades do not agree")


def _csv_text(reply: StatementReply) -> str:
    rows = [dict(_csv_row(line)) for line in (*reply.days, reply.total)]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _csv_row(line: StatementLine) -> Iterator[tuple[str, str | int]]:
    """Yields the columns of a line: energy in Wh, money in tokens without thousands separators."""
    yield "day", line.day
    for name in StatementLine.model_fields:
        if name.endswith("_wh") or name == "intervals":
            yield name, getattr(line, name)
        elif name.endswith("_micro"):
            yield f"{name.removesuffix('_micro')}_tokens", _number(tokens_text(getattr(line, name)))
        elif name.endswith("_millionths"):
            value = getattr(line, name)
            yield name.removesuffix("_millionths"), "" if value is None else score_text(value)
    yield "paid_tokens_per_kwh", _number(average_price_text(line.paid_micro, line.bought_wh))
    yield "received_tokens_per_kwh", _number(average_price_text(line.received_micro, line.sold_wh))


def _number(text: str) -> str:
    return "" if text == NOTHING else re.sub(",", "", text)
