"""Members that exchange keys: from which block the new one acts, from which height it votes, and what is no key."""

import itertools
import random
from typing import Any

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import SigningKey, address_of
from consensus.eras import FIRST_ERA
from consensus.evidence import Equivocation, SignedStatement
from consensus.identifiers import Domain, Height, Slot
from consensus.messages import VoteStatement
from contracts.genesis import MembershipParameters
from contracts.key_changes import FIRST_PAUSE_MS, PAUSE_DOUBLINGS_MAX, next_rotation_slot
from contracts.member_changes import Hindrance, prospect
from contracts.member_records import KeyOwner, Leave, MemberQueue, Rotate
from contracts.receipts import Reason, Status
from contracts.run import EraBeginning
from contracts.state import (
    MEMBER_LIST_KEY,
    MEMBER_QUEUE_KEY,
    Member,
    MemberList,
    Overlay,
    member_key,
    used_key,
)
from contracts.transactions import (
    Action,
    DoubleOffer,
    KeyUse,
    ReplaceMeter,
    ReportMisconduct,
    RotateKey,
    SetLeaving,
    possession_bytes,
)
from tests.support.contracts import (
    Community,
    DictChain,
    make_genesis,
    resign,
    seeded_key,
    sign_trade,
    signed_cancellation,
    signed_forward,
    signed_reading,
    trade_terms,
    transfer,
)
from tests.support.vouchers import replace_by, rotate_to

HOMES = make_genesis(
    6,
    membership=MembershipParameters(members_min=4, seen_window_slots=16, removal_wait_slots=50, verifier_keys=()),
    slot_duration_ms=60_000,
)
DAY_SLOTS = FIRST_PAUSE_MS // 60_000


def new_key(number: int, *, of: int | None = None) -> SigningKey:
    """A key that nobody has; with `of` as that member's."""
    key = seeded_key("next", number)
    return key if of is None else key.of_member(HOMES.addresses[of])


def rotate(member: int, number: int | None = None) -> RotateKey:
    return rotate_to(HOMES, member, new_key(member if number is None else number))


def new_meter(member: int, number: int = 0, **vouchers: Any) -> ReplaceMeter:
    return replace_by(HOMES, member, seeded_key("next-meter", number), **vouchers)


def list_of(chain: DictChain) -> MemberList:
    return chain.read(MEMBER_LIST_KEY, MemberList)


def queue_of(chain: DictChain) -> MemberQueue:
    return chain.read(MEMBER_QUEUE_KEY, MemberQueue)


def member_of(chain: DictChain, member: int) -> Member:
    return chain.read(member_key(HOMES.addresses[member]), Member)


def key_at(chain: DictChain, member: int, height: int) -> bytes | None:
    return list_of(chain).key_at(HOMES.addresses[member], Height(height))


def reason_of(chain: DictChain, sender: int | SigningKey, action: Action) -> Reason:
    """Executes it alone in a block."""
    (receipt,) = chain.block((sender, action)).receipts
    assert (receipt.status is Status.EXECUTED) == (receipt.reason is Reason.NONE)
    return receipt.reason


# --- the node key ----------------------------------------------------------------------------------------------


def test_a_new_key_acts_from_the_next_block_on_and_votes_two_heights_later() -> None:
    chain = DictChain(HOMES)
    chain.block()
    assert reason_of(chain, 2, rotate(2)) is Reason.NONE
    old, new = HOMES.node_keys[2].public_key, new_key(2).public_key
    assert member_of(chain, 2).node_key == new
    assert [key_at(chain, 2, height) for height in (1, 2, 3, 4, 5)] == [old, old, old, new, new]
    assert queue_of(chain) == MemberQueue(
        waiting=(), last=Rotate(address=HOMES.addresses[2], node_key=new), last_height=Height(2), revoked_slot=None
    )


def test_it_keeps_its_place_and_its_name() -> None:
    chain = DictChain(HOMES)
    chain.block((2, rotate(2)))
    before, after = (list_of(chain).at(Height(height)) for height in (2, 3))
    assert [address for address, _ in after] == [address for address, _ in before] == list(HOMES.addresses)
    assert [place for place in range(6) if before[place] != after[place]] == [2]
    assert address_of(after[2][1]) != after[2][0], "the hash of the first key is a name from then on"


