"""P10: who hears a vote first, who hands certificates back to whom, and what a member does that gets none."""

from collections.abc import Iterable
from typing import Final

import pytest
from msgspec.structs import replace

import consensus.member
from consensus.collecting import DISTRUSTED_MS
from consensus.events import fresh_sign_state
from consensus.gathering import gathered_of
from consensus.identifiers import Height, Signature, Slot
from consensus.member import BODY_HOLDERS_ASKED
from consensus.messages import (
    BodyRequest,
    CertificateRequest,
    Commit,
    CommitCertificate,
    EndorsedStatement,
    Gathered,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Status,
    ViewChange,
)
from consensus.recovery import is_forgotten
from consensus.verification import Refusal
from tests.support.consensus import BLOCK_A, BLOCK_B, ERA, TAU_MS, A, Members, Scenario, body

SIZE: Final = 4
COUNT: Final = 14
"""Too many to pass on what others say."""
ALL: Final = Members(COUNT)
QUORUM: Final = ALL.membership.quorum
SLOT: Final = 4
"""Of most of it. Everything is at height 1."""

THIRD, HALF, TWO_THIRDS = 1 / 3 + 0.001, 1 / 2 + 0.001, 2 / 3 + 0.001
EIGHTH = 1 / 8 + 0.001


def cluster(slot: int = SLOT, height: int = 1) -> list[int]:
    """Numbers of C(height, slot), in the order drawn."""
    seen = Scenario(members=COUNT, cluster_size=SIZE)
    seen.height = Height(height)
    addresses = seen.memberships.undecided.addresses
    return [addresses.index(address) for address in seen.memberships.leaders.cluster(Slot(slot))]


C: Final = cluster()
LEADER: Final = C[SLOT % SIZE]
OUTSIDE: Final = [number for number in range(COUNT) if number not in C]
FOLLOWER: Final = OUTSIDE[0]
"""Outside the cluster."""
COLLECTOR: Final = next(number for number in C if number != LEADER)
PLACE: Final = C.index(COLLECTOR)
OWN_ASSIGNED: Final = [number for number in OUTSIDE if number % SIZE == PLACE]
NEXT_ASSIGNED: Final = [number for number in OUTSIDE if (number + 1) % SIZE == PLACE]


def member(own: int, members: int = COUNT, size: int = SIZE) -> Scenario:
    return Scenario(members=members, own=own, slot=SLOT, cluster_size=size)


def voted(own: int, *, justified: bool = False) -> Scenario:
    """A member that voted in the slot."""
    scenario = member(own)
    why = ALL.justification(SLOT) if justified else None
    leader = scenario.leader(SLOT, is_justified=justified)
    scenario.receive(ALL.pre_prepare(SLOT, A, why, by=leader))
    scenario.execute(A, SLOT, leader=leader)
    return scenario


def numbers(addresses: object) -> list[int]:
    known = ALL.membership.addresses
    return sorted(known.index(address) for address in addresses)  # type: ignore[attr-defined]


def told(scenario: Scenario, kind: type) -> list[list[int]]:
    """Numbers of those that each message of a kind went to."""
    sent = zip(scenario.sent, scenario.recipients, strict=True)
    return [numbers(recipients) for message, recipients in sent if isinstance(message, kind)]


def others(own: int, among: list[int] | range = range(COUNT)) -> list[int]:
    return sorted(number for number in among if number != own)


def votes(slot: int = SLOT, by: Iterable[int] | None = None) -> Gathered:
    return gathered_of(ALL.prepared(slot, by=by), ALL.membership)


def commits(slot: int = SLOT, by: Iterable[int] | None = None) -> Gathered:
    return gathered_of(ALL.committed(slot, by=by), ALL.membership)


def request(slot: int = SLOT, height: int = 1) -> CertificateRequest:
    return CertificateRequest(era=ERA.number, height=Height(height), slot=Slot(slot))


def prepared(own: int) -> Scenario:
    """A collector, or any other that hears all votes, that committed."""
    scenario = voted(own)
    scenario.receive(*(ALL.vote(number, SLOT) for number in others(own, range(QUORUM + 1))))
    return scenario


