"""`p2pnode recover`: how people go on when more members lost what they signed than the others can make up for.

A ceremony (`consensus.ceremony`) at the command line. Each step first checks the files that people brought and where
its own file goes, then opens the stopped node's home, shows what it will do, and makes the home's own part durable
before anything leaves it. What is refused has changed nothing.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec.structs import replace
from rich.table import Table

from consensus import ceremony
from consensus.codec import Record, encode
from consensus.era_plans import AppliedEra, Departure, EraProof, Join, Plan, is_complete, joiners, plan_digest
from consensus.eras import ERAS_MAX
from consensus.events import EraStanding
from consensus.identifiers import FIXED_AHEAD, Address, EraNumber, Height
from consensus.plans import PlanRefusal, carried_proposal, make_plan
from consensus.quorum import quorum
from ledger.eras import BegunEra
from node.admission.endpoint import certified_home
from node.admission.identity import load_chain, load_key
from node.admission.voucher import time_ms
from node.cli.ceremony_files import (
    DIGEST_DIGITS,
    Admission,
    CheckedPlan,
    admission_of,
    plan_name,
    read_joins,
    read_plan,
    read_statements,
    why_no_plan,
)
from node.cli.ceremony_home import CeremonyHome, open_home, refused
from node.cli.options import KeyFileOption, YesOption, confirm, passphrase_of
from node.cli.recover import ALONE_EXAMPLE, alone
from node.cli.terminal import asked, output_console
from node.errors import IdentityError, NodeError
from node.home import ceremony_steps
from node.home.configuration import load_configuration
from node.home.era_files import (
    JoinFile,
    PlanFile,
    StatementFile,
    keep_era,
    keep_plans,
    kept_plans,
    require_output,
    write_record,
)

RECOVER_HELP: Final = """\
Go on where what members signed is lost: alone, or by a ceremony of all.

A chain stands still for good when more of its members lost what they
signed (their sign states, or the records beside them) than may fail:
`p2pnode why` says so. People can then say that nothing older counts, and
begin another era of the chain. In this order, with every node stopped:

\b
1. export   at every home that is left: it gives up its era
            and writes a statement
2. plan     once, anywhere, of all statements: from which block
            on, and who goes on
3. join     at every home that exported: it agrees to the plan
            and writes an agreement
4. apply    at every home, with the plan and all agreements:
            the era begins; start the nodes
   release  instead of 3: takes an export back

The files travel by mail or memory stick: they are signed and hold no
secret. docs/operations.md (A ceremony) tells more: when, what each step
makes irrevocable, and whom one trusts."""

RECOVER_EXAMPLE: Final = "\
Begin with: p2pnode recover export --config node1/meter.toml --output node1.statement"
EXPORT_EXAMPLE: Final = """\
Example: p2pnode recover export --config node1/meter.toml --output node1.statement

Next: `recover plan` with the statements of all; back: `recover release`."""
PLAN_EXAMPLE: Final = """\
Example: p2pnode recover plan node1.statement node2.statement node3.statement node4.statement \
--config node1/meter.toml --output era1.plan

With node4 gone for good: p2pnode recover plan node1.statement node2.statement node3.statement \
--config node1/meter.toml --output era1.plan --gone node4 --authority ca/root.key --key-file ca.passphrase

With a new home in its place (`p2pnode home new` makes one): --replaced node4=node4-new/node.crt instead of --gone.

Next: `recover join` at each home that exported."""
JOIN_EXAMPLE: Final = """\
Example: p2pnode recover join era1.plan --config node1/meter.toml --output node1.join

Next: `recover apply` at each home, with the plan and all agreements."""
APPLY_EXAMPLE: Final = """\
Example: p2pnode recover apply era1.plan node1.join node2.join node3.join node4.join --config node1/meter.toml

