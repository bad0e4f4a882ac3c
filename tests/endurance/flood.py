"""`flood`: one member sends the three others a million messages; their memory stays, and the chain goes on."""

import asyncio
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from bench.flood import FloodResult, flood_sentence, measure_flood
from bench.network import make_testnet, running

NODES: Final = 4
MEMORY_GROWTH_MIB_MAX: Final = 20.0


def flood_testnet(directory: Path, *, messages: int) -> FloodResult:
    """Runs a testnet of four, one of which floods.

    Raises:
        LoadFailed: a transfer was not decided meanwhile, or the others did not agree afterwards.
    """

    async def measure() -> FloodResult:
        testnet = make_testnet(directory, NODES)
        async with running(testnet) as network:
            return await measure_flood(testnet, network, messages=messages)

    directory.mkdir(parents=True, exist_ok=True)
    return asyncio.run(measure())


def flood(
    messages: Annotated[int, typer.Option(help="Messages that the flooder sends.")] = 1_000_000,
    directory: Annotated[Path, typer.Option(help="For the testnet; made anew.")] = Path("build/endurance-flood"),
    as_json: Annotated[bool, typer.Option("--json", help="Figures as JSON.")] = False,
) -> None:
    """Let one of four members flood the others with far-future, duplicate and malformed messages."""
    shutil.rmtree(directory, ignore_errors=True)
    found = flood_testnet(directory.resolve(), messages=messages)
    typer.echo(json.dumps(asdict(found), indent=2) if as_json else flood_sentence(found))
    raise typer.Exit(0 if max(found.memory_growth_mib.values()) < MEMORY_GROWTH_MIB_MAX else 1)
