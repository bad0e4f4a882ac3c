"""Members that leave: what waits and why, what is fixed two heights ahead, one change at a time."""

import itertools
import random

import pytest

from consensus import quorum
from consensus.codec import encode
from consensus.identifiers import Address, Height, Slot
from contracts.genesis import MembershipParameters
from contracts.member_changes import Hindrance, prospect, should_show_presence
from contracts.member_records import Leave, MemberQueue
from contracts.receipts import Reason, Status
from contracts.run import EraBeginning
from contracts.state import (
    MEMBER_LIST_KEY,
    MEMBER_QUEUE_KEY,
    Debt,
    MemberList,
    Overlay,
    activity_key,
    debt_key,
)
from contracts.transactions import Action, SetLeaving, SetStake, ShowPresence
from contracts.units import MS_PER_HOUR, MicroTokens
from tests.support.contracts import (
    FIRST_INTERVAL_MS,
    Community,
    DictChain,
    make_genesis,
    signed_forward,
    signed_reading,
    signed_trade,
    transfer,
)

WINDOW_SLOTS = 16
WAIT_SLOTS = 50
NEXT_HOUR_MS = FIRST_INTERVAL_MS + MS_PER_HOUR


def homes(members: int, *, members_min: int = 4) -> Community:
    return make_genesis(
        members,
        membership=MembershipParameters(
            members_min=members_min, seen_window_slots=WINDOW_SLOTS, removal_wait_slots=WAIT_SLOTS, verifier_keys=()
        ),
    )


HOMES = homes(6)


def list_of(chain: DictChain) -> MemberList:
    return chain.read(MEMBER_LIST_KEY, MemberList)


def queue_of(chain: DictChain) -> MemberQueue:
    return chain.read(MEMBER_QUEUE_KEY, MemberQueue)


def leave(member: int, community: Community = HOMES) -> Leave:
    return Leave(address=community.addresses[member])


def hindrance(chain: DictChain, member: int, *, slot: int | None = None) -> Hindrance | None:
    """Why the next block would not carry out the leave of a member."""
    found = prospect(
        Overlay(chain.state),
        leave(member, chain.community),
        height=Height(chain.height + 1),
        slot=Slot(chain.slot + 1 if slot is None else slot),
        genesis=chain.community.genesis,
    )
    return found.hindrance


# --- what a member says ----------------------------------------------------------------------------------------


def test_who_leaves_is_a_member_for_two_heights_more() -> None:
    chain = DictChain(HOMES)
    chain.block()
    (receipt,) = chain.block((2, SetLeaving(leaving=True))).receipts
    assert receipt.status is Status.EXECUTED
    known, who = list_of(chain), HOMES.addresses[2]
    assert [who in dict(known.at(Height(height))) for height in (2, 3, 4, 5)] == [True, True, False, False]
    assert known.addresses == tuple(address for address in HOMES.addresses if address != who)
    assert queue_of(chain) == MemberQueue(waiting=(), last=leave(2), last_height=Height(2), revoked_slot=None)
    assert known.key_at(who, Height(3)) == HOMES.node_keys[2].public_key, "evidence of its heights still holds"


@pytest.mark.parametrize("key", [HOMES.issuer_key, HOMES.grid_key])
@pytest.mark.parametrize(
    ("action", "reason"),
    [(SetLeaving(leaving=True), Reason.LEAVE_NOT_MEMBER), (ShowPresence(), Reason.PRESENCE_NOT_MEMBER)],
)
def test_only_members_leave_or_are_there(key: object, action: Action, reason: Reason) -> None:
    chain = DictChain(HOMES)
    before = {name: chain.state[name] for name in (MEMBER_LIST_KEY, MEMBER_QUEUE_KEY)}
    (receipt,) = chain.block((key, action)).receipts
    assert (receipt.status, receipt.reason) == (Status.DECLINED, reason)
    assert {name: chain.state[name] for name in before} == before


def test_saying_it_again_is_declined_and_it_can_be_taken_back() -> None:
    chain = DictChain(homes(4))
    said = [
        chain.block((1, SetLeaving(leaving=leaving))).receipts[0].reason
        for leaving in (False, True, True, False, False)
    ]
    as_before = Reason.LEAVE_AS_BEFORE
    assert said == [as_before, Reason.NONE, as_before, Reason.NONE, as_before]
    assert queue_of(chain).waiting == ()
    assert list_of(chain).at(Height(9)) == list_of(chain).at(Height(1)), "four are the least there may be"


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (SetLeaving(leaving=True), Reason.LEAVE_NOT_MEMBER),
        (SetStake(staked=0), Reason.STAKE_NOT_MEMBER),
        (signed_reading(HOMES, 2, 500), Reason.READING_FOREIGN_METER),
        (signed_forward(HOMES, 2, 3, 100), Reason.TRADE_UNKNOWN_PARTY),
        (signed_forward(HOMES, 3, 2, 100), Reason.TRADE_UNKNOWN_PARTY),
    ],
)
def test_who_left_takes_no_part_but_keeps_its_wallet(action: Action, reason: Reason) -> None:
    chain = DictChain(HOMES)
    chain.block((2, SetLeaving(leaving=True)))
    (receipt,) = chain.block((2, action)).receipts
    assert (receipt.reason, receipt.fault) == (reason, None)
    chain.block((2, transfer(HOMES, 1, 5)), (1, transfer(HOMES, 2, 7)))
    assert chain.account(2).available_micro == HOMES.genesis.members[2].tokens_micro + 2


