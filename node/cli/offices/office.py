"""`p2pnode office`: the keys of the authority, of the issuer and of the grid account, which are no members."""

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from consensus.cryptography import SigningKey
from contracts.genesis import chain_id
from contracts.offices import office_addresses
from contracts.state import OfficeName
from contracts.transactions import ReplaceOfficeKey
from ledger.ledger import Ledger
from node.admission.identity import load_key
from node.admission.office_keys import (
    SUCCESSOR_SUFFIX,
    create_office_key,
    is_encrypted,
    make_successor,
    read_successor,
)
from node.admission.passphrase import create_passphrase_file
from node.cli.asking import Question, ask, ask_url
from node.cli.offices.sending import send_action
from node.cli.options import ConfigOption, GenesisOption, JsonOption, YesOption, confirm, passphrase_of
from node.cli.terminal import output_console
from node.errors import NodeError
from node.home.folder import Home
from node.home.genesis_file import load_genesis_file
from node.home.new_file import require_new_file, write_new_file
from node.replies.offices import OfficesReply
from node.stories.lists import offices_of
from node.stories.slices import Slices

OFFICE_HELP: Final = """\
Keys of the offices that no member holds: authority, issuer, grid.

The chain names an office by its first key for ever; which key acts for it
stands in the state. Its owner replaces it, step by step:

1. office key        make the next key; it agrees in a file .successor
2. office replace    the present key installs it
3. keep the next key as you kept the present one, which is worth nothing now"""
SHOW_EXAMPLE: Final = "Example: p2pnode office show --config testnet/node1/meter.toml"
KEY_EXAMPLE: Final = """\
Example: p2pnode office key issuer-2.key --office issuer --genesis genesis.json --key-file issuer-2.passphrase

Next: p2pnode office replace issuer-2.successor, where the present key is."""
REPLACE_EXAMPLE: Final = """\
Example: p2pnode office replace issuer-2.successor --key issuer.key --genesis genesis.json --url http://127.0.0.1:8000

Next: p2pnode office show; whoever uses the office's key uses the new one."""

ADDRESS_DIGITS: Final = 16

UrlOption = Annotated[str, typer.Option(help="API of a node of the chain, of anybody's.", show_default=False)]

office_app = typer.Typer(help=OFFICE_HELP, epilog=SHOW_EXAMPLE, no_args_is_help=True)


@office_app.command(epilog=SHOW_EXAMPLE)
def show(
    config: ConfigOption,
    as_json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Show the offices, and the keys that act for them."""

    def read(ledger: Ledger, _: Home) -> Slices[OfficesReply]:
        yield from ()
        return offices_of(ledger)

    reply = ask(config, Question(path="/v1/offices", model=OfficesReply, read=read))
    if as_json:
        typer.echo(reply.model_dump_json(indent=2))
        return
    table = Table()
    for heading in ("office", "address", "key", "since block"):
        table.add_column(heading, overflow="fold")
    for office in reply.offices:
        table.add_row(office.name, office.address[:ADDRESS_DIGITS], office.key, f"{office.first_height:,}")
    output_console().print(table)


@office_app.command(epilog=KEY_EXAMPLE)
def key(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The key to make.", show_default=False)],
    office: Annotated[OfficeName, typer.Option(help="What it is to act for.", show_default=False)],
    genesis: GenesisOption,
    key_file: Annotated[
        Path | None,
        typer.Option(
            help="A file with the key's passphrase; made with 32 random bytes if it is missing. Without, one is "
            "asked for.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make the next key of an office, and the file in which it agrees to act for it.

    The key never leaves this machine. The file beside it, .successor, is no
    secret: it goes to whoever replaces the office's key. For a key that is
    there already, only that file is made.
    """
    rules, agreement = load_genesis_file(genesis), path.with_suffix(SUCCESSOR_SUFFIX)
    require_new_file(agreement, option="FILE")
    is_new = not path.exists()
    if is_new:
        if key_file is not None and not (key_file.exists() or key_file.is_symlink()):
            create_passphrase_file(key_file)
        create_office_key(path, passphrase_of(key_file, is_new=True))
    made = _load(path, key_file)
    write_new_file(agreement, make_successor(chain_id(rules), office_addresses(rules)[office], made))
    typer.echo(f"{path}: key {made.public_key.hex()}{'' if is_new else ', which was there'}")
    typer.echo(f"{agreement}: it agrees to act for the {office.value}")


@office_app.command(epilog=REPLACE_EXAMPLE)
def replace(
    successor: Annotated[Path, typer.Argument(help="The next key's file .successor.", show_default=False)],
    present: Annotated[Path, typer.Option("--key", help="The office's present key.", show_default=False)],
    genesis: GenesisOption,
    url: UrlOption,
    key_file: Annotated[
        Path | None,
        typer.Option(
            help="A file with the present key's passphrase, mode 0600. Without, it is asked for if the key has one.",
            show_default=False,
        ),
    ] = None,
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Replace the key of an office, signed by its present one; for good: a key that was replaced never acts again."""
    rules = load_genesis_file(genesis)
    chain = chain_id(rules)
    following = read_successor(successor, chain)
    offices = {office.address: office for office in ask_url(url, "/v1/offices", OfficesReply).offices}
    office = offices.get(following.office.hex())
    if office is None:
        raise NodeError(f"{successor}: is for {following.office.hex()}, and the chain has no such office")
    if office.key == following.key.hex():
        typer.echo(f"This key acts for the {office.name} since block {office.first_height:,}.")
        return
    acting = _load(present, key_file)
    if office.key != acting.public_key.hex():
        raise NodeError(
            f"{present}: is not the present key of the {office.name}, which is {office.key}. Nothing was changed"
        )
    typer.echo(f"The {office.name} acts by {office.key};\nafter this by        {following.key.hex()}")
    confirm(f"Replace the key of the {office.name}? The present one is worth nothing afterwards.", yes=yes)
    reply = send_action(url, acting.of_member(following.office), chain, ReplaceOfficeKey(successor=following))
    typer.echo(f"Block {reply.height:,} replaced it: from the next block on the new key acts for the {office.name}.")


def _load(path: Path, key_file: Path | None) -> SigningKey:
    return load_key(path, passphrase=passphrase_of(key_file) if is_encrypted(path) else None)
