"""The REST API's replies about state, members and trades, and its events. Conventions as in `node.py`."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from contracts.applicants import Standing, Verdict
from contracts.member_changes import Hindrance
from contracts.member_records import ChangeKind, RemovalCause
from node.replies.fields import AmountMicro, ApiModel, Cause, Count, EnergyWh, Hash, HeightNumber, Hex, SlotNumber
from node.replies.node import ReceiptModel, TransactionModel
from node.replies.proposals import MemberProposalModel

# --- state -------------------------------------------------------------------------------------------------


class StateProofModel(ApiModel):
    """Shows what a key holds, or that it holds nothing, under a header's `state_root`."""

    height: HeightNumber
    """Height whose state root the proof leads to."""
    state_root: Hash
    proof_encoded: Hex
    """Canonical encoding of the ledger's state proof; docs/api.md says how to check it."""


class StateRecord(ApiModel):
    """What a state key holds."""

    kind: str
    """Kind of record."""
    fields: dict[str, JsonValue]
    """Fields of the record by name; bytes in hexadecimal."""
    encoded: Hex
    """Canonical encoding of the record."""


class StateVersion(ApiModel):
    """One version of a state key."""

    height: HeightNumber
    """Height of the block that wrote it."""
    record: StateRecord


class StateReply(ApiModel):
    """The value of a state key at a height."""

    key: str
    """The key in its readable form."""
    key_encoded: Hex
    height: HeightNumber
    """Height that was asked for; the tip's unless the request names one."""
    record: StateRecord | None
    """What the key held at that height; null (with `proof=1` only) where it held nothing."""
    proof: StateProofModel | None = None
    """With `proof=1`: presence or absence in the newest state."""


class HistoryReply(ApiModel):
    """Versions of a state key, oldest first."""

    key: str
    key_encoded: Hex
    first_height: HeightNumber
    """Lowest height that this node can tell of: 1, or that of the snapshot that it began with. What was written there
    or below has that height.
    """
    versions: list[StateVersion]
    next_after: HeightNumber | None
    """Value of `after` that continues the list; null at its end."""


class MemberModel(ApiModel):
    """A member."""

    address: Hash
    name: str
    node_key: Hash
    """Ed25519 key of votes, transactions and TLS."""
    meter_key: Hash
    """Ed25519 key of readings."""
    capacity_w: Annotated[int, Field(ge=0, description="Registered connection capacity in W.")]
    first_height: HeightNumber
    """The first height that it was a member of."""
    score_millionths: Annotated[int, Field(ge=0, description="Its quality of transaction; 1000000 is 1.0.")]
    is_suspended: bool
    """After proven misconduct, or by a quorum: it votes, and trades and leads no more."""
    valid_until_ms: Count | None
    """Until when the authority vouches for it, since the epoch; null: the chain never saw a voucher of it."""
    connected: bool
    """This node's link to the member is up (true for itself)."""


class MembersReply(ApiModel):
    """All members in the order of admission, which Eq. 1 counts in."""

    members: list[MemberModel]
    quorum: Count
    """Members that a decision needs."""


class WaitingChange(ApiModel):
    """A change of the members that waits, with the arithmetic of what it leads to."""

    address: Hash
    name: str
    kind: ChangeKind
    hindrance: Hindrance | None
    """Why it waits; null if the next block may carry it out."""
    sentence: str
    """The same for people."""
    members: Count
    quorum: Count
    members_after: Count
    quorum_after: Count
    seen_after: Count
    """Of those who stay, how many the chain saw lately."""
    trades_pending: Count
    """Forward trades of the member that are not final."""
    owed_micro: AmountMicro


class LeftMember(ApiModel):
    """A member that left, or was removed."""

    address: Hash
    name: str
    node_key: Hash
    """The last that it had."""
    last_height: HeightNumber
    """The last height that it was a member of."""
    removed_for: RemovalCause | None
    """Why it was removed; null: it left, or a ceremony went on without it."""
    reference: Hash | None
    """Of a removal: the transaction with the authority's word or the proof, or the proposal's name."""
    sentence: str
    """The same for people."""


class ChangeUnderWay(ApiModel):
    """What a member said last of leaving, in a transaction that no block contains yet."""

    address: Hash
    name: str
    leaving: bool
    """It leaves; false: it takes its leave back."""
    transaction: Hash
    nonce: Count
    sentence: str
    """The same for people."""


class MemberChangesReply(ApiModel):
    """What changes of the members wait, what members proposed, and who left."""

    under_way: list[ChangeUnderWay]
    """What waits for a block in this node's mempool: of each member the last word, by its nonce."""
    waiting: list[WaitingChange]
    """In the order in which they are tried."""
    proposals: list[MemberProposalModel]
    """Of each member the last proposal that it made, in the order of admission."""
    left: list[LeftMember]
    """Who left last comes last."""


class Verifier(ApiModel):
    """One of an application's verifiers."""

    address: Hash
    name: str
    verdict: Verdict | None
    """What it found; null until it says so."""


