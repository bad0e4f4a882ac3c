"""Eras: which one a height belongs to, what its domain covers, and how members of different eras treat each other.

`LATER` is a chain that had a ceremony: heights above 3 are of era 1.
"""

import dataclasses

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.eras import ERAS_MAX, FIRST_ERA, Eras, EraStart, era_of, first_era
from consensus.events import (
    UNANSWERED,
    Arrived,
    EraStanding,
    JoinedPlan,
    KeepSilent,
    SignState,
    fresh_sign_state,
    standing_in,
)
from consensus.identifiers import Digest, EraNumber, Height, Slot
from consensus.messages import NUMBER_MAX, Claim, Commit, Message, Prepare, PrePrepare, Status, ViewChange
from consensus.silence import Silence
from consensus.verification import Refusal
from node.home.sign_state import PAYLOAD_SIZE_BYTES_MAX
from tests.support.consensus import BLOCK_A, CHAIN, ERA, A, Members, Scenario

PLAN, OTHER_PLAN = Digest(b"\x01" * 32), Digest(b"\x02" * 32)
START = EraStart(number=EraNumber(1), plan=PLAN, base=Height(3))
LATER = Eras(CHAIN, (START,))
OLD, NEW = Members(4), Members(4, era=LATER.newest)


def in_new_era(height: int = 4, slot: int = 4) -> Scenario:
    """A replica of the era that began above 3; heights up to 3 are decided in the first one."""
    scenario = Scenario(own=1, slot=slot)
    scenario.eras = LATER
    scenario.sign_state = fresh_sign_state(Height(4), standing_in(LATER.newest))
    scenario.restart()
    for decided in range(1, height):
        scenario.receive((OLD if decided <= 3 else NEW).decided(slot, height=decided))
        scenario.applied(header_slot=slot)
    scenario.forget()
    return scenario


# --- the value ------------------------------------------------------------------------------------------------


def test_a_chain_without_a_ceremony_has_one_era_and_its_domain_is_the_chain() -> None:
    assert Eras(CHAIN).newest == Eras(CHAIN).at(Height(10**9)) == first_era(CHAIN)
    assert (first_era(CHAIN).number, first_era(CHAIN).domain) == (FIRST_ERA, CHAIN)


def test_an_era_owns_the_heights_above_its_base() -> None:
    third = EraStart(number=EraNumber(4), plan=OTHER_PLAN, base=Height(9))
    eras = Eras(CHAIN, (START, third))
    assert [eras.at(Height(height)).number for height in (1, 3, 4, 9, 10, 99)] == [0, 0, 1, 1, 4, 4]
    assert eras.newest == eras.at(Height(10)) == era_of(CHAIN, third)


def test_an_era_that_decided_nothing_owns_nothing() -> None:
    eras = Eras(CHAIN, (START, EraStart(number=EraNumber(2), plan=OTHER_PLAN, base=Height(3))))
    assert [eras.at(Height(height)).number for height in (3, 4)] == [0, 2]


def test_the_domain_covers_chain_number_and_plan() -> None:
    starts = [
        (CHAIN, START),
        (BLOCK_A, START),
        (CHAIN, EraStart(number=EraNumber(2), plan=PLAN, base=START.base)),
        (CHAIN, EraStart(number=START.number, plan=OTHER_PLAN, base=START.base)),
    ]
    assert len({Eras(chain, (start,)).newest.domain for chain, start in starts} | {CHAIN}) == 5


# --- whose signatures count -----------------------------------------------------------------------------------


@pytest.mark.parametrize("height", [3, 4])
def test_only_statements_of_the_heights_own_era_count(height: int) -> None:
    scenario = in_new_era(height)
    right, wrong = (OLD, NEW) if height == 3 else (NEW, OLD)
    for members in (wrong, right):
        scenario.receive(
            members.vote(2, 5, height=height),
            members.commit(2, 5, height=height),
            members.view_change(2, 9, height=height),
        )
    assert scenario.refused == [Refusal.BAD_SIGNATURE] * 3
    tallies = scenario.replica._member.state
    assert all(tally.signers == 1 for tally in (tallies.votes, tallies.commits, tallies.view_changes))


@pytest.mark.parametrize("height", [3, 4])
def test_only_certificates_of_the_heights_own_era_decide(height: int) -> None:
    scenario = in_new_era(height)
    right, wrong = (OLD, NEW) if height == 3 else (NEW, OLD)
    scenario.receive(wrong.decided(5, height=height))
    assert scenario.decisions == []
    scenario.receive(right.decided(5, height=height))
    assert len(scenario.decisions) == 1


