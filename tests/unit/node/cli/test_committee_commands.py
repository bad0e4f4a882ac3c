"""`p2pnode committee-risk`: what it prints, what it refuses, and that its page shows the same figures."""

import re
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from node.cli.main import app
from node.errors import NodeError

PAGE: Final = (Path(__file__).parents[4] / "docs" / "committees.md").read_text()
ROWS: Final = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line[:1] == "|"]
CLUSTER_ROWS: Final = [row for row in ROWS if row[0].isdigit() and "/" in row[1]]
PANEL_ROWS: Final = [row for row in ROWS if row[0].isdigit() and "of" in row[1]]
MEMBERS: Final = (20, 50, 100, 256)
LIARS_PERCENT: Final = (10, 20)


def printed(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["committee-risk", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def figures(output: str) -> list[str]:
    return re.findall(r": ([\d.e-]+)$", output, re.MULTILINE)


def test_the_page_has_the_tables() -> None:
    assert len(CLUSTER_ROWS) == 5
    assert len(PANEL_ROWS) == 8


@pytest.mark.parametrize("row", CLUSTER_ROWS, ids=lambda row: row[0])
def test_clusters_of_the_page(row: list[str]) -> None:
    for members, cell in zip(MEMBERS, row[1:], strict=True):
        no_honest, half, *_ = figures(printed("--members", members, "--size", row[0]))
        assert f"{no_honest} / {half}" == cell, members


@pytest.mark.parametrize("row", PANEL_ROWS, ids=lambda row: row[0])
def test_panels_of_the_page(row: list[str]) -> None:
    stakers = int(row[0])
    liars: list[tuple[object, ...]] = [("--byzantine", stakers * percent // 100) for percent in LIARS_PERCENT]
    for arguments, cell in zip((*liars, ()), row[2:], strict=True):
        output = printed("--members", stakers, *arguments)
        *_, captured, decides = figures(output)
        assert f"{captured} / {decides}" == cell, arguments
        assert f"{row[1].split()[0]} decide" in output


@pytest.mark.parametrize(
    ("members", "stakers", "liars", "captured"),
    [(100, 40, 33, "0.948"), (31, 21, 10, "0.063"), (100, 67, 33, "0.140")],
)
def test_stakers_choose_themselves(members: int, stakers: int, liars: int, captured: str) -> None:
    output = printed("--members", members, "--stakers", stakers)
    assert f"panels of 10 of {stakers} stakers, {liars} of which lie; 7 decide" in output
    assert figures(output)[-2] == captured
    assert captured in PAGE


def test_a_small_chain_is_drawn_whole_unless_a_size_is_given() -> None:
    assert printed("--members", 4).startswith("clusters of 4 of 4 members, 1 of which lie:")
    assert "panels" not in printed("--members", 2)


def test_regions_show_who_is_drawn_more_than_its_share() -> None:
    output = printed("--members", 100, "--regions", "60,30,9,1", "--cap", 4)
    assert "region of 9: each member is drawn with 0.270, 2.70 times its share" in output


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--size", 21), "--size 21 is more than --members, 20"),
        (("--byzantine", 21), "--byzantine 21 is more than --members, 20"),
        (("--stakers", 21), "--stakers 21 is more than --members, 20"),
        (("--byzantine", 3, "--byzantine-stakers", 4), "--byzantine-stakers 4 is more than"),
        (("--cap", 2), "--cap limits who is drawn of one region"),
        (("--regions", "10,9"), "--regions has 19 members, --members 20"),
        (("--regions", "20,0"), "no region is empty"),
        (("--regions", "a,b"), "write the members of each region as 60,30,9,1"),
    ],
)
def test_what_does_not_fit_is_named(arguments: tuple[object, ...], named: str) -> None:
    with pytest.raises(NodeError, match=re.escape(named)):
        printed("--members", 20, *arguments)
