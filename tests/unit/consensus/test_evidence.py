"""Evidence: each kind of contradiction, and each near miss that an honest member could sign."""

import pytest

from consensus.evidence import Offence, Signed, contradiction
from tests.support.consensus import BLOCK_A, BLOCK_B, A, B, Members, Scenario

FOUR = Members(4)
PREPARED_4A = FOUR.prepared(4, BLOCK_A)
PREPARED_5A = FOUR.prepared(5, BLOCK_A)
PREPARED_5B = FOUR.prepared(5, BLOCK_B)
PREPARED_6B = FOUR.prepared(6, BLOCK_B)
JUSTIFIED = FOUR.justification(5)

OFFENCES = [
    pytest.param(FOUR.vote(1, 5, BLOCK_A), FOUR.vote(1, 5, BLOCK_B), Offence.TWO_VOTES, id="two prepares"),
    pytest.param(FOUR.pre_prepare(5, A), FOUR.pre_prepare(5, B), Offence.TWO_VOTES, id="two pre-prepares"),
    pytest.param(FOUR.pre_prepare(5, A), FOUR.vote(1, 5, BLOCK_B), Offence.TWO_VOTES, id="pre-prepare and prepare"),
    pytest.param(FOUR.commit(1, 5, BLOCK_A), FOUR.commit(1, 5, BLOCK_B), Offence.TWO_COMMITS, id="two commits"),
    pytest.param(
        FOUR.view_change(1, 7), FOUR.view_change(1, 7, PREPARED_5A), Offence.TWO_VIEW_CHANGES, id="two view changes"
    ),
    pytest.param(FOUR.commit(1, 5), FOUR.view_change(1, 7), Offence.COMMIT_DENIED, id="claims none"),
    pytest.param(FOUR.commit(1, 5), FOUR.view_change(1, 7, PREPARED_4A), Offence.COMMIT_DENIED, id="claims earlier"),
    pytest.param(FOUR.commit(1, 5), FOUR.view_change(1, 7, PREPARED_5B), Offence.COMMIT_DENIED, id="claims other"),
]

NEAR_MISSES = [
    pytest.param(FOUR.vote(1, 5, BLOCK_A), FOUR.vote(1, 5, BLOCK_A), id="one vote twice"),
    pytest.param(FOUR.vote(1, 5, BLOCK_A), FOUR.vote(1, 6, BLOCK_B), id="votes of two slots"),
    pytest.param(FOUR.pre_prepare(5, A), FOUR.vote(1, 5, BLOCK_A), id="pre-prepare and the same vote"),
    pytest.param(FOUR.pre_prepare(5, A), FOUR.pre_prepare(5, A, JUSTIFIED), id="two justifications"),
    pytest.param(FOUR.commit(1, 5, BLOCK_A), FOUR.commit(1, 6, BLOCK_B), id="commits of two slots"),
    pytest.param(FOUR.commit(1, 5, BLOCK_A), FOUR.vote(1, 5, BLOCK_B), id="commit for another's prepared block"),
    pytest.param(FOUR.view_change(1, 7), FOUR.view_change(1, 8, PREPARED_5A), id="view changes of two slots"),
    pytest.param(
        FOUR.view_change(1, 7, PREPARED_5A),
        FOUR.view_change(1, 7, FOUR.prepared(5, by=(1, 2, 3))),
        id="one claim, two certificates",
    ),
    pytest.param(FOUR.commit(1, 5), FOUR.view_change(1, 7, PREPARED_5A), id="claims the committed block"),
    pytest.param(FOUR.commit(1, 5), FOUR.view_change(1, 7, PREPARED_6B), id="claims a later block"),
    pytest.param(FOUR.commit(1, 5), FOUR.view_change(1, 5), id="committed at the promised slot"),
    pytest.param(FOUR.commit(1, 5), FOUR.view_change(1, 4), id="committed after the promise"),
    pytest.param(FOUR.vote(1, 5), FOUR.view_change(1, 7), id="a vote is no commit"),
]


@pytest.mark.parametrize(("first", "second", "offence"), OFFENCES)
def test_a_contradiction_is_found_in_either_order(first: Signed, second: Signed, offence: Offence) -> None:
    assert contradiction(first, second) is offence
    assert contradiction(second, first) is offence


@pytest.mark.parametrize(("first", "second"), NEAR_MISSES)
def test_what_an_honest_member_may_sign_is_no_evidence(first: Signed, second: Signed) -> None:
    assert contradiction(first, second) is None
    assert contradiction(second, first) is None


@pytest.mark.parametrize(("first", "second", "offence"), OFFENCES)
@pytest.mark.parametrize("turned", [False, True])
def test_a_replica_reports_what_it_receives(first: Signed, second: Signed, offence: Offence, turned: bool) -> None:
    scenario = Scenario(own=3, slot=5)
    messages = (second, first) if turned else (first, second)
    scenario.receive(*messages)
    assert [(found.offence, found.signer, found.height) for found in scenario.evidence] == [
        (offence, FOUR.address(1), 1)
    ]


@pytest.mark.parametrize(("first", "second"), NEAR_MISSES)
@pytest.mark.parametrize("turned", [False, True])
def test_a_replica_accuses_nobody_else(first: Signed, second: Signed, turned: bool) -> None:
    scenario = Scenario(own=3, slot=5)
    scenario.receive(*((second, first) if turned else (first, second)))
    assert scenario.evidence == []


def test_both_statements_are_kept_for_whoever_judges() -> None:
    scenario = Scenario(own=3, slot=5)
    scenario.receive(FOUR.commit(1, 5, BLOCK_A), FOUR.commit(1, 5, BLOCK_B))
    (found,) = scenario.evidence
    assert (found.first, found.second) == (FOUR.commit(1, 5, BLOCK_A), FOUR.commit(1, 5, BLOCK_B))


def test_a_member_is_accused_of_each_offence_once_a_height() -> None:
    scenario = Scenario(own=3, slot=5)
    scenario.receive(FOUR.vote(1, 5, BLOCK_A), *[FOUR.vote(1, 5, BLOCK_B)] * 50)
    assert [found.offence for found in scenario.evidence] == [Offence.TWO_VOTES]
    scenario.receive(
        FOUR.commit(1, 5, BLOCK_A), FOUR.commit(1, 5, BLOCK_B), FOUR.vote(2, 5), FOUR.vote(2, 5, BLOCK_B)
    )
    assert [found.offence for found in scenario.evidence] == [Offence.TWO_COMMITS, Offence.TWO_VOTES]