Next: `p2pnode start --config node1/meter.toml`."""
RELEASE_EXAMPLE: Final = "Example: p2pnode recover release --config node1/meter.toml"

ADDRESS_FORM: Final = re.compile(r"[0-9a-fA-F]{64}")

LOSS_WORD: Final = "replace"
"""What an operator types where a decided block may be replaced."""

ConfigOption = Annotated[Path, typer.Option(help="The stopped node's meter.toml.", show_default=False)]
OutputOption = Annotated[
    Path,
    typer.Option(
        help="Where the file goes. An earlier file of the same kind is replaced; anything else that is there, and a "
        "symbolic link, is refused.",
        show_default=False,
    ),
]
EraOption = Annotated[
    int | None,
    typer.Option(
        help="The era to come; by default the one that this home made a statement for, else one above its own. If a "
        "plan of that one found too few agreements: one above it, at every home.",
        min=1,
        max=ERAS_MAX,
        show_default=False,
    ),
]
LossOption = Annotated[
    bool, typer.Option("--accept-loss", help="Where a decided block may be replaced: without being asked.")
]

recover_app = typer.Typer(name="recover", help=RECOVER_HELP, epilog=RECOVER_EXAMPLE, no_args_is_help=True)
recover_app.command(epilog=ALONE_EXAMPLE)(alone)


@recover_app.command(epilog=EXPORT_EXAMPLE)
def export(
    config: ConfigOption,
    output: OutputOption,
    era: EraOption = None,
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """First step: give up the present era at this home, and write down what it has.

    From now on this node signs and appends nothing of the older eras, until
    `apply` begins the next one or `release` takes this back. Done again it
    makes a newer statement, and only the newest one counts. It works at a
    home whose sign state or ledger is lost, too: the statement says so.
    """
    configuration = load_configuration(config)
    require_output(output, StatementFile)
    with open_home(configuration) as home:
        number = era or _era_to_come(home.standing)
        stated = ceremony.state(home.facts(), EraNumber(number), home.signer)
        if stated is ceremony.CeremonyRefusal.NO_MEMBER and home.last_height is not None:
            left = f"{home.name} left with height {home.last_height}, and is no member of the next one"
            raise NodeError(f"{left}: no plan needs a statement of it. Nothing was changed")
        if isinstance(stated, ceremony.CeremonyRefusal):
            raise refused(stated, number, home.standing)
        _confirm_gap(number, home.standing, yes=yes)
        sign_state, statement = stated
        signed = ceremony.signed_statement(statement, home.signer)
        file = StatementFile(statement=signed, changes=home.changes(), plans=tuple(kept_plans(home.home)))
        ceremony_steps.export(
            sign_state,
            save=home.save,
            write_statement=lambda: _write_or_tell(
                output, file, f"{home.name} gave up all eras below {number} already: run the same command again"
            ),
        )
        lost = ", ".join(missing.value.replace("_", " ") for missing in statement.missing)
        has = "complete" if statement.is_complete else f"not complete, as this is lost: {lost}"
        typer.echo(
            f"{home.name} gave up all eras below {number}, at height {statement.height}.\n"
            f"{output}: its statement {statement.number}, {has}. Bring it to whoever makes the plan."
        )


@recover_app.command("plan", epilog=PLAN_EXAMPLE)
def plan_command(
    files: Annotated[list[Path], typer.Argument(help="The statements.", show_default=False)],
    config: Annotated[
        Path,
        typer.Option(help="Any node's meter.toml: the folder's genesis and authority count.", show_default=False),
    ],
    output: OutputOption,
    gone: Annotated[
        list[str] | None, typer.Option(help="NAME (or address): a member that does not come back; give several.")
    ] = None,
    replaced: Annotated[
        list[str] | None,
        typer.Option(help="NAME=CERTIFICATE: the new home that takes a member's place; give several."),
    ] = None,
    authority: Annotated[
        Path | None, typer.Option(help="The authority's present key (root.key), where a member made no statement.")
    ] = None,
    key_file: KeyFileOption = None,
) -> None:
    """Second step: make one plan of all statements. Changes no home; anybody can do it, and get the same.

    Where a member made no statement, the authority vouches for that with its
    root key, or the one by which the chain replaced it: the member stays and
    comes later, is --gone, or is --replaced by a new home. It signs one plan
    per era, and says --gone only of a home that is: what that one alone has
    decided is lost.
    """
    home = load_configuration(config).home
    require_output(output, PlanFile)
    admission = admission_of(home)
    brought = read_statements(files, admission)
    era = brought.statements[0].statement.era
    departures = _departures(admission, gone or [], replaced or [])
    made = make_plan(brought.statements, departures, era=era, past=brought.past)
    if isinstance(made, PlanRefusal):
        raise NodeError(
            f"there is no plan ({why_no_plan(made, brought, departures, admission)}). Nothing was written"
        )
    if not made.plan.is_everybody_there:
        made = replace(made, authority=_word_of(authority, key_file, made.plan, admission))
    made = replace(made, changes=brought.changes)
    write_record(output, PlanFile(plans=(*brought.plans, made)))
    _show(made.plan, admission)
    typer.echo(
        f"{output}: the plan {plan_name(made.plan)} of era {era}. Each home that exported joins it now "
        "(p2pnode recover join)"
    )


@recover_app.command(epilog=JOIN_EXAMPLE)
def join(
    plan: Annotated[Path, typer.Argument(help="The plan.", show_default=False)],
    config: ConfigOption,
    output: OutputOption,
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Third step: agree at this home to a plan that its newest statement is part of.

    Irrevocable: it agrees to one plan per era, and cannot be released any
    more. If the plan finds too few agreements, all export again for the era
    after. Done again it writes the same agreement.
    """
    configuration = load_configuration(config)
    require_output(output, JoinFile)
    admission = admission_of(configuration.home)
    checked = read_plan(plan, configuration.home, admission)
    signed = checked.signed
    with open_home(configuration) as home:
        joined = ceremony.join(signed.plan, home.sign_state, home.key)
        if isinstance(joined, ceremony.CeremonyRefusal):
            _refuse_new_home(home, signed.plan)
            raise refused(joined, signed.plan.era, home.sign_state.standing)
        _show(signed.plan, admission)
        confirm("Agree to this plan, and to no other of its era?", yes=yes)
        sign_state, agreed = joined
        file = JoinFile(plan=plan_digest(signed.plan), join=agreed)
        ceremony_steps.join(
            sign_state,
            keep_plans=lambda: keep_plans(home.home, checked.followed),
            save=home.save,
            write_join=lambda: _write_or_tell(
                output, file, f"{home.name} agreed to the plan already: run the same command again"
            ),
        )
        needed = signed.plan.old_membership.quorum
        typer.echo(
            f"{home.name} agreed to the plan {plan_name(signed.plan)} of era {signed.plan.era}.\n"
            f"{output}: its agreement. With {needed} or more of them every home applies the plan "
            "(p2pnode recover apply)"
        )


