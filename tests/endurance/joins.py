"""`joins`: a home begins with a snapshot and fills in what lies below, and dies again and again on the way."""

import json
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ledger.state_copy import SNAPSHOT_INTERVAL
from node.home.configuration_text import with_changes
from node.home.folder import Home
from node.snapshots.beginning import replaced_ledger
from tests.support.long_chain import append_transfers, decide_beforehand, make_street
from tests.support.testnet import Node, Street, cleaned_up, daemon, p2pnode, wait_until

NODES: Final = 4
LAST: Final = 4
"""The home that joins."""

TIP: Final = SNAPSHOT_INTERVAL + 6
BETWEEN: Final = "between"
COPIED: Final = "the state is copied for those who join"
LIVES_S: Final = (0.3, 3.0)
"""Shortest and longest time from the moment that its API answers until it is killed."""

TAKES_S: Final = 0.05
"""Longest time from the moment that it begins to take the state until it is killed."""

TAKING_SHARE: Final = 0.5
"""Of kills: so many are of a home that had nothing yet. To take the state is soon done, to fill in is not."""

DEADLINE_S: Final = 600.0


def run_joins(directory: Path, *, count: int, seed: int, tell: bool = False) -> dict[str, Any]:
    """Kills a home that joins at random moments, as often as asked, and has it join anew whenever it has all blocks.

    Args:
        directory: for the street.
        count: of kills.
        seed: of their moments.
        tell: says what happened, kill by kill.

    Returns:
        How many kills there were by what the home was at, and how many times it came to the end.

    Raises:
        AssertionError: it does not start again, or does not come to the others' tip and root with all blocks, or its
            ledger does not hold.
    """
    choice, kills, joins = random.Random(f"joins {seed}"), Counter[str](), 0
    target = directory / "testnet"
    street = make_street(target, nodes=NODES)
    decide_beforehand(street, lambda builder: append_transfers(builder, TIP), for_nodes=LAST - 1)
    joining = street.node(LAST)
    own = joining.home.configuration
    own.write_text(with_changes(own.read_text(encoding="utf-8"), node={"begins_with": "snapshot"}), encoding="utf-8")
    with cleaned_up(target), ExitStack() as stack:
        others = [stack.enter_context(daemon(node)) for node in street.nodes[: LAST - 1]]
        wait_until(lambda: all(COPIED in one.errors() for one in others), "all have copied the state")
        while joins == 0 or kills.total() < count or joining.home.ledger.exists():
            is_enough = kills.total() >= count
            is_taking = not is_enough and choice.random() < TAKING_SHARE
            if is_taking:
                _begin_anew(joining.home)
            with daemon(joining) as running:
                if is_taking:
                    wait_until(lambda: _stage(joining.home) != BETWEEN, "it takes the state", deadline_s=DEADLINE_S)
                    time.sleep(choice.uniform(0, TAKES_S))
                else:
                    wait_until(
                        lambda: joining.status() is not None,
                        "it starts whatever the kill left",
                        deadline_s=DEADLINE_S,
                    )
                    if is_enough:
                        wait_until(lambda: _has_all(joining), "it comes to the end", deadline_s=DEADLINE_S)
                    else:
                        time.sleep(choice.uniform(*LIVES_S))
                is_there = _has_all(joining)
                if is_there:
                    _require_same(street, joining)
                else:
                    stage = _stage(joining.home)
                    running.send(signal.SIGKILL)
                    running.wait()
                    kills[stage] += 1
                    if tell:
                        typer.echo(f"kill {kills.total()}: {stage}", err=True)
            if is_there:
                _require_whole(street, joining)
                _begin_anew(joining.home)
                joins += 1
    return {"kills": dict(sorted(kills.items())), "joins": joins}


def _has_all(node: Node) -> bool:
    status = node.status()
    return status is not None and (status["height"], status["first_height"]) == (TIP, 1)


def _begin_anew(home: Home) -> None:
    """Takes all that it has of the chain, also what a swap of ledgers that was cut off would bring back."""
    for folder in (home.ledger, replaced_ledger(home), home.intake, home.filling):
        shutil.rmtree(folder, ignore_errors=True)


def _stage(home: Home) -> str:
    if home.intake.exists():
        return "taking the state"
    return "filling in" if home.filling.exists() else BETWEEN


def _require_same(street: Street, joining: Node) -> None:
    roots = {node.present_status()["state_root"] for node in (*street.nodes[: LAST - 1], joining)}
    assert len(roots) == 1, roots


def _require_whole(street: Street, joining: Node) -> None:
    checked = p2pnode(street.directory, "ledger", "verify", "--home", joining.home.directory)
    assert "executed again from genesis" in checked.output, checked.output
    left = {path.name for path in joining.home.directory.iterdir()}
    assert not left & {"filling", "ledger.replaced", "snapshot-intake"}, left


def joins(
    count: Annotated[int, typer.Option(help="Kills.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Kill a home that begins with a snapshot, and see it go on."""
    with tempfile.TemporaryDirectory() as directory:
        typer.echo(json.dumps(run_joins(Path(directory), count=count, seed=seed, tell=True)))
