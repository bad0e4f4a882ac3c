"""A member that may have forgotten what it signed: how it finds out, what it asks, how long it keeps silent.

Member i of four leads the slots s with s mod 4 = i; F = 1, Q = 3. This member is number 1.
"""

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.cryptography import SigningKey
from consensus.eras import Eras, EraStart
from consensus.events import UNANSWERED, KeepSilent, SignState, fresh_sign_state
from consensus.identifiers import Digest, EraNumber, Height, Slot
from consensus.membership import Membership, Memberships
from consensus.messages import Claim, Commit, HeightAnswer, Prepare, PrePrepare, ViewChange
from consensus.recovery import (
    AnswerRefusal,
    Inquiry,
    answer_to,
    can_ask,
    certificate_is_forgotten,
    is_forgotten,
    question_holds,
)
from tests.support.consensus import BLOCK_A, BLOCK_B, CHAIN, ERA, A, B, Members, Scenario

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
# w is the asker's undecided height. It asks the members of w + 1, which may be others than those of w.

THREE, FIVE = Members(3), Members(5)
NEW_KEY = SigningKey(b"\x77" * 32)
LATER = Eras(CHAIN, (EraStart(number=EraNumber(1), plan=Digest(bytes(32)), base=Height(0)),)).newest


def both(following: Members = FOUR, undecided: Members = FOUR) -> Memberships:
    return Memberships(undecided=undecided.membership, following=following.membership)


def inquiry(members: Members = FOUR) -> Inquiry:
    return Inquiry(members.keys[1], ERA, nonce=NONCE)


def answer(member: int, undecided: int, members: Members = FOUR, *, asked: Inquiry | None = None) -> HeightAnswer:
    question = (inquiry(members) if asked is None else asked).question
    found = answer_to(question, members.keys[member], ERA, undecided=Height(undecided), silent_through=Height(0))
    assert found is not None
    return found


IN_ANOTHERS_NAME = replace(answer(0, 5), signer=FOUR.address(2))


def test_only_from_three_members_on_there_are_q_others() -> None:
    assert [members for members in range(1, 8) if not can_ask(members)] == [1, 2]


@pytest.mark.parametrize("count", [3, 4, 5, 6, 7])
def test_the_silence_reaches_one_above_the_own_height_once_q_others_said_that_they_are_no_further(count: int) -> None:
    members = Members(count)
    asked, sets = inquiry(members), both(members, members)
    others = [member for member in range(count) if member != 1]
    for member in others[: members.membership.quorum]:
        assert asked.silent_through(Height(10), sets) is None
        assert asked.take(answer(member, 10, members), sets) is None
    assert asked.silent_through(Height(10), sets) == 11
    assert asked.silent_through(Height(40), sets) == 41


def test_an_answer_counts_once_the_own_ledger_is_as_far() -> None:
    asked = inquiry()
    for member, undecided in ((0, 3), (2, 12), (3, 7)):
        assert asked.take(answer(member, undecided), both()) is None
    assert [asked.silent_through(Height(w), both()) for w in (1, 3, 7, 11, 12)] == [None, None, None, None, 13]


def test_who_answered_is_not_asked_again() -> None:
    asked = inquiry()
    assert asked.unanswered(both()) == (FOUR.address(0), FOUR.address(2), FOUR.address(3))
    asked.take(answer(2, 5), both())
    assert asked.unanswered(both()) == (FOUR.address(0), FOUR.address(3))


def test_one_member_answers_once_however_often_it_does_and_its_first_word_stays() -> None:
    asked = inquiry()
    for undecided in (5, 6, 7, 1):
        assert asked.take(answer(0, undecided), both()) is None
    for member in (2, 3):
        asked.take(answer(member, 2), both())
    assert [asked.silent_through(Height(w), both()) for w in (4, 5)] == [None, 6]


def test_asked_are_the_members_of_the_next_height_also_who_becomes_one_meanwhile() -> None:
    asked = inquiry()
    assert set(asked.unanswered(both(THREE))) == {FOUR.address(0), FOUR.address(2)}
    assert set(asked.unanswered(both(FIVE))) == {FIVE.address(member) for member in (0, 2, 3, 4)}
    assert asked.take(answer(3, 1), both(THREE)) is AnswerRefusal.NOT_ASKED
    assert asked.take(answer(3, 1), both(FOUR)) is None
    assert set(asked.unanswered(both(FIVE))) == {FIVE.address(member) for member in (0, 2, 4)}


