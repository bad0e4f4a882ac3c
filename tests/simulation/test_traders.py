"""3,000 malicious submissions, seeded: all declined, nothing moved, nobody framed, every contract settled once."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from contracts import trades
from tests.simulation.traders import KINDS, run_cases

SEEDS = 10
CASES_PER_SEED = 300


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nobody_gains_by_cheating(seed: int, record_property: Callable[[str, object], None]) -> None:
    kinds = run_cases(range(seed * CASES_PER_SEED, (seed + 1) * CASES_PER_SEED))
    assert kinds.total() == CASES_PER_SEED
    assert kinds.keys() == {kind.__name__ for kind in KINDS} | {"never_delivers"}
    record_property("cases", kinds.total())


def test_a_chain_that_blames_the_victim_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = trades._check_signatures

    def blames_the_seller(run, submission):  # type: ignore[no-untyped-def]
        refusal = honest(run, submission)
        return None if refusal is None else replace(refusal, fault=submission.terms.seller)

    checks = tuple(blames_the_seller if check is honest else check for check in trades.CHECKS)
    monkeypatch.setattr(trades, "CHECKS", checks)
    with pytest.raises(AssertionError):
        run_cases(range(len(KINDS) + 1))


def test_a_chain_that_takes_a_contract_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    once = (trades._check_not_executed, trades._check_offer_unused)
    monkeypatch.setattr(trades, "CHECKS", tuple(check for check in trades.CHECKS if check not in once))
    with pytest.raises(AssertionError):
        run_cases(range(len(KINDS) + 1))


def test_a_chain_that_punishes_nobody_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trades, "punish", lambda *_, **__: None)
    with pytest.raises(AssertionError):
        run_cases(range(len(KINDS) + 1))