# --- why it waits ----------------------------------------------------------------------------------------------


def test_it_waits_until_every_forward_trade_is_final() -> None:
    chain = DictChain(HOMES)
    chain.block((2, signed_forward(HOMES, 2, 3, 100)))
    chain.block((2, SetLeaving(leaving=True)), (3, SetLeaving(leaving=True)))
    assert (hindrance(chain, 2), hindrance(chain, 3)) == (Hindrance.TRADES_PENDING,) * 2
    chain.block((2, signed_reading(HOMES, 2, 500)))
    assert queue_of(chain).waiting == (leave(2), leave(3))
    chain.block((3, signed_reading(HOMES, 3, -500)))
    assert queue_of(chain).waiting == (leave(3),), "settled in this block, and gone with it"


@pytest.mark.parametrize("leaver", [2, 3], ids=["seller", "buyer"])
def test_no_counterpart_holds_a_leaver_by_new_forward_trades(leaver: int) -> None:
    """Offers and contracts that it signed before lie at neighbours: none of them may bring one to the chain now."""
    chain = DictChain(HOMES)
    chain.block((2, signed_forward(HOMES, 2, 3, 100)))
    chain.block((leaver, SetLeaving(leaving=True)))
    scores = [chain.score(member) for member in (2, 3)]
    held_back = signed_forward(HOMES, 2, 3, 100, offer_counter=1, delivery_start_ms=NEXT_HOUR_MS)
    (receipt,) = chain.block((5 - leaver, held_back)).receipts
    assert (receipt.reason, receipt.fault) == (Reason.TRADE_MEMBER_LEAVING, None)
    assert [chain.score(member) for member in (2, 3)] == scores
    chain.block((2, signed_reading(HOMES, 2, 500)), (3, signed_reading(HOMES, 3, -500)))
    assert (queue_of(chain).waiting, len(list_of(chain).addresses)) == ((), 5)


def test_who_takes_its_leave_back_trades_forward_again() -> None:
    chain = DictChain(homes(4))
    forward = signed_forward(chain.community, 2, 3, 100)
    for leaving, reason in ((True, Reason.TRADE_MEMBER_LEAVING), (False, Reason.NONE)):
        chain.block((2, SetLeaving(leaving=leaving)))
        assert chain.block((3, forward)).receipts[0].reason is reason


def test_while_a_leave_waits_its_home_still_sells_what_it_has() -> None:
    """A street of four lets nobody go before another one joins; what is there and paid at once holds nobody."""
    chain = DictChain(homes(4))
    four = chain.community
    chain.block((2, SetLeaving(leaving=True)))
    chain.block((2, signed_reading(four, 2, 500)), (3, signed_reading(four, 3, -500)))
    (receipt,) = chain.block((3, signed_trade(four, 2, 3, 100))).receipts
    assert receipt.reason is Reason.NONE


def test_it_waits_until_its_debt_is_paid() -> None:
    """Else leaving were a way out of paying for energy that never came."""
    chain = DictChain(HOMES)
    chain.state[debt_key(HOMES.addresses[2])] = encode(Debt(owed_micro=MicroTokens(1)))
    chain.block((2, SetLeaving(leaving=True)))
    chain.block()
    assert (hindrance(chain, 2), queue_of(chain).waiting) == (Hindrance.IN_DEBT, (leave(2),))
    chain.state[debt_key(HOMES.addresses[2])] = encode(Debt(owed_micro=MicroTokens(0)))
    chain.block()
    assert queue_of(chain).waiting == ()


@pytest.mark.parametrize(("members", "members_min", "hindered"), [(5, 4, None), (4, 4, Hindrance.TOO_FEW_MEMBERS)])
def test_genesis_says_how_few_there_may_be(members: int, members_min: int, hindered: Hindrance | None) -> None:
    assert hindrance(DictChain(homes(members, members_min=members_min)), 0) is hindered


