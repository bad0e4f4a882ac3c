"""Absurd parameters are refused with their reason; the limits themselves are allowed."""

import pytest
from msgspec.structs import replace

from qscore.parameters import (
    DEFAULT_PARAMETERS,
    ONE,
    SCORE_MAX,
    WAY_BACK_SLOTS_MAX,
    ParameterFault,
    ParametersRefused,
    check_parameters,
)

ABSURD = [
    ({"floor": 0}, ParameterFault.FLOOR),
    ({"floor": -1}, ParameterFault.FLOOR),
    ({"initial": 49_999}, ParameterFault.INITIAL),
    ({"initial": 10_000_001}, ParameterFault.INITIAL),
    ({"maximum": SCORE_MAX + 1}, ParameterFault.MAXIMUM),
    ({"rate_trader": -1}, ParameterFault.RATE),
    ({"rate_trader": ONE + 1}, ParameterFault.RATE),
    ({"rate_leader": ONE + 1}, ParameterFault.RATE),
    ({"rate_validator": -1}, ParameterFault.RATE),
    ({"fault_share": 0}, ParameterFault.FAULT_SHARE),
    ({"fault_share": ONE + 1}, ParameterFault.FAULT_SHARE),
    ({"threshold_trade": 49_999}, ParameterFault.THRESHOLD),
    ({"threshold_trade": ONE + 1}, ParameterFault.THRESHOLD),
    ({"threshold_service": ONE + 1}, ParameterFault.THRESHOLD),
    ({"threshold_validator": 49_999}, ParameterFault.THRESHOLD),
    ({"threshold_validator": ONE + 1}, ParameterFault.THRESHOLD),
    ({"threshold_stake": ONE - 1}, ParameterFault.STAKE),
    ({"threshold_stake": 10_000_001}, ParameterFault.STAKE),
    ({"way_back_slots": 0}, ParameterFault.WAY_BACK),
    ({"way_back_slots": WAY_BACK_SLOTS_MAX + 1}, ParameterFault.WAY_BACK),
]
AT_THE_LIMIT = [
    {},
    {"floor": 1},
    {"initial": 500_000},
    {"initial": 200_000, "threshold_validator": 200_000},
    {"initial": 10_000_000, "threshold_stake": 10_000_000},
    {"maximum": SCORE_MAX},
    {"rate_trader": ONE, "rate_leader": 0, "rate_validator": 0},
    {"fault_share": 1},
    {"fault_share": ONE},
    {"threshold_trade": 50_000, "threshold_service": ONE},
    {"threshold_validator": 50_000},
    {"threshold_validator": ONE},
    {"threshold_stake": ONE},
    {"way_back_slots": 1},
    {"way_back_slots": WAY_BACK_SLOTS_MAX},
]


@pytest.mark.parametrize(("changes", "reason"), ABSURD, ids=str)
def test_absurd(changes: dict[str, int], reason: ParameterFault) -> None:
    with pytest.raises(ParametersRefused) as refused:
        check_parameters(replace(DEFAULT_PARAMETERS, **changes))
    assert refused.value.reason is reason
    assert str(next(iter(changes.values()))) in refused.value.detail


@pytest.mark.parametrize("changes", AT_THE_LIMIT, ids=str)
def test_at_the_limit(changes: dict[str, int]) -> None:
    check_parameters(replace(DEFAULT_PARAMETERS, **changes))


def test_every_fault_has_a_case() -> None:
    assert {reason for _, reason in ABSURD} == set(ParameterFault)
