"""Long reads of the ledger in slices: the API gives way to other work between them, the command line shows progress.

A long read is a generator that yields how far it is and returns what it found. It holds nothing open between two
slices, so that the ledger may grow meanwhile.
"""

import asyncio
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from consensus.identifiers import Height

T = TypeVar("T")

BLOCKS_PER_STEP: Final = 64
"""Blocks that are passed over between two looks at the clock; under a millisecond."""

SLICE_S: Final = 0.005
"""Time that a long read works before other tasks get their turn; a step that it began is finished."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long read is."""

    done: int
    total: int


Slices = Generator[Progress, None, T]
"""A long read that returns a `T`."""


def heights_in_slices(first: Height, last: Height) -> Iterator[tuple[Height, Progress | None]]:
    """Yields the heights from `first` to `last`; with the last of each step, the progress to pass on."""
    for number in range(first, last + 1):
        is_end = number % BLOCKS_PER_STEP == 0
        yield Height(number), Progress(number, last) if is_end else None


async def between_turns(work: Slices[T]) -> T:
    """Returns what a long read finds; other tasks run between its slices."""
    ends_s = time.perf_counter() + SLICE_S
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        if time.perf_counter() >= ends_s:
            await asyncio.sleep(0)
            ends_s = time.perf_counter() + SLICE_S


def to_the_end(work: Slices[T], advance: Callable[[Progress], None] = lambda _: None) -> T:
    """Returns what a long read finds, all at once."""
    while True:
        try:
            advance(next(work))
        except StopIteration as end:
            result: T = end.value
            return result
