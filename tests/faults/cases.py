"""What is expected of each behaviour, beside what is expected of all: one row of the table for each and each n."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from contracts.misconduct import DOUBLE_OFFER
from contracts.receipts import Reason
from ledger.validation import BlockRefusalReason


@dataclass(frozen=True, kw_only=True)
class TraderCase:
    """A trader's lie."""

    sells: bool
    """Whether a home with surplus tells it."""
    reasons: tuple[Reason, ...]
    """Of the declined transactions, sorted by name."""
    is_fault: bool = True
    """Whether the liar's score falls: a reading or a copy harms nobody."""
    at_the_door: tuple[str, ...] = ()
    """How bytes are answered that are no transaction any more."""
    offence: str | None = None
    """That is proven on the chain in the end, and suspends the liar."""


@dataclass(frozen=True, kw_only=True)
class MemberCase:
    """A leader's or a validator's lie."""

    stage: str
    reason: BlockRefusalReason | None = None
    """Why honest members give a proposal no vote."""
    offence: str | None = None
    """That must stand on the chain in the end."""


TRADERS: Final[Mapping[str, TraderCase]] = {
    "seller.alters_energy": TraderCase(sells=True, reasons=(Reason.TRADE_BUYER_SIGNATURE,), offence=DOUBLE_OFFER),
    "seller.alters_price": TraderCase(sells=True, reasons=(Reason.TRADE_BUYER_SIGNATURE,), offence=DOUBLE_OFFER),
    "seller.sells_twice": TraderCase(sells=True, reasons=(Reason.CONDITION_1_SELLER_ENERGY,)),
    "seller.never_delivers": TraderCase(sells=True, reasons=()),
    "seller.readings_unsigned": TraderCase(sells=True, reasons=(Reason.READING_BAD_SIGNATURE,), is_fault=False),
    "seller.readings_overlap": TraderCase(
        sells=True, reasons=(Reason.READING_DUPLICATE, Reason.READING_MISALIGNED), is_fault=False
    ),
    "seller.readings_above_capacity": TraderCase(
        sells=True, reasons=(Reason.READING_ABOVE_CAPACITY,), is_fault=False
    ),
    "buyer.alters_energy": TraderCase(sells=False, reasons=(Reason.TRADE_SELLER_SIGNATURE,), offence=DOUBLE_OFFER),
    "buyer.alters_price": TraderCase(sells=False, reasons=(Reason.TRADE_SELLER_SIGNATURE,), offence=DOUBLE_OFFER),
    "buyer.no_tokens": TraderCase(sells=False, reasons=(Reason.CONDITION_2_BUYER_TOKENS,)),
    "buyer.spends_twice": TraderCase(sells=False, reasons=(Reason.CONDITION_2_BUYER_TOKENS,)),
    "buyer.denies_signature": TraderCase(sells=False, reasons=(Reason.TRADE_BUYER_SIGNATURE,)),
    "framing.frames_seller": TraderCase(sells=False, reasons=(Reason.TRADE_BUYER_SIGNATURE,)),
    "framing.frames_buyer": TraderCase(sells=True, reasons=(Reason.TRADE_SELLER_SIGNATURE,)),
    "malleability.altered_copy_races_original": TraderCase(sells=True, reasons=(Reason.TRADE_SELLER_SIGNATURE,)),
    "malleability.original_replayed_through_every_node": TraderCase(
        sells=False,
        reasons=(Reason.TRADE_ALREADY_EXECUTED,),
        is_fault=False,
        at_the_door=("already decided",),
    ),
    "malleability.signature_bytes_varied": TraderCase(
        sells=False, reasons=(Reason.TRADE_SELLER_SIGNATURE,), at_the_door=("bad_signature", "malformed")
    ),
}

MEMBERS: Final[Mapping[str, MemberCase]] = {
    "leader.alters_postings": MemberCase(stage="vote", reason=BlockRefusalReason.POSTINGS),
    "leader.leaves_trade_out": MemberCase(stage="next leader"),
    "leader.proposes_twice": MemberCase(stage="quorum", offence="two_votes"),
    "leader.proposes_invalid_block": MemberCase(stage="vote", reason=BlockRefusalReason.DUPLICATE_TRANSACTION),
    "validator.votes_for_anything": MemberCase(stage="vote", reason=BlockRefusalReason.DUPLICATE_TRANSACTION),
    "validator.votes_against_everything": MemberCase(stage="quorum"),
    "validator.votes_twice": MemberCase(stage="quorum", offence="two_votes"),
    "colluding.forks": MemberCase(stage="quorum"),
}

BEYOND: Final = ("colluding.forks", "validator.votes_for_anything", "validator.votes_against_everything")
"""Run with F + 1 liars too."""


def offence_of(behaviour: str) -> str | None:
    """Returns what must be proven of a liar in the end."""
    trader = TRADERS.get(behaviour)
    return MEMBERS[behaviour].offence if trader is None else trader.offence
