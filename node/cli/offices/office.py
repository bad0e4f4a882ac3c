"""`p2pnode office`: the keys of the authority, of the issuer and of the grid account, which are no members."""

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from consensus.cryptography import SigningKey, address_of
from consensus.identifiers import Address, Digest, PublicKey
from contracts.genesis import chain_id
from contracts.office_records import OfficeName
from contracts.offices import office_addresses
from contracts.transactions import Approve, OfficeSuccessor, Propose, RaiseObjection, ReplaceOfficeKey, Withdraw
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
from node.cli.options import ConfigOption, GenesisOption, JsonOption, YesOption, confirm, passphrase_of
from node.cli.sending import send_action, send_as_member
from node.cli.terminal import output_console
from node.client import api_url
from node.errors import NodeError
from node.home.configuration import load_configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis, load_genesis_file
from node.home.new_file import require_new_file, write_new_file
from node.names.names import names_of_home
from node.replies.offices import OfficeModel, OfficeProposalModel, OfficesReply
from node.stories.lists import offices_of
from node.stories.member_names import require_id
from node.stories.slices import Slices
from node.stories.words import moment_text

OFFICE_HELP: Final = """\
Keys of the offices that no member holds: authority, issuer, grid.

The chain names an office by its first key for ever; which key acts for it
stands in the state. Its owner replaces it, step by step:

1. office key        make the next key; it agrees in a file .successor
2. office replace    the present key installs it
3. keep the next key as you kept the present one, which acts no more. The
   authority's first key stays the root of all certificates: keep it, too

If the present key is lost, a quorum of the members does it: one proposes the
successor, others approve, and after a waiting time the new key acts. An owner
that still has the key objects meanwhile, once."""
SHOW_EXAMPLE: Final = "Example: p2pnode office show --config testnet/node1/meter.toml"
KEY_EXAMPLE: Final = """\
Example: p2pnode office key issuer-2.key --office issuer --genesis genesis.json --key-file issuer-2.passphrase

Next: p2pnode office replace issuer-2.successor, where the present key is."""
REPLACE_EXAMPLE: Final = """\
Example: p2pnode office replace issuer-2.successor --key issuer.key --genesis genesis.json --url http://127.0.0.1:8000

Next: p2pnode office show; whoever uses the office's key uses the new one."""

PROPOSE_EXAMPLE: Final = """\
Example: p2pnode office propose grid-2.successor --config node1/meter.toml

Next: the others look (office show) and approve (office approve)."""
APPROVE_EXAMPLE: Final = "Example: p2pnode office approve 3f2a9c41d07be865 --config node2/meter.toml"
WITHDRAW_EXAMPLE: Final = "Example: p2pnode office withdraw 3f2a9c41d07be865 --config node2/meter.toml"
OBJECT_EXAMPLE: Final = """\
Example: p2pnode office object 3f2a9c41d07be865 --key grid.key --genesis genesis.json --url http://127.0.0.1:8000

Next: office replace, if others may have the key; and talk to the members."""

ADDRESS_DIGITS: Final = 16
PATH: Final = "/v1/offices"

ProposalArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The proposal, by its first 8 or more digits.", show_default=False)
]
PresentKeyOption = Annotated[Path, typer.Option("--key", help="The office's present key.", show_default=False)]
PresentKeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        help="A file with the present key's passphrase, mode 0600. Without, it is asked for if the key has one.",
        show_default=False,
    ),
]
UrlOption = Annotated[str, typer.Option(help="API of a node of the chain, of anybody's.", show_default=False)]

office_app = typer.Typer(name="office", help=OFFICE_HELP, epilog=SHOW_EXAMPLE, no_args_is_help=True)