@recover_app.command("apply", epilog=APPLY_EXAMPLE)
def apply_command(
    plan: Annotated[Path, typer.Argument(help="The plan.", show_default=False)],
    joins: Annotated[list[Path], typer.Argument(help="The agreements to it.", show_default=False)],
    config: ConfigOption,
    yes: YesOption = False,  # noqa: FBT002
    accept_loss: LossOption = False,  # noqa: FBT002
) -> None:
    """Last step: begin the era of a plan that a quorum of the old members agreed to; then start the node.

    Irrevocable: this home never goes back to an older era. Bring all
    agreements: with K* complete statements of those who agreed it is certain
    that no decided block is replaced; with fewer the command asks for a word.
    Homes may apply at different times. Who agreed to nothing, or lost its
    sign state, asks the others first what it may have signed.
    """
    configuration = load_configuration(config)
    admission = admission_of(configuration.home)
    checked = read_plan(plan, configuration.home, admission)
    signed = checked.signed
    agreed = read_joins(joins, signed.plan, admission)
    if not is_complete(signed.plan, agreed):
        needed, members = signed.plan.old_membership.quorum, len(signed.plan.old_membership)
        raise NodeError(
            f"too few of the old members agreed: {len(agreed)} of {members}, and {needed} are needed. "
            "Nothing was changed"
        )
    with open_home(configuration, restores_eras=True) as home:
        if home.takes_part_in(signed.plan):
            typer.echo(f"{home.name}, applied already: {_restore_eras(home, checked, agreed)}")
            return
        begun = ceremony.apply(
            signed.plan, agreed, signed=home.sign_state, key=home.key.public_key, ledger=home.ledger_facts()
        )
        if isinstance(begun, ceremony.CeremonyRefusal):
            raise _ledger_refused(begun, signed.plan, home)
        _require_own_members(home, checked)
        _show(signed.plan, admission)
        _confirm_loss(signed.plan, agreed, yes=yes, accept_loss=accept_loss)
        _begin(home, begun, checked, agreed)
        typer.echo(
            f"{home.name} begins era {signed.plan.era} at height {signed.plan.base + 1}: start it."
            + ("" if begun.sign_state.silent_through == 0 else " It asks the others first what it may have signed.")
        )


