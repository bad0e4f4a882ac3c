"""`p2pnode names`: how this home calls the members, and what it tells others of its own name."""

import re
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from consensus.cryptography import address_of
from consensus.identifiers import Address, PublicKey
from ledger.ledger import Ledger
from node.admission.identity import load_key
from node.cli.asking import Question, ask
from node.cli.options import ConfigOption
from node.cli.terminal import output_console
from node.errors import AddressBookError
from node.home.configuration import load_configuration
from node.home.folder import Home
from node.home.json_record import json_of
from node.home.new_file import require_new_file, write_new_file
from node.names.address_book import AddressBook, change_book, load_book
from node.names.card import call, read_card, sign_card
from node.names.names import names_of_home
from node.replies.state import MembersReply
from node.stories.lists import members_of
from node.stories.slices import Slices

NAMES_HELP: Final = """\
The address book of this home: how it calls the members.

No name stands on the chain: it knows members by address, and so do logs,
metrics and receipts. Who wants to be known by name gives the others a card
(names share), and each of them takes it (names add)."""

LIST_EXAMPLE: Final = "Example: p2pnode names list --config my-home/meter.toml"
SET_EXAMPLE: Final = """\
Example: p2pnode names set 7cb06d2f...(64 digits) "The Millers" --contact "0221 4710815" --config my-home/meter.toml"""
REMOVE_EXAMPLE: Final = 'Example: p2pnode names remove "The Millers" --config my-home/meter.toml'
SHARE_EXAMPLE: Final = """\
Example: p2pnode names share --output ours.card --config my-home/meter.toml

Next: give ours.card to whom you want to be known by name: p2pnode names add ours.card"""
ADD_EXAMPLE: Final = "Example: p2pnode names add millers.card --config my-home/meter.toml"

ADDRESS: Final = re.compile("[0-9a-f]{64}")

WhoArgument = Annotated[str, typer.Argument(help="Its address, 64 digits, or its name in this book.")]
ContactOption = Annotated[str, typer.Option(help="How to reach people there, in words.", show_default=False)]

names_app = typer.Typer(no_args_is_help=True, help=NAMES_HELP)


@names_app.command("list", epilog=LIST_EXAMPLE)
def list_command(config: ConfigOption) -> None:
    """Show the address book."""
    book = load_book(load_configuration(config).home.address_book)
    table = Table(title="Address book", title_justify="left")
    for heading in ("name", "contact", "address"):
        table.add_column(heading, overflow="fold")
    for entry in sorted(book.entries, key=lambda one: one.called.name):
        table.add_row(entry.called.name, entry.called.contact, entry.address.hex())
    output_console().print(table)


@names_app.command("set", epilog=SET_EXAMPLE)
def set_command(
    who: WhoArgument,
    name: Annotated[str, typer.Argument(help="What this home calls it from now on.")],
    config: ConfigOption,
    contact: ContactOption = "",
) -> None:
    """Call a member by a name, in this home alone; who runs its node sees it at once."""
    called = call(name, contact)

    def change(book: AddressBook) -> AddressBook:
        return book.with_entry(_meant(book, who), called)

    change_book(load_configuration(config).home.address_book, change)
    typer.echo(f"{name}: this home calls it so")


@names_app.command(epilog=REMOVE_EXAMPLE)
def remove(who: WhoArgument, config: ConfigOption) -> None:
    """Take a name and its contact out of the address book: the member is shown by its address again."""

    def change(book: AddressBook) -> AddressBook:
        address = _meant(book, who)
        if address not in [entry.address for entry in book.entries]:
            raise AddressBookError(f"{who}: is not in this address book. Nothing was changed")
        return book.without(address)

    change_book(load_configuration(config).home.address_book, change)
    typer.echo(f"{who}: removed")


@names_app.command(epilog=SHARE_EXAMPLE)
def share(
    config: ConfigOption,
    output: Annotated[Path, typer.Option(help="Where the card goes.", show_default=False)],
    contact: ContactOption = "",
) -> None:
    """Make a card: this home's name ([node] name), signed with its key, for those whom you give it.

    Who has it can call this home so, and show the card to others.
    """
    require_new_file(output, option="--output")
    configuration = load_configuration(config)
    card = sign_card(load_key(configuration.home.node_key), call(configuration.node.name, contact))
    write_new_file(output, json_of(card))
    typer.echo(f"{output}: the card of {card.called.name}. Whom you give it can call this home so")


@names_app.command(epilog=ADD_EXAMPLE)
def add(
    files: Annotated[list[Path], typer.Argument(help="Cards of homes.", show_default=False)], config: ConfigOption
) -> None:
    """Take the names on cards into the address book; all of them or, if one is refused, none."""
    home = load_configuration(config).home
    cards = [read_card(path) for path in files]
    given = [(_whose(config, home, card.node_key), card.called) for card in cards]

    def change(book: AddressBook) -> AddressBook:
        for address, called in given:
            book = book.with_entry(address, called)
        return book

    change_book(home.address_book, change)
    for address, called in given:
        typer.echo(f"{called.name}: {address.hex()}")


def _meant(book: AddressBook, who: str) -> Address:
    """Returns whom a person means: by an address, or by a name in the book."""
    if ADDRESS.fullmatch(who) is not None:
        return Address(bytes.fromhex(who))
    named = next((entry.address for entry in book.entries if entry.called.name == who), None)
    if named is None:
        raise AddressBookError(f"{who[:64]!r}: is no address of 64 digits, and nobody is called so in this book")
    return named


def _whose(config: Path, home: Home, key: PublicKey) -> Address:
    """Returns the address of whom the chain knows by a key; before this home knows a chain, the key's own."""
    if not Ledger.exists(home.ledger):
        return address_of(key)

    def read(ledger: Ledger, home: Home) -> Slices[MembersReply]:
        yield from ()
        return members_of(ledger, names_of_home(home))

    members = ask(config, Question(path="/v1/members", model=MembersReply, read=read)).members
    known = next((member.address for member in members if member.node_key == key.hex()), None)
    return address_of(key) if known is None else Address(bytes.fromhex(known))
