"""The question for the height, asked and answered over fake links and a real ledger."""

from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from consensus.eras import first_era
from consensus.events import UNANSWERED
from consensus.identifiers import GENESIS_HEIGHT, Address, Height
from consensus.messages import HeightAnswer, HeightQuestion
from consensus.recovery import AnswerRefusal, answer_to, question_of
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
            names={},
        )
        self.recovery = SignRecovery(
            signer=self.community.node_keys[self.own],
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


def question_by(community: Community, member: int) -> HeightQuestion:
    return question_of(community.node_keys[member], NONCE, first_era(community.chain))


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


def test_a_question_that_was_passed_on_is_answered_to_who_asks_if_there_is_a_link(node: Node) -> None:
    asker, passing = node.community.addresses[0], node.community.addresses[1]
    node.recovery.on_question(passing, question_by(node.community, 0))
    node.connected = frozenset((passing,))
    node.now_s += 1
    node.recovery.on_question(passing, question_by(node.community, 0))
    assert [peer for peer, _ in node.sent] == [asker, passing]


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
