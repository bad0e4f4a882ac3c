"""The scenarios' traces are what golden/ says; `python -m tests.simulation.scenarios --write` writes them anew."""

import re
from pathlib import Path

import pytest

from tests.simulation.runs import PROJECT
from tests.simulation.scenarios import GOLDEN, SCENARIOS, Scenario, file_of, main, prepared_block, trace_of

PROTOCOL = PROJECT / "docs" / "protocol.md"
STEP = re.compile(r"(PRE-PREPARE|PREPARE|COMMIT|VIEW-CHANGE)\((\d+)(?:, A)?\)")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_scenario_goes_as_its_golden_trace_says(scenario: Scenario) -> None:
    assert trace_of(scenario).splitlines() == file_of(scenario).read_text().splitlines()


def test_each_golden_trace_has_its_scenario() -> None:
    assert {file_of(scenario) for scenario in SCENARIOS} == set(GOLDEN.iterdir())


def test_the_worked_view_change_of_the_documentation_is_the_scenarios() -> None:
    """Who says what to whom, in the order of the first time; the diagram leaves out what is sent again."""
    section = PROTOCOL.read_text().partition("## A view change, worked")[2].partition("\n## ")[0]
    drawn = re.findall(r"M(\d)-+[>x]+M\d: (.+)", section)
    assert {said for step in drawn if (said := _first_said(*step))} == {
        said
        for line in file_of(prepared_block).read_text().splitlines()
        if (found := re.match(r"slot.+ms  member (\d)  (.*)", line)) and (said := _first_said(*found.groups()))
    }


def _first_said(member: str, text: str) -> tuple[str, str, str] | None:
    found = None if text.startswith("again") else STEP.search(text)
    return None if found is None else (member, found[1], found[2])


def test_the_command_writes_what_differs_and_only_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.simulation.scenarios.GOLDEN", tmp_path)
    monkeypatch.setattr("tests.simulation.scenarios.SCENARIOS", (prepared_block,))
    assert main([]) == 1
    assert main(["--write"]) == 0
    assert main([]) == 0
    assert capsys.readouterr().out.splitlines() == ["prepared-block.txt: differs", "prepared-block.txt: written"]
