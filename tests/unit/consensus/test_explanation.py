"""Why is nothing decided: a scenario for each verdict, driven on a real replica, and what the sentence says."""

import pytest
from msgspec.structs import replace

from consensus import quorum
from consensus.eras import Eras, EraStart
from consensus.events import UNANSWERED, EraStanding, JoinedPlan, KeepSilent, Tick, fresh_sign_state, standing_in
from consensus.explain import SLOTS_MAX, silence_max_ms
from consensus.explanation import Contact, Explanation, Step
from consensus.identifiers import EraNumber, Height
from consensus.member import KeyRing
from consensus.membership import Membership, Memberships
from consensus.messages import BodyRequest, ViewChange
from consensus.phases import Phase
from consensus.replica import Replica, Start
from consensus.silence import Silence
from consensus.verdict import NAMES_MAX, VERDICTS, Verdict, duration_text, later_era, sentence_of, verdict_of
from tests.support.consensus import ATTEMPT_MAX_MS, BLOCK_A, BLOCK_B, CHAIN, ERAS, TAU_MS, A, B, Scenario
from tests.support.explaining import (
    contacts,
    explained,
    in_slots,
    name_of,
    numbers,
    sentence,
    stalled_view_change,
    status_of,
)


def step_of(explanation: Explanation) -> Step:
    assert explanation.waits_for is not None
    return explanation.waits_for.step


def test_every_verdict_is_judged_once_and_the_last_row_always_holds() -> None:
    assert sorted(verdict.value for verdict, _ in VERDICTS) == sorted(verdict.value for verdict in Verdict)
    assert VERDICTS[-1][1](explained(Scenario()))


# --- nothing wrong -------------------------------------------------------------------------------------------


def test_an_idle_chain_has_nothing_to_do() -> None:
    scenario = Scenario()
    scenario.tick(100)
    found = explained(scenario)
    assert verdict_of(found) is Verdict.NOTHING_TO_DO
    assert (found.height, found.phase, found.waiting_ms, found.waits_for) == (1, Phase.WAITING, None, None)
    assert found.undecided_ms == in_slots(100)
    assert (len(found.members), found.fault_bound, found.quorum) == (4, 1, 3)
    assert sentence(scenario) == "Nothing waits for a decision at height 1."


def test_a_request_in_time_waits_for_the_leader_of_the_present_slot() -> None:
    scenario = Scenario(slot=4)
    scenario.tick(1)
    scenario.work(age_slots=0.5)
    scenario.tick(1)  # slot 6: member 2 leads
    found = explained(scenario)
    assert verdict_of(found) is Verdict.WORKING
    assert (found.waiting_ms, found.oldest_request_ms) == (in_slots(1.5), in_slots(1.5))
    assert found.waits_for is not None
    assert (found.waits_for.step, found.waits_for.slot, found.waits_for.needed) == (Step.PROPOSAL, 6, 1)
    assert numbers(scenario, found.waits_for.missing) == [2]
    assert sentence(scenario) == ("Height 1 is being decided: slot 6 waits for the proposal of its leader, home-2.")


def test_a_request_older_than_the_height_waits_from_the_height_on() -> None:
    scenario = Scenario(slot=4)
    scenario.tick(1)
    scenario.work(age_slots=50)
    found = explained(scenario)
    assert (found.waiting_ms, found.oldest_request_ms) == (in_slots(1), in_slots(50))
    assert scenario.replica.waiting_since_ms() == scenario.now().monotonic_ms - in_slots(1)


def test_a_proposal_is_executed_before_the_vote() -> None:
    scenario = Scenario(slot=4)
    scenario.receive(scenario.members.pre_prepare(4))
    found = explained(scenario)
    assert verdict_of(found) is Verdict.WORKING
    assert found.waits_for is not None
    assert (found.waits_for.step, found.waits_for.block) == (Step.EXECUTION, BLOCK_A)
    assert numbers(scenario, found.waits_for.missing) == [1]
    assert f"executes block {BLOCK_A.hex()[:8]} before it votes" in sentence(scenario)


