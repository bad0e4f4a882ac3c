"""`p2pnode-sim` at its edges: what cannot be done is refused before any run, files go to the caller's folder."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.simulation.__main__ import app
from tests.simulation.kept_runs import KeptRuns
from tests.simulation.runs import run_all
from tests.simulation.seeds import Outcome, run_seed
from tests.simulation.twins import SCENARIOS

COMMAND = Path(sys.executable).with_name("p2pnode-sim")
DEADLINE_S = 60

USAGE_ERROR = 2


def told(output: str) -> str:
    """Returns a message without the frame and the line breaks that a terminal's width gives it."""
    return " ".join(output.replace("│", " ").split())


@pytest.mark.parametrize("seeds", ["", "5", "5:5", "-1:5", "0:²", "0:" + "9" * 26, "0:" + "9" * 5_000], ids=ascii)
def test_seeds_that_are_no_range_are_refused(seeds: str) -> None:
    ended = CliRunner().invoke(app, ["run", "--seeds", seeds])
    assert ended.exit_code == USAGE_ERROR, ended.exception
    assert "is not A:B with" in told(ended.output)


@pytest.mark.parametrize(
    "command",
    [("show", "--seed", "1"), ("record", "--seeds", "0:1"), ("month", "--days", "1")],
    ids=lambda command: str(command[0]),
)
@pytest.mark.parametrize("place", ["missing/x.svg", "file/x.svg", "folder.svg", "x" * 300 + ".svg"], ids=len)
def test_a_file_that_cannot_be_written_is_refused_before_the_run(
    tmp_path: Path, command: tuple[str, ...], place: str
) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder.svg").mkdir()
    ended = CliRunner().invoke(app, [*command, "--output", str(tmp_path / place)])
    assert ended.exit_code == USAGE_ERROR, ended.exception
    assert "cannot be written" in told(ended.output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.svg"]


@pytest.mark.parametrize(("name", "complaint"), [("x.foo", "ends in .svg"), ("x.svg", "cannot be written")])
def test_a_plot_needs_a_place_for_its_figures_too(tmp_path: Path, name: str, complaint: str) -> None:
    (tmp_path / "x.json").mkdir()
    ended = CliRunner().invoke(app, ["month", "--days", "1", "--output", str(tmp_path / name)])
    assert ended.exit_code == USAGE_ERROR, ended.exception
    assert complaint in told(ended.output)
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_a_twins_scenario_that_is_not_there_is_refused() -> None:
    ended = CliRunner().invoke(app, ["show", "--twins", "--seed", str(SCENARIOS)])
    assert ended.exit_code == USAGE_ERROR, ended.exception
    assert f"0 to {SCENARIOS - 1}" in told(ended.output)


def test_files_go_to_the_callers_folder_whatever_else_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").write_text("raise AssertionError('not the project')")
    command = [str(COMMAND), "show", "--seed", "1", "--members", "4", "--output", "chart.html"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    assert (tmp_path / "chart.html").read_text().startswith("<!")


def test_a_greedy_leader_gains_nothing_and_one_that_is_not_there_is_refused() -> None:
    led = CliRunner().invoke(app, ["lead", "--blocks", "200", "--members", "4"])
    assert led.exit_code == 0, led.output
    assert led.stdout.startswith("N = 4, greedy 1: 200 blocks in ")
    refused = CliRunner().invoke(app, ["lead", "--members", "4", "--greedy", "4"])
    assert refused.exit_code == 2
    assert "members are 0 to 3" in refused.output


def outcome(seed: int) -> Outcome:
    return run_seed(seed, members=1)


def test_an_interrupted_recording_goes_on_where_it_stood(tmp_path: Path) -> None:
    path, told = tmp_path / "runs" / "seeds.jsonl", []
    whole = run_all(outcome, range(4), lambda *_: None, 1)
    run_all(outcome, range(2), lambda *_: None, 1, KeptRuns(path))
    path.write_bytes(path.read_bytes() + b'{"outcome": {"seed": 2, ')  # killed while it wrote
    taken_up = run_all(outcome, range(4), lambda done, *_: told.append(done), 1, KeptRuns(path))
    assert told == [3, 4], "what was there was not run again"
    sums = ("seeds", "violations", "heights", "events", "kinds", "occurred", "recovery_slots")
    assert [getattr(taken_up, name) for name in sums] == [getattr(whole, name) for name in sums]
    assert sorted(KeptRuns(path).runs) == [0, 1, 2, 3]
    assert taken_up.processor_s > 0
