"""`p2pnode rules`: which rules the chain follows, and how its members change them."""

from typing import Annotated, Any, Final, get_type_hints

import msgspec
import typer
from rich.table import Table

from consensus.identifiers import Address, Digest, Height
from contracts.genesis import RuleParameters
from contracts.rule_records import RulesChange
from contracts.transactions import Approve, Propose, Withdraw
from ledger.ledger import Ledger
from node.cli.asking import Question, ask, ask_url
from node.cli.options import ConfigOption, JsonOption, YesOption, confirm
from node.cli.sending import send_as_member
from node.cli.terminal import output_console
from node.client import api_url
from node.errors import NodeError
from node.home.configuration import Configuration, load_configuration
from node.home.folder import Home
from node.names.names import names_of_home
from node.replies.rules import RuleParametersModel, RulesProposalModel, RulesReply
from node.stories.member_names import require_id
from node.stories.rules import rules_of
from node.stories.slices import Slices
from node.stories.words import moment_text

RULES_HELP: Final = """\
The rules that the chain follows; members change them while it runs.

A member proposes a version of the protocol, parameters, or both, and the
block from which on they hold. If a quorum approves, they hold from that block
on. A node whose software does not know the version says so from the proposal
on, stops before that block and loses nothing: with the newer software it goes
on. So install that first, then approve."""
SHOW_EXAMPLE: Final = "Example: p2pnode rules show --config testnet/node1/meter.toml"
PROPOSE_EXAMPLE: Final = """\
Example: p2pnode rules propose --from-height 20000 --gate-closure-slots 7200 --config node1/meter.toml

Next: the others look (rules show) and approve (rules approve)."""
APPROVE_EXAMPLE: Final = "Example: p2pnode rules approve 3f2a9c41d07be865 --config node2/meter.toml"
WITHDRAW_EXAMPLE: Final = "Example: p2pnode rules withdraw 3f2a9c41d07be865 --config node2/meter.toml"

PATH: Final = "/v1/rules"
NAME_DIGITS: Final = 16

ProposalArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The proposal, by its first 8 or more digits.", show_default=False)
]

rules_app = typer.Typer(name="rules", help=RULES_HELP, epilog=SHOW_EXAMPLE, no_args_is_help=True)


def _read(ledger: Ledger, home: Home) -> Slices[RulesReply]:
    yield from ()
    return rules_of(ledger, names_of_home(home))


RULES_QUESTION: Final = Question(path=PATH, model=RulesReply, read=_read)


@rules_app.command(epilog=SHOW_EXAMPLE)
def show(config: ConfigOption, as_json: JsonOption = False) -> None:  # noqa: FBT002
    """Show the present rules, what is proposed, and what this home's software lacks."""
    reply = ask(config, RULES_QUESTION)
    if as_json:
        typer.echo(reply.model_dump_json(indent=2))
        return
    console = output_console()
    if reply.notice is not None:
        console.print(reply.notice, style="red", markup=False, soft_wrap=True)
    typer.echo(f"Protocol version {reply.version} since block {reply.first_height:,}:")
    typer.echo(_parameters_text(reply.parameters))
    known = " and ".join(map(str, reply.known_versions))
    typer.echo(
        f"This home's software knows version {known}. A change that is approved now may begin with block "
        f"{reply.earliest_height:,}."
    )
    if reply.proposals:
        table = Table()
        for heading in ("proposal", "by", "version", "from block", "changes", "approved by", "status"):
            table.add_column(heading, overflow="fold")
        for one in reply.proposals:
            table.add_row(*_row(one, reply.parameters))
        console.print(table)


def _row(one: RulesProposalModel, present: RuleParametersModel) -> tuple[str, ...]:
    needed = f" of {one.quorum} needed" if one.status == "open" else ""
    until = f" until {moment_text(one.until_ms)}" if one.status == "open" else ""
    return (
        one.proposal[:NAME_DIGITS],
        one.proposer_name,
        str(one.version),
        f"{one.from_height:,}",
        _changes_text(one, present) if one.status in ("open", "approved") else "",
        f"{len(one.approvals)}{needed}",
        f"{one.status}{until}",
    )


def _parameters_text(parameters: RuleParametersModel) -> str:
    return "\n".join(f"  {name} = {value:,}" for name, value in parameters.model_dump().items())


def _changes_text(one: RulesProposalModel, present: RuleParametersModel) -> str:
    before = present.model_dump()
    changed = [f"{name} = {value:,}" for name, value in one.parameters.model_dump().items() if before[name] != value]
    return "\n".join(changed) or "no parameter"