def test_it_goes_on_with_wallet_score_and_nonce() -> None:
    chain = DictChain(HOMES)
    chain.block((2, transfer(HOMES, 1, 5)))
    wallet, score = chain.account(2), chain.score(2)
    chain.block((2, rotate(2)))
    assert replace(chain.account(2), nonce=wallet.nonce) == wallet
    assert chain.score(2) == score
    chain.block((new_key(2, of=2), transfer(HOMES, 1, 5)))
    assert chain.account(2).available_micro == wallet.available_micro - 5
    assert chain.account(2).nonce > wallet.nonce


def test_two_members_rotate_one_after_the_other_and_before_who_leaves() -> None:
    chain = DictChain(HOMES)
    chain.block((5, SetLeaving(leaving=True)), (1, rotate(1)), (3, rotate(3)))
    third = Rotate(address=HOMES.addresses[3], node_key=new_key(3).public_key)
    assert queue_of(chain).waiting == (third, Leave(address=HOMES.addresses[5]))
    for _ in range(6):
        chain.block()
    changes = [list_of(chain).at(Height(height)) != list_of(chain).at(Height(height - 1)) for height in range(2, 10)]
    assert changes == [False, True, False, True, False, True, False, False], "none while one is pending"
    assert key_at(chain, 3, 5) == new_key(3).public_key
    assert HOMES.addresses[5] not in dict(list_of(chain).at(Height(7)))


def test_rotations_take_their_turns() -> None:
    """Else members that go on asking could hold an earlier one up."""
    chain = DictChain(HOMES)
    chain.block((4, rotate(4)), (1, rotate(1)), (3, rotate(3)))
    waiting = [change.address for change in queue_of(chain).waiting]
    assert waiting == [HOMES.addresses[1], HOMES.addresses[3]]


def test_while_its_turn_has_not_come_nothing_changes() -> None:
    chain = DictChain(HOMES)
    chain.block((1, rotate(1)), (3, rotate(3)))
    assert member_of(chain, 3).node_key == HOMES.node_keys[3].public_key == key_at(chain, 3, 4)
    found = prospect(
        Overlay(chain.state), queue_of(chain).waiting[0], height=Height(2), slot=Slot(2), genesis=HOMES.genesis
    )
    assert (found.hindrance, found.members, found.members_after) == (Hindrance.ONE_IS_PENDING, 6, 6)


def test_a_rotation_waits_neither_for_promises_nor_for_debts_nor_for_who_is_there() -> None:
    """It takes nobody away: a stolen key must not stay because its owner has promised something."""
    chain = DictChain(HOMES)
    chain.block((2, signed_forward(HOMES, 2, 3, 100)))
    chain.block((2, rotate(2)), slot=100, parent_voters=())
    assert queue_of(chain).waiting == ()
    assert chain.read(member_key(HOMES.addresses[2]), Member).node_key == new_key(2).public_key


@pytest.mark.parametrize("sender", [HOMES.issuer_key, HOMES.grid_key])
def test_only_members_exchange_keys(sender: SigningKey) -> None:
    chain = DictChain(HOMES)
    for action in (rotate(0), new_meter(0)):
        assert reason_of(chain, sender, action) is Reason.KEY_NOT_MEMBER
    assert used_key(new_key(0).public_key) not in chain.state


def test_who_is_about_to_leave_exchanges_no_key() -> None:
    chain = DictChain(HOMES)
    chain.block((2, SetLeaving(leaving=True)))
    assert reason_of(chain, 2, rotate(2)) is Reason.KEY_NOT_MEMBER


USED = {
    "its own": HOMES.node_keys[2],
    "another member's": HOMES.node_keys[0],
    "its own meter's": HOMES.meter_keys[2],
    "another meter's": HOMES.meter_keys[0],
    "the authority's": HOMES.authority_key,
    "the issuer's": HOMES.issuer_key,
    "the grid account's": HOMES.grid_key,
}


@pytest.mark.parametrize("whose", USED)
def test_a_key_that_is_somebodys_is_no_new_key(whose: str) -> None:
    chain, key = DictChain(HOMES), USED[whose]
    for action in (rotate_to(HOMES, 2, key), replace_by(HOMES, 2, key)):
        assert reason_of(chain, 2, action) is Reason.KEY_USED_BEFORE
    assert member_of(chain, 2) == member_of(DictChain(HOMES), 2)


