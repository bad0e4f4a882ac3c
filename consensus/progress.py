"""The arithmetic of view changes: how far apart attempts lie (P3), and which slot to join (P4).

Attempts at a height grow apart by powers of p, the smallest prime that does not divide N: multiples of p^k
visit every member as leader, where powers of two would meet one dead leader for ever at even N.
"""

from collections.abc import Iterable
from typing import Final

from consensus.identifiers import Slot

STRIDE_MAX: Final = 64
"""Largest distance between attempts in slots: bounds recovery after a long outage."""


def smallest_coprime_prime(members: int) -> int:
    """Returns p, the smallest prime that does not divide `members` (>= 1)."""
    candidate = 2
    while members % candidate == 0 or not _is_prime(candidate):
        candidate += 1
    return candidate


def _is_prime(number: int) -> bool:
    return number >= 2 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))  # noqa: PLR2004


def stride_exponent_max(members: int, slot_duration_ms: int, attempt_max_ms: int) -> int:
    """Returns cap: the largest exponent with p^cap <= 64 slots and p^cap slots <= `attempt_max_ms`, at least 1."""
    prime = smallest_coprime_prime(members)
    exponent = 1
    while prime ** (exponent + 1) <= STRIDE_MAX and prime ** (exponent + 1) * slot_duration_ms <= attempt_max_ms:
        exponent += 1
    return exponent


def stride(members: int, attempts: int, exponent_max: int) -> int:
    """Returns M(k) = p^min(k, cap): the next attempt's slot is a multiple of it."""
    return int(smallest_coprime_prime(members) ** min(attempts, exponent_max))


def next_target(base: Slot, stride_slots: int) -> Slot:
    """Returns the smallest multiple of `stride_slots` above `base`."""
    return Slot((base // stride_slots + 1) * stride_slots)


def join_slot(highest_slots: Iterable[Slot], fault_bound: int) -> Slot | None:
    """Returns the (F + 1)-th highest of the members' highest VIEW-CHANGE slots, None while fewer are known.

    At least one honest member asked for this slot or a later one.
    """
    ordered = sorted(highest_slots, reverse=True)
    return ordered[fault_bound] if len(ordered) > fault_bound else None
