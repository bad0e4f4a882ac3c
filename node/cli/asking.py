"""Where commands find what the chain says: the one choice, made by `--config meter.toml`.

If the node runs, its API is asked: the ledger is locked by it. If it does not, its ledger is opened. Either way the
answer is the same model, made by the same code.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from pydantic import BaseModel
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ledger.ledger import Ledger
from node.cli.terminal import error_console
from node.client import api_url, open_client
from node.home.configuration import load_configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.home.process import running_process
from node.home.storage import eras_of
from node.stories.slices import Progress as Done
from node.stories.slices import Slices, to_the_end

M = TypeVar("M", bound=BaseModel)

DEADLINE_S: Final = 120.0
"""A statement of a long chain takes seconds; a paused node never answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Generic[M]):
    """What a command wants to know."""

    path: str
    """Of the API, with its query."""
    model: type[M]
    read: Callable[[Ledger, Home], Slices[M]]
    """Makes the same answer from an open ledger."""


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
        configuration.home.ledger, load_genesis(configuration.home), begun=eras_of(configuration.home)
    )
    try:
        with _progress_bar() as bar:
            task = bar.add_task("", total=None)

            def advance(done: Done) -> None:
                bar.update(task, completed=done.done, total=done.total)

            return to_the_end(question.read(ledger, configuration.home), advance)
    finally:
        ledger.close()


def ask_url(url: str, path: str, model: type[M]) -> M:
    """Returns what the API at `url` answers.

    Raises:
        NotFound: there is no such thing.
        NodeError: another problem, or no answer.
    """

    async def asked() -> M:
        async with open_client(timeout_s=DEADLINE_S) as client:
            return await client.get(url, path, model)

    return asyncio.run(asked())


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
