"""`p2pnode member`: homes leave the chain, or are removed; what changes of the members wait."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from contracts.genesis import chain_id
from ledger.ledger import Ledger
from node.cli.asking import Question, ask, ask_url
from node.cli.homes.exchanging import METER_EXAMPLE, ROTATE_EXAMPLE, replace_meter, rotate
from node.cli.homes.leaving import LOOK_PAUSE_S, OwnNode
from node.cli.homes.measures import (
    APPROVE_EXAMPLE,
    CHANGES_PATH,
    EXPEL_EXAMPLE,
    MEMBERS_PATH,
    REINSTATE_EXAMPLE,
    SUSPEND_EXAMPLE,
    WITHDRAW_EXAMPLE,
    approve,
    arithmetic_of,
    expel,
    reinstate,
    suspend,
    withdraw,
)
from node.cli.homes.members import SHOW_EXAMPLE, show
from node.cli.homes.renewing import RENEW_EXAMPLE, renew
from node.cli.homes.returning import RETURN_EXAMPLE, return_
from node.cli.options import ConfigOption, JsonOption, RunningConfig, YesOption, confirm
from node.cli.sending import send_as_member
from node.cli.terminal import error_console, output_console
from node.client import api_url, open_client
from node.errors import NodeError
from node.home.configuration import Configuration, load_configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.names.names import names_of_home
from node.proofs.revocation_file import read_revocation
from node.replies.state import MemberChangesReply, MembersReply
from node.stories.member_changes import changes_of
from node.stories.slices import Slices
from node.stories.words import moment_text

LEAVE_EXAMPLE: Final = "Example: p2pnode member leave --config testnet/node1/meter.toml"
STAY_EXAMPLE: Final = "Example: p2pnode member stay --config testnet/node1/meter.toml"
REVOKE_EXAMPLE: Final = "Example: p2pnode member revoke node4-3f2a90c1.revocation --config node1/meter.toml"
CHANGES_EXAMPLE: Final = "Example: p2pnode member changes --config testnet/node1/meter.toml"

member_app = typer.Typer(
    name="member",
    no_args_is_help=True,
    help="One member; leave, renew this home or exchange its keys; suspend or remove others; what waits of that.",
)
member_app.command("show", epilog=SHOW_EXAMPLE)(show)
member_app.command("suspend", epilog=SUSPEND_EXAMPLE)(suspend)
member_app.command("reinstate", epilog=REINSTATE_EXAMPLE)(reinstate)
member_app.command("expel", epilog=EXPEL_EXAMPLE)(expel)
member_app.command("approve", epilog=APPROVE_EXAMPLE)(approve)
member_app.command("withdraw", epilog=WITHDRAW_EXAMPLE)(withdraw)
member_app.command("rotate", epilog=ROTATE_EXAMPLE)(rotate)
member_app.command("replace-meter", epilog=METER_EXAMPLE)(replace_meter)
member_app.command("renew", epilog=RENEW_EXAMPLE)(renew)
member_app.command("return", epilog=RETURN_EXAMPLE)(return_)


@member_app.command(epilog=CHANGES_EXAMPLE)
def changes(config: ConfigOption, as_json: JsonOption = False) -> None:  # noqa: FBT002
    """Show which changes of the members are under way or wait, what members propose, who left and why."""

    def read(ledger: Ledger, home: Home) -> Slices[MemberChangesReply]:
        yield from ()
        return changes_of(ledger, names_of_home(home))

    reply = ask(config, Question(path=CHANGES_PATH, model=MemberChangesReply, read=read))
    if as_json:
        typer.echo(reply.model_dump_json(indent=2))
        return
    console = output_console()
    for sentence in (*(one.sentence for one in reply.under_way), *(one.sentence for one in reply.waiting)):
        console.print(sentence)
    if not (reply.under_way or reply.waiting):
        console.print("no change of the members waits")
    if reply.proposals:
        console.print(_proposals_table(reply))
    if reply.left:
        table = Table("member", "address", "last height", "how")
        for left in reply.left:
            how = "left" if left.removed_for is None else left.removed_for.value
            table.add_row(left.name, left.address[:16], str(left.last_height), how)
        console.print(table)


def _proposals_table(reply: MemberChangesReply) -> Table:
    table = Table("proposal", "by", "to", "whom", "approved by", "status")
    for one in reply.proposals:
        needed = f" of {one.quorum} needed" if one.status == "open" else ""
        until = f" until {moment_text(one.until_ms)}" if one.status in ("open", "approved") else ""
        named = (one.proposal[:16], one.proposer_name, one.measure, one.member_name)
        table.add_row(*named, f"{len(one.approvals)}{needed}", f"{one.status}{until}")
    return table


@member_app.command(epilog=LEAVE_EXAMPLE)
def leave(config: RunningConfig, yes: YesOption = False) -> None:  # noqa: FBT002
    """Leave the chain: settle, wait until the others go on without this home, and say so.

    The wallet stays: whatever it holds can be sent or redeemed later with
    this home's key. What was traded for delivery is settled first, and a
    debt to the grid account is paid first. The node keeps running until
    this command says that it may be stopped. Interrupted, the leave goes
    on all the same: `p2pnode member stay` takes it back, and this command,
    given again, follows it.
    """
    configuration = load_configuration(config)
    question = asyncio.run(_question(configuration))
    if question is not None:
        confirm(question, yes=yes)
    _follow(configuration, config, _leave, leaving=True)
    output_console().print(
        f"{configuration.node.name} has left, and the others go on without it. Stop its node; once the wallet is "
        "empty, erase node.key"
    )


@member_app.command(epilog=STAY_EXAMPLE)
def stay(config: RunningConfig) -> None:
    """Take a leave back that still waits, or is under way."""
    configuration = load_configuration(config)
    _follow(configuration, config, _stay, leaving=False)
    output_console().print(f"{configuration.node.name} stays")


@member_app.command(epilog=REVOKE_EXAMPLE)
def revoke(
    file: Annotated[
        Path, typer.Argument(help="The authority's file .revocation (p2pnode ca revoke).", show_default=False)
    ],
    config: RunningConfig,
    yes: YesOption = False,  # noqa: FBT002
) -> None:
    """Bring the authority's word to the chain that a member's key is no member's any more: the member is removed.

    Any member may bring it, and it can be brought again where it was lost.
    """
    configuration = load_configuration(config)
    chain = chain_id(load_genesis(configuration.home))
    action, url = read_revocation(file, chain), api_url(configuration)
    key, reason = action.revocation.node_key.hex(), action.revocation.reason.value
    members = ask_url(url, MEMBERS_PATH, MembersReply)
    name = next((one.name for one in members.members if one.node_key == key), "no present member")
    typer.echo(f"The authority revokes key {key} ({reason}), which is that of {name}.")
    typer.echo(arithmetic_of(members))
    confirm("Bring that to the chain?", yes=yes)
    reply = send_as_member(configuration, action)
    typer.echo(f"Block {reply.height:,} took it. p2pnode member changes shows what it waits for, or that it is done")


async def _question(configuration: Configuration) -> str | None:
    """Returns what to ask before this home says that it leaves; None if it said so already."""
    async with open_client() as client:
        own = OwnNode(configuration, client)
        await own.look_up()
        standing = await own.standing()
        if standing.is_leaving or standing.last_height is not None:
            return None
        members = await own.members()
    return (
        f"{len(members.members)} members, {members.quorum} must answer. This home leaves them: it trades no "
        "more and takes part in no decision. Leave?"
    )


def _follow(
    configuration: Configuration, config: Path, work: Callable[[OwnNode], Awaitable[None]], *, leaving: bool
) -> None:
    """Runs a command's part that waits; cut off by Ctrl-C, it says what goes on without it."""

    async def followed() -> None:
        async with open_client() as client:
            own = OwnNode(configuration, client)
            try:
                await own.look_up()
                await work(own)
            except asyncio.CancelledError:
                error_console().print(_what_goes_on(own, config, leaving=leaving), soft_wrap=True)
                raise

    asyncio.run(followed())