class ApplicationView(ApiModel):
    """A home that asked to join, and what is missing until it is a member."""

    address: Hash
    """Of the home, once it is a candidate."""
    number: Count
    """Of its application."""
    standing: Standing
    sentence: str
    """The same for people."""
    sponsor: Hash
    """The member that brought it."""
    node_key: Hash
    meter_key: Hash
    capacity_w: Count
    """Of its connection."""
    identity: Hash
    """Salted commitment to who lives there."""
    terms: Hash
    """Hash of the main contract."""
    person: Hash
    """The person's tag, by the authority."""
    request: Hash
    """The transaction that brought it."""
    verifiers: list[Verifier]
    """Empty while they are to be drawn."""
    needed: Count
    """So many equal verdicts decide."""
    until_slot: SlotNumber
    """When it lapses, or another panel is drawn."""


class ApplicationsReply(ApiModel):
    """Open applications and candidates, in the order in which they came; or the last application of one home."""

    applications: list[ApplicationView]


class OwnTransaction(ApiModel):
    """A decided transaction that somebody signed, or that names it, with its outcome."""

    height: HeightNumber
    index: Count
    """Its place in the block."""
    slot: SlotNumber
    digest: Hash
    transaction: TransactionModel
    receipt: ReceiptModel


class OwnTransactionsReply(ApiModel):
    """Decided transactions that somebody signed or that name it, oldest first."""

    first_height: HeightNumber
    """Lowest height that this node can tell of: 1, or that of the snapshot that it began with."""
    transactions: list[OwnTransaction]
    next_after: str | None
    """Value of `after` that continues the list; null at its end."""


class AccountReply(ApiModel):
    """A wallet."""

    address: Hash
    available_micro: AmountMicro
    held_micro: AmountMicro
    """In escrow."""
    nonce: Annotated[int, Field(ge=-1)]
    """Nonce of the last transaction on the chain; -1 before the first. The next one needs a higher nonce."""


class ScoreModel(ApiModel):
    """A member's quality of transaction."""

    address: Hash
    name: str
    score_millionths: Annotated[int, Field(ge=0, description="1000000 is 1.0.")]
    staked_millionths: Annotated[int, Field(ge=0)]
    """Part of it that stands as stake."""
    unlocking_millionths: Annotated[int, Field(ge=0)]
    """Another part, that was taken back: misconduct still takes it."""
    unlocked_at_slot: SlotNumber | None
    """When that is over; null where nothing was taken back lately."""
    is_suspended: bool
    """After proven misconduct, or by a quorum: no trading, sampling, stake and rewards."""
    returns_at_slot: SlotNumber | None
    """Where the way back to the trading threshold ends; null of a score that is on none."""
    cause: Cause
    """What moved it last."""
    reference: Hex
    """Trade id, name of the proposal to suspend, or digest of the transaction that was declined or that brought a
    proof; empty where there is none."""


class ScoresReply(ApiModel):
    """The scores of all members."""

    scores: list[ScoreModel]


class TradeModel(ApiModel):
    """A contract that executed."""

    trade: Hash
    """Trade id: the hash of the contract's terms."""
    transaction: Hash
    """Digest of the transaction that carried the contract."""
    index: Count
    """Position of that transaction in its block."""
    seller: Hash
    buyer: Hash
    status: Literal["pending", "completed", "expired", "cancelled"]
    kind: Literal["spot", "forward"]
    """Of energy that was there, or that was promised for a delivery window."""
    interval_start_ms: Count
    energy_wh: EnergyWh
    """As contracted."""
    delivered_wh: EnergyWh
    """What the buyer received."""
    set_aside_wh: EnergyWh
    """Of the seller's packet, while the trade is pending."""
    reserved_wh: EnergyWh
    """Of the buyer's deficit, while the trade is pending."""
    price_micro_per_kwh: Count
    """Millionths of a token per kWh."""
    held_micro: AmountMicro
    """Of the buyer's wallet, while the trade is pending."""
    amount_micro: AmountMicro
    """What the seller received."""
    fee_micro: AmountMicro
    """What the grid account received."""
    expiry_slot: SlotNumber
    height: HeightNumber
    slot: SlotNumber
    quality_total: int | None
    """Quality of transaction in millionths (Eq. 2); null while the trade is pending."""


class TradesReply(ApiModel):
    """Contracts that executed, in the order of the chain."""

    first_height: HeightNumber
    """Lowest height that this node can tell of: 1, or that of the snapshot that it began with."""
    trades: list[TradeModel]
    next_after: str | None
    """Value of `after` that continues the list, `HEIGHT.INDEX`; null when the end of the chain is reached."""


# --- events ------------------------------------------------------------------------------------------------


class BlockEvent(ApiModel):
    """A block was decided and written. Comes before the receipts and trades of its height."""

    type: Literal["block"]
    height: HeightNumber
    digest: Hash
    slot: SlotNumber
    leader: Hash
    transactions: Count
    state_root: Hash


class ReceiptEvent(ApiModel):
    """A transaction's outcome."""

    type: Literal["receipt"]
    height: HeightNumber
    index: Count
    receipt: ReceiptModel


class TradeEvent(ApiModel):
    """A completed trade."""

    type: Literal["trade"]
    height: HeightNumber
    trade: TradeModel


Event = Annotated[BlockEvent | ReceiptEvent | TradeEvent, Field(discriminator="type")]
