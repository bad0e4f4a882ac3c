"""Where commands find what the chain says: the one choice, made by `--config meter.toml`.

If the node runs, its API is asked: the ledger is locked by it. If it does not, its ledger is opened. Either way the
answer is the same model, made by the same code.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import urlencode

import aiohttp
from pydantic import BaseModel, ValidationError
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ledger.ledger import Ledger
from node.cli.terminal import error_console
from node.errors import NodeError, NotFound
from node.home.configuration import Configuration, load_configuration
from node.home.era_files import begun_eras
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.home.process import running_process
from node.replies.node import Problem
from node.stories.slices import Progress as Done
from node.stories.slices import Slices, to_the_end

M = TypeVar("M", bound=BaseModel)

DEADLINE_S: Final = 120.0
"""A statement of a long chain takes seconds; a paused node never answers."""

ANY_HOSTS: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  (where to ask what listens everywhere)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Generic[M]):
    """What a command wants to know."""

    path: str
    """Of the API, with its query."""
    model: type[M]
    read: Callable[[Ledger, Home], Slices[M]]
    """Makes the same answer from an open ledger."""


def path_of(path: str, **query: object) -> str:
    """Returns a path with a query; what is None is left out."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def ask(config: Path, question: Question[M]) -> M:
    """Returns the answer of the node with this configuration, whether it runs or not.

    Raises:
        NodeError: there is no such thing on the chain, or the node runs and does not answer.
        LedgerError: the ledger cannot be opened.
    """
    configuration = load_configuration(config)
    if running_process(configuration.home) is not None:
        with _progress_bar() as bar:
            bar.add_task("", total=None)
            return ask_url(api_url(configuration), question.path, question.model)
    ledger = Ledger.open(
        configuration.home.ledger, load_genesis(configuration.home), begun=begun_eras(configuration.home)
    )
    try:
        with _progress_bar() as bar:
            task = bar.add_task("", total=None)

            def advance(done: Done) -> None:
                bar.update(task, completed=done.done, total=done.total)

            return to_the_end(question.read(ledger, configuration.home), advance)
    finally:
        ledger.close()


def api_url(configuration: Configuration) -> str:
    """Returns where a node's API is reached on its own machine."""
    table = configuration.api
    return f"http://{ANY_HOSTS.get(table.host, table.host)}:{table.port}"


def ask_url(url: str, path: str, model: type[M]) -> M:
    """Returns what the API at `url` answers.

    Raises:
        NotFound: there is no such thing.
        NodeError: another problem, or no answer.
    """
    status, body = asyncio.run(_get(f"{url.rstrip('/')}{path}"))
    try:
        if status == HTTPStatus.OK:
            return model.model_validate_json(body)
        problem = Problem.model_validate_json(body)
        if status == HTTPStatus.NOT_FOUND:
            raise NotFound(problem.reason, problem.detail)
        raise NodeError(problem.detail)
    except ValidationError:
        raise NodeError(f"{url} does not answer as a node of this version does (HTTP {status})") from None


async def _get(url: str) -> tuple[int, bytes]:
    timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as response:
            return response.status, await response.read()
    except (aiohttp.ClientError, ValueError, TimeoutError) as error:
        raise NodeError(f"{url} does not answer ({type(error).__name__}); is the node running?") from None


def _progress_bar() -> Progress:
    console = error_console()
    return Progress(
        TextColumn("reading"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