def test_a_voter_waits_for_votes_and_the_slot_names_who_voted() -> None:
    scenario = Scenario(slot=4)
    scenario.vote_for(4)
    found = explained(scenario)
    assert verdict_of(found) is Verdict.WORKING
    assert found.waits_for is not None
    assert (found.waits_for.step, found.waits_for.block, found.waits_for.needed) == (Step.VOTES, BLOCK_A, 1)
    assert numbers(scenario, found.waits_for.members) == [0, 1]
    assert numbers(scenario, found.waits_for.missing) == [2, 3]
    (facts,) = found.slots
    assert (facts.slot, facts.proposed) == (4, BLOCK_A)
    assert numbers(scenario, [facts.leader]) == [0]
    assert facts.commits == ()
    assert facts.view_changes.needed == 3
    votes = [member.vote for member in found.members]
    assert [vote is not None and (vote.slot, vote.block) == (4, BLOCK_A) for vote in votes] == [
        True,
        True,
        False,
        False,
    ]
    assert sentence(scenario) == (
        f"Height 1 is being decided: slot 4 has 2 of the 3 votes that block {BLOCK_A.hex()[:8]} needs, "
        "missing: home-2 and home-3."
    )


def test_a_prepared_member_waits_for_commits() -> None:
    scenario = Scenario(slot=4)
    scenario.prepare_at(4)
    scenario.receive(scenario.members.commit(3, 4))
    found = explained(scenario)
    assert found.waits_for is not None
    assert (found.phase, found.waits_for.step, found.waits_for.needed) == (Phase.PREPARED, Step.COMMITS, 1)
    assert numbers(scenario, found.waits_for.missing) == [0, 2]
    assert f"2 of the 3 COMMITs that block {BLOCK_A.hex()[:8]} needs, missing: home-0 and home-2" in sentence(
        scenario
    )
    assert found.signed.prepared is not None
    assert found.members[3].commit == found.signed.prepared


def test_a_decided_height_is_being_applied() -> None:
    scenario = Scenario(slot=4)
    scenario.prepare_at(4)
    scenario.receive(*(scenario.members.commit(member, 4) for member in (0, 2)))
    found = explained(scenario, silent=(0, 2, 3))
    assert (verdict_of(found), found.waits_for) == (Verdict.APPLYING, None)
    assert sentence(scenario) == "Height 1 is decided; this member is writing its block."


def test_after_a_restart_the_own_vote_still_counts_as_the_step_at_hand() -> None:
    scenario = Scenario(slot=4)
    scenario.vote_for(4)
    scenario.restart()
    found = explained(scenario)
    assert found.waits_for is not None
    assert (found.waits_for.step, found.waits_for.members, found.waits_for.needed) == (Step.VOTES, (), 3)
    scenario.tick(1)  # it sends its vote again
    again = explained(scenario)
    assert again.waits_for is not None
    assert numbers(scenario, again.waits_for.members) == [1]


# --- members are missing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("members", range(1, 11))
def test_one_fewer_than_a_quorum_is_too_few(members: int) -> None:
    needed = quorum.quorum(members)
    scenario = Scenario(members=members, own=0)
    enough = explained(scenario, silent=range(needed, members))
    assert verdict_of(enough) is Verdict.NOTHING_TO_DO
    assert len(enough.reachable) == needed
    if needed > 1:
        too_few = explained(scenario, silent=range(needed - 1, members))
        assert verdict_of(too_few) is Verdict.TOO_FEW_MEMBERS
        assert numbers(scenario, too_few.unreachable) == list(range(needed - 1, members))


def test_the_sentence_names_exactly_the_missing_members_and_the_arithmetic() -> None:
    scenario = stalled_view_change()
    links = contacts(scenario, silent=(2,))
    links[scenario.members.address(3)] = Contact(is_connected=False, heard_ms=scenario.monotonic_ms - 12_300)
    found = scenario.replica.explain(scenario.now(), links)
    assert verdict_of(found) is Verdict.TOO_FEW_MEMBERS
    assert sentence_of(found, lambda address: name_of(scenario, address)) == (
        "Only 2 of 4 members can take part and a decision needs 3: home-2 (never heard) and "
        "home-3 (not connected, last heard 12.3 s ago) cannot be reached. Height 1 has waited for 3.0 s."
    )


