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
    READING_WRONG_VERSION = "reading_wrong_version"
    # transfers
    TRANSFER_UNKNOWN_RECIPIENT = "transfer_unknown_recipient"
    TRANSFER_INSUFFICIENT_TOKENS = "transfer_insufficient_tokens"
    # tokens, debts, stakes, evidence
    ISSUE_NOT_ISSUER = "issue_not_issuer"
    ISSUE_UNKNOWN_RECIPIENT = "issue_unknown_recipient"
    ISSUE_ABOVE_BOUND = "issue_above_bound"
    REDEEM_INSUFFICIENT_TOKENS = "redeem_insufficient_tokens"
    DEBT_NOT_OWED = "debt_not_owed"
    DEBT_INSUFFICIENT_TOKENS = "debt_insufficient_tokens"
    STAKE_NOT_MEMBER = "stake_not_member"
    STAKE_ABOVE_SCORE = "stake_above_score"
    STAKE_SUSPENDED = "stake_suspended"
    LEAVE_NOT_MEMBER = "leave_not_member"
    LEAVE_AS_BEFORE = "leave_as_before"
    PRESENCE_NOT_MEMBER = "presence_not_member"
    # exchanging keys
    KEY_NOT_MEMBER = "key_not_member"
    KEY_TOO_SOON = "key_too_soon"
    KEY_USED_BEFORE = "key_used_before"
    KEY_NO_POSSESSION = "key_no_possession"
    KEY_NOT_VOUCHED = "key_not_vouched"
    KEY_EXPIRED = "key_expired"
    # renewing
    RENEW_NOT_MEMBER = "renew_not_member"
    RENEW_NOT_VOUCHED = "renew_not_vouched"
    RENEW_EXPIRED = "renew_expired"
    RENEW_NOT_LATER = "renew_not_later"
    # joining
    JOIN_SPONSOR_NOT_MEMBER = "join_sponsor_not_member"
    JOIN_SPONSOR_BUSY = "join_sponsor_busy"
    JOIN_TOO_MANY = "join_too_many"
    JOIN_TOO_FEW_STAKERS = "join_too_few_stakers"
    JOIN_WRONG_CHAIN = "join_wrong_chain"
    JOIN_NOT_VOUCHED = "join_not_vouched"
    JOIN_NO_POSSESSION = "join_no_possession"
    JOIN_EXPIRED = "join_expired"
    JOIN_ABOVE_CAPACITY = "join_above_capacity"
    JOIN_REPLAYED = "join_replayed"
    JOIN_REFUSED_BEFORE = "join_refused_before"
    JOIN_SAME_KEY = "join_same_key"
    JOIN_SAME_METER = "join_same_meter"
    JOIN_SAME_PERSON = "join_same_person"
    VERDICT_NOT_OPEN = "verdict_not_open"
    VERDICT_NOT_VERIFIER = "verdict_not_verifier"
    VERDICT_GIVEN_BEFORE = "verdict_given_before"
    READY_NOT_CANDIDATE = "ready_not_candidate"
    READY_UNKNOWN_BLOCK = "ready_unknown_block"
    READY_OLD_BLOCK = "ready_old_block"
    READY_SAID_BEFORE = "ready_said_before"
    # removals
    REVOCATION_WRONG_CHAIN = "revocation_wrong_chain"
    REVOCATION_UNKNOWN_KEY = "revocation_unknown_key"
    REVOCATION_REPLACED_KEY = "revocation_replaced_key"
    REVOCATION_NOT_MEMBER = "revocation_not_member"
    REVOCATION_ALREADY_KNOWN = "revocation_already_known"
    REVOCATION_NOT_SIGNED = "revocation_not_signed"
    EXPULSION_NOT_MEMBER = "expulsion_not_member"
    EXPULSION_WAITS = "expulsion_waits"
    SUSPENSION_NOT_MEMBER = "suspension_not_member"
    SUSPENSION_CHANGES_NOTHING = "suspension_changes_nothing"
    EVIDENCE_UNKNOWN_OFFENDER = "evidence_unknown_offender"
    EVIDENCE_PROVES_NOTHING = "evidence_proves_nothing"
    EVIDENCE_ALREADY_KNOWN = "evidence_already_known"
    EVIDENCE_TOO_OLD = "evidence_too_old"
    # offices
    SENDER_KEY_REPLACED = "sender_key_replaced"
    OFFICE_UNKNOWN = "office_unknown"
    OFFICE_NOT_SENDER = "office_not_sender"
    OFFICE_NO_POSSESSION = "office_no_possession"
    OFFICE_KEY_USED_BEFORE = "office_key_used_before"
    OFFICE_PROPOSAL_WAITS = "office_proposal_waits"
    OFFICE_OBJECTED = "office_objected"
    # proposals
    PROPOSAL_NOT_MEMBER = "proposal_not_member"
    PROPOSAL_UNFINISHED = "proposal_unfinished"
    PROPOSAL_UNKNOWN = "proposal_unknown"
    PROPOSAL_OVER = "proposal_over"
    PROPOSAL_APPROVED_BEFORE = "proposal_approved_before"
    PROPOSAL_NOT_APPROVED = "proposal_not_approved"
    OBJECTION_SPENT = "objection_spent"
    # rules
    RULES_VERSION = "rules_version"
    RULES_SAME = "rules_same"
    RULES_TOO_NEAR = "rules_too_near"
    RULES_PARAMETERS = "rules_parameters"
    RULES_PROPOSAL_WAITS = "rules_proposal_waits"
    # cancellations
    CANCEL_SELLER_SIGNATURE = "cancel_seller_signature"
    CANCEL_BUYER_SIGNATURE = "cancel_buyer_signature"
    CANCEL_ALREADY_FINAL = "cancel_already_final"
    # trades, before the conditions
    TRADE_WRONG_CHAIN = "trade_wrong_chain"
    TRADE_SUBMITTER_NOT_PARTY = "trade_submitter_not_party"
    TRADE_SAME_PARTY = "trade_same_party"
    TRADE_UNKNOWN_PARTY = "trade_unknown_party"
    TRADE_SELLER_SIGNATURE = "trade_seller_signature"
    TRADE_BUYER_SIGNATURE = "trade_buyer_signature"
    TRADE_EXPIRED = "trade_expired"
    TRADE_ALREADY_EXECUTED = "trade_already_executed"
    TRADE_OFFER_REUSED = "trade_offer_reused"
    TRADE_PRICE_OUT_OF_BOUNDS = "trade_price_out_of_bounds"
    TRADE_WRONG_ROUTE = "trade_wrong_route"
    TRADE_WRONG_PACKETS = "trade_wrong_packets"
    TRADE_WRONG_WINDOW = "trade_wrong_window"
    TRADE_WINDOW_PASSED = "trade_window_passed"
    TRADE_WINDOW_FULL = "trade_window_full"
    TRADE_ABOVE_CAPACITY = "trade_above_capacity"
    TRADE_MEMBER_LEAVING = "trade_member_leaving"
    TRADE_MEMBER_SUSPENDED = "trade_member_suspended"
    TRADE_SELLER_IN_DEBT = "trade_seller_in_debt"
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
    REFUND = "refund"
    """What a forward trade held and did not use goes back."""


class Party(Enum):
    """Whose balance a posting moves."""

    SELLER = "seller"
    BUYER = "buyer"
    ESCROW = "escrow"
    GRID = "grid"
    """The grid account, for its fee."""


POSTINGS_PER_TRADE_MAX: Final = 9
"""A spot trade has four postings in each of its two stages and one for a grid fee; a declined one has none. What a
block adds to a forward trade is less."""

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
    parties: Annotated[tuple[AddressBytes, ...], Meta(max_length=2)]
    """Seller and buyer of a contract, who both get this reply; empty for anything else."""
    fault: Address | None
    """The party whose score falls; None where nobody is at fault."""
    reference: Digest | None
    """Trade id of a contract, packet id of a credited reading, name of a proposal or of a misconduct; else None."""
    quality_total: int | None
    """Eq. 2's total in millionths, for a contract that completed or that a party's fault made fail."""