@recover_app.command("release", epilog=RELEASE_EXAMPLE)
def release_command(config: ConfigOption) -> None:
    """Way back: take back what `export` gave up, as long as this home agreed to no plan.

    Its statements are void then: a plan made of one cannot be joined here any more.
    """
    with open_home(load_configuration(config)) as home:
        released = ceremony.release(home.sign_state)
        if isinstance(released, ceremony.CeremonyRefusal):
            raise refused(released, home.sign_state.standing.sealed_below, home.sign_state.standing)
        home.save(released)
        typer.echo(f"{home.name} goes on in era {released.standing.era}: start it. Its statements are void")


# --- parts -----------------------------------------------------------------------------------------------------


def _era_to_come(standing: EraStanding) -> int:
    """Returns the era that a home makes a statement for, unless it is told another one."""
    era = max(standing.era + 1, standing.sealed_below)
    if era > ERAS_MAX:
        raise NodeError(f"era {ERAS_MAX} is the last one that there can be. Nothing was changed")
    return era


def _confirm_gap(era: int, standing: EraStanding, *, yes: bool) -> None:
    """Asks where an era is not the next one that a home knows of: mostly that is a slip."""
    known = max(standing.era, standing.sealed_below)
    if era > known + 1:
        typer.echo(
            f"--era {era}: this home knows of no era above {known}, so the next one is {known + 1}. Leave eras out "
            f"only where the others went on without this home, and make their statements for era {era}, too."
        )
        confirm(f"Give up all eras below {era}?", yes=yes)


def _write_or_tell(path: Path, record: Record, done: str) -> None:
    """Writes what leaves a home; where that fails, tells what is done all the same."""
    try:
        write_record(path, record)
    except NodeError as error:
        raise NodeError(f"{error}. {done}, it writes the file") from None


def _ledger_refused(refusal: ceremony.CeremonyRefusal, plan: Plan, home: CeremonyHome) -> NodeError:
    """Adds the blocks by which this home's ledger and a plan differ."""
    told, facts = refused(refusal, plan.era, home.sign_state.standing), home.ledger_facts()
    if refusal is ceremony.CeremonyRefusal.OTHER_BLOCK:
        own = facts.block_at(plan.base).hex()
        return NodeError(
            f"plan.base_block: is {plan.base_block.hex()} at height {plan.base}, here it is {own}: {told}"
        )
    if refusal is ceremony.CeremonyRefusal.LEDGER_ABOVE:
        return NodeError(f"plan.base: is height {plan.base}, and this ledger ends at height {facts.height}: {told}")
    return told


def _require_own_members(home: CeremonyHome, checked: CheckedPlan) -> None:
    """Refuses a plan of members whom this home's ledger knows otherwise, though its base may lie above: a quorum of a
    past set, which has left, can decide what it likes from there.
    """
    ledger, standing = home.ledger, home.standing
    applied = AppliedEra(era=standing.era, plan=standing.plan)
    height = Height(min(ledger.height + FIXED_AHEAD, checked.signed.plan.base + 1))
    if not checked.past.knows(applied):
        return
    brought = checked.past.membership(applied, height)
    if brought is None or brought.members != ledger.membership_at(height).members:
        raise NodeError(
            f"plan.changes: this home's ledger has other members at height {height} than the plan: it was not made "
            "of this chain's newest statements. Nothing was changed"
        )


