"""Proven misconduct: each offence suspends its signer once, and nobody else can be framed with it."""

from typing import Any

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.cryptography import SigningKey
from consensus.eras import FIRST_ERA, EraStart, era_of
from consensus.evidence import Equivocation, Offence, SignedStatement, Statement
from consensus.identifiers import Digest, EraNumber, Height
from consensus.messages import Claim, CommitStatement, ViewChangeStatement, VoteStatement
from contracts.member_records import MemberTerm, Misconduct
from contracts.misconduct import DOUBLE_OFFER, proven
from contracts.receipts import Reason, Receipt, Status
from contracts.state import (
    ERAS_KEY,
    MEMBER_LIST_KEY,
    EraTable,
    MemberList,
    Overlay,
    ScoreCause,
    Table,
    misconduct_key,
)
from contracts.transactions import (
    TRANSACTION_SIZE_BYTES_MAX,
    DoubleOffer,
    ReportMisconduct,
    SetStake,
    TradeTerms,
    cancellation_bytes,
)
from contracts.units import MS_PER_HOUR
from qscore.parameters import DEFAULT_PARAMETERS
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    DictChain,
    forward_terms,
    make_genesis,
    moved_tables,
    raw_transaction,
    seeded_key,
    signed_forward,
    signed_reading,
    signed_trade,
    trade_terms,
)

HOMES = make_genesis(4)
SELLER, BUYER, REPORTER, OTHER = range(4)
A, KEYS = HOMES.addresses, HOMES.node_keys
ALONE: dict[str, Any] = {"parent_voters": (), "parent_leader": None}
ONE_BLOCK, ANOTHER_BLOCK = b"\x01" * 32, b"\x02" * 32
AT: dict[str, Any] = {"domain": HOMES.chain, "height": 5, "slot": 9}


def vote(block: bytes = ONE_BLOCK, **fields: Any) -> VoteStatement:
    return VoteStatement(**{**AT, **fields}, block=block)


def commit(block: bytes = ONE_BLOCK, **fields: Any) -> CommitStatement:
    return CommitStatement(**{**AT, **fields}, block=block)


def view_change(claim: tuple[int, bytes] | None, **fields: Any) -> ViewChangeStatement:
    claimed = None if claim is None else Claim(slot=claim[0], block=claim[1])
    return ViewChangeStatement(**{**AT, **fields}, claim=claimed)


def equivocation(
    first: Statement,
    second: Statement,
    *,
    offender: int = OTHER,
    keys: tuple[SigningKey, SigningKey] | None = None,
    era: EraNumber = FIRST_ERA,
) -> Equivocation:
    """Two statements as evidence against a member; `keys` sign them where it is not the member itself."""
    one, two = (KEYS[offender], KEYS[offender]) if keys is None else keys
    return Equivocation(
        offender=A[offender],
        era=era,
        first=SignedStatement(statement=first, signature=one.sign(encode(first))),
        second=SignedStatement(statement=second, signature=two.sign(encode(second))),
    )


def double_offer(
    first: TradeTerms, second: TradeTerms, *, offender: int, keys: tuple[SigningKey, SigningKey] | None = None
) -> DoubleOffer:
    one, two = (KEYS[offender], KEYS[offender]) if keys is None else keys
    return DoubleOffer(
        offender=A[offender],
        first=first,
        first_signature=one.sign(encode(first)),
        second=second,
        second_signature=two.sign(encode(second)),
    )


def report(chain: DictChain, evidence: Equivocation | DoubleOffer, sender: int = REPORTER, **block: Any) -> Receipt:
    execution = chain.block((sender, ReportMisconduct(evidence=evidence)), **{**ALONE, **block})
    (receipt,) = execution.receipts
    assert (receipt.fault, receipt.parties) == (None, ())
    if receipt.status is Status.DECLINED:
        assert moved_tables(execution) == {Table.ACCOUNT.value}, "the sender's nonce"
    return receipt


# -- what is proven -----------------------------------------------------------------------------------------