def test_too_few_are_told_even_while_nothing_waits() -> None:
    scenario = Scenario()
    assert sentence(scenario, silent=(0, 2)).endswith("Nothing waits for a decision at the moment.")


@pytest.mark.parametrize(("later_ms", "is_reachable"), [(0, True), (1, False)])
def test_a_member_is_silent_after_two_rounds_of_status_and_a_slot(later_ms: int, is_reachable: bool) -> None:
    scenario = Scenario()
    links = contacts(scenario, heard_age_ms=silence_max_ms(4, TAU_MS) + later_ms)
    found = scenario.replica.explain(scenario.now(), links)
    assert [member.is_reachable for member in found.members] == [is_reachable, True, is_reachable, is_reachable]


@pytest.mark.parametrize(("members", "slots"), [(1, 1), (2, 3), (3, 3), (4, 5), (7, 7), (256, 257)])
def test_rounds_of_status_grow_with_the_membership(members: int, slots: int) -> None:
    assert silence_max_ms(members, TAU_MS) == in_slots(slots)


def test_a_member_heard_over_its_own_link_only_cannot_be_reached() -> None:
    scenario = Scenario()
    links = {address: Contact(is_connected=False, heard_ms=scenario.monotonic_ms) for address in contacts(scenario)}
    found = scenario.replica.explain(scenario.now(), links)
    assert numbers(scenario, found.reachable) == [1]


def test_a_silent_leader_is_named_and_the_next_attempt_told() -> None:
    scenario = Scenario(slot=4)
    scenario.work()
    found = explained(scenario, silent=(0,))
    assert verdict_of(found) is Verdict.LEADER_SILENT
    assert sentence(scenario, silent=(0,)) == (
        "The leader of slot 4, home-0 (never heard), cannot be reached. "
        "This member asks for slot 6 in 2.0 s unless it is decided."
    )


def test_the_silent_leader_of_a_view_change_is_named_too() -> None:
    scenario = stalled_view_change()  # asks for slot 7, which member 3 leads
    scenario.receive(*(scenario.members.view_change(member, 7) for member in (0, 2)))
    assert verdict_of(explained(scenario)) is Verdict.VIEW_CHANGE
    found = explained(scenario, silent=(3,))
    assert verdict_of(found) is Verdict.LEADER_SILENT
    assert "The leader of slot 7, home-3 (never heard)" in sentence(scenario, silent=(3,))


# --- slots that fail -------------------------------------------------------------------------------------------


def test_a_view_change_waits_for_the_others_requests() -> None:
    scenario = stalled_view_change()
    found = explained(scenario)
    assert (verdict_of(found), found.phase) == (Verdict.VIEW_CHANGE, Phase.CHANGING_VIEW)
    assert found.waits_for is not None
    assert (found.waits_for.step, found.waits_for.slot, found.waits_for.needed) == (Step.VIEW_CHANGES, 7, 2)
    assert numbers(scenario, found.waits_for.members) == [1]
    assert found.next_attempt is None, "its timer starts when a quorum has reached slot 7"
    assert (found.signed.promise, found.signed.attempts) == (7, 1)
    assert [member.view_change for member in found.members] == [None, 7, None, None]
    assert sentence(scenario) == (
        "The members agree on another slot for height 1 (view change, attempt 1): slot 7 has 1 of the 3 "
        "VIEW-CHANGEs that it needs, missing: home-0, home-2 and home-3. "
        "This member asks for a later slot once 3 members have reached slot 7."
    )


def test_with_a_quorum_of_requests_it_waits_for_the_proposal() -> None:
    scenario = stalled_view_change()
    scenario.receive(*(scenario.members.view_change(member, 7) for member in (0, 2)))
    found = explained(scenario)
    assert (verdict_of(found), step_of(found)) == (Verdict.VIEW_CHANGE, Step.PROPOSAL)
    assert "slot 7 waits for the proposal of its leader, home-3" in sentence(scenario)


