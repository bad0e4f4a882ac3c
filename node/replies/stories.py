"""The REST API's replies that tell a story: a contract's, a score's, a month's, and proven misconduct.

Conventions as in `node.py`. `p2pnode trade`, `qscore`, `statement` and `evidence` show the same models.
"""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from node.replies.fields import (
    AmountMicro,
    ApiModel,
    Cause,
    Count,
    EnergyWh,
    Hash,
    HeightNumber,
    Hex,
    SignatureHex,
    SlotNumber,
)
from node.replies.node import PostingModel, ReceiptProofModel

ScoreMillionths = Annotated[int, Field(ge=0, description="A score; 1000000 is 1.0.")]
TradeStatusName = Literal["pending", "completed", "expired", "cancelled"]


class NamedMember(ApiModel):
    """A member."""

    name: str
    """For people; the address of an account that is no member's."""
    address: Hash


# --- a contract's story -----------------------------------------------------------------------------------------


class TradeAttempt(ApiModel):
    """A transaction that submitted or cancelled the contract."""

    transaction: Hash
    kind: Literal["submit-trade", "cancel-trade"]
    sender: NamedMember
    height: HeightNumber
    index: Count
    status: Literal["executed", "declined"]
    reason: str
    detail: str
    """The values compared; empty if executed."""
    fault: NamedMember | None
    """Whose score fell."""


class TradeVersion(ApiModel):
    """The contract's record as a block left it."""

    status: TradeStatusName
    set_aside_wh: EnergyWh
    """Of the seller's packet, while the trade is pending."""
    reserved_wh: EnergyWh
    """Of the buyer's deficit, while the trade is pending."""
    held_micro: AmountMicro
    """Of the buyer's wallet, while the trade is pending."""
    delivered_wh: EnergyWh


class TradeBlock(ApiModel):
    """A block in which something happened to the contract."""

    height: HeightNumber
    digest: Hash
    slot: SlotNumber
    slot_start_ms: Count
    """Wall clock at which the slot begins."""
    leader: NamedMember
    validators: list[NamedMember]
    """Members whose COMMITs are in the certificate."""
    record: TradeVersion | None
    """Null where the block left the record as it was, or there is none."""
    postings: list[PostingModel]
    """Of this contract."""


class TradeCondition(ApiModel):
    """One of the paper's conditions."""

    number: Annotated[int, Field(ge=1, le=4)]
    about: str
    outcome: Literal["held", "failed", "not_asked"]
    """Not asked: an earlier rule declined the contract, or its final stage has not come."""
    height: HeightNumber | None
    """Block whose postings show the values; null where there are none."""
    postings: list[PostingModel]
    detail: str
    """The values of a condition that failed."""


class ScoreMove(ApiModel):
    """A member's score before and after the block that moved it."""

    role: Literal["seller", "buyer", "leader", "validator"]
    member: NamedMember
    height: HeightNumber
    """Parties move in the block of the outcome, its leader and validators in the next one."""
    before_millionths: ScoreMillionths
    after_millionths: ScoreMillionths
    cause: Cause | None
    """What moved it last in this block; null where nothing did."""
    reference: Hex
    """Trade id, or digest of a transaction; empty for service."""


class TradeStoryReply(ApiModel):
    """Everything that the chain knows of a contract."""

    first_height: HeightNumber
    """Lowest height that this node can tell of; attempts that were declined below it are not told."""
    trade: Hash
    status: Literal["pending", "completed", "expired", "cancelled", "declined"]
    sentence: str
    """The story in short."""
    kind: Literal["spot", "forward"]
    """Of energy that was there, or that was promised for a delivery window."""
    offer_counter: Count
    seller: NamedMember
    buyer: NamedMember
    interval_start_ms: Count | None
    """Meter time of the energy; null where the contract named no packet that exists."""
    energy_wh: EnergyWh
    """As contracted."""
    delivered_wh: EnergyWh
    price_micro_per_kwh: Count
    amount_micro: AmountMicro
    """What the seller received."""
    fee_micro: AmountMicro
    """What the grid account received."""
    refunded_micro: AmountMicro
    """What went back from the escrow to the buyer."""
    expiry_slot: SlotNumber
    quality_total: int | None
    """Eq. 2's total in millionths."""
    attempts: list[TradeAttempt]
    """What was brought to the chain about it; of what was declined the newest."""
    attempts_left_out: Annotated[int, Field(ge=0)]
    """Earlier attempts that were declined."""
    blocks: list[TradeBlock]
    conditions: list[TradeCondition]
    scores: list[ScoreMove]
    receipt_transaction: Hash
    """The attempt that the proof is about."""
    header_encoded: Hex
    certificate_encoded: Hex
    proof: ReceiptProofModel
    """Merkle path from the receipt to the header's `receipts_root`."""