def _begin(home: CeremonyHome, begun: ceremony.Applied, checked: CheckedPlan, agreed: Sequence[Join]) -> None:
    ceremony_steps.apply(
        begun,
        keep_plans=lambda: keep_plans(home.home, checked.followed),
        set_ledger_aside=home.set_ledger_aside,
        keep_eras=lambda: _keep_eras(home, checked, agreed),
        save=home.save,
    )


def _restore_eras(home: CeremonyHome, checked: CheckedPlan, agreed: Sequence[Join]) -> str:
    """Brings back what a home that has begun an era lost of its files; says what was done."""
    try:
        home.eras()
    except NodeError:
        keep_plans(home.home, checked.followed)
        _keep_eras(home, checked, agreed)
        home.eras()
        return f"what was lost of {home.home.eras} is there again"
    return "nothing was changed"


def _keep_eras(home: CeremonyHome, checked: CheckedPlan, agreed: Sequence[Join]) -> None:
    """Keeps the era, and the earlier ones that it follows and that this home never began."""
    signed = checked.signed
    for earlier in checked.followed[:-1]:
        if not (home.home.eras / f"{earlier.plan.era}.era").exists():
            proof = EraProof(plan=earlier.plan, joins=(), authority=earlier.authority)
            keep_era(home.home, BegunEra(proof=proof, carried=carried_proposal(earlier, checked.past)))
    proof = EraProof(plan=signed.plan, joins=tuple(agreed), authority=signed.authority)
    keep_era(home.home, BegunEra(proof=proof, carried=carried_proposal(signed, checked.past)))


def _refuse_new_home(home: CeremonyHome, plan: Plan) -> None:
    if any(one.node_key == home.key.public_key for one in plan.departures):
        raise NodeError(
            f"{home.name} is a new home of this plan: it need not agree, it applies the plan with the others' "
            "agreements (`p2pnode recover apply`). Nothing was changed"
        )


def _departures(admission: Admission, gone: Sequence[str], replaced: Sequence[str]) -> list[Departure]:
    def address(name: str) -> Address:
        called = admission.names.called(name)
        if called:
            return called[0]
        if ADDRESS_FORM.fullmatch(name):
            return Address(bytes.fromhex(name))
        raise NodeError(
            f"{name}: no member has this name in this home's address book (p2pnode names list), and it is no address"
        )

    departures = [Departure(address=address(name), node_key=None) for name in gone]
    for text in replaced:
        name, _, file = text.partition("=")
        if not file:
            raise NodeError(f"--replaced {text}: NAME=CERTIFICATE is needed, the new home's node.crt")
        if Path(file).is_symlink():
            raise NodeError(f"--replaced {text}: {file} is a symbolic link: name the file itself")
        encoded = tuple(one.public_bytes(Encoding.DER) for one in load_chain(Path(file)))
        try:
            home = certified_home(encoded, admission.authority)
        except IdentityError as error:
            raise NodeError(f"--replaced {text}: {error}") from None
        if home.valid_until < datetime.now(UTC):
            ended = f"its certificate ended on {home.valid_until:%Y-%m-%d}"
            raise NodeError(f"--replaced {text}: {ended}; the authority renews it (p2pnode ca renew)")
        departures.append(
            Departure(
                address=address(name),
                node_key=home.node_key,
                certificates=encoded,
                valid_until_ms=time_ms(home.valid_until),
            )
        )
    return departures


def _word_of(authority: Path | None, key_file: Path | None, plan: Plan, admission: Admission) -> bytes:
    """Returns the authority's signature under a plan that members are absent from."""
    if authority is None:
        stated = {name.author for name in plan.statements}
        absent = ", ".join(admission.name_of(one) for one, _ in plan.quorums[0] if one not in stated)
        raise NodeError(
            f"without a statement: {absent}. --authority must name the authority's root key, which vouches for that: "
            "bring it from where it is kept. Nothing was written"
        )
    if not authority.exists():
        raise NodeError(
            f"--authority {authority}: is not there. The root's key signs the plan; if it was taken away, bring it "
            "from where it is kept. Nothing was written"
        )
    key = load_key(authority, passphrase=passphrase_of(key_file))
    if key.public_key != plan.authority:
        is_first = key.public_key == admission.genesis.authority_key
        raise NodeError(
            f"--authority {authority}: {'acts no more' if is_first else 'does not act'} for this chain's authority: "
            f"in what the plan keeps of the chain its key is {plan.authority.hex()}. Bring that one; if it is lost, "
            "statements of all members, with which none is needed. Nothing was written"
        )
    return key.sign(encode(plan))


