"""The command that has members come and go by chance: `p2pnode-sim changes`."""

from collections import Counter
from pathlib import Path
from unittest.mock import patch

import pytest
from typer.testing import CliRunner

from contracts import member_changes
from contracts.panels import verdicts_needed
from tests.simulation import changes
from tests.simulation.__main__ import app
from tests.simulation.changes import MEMBERS_MIN, Plan, plan_of, run_changes, run_plan
from tests.simulation.faults import Faults
from tests.simulation.host import TAU_MS
from tests.simulation.network import START_MS
from tests.simulation.occurrences import JOINED, KEPT, LEFT, OF_CHANGES, RENEWED, TOO_LATE

FAILED_ONCE = (36, 184)
"""Members that were renewed too late, as the chain stood meanwhile, and for which others waited: with them and who
left fewer would have stayed than genesis allows; one had to bring an application."""


def test_changes_come_into_force_in_a_network_in_trouble_and_are_counted(tmp_path: Path) -> None:
    output = tmp_path / "changes.json"
    told = CliRunner().invoke(app, ["changes", "--seeds", "0:6", "--output", str(output)])
    assert told.exit_code == 0, told.output
    plans = [plan_of(seed) for seed in range(6)]
    joined = sum(plan.newcomers for plan in plans)
    left = sum(len(plan.early) + len(plan.late) for plan in plans)
    assert f"{joined + left:,} changes: {joined} joined, {left} left" in told.output
    assert '"violations": 0' in output.read_text()


def test_a_change_that_does_not_come_into_force_is_a_failure() -> None:
    stuck_soon = patch.object(changes, "RECOVERY_SLOTS_MAX", 60)
    with patch.object(member_changes, "next_change", lambda *_, **__: None), stuck_soon:
        told = CliRunner().invoke(app, ["changes", "--seeds", "0:1", "--processes", "1"])
    assert told.exit_code == 1
    assert "stuck" in told.output.splitlines()[1]


@pytest.mark.parametrize("seed", FAILED_ONCE)
def test_a_seed_is_safe_and_live(seed: int) -> None:
    outcome = run_changes(seed)
    assert (outcome.violation, outcome.is_stuck) == (None, False)


def renewed_late(seed: int, *, newcomers: int, renewing: tuple[int, ...], late: tuple[int, ...]) -> Counter[str]:
    """Runs five calm founders of whom some may be renewed too late, and others leave once homes joined."""
    plan = Plan(
        seed=seed,
        founders=5,
        newcomers=newcomers,
        roles={},
        early=(),
        expiring=(),
        renewing=renewing,
        late=late,
        faults=Faults(until_ms=START_MS + 40 * TAU_MS),
    )
    outcome = run_plan(plan)
    assert (outcome.violation, outcome.is_stuck) == (None, False)
    return Counter(outcome.occurred)


def test_with_who_was_renewed_too_late_the_floor_keeps_the_last_one_that_leaves() -> None:
    occurred = renewed_late(8, newcomers=2, renewing=(4,), late=(0, 1, 2))
    assert [occurred[name] for name in (JOINED, LEFT, TOO_LATE, KEPT, RENEWED)] == [2, 3, 1, 1, 0]


@pytest.mark.parametrize("seed", [7, 21])
def test_who_is_renewed_too_late_was_to_bring_no_application(seed: int) -> None:
    occurred = renewed_late(seed, newcomers=3, renewing=(3, 4), late=())
    assert [occurred[name] for name in (JOINED, LEFT, TOO_LATE, RENEWED)] == [3, 1, 1, 1]


def test_what_the_rules_do_not_promise_is_not_drawn() -> None:
    plans = [plan_of(seed) for seed in range(1_000)]
    for plan in plans:
        assert not {*plan.roles} & {*plan.early, *plan.late}
        assert not {*plan.renewing} & {*plan.roles, *plan.early}
        verifiers = plan.founders - len(plan.renewing)
        assert verifiers - len(plan.early) - len(plan.roles) >= verdicts_needed(verifiers)
        assert plan.founders - len(plan.early) >= MEMBERS_MIN
        assert plan.founders + plan.newcomers - len(plan.early) - len(plan.late) >= MEMBERS_MIN
    assert {len(plan.roles) for plan in plans} == {0, 1, 2}
    assert OF_CHANGES.runs_min < len(plans)
