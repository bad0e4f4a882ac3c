"""`p2pnode join`: a home asks to join a running chain, and sees where that stands."""

from pathlib import Path
from typing import Annotated, Final

import typer

from consensus.cryptography import address_of
from consensus.identifiers import Address
from consensus.quorum import weak_quorum
from contracts.genesis import Genesis, chain_id
from contracts.joining import PANELS_MAX
from contracts.panels import PANEL_MAX
from ledger.ledger import Ledger
from node.admission.chain import CHAIN_FILE_SIZE_BYTES_MAX
from node.admission.joining.files import (
    IDENTITY_SIZE_BYTES_MAX,
    read_join_request,
    read_street,
    require_identity,
    write_street,
)
from node.admission.joining.home import ask_to_join, terms_digest
from node.cli.asking import Question, ask
from node.cli.homes.show_identity import (
    DELIVER_EXAMPLE,
    PANEL_EXAMPLE,
    SEAL_EXAMPLE,
    deliver,
    identities_of,
    panel,
    seal,
    told_of,
)
from node.cli.homes.street import block_name, block_text, require_recent, street_of
from node.cli.options import ConfigOption, RunningConfig, YesOption, confirm, require_home_address
from node.cli.sending import send_as_member
from node.cli.terminal import output_console
from node.errors import JoinError
from node.home.bounded_file import FileTooLargeError, read_bounded
from node.home.configuration import load_configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.names.address_book import load_book
from node.names.names import Names, names_of_home
from node.replies.state import ApplicationsReply, ApplicationView
from node.stories.applications import applications_of, last_application_of
from node.stories.slices import Slices

STREET_EXAMPLE: Final = "Example: p2pnode join street --config node1/meter.toml --output my-street.json"
CHECK_EXAMPLE: Final = "Example: p2pnode join check my-street.json --config node2/meter.toml"
REQUEST_EXAMPLE: Final = """\
Example: p2pnode join request my-home --street my-street.json --certificate node.crt
--identity who-we-are.txt --terms contract.pdf

Next: a member brings my-home/join-request.json to the chain (p2pnode join submit); start the node meanwhile."""
SUBMIT_EXAMPLE: Final = "Example: p2pnode join submit my-home/join-request.json --config node1/meter.toml"
STATUS_EXAMPLE: Final = "Example: p2pnode join status --config my-home/meter.toml"

TERMS_SIZE_BYTES_MAX: Final = 16 * 1024 * 1024

join_app = typer.Typer(
    name="join", no_args_is_help=True, help="Join a running chain: ask, be verified, become a member."
)


@join_app.command(epilog=STREET_EXAMPLE)
def street(
    config: ConfigOption,
    output: Annotated[Path, typer.Option(help="Where to write it.", show_default=False)],
) -> None:
    """Write what a home needs to join this chain: its rules, the authority's root, its newest block with what proves
    it and the members of today, and where these are.

    Nothing in it is secret. Give it to whoever wants to join, within 30
    days. Neighbours can check it: p2pnode join check.
    """
    made = street_of(config, load_configuration(config))
    write_street(output, made)
    typer.echo(
        f"{output}: chain {chain_id(made.genesis).hex()}, {block_text(made.checkpoint)}, "
        f"{len(made.peers)} of {len(made.checkpoint.following)} members to be found"
    )


@join_app.command(epilog=CHECK_EXAMPLE)
def check(
    file: Annotated[Path, typer.Argument(help="A street file that somebody else gave.")],
    config: ConfigOption,
) -> None:
    """Say whether a street file is of this home's chain: for neighbours of a home that is about to join."""
    found, home = read_street(file), load_configuration(config).home
    chain, own_chain = chain_id(found.genesis), chain_id(load_genesis(home))
    if chain != own_chain:
        raise JoinError(f"{file}: is of chain {chain.hex()}, and this home is on {own_chain.hex()}")
    point = found.checkpoint
    block = block_name(config, point.height)
    if block != point.block:
        raise JoinError(
            f"{file}: has another block {point.height} than this home, {block.hex()}: who joined with it would be on "
            "another chain"
        )
    typer.echo(f"{file}: is of this home's chain, and {block_text(point)} is this home's, too")


