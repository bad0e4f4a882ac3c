"""The steps of a ceremony at one home: what it writes down, what it refuses, and what makes a plan complete.

Four homes, F = 1, Q = 3; era 1 unless said otherwise. `test_plans` has what follows from statements.
"""

import pytest
from msgspec.structs import replace

from consensus.ceremony import (
    Applied,
    CeremonyRefusal,
    complete_statements,
    complete_statements_needed,
    keeps_all_decided,
    release,
)
from consensus.ceremony_records import Missing, SignedPlan
from consensus.cryptography import SigningKey
from consensus.era_plans import Join, Plan, is_complete, joiners, plan_digest
from consensus.events import (
    UNANSWERED,
    EraStanding,
    JoinedPlan,
    SignState,
    forgetful_sign_state,
    fresh_sign_state,
)
from consensus.identifiers import FIRST_HEIGHT, Digest, EraNumber, Height
from consensus.membership import Membership
from consensus.quorum import fault_bound, quorum
from tests.support.ceremonies import Street, TestHome, block
from tests.support.consensus import block_of

EVERYBODY = (0, 1, 2, 3)
NEW_KEY = SigningKey(b"\x77" * 32)


def standing_of(street: Street, number: int) -> EraStanding:
    return street.homes[number].sign_state.standing


# --- stating --------------------------------------------------------------------------------------------------


def test_who_states_is_sealed_and_numbers_what_it_says() -> None:
    street = Street(4)
    first, second, third = (street.stated(1, era=era)[0].statement for era in (1, 1, 3))
    assert [(one.era, one.number) for one in (first, second, third)] == [(1, 1), (1, 2), (3, 3)]
    assert standing_of(street, 1).is_sealed
    assert (standing_of(street, 1).sealed_below, standing_of(street, 1).statement) == (3, 3)
    assert street.state(1, era=2) is CeremonyRefusal.SEALED_HIGHER


def test_stating_changes_nothing_else_of_what_binds() -> None:
    street = Street(4)
    street.prepare(1, holders=(1,))
    before = street.homes[1].sign_state
    street.stated(1)
    after = street.homes[1].sign_state
    assert replace(after, standing=before.standing) == before


def test_a_statement_shows_all_that_its_author_has() -> None:
    street = Street(4)
    for number in (1, 2, 3):
        street.decide(number, seen_by=(1,))
    street.vote(4, voters=(1,), slot=8)
    street.prepare(5, holders=(1,), slot=6)
    home, statement = street.homes[1], street.stated(1)[0].statement
    assert (statement.height, statement.block) == (3, home.block_at(3))
    assert statement.decided == tuple(home.decided[1:])
    assert (statement.prepared, statement.voted) == (home.prepared, home.voted)
    assert (statement.applied.era, statement.joined) == (0, None)


@pytest.mark.parametrize(
    ("height", "changes", "missing"),
    [
        (0, {}, ()),
        (0, {"height": Height(3)}, (Missing.BLOCKS,)),  # nothing was signed at 3, but perhaps below
        (0, {"silent_through": UNANSWERED}, (Missing.SIGN_STATE,)),
        (0, {"silent_through": Height(1)}, (Missing.SIGN_STATE,)),
        (1, {"silent_through": Height(1)}, ()),
        (0, {"height": Height(3), "attempts": 1}, (Missing.BLOCKS,)),
        (0, {"height": Height(1), "attempts": 1}, ()),
        (1, {"height": Height(1), "attempts": 1}, ()),
    ],
)
def test_a_statement_says_what_is_lost(height: int, changes: dict[str, object], missing: tuple[Missing, ...]) -> None:
    street = Street(4)
    for number in range(height):
        street.decide(number, seen_by=EVERYBODY)
    home = street.homes[1]
    home.sign_state = replace(home.sign_state, **changes)
    statement = street.stated(1)[0].statement
    assert statement.missing == missing
    assert statement.is_complete is (missing == ())


def test_a_record_that_the_sign_state_names_and_that_is_gone_is_missed() -> None:
    street = Street(4)
    street.prepare(1, holders=(0, 1))
    street.homes[1].prepared = None
    assert [one.statement.missing for one in street.stated(0, 1)] == [(), (Missing.RECORD,)]


def test_who_is_no_member_states_nothing() -> None:
    street = Street(4)
    street.homes[1].key = NEW_KEY
    assert street.state(1) is CeremonyRefusal.NO_MEMBER
    assert street.homes[1].sign_state == fresh_sign_state(FIRST_HEIGHT)


# --- agreeing -------------------------------------------------------------------------------------------------


def planned(street: Street, *numbers: int) -> Plan:
    return street.made(street.stated(*numbers)).plan


