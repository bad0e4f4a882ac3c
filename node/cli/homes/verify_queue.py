"""`p2pnode verify-queue`: what verifiers have to do: homes that asked to join."""

from pathlib import Path
from typing import Annotated, Final

import typer

from consensus.identifiers import Address, Digest, PublicKey, Slot
from contracts.applicants import Standing, Verdict
from contracts.genesis import chain_id
from contracts.transactions import GiveVerdict
from node.admission.joining.sealing import IdentityBox, Panel, open_box
from node.admission.next_keys import home_keys
from node.cli.asking import ask_url
from node.cli.homes.join import ask_applications
from node.cli.homes.show_identity import identities_of
from node.cli.options import ConfigOption, RunningConfig, YesOption, confirm
from node.cli.sending import send_as_member
from node.cli.terminal import output_console
from node.client import api_url
from node.errors import JoinError
from node.home.configuration import Configuration, load_configuration
from node.home.genesis_file import load_genesis
from node.replies.identities import IdentitiesReply, IdentityView
from node.replies.state import ApplicationView

LIST_EXAMPLE: Final = "Example: p2pnode verify-queue list --config node1/meter.toml"
SHOW_EXAMPLE: Final = "Example: p2pnode verify-queue show 3f2a90c1 --config node1/meter.toml"
ACCEPT_EXAMPLE: Final = "Example: p2pnode verify-queue accept 3f2a90c1 --config node1/meter.toml"
REFUSE_EXAMPLE: Final = """\
Example: p2pnode verify-queue refuse 3f2a90c1 --config node1/meter.toml --reason identity_wrong"""

PREFIX_DIGITS_MIN: Final = 8

HomeArgument = Annotated[str, typer.Argument(help="The home's address, or its first digits, at least eight.")]

verify_queue_app = typer.Typer(
    name="verify-queue", no_args_is_help=True, help="Homes that asked to join, for their verifiers."
)


@verify_queue_app.command("list", epilog=LIST_EXAMPLE)
def list_command(config: ConfigOption) -> None:
    """Show the applications that are open, what each commits to, and whether this home was shown who it is."""
    console = output_console()
    opened = [one for one in ask_applications(config) if one.standing is Standing.OPEN]
    brought = {one.applicant: one for one in identities_of(load_configuration(config))}
    for one in opened:
        console.print(f"{one.address[:16]}: {one.sentence}", soft_wrap=True)
        console.print(f"    connection {one.capacity_w} W; contract {one.terms}", soft_wrap=True)
        console.print(f"    identity {one.identity}; person {one.person}", soft_wrap=True)
        console.print(f"    {_shown_text(brought.get(one.address))}", soft_wrap=True)
    if not opened:
        console.print("no application is open")


@verify_queue_app.command(epilog=SHOW_EXAMPLE)
def show(home: HomeArgument, config: RunningConfig) -> None:
    """Show who a home is, as it was sealed for this one: opened here with this home's key, written nowhere."""
    typer.echo(_opened(load_configuration(config), _open_one(config, home)))


@verify_queue_app.command(epilog=ACCEPT_EXAMPLE)
def accept(home: HomeArgument, config: RunningConfig, yes: YesOption = False) -> None:  # noqa: FBT002
    """Say that the home is who it says it is, and that its contract is signed.

    The identity that was sealed for this home is opened, held against the
    hash on the chain, and shown first. Nothing of it is kept or sent.
    """
    one = _open_one(config, home)
    shown = _opened(load_configuration(config), one)
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


def _shown_text(brought: IdentityView | None) -> str:
    """Returns whether a node was shown who a home is, for people."""
    if brought is not None and brought.box is not None:
        return "who it is was shown to this home: p2pnode verify-queue show"
    if brought is not None and brought.fault is not None:
        return f"what was shown to this home as its identity is none ({brought.fault.value})"
    return "this home's node was not shown who it is, or started since: a member brings it (p2pnode join deliver)"


def _opened(configuration: Configuration, one: ApplicationView) -> str:
    """Returns who a home is, from the box in the memory of this home's node."""
    url = api_url(configuration)
    held = ask_url(url, "/v1/identities", IdentitiesReply).identities
    brought = next((known for known in held if known.applicant == one.address), None)
    if brought is None or brought.box is None:
        raise JoinError(f"home {one.address[:16]}: {_shown_text(brought)}")
    box = IdentityBox(
        verifier=Address(bytes.fromhex(brought.box.verifier)),
        key=PublicKey(bytes.fromhex(brought.box.key)),
        sealed=bytes.fromhex(brought.box.sealed),
    )
    panel = Panel(
        chain=chain_id(load_genesis(configuration.home)),
        applicant=Address(bytes.fromhex(one.address)),
        number=one.number,
        identity=Digest(bytes.fromhex(one.identity)),
        request=Digest(bytes.fromhex(one.request)),
        verifiers=tuple(Address(bytes.fromhex(verifier.address)) for verifier in one.verifiers),
        until_slot=Slot(one.until_slot),
    )
    keys = home_keys(configuration.home)
    key = next((known for known in keys if known.public_key == box.key), keys[0])
    return open_box(box, panel, key.of_member(box.verifier)).identity


def _say(config: Path, one: ApplicationView, verdict: Verdict) -> None:
    configuration = load_configuration(config)
    action = GiveVerdict(applicant=Address(bytes.fromhex(one.address)), number=one.number, verdict=verdict)
    send_as_member(configuration, action)
    typer.echo(f"{one.address[:16]}: {verdict.value}")
