"""Who may verify, how panels are drawn of them, when, and what follows one that keeps silent."""

from typing import Any, Final

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.identifiers import Address
from consensus.quorum import fault_bound
from contracts.applicants import Standing, Verdict
from contracts.joining import PANELS_MAX, lapse_slots
from contracts.panels import PANEL_MAX, draw_panel, verdicts_needed, verifiers
from contracts.randomness_records import Randomness
from contracts.receipts import Reason
from contracts.state import RANDOMNESS_KEY, Overlay, score_key
from contracts.transactions import SetStake
from tests.support.contracts import make_genesis
from tests.support.joining import JoiningChain, newcomer, request_of, verdict_on, with_verifiers

NEW: Final = newcomer(1)
HOMES: Final = make_genesis(13)
LEADERS: Final = fault_bound(13) + 1
THRESHOLD: Final = HOMES.genesis.scores.threshold_stake


@pytest.fixture
def chain() -> JoiningChain:
    return JoiningChain(HOMES)


def prove(chain: JoiningChain, output: bytes = b"\x01" * 64, **context: Any) -> None:
    """A block whose leader proved something."""
    chain.block(randomness_output=output, **context)


def may_verify(chain: JoiningChain) -> tuple[Address, ...]:
    return verifiers(Overlay(chain.state), chain.community.genesis)


def rich(chain: JoiningChain, *members: int, staked: int = THRESHOLD) -> None:
    """Members have a score of the threshold, and stake of it what is told."""
    for member in members:
        chain.state[score_key(chain.community.addresses[member])] = encode(
            replace(chain.score(member), value=THRESHOLD, staked=staked)
        )


def waits(chain: JoiningChain) -> bool:
    return bool(chain.read(RANDOMNESS_KEY, Randomness).draws)


# --- who may ---------------------------------------------------------------------------------------------------


def test_who_staked_enough_verifies_beside_the_founding_verifiers() -> None:
    named = make_genesis(13, membership=with_verifiers(HOMES, 2, 3, 4))
    chain = JoiningChain(named)
    rich(chain, 0, 1, 2)
    rich(chain, 12, staked=THRESHOLD - 1)
    assert may_verify(chain) == tuple(named.addresses[number] for number in (0, 1, 2, 3, 4))


@pytest.mark.parametrize(("members", "enough"), [(13, 10), (31, 21)])
def test_as_soon_as_a_quorum_staked_nobody_verifies_without_a_stake(members: int, enough: int) -> None:
    homes = make_genesis(members)
    chain = JoiningChain(homes)
    rich(chain, *range(enough - 1))
    assert may_verify(chain) == homes.addresses
    rich(chain, members - 1)
    assert may_verify(chain) == tuple(homes.addresses[number] for number in (*range(enough - 1), members - 1))


def test_a_stake_that_was_taken_back_verifies_nothing() -> None:
    named = make_genesis(13, membership=with_verifiers(HOMES, 2, 3, 4))
    chain = JoiningChain(named)
    rich(chain, 0)
    chain.block((0, SetStake(staked=THRESHOLD - 1)), parent_voters=(), parent_leader=None)
    assert named.addresses[0] not in may_verify(chain)


# --- when ------------------------------------------------------------------------------------------------------


def test_a_panel_is_drawn_once_so_many_different_leaders_proved_something(chain: JoiningChain) -> None:
    chain.request(NEW)
    assert chain.applicant(NEW).panel == ()
    for turn in range(LEADERS - 1):
        prove(chain)
        prove(chain, slot=chain.slot + 13)  # the same leader again
        chain.block()  # a leader that proves nothing
        assert waits(chain), turn
    prove(chain)
    assert not waits(chain)
    assert len(set(chain.applicant(NEW).panel)) == PANEL_MAX


def test_the_block_of_the_request_does_not_count(chain: JoiningChain) -> None:
    chain.block((0, request_of(HOMES, NEW)), randomness_output=b"\x01" * 64)
    leader = HOMES.addresses[chain.slot % 13]
    for _ in range(LEADERS - 1):
        prove(chain)
    assert waits(chain)
    prove(chain, leader=leader)
    assert not waits(chain)