def test_a_certificate_that_names_another_era_than_its_signatures_counts_nowhere() -> None:
    mislabelled = Members(4)
    mislabelled.era = dataclasses.replace(ERA, number=EraNumber(1))
    scenario = Scenario(own=1, slot=4)
    scenario.receive(mislabelled.view_change(2, 9, mislabelled.prepared(4)))
    assert scenario.refused == [Refusal.CLAIM_WITHOUT_CERTIFICATE]
    scenario.receive(mislabelled.decided(4))
    assert scenario.decisions == []


def test_a_member_signs_in_the_era_of_the_height_and_names_it_in_certificates() -> None:
    scenario = in_new_era()
    scenario.receive(NEW.pre_prepare(4, height=4))
    scenario.execute(A, 4, height=4)
    assert scenario.sent_of(Prepare) == [NEW.vote(1, 4, height=4)]
    scenario.receive(*(NEW.vote(member, 4, height=4) for member in (0, 2, 3)))
    assert scenario.prepared is not None
    assert scenario.prepared.certificate.era == 1
    scenario.receive(*(NEW.commit(member, 4, height=4) for member in (0, 2, 3)))
    assert [decision.certificate.era for decision in scenario.decisions] == [1]


# --- members of different eras --------------------------------------------------------------------------------


def status(era: int, undecided: int) -> Status:
    return OLD.status(2, undecided, era=era)


def test_who_is_in_another_era_is_told_where_this_member_is_and_sent_nothing_else() -> None:
    for scenario, message in (
        (in_new_era(5), status(0, 4)),  # the old era's height 4 is not the one that this member has
        (in_new_era(5), status(0, 9)),
        (in_new_era(5), status(2, 3)),
        (Scenario(own=1, slot=4), status(1, 9)),
    ):
        undecided, era = scenario.replica.height, scenario.replica.era.number
        told = dict(scenario.replica._member.told)
        scenario.receive(message, sender=2)
        assert scenario.answers == []
        assert [(sent.era, sent.undecided) for sent in scenario.sent_of(Status)] == [(era, undecided)]
        assert scenario.recipients == [(OLD.address(2),)]
        assert scenario.replica.other_eras == {OLD.address(2): message.era}
        assert scenario.replica._member.told == told
        assert scenario.replica._member.clocks.reported(scenario.now()) == {}


def test_it_is_told_once_a_slot_at_most() -> None:
    scenario = in_new_era(5)
    for _ in range(5):
        scenario.step(Arrived(sender=OLD.address(2), message=status(0, 9)))
    assert len(scenario.sent) == 1
    scenario.monotonic_ms += 1_000
    scenario.step(Arrived(sender=OLD.address(2), message=status(0, 9)))
    assert len(scenario.sent) == 2


def test_who_is_behind_the_base_gets_the_blocks_up_to_it_whatever_era_it_knows() -> None:
    scenario = in_new_era(5)
    scenario.receive(status(0, 2), sender=2)
    assert [(answer.recipient, answer.first) for answer in scenario.answers] == [(OLD.address(2), 2)]
    assert scenario.replica.other_eras == {}


def test_who_came_over_is_no_stranger_any_more() -> None:
    scenario = in_new_era(5)
    scenario.receive(status(0, 9), sender=2)
    scenario.receive(status(1, 5), sender=2)
    assert scenario.replica.other_eras == {}


@pytest.mark.parametrize("message", [NEW.decided(5), NEW.decided(5, height=3)], ids=["undecided", "held"])
def test_a_decided_block_of_another_era_is_answered_with_the_own_one(message: Message) -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(message, sender=2)
    assert (scenario.verified, scenario.refused, scenario.decisions) == (0, [], [])
    assert [sent.era for sent in scenario.sent_of(Status)] == [0]
    assert scenario.replica.other_eras == {OLD.address(2): 1}


# --- what a member's sign state says of eras ---------------------------------------------------------------------

SIGNED = (PrePrepare, Prepare, Commit, ViewChange)


def with_standing(standing: EraStanding, height: int = 1, eras: Eras | None = None) -> Scenario:
    """A replica that starts at height 1 with this standing; in the first era unless told."""
    scenario = Scenario(own=1, slot=4)
    scenario.sign_state = fresh_sign_state(Height(height), standing)
    scenario.eras = scenario.eras if eras is None else eras
    scenario.restart()
    return scenario


def signs(scenario: Scenario, members: Members, height: int) -> bool:
    """Tempts a replica to vote, to commit and to ask for another slot."""
    signed: list[Message] = []
    scenario.receive(members.pre_prepare(4, height=height))
    scenario.execute(A, 4, height=height)
    signed += scenario.sent
    scenario.receive(*(members.vote(member, 4, height=height) for member in (0, 2, 3)))
    signed += scenario.sent
    scenario.receive(*(members.view_change(member, 9, height=height) for member in (2, 3)))
    signed += scenario.sent
    scenario.tick(2)
    return any(isinstance(message, SIGNED) for message in signed + scenario.sent)


