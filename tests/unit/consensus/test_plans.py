"""What follows from statements: base, carried block, who goes on; and what makes no plan.

Four homes, F = 1, Q = 3. `Street` decides, prepares and votes as a test says; blocks are told apart by numbers.
"""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from consensus.ceremony_records import MemberStatement, SignedMemberStatement, SignedPlan
from consensus.codec import decode, encode
from consensus.cryptography import SigningKey
from consensus.era_plans import Departure, plan_digest
from consensus.events import JoinedPlan, PreparedBlock
from consensus.identifiers import Address, Digest, EraNumber, Height, Slot
from consensus.membership import Membership
from consensus.messages import Decided
from consensus.plans import PlanRefusal, carried_proposal, plan_fault
from tests.support.ceremonies import AUTHORITY, Street, block
from tests.support.consensus import CHAIN, block_of

EVERYBODY = (0, 1, 2, 3)
NEW_KEY = SigningKey(b"\x77" * 32)


def resigned(street: Street, signed: SignedMemberStatement, **changes: object) -> SignedMemberStatement:
    """What a liar makes of its own statement."""
    statement: MemberStatement = replace(signed.statement, **changes)
    key = next(home.key for home in street.homes if home.key.address == statement.author)
    return SignedMemberStatement(statement=statement, signature=key.sign(encode(statement)))


# --- base ----------------------------------------------------------------------------------------------------


def test_the_base_is_the_highest_height_that_anybody_proves_decided() -> None:
    street = Street(4)
    street.decide(1, seen_by=EVERYBODY)
    second = street.decide(2, seen_by=(1, 3))
    plan = street.made(street.stated(*EVERYBODY)).plan
    assert (plan.base, plan.base_block, plan.carried) == (2, second, None)
    assert plan.members == plan.quorums[0] == street.members.membership.members
    assert plan.is_everybody_there


def test_without_blocks_the_base_is_genesis() -> None:
    plan = (street := Street(4)).made(street.stated(0, 1, 2)).plan
    assert (plan.base, plan.base_block) == (0, CHAIN)
    assert not plan.is_everybody_there


def test_blocks_from_receipts_and_backups_raise_the_base() -> None:
    street = Street(4)
    street.decide(1, seen_by=EVERYBODY)
    block = street.decide(2, seen_by=(3,))
    added = (street.homes[3].decided[1],)
    plan = street.made(street.stated(0, 1, 2), added=added).plan
    assert (plan.base, plan.base_block) == (2, block)
    forged = (replace(added[0], certificate=replace(added[0].certificate, endorsements=())),)
    assert street.made(street.stated(0, 1, 2), added=forged).plan.base == 1


# --- carried -------------------------------------------------------------------------------------------------


def test_the_prepared_block_above_the_base_is_carried_the_same_bytes() -> None:
    street = Street(4)
    street.decide(1, seen_by=EVERYBODY)
    name = street.prepare(2, holders=(2,))
    signed = street.made(street.stated(*EVERYBODY))
    assert signed.plan.carried == name
    assert carried_proposal(signed, street.past) == block(street.homes[0].block_at(1), 2)


def test_of_two_prepared_blocks_the_one_of_the_higher_slot_is_carried() -> None:
    street = Street(4)
    for slot, number, holder in ((4, 2, 0), (9, 3, 1), (6, 4, 2)):
        street.prepare(number, holders=(holder,), slot=slot)
    assert street.made(street.stated(*EVERYBODY)).plan.carried == block_of(block(CHAIN, 3))


def test_a_prepared_block_at_or_below_the_base_is_past() -> None:
    street = Street(4)
    street.prepare(7, holders=(0,))
    street.decide(1, seen_by=(1, 2, 3))
    plan = street.made(street.stated(*EVERYBODY)).plan
    assert (plan.base, plan.carried) == (1, None)