class ReceiptFileReply(ApiModel):
    """A signed receipt that proves itself: keep it as a file, check it with `p2pnode receipt verify`."""

    format: Literal["p2pnode-receipt-2"]
    about: dict[str, JsonValue]
    """What the content says, for people."""
    content: Hex
    """Canonical encoding: transaction, receipt, proofs, header and certificate."""
    signature: SignatureHex
    """Of the exporting node's key, over the content."""


# --- a score's history -----------------------------------------------------------------------------------------


class ScoreVersion(ApiModel):
    """A score as a block left it."""

    height: HeightNumber
    slot: SlotNumber
    value_millionths: ScoreMillionths
    change_millionths: int
    """Against what the score was just before, on the way back included."""
    cause: Cause
    """What moved it last in this block."""
    reference: Hex
    """Of that cause: trade id, or digest of the transaction that was declined or that brought the proof; empty for
    service."""
    words: str
    """All that moved it in this block, for people, and the trades that ended without moving it."""
    staked_millionths: ScoreMillionths
    is_suspended: bool
    falls: Count
    """How often a fault left the score below the trading threshold."""
    returns_at_slot: SlotNumber | None
    """Where the way back to the trading threshold ends."""


class ScoreHistoryReply(ApiModel):
    """Versions of a member's score, oldest first."""

    first_height: HeightNumber
    """Lowest height that this node can tell of: 1, or that of the snapshot that it began with."""
    member: NamedMember
    present_millionths: ScoreMillionths
    """At the tip's slot."""
    tip_slot: SlotNumber
    threshold_trade_millionths: ScoreMillionths
    versions: list[ScoreVersion]
    next_after: HeightNumber | None
    """Value of `after` that continues the list; null at its end."""


# --- proven misconduct -----------------------------------------------------------------------------------------


class MisconductModel(ApiModel):
    """A member signed two statements that contradict each other."""

    misconduct: Hash
    offender: NamedMember
    offence: str
    words: str
    """The offence for people."""
    transaction: Hash
    """That brought the proof."""
    height: HeightNumber


class MisconductsReply(ApiModel):
    """Proven misconduct, in the order of the chain."""

    misconducts: list[MisconductModel]


class SignedStatementModel(ApiModel):
    """What the offender signed."""

    kind: str
    fields: dict[str, JsonValue]
    signature: SignatureHex
    encoded: Hex
    """The bytes under the signature."""


class MisconductReply(ApiModel):
    """A proven misconduct with both statements."""

    misconduct: MisconductModel
    statements: Annotated[list[SignedStatementModel], Field(min_length=2, max_length=2)]
    encoded: Hex
    """Canonical encoding of the evidence, which proves itself."""


class PendingMisconduct(ApiModel):
    """What a node can prove and the chain does not have yet: not of the API, only of `p2pnode evidence show`."""

    misconduct: Hash
    offender: NamedMember
    offence: str
    words: str
    """The offence for people."""
    is_pending: Literal[True] = True
    statements: Annotated[list[SignedStatementModel], Field(min_length=2, max_length=2)]
    encoded: Hex
    """Canonical encoding of the evidence, which proves itself."""


# --- a month's statement ---------------------------------------------------------------------------------------


class StatementLine(ApiModel):
    """A day of a household, or a month."""

    day: str
    """ISO date in UTC, of meter time; the month on the line of its sums."""
    intervals: Count
    """Intervals with a decided reading."""
    surplus_wh: EnergyWh
    deficit_wh: EnergyWh
    sold_wh: EnergyWh
    exported_wh: EnergyWh
    bought_wh: EnergyWh
    imported_wh: EnergyWh
    unsettled_wh: EnergyWh
    """Neither traded nor left to the grid yet: the gate is open, or a forward trade is pending."""
    replaced_wh: EnergyWh
    """Sold and, as a correction showed, not generated."""
    unused_wh: EnergyWh
    """Bought and, as a correction showed, not consumed."""
    paid_micro: AmountMicro
    """To sellers."""
    fee_micro: AmountMicro
    """To the grid account."""
    received_micro: AmountMicro
    """From buyers."""
    saved_micro: int
    """Against buying all of it from the grid at the retail price: fees are taken into account."""
    gained_micro: int
    """Against feeding all of it into the grid at the feed-in tariff."""
    score_start_millionths: ScoreMillionths | None
    """Before the block that brought the day's first reading."""
    score_end_millionths: ScoreMillionths | None
    """After the last block that changed anything of the day."""


class StatementReply(ApiModel):
    """A month of a household, from the chain alone."""

    member: NamedMember
    month: str
    height: HeightNumber
    """The tip that it was read at."""
    retail_micro_per_kwh: Count
    feed_in_micro_per_kwh: Count
    days: list[StatementLine]
    total: StatementLine
    is_balanced: bool
    """Energy and trades agree: surplus is sold, exported or open, deficit is bought, imported or open, and what the
    meter's records call sold and bought is what its trades delivered."""
