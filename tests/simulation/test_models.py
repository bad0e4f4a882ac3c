"""Of all courses of small chains none breaks the rules, and some break each naive one.

What the short searches find is compared with the recorded figures: a model that lost some of its courses shows.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.simulation import height_model, inquiry_model
from tests.simulation.exhaustive import Judged
from tests.simulation.height_model import Courses, State

DOCS = Path(__file__).parents[2] / "docs"
RECORDED: dict[str, Any] = {
    row["search"]: row for row in json.loads((DOCS / "models-result.json").read_text())["runs"]
}

Search = height_model.Search | inquiry_model.Search
SHORT: tuple[Search, ...] = (*inquiry_model.SEARCHES, *height_model.SEARCHES)
ALL: tuple[Search, ...] = (*SHORT, *inquiry_model.LONG_SEARCHES, *height_model.LONG_SEARCHES)


@pytest.mark.parametrize("search", SHORT, ids=lambda search: search.name)
def test_only_a_naive_rule_breaks(search: Search) -> None:
    found, recorded = search.run(), RECORDED[search.title]
    assert (found.violation is not None) == search.is_naive, search.sentence(found)
    assert found.counting > 0
    assert found.steps == recorded["steps"]
    if not search.is_naive:
        assert (found.states, found.counting) == (recorded["states"], recorded["counting"])


def test_what_is_searched_is_recorded() -> None:
    broken = {title: row["violation"] is not None for title, row in RECORDED.items()}
    assert broken == {search.title: search.is_naive for search in ALL}


def test_the_page_shows_what_is_recorded() -> None:
    page = (DOCS / "models.md").read_text()
    for row in RECORDED.values():
        assert f"| {row['states']:,} | {row['steps']} | {row['seconds']} |" in page, row["search"]


def test_only_states_that_differ_by_names_count_as_one() -> None:
    visited: list[State] = []

    class Unnamed(Courses):
        def renamed(self, state: Iterable[int]) -> State:
            return tuple(state)

        def judged(self, state: State) -> Judged:
            visited.append(super().renamed(state))
            return super().judged(state)

    search = height_model.Search(name="small", fast=(1,), justified=(1, 2))
    search.run(Unnamed)
    assert len(visited) > len(set(visited)) == search.run().states
