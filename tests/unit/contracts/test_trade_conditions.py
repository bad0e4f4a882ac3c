"""Each of the four conditions alone: at the limit, one past it, and with balances that do not follow the contract."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from contracts.conditions import (
    Balances,
    ContractSize,
    Failure,
    condition_1,
    condition_2,
    condition_3,
    condition_4,
    execution_stage,
    final_stage,
)
from contracts.receipts import Party, Reason

Condition = Callable[[ContractSize, Balances, Balances], Failure | None]

CONTRACT = ContractSize(energy_wh=300, amount_micro=60_000, fee_micro=900)
BEFORE = Balances(
    seller_wh=300,
    seller_micro=5,
    buyer_wh=20,
    buyer_micro=60_900,
    buyer_deficit_wh=320,
    escrow_wh=0,
    escrow_micro=0,
    grid_micro=7,
)
"""Everything at the limit: one unit less anywhere, and a condition fails."""
ESCROWED = execution_stage(CONTRACT, BEFORE)
SETTLED = final_stage(CONTRACT, ESCROWED)


def test_stages_move_what_the_contract_says() -> None:
    assert replace(BEFORE, seller_wh=0, escrow_wh=300, buyer_micro=0, escrow_micro=60_900) == ESCROWED
    after = replace(BEFORE, seller_wh=0, buyer_wh=320, buyer_micro=0, seller_micro=60_005, grid_micro=907)
    assert after == SETTLED


@pytest.mark.parametrize(
    ("condition", "before", "after"),
    [
        (condition_1, BEFORE, ESCROWED),
        (condition_2, BEFORE, ESCROWED),
        (condition_3, ESCROWED, SETTLED),
        (condition_4, ESCROWED, SETTLED),
    ],
)
def test_holds_at_the_limit(condition: Condition, before: Balances, after: Balances) -> None:
    assert condition(CONTRACT, before, after) is None


@pytest.mark.parametrize(
    ("condition", "before", "stage", "reason", "fault"),
    [
        (
            condition_1,
            replace(BEFORE, seller_wh=299),
            execution_stage,
            Reason.CONDITION_1_SELLER_ENERGY,
            Party.SELLER,
        ),
        (
            condition_2,
            replace(BEFORE, buyer_micro=60_899),
            execution_stage,
            Reason.CONDITION_2_BUYER_TOKENS,
            Party.BUYER,
        ),
        (
            condition_3,
            replace(ESCROWED, buyer_deficit_wh=319),
            final_stage,
            Reason.CONDITION_3_BUYER_ENERGY,
            Party.BUYER,
        ),
        (condition_3, replace(ESCROWED, escrow_wh=299), final_stage, Reason.CONDITION_3_BUYER_ENERGY, None),
        (
            condition_4,
            replace(ESCROWED, escrow_micro=60_899),
            final_stage,
            Reason.CONDITION_4_SELLER_TOKENS,
            None,
        ),
    ],
)
def test_fails_one_past_the_limit(
    condition: Condition,
    before: Balances,
    stage: Callable[[ContractSize, Balances], Balances],
    reason: Reason,
    fault: Party | None,
) -> None:
    failure = condition(CONTRACT, before, stage(CONTRACT, before))
    assert failure is not None
    assert (failure.reason, failure.fault) == (reason, fault)
    assert failure.detail


WATCHED = [
    (condition_1, BEFORE, ESCROWED, Reason.CONDITION_1_SELLER_ENERGY, ("seller_wh", "escrow_wh")),
    (condition_2, BEFORE, ESCROWED, Reason.CONDITION_2_BUYER_TOKENS, ("buyer_micro", "escrow_micro")),
    (condition_3, ESCROWED, SETTLED, Reason.CONDITION_3_BUYER_ENERGY, ("buyer_wh", "escrow_wh")),
    (
        condition_4,
        ESCROWED,
        SETTLED,
        Reason.CONDITION_4_SELLER_TOKENS,
        ("seller_micro", "escrow_micro", "grid_micro"),
    ),
]
MOVING = ("seller_wh", "seller_micro", "buyer_wh", "buyer_micro", "escrow_wh", "escrow_micro", "grid_micro")


@pytest.mark.parametrize(("condition", "before", "after", "reason", "watched"), WATCHED)
@pytest.mark.parametrize("field", MOVING)
@pytest.mark.parametrize("slip", [-1, 1])
def test_watches_its_balances_to_the_unit(
    condition: Condition,
    before: Balances,
    after: Balances,
    reason: Reason,
    watched: tuple[str, ...],
    field: str,
    slip: int,
) -> None:
    wrong = replace(after, **{field: getattr(after, field) + slip})
    failure = condition(CONTRACT, before, wrong)
    if field in watched:
        assert failure is not None
        assert (failure.reason, failure.fault) == (reason, None), "no party did it: who computed it did"
    else:
        assert failure is None
