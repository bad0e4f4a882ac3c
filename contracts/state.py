"""The state's tables: keys, typed values, and the overlay that a block executes on.

| table | key after the table's byte | value |
|---|---|---|
| `A` accounts | address | `Account` |
| `B` debts | address | `Debt` |
| `C` activity | address | `Activity` |
| `D` deficits | meter address, interval start (8 bytes big endian) | `Deficit` |
| `E` proven misconduct | digest of what was proven | `Misconduct` |
| `F` forward promises | address, interval start (8 bytes big endian) | `PromiseBook` |
| `G` readings | meter address, interval start (8 bytes big endian) | `MeterReading` |
| `H` agenda | place in the heap (8 bytes big endian) | `Due` |
| `I` intervals | interval start (8 bytes big endian) | `Interval` |
| `J` applicants to join | address | `Applicant` |
| `K` offices | address | `Office` |
| `L` validities | address | `Validity` |
| `M` members | address | `Member` |
| `O` offers | seller address, offer counter (8 bytes big endian) | `Offer` |
| `P` packets | packet id | `Packet` |
| `Q` scores | address | `Score` |
| `R` rewarded pairs | both addresses, the lower first, interval start (8 bytes big endian) | `RewardedPair` |
| `S` singletons | letter | `Agenda`, `Applications`, `Attendance`, `EraTable`, `HeightMarks`, `LastBlock` |
| `S` further ones | letter | `LastExpiry`, `MemberList`, `MemberQueue`, `Randomness`, `Rules`, `Totals` |
| `T` trades | trade id | `Trade` |
| `U` used keys | public key | `KeyOwner` |
| `V` proposals | address of the proposer | `Proposal` |
| `W` first proofs | address | `FirstProof` |

All keys of one table have one length, so a table's keys sort together and no key is a prefix of another.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final, NewType, Protocol, TypeVar

from consensus.codec import Record, decode, encode
from consensus.eras import EraStart
from consensus.identifiers import Address, Digest, Height, PublicKey, Slot
from contracts.agenda_records import Agenda, Due
from contracts.applicants import Applicant, Applications
from contracts.member_records import Activity, FirstProof, HeightMarks, KeyOwner, MemberQueue, MemberTerm, Misconduct
from contracts.office_records import Office
from contracts.proposal_records import Proposal
from contracts.randomness_records import Randomness
from contracts.rule_records import Rules
from contracts.service_records import Attendance, LastBlock
from contracts.stake_records import Unlocking
from contracts.units import MicroTokens, MicroTokensPerKwh, Milliseconds, WattHours
from contracts.validity_records import LastExpiry, Validity
from qscore.parameters import Millionths
from qscore.way_back import WayBack

StateKey = NewType("StateKey", bytes)
"""One table byte and the table's fixed-length rest."""


class Table(bytes, Enum):
    """The first byte of every state key."""

    ACCOUNT = b"A"
    DEBT = b"B"
    ACTIVITY = b"C"
    DEFICIT = b"D"
    MISCONDUCT = b"E"
    PROMISES = b"F"
    READING = b"G"
    AGENDA = b"H"
    INTERVAL = b"I"
    APPLICANT = b"J"
    OFFICE = b"K"
    VALIDITY = b"L"
    MEMBER = b"M"
    OFFER = b"O"
    PACKET = b"P"
    SCORE = b"Q"
    REWARDED_PAIR = b"R"
    SINGLETON = b"S"
    TRADE = b"T"
    USED_KEY = b"U"
    PROPOSAL = b"V"
    FIRST_PROOF = b"W"


class Account(Record, frozen=True, kw_only=True, tag="account"):
    """A wallet, and the nonce of its owner's last transaction."""

    available_micro: MicroTokens
    held_micro: MicroTokens
    """Tokens of this wallet in escrow."""
    nonce: int
    """Nonce of the last executed transaction; -1 before the first."""


class Member(Record, frozen=True, kw_only=True, tag="member"):
    """An admitted smart meter."""

    node_key: PublicKey
    """The newest one of the list: it acts for the member in the next block, and votes as soon as the list says."""
    meter_key: PublicKey
    capacity_w: int
    rotations: int
    """How often the member exchanged its node key."""
    rotated_slot: Slot
    """Of the block with the last time; 0 before the first."""


