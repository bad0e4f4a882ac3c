"""`p2pnode home`: a new home for a member whose old one is lost, and the request for its certificate."""

import shutil
from pathlib import Path
from typing import Annotated, Final

import typer

from consensus.codec import encode
from consensus.cryptography import address_of
from consensus.events import fresh_sign_state
from consensus.identifiers import FIRST_HEIGHT, Address
from contracts.genesis import Genesis
from node.admission.endpoint import Endpoint, endpoint_of
from node.admission.identity import create_key, load_chain
from node.admission.new_home import made_whole
from node.admission.request import make_request
from node.cli.homes.place import ANY_HOST, place_of
from node.errors import NodeError
from node.home.configuration import ApiTable, Configuration, NodeTable, PeerEntry, PeerToPeerTable, load_configuration
from node.home.configuration_text import render_configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis, write_genesis
from node.home.hosts import PORT_MAX
from node.home.sign_state import SignStateFile
from node.names.address_book import change_book
from node.names.card import call
from node.names.names import label_of, names_of_home

HOME_HELP: Final = """\
Make a new home for a member whose old one is lost for good.

Its node key is born there and never leaves it; the ceremony
(`p2pnode recover --help`) puts it in the old one's place. In this order:

\b
1. home new      at the new home: keys, meter.toml, a request (node.csr)
2. ca issue      where the authority is: the certificate (node.crt)
3. recover export at every home that is left
4. recover plan  with --replaced NAME=node.crt: all others learn from the
                 plan where the new home is
5. recover join  at every home that exported, not at the new one
6. recover apply at every home, the new one too; start them"""

HOME_EXAMPLE: Final = "Begin with: p2pnode home new --help"
NEW_EXAMPLE: Final = """\
Example: p2pnode home new node4-new --like node1/meter.toml --member node4 --host 127.0.0.1 --port 27004 \
--api-port 28004

Next: `ca issue` with node4-new/node.csr."""
LikeOption = Annotated[
    Path,
    typer.Option(
        help="meter.toml of any member's home, or of a copy of its public files: meter.toml, genesis.msgpack, "
        "ca.crt, node.crt. Nothing else is read there, but for address-book.json if --member is a name.",
        show_default=False,
    ),
]

home_app = typer.Typer(name="home", help=HOME_HELP, epilog=HOME_EXAMPLE, no_args_is_help=True)


@home_app.command("new", epilog=NEW_EXAMPLE)
def new_home(
    directory: Annotated[Path, typer.Argument(help="The new home's folder; must not exist.", show_default=False)],
    like: LikeOption,
    member: Annotated[
        str, typer.Option(help="Name or address of the member whose home it becomes.", show_default=False)
    ],
    host: Annotated[str, typer.Option(help="Where the others reach it: a name or an address.", show_default=False)],
    port: Annotated[int, typer.Option(help="Its port for the others.", min=1, max=PORT_MAX, show_default=False)],
    api_port: Annotated[
        int, typer.Option(help="Port of its API, on loopback.", min=1, max=PORT_MAX, show_default=False)
    ],
    listen: Annotated[
        str | None, typer.Option(help="Address to listen on, where that is another than --host.")
    ] = None,
) -> None:
    """Make the folder of a new home: its keys, its meter.toml, and a request for its certificate.

    The home validates and measures nothing: the chain takes readings under
    the meter key that the member had before.
    """
    endpoint = place_of(host, listen, port=port, api_port=api_port)
    pattern = load_configuration(like)
    genesis = load_genesis(pattern.home)
    address = _member(pattern.home, genesis, member)
    peers, label = _peers(pattern, genesis, address), names_of_home(pattern.home).of(address)
    configuration = Configuration(
        node=NodeTable(name=label),
        p2p=PeerToPeerTable(host=listen or host, port=port, peers=peers),
        api=ApiTable(port=api_port),
    )
    with made_whole(directory) as home:
        create_key(home.node_key)
        create_key(home.meter_key)
        write_genesis(home, genesis)
        shutil.copyfile(pattern.home.authority_certificate, home.authority_certificate)
        home.configuration.write_text(render_configuration(configuration), encoding="utf-8")
        home.request.write_bytes(make_request(label, home.node_key, endpoint))
        if label != label_of(address):
            own = call(label)
            change_book(home.address_book, lambda book: book.with_entry(address, own))
        SignStateFile.create(home.sign_state, encode(fresh_sign_state(FIRST_HEIGHT)))
    typer.echo(
        f"{directory}: a new home for {label} at {endpoint}. Bring {home.request} to the authority "
        "(p2pnode ca issue), and its answer back as node.crt"
    )


def _member(home: Home, genesis: Genesis, text: str) -> Address:
    """Returns the member that a person means: by its name in a home's address book, or by its address."""
    members = [address_of(one.node_key) for one in genesis.members]
    meant = [*names_of_home(home).called(text), *(one for one in members if one.hex() == text)]
    if not meant or meant[0] not in members:
        raise NodeError(
            f"--member {text}: no member has this name in {home.address_book}, or this address; there are "
            f"{', '.join(one.hex() for one in members)}"
        )
    return meant[0]


def _peers(pattern: Configuration, genesis: Genesis, member: Address) -> tuple[PeerEntry, ...]:
    """Returns the other members as a member's configuration has them, that member among them."""
    addresses = [address_of(one.node_key).hex() for one in genesis.members]
    known = {peer.address: peer for peer in pattern.p2p.peers}
    (own, *more) = [address for address in addresses if address not in known]
    if more:
        missing = f"{more[0]} or {own} is missing"
        raise NodeError(f"{pattern.home.configuration}: [p2p] peers: {missing}")
    host, port = _reached(pattern)
    known[own] = PeerEntry(address=own, host=host, port=port)
    return tuple(known[address] for address in addresses if address != member.hex())


def _reached(pattern: Configuration) -> Endpoint:
    """Returns where a member is reached: as its certificate says, else where it listens."""
    named = endpoint_of(load_chain(pattern.home.certificate)[0].extensions)
    if named is None and pattern.p2p.host in ANY_HOST:
        raise NodeError(
            f"{pattern.home.certificate}: names no endpoint, and {pattern.home.configuration} listens on every "
            "address: take another member's files"
        )
    return named or Endpoint(pattern.p2p.host, pattern.p2p.port)
