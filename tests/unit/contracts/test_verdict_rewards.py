"""What a verifier earns for its verdict: the same whatever it says, once, and only before the others decided."""

import pytest

from contracts.applicants import Standing, Verdict
from contracts.genesis import ATTENDANCE_VERSION
from contracts.panels import verdicts_needed
from contracts.receipts import Reason
from contracts.state import ScoreCause
from tests.support.contracts import make_genesis
from tests.support.joining import JoiningChain, newcomer, request_of, verdict_on

HOMES = make_genesis(7)
NEW = newcomer(1)
REWARD = 1_800
"""Of a score of 1.0, in millionths: 0.002 q (1 - q / 10)."""
ALONE = {"parent_voters": (), "parent_leader": None}


def asked() -> JoiningChain:
    chain = JoiningChain(HOMES)
    chain.block((0, request_of(HOMES, NEW)), **ALONE)
    return chain


def says(chain: JoiningChain, verifier: int, verdict: Verdict) -> Reason:
    (receipt,) = chain.block((verifier, verdict_on(NEW, verdict)), **ALONE).receipts
    return receipt.reason


def earned(chain: JoiningChain, member: int) -> int:
    return chain.score(member).value - 1_000_000


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_verdict_earns_the_same_whatever_it_says(verdict: Verdict) -> None:
    chain = asked()
    assert says(chain, 1, verdict) is Reason.NONE
    assert (earned(chain, 1), chain.score(1).cause) == (REWARD, ScoreCause.VERIFIER)
    assert chain.score(1).reference != b""
    assert earned(chain, 0) == earned(chain, 2) == 0, "who brings an application earns nothing, nor who is silent"


def test_who_stands_against_all_others_earns_as_they_do() -> None:
    chain = asked()
    assert says(chain, 1, Verdict.CONTRACT_NOT_SIGNED) is Reason.NONE
    for verifier in range(2, 2 + verdicts_needed(7)):
        assert says(chain, verifier, Verdict.ACCEPT) is Reason.NONE
    assert chain.applicant(NEW).standing is Standing.CANDIDATE
    assert {earned(chain, verifier) for verifier in range(1, 2 + verdicts_needed(7))} == {REWARD}


def test_a_second_verdict_that_contradicts_the_first_counts_for_nothing_and_is_no_offence() -> None:
    chain = asked()
    assert says(chain, 1, Verdict.CONTRACT_NOT_SIGNED) is Reason.NONE
    assert says(chain, 1, Verdict.ACCEPT) is Reason.VERDICT_GIVEN_BEFORE
    assert earned(chain, 1) == REWARD
    assert not chain.score(1).is_suspended


def test_a_verdict_that_comes_when_it_is_decided_earns_nothing() -> None:
    chain = asked()
    needed = verdicts_needed(7)
    for verifier in range(needed):
        says(chain, verifier, Verdict.ACCEPT)
    assert says(chain, needed, Verdict.ACCEPT) is Reason.VERDICT_NOT_OPEN
    assert earned(chain, needed) == 0


def test_rules_from_before_reward_no_verdict() -> None:
    older = make_genesis(7, protocol_version=ATTENDANCE_VERSION - 1)
    chain = JoiningChain(older)
    chain.block((0, request_of(older, NEW)), **ALONE)
    assert says(chain, 1, Verdict.ACCEPT) is Reason.NONE
    assert earned(chain, 1) == 0
