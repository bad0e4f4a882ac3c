"""The documents say what the program does."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
TOLD_ONCE = {"CHANGELOG.md"}
"""Pages that name things as they were."""
FOLDERS = ("node", "consensus", "contracts", "ledger", "qscore", "tests", "bench", "deploy")
TEXTS = sorted(
    [
        *(page for page in PAGES if page.name not in TOLD_ONCE),
        ROOT / "Makefile",
        *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".md", ".yml"}),
    ]
)
FOLDER = rf"(?:{'|'.join(FOLDERS)})/"
NAMED_FILE = re.compile(rf"(?<![\w./-]){FOLDER}[\w./-]+\.(?:py|md|csv|json)\b")
"""A file of this project, wherever a text names it from the root."""
NAMED_PLACE = re.compile(rf"`({FOLDER}[\w./-]*|(?:unit|simulation|integration|faults|endurance)/[\w./-]*)`")
"""A file or a folder in the code type of a page, from the root or from tests/."""
NEIGHBOUR = re.compile(r"`((?:\w+/)*\w+\.py)`")
MODULES = [path for path in TEXTS if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in FOLDERS[:5]]


def test_the_configuration_page_shows_what_the_program_prints() -> None:
    printed = CliRunner().invoke(app, ["config"]).output
    assert printed.strip() in (ROOT / "docs" / "configuration.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def missing(names: re.Pattern[str], texts: Iterable[Path], roots_of: Callable[[Path], Iterable[Path]]) -> set[str]:
    """Returns what texts name and none of their roots has, each with its text."""
    return {
        f"{text.relative_to(ROOT)}: {name}"
        for text in texts
        for name in names.findall(text.read_text())
        if not any((root / name).exists() for root in roots_of(text))
    }


def test_files_that_are_named_exist() -> None:
    assert missing(NAMED_FILE, TEXTS, lambda _: [ROOT]) == set()


def test_places_that_pages_name_exist() -> None:
    pages = [page for page in PAGES if page.name not in TOLD_ONCE]
    assert missing(NAMED_PLACE, pages, lambda _: [ROOT, ROOT / "tests"]) == set()


def test_neighbours_that_a_module_names_exist() -> None:
    """From the module's own folder, from that of its package, or from the root."""
    found = missing(
        NEIGHBOUR, MODULES, lambda module: [module.parent, ROOT / module.relative_to(ROOT).parts[0], ROOT]
    )
    assert found == set()