def test_where_something_is_lost_the_newest_block_that_f_plus_1_voted_for_is_carried() -> None:
    street = Street(4)
    newest = street.vote(2, voters=(0, 1), slot=8)
    street.vote(3, voters=(2,), slot=12)
    street.forget(3)
    assert street.made(street.stated(*EVERYBODY)).plan.carried == newest
    whole = Street(4)
    whole.vote(2, voters=(0, 1), slot=8)
    assert whole.made(whole.stated(*EVERYBODY)).plan.carried is None


# --- who states ------------------------------------------------------------------------------------------------


def test_of_each_member_the_newest_statement_counts() -> None:
    street = Street(4)
    old = street.stated(*EVERYBODY)
    new = street.stated(1)
    signed = street.made([*new, *old])
    numbers = {name.author: name.number for name in signed.plan.statements}
    assert numbers == {street.address(one): 2 if one == 1 else 1 for one in EVERYBODY}
    assert [one.statement.author for one in signed.statements] == sorted(numbers)


def test_statements_of_another_era_do_not_count() -> None:
    street = Street(4)
    statements = street.stated(0, 1) + street.stated(2, 3, era=2)
    assert street.plan(statements) is PlanRefusal.TOO_FEW


@pytest.mark.parametrize(("count", "stated", "is_enough"), [(4, 2, False), (4, 3, True), (5, 3, False), (5, 4, True)])
def test_a_quorum_must_state(count: int, stated: int, is_enough: bool) -> None:
    street = Street(count)
    found = street.plan(street.stated(*range(stated)))
    assert isinstance(found, SignedPlan) is is_enough


LIES: list[tuple[str, Callable[[Street, SignedMemberStatement], SignedMemberStatement]]] = [
    ("signature", lambda _, one: replace(one, signature=one.signature[::-1])),
    ("chain", lambda street, one: resigned(street, one, chain=Digest(bytes(32)))),
    ("block", lambda street, one: resigned(street, one, block=Digest(bytes(32)))),
    ("no block", lambda street, one: resigned(street, one, decided=())),
    ("height", lambda street, one: resigned(street, one, height=Height(1), decided=one.statement.decided[:1])),
    ("genesis", lambda street, one: resigned(street, one, height=Height(0), decided=())),
    ("order", lambda street, one: resigned(street, one, decided=one.statement.decided[::-1])),
    ("certificate", lambda street, one: resigned(street, one, decided=(unsigned(one.statement.decided[0]),) * 2)),
    ("prepared", lambda street, one: resigned(street, one, prepared=unprepared(one.statement))),
    ("prepared elsewhere", lambda street, one: resigned(street, one, prepared=prepared_at(street, 1))),
    ("prepared on nothing", lambda street, one: resigned(street, one, prepared=prepared_at(street, 3))),
    ("vote", lambda street, one: resigned(street, one, voted=street.members.pre_prepare(8, by=0, height=3))),
    (
        "era",
        lambda street, one: resigned(street, one, era=EraNumber(1), applied=replace(one.statement.applied, era=1)),
    ),
]


def unsigned(decided: Decided) -> Decided:
    return replace(decided, certificate=replace(decided.certificate, endorsements=()))


def unprepared(statement: MemberStatement) -> PreparedBlock:
    assert statement.prepared is not None
    certificate = replace(statement.prepared.certificate, slot=Slot(9))
    return replace(statement.prepared, certificate=certificate)


def prepared_at(street: Street, height: int) -> PreparedBlock:
    proposal = block(Digest(b"\x01" * 32), 5)
    return PreparedBlock(certificate=street.members.prepared(4, block_of(proposal), height=height), proposal=proposal)


