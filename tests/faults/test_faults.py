"""A few rows of `make faults`, at 4 nodes: real daemons that lie, one of each kind."""

from pathlib import Path

import pytest

from tests.faults.admission_runs import admission_row
from tests.faults.books import Books
from tests.faults.member_runs import beyond_row, member_row
from tests.faults.traders import trader_row

pytestmark = pytest.mark.alone("liars have eight seconds to break the agreement")

N = 4


def tell(text: str) -> None:
    print(text)  # noqa: T201  (pytest shows it where a row does not hold)


@pytest.mark.parametrize(
    "name",
    [
        "seller.alters_energy",
        "seller.sells_twice",
        "seller.readings_unsigned",
        "buyer.no_tokens",
        "framing.frames_buyer",
        "malleability.signature_bytes_varied",
    ],
)
def test_a_trader_that_lies_gains_nothing(tmp_path: Path, name: str) -> None:
    row = trader_row(name, N, tmp_path, tell=tell)
    assert row.held, row.note


@pytest.mark.parametrize("name", ["leader.alters_postings", "leader.leaves_trade_out", "validator.votes_twice"])
def test_a_member_that_lies_changes_nothing(tmp_path: Path, name: str) -> None:
    row = member_row(name, N, tmp_path, tell=tell)
    assert row.held, row.note


@pytest.mark.parametrize("name", ["admission.no_possession", "admission.candidate_votes"])
def test_nobody_joins_by_lying(tmp_path: Path, name: str) -> None:
    row = admission_row(name, N, tmp_path, tell=tell)
    assert row.held, row.note


def test_too_many_liars_break_the_agreement_and_no_balance(tmp_path: Path) -> None:
    row = beyond_row("colluding.forks", N, tmp_path, tell=tell)
    assert row.held, row.note
    assert "agreement" in row.note
    assert not row.chain_went_on


def test_a_lie_that_moved_something_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The judge itself: were a declined transaction to move anything, the row would not hold."""
    monkeypatch.setattr(Books, "moved_nothing", lambda self, one: False)
    row = trader_row("buyer.alters_price", N, tmp_path, tell=tell)
    assert not row.held
    assert not row.balances_unchanged
