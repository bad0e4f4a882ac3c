"""A rate quota per sender: a token bucket for each, kept only while it is not full.

A bucket is charged before the signature is checked and refunded if the signature does not hold: whoever
borrows a name costs its owner nothing, and a bucket that is full again is forgotten, so invented names do not
push out real ones.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from consensus.identifiers import Address

BURST_MAX: Final = 1_024
"""Submissions of one sender at once: one block's worth, as many as a mempool holds of one sender."""

RATE_PER_S: Final = 256.0
"""Submissions of one sender in the long run; a household needs a few per hour, a benchmark a few hundred."""

SENDERS_MAX: Final = 4_096
"""Buckets that are not full, at once; the one unused for longest is forgotten first. About 200 bytes each."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_s: float


class SubmissionQuota:
    """Token buckets by sender."""

    def __init__(
        self,
        *,
        clock_s: Callable[[], float],
        burst_max: int = BURST_MAX,
        rate_per_s: float = RATE_PER_S,
        senders_max: int = SENDERS_MAX,
    ) -> None:
        """Takes a monotonic clock in seconds and the bounds; every bucket starts full."""
        self._clock_s = clock_s
        self._burst_max = burst_max
        self._rate_per_s = rate_per_s
        self._senders_max = senders_max
        self._buckets: OrderedDict[Address, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def charge(self, sender: Address) -> float | None:
        """Takes one token of a sender's bucket.

        Returns:
            None if there was one, else the seconds until there is one again.
        """
        bucket = self._filled(sender)
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / self._rate_per_s
        bucket.tokens -= 1
        return None

    def refund(self, sender: Address) -> None:
        """Gives a token back: the submission was not the sender's."""
        bucket = self._filled(sender)
        bucket.tokens += 1
        if bucket.tokens >= self._burst_max:
            del self._buckets[sender]

    def _filled(self, sender: Address) -> _Bucket:
        now_s = self._clock_s()
        bucket = self._buckets.setdefault(sender, _Bucket(self._burst_max, now_s))
        self._buckets.move_to_end(sender)
        earned = (now_s - bucket.filled_s) * self._rate_per_s
        bucket.tokens = min(self._burst_max, bucket.tokens + earned)
        bucket.filled_s = now_s
        while len(self._buckets) > self._senders_max:
            self._buckets.popitem(last=False)
        return bucket
