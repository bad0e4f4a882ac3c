"""`p2pnode join panel|seal|deliver`: who verifies a home, and how they alone are shown who lives there."""

import asyncio
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from consensus.codec import encode
from consensus.cryptography import address_of
from consensus.identifiers import Address
from contracts.genesis import Genesis
from ledger.ledger import Ledger
from node.admission.joining.files import read_join_identity, read_join_request
from node.admission.joining.sealing import read_sealed_identity, seal_identity, write_sealed_identity
from node.cli.asking import Question, ask, ask_url
from node.cli.options import ConfigOption, RunningConfig, YesOption, confirm, require_home_address
from node.client import api_url, open_client
from node.errors import FileRefused, JoinError, NodeAway
from node.home.configuration import Configuration, load_configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.home.new_file import require_new_file, write_new_file
from node.names.names import names_of_home
from node.proofs.panel_file import ProvenPanel, check_panel, export_panel
from node.proofs.signed_file import file_text, read_file
from node.replies.identities import Delivery, IdentitiesReply, IdentityView, PanelFileReply, SealedBody
from node.stories.slices import Slices

PANEL_EXAMPLE: Final = "Example: p2pnode join panel ADDRESS --config node1/meter.toml --output fifth.panel"
SEAL_EXAMPLE: Final = """\
Example: p2pnode join seal my-home --panel fifth.panel

Next: a member brings my-home/join-sealed.json to the verifiers (p2pnode join deliver)."""
DELIVER_EXAMPLE: Final = "Example: p2pnode join deliver my-home/join-sealed.json --config node1/meter.toml"

DELIVERY_WAIT_S: Final = 15.0
"""For verifiers that run to say that they have their box: links and answers take a second or two."""

LOOK_S: Final = 0.5
DEADLINE_S: Final = 30.0


def panel(
    address: Annotated[str, typer.Argument(help="Address of the home that asked to join, 64 digits.")],
    config: ConfigOption,
    output: Annotated[Path, typer.Option(help="The file to make, for that home.", show_default=False)],
) -> None:
    """Write who verifies a home, with the proof that a quorum of the members decided it.

    Nothing in it is secret. The home checks it with its own genesis: nobody
    can name others in it than those that were drawn.
    """
    require_home_address(address)
    require_new_file(output, option="--output")

    def read(ledger: Ledger, _: Home) -> Slices[PanelFileReply]:
        document = yield from export_panel(ledger, Address(bytes.fromhex(address)))
        return PanelFileReply.model_validate(document)

    reply = ask(config, Question(path=f"/v1/applications/{address}/panel", model=PanelFileReply, read=read))
    write_new_file(output, file_text(reply.model_dump()).encode("ascii"))
    typer.echo(f"{output}: give it to home {address[:16]}, which seals its identity to these (p2pnode join seal)")


