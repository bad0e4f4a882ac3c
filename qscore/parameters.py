"""The genesis parameters of the quality of transaction."""

from enum import Enum
from typing import Final, NewType

from consensus.codec import Record

Millionths = NewType("Millionths", int)
"""A Q-score, a rate or a ratio: 1_000_000 is 1.0."""

ONE: Final = Millionths(1_000_000)


class ScoreParameters(Record, frozen=True, kw_only=True):
    """Parameters of the quality of transaction, all in millionths unless said otherwise."""

    initial: Millionths
    floor: Millionths
    maximum: Millionths
    rate_trader: Millionths
    """k of seller and buyer: reward k q x^5 (1 - q / q_max)."""
    rate_leader: Millionths
    """k of the leader, with x^3."""
    rate_validator: Millionths
    """k of the validators, with x."""
    fault_share: Millionths
    """The party at fault loses this share of its score times |x|^5."""
    threshold_trade: Millionths
    """Below it, a member's trades are declined."""
    threshold_service: Millionths
    """Below it, leading and validating are not rewarded."""
    threshold_validator: Millionths
    """Below it, a member is not drawn into the clusters that validate trades."""
    threshold_stake: Millionths
    """Staked score from which a member may verify admissions."""
    way_back_slots: int
    """Slots in which a score that fell below `threshold_trade` comes back to it; doubled with each repetition."""


SLOTS_PER_DAY: Final = 86_400
"""Of a second each, the deployed slot duration."""

DEFAULT_PARAMETERS: Final = ScoreParameters(
    initial=ONE,
    floor=Millionths(50_000),
    maximum=Millionths(10_000_000),
    rate_trader=Millionths(20_000),
    rate_leader=Millionths(2_000),
    rate_validator=Millionths(500),
    fault_share=Millionths(500_000),
    threshold_trade=Millionths(200_000),
    threshold_service=Millionths(200_000),
    threshold_validator=Millionths(500_000),
    threshold_stake=Millionths(2_000_000),
    way_back_slots=30 * SLOTS_PER_DAY,
)
"""What a chain starts from unless its genesis says otherwise."""

SCORE_MAX: Final = Millionths(1_000_000_000_000)
"""Highest `maximum` a genesis may ask for: a million. Bounds the integers that every node multiplies."""


WAY_BACK_SLOTS_MAX: Final = 2**40
"""Longest first way back: doubled as often as `way_back.DOUBLINGS_MAX` says it is still a slot number."""


class ParameterFault(Enum):
    """Why a genesis' score parameters are absurd."""

    FLOOR = "floor"
    INITIAL = "initial"
    MAXIMUM = "maximum"
    RATE = "rate"
    FAULT_SHARE = "fault_share"
    THRESHOLD = "threshold"
    STAKE = "stake"
    WAY_BACK = "way_back"


class ParametersRefused(ValueError):  # noqa: N818  (a refusal is an answer, not a failure)
    """Score parameters with which scores would mean nothing."""

    def __init__(self, reason: ParameterFault, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


def check_parameters(parameters: ScoreParameters) -> None:
    """Refuses absurd parameters.

    Raises:
        ParametersRefused: floor not positive (a score could never recover), initial outside floor..maximum,
            maximum above `SCORE_MAX`, a rate outside 0..1 (past 1 a reward overshoots the maximum), a fault
            share that is not in (0, 1] (a fraud without consequence, or a negative score), a threshold
            outside floor..initial (nobody could ever fall below it, or nobody could ever trade), a stake outside
            initial..maximum (everybody could verify at once, or nobody ever), or a way back of no or of endless
            slots.
    """
    for holds, reason, detail in _requirements(parameters):
        if not holds:
            raise ParametersRefused(reason, detail)


def _requirements(parameters: ScoreParameters) -> list[tuple[bool, ParameterFault, str]]:
    floor, initial, maximum = parameters.floor, parameters.initial, parameters.maximum
    rates = {
        "rate_trader": parameters.rate_trader,
        "rate_leader": parameters.rate_leader,
        "rate_validator": parameters.rate_validator,
    }
    thresholds = {
        "threshold_trade": parameters.threshold_trade,
        "threshold_service": parameters.threshold_service,
        "threshold_validator": parameters.threshold_validator,
    }
    share = parameters.fault_share
    return [
        (floor >= 1, ParameterFault.FLOOR, f"floor {floor} must be at least 1"),
        (
            floor <= initial <= maximum,
            ParameterFault.INITIAL,
            f"initial {initial} must lie between floor {floor} and maximum {maximum}",
        ),
        (maximum <= SCORE_MAX, ParameterFault.MAXIMUM, f"maximum {maximum} must be at most {SCORE_MAX}"),
        *(
            (0 <= rate <= ONE, ParameterFault.RATE, f"{name} {rate} must lie between 0 and {ONE}")
            for name, rate in rates.items()
        ),
        (0 < share <= ONE, ParameterFault.FAULT_SHARE, f"fault_share {share} must lie between 1 and {ONE}"),
        *(
            (
                floor <= threshold <= initial,
                ParameterFault.THRESHOLD,
                f"{name} {threshold} must lie between floor {floor} and initial {initial}",
            )
            for name, threshold in thresholds.items()
        ),
        (
            initial <= parameters.threshold_stake <= maximum,
            ParameterFault.STAKE,
            f"threshold_stake {parameters.threshold_stake} must lie between initial {initial} and maximum {maximum}",
        ),
        (
            1 <= parameters.way_back_slots <= WAY_BACK_SLOTS_MAX,
            ParameterFault.WAY_BACK,
            f"way_back_slots {parameters.way_back_slots} must lie between 1 and {WAY_BACK_SLOTS_MAX}",
        ),
    ]
