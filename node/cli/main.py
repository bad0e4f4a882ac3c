"""The command `p2pnode`. Each failure is one clear message on standard error and a non-zero exit code.

The modules of all commands together take a second to load, each of them a part of it: only the one that is asked for
is loaded, and for the list of all commands none.
"""

import errno
import os
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_group

from ledger.errors import LedgerError
from node.errors import NodeError

EXIT_FAILED: Final = 1

DISK_FAULTS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG})
"""What writing to an open file fails with where the operator can do something, though the file is not named."""


class Listed(NamedTuple):
    """A command whose module is loaded when it is asked for: its Typer is called after it, `verify_queue_app`."""

    module: str
    summary: str
    """The first sentence of its help, for the list of all commands."""


COMMANDS: Final = {
    "init": Listed(
        "node.cli.homes.init",
        "Make the home of a new node: its keys, a meter.toml in which every key is explained, and a "
        "request (node.csr).",
    ),
    "why": Listed(
        "node.cli.why",
        "Say why nothing is decided: who is missing, in which phase, since when, with the quorum's arithmetic.",
    ),
    "members": Listed(
        "node.cli.homes.members",
        "Show who the members are, in the order of admission: score, standing, until when certified, who is linked.",
    ),
    "statement": Listed(
        "node.cli.statement",
        "Show what a household bought, sold, imported and exported in a month, what it paid, saved and gained.",
    ),
    "committee-risk": Listed(
        "node.cli.homes.committee_risk",
        "Say how likely liars are to fill a drawn cluster, or to decide who joins in a drawn panel "
        "(docs/committees.md).",
    ),
    "export-data": Listed(
        "node.cli.homes.export",
        "Write all that this home has about its own household into one archive: for yourself, or to take elsewhere.",
    ),
    "genesis": Listed(
        "node.cli.homes.genesis",
        "Found a chain: several homes, each with keys of its own, agree on one genesis.",
    ),
    "recover": Listed(
        "node.cli.ceremony",
        "Go on where what members signed is lost: alone, or by a ceremony of all.",
    ),
    "home": Listed("node.cli.homes.home", "Make a new home for a member whose old one is lost for good."),
    "member": Listed(
        "node.cli.homes.member",
        "One member; leave, renew this home or exchange its keys; suspend or remove others; what waits of that.",
    ),
    "join": Listed("node.cli.homes.join", "Join a running chain: ask, be verified, become a member."),
    "names": Listed("node.cli.homes.names", "The address book of this home: how it calls the members."),
    "verify-queue": Listed("node.cli.homes.verify_queue", "Homes that asked to join, for their verifiers."),
    "ca": Listed("node.cli.provider.ca", "The network's certificate authority: who may have a home in this network."),
    "office": Listed("node.cli.offices.office", "Keys of the offices that no member holds: authority, issuer, grid."),
    "rules": Listed("node.cli.homes.rules", "The rules that the chain follows; members change them while it runs."),
    "testnet": Listed(
        "node.cli.testnet",
        "A testnet on this machine: one node per household of a file of meter readings.",
    ),
    "ledger": Listed("node.cli.ledger", "Verify the ledger of a stopped node, and look into it."),
    "trade": Listed("node.cli.trade", "What became of a contract, and what proves it."),
    "receipt": Listed("node.cli.receipt", "Receipts that prove themselves, to keep and to show to others."),
    "qscore": Listed("node.cli.qscore", "The members' quality of transaction, and what moved it."),
    "evidence": Listed("node.cli.evidence", "Members that contradicted themselves, and what proves it."),
}


class LoadedGroup(TyperGroup):
    """Gives the whole command in the place of what the list shows of it."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Says which command is asked for, loaded, and with which arguments."""
        name, listed, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in COMMANDS else listed, rest


@cache
def load(name: str) -> Any:
    """Returns a command of another module. It is asked for twice: while it may be interrupted, and to be run."""
    found = getattr(import_module(COMMANDS[name].module), f"{name.replace('-', '_')}_app")
    alone = typer.Typer()
    alone.add_typer(found)
    return get_group(alone).commands[name]


app = typer.Typer(
    name="p2pnode",
    cls=LoadedGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Neighbours trade solar energy on a chain that their own smart meters run.",
    epilog="Begin with: p2pnode testnet run --hours 48",
)


@app.command(epilog="Example: p2pnode start --config testnet/node1/meter.toml")
def start(
    config: Annotated[Path, typer.Option(help="The node's meter.toml.", show_default=False)],
    until_input_ends: Annotated[  # noqa: FBT002
        bool,
        typer.Option(
            "--until-input-ends",
            help="Stop also when standard input, a pipe, ends: whoever started the node is gone.",
        ),
    ] = False,
) -> None:
    """Run one node in the foreground, until SIGTERM, SIGQUIT, Ctrl-C or the end of its terminal (SIGHUP).

    Keys of meter.toml can be overridden from the environment, for example P2PNODE_NODE__LOG_LEVEL=debug.
    """
    from node.daemon import run_daemon  # noqa: PLC0415  (most of a second, that only this command needs)
    from node.home.configuration import load_configuration  # noqa: PLC0415

    raise typer.Exit(run_daemon(load_configuration(config), until_input_ends=until_input_ends))


@app.command()
def config() -> None:
    """Print an example meter.toml in which every key is explained."""
    from node.home.configuration_text import render_example  # noqa: PLC0415

    typer.echo(render_example(), nl=False)


@app.command()
def version() -> None:
    """Print the versions of this program and of the protocol that it knows."""
    from importlib.metadata import version as installed_version  # noqa: PLC0415

    from contracts.genesis import known_text  # noqa: PLC0415

    typer.echo(f"p2pnode {installed_version('p2pnode')}, protocol {known_text()}")


for _name, _listed in COMMANDS.items():
    app.command(_name, help=_listed.summary)(lambda: None)


def main() -> None:
    """Runs the command line; what an operator can put right never shows a stack trace.

    Files of a home that the system does not let this process open, make, rename or write are told here for all
    commands.
    """
    try:
        app()
    except (NodeError, LedgerError) as error:
        _fail(str(error))
    except OSError as error:
        if error.filename is not None and error.strerror is not None:
            _fail(f"{os.fsdecode(error.filename)}: {error.strerror}")
        if error.errno not in DISK_FAULTS:
            raise  # neither of a file nor of a disk
        _fail(f"a disk does not take what this command writes: {error.strerror}")


def _fail(message: str) -> NoReturn:
    print(f"p2pnode: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(EXIT_FAILED)