@rules_app.command(epilog=PROPOSE_EXAMPLE)
def propose(
    config: ConfigOption,
    from_height: Annotated[
        int, typer.Option(help="First block under the new rules; leave others days to approve.", show_default=False)
    ],
    version: Annotated[
        int | None,
        typer.Option(help="The protocol's next version. Without, the present one.", show_default=False),
    ] = None,
    block_transactions_max: Annotated[
        int | None, typer.Option(help="Most transactions in a block.", show_default=False)
    ] = None,
    block_size_bytes_max: Annotated[
        int | None, typer.Option(help="Largest sum of their bytes.", show_default=False)
    ] = None,
    gate_closure_slots: Annotated[
        int | None,
        typer.Option(
            help="Slots from an interval's last reading until its unsold rest is exported.", show_default=False
        ),
    ] = None,
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Propose, as a member, other rules from a block on. The node must run.

    A quorum of the members must approve it within a day, and 64 blocks before
    that block. Who approved may withdraw until then. What is not named here
    stays as it is.
    """
    configuration = load_configuration(config)
    known = _known(configuration)
    asked = {
        "block_transactions_max": block_transactions_max,
        "block_size_bytes_max": block_size_bytes_max,
        "gate_closure_slots": gate_closure_slots,
    }
    change = RulesChange(
        version=known.version if version is None else version,
        from_height=Height(_checked(RulesChange, "from_height", from_height)),
        parameters=_parameters(known.parameters, asked),
    )
    _require_known(change.version, known)
    typer.echo(f"From block {change.from_height:,} on: protocol version {change.version}, and")
    typer.echo(_parameters_text(RuleParametersModel.model_validate(msgspec.structs.asdict(change.parameters))))
    confirm("Propose that?", yes=yes)
    reply = send_as_member(configuration, Propose(subject=change))
    typer.echo(f"Proposal {reply.digest}. The others: p2pnode rules approve {reply.digest[:NAME_DIGITS]}")


def _parameters(present: RuleParametersModel, asked: dict[str, int | None]) -> RuleParameters:
    given = {name: _checked(RuleParameters, name, value) for name, value in asked.items() if value is not None}
    return RuleParameters(**{**present.model_dump(), **given})


def _checked(record: type[Any], name: str, value: int) -> int:
    """Returns a value that the field of a record may have.

    Raises:
        NodeError: it may not, and what its bound is.
    """
    try:
        return int(msgspec.convert(value, get_type_hints(record, include_extras=True)[name]))
    except msgspec.ValidationError as error:
        raise NodeError(f"--{name.replace('_', '-')} {value}: {error}") from None


@rules_app.command(epilog=APPROVE_EXAMPLE)
def approve(proposal: ProposalArgument, config: ConfigOption, yes: YesOption = False) -> None:  # noqa: FBT002
    """Agree, as a member, to other rules. The node must run, with software that knows them.

    Approve also what a quorum approved and still waits: who withdraws, or
    leaves the chain, then ends it only if too few are left.
    """
    configuration = load_configuration(config)
    known = _known(configuration)
    one = _proposal(known, proposal)
    _require_known(one.version, known)
    typer.echo(f"{one.proposer_name} proposes protocol version {one.version} from block {one.from_height:,} on:")
    typer.echo(_changes_text(one, known.parameters))
    confirm("Approve that?", yes=yes)
    reply = send_as_member(configuration, Approve(proposer=_address(one), proposal=_name(one)))
    typer.echo(f"Approved in block {reply.height:,}.")


@rules_app.command(epilog=WITHDRAW_EXAMPLE)
def withdraw(proposal: ProposalArgument, config: ConfigOption) -> None:
    """Take this home's approval back, while the proposal is open or waits for its block. The node must run."""
    configuration = load_configuration(config)
    one = _proposal(_known(configuration), proposal)
    reply = send_as_member(configuration, Withdraw(proposer=_address(one), proposal=_name(one)))
    typer.echo(f"Withdrawn in block {reply.height:,}.")


def _known(configuration: Configuration) -> RulesReply:
    return ask_url(api_url(configuration), PATH, RulesReply)


def _require_known(version: int, known: RulesReply) -> None:
    """Who approves says that its node goes on: a quorum that does not know a version would stop the chain."""
    if version not in known.known_versions:
        versions = " and ".join(map(str, known.known_versions))
        raise NodeError(
            f"protocol version {version}: this node runs software that knows {versions}. Install software that knows "
            f"version {version}, restart the node, then say it again"
        )


def _proposal(known: RulesReply, text: str) -> RulesProposalModel:
    require_id(text)
    found = [one for one in known.proposals if one.proposal.startswith(text.lower())]
    if len(found) != 1:
        raise NodeError(f"{text!r} names {len(found)} of the proposals of rules: p2pnode rules show lists them")
    return found[0]


def _address(one: RulesProposalModel) -> Address:
    return Address(bytes.fromhex(one.proposer))


def _name(one: RulesProposalModel) -> Digest:
    return Digest(bytes.fromhex(one.proposal))
