"""The question for the height, asked and answered over fake links and a real ledger."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from consensus.identifiers import Address, Height
from consensus.messages import HeightAnswer, HeightQuestion
from consensus.recovery import AnswerRefusal
from ledger.ledger import Ledger
from node.chain import sign_recovery
from node.chain.sign_recovery import RecoveryLinks, SignRecovery
from node.mesh.messages import PeerMessage
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
    is_silent: bool = False
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
            is_silent=lambda: self.is_silent,
            keep_silent_through=self.keep_silent_through,
            refused=lambda reason, _: self.refused.append(reason),
            names={},
        )
        self.recovery = SignRecovery(
            own=self.community.addresses[self.own],
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
    return Node(community, Ledger.create(tmp_path / "wiped", community.genesis), is_unanswered=True, is_silent=True)


def test_an_answer_names_the_undecided_height_and_proves_it(node: Node, builder: ChainBuilder) -> None:
    asker = node.community.addresses[0]
    node.recovery.on_question(asker, HeightQuestion(nonce=NONCE))
    certificate = builder.ledger.certificate(Height(TIP))
    assert node.sent == [(asker, HeightAnswer(nonce=NONCE, undecided=Height(TIP + 1), certificate=certificate))]


def test_at_genesis_there_is_nothing_to_prove(wiped: Node) -> None:
    wiped.is_silent = False
    wiped.recovery.on_question(wiped.community.addresses[0], HeightQuestion(nonce=NONCE))
    assert wiped.sent[0][1] == HeightAnswer(nonce=NONCE, undecided=Height(1), certificate=None)


def test_who_keeps_silent_itself_does_not_answer(node: Node) -> None:
    node.is_silent = True
    node.recovery.on_question(node.community.addresses[0], HeightQuestion(nonce=NONCE))
    assert node.sent == []


def test_answers_are_limited_per_member(node: Node) -> None:
    first, second = node.community.addresses[:2]
    for _ in range(100):
        node.recovery.on_question(first, HeightQuestion(nonce=NONCE))
    node.recovery.on_question(second, HeightQuestion(nonce=NONCE))
    assert [peer for peer, _ in node.sent] == [first, second]
    node.now_s += sign_recovery.ANSWER_INTERVAL_S
    node.recovery.on_question(first, HeightQuestion(nonce=NONCE))
    assert len(node.sent) == 3


def test_asked_are_the_connected_until_q_of_them_have_answered(wiped: Node, builder: ChainBuilder) -> None:
    others = sorted(wiped.connected)
    wiped.connected = frozenset(others[:2])
    wiped.recovery.look()
    assert [peer for peer, _ in wiped.sent] == others[:2]
    question = wiped.sent[0][1]
    assert isinstance(question, HeightQuestion)
    answer = HeightAnswer(
        nonce=question.nonce, undecided=Height(TIP + 1), certificate=builder.ledger.certificate(Height(TIP))
    )
    for other in others[:2]:
        wiped.recovery.on_answer(other, answer)
    assert wiped.through is None
    wiped.connected = frozenset(others)
    wiped.sent.clear()
    wiped.recovery.look()
    assert wiped.sent == [(others[2], question)]
    wiped.recovery.on_answer(others[2], answer)
    assert wiped.through == TIP + 2
    assert wiped.refused == []


def test_a_lie_is_counted_and_does_not_end_the_silence(wiped: Node) -> None:
    wiped.recovery.look()
    question = wiped.sent[0][1]
    assert isinstance(question, HeightQuestion)
    lie = HeightAnswer(nonce=question.nonce, undecided=Height(9), certificate=None)
    for other in wiped.connected:
        wiped.recovery.on_answer(other, lie)
    assert wiped.refused == [AnswerRefusal.UNPROVEN.value] * 3
    assert wiped.through is None


def test_nonces_differ_from_question_to_question(wiped: Node, tmp_path: Path) -> None:
    other = Node(wiped.community, wiped.ledger, is_unanswered=True)
    wiped.recovery.look()
    other.recovery.look()
    assert wiped.sent[0][1] != other.sent[0][1]


def test_an_answer_that_nobody_waits_for_is_ignored(node: Node) -> None:
    answer = HeightAnswer(nonce=NONCE, undecided=Height(1), certificate=None)
    node.recovery.on_answer(node.community.addresses[0], answer)
    assert (node.through, node.refused) == (None, [])


def test_two_members_do_not_ask_each_other(tmp_path: Path) -> None:
    community = make_genesis(2)
    ledger = Ledger.create(tmp_path / "ledger", community.genesis)
    node = Node(community, ledger, own=1, is_unanswered=True, is_silent=True)
    node.recovery.look()
    assert node.sent == []
