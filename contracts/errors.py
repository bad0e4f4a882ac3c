"""The errors of this package.

```
ContractsError
`-- GenesisRefused     a genesis that no chain may start from
```

A transaction that fails raises nothing: it is declined, and its receipt says why (`receipts.Reason`).
"""

from enum import Enum


class ContractsError(Exception):
    """Base of this package's errors."""


class GenesisFault(Enum):
    """Why a genesis is refused."""

    OUT_OF_RANGE = "out_of_range"
    UNKNOWN_VERSION = "unknown_version"
    MEMBER_COUNT = "member_count"
    DUPLICATE_KEY = "duplicate_key"
    VERIFIERS = "verifiers"
    AMOUNTS = "amounts"
    PRICE_BOUNDS = "price_bounds"
    ATTEMPT_BOUND = "attempt_bound"
    BLOCK_LIMITS = "block_limits"
    SCORES = "scores"
    CLUSTERS = "clusters"


class GenesisRefused(ContractsError):  # noqa: N818  (a refusal is an answer, not a failure)
    """A genesis whose values are absurd or contradict each other."""

    def __init__(self, reason: GenesisFault, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
