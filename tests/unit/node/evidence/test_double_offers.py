"""Two contracts under one offer id on the chain: found whatever their receipts say, and held against nobody who did
not sign both.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.identifiers import Address, Digest, Height
from contracts.misconduct import DOUBLE_OFFER, proven
from contracts.receipts import Reason
from contracts.state import Overlay
from contracts.transactions import DoubleOffer, SubmitTrade, TradeTerms
from ledger.ledger import Ledger
from node.evidence.double_offers import DoubleOffers
from tests.support.contracts import (
    make_genesis,
    resign,
    sign_trade,
    signed_cancellation,
    signed_reading,
    trade_terms,
)
from tests.support.ledger import ChainBuilder

COMMUNITY = make_genesis(4)
KEYS = COMMUNITY.node_keys
SELLER, BUYER, OTHER = 0, 1, 2
COUNTER = 7
FORGED = KEYS[3]
"""Signs for others what they did not sign."""


class Market:
    """A chain with one seller's surplus and everybody else's deficit, and who looks through it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.chain = ChainBuilder.create(directory, COMMUNITY)
        readings = ((0, 300), (1, -200), (2, -200), (3, -200))
        self.chain.append(
            [self.chain.transaction(member, signed_reading(COMMUNITY, member, wh)) for member, wh in readings]
        )
        self.looked_through = Height(1)
        self.offers = DoubleOffers(self.chain.ledger)

    def decide(self, submitter: int, *contracts: SubmitTrade) -> list[Reason]:
        """Decides contracts in one block; returns why they were declined, `NONE` where they were not."""
        self.chain.append([self.chain.transaction(submitter, contract) for contract in contracts])
        return [receipt.reason for receipt in self.chain.ledger.receipts(self.chain.ledger.height)]

    def found(self) -> list[DoubleOffer]:
        """Returns what the blocks since the last call prove."""
        evidence = []
        for height in range(self.looked_through + 1, self.chain.ledger.height + 1):
            evidence += self.offers.in_block(Height(height))
        self.looked_through = self.chain.ledger.height
        for one in evidence:
            assert proven(one, Overlay(self.chain.ledger), COMMUNITY.chain) == DOUBLE_OFFER
        return evidence

    def offenders(self) -> set[Address]:
        return {one.offender for one in self.found()}


@pytest.fixture
def market(tmp_path: Path) -> Market:
    return Market(tmp_path / "ledger")


def terms(energy_wh: int = 100, *, buyer: int = BUYER, counter: int = COUNTER, **overrides: object) -> TradeTerms:
    return trade_terms(COMMUNITY, SELLER, buyer, energy_wh, offer_counter=counter, **overrides)


def signed(agreed: TradeTerms, *, buyer: int = BUYER) -> SubmitTrade:
    return sign_trade(agreed, seller=KEYS[SELLER], buyer=KEYS[buyer])


def addresses(*members: int) -> set[Address]:
    return {COMMUNITY.addresses[member] for member in members}


def altered_by(liar: int, original: SubmitTrade) -> SubmitTrade:
    """Returns the contract over more energy, signed by one party, with the other's signature of the original."""
    more = replace(original, terms=replace(original.terms, energy_wh=150))
    return resign(more, **{"seller" if liar == SELLER else "buyer": KEYS[liar]})


@pytest.mark.parametrize("liar", [SELLER, BUYER])
@pytest.mark.parametrize("is_first", [True, False])
def test_who_signs_an_altered_copy_beside_the_original_is_found(market: Market, liar: int, *, is_first: bool) -> None:
    original = signed(terms())
    altered = altered_by(liar, original)
    reason = Reason.TRADE_BUYER_SIGNATURE if liar == SELLER else Reason.TRADE_SELLER_SIGNATURE
    if is_first:
        assert market.decide(liar, altered) == [reason]
        assert market.found() == []
        assert market.decide(BUYER, original) == [Reason.NONE]
    else:
        assert market.decide(BUYER, original) == [Reason.NONE]
        assert market.found() == []
        assert market.decide(liar, altered) == [reason]
    assert market.offenders() == addresses(liar)


def test_both_in_one_block_and_looked_at_late(market: Market) -> None:
    original = signed(terms())
    market.decide(BUYER, altered_by(BUYER, original), original)
    market.decide(BUYER, signed(terms(10, counter=8)))
    assert market.offenders() == addresses(BUYER)


def test_both_parties_of_two_contracts_are_found_though_the_first_was_declined(market: Market) -> None:
    assert market.decide(BUYER, signed(terms(250))) == [Reason.CONDITION_3_BUYER_ENERGY]
    assert market.decide(BUYER, signed(terms(200))) == [Reason.NONE]
    assert market.offenders() == addresses(SELLER, BUYER)


def test_two_that_were_both_declined_count_too(market: Market) -> None:
    market.decide(BUYER, signed(terms(250)))
    market.decide(BUYER, signed(terms(251)))
    assert market.offenders() == addresses(SELLER, BUYER)


