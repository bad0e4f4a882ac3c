"""`p2pnode recover`: how people go on when more members lost what they signed than the others can make up for.

A ceremony (`consensus.ceremony`) at the command line: each step reads a stopped node's home and the files that people
brought, shows what it will do, and makes the home's own part durable before anything leaves it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from msgspec.structs import replace
from rich.table import Table

from consensus import ceremony
from consensus.ceremony_records import SignedPlan
from consensus.codec import encode
from consensus.cryptography import address_of
from consensus.era_plans import Departure, EraProof, Join, Plan, is_complete, joiners, plan_digest
from consensus.identifiers import Address, EraNumber
from consensus.plans import Past, PlanRefusal, carried_proposal, make_plan, plan_fault
from consensus.quorum import quorum
from contracts.genesis import Genesis
from ledger.eras import BegunEra
from node.admission.identity import load_certificate_key, load_key
from node.cli.ceremony_home import CeremonyHome, authority_key, open_home
from node.cli.recover import recover
from node.cli.terminal import output_console
from node.errors import FileRefused, NodeError
from node.home import ceremony_steps
from node.home.configuration import load_configuration
from node.home.era_files import (
    JoinFile,
    PlanFile,
    StatementFile,
    keep_era,
    keep_plans,
    kept_plans,
    past_of,
    read_record,
    write_record,
)
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.stories.member_names import names_of

RECOVER_HELP: Final = """\
Let a stopped node sign again whose sign state is lost (--config alone, on chains of one or two members); or hold a
ceremony: export, plan, join, apply, release."""

RECOVER_EXAMPLE: Final = "Example: p2pnode recover --config testnet/node1/meter.toml"
EXPORT_EXAMPLE: Final = "Example: p2pnode recover export --config node1/meter.toml --era 1 --output node1.statement"
PLAN_EXAMPLE: Final = "Example: p2pnode recover plan *.statement --config node1/meter.toml --output era1.plan"
JOIN_EXAMPLE: Final = "Example: p2pnode recover join era1.plan --config node1/meter.toml --output node1.join"
APPLY_EXAMPLE: Final = "Example: p2pnode recover apply era1.plan *.join --config node1/meter.toml"
RELEASE_EXAMPLE: Final = "Example: p2pnode recover release --config node1/meter.toml"

LOSS_WORD: Final = "replace"
"""What an operator types where a decided block may be replaced."""

REFUSALS: Final = {
    ceremony.CeremonyRefusal.ERA_PASSED: "this node takes part in era {era} or a later one already",
    ceremony.CeremonyRefusal.SEALED_HIGHER: "this node made a statement for a later era since: go on with that one",
    ceremony.CeremonyRefusal.NOT_SEALED: "this node made no statement for era {era}, or took it back: export first",
    ceremony.CeremonyRefusal.OTHER_STATEMENT: (
        "the plan was not made of this node's newest statement: make it again with that one"
    ),
    ceremony.CeremonyRefusal.JOINED_ANOTHER: (
        "this node agreed to another plan of era {era}, and agrees to one per era: go on with that one, or make a "
        "plan of a later era"
    ),
    ceremony.CeremonyRefusal.NOT_COMPLETE: "too few of the old members agreed: more of their agreements are needed",
    ceremony.CeremonyRefusal.NO_MEMBER: "this node's key is none of the members'",
    ceremony.CeremonyRefusal.OTHER_BLOCK: "this node's ledger has another block at the plan's base",
    ceremony.CeremonyRefusal.LEDGER_ABOVE: (
        "this node's ledger has decided blocks above the plan's base: export its statement, and make a plan of a "
        "later era with it"
    ),
    ceremony.CeremonyRefusal.AGREED: "this node agreed to a plan: it goes on with that, or with one of a later era",
}

PLAN_REFUSALS: Final = {
    PlanRefusal.BAD_STATEMENT: "a statement's signatures or blocks do not hold",
    PlanRefusal.UNKNOWN_PLAN: "a statement names a plan that is not among the files",
    PlanRefusal.RIVAL_PLANS: (
        "two plans were agreed to for one era: leave out the statements of those who agreed to one of them"
    ),
    PlanRefusal.TOO_FEW: "the statements are of no quorum of the members: bring more",
    PlanRefusal.FORK: "two blocks are proven for one height: more members lied than may",
    PlanRefusal.NOT_ABSENT: "somebody is said to be gone or replaced who made a statement, or is no member",
    PlanRefusal.BLOCK_MISSING: "an older era decided above the base, and its block is not among the files: add it",
    PlanRefusal.NOBODY_LEFT: "no member goes on",
    PlanRefusal.NO_AUTHORITY: "members are absent, and the authority did not sign the plan",
    PlanRefusal.NOT_THE_PLAN: "the plan does not follow from its statements",
}

ConfigOption = Annotated[Path, typer.Option(help="The stopped node's meter.toml.", show_default=False)]
OutputOption = Annotated[Path, typer.Option(help="Where the file goes.", show_default=False)]
YesOption = Annotated[bool, typer.Option("--yes", help="Confirm without being asked.")]

LossOption = Annotated[
    bool, typer.Option("--accept-loss", help="Where a decided block may be replaced: without being asked.")
]

recover_app = typer.Typer(help=RECOVER_HELP, epilog=RECOVER_EXAMPLE)


@recover_app.callback(invoke_without_command=True, epilog=RECOVER_EXAMPLE)
def recover_alone(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="The stopped node's meter.toml.", show_default=False)] = None,
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Let a stopped node sign again whose sign state is lost, where no other member can say what it signed.

    Chains of one or two members need it after a lost disk; larger ones recover by themselves. Where more members lost
    what they signed than may fail, hold a ceremony with the commands below; docs/operations.md tells how.
    """
    if context.invoked_subcommand is None:
        if config is None:
            raise typer.BadParameter("needed: the stopped node's meter.toml", param_hint="--config")
        recover(config, yes)