class MemberList(Record, frozen=True, kw_only=True, tag="member-list"):
    """Who is and was a member, under which node key: M(h) for every height up to two above the block that wrote it.

    In the order of admission. A term under a new key stands behind the one under the old key, so a member keeps its
    place; who returns goes to the end.
    """

    terms: tuple[MemberTerm, ...]

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The members of the newest set."""
        return tuple(term.address for term in self.terms if term.last_height is None)

    def at(self, height: Height) -> tuple[tuple[Address, PublicKey], ...]:
        """Returns the (address, node key) pairs of M(height), in their order."""
        return tuple((term.address, term.node_key) for term in self.terms if term.includes(height))

    def keys_of(self, address: Address) -> tuple[PublicKey, ...]:
        """Returns every node key that somebody had at any height."""
        return tuple(term.node_key for term in self.terms if term.address == address)

    def key_at(self, address: Address, height: Height) -> PublicKey | None:
        """Returns the node key that a member had at a height, None if it was none."""
        return next((term.node_key for term in self.terms if term.address == address and term.includes(height)), None)


class EraTable(Record, frozen=True, kw_only=True, tag="eras"):
    """Every era but the first, in their order."""

    starts: tuple[EraStart, ...]


class Packet(Record, frozen=True, kw_only=True, tag="packet"):
    """Surplus energy of one interval, by where it went."""

    owner: Address
    interval_start_ms: Milliseconds
    source: str
    credited_wh: WattHours
    available_wh: WattHours
    escrow_wh: WattHours
    """Set aside for forward trades that are not final."""
    claimed_wh: WattHours
    """Sold, and claimed against a deficit of the same interval."""
    exported_wh: WattHours
    """Fed into the grid at gate closure."""
    replaced_wh: WattHours
    """Sold, and not generated, as a correction showed: the grid supplied it in the seller's place."""


class Deficit(Record, frozen=True, kw_only=True, tag="deficit"):
    """Energy that a member lacked in one interval, by what covered it."""

    owner: Address
    interval_start_ms: Milliseconds
    recorded_wh: WattHours
    open_wh: WattHours
    reserved_wh: WattHours
    """Kept open for forward trades that are not final."""
    bought_wh: WattHours
    imported_wh: WattHours
    """Taken from the grid at gate closure."""
    unused_wh: WattHours
    """Bought, and not consumed, as a correction showed: it went into the grid."""


class MeterReading(Record, frozen=True, kw_only=True, tag="meter-reading"):
    """The newest version of a meter's reading of one interval; earlier ones are earlier versions of the record."""

    version: int
    net_wh: WattHours
    source: str
    gross_commitment: Digest


class Interval(Record, frozen=True, kw_only=True, tag="interval"):
    """Which readings of an interval are decided, and when its gate closes."""

    meters: tuple[Address, ...]
    """Members whose reading is decided, in the order of decision."""
    closes_at_slot: Slot
    """First block slot at which the gate is closed; moves with each further reading until it is closed."""
    closed: bool


class PromiseBook(Record, frozen=True, kw_only=True, tag="promise-book"):
    """A member's forward trades of one delivery window that are not final, in the order of their execution."""

    trades: tuple[Digest, ...]


class Offer(Record, frozen=True, kw_only=True, tag="offer"):
    """Marks an offer id as used by the one contract that executed or was cancelled before."""

    trade: Digest


class TradeKind(Enum):
    """How a trade came about; of a contract, the tag of its terms."""

    SPOT = "spot"
    """Of energy that was there: executed and final at once."""
    FORWARD = "forward"
    """Of energy that was promised for a delivery window."""


class TradeStatus(Enum):
    """Where a contract stands."""

    PENDING = "pending"
    """A forward trade between execution and final stage: tokens held, energy promised."""
    COMPLETED = "completed"
    """Final; of a forward trade with what was delivered."""
    EXPIRED = "expired"
    """Nothing was delivered; the buyer is refunded."""
    CANCELLED = "cancelled"