PROOFS: list[tuple[Equivocation, Offence]] = [
    (equivocation(vote(), vote(ANOTHER_BLOCK)), Offence.TWO_VOTES),
    (equivocation(commit(), commit(ANOTHER_BLOCK)), Offence.TWO_COMMITS),
    (equivocation(view_change(None), view_change((3, ONE_BLOCK))), Offence.TWO_VIEW_CHANGES),
    (equivocation(view_change((4, ONE_BLOCK)), view_change((3, ONE_BLOCK))), Offence.TWO_VIEW_CHANGES),
    (equivocation(commit(), view_change(None, slot=10)), Offence.COMMIT_DENIED),
    (equivocation(commit(), view_change((8, ONE_BLOCK), slot=10)), Offence.COMMIT_DENIED),
    (equivocation(commit(), view_change((9, ANOTHER_BLOCK), slot=10)), Offence.COMMIT_DENIED),
]


def swapped(evidence: Equivocation) -> Equivocation:
    return replace(evidence, first=evidence.second, second=evidence.first)


def test_every_offence_has_a_proof() -> None:
    assert {offence for _, offence in PROOFS} == set(Offence)


@pytest.mark.parametrize(("evidence", "offence"), PROOFS)
@pytest.mark.parametrize("sender", [REPORTER, OTHER])
def test_an_offence_of_consensus_suspends_whoever_reports_it(
    evidence: Equivocation, offence: Offence, sender: int
) -> None:
    chain = DictChain(HOMES)
    receipt = report(chain, evidence, sender)
    assert receipt.status is Status.EXECUTED
    assert receipt.reference is not None
    record = chain.read(misconduct_key(receipt.reference), Misconduct)
    assert record == Misconduct(offender=A[OTHER], offence=offence.value, transaction=receipt.transaction, height=1)
    score = chain.score(OTHER)
    assert (score.is_suspended, score.cause, score.reference) == (True, ScoreCause.SUSPENSION, receipt.transaction)
    assert not any(chain.score(member).is_suspended for member in (SELLER, BUYER, REPORTER))


@pytest.mark.parametrize(("evidence", "offence"), PROOFS)
def test_the_same_offence_is_known_in_either_order(evidence: Equivocation, offence: Offence) -> None:
    assert offence
    chain = DictChain(HOMES)
    report(chain, evidence)
    for again in (evidence, swapped(evidence)):
        receipt = report(chain, again, SELLER)
        assert (receipt.reason, receipt.detail) == (Reason.EVIDENCE_ALREADY_KNOWN, "on the chain since height 1")
    fresh = DictChain(HOMES)
    assert report(fresh, swapped(evidence)).status is Status.EXECUTED


def test_more_statements_of_one_offence_at_a_height_are_no_further_offence() -> None:
    chain = DictChain(HOMES)
    report(chain, equivocation(vote(), vote(ANOTHER_BLOCK)))
    third = equivocation(vote(slot=11), vote(b"\x03" * 32, slot=11))
    assert report(chain, third).reason is Reason.EVIDENCE_ALREADY_KNOWN
    assert report(chain, equivocation(vote(height=6), vote(ANOTHER_BLOCK, height=6))).status is Status.EXECUTED


FIRST = trade_terms(HOMES, SELLER, BUYER, 300)
DEARER = replace(FIRST, price_micro_per_kwh=300_000)
TO_OTHER = trade_terms(HOMES, SELLER, OTHER, 300)


@pytest.mark.parametrize(
    ("first", "second", "offender"),
    [(FIRST, DEARER, SELLER), (FIRST, DEARER, BUYER), (FIRST, TO_OTHER, SELLER), (TO_OTHER, FIRST, SELLER)],
)
def test_a_double_offer_suspends_its_signer_alone(first: TradeTerms, second: TradeTerms, offender: int) -> None:
    chain = DictChain(HOMES)
    receipt = report(chain, double_offer(first, second, offender=offender))
    assert receipt.status is Status.EXECUTED
    assert receipt.reference is not None
    record = chain.read(misconduct_key(receipt.reference), Misconduct)
    assert (record.offender, record.offence) == (A[offender], DOUBLE_OFFER)
    assert [member for member in range(4) if chain.score(member).is_suspended] == [offender]
    other_way = double_offer(second, first, offender=offender)
    assert report(chain, other_way).reason is Reason.EVIDENCE_ALREADY_KNOWN