@recover_app.command(epilog=EXPORT_EXAMPLE)
def export(
    config: ConfigOption,
    output: OutputOption,
    era: Annotated[int, typer.Option(help="The era to come; one above the present one.", min=1)] = 1,
) -> None:
    """Give up all eras below one, and write down what this node has.

    From then on it signs and appends nothing of the older eras, until `apply`, or `release`.
    """
    with open_home(load_configuration(config)) as home:
        stated = ceremony.state(home.facts(), EraNumber(era), home.signer)
        if isinstance(stated, ceremony.CeremonyRefusal):
            raise _refused(stated, era)
        sign_state, statement = stated
        signed = ceremony.signed_statement(statement, home.signer)
        file = StatementFile(statement=signed, plans=tuple(kept_plans(home.home)))
        ceremony_steps.export(sign_state, save=home.save, write_statement=lambda: write_record(output, file))
        lost = ", ".join(missing.value.replace("_", " ") for missing in statement.missing)
        typer.echo(
            f"{home.name} gave up all eras below {era}. {output}: statement {statement.number}, "
            f"{'complete' if statement.is_complete else f'lost: {lost}'}, height {statement.height}"
        )


@recover_app.command("plan", epilog=PLAN_EXAMPLE)
def plan_command(
    files: Annotated[list[Path], typer.Argument(help="Statements.", show_default=False)],
    config: Annotated[
        Path, typer.Option(help="Any node's meter.toml: for genesis and authority.", show_default=False)
    ],
    output: OutputOption,
    gone: Annotated[list[str] | None, typer.Option(help="A member that does not come back; give several.")] = None,
    replaced: Annotated[
        list[str] | None, typer.Option(help="NAME=CERTIFICATE: a new home in a member's place; give several.")
    ] = None,
    authority: Annotated[Path | None, typer.Option(help="The authority's key, where members are absent.")] = None,
) -> None:
    """Make the plan of the next era of statements: who goes on, from which block on."""
    home = load_configuration(config).home
    genesis = load_genesis(home)
    brought = [read_record(path, StatementFile) for path in files]
    past = past_of(genesis, [plan for one in brought for plan in one.plans], authority_key(home))
    statements = [one.statement for one in brought]
    era = max(one.statement.era for one in statements)
    departures = _departures(genesis, gone or [], replaced or [])
    made = make_plan(statements, departures, era=era, past=past)
    if isinstance(made, PlanRefusal):
        raise NodeError(f"there is no plan: {PLAN_REFUSALS[made]}")
    if not made.plan.is_everybody_there:
        if authority is None:
            raise NodeError("members are absent: --authority must name the authority's key, which vouches for that")
        made = replace(made, authority=load_key(authority).sign(encode(made.plan)))
    earlier = {plan_digest(plan.plan): plan for one in brought for plan in one.plans}
    ordered = sorted(earlier.values(), key=lambda plan: plan.plan.era)
    write_record(output, PlanFile(plans=(*ordered, made)))
    _show(made.plan, genesis)
    typer.echo(f"{output}: the plan {plan_digest(made.plan).hex()[:16]} of era {era}; each of these joins it now")


