"""What a block says of each of its transactions: executed or declined, why, and what moved."""

from enum import Enum
from typing import Annotated, Final

from msgspec import Meta

from consensus.codec import Record
from consensus.identifiers import Address, Digest
from contracts.transactions import AddressBytes, DigestBytes


class Status(Enum):
    """Outcome of a transaction that is on the chain."""

    EXECUTED = "executed"
    DECLINED = "declined"


class Reason(Enum):
    """Why a transaction was declined. The first word names the rule that failed."""

    NONE = "none"
    # readings
    READING_FOREIGN_METER = "reading_foreign_meter"
    READING_BAD_SIGNATURE = "reading_bad_signature"
    READING_WRONG_CHAIN = "reading_wrong_chain"
    READING_MISALIGNED = "reading_misaligned"
    READING_ABOVE_CAPACITY = "reading_above_capacity"
    READING_DUPLICATE = "reading_duplicate"
    # transfers
    TRANSFER_UNKNOWN_RECIPIENT = "transfer_unknown_recipient"
    TRANSFER_INSUFFICIENT_TOKENS = "transfer_insufficient_tokens"
    # trades, before the conditions
    TRADE_WRONG_CHAIN = "trade_wrong_chain"
    TRADE_SUBMITTER_NOT_PARTY = "trade_submitter_not_party"
    TRADE_SAME_PARTY = "trade_same_party"
    TRADE_UNKNOWN_PARTY = "trade_unknown_party"
    TRADE_SELLER_SIGNATURE = "trade_seller_signature"
    TRADE_BUYER_SIGNATURE = "trade_buyer_signature"
    TRADE_EXPIRED = "trade_expired"
    TRADE_ALREADY_SETTLED = "trade_already_settled"
    TRADE_OFFER_REUSED = "trade_offer_reused"
    TRADE_PRICE_OUT_OF_BOUNDS = "trade_price_out_of_bounds"
    TRADE_WRONG_ROUTE = "trade_wrong_route"
    TRADE_WRONG_PACKETS = "trade_wrong_packets"
    TRADE_SCORE_BELOW_THRESHOLD = "trade_score_below_threshold"
    # the four conditions of the paper
    CONDITION_1_SELLER_ENERGY = "condition_1_seller_energy"
    CONDITION_2_BUYER_TOKENS = "condition_2_buyer_tokens"
    CONDITION_3_BUYER_ENERGY = "condition_3_buyer_energy"
    CONDITION_4_SELLER_TOKENS = "condition_4_seller_tokens"


class Asset(Enum):
    """What a posting moves."""

    ENERGY_WH = "energy_wh"
    TOKENS_MICRO = "tokens_micro"


class Stage(Enum):
    """The paper's stages of a trade that post to the escrow."""

    EXECUTION = "execution"
    FINAL = "final"


class Party(Enum):
    """Whose balance a posting moves."""

    SELLER = "seller"
    BUYER = "buyer"
    ESCROW = "escrow"


POSTINGS_PER_TRADE: Final = 8
"""A completed trade has four postings in each of its two stages; a declined one has none."""

DETAIL_CHARACTERS_MAX: Final = 200


class Posting(Record, frozen=True, kw_only=True, tag="posting"):
    """One balance change of a trade, as the leader claims it and every validator recomputes it."""

    trade: DigestBytes
    stage: Stage
    party: Party
    asset: Asset
    before: Annotated[int, Meta(ge=0)]
    after: Annotated[int, Meta(ge=0)]


class Receipt(Record, frozen=True, kw_only=True, tag="receipt"):
    """The recorded outcome of one transaction."""

    transaction: DigestBytes
    sender: AddressBytes
    status: Status
    reason: Reason
    detail: Annotated[str, Meta(max_length=DETAIL_CHARACTERS_MAX)]
    """The values compared, for people; empty when executed."""
    fault: Address | None
    """The party whose score falls; None where nobody is at fault."""
    reference: Digest | None
    """Trade id of a contract, packet id of a credited reading, else None."""
    quality_total: int | None
    """Eq. 2's total in millionths, for a contract that completed or that a party's fault made fail."""
