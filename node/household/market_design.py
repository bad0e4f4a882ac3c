"""The seam between a household and the way in which it trades: one protocol, which each market design implements.

What happens goes in, what to do comes out: the household tells a market of readings, of neighbours' messages and of
what became of its own transactions; at each turn the market says what to send and what to bring to the chain. It
signs no transaction and sends nothing itself, and the state is the truth: a turn may be skipped, repeated or late.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest, Height, Slot
from contracts.genesis import Genesis
from contracts.state import StateReader
from contracts.transactions import Action
from contracts.units import Milliseconds, WattHours
from ledger.block import Block
from node.home.configuration import PriceTable
from node.household.own_transactions import DecidedTransactions, Ending, OwnTransactions
from node.household.promises import Promises
from node.mesh.messages import MarketMessage


class HouseholdLedger(DecidedTransactions, StateReader, Protocol):
    """What a household and its market read of the ledger."""

    @property
    def genesis(self) -> Genesis:
        """The chain's parameters."""
        ...

    @property
    def tip(self) -> Digest:
        """Digest of the last decided block."""
        ...

    @property
    def tip_slot(self) -> Slot:
        """Slot of the last decided block."""
        ...

    def decided_block(self, height: Height) -> Block:
        """Returns the block of a decided height."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a turn knows beyond the ledger and the messages."""

    now_ms: int
    """Monotonic clock."""
    present_slot: Slot
    connected: frozenset[Address]
    """Members that can be sent to."""
    is_behind: bool = False
    """Blocks are fetched that were decided long ago."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketTurn:
    """What a market wants done now; what it promises in it is durable after its next `sync`."""

    messages: tuple[tuple[Address, MarketMessage], ...]
    actions: tuple[Action, ...]
    """To be signed as transactions of this household, in this order; none of them is on its way."""


class Market(Protocol):
    """One household's side of a market."""

    def receive(self, sender: Address, message: MarketMessage, now_ms: int) -> None:
        """Keeps a neighbour's message for the next turn; what one neighbour can have kept is bounded. A request that
        no turn answers, if only with an empty reply, keeps that neighbour waiting for its whole patience.
        """
        ...

    def on_reading(self, start_ms: Milliseconds) -> None:
        """Learns that a further reading of an interval is decided, in which this household's own one is as well, or
        never will be.
        """
        ...

    def on_ending(self, ending: Ending) -> None:
        """Learns what became of a transaction of this household, of whatever kind."""
        ...

    def turn(self, moment: Moment) -> MarketTurn:
        """Decides everything that can be decided now: after each block and each message, and every moment without."""
        ...

    @property
    def unsettled(self) -> Collection[Milliseconds]:
        """Intervals, of those it was told of, in which it still waited for something in its last turn."""
        ...

    def sync(self) -> None:
        """Makes all promises durable, before anything that relies on them leaves the node."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketParts:
    """What a household gives its market."""

    key: SigningKey
    ledger: HouseholdLedger
    chain: Digest
    prices: PriceTable
    offers: Promises
    contracts: Promises
    transactions: OwnTransactions
    """Signed by the household; the market looks which contracts are on their way."""
    net_wh: Callable[[Milliseconds], WattHours | None]
    """What the own meter measured in an hour, also before that is decided; None if it measures no such hour."""
    grace_ms: int
    """How long an hour waits for somebody."""
    first_number: int
    """Above every number that offers and requests of this household had before: a wall clock in ms."""


MarketFactory = Callable[[MarketParts], Market]
"""Makes a household's side of one market design.

Raises:
    ConfigurationError: its parts do not do, such as a price at which the chain declines every trade.
"""
