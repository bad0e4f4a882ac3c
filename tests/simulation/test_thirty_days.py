"""A short day of the month: `p2pnode-sim month` runs thirty whole ones."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.simulation import host
from tests.simulation.network import Network
from tests.simulation.thirty_days import HOUR_MS, LIES, REQUEST_MS, draw, simulate, write_figures

ASKED_PER_HOUR = HOUR_MS // REQUEST_MS
HAPPENS = ("was lost", "doubled", "paused", "crashed", "clock jumped", "partition", "accident", "died")


def test_a_day_of_storm_and_calm_is_safe_and_leaves_nothing_undone(tmp_path: Path) -> None:
    month = simulate(days=1, storm_hours=4, calm_hours=2)
    assert len(month.heights_by_hour) == 6
    assert sum(month.heights_by_hour[:4]) > 0
    assert month.heights_by_hour[5] >= ASKED_PER_HOUR // 2
    assert month.requests == 6 * ASKED_PER_HOUR
    happened = " ".join(name for name, count in month.occurred.items() if count)
    assert all(what in happened for what in HAPPENS), happened
    assert f"{LIES[0].value}: bent" in happened
    assert host.TAU_MS == 250, "slots are short again"
    draw(month, tmp_path / "month.svg")
    write_figures(month, tmp_path / "month.json")
    assert ElementTree.parse(tmp_path / "month.svg").getroot().tag.endswith("svg")
    assert json.loads((tmp_path / "month.json").read_text())["heights"] == sum(month.heights_by_hour)


def test_a_network_that_does_not_recover_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Network, "deliver", lambda *_: None)
    with pytest.raises(AssertionError, match="stuck"):
        simulate(days=1, storm_hours=1, calm_hours=1)