@pytest.mark.parametrize("lie", [lie for _, lie in LIES], ids=[name for name, _ in LIES])
def test_a_statement_without_its_proofs_makes_no_plan(
    lie: Callable[[Street, SignedMemberStatement], SignedMemberStatement],
) -> None:
    street = Street(4)
    for number in (1, 2):
        street.decide(number, seen_by=EVERYBODY)
    street.prepare(3, holders=(1,))
    statements = street.stated(*EVERYBODY)
    assert isinstance(street.plan(statements), SignedPlan)
    statements[1] = lie(street, statements[1])
    assert street.plan(statements) in {PlanRefusal.BAD_STATEMENT, PlanRefusal.UNKNOWN_PLAN}


def test_two_decided_blocks_at_one_height_are_too_many_liars() -> None:
    street = Street(4)
    street.decide(1, seen_by=(0, 1))
    street.decide(2, seen_by=(2, 3))
    assert street.plan(street.stated(*EVERYBODY)) is PlanRefusal.FORK


def test_two_prepared_blocks_in_one_slot_are_too_many_liars() -> None:
    street = Street(4)
    street.prepare(1, holders=(0,))
    street.prepare(2, holders=(1,))
    assert street.plan(street.stated(*EVERYBODY)) is PlanRefusal.FORK


# --- who goes on -----------------------------------------------------------------------------------------------


def test_who_is_gone_leaves_the_set_and_who_is_replaced_keeps_address_and_place() -> None:
    street = Street(4)
    members = street.members.membership.members
    three = street.stated(0, 2, 3)
    stays = street.made(three).plan
    gone = street.made(three, [street.gone(1)]).plan
    replaced = street.made(three, [street.replaced(1, NEW_KEY)]).plan
    assert stays.members == members
    assert gone.members == (members[0], members[2], members[3])
    assert replaced.members == (members[0], (street.address(1), NEW_KEY.public_key), members[2], members[3])
    assert len({plan_digest(plan) for plan in (stays, gone, replaced)}) == 3


@pytest.mark.parametrize(
    "departures",
    [
        lambda street: [street.gone(0)],  # it made a statement
        lambda street: [street.gone(1), street.gone(1)],
        lambda _: [Departure(address=Address(bytes(32)), node_key=None)],
        lambda street: [street.replaced(1, street.homes[2].key)],  # somebody else's key
        lambda street: [street.replaced(1, street.homes[1].key)],  # the old key
    ],
)
def test_nobody_is_said_to_be_gone_who_is_there_or_never_was(departures: Callable[[Street], list[Departure]]) -> None:
    street = Street(4)
    assert street.plan(street.stated(0, 2, 3), departures(street)) is PlanRefusal.NOT_ABSENT


# --- checking --------------------------------------------------------------------------------------------------


def test_a_plan_is_the_one_that_follows_from_its_statements() -> None:
    street = Street(4)
    street.decide(1, seen_by=EVERYBODY)
    street.prepare(2, holders=(2,))
    signed = street.made(street.stated(0, 1, 2), [street.gone(3)])
    assert decode(encode(signed), SignedPlan) == signed
    assert plan_fault(signed, street.past) is None
    for changes in (
        {"base": Height(0)},
        {"base_block": CHAIN},
        {"carried": None},
        {"members": signed.plan.quorums[0]},
        {"quorums": (signed.plan.members,)},
        {"statements": signed.plan.statements[:2]},
        {"departures": ()},
        {"follows": replace(signed.plan.follows, era=EraNumber(1))},
        {"chain": Digest(bytes(32))},
        {"authority": street.homes[0].key.public_key},
    ):
        plan = replace(signed.plan, **changes)
        forged = replace(signed, plan=plan, authority=street.authority.sign(encode(plan)))
        assert plan_fault(forged, street.past) is PlanRefusal.NOT_THE_PLAN, changes
    fewer = replace(signed, statements=signed.statements[:2])
    assert plan_fault(fewer, street.past) is PlanRefusal.TOO_FEW


def test_the_authority_speaks_for_who_is_absent_and_only_for_them() -> None:
    street = Street(4)
    everybody = street.made(street.stated(*EVERYBODY))
    assert plan_fault(replace(everybody, authority=None), street.past) is None
    three = street.made(street.stated(0, 1, 2))
    for authority in (None, street.homes[0].key.sign(encode(three.plan))):
        unsigned = replace(three, authority=authority)
        assert plan_fault(unsigned, street.past) is PlanRefusal.NO_AUTHORITY


