"""Ceremonies by chance never fork those who take part, and never lose a decided block where they may not."""

from unittest.mock import patch

import pytest
from typer.testing import CliRunner

from consensus import ceremony
from tests.simulation.__main__ import app
from tests.simulation.ceremony_runs import EXPECTED, SETTINGS, Summary, run_seeds
from tests.simulation.mutants import MUTANTS
from tests.simulation.numbered_mutants import CLUSTERS, NUMBERED

SEEDS = 13 * 40
PART = 13 * 4


def test_ceremonies_by_chance() -> None:
    summary = run_seeds(range(SEEDS))
    assert not summary.failures, summary.told()
    assert summary.completed > SEEDS // 4, "hardly a ceremony came to its end"
    assert summary.eras[2] > 0
    assert summary.carried > SEEDS // 20
    assert set(summary.settings) == {str(setting) for setting in SETTINGS}


def test_a_large_run_in_which_something_never_occurred_has_failed() -> None:
    summary = Summary(seeds=2_000)
    assert summary.missing == list(EXPECTED)
    summary.occurred.update(EXPECTED)
    assert not summary.has_failed
    assert Summary(seeds=1_999).missing == []


def test_the_command_counts_in_its_last_line_and_fails_on_a_fork() -> None:
    command = ["ceremonies", "--seeds", f"0:{PART}", "--processes", "1"]
    ended = CliRunner().invoke(app, command)
    assert ended.exit_code == 0, ended.output
    last = ended.output.splitlines()[-1]
    assert last.startswith(f"{PART} ceremonies, ")
    assert last.endswith("forks 0; lost with K >= K* 0")
    with patch.object(ceremony, "_joined_another", lambda *_: False):
        broken = CliRunner().invoke(app, command)
    assert broken.exit_code == 1
    assert "two plans of era 1 were applied" in broken.output
    assert "forks 0" not in broken.output.splitlines()[-1]


@pytest.mark.parametrize("number", [number for number in range(1, 47) if number not in {11, 14}])
def test_each_numbered_break_is_tried(number: int) -> None:
    assert NUMBERED[number] in {mutant.name for mutant in MUTANTS}


def test_each_numbered_break_of_clusters_is_tried() -> None:
    assert set(CLUSTERS) == set(range(1, 30)) - {19, 21}
    assert set(CLUSTERS.values()) <= {mutant.name for mutant in MUTANTS}
