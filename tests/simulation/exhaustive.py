"""Visits every state that some first states lead to, the nearest first; a model says which states those are.

States are kept as bytes, one encoding per state, so that millions fit into memory.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import msgspec

S = TypeVar("S")

Break = tuple[Any, str, Any]
"""A naive rule: owner, attribute, and what takes its place."""


class Judged(NamedTuple):
    """What a model says of one state."""

    counts: bool
    """What is searched for happened in it: a search in which it never does proves nothing."""
    violation: str | None = None
    """What must not be, in words."""


class Found(NamedTuple):
    """What a search came to."""

    states: int
    counting: int
    steps: int
    """From a first state to the furthest one, or to the violation: no course to one is shorter."""
    violation: str | None


def visit(
    first: Iterable[S], after: Callable[[S], Iterable[S]], judge: Callable[[S], Judged], state_type: type[S]
) -> Found:
    """Visits all states; ends at the first violation."""
    encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(state_type).decode
    level = list(dict.fromkeys(map(encode, first)))
    seen, counting, steps = set(level), 0, 0
    while True:
        following = []
        for code in level:
            state = decode(code)
            judged = judge(state)
            counting += judged.counts
            if judged.violation is not None:
                return Found(len(seen), counting, steps, judged.violation)
            for later in map(encode, after(state)):
                if later not in seen:
                    seen.add(later)
                    following.append(later)
        if not following:
            return Found(len(seen), counting, steps, None)
        level, steps = following, steps + 1


def sentence(title: str, found: Found, *, counted: str, never: str) -> str:
    """Says what was searched, and what was found.

    Args:
        title: what was searched.
        found: what came of it.
        counted: what happened in the states that count.
        never: what holds if there is no violation.
    """
    end = (
        f"{never}; the longest course has {found.steps} steps"
        if found.violation is None
        else f"breaks after {found.steps} steps: {found.violation}"
    )
    return f"{title}: {found.states:,} states, in {found.counting:,} of them {counted}; {end}"
