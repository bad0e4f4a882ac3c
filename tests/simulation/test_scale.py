"""What `p2pnode-sim scale` counts is what the protocol sends, and is told beside the same without collectors."""

import json
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from typer.testing import CliRunner

from tests.simulation.__main__ import app
from tests.simulation.faults import Role
from tests.simulation.scale import KINDS, PROPOSALS, VOTES, Comparison, Figures, Plan, Run, run_plan

MEMBERS = 16
"""Too many to pass on what others say."""


@pytest.mark.parametrize("members", [4, MEMBERS])
def test_votes_that_all_collect_are_counted_one_by_one(members: int) -> None:
    """Of N - 1 members a PREPARE to all others, and of all a COMMIT to all others; a proposal to all others."""
    run = run_plan(1, Plan(members=members, size=0, requests=5))
    assert run.is_finished
    assert run.heights == len(run.latencies) == 5
    assert run.messages[VOTES] == 5 * (2 * members - 1) * (members - 1)
    assert run.messages[PROPOSALS] >= 5 * (members - 1)
    assert run.size_bytes[VOTES] > 100 * run.messages[VOTES]
    assert 0 < min(run.latencies) <= max(run.latencies) < 1


def test_what_liars_send_is_not_counted() -> None:
    """F hoard, and send their own votes all the same."""
    run = run_plan(1, Plan(members=MEMBERS, size=0, requests=5, role=Role.HOARDING))
    honest = MEMBERS - (MEMBERS - 1) // 3
    assert run.is_finished
    assert honest * (MEMBERS - 1) <= run.messages[VOTES] / run.heights <= 2 * honest * (MEMBERS - 1)


def test_one_seed_is_one_run() -> None:
    plan = Plan(members=7, size=4, requests=3, role=Role.SILENT)
    assert run_plan(5, plan) == run_plan(5, plan)
    assert run_plan(5, plan) != run_plan(6, plan)


def test_who_is_drawn_collects_for_all_in_a_quarter_of_the_messages_and_half_of_the_bytes() -> None:
    """31 members, seven drawn: to the 7 and back, twice. docs/committees.md has 100 members."""
    plan = Plan(members=31, size=7, requests=4)
    drawn, of_all = run_plan(1, plan), run_plan(1, replace(plan, size=0))
    assert drawn.heights == of_all.heights == 4
    assert drawn.messages[VOTES] < 0.27 * of_all.messages[VOTES]
    assert drawn.size_bytes[VOTES] < 0.5 * of_all.size_bytes[VOTES]
    assert max(drawn.latencies) < max(of_all.latencies) + 0.2


def test_where_only_liars_are_drawn_that_hoard_what_they_collect_a_block_waits_two_thirds_of_a_slot() -> None:
    """No slot fails: who waited tells all. Were votes told to the cluster for ever, each height would fail."""
    run = run_plan(1, Plan(members=MEMBERS, size=4, requests=10, role=Role.HOARDING, is_captured=True))
    assert run.is_finished
    assert median(run.latencies) <= 1.2
    assert run.view_changes == 0


def run_of(*, heights: int, messages: int, latencies: tuple[float, ...], is_finished: bool = True) -> Run:
    counted = dict.fromkeys(KINDS, messages)
    return Run(
        heights=heights,
        messages=counted,
        size_bytes={kind: 1_000 * count for kind, count in counted.items()},
        latencies=latencies,
        view_changes=1,
        is_finished=is_finished,
    )


def test_figures_are_per_block_and_of_all_seeds() -> None:
    plan = Plan(members=100, size=10, requests=4)
    drawn = Figures(plan=plan, runs=[run_of(heights=3, messages=20, latencies=(0.1, 0.9, 0.3))])
    drawn.runs.append(run_of(heights=1, messages=20, latencies=(0.2,), is_finished=False))
    of_all = Figures(plan=plan, runs=[run_of(heights=2, messages=40, latencies=(0.5,))])
    told = Comparison(drawn=drawn, all=of_all)
    assert "  votes per block: 10 beside 20 messages (0.50), 10 beside 20 KB (0.50)" in told.lines()
    assert (
        "  slots from asking to the answer, median / 90 % / worst: 0.30 / 0.90 / 0.90 beside 0.50 / 0.50 / 0.50"
        in told.lines()
    )
    assert told.lines()[-1] == "  not executed by all: 1 runs beside 0"
    assert told.as_json()["drawn"]["view_changes"] == 2


def test_the_command_tells_the_drawn_beside_all_and_writes_it_down(tmp_path: Path) -> None:
    output = tmp_path / "scale.json"
    arguments = ["scale", "--members", "7", "--size", "4", "--requests", "2", "--seeds", "0:1", "--processes", "1"]
    ended = CliRunner().invoke(app, [*arguments, "--role", "silent", "--output", str(output)])
    assert ended.exit_code == 0, ended.output
    assert ended.stdout.startswith("N = 7, 4 drawn beside all, nobody lies: 2 blocks beside 2\n")
    assert "N = 7, 4 drawn beside all, 2 silent: " in ended.stdout
    runs = json.loads(output.read_text())["runs"]
    assert [run["role"] for run in runs] == [None, "silent"]
    assert [runs[0][which]["cluster_size"] for which in ("drawn", "all")] == [4, 0]


def test_no_more_can_be_drawn_than_there_are() -> None:
    """Of 13 members four may lie, and clusters of four are not drawn of four."""
    for arguments in (["--members", "7", "--size", "7"], ["--members", "13", "--size", "4", "--captured", "silent"]):
        ended = CliRunner().invoke(app, ["scale", *arguments])
        assert ended.exit_code == 2
        assert "are drawn of more members than" in ended.output
