"""The kinds of contracts: each is a record of its own, and a signature under one is none under another."""

import pytest
from msgspec.structs import replace

from consensus.codec import DecodeError, decode, encode
from consensus.messages import CommitStatement, ViewChangeStatement, VoteStatement
from contracts.receipts import Reason
from contracts.state import TradeKind
from contracts.transactions import (
    Cancellation,
    ContractTerms,
    ForwardTerms,
    Reading,
    SpotTerms,
    SubmitTrade,
    TradeTerms,
    contract_kind,
    trade_id,
)
from contracts.units import Milliseconds
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    DictChain,
    forward_terms,
    make_genesis,
    sign_trade,
    signed_reading,
    trade_terms,
)

HOMES = make_genesis(3)
SELLER, BUYER = 0, 1
SPOT = trade_terms(HOMES, SELLER, BUYER, 100)
FORWARD = forward_terms(HOMES, SELLER, BUYER, 100)
KEYS = HOMES.node_keys
SPOT_FIELDS, FORWARD_FIELDS = (decode(encode(terms), tuple)[1:] for terms in (SPOT, FORWARD))


def test_the_two_differ_in_nothing_that_both_say() -> None:
    assert all(getattr(SPOT, name) == getattr(FORWARD, name) for name in ContractTerms.__struct_fields__)


def test_a_contract_has_the_name_and_the_kind_of_its_record() -> None:
    assert [contract_kind(terms) for terms in (SPOT, FORWARD)] == [TradeKind.SPOT, TradeKind.FORWARD]
    assert {kind.__struct_config__.tag for kind in TradeTerms.__args__} == {kind.value for kind in TradeKind}
    assert trade_id(SPOT) != trade_id(FORWARD)


def test_every_signed_statement_of_a_member_has_a_tag_of_its_own() -> None:
    signed = [
        *TradeTerms.__args__, Cancellation, Reading, VoteStatement, CommitStatement, ViewChangeStatement,
    ]  # fmt: skip
    tags = [kind.__struct_config__.tag for kind in signed]
    assert None not in tags
    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize(("signed", "submitted"), [(SPOT, FORWARD), (FORWARD, SPOT)])
def test_signatures_under_one_kind_do_not_hold_for_the_other(signed: TradeTerms, submitted: TradeTerms) -> None:
    chain = DictChain(HOMES)
    if submitted is SPOT:
        chain.block((SELLER, signed_reading(HOMES, SELLER, 100)), (BUYER, signed_reading(HOMES, BUYER, -100)))
    contract = replace(sign_trade(signed, seller=KEYS[SELLER], buyer=KEYS[BUYER]), terms=submitted)
    (receipt,) = chain.block((BUYER, contract)).receipts
    assert (receipt.reason, receipt.fault) == (Reason.TRADE_SELLER_SIGNATURE, HOMES.addresses[BUYER])


@pytest.mark.parametrize("terms", [SPOT, FORWARD])
def test_both_survive_the_codec_as_what_they_are(terms: TradeTerms) -> None:
    contract = sign_trade(terms, seller=KEYS[SELLER], buyer=KEYS[BUYER])
    assert type(decode(encode(contract), SubmitTrade).terms) is type(terms)


@pytest.mark.parametrize(
    "fields",
    [
        ("forward", *SPOT_FIELDS),
        ("spot", *FORWARD_FIELDS),
        ("auction", *SPOT_FIELDS),
        ("spot", *SPOT_FIELDS, FIRST_INTERVAL_MS),
        SPOT_FIELDS,
    ],
)
def test_a_mixture_is_refused(fields: tuple[object, ...]) -> None:
    with pytest.raises(DecodeError):
        decode(encode(fields), TradeTerms)


def test_the_window_is_a_whole_time_of_a_meter() -> None:
    for start_ms in (-1, 4_102_444_800_001):
        with pytest.raises(DecodeError):
            decode(encode(replace(FORWARD, delivery_start_ms=Milliseconds(start_ms))), ForwardTerms)


def test_packets_are_bounded() -> None:
    with pytest.raises(DecodeError):
        decode(encode(replace(SPOT, packets=SPOT.packets * 17)), SpotTerms)
