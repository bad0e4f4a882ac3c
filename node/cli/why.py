"""`p2pnode why`: asks a running node, or all of a testnet, why nothing is decided."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from ledger.errors import LedgerError
from node.cli.asking import ask
from node.cli.homes.rules import RULES_QUESTION
from node.cli.terminal import output_console
from node.cli.why_text import show_why, show_why_of_all
from node.client import api_url, open_client, require_url
from node.errors import NodeError
from node.home.configuration import load_configuration
from node.home.process import running_process
from node.replies.why import WhyReply
from node.testnet.folder import Testnet
from node.testnet.processes import TestnetProcesses

WHY_EXAMPLE: Final = "Examples: p2pnode why --config testnet/node1/meter.toml; p2pnode why --dir testnet"


why_app = typer.Typer()


@why_app.command(epilog=WHY_EXAMPLE)
def why(
    config: Annotated[Path | None, typer.Option(help="The node's meter.toml.", show_default=False)] = None,
    url: Annotated[
        str | None, typer.Option(help="The node's API, for example http://127.0.0.1:8000.", show_default=False)
    ] = None,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="A testnet's folder: ask all its nodes.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's reply.")] = False,  # noqa: FBT002
) -> None:
    """Say why nothing is decided: who is missing, in which phase, since when, with the quorum's arithmetic.

    Exits with 0 if the node answers, of a testnet if any node does.
    """
    if sum(option is not None for option in (config, url, directory)) != 1:
        raise NodeError("say which node: one of --config, --url and --dir")
    if directory is not None:
        _ask_all(Testnet.open(directory), as_json=as_json)
        return
    place = api_url(load_configuration(config)) if config is not None else require_url(str(url))
    reply = asyncio.run(_ask([place]))[0]
    if reply is None:
        raise NodeError(_why_it_is_away(config, place))
    if as_json:
        typer.echo(reply.model_dump_json(indent=2))
    else:
        show_why(output_console(), reply)


def _why_it_is_away(config: Path | None, place: str) -> str:
    """Says what a node's ledger says of a node that does not answer: its program may be too old for the chain."""
    away = f"{place} does not answer: is the node running? Its log says what it does"
    if config is None or running_process(load_configuration(config).home) is not None:
        return away
    try:
        notice = ask(config, RULES_QUESTION).notice
    except (NodeError, LedgerError):
        return away
    return away if notice is None else f"{place} does not answer: {notice}"


def _ask_all(testnet: Testnet, *, as_json: bool) -> None:
    replies = asyncio.run(_ask([node.api_url for node in testnet.nodes]))
    if not any(replies):
        raise NodeError(f"no node of {testnet.directory} answers")
    if as_json:
        found = {
            node.name: None if reply is None else reply.model_dump(mode="json")
            for node, reply in zip(testnet.nodes, replies, strict=True)
        }
        typer.echo(json.dumps(found, indent=2))
        return
    processes = TestnetProcesses(testnet)
    rows = [
        (node.name, processes.process_of(node), reply) for node, reply in zip(testnet.nodes, replies, strict=True)
    ]
    show_why_of_all(output_console(), rows)


async def _ask(urls: Sequence[str]) -> list[WhyReply | None]:
    async with open_client() as client:
        return list(await asyncio.gather(*(client.why(url) for url in urls)))