class Trade(Record, frozen=True, kw_only=True, tag="trade"):
    """A contract that executed. One that was cancelled before leaves only its `Offer`."""

    seller: Address
    buyer: Address
    status: TradeStatus
    kind: TradeKind
    interval_start_ms: Milliseconds
    energy_wh: WattHours
    """As contracted."""
    delivered_wh: WattHours
    """What the buyer received; 0 until the trade is final."""
    set_aside_wh: WattHours
    """Of the seller's packet, in escrow while the trade is pending."""
    reserved_wh: WattHours
    """Of the buyer's deficit, kept open while the trade is pending."""
    price_micro_per_kwh: MicroTokensPerKwh
    held_micro: MicroTokens
    """Of the buyer's wallet, in escrow while the trade is pending."""
    amount_micro: MicroTokens
    """What the seller received."""
    fee_micro: MicroTokens
    """What the grid account received."""
    expiry_slot: Slot
    transaction: Digest
    """That brought the contract."""
    height: Height
    """Of the block that executed it."""
    slot: Slot
    """Of that block."""
    quality_total: int | None
    """Eq. 2's total in millionths, recorded with the trade as the paper wants; scores move by bounded deltas. None
    while the trade is pending and of a cancelled one."""


class Debt(Record, frozen=True, kw_only=True, tag="debt"):
    """What a seller owes the grid account; it cannot sell before it is paid."""

    owed_micro: MicroTokens


class RewardedPair(Record, frozen=True, kw_only=True, tag="rewarded-pair"):
    """A pair of traders is rewarded once per interval: splitting an hour into many trades earns nothing, nor does
    selling energy to and fro.
    """

    trade: Digest


class ScoreCause(Enum):
    """What wrote a version of a score."""

    GENESIS = "genesis"
    SELLER = "seller"
    BUYER = "buyer"
    LEADER = "leader"
    VALIDATOR = "validator"
    FAULT = "fault"
    STAKE = "stake"
    SUSPENSION = "suspension"
    VERIFIER = "verifier"
    REINSTATEMENT = "reinstatement"


class Score(Record, frozen=True, kw_only=True, tag="score"):
    """The quality of transaction of a member, and what moved it last."""

    value: Millionths
    """When this version was written; on the way back it rises from then on (`qscore.way_back`)."""
    staked: Millionths
    """Part of `value` that stands as stake."""
    unlocking: Unlocking | None
    """Another part of it."""
    is_suspended: bool
    """After proven misconduct, or by a quorum: no trading, sampling, stake and rewards."""
    falls: int
    """How often a fault took the score from the trading threshold or above to below it."""
    way_back: WayBack | None
    cause: ScoreCause
    reference: bytes
    """Trade id of the cause, or digest of the transaction that was declined, or brought proof or verdict; empty at
    genesis and for service rewards."""


class Totals(Record, frozen=True, kw_only=True, tag="totals"):
    """Sums over all records, kept by every block and asserted: nothing is lost or invented (`conservation.LAWS`)."""

    issued_micro: MicroTokens
    redeemed_micro: MicroTokens
    held_micro: MicroTokens
    """In escrow for forward trades."""
    owed_micro: MicroTokens
    """Debts of sellers to the grid account."""
    credited_wh: WattHours
    available_wh: WattHours
    escrow_wh: WattHours
    claimed_wh: WattHours
    exported_wh: WattHours
    replaced_wh: WattHours
    deficit_wh: WattHours
    open_wh: WattHours
    reserved_wh: WattHours
    bought_wh: WattHours
    imported_wh: WattHours
    unused_wh: WattHours
    trades_pending: int
    trades_completed: int
    trades_expired: int
    trades_cancelled: int
    trades_declined: int
    """Contracts on the chain that did not execute."""
    traded_micro: MicroTokens
    """What sellers received for all completed trades."""
    fees_micro: MicroTokens
    """What the grid account received with them."""


TRADE_COUNTERS: Final[Mapping[TradeStatus, str]] = {
    TradeStatus.PENDING: "trades_pending",
    TradeStatus.COMPLETED: "trades_completed",
    TradeStatus.EXPIRED: "trades_expired",
    TradeStatus.CANCELLED: "trades_cancelled",
}
"""Which total counts the trades of a status."""


StateValue = (
    Account
    | Activity
    | Agenda
    | Applicant
    | Applications
    | Attendance
    | Debt
    | Deficit
    | Due
    | EraTable
    | FirstProof
    | HeightMarks
    | Interval
    | KeyOwner
    | LastBlock
    | LastExpiry
    | Member
    | MemberList
    | MemberQueue
    | MeterReading
    | Misconduct
    | Offer
    | Office
    | Packet
    | PromiseBook
    | Proposal
    | Randomness
    | RewardedPair
    | Rules
    | Score
    | Totals
    | Trade
    | Validity
)

