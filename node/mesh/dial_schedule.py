"""When which of a peer's places is dialled next. No I/O, no clock of its own.

A place where the member was found before, or that this home's own files name, is dialled again for ever within
seconds: its home may start at any time. A place that only the member itself named, and where it never was found, may
be anybody's: it is dialled with pauses that grow to a minute, so that a liar makes nobody knock at a stranger's door
more often than that.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.admission.endpoint import Endpoint
from node.mesh.limits import MeshLimits


def drawn_share() -> float:
    """Returns which share of a pause to take; random, so that restarted nodes do not dial in step."""
    return random.uniform(0.5, 1.0)  # noqa: S311  (nobody gains by guessing a pause)


@dataclass(slots=True)
class _Attempts:
    failures: int = 0
    due_s: float = 0.0


class DialSchedule:
    """The attempts at one peer."""

    def __init__(self, *, first: Endpoint, limits: MeshLimits, share: Callable[[], float] = drawn_share) -> None:
        """Takes the place that this home's files name, the pauses, and what share of each to take."""
        self._limits = limits
        self._share = share
        self._first = first
        self._known = {first}
        """Where the member was found, and where the own files say that it is."""
        self._attempts: dict[Endpoint, _Attempts] = {}

    def next(self, places: Sequence[Endpoint]) -> tuple[Endpoint, float]:
        """Returns which of the places to dial next, and when: one that is new at once, in their order."""
        self._attempts = {place: self._attempts.get(place, _Attempts()) for place in places}
        self._known &= {self._first, *places}
        place = min(places, key=lambda place: self._attempts[place].due_s)
        return place, self._attempts[place].due_s

    def failed(self, place: Endpoint, now_s: float) -> None:
        """Notes that the member was not found there, or its link ended at once."""
        attempts = self._attempts[place]
        longest_s = self._limits.backoff_max_s if place in self._known else self._limits.backoff_unknown_max_s
        pause_s = min(longest_s, self._limits.backoff_initial_s * 2.0 ** min(attempts.failures, 16))
        attempts.failures += 1
        attempts.due_s = now_s + pause_s * self._share()

    def found(self, place: Endpoint) -> None:
        """Notes that the member answered there."""
        self._known.add(place)

    def link_ended(self, now_s: float) -> None:
        """Begins anew, after a link that stood."""
        for place in self._known & self._attempts.keys():
            self._attempts[place] = _Attempts(due_s=now_s + self._limits.backoff_initial_s * self._share())
