"""The state's tables: keys, typed values, and the overlay that a block executes on.

| table | key after the table's byte | value |
|---|---|---|
| `A` accounts | address | `Account` |
| `C` closing queue | index, 8 bytes big endian | `ClosingEntry` |
| `D` deficits | meter address, interval start (8 bytes big endian) | `Deficit` |
| `I` intervals | interval start (8 bytes big endian) | `Interval` |
| `M` members | address | `Member` |
| `O` offers | seller address, offer counter (8 bytes big endian) | `Offer` |
| `P` packets | packet id | `Packet` |
| `Q` scores | address | `Score` |
| `R` rewarded pairs | seller address, buyer address, interval start (8 bytes big endian) | `RewardedPair` |
| `S` singletons | name's first letter | `Totals`, `Queue`, `MemberList`, `LastBlock` |
| `T` trades | trade id | `Trade` |

All keys of one table have one length, so a table's keys sort together and no key is a prefix of another.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final, NewType, Protocol, TypeVar

from consensus.codec import Record, decode, encode
from consensus.identifiers import Address, Digest, Height, PublicKey, Slot
from contracts.units import MicroTokens, MicroTokensPerKwh, Milliseconds, WattHours
from qscore.parameters import Millionths

StateKey = NewType("StateKey", bytes)
"""One table byte and the table's fixed-length rest."""


class Table(bytes, Enum):
    """The first byte of every state key."""

    ACCOUNT = b"A"
    CLOSING = b"C"
    DEFICIT = b"D"
    INTERVAL = b"I"
    MEMBER = b"M"
    OFFER = b"O"
    PACKET = b"P"
    SCORE = b"Q"
    REWARDED_PAIR = b"R"
    SINGLETON = b"S"
    TRADE = b"T"


class Account(Record, frozen=True, kw_only=True, tag="account"):
    """A wallet, and the nonce of its owner's last transaction."""

    available_micro: MicroTokens
    held_micro: MicroTokens
    """Tokens of this wallet in escrow."""
    nonce: int
    """Nonce of the last executed transaction; -1 before the first."""


class Member(Record, frozen=True, kw_only=True, tag="member"):
    """An admitted smart meter."""

    name: str
    node_key: PublicKey
    meter_key: PublicKey
    capacity_w: int


class MemberList(Record, frozen=True, kw_only=True, tag="member-list"):
    """All members in the order of admission; N = len(addresses)."""

    addresses: tuple[Address, ...]


class Packet(Record, frozen=True, kw_only=True, tag="packet"):
    """Surplus energy of one interval. credited = available + escrow + claimed + exported."""

    owner: Address
    interval_start_ms: Milliseconds
    source: str
    credited_wh: WattHours
    available_wh: WattHours
    escrow_wh: WattHours
    claimed_wh: WattHours
    """Sold, and claimed against a deficit of the same interval."""
    exported_wh: WattHours
    """Fed into the grid at gate closure."""


class Deficit(Record, frozen=True, kw_only=True, tag="deficit"):
    """Energy that a member lacked in one interval. recorded = open + bought + imported."""

    owner: Address
    interval_start_ms: Milliseconds
    recorded_wh: WattHours
    open_wh: WattHours
    bought_wh: WattHours
    imported_wh: WattHours
    """Taken from the grid at gate closure."""


class Interval(Record, frozen=True, kw_only=True, tag="interval"):
    """Which readings of an interval are decided, and when its gate closes."""

    meters: tuple[Address, ...]
    """Members whose reading is decided, in the order of decision."""
    closes_at_slot: Slot
    """First block slot at which the gate is closed; moves with each further reading until it is closed."""
    closed: bool


class ClosingEntry(Record, frozen=True, kw_only=True, tag="closing"):
    """One place in the first-in-first-out queue of gate closures."""

    interval_start_ms: Milliseconds
    closes_at_slot: Slot


class Queue(Record, frozen=True, kw_only=True, tag="queue"):
    """The closing queue's ends: entries head <= index < tail are waiting."""

    head: int
    tail: int


class Offer(Record, frozen=True, kw_only=True, tag="offer"):
    """Marks an offer id as used by the one contract that executed."""

    trade: Digest


class Trade(Record, frozen=True, kw_only=True, tag="trade"):
    """A completed trade."""

    seller: Address
    buyer: Address
    interval_start_ms: Milliseconds
    energy_wh: WattHours
    price_micro_per_kwh: MicroTokensPerKwh
    amount_micro: MicroTokens
    height: Height
    slot: Slot
    quality_total: int
    """Eq. 2's total in millionths, recorded with the trade as the paper wants; scores move by bounded deltas."""


class RewardedPair(Record, frozen=True, kw_only=True, tag="rewarded-pair"):
    """A pair of traders is rewarded once per interval: splitting an hour into many trades earns nothing."""

    trade: Digest


class Score(Record, frozen=True, kw_only=True, tag="score"):
    """The quality of transaction of a member, and what moved it last."""

    value: Millionths
    cause: str
    """`genesis`, `seller`, `buyer`, `leader`, `validator` or `fault`."""
    reference: bytes
    """Trade id of the cause, or digest of the transaction declined; empty at genesis and for service rewards."""