TOTALS_KEY: Final = StateKey(Table.SINGLETON.value + b"T")
AGENDA_KEY: Final = StateKey(Table.SINGLETON.value + b"A")
MEMBER_LIST_KEY: Final = StateKey(Table.SINGLETON.value + b"M")
MEMBER_QUEUE_KEY: Final = StateKey(Table.SINGLETON.value + b"Q")
APPLICATIONS_KEY: Final = StateKey(Table.SINGLETON.value + b"J")
ATTENDANCE_KEY: Final = StateKey(Table.SINGLETON.value + b"S")
HEIGHT_MARKS_KEY: Final = StateKey(Table.SINGLETON.value + b"W")
ERAS_KEY: Final = StateKey(Table.SINGLETON.value + b"E")
LAST_BLOCK_KEY: Final = StateKey(Table.SINGLETON.value + b"L")
LAST_EXPIRY_KEY: Final = StateKey(Table.SINGLETON.value + b"X")
RANDOMNESS_KEY: Final = StateKey(Table.SINGLETON.value + b"Y")
RULES_KEY: Final = StateKey(Table.SINGLETON.value + b"R")


def _eight_bytes(number: int) -> bytes:
    return number.to_bytes(8, "big")


def account_key(address: Address) -> StateKey:
    """Key of a wallet."""
    return StateKey(Table.ACCOUNT.value + address)


def activity_key(address: Address) -> StateKey:
    """Key of what the chain saw of a member."""
    return StateKey(Table.ACTIVITY.value + address)


def applicant_key(address: Address) -> StateKey:
    """Key of what somebody asks who wants to join."""
    return StateKey(Table.APPLICANT.value + address)


def debt_key(address: Address) -> StateKey:
    """Key of what a seller owes the grid account."""
    return StateKey(Table.DEBT.value + address)


def due_key(place: int) -> StateKey:
    """Key of a place in the agenda's heap."""
    return StateKey(Table.AGENDA.value + _eight_bytes(place))


def misconduct_key(name: Digest) -> StateKey:
    """Key of a proven misconduct."""
    return StateKey(Table.MISCONDUCT.value + name)


def promises_key(member: Address, interval_start_ms: Milliseconds) -> StateKey:
    """Key of a member's pending forward trades of a delivery window."""
    return StateKey(Table.PROMISES.value + member + _eight_bytes(interval_start_ms))


def reading_key(meter: Address, interval_start_ms: Milliseconds) -> StateKey:
    """Key of a meter's reading of an interval."""
    return StateKey(Table.READING.value + meter + _eight_bytes(interval_start_ms))


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


def office_key(address: Address) -> StateKey:
    """Key of an office."""
    return StateKey(Table.OFFICE.value + address)


def packet_key(packet: Digest) -> StateKey:
    """Key of an energy packet."""
    return StateKey(Table.PACKET.value + packet)


def proposal_key(proposer: Address) -> StateKey:
    """Key of a member's last proposal."""
    return StateKey(Table.PROPOSAL.value + proposer)


def rewarded_pair_key(seller: Address, buyer: Address, interval_start_ms: Milliseconds) -> StateKey:
    """Key of the mark that a pair was rewarded for an interval, the same whichever of them sells."""
    pair = b"".join(sorted((seller, buyer)))
    return StateKey(Table.REWARDED_PAIR.value + pair + _eight_bytes(interval_start_ms))


def score_key(address: Address) -> StateKey:
    """Key of a member's Q-score."""
    return StateKey(Table.SCORE.value + address)


def trade_key(trade: Digest) -> StateKey:
    """Key of a contract that executed."""
    return StateKey(Table.TRADE.value + trade)


def used_key(key: PublicKey) -> StateKey:
    """Key of whose a public key is or was."""
    return StateKey(Table.USED_KEY.value + key)


def first_proof_key(address: Address) -> StateKey:
    """Key of the first proof that a member contradicted itself."""
    return StateKey(Table.FIRST_PROOF.value + address)


def validity_key(address: Address) -> StateKey:
    """Key of until when the authority vouches for a member."""
    return StateKey(Table.VALIDITY.value + address)


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
