"""`p2pnode member`: a home leaves the chain, or stays after all; what changes of the members wait."""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from consensus.cryptography import SigningKey
from consensus.identifiers import Address
from contracts.genesis import chain_id
from contracts.transactions import SetLeaving
from ledger.ledger import Ledger
from node.admission.identity import load_certified_key
from node.cli.asking import Question, ask
from node.cli.options import ConfigOption, JsonOption, YesOption, confirm
from node.cli.sending import DEADLINE_S, WAIT_S, send
from node.cli.terminal import error_console, output_console
from node.client import NodeClient, api_url, open_client
from node.errors import NodeError
from node.home.configuration import Configuration, load_configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.replies.node import SubmissionReply
from node.replies.state import MemberChangesReply, MembersReply, StateReply, WaitingChange
from node.replies.why import WhyReply
from node.stories.member_changes import changes_of
from node.stories.slices import Slices

LEAVE_EXAMPLE: Final = "Example: p2pnode member leave --config testnet/node1/meter.toml"
STAY_EXAMPLE: Final = "Example: p2pnode member stay --config testnet/node1/meter.toml"
CHANGES_EXAMPLE: Final = "Example: p2pnode member changes --config testnet/node1/meter.toml"

LOOK_PAUSE_S: Final = 0.5

RunningConfig = Annotated[Path, typer.Option("--config", help="The meter.toml of a node that runs.")]

member_app = typer.Typer(no_args_is_help=True, help="Leave the chain, or stay after all; who else leaves.")


@member_app.command(epilog=CHANGES_EXAMPLE)
def changes(config: ConfigOption, as_json: JsonOption = False) -> None:  # noqa: FBT002
    """Show which changes of the members wait, for what, and who left."""

    def read(ledger: Ledger, _: Home) -> Slices[MemberChangesReply]:
        yield from ()
        return changes_of(ledger)

    reply = ask(config, Question(path="/v1/members/changes", model=MemberChangesReply, read=read))
    if as_json:
        typer.echo(reply.model_dump_json(indent=2))
        return
    console = output_console()
    for change in reply.waiting:
        console.print(change.sentence)
    if not reply.waiting:
        console.print("no change of the members waits")
    if reply.left:
        table = Table("member", "address", "last height")
        for left in reply.left:
            table.add_row(left.name, left.address[:16], str(left.last_height))
        console.print(table)


@member_app.command(epilog=LEAVE_EXAMPLE)
def leave(config: RunningConfig, yes: YesOption = False) -> None:  # noqa: FBT002
    """Leave the chain: settle, wait until the others go on without this home, and say so.

    The wallet stays: whatever it holds can be sent or redeemed later with
    this home's key. What was traded for delivery is settled first, and a
    debt to the grid account is paid first. The node keeps running until
    this command says that it may be stopped; interrupted, the command is
    given again and goes on where it was.
    """
    asyncio.run(_leave(load_configuration(config), yes=yes))


@member_app.command(epilog=STAY_EXAMPLE)
def stay(config: RunningConfig) -> None:
    """Take a leave back that still waits."""
    asyncio.run(_stay(load_configuration(config)))


class _OwnNode:
    """This home's node, asked over its API, and its key."""

    def __init__(self, configuration: Configuration, client: NodeClient) -> None:
        self._home = configuration.home
        self._key: SigningKey = load_certified_key(configuration.home)
        self._client = client
        self._url = api_url(configuration)
        self.address = ""

    async def look_up(self) -> None:
        """Finds out which member this home is."""
        status = await self._client.status(self._url)
        if status is None:
            raise NodeError(f"{self._url} does not answer: is the node running? It must, until it has left")
        registered = await self._client.get(self._url, f"/v1/state/member:{status.address}", StateReply)
        fields = {} if registered.record is None else registered.record.fields
        if fields.get("node_key") != self._key.public_key.hex():
            raise NodeError(f"{self._url} is the API of another home, {status.name}: nothing was changed")
        self.address = status.address

    async def changes(self) -> MemberChangesReply:
        return await self._client.get(self._url, "/v1/members/changes", MemberChangesReply)

    async def members(self) -> MembersReply:
        return await self._client.get(self._url, "/v1/members", MembersReply)

    async def why(self) -> WhyReply:
        return await self._client.get(self._url, "/v1/why", WhyReply)

    async def say(self, *, leaving: bool) -> SubmissionReply:
        """Signs and submits, and waits for the block."""
        key = self._key.of_member(Address(bytes.fromhex(self.address)))
        reply = await send(
            self._client, self._url, key, chain_id(load_genesis(self._home)), SetLeaving(leaving=leaving)
        )
        if reply.status == "pending":
            raise NodeError(f"no block took it within {WAIT_S} s; p2pnode why tells why. Give the command again")
        return reply

    def waiting_in(self, changes: MemberChangesReply) -> WaitingChange | None:
        """Returns what waits about this home."""
        return next((change for change in changes.waiting if change.address == self.address), None)


async def _leave(configuration: Configuration, *, yes: bool) -> None:
    console = error_console()
    async with open_client(timeout_s=DEADLINE_S) as client:
        own = _OwnNode(configuration, client)
        await own.look_up()
        changes = await own.changes()
        if own.waiting_in(changes) is None and not _has_left(own, changes):
            members = await own.members()
            confirm(
                f"{len(members.members)} members, {members.quorum} must answer. This home leaves them: it trades no "
                "more and takes part in no decision. Leave?",
                yes=yes,
            )
            await own.say(leaving=True)
        told = ""
        while not _has_left(own, changes := await own.changes()):
            waiting = own.waiting_in(changes)
            if waiting is None:
                raise NodeError("the leave was taken back: this home stays a member")
            if waiting.sentence != told:
                told = waiting.sentence
                console.print(told)
            await asyncio.sleep(LOOK_PAUSE_S)
        await _others_go_on(own, changes)
    output_console().print(
        f"{configuration.node.name} has left, and the others go on without it. Stop its node; once the wallet is "
        "empty, erase node.key"
    )


def _has_left(own: _OwnNode, changes: MemberChangesReply) -> bool:
    return any(left.address == own.address for left in changes.left)


async def _others_go_on(own: _OwnNode, changes: MemberChangesReply) -> None:
    """Waits until a quorum of the members without this home is past its last height: before, this home may hold the
    only copy of the decision that lets it go.
    """
    last = next(left.last_height for left in changes.left if left.address == own.address)
    console, told = error_console(), ""
    while True:
        why = await own.why()
        past = sum((member.undecided_height or 0) > last for member in why.members if not member.is_own)
        if why.height > last and past >= why.quorum:
            return
        text = f"waiting until {why.quorum} of the others have decided height {last}: {past} have"
        if text != told:
            told = text
            console.print(text)
        await asyncio.sleep(LOOK_PAUSE_S)


async def _stay(configuration: Configuration) -> None:
    async with open_client(timeout_s=DEADLINE_S) as client:
        own = _OwnNode(configuration, client)
        await own.look_up()
        if own.waiting_in(await own.changes()) is None:
            raise NodeError("no leave of this home waits: nothing was changed")
        reply = await own.say(leaving=False)
    if reply.receipt is not None and reply.status == "declined":
        raise NodeError(f"too late: {reply.receipt.detail}")
    output_console().print(f"{configuration.node.name} stays")
