"""What people are told of certificates that end: how long, from when on who goes, what to do, and when nothing."""

import pytest

from consensus.identifiers import Slot
from contracts.genesis import MembershipParameters
from contracts.state import MEMBER_LIST_KEY, MemberList
from contracts.transactions import SetLeaving
from contracts.validity import GRACE_WAITS
from node.stories.members import JOINS_ANEW, MS_PER_DAY, NOTICE_DAYS, certificate_of, own_notice
from tests.support.contracts import Community, DictChain, make_genesis
from tests.support.validity import with_ends

SLOT_MS = 1_000
DAY = MS_PER_DAY // SLOT_MS
END = 100 * DAY
HOMES = make_genesis(
    5,
    slot_duration_ms=SLOT_MS,
    start_ms=0,
    membership=MembershipParameters(members_min=4, seen_window_slots=10**9, removal_wait_slots=DAY, verifier_keys=()),
)
HOMES = with_ends(HOMES, {2: END})
FEW = with_ends(make_genesis(4, slot_duration_ms=SLOT_MS, start_ms=0), {2: END})


def told(community: Community, slot: int, *, member: int = 2, chain: DictChain | None = None) -> str | None:
    state = (DictChain(community) if chain is None else chain).state
    found = certificate_of(state, community.genesis, community.addresses[member], Slot(slot))
    return None if found is None else found.told("it")


@pytest.mark.parametrize(
    ("slot", "words"),
    [
        (0, "The authority vouches for it until 1970-04-11, 100 days from now."),
        (END - DAY, "The authority vouches for it until 1970-04-11, 1 days from now."),
        (END, "The authority vouches for it until 1970-04-11, 0 days from now."),
        (
            END + 1,
            "The certificate of it ran out on 1970-04-11: from 1970-04-25 on it is removed, unless it is renewed "
            "before.",
        ),
    ],
)
def test_how_long_is_told_in_days(slot: int, words: str) -> None:
    assert GRACE_WAITS == 14
    assert told(HOMES, slot) == words


def test_of_whom_the_chain_knows_nothing_nothing_is_told() -> None:
    assert told(HOMES, 0, member=1) is None
    assert own_notice(DictChain(HOMES).state, HOMES.genesis, HOMES.addresses[1], Slot(2 * END)) is None


def test_who_waits_for_the_floor_is_told_so() -> None:
    assert told(FEW, END + 1) == (
        "The certificate of it ran out on 1970-04-11: it stays a member until another home joins, as genesis allows "
        "no fewer."
    )


def test_a_home_is_told_well_ahead_what_to_do() -> None:
    chain, own = DictChain(HOMES), HOMES.addresses[2]
    first = END - (NOTICE_DAYS + 1) * DAY
    assert own_notice(chain.state, HOMES.genesis, own, Slot(first)) is None
    notice = own_notice(chain.state, HOMES.genesis, own, Slot(first + 1))
    assert notice == (
        "The authority vouches for this home until 1970-04-11, 60 days from now. Have the authority renew it, then "
        "`p2pnode member renew`"
    )


def test_who_was_removed_for_it_is_told_the_way_back() -> None:
    chain, own = DictChain(HOMES), HOMES.addresses[2]
    chain.block(slot=END + 15 * DAY)
    assert own_notice(chain.state, HOMES.genesis, own, Slot(END + 16 * DAY)) == (
        f"The certificate of this home ran out on 1970-04-11, and it was removed. {JOINS_ANEW}"
    )


def test_who_left_before_is_told_nothing() -> None:
    chain, own = DictChain(HOMES), HOMES.addresses[2]
    chain.block((2, SetLeaving(leaving=True)), slot=END - DAY)
    assert own not in chain.read(MEMBER_LIST_KEY, MemberList).addresses
    assert own_notice(chain.state, HOMES.genesis, own, Slot(END + 16 * DAY)) is None