def test_in_the_promised_slot_votes_and_then_commits_are_waited_for() -> None:
    scenario = stalled_view_change()
    scenario.vote_for(7, A, scenario.members.justification(7))
    assert step_of(explained(scenario)) is Step.VOTES
    scenario.receive(*(scenario.members.vote(member, 7) for member in (0, 2)))
    assert step_of(explained(scenario)) is Step.COMMITS
    scenario.tick(3)
    scenario.receive(*(scenario.members.view_change(member, 8) for member in (0, 2)))
    assert explained(scenario).signed.promise > 7
    assert step_of(explained(scenario)) is not Step.COMMITS, "that slot was given up"


def test_the_first_attempt_comes_as_foretold() -> None:
    scenario = Scenario(slot=4)
    scenario.tick(1.5)
    scenario.work(age_slots=0.25)
    comes_as_foretold(scenario)


def test_the_next_attempt_comes_as_foretold() -> None:
    scenario = stalled_view_change()
    scenario.receive(*(scenario.members.view_change(member, 7) for member in (0, 2)))
    scenario.tick(0.5)
    comes_as_foretold(scenario)


def comes_as_foretold(scenario: Scenario) -> None:
    attempt = explained(scenario).next_attempt
    assert attempt is not None
    assert attempt.due_in_ms > 0
    scenario.tick((attempt.due_in_ms - 1) / TAU_MS)
    before = explained(scenario).signed
    assert before.promise < attempt.slot
    scenario.tick(2 / TAU_MS)
    (asked,) = scenario.sent_of(ViewChange)
    assert asked.slot == attempt.slot
    assert explained(scenario).signed.promise == attempt.slot


def test_votes_for_two_blocks_that_cannot_win_are_split() -> None:
    scenario = Scenario(slot=4)
    scenario.vote_for(4)
    scenario.receive(scenario.members.vote(2, 4, BLOCK_B))
    assert verdict_of(explained(scenario)) is Verdict.WORKING, "the missing vote may still decide it"
    assert verdict_of(explained(scenario, silent=(3,))) is Verdict.VOTES_SPLIT
    scenario.receive(scenario.members.vote(3, 4, BLOCK_B))
    found = explained(scenario)
    assert verdict_of(found) is Verdict.VOTES_SPLIT
    assert {support.block: numbers(scenario, support.members) for support in found.slots[0].votes} == {
        BLOCK_A: [0, 1],
        BLOCK_B: [2, 3],
    }
    first, second = sorted([(BLOCK_A, "home-0 and home-1"), (BLOCK_B, "home-2 and home-3")])
    assert sentence(scenario) == (
        "The votes of slot 4 are split, none can reach the 3 that a block needs: "
        f"{first[0].hex()[:8]} by {first[1]}; {second[0].hex()[:8]} by {second[1]}. "
        "This member asks for slot 6 in 2.0 s unless it is decided."
    )


def test_a_split_slot_that_was_given_up_explains_nothing_any_more() -> None:
    scenario = Scenario(slot=4)
    scenario.vote_for(4)
    scenario.receive(*(scenario.members.vote(member, 4, BLOCK_B) for member in (2, 3)))
    scenario.tick(2.5)
    assert verdict_of(explained(scenario)) is Verdict.VIEW_CHANGE


def test_a_block_without_its_content_is_asked_for() -> None:
    scenario = Scenario(slot=4)
    scenario.receive(*(scenario.members.vote(member, 4) for member in (0, 2, 3)))
    assert [request.block for request in scenario.sent_of(BodyRequest)] == [BLOCK_A]
    found = explained(scenario)
    assert verdict_of(found) is Verdict.BODY_MISSING
    (missing,) = found.bodies_missing
    assert missing.block == BLOCK_A
    assert numbers(scenario, missing.holders) == [0, 2, 3]
    scenario.monotonic_ms += 300
    assert sentence(scenario) == (
        f"The content of block {BLOCK_A.hex()[:8]} is missing here; it was asked of home-0, home-2 and home-3 "
        "0.3 s ago. Nothing waits for a decision at the moment."
    )
    scenario.receive(scenario.members.pre_prepare(4))
    assert explained(scenario).bodies_missing == ()


def test_the_holders_of_a_claimed_block_are_its_claimants() -> None:
    scenario = Scenario(own=1, slot=5)  # it leads slot 5 and needs the claimed body to propose it
    claim = scenario.members.prepared(4, by=(0, 2, 3))
    scenario.receive(
        scenario.members.view_change(0, 5, claim),
        scenario.members.view_change(2, 5),
        scenario.members.view_change(3, 5),
    )
    found = explained(scenario)
    assert verdict_of(found) is Verdict.BODY_MISSING
    assert numbers(scenario, found.bodies_missing[0].holders) == [0]


