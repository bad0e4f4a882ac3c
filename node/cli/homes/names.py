"""`p2pnode names`: how this home calls the members, and what it tells others of its own name."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from consensus.cryptography import address_of
from consensus.identifiers import Address, PublicKey
from ledger.ledger import Ledger
from node.admission.identity import load_key
from node.cli.asking import Question, ask
from node.cli.options import ConfigOption, YesOption, confirm
from node.cli.terminal import output_console
from node.errors import AddressBookError
from node.home.configuration import load_configuration
from node.home.folder import Home
from node.home.json_record import json_of
from node.home.new_file import require_new_file, write_new_file
from node.names.address_book import AddressBook, Forgotten, change_book, load_book, with_all
from node.names.card import Forget, call, read_card, read_forget, sign_card, sign_forget
from node.names.names import names_of_home
from node.replies.state import MemberChangesReply, MembersReply
from node.stories.member_changes import changes_of
from node.stories.members import members_of
from node.stories.slices import Slices

NAMES_HELP: Final = """\
The address book of this home: how it calls the members.

No name stands on the chain: it knows members by address, and so do logs,
metrics and receipts. Who wants to be known by name gives the others a card
(names share), and each of them takes it (names add). Who left asks them to
forget it (names forget)."""

LIST_EXAMPLE: Final = "Example: p2pnode names list --config my-home/meter.toml"
SET_EXAMPLE: Final = """\
Example: p2pnode names set ADDRESS "The Millers" --contact "0221 4710815" --config my-home/meter.toml"""
REMOVE_EXAMPLE: Final = 'Example: p2pnode names remove "The Millers" --config my-home/meter.toml'
SHARE_EXAMPLE: Final = """\
Example: p2pnode names share --output ours.card --config my-home/meter.toml

Next: give ours.card to whom you want to be known by name: p2pnode names add ours.card"""
ADD_EXAMPLE: Final = "Example: p2pnode names add millers.card --config my-home/meter.toml"
FORGET_EXAMPLE: Final = "Example: p2pnode names forget --output ours.forget --config my-home/meter.toml"
OBEY_EXAMPLE: Final = "Example: p2pnode names obey theirs.forget --config my-home/meter.toml"

ADDRESS: Final = re.compile("[0-9a-f]{64}")

WhoArgument = Annotated[str, typer.Argument(help="Its address, 64 digits, or its name in this book.")]
ContactOption = Annotated[str, typer.Option(help="How to reach people there, in words.", show_default=False)]

ForgetOption = Annotated[
    Path, typer.Option("--output", help="Where it goes, for those whom no link reaches.", show_default=False)
]

names_app = typer.Typer(name="names", no_args_is_help=True, help=NAMES_HELP)


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
    """Make a card: this home's name, as meter.toml has it, signed with its key, for those whom you give it.

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
    given = [(owner_of(config, home, card.node_key), card.called) for card in cards]
    change_book(home.address_book, lambda book: with_all(book, given))
    for address, called in given:
        typer.echo(f"{called.name}: {address.hex()}")


@names_app.command(epilog=FORGET_EXAMPLE)
def forget(config: ConfigOption, output: ForgetOption, yes: YesOption = False) -> None:  # noqa: FBT002
    """Ask all homes to forget the name and the contact of this one: for whoever leaves, once and for good.

    The node of this home tells those that it has a link to, and they tell the
    others. What stands on the chain stays: it never had a name.
    """
    require_new_file(output, option="--output")
    home = load_configuration(config).home
    key = load_key(home.node_key)
    confirm("No home that obeys will call this one by a name any more, for good. Be forgotten?", yes=yes)
    said = sign_forget(key)
    _obey(config, home, said)
    write_new_file(output, json_of(said))
    typer.echo(
        f"{output}: signed. This home's node tells the others while it has links; a member takes it from the file, "
        "too: p2pnode names obey"
    )


@names_app.command(epilog=OBEY_EXAMPLE)
def obey(
    file: Annotated[Path, typer.Argument(help="What the home that left signed.", show_default=False)],
    config: ConfigOption,
) -> None:
    """Forget the name and the contact of a home that left and says so; this home's node tells the others."""
    home = load_configuration(config).home
    address = _obey(config, home, read_forget(file))
    typer.echo(f"{address.hex()}: forgotten")


def _obey(config: Path, home: Home, said: Forget) -> Address:
    one = Forgotten(address=owner_of(config, home, said.node_key), forget=said)
    change_book(home.address_book, lambda book: book.forgetting(one))
    return one.address


def _meant(book: AddressBook, who: str) -> Address:
    """Returns whom a person means: by an address, or by a name in the book."""
    if ADDRESS.fullmatch(who) is not None:
        return Address(bytes.fromhex(who))
    named = next((entry.address for entry in book.entries if entry.called.name == who), None)
    if named is None:
        raise AddressBookError(f"{who[:64]!r}: is no address of 64 digits, and nobody is called so in this book")
    return named


def owner_of(config: Path, home: Home, key: PublicKey) -> Address:
    """Returns the address of whom the chain knows by a key; of who is no member yet, the key's own.

    Raises:
        AddressBookError: it is a member's earlier key, which others may have found.
    """
    if not Ledger.exists(home.ledger):
        return address_of(key)

    def read(ledger: Ledger, home: Home) -> Slices[MembersReply]:
        yield from ()
        return members_of(ledger, names_of_home(home))

    def read_changes(ledger: Ledger, home: Home) -> Slices[MemberChangesReply]:
        yield from ()
        return changes_of(ledger, names_of_home(home))

    members = ask(config, Question(path="/v1/members", model=MembersReply, read=read)).members
    left = ask(config, Question(path="/v1/members/changes", model=MemberChangesReply, read=read_changes)).left
    present = {one.node_key: one.address for one in members}
    return owner_among(present | {one.node_key: one.address for one in left}, key)


def owner_among(keys: Mapping[str, str], key: PublicKey) -> Address:
    """Returns whose key it is; of who is no member yet, its own address.

    Args:
        keys: addresses of members, and of who left, by the node keys that they have or had last, all in hexadecimal.
        key: in question.

    Raises:
        AddressBookError: it is a member's earlier key, which others may have found.
    """
    address = keys.get(key.hex(), address_of(key).hex())
    if key.hex() not in keys and address in keys.values():
        raise AddressBookError(f"{address[:16]} has another key by now: this one counts no more. Nothing was changed")
    return Address(bytes.fromhex(address))
