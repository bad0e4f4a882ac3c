"""`p2pnode members` and `member show`: who the members are, and what the chain says of one of them."""

from typing import Annotated, Final
from urllib.parse import quote

import typer
from rich.console import Console
from rich.table import Table

from ledger.ledger import Ledger
from node.cli.asking import Question, ask
from node.cli.options import ConfigOption, JsonOption
from node.cli.terminal import output_console
from node.home.folder import Home
from node.names.names import names_of_home
from node.replies.members import MemberReply
from node.replies.state import MembersReply
from node.stories.member_names import require_member_text
from node.stories.members import member_of, members_of
from node.stories.slices import Slices
from node.stories.words import day_text, score_text

MEMBERS_EXAMPLE: Final = "Example: p2pnode members --config testnet/node1/meter.toml"
SHOW_EXAMPLE: Final = "Example: p2pnode member show node3 --config testnet/node1/meter.toml"

ADDRESS_DIGITS: Final = 10
"""More than the eight that commands take."""


members_app = typer.Typer()


@members_app.command(epilog=MEMBERS_EXAMPLE)
def members(config: ConfigOption, as_json: JsonOption = False) -> None:  # noqa: FBT002
    """Show who the members are, in the order of admission: score, standing, until when certified, who is linked."""

    def read(ledger: Ledger, home: Home) -> Slices[MembersReply]:
        yield from ()
        return members_of(ledger, names_of_home(home))

    reply = ask(config, Question(path="/v1/members", model=MembersReply, read=read))
    if as_json:
        typer.echo(reply.model_dump_json(indent=2))
        return
    table = Table("member", "address", "capacity", "member from", "score", "standing", "certified until", "linked")
    for one in reply.members:
        table.add_row(
            one.name,
            one.address[:ADDRESS_DIGITS],
            f"{one.capacity_w:,} W",
            f"{one.first_height:,}",
            score_text(one.score_millionths),
            "suspended" if one.is_suspended else "-",
            "-" if one.valid_until_ms is None else day_text(one.valid_until_ms),
            "yes" if one.connected else "no",
        )
    console = output_console()
    console.print(table)
    console.print(f"{len(reply.members)} members, {reply.quorum} must answer for a decision")


def show(
    member: Annotated[
        str,
        typer.Argument(metavar="METER", help="Name or address, also of who left; its first 8 or more digits do."),
    ],
    config: ConfigOption,
    as_json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Show all that the chain says of a member: since when, keys, score, what of it waits, what others propose."""
    require_member_text(member)

    def read(ledger: Ledger, home: Home) -> Slices[MemberReply]:
        yield from ()
        return member_of(ledger, names_of_home(home), member)

    path = f"/v1/members/{quote(member, safe='')}"
    reply = ask(config, Question(path=path, model=MemberReply, read=read))
    if as_json:
        typer.echo(reply.model_dump_json(indent=2))
    else:
        _show(output_console(), reply)


def _show(console: Console, reply: MemberReply) -> None:
    console.print(f"{reply.name}  {reply.address}", style="bold", markup=False, soft_wrap=True)
    said = [*reply.sentences, *(one.sentence for one in reply.waiting)]
    for one in reply.proposals:
        needed = f"{len(one.approvals)} of {one.quorum} needed approved"
        said.append(
            f"{one.proposer_name} proposed to {one.measure} it ({one.proposal[:16]}): {one.status}, {needed}."
        )
    for sentence in said:
        console.print(sentence, markup=False, soft_wrap=True)
    facts = Table.grid(padding=(0, 2))
    score = reply.score
    facts.add_row("score", score_text(score.score_millionths))
    facts.add_row("stake", score_text(score.staked_millionths))
    if reply.member is not None:
        facts.add_row("capacity", f"{reply.member.capacity_w:,} W")
        facts.add_row("meter key", reply.member.meter_key)
    for term in reply.terms:
        until = "on" if term.last_height is None else f"to {term.last_height:,}"
        facts.add_row("node key", f"{term.node_key}  from height {term.first_height:,} {until}")
    console.print(facts, soft_wrap=True)
