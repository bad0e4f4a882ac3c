"""A member that may have forgotten what it signed: how it finds out, what it asks, how long it keeps silent.

Member i of four leads the slots s with s mod 4 = i; F = 1, Q = 3. This member is number 1.
"""

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.events import UNANSWERED, KeepSilent, SignState, fresh_sign_state
from consensus.identifiers import Digest, Height, Slot
from consensus.messages import Claim, Commit, HeightAnswer, Prepare, PrePrepare, ViewChange
from consensus.recovery import AnswerRefusal, Inquiry, can_ask, certificate_is_forgotten, is_forgotten
from tests.support.consensus import BLOCK_A, BLOCK_B, CHAIN, A, B, Members, Scenario

FOUR = Members(4)
OWN = FOUR.address(1)
NONCE = bytes(range(32))
SIGNED = (PrePrepare, Prepare, Commit, ViewChange)


def remembers(
    height: int = 5,
    *,
    voted: int | None = None,
    prepared: int | None = None,
    promise: int = 0,
    silent_through: int = 0,
) -> SignState:
    return SignState(
        height=Height(height),
        voted=None if voted is None else Claim(slot=Slot(voted), block=BLOCK_A),
        promise=Slot(promise),
        attempts=int(promise > 0),
        prepared=None if prepared is None else Claim(slot=Slot(prepared), block=BLOCK_A),
        silent_through=Height(silent_through),
    )


# --- what shows that something was forgotten -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "remembered", "forgotten"),
    [
        # own COMMIT in a decided block's certificate
        (FOUR.decided(7, height=6), remembers(5), True),
        (FOUR.decided(7, height=6), remembers(5, prepared=9), True),
        (FOUR.decided(7, height=5), remembers(5), True),
        (FOUR.decided(7, height=5), remembers(5, prepared=6), True),
        (FOUR.decided(7, height=5), remembers(5, prepared=7), False),
        (FOUR.decided(7, B, height=5), remembers(5, prepared=7), True),
        (FOUR.decided(7, height=5), remembers(5, prepared=8), False),
        (FOUR.decided(7, height=4), remembers(5), False),
        # within a silence that is known already
        (FOUR.decided(7, height=9), remembers(5, silent_through=9), False),
        (FOUR.decided(7, height=10), remembers(5, silent_through=9), True),
        (FOUR.decided(7, height=10), remembers(5, silent_through=UNANSWERED), False),
        # own VOTE: as PREPARE, as PRE-PREPARE, in a certificate that somebody claims or justifies with
        (FOUR.vote(1, 7, height=5), remembers(5, voted=6), True),
        (FOUR.vote(1, 7, height=5), remembers(5, voted=7), False),
        (FOUR.vote(1, 7, BLOCK_B, height=5), remembers(5, voted=7), True),
        (FOUR.pre_prepare(9, height=5), remembers(5, voted=7), True),
        (FOUR.pre_prepare(9, height=5), remembers(5, voted=9), False),
        (FOUR.view_change(2, 9, FOUR.prepared(7, height=5), height=5), remembers(5, voted=6), True),
        (FOUR.view_change(2, 9, FOUR.prepared(7, height=5), height=5), remembers(5, voted=7), False),
        (FOUR.view_change(2, 9, FOUR.prepared(7, by=(0, 2, 3), height=5), height=5), remembers(5), False),
        (
            FOUR.pre_prepare(
                10,
                justification=FOUR.justification(10, {0: FOUR.prepared(7, height=5)}, by=(0, 2, 3), height=5),
                height=5,
            ),
            remembers(5, voted=6, promise=10),
            True,
        ),
        # own COMMIT and VIEW-CHANGE, alone or in a justification
        (FOUR.commit(1, 7, height=5), remembers(5, prepared=6), True),
        (FOUR.commit(1, 7, height=5), remembers(5, prepared=7), False),
        (FOUR.view_change(1, 9, height=5), remembers(5, promise=8), True),
        (FOUR.view_change(1, 9, height=5), remembers(5, promise=9), False),
        (
            FOUR.pre_prepare(10, justification=FOUR.justification(10, height=5), height=5),
            remembers(5, promise=9),
            True,
        ),
        (
            FOUR.pre_prepare(10, justification=FOUR.justification(10, height=5), height=5),
            remembers(5, promise=10),
            False,
        ),
        # what others signed says nothing
        (FOUR.vote(2, 7, height=9), remembers(5), False),
        (FOUR.commit(2, 7, height=9), remembers(5), False),
        (FOUR.view_change(2, 7, height=9), remembers(5), False),
        (FOUR.pre_prepare(8, height=9), remembers(5), False),
    ],
)
def test_only_an_own_statement_above_the_sign_state_shows_a_loss(message, remembered, forgotten) -> None:  # type: ignore[no-untyped-def]
    assert is_forgotten(message, OWN, remembered) is forgotten