def test_who_agrees_remembers_what_it_agreed_to() -> None:
    street = Street(4)
    plan = planned(street, *EVERYBODY)
    assert street.join(1, plan) is None
    assert standing_of(street, 1).joined == JoinedPlan(era=EraNumber(1), plan=plan_digest(plan))
    assert street.join(1, plan) is None, "the same again is the same"
    assert {author for author, _ in joiners(plan, street.joins_of(plan))} == {street.address(1)}


def test_only_the_newest_statement_is_agreed_with() -> None:
    street = Street(4)
    plan = planned(street, *EVERYBODY)
    street.stated(1)
    assert street.join(1, plan) is CeremonyRefusal.OTHER_STATEMENT
    three = planned(street, 0, 2, 3)
    assert street.join(1, three) is CeremonyRefusal.OTHER_STATEMENT


def test_a_sign_state_that_was_made_anew_agrees_with_no_older_statement() -> None:
    """Its numbers begin again, and what it says first has the number of an older statement."""
    street = Street(4)
    plan = planned(street, *EVERYBODY)
    street.forget(1)
    again = street.stated(1)[0]
    assert again.statement.number == 1
    assert street.join(1, plan) is CeremonyRefusal.OTHER_STATEMENT


def test_who_is_not_sealed_below_exactly_this_era_does_not_agree() -> None:
    street = Street(4)
    plan = planned(street, *EVERYBODY)
    released = release(street.homes[1].sign_state)
    assert isinstance(released, SignState)
    street.homes[1].sign_state = released
    assert street.join(1, plan) is CeremonyRefusal.NOT_SEALED
    street.stated(2, era=2)
    assert street.join(2, plan) is CeremonyRefusal.NOT_SEALED


def test_nobody_agrees_to_two_plans_of_one_era_nor_to_an_older_one() -> None:
    street = Street(4)
    statements = street.stated(*EVERYBODY)
    one, other = street.made(statements).plan, street.made(statements[:3]).plan
    assert street.join(1, one) is None
    assert street.join(1, other) is CeremonyRefusal.JOINED_ANOTHER
    home = street.homes[2]
    later = JoinedPlan(era=EraNumber(2), plan=Digest(bytes(32)))
    home.sign_state = replace(home.sign_state, standing=replace(home.sign_state.standing, joined=later))
    assert street.join(2, one) is CeremonyRefusal.JOINED_ANOTHER


def test_an_era_that_has_passed_is_not_agreed_to() -> None:
    street = Street(4)
    plan = planned(street, *EVERYBODY)
    street.join_all(plan, *EVERYBODY)
    street.apply(0, plan)
    assert street.join(0, plan) is CeremonyRefusal.ERA_PASSED
    assert street.state(0) is CeremonyRefusal.ERA_PASSED


# --- taking it back -------------------------------------------------------------------------------------------


def test_a_seal_is_taken_back_down_to_what_was_begun_or_agreed_to() -> None:
    street = Street(4)
    street.stated(1)
    released = release(street.homes[1].sign_state)
    assert isinstance(released, SignState)
    assert not released.standing.is_sealed
    assert released.standing.statement == 1
    assert release(released) is CeremonyRefusal.NOT_SEALED
    plan = planned(street, 0, 2, 3)
    street.join_all(plan, 0)
    assert release(street.homes[0].sign_state) is CeremonyRefusal.AGREED
    street.stated(0, era=5)
    back = release(street.homes[0].sign_state)
    assert isinstance(back, SignState)
    assert back.standing.sealed_below == 1, "it agreed to era 1"


# --- complete -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 4, 5, 7])
def test_a_plan_is_complete_with_the_agreement_of_a_quorum(count: int) -> None:
    street = Street(count)
    plan = planned(street, *range(count))
    for number in range(count):
        assert is_complete(plan, street.joins_of(plan)) is (number >= quorum(count))
        street.join_all(plan, number)


def test_agreements_of_the_old_members_count_not_of_those_who_go_on() -> None:
    """Seven members, two of them gone: a quorum of the five that go on is four, of the old seven five."""
    street = Street(7)
    plan = street.made(street.stated(0, 1, 2, 3, 4), [street.gone(5), street.gone(6)]).plan
    street.join_all(plan, 0, 1, 2, 3)
    assert Membership(plan.members).quorum == 4
    assert not is_complete(plan, street.joins_of(plan))
    street.join_all(plan, 4)
    assert is_complete(plan, street.joins_of(plan))


def test_two_plans_of_one_era_are_never_both_complete() -> None:
    """Each removes whom the other is made of: both would have a quorum of those who go on in their own plan."""
    street = Street(4)
    statements = street.stated(*EVERYBODY)
    one = street.made(statements[:3], [street.gone(3)]).plan
    other = street.made(statements[1:], [street.gone(0)]).plan
    for plan in (one, other):
        for number in EVERYBODY:
            street.join(number, plan)
    assert is_complete(one, street.joins_of(one))
    assert not is_complete(other, street.joins_of(other))


