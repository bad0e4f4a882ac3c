"""The REST API's replies and bodies: pydantic models whose JSON schema is the OpenAPI document.

Models that show a record carry the record's own field names; bytes are lower-case hexadecimal, energy is in Wh,
money in micro-tokens, time in milliseconds or slots, scores in millionths, as everywhere in the project.
"""

from typing import Annotated, Final, Literal

import msgspec
from pydantic import ConfigDict, Field

from node.replies.actions import Action
from node.replies.fields import (
    AmountMicro,
    ApiModel,
    Count,
    EnergyWh,
    Hash,
    HeightNumber,
    Hex,
    SignatureHex,
    SlotNumber,
)
from node.replies.problem import ProblemReason

# --- problems ----------------------------------------------------------------------------------------------


class ProblemField(ApiModel):
    """One wrong parameter or field."""

    location: str
    """Name of the parameter, or path of the field in the body."""
    detail: str
    """What is wrong with it."""


class Problem(ApiModel):
    """Problem details (RFC 9457): every error is answered with one."""

    type: str
    """Reference that identifies the kind of problem: its place in /docs."""
    title: str
    """What the reason means."""
    status: Annotated[int, Field(ge=400, le=599)]
    """HTTP status."""
    detail: str
    """What happened this time, for people."""
    reason: Annotated[str, Field(json_schema_extra={"enum": [reason.value for reason in ProblemReason]})]
    """What happened, for programs."""
    retry_after_s: Annotated[int, Field(ge=1)] | None = None
    """Seconds after which trying again may help; also in Retry-After."""
    errors: list[ProblemField] | None = None
    """The wrong parameters or fields."""


# --- status ------------------------------------------------------------------------------------------------


class MeterStatus(ApiModel):
    """How far this node's meter has come."""

    household_id: str
    """Household in the readings file."""
    intervals_total: Count
    """Intervals of this run."""
    intervals_published: Count
    """Intervals whose reading is decided."""
    intervals_settled: Count
    """Intervals in which nothing is left to trade for this household."""
    finished: bool
    """All intervals of this run are published and settled."""


class CommitLatencyStatus(ApiModel):
    """From a transaction's acceptance by this node until its block is written here."""

    p50: Annotated[float, Field(ge=0)] | None
    """Median of the newest measurements in ms; null before the first."""
    p95: Annotated[float, Field(ge=0)] | None
    """95th percentile of the newest measurements in ms."""
    count: Count
    """Transactions measured since the node started."""


class TotalsStatus(ApiModel):
    """Sums over the whole chain."""

    issued_micro: AmountMicro
    redeemed_micro: AmountMicro
    held_micro: AmountMicro
    """In escrow for forward trades."""
    owed_micro: AmountMicro
    """Debts of sellers to the grid account."""
    credited_wh: EnergyWh
    available_wh: EnergyWh
    escrow_wh: EnergyWh
    claimed_wh: EnergyWh
    exported_wh: EnergyWh
    replaced_wh: EnergyWh
    """Sold, and supplied by the grid in the seller's place."""
    deficit_wh: EnergyWh
    open_wh: EnergyWh
    reserved_wh: EnergyWh
    """Kept open for forward trades."""
    bought_wh: EnergyWh
    imported_wh: EnergyWh
    unused_wh: EnergyWh
    """Bought, and not consumed."""
    trades_pending: Count
    """Forward trades that are not final."""
    trades_completed: Count
    trades_expired: Count
    trades_cancelled: Count
    trades_declined: Count
    """Contracts on the chain that did not execute."""
    traded_micro: AmountMicro
    """What sellers received for all completed trades."""
    fees_micro: AmountMicro
    """What the grid account received with them."""


class SyncingStatus(ApiModel):
    """Where a node stands that catches up from far behind."""

    model_config = ConfigDict(populate_by_name=True)

    first: Annotated[int, Field(alias="from", ge=0)]
    """Height at which it began."""
    to: HeightNumber
    """Height that it is on its way to."""
    blocks_per_s: Annotated[float, Field(ge=0)]
    """Blocks written per second."""


class TakingStateStatus(ApiModel):
    """Where a node stands that takes the state of a block from the others, to begin with it."""

    height: HeightNumber | None
    """Of the block; null before one is chosen."""
    percent: Annotated[float, Field(ge=0, le=100)]
    """How much of the state is here."""


class FillingStatus(ApiModel):
    """Where a node stands that began with a snapshot, and fetches what lies below."""

    height: HeightNumber
    """Up to which blocks are executed from genesis."""
    to: HeightNumber
    """Height that is to be reached: then they are this node's own, and `first_height` is 1."""
    notice: str | None
    """Why it does not go on, and what to do; null while it does."""


class SilentStatus(ApiModel):
    """A node that signs nothing for a while: no vote, no COMMIT, no VIEW-CHANGE."""

    through: Annotated[int, Field(ge=0)] | None
    """Last height of the silence; null while the other members are asked for it."""