def test_no_key_that_ever_was_anybodys_comes_back() -> None:
    chain = DictChain(HOMES)
    chain.block((2, rotate(2)), (4, new_meter(4)), (5, SetLeaving(leaving=True)))
    for _ in range(4):
        chain.block()
    gone = (HOMES.node_keys[2], HOMES.meter_keys[4], HOMES.node_keys[5])
    for key in (*gone, new_key(2), seeded_key("next-meter", 0)):
        chain.block()
        assert reason_of(chain, 3, rotate_to(HOMES, 3, key)) is Reason.KEY_USED_BEFORE
    assert chain.read(used_key(HOMES.node_keys[2].public_key), KeyOwner).owner == HOMES.addresses[2]


@pytest.mark.parametrize(
    ("owner", "use", "signer", "chain_name"),
    [
        (2, KeyUse.NODE, 8, None),  # by a key that is not the new one
        (1, KeyUse.NODE, 7, None),  # for another member: what it showed there must not serve here
        (2, KeyUse.METER, 7, None),  # as a meter
        (2, KeyUse.NODE, 7, bytes(32)),  # on another chain
    ],
)
def test_the_new_key_itself_says_whose_it_is(owner: int, use: KeyUse, signer: int, chain_name: bytes | None) -> None:
    chain, key = DictChain(HOMES), new_key(7)
    signed = possession_bytes(chain_name or HOMES.chain, HOMES.addresses[owner], use, key.public_key)  # type: ignore[arg-type]
    action = replace(rotate(2, 7), possession=new_key(signer).sign(signed))
    assert reason_of(chain, 2, action) is Reason.KEY_NO_POSSESSION
    assert used_key(key.public_key) not in chain.state


