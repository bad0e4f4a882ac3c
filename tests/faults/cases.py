"""What is expected of each behaviour, beside what is expected of all: one row of the table for each and each n."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from contracts.applicants import Standing
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


@dataclass(frozen=True, kw_only=True)
class AdmissionCase:
    """A lie around who joins."""

    reasons: tuple[Reason, ...] = ()
    """Of the declined transactions, in their order."""
    leads: str | None = "leader.admits_anybody"
    """What a member does with the same past the door; None if nobody does."""
    refusal: BlockRefusalReason | None = BlockRefusalReason.RECEIPTS_ROOT
    """Why honest members give its blocks no vote; None where nobody leads with a lie."""
    past_the_door: str = "nobody leads with it"
    """In the table then."""
    standing: Standing = Standing.JOINED
    """Of the home that applied honestly, in the end."""
    note: str = ""
    """What broke beyond the bound, and what did not."""

    @property
    def joins(self) -> bool:
        """Says whether an honest home becomes a member, whose ledger is looked at, too."""
        return self.standing is Standing.JOINED and not self.note


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

COLLECTORS: Final[Mapping[str, MemberCase]] = dict.fromkeys(
    ("cluster.hoards", "cluster.tells_half", "cluster.silent", "cluster.counterfeits"), MemberCase(stage="cluster")
)
"""Of F members that collect, where clusters are drawn."""

BEYOND: Final = ("colluding.forks", "validator.votes_for_anything", "validator.votes_against_everything")
"""Run with F + 1 liars too."""


ADMISSIONS: Final[Mapping[str, AdmissionCase]] = {
    "admission.forged_voucher": AdmissionCase(reasons=(Reason.JOIN_NOT_VOUCHED,)),
    "admission.expired": AdmissionCase(reasons=(Reason.JOIN_EXPIRED,)),
    "admission.no_possession": AdmissionCase(reasons=(Reason.JOIN_NO_POSSESSION,)),
    "admission.foreign_chain": AdmissionCase(reasons=(Reason.JOIN_WRONG_CHAIN,)),
    "admission.same_person": AdmissionCase(reasons=(Reason.JOIN_SAME_PERSON,)),
    "admission.same_keys": AdmissionCase(reasons=(Reason.JOIN_SAME_KEY,)),
    "admission.same_meter": AdmissionCase(reasons=(Reason.JOIN_SAME_METER,)),
    "admission.replayed": AdmissionCase(reasons=(Reason.JOIN_REPLAYED,)),
    "admission.revoked": AdmissionCase(reasons=(Reason.JOIN_SAME_KEY,)),
    "admission.verifier_refuses_all": AdmissionCase(
        reasons=(Reason.VERDICT_GIVEN_BEFORE,), refusal=BlockRefusalReason.STATE_ROOT
    ),
    "admission.verifiers_silent": AdmissionCase(leads=None, refusal=None),
    "admission.candidate_votes": AdmissionCase(
        leads="candidate.votes", refusal=None, past_the_door="not heard before it is a member"
    ),
}

BEYOND_ADMISSIONS: Final[Mapping[str, AdmissionCase]] = {
    "admission.verifier_refuses_all": AdmissionCase(
        reasons=(Reason.JOIN_REFUSED_BEFORE,),
        leads=None,
        refusal=None,
        standing=Standing.REFUSED,
        note="broken: an honest home is kept out for a day, and again. Not broken: anything of who is a member",
    ),
    "admission.verifiers_silent": AdmissionCase(
        leads=None,
        refusal=None,
        standing=Standing.OPEN,
        note="broken: nobody joins; the application lapses after a day. Not broken: anything of who is a member",
    ),
    "admission.panel_captured": AdmissionCase(
        reasons=(Reason.JOIN_NOT_VOUCHED, Reason.VERDICT_NOT_OPEN, Reason.JOIN_SAME_PERSON),
        leads=None,
        refusal=None,
        note="broken: a home joins that no honest verifier knows. Not broken: none without the authority's word, one "
        "for each person, it came with nothing, and is one of those that may lie",
    ),
}
"""With as many verifiers that lie as decide, or one more silent than the others can do without."""


def offence_of(behaviour: str) -> str | None:
    """Returns what must be proven of a liar in the end."""
    trader = TRADERS.get(behaviour)
    return MEMBERS[behaviour].offence if trader is None else trader.offence