class StatusReply(ApiModel):
    """Where this node stands."""

    name: str
    """The node's name in its configuration."""
    address: Hash
    """The node's member address."""
    chain: Hash
    """Chain id: the hash of genesis."""
    protocol_version: int
    """Version of the rules of the next block."""
    height: HeightNumber
    """Height of the last block written."""
    first_height: HeightNumber
    """Lowest height that this node can tell of: 1, or that of the snapshot that it began with."""
    tip: Hash
    """Digest of that block; the chain id before the first."""
    state_root: Hash
    """Root of the state after that block."""
    slot: SlotNumber
    """Present timeslot."""
    phase: str
    """Phase of the replica."""
    undecided_height: HeightNumber
    """Height that is being agreed on."""
    leader: Hash
    """Leader of the present timeslot. A suspended member's passes unused: `why` tells."""
    view_changes: Count
    """VIEW-CHANGEs sent since the node started."""
    peers_connected: Count
    """Other members to which a link is up."""
    members: Count
    """Members of the next height; this node among them, unless it left."""
    mempool_transactions: Count
    """Transactions that wait for a block."""
    commit_latency_ms: CommitLatencyStatus
    meter: MeterStatus | None
    """This node's meter; null where the node only validates."""
    totals: TotalsStatus
    conserved: bool
    """Tokens and energy add up over the whole chain."""
    syncing: SyncingStatus | None = None
    """Null while this node is not far behind."""
    sync_notice: str | None = None
    """Why no member gives the next block, and what to do; null: nothing."""
    silent: SilentStatus | None = None
    """Null while this node takes part; else it signs nothing, because what it signed before is not at hand."""
    rules_notice: str | None = None
    """What this node's program lacks for rules that are proposed or approved, and what to do; null: nothing."""
    taking_state: TakingStateStatus | None = None
    """Null unless this node takes a state to begin with; then it fetches no blocks yet."""
    filling_in: FillingStatus | None = None
    """Null where all blocks are here."""
    ledger_set_aside: str | None = None
    """Folder of the damaged ledger that the last start put aside; null if it was whole."""


class HealthReply(ApiModel):
    """The process is alive and takes part."""

    status: Literal["ok"]
    notices: list[str]
    """What will keep it from taking part: rules that its program does not know."""


class ReadyReply(ApiModel):
    """The ledger is open and enough members are connected for a quorum."""

    status: Literal["ready"]
    members_reachable: Count
    """Connected peers and the node itself."""
    quorum: Count
    """Members that a decision needs."""


# --- transactions ------------------------------------------------------------------------------------------


class TransactionModel(ApiModel):
    """A signed transaction."""

    sender: Hash
    """Address of the wallet it acts for: the hash of the first `sender_key` that it had."""
    sender_key: Hash
    """The sender's present key."""
    nonce: Count
    valid_until_height: HeightNumber
    """Last height whose block may contain it."""
    action: Action
    signature: SignatureHex
    """Of the sender, over the canonical encoding of the envelope."""


class ReceiptModel(ApiModel):
    """The recorded outcome of a transaction."""

    transaction: Hash
    sender: Hash
    status: Literal["executed", "declined"]
    """Declined: on the chain and its nonce used, but nothing moved."""
    reason: str
    """Why it was declined; `none` if executed."""
    detail: str
    """The values compared, for people; empty if executed."""
    parties: list[Hash]
    """Seller and buyer of a contract; empty for anything else."""
    fault: Hash | None
    """The party whose score falls, if one is at fault."""
    reference: Hash | None
    """Trade id of a contract, packet id of a credited reading, name of a proposal or of a misconduct."""
    quality_total: int | None
    """Quality of transaction of a contract, in millionths (Eq. 2)."""


TRANSACTIONS_PER_REQUEST_MAX: Final = 1_000


class TransactionBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One transaction, or several. The wallet signs; the node never does."""

    # msgspec's and not pydantic's: it ends at the first fault and builds nothing that is not in the type, so that
    # a body of 100,000 unknown keys costs no more than one of one.

    transaction: (
        Annotated[str, msgspec.Meta(description="Raw MessagePack of a signed transaction, as hexadecimal or base64.")]
        | msgspec.UnsetType
    ) = msgspec.UNSET
    transactions: (
        Annotated[
            list[str],
            msgspec.Meta(
                min_length=1,
                max_length=TRANSACTIONS_PER_REQUEST_MAX,
                description="Several of them, taken in this order; each gets a result of its own.",
            ),
        ]
        | msgspec.UnsetType
    ) = msgspec.UNSET


SubmissionBody = Annotated[TransactionBody, msgspec.Meta(extra_json_schema={"minProperties": 1, "maxProperties": 1})]
"""One of the two fields, not both."""


class SubmissionReply(ApiModel):
    """What became of a submitted transaction so far."""

    digest: Hash
    """Name of the transaction; GET /v1/transactions/{digest} says the rest."""
    status: Literal["pending", "executed", "declined"]
    """Pending: accepted, in no block yet."""
    known: bool
    """The node had this transaction already; submitting again is harmless."""
    height: HeightNumber | None = None
    """Block that contains it, once decided."""
    index: Count | None = None
    """Position in that block."""
    receipt: ReceiptModel | None = None
    """Outcome, once decided."""


class BatchResult(ApiModel):
    """Result of one transaction of a batch: one of the two."""

    submission: SubmissionReply | None = None
    problem: Problem | None = None


class BatchReply(ApiModel):
    """One result per transaction, in their order."""

    results: list[BatchResult]


# --- blocks ------------------------------------------------------------------------------------------------


class EndorsementModel(ApiModel):
    """One member's signature in a certificate."""

    signer: Hash
    signature: SignatureHex