@recover_app.command(epilog=JOIN_EXAMPLE)
def join(
    plan: Annotated[Path, typer.Argument(help="The plan.", show_default=False)],
    config: ConfigOption,
    output: OutputOption,
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Agree to a plan that this node's newest statement is part of; to one per era."""
    with open_home(load_configuration(config)) as home:
        past, signed = _checked(plan, home)
        joined = ceremony.join(signed.plan, home.sign_state, home.signer)
        if isinstance(joined, ceremony.CeremonyRefusal):
            raise _refused(joined, signed.plan.era)
        _show(signed.plan, home.ledger.genesis)
        if not yes and not typer.confirm("Agree to this plan, and to no other of its era?"):
            raise NodeError("nothing was changed")
        followed = _followed(signed, past, plan)
        file = JoinFile(plan=plan_digest(signed.plan), join=joined[1])
        ceremony_steps.join(
            joined[0],
            keep_plans=lambda: keep_plans(home.home, followed),
            save=home.save,
            write_join=lambda: write_record(output, file),
        )
        typer.echo(f"{home.name} agreed. {output}: bring it to all members")


@recover_app.command(epilog=APPLY_EXAMPLE)
def apply(
    plan: Annotated[Path, typer.Argument(help="The plan.", show_default=False)],
    joins: Annotated[list[Path], typer.Argument(help="Agreements to it.", show_default=False)],
    config: ConfigOption,
    yes: YesOption = False,  # noqa: FBT002
    accept_loss: LossOption = False,  # noqa: FBT002
) -> None:
    """Begin the era of a plan that enough members agreed to. Doing it again changes nothing."""
    with open_home(load_configuration(config)) as home:
        past, signed = _checked(plan, home)
        name = plan_digest(signed.plan)
        brought = [one.join for one in (read_record(path, JoinFile) for path in joins) if one.plan == name]
        agreed = sorted({one.author: one for one in brought}.items())
        begun = ceremony.apply(
            signed.plan, brought, signed=home.sign_state, key=home.signer.public_key, ledger=home.ledger_facts()
        )
        if isinstance(begun, ceremony.CeremonyRefusal):
            raise _refused(begun, signed.plan.era)
        assert is_complete(signed.plan, brought), "a plan is applied once it is complete"
        _show(signed.plan, home.ledger.genesis)
        _confirm_loss(signed.plan, brought, yes=yes, accept_loss=accept_loss)
        proof = EraProof(plan=signed.plan, joins=tuple(one for _, one in agreed), authority=signed.authority)
        followed = _followed(signed, past, plan)
        ceremony_steps.apply(
            begun,
            keep_plans=lambda: keep_plans(home.home, followed),
            set_ledger_aside=home.set_ledger_aside,
            keep_eras=lambda: _keep_eras(home.home, followed, proof, past),
            save=home.save,
        )
        typer.echo(
            f"{home.name} begins era {signed.plan.era} at height {signed.plan.base + 1}: start it. "
            + ("" if begun.sign_state.silent_through == 0 else "It asks the others first what it may have signed.")
        )


@recover_app.command("release", epilog=RELEASE_EXAMPLE)
def release_command(config: ConfigOption) -> None:
    """Take back what `export` gave up, as long as this node agreed to no plan."""
    with open_home(load_configuration(config)) as home:
        released = ceremony.release(home.sign_state)
        if isinstance(released, ceremony.CeremonyRefusal):
            raise _refused(released, home.sign_state.standing.sealed_below)
        home.save(released)
        typer.echo(f"{home.name} goes on in era {released.standing.era}; its statements are void")


# --- parts -----------------------------------------------------------------------------------------------------


def _refused(refusal: ceremony.CeremonyRefusal, era: int) -> NodeError:
    return NodeError(f"{REFUSALS[refusal].format(era=era)}. Nothing was changed")


def _checked(path: Path, home: CeremonyHome) -> tuple[Past, SignedPlan]:
    """Returns the plan of a file, which follows from its statements, and all that it follows."""
    *earlier, signed = read_record(path, PlanFile).plans
    key = authority_key(home.home)
    past = past_of(home.ledger.genesis, [*earlier, *kept_plans(home.home)], key)
    fault = plan_fault(signed, past, key)
    if fault is not None:
        raise FileRefused(f"{path}: {PLAN_REFUSALS[fault]}")
    assert past.add(signed, key) is None, "the plan was checked"
    return past, signed


def _followed(signed: SignedPlan, past: Past, path: Path) -> list[SignedPlan]:
    """Returns the plan behind all that it follows, oldest first."""
    known = {plan_digest(one.plan): one for one in read_record(path, PlanFile).plans}
    chain = [signed]
    while chain[-1].plan.follows.plan is not None:
        chain.append(known[chain[-1].plan.follows.plan])
    assert past.knows(signed.plan.follows), "what it follows was checked"
    return chain[::-1]


def _keep_eras(home: Home, followed: Sequence[SignedPlan], proof: EraProof, past: Past) -> None:
    """Keeps the era, and the earlier ones that it follows and that this home never began."""
    for signed in followed[:-1]:
        if not (home.eras / f"{signed.plan.era}.era").exists():
            earlier = EraProof(plan=signed.plan, joins=(), authority=signed.authority)
            keep_era(home, BegunEra(proof=earlier, carried=carried_proposal(signed, past)))
    keep_era(home, BegunEra(proof=proof, carried=carried_proposal(followed[-1], past)))


def _departures(genesis: Genesis, gone: Sequence[str], replaced: Sequence[str]) -> list[Departure]:
    addresses = {member.name: address_of(member.node_key) for member in genesis.members}

    def address(name: str) -> Address:
        if name not in addresses:
            raise NodeError(f"{name}: no member has this name; there are {', '.join(addresses)}")
        return addresses[name]

    departures = [Departure(address=address(name), node_key=None) for name in gone]
    for text in replaced:
        name, _, certificate = text.partition("=")
        if not certificate:
            raise NodeError(f"--replaced {text}: NAME=CERTIFICATE is needed, the new home's node.crt")
        departures.append(Departure(address=address(name), node_key=load_certificate_key(Path(certificate))))
    return departures


def _show(plan: Plan, genesis: Genesis) -> None:
    """Prints who goes on, and who said what."""
    names = names_of(genesis)
    table = Table(title=f"Era {plan.era}, above height {plan.base}", title_justify="left")
    for heading in ("member", "statement", "goes on"):
        table.add_column(heading)
    stated = {(name.author, name.node_key): name for name in plan.statements}
    going = dict(plan.members)
    for address, key in plan.quorums[0]:
        name = stated.get((address, key))
        said = "none" if name is None else ("complete" if name.is_complete else "something is lost")
        after = going.get(address)
        how = "gone" if after is None else ("as before" if after == key else "a new home")
        table.add_row(names.get(address, address.hex()), said, how)
    output_console().print(table)
    old, new = len(plan.quorums[0]), len(plan.members)
    typer.echo(
        f"{old} members, {quorum(old)} must agree; after this {new} members, {quorum(new)} decide. "
        + ("The block above is carried over." if plan.carried is not None else "Nothing above is carried over.")
    )


def _confirm_loss(plan: Plan, joins: Sequence[Join], *, yes: bool, accept_loss: bool) -> None:
    """Asks, and where a decided block may be replaced wants to hear the word for it."""
    found, needed = (
        ceremony.complete_statements(plan, joins),
        ceremony.complete_statements_needed(len(plan.quorums[0])),
    )
    typer.echo(
        f"{len(joiners(plan, joins))} members agreed, {found} of them with complete statements; from {needed} on no "
        "decided block is replaced."
    )
    if found >= needed:
        if not yes and not typer.confirm("Begin this era?"):
            raise NodeError("nothing was changed")
        return
    typer.echo(
        f"A block that was decided at height {plan.base + 1} may be replaced, if all honest members that committed "
        "to it lost their records or are absent; where decided blocks were lost as well, more of them."
    )
    if not accept_loss and typer.prompt(f"Type {LOSS_WORD} to go on all the same") != LOSS_WORD:
        raise NodeError("nothing was changed")