def test_seller_and_buyer_of_one_offer_are_two_offenders() -> None:
    chain = DictChain(HOMES)
    for offender in (SELLER, BUYER):
        assert report(chain, double_offer(FIRST, DEARER, offender=offender)).status is Status.EXECUTED


# -- what proves nothing ------------------------------------------------------------------------------------

UNPROVEN: list[Equivocation | DoubleOffer] = [
    equivocation(vote(), vote()),  # the same statement twice
    equivocation(vote(), commit(ANOTHER_BLOCK)),  # a vote and a commit
    equivocation(vote(), vote(ANOTHER_BLOCK, slot=10)),  # of two slots
    equivocation(vote(), vote(ANOTHER_BLOCK, height=6)),  # of two heights
    equivocation(vote(domain=bytes(32)), vote(ANOTHER_BLOCK, domain=bytes(32))),  # of another chain
    equivocation(vote(), vote(ANOTHER_BLOCK, domain=bytes(32))),
    equivocation(commit(), commit()),
    equivocation(commit(), commit(ANOTHER_BLOCK, slot=10)),  # decided later: a member may commit again
    equivocation(view_change(None), view_change(None)),
    equivocation(view_change(None), view_change((9, ONE_BLOCK), slot=10)),
    equivocation(commit(), view_change((9, ONE_BLOCK), slot=10)),  # as it committed
    equivocation(commit(), view_change((10, ANOTHER_BLOCK), slot=11)),  # prepared later
    equivocation(commit(), view_change(None, slot=9)),  # not above the commit's slot
    equivocation(commit(), view_change(None, slot=8)),
    equivocation(commit(), view_change(None, slot=10, height=6)),
    equivocation(vote(), vote(ANOTHER_BLOCK), keys=(KEYS[OTHER], KEYS[REPORTER])),  # the second is the reporter's
    equivocation(vote(), vote(ANOTHER_BLOCK), keys=(KEYS[REPORTER], KEYS[OTHER])),
    equivocation(vote(), vote(ANOTHER_BLOCK), keys=(KEYS[REPORTER], KEYS[REPORTER])),
    equivocation(vote(), vote(ANOTHER_BLOCK), keys=(HOMES.meter_keys[OTHER], HOMES.meter_keys[OTHER])),
    double_offer(FIRST, FIRST, offender=SELLER),  # the same contract twice
    double_offer(FIRST, replace(DEARER, offer_counter=1), offender=SELLER),  # of two offers
    double_offer(FIRST, replace(DEARER, seller=A[OTHER]), offender=BUYER),  # of two sellers
    double_offer(replace(FIRST, chain=bytes(32)), replace(DEARER, chain=bytes(32)), offender=SELLER),
    double_offer(FIRST, replace(DEARER, chain=bytes(32)), offender=SELLER),
    double_offer(FIRST, DEARER, offender=SELLER, keys=(KEYS[SELLER], KEYS[BUYER])),  # the buyer altered it
    double_offer(FIRST, DEARER, offender=BUYER, keys=(KEYS[SELLER], KEYS[SELLER])),  # the seller altered it
    double_offer(FIRST, DEARER, offender=OTHER),  # signed by somebody whose contract it is not
    double_offer(FIRST, TO_OTHER, offender=OTHER),  # only one of them is its contract
    double_offer(FIRST, TO_OTHER, offender=BUYER),
]


@pytest.mark.parametrize("evidence", UNPROVEN)
def test_proves_nothing(evidence: Equivocation | DoubleOffer) -> None:
    chain = DictChain(HOMES)
    receipt = report(chain, evidence)
    assert (receipt.reason, receipt.reference) == (Reason.EVIDENCE_PROVES_NOTHING, None)
    assert evidence.offender.hex() in receipt.detail


