"""`p2pnode verify-queue`: what verifiers have to do: homes that asked to join."""

from pathlib import Path
from typing import Annotated, Final

import typer

from consensus.identifiers import Address
from contracts.applicants import Standing, Verdict
from contracts.transactions import GiveVerdict
from node.admission.joining.files import read_join_identity
from node.cli.homes.join import ask_applications
from node.cli.homes.member import RunningConfig
from node.cli.options import ConfigOption, YesOption, confirm
from node.cli.sending import send_as_member
from node.cli.terminal import output_console
from node.errors import JoinError
from node.home.configuration import load_configuration
from node.replies.state import ApplicationView

LIST_EXAMPLE: Final = "Example: p2pnode verify-queue list --config node1/meter.toml"
ACCEPT_EXAMPLE: Final = """\
Example: p2pnode verify-queue accept 3f2a90c1 --config node1/meter.toml --identity join-identity.json"""
REFUSE_EXAMPLE: Final = """\
Example: p2pnode verify-queue refuse 3f2a90c1 --config node1/meter.toml --reason identity_wrong"""

PREFIX_DIGITS_MIN: Final = 8

HomeArgument = Annotated[str, typer.Argument(help="The home's address, or its first digits, at least eight.")]

verify_queue_app = typer.Typer(no_args_is_help=True, help="Homes that asked to join, for their verifiers.")


@verify_queue_app.command("list", epilog=LIST_EXAMPLE)
def list_command(config: ConfigOption) -> None:
    """Show the applications that are open, and what each commits to."""
    console = output_console()
    opened = [one for one in ask_applications(config) if one.standing is Standing.OPEN]
    for one in opened:
        console.print(f"{one.address[:16]}: {one.sentence}", soft_wrap=True)
        console.print(f"    connection {one.capacity_w} W; contract {one.terms}", soft_wrap=True)
        console.print(f"    identity {one.identity}; person {one.person}", soft_wrap=True)
    if not opened:
        console.print("no application is open")


@verify_queue_app.command(epilog=ACCEPT_EXAMPLE)
def accept(
    home: HomeArgument,
    config: RunningConfig,
    identity: Annotated[
        Path,
        typer.Option(help="The join-identity.json that the home showed; delete it afterwards.", show_default=False),
    ],
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Say that the home is who it says it is, and that its contract is signed.

    The identity that it showed is held against the hash on the chain
    first. Nothing of it is kept or sent.
    """
    one = _open_one(config, home)
    shown = _shown_identity(identity, one)
    confirm(f"{shown}\n\nIs that who applies, did both sides sign the contract, is it not revoked? Accept?", yes=yes)
    _say(config, one, Verdict.ACCEPT)


@verify_queue_app.command(epilog=REFUSE_EXAMPLE)
def refuse(
    home: HomeArgument,
    config: RunningConfig,
    reason: Annotated[Verdict, typer.Option(help="Why.", show_default=False)],
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Say that the home must not join, and why."""
    if reason is Verdict.ACCEPT:
        raise JoinError("accept is no reason to refuse")
    one = _open_one(config, home)
    confirm(f"Refuse {one.address[:16]}: {reason.value}?", yes=yes)
    _say(config, one, reason)


def _open_one(config: Path, prefix: str) -> ApplicationView:
    opened = [one for one in ask_applications(config) if one.standing is Standing.OPEN]
    found = [one for one in opened if one.address.startswith(prefix.lower())]
    if len(prefix) < PREFIX_DIGITS_MIN or len(found) != 1:
        raise JoinError(
            f"{prefix[:64]!r} names {len(found)} open applications; give at least 8 digits of one address"
        )
    return found[0]


def _shown_identity(path: Path, one: ApplicationView) -> str:
    shown = read_join_identity(path)
    if shown.commitment.hex() != one.identity:
        raise JoinError(f"{path}: is not what home {one.address[:16]} committed to: refuse it as identity_wrong")
    return shown.identity


def _say(config: Path, one: ApplicationView, verdict: Verdict) -> None:
    configuration = load_configuration(config)
    action = GiveVerdict(applicant=Address(bytes.fromhex(one.address)), number=one.number, verdict=verdict)
    send_as_member(configuration, action)
    typer.echo(f"{one.address[:16]}: {verdict.value}")