# --- behind and silent -----------------------------------------------------------------------------------------


def test_behind_is_what_f_plus_one_others_say() -> None:
    scenario = Scenario()
    scenario.tick(2)
    scenario.receive(status_of(9, by=2), sender=2)
    assert verdict_of(explained(scenario)) is Verdict.NOTHING_TO_DO, "one may lie"
    scenario.receive(status_of(7, by=3), sender=3)
    found = explained(scenario, silent=(0, 2, 3))
    assert verdict_of(found) is Verdict.BEHIND
    assert [member.undecided for member in found.members] == [None, 1, 9, 7]
    assert sentence(scenario) == (
        "This member is behind: others are at height 7, this one is at 1; it fetches the blocks that it lacks."
    )


def test_a_message_of_a_height_tells_that_its_sender_has_reached_it() -> None:
    scenario = Scenario(slot=4)
    scenario.receive(status_of(1, by=2), sender=2)
    scenario.prepare_at(4)
    scenario.receive(*(scenario.members.commit(member, 4) for member in (0, 2)))
    scenario.applied()
    assert [member.undecided for member in explained(scenario).members] == [1, 2, 1, 1]
    scenario.receive(scenario.members.view_change(2, 6, height=2))
    assert [member.undecided for member in explained(scenario).members] == [1, 2, 2, 1]


def test_a_moment_behind_is_not_behind() -> None:
    scenario = Scenario()
    for sender in (0, 2, 3):
        scenario.receive(status_of(2, by=sender), sender=sender)
    assert verdict_of(explained(scenario)) is Verdict.NOTHING_TO_DO


def silent_scenario() -> Scenario:
    """Blocks were lost: the sign state is of height 5, the ledger ends before height 1."""
    scenario = Scenario(slot=4)
    scenario.sign_state = replace(fresh_sign_state(Height(5)), attempts=1)
    scenario.restart()
    return scenario


def test_a_member_whose_state_is_lost_is_silent() -> None:
    scenario = silent_scenario()
    found = explained(scenario)
    assert (verdict_of(found), found.silence, found.silent_through) == (Verdict.SILENT, Silence.STATE_LOST, 5)
    assert sentence(scenario) == (
        "This member signs nothing at height 1, because what it signed up to height 5 is not at hand; "
        "the others decide without it. Nothing waits for a decision at the moment."
    )
    assert found.next_attempt is None


def test_a_silent_member_is_not_one_of_a_quorum() -> None:
    scenario = silent_scenario()
    assert verdict_of(explained(scenario, silent=(3,))) is Verdict.TOO_FEW_MEMBERS
    assert sentence(scenario, silent=(3,)).startswith(
        "Only 2 of 4 members can take part (this one is reachable but may not sign) and a decision needs 3: home-3 "
    )


def test_a_member_that_asks_how_far_it_must_keep_silent_says_so() -> None:
    scenario = Scenario()
    scenario.step(KeepSilent(through=UNANSWERED))
    found = explained(scenario)
    assert (verdict_of(found), found.silence) == (Verdict.SILENT, Silence.STATE_ASKED)
    assert "it asks the others up to which height" in sentence(scenario)


def test_who_is_no_member_is_silent() -> None:
    scenario = Scenario(members=5, own=4)
    four = Membership.of_keys([key.public_key for key in scenario.members.keys[:4]])
    replica = Replica(
        keys=KeyRing(scenario.members.keys[4]),
        parameters=scenario.parameters,
        start=Start(
            height=Height(1),
            eras=ERAS,
            memberships=Memberships(undecided=four, following=four),
            tip=CHAIN,
            parent_slot=scenario.parent_slot,
            sign_state=scenario.sign_state,
        ),
        now=scenario.now(),
    )
    found = replica.explain(scenario.now(), contacts(scenario))
    assert (verdict_of(found), found.silence) == (Verdict.SILENT, Silence.NOT_A_MEMBER)
    assert "it is no member at height 1" in sentence_of(found, lambda address: name_of(scenario, address))


