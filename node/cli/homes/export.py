"""`p2pnode export-data`: all that this home has about the household that lives there, in one archive."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final
from zipfile import ZIP_DEFLATED, ZipFile

import typer
from pydantic import BaseModel

from consensus.identifiers import Address, Height
from ledger.ledger import Ledger
from node.admission.identity import load_key
from node.cli.asking import Question, ask
from node.cli.homes.names import owner_of
from node.cli.options import ConfigOption
from node.client import path_of
from node.errors import NodeError, NotFound
from node.home.configuration import load_configuration
from node.home.folder import Home
from node.home.json_record import json_of
from node.home.new_file import require_new_file
from node.names.address_book import AddressBook, load_book
from node.names.names import names_of_home
from node.replies.parameters import (
    OWN_TRANSACTIONS_PER_PAGE_MAX,
    TRADES_PER_PAGE_MAX,
    VERSIONS_PER_PAGE_MAX,
    OwnTransactionsParameters,
    TradesParameters,
)
from node.replies.state import OwnTransactionsReply, TradesReply
from node.replies.stories import ScoreHistoryReply
from node.stories.lists import trade_list
from node.stories.own_transactions import own_transactions
from node.stories.score_history import score_history
from node.stories.slices import Slices

EXPORT_EXAMPLE: Final = "Example: p2pnode export-data --config my-home/meter.toml --output our-data.zip"

README: Final = """\
What this home has about the household with the address
{address}

address-book.json   how this home calls itself, and how to reach it
transactions.jsonl  what it signed and what names it, decided, with the receipts: readings, trades, transfers, ...
trades.jsonl        its contracts that executed, as they stand now
scores.jsonl        the versions of its score, and what moved it
files/              the home's own files: settings, the meter's rows, and what it showed those who verified it

One line of the .jsonl files is one JSON object; amounts are micro-tokens, energy is in Wh, times in ms since 1970.
Keys and the meter's salts are not in here: who has them acts in the household's name, or opens its readings.
What stands on the chain, where else there is data about the household, and for how long: docs/data-protection.md.
"""

ARCHIVE_MODE: Final = 0o600


export_data_app = typer.Typer()


@export_data_app.command(epilog=EXPORT_EXAMPLE)
def export_data(
    config: ConfigOption,
    output: Annotated[Path, typer.Option(help="The archive (ZIP) to make.", show_default=False)],
) -> None:
    """Write all that this home has about its own household into one archive: for yourself, or to take elsewhere.

    Nothing about neighbours is in it but what your contracts with them say.
    """
    require_new_file(output, option="--output")
    home = load_configuration(config).home
    if not Ledger.exists(home.ledger):
        raise NodeError(f"{home.ledger}: is not there: this home has followed no chain yet")
    address = owner_of(config, home, load_key(home.node_key).public_key)
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, ARCHIVE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:
            _fill(archive, config, home, address)
    except BaseException:
        output.unlink(missing_ok=True)
        raise
    typer.echo(f"{output}: what this home has about {address.hex()}")


def _fill(archive: ZipFile, config: Path, home: Home, address: Address) -> None:
    archive.writestr("README.txt", README.format(address=address.hex()))
    own = [entry for entry in load_book(home.address_book).entries if entry.address == address]
    archive.writestr("address-book.json", json_of(AddressBook(entries=tuple(own))))
    for name, rows in (
        ("transactions.jsonl", _transactions(config, address)),
        ("trades.jsonl", _trades(config, address)),
        ("scores.jsonl", _scores(config, address)),
    ):
        with archive.open(name, "w") as lines:
            for row in rows:
                lines.write(row.model_dump_json(by_alias=True).encode() + b"\n")
    for path in (home.configuration, home.readings, home.request, home.join_request, home.join_identity):
        if path.exists():
            archive.write(path, f"files/{path.name}")


def _transactions(config: Path, address: Address) -> Iterator[BaseModel]:
    after: str | None = None
    while True:
        parameters = OwnTransactionsParameters(
            address=address.hex(), limit=OWN_TRANSACTIONS_PER_PAGE_MAX, after=after
        )

        def read(
            ledger: Ledger, _: Home, parameters: OwnTransactionsParameters = parameters
        ) -> Slices[OwnTransactionsReply]:
            return (yield from own_transactions(ledger, parameters))

        path = path_of(f"/v1/accounts/{address.hex()}/transactions", limit=parameters.limit, after=after)
        page = ask(config, Question(path=path, model=OwnTransactionsReply, read=read))
        if after is None and page.first_height > 1:
            typer.echo(
                f"Told from block {page.first_height:,} on: what lies below is not at this home. A member that has "
                "the whole chain can tell it",
                err=True,
            )
        yield from page.transactions
        after = page.next_after
        if after is None:
            return


def _trades(config: Path, address: Address) -> Iterator[BaseModel]:
    after: str | None = None
    while True:
        parameters = TradesParameters(limit=TRADES_PER_PAGE_MAX, after=after)

        def read(ledger: Ledger, _: Home, parameters: TradesParameters = parameters) -> Slices[TradesReply]:
            return (yield from trade_list(ledger, parameters))

        path = path_of("/v1/trades", limit=parameters.limit, after=after)
        page = ask(config, Question(path=path, model=TradesReply, read=read))
        yield from (trade for trade in page.trades if address.hex() in {trade.seller, trade.buyer})
        after = page.next_after
        if after is None:
            return


def _scores(config: Path, address: Address) -> Iterator[BaseModel]:
    """Yields the versions of a score; none of who is no member any more, or not yet."""
    after: int | None = None
    while True:

        def read(ledger: Ledger, home: Home, after: int | None = after) -> Slices[ScoreHistoryReply]:
            names, member = names_of_home(home), address.hex()
            above = None if after is None else Height(after)
            return (yield from score_history(ledger, names, member, after=above, versions_max=VERSIONS_PER_PAGE_MAX))

        path = path_of(f"/v1/scores/{address.hex()}/history", limit=VERSIONS_PER_PAGE_MAX, after=after)
        try:
            page = ask(config, Question(path=path, model=ScoreHistoryReply, read=read))
        except NotFound:
            return
        yield from page.versions
        after = page.next_after
        if after is None:
            return