def test_one_offer_to_two_buyers_is_the_sellers_offence(market: Market) -> None:
    assert market.decide(BUYER, signed(terms())) == [Reason.NONE]
    assert market.decide(OTHER, signed(terms(buyer=OTHER), buyer=OTHER)) == [Reason.TRADE_OFFER_REUSED]
    assert market.offenders() == addresses(SELLER)


def test_a_contract_that_executed_long_ago_is_found_through_the_state(market: Market) -> None:
    market.decide(BUYER, signed(terms()))
    market.offers = DoubleOffers(market.chain.ledger)
    market.looked_through = market.chain.ledger.height
    market.decide(SELLER, altered_by(SELLER, signed(terms())))
    assert market.offenders() == addresses(SELLER)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("to itself", Reason.TRADE_SAME_PARTY),
        ("to a stranger", Reason.TRADE_UNKNOWN_PARTY),
        ("late", Reason.TRADE_EXPIRED),
    ],
)
def test_a_declined_contract_counts_whatever_it_was_declined_for(market: Market, what: str, reason: Reason) -> None:
    changes = {
        "to itself": {"buyer": COMMUNITY.addresses[SELLER]},
        "to a stranger": {"buyer": COMMUNITY.grid_key.address},
        "late": {"expiry_slot": 0},
    }[what]
    other = replace(terms(), **changes)
    assert market.decide(SELLER, sign_trade(other, seller=KEYS[SELLER], buyer=KEYS[BUYER])) == [reason]
    assert market.decide(BUYER, signed(terms())) == [Reason.NONE]
    assert COMMUNITY.addresses[SELLER] in market.offenders()


def frames(original: SubmitTrade) -> Sequence[SubmitTrade]:
    """Returns contracts of which the seller or the buyer, or neither, signed the terms."""
    more = replace(original.terms, energy_wh=150)
    stranger = replace(more, buyer=COMMUNITY.grid_key.address)
    elsewhere = replace(more, chain=Digest(bytes(32)))
    return (
        replace(original, terms=more),
        sign_trade(more, seller=FORGED, buyer=FORGED),
        replace(original, buyer_signature=FORGED.sign(encode(original.terms))),
        replace(original, seller_signature=FORGED.sign(encode(original.terms))),
        replace(original, terms=replace(more, buyer=COMMUNITY.addresses[SELLER])),
        replace(original, terms=stranger),
        sign_trade(elsewhere, seller=KEYS[SELLER], buyer=KEYS[BUYER]),
        original,
    )


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("is_first", [True, False])
def test_nobody_is_framed_by_what_it_did_not_sign(market: Market, number: int, *, is_first: bool) -> None:
    original = signed(terms())
    lie = frames(original)[number]
    for contract in (lie, original) if is_first else (original, lie):
        market.decide(OTHER, contract) if contract is lie else market.decide(BUYER, contract)
    assert market.found() == []


def test_neither_offers_of_two_sellers_nor_two_offers_of_one_contradict_each_other(market: Market) -> None:
    market.decide(BUYER, signed(terms(250)))
    market.decide(BUYER, signed(terms(100, counter=COUNTER + 1)))
    turned = trade_terms(COMMUNITY, BUYER, SELLER, 250, offer_counter=COUNTER)
    market.decide(BUYER, sign_trade(turned, seller=KEYS[BUYER], buyer=KEYS[SELLER]))
    assert market.found() == []


def test_a_contract_that_both_cancelled_is_no_second_one(market: Market) -> None:
    """Whoever cancels signs something else than the terms."""
    cancelled = signed_cancellation(terms(), seller=KEYS[SELLER], buyer=KEYS[BUYER])
    market.chain.append([market.chain.transaction(BUYER, cancelled)])
    assert market.decide(OTHER, signed(terms(buyer=OTHER), buyer=OTHER)) == [Reason.TRADE_OFFER_REUSED]
    assert market.found() == []


def test_of_old_declined_contracts_only_the_bound_is_remembered(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.evidence.double_offers.REMEMBERED_MAX", 6)
    for counter in range(4):
        assert market.decide(BUYER, signed(terms(counter=counter, expiry_slot=0))) == [Reason.TRADE_EXPIRED]
    assert market.found() == []
    market.decide(BUYER, signed(terms(50, counter=0)))
    assert market.found() == []
    market.decide(BUYER, signed(terms(50, counter=1)))
    assert market.offenders() == addresses(SELLER, BUYER)


def test_without_the_verifiers_memory_the_blocks_tell_the_same(market: Market) -> None:
    market.decide(BUYER, signed(terms(250)))
    market.decide(BUYER, signed(terms(200)))
    market.chain.ledger.close()
    ledger = Ledger.open(market.directory, COMMUNITY.genesis)
    offers = DoubleOffers(ledger)
    found = [one for height in range(1, ledger.height + 1) for one in offers.in_block(Height(height))]
    assert {one.offender for one in found} == addresses(SELLER, BUYER)
    ledger.close()