@pytest.mark.parametrize(
    ("step", "others"), [(Step.VIEW_CHANGES, "view_change"), (Step.VOTES, "vote"), (Step.COMMITS, "commit")]
)
def test_a_silent_member_tells_the_step_of_the_others(step: Step, others: str) -> None:
    scenario = silent_scenario()
    assert explained(scenario).waits_for is None
    scenario.receive(*(getattr(scenario.members, others)(member, 6) for member in (0, 3)))
    found = explained(scenario)
    assert found.waits_for is not None
    assert (found.waits_for.step, found.waits_for.slot, found.waits_for.needed) == (step, 6, 1)
    assert numbers(scenario, found.waits_for.members) == [0, 3]


def test_a_silent_member_that_heard_nothing_waits_for_the_leader() -> None:
    scenario = silent_scenario()
    scenario.work(age_slots=1)
    found = explained(scenario)
    assert found.waits_for is not None
    assert found.waits_for.step is Step.PROPOSAL


# --- eras ------------------------------------------------------------------------------------------------------


def test_a_later_era_that_an_honest_member_is_in_is_told_to_the_operator() -> None:
    scenario = Scenario(members=7, own=1)
    later = [(0, 2), (3, 1), (4, 1)]  # F + 1 say so; the highest of them alone says 2
    for number, (sender, era) in enumerate(later, 1):
        assert verdict_of(explained(scenario)) is Verdict.NOTHING_TO_DO, f"{number} of 3"
        scenario.receive(status_of(9, by=sender, era=era), sender=sender)
    found = explained(scenario)
    assert (verdict_of(found), later_era(found), found.era) == (Verdict.LATER_ERA, 1, 0)
    assert [member.other_era for member in found.members] == [2, None, None, 1, 1, None, None]
    assert sentence(scenario) == (
        "Others are in era 1 of the chain, this member is in era 0. To go on with them, get the plan of that era and "
        "the agreements to it from their operators, stop this node, run `p2pnode recover apply PLAN AGREEMENTS "
        "--config meter.toml`, and start it; docs/operations.md, A ceremony, says more."
    )


def test_members_left_in_an_earlier_era_are_no_reason() -> None:
    scenario = Scenario()
    scenario.eras = Eras(CHAIN, (EraStart(number=EraNumber(1), plan=BLOCK_A, base=Height(0)),))
    scenario.sign_state = fresh_sign_state(Height(1), standing_in(scenario.eras.newest))
    scenario.restart()
    for sender in (0, 2, 3):
        scenario.receive(status_of(9, by=sender), sender=sender)
    found = explained(scenario)
    assert [member.other_era for member in found.members] == [0, None, 0, 0]
    assert (verdict_of(found), found.era) == (Verdict.NOTHING_TO_DO, 1)


def standing_of(scenario: Scenario, standing: EraStanding) -> str:
    """The sentence of a member with another standing among the eras, after a restart."""
    scenario.sign_state = fresh_sign_state(Height(1), standing)
    scenario.restart()
    assert verdict_of(explained(scenario)) is Verdict.SEALED
    return sentence(scenario)


def test_a_home_that_gave_up_its_era_says_how_to_go_on_and_back() -> None:
    text = standing_of(Scenario(), EraStanding(sealed_below=EraNumber(2)))
    assert text.startswith("This home gave up all eras below 2 and signs nothing of them any more. To go on, stop it")
    assert "`p2pnode recover join`" in text
    assert "To go back, run `p2pnode recover release --config meter.toml`" in text


def test_a_home_that_agreed_to_a_plan_says_that_there_is_no_way_back() -> None:
    joined = JoinedPlan(era=EraNumber(2), plan=BLOCK_A)
    text = standing_of(Scenario(), EraStanding(sealed_below=EraNumber(2), joined=joined))
    assert "It agreed to a plan of era 2" in text
    assert "`p2pnode recover export --era 3` at every home. There is no way back" in text
    assert "release" not in text


# --- too many silent ---------------------------------------------------------------------------------------------


def silent_status(scenario: Scenario, *senders: int, height: int = 1) -> None:
    for sender in senders:
        said = replace(status_of(height, by=sender), is_silent=True)
        scenario.receive(said, sender=sender)


