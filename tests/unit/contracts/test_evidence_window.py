"""How long evidence counts: three days of slots, never less, and under which keys."""

from random import Random

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.eras import FIRST_ERA
from consensus.evidence import Equivocation, SignedStatement
from consensus.identifiers import Domain, Height, Slot
from consensus.messages import VoteStatement
from contracts.evidence_window import MARKS, oldest_height
from contracts.genesis import ATTENDANCE_VERSION
from contracts.member_records import HeightMarks
from contracts.receipts import Reason
from contracts.rule_records import Rules
from contracts.stakes import lock_slots
from contracts.state import HEIGHT_MARKS_KEY, RULES_KEY, Overlay, score_key
from contracts.transactions import DoubleOffer, ReportMisconduct
from tests.support.contracts import Community, DictChain, make_genesis, seeded_key, trade_terms
from tests.support.vouchers import rotate_to

HOMES = make_genesis(5)
WINDOW = lock_slots(HOMES.genesis)
STEP = WINDOW // MARKS
OFFENDER, REPORTER = 2, 0
OLD_KEY, NEW_KEY = HOMES.node_keys[OFFENDER], seeded_key("next", OFFENDER)


def two_votes(height: int, *, key: SigningKey | None = None, homes: Community = HOMES) -> ReportMisconduct:
    signing = homes.node_keys[OFFENDER] if key is None else key
    statements = (
        VoteStatement(domain=Domain(homes.chain), height=Height(height), slot=Slot(3), block=bytes([block]) * 32)
        for block in (1, 2)
    )
    first, second = (SignedStatement(statement=one, signature=signing.sign(encode(one))) for one in statements)
    offender = homes.addresses[OFFENDER]
    return ReportMisconduct(evidence=Equivocation(offender=offender, era=FIRST_ERA, first=first, second=second))


def two_offers(key: SigningKey) -> ReportMisconduct:
    first, second = (trade_terms(HOMES, OFFENDER, 3, energy) for energy in (300, 301))
    evidence = DoubleOffer(
        offender=HOMES.addresses[OFFENDER],
        first=first,
        first_signature=key.sign(encode(first)),
        second=second,
        second_signature=key.sign(encode(second)),
    )
    return ReportMisconduct(evidence=evidence)


def reason_of(chain: DictChain, action: ReportMisconduct, *, slot: int) -> Reason:
    (receipt,) = chain.block((REPORTER, action), slot=slot).receipts
    return receipt.reason


def go_on(chain: DictChain, until: int) -> None:
    """Blocks come, a step apart and a slot."""
    while chain.slot < until:
        chain.block(slot=min(until, chain.slot + STEP + 1))


def oldest(chain: DictChain) -> int:
    return oldest_height(Overlay(chain.state))


def test_a_proof_of_the_last_three_days_takes_the_stake_and_an_older_one_nothing() -> None:
    for later, expected in ((WINDOW, Reason.NONE), (WINDOW + 2 * (STEP + 1), Reason.EVIDENCE_TOO_OLD)):
        chain = DictChain(HOMES)
        chain.block(slot=1)
        chain.block(slot=10)
        height, slot = chain.height, chain.slot
        chain.block(slot=11 + STEP)
        chain.state[score_key(HOMES.addresses[OFFENDER])] = encode(replace(chain.score(OFFENDER), staked=400_000))
        go_on(chain, slot + later - 1)
        assert reason_of(chain, two_votes(height), slot=slot + later) is expected
        is_taken = expected is Reason.NONE
        assert chain.score(OFFENDER).is_suspended is is_taken
        assert chain.score(OFFENDER).value == (600_000 if is_taken else 1_000_000)


