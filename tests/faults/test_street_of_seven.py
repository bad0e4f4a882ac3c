"""48 hours of seven homes, one of which does not pay what it signed."""

from pathlib import Path

import pytest

from node.meter.readings_file import read_readings
from tests.faults.books import opened
from tests.faults.street_of_seven import BUYER, Judged, run_behaviour
from tests.support.testnet import Street

pytestmark = pytest.mark.alone("seven daemons trade, and each hour has three seconds")

HOURS = 48


def test_only_what_the_malicious_home_did_not_honour_is_missing(tmp_path: Path) -> None:
    found = run_behaviour("buyer.no_tokens", hours=HOURS, directory=tmp_path)
    assert found.held, found.note
    assert 0 < found.not_honoured_wh == found.tradable_wh - found.traded_wh
    _see_that_the_judge_blames_nobody_else(tmp_path)


def _see_that_the_judge_blames_nobody_else(directory: Path) -> None:
    """Were another home the malicious one, the same ledger would show hours that nothing explains."""
    street = Street(directory / "street")
    members = [node.address for node in street.nodes]
    readings = read_readings(directory / "seven.csv")
    with opened([street.node(1).home]) as (books,):
        assert Judged(books, members, members[BUYER - 1], readings).problems() == []
        assert any("Wh traded, not" in problem for problem in Judged(books, members, members[0], readings).problems())