def test_an_agreement_counts_once_under_its_authors_key_and_for_its_plan() -> None:
    street = Street(4)
    statements = street.stated(*EVERYBODY)
    plan, other = street.made(statements).plan, street.made(statements[:3]).plan
    street.join_all(plan, 0, 1)
    joins = street.joins_of(plan)
    assert not is_complete(plan, joins * 3)
    assert not is_complete(plan, [*joins, replace(joins[0], author=street.address(2))])
    assert not is_complete(other, joins)
    stranger = Join(author=NEW_KEY.address, signature=NEW_KEY.sign(b""))
    assert len(joiners(plan, [*joins, stranger])) == 2


@pytest.mark.parametrize("members", [3, 4, 5, 6, 7, 13])
def test_so_many_complete_statements_share_an_honest_one_with_any_quorum_that_committed(members: int) -> None:
    needed = complete_statements_needed(members)
    assert needed + quorum(members) - members == fault_bound(members) + 1
    assert {3: 2, 4: 3, 5: 3, 6: 4, 7: 5}.get(members, needed) == needed


def test_complete_statements_count_of_those_who_agreed() -> None:
    street = Street(4)
    street.forget(3)
    plan = planned(street, *EVERYBODY)
    street.join_all(plan, 0, 1, 3)
    assert complete_statements(plan, street.joins_of(plan)) == 2
    assert not keeps_all_decided(plan, street.joins_of(plan))
    street.join_all(plan, 2)
    assert complete_statements(plan, street.joins_of(plan)) == 3
    assert keeps_all_decided(plan, street.joins_of(plan))


# --- applying -------------------------------------------------------------------------------------------------


def agreed(street: Street, *departures: int) -> Plan:
    """A complete plan of all who are not said to be gone."""
    there = [number for number in EVERYBODY if number not in departures]
    plan = street.made(street.stated(*there), [street.gone(number) for number in departures]).plan
    street.join_all(plan, *there)
    return plan


def test_who_agreed_begins_the_era_with_nothing_that_binds() -> None:
    street = Street(4)
    street.decide(1, seen_by=EVERYBODY)
    street.prepare(2, holders=(1,))
    plan = agreed(street)
    joined = standing_of(street, 1)
    applied = street.apply(1, plan)
    standing = replace(joined, era=EraNumber(1), plan=plan_digest(plan), sealed_below=EraNumber(1))
    assert applied == Applied(sign_state=fresh_sign_state(Height(2), standing), drops_carried=False)
    assert not standing.is_sealed


def test_doing_it_again_changes_nothing() -> None:
    street = Street(4)
    plan = agreed(street)
    street.apply(1, plan)
    street.prepare(5, holders=(1,))
    before = street.homes[1].sign_state
    assert street.apply(1, plan) is CeremonyRefusal.ERA_PASSED
    assert street.homes[1].sign_state == before


@pytest.mark.parametrize("how", ["late", "forgot", "old backup", "signed in the era"])
def test_who_may_have_been_there_before_keeps_silent_and_asks(how: str) -> None:
    street = Street(4)
    backup = street.homes[3].sign_state
    plan = street.made(street.stated(0, 1, 2, *(() if how == "late" else (3,)))).plan
    street.join_all(plan, 0, 1, 2)
    if how != "late":
        street.join_all(plan, 3)
    if how == "forgot":
        street.forget(3)
    if how == "old backup":
        street.homes[3].sign_state = backup
    applied = street.apply(3, plan, signed_in=int(how == "signed in the era"))
    assert isinstance(applied, Applied)
    assert applied.sign_state.silent_through == UNANSWERED
    assert (applied.sign_state.standing.era, applied.sign_state.height) == (1, 1)


def test_a_home_in_the_place_of_another_begins_with_its_own_key_and_the_old_one_does_not() -> None:
    street = Street(4)
    plan = street.made(street.stated(0, 1, 2), [street.replaced(3, NEW_KEY)]).plan
    street.join_all(plan, 0, 1, 2)
    assert street.apply(3, plan) is CeremonyRefusal.NO_MEMBER
    street.homes[3] = TestHome(NEW_KEY.of_member(street.address(3)))
    applied = street.apply(3, plan)
    assert isinstance(applied, Applied)
    assert applied.sign_state == fresh_sign_state(
        Height(1), EraStanding(era=EraNumber(1), plan=plan_digest(plan), sealed_below=EraNumber(1))
    )
    lost = TestHome(NEW_KEY.of_member(street.address(3)), sign_state=forgetful_sign_state(FIRST_HEIGHT))
    street.homes[3] = lost
    again = street.apply(3, plan)
    assert isinstance(again, Applied)
    assert again.sign_state.silent_through == UNANSWERED


