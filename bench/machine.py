"""What this machine can do: the yardstick that every other figure is divided by."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from consensus.cryptography import SigningKey, verify

ROUNDS: Final = 7
REPETITIONS: Final = 200
MESSAGE: Final = bytes(range(200))
"""As long as the signed part of a transfer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ed25519Cost:
    """Cost of one signature through PyNaCl, in microseconds."""

    verify_us: float
    sign_us: float


def cores() -> int:
    """Returns how many processor cores this process may use."""
    return len(os.sched_getaffinity(0))


def ed25519_cost() -> Ed25519Cost:
    """Measures verification and signing of a message of a transfer's size."""
    key = SigningKey(bytes(32))
    signature = key.sign(MESSAGE)
    return Ed25519Cost(
        verify_us=microseconds(lambda: verify(key.public_key, MESSAGE, signature)),
        sign_us=microseconds(lambda: key.sign(MESSAGE)),
    )


def microseconds(work: Callable[[], object], *, rounds: int = ROUNDS, repetitions: int = REPETITIONS) -> float:
    """Returns the processor time of one call of `work`: the median of several rounds.

    Processor time, not wall time: what else runs on the machine then disturbs it least.
    """

    def one_round() -> float:
        start_ns = time.process_time_ns()
        for _ in range(repetitions):
            work()
        return (time.process_time_ns() - start_ns) / repetitions / 1_000

    return statistics.median(one_round() for _ in range(rounds))
