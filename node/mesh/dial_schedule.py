"""When which of a peer's places is dialled next. No I/O, no clock of its own.

A place where the member was found before, or that this home's own files name, is dialled again for ever within
seconds: its home may start at any time. A place that only the member itself named, and where it never was found, may
be anybody's: it is dialled with pauses that grow to a minute, whatever else the member names in between. And all such
places of one member together are dialled a few times a minute, however many it names: a liar makes nobody knock at
strangers' doors more often than that.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from node.admission.endpoint import Endpoint
from node.home.configuration import ADVERTISED_MAX
from node.mesh.limits import MeshLimits

STRANGE_DIALS_MAX: Final = 2 * ADVERTISED_MAX
"""Of places where the member never was found, in the longest pause before one of them: so many it has at once, while
its key changes."""

PLACES_KEPT_MAX: Final = 8 * STRANGE_DIALS_MAX
"""Whose failures are remembered: a liar that names more comes back to none of them for eight such pauses."""


def drawn_share() -> float:
    """Returns which share of a pause to take; random, so that restarted nodes do not dial in step."""
    return random.uniform(0.5, 1.0)  # noqa: S311  (nobody gains by guessing a pause)


@dataclass(frozen=True, slots=True)
class _Attempts:
    failures: int = 0
    due_s: float = 0.0


class DialSchedule:
    """The attempts at one peer."""

    def __init__(
        self, *, first: Endpoint | None, limits: MeshLimits, share: Callable[[], float] = drawn_share
    ) -> None:
        """Takes the place that this home's files name, if they do, the pauses, and what share of each to take."""
        self._limits = limits
        self._share = share
        self._first: frozenset[Endpoint] = frozenset() if first is None else frozenset({first})
        self._known = set(self._first)
        """Where the member was found, and where the own files say that it is."""
        self._attempts: dict[Endpoint, _Attempts] = {}
        """The last one noted comes last."""
        self._strange_s: deque[float] = deque(maxlen=STRANGE_DIALS_MAX)
        """When the member was last not found where it never was."""

    def next(self, places: Sequence[Endpoint]) -> tuple[Endpoint, float]:
        """Returns which of the places to dial next, and when: one that is new at once, in their order."""
        self._known &= {*self._first, *places}
        place = min(places, key=self._due_s)
        return place, self._due_s(place)

    def _due_s(self, place: Endpoint) -> float:
        due_s = self._attempts_at(place).due_s
        if place in self._known or len(self._strange_s) < STRANGE_DIALS_MAX:
            return due_s
        return max(due_s, self._strange_s[0] + self._limits.backoff_unknown_max_s)

    def _attempts_at(self, place: Endpoint) -> _Attempts:
        return self._attempts.get(place, _Attempts())

    def failed(self, place: Endpoint, now_s: float) -> None:
        """Notes that the member was not found there, or its link ended at once."""
        failures, is_known = self._attempts_at(place).failures, place in self._known
        longest_s = self._limits.backoff_max_s if is_known else self._limits.backoff_unknown_max_s
        pause_s = min(longest_s, self._limits.backoff_initial_s * 2.0 ** min(failures, 16))
        self._note(place, _Attempts(failures + 1, now_s + pause_s * self._share()))
        if not is_known:
            self._strange_s.append(now_s)

    def found(self, place: Endpoint) -> None:
        """Notes that the member answered there."""
        self._known.add(place)

    def link_ended(self, now_s: float) -> None:
        """Begins anew, after a link that stood."""
        for place in self._known:
            self._note(place, _Attempts(due_s=now_s + self._limits.backoff_initial_s * self._share()))

    def _note(self, place: Endpoint, attempts: _Attempts) -> None:
        self._attempts.pop(place, None)
        self._attempts[place] = attempts
        if len(self._attempts) > PLACES_KEPT_MAX:
            del self._attempts[next(iter(self._attempts))]
