"""A run drawn as a message sequence chart."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from tests.simulation.__main__ import app
from tests.simulation.chart import ARROWS_MAX, Chart, FirstViewChange, Recorder
from tests.simulation.seeds import run_seed
from tests.simulation.twins import run_scenario

SVG = "{http://www.w3.org/2000/svg}"
SEED = 17
CRASHING_SEED = 35


def picture(page: str) -> ElementTree.Element:
    return ElementTree.fromstring(page[page.index("<svg") : page.index("</svg>") + len("</svg>")])


def test_the_picture_has_an_arrow_per_message_and_a_line_per_process() -> None:
    recorder = Recorder(height=1)
    outcome = run_seed(SEED, members=4, observer=recorder)
    svg = picture(Chart(recorder).html("Seed", "facts & <figures>"))
    assert recorder.arrows
    assert len(list(svg.iter(f"{SVG}g"))) == len(recorder.arrows)
    assert len([line for line in svg.iter(f"{SVG}line") if line.get("class") == "life"]) == outcome.members


def test_a_process_that_is_down_has_a_broken_line_until_it_starts_again() -> None:
    recorder = Recorder()
    run_seed(CRASHING_SEED, members=4, observer=recorder)
    crashed = [mark.host for mark in recorder.marks if mark.text == "crash"]
    assert crashed
    svg = picture(Chart(recorder).html("Seed", ""))
    lines = [line for line in svg.iter(f"{SVG}line") if line.get("class") == "down"]
    assert 0 < len(lines) <= len(crashed)
    assert all(float(line.get("y1", "")) < float(line.get("y2", "")) for line in lines)


def test_drawing_changes_nothing() -> None:
    assert run_seed(SEED, members=4, observer=Recorder()).trace == run_seed(SEED, members=4).trace


def test_only_the_height_asked_for_is_drawn_without_status() -> None:
    recorder = Recorder(height=2)
    run_seed(SEED, members=4, observer=recorder)
    assert {arrow.height for arrow in recorder.arrows} == {2}
    everything = Recorder(with_quiet=True)
    run_seed(SEED, members=4, observer=everything)
    assert {arrow.kind for arrow in everything.arrows} >= {"Status", "Prepare", "Commit"}
    assert len(everything.arrows) <= ARROWS_MAX


def test_a_twin_has_a_line_of_its_own(tmp_path: Path) -> None:
    found = FirstViewChange()
    run_scenario(15_000, observer=found)
    assert found.height is not None
    file = tmp_path / "twins.html"
    result = CliRunner().invoke(app, ["show", "--twins", "--seed", "15000", "--output", str(file)])
    assert result.exit_code == 0
    names = [text.text for text in picture(file.read_text()).iter(f"{SVG}text") if text.get("class") == "name"]
    assert len(names) == 5
    assert len(set(names)) == 4


@pytest.mark.parametrize("moments", [(), ("--from-ms", "1500", "--to-ms", "2500")])
def test_the_command_prints_the_page(moments: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["show", "--seed", str(SEED), "--members", "4", *moments])
    assert result.exit_code == 0
    assert result.stdout.startswith("<!doctype html>")
    assert "http" not in result.stdout.replace("http://www.w3.org/2000/svg", "")
