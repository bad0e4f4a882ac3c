"""All behaviours by name."""

from collections.abc import Mapping
from typing import Final

from tests.faults import buyers, collectors, members, newcomers, sellers
from tests.faults.members import LyingMember
from tests.faults.tricks import Trick

TRICKS: Final[Mapping[str, type[Trick]]] = {
    "seller.alters_energy": sellers.SellerAltersEnergy,
    "seller.alters_price": sellers.SellerAltersPrice,
    "seller.sells_twice": sellers.SellsTwice,
    "seller.never_delivers": sellers.NeverDelivers,
    "seller.readings_unsigned": sellers.ReadingsUnsigned,
    "seller.readings_overlap": sellers.ReadingsOverlap,
    "seller.readings_above_capacity": sellers.ReadingsAboveCapacity,
    "buyer.alters_energy": buyers.BuyerAltersEnergy,
    "buyer.alters_price": buyers.BuyerAltersPrice,
    "buyer.no_tokens": buyers.NoTokens,
    "buyer.spends_twice": buyers.SpendsTwice,
    "buyer.denies_signature": buyers.DeniesSignature,
    "framing.frames_seller": buyers.FramesSeller,
    "framing.frames_buyer": sellers.FramesBuyer,
    "malleability.altered_copy_races_original": sellers.RacesAlteredCopy,
    "malleability.original_replayed_through_every_node": buyers.Replays,
    "malleability.signature_bytes_varied": buyers.VariesSignatures,
}

LIARS: Final[Mapping[str, type[LyingMember]]] = {
    "leader.alters_postings": members.AltersPostings,
    "leader.leaves_trade_out": members.LeavesTradeOut,
    "leader.proposes_twice": members.ProposesTwice,
    "leader.proposes_invalid_block": members.ProposesInvalidBlock,
    "validator.votes_for_anything": members.VotesForAnything,
    "validator.votes_against_everything": members.VotesAgainstEverything,
    "validator.votes_twice": members.VotesTwice,
    "colluding.forks": members.Colludes,
}

COLLECTORS: Final[Mapping[str, type[LyingMember]]] = {
    "cluster.hoards": collectors.Hoards,
    "cluster.tells_half": collectors.TellsHalf,
    "cluster.silent": collectors.CollectsSilently,
    "cluster.counterfeits": collectors.Counterfeits,
}
"""They need a street whose clusters are drawn."""

ABOUT_MEMBERS: Final[Mapping[str, type[LyingMember]]] = {
    "leader.admits_anybody": newcomers.AdmitsAnybody,
    "candidate.votes": newcomers.VotesAsCandidate,
}
"""What rows of who joins are made of: they need more than a daemon that lies."""

BEHAVIOURS: Final = (*TRICKS, *LIARS)