def test_blocks_that_the_others_decided_alone_show_nothing() -> None:
    for height in range(1, 50):
        certificate = FOUR.committed(7, by=(0, 2, 3), height=height)
        assert not certificate_is_forgotten(certificate, OWN, remembers(1))
    assert certificate_is_forgotten(FOUR.committed(7, by=(0, 1, 3), height=50), OWN, remembers(1))


# --- the question ----------------------------------------------------------------------------------------------


def inquiry(members: Members = FOUR) -> Inquiry:
    return Inquiry(own=members.address(1), chain=CHAIN, membership=members.membership, nonce=NONCE)


def answer(undecided: int, members: Members = FOUR, nonce: bytes = NONCE) -> HeightAnswer:
    certificate = None if undecided == 1 else members.committed(9, height=undecided - 1)
    return HeightAnswer(nonce=nonce, undecided=Height(undecided), certificate=certificate)


def test_only_from_three_members_on_there_are_q_others() -> None:
    assert [members for members in range(1, 8) if not can_ask(members)] == [1, 2]


@pytest.mark.parametrize("count", [3, 4, 5, 6, 7])
def test_the_silence_reaches_one_above_the_highest_height_that_q_others_proved(count: int) -> None:
    members = Members(count)
    asked = inquiry(members)
    others = [member for member in range(count) if member != 1]
    for number, member in enumerate(others[: members.membership.quorum]):
        assert asked.silent_through(Height(1)) is None
        assert asked.take(members.address(member), answer(10 + number, members)) is None
    assert asked.silent_through(Height(1)) == 10 + members.membership.quorum - 1 + 1
    assert asked.silent_through(Height(40)) == 41  # the own ledger is a proof, too


def test_who_answered_is_not_asked_again() -> None:
    asked = inquiry()
    assert asked.unanswered() == (FOUR.address(0), FOUR.address(2), FOUR.address(3))
    asked.take(FOUR.address(2), answer(5))
    assert asked.unanswered() == (FOUR.address(0), FOUR.address(3))


def test_one_member_answers_once_however_often_it_does() -> None:
    asked = inquiry()
    for undecided in (5, 6, 7, 8):
        assert asked.take(FOUR.address(0), answer(undecided)) is None
    assert asked.silent_through(Height(1)) is None


def test_answers_at_genesis_need_no_certificate_and_all_others_do() -> None:
    asked = inquiry()
    assert asked.take(FOUR.address(0), answer(1)) is None
    without = HeightAnswer(nonce=NONCE, undecided=Height(2), certificate=None)
    assert asked.take(FOUR.address(2), without) is AnswerRefusal.UNPROVEN


@pytest.mark.parametrize(
    "certificate",
    [
        FOUR.committed(9, height=8),
        FOUR.committed(9, height=10),
        FOUR.committed(9, by=(0, 1), height=9),
        FOUR.committed(9, by=(0, 1, 2, 3), height=9),
        replace(FOUR.committed(9, height=9), slot=Slot(8)),
        replace(FOUR.committed(9, height=9), block=Digest(bytes(32))),
        Members(4, chain=Digest(bytes(32))).committed(9, height=9),
    ],
)
def test_a_height_without_its_proof_does_not_count(certificate) -> None:  # type: ignore[no-untyped-def]
    asked = inquiry()
    lie = HeightAnswer(nonce=NONCE, undecided=Height(10), certificate=certificate)
    for member in (0, 2, 3):
        assert asked.take(FOUR.address(member), lie) is AnswerRefusal.UNPROVEN
    assert asked.silent_through(Height(1)) is None


def test_an_answer_to_another_question_or_from_no_other_member_does_not_count() -> None:
    asked = inquiry()
    assert asked.take(FOUR.address(0), answer(5, nonce=bytes(32))) is AnswerRefusal.NOT_ASKED
    assert asked.take(OWN, answer(5)) is AnswerRefusal.NOT_ASKED
    assert asked.take(Members(9).address(8), answer(5)) is AnswerRefusal.NOT_ASKED
    assert len(asked.unanswered()) == 3


# --- what the replica does -------------------------------------------------------------------------------------