class CertificateModel(ApiModel):
    """A quorum of COMMITs for one block: proves that it is decided."""

    era: Count
    """How many ceremonies the chain had had."""
    height: HeightNumber
    slot: SlotNumber
    block: Hash
    endorsements: list[EndorsementModel]


class HeaderModel(ApiModel):
    """A block's header; its hash is the block's digest."""

    version: int
    """Protocol version."""
    chain: Hash
    era: Count
    """How many ceremonies the chain had had."""
    height: HeightNumber
    slot: SlotNumber
    """Slot of the first proposal."""
    leader: Hash
    parent: Hash
    """Digest of the previous block; the chain id at height 1."""
    parent_certificate: Hash
    transactions_root: Hash
    postings_root: Hash
    receipts_root: Hash
    state_root: Hash
    """Root of the state after this block."""
    membership: Hash
    """Digest of the membership of the height after the next one."""
    authority: Hash
    """The key that acts for the authority after this block."""
    ceremony: Hash
    """Hash of the carried ceremony, or of nil."""
    vrf_proof: Hex


class BlockSummary(ApiModel):
    """One block of a list."""

    height: HeightNumber
    digest: Hash
    slot: SlotNumber
    leader: Hash
    expected_leader: Hash
    """Leader that Eq. 1 names for this height and slot; of the two where clusters are drawn, the one that led."""
    transactions: Count
    """How many transactions the block contains."""
    state_root: Hash


class BlocksReply(ApiModel):
    """Consecutive blocks, oldest first."""

    first_height: HeightNumber
    """Lowest height that this node can tell of: 1, or that of the snapshot that it began with."""
    blocks: list[BlockSummary]
    next_from: HeightNumber | None
    """Value of `from` that continues the list; null at the tip."""


class BlockTransaction(ApiModel):
    """A transaction of a block with its outcome."""

    index: Count
    digest: Hash
    size_bytes: Count
    transaction: TransactionModel
    receipt: ReceiptModel


class PostingModel(ApiModel):
    """One balance change of a trade through the escrow."""

    trade: Hash
    stage: Literal["execution", "final", "refund"]
    party: Literal["seller", "buyer", "escrow", "grid"]
    asset: Literal["energy_wh", "tokens_micro"]
    before: Count
    after: Count


class BlockReply(ApiModel):
    """A decided block."""

    height: HeightNumber
    digest: Hash
    slot: SlotNumber
    leader: Hash
    expected_leader: Hash
    """Leader that Eq. 1 names for this height and slot; of the two where clusters are drawn, the one that led."""
    collectors: list[Hash]
    """Members that were drawn for the slot, in the order drawn: they heard its votes first. Empty where all did, and
    of the first block behind a snapshot, as the state below it is not here."""
    header: HeaderModel
    header_encoded: Hex
    """Canonical encoding of the header: what the digest is the hash of."""
    transactions: list[BlockTransaction]
    postings: list[PostingModel]
    certificate: CertificateModel
    certificate_encoded: Hex


class CheckpointReply(ApiModel):
    """The newest decided block, with what proves it and the members of today to who has genesis alone."""

    height: HeightNumber
    digest: Hash
    proof: Hex
    """Canonical encoding: every change of the members since genesis, the header and its certificate."""


class ReceiptProofModel(ApiModel):
    """Shows that a receipt is under the header's `receipts_root`."""

    receipt_encoded: Hex
    """Canonical encoding of the receipt: the leaf."""
    index: Count
    """Position of the leaf, counted from 0."""
    count: Annotated[int, Field(ge=1)]
    """Leaves in the tree, which the root covers too."""
    siblings: list[Hash]
    """Hashes beside the path, from the leaf up."""
    encoded: Hex
    """Canonical encoding of the whole proof: header, certificate, receipt and path."""


class TransactionReply(ApiModel):
    """A transaction and, once decided, everything that a wallet needs to check its outcome alone."""

    digest: Hash
    status: Literal["pending", "executed", "declined"]
    transaction: TransactionModel
    transaction_encoded: Hex
    """The raw bytes that were submitted; the digest is their hash."""
    height: HeightNumber | None = None
    index: Count | None = None
    receipt: ReceiptModel | None = None
    proof: ReceiptProofModel | None = None
    header: HeaderModel | None = None
    header_encoded: Hex | None = None
    certificate: CertificateModel | None = None
    certificate_encoded: Hex | None = None
