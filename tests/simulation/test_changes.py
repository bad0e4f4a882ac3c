"""The command that has members come and go by chance: `p2pnode-sim changes`."""

from pathlib import Path
from unittest.mock import patch

from typer.testing import CliRunner

from contracts import member_changes
from tests.simulation import changes
from tests.simulation.__main__ import app
from tests.simulation.changes import MEMBERS_MIN, plan_of
from tests.simulation.occurrences import OF_CHANGES


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


def test_what_the_rules_do_not_promise_is_not_drawn() -> None:
    plans = [plan_of(seed) for seed in range(1_000)]
    for plan in plans:
        assert not {*plan.roles} & {*plan.early, *plan.late}
        assert plan.founders - len(plan.early) >= MEMBERS_MIN
        assert plan.founders + plan.newcomers - len(plan.early) - len(plan.late) >= MEMBERS_MIN
    assert {len(plan.roles) for plan in plans} == {0, 1, 2}
    assert OF_CHANGES.runs_min < len(plans)