def test_a_quorum_is_one_of_the_next_heights_members() -> None:
    asked = inquiry()
    for member in (0, 2, 3):
        asked.take(answer(member, 1), both(FIVE))
    assert asked.silent_through(Height(1), both(FOUR, undecided=FIVE)) == 2
    assert asked.silent_through(Height(1), both(FIVE)) is None, "three of five are no quorum"
    asked.take(answer(4, 1, FIVE, asked=asked), both(FIVE))
    assert asked.silent_through(Height(1), both(FIVE)) == 2
    assert asked.silent_through(Height(1), both(THREE)) == 2


def test_answers_of_who_is_no_member_of_the_next_height_do_not_count() -> None:
    asked = inquiry(FIVE)
    for member in (0, 2, 3, 4):
        asked.take(answer(member, 1, FIVE), both(FIVE))
    replaced = Members(5)
    replaced.rekey(4, NEW_KEY)
    assert asked.silent_through(Height(1), both(FIVE)) == 2
    assert asked.silent_through(Height(1), both(replaced)) is None, "another home has that place"
    assert asked.unanswered(both(replaced)) == (FIVE.address(4),)


def test_a_key_that_enters_later_or_left_ends_nothing() -> None:
    asked = inquiry()
    for member in (0, 2, 3):
        asked.take(answer(member, 1), both())
    rotated = Members(4)
    rotated.rekey(1, NEW_KEY)
    assert asked.silent_through(Height(1), both()) == 2
    assert asked.silent_through(Height(1), both(rotated)) is None
    without = Members(4)
    without.membership = Membership([FOUR.membership.members[member] for member in (0, 2, 3)])
    assert asked.silent_through(Height(1), both(without)) is None


TO_ANOTHER_QUESTION = answer(0, 5, asked=Inquiry(FOUR.keys[1], ERA, nonce=bytes(32)))


@pytest.mark.parametrize(
    ("lie", "refusal"),
    [
        (TO_ANOTHER_QUESTION, AnswerRefusal.NOT_ASKED),
        (answer(0, 5, asked=Inquiry(FOUR.keys[2], ERA, nonce=NONCE)), AnswerRefusal.NOT_ASKED),
        (answer(1, 5), AnswerRefusal.NOT_ASKED),
        (answer(4, 5, FIVE), AnswerRefusal.NOT_ASKED),
        (replace(answer(0, 5), era=EraNumber(1)), AnswerRefusal.OTHER_ERA),
        (replace(answer(0, 5), undecided=Height(1)), AnswerRefusal.BAD_SIGNATURE),
        (IN_ANOTHERS_NAME, AnswerRefusal.BAD_SIGNATURE),
        (replace(answer(0, 5), signature=FOUR.keys[0].sign(b"")), AnswerRefusal.BAD_SIGNATURE),
    ],
)
def test_what_is_no_answer_to_this_question_does_not_count(lie: HeightAnswer, refusal: AnswerRefusal) -> None:
    asked = inquiry()
    assert asked.take(lie, both()) is refusal
    assert len(asked.unanswered(both())) == 3


def test_an_answer_of_another_era_does_not_count_though_it_is_signed() -> None:
    foreign = answer_to(inquiry().question, FOUR.keys[0], LATER, undecided=Height(1), silent_through=Height(0))
    assert foreign is not None
    assert inquiry().take(foreign, both()) is AnswerRefusal.OTHER_ERA
    assert inquiry().take(replace(foreign, era=ERA.number), both()) is AnswerRefusal.BAD_SIGNATURE
    assert Inquiry(FOUR.keys[1], LATER, nonce=NONCE).take(foreign, both()) is None


def test_who_keeps_silent_does_not_answer() -> None:
    def asked_of(undecided: int, silent_through: int) -> HeightAnswer | None:
        return answer_to(
            inquiry().question, FOUR.keys[0], ERA, undecided=Height(undecided), silent_through=Height(silent_through)
        )

    assert asked_of(5, 5) is asked_of(5, 9) is asked_of(5, UNANSWERED) is None
    assert asked_of(6, 5) is not None


def test_a_question_says_who_asks_whoever_passes_it_on() -> None:
    question = inquiry().question
    assert question_holds(question, both(), ERA)
    assert question_holds(question, both(undecided=Members(1)), ERA)
    assert question_holds(question, both(following=Members(1)), ERA)
    assert not question_holds(question, both(Members(1), Members(1)), ERA)
    assert not question_holds(question, both(), LATER)
    for lie in (
        replace(question, asker=FOUR.address(2)),
        replace(question, nonce=bytes(32)),
        replace(question, signature=FOUR.keys[2].sign(b"")),
        replace(question, era=EraNumber(1)),
    ):
        assert not question_holds(lie, both(), ERA)


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