# --- who hears what first ----------------------------------------------------------------------------------------


def test_a_vote_goes_to_the_cluster_and_so_does_the_commit() -> None:
    scenario = voted(FOLLOWER)
    assert told(scenario, Prepare) == [sorted(C)]
    scenario.receive(votes(), sender=COLLECTOR)
    assert told(scenario, Commit) == [sorted(C)]


def test_a_proposal_goes_to_all() -> None:
    scenario = member(LEADER)
    scenario.work()
    scenario.propose(SLOT)
    assert told(scenario, PrePrepare) == [others(LEADER)]


def test_where_nothing_is_drawn_all_of_it_goes_to_all_and_nobody_asks_or_hands_out() -> None:
    scenario = member(1, members=4, size=0)
    four = Members(4)
    scenario.prepare_at(SLOT)
    assert [len(recipients) for recipients in scenario.recipients] == [3]
    scenario.tick(TWO_THIRDS)
    assert not scenario.sent_of(CertificateRequest)
    gathered = gathered_of(four.committed(SLOT), four.membership)
    scenario.receive(gathered, sender=2)
    assert (scenario.verified, scenario.decisions) == (0, [])


@pytest.mark.parametrize(
    "case", ["a justified proposal", "a slot given up", "after stage 2", "no vote of its own", "it passes on"]
)
def test_to_all_goes_what_is_not_on_the_fast_path(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if case == "a justified proposal":
        scenario = voted(FOLLOWER, justified=True)
        assert told(scenario, Prepare) == [others(FOLLOWER)]
        return
    scenario = member(FOLLOWER) if case == "no vote of its own" else voted(FOLLOWER)
    if case == "after stage 2":
        scenario.tick(TWO_THIRDS)
    if case == "it passes on":
        monkeypatch.setattr(consensus.member, "RELAY_MEMBERS_MAX", COUNT)
        scenario.replica._member.relay_through = Height(9)
    if case == "no vote of its own":
        scenario.receive(ALL.pre_prepare(SLOT, A, by=LEADER))
    scenario.receive(votes(), sender=COLLECTOR)
    if case == "a slot given up":
        assert told(scenario, Commit) == [sorted(C)]
        scenario.receive(*(ALL.view_change(number, SLOT + 1) for number in OUTSIDE[1:6]))
        assert scenario.sent_of(ViewChange)
        scenario.tick(1)
    assert told(scenario, Commit) == [others(FOLLOWER)]


def test_a_member_that_joins_with_the_next_height_is_handed_certificates_too() -> None:
    """Behind all members of this one: its number is theirs."""
    twelve = Members(COUNT + 1)
    own, other = C[COUNT % SIZE], C[(COUNT + 1) % SIZE]
    scenario = member(own)
    scenario.sets[2] = twelve
    scenario.restart()
    scenario.receive(commits(), sender=other)
    (place,) = [place for place, message in enumerate(scenario.sent) if isinstance(message, Gathered)]
    assert twelve.address(COUNT) in scenario.recipients[place]


# --- collectors --------------------------------------------------------------------------------------------------


def test_a_collector_hands_votes_to_those_that_fall_to_it_with_its_commit_once() -> None:
    scenario = prepared(COLLECTOR)
    assert told(scenario, Commit) == [others(COLLECTOR, C)]
    assert told(scenario, Gathered) == [OWN_ASSIGNED]
    (gathered,) = scenario.sent_of(Gathered)
    assert (gathered.kind, gathered.slot, gathered.block) == (EndorsedStatement.VOTE, SLOT, BLOCK_A)
    scenario.receive(*(ALL.vote(number, SLOT) for number in others(COLLECTOR)))
    assert scenario.sent == []


def test_an_eighth_of_a_slot_later_those_of_the_one_before_that_have_not_committed() -> None:
    scenario = prepared(COLLECTOR)
    assert len(NEXT_ASSIGNED) > 1
    scenario.receive(ALL.commit(NEXT_ASSIGNED[0], SLOT))
    assert scenario.sent == []
    scenario.tick(EIGHTH)
    assert told(scenario, Gathered) == [NEXT_ASSIGNED[1:]]
    scenario.tick(EIGHTH)
    assert scenario.sent_of(Gathered) == []


def test_between_them_collectors_reach_each_member_outside_once_and_then_once_more() -> None:
    first, second = [], []
    for own in C:
        scenario = prepared(own)
        ((*at_once,),) = told(scenario, Gathered)
        scenario.tick(EIGHTH)
        ((*later,),) = told(scenario, Gathered)
        assert not set(at_once) & set(later)
        first += at_once
        second += later
    assert sorted(first) == sorted(second) == OUTSIDE


def test_what_decides_leaves_with_the_deciding_step_and_again_for_who_is_not_further() -> None:
    scenario = prepared(COLLECTOR)
    scenario.receive(*(ALL.commit(number, SLOT) for number in others(COLLECTOR, range(QUORUM + 1))))
    assert scenario.decisions
    assert told(scenario, Gathered) == [OWN_ASSIGNED]
    assert [gathered.kind for gathered in scenario.sent_of(Gathered)] == [EndorsedStatement.COMMIT]
    scenario.applied(SLOT)
    assert scenario.sent == []
    scenario.receive(ALL.status(NEXT_ASSIGNED[0], 2))
    scenario.tick(EIGHTH)
    assert told(scenario, Gathered) == [NEXT_ASSIGNED[1:]]
    scenario.tick(EIGHTH)
    assert scenario.sent_of(Gathered) == []


def test_of_a_decided_block_that_it_was_sent_a_collector_hands_out_nothing() -> None:
    scenario = member(COLLECTOR)
    scenario.receive(ALL.decided(SLOT))
    assert scenario.decisions
    assert scenario.sent == []


def test_who_is_outside_hands_out_nothing() -> None:
    scenario = prepared(FOLLOWER)
    assert scenario.sent_of(Gathered) == []


def test_a_slot_that_needed_a_justification_was_told_to_all_and_nothing_is_handed_out() -> None:
    scenario = voted(COLLECTOR, justified=True)
    scenario.receive(*(ALL.vote(number, SLOT) for number in others(COLLECTOR, range(QUORUM + 1))))
    assert scenario.sent_of(Commit)
    assert scenario.sent_of(Gathered) == []


def test_a_collector_without_the_body_hands_out_what_decides() -> None:
    scenario = member(COLLECTOR)
    scenario.receive(*(ALL.commit(number, SLOT) for number in others(COLLECTOR, range(QUORUM + 1))))
    assert scenario.decisions == []
    assert told(scenario, Gathered) == [OWN_ASSIGNED]


# --- who is handed one -------------------------------------------------------------------------------------------


def test_a_certificate_of_votes_has_a_member_commit_and_one_of_commits_decides() -> None:
    scenario = voted(FOLLOWER)
    scenario.receive(votes(), sender=COLLECTOR)
    assert scenario.sent_of(Commit) == [ALL.commit(FOLLOWER, SLOT)]
    assert scenario.prepared is not None
    assert scenario.prepared.certificate == ALL.prepared(SLOT)
    scenario.receive(commits(), sender=COLLECTOR)
    assert [decision.certificate for decision in scenario.decisions] == [ALL.committed(SLOT)]


def test_who_applied_it_tells_the_collector_that_would_hand_it_out_again() -> None:
    scenario = voted(FOLLOWER)
    scenario.receive(votes(), sender=COLLECTOR)
    scenario.receive(commits(), sender=COLLECTOR)
    scenario.applied(SLOT)
    assert told(scenario, Status) == [[C[(FOLLOWER + 1) % SIZE]]]
    assert [message.undecided for message in scenario.sent_of(Status)] == [2]


@pytest.mark.parametrize("own", [FOLLOWER, COLLECTOR])
def test_nobody_tells_it_of_a_block_that_it_was_sent(own: int) -> None:
    scenario = member(own)
    scenario.receive(ALL.decided(SLOT))
    scenario.applied(SLOT)
    assert scenario.sent == []


def test_without_the_body_it_is_asked_for_and_then_the_certificate_still_decides() -> None:
    scenario = member(FOLLOWER)
    scenario.receive(commits(), sender=COLLECTOR)
    assert scenario.decisions == []
    assert len(scenario.sent_of(BodyRequest)) == 1
    scenario.receive(body(), sender=COLLECTOR)
    assert [decision.certificate for decision in scenario.decisions] == [ALL.committed(SLOT)]


def test_signatures_that_a_liar_pushes_out_of_the_tally_still_count_in_the_certificate() -> None:
    """A liar's vote is in it, and it sends one member votes of two higher slots; nobody else tells that one more."""
    liar, *honest = (number for number in range(COUNT) if number not in {FOLLOWER, LEADER})
    signers = [FOLLOWER, LEADER, liar, *honest[: QUORUM - 3]]
    scenario = voted(FOLLOWER)
    scenario.receive(ALL.vote(liar, 5), ALL.vote(liar, 6))
    scenario.receive(votes(by=signers), sender=COLLECTOR)
    assert scenario.sent_of(Commit) == [ALL.commit(FOLLOWER, SLOT)]
    scenario.receive(ALL.commit(liar, 5), ALL.commit(liar, 6))
    scenario.receive(commits(by=signers), sender=COLLECTOR)
    assert scenario.decisions


def test_statements_in_a_certificate_are_evidence() -> None:
    scenario = voted(FOLLOWER)
    scenario.receive(ALL.vote(C[1], SLOT, BLOCK_B), ALL.commit(C[1], SLOT, BLOCK_B))
    by = range(QUORUM) if C[1] < QUORUM else range(COUNT - QUORUM, COUNT)
    scenario.receive(votes(by=by), sender=COLLECTOR)
    assert [evidence.signer for evidence in scenario.evidence] == [ALL.address(C[1])]
    scenario.receive(commits(by=by), sender=COLLECTOR)
    assert [evidence.signer for evidence in scenario.evidence] == [ALL.address(C[1])]


# --- what is not looked at ---------------------------------------------------------------------------------------


def test_from_outside_the_cluster_nothing_is_looked_at_before_it_was_asked_for() -> None:
    scenario = voted(FOLLOWER)
    scenario.receive(votes(), sender=OUTSIDE[1])
    assert scenario.verified == 0
    scenario.tick(THIRD)
    ((*asked,),) = told(scenario, CertificateRequest)
    outside_of_other_slot = next(slot for slot in range(5, 99) if not set(asked) & set(cluster(slot)))
    scenario.receive(votes(outside_of_other_slot), sender=asked[0])
    assert scenario.verified == 1, "who was asked may have a higher one"


def test_after_stage_two_anybody_may_bring_one() -> None:
    scenario = voted(FOLLOWER)
    scenario.tick(TWO_THIRDS)
    scenario.receive(votes(), sender=OUTSIDE[1])
    assert scenario.sent_of(Commit)


def test_a_known_one_costs_nothing() -> None:
    scenario = voted(FOLLOWER)
    for brought, verified in ((votes(), 1), (votes(), 0), (votes(by=range(COUNT - QUORUM, COUNT)), 0)):
        scenario.receive(brought, sender=COLLECTOR)
        assert scenario.verified == verified
    scenario.receive(votes(SLOT - 1), sender=next(iter(cluster(SLOT - 1))))
    assert scenario.verified == 0, "of a lower slot"
    fresh = member(FOLLOWER)
    for brought, verified in ((commits(), 1), (commits(), 0), (commits(9), 0)):
        fresh.receive(brought, sender=COLLECTOR)
        assert fresh.verified == verified


def forged(gathered: Gathered) -> Gathered:
    return replace(gathered, signatures=gathered.signatures[:-64] + Signature(bytes(64)))


def test_who_brings_one_that_does_not_hold_brings_none_for_ten_minutes() -> None:
    scenario = voted(FOLLOWER)
    scenario.receive(forged(votes()), sender=COLLECTOR)
    assert (scenario.verified, scenario.refused, scenario.sent) == (1, [Refusal.BAD_CERTIFICATE], [])
    scenario.receive(votes(), commits(), sender=COLLECTOR)
    assert scenario.verified == 0
    scenario.receive(votes(), sender=next(number for number in C if number != COLLECTOR))
    assert scenario.verified == 1, "from others"
    scenario.monotonic_ms += DISTRUSTED_MS
    scenario.receive(commits(), sender=COLLECTOR)
    assert scenario.verified == 1


def test_another_refused_message_does_not_count_against_its_bringer() -> None:
    scenario = voted(FOLLOWER)
    scenario.receive(replace(ALL.vote(2, SLOT), signature=Signature(bytes(64))), sender=COLLECTOR)
    assert scenario.refused == [Refusal.BAD_SIGNATURE]
    scenario.receive(votes(), sender=COLLECTOR)
    assert scenario.sent_of(Commit)


def test_one_of_another_era_is_no_lie_and_says_where_its_sender_is() -> None:
    scenario = voted(FOLLOWER)
    scenario.receive(replace(votes(), era=1), sender=COLLECTOR)
    assert (scenario.verified, scenario.refused) == (0, [])
    assert set(scenario.replica.other_eras) == {ALL.address(COLLECTOR)}


def test_of_the_next_height_one_of_each_kind_waits_whoever_brings_how_many() -> None:
    scenario = voted(FOLLOWER)
    following = {
        kind: gathered_of(make(SLOT, height=2), ALL.membership)
        for kind, make in ((EndorsedStatement.VOTE, ALL.prepared), (EndorsedStatement.COMMIT, ALL.committed))
    }
    collecting = cluster(SLOT, height=2)
    for number in (*others(FOLLOWER), next(number for number in collecting if number != FOLLOWER)):
        scenario.receive(forged(following[EndorsedStatement.VOTE]), sender=number)
        scenario.receive(following[EndorsedStatement.COMMIT], sender=number)
    scenario.receive(commits(), sender=COLLECTOR)
    assert scenario.verified == 1
    scenario.applied(SLOT)
    assert (scenario.verified, scenario.refused) == (2, [Refusal.BAD_CERTIFICATE])
    scenario.receive(body(height=2))
    assert [decision.height for decision in scenario.decisions] == [2]


def test_of_those_that_wait_the_ones_from_outside_the_cluster_are_not_looked_at() -> None:
    scenario = voted(FOLLOWER)
    outside = next(number for number in OUTSIDE if number not in {FOLLOWER, *cluster(SLOT, height=2)})
    scenario.receive(gathered_of(ALL.committed(SLOT, height=2), ALL.membership), sender=outside)
    scenario.receive(commits(), sender=COLLECTOR)
    scenario.applied(SLOT)
    assert scenario.verified == 0


# --- who gets none -----------------------------------------------------------------------------------------------


def test_a_third_of_a_slot_after_its_vote_it_says_it_again_to_the_cluster_and_asks_two() -> None:
    scenario = voted(FOLLOWER)
    scenario.tick(0.3)
    assert scenario.sent_of(CertificateRequest) == []
    scenario.tick(0.04)
    assert told(scenario, Prepare) == [sorted(C)]
    assert scenario.sent_of(CertificateRequest) == [request()]
    assert told(scenario, CertificateRequest) == [sorted(C[(FOLLOWER + more) % SIZE] for more in (2, 3))]


def test_then_the_next_two_and_at_two_thirds_it_says_it_to_all() -> None:
    scenario = voted(FOLLOWER)
    scenario.tick(THIRD)
    scenario.tick(1 / 6)
    assert told(scenario, CertificateRequest) == [sorted(C[(FOLLOWER + more) % SIZE] for more in (4, 5))]
    assert scenario.sent_of(Prepare) == []
    scenario.tick(1 / 6)
    assert told(scenario, Prepare) == [others(FOLLOWER)]
    assert scenario.sent_of(CertificateRequest) == []
    scenario.tick(0.3)
    assert not scenario.sent_of(CertificateRequest)


def test_a_commit_begins_the_third_anew() -> None:
    scenario = voted(FOLLOWER)
    scenario.tick(0.3)
    scenario.receive(votes(), sender=COLLECTOR)
    scenario.tick(0.3)
    assert scenario.sent == []
    scenario.tick(0.04)
    assert told(scenario, Commit) == [sorted(C)]
    assert scenario.sent_of(Prepare) == []


def test_a_process_that_was_held_up_takes_all_steps() -> None:
    scenario = voted(FOLLOWER)
    scenario.tick(TWO_THIRDS)
    assert len(scenario.sent_of(CertificateRequest)) == 2
    assert told(scenario, Prepare) == [sorted(C), others(FOLLOWER)]


def test_who_has_what_decides_asks_for_the_body_alone() -> None:
    """It voted for another block."""
    scenario = voted(FOLLOWER)
    scenario.receive(gathered_of(ALL.committed(SLOT, BLOCK_B), ALL.membership), sender=COLLECTOR)
    assert scenario.sent_of(BodyRequest)
    scenario.tick(TWO_THIRDS)
    assert scenario.sent_of(CertificateRequest) == []


def test_who_gave_the_slot_up_asks_for_nothing() -> None:
    scenario = voted(FOLLOWER)
    scenario.receive(*(ALL.view_change(number, SLOT + 1) for number in OUTSIDE[1:6]))
    assert scenario.sent_of(ViewChange)
    scenario.tick(TWO_THIRDS)
    assert scenario.sent_of(CertificateRequest) == []


def test_who_said_nothing_asks_once_it_heard_a_proposal_but_tells_nothing() -> None:
    scenario = member(FOLLOWER)
    scenario.receive(ALL.pre_prepare(SLOT, A, by=LEADER))
    scenario.tick(THIRD)
    assert scenario.sent_of(CertificateRequest) == [], "it executes the block"
    scenario.execute(A, None)
    scenario.tick(0)
    assert scenario.sent_of(CertificateRequest) == [request()]
    scenario.tick(THIRD)
    assert len(scenario.sent_of(CertificateRequest)) == 1
    assert not scenario.replica._member.state.is_plain
    scenario.tick(0.9)
    assert scenario.sent_of(CertificateRequest) == []


def test_who_heard_of_the_next_height_alone_asks_who_spoke_of_it() -> None:
    scenario = member(FOLLOWER)
    scenario.receive(ALL.pre_prepare(SLOT, A, height=2, by=OUTSIDE[1]))
    scenario.tick(0.3)
    assert told(scenario, Status) != [[OUTSIDE[1]]]
    scenario.tick(0.04)
    assert told(scenario, Status) == [[OUTSIDE[1]]]


# --- who is asked ------------------------------------------------------------------------------------------------


def test_asked_it_answers_with_the_votes_that_it_holds_unless_the_asker_has_committed() -> None:
    scenario = prepared(COLLECTOR)
    scenario.receive(request(), sender=OUTSIDE[1])
    assert told(scenario, Gathered) == [[OUTSIDE[1]]]
    scenario.receive(ALL.commit(OUTSIDE[2], SLOT))
    scenario.receive(request(), sender=OUTSIDE[2])
    assert scenario.sent == []
    scenario.receive(request(SLOT + 1), sender=OUTSIDE[3])
    assert scenario.sent == [], "of a higher slot it has none"


def test_it_answers_a_member_four_times_a_slot() -> None:
    scenario = prepared(COLLECTOR)
    answered = 0
    for _ in range(40):
        scenario.receive(request(), sender=OUTSIDE[1])
        answered += len(scenario.sent_of(Gathered))
        scenario.monotonic_ms += 25
    assert answered == 4


def test_who_is_a_height_further_answers_with_what_decided_the_one_asked_for() -> None:
    scenario = prepared(COLLECTOR)
    scenario.receive(*(ALL.commit(number, SLOT) for number in others(COLLECTOR, range(QUORUM + 1))))
    certificate = scenario.decisions[0].certificate
    scenario.applied(SLOT)
    scenario.receive(request(), sender=OUTSIDE[1])
    assert scenario.sent == [gathered_of(certificate, ALL.membership)]
    assert scenario.answers == []
    scenario.receive(request(), sender=OUTSIDE[1])
    assert (scenario.sent, scenario.answers) == ([], [])


def test_who_is_two_heights_further_answers_with_blocks() -> None:
    scenario = member(COLLECTOR)
    for height in (1, 2):
        scenario.receive(ALL.decided(SLOT, height=height))
        scenario.applied(SLOT)
    scenario.receive(request(), sender=OUTSIDE[1])
    assert scenario.sent == []
    assert [answer.first for answer in scenario.answers] == [1]


def test_who_has_nothing_says_nothing() -> None:
    scenario = voted(COLLECTOR)
    scenario.receive(request(), request(height=2), sender=OUTSIDE[1])
    assert scenario.sent == []


def test_a_certificate_of_the_last_height_is_no_question() -> None:
    scenario = member(FOLLOWER)
    for height in (1, 2):
        scenario.receive(ALL.decided(SLOT, height=height))
        scenario.applied(SLOT)
    scenario.receive(commits(), sender=COLLECTOR)
    assert (scenario.answers, scenario.sent) == ([], [])
    scenario.receive(votes(), sender=COLLECTOR)
    assert [answer.first for answer in scenario.answers] == [1], "but who still hands out votes is behind"


def decided_once(own: int = FOLLOWER) -> Scenario:
    """A member at height 2, just now."""
    scenario = member(own)
    scenario.receive(ALL.decided(SLOT))
    scenario.applied(SLOT)
    return scenario


def test_who_asks_for_the_body_of_the_last_height_gets_the_block_at_once() -> None:
    scenario = decided_once()
    question = BodyRequest(height=Height(1), block=BLOCK_A)
    scenario.receive(question, question, sender=OUTSIDE[1])
    assert [answer.first for answer in scenario.answers] == [1]


def test_who_stands_at_the_last_height_is_not_sent_the_block_while_the_certificate_is_on_its_way() -> None:
    scenario = decided_once()
    scenario.receive(ALL.status(OUTSIDE[1], 1))
    assert scenario.answers == []
    scenario.monotonic_ms += TAU_MS // 4
    scenario.receive(ALL.status(OUTSIDE[1], 1))
    assert [answer.first for answer in scenario.answers] == [1]


def test_who_stands_two_heights_back_is_sent_blocks_at_once() -> None:
    scenario = decided_once()
    scenario.receive(ALL.decided(SLOT, height=2))
    scenario.applied(SLOT)
    scenario.receive(ALL.status(OUTSIDE[1], 1))
    assert [answer.first for answer in scenario.answers] == [1]


def test_of_a_member_at_the_next_height_nothing_is_asked_before_a_third_of_a_slot() -> None:
    scenario = member(FOLLOWER)
    scenario.receive(ALL.status(OUTSIDE[1], 2))
    assert scenario.sent == []
    scenario.tick(THIRD)
    assert [OUTSIDE[1]] in told(scenario, Status)
    scenario = member(FOLLOWER)
    scenario.receive(ALL.status(OUTSIDE[1], 3))
    assert told(scenario, Status) == [[OUTSIDE[1]]], "two heights: at once"


def test_few_are_asked_for_a_body_and_others_a_slot_later() -> None:
    scenario = member(FOLLOWER)
    scenario.receive(commits(), sender=COLLECTOR)
    ((*first,),) = told(scenario, BodyRequest)
    scenario.tick(1)
    ((*second,),) = told(scenario, BodyRequest)
    assert len(first) == len(second) == BODY_HOLDERS_ASKED
    assert not set(first) & set(second)
    assert set(first) | set(second) <= set(range(QUORUM))


# --- restarts ----------------------------------------------------------------------------------------------------


def test_after_a_restart_it_says_it_again_to_the_cluster_and_goes_on_from_there() -> None:
    scenario = voted(FOLLOWER)
    scenario.restart()
    scenario.tick(0)
    assert told(scenario, Prepare) == [sorted(C)]
    scenario.tick(THIRD)
    assert scenario.sent_of(CertificateRequest) == [request()]
    scenario.tick(THIRD)
    assert told(scenario, Prepare) == [others(FOLLOWER)]


@pytest.mark.parametrize("certificate", [ALL.prepared(SLOT), ALL.committed(SLOT)])
def test_an_own_statement_in_a_certificate_shows_that_it_was_forgotten(
    certificate: PreparedCertificate | CommitCertificate,
) -> None:
    nothing, signers = fresh_sign_state(Height(1)), [one.signer for one in certificate.endorsements]
    for address in ALL.membership.addresses:
        assert is_forgotten(certificate, address, nothing) == (address in signers)
