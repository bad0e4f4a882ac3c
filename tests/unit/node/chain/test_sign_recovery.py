"""The question for the height, asked and answered over fake links and a real ledger."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from consensus.eras import first_era
from consensus.events import UNANSWERED
from consensus.identifiers import GENESIS_HEIGHT, Address, Height
from consensus.member import KeyRing
from consensus.messages import HeightAnswer, HeightQuestion
from consensus.recovery import AnswerRefusal, Inquiry, answer_to, question_holds, question_of
from ledger.ledger import Ledger
from node.chain import question_relay, sign_recovery
from node.chain.sign_recovery import RecoveryLinks, SignRecovery
from node.mesh.messages import PeerMessage
from tests.support.changing_members import changing_chain
from tests.support.contracts import Community, make_genesis
from tests.support.driving import application_on
from tests.support.ledger import ChainBuilder

TIP = 5
NONCE = bytes(32)


@dataclass
class Node:
    """One member's recovery; what it sends is collected."""

    community: Community
    ledger: Ledger
    own: int = 3
    is_unanswered: bool = False
    silent_through: Height = GENESIS_HEIGHT
    through: Height | None = None
    connected: frozenset[Address] = frozenset()
    sent: list[tuple[Address, PeerMessage]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    now_s: float = 100.0

    def __post_init__(self) -> None:
        self.connected = frozenset(self.community.addresses) - {self.community.addresses[self.own]}
        links = RecoveryLinks(
            send=lambda peer, message: self.sent.append((peer, message)),
            connected=lambda: self.connected,
            is_unanswered=lambda: self.is_unanswered,
            silent_through=lambda: self.silent_through,
            keep_silent_through=self.keep_silent_through,
            refused=lambda reason, _: self.refused.append(reason),
        )
        self.keys = KeyRing(self.community.node_keys[self.own])
        self.recovery = SignRecovery(
            keys=self.keys,
            application=application_on(self.ledger, self.community.addresses[self.own]),
            links=links,
            clock_s=lambda: self.now_s,
        )

    def keep_silent_through(self, height: Height) -> None:
        self.through, self.is_unanswered = height, False


@pytest.fixture
def builder(tmp_path: Path) -> ChainBuilder:
    builder = ChainBuilder.create(tmp_path / "ledger")
    for _ in range(TIP):
        builder.append([builder.transfer(0, 1, 1)])
    return builder


@pytest.fixture
def node(builder: ChainBuilder) -> Node:
    return Node(builder.community, builder.ledger)


@pytest.fixture
def wiped(tmp_path: Path) -> Node:
    community = make_genesis()
    return Node(
        community, Ledger.create(tmp_path / "wiped", community.genesis), is_unanswered=True, silent_through=UNANSWERED
    )


def question_by(community: Community, member: int, nonce: bytes = NONCE) -> HeightQuestion:
    return question_of(community.node_keys[member], nonce, first_era(community.chain))


def answer_of(node: Node, member: int, *, asker: int = 0, nonce: bytes = NONCE) -> HeightAnswer:
    """A member's answer to another's question."""
    key, era = node.community.node_keys[member], first_era(node.community.chain)
    question = question_by(node.community, asker, nonce)
    answer = answer_to(question, key, era, undecided=Height(TIP + 1), silent_through=Height(0))
    assert answer is not None
    return answer


def answer_by(node: Node, member: int, undecided: int) -> HeightAnswer:
    """A member's answer to what the node asked."""
    question = next(message for _, message in node.sent if isinstance(message, HeightQuestion))
    key, era = node.community.node_keys[member], first_era(node.community.chain)
    answer = answer_to(question, key, era, undecided=Height(undecided), silent_through=Height(0))
    assert answer is not None
    return answer


def test_an_answer_names_the_undecided_height_under_the_members_signature(node: Node) -> None:
    asker, question = node.community.addresses[0], question_by(node.community, 0)
    node.recovery.on_question(asker, question)
    key, era = node.community.node_keys[node.own], first_era(node.community.chain)
    expected = answer_to(question, key, era, undecided=Height(TIP + 1), silent_through=Height(0))
    assert node.sent == [(asker, expected)]


@pytest.mark.parametrize(("tip", "is_new"), [(4, False), (5, True), (6, True)])
def test_who_exchanges_its_key_answers_under_that_of_the_next_height(tmp_path: Path, tip: int, is_new: bool) -> None:
    """That of w + 1 counts: else an asker that is as far and whose vote is needed would never be answered. The new
    key is in force from height 7 on.
    """
    with changing_chain(tmp_path / "ledger") as chain:
        while chain.ledger.height < tip:
            chain.grow()
        node = Node(chain.community, chain.ledger, own=1)
        node.keys.add(chain.rotated)
        node.recovery.on_question(node.community.addresses[0], question_by(node.community, 0))
        ((_, sent),) = node.sent
        assert isinstance(sent, HeightAnswer)
        asked = Inquiry(chain.community.node_keys[0], first_era(chain.community.chain), nonce=NONCE)
        assert asked.take(sent, chain.ledger.memberships()) is None
        key = chain.rotated if is_new else chain.community.node_keys[1]
        expected = answer_to(
            asked.question,
            key,
            first_era(chain.community.chain),
            undecided=Height(tip + 1),
            silent_through=Height(0),
        )
        assert sent == expected


def test_who_asks_while_its_key_is_exchanged_asks_again_under_the_new_one(tmp_path: Path) -> None:
    with changing_chain(tmp_path / "ledger") as chain:
        node = Node(chain.community, chain.ledger, own=1, is_unanswered=True, silent_through=UNANSWERED)
        node.keys.add(chain.rotated)
        asked: list[HeightQuestion] = []
        while chain.ledger.height < 7:
            chain.grow()
            node.sent.clear()
            node.recovery.look()
            asked += [message for _, message in node.sent if isinstance(message, HeightQuestion)][:1]
            assert question_holds(asked[-1], chain.ledger.memberships(), first_era(chain.community.chain))
        assert len(set(asked)) == 2


def test_who_has_no_key_of_the_next_height_asks_nothing(tmp_path: Path) -> None:
    """It may have one later, or it left: either way there is nothing yet that it could sign."""
    with changing_chain(tmp_path / "ledger") as chain:
        while chain.ledger.height < 5:
            chain.grow()
        node = Node(chain.community, chain.ledger, own=1, is_unanswered=True, silent_through=UNANSWERED)
        node.recovery.look()
        assert node.sent == []


def test_who_keeps_silent_itself_does_not_answer(node: Node) -> None:
    node.silent_through = Height(TIP + 1)
    node.recovery.on_question(node.community.addresses[0], question_by(node.community, 0))
    assert (node.sent, node.refused) == ([], [])


def test_a_question_in_anothers_name_is_not_answered(node: Node) -> None:
    forged = msgspec.structs.replace(question_by(node.community, 1), asker=node.community.addresses[0])
    node.recovery.on_question(node.community.addresses[1], forged)
    assert (node.sent, node.refused) == ([], ["bad_height_question"])


def test_answers_are_limited_per_link(node: Node) -> None:
    first, second = node.community.addresses[:2]
    for _ in range(100):
        node.recovery.on_question(first, question_by(node.community, 0))
    node.recovery.on_question(second, question_by(node.community, 1))
    assert [peer for peer, _ in node.sent] == [first, second]
    node.now_s += sign_recovery.ANSWER_INTERVAL_S
    node.recovery.on_question(first, question_by(node.community, 0))
    assert len(node.sent) == 3


def test_asked_are_the_connected_until_q_of_them_have_answered(wiped: Node) -> None:
    others = wiped.community.addresses[:3]
    wiped.connected = frozenset(others[:2])
    wiped.recovery.look()
    assert {peer for peer, _ in wiped.sent} == set(others[:2])
    for number, other in enumerate(others[:2]):
        wiped.recovery.on_answer(other, answer_by(wiped, number, 1))
    assert wiped.through is None
    wiped.connected, question = frozenset(others), wiped.sent[0][1]
    last = answer_by(wiped, 2, 1)
    wiped.sent.clear()
    wiped.recovery.look()
    assert wiped.sent == [(others[2], question)]
    wiped.recovery.on_answer(others[0], last)  # passed on
    assert (wiped.through, wiped.refused) == (2, [])


def test_the_silence_ends_once_the_own_blocks_are_as_far_as_the_answers_said(
    wiped: Node, builder: ChainBuilder
) -> None:
    wiped.recovery.look()
    for number in range(3):
        wiped.recovery.on_answer(wiped.community.addresses[number], answer_by(wiped, number, TIP))
    for height in range(1, TIP + 1):
        wiped.recovery.look()
        assert wiped.through == (None if height < TIP else TIP + 1)
        block, certificate = builder.ledger.block(Height(height)), builder.ledger.certificate(Height(height))
        assert block is not None
        assert certificate is not None
        wiped.ledger.append(block, certificate)


def test_a_lie_is_counted_and_does_not_end_the_silence(wiped: Node) -> None:
    wiped.recovery.look()
    for number in range(3):
        lie = msgspec.structs.replace(answer_by(wiped, number, 9), undecided=Height(1))
        wiped.recovery.on_answer(wiped.community.addresses[number], lie)
    assert wiped.refused == [AnswerRefusal.BAD_SIGNATURE.value] * 3
    assert wiped.through is None


# --- passed on (question_relay) ------------------------------------------------------------------------------------


def peers(node: Node, kind: type) -> list[Address]:
    """Returns whom messages of a kind went to since this was asked last."""
    found = [peer for peer, message in node.sent if isinstance(message, kind)]
    node.sent[:] = [(peer, message) for peer, message in node.sent if not isinstance(message, kind)]
    return found


def test_a_question_that_was_passed_on_is_answered_to_all_once_whoever_brings_it(node: Node) -> None:
    question = question_by(node.community, 0)
    for passing in node.community.addresses[1:3]:
        node.recovery.on_question(passing, question)
    assert peers(node, HeightAnswer) == sorted(node.connected)
    node.now_s += question_relay.PASS_INTERVAL_S
    for passing in (*node.community.addresses[1:3],) * 100:
        node.recovery.on_question(passing, question)
    assert peers(node, HeightAnswer) == sorted(node.connected)
    assert peers(node, HeightQuestion) == [], "it goes one hop"


def test_who_repeats_an_old_question_does_not_keep_the_new_one_from_being_answered(node: Node) -> None:
    liar, honest = node.community.addresses[1:3]
    for nonce in (b"\1" * 32, b"\2" * 32, b"\3" * 32):
        node.recovery.on_question(liar, question_by(node.community, 0, nonce))
    assert len(peers(node, HeightAnswer)) == len(node.connected), "one in another's name"
    node.recovery.on_question(honest, question_by(node.community, 0))
    assert {answer.nonce for _, answer in node.sent if isinstance(answer, HeightAnswer)} == {NONCE}


def test_a_question_is_passed_on_once_who_asks_repeats_it_though_it_was_answered(node: Node) -> None:
    asker, question = node.community.addresses[0], question_by(node.community, 0)
    for second in range(5):
        for _ in range(10):
            node.recovery.on_question(asker, question)
        expected = [] if second < 2 else sorted(node.connected - {asker})
        assert peers(node, HeightQuestion) == expected, second
        answered = [asker] if second < 2 else sorted(node.connected)
        assert peers(node, HeightAnswer) == answered, "its own answer may not come the straight way either"
        node.now_s += 1.0
    node.recovery.on_question(asker, question_by(node.community, 0, bytes([1] * 32)))
    assert peers(node, HeightQuestion) == [], "another question begins anew"


def test_who_keeps_silent_itself_passes_questions_on(node: Node) -> None:
    node.silent_through = UNANSWERED
    asker, question = node.community.addresses[0], question_by(node.community, 0)
    node.recovery.on_question(asker, question)
    node.now_s += question_relay.PATIENCE_S
    node.recovery.on_question(asker, question)
    assert peers(node, HeightQuestion) == sorted(node.connected - {asker})
    assert node.sent == []


def test_all_are_asked_to_pass_a_question_on_while_somebody_does_not_answer(wiped: Node) -> None:
    others = wiped.community.addresses[:3]
    wiped.connected = frozenset(others[:2])
    for asked in range(sign_recovery.DIRECT_ASKS + 1):
        wiped.recovery.look()
        if asked == 0:
            for number in (0, 1):
                wiped.recovery.on_answer(others[number], answer_by(wiped, number, TIP))
        assert peers(wiped, HeightQuestion) == (sorted(others[:2]) if asked in {0, 2} else [])
        assert wiped.through is None


def test_nothing_is_passed_on_while_all_answer(wiped: Node) -> None:
    wiped.recovery.look()
    for number in range(3):
        wiped.recovery.on_answer(wiped.community.addresses[number], answer_by(wiped, number, TIP))
    wiped.sent.clear()
    for _ in range(10):
        wiped.recovery.look()
    assert wiped.through is None, "its blocks are not as far"
    assert wiped.sent == []


def test_an_answer_is_passed_on_to_who_asks_over_its_signers_own_link(node: Node) -> None:
    asker, signer, other = node.community.addresses[:3]
    answer = answer_of(node, 1)
    node.recovery.on_answer(other, answer)
    assert node.sent == []
    node.recovery.on_answer(signer, answer)
    assert node.sent == [(asker, answer)]
    node.connected -= {asker}
    node.now_s += question_relay.PASS_INTERVAL_S
    node.recovery.on_answer(signer, answer)
    assert len(node.sent) == 1


def test_answers_of_one_member_are_passed_on_f_plus_1_times_in_an_interval(node: Node) -> None:
    asker, signer, third = node.community.addresses[:3]
    for number in range(100):
        node.recovery.on_answer(signer, answer_of(node, 1, nonce=bytes([number] * 32)))
    assert peers(node, HeightAnswer) == [asker] * 2
    node.recovery.on_answer(third, answer_of(node, 2))
    assert peers(node, HeightAnswer) == [asker], "others have a bound of their own"


def test_a_forged_answer_is_refused_and_not_passed_on(node: Node) -> None:
    signer = node.community.addresses[1]
    node.recovery.on_answer(signer, msgspec.structs.replace(answer_of(node, 1), undecided=Height(1)))
    node.recovery.on_answer(signer, msgspec.structs.replace(answer_of(node, 1), era=1))
    assert (node.sent, node.refused) == ([], [AnswerRefusal.BAD_SIGNATURE.value, AnswerRefusal.OTHER_ERA.value])


def test_a_name_that_is_no_members_costs_no_check(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger, signer = Address(bytes(32)), node.community.addresses[1]
    monkeypatch.setattr(sign_recovery, "question_holds", None)
    monkeypatch.setattr(sign_recovery, "answer_holds", None)
    node.recovery.on_question(signer, msgspec.structs.replace(question_by(node.community, 0), asker=stranger))
    node.recovery.on_answer(signer, msgspec.structs.replace(answer_of(node, 1), asker=stranger))
    node.recovery.on_question(signer, question_by(node.community, node.own))
    assert (node.sent, node.refused) == ([], ["bad_height_question"])


def test_what_is_remembered_of_questions_is_bounded(node: Node) -> None:
    for number in range(1_000):
        asker = node.community.addresses[number % 3]
        passing = node.community.addresses[(number + 1) % 3]
        node.recovery.on_question(asker, question_by(node.community, number % 3, number.to_bytes(32)))
        node.recovery.on_question(passing, question_by(node.community, number % 3, number.to_bytes(32)))
        node.now_s += 0.3
    relay = node.recovery._relay
    paces = (relay._questions, relay._brought, relay._spread, relay._answers, node.recovery._answered)
    assert max(len(kept) for kept in (relay._asked, *(pace._seen for pace in paces))) <= 9


def test_above_thirteen_members_nothing_is_passed_on(tmp_path: Path) -> None:
    community = make_genesis(14)
    node = Node(community, Ledger.create(tmp_path / "ledger", community.genesis), own=13)
    asker, passing = community.addresses[:2]
    for _ in range(5):
        node.recovery.on_question(asker, question_by(community, 0))
        assert peers(node, HeightAnswer) == [asker]
        node.recovery.on_question(passing, question_by(community, 0))
        node.recovery.on_answer(passing, answer_of(node, 1))
        node.now_s += 2.0
    assert node.sent == []
    node.is_unanswered = True
    node.recovery.look()
    node.recovery.on_answer(asker, answer_by(node, 0, 9))
    for _ in range(5):
        node.sent.clear()
        node.recovery.look()
        assert peers(node, HeightQuestion) == sorted(node.connected - {asker})


def test_nonces_differ_from_question_to_question(wiped: Node) -> None:
    other = Node(wiped.community, wiped.ledger, is_unanswered=True)
    wiped.recovery.look()
    other.recovery.look()
    assert wiped.sent[0][1] != other.sent[0][1]


def test_an_answer_that_nobody_waits_for_is_ignored(node: Node, wiped: Node) -> None:
    wiped.recovery.look()
    node.recovery.on_answer(node.community.addresses[0], answer_by(wiped, 0, 1))
    assert (node.through, node.refused) == (None, [])


def test_two_members_do_not_ask_each_other(tmp_path: Path) -> None:
    community = make_genesis(2)
    ledger = Ledger.create(tmp_path / "ledger", community.genesis)
    node = Node(community, ledger, own=1, is_unanswered=True, silent_through=UNANSWERED)
    node.recovery.look()
    assert node.sent == []