def seal(
    home: Annotated[Path, typer.Argument(help="The home's folder, which asked to join.")],
    panel_file: Annotated[
        Path, typer.Option("--panel", help="The file that a member gave (p2pnode join panel).", show_default=False)
    ],
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Seal who lives here to the drawn verifiers, whom it shows before: nobody else can open it, members neither.

    Do it again for another panel. Whom the file names, genesis proves; a
    member that gives you a false one is found out.
    """
    folder = Home(home)
    genesis = load_genesis(folder)
    try:
        proven = check_panel(read_file(panel_file), genesis)
    except FileRefused as refused:
        raise JoinError(f"{panel_file} is NOT valid, seal nothing to it: {refused}") from None
    _require_own(folder, proven, panel_file)
    _require_present(genesis, proven, panel_file)
    names = names_of_home(folder)
    typer.echo(f"Drawn to verify this home, as of block {proven.height}:")
    for verifier, _ in proven.keys:
        typer.echo(f"    {names.of(verifier)}  {verifier.hex()}")
    confirm("They see who lives here, and could tell others; nobody else can open it. Seal it to them?", yes=yes)
    sealed = seal_identity(read_join_identity(folder.join_identity), proven.panel, proven.keys)
    write_sealed_identity(folder.join_sealed, sealed)
    typer.echo(
        f"{folder.join_sealed}: sealed to {len(sealed.boxes)} verifiers; give it to any member, who brings it to "
        "them (p2pnode join deliver)"
    )


def _require_own(home: Home, proven: ProvenPanel, path: Path) -> None:
    """Refuses the panel of another home, or of another application of this one."""
    asked = read_join_request(home.join_request).application
    own = address_of(asked.node_key)
    if proven.panel.applicant != own:
        raise JoinError(f"{path}: is about home {proven.panel.applicant.hex()[:16]}, and this is {own.hex()[:16]}")
    if (proven.panel.number, proven.panel.identity) != (asked.number, asked.identity):
        raise JoinError(f"{path}: is about another application of this home than {home.join_request}")


def _require_present(genesis: Genesis, proven: ProvenPanel, path: Path) -> None:
    """Refuses a panel whose time is over by this home's clock: whoever wrote the file showed an earlier state."""
    slot = (time.time_ns() // 1_000_000 - genesis.start_ms) // genesis.slot_duration_ms
    if slot >= proven.panel.until_slot:
        raise JoinError(
            f"{path}: these verified until slot {proven.panel.until_slot}, and by this machine's clock it is slot "
            f"{slot}: ask a member for the panel of now"
        )


def deliver(
    file: Annotated[Path, typer.Argument(help="A home's join-sealed.json.")],
    config: RunningConfig,
) -> None:
    """Bring a home's sealed identity to its verifiers, over the links of this home's node; any member may.

    This home cannot open it, unless it is a verifier. It is kept in the
    node's memory, and brought again to verifiers that were started anew, as
    long as they have not decided. After a restart of this node, repeat it.
    """
    sealed = read_sealed_identity(file)
    view = asyncio.run(_delivered(load_configuration(config), encode(sealed).hex(), sealed.applicant.hex()))
    if view is None:
        typer.echo("all verifiers of it have said what they found")
        return
    for one in view.deliveries:
        typer.echo(f"    {one.name}: {told_of(one)}")
    missing = sum(not one.held for one in view.deliveries)
    typer.echo(
        "all have it"
        if not missing
        else f"{missing} of {len(view.deliveries)} do not have it yet; this home's node goes on trying while it "
        f"runs, and `p2pnode join status --config {config}` says where that stands"
    )


def told_of(one: Delivery) -> str:
    """Returns what became of a box, for people."""
    if one.fault is not None:
        return f"refused it ({one.fault.value}): seal it again to the panel of now (join panel, join seal)"
    return "was shown who lives there" if one.held else "was not reached yet"


async def _delivered(config: Configuration, sealed: str, applicant: str) -> IdentityView | None:
    """Gives the node a sealed identity; returns what became of it once all answered, or the wait is over."""
    url, until_s = api_url(config), time.monotonic() + DELIVERY_WAIT_S
    async with open_client(timeout_s=DEADLINE_S) as client:
        reply = await client.post(url, "/v1/identities", SealedBody(sealed=sealed), IdentitiesReply)
        while True:
            view = next((one for one in reply.identities if one.applicant == applicant), None)
            if view is None or _is_answered(view) or time.monotonic() >= until_s:
                return view
            await asyncio.sleep(LOOK_S)
            reply = await client.get(url, "/v1/identities", IdentitiesReply)


def _is_answered(view: IdentityView) -> bool:
    return all(one.held or one.fault is not None for one in view.deliveries)


def identities_of(configuration: Configuration) -> list[IdentityView]:
    """Returns what a home's node has in its memory; nothing if it does not run."""
    try:
        return ask_url(api_url(configuration), "/v1/identities", IdentitiesReply).identities
    except NodeAway:
        return []