@pytest.mark.parametrize("seed", range(12))
def test_no_height_of_the_last_three_days_is_too_old_and_none_much_older_counts(seed: int) -> None:
    random, chain = Random(seed), DictChain(HOMES)
    slots = [0]
    for _ in range(400):
        chain.block(slot=chain.slot + random.choice((1, 7, STEP // 3, STEP, 2 * STEP)))
        slots.append(chain.slot)
        first = oldest(chain)
        assert first == 0 or slots[first] < chain.slot - WINDOW, "three days at least"
        if chain.slot > 3 * WINDOW:
            assert slots[first] >= chain.slot - WINDOW - 2 * (STEP + 1) - 2 * STEP, "a step, and a pause, more"
        assert len(chain.read(HEIGHT_MARKS_KEY, HeightMarks).marks) <= MARKS + 3
    assert oldest(chain) > 0


def test_a_long_pause_makes_nothing_too_old_that_was_not() -> None:
    chain = DictChain(HOMES)
    chain.block(slot=1)
    chain.block(slot=2 + STEP)
    height = chain.height + 1
    chain.block(slot=chain.slot + STEP + 1)
    chain.block(slot=chain.slot + 9 * WINDOW)
    assert reason_of(chain, two_votes(height), slot=chain.slot + 1) is Reason.NONE


def test_who_steals_a_key_that_was_replaced_long_ago_harms_nobody() -> None:
    """It signs votes for heights at which that key voted, and contracts, which name no height."""
    chain = DictChain(HOMES)
    chain.block((OFFENDER, rotate_to(HOMES, OFFENDER, NEW_KEY)), slot=1)
    go_on(chain, WINDOW)
    for forged in (two_votes(2, key=OLD_KEY), two_offers(OLD_KEY)):
        young = DictChain(HOMES)
        young.state, young.height, young.slot = dict(chain.state), chain.height, chain.slot
        young._nonce = chain._nonce
        assert reason_of(young, forged, slot=chain.slot + 1) is Reason.NONE, "for three days it may be the owner"
    go_on(chain, chain.slot + 3 * (STEP + 1))
    for forged in (two_votes(2, key=OLD_KEY), two_offers(OLD_KEY)):
        assert reason_of(chain, forged, slot=chain.slot + 1) is Reason.EVIDENCE_TOO_OLD
    assert not chain.score(OFFENDER).is_suspended
    assert reason_of(chain, two_offers(NEW_KEY), slot=chain.slot + 1) is Reason.NONE


def test_contracts_under_the_present_key_count_for_ever() -> None:
    chain = DictChain(HOMES)
    chain.block(slot=1)
    go_on(chain, 2 * WINDOW)
    assert reason_of(chain, two_offers(OLD_KEY), slot=chain.slot + 1) is Reason.NONE


def test_what_proves_nothing_is_told_as_that_however_old() -> None:
    chain = DictChain(HOMES)
    chain.block(slot=1)
    go_on(chain, 2 * WINDOW)
    forged = two_votes(1, key=seeded_key("stranger", 1))
    assert reason_of(chain, forged, slot=chain.slot + 1) is Reason.EVIDENCE_PROVES_NOTHING


def test_rules_from_before_take_evidence_of_any_age() -> None:
    homes = make_genesis(5, protocol_version=ATTENDANCE_VERSION - 1)
    chain = DictChain(homes)
    chain.block(slot=1)
    go_on(chain, 3 * WINDOW)
    assert HEIGHT_MARKS_KEY not in chain.state
    assert reason_of(chain, two_votes(1, homes=homes), slot=chain.slot + 1) is Reason.NONE


def test_what_happened_before_marks_were_kept_counts_for_three_days_from_the_first_one_on() -> None:
    homes = make_genesis(5, protocol_version=ATTENDANCE_VERSION - 1)
    for later, expected in ((WINDOW, Reason.NONE), (WINDOW + 2 * (STEP + 1), Reason.EVIDENCE_TOO_OLD)):
        chain = DictChain(homes)
        for _ in range(5):
            chain.block()
        chain.state[RULES_KEY] = encode(replace(chain.read(RULES_KEY, Rules), version=ATTENDANCE_VERSION))
        chain.block(slot=100)
        go_on(chain, 100 + later - 1)
        assert reason_of(chain, two_votes(2, homes=homes), slot=100 + later) is expected