def _show(plan: Plan, admission: Admission) -> None:
    """Prints who goes on, and who said what."""
    table = Table(title=f"Plan {plan_name(plan)}: era {plan.era}, above height {plan.base}", title_justify="left")
    for heading in ("member", "statement", "in the new era"):
        table.add_column(heading)
    stated = {(name.author, name.node_key): name for name in plan.statements}
    going, new_homes = dict(plan.members), {one.address: one for one in plan.departures if one.node_key is not None}
    for address, key in plan.quorums[0]:
        name = stated.get((address, key))
        said = "none" if name is None else ("complete" if name.is_complete else "something is lost")
        how = _how(address, going, new_homes, is_absent=name is None)
        table.add_row(admission.name_of(address), said, how)
    output_console().print(table)
    old, new = len(plan.quorums[0]), len(plan.members)
    above = (
        f"The block at height {plan.base + 1} may have been decided, and is carried over."
        if plan.carried is not None
        else f"No block at height {plan.base + 1} is known that may have been decided: nothing is carried over."
    )
    complete = sum(name.is_complete for name in plan.statements)
    if not plan.is_everybody_there:
        typer.echo(
            "For who made no statement the authority speaks, by the key that it has in what the plan keeps of the "
            f"chain, {plan.authority.hex()[:DIGEST_DIGITS]}. Who knows of a later one looks for the statement that "
            "shows it before anybody agrees."
        )
    typer.echo(
        f"{quorum(old)} of the {old} old members must agree. After this there are {new} members, of whom "
        f"{quorum(new)} decide. {above}\n"
        f"K* = {ceremony.complete_statements_needed(old)}: if so many of those who agree made complete statements, "
        f"no decided block is replaced; {complete} of these statements are complete.\n"
        f"Everybody sees the same plan, {plan_name(plan)}: compare these digits with the others, by telephone."
    )


def _how(
    address: Address,
    going: Mapping[Address, bytes],
    new_homes: Mapping[Address, Departure],
    *,
    is_absent: bool,
) -> str:
    """Returns how a member goes on."""
    if address not in going:
        return "gone"
    new_home = new_homes.get(address)
    if new_home is None or new_home.node_key is None or not new_home.certificates:
        return "as before, once it comes back" if is_absent else "as before"
    said = certified_home(new_home.certificates)
    place = "where the old one was" if said.endpoint is None else f"at {said.endpoint}"
    until = f"certified until {said.valid_until:%Y-%m-%d}"
    return f"a new home {place}, key {new_home.node_key.hex()[:DIGEST_DIGITS]}, {until}"


def _confirm_loss(plan: Plan, joins: Sequence[Join], *, yes: bool, accept_loss: bool) -> None:
    """Asks, and where a decided block may be replaced wants to hear the word for it."""
    found = ceremony.complete_statements(plan, joins)
    needed = ceremony.complete_statements_needed(len(plan.quorums[0]))
    typer.echo(
        f"{len(joiners(plan, joins))} members agreed, {found} of them with complete statements; from {needed} on no "
        f"decided block is replaced (K = {found}, K* = {needed})."
    )
    if found >= needed:
        confirm("Begin this era?", yes=yes)
        return
    typer.echo(
        f"K is below K*: a block that was decided at height {plan.base + 1} may be replaced by another one, if all "
        "honest members that committed to it lost their records or are absent; where decided blocks were lost as "
        "well, more of them. What such a block paid did not happen then. If more agreements can be had, bring them. "
        "If homes with complete statements can still be found, let all export for the next era, and make its plan "
        "with theirs."
    )
    if not accept_loss and _heard_word() != LOSS_WORD:
        raise NodeError("nothing was changed")


def _heard_word() -> str:
    word: str = asked(lambda: typer.prompt(f"Type {LOSS_WORD} to go on all the same"), option="--accept-loss")
    return word