def test_those_who_stay_must_be_there() -> None:
    """Six members of whom five were not seen lately: the quorum of those who stay is not there."""
    chain = DictChain(HOMES)
    later = WINDOW_SLOTS + 5
    chain.block((5, SetLeaving(leaving=True)), slot=later, parent_voters=())
    assert hindrance(chain, 5) is Hindrance.TOO_FEW_SEEN
    for member in range(quorum.quorum(5) - 1):
        chain.block((member, ShowPresence()), parent_voters=())
    assert hindrance(chain, 5) is Hindrance.TOO_FEW_SEEN
    assert queue_of(chain).waiting == (leave(5),)
    chain.block((3, ShowPresence()), parent_voters=())
    assert queue_of(chain).waiting == ()


def shows_presence(chain: DictChain, member: int, *, slots_later: int) -> bool:
    return should_show_presence(
        Overlay(chain.state),
        chain.community.addresses[member],
        height=Height(chain.height + 1),
        slot=Slot(chain.slot + slots_later),
        genesis=chain.community.genesis,
    )


def test_a_member_shows_that_it_is_there_only_where_a_change_waits_for_that() -> None:
    chain = DictChain(HOMES)
    assert not shows_presence(chain, 0, slots_later=10 * WINDOW_SLOTS), "nothing waits"
    chain.block((5, SetLeaving(leaving=True)), slot=WINDOW_SLOTS + 5, parent_voters=())
    assert hindrance(chain, 5) is Hindrance.TOO_FEW_SEEN
    assert [shows_presence(chain, member, slots_later=1) for member in range(6)] == [True] * 5 + [False]
    chain.block((0, ShowPresence()), parent_voters=())
    seen_for_now = [shows_presence(chain, 0, slots_later=slots) for slots in (1, WINDOW_SLOTS // 2 + 1)]
    assert seen_for_now == [False, True]


def test_nobody_shows_presence_for_a_change_that_something_else_holds_up() -> None:
    """A leave from a street of four waits until somebody joins: it may wait for years."""
    four = DictChain(homes(4))
    four.block((1, SetLeaving(leaving=True)))
    promised = DictChain(HOMES)
    promised.block((2, signed_forward(HOMES, 2, 3, 100)))
    promised.block((2, SetLeaving(leaving=True)))
    in_debt = DictChain(HOMES)
    in_debt.state[debt_key(HOMES.addresses[2])] = encode(Debt(owed_micro=MicroTokens(1)))
    in_debt.block((2, SetLeaving(leaving=True)))
    for chain in (four, promised, in_debt):
        assert queue_of(chain).waiting
        assert not any(shows_presence(chain, member, slots_later=10 * WINDOW_SLOTS) for member in range(4))
    both = DictChain(HOMES)
    both.block((1, SetLeaving(leaving=True)), (2, SetLeaving(leaving=True)))
    assert hindrance(both, 2) is Hindrance.ONE_IS_PENDING
    assert not shows_presence(both, 0, slots_later=10 * WINDOW_SLOTS)


def test_a_member_is_seen_by_its_commits_as_well() -> None:
    chain = DictChain(HOMES)
    chain.block((5, SetLeaving(leaving=True)), slot=WINDOW_SLOTS + 5, parent_voters=())
    chain.block(parent_voters=HOMES.addresses[: quorum.quorum(5)])
    assert queue_of(chain).waiting == ()


def test_being_seen_is_written_only_once_in_a_quarter_of_the_window() -> None:
    chain = DictChain(HOMES)
    key, versions = activity_key(HOMES.addresses[0]), []
    for _ in range(4 * WINDOW_SLOTS):
        versions += [chain.slot] if key in chain.block().changes else []
    assert len(versions) == 4 * WINDOW_SLOTS // (WINDOW_SLOTS // 4 + 1)
    gaps = {later - earlier for earlier, later in itertools.pairwise(versions)}
    assert gaps == {WINDOW_SLOTS // 4 + 1}


def test_one_that_cannot_go_lets_the_next_one_go() -> None:
    chain = DictChain(HOMES)
    chain.block((2, signed_forward(HOMES, 2, 3, 100)))
    chain.block((2, SetLeaving(leaving=True)), (4, SetLeaving(leaving=True)))
    assert queue_of(chain).waiting == (leave(2),)
    assert HOMES.addresses[4] not in list_of(chain).addresses


def test_every_set_decides_a_block_before_the_next_change_is_fixed() -> None:
    chain = DictChain(homes(7))
    chain.block(*((member, SetLeaving(leaving=True)) for member in (6, 5, 4)))
    for _ in range(6):
        chain.block()
    sizes = [len(list_of(chain).at(Height(height))) for height in range(1, 10)]
    assert sizes == [7, 7, 6, 6, 5, 5, 4, 4, 4]


# --- eras ------------------------------------------------------------------------------------------------------


def beginning(chain: DictChain, base: int, members: tuple[Address, ...]) -> EraBeginning:
    keys = dict(zip(chain.community.addresses, (key.public_key for key in chain.community.node_keys), strict=True))
    return EraBeginning(starts=(), base=Height(base), members=tuple((one, keys[one]) for one in members))


@pytest.mark.parametrize("carried", [False, True])
def test_a_change_that_was_not_in_force_at_the_base_waits_again(carried: bool) -> None:
    """The plan says who is a member while an era begins; then the change is carried out anew."""
    chain = DictChain(HOMES)
    chain.block()
    if carried:
        chain.block()
    chain.block((2, SetLeaving(leaving=True)))  # fixed by the base, or by the block carried above it
    fixed, base = chain.height, chain.height - (1 if carried else 0)
    assert queue_of(chain).last_height == fixed
    begins = chain.height + 1
    chain.block(beginning=beginning(chain, base, HOMES.addresses), parent_voters=())
    known = list_of(chain)
    assert [len(known.at(Height(height))) for height in range(base + 1, begins + 2)] == [6] * (begins + 1 - base)
    assert queue_of(chain).waiting == ()
    assert len(known.at(Height(begins + 2))) == 5, "tried first, and nothing hinders it"


def test_what_is_in_force_at_the_base_stays() -> None:
    chain = DictChain(HOMES)
    chain.block((2, SetLeaving(leaving=True)))
    chain.block()
    chain.block(beginning=beginning(chain, 2, list_of(chain).addresses), parent_voters=())
    assert HOMES.addresses[2] not in list_of(chain).addresses
    assert queue_of(chain).waiting == ()


def test_of_who_is_gone_nothing_waits() -> None:
    chain = DictChain(HOMES)
    chain.block((2, signed_forward(HOMES, 2, 3, 100)))
    chain.block((2, SetLeaving(leaving=True)))
    staying = tuple(address for address in HOMES.addresses if address != HOMES.addresses[2])
    chain.block(beginning=beginning(chain, 2, staying), parent_voters=())
    assert queue_of(chain).waiting == ()
    assert list_of(chain).addresses == staying


# --- all together ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_whatever_members_say_the_rules_of_a_change_hold(seed: int) -> None:
    """By chance: who says what, who votes, how far the slots go. The rules are counted here by themselves."""
    chance = random.Random(seed)
    members = chance.randint(4, 9)
    chain = DictChain(homes(members))
    seen = dict.fromkeys(range(members), 0)
    saying: set[int] = set()
    for _ in range(60):
        height, slot = chain.height + 1, chain.slot + chance.choice((1, 1, 2, 9))
        inside = [chain.community.addresses.index(address) for address, _ in list_of(chain).at(Height(height))]
        voters = chance.sample(inside, chance.randint(0, len(inside))) if height > 1 else []
        acting = {chance.randrange(members): chance.random() < 0.8 for _ in range(chance.randint(0, 3))}
        before = list_of(chain)
        receipts = chain.block(
            *((member, SetLeaving(leaving=leaving)) for member, leaving in acting.items()),
            slot=slot,
            parent_voters=tuple(chain.community.addresses[voter] for voter in voters),
        ).receipts
        for (member, leaving), receipt in zip(acting.items(), receipts, strict=True):
            newest = chain.community.addresses[member] in before.addresses
            expected = newest and (member in saying) != leaving
            assert (receipt.status is Status.EXECUTED) is expected
            if expected:
                saying ^= {member}
        for member in {*voters, *acting}:
            seen[member] = slot
        after = list_of(chain)
        left = set(before.addresses) - set(after.addresses)
        assert len(left) <= 1
        assert [after.at(Height(known)) for known in range(1, height + 2)] == [
            before.at(Height(known)) for known in range(1, height + 2)
        ], "what was fixed stays"
        if left:
            (who,) = (chain.community.addresses.index(address) for address in left)
            assert who in saying
            saying -= {who}
            assert before.at(Height(height + 1)) == before.at(Height(height)), "none was pending"
            staying = [chain.community.addresses.index(address) for address in after.addresses]
            there = sum(slot - seen[member] <= WINDOW_SLOTS for member in staying)
            assert len(staying) >= 4
            assert there >= quorum.quorum(len(staying))
        elif saying and before.at(Height(height + 1)) == before.at(Height(height)) and len(before.addresses) > 4:
            fresh = WINDOW_SLOTS - WINDOW_SLOTS // 4
            for member in saying:
                staying = [one for one in before.addresses if one != chain.community.addresses[member]]
                there = sum(slot - seen[chain.community.addresses.index(one)] <= fresh for one in staying)
                assert there < quorum.quorum(len(staying)), "one could have gone"