def test_who_stakes_after_the_request_is_not_drawn() -> None:
    """Else who comes last could choose, by those who may, of whom is drawn."""
    eleven = make_genesis(31, membership=with_verifiers(make_genesis(31), *range(11)))
    chain = JoiningChain(eleven)
    chain.request(NEW)
    rich(chain, *range(11, 31))
    assert len(may_verify(chain)) == 31, "of ten drawn of all, some would be others"
    chain.draw()
    assert set(chain.applicant(NEW).panel) < set(eleven.addresses[:11])


def test_the_last_output_and_the_request_decide_who_is_drawn(chain: JoiningChain) -> None:
    panels = set()
    for last in range(4):
        drawn = JoiningChain(HOMES)
        drawn.request(NEW)
        for turn in range(LEADERS):
            prove(drawn, bytes([last if turn == LEADERS - 1 else 9]) * 64)
        panels.add(drawn.applicant(NEW).panel)
    assert len(panels) == 4
    value = chain.read(RANDOMNESS_KEY, Randomness).value
    requests = [bytes([number]) * 32 for number in range(4)]
    assert len({draw_panel(HOMES.addresses, randomness=value, height=9, request=one) for one in requests}) == 4


# --- what it decides -------------------------------------------------------------------------------------------


def numbers(chain: JoiningChain) -> list[int]:
    return [chain.community.addresses.index(one) for one in chain.applicant(NEW).panel]


def test_the_panel_decides_and_nobody_else(chain: JoiningChain) -> None:
    chain.request(NEW)
    (receipt,) = chain.block((0, verdict_on(NEW))).receipts
    assert receipt.reason is Reason.VERDICT_NOT_VERIFIER
    chain.draw()
    (stranger, *_) = set(range(13)) - set(numbers(chain))
    (receipt,) = chain.block((stranger, verdict_on(NEW))).receipts
    assert receipt.reason is Reason.VERDICT_NOT_VERIFIER
    needed = verdicts_needed(PANEL_MAX)
    chain.judge(NEW, numbers(chain)[: needed - 1])
    assert chain.applicant(NEW).standing is Standing.OPEN
    chain.judge(NEW, numbers(chain)[needed - 1 : needed])
    assert chain.applicant(NEW).standing is Standing.CANDIDATE


def test_a_panel_that_does_not_decide_is_followed_by_another(chain: JoiningChain) -> None:
    chain.request(NEW)
    part = lapse_slots(HOMES.genesis) // PANELS_MAX
    panels = []
    for _ in range(PANELS_MAX):
        chain.draw()
        panels.append(chain.applicant(NEW).panel)
        until = chain.applicant(NEW).until_slot
        assert until == chain.slot + part
        chain.block(slot=until - 1)
        assert chain.applicant(NEW).panel == panels[-1]
        chain.block(slot=until)
    assert len(set(panels)) == PANELS_MAX
    assert chain.applicant(NEW).standing is Standing.LAPSED
    assert not waits(chain)


def test_verdicts_of_who_is_drawn_again_still_count(chain: JoiningChain) -> None:
    chain.request(NEW)
    chain.draw()
    first = numbers(chain)
    chain.judge(NEW, first[-6:])
    chain.block(slot=chain.applicant(NEW).until_slot)
    chain.draw()
    again = set(first[-6:]) & set(numbers(chain))
    said = {given.verifier for given in chain.applicant(NEW).verdicts}
    assert said == {HOMES.addresses[number] for number in again}
    assert len(again) < 6, "another seed would show nothing"
    missing = [number for number in numbers(chain) if number not in again]
    chain.judge(NEW, missing[: verdicts_needed(PANEL_MAX) - len(again)])
    assert chain.applicant(NEW).standing is Standing.CANDIDATE


def test_an_application_whose_draw_never_comes_lapses(chain: JoiningChain) -> None:
    chain.request(NEW)
    chain.block(slot=chain.applicant(NEW).until_slot)
    assert chain.applicant(NEW).standing is Standing.LAPSED
    assert not waits(chain)
    assert chain.request(NEW, number=2).reason is Reason.NONE
    chain.draw()
    chain.judge(NEW, numbers(chain), Verdict.CONTRACT_NOT_SIGNED, number=2)
    assert chain.applicant(NEW).standing is Standing.REFUSED