# --- whose word it is ------------------------------------------------------------------------------------------


def refuses_the_first_key(street: Street, made: SignedPlan) -> bool:
    """Says whether a plan goes by the next key, and the first one, stolen or not, signs it for nothing."""
    by_first = replace(made, authority=AUTHORITY.sign(encode(made.plan)))
    return (made.plan.authority, plan_fault(by_first, street.past)) == (NEW_KEY.public_key, PlanRefusal.NO_AUTHORITY)


def replacing(street: Street) -> None:
    """Block 1 is decided; whatever comes after it replaces the authority's key."""
    street.decide(1, seen_by=EVERYBODY)
    street.authority = NEW_KEY


def test_genesis_says_whose_word_counts_where_nothing_is_decided() -> None:
    street = Street(4)
    assert street.made(street.stated(0, 1, 2)).plan.authority == AUTHORITY.public_key


def test_whoever_is_behind_brings_no_replaced_key_back() -> None:
    street = Street(4)
    replacing(street)
    behind = street.stated(1, 3)
    street.decide(2, seen_by=(0,))
    assert refuses_the_first_key(street, street.made([*behind, *street.stated(0)]))


def test_a_liar_at_an_old_height_brings_no_replaced_key_back() -> None:
    """Member 2, who is kept away, has decided block 2; member 0 committed to it; the liar, 1, states block 1."""
    street = Street(4)
    replacing(street)
    lie = street.stated(1)
    carried = street.prepare(2, holders=(0,))
    street.decide(2, seen_by=(2,))
    made = street.made([*lie, *street.stated(0, 3)], [street.gone(2)])
    assert (made.plan.base, made.plan.carried) == (1, carried)
    assert refuses_the_first_key(street, made)


def test_a_key_whose_replacement_was_voted_for_and_is_carried_acts_no_more() -> None:
    street = Street(4)
    replacing(street)
    carried = street.vote(2, voters=(0, 1))
    street.forget(2)
    made = street.made(street.stated(0, 1, 2))
    assert made.plan.carried == carried
    assert refuses_the_first_key(street, made)


def test_what_is_neither_decided_nor_carried_replaces_no_key() -> None:
    street = Street(4)
    replacing(street)
    street.vote(2, voters=(0, 1))
    street.authority = AUTHORITY
    assert street.made(street.stated(0, 1, 2)).plan.authority == AUTHORITY.public_key


def test_a_replacement_in_a_block_from_elsewhere_counts() -> None:
    street = Street(4)
    replacing(street)
    street.decide(2, seen_by=(3,))
    made = street.made(street.stated(0, 1, 2), added=(street.homes[3].decided[1],))
    assert refuses_the_first_key(street, made)


def test_a_replacement_that_an_older_era_decided_and_the_next_one_lost_counts_once_it_is_shown() -> None:
    street = Street(4)
    replacing(street)
    lost = street.decide(2, seen_by=(3,))
    street.authority = AUTHORITY
    begun(street, stating=(0, 1, 2))
    street.authority = NEW_KEY
    made = street.made(street.stated(0, 1, 3, era=2), era=2)
    assert made.plan.carried == lost
    assert refuses_the_first_key(street, made)


@pytest.mark.parametrize("is_carried", [False, True])
def test_an_era_without_blocks_goes_by_the_key_of_its_plan(is_carried: bool) -> None:
    """Those who have the block that says so make no statement for the second era."""
    street = Street(4)
    replacing(street)
    if is_carried:
        street.prepare(2, holders=(0,))
    else:
        street.decide(2, seen_by=(0,))
    begun(street, applying=EVERYBODY if is_carried else (1, 2, 3))
    street.homes[0].prepared = None
    statements = street.stated(*((0, 1, 2) if is_carried else (1, 2, 3)), era=2)
    assert refuses_the_first_key(street, street.made(statements, era=2))


