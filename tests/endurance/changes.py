"""`changes`: homes join and leave by the commands under load, and daemons die meanwhile; nothing replied is lost."""

import json
import random
import time
from typing import Annotated, Any, Final

import typer

from tests.endurance.kills import percentiles
from tests.endurance.pack import Load, Pack, check_end, check_log, running_pack
from tests.support.ceremony_commands import config, members_at
from tests.support.new_homes import NewHome, ask_to_join, let_in
from tests.support.testnet import p2pnode, wait_until

FOUNDERS: Final = 4
"""They stay, three of them let others in, and clients ask them."""

MEMBERS_MAX: Final = 7

PAUSE_S: Final = 0.5
"""Of each client: who joins executes all blocks since genesis while more come."""

JOINED_S_MAX: Final = 600.0

KILL_EVERY: Final = 3
"""At one change of so many a daemon is killed and started again as it begins."""


def run_changes(*, count: int, seed: int, tell: bool = False) -> dict[str, Any]:
    """Has homes join and leave by chance, as often as asked; returns the figures.

    Raises:
        AssertionError: a change does not come into force, something was lost, or the chains differ.
    """
    choice = random.Random(f"changes {seed}")
    joins_s: list[float] = []
    leaves_s: list[float] = []
    kills = 0
    with running_pack(FOUNDERS) as pack, Load(pack.street, seed, pause_s=PAUSE_S) as load:
        for change in range(1, count + 1):
            came = pack.numbers[FOUNDERS:]
            is_join = not came or (len(pack.nodes) < MEMBERS_MAX and choice.random() < 0.5)
            leaver = choice.choice(came) if came else 0
            if change % KILL_EVERY == 0:
                victim = choice.choice([number for number in pack.numbers if is_join or number != leaver])
                pack.kill(victim)
                pack.start(victim)
                kills += 1
            began_s = time.monotonic()
            if is_join:
                _join(pack, FOUNDERS + change)
            else:
                _leave(pack, leaver)
            (joins_s if is_join else leaves_s).append(time.monotonic() - began_s)
            if tell:
                what = f"{'join' if is_join else 'leave'} {change}, {len(pack.nodes)} members"
                typer.echo(f"{what}: {time.monotonic() - began_s:.1f} s, {len(load.replied)} replies", err=True)
        load.__exit__()
        figures = check_end(pack, load.replied)
    return {
        "joins": len(joins_s),
        "leaves": len(leaves_s),
        "kills": kills,
        "join_s": percentiles(joins_s),
        "leave_s": percentiles(leaves_s),
        **figures,
    }


def _join(pack: Pack, number: int) -> None:
    """A home is made, certified, verified and becomes a member."""
    new = NewHome(pack.street, f"home{number}")
    request = ask_to_join(pack.street, new, who=f"the household of home {number}")
    members = len(pack.nodes)
    pack.nodes[number] = new
    pack.start(number)
    founders = pack.street.nodes
    wait_until(lambda: all(node.status() is not None for node in founders), "who was killed answers again")
    p2pnode(pack.street.directory, "join", "submit", request, *config(founders[number % FOUNDERS]))
    let_in(pack.street, new, founders[:3])
    _are(pack, members + 1)


def _leave(pack: Pack, number: int) -> None:
    """A member leaves, its daemon stops, and its ledger is that of the others."""
    node, members = pack.node(number), len(pack.nodes)
    p2pnode(pack.street.directory, "member", "leave", *config(node), "--yes")
    height = node.present_status()["height"]
    block = node.request(f"/v1/blocks/{height}").document["digest"]
    pack.end(number)
    del pack.nodes[number]
    _are(pack, members - 1)
    assert pack.node(1).request(f"/v1/blocks/{height}").document["digest"] == block
    p2pnode(pack.street.directory, "ledger", "verify", "--home", node.home.directory)
    check_log(node)


def _are(pack: Pack, members: int) -> None:
    """Waits until all that are there count so many; one that was killed may still be starting."""

    def all_count() -> bool:
        return all(node.status() is not None and members_at(node) == members for node in pack.nodes.values())

    wait_until(all_count, f"{members} members", deadline_s=JOINED_S_MAX)


def changes(
    count: Annotated[int, typer.Option(min=1, help="Joins and leaves.")] = 50,
    seed: int = 1,
) -> None:
    """Homes join and leave under load while daemons die; every change comes into force, nothing replied is lost."""
    typer.echo(json.dumps(run_changes(count=count, seed=seed, tell=True), indent=2))
