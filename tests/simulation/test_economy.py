"""100,000 random operations of all kinds: energy and tokens exact after each, two nodes in one state."""

from collections import Counter
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from contracts.receipts import Reason
from contracts.state import Account, account_key
from contracts.transactions import Action
from tests.simulation import economy
from tests.simulation.economy import run_operations

SEEDS = 100
OPERATIONS_PER_SEED = 1_000
SEEDS_LOOKED_AT = 12


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_is_lost_or_invented(seed: int, record_property: Callable[[str, object], None]) -> None:
    tried = run_operations(seed, OPERATIONS_PER_SEED)
    assert tried.operations == OPERATIONS_PER_SEED
    record_property("operations", tried.operations)


def test_every_operation_is_tried_and_executes_and_most_reasons_are_met() -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(SEEDS_LOOKED_AT):
        outcomes += run_operations(seed, OPERATIONS_PER_SEED).outcomes
    executed = {outcome.split()[0] for outcome in outcomes if outcome.endswith(" none")}
    assert executed == {kind.__name__ for kind in Action.__args__}
    assert len({outcome.split()[1] for outcome in outcomes}) >= len(Reason) * 3 // 4
    assert outcomes["SubmitTrade none"] >= 50 * SEEDS_LOOKED_AT


def test_sums_over_the_whole_state_find_what_the_books_of_a_block_would_miss() -> None:
    run = economy._Run(1)
    run.run(200)
    key = account_key(run.chain.community.addresses[0])
    wallet = run.chain.read(key, Account)
    run.chain.state[key] = encode(replace(wallet, available_micro=wallet.available_micro + 1))
    with pytest.raises(AssertionError):
        run._sum_up()


def test_a_node_that_executes_otherwise_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = economy.execute_block

    def forgets_the_last(state, genesis, context, transactions):  # type: ignore[no-untyped-def]
        return honest(state, genesis, context, transactions[:-1])

    monkeypatch.setattr(economy, "execute_block", forgets_the_last)
    with pytest.raises(AssertionError, match="another state"):
        run_operations(1, 200)