def test_a_carried_block_has_its_own_bytes_whatever_comes_from_elsewhere_under_its_name() -> None:
    """Shown by a statement, and in the next era by the earlier plan alone."""
    street = Street(4)
    replacing(street)
    carried = street.prepare(2, holders=(0,))
    base = street.homes[0].block_at(1)
    forged = Decided(certificate=street.members.committed(4, carried, (), 2), proposal=block(base, 9))
    made = street.made(street.stated(0, 1, 2), added=(forged,))
    begun(street)
    later = street.made(street.stated(0, 1, 2, era=2), era=2, added=(forged,))
    for signed in (made, later):
        assert signed.plan.carried == carried
        assert carried_proposal(signed, street.past) == block(base, 2, NEW_KEY)
        assert refuses_the_first_key(street, signed)


# --- eras ------------------------------------------------------------------------------------------------------


def begun(
    street: Street, stating: tuple[int, ...] = EVERYBODY, applying: tuple[int, ...] | None = None
) -> SignedPlan:
    """Era 1: some state, all of these agree, some apply."""
    signed = street.made(street.stated(*stating))
    street.join_all(signed.plan, *stating)
    for number in stating if applying is None else applying:
        assert not isinstance(street.apply(number, signed.plan), PlanRefusal)
    return signed


def test_a_plan_follows_the_highest_era_that_somebody_lives_in_or_agreed_to() -> None:
    for applying in (EVERYBODY, (0, 1), (2,), ()):
        street = Street(4)
        first = begun(street, applying=applying)
        second = street.made(street.stated(*EVERYBODY, era=2), era=2).plan
        assert (second.follows.era, second.follows.plan) == (1, plan_digest(first.plan))
        sets = [start.number for start in street.past.eras(second.follows).starts]
        assert sets == [1]


def test_two_plans_for_one_era_need_more_statements() -> None:
    street = Street(4)
    one = street.made(street.stated(0, 1, 2)).plan
    other = street.made([*street.stated(3), *street.stated(0, 1)]).plan
    assert one != other
    assert street.join(2, one) is None
    assert street.join(3, other) is None
    statements = street.stated(*EVERYBODY, era=2)
    assert street.plan(statements, era=2) is PlanRefusal.RIVAL_PLANS
    assert isinstance(street.plan(statements[:3], era=2), SignedPlan)


def test_a_plan_that_is_not_at_hand_cannot_be_followed() -> None:
    street = Street(4)
    statements = street.stated(*EVERYBODY, era=2)
    joined = JoinedPlan(era=EraNumber(1), plan=Digest(bytes(32)))
    statements[0] = resigned(street, statements[0], joined=joined)
    assert street.plan(statements, era=2) is PlanRefusal.UNKNOWN_PLAN


def test_the_followed_plans_carried_block_is_older_than_all_that_its_era_prepared() -> None:
    street = Street(4)
    carried = street.prepare(1, holders=(0,))
    begun(street)
    assert street.made(street.stated(*EVERYBODY, era=2), era=2).plan.carried == carried
    other = Street(4)
    other.prepare(1, holders=(0,))
    begun(other)
    newer = other.prepare(2, holders=(3,), slot=5)
    assert other.made(other.stated(*EVERYBODY, era=2), era=2).plan.carried == newer


def test_what_an_era_prepared_is_older_than_all_that_a_later_one_did() -> None:
    street = Street(4)
    old = street.prepare(1, holders=(3,), slot=50)
    begun(street, stating=(0, 1, 2))
    assert street.homes[3].prepared is not None
    statements = street.stated(*EVERYBODY, era=2)
    assert street.made(statements, era=2).plan.carried == old
    street.homes[0].sign_state = replace(
        street.homes[0].sign_state, standing=replace(street.homes[0].sign_state.standing, sealed_below=EraNumber(1))
    )
    new = street.prepare(2, holders=(0,), slot=5)
    assert street.made([*street.stated(0, era=2), *statements[1:]], era=2).plan.carried == new


