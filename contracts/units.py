"""Units, all integers: no float ever enters a block, a state value or a signature."""

from typing import Final, NewType

WattHours = NewType("WattHours", int)
"""Energy in Wh."""

MicroTokens = NewType("MicroTokens", int)
"""Money in millionths of a token."""

MicroTokensPerKwh = NewType("MicroTokensPerKwh", int)
"""Price in micro-tokens per kWh."""

Milliseconds = NewType("Milliseconds", int)
"""A duration, or meter time since the epoch (UTC)."""

MICRO_TOKENS_PER_TOKEN: Final = 1_000_000
WH_PER_KWH: Final = 1_000
MS_PER_HOUR: Final = 3_600_000


def contract_amount(energy: WattHours, price: MicroTokensPerKwh) -> MicroTokens:
    """Returns what `energy` costs at `price`, rounded half up to whole micro-tokens, once per contract."""
    return MicroTokens((energy * price + WH_PER_KWH // 2) // WH_PER_KWH)