class Totals(Record, frozen=True, kw_only=True, tag="totals"):
    """Sums over all records, kept by every block and asserted: nothing is lost or invented."""

    issued_micro: MicroTokens
    redeemed_micro: MicroTokens
    credited_wh: WattHours
    available_wh: WattHours
    escrow_wh: WattHours
    claimed_wh: WattHours
    exported_wh: WattHours
    deficit_wh: WattHours
    open_wh: WattHours
    bought_wh: WattHours
    imported_wh: WattHours
    trades_completed: int
    trades_declined: int
    """Contracts on the chain that did not execute."""
    traded_micro: MicroTokens
    """Sum of the amounts of all completed trades."""


class LastBlock(Record, frozen=True, kw_only=True, tag="last-block"):
    """What the next block must know of this one: for how many trades its leader and voters are rewarded."""

    trades_completed: int


StateValue = (
    Account
    | ClosingEntry
    | Deficit
    | Interval
    | LastBlock
    | Member
    | MemberList
    | Offer
    | Packet
    | Queue
    | RewardedPair
    | Score
    | Totals
    | Trade
)

TOTALS_KEY: Final = StateKey(Table.SINGLETON.value + b"T")
QUEUE_KEY: Final = StateKey(Table.SINGLETON.value + b"Q")
MEMBER_LIST_KEY: Final = StateKey(Table.SINGLETON.value + b"M")
LAST_BLOCK_KEY: Final = StateKey(Table.SINGLETON.value + b"L")


def _eight_bytes(number: int) -> bytes:
    return number.to_bytes(8, "big")


def account_key(address: Address) -> StateKey:
    """Key of a wallet."""
    return StateKey(Table.ACCOUNT.value + address)


def closing_key(index: int) -> StateKey:
    """Key of a place in the closing queue."""
    return StateKey(Table.CLOSING.value + _eight_bytes(index))


def deficit_key(meter: Address, interval_start_ms: Milliseconds) -> StateKey:
    """Key of a member's deficit in an interval."""
    return StateKey(Table.DEFICIT.value + meter + _eight_bytes(interval_start_ms))


def interval_key(interval_start_ms: Milliseconds) -> StateKey:
    """Key of an interval."""
    return StateKey(Table.INTERVAL.value + _eight_bytes(interval_start_ms))


def member_key(address: Address) -> StateKey:
    """Key of a member's registration."""
    return StateKey(Table.MEMBER.value + address)


def offer_key(seller: Address, counter: int) -> StateKey:
    """Key of a used offer id."""
    return StateKey(Table.OFFER.value + seller + _eight_bytes(counter))


def packet_key(packet: Digest) -> StateKey:
    """Key of an energy packet."""
    return StateKey(Table.PACKET.value + packet)


def rewarded_pair_key(seller: Address, buyer: Address, interval_start_ms: Milliseconds) -> StateKey:
    """Key of the mark that a pair was rewarded for an interval."""
    return StateKey(Table.REWARDED_PAIR.value + seller + buyer + _eight_bytes(interval_start_ms))


def score_key(address: Address) -> StateKey:
    """Key of a member's Q-score."""
    return StateKey(Table.SCORE.value + address)


def trade_key(trade: Digest) -> StateKey:
    """Key of a completed trade."""
    return StateKey(Table.TRADE.value + trade)


class StateReader(Protocol):
    """Anything that knows the newest value of a state key: the ledger, or a dict in a test."""

    def get(self, key: StateKey) -> bytes | None:
        """Returns the encoded value, or None if the key was never written."""
        ...


V = TypeVar("V", bound=Record)


class Overlay:
    """The temporary ledger: reads through to a state, keeps its own writes, changes nothing below."""

    def __init__(self, base: StateReader) -> None:
        self._base = base
        self._read: dict[StateKey, Record | None] = {}
        self._written: dict[StateKey, Record] = {}

    def get(self, key: StateKey, expected: type[V]) -> V | None:
        """Returns the newest value of `key`, own writes first; None if there is none."""
        written = self._written.get(key)
        if written is None:
            written = self.before(key, expected)
        assert written is None or isinstance(written, expected), f"{key.hex()} holds {type(written).__name__}"
        return written

    def require(self, key: StateKey, expected: type[V]) -> V:
        """Returns the value of a key that must exist."""
        value = self.get(key, expected)
        assert value is not None, f"state key {key.hex()} is missing"
        return value

    def before(self, key: StateKey, expected: type[V]) -> V | None:
        """Returns the value that `key` had before this overlay's writes."""
        if key not in self._read:
            raw = self._base.get(key)
            self._read[key] = None if raw is None else decode(raw, expected)
        value = self._read[key]
        assert value is None or isinstance(value, expected)
        return value

    def put(self, key: StateKey, value: StateValue) -> None:
        """Writes a new version of `key`."""
        self._written[key] = value

    def written(self) -> Mapping[StateKey, Record]:
        """Returns this overlay's writes."""
        return self._written

    def encoded_changes(self) -> dict[StateKey, bytes]:
        """Returns the writes that changed something as encoded values, sorted by key.

        A value written as it was before is no new version: an idle block leaves the queue's history alone.
        """
        return {
            key: encode(value)
            for key, value in sorted(self._written.items())
            if self.before(key, type(value)) != value
        }