def test_a_chain_whose_members_lost_too_much_is_led_to_the_ceremony_by_every_node() -> None:
    scenario = Scenario(own=1)
    silent_status(scenario, 3)
    assert verdict_of(explained(scenario)) is not Verdict.TOO_MANY_SILENT, "three others decide"
    silent_status(scenario, 2)
    found = explained(scenario)
    assert verdict_of(found) is Verdict.TOO_MANY_SILENT
    assert numbers(scenario, found.silent) == [2, 3]
    text = sentence_of(found, lambda address: name_of(scenario, address))
    assert text.startswith("home-2 and home-3 sign nothing at height 1")
    assert "2 of 4 members are left, and a decision needs 3" in text
    assert "p2pnode recover export --config meter.toml --era 1 --output NAME.statement" in text
    assert "docs/operations.md" in text


def test_who_is_silent_at_another_height_or_signs_again_is_not_counted() -> None:
    scenario = Scenario(own=1)
    silent_status(scenario, 0, height=2)
    silent_status(scenario, 2, 3)
    assert numbers(scenario, explained(scenario).silent) == [2, 3]
    scenario.receive(status_of(1, by=3), sender=3)
    found = explained(scenario)
    assert numbers(scenario, found.silent) == [2]
    assert verdict_of(found) is not Verdict.TOO_MANY_SILENT


@pytest.mark.parametrize("own", [0, 2])
def test_who_is_silent_and_who_is_away_lack_together(own: int) -> None:
    """One signs nothing and one cannot be reached: neither alone would stop the height."""
    scenario = Scenario(own=own)
    if own == 2:
        scenario.step(KeepSilent(through=UNANSWERED))
    else:
        silent_status(scenario, 2)
    found = explained(scenario, silent=(3,))
    assert verdict_of(found) is Verdict.TOO_FEW_MEMBERS
    text = sentence_of(found, lambda address: name_of(scenario, address))
    assert text.startswith("Only 2 of 4 members can take part"), text
    assert ("home-2 signs nothing at this height." in text) == (own == 0)
    assert verdict_of(explained(scenario)) is not Verdict.TOO_FEW_MEMBERS


def test_who_cannot_be_reached_may_have_the_block_and_is_started_first() -> None:
    scenario = Scenario(own=1)
    silent_status(scenario, 2, 3)
    text = sentence(scenario, silent=(0,))
    assert " First start home-0: a block of this height that one of them has ends it. Else hold a ceremony" in text


def test_of_two_members_one_that_lost_its_sign_state_recovers_alone() -> None:
    scenario = Scenario(members=2, own=0)
    silent_status(scenario, 1)
    text = sentence(scenario)
    assert "signs nothing at height 1" in text
    assert "`p2pnode recover alone --config meter.toml` at the home that lost it" in text


# --- clocks, bounds, purity --------------------------------------------------------------------------------------


def test_a_slot_that_the_members_hold_back_shows_beside_the_own_clock() -> None:
    scenario = Scenario(slot=3_600)
    for sender in (0, 2, 3):
        scenario.receive(status_of(1, by=sender, slot=10), sender=sender)
    found = explained(scenario)
    assert (found.present_slot, found.clock_slot) == (10, 3_600)
    assert [member.clock_slot for member in found.members] == [10, 3_600, 10, 10]
    assert numbers(scenario, [found.leader]) == [2]


@pytest.mark.parametrize(
    ("members", "slots", "jumped", "sooner"),
    [
        (4, 3_600, "ahead by 1 h 0 min", ", or as soon as 2 other members are there"),
        (3, -60, "back by 1 min 0 s", ", or as soon as 1 other member is there"),
        (1, 60, "ahead by 1 min 0 s", ""),
    ],
)
def test_a_clock_that_jumped_and_is_not_followed_yet_shows(
    members: int, slots: int, jumped: str, sooner: str
) -> None:
    scenario = Scenario(members=members, own=0, slot=100)
    scenario.clock_ms += slots * TAU_MS
    scenario.tick()
    scenario.tick(10)
    found = explained(scenario)
    assert (found.clock_slot, found.present_slot) == (110, 110)
    assert sentence(scenario) == (
        "Nothing waits for a decision at height 1. "
        f"This node's clock jumped {jumped}; it is followed in 20.0 s if it stays{sooner}."
    )
    scenario.tick(20)
    assert sentence(scenario) == "Nothing waits for a decision at height 1."


