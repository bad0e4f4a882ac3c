"""Keys are somebody's once, where rotations, joins, offices and ceremonies meet; and who vouches for them."""

import pytest

from consensus.cryptography import SigningKey
from consensus.identifiers import Height
from contracts.applicants import Standing
from contracts.genesis import MembershipParameters
from contracts.member_records import KeyOwner, MemberQueue, Rotate
from contracts.receipts import Reason
from contracts.run import EraBeginning
from contracts.state import MEMBER_LIST_KEY, MEMBER_QUEUE_KEY, Member, MemberList, member_key, used_key
from contracts.transactions import Action, ReplaceOfficeKey, SetLeaving, office_successor, rotation
from tests.support.contracts import make_genesis, seeded_key
from tests.support.joining import JoiningChain, newcomer
from tests.support.vouchers import replace_by, rotate_to, vouchers_for

HOMES = make_genesis(
    6, membership=MembershipParameters(members_min=4, seen_window_slots=16, removal_wait_slots=50, verifier_keys=())
)
NEW = newcomer(1)
NEXT, THIRD = seeded_key("next", 2), seeded_key("next", 3)
WHO = 2


def reason_of(chain: JoiningChain, sender: int | SigningKey, action: Action) -> Reason:
    (receipt,) = chain.block((sender, action)).receipts
    return receipt.reason


def beginning(chain: JoiningChain, base: int, keys: dict[int, SigningKey]) -> EraBeginning:
    """Of the members of the base, those named under other keys."""
    known = chain.read(MEMBER_LIST_KEY, MemberList).at(Height(base + 1))
    given = {HOMES.addresses[place]: key.public_key for place, key in keys.items()}
    members = tuple((address, given.get(address, key)) for address, key in known)
    return EraBeginning(starts=(), base=Height(base), members=members)


def keys_of(chain: JoiningChain) -> list[bytes]:
    """Who votes above the tip, in two heights."""
    return [key for _, key in chain.read(MEMBER_LIST_KEY, MemberList).at(Height(chain.height + 2))]


def waiting(chain: JoiningChain) -> tuple[object, ...]:
    return chain.read(MEMBER_QUEUE_KEY, MemberQueue).waiting


# --- the authority's word --------------------------------------------------------------------------------------


def test_the_key_that_acts_for_the_authority_vouches_for_new_keys_and_no_earlier_one() -> None:
    chain, office, successor = JoiningChain(HOMES), HOMES.authority_key, seeded_key("successor", 0)
    meter = seeded_key("next-meter", 0)
    first = (rotate_to(HOMES, WHO, NEXT), replace_by(HOMES, WHO, meter))
    second = tuple(
        made(HOMES, WHO, key, root_key=successor) for made, key in ((replace_by, meter), (rotate_to, NEXT))
    )
    assert [reason_of(chain, WHO, action) for action in second] == [Reason.KEY_NOT_VOUCHED] * 2
    replacement = ReplaceOfficeKey(successor=office_successor(HOMES.chain, office.address, successor))
    assert reason_of(chain, office, replacement) is Reason.NONE
    assert [reason_of(chain, WHO, action) for action in first] == [Reason.KEY_NOT_VOUCHED] * 2
    rotation = rotate_to(HOMES, WHO, NEXT, root_key=successor, meter_key=meter.public_key)
    assert [reason_of(chain, WHO, action) for action in (second[0], rotation)] == [Reason.NONE] * 2


# --- keys of candidates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [NEW.node_key, NEW.meter_key])
def test_no_member_gets_a_key_of_a_candidate_and_of_who_only_asked_it_ends_that_one(key: SigningKey) -> None:
    """A key is noted at the admission: an application that nobody decided yet keeps none from others."""
    chain = JoiningChain(HOMES)
    chain.admit(NEW)
    for action in (rotate_to(HOMES, WHO, key), replace_by(HOMES, WHO, key)):
        assert reason_of(chain, WHO, action) is Reason.KEY_USED_BEFORE
    chain = JoiningChain(HOMES)
    chain.request(NEW)
    assert reason_of(chain, WHO, rotate_to(HOMES, WHO, key)) is Reason.NONE
    chain.judge(NEW, [0, 1, 3, 4, 5])
    assert chain.applicant(NEW).standing is Standing.LAPSED
    assert chain.read(used_key(key.public_key), KeyOwner).owner == HOMES.addresses[WHO]