def test_what_an_older_era_decided_above_the_followed_base_is_a_claim_and_no_base() -> None:
    """Era 1 lost a block that member 3, who was away, still has; and era 1 has not prepared anything there."""
    street = Street(4)
    street.decide(1, seen_by=EVERYBODY)
    lost = street.decide(2, seen_by=(3,))
    begun(street, stating=(0, 1, 2))
    plan = street.made(street.stated(*EVERYBODY, era=2), era=2).plan
    assert (plan.base, plan.carried) == (1, lost)


def test_such_a_claim_gives_way_to_what_the_later_era_prepared_and_to_what_it_decided() -> None:
    street = Street(4)
    street.decide(1, seen_by=EVERYBODY)
    street.decide(2, seen_by=(3,))
    begun(street, stating=(0, 1, 2))
    newer = street.prepare(5, holders=(1,))
    assert street.made(street.stated(*EVERYBODY, era=2), era=2).plan.carried == newer
    street = Street(4)
    street.decide(1, seen_by=EVERYBODY)
    street.decide(2, seen_by=(3,))
    begun(street, stating=(0, 1, 2))
    decided = street.decide(6, seen_by=(0, 1, 2))
    plan = street.made(street.stated(*EVERYBODY, era=2), era=2).plan
    assert (plan.base, plan.base_block, plan.carried) == (2, decided, None)


def test_an_older_eras_block_further_below_must_be_shown() -> None:
    street = Street(4)
    street.decide(1, seen_by=EVERYBODY)
    for number in (2, 3, 4):
        street.decide(number, seen_by=(3,))
    begun(street, stating=(0, 1, 2))
    statements = street.stated(*EVERYBODY, era=2)
    assert street.plan(statements, era=2) is PlanRefusal.BLOCK_MISSING
    shown = street.homes[3].decided[1]
    assert street.made(statements, era=2, added=(shown,)).plan.carried == shown.certificate.block


def test_quorums_of_earlier_eras_are_needed_as_long_as_somebody_lives_there() -> None:
    """Seven, two of them gone: of the five that go on a quorum is no quorum of seven."""
    street = Street(7)
    first = street.made(street.stated(0, 1, 2, 3, 4), [street.gone(5), street.gone(6)])
    street.join_all(first.plan, 0, 1, 2, 3, 4)
    for number in (0, 1, 2, 3):
        street.apply(number, first.plan)
    second = street.made(street.stated(0, 1, 2, 3, era=2), era=2).plan
    assert [len(members) for members in second.quorums] == [5]
    statements = street.stated(0, 1, 2, era=2) + street.stated(4, era=2)
    assert street.plan(statements, era=2) is PlanRefusal.TOO_FEW, "member 4 lives in the first era of seven"
    third = street.made([*statements, *street.stated(3, era=2)], era=2).plan
    assert [len(members) for members in third.quorums] == [5, 7]


def test_who_was_said_to_be_gone_is_heard_for_its_block_and_counts_for_no_quorum() -> None:
    street = Street(4)
    street.decide(1, seen_by=EVERYBODY)
    lost = street.decide(2, seen_by=(3,))
    first = street.made(street.stated(0, 1, 2), [street.gone(3)])
    street.join_all(first.plan, 0, 1, 2)
    for number in (0, 1, 2):
        street.apply(number, first.plan)
    second = street.made(street.stated(*EVERYBODY, era=2), era=2).plan
    assert second.carried == lost
    assert Membership(second.members).addresses == tuple(street.address(number) for number in (0, 1, 2))
    assert street.plan([*street.stated(0, era=2), *street.stated(3, era=2)], era=2) is PlanRefusal.TOO_FEW
