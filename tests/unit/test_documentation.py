"""The documents say what the program does."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def test_the_configuration_page_shows_what_the_program_prints() -> None:
    printed = CliRunner().invoke(app, ["config"]).output
    assert printed.strip() in (ROOT / "docs" / "configuration.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
