"""The command `p2pnode`. Each failure is one clear message on standard error and a non-zero exit code."""

import errno
import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from contracts.genesis import known_text
from ledger.errors import LedgerError
from node.cli.ceremony import recover_app
from node.cli.evidence import evidence_app
from node.cli.homes.committee_risk import COMMITTEE_RISK_EXAMPLE, committee_risk
from node.cli.homes.export import EXPORT_EXAMPLE, export_data
from node.cli.homes.genesis import genesis_app
from node.cli.homes.home import home_app
from node.cli.homes.init import INIT_EXAMPLE, init
from node.cli.homes.join import join_app
from node.cli.homes.member import member_app
from node.cli.homes.members import MEMBERS_EXAMPLE, members
from node.cli.homes.names import names_app
from node.cli.homes.rules import rules_app
from node.cli.homes.show_identity import DELIVER_EXAMPLE, PANEL_EXAMPLE, SEAL_EXAMPLE, deliver, panel, seal
from node.cli.homes.verify_queue import verify_queue_app
from node.cli.ledger import ledger_app
from node.cli.offices.office import office_app
from node.cli.provider.ca import ca_app
from node.cli.qscore import qscore_app
from node.cli.receipt import receipt_app
from node.cli.statement import STATEMENT_EXAMPLE, statement
from node.cli.testnet import testnet_app
from node.cli.trade import trade_app
from node.cli.why import WHY_EXAMPLE, why
from node.errors import NodeError
from node.home.configuration import (
    ApiTable,
    Configuration,
    MeterTable,
    NodeTable,
    PeerEntry,
    PeerToPeerTable,
    load_configuration,
)
from node.home.configuration_text import render_configuration

EXIT_FAILED: Final = 1

DISK_FAULTS: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG})
"""What writing to an open file fails with where the operator can do something, though the file is not named."""

app = typer.Typer(
    name="p2pnode",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Neighbours trade solar energy on a chain that their own smart meters run.",
    epilog="Begin with: p2pnode testnet run --hours 48",
)
app.command(epilog=INIT_EXAMPLE)(init)
app.command(epilog=WHY_EXAMPLE)(why)
app.command(epilog=MEMBERS_EXAMPLE)(members)
app.command(epilog=STATEMENT_EXAMPLE)(statement)
app.command("committee-risk", epilog=COMMITTEE_RISK_EXAMPLE)(committee_risk)
app.command("export-data", epilog=EXPORT_EXAMPLE)(export_data)
join_app.command(epilog=PANEL_EXAMPLE)(panel)
join_app.command(epilog=SEAL_EXAMPLE)(seal)
join_app.command(epilog=DELIVER_EXAMPLE)(deliver)
app.add_typer(genesis_app, name="genesis")
app.add_typer(recover_app, name="recover")
app.add_typer(home_app, name="home")
app.add_typer(member_app, name="member")
app.add_typer(join_app, name="join")
app.add_typer(names_app, name="names")
app.add_typer(verify_queue_app, name="verify-queue")
app.add_typer(ca_app, name="ca")
app.add_typer(office_app, name="office")
app.add_typer(rules_app, name="rules")
app.add_typer(testnet_app, name="testnet")
app.add_typer(ledger_app, name="ledger")
app.add_typer(trade_app, name="trade")
app.add_typer(receipt_app, name="receipt")
app.add_typer(qscore_app, name="qscore")
app.add_typer(evidence_app, name="evidence")


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
    from node.daemon import run_daemon  # noqa: PLC0415  (half a second of imports that only this command needs)

    raise typer.Exit(run_daemon(load_configuration(config), until_input_ends=until_input_ends))


@app.command()
def config() -> None:
    """Print an example meter.toml in which every key is explained."""
    peer = PeerEntry(address="0" * 64, host="192.0.2.2", port=7000)
    example = Configuration(
        node=NodeTable(name="node1"),
        p2p=PeerToPeerTable(port=7000, peers=(peer,)),
        api=ApiTable(port=8000),
        meter=MeterTable(household_id="home1"),
    )
    typer.echo(render_configuration(example), nl=False)


@app.command()
def version() -> None:
    """Print the versions of this program and of the protocol that it knows."""
    typer.echo(f"p2pnode {installed_version('p2pnode')}, protocol {known_text()}")


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
