"""`p2pnode init`: the home of a new node, with keys that are made there and stay there."""

import socket
from pathlib import Path
from typing import Annotated, Final

import typer

from contracts.genesis import CAPACITY_W_MAX
from node.admission.new_home import CAPACITY_W_DEFAULT, make_home
from node.cli.homes.place import place_of
from node.home.configuration import ApiTable, Configuration, MeterTable, NodeTable, PeerToPeerTable
from node.home.hosts import PORT_MAX
from node.names.card import reads_as_address
from node.names.rules import require_name

DEFAULT_DIRECTORY: Final = Path("p2pnode-home")

INIT_EXAMPLE: Final = """\
Example: p2pnode init my-home --name "Sunny Street 4" --host 192.0.2.14

Next: give my-home/node.csr to the authority of your chain, and sign the founding file that comes back
(p2pnode genesis --help)."""


init_app = typer.Typer()


@init_app.command(epilog=INIT_EXAMPLE)
def init(
    directory: Annotated[Path, typer.Argument(help="The home's folder; must not exist.")] = DEFAULT_DIRECTORY,
    name: Annotated[
        str | None,
        typer.Option(help="What the neighbours call it; this machine's name by default.", show_default=False),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Where the others reach it: a name or an address; this machine's name by default.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="Its port for the others.", min=1, max=PORT_MAX)] = 7_000,
    listen: Annotated[
        str, typer.Option(help="Address to listen on for the others; by default every one of this machine.")
    ] = "0.0.0.0",  # noqa: S104  (others must reach it: mutual TLS admits members only)
    api_port: Annotated[int, typer.Option(help="Port of its API, on loopback.", min=1, max=PORT_MAX)] = 8_000,
    capacity_w: Annotated[
        int, typer.Option(help="Capacity of the connection that its meter measures, in W.", min=1, max=CAPACITY_W_MAX)
    ] = CAPACITY_W_DEFAULT,
    household: Annotated[
        str | None,
        typer.Option(
            help="Household that the meter measures; its rows, and no others, go into the home's readings.csv. "
            "Without, the node only validates.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make the home of a new node: its keys, a meter.toml in which every key is explained, and a request (node.csr).

    The keys are made here and never leave: node.csr names the public ones,
    and shows that the home has both.
    """
    reached = socket.gethostname() if host is None else host
    endpoint = place_of(reached, listen, port=port, api_port=api_port)
    name = _machine() if name is None else name
    require_name(name, field="--name")
    if household is not None:
        require_name(household, field="--household")
    configuration = Configuration(
        node=NodeTable(name=name),
        p2p=PeerToPeerTable(host=listen, port=port),
        api=ApiTable(port=api_port),
        meter=None if household is None else MeterTable(household_id=household),
    )
    home = make_home(directory, configuration, endpoint, capacity_w=capacity_w)
    typer.echo(
        f"{directory}: the home of {configuration.node.name}, to be reached at {endpoint}. Its keys stay here; "
        f"give {home.request} to the authority of your chain"
    )


def _machine() -> str:
    """Returns this machine's name; a container's reads as an address, which no household is called by."""
    machine = socket.gethostname()
    return f"home-{machine}" if reads_as_address(machine) else machine