def test_the_pauses_between_rotations_grow_up_to_a_bound() -> None:
    chain = DictChain(HOMES)
    chain.block((2, rotate(2, 100)), slot=5)
    allowed, sender = [5], new_key(100, of=2)
    for number in range(101, 110):
        first = next_rotation_slot(member_of(chain, 2), HOMES.genesis)
        (receipt,) = chain.block((sender, rotate(2, number)), slot=first - 1).receipts
        assert receipt.reason is Reason.KEY_TOO_SOON
        (receipt,) = chain.block((sender, rotate(2, number)), slot=first).receipts
        assert receipt.status is Status.EXECUTED
        sender = new_key(number, of=2)
        allowed.append(first)
    pauses = [(later - earlier) // DAY_SLOTS for earlier, later in itertools.pairwise(allowed)]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 64, 64]
    assert 2**PAUSE_DOUBLINGS_MAX == 64


def test_a_rotation_too_soon_is_declined_and_changes_nothing() -> None:
    chain = DictChain(HOMES)
    chain.block((2, rotate(2)), slot=5)
    for _ in range(3):
        chain.block()
    before = (member_of(chain, 2), list_of(chain), queue_of(chain))
    (receipt,) = chain.block((new_key(2, of=2), rotate(2, 9)), slot=5 + DAY_SLOTS - 1).receipts
    assert receipt.reason is Reason.KEY_TOO_SOON
    assert str(5 + DAY_SLOTS) in receipt.detail, "it says from when on"
    assert (member_of(chain, 2), list_of(chain), queue_of(chain)) == before
    assert reason_of(chain, new_key(2, of=2), rotate(2, 9)) is Reason.NONE


def test_a_thief_cannot_ask_for_another_key_instead() -> None:
    """Not in the same block either, behind the owner's word."""
    chain = DictChain(HOMES)
    receipts = chain.block((1, rotate(1)), (2, rotate(2)), (2, rotate(2, 9))).receipts
    assert [receipt.reason for receipt in receipts] == [Reason.NONE, Reason.NONE, Reason.KEY_TOO_SOON]
    assert reason_of(chain, 2, rotate(2, 9)) is Reason.KEY_TOO_SOON, "nor while the owner's word waits"
    chain.block()
    assert member_of(chain, 2).node_key == new_key(2).public_key


# --- what was signed under the old key ------------------------------------------------------------------------


def sold(chain: DictChain, **overrides: object) -> object:
    """Two members can trade 300 Wh: 2 sells to 3."""
    chain.block((2, signed_reading(HOMES, 2, 500)), (3, signed_reading(HOMES, 3, -500)))
    return trade_terms(HOMES, 2, 3, 300, **overrides)


def test_a_contract_counts_under_the_new_key_only() -> None:
    chain = DictChain(HOMES)
    terms = sold(chain)
    chain.block((2, rotate(2)))
    contract = sign_trade(terms, seller=HOMES.node_keys[2], buyer=HOMES.node_keys[3])
    (receipt,) = chain.block((3, contract)).receipts
    assert receipt.reason is Reason.TRADE_SELLER_SIGNATURE
    assert reason_of(chain, 3, resign(contract, seller=new_key(2))) is Reason.NONE


@pytest.mark.parametrize(("rotating", "submitter"), [(2, 3), (3, 2)])
def test_a_contract_signed_before_a_rotation_is_nobodys_fault(rotating: int, submitter: int) -> None:
    """Else a seller could exchange its key to have its buyers punished for bringing its own offers."""
    chain = DictChain(HOMES)
    contract = sign_trade(sold(chain), seller=HOMES.node_keys[2], buyer=HOMES.node_keys[3])
    chain.block((rotating, rotate(rotating)))
    scores = [chain.score(member) for member in (2, 3)]
    (receipt,) = chain.block((submitter, contract), parent_leader=None, parent_voters=()).receipts
    assert (receipt.status, receipt.fault) == (Status.DECLINED, None)
    assert [chain.score(member) for member in (2, 3)] == scores


def test_what_nobody_of_the_member_signed_is_still_its_submitters_fault() -> None:
    chain = DictChain(HOMES)
    contract = sign_trade(sold(chain), seller=new_key(50), buyer=HOMES.node_keys[3])
    chain.block((2, rotate(2)))
    (receipt,) = chain.block((3, contract)).receipts
    assert receipt.fault == HOMES.addresses[3]


def test_a_cancellation_counts_under_the_new_key_only() -> None:
    chain = DictChain(HOMES)
    terms = sold(chain)
    chain.block((2, rotate(2)))
    old = signed_cancellation(terms, seller=HOMES.node_keys[2], buyer=HOMES.node_keys[3])
    assert reason_of(chain, 3, old) is Reason.CANCEL_SELLER_SIGNATURE
    new = signed_cancellation(terms, seller=new_key(2), buyer=HOMES.node_keys[3])
    assert reason_of(chain, 3, new) is Reason.NONE


def equivocation(member: int, key: SigningKey, height: int) -> ReportMisconduct:
    """Two votes of one slot for different blocks."""
    statements = tuple(
        VoteStatement(domain=Domain(HOMES.chain), height=Height(height), slot=Slot(3), block=bytes([number]) * 32)
        for number in (1, 2)
    )
    first, second = (SignedStatement(statement=one, signature=key.sign(encode(one))) for one in statements)
    return ReportMisconduct(
        evidence=Equivocation(offender=HOMES.addresses[member], era=FIRST_ERA, first=first, second=second)
    )


@pytest.mark.parametrize(
    ("height", "old", "new"),
    [
        (1, True, False),
        (2, True, False),
        (3, False, True),
        (4, False, True),
    ],
)
def test_evidence_counts_under_the_key_of_its_height(height: int, old: bool, new: bool) -> None:
    """Rotated by block 1: from height 3 on the new key votes."""
    for key, proves in ((HOMES.node_keys[2], old), (new_key(2), new)):
        chain = DictChain(HOMES)
        chain.block((2, rotate(2)))
        for _ in range(4):
            chain.block()
        expected = Reason.NONE if proves else Reason.EVIDENCE_PROVES_NOTHING
        assert reason_of(chain, 0, equivocation(2, key, height)) is expected
        assert chain.score(2).is_suspended is proves


@pytest.mark.parametrize(("first", "second"), [(False, False), (False, True), (True, True)])
def test_a_double_offer_is_proven_whichever_of_its_keys_signed(first: bool, second: bool) -> None:
    """Else another key were a way out of what was promised twice."""
    chain = DictChain(HOMES)
    chain.block((2, rotate(2)))
    keys = (HOMES.node_keys[2], new_key(2))
    terms = [trade_terms(HOMES, 2, 3, energy) for energy in (300, 301)]
    signatures = [keys[is_new].sign(encode(one)) for one, is_new in zip(terms, (first, second), strict=True)]
    evidence = DoubleOffer(
        offender=HOMES.addresses[2],
        first=terms[0],
        first_signature=signatures[0],
        second=terms[1],
        second_signature=signatures[1],
    )
    assert reason_of(chain, 3, ReportMisconduct(evidence=evidence)) is Reason.NONE
    forged = replace(evidence, second_signature=new_key(60).sign(encode(terms[1])))
    assert reason_of(chain, 3, ReportMisconduct(evidence=forged)) is Reason.EVIDENCE_PROVES_NOTHING


# --- the meter -------------------------------------------------------------------------------------------------


def test_readings_count_under_the_new_meter_only() -> None:
    chain, meter = DictChain(HOMES), seeded_key("next-meter", 0)
    chain.block((4, new_meter(4)))
    assert member_of(chain, 4).meter_key == meter.public_key
    assert reason_of(chain, 4, signed_reading(HOMES, 4, 500)) is Reason.READING_BAD_SIGNATURE
    assert reason_of(chain, 4, signed_reading(HOMES, 4, 500, meter_key=meter)) is Reason.NONE
    assert member_of(chain, 4).node_key == HOMES.node_keys[4].public_key
    assert list_of(chain) == list_of(DictChain(HOMES)), "the members stay as they are"


def test_a_correction_of_what_the_old_meter_measured_is_the_new_ones() -> None:
    chain, meter = DictChain(HOMES), seeded_key("next-meter", 0)
    chain.block((4, signed_reading(HOMES, 4, 500)))
    chain.block((4, new_meter(4)))
    assert reason_of(chain, 4, signed_reading(HOMES, 4, 400, version=1)) is Reason.READING_BAD_SIGNATURE
    assert reason_of(chain, 4, signed_reading(HOMES, 4, 400, version=1, meter_key=meter)) is Reason.NONE


def other_keys(**keys: SigningKey) -> dict[str, bytes]:
    return {name: key.public_key for name, key in keys.items()}


NOT_VOUCHED: dict[str, dict[str, Any]] = {
    "by itself": {"root_key": HOMES.node_keys[4]},
    "by the new key": {"root_key": seeded_key("next-meter", 0)},
    "for another home's node": other_keys(node_key=HOMES.node_keys[3]),
    "for another meter": other_keys(meter_key=HOMES.meter_keys[3]),
    "for later": {"valid_from_ms": 2**52},
    "for earlier": {"valid_until_ms": 1},
}


@pytest.mark.parametrize("what", NOT_VOUCHED)
def test_a_member_chooses_no_key_for_itself(what: str) -> None:
    """With a meter key of its own choice it could invent energy; with a node key who stole the one before."""
    chain, voucher = DictChain(HOMES), NOT_VOUCHED[what]
    before = member_of(chain, 4)
    reason = Reason.KEY_EXPIRED if what in ("for later", "for earlier") else Reason.KEY_NOT_VOUCHED
    for action in (rotate_to(HOMES, 4, new_key(4), **voucher), new_meter(4, **voucher)):
        assert reason_of(chain, 4, action) is reason
    assert member_of(chain, 4) == before
    assert used_key(new_key(4).public_key) not in chain.state


def test_the_issuing_authority_signs_for_homes_and_the_root_for_it() -> None:
    chain, action = DictChain(HOMES), rotate(4)
    stranger = seeded_key("stranger", 0)
    forged = replace(action.vouchers, home_signature=stranger.sign(encode(action.vouchers.home)))
    assert reason_of(chain, 4, replace(action, vouchers=forged)) is Reason.KEY_NOT_VOUCHED
    assert reason_of(chain, 4, action) is Reason.NONE


def test_a_new_meter_shows_that_it_is_there() -> None:
    chain = DictChain(HOMES)
    action = replace(new_meter(4), possession=new_meter(3).possession)
    assert reason_of(chain, 4, action) is Reason.KEY_NO_POSSESSION


def test_after_a_new_node_key_a_meter_is_vouched_for_with_that_one() -> None:
    chain = DictChain(HOMES)
    chain.block((4, rotate(4)))
    assert reason_of(chain, new_key(4, of=4), new_meter(4)) is Reason.KEY_NOT_VOUCHED
    vouched = new_meter(4, node_key=new_key(4).public_key)
    assert reason_of(chain, new_key(4, of=4), vouched) is Reason.NONE


# --- eras ------------------------------------------------------------------------------------------------------


def beginning(base: int, keys: dict[int, SigningKey]) -> EraBeginning:
    """Of all homes, those named under other keys."""
    members = tuple(
        (address, keys.get(place, HOMES.node_keys[place]).public_key) for place, address in enumerate(HOMES.addresses)
    )
    return EraBeginning(starts=(), base=Height(base), members=members)


@pytest.mark.parametrize("carried", [False, True])
def test_a_rotation_that_was_not_in_force_at_a_base_waits_again(carried: bool) -> None:
    """What is signed while the era begins counts under the plan's key, votes and transactions alike."""
    chain = DictChain(HOMES)
    chain.block()
    if carried:
        chain.block()
    chain.block((2, rotate(2)))
    base, begins = chain.height - (1 if carried else 0), chain.height + 1
    chain.block(beginning=beginning(base, {}), parent_voters=())
    old, new = HOMES.node_keys[2].public_key, new_key(2).public_key
    assert member_of(chain, 2).node_key == new
    assert [key_at(chain, 2, height) for height in (base + 1, begins + 1, begins + 2)] == [old, old, new]
    assert queue_of(chain).last_height == begins
    assert len([term for term in list_of(chain).terms if term.address == HOMES.addresses[2]]) == 2


def test_a_replaced_home_has_the_key_of_the_plan_and_no_other_waits() -> None:
    chain, third = DictChain(HOMES), new_key(77)
    chain.block((2, rotate(2)))
    chain.block(beginning=beginning(1, {2: third}), parent_voters=())
    for _ in range(3):
        chain.block()
    assert member_of(chain, 2).node_key == third.public_key
    assert queue_of(chain).waiting == ()
    assert key_at(chain, 2, 9) == third.public_key
    assert reason_of(chain, 3, rotate_to(HOMES, 3, third)) is Reason.KEY_USED_BEFORE


# --- all together ----------------------------------------------------------------------------------------------


def community_of(members: int) -> Community:
    membership = MembershipParameters(
        members_min=4, seen_window_slots=10_000, removal_wait_slots=50, verifier_keys=()
    )
    return make_genesis(members, membership=membership)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_members_ask_for_each_height_has_one_key_of_each(seed: int) -> None:
    """Leaves and rotations by chance. The rules are counted here by themselves."""
    chance, members = random.Random(seed), 4 + seed % 6
    homes = community_of(members)
    chain = DictChain(homes)
    present = dict(enumerate(homes.node_keys))
    ever = {key.public_key for key in homes.node_keys}
    numbers = iter(range(1_000))
    for _ in range(50):
        before, actions, asked = list_of(chain), [], []
        for member in chance.sample(range(members), chance.randint(0, 3)):
            if chance.random() < 0.6:
                key = seeded_key(f"drawn{seed}", next(numbers))
                actions.append((present[member], rotate_to(homes, member, key)))
                asked.append((member, key))
            else:
                actions.append((present[member], SetLeaving(leaving=True)))
                asked.append((member, None))
        receipts = chain.block(*actions).receipts
        for (member, new), receipt in zip(asked, receipts, strict=True):
            if new is not None and receipt.status is Status.EXECUTED:
                present[member] = new.of_member(homes.addresses[member])
                assert new.public_key not in ever
                ever.add(new.public_key)
        after, height = list_of(chain), chain.height
        assert [after.at(Height(known)) for known in range(1, height + 2)] == [
            before.at(Height(known)) for known in range(1, height + 2)
        ], "what was fixed stays"
        now, then = after.at(Height(height + 1)), after.at(Height(height + 2))
        assert len(set(now) ^ set(then)) <= 2, "one change"
        stayed = [address for address, _ in now if address in dict(then)]
        assert stayed == [address for address, _ in then], "in their places"
        if before.at(Height(height)) != before.at(Height(height + 1)):
            assert now == then, "one was pending"
    for _ in range(2 * members + 2):
        chain.block()
    for address, key in list_of(chain).at(Height(chain.height + 2)):
        assert key == present[homes.addresses.index(address)].public_key, "every rotation came to its turn"