def _what_goes_on(own: OwnNode, config: Path, *, leaving: bool) -> str:
    name, seen, again = own.name, own.seen, f"`p2pnode member {'leave' if leaving else 'stay'} --config {config}`"
    if seen is not None and seen.last_height is not None:
        return f"{name} has left already. Keep its node running until {again} says that it may be stopped"
    if not own.has_said and (seen is None or seen.is_leaving is not leaving):
        return "nothing was changed"
    if leaving:
        withdraw = f"`p2pnode member stay --config {config}` takes it back"
        return f"the leave of {name} is under way, and goes on without this command. {withdraw}, {again} follows it"
    return f"that {name} stays is under way, and goes on without this command. {again} follows it"


async def _leave(own: OwnNode) -> None:
    if (await own.standing()).last_height is None:
        await own.say(leaving=True)
    standing = await own.until_decided(leaving=True)
    assert standing.last_height is not None, "it has left"
    await _others_go_on(own, standing.last_height)


async def _others_go_on(own: OwnNode, last: int) -> None:
    """Waits until a quorum of the members without this home is past its last height: before, this home may hold the
    only copy of the decision that lets it go.
    """
    while True:
        why = await own.why()
        past = sum((member.undecided_height or 0) > last for member in why.members if not member.is_own)
        if why.height > last and past >= why.quorum:
            return
        if why.height > last:
            own.tell(f"waiting until {why.quorum} of the others have decided height {last}: {past} have")
        else:
            own.tell(f"waiting until height {last}, the last one with this home, is decided")
        await asyncio.sleep(LOOK_PAUSE_S)


async def _stay(own: OwnNode) -> None:
    standing = await own.standing()
    if standing.last_height is not None:
        raise NodeError(f"{own.name} left with height {standing.last_height}: nothing can be taken back")
    if standing.waiting is None and standing.under_way is None:
        raise NodeError("no leave of this home waits, and none is under way: nothing was changed")
    await own.say(leaving=False)
    standing = await own.until_decided(leaving=False)
    if standing.last_height is not None:
        raise NodeError(f"too late: {own.name} left with height {standing.last_height}")