def signed_at(scenario: Scenario, height: int) -> set[type]:
    """Tempts the replica with all that makes an honest member sign at a height; returns what it signed."""
    kinds = set()
    scenario.receive(FOUR.pre_prepare(8, B, FOUR.justification(8, by=(0, 2, 3), height=height), height=height))
    kinds |= {type(message) for message in scenario.sent}
    scenario.execute(B, header_slot=8, height=height)
    kinds |= {type(message) for message in scenario.sent}
    for messages in (
        [FOUR.vote(member, 8, BLOCK_B, height) for member in (0, 2, 3)],
        [FOUR.view_change(member, 13, height=height) for member in (2, 3)],
    ):
        scenario.receive(*messages)
        kinds |= {type(message) for message in scenario.sent}
    scenario.work(age_slots=10)
    scenario.tick(5)
    kinds |= {type(message) for message in scenario.sent}
    return kinds & set(SIGNED)


def decide(scenario: Scenario, height: int) -> None:
    scenario.receive(FOUR.decided(8, B, height), sender=0)
    scenario.applied(header_slot=8)


def test_the_silence_is_persisted_at_once_and_holds_until_its_height_is_decided() -> None:
    scenario = Scenario(own=1, slot=8)
    scenario.step(KeepSilent(through=UNANSWERED))
    assert scenario.sign_state.silent_through == UNANSWERED
    for height in (1, 2):
        assert signed_at(scenario, height) == set()
        decide(scenario, height)
    scenario.step(KeepSilent(through=Height(4)))
    assert scenario.sign_state.silent_through == 4
    for height in (3, 4):
        assert signed_at(scenario, height) == set()
        assert scenario.sign_state.silent_through == 4
        decide(scenario, height)
    assert signed_at(scenario, 5) >= {Prepare, Commit, ViewChange}
    assert scenario.sign_state.height == 5


@pytest.mark.parametrize("through", [2, UNANSWERED])
def test_a_restart_does_not_end_the_silence(through: int) -> None:
    scenario = Scenario(own=1, slot=8)
    scenario.step(KeepSilent(through=Height(through)))
    scenario.restart()
    assert scenario.replica.silent_through == through
    assert signed_at(scenario, 1) == set()
    decide(scenario, 1)
    scenario.restart()
    assert signed_at(scenario, 2) == set()
    decide(scenario, 2)
    scenario.restart()
    assert (signed_at(scenario, 3) == set()) is (through == UNANSWERED)


def test_records_of_an_old_backup_are_not_sent_again_while_silent() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.vote_for(4)
    scenario.step(KeepSilent(through=UNANSWERED))
    scenario.restart()
    scenario.tick(1)
    assert not {type(message) for message in scenario.sent} & set(SIGNED)
    assert scenario.sign_state.silent_through == UNANSWERED


def test_nor_do_such_records_of_a_later_height_than_the_sign_state_undo_it() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.receive(FOUR.decided(4, B), sender=0)
    scenario.applied(header_slot=4)
    scenario.receive(FOUR.pre_prepare(4, height=2))
    scenario.execute(A, header_slot=4, height=2)
    assert scenario.voted is not None
    scenario.sign_state = replace(fresh_sign_state(Height(1)), silent_through=UNANSWERED)
    scenario.restart()
    scenario.tick(1)
    assert not {type(message) for message in scenario.sent} & set(SIGNED)
    assert scenario.sign_state.silent_through == UNANSWERED


def test_silence_in_the_middle_of_a_height_stops_what_was_under_way_and_is_not_undone_by_it() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.vote_for(4)
    voted = scenario.sign_state
    scenario.step(KeepSilent(through=UNANSWERED))
    scenario.receive(*(FOUR.vote(member, 4) for member in (0, 2, 3)))
    scenario.tick(3)
    assert not {type(message) for message in scenario.sent} & set(SIGNED)
    assert scenario.sign_state == replace(voted, silent_through=UNANSWERED)


def test_a_sign_state_above_the_blocks_keeps_silent_longer_than_the_answer_says() -> None:
    scenario = Scenario(own=1, slot=8)
    scenario.sign_state = remembers(3, promise=9)
    scenario.restart()
    scenario.step(KeepSilent(through=Height(2)))
    for height in (1, 2, 3):
        assert signed_at(scenario, height) == set()
        decide(scenario, height)
    assert signed_at(scenario, 4) != set()


def test_the_sign_state_on_disk_says_it() -> None:
    state = replace(fresh_sign_state(Height(7)), silent_through=UNANSWERED)
    assert decode(encode(state), SignState) == state
    assert fresh_sign_state(Height(7)).silent_through == 0


def test_what_is_remembered_is_the_last_height_signed_at() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.vote_for(4)
    assert scenario.replica.remembered == scenario.sign_state
    decide(scenario, 1)
    assert scenario.replica.height == 2
    assert scenario.replica.remembered == scenario.sign_state
    assert scenario.replica.remembered.height == 1
