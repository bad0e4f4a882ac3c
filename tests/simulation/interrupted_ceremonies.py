"""A ceremony by hand of which one home's step is interrupted at a named point, taken again, and comes to its end.

Four homes, no liar. Home 0 is the one whose process dies. In the scenario of the carried block it decided that block,
was away when the others stated, and comes later: its ledger has the block by the old era's certificate.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Final

from consensus import plans
from consensus.ceremony import CeremonyRefusal
from consensus.ceremony_records import SignedPlan
from consensus.events import UNANSWERED
from consensus.identifiers import EraNumber
from tests.simulation.ceremonies import World
from tests.simulation.ceremony_home import STEP_POINTS, TAU_MS, Home
from tests.simulation.network import drop_logs
from tests.simulation.signing import keyed_hashes

ROUNDS_MAX: Final = 200
SIGN_STATE: Final = "sign state"

POINTS: Final = tuple(
    (point, tears) for point in STEP_POINTS for tears in ((False, True) if point.endswith(SIGN_STATE) else (False,))
)
"""Where, and whether in the middle of the write."""


@contextmanager
def street() -> Iterator[World]:
    drop_logs()
    with keyed_hashes():
        world = World(4, Random("interrupted"))
        world.absent = []
        yield world


def go_on(world: World) -> None:
    """A quarter of a slot passes; each home runs, hears all that was said at its height and takes what it lacks."""
    world.now_ms += TAU_MS // 4
    for home in world.homes:
        home.run()
        home.tick()
        for sender, message in list(world.pool_of(home.applied, home.height + 1)):
            if sender != home.key.address:
                home.hear(message, sender)
        for other in world.homes:
            if other.height > home.height:
                home.hear(other.blocks[home.height], other.key.address)
        home.ask()


def go_on_until(world: World, height: int) -> None:
    """Until all homes are at a height."""
    for _ in range(ROUNDS_MAX):
        if min(home.height for home in world.homes) >= height:
            return
        go_on(world)
    raise AssertionError(f"height {height} was not decided")


def planned(world: World, homes: list[Home], era: int = 1) -> SignedPlan:
    """The plan of these homes' newest statements; nobody is gone."""
    names = {home.key.address for home in homes}
    chosen = [one for one in world.statements if one.statement.author in names and one.statement.era == era]
    made = plans.make_plan(chosen, (), era=EraNumber(era), past=world.past)
    assert isinstance(made, SignedPlan), made
    signed = world.vouched_for(made)
    assert plans.follow(signed, world.past) is None
    world.checker.note_plan(signed)
    world.plans.append(signed)
    return signed


def hold_interrupted(point: str, *, tears: bool, runs_between: bool) -> World:
    """Holds the ceremony; raises AssertionError where it does not come to its end, or the checker objects."""
    step, is_carried = point.split(":", maxsplit=1)[0], point == "apply: ledger"
    with street() as world:
        first, others = world.homes[0], world.homes[1:]
        go_on_until(world, 1)
        stating = others if is_carried else world.homes
        if is_carried:
            carry(world, first, others)
        for home in world.homes:
            home.stop()

        def interrupted(name: str, home: Home) -> None:
            if name == step and home is first:
                home.crash_point, home.tears = point, tears

        for home in stating:
            interrupted("export", home)
            home.state(1)
            again(home, runs_between=runs_between)
        signed = planned(world, stating)
        for home in stating:
            interrupted("join", home)
            home.join(signed)
            again(home, runs_between=runs_between)
        for home in world.homes:
            interrupted("apply", home)
            home.apply(signed)
            again(home, runs_between=runs_between)
        assert sum(count for what, count in world.occurred.items() if what.endswith(point)) == 1, "never died there"
        assert {home.sign_state.standing.era for home in world.homes} == {1}
        assert (first.sign_state.silent_through == UNANSWERED) is is_carried, (
            "who agreed begins with nothing that binds"
        )
        go_on_until(world, signed.plan.base + 2)
        outcome = world.outcome(4, 0)
        assert outcome.violation is None, outcome.violation
        assert not outcome.lost
    return world


def again(home: Home, *, runs_between: bool) -> None:
    """Takes an interrupted step again; the node may have been started and stopped in between."""
    if home.interrupted is None:
        return
    step = home.interrupted
    if runs_between:
        home.run()
        home.tick()
    refusal = step()
    is_done = refusal is CeremonyRefusal.ERA_PASSED and home.sign_state.standing.era == 1
    assert refusal is None or is_done, f"the step is refused: {refusal}"


def carry(world: World, first: Home, others: list[Home]) -> None:
    """The next height is decided, and only the first home appends it: the others die before, again and again."""
    height = first.height
    for _ in range(ROUNDS_MAX):
        for home in others:
            home.crash_point = "block"
        go_on(world)
        if first.height > height:
            break
    assert [home.height - height for home in world.homes] == [1, 0, 0, 0]
    for home in others:
        home.crash_point = None
