"""`p2pnode qscore`: every member's quality of transaction, and why it is what it is."""

from typing import Annotated, Final
from urllib.parse import quote

import typer
from rich.table import Table

from ledger.ledger import Ledger
from node.cli.asking import Question, ask
from node.cli.options import ConfigOption, JsonOption
from node.cli.story_tables import show_score_history
from node.cli.terminal import output_console
from node.client import path_of
from node.home.folder import Home
from node.names.names import names_of_home
from node.replies.parameters import VERSIONS_PER_PAGE_MAX
from node.replies.state import ScoreModel, ScoresReply
from node.replies.stories import ScoreHistoryReply, ScoreVersion
from node.stories.lists import scores_of
from node.stories.member_names import require_member_text
from node.stories.score_history import score_history
from node.stories.slices import Slices
from node.stories.words import score_text, short

HISTORY_EXAMPLE: Final = "Example: p2pnode qscore history node3 --config testnet/node1/meter.toml"
LIST_EXAMPLE: Final = "Example: p2pnode qscore list --config testnet/node1/meter.toml"

qscore_app = typer.Typer(
    name="qscore",
    no_args_is_help=True,
    help="The members' quality of transaction, and what moved it.",
    epilog=HISTORY_EXAMPLE,
)


@qscore_app.command("list", epilog=LIST_EXAMPLE)
def list_command(config: ConfigOption, as_json: JsonOption = False) -> None:  # noqa: FBT002
    """Show every member's score, stake and standing."""

    def read(ledger: Ledger, home: Home) -> Slices[ScoresReply]:
        yield from ()
        return scores_of(ledger, names_of_home(home))

    reply = ask(config, Question(path="/v1/scores", model=ScoresReply, read=read))
    if as_json:
        typer.echo(reply.model_dump_json(indent=2))
        return
    table = Table(title="Quality of transaction", title_justify="left")
    for heading in ("member", "address", "score", "stake", "moved last by", "standing"):
        table.add_column(heading)
    for score in reply.scores:
        back = "" if score.returns_at_slot is None else f"way back until slot {score.returns_at_slot:,}"
        table.add_row(
            score.name,
            short(score.address),
            score_text(score.score_millionths),
            stake_text(score),
            score.cause,
            "suspended" if score.is_suspended else back or "-",
        )
    output_console().print(table)


def stake_text(score: ScoreModel) -> str:
    """Returns what stands as stake, and what of it was taken back and is locked."""
    staked = score_text(score.staked_millionths) if score.staked_millionths else "-"
    if score.unlocked_at_slot is None:
        return staked
    return f"{staked}, {score_text(score.unlocking_millionths)} locked until slot {score.unlocked_at_slot:,}"


@qscore_app.command(epilog=HISTORY_EXAMPLE)
def history(
    member: Annotated[
        str, typer.Argument(metavar="METER", help="Name or address; the address' first 8 or more digits do.")
    ],
    config: ConfigOption,
    as_json: JsonOption = False,  # noqa: FBT002
) -> None:
    """Explain a score line by line: every version with block, change, cause, stake, suspension and way back."""
    require_member_text(member)

    def read(ledger: Ledger, home: Home) -> Slices[ScoreHistoryReply]:
        names, versions_max = names_of_home(home), ledger.height + 1  # one per block, and genesis
        return (yield from score_history(ledger, names, member, after=None, versions_max=versions_max))

    versions: list[ScoreVersion] = []
    after: int | None = None
    while True:
        path = path_of(f"/v1/scores/{quote(member, safe='')}/history", after=after, limit=VERSIONS_PER_PAGE_MAX)
        page = ask(config, Question(path=path, model=ScoreHistoryReply, read=read))
        versions += page.versions
        after = page.next_after
        if after is None:
            break
    if as_json:
        typer.echo(page.model_copy(update={"versions": versions}).model_dump_json(indent=2))
    else:
        show_score_history(output_console(), page, versions)