def test_who_gave_up_its_era_signs_nothing_and_appends_nothing_that_it_decides() -> None:
    assert signs(with_standing(EraStanding()), OLD, 1)
    scenario = with_standing(EraStanding(sealed_below=EraNumber(1)))
    assert not signs(scenario, OLD, 1)
    scenario.receive(*(OLD.commit(member, 4) for member in (0, 2, 3)))
    assert scenario.decisions == []
    scenario.receive(OLD.decided(4))
    assert scenario.decisions == []
    found = scenario.replica.explain(scenario.now(), {})
    assert found.silence is Silence.SEALED


def test_giving_up_an_era_outlives_restarts_and_the_inquiry() -> None:
    scenario = with_standing(EraStanding(sealed_below=EraNumber(1)))
    scenario.step(KeepSilent(through=UNANSWERED))
    scenario.step(KeepSilent(through=Height(0)))
    assert scenario.sign_state.standing.sealed_below == 1
    scenario.restart()
    assert not signs(scenario, OLD, 1)


def test_the_standing_outlives_the_heights() -> None:
    standing = EraStanding(joined=JoinedPlan(era=EraNumber(1), plan=PLAN), statement=3)
    scenario = with_standing(standing)
    for height in (1, 2, 3):
        scenario.vote_for(4) if height == 1 else scenario.receive(OLD.view_change(2, 9, height=height))
        scenario.receive(OLD.decided(4, height=height))
        scenario.applied(header_slot=4)
    assert signs(scenario, OLD, 4)
    assert (scenario.sign_state.height, scenario.sign_state.standing) == (4, standing)


def test_below_the_base_a_member_of_the_new_era_follows_and_signs_nothing() -> None:
    scenario = with_standing(standing_in(LATER.newest), height=4, eras=LATER)
    for height in (1, 2, 3):
        assert not signs(scenario, OLD, height)
        assert scenario.replica.explain(scenario.now(), {}).silence is Silence.OLDER_ERA
        scenario.receive(OLD.decided(4, height=height))
        scenario.applied(header_slot=4)
    assert signs(scenario, NEW, 4)


def test_a_sign_state_of_a_later_height_at_which_nothing_was_signed_keeps_silent_below_it_only() -> None:
    for signed, last in ((fresh_sign_state(Height(3)), 2), (replace(fresh_sign_state(Height(3)), attempts=1), 3)):
        scenario = Scenario(own=1, slot=4)
        scenario.sign_state = signed
        scenario.restart()
        assert scenario.replica.silent_through == last


def test_a_sign_state_that_knows_nothing_of_the_ledgers_era_is_an_old_one_and_the_others_are_asked() -> None:
    scenario = with_standing(EraStanding(), height=4, eras=LATER)
    assert scenario.replica.silent_through == UNANSWERED
    scenario.tick()
    assert scenario.sign_state.standing == standing_in(LATER.newest)
    assert scenario.sign_state.silent_through == UNANSWERED
    scenario.restart()
    assert scenario.replica.silent_through == UNANSWERED


def test_who_gave_up_its_era_does_not_go_on_by_the_ledger_alone() -> None:
    scenario = with_standing(EraStanding(sealed_below=EraNumber(1)), height=1, eras=LATER)
    assert scenario.replica.silent_through == 0
    assert not signs(scenario, OLD, 1)
    assert scenario.sign_state.standing.era == 0


def test_a_sign_state_of_an_era_that_the_ledger_does_not_know_is_the_hosts_mistake() -> None:
    with pytest.raises(AssertionError, match="has the plan"):
        with_standing(standing_in(LATER.newest))


def test_the_largest_sign_state_fits_its_file() -> None:
    claim = Claim(slot=Slot(NUMBER_MAX), block=BLOCK_A)
    largest = SignState(
        height=Height(NUMBER_MAX),
        voted=claim,
        promise=Slot(NUMBER_MAX),
        attempts=NUMBER_MAX,
        prepared=claim,
        silent_through=UNANSWERED,
        standing=EraStanding(
            era=EraNumber(ERAS_MAX),
            plan=PLAN,
            sealed_below=EraNumber(ERAS_MAX),
            joined=JoinedPlan(era=EraNumber(ERAS_MAX), plan=PLAN),
            statement=NUMBER_MAX,
            stated=PLAN,
        ),
    )
    assert set(SignState.__struct_fields__) == {
        "height", "voted", "promise", "attempts", "prepared", "silent_through", "standing",
    }  # fmt: skip
    assert decode(encode(largest), SignState) == largest
    assert 260 < len(encode(largest)) < 300 < PAYLOAD_SIZE_BYTES_MAX


def test_two_plans_of_one_number_have_two_domains() -> None:
    other = EraStart(number=START.number, plan=OTHER_PLAN, base=START.base)
    assert Eras(CHAIN, (START,)).newest.domain != Eras(CHAIN, (other,)).newest.domain