def test_who_is_gone_does_not_begin_the_era() -> None:
    street = Street(4)
    plan = agreed(street, 3)
    assert street.apply(3, plan) is CeremonyRefusal.NO_MEMBER
    assert isinstance(street.apply(0, plan), Applied)


def test_a_plan_without_its_quorum_begins_nothing() -> None:
    street = Street(4)
    plan = planned(street, *EVERYBODY)
    street.join_all(plan, 0, 1)
    before = street.homes[0].sign_state
    assert street.apply(0, plan) is CeremonyRefusal.NOT_COMPLETE
    assert street.homes[0].sign_state == before


def test_who_agreed_to_another_plan_or_stated_for_a_later_era_does_not_begin_this_one() -> None:
    street = Street(4)
    statements = street.stated(*EVERYBODY)
    one, other = street.made(statements).plan, street.made(statements[1:]).plan
    street.join_all(one, 0, 1, 2)
    street.join_all(other, 3)
    assert street.apply(3, one) is CeremonyRefusal.JOINED_ANOTHER
    street.stated(2, era=2)
    assert street.apply(2, one) is CeremonyRefusal.SEALED_HIGHER


def test_a_ledger_above_the_base_is_refused_but_for_exactly_the_carried_block() -> None:
    street = Street(4)
    street.decide(1, seen_by=EVERYBODY)
    carried = street.prepare(2, holders=(0,))
    plan = agreed(street, 3)
    assert (plan.base, plan.carried) == (1, carried)
    other = Street(4)
    for number, refusal in (
        ((2,), None),
        ((7,), CeremonyRefusal.LEDGER_ABOVE),
        ((2, 3), CeremonyRefusal.LEDGER_ABOVE),
    ):
        home = street.homes[1]
        home.decided = home.decided[:1]
        standing = home.sign_state
        for one in number:
            street.decide(one, seen_by=(1,))
        applied = street.apply(1, plan)
        if refusal is None:
            assert isinstance(applied, Applied)
            assert applied.drops_carried
            assert home.height == 1
            home.sign_state = standing
            home.applied = other.homes[0].applied
        else:
            assert applied is refusal


def test_a_carried_block_that_the_era_itself_decided_stays_and_with_it_what_shows_that_the_home_was_there() -> None:
    """Dropped, a beginning that is interrupted and taken again would find nothing of what was signed in the era."""
    street = Street(4)
    street.prepare(1, holders=(0,))
    plan = agreed(street, 3)
    street.decide(1, seen_by=(1,))
    applied = street.apply(1, plan, signed_in=1)
    assert isinstance(applied, Applied)
    assert not applied.drops_carried
    assert applied.sign_state.silent_through == UNANSWERED


def test_another_block_at_the_base_is_refused() -> None:
    street = Street(4)
    street.decide(1, seen_by=(0, 1, 2))
    plan = street.made(street.stated(0, 1, 2)).plan
    street.join_all(plan, 0, 1, 2)
    street.decide(9, seen_by=(3,))
    assert street.apply(3, plan) is CeremonyRefusal.OTHER_BLOCK
    street.homes[3].decided.clear()
    assert isinstance(street.apply(3, plan), Applied), "blocks that it lacks are fetched"


# --- from one era to the next ---------------------------------------------------------------------------------


def test_a_plan_that_does_not_complete_is_followed_by_one_of_the_next_era() -> None:
    street = Street(4)
    carried = street.prepare(1, holders=(0,))
    first = planned(street, *EVERYBODY)
    street.join_all(first, 0, 1)
    second = street.made(street.stated(*EVERYBODY, era=2), era=2).plan
    assert second.follows.era == 1
    assert second.carried == carried == block_of(block(street.homes[0].block_at(0), 1))
    street.join_all(second, *EVERYBODY)
    assert isinstance(street.apply(0, second), Applied)
    assert street.apply(1, first) is CeremonyRefusal.SEALED_HIGHER
    standing = standing_of(street, 0)
    assert (standing.era, standing.plan) == (2, plan_digest(second))


def test_the_whole_way_twice() -> None:
    street = Street(4)
    street.decide(1, seen_by=EVERYBODY)
    signed: list[SignedPlan] = []
    for era in (1, 2):
        street.forget(0, 1)
        if era == 2:
            for number in (0, 1):  # lost once more, in era 1: a new sign state learns of the era from the ledger
                assert street.start_of(number).eras.newest.number == 1
        signed.append(street.made(street.stated(*EVERYBODY, era=era), era=era))
        street.join_all(signed[-1].plan, *EVERYBODY)
        for number in EVERYBODY:
            assert isinstance(street.apply(number, signed[-1].plan, signed_in=era - 1), Applied)
        street.decide(era + 1, seen_by=EVERYBODY)
    assert [plan.plan.follows.era for plan in signed] == [0, 1]
    assert [decided.certificate.era for decided in street.homes[0].decided] == [0, 1, 2]