@join_app.command(epilog=REQUEST_EXAMPLE)
def request(
    home: Annotated[Path, typer.Argument(help="The home's folder, as `p2pnode init` made it.")],
    street_file: Annotated[Path, typer.Option("--street", help="The file that a member gave.", show_default=False)],
    certificate: Annotated[Path, typer.Option(help="The certificate that the authority gave.", show_default=False)],
    identity: Annotated[
        Path,
        typer.Option(help="A text that says who lives there, as the verifiers are to see it.", show_default=False),
    ],
    terms: Annotated[
        Path, typer.Option(help="The main contract with the network provider; its hash is sent.", show_default=False)
    ],
    again: Annotated[  # noqa: FBT002
        bool,
        typer.Option(
            "--again", help="Ask anew: after a refusal or a lapse. What was shown for the one before counts no more."
        ),
    ] = False,
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Ask to join: write join-request.json, signed with this home's keys, and all that its node starts with.

    The identity and the contract stay here: on the chain stand a salted
    hash of the one and the hash of the other, and no name. Of a chain of
    1,024 blocks or more the node begins with a snapshot (begins_with in
    meter.toml); to execute every block, change that before its start.
    """
    if Home(home).join_request.exists() and not again:
        raise JoinError(f"{Home(home).join_request}: is there already; --again asks anew, after a refusal or a lapse")
    found = read_street(street_file)
    require_recent(street_file, found)
    founding = ", ".join(founding_verifiers_of(found.genesis, Home(home)))
    confirm(
        f"Chain {chain_id(found.genesis).hex()}, {block_text(found.checkpoint)}: are these the chain and a block of "
        f"your neighbours (p2pnode join check, at {weak_quorum(len(found.checkpoint.following))} of them)? Who lives "
        "here will be sealed "
        f"to its verifiers, and to nobody else: members that staked their score and, until most did, {founding}. Of "
        f"more than {PANEL_MAX} so many are drawn, and others if these do not decide, up to {PANELS_MAX} times. You "
        "see who they are before you seal it (p2pnode join seal); nothing of it is sent now. Ask to join?",
        yes=yes,
    )
    made = ask_to_join(
        Home(home.resolve()),
        found,
        certificate=_content(certificate, CHAIN_FILE_SIZE_BYTES_MAX),
        identity=_text(identity),
        terms=terms_digest(_content(terms, TERMS_SIZE_BYTES_MAX)),
    )
    folder = Home(home)
    typer.echo(
        f"{folder.join_request}: give it to a member, who brings it to the chain (p2pnode join submit) and writes "
        f"who verifies it (p2pnode join panel). Show {folder.join_identity} to nobody: p2pnode join seal reads it. "
        f"Address of this home: {address_of(made.application.node_key).hex()}"
    )


def _content(path: Path, size_bytes_max: int) -> bytes:
    try:
        return read_bounded(path, size_bytes_max=size_bytes_max)
    except FileTooLargeError as error:
        raise JoinError(f"{path}: {error}") from None


def _text(path: Path) -> str:
    try:
        text = _content(path, IDENTITY_SIZE_BYTES_MAX).decode().strip()
    except UnicodeDecodeError:
        raise JoinError(f"{path}: is not UTF-8 text") from None
    require_identity(text, path)
    return text


def founding_verifiers_of(genesis: Genesis, home: Home) -> list[str]:
    """Returns how a home calls the founding verifiers."""
    names = Names(genesis, load_book(home.address_book))
    keys = genesis.membership.verifier_keys or [member.node_key for member in genesis.members]
    return [names.of(address_of(key)) for key in keys]


@join_app.command(epilog=SUBMIT_EXAMPLE)
def submit(
    file: Annotated[Path, typer.Argument(help="A home's join-request.json.")],
    config: RunningConfig,
) -> None:
    """Bring a home's application to the chain, as a member, with this home's key; one at a time.

    Whoever brings it answers for nothing but that: verifiers find out who
    it is.
    """
    configuration = load_configuration(config)
    asked = read_join_request(file)
    chain = chain_id(load_genesis(configuration.home))
    if asked.application.chain != chain:
        raise JoinError(f"{file}: is for chain {asked.application.chain.hex()}, and this home is on {chain.hex()}")
    send_as_member(configuration, asked)
    typer.echo(
        f"home {address_of(asked.application.node_key).hex()} applied; `p2pnode join status --config {config}` says "
        "where that stands"
    )


@join_app.command(epilog=STATUS_EXAMPLE)
def status(
    config: ConfigOption,
    home: Annotated[
        str | None,
        typer.Argument(help="Address of a home, 64 digits: what became of its last application.", show_default=False),
    ] = None,
) -> None:
    """Show which homes ask to join, who verifies them, and what is missing until each is a member."""
    configuration = load_configuration(config)
    own, shown = own_address(configuration.home), ask_applications(config, home)
    if home is None and own is not None and own not in {one.address for one in shown}:
        shown = [*ask_applications(config, own), *shown]
    console = output_console()
    deliveries = {
        (of.applicant, brought.verifier): brought for of in identities_of(configuration) for brought in of.deliveries
    }
    for one in shown:
        whose = "this home" if one.address == own else f"home {one.address[:16]}"
        console.print(f"{whose}: {one.sentence}", soft_wrap=True)
        for verifier in one.verifiers:
            said = "no verdict yet" if verifier.verdict is None else verifier.verdict.value
            brought = deliveries.get((one.address, verifier.address))
            shown_text = "" if brought is None else f"; {told_of(brought)}"
            console.print(f"    {verifier.name}: {said}{shown_text}", soft_wrap=True)
    if not shown:
        asks = "no home asks to join" if home is None else f"{home[:16]} never asked to join"
        console.print(f"{asks}, as far as this node has followed the chain")


def ask_applications(config: Path, address: str | None = None) -> list[ApplicationView]:
    """Returns homes that asked to join, from the node of a configuration or its ledger.

    Args:
        config: the meter.toml.
        address: of the home whose last application is wanted; without, all that are not over.

    Raises:
        JoinError: what is to be an address is none.
    """
    if address is not None:
        require_home_address(address)

    def read(ledger: Ledger, home: Home) -> Slices[ApplicationsReply]:
        yield from ()
        names = names_of_home(home)
        if address is None:
            return applications_of(ledger, names)
        return last_application_of(ledger, names, Address(bytes.fromhex(address)))

    path = "/v1/applications" if address is None else f"/v1/applications?address={address}"
    return ask(config, Question(path=path, model=ApplicationsReply, read=read)).applications


def own_address(home: Home) -> str | None:
    """Returns the address that a home asked to join with; None if it did not."""
    if not home.join_request.exists():
        return None
    return address_of(read_join_request(home.join_request).application.node_key).hex()


join_app.command(epilog=PANEL_EXAMPLE)(panel)
join_app.command(epilog=SEAL_EXAMPLE)(seal)
join_app.command(epilog=DELIVER_EXAMPLE)(deliver)