def test_a_proposal_that_waits_for_its_slot_shows_in_it() -> None:
    scenario = Scenario(own=3, slot=4)
    scenario.receive(scenario.members.pre_prepare(5, A))
    (facts,) = explained(scenario).slots
    assert (facts.slot, facts.proposed) == (5, BLOCK_A)


def test_slots_of_a_liar_do_not_hide_the_own_ones() -> None:
    scenario = Scenario(slot=4)
    scenario.vote_for(4)
    for slot in (100, 200):
        scenario.receive(scenario.members.vote(3, slot), scenario.members.commit(3, slot + 1))
        scenario.receive(scenario.members.view_change(3, slot + 2))
    found = explained(scenario)
    assert len(found.slots) == SLOTS_MAX
    assert found.slots[0].slot == 4
    assert [facts.slot for facts in found.slots] == sorted(facts.slot for facts in found.slots)


def test_explaining_changes_nothing() -> None:
    asked, unasked = (Scenario(slot=4) for _ in range(2))
    for scenario in (asked, unasked):
        scenario.vote_for(4)
        scenario.receive(scenario.members.vote(2, 6, BLOCK_B), scenario.members.view_change(3, 8))
        scenario.tick(0.5)
    assert explained(asked) == explained(asked)
    for _ in range(12):
        for scenario in (asked, unasked):
            scenario.monotonic_ms += 250
            scenario.clock_ms += 250
        explained(asked, silent=(2,))
        assert asked.step(Tick()) == unasked.step(Tick())


def test_the_own_proposal_shows_like_that_of_others() -> None:
    scenario = Scenario(own=1, slot=5)
    scenario.work()
    scenario.propose(5, A)
    (facts,) = explained(scenario).slots
    assert (facts.slot, facts.proposed) == (5, BLOCK_A)
    assert numbers(scenario, [facts.leader]) == [1]


def test_a_split_of_two_proposals_keeps_both_bodies_apart() -> None:
    scenario = Scenario(slot=4)
    scenario.receive(scenario.members.pre_prepare(4, A))
    scenario.receive(scenario.members.pre_prepare(4, B))
    (facts,) = explained(scenario).slots
    assert facts.proposed == BLOCK_A, "the first of the slot counts"


@pytest.mark.parametrize(("hidden", "text"), [(0, "home-8 and home-9"), (1, "home-9 and 1 more")])
def test_a_sentence_names_a_bounded_number_of_members(hidden: int, text: str) -> None:
    scenario = Scenario(members=20, own=0)
    silent = range(2, 2 + NAMES_MAX + hidden)
    replica = scenario.replica
    links = contacts(scenario)
    for member in silent:
        del links[scenario.members.address(member)]
    found = replica.explain(scenario.now(), links)
    assert len(found.unreachable) == NAMES_MAX + hidden
    said = sentence_of(found, lambda address: name_of(scenario, address)).replace(" (not connected, never heard)", "")
    assert text in said


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [(0, "0.0 s"), (12_349, "12.3 s"), (59_900, "59.9 s"), (60_000, "1 min 0 s"), (3_599_999, "59 min 59 s"),
     (3_600_000, "1 h 0 min"), (100 * 3_600_000, "100 h 0 min")],
)  # fmt: skip
def test_durations_are_for_people(duration_ms: int, text: str) -> None:
    assert duration_text(duration_ms) == text


def test_the_back_off_shows_the_attempts() -> None:
    scenario = Scenario(slot=4, attempt_max_ms=ATTEMPT_MAX_MS)
    scenario.work()
    for _ in range(3):
        scenario.tick(3)
        promise = explained(scenario).signed.promise
        scenario.receive(*(scenario.members.view_change(member, promise) for member in (0, 2)))
        attempt = explained(scenario).next_attempt
        assert attempt is not None
        scenario.tick(attempt.due_in_ms / TAU_MS)
    assert "(view change, attempt 4)" in sentence(scenario)