def test_signatures_do_not_serve_other_statements() -> None:
    """A vote's signature under a commit, a cancellation's under a contract: each covers what it names."""
    signed_votes = equivocation(vote(), vote(ANOTHER_BLOCK))
    relabelled = replace(
        signed_votes,
        first=replace(signed_votes.first, statement=commit()),
        second=replace(signed_votes.second, statement=commit(ANOTHER_BLOCK)),
    )
    genuine = double_offer(FIRST, DEARER, offender=SELLER)
    borrowed = replace(genuine, second_signature=KEYS[SELLER].sign(cancellation_bytes(DEARER)))
    chain = DictChain(HOMES)
    for evidence in (relabelled, borrowed):
        assert report(chain, evidence).reason is Reason.EVIDENCE_PROVES_NOTHING


def test_a_stranger_is_no_offender() -> None:
    stranger = seeded_key("stranger", 0)
    for key in (stranger, HOMES.issuer_key):
        evidence = replace(equivocation(vote(), vote(ANOTHER_BLOCK), keys=(key, key)), offender=key.address)
        assert report(DictChain(HOMES), evidence).reason is Reason.EVIDENCE_UNKNOWN_OFFENDER


# -- what a suspension takes --------------------------------------------------------------------------------


def suspended(member: int = SELLER, stake: int = 0) -> DictChain:
    """A chain on which a member is suspended, whose trade with the buyer would be good."""
    chain = DictChain(HOMES)
    chain.block((SELLER, signed_reading(HOMES, SELLER, 500)), (BUYER, signed_reading(HOMES, BUYER, -500)))
    chain.block((member, SetStake(staked=stake)), **ALONE)
    receipt = report(chain, equivocation(vote(), vote(ANOTHER_BLOCK), offender=member))
    assert receipt.status is Status.EXECUTED
    return chain


@pytest.mark.parametrize(("member", "name"), [(SELLER, "seller"), (BUYER, "buyer")])
def test_a_suspended_member_trades_no_more(member: int, name: str) -> None:
    chain = suspended(member)
    later = signed_forward(HOMES, SELLER, BUYER, 10, delivery_start_ms=FIRST_INTERVAL_MS + MS_PER_HOUR)
    for contract in (signed_trade(HOMES, SELLER, BUYER, 10), later):
        (receipt,) = chain.block((BUYER, contract), **ALONE).receipts
        assert (receipt.reason, receipt.fault) == (Reason.TRADE_MEMBER_SUSPENDED, None)
        assert receipt.detail == f"the {name} is suspended for proven misconduct"


def test_a_suspended_member_stakes_no_more() -> None:
    (receipt,) = suspended().block((SELLER, SetStake(staked=0))).receipts
    assert receipt.reason is Reason.STAKE_SUSPENDED


def test_a_suspended_member_is_not_rewarded_for_service() -> None:
    chain = suspended(OTHER)
    chain.block((BUYER, signed_trade(HOMES, SELLER, BUYER, 10)), **ALONE)
    chain.block(parent_leader=A[OTHER], parent_voters=(A[OTHER], A[REPORTER]))
    assert chain.score(OTHER).value == 1_000_000
    assert chain.score(REPORTER).value > 1_000_000


def test_its_pending_promises_end_as_agreed_and_only_the_other_is_rewarded() -> None:
    chain = DictChain(HOMES)
    chain.block((BUYER, signed_forward(HOMES, SELLER, BUYER, 10)), **ALONE)
    report(chain, equivocation(vote(), vote(ANOTHER_BLOCK), offender=SELLER))
    readings = ((SELLER, signed_reading(HOMES, SELLER, 10)), (BUYER, signed_reading(HOMES, BUYER, -10)))
    chain.block(*readings, **ALONE)
    assert chain.totals().trades_completed == 1
    assert (chain.score(SELLER).value, chain.score(BUYER).value) == (1_000_000, 1_018_000)


@pytest.mark.parametrize(
    ("stake", "value", "falls"),
    [(0, 1_000_000, 0), (300_000, 700_000, 0), (800_001, 199_999, 1), (1_000_000, DEFAULT_PARAMETERS.floor, 1)],
)
def test_the_stake_is_lost(stake: int, value: int, falls: int) -> None:
    score = suspended(stake=stake).score(SELLER)
    assert (score.value, score.staked, score.falls) == (value, 0, falls)
    assert (score.way_back is None) is (falls == 0)


# -- form ---------------------------------------------------------------------------------------------------


