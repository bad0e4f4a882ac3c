"""Messages of the neighbours between two turns of the household: bounded per neighbour, in rate and in number.

A request about an hour that this ledger does not know yet is held until the next block, for a moment only.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from consensus.identifiers import Address
from node.mesh.messages import MarketMessage

MESSAGES_PER_S_MAX: Final = 200
"""From one neighbour: it asks about a few dozen hours at once when it catches up, a few times each."""

HELD_MS_MAX: Final = 500
"""How long a request waits for a block that its sender has applied already: a few of a busy chain's blocks."""

HELD_MAX: Final = 64
"""Held requests per neighbour: as many hours as it may have in progress."""

_PERIOD_MS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message with its sender."""

    sender: Address
    message: MarketMessage
    arrived_ms: int
    """Monotonic clock."""


class OfferInbox:
    """What came and is not dealt with, in the order in which it came."""

    def __init__(self) -> None:
        self._period = 0
        self._received: Counter[Address] = Counter()
        self._new: list[Letter] = []
        self._held: list[Letter] = []

    def put(self, letter: Letter) -> bool:
        """Keeps a message; returns False if it was dropped because its sender sends too much."""
        period = letter.arrived_ms // _PERIOD_MS
        if period != self._period:
            self._period = period
            self._received.clear()
        self._received[letter.sender] += 1
        if self._received[letter.sender] > MESSAGES_PER_S_MAX:
            return False
        self._new.append(letter)
        return True

    def take(self) -> Sequence[Letter]:
        """Returns all held and new messages, and holds none of them any more."""
        letters = [*self._held, *self._new]
        self._held.clear()
        self._new.clear()
        return letters

    def hold(self, letter: Letter) -> bool:
        """Keeps a request for the next turn; returns False if too many of its sender are held."""
        if sum(held.sender == letter.sender for held in self._held) >= HELD_MAX:
            return False
        self._held.append(letter)
        return True
