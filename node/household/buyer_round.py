"""One hour's purchase: which neighbour to ask next, and when to stop.

A buyer asks one seller at a time, in an order drawn from hash(interval, buyer, seller), so that not everybody
begins with the same one. It stops when nothing is lacking any more or no seller has anything left: sold out on
the chain, too dear, out of reach for longer than the grace period, or without a usable answer time after time.
The last two are still asked now and then until the gate closes. Energy that is reserved for others is asked for
again: it becomes free if they do not take it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from consensus.codec import encode
from consensus.cryptography import HashKind, digest
from consensus.identifiers import Address, Height
from contracts.units import Milliseconds, WattHours
from node.household.interval import Supply
from node.household.offer_checks import Ask, OfferFault

REQUEST_TIMEOUT_MS: Final = 2_000
"""A neighbour answers in milliseconds, or after its next block; a daemon under load may pause for a second."""

RETRY_MS: Final = 250
"""Before a seller is asked again that had nothing free; the next block ends the wait earlier."""

SLOW_RETRY_MS: Final = 5_000
"""Between questions to a seller on whom nothing waits any more."""

MISSES_MAX: Final = 3
"""Answers in a row that nothing is left, or with an offer that is wrong, after which a buyer waits no longer: the
chain shows energy there, so one such answer may only be ahead of this ledger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a buyer knows beyond the ledger."""

    now_ms: int
    """Monotonic clock."""
    height: Height
    out_of_reach_ms: Mapping[Address, int]
    """For how long each unconnected member has been so."""
    grace_ms: int
    """How long an hour waits for somebody."""
    patience_ms: int
    """How long a seller may hold energy for others, or be silent: longer than an offer lives."""


@dataclass(slots=True)
class _Mark:
    """What a seller last answered."""

    available_wh: WattHours
    """What the chain showed then; another value makes the mark void."""
    misses: int = 0
    """Useless answers in a row."""
    waiting_since_ms: int | None = None
    """First of the answers in a row that all was reserved for others, or that stayed away."""
    was_silent: bool = False
    """The last answer stayed away."""
    again_ms: int = 0
    """Not asked before, ..."""
    asked_at_height: Height | None = None
    """... unless a block came since; None: a block changes nothing."""


def order_of(start_ms: Milliseconds, buyer: Address, seller: Address) -> bytes:
    """Returns what a buyer sorts the sellers of an hour by."""
    return digest(HashKind.ORDER, encode((start_ms, buyer, seller)))


class BuyerRound:
    """The state of one hour's purchase."""

    def __init__(self, *, buyer: Address, start_ms: Milliseconds, mute: set[Address]) -> None:
        """Takes who buys in which hour.

        Args:
            buyer: this household.
            start_ms: start of the hour.
            mute: sellers that let the whole patience of some hour pass in silence, shared by all hours: in
                further ones they are waited for once, until they answer.
        """
        self._buyer = buyer
        self._mute = mute
        self._start_ms = start_ms
        self._marks: dict[Address, _Mark] = {}
        self.ask: Ask | None = None
        """The outstanding request."""

    def next_seller(
        self, supplies: Sequence[Supply], bound: frozenset[Address], around: Surroundings
    ) -> Supply | None:
        """Returns whom to ask now, None if nobody.

        Args:
            supplies: what the neighbours still have in the hour.
            bound: sellers whose contract with this buyer may still execute; they are not asked for another.
            around: clock and links.
        """
        candidates = sorted(supplies, key=lambda supply: order_of(self._start_ms, self._buyer, supply.seller))
        for supply in candidates:
            if supply.seller not in bound and self._may_ask(supply, around):
                return supply
        return None

    def forget_unreachable(self, around: Surroundings) -> None:
        """Drops what is known of sellers whose link is down: when they are back, they are asked at once."""
        for seller in around.out_of_reach_ms:
            self._marks.pop(seller, None)
            if self.ask is not None and self.ask.seller == seller:
                self.ask = None

    def _may_ask(self, supply: Supply, around: Surroundings) -> bool:
        if supply.seller in around.out_of_reach_ms:
            return False
        mark = self._mark(supply)
        came_a_block = mark.asked_at_height is not None and around.height > mark.asked_at_height
        return came_a_block or around.now_ms >= mark.again_ms

    def is_over(self, supplies: Sequence[Supply], around: Surroundings) -> bool:
        """Says whether nobody has anything for this buyer that is worth waiting for."""
        return all(self._is_done(supply, around) for supply in supplies)

    def _is_done(self, supply: Supply, around: Surroundings) -> bool:
        if around.out_of_reach_ms.get(supply.seller, 0) >= around.grace_ms:
            return True
        mark = self._mark(supply)
        waiting_ms = 0 if mark.waiting_since_ms is None else around.now_ms - mark.waiting_since_ms
        is_mute = mark.was_silent and supply.seller in self._mute
        return mark.misses >= MISSES_MAX or waiting_ms >= around.patience_ms or is_mute

    def _mark(self, supply: Supply) -> _Mark:
        mark = self._marks.get(supply.seller)
        if mark is None or mark.available_wh != supply.available_wh:
            mark = _Mark(available_wh=supply.available_wh)
            self._marks[supply.seller] = mark
        return mark

    # --- answers -------------------------------------------------------------------------------------------

    def on_accepted(self, ask: Ask) -> None:
        """The seller's offer was taken."""
        self._marks.pop(ask.seller, None)

    def on_held(self, ask: Ask, around: Surroundings) -> None:
        """The seller has energy, but none for this buyer at the moment."""
        mark = self._wait(ask, around)
        mark.misses = 0
        mark.was_silent = False
        mark.asked_at_height = around.height

    def on_timeout(self, ask: Ask, around: Surroundings) -> None:
        """The seller did not answer in time."""
        mark = self._wait(ask, around)
        mark.was_silent = True
        mark.asked_at_height = None
        if self._is_done(self._asked(ask), around):
            self._mute.add(ask.seller)

    def on_empty(self, ask: Ask, around: Surroundings) -> None:
        """The seller has nothing left, though the chain still shows some."""
        self._miss(ask, around)

    def on_fault(self, ask: Ask, fault: OfferFault, around: Surroundings) -> None:
        """The seller's offer cannot be accepted."""
        if fault in (OfferFault.USED, OfferFault.BAD_EXPIRY):
            self.on_held(ask, around)  # an old offer, which the seller replaces once its ledger is as new as ours
        else:
            self._miss(ask, around)

    def _wait(self, ask: Ask, around: Surroundings) -> _Mark:
        mark = self._mark(self._asked(ask))
        if mark.waiting_since_ms is None:
            mark.waiting_since_ms = around.now_ms
        mark.again_ms = around.now_ms + self._pause_ms(ask, around)
        return mark

    def _miss(self, ask: Ask, around: Surroundings) -> None:
        mark = self._mark(self._asked(ask))
        mark.misses += 1
        mark.was_silent = False
        mark.asked_at_height = None
        mark.again_ms = around.now_ms + self._pause_ms(ask, around)

    def _pause_ms(self, ask: Ask, around: Surroundings) -> int:
        return SLOW_RETRY_MS if self._is_done(self._asked(ask), around) else RETRY_MS

    @staticmethod
    def _asked(ask: Ask) -> Supply:
        return Supply(seller=ask.seller, available_wh=ask.available_wh)