def test_the_largest_report_fits_a_transaction() -> None:
    packets = [bytes([number]) * 32 for number in range(16)]
    first = trade_terms(HOMES, SELLER, BUYER, 10**12, packets=packets, offer_counter=2**63 - 1)
    evidence = double_offer(first, replace(first, price_micro_per_kwh=10**12), offender=SELLER)
    raw = raw_transaction(HOMES, REPORTER, ReportMisconduct(evidence=evidence), nonce=2**63 - 1)
    assert len(raw) <= TRANSACTION_SIZE_BYTES_MAX


@pytest.mark.parametrize("evidence", [PROOFS[0][0], PROOFS[4][0], double_offer(FIRST, TO_OTHER, offender=SELLER)])
def test_reports_survive_the_codec(evidence: Equivocation | DoubleOffer) -> None:
    action = ReportMisconduct(evidence=evidence)
    assert decode(encode(action), ReportMisconduct) == action


def test_a_forward_and_a_spot_contract_under_one_offer_id_are_a_double_offer() -> None:
    evidence = double_offer(FIRST, forward_terms(HOMES, SELLER, BUYER, 300), offender=SELLER)
    assert report(DictChain(HOMES), evidence).status is Status.EXECUTED


# -- keys and eras of the height ------------------------------------------------------------------------------

NEW_KEY = seeded_key("another", 0)


def with_terms(*terms: MemberTerm) -> DictChain:
    """A chain whose list has these terms in the place of the last member's one."""
    chain = DictChain(HOMES)
    members = chain.read(MEMBER_LIST_KEY, MemberList)
    chain.state[MEMBER_LIST_KEY] = encode(replace(members, terms=(*members.terms[:OTHER], *terms)))
    return chain


def term(key: SigningKey, first: int, last: int | None) -> MemberTerm:
    last_height = None if last is None else Height(last)
    return MemberTerm(address=A[OTHER], node_key=key.public_key, first_height=Height(first), last_height=last_height)


@pytest.mark.parametrize(
    ("terms", "key", "holds"),
    [
        ((term(KEYS[OTHER], 1, 5), term(NEW_KEY, 6, None)), KEYS[OTHER], True),  # its key was rotated since
        ((term(KEYS[OTHER], 1, 5), term(NEW_KEY, 6, None)), NEW_KEY, False),
        ((term(KEYS[OTHER], 1, 4), term(NEW_KEY, 5, None)), KEYS[OTHER], False),
        ((term(KEYS[OTHER], 1, 4), term(NEW_KEY, 5, None)), NEW_KEY, True),
        ((term(KEYS[OTHER], 1, 5),), KEYS[OTHER], True),  # it left since
        ((term(KEYS[OTHER], 1, 4),), KEYS[OTHER], False),  # it was no member
        ((term(KEYS[OTHER], 6, None),), KEYS[OTHER], False),
    ],
)
def test_a_statement_counts_under_the_key_that_the_member_had_at_its_height(
    terms: tuple[MemberTerm, ...], key: SigningKey, holds: bool
) -> None:
    chain = with_terms(*terms)
    evidence = equivocation(vote(), vote(ANOTHER_BLOCK), keys=(key, key))
    assert (proven(evidence, Overlay(chain.state), HOMES.chain) is not None) is holds


def test_statements_of_an_era_count_at_its_heights_only() -> None:
    chain = DictChain(HOMES)
    start = EraStart(number=EraNumber(1), plan=Digest(bytes(32)), base=Height(5))
    chain.state[ERAS_KEY] = encode(EraTable(starts=(start,)))
    domain = era_of(HOMES.chain, start).domain

    def found(height: int, era: int, **fields: Any) -> str | None:
        at = {"height": height, **fields}
        evidence = equivocation(vote(**at), vote(ANOTHER_BLOCK, **at), era=EraNumber(era))
        return proven(evidence, Overlay(chain.state), HOMES.chain)

    assert found(5, 0) == found(6, 1, domain=domain) == "two_votes"
    assert found(6, 0) is None  # the old era's height 6 is not the chain's
    assert found(5, 1, domain=domain) is None
    assert found(6, 1) is None
    assert found(6, 0, domain=domain) is None
