"""Some kills, a leader that dies in the middle of a block, a pause, a home that comes and goes; `make endurance` has
all of them.
"""

import pytest

from tests.endurance.changes import run_changes
from tests.endurance.kills import run_kills
from tests.endurance.pauses import SHORT_SLOT_MS, run_pause
from tests.endurance.phases import run_phase
from tests.endurance.witness import COMMIT, NONE, VIEW_CHANGE, VOTE, Statement, contradictions

pytestmark = pytest.mark.alone("recoveries have ten seconds, under load")


def test_what_was_replied_outlives_kills() -> None:
    figures = run_kills(nodes=4, kills=3, seed=2)
    assert figures["kills"] >= 3
    assert figures["replied"] > 0


@pytest.mark.parametrize("point", ["prepared-persisted", "decided"])
def test_a_leader_dies_in_the_middle_of_a_block(point: str) -> None:
    assert run_phase(point)["replied"] > 0


def test_commits_go_on_after_half_of_the_network_was_paused() -> None:
    assert run_pause(slots=100, slot_ms=SHORT_SLOT_MS)["replied"] > 0


def test_a_home_joins_and_leaves_under_load() -> None:
    figures = run_changes(count=2, seed=1)
    assert (figures["joins"], figures["leaves"]) == (1, 1)
    assert figures["replied"] > 0


def says(kind: str, slot: int, content: str, *, signer: str = "a", height: int = 7) -> Statement:
    return Statement(kind=kind, signer=signer, height=height, slot=slot, content=content)


@pytest.mark.parametrize(
    ("first", "second", "is_wrong"),
    [
        (says(VOTE, 3, "x"), says(VOTE, 3, "y"), True),
        (says(VOTE, 3, "x"), says(VOTE, 4, "y"), False),
        (says(VOTE, 3, "x"), says(VOTE, 3, "y", signer="b"), False),
        (says(COMMIT, 3, "x"), says(COMMIT, 3, "y"), True),
        (says(COMMIT, 3, "x"), says(VOTE, 3, "x"), False),
        (says(VIEW_CHANGE, 3, NONE), says(VIEW_CHANGE, 3, "2:x"), True),
        (says(COMMIT, 3, "x"), says(VIEW_CHANGE, 5, NONE), True),
        (says(COMMIT, 3, "x"), says(VIEW_CHANGE, 5, "2:x"), True),
        (says(COMMIT, 3, "x"), says(VIEW_CHANGE, 5, "3:y"), True),
        (says(COMMIT, 3, "x"), says(VIEW_CHANGE, 5, "3:x"), False),
        (says(COMMIT, 3, "x"), says(VIEW_CHANGE, 5, "4:y"), False),
        (says(COMMIT, 3, "x"), says(VIEW_CHANGE, 3, NONE), False),
        (says(COMMIT, 3, "x"), says(VIEW_CHANGE, 5, NONE, height=8), False),
    ],
)
def test_witnesses_notice_who_contradicts_himself(first: Statement, second: Statement, is_wrong: bool) -> None:
    lines = [first.line(), second.line()]
    assert bool(contradictions(map(Statement.of_line, lines))) is is_wrong