@office_app.command(epilog=SHOW_EXAMPLE)
def show(
    config: ConfigOption,
    as_json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Show the offices, and the keys that act for them."""

    def read(ledger: Ledger, home: Home) -> Slices[OfficesReply]:
        yield from ()
        return offices_of(ledger, names_of_home(home))

    reply = ask(config, Question(path=PATH, model=OfficesReply, read=read))
    if as_json:
        typer.echo(reply.model_dump_json(indent=2))
        return
    table = Table()
    for heading in ("office", "address", "key", "since block"):
        table.add_column(heading, overflow="fold")
    for office in reply.offices:
        table.add_row(office.name, office.address[:ADDRESS_DIGITS], office.key, f"{office.first_height:,}")
    output_console().print(table)
    if reply.proposals:
        output_console().print(_proposals_table(reply))


def _proposals_table(reply: OfficesReply) -> Table:
    table = Table()
    for heading in ("proposal", "by", "office", "key", "approved by", "status"):
        table.add_column(heading, overflow="fold")
    for one in reply.proposals:
        needed = f" of {one.quorum} needed" if one.status == "open" else ""
        named = (one.proposal[:ADDRESS_DIGITS], one.proposer_name, one.office, one.key)
        table.add_row(*named, f"{len(one.approvals)}{needed}", _status_text(one))
    return table


def _status_text(one: OfficeProposalModel) -> str:
    until = moment_text(one.until_ms)
    match one.status:
        case "open":
            return f"open until {until}"
        case "approved":
            return f"approved; the key acts after the first block from {until} on"
        case _:
            return one.status


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
    rules, agreement = load_genesis_file(genesis), path.parent / f"{path.stem}{SUCCESSOR_SUFFIX}"
    _require_apart(path, agreement, key_file)
    require_new_file(agreement, option="FILE")
    is_new = not path.exists()
    made = _make(path, key_file) if is_new else _load(path, key_file)
    write_new_file(agreement, make_successor(chain_id(rules), office_addresses(rules)[office], made))
    typer.echo(f"{path}: key {made.public_key.hex()}{'' if is_new else ', which was there'}")
    typer.echo(f"{agreement}: it agrees to act for the {office.value}")


@office_app.command(epilog=REPLACE_EXAMPLE)
def replace(
    successor: Annotated[Path, typer.Argument(help="The next key's file .successor.", show_default=False)],
    present: PresentKeyOption,
    genesis: GenesisOption,
    url: UrlOption,
    key_file: PresentKeyFileOption = None,
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Replace the key of an office, signed by its present one; for good: a key that was replaced never acts again."""
    rules = load_genesis_file(genesis)
    chain = chain_id(rules)
    following = read_successor(successor, chain)
    known = ask_url(url, PATH, OfficesReply)
    office = _office_of(successor, following, known)
    if office.key == following.key.hex():
        typer.echo(f"This key acts for the {office.name} since block {office.first_height:,}.")
        return
    acting = _load(present, key_file)
    if office.key != acting.public_key.hex():
        raise NodeError(
            f"{present}: is not the present key of the {office.name}, which is {office.key}. Nothing was changed"
        )
    for one in known.proposals:
        if (one.office, one.status) == (office.name, "approved"):
            typer.echo(
                f"Proposal {one.proposal} of members waits, and goes on: object to it (p2pnode office object)."
            )
    typer.echo(f"The {office.name} acts by {office.key};\nafter this by        {following.key.hex()}")
    typer.echo("Compare that with what `p2pnode office key` showed where it was made.")
    typer.echo(_what_the_present_key_is_worth(office))
    confirm(f"Replace the key of the {office.name}?", yes=yes)
    reply = send_action(url, acting.of_member(following.office), chain, ReplaceOfficeKey(successor=following))
    typer.echo(f"Block {reply.height:,} replaced it: from the next block on the new key acts for the {office.name}.")


@office_app.command(epilog=PROPOSE_EXAMPLE)
def propose(
    successor: Annotated[Path, typer.Argument(help="The next key's file .successor.", show_default=False)],
    config: ConfigOption,
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Propose, as a member, another key for an office whose own one is lost or stolen. The node must run.

    A quorum of the members must approve it within a day. Then its owner has
    a waiting time to object; without an objection the key acts by itself.
    """
    configuration = load_configuration(config)
    chain = chain_id(load_genesis(configuration.home))
    following = read_successor(successor, chain)
    url = api_url(configuration)
    office = _office_of(successor, following, ask_url(url, PATH, OfficesReply))
    typer.echo(f"Key {following.key.hex()} is to act for the {office.name}.")
    confirm("Propose that? Ask whoever keeps the office's key first.", yes=yes)
    reply = send_as_member(configuration, Propose(subject=following))
    typer.echo(f"Proposal {reply.digest}. The others: p2pnode office approve {reply.digest[:ADDRESS_DIGITS]}")


@office_app.command(epilog=APPROVE_EXAMPLE)
def approve(
    proposal: ProposalArgument,
    config: ConfigOption,
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Agree, as a member, to a proposal. The node must run."""
    configuration = load_configuration(config)
    one = _proposal(api_url(configuration), proposal)
    typer.echo(f"{one.proposer_name} proposes that key {one.key} acts for the {one.office}.")
    confirm("Approve that? Compare the key with whoever is to have it.", yes=yes)
    action = Approve(proposer=Address(bytes.fromhex(one.proposer)), proposal=Digest(bytes.fromhex(one.proposal)))
    reply = send_as_member(configuration, action)
    typer.echo(f"Approved in block {reply.height:,}.")


@office_app.command(epilog=WITHDRAW_EXAMPLE)
def withdraw(proposal: ProposalArgument, config: ConfigOption) -> None:
    """Take this home's approval back, while the proposal is open or waits. The node must run."""
    configuration = load_configuration(config)
    one = _proposal(api_url(configuration), proposal)
    action = Withdraw(proposer=Address(bytes.fromhex(one.proposer)), proposal=Digest(bytes.fromhex(one.proposal)))
    reply = send_as_member(configuration, action)
    typer.echo(f"Withdrawn in block {reply.height:,}.")


@office_app.command("object", epilog=OBJECT_EXAMPLE)
def object_command(
    proposal: ProposalArgument,
    present: PresentKeyOption,
    genesis: GenesisOption,
    url: UrlOption,
    key_file: PresentKeyFileOption = None,
) -> None:
    """Object, as the owner of an office, to the approved proposal of another key for it: that ends the proposal.

    For a waiting time nothing more is proposed for the office. What members
    propose soon after that cannot be objected to: they may know of a theft.
    """
    one = _proposal(url, proposal)
    addresses = {office.name: office.address for office in ask_url(url, PATH, OfficesReply).offices}
    acting = _load(present, key_file).of_member(Address(bytes.fromhex(addresses[one.office])))
    action = RaiseObjection(proposal=Digest(bytes.fromhex(one.proposal)))
    reply = send_action(url, acting, chain_id(load_genesis_file(genesis)), action)
    typer.echo(f"Objected in block {reply.height:,}: the proposal is over.")


def _office_of(successor: Path, following: OfficeSuccessor, known: OfficesReply) -> OfficeModel:
    for office in known.offices:
        if office.address == following.office.hex():
            return office
    raise NodeError(f"{successor}: is for {following.office.hex()}, and the chain has no such office")


def _what_the_present_key_is_worth(office: OfficeModel) -> str:
    is_first = address_of(PublicKey(bytes.fromhex(office.key))).hex() == office.address
    if is_first and office.name == OfficeName.AUTHORITY.value:
        return "Keep the present one: the certificates of all homes go by it as before."
    return "The present one is worth nothing afterwards."


def _proposal(url: str, text: str) -> OfficeProposalModel:
    require_id(text)
    found = [one for one in ask_url(url, PATH, OfficesReply).proposals if one.proposal.startswith(text.lower())]
    if len(found) != 1:
        raise NodeError(f"{text!r} names {len(found)} of the members' last proposals: p2pnode office show lists them")
    return found[0]


def _require_apart(path: Path, agreement: Path, key_file: Path | None) -> None:
    """Lets no secret get the name of the file that is sent around."""
    if path == agreement:
        raise NodeError(f"FILE {path}: the file beside the key ends in {SUCCESSOR_SUFFIX}; name the key otherwise")
    if key_file is not None and key_file.resolve() in {path.resolve(), agreement.resolve()}:
        raise NodeError(f"--key-file {key_file}: there the key is to be, or the file {SUCCESSOR_SUFFIX} beside it")


def _make(path: Path, key_file: Path | None) -> SigningKey:
    if key_file is not None and not (key_file.exists() or key_file.is_symlink()):
        create_passphrase_file(key_file)
    passphrase = passphrase_of(key_file, is_new=True)
    create_office_key(path, passphrase)
    return load_key(path, passphrase=passphrase)


def _load(path: Path, key_file: Path | None) -> SigningKey:
    return load_key(path, passphrase=passphrase_of(key_file) if is_encrypted(path) else None)