@pytest.mark.parametrize("field", ["node_key", "meter_key"])
@pytest.mark.parametrize("key", [HOMES.node_keys[WHO], NEXT])
def test_no_key_that_a_member_exchanged_joins(key: SigningKey, field: str) -> None:
    chain, home = JoiningChain(HOMES), newcomer(1, **{field: key.public_key})
    chain.block((WHO, rotate_to(HOMES, WHO, NEXT)))
    home = type(home)(
        node_key=key if field == "node_key" else home.node_key,
        meter_key=key if field == "meter_key" else home.meter_key,
        voucher=home.voucher,
    )
    reason = Reason.JOIN_SAME_KEY if field == "node_key" else Reason.JOIN_SAME_METER
    assert chain.request(home).reason is reason


def test_who_joined_exchanges_its_key_as_any_other_member() -> None:
    chain = JoiningChain(HOMES)
    chain.admit(NEW)
    assert reason_of(chain, NEW.node_key, chain.ready()) is Reason.NONE
    for _ in range(3):
        chain.block()
    vouchers = vouchers_for(HOMES, node_key=NEXT.public_key, meter_key=NEW.meter_key.public_key)
    assert reason_of(chain, NEW.node_key, rotation(HOMES.chain, NEW.address, NEXT, vouchers)) is Reason.NONE
    assert chain.read(member_key(NEW.address), Member).node_key == NEXT.public_key
    assert keys_of(chain)[-1] == NEXT.public_key


# --- what waits ------------------------------------------------------------------------------------------------


def test_rotations_go_before_leaves_and_leaves_before_joins() -> None:
    chain = JoiningChain(HOMES)
    chain.admit(NEW)
    chain.block((NEW.node_key, chain.ready()), (0, rotate_to(HOMES, 0, NEXT)), (1, rotate_to(HOMES, 1, THIRD)))
    chain.block((5, SetLeaving(leaving=True)))
    kinds = [type(one).__name__ for one in waiting(chain)]
    assert kinds == ["Rotate", "Leave", "Join"]


# --- ceremonies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_waiting", [True, False])
def test_a_key_that_a_ceremony_gives_to_a_home_is_nobody_elses(is_waiting: bool) -> None:
    """Whoever saw that key in a statement could ask for it first: two members under one key would stop the chain."""
    chain = JoiningChain(HOMES)
    other = rotate_to(HOMES, 3, THIRD)
    chain.block((WHO, rotate_to(HOMES, WHO, NEXT)), (3, other)) if is_waiting else chain.block((3, other))
    expected = (Rotate(address=HOMES.addresses[3], node_key=THIRD.public_key),) if is_waiting else ()
    assert waiting(chain) == expected
    chain.block(beginning=beginning(chain, chain.height, {5: THIRD}), parent_voters=())
    for _ in range(4):
        chain.block()
    assert keys_of(chain).count(THIRD.public_key) == 1
    assert keys_of(chain)[5] == THIRD.public_key
    assert chain.read(member_key(HOMES.addresses[3]), Member).node_key == HOMES.node_keys[3].public_key
    assert waiting(chain) == ()


def test_who_asks_for_a_key_first_does_not_keep_a_ceremony_from_it() -> None:
    chain = JoiningChain(HOMES)
    chain.block((WHO, rotate_to(HOMES, WHO, NEXT)), (3, rotate_to(HOMES, 3, THIRD)))
    chain.block(beginning=beginning(chain, 1, {5: THIRD}), parent_voters=())
    assert chain.read(used_key(THIRD.public_key), KeyOwner).owner == HOMES.addresses[5]
    assert reason_of(chain, 4, rotate_to(HOMES, 4, THIRD)) is Reason.KEY_USED_BEFORE
