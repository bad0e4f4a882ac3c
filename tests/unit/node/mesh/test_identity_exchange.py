"""How sealed identities reach drawn verifiers and nobody else, and how long they are kept: nodes that exchange real
messages, over a state that the test writes.
"""

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest, Slot
from contracts.applicants import Applicant, GivenVerdict, Standing, Verdict
from node.admission.joining.files import JoinIdentity
from node.admission.joining.sealing import SealedIdentity, open_box, panel_of, seal_identity
from node.errors import BoxFault, JoinError
from node.mesh.identity_exchange import (
    LOOKED_AT_MAX,
    LOOKS_PER_MINUTE,
    RESENT_LOOKS,
    IdentityExchange,
    IdentityPorts,
    IdentityStanding,
)
from node.mesh.messages import IdentityAnswer, IdentityNote, decode_peer_message, encode_peer_message
from tests.support.contracts import seeded_key

CHAIN = Digest(b"\x01" * 32)
SHOWN = JoinIdentity(salt=Digest(bytes(range(32))), identity="Ada Löwe\nSunny Street 5")
HOME, OTHER_HOME = (seeded_key("new-node", number) for number in (1, 2))
KEYS = [seeded_key("node", number) for number in range(5)]
VERIFIERS = KEYS[:3]
"""The fourth brings boxes, the fifth has nothing to do with it."""


def applicant_of(home: SigningKey, verifiers: list[SigningKey], **fields: object) -> Applicant:
    made = Applicant(
        number=7,
        node_key=home.public_key,
        meter_key=seeded_key("new-meter", 1).public_key,
        capacity_w=1,
        identity=SHOWN.commitment,
        terms=CHAIN,
        person=CHAIN,
        sponsor=KEYS[3].address,
        standing=Standing.OPEN,
        request=Digest(b"\x02" * 32),
        panel=tuple(key.address for key in verifiers),
        panels=1,
        may_verify=(),
        verdicts=(),
        until_slot=Slot(100),
        ready_slot=None,
    )
    return replace(made, **fields)


class Nodes:
    """Five nodes with one state; messages are delivered when the test says so."""

    def __init__(self) -> None:
        self.state = {HOME.address: applicant_of(HOME, VERIFIERS)}
        self.away: set[int] = set()
        self.refusals: list[str] = []
        self.sent: list[tuple[int, Address, IdentityNote | IdentityAnswer]] = []
        self.nodes = [self.made(number) for number in range(5)]

    def made(self, number: int, *keys: SigningKey) -> IdentityExchange:
        ports = IdentityPorts(
            send=lambda peer, message: self.sent.append((number, peer, message)),
            connected=lambda: frozenset(key.address for at, key in enumerate(KEYS) if at not in {number, *self.away}),
            applicant=self.state.get,
            refused=self.refusals.append,
        )
        return IdentityExchange(chain=CHAIN, keys=keys or [KEYS[number]], ports=ports)

    def sealed(self, *, to: list[SigningKey] = VERIFIERS, home: SigningKey = HOME) -> SealedIdentity:
        panel = panel_of(CHAIN, home.address, self.state[home.address])
        assert panel is not None
        return seal_identity(SHOWN, panel, [(key.address, key.public_key) for key in to])

    def deliver(self) -> list[tuple[int, Address, IdentityNote | IdentityAnswer]]:
        """Brings all messages to whom they are for, until there are none; returns them."""
        told = []
        while self.sent:
            number, peer, message = self.sent.pop(0)
            told.append((number, peer, message))
            to = next(at for at, key in enumerate(KEYS) if key.address == peer)
            received = decode_peer_message(encode_peer_message(message))
            if isinstance(received, IdentityNote):
                self.nodes[to].on_note(KEYS[number].address, received)
            else:
                assert isinstance(received, IdentityAnswer)
                self.nodes[to].on_answer(KEYS[number].address, received)
        return told

    def look(self, times: int = 1) -> list[tuple[int, Address, IdentityNote | IdentityAnswer]]:
        told = []
        for _ in range(times):
            for node in self.nodes:
                node.look()
            told += self.deliver()
        return told

    def standing(self, number: int) -> IdentityStanding | None:
        return next(iter(self.nodes[number].standings()), None)

    def held(self) -> list[int]:
        """Nodes that have a box, which they can open."""
        found = []
        for number, key in enumerate(KEYS):
            one, panel = self.standing(number), panel_of(CHAIN, HOME.address, self.state[HOME.address])
            if one is not None and one.box is not None and panel is not None:
                assert open_box(one.box, panel, key) == SHOWN
                found.append(number)
        return found

    def said(self, number: int) -> None:
        given = GivenVerdict(verifier=KEYS[number].address, verdict=Verdict.ACCEPT)
        asked = self.state[HOME.address]
        self.state[HOME.address] = replace(asked, verdicts=(*asked.verdicts, given))


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


def test_each_verifier_gets_its_box_and_nobody_else_gets_any(nodes: Nodes) -> None:
    nodes.nodes[3].take(nodes.sealed())
    told = nodes.look()
    notes = [(number, peer) for number, peer, message in told if isinstance(message, IdentityNote)]
    assert sorted(notes) == sorted((3, key.address) for key in VERIFIERS)
    for _, peer, message in told:
        if isinstance(message, IdentityNote):
            assert message.box.verifier == peer
        raw = encode(message)
        assert b"Sunny" not in raw
        assert SHOWN.salt not in raw
    assert nodes.held() == [0, 1, 2]
    courier = nodes.standing(3)
    assert courier is not None
    assert (courier.box, set(courier.deliveries.values())) == (None, {True})
    assert nodes.standing(4) is None
    assert nodes.look(5 * RESENT_LOOKS) == [], "all have it: nothing is sent again"


def test_a_verifier_that_brings_boxes_has_its_own_at_once(nodes: Nodes) -> None:
    nodes.nodes[0].take(nodes.sealed())
    assert nodes.held() == [0]
    nodes.look()
    assert nodes.held() == [0, 1, 2]


def test_a_verifier_that_was_away_or_started_anew_gets_its_box_again(nodes: Nodes) -> None:
    nodes.away = {2}
    nodes.nodes[3].take(nodes.sealed())
    nodes.look(30)
    assert nodes.held() == [0, 1]
    nodes.away = set()
    nodes.look()
    assert nodes.held() == [0, 1, 2]
    nodes.nodes[1] = nodes.made(1)
    assert nodes.held() == [0, 2]
    nodes.nodes[3].on_link(KEYS[1].address)
    courier = nodes.standing(3)
    assert courier is not None
    assert courier.deliveries[KEYS[1].address] is False, "it may have lost it"
    nodes.look()
    assert nodes.held() == [0, 1, 2]


def test_a_box_whose_answer_was_lost_is_sent_again_and_not_at_every_look(nodes: Nodes) -> None:
    nodes.nodes[3].take(nodes.sealed(to=VERIFIERS[:1]))
    lost = []
    for _ in range(3 * RESENT_LOOKS):
        nodes.nodes[3].look()
        lost += [message for _, _, message in nodes.sent if isinstance(message, IdentityNote)]
        nodes.sent.clear()
    assert 2 <= len(lost) <= 3
    nodes.look(RESENT_LOOKS + 1)
    assert nodes.held() == [0]


# --- gone -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("standing", sorted(set(Standing) - {Standing.OPEN}, key=str), ids=str)
def test_everything_is_gone_with_the_decision(nodes: Nodes, standing: Standing) -> None:
    nodes.nodes[3].take(nodes.sealed())
    nodes.look()
    nodes.state[HOME.address] = replace(nodes.state[HOME.address], standing=standing)
    for node in nodes.nodes:
        node.drop_what_is_over()
        assert (node._shown, node._carried) == ({}, {})
    with pytest.raises(JoinError, match="nobody verifies an application"):
        nodes.nodes[3].take(replace(Nodes().sealed()))


def test_a_verifiers_box_is_gone_once_it_said_what_it_found(nodes: Nodes) -> None:
    nodes.nodes[3].take(nodes.sealed())
    nodes.look()
    nodes.said(1)
    assert nodes.held() == [0, 2]
    courier = nodes.standing(3)
    assert courier is not None
    assert set(courier.deliveries) == {KEYS[0].address, KEYS[2].address}
    nodes.nodes[3].on_link(KEYS[1].address)
    assert nodes.look() == []


def test_another_panel_gets_boxes_of_its_own_alone(nodes: Nodes) -> None:
    old = nodes.sealed()
    nodes.nodes[3].take(old)
    nodes.look()
    nodes.state[HOME.address] = applicant_of(HOME, [KEYS[0], KEYS[4], KEYS[2]], panels=2)
    assert nodes.held() == []
    assert nodes.look() == [], "nor is anything sent to the panel before"
    with pytest.raises(JoinError, match="panel: others verify"):
        nodes.nodes[3].take(old)
    nodes.nodes[3].take(nodes.sealed(to=[KEYS[0], KEYS[4], KEYS[2]]))
    nodes.look()
    assert nodes.held() == [0, 2, 4]


# --- liars ----------------------------------------------------------------------------------------------------------


def test_what_is_to_be_brought_is_for_the_verifiers_of_an_open_application(nodes: Nodes) -> None:
    sealed = nodes.sealed()
    for fields, fault in (
        ({"chain": Digest(b"\x09" * 32)}, "chain: is 09"),
        ({"applicant": OTHER_HOME.address}, "applicant: nobody verifies"),
        ({"panel": Digest(b"\x09" * 32)}, "panel: others verify"),
        ({"boxes": (*sealed.boxes, sealed.boxes[0])}, "stands twice"),
        ({"boxes": (replace(sealed.boxes[0], verifier=KEYS[4].address),)}, "is no verifier"),
        ({"boxes": ()}, "there is no verifier"),
    ):
        with pytest.raises(JoinError, match=fault):
            nodes.nodes[3].take(replace(sealed, **fields))
        assert nodes.standing(3) is None
    assert nodes.look() == []


def test_a_verifier_keeps_no_box_of_a_liar_and_takes_the_right_one_after_it(nodes: Nodes) -> None:
    right = nodes.sealed(to=VERIFIERS[:1]).boxes[0]
    other = nodes.sealed(to=VERIFIERS[1:2]).boxes[0]
    changed = replace(right, sealed=right.sealed[:-1] + bytes([right.sealed[-1] ^ 1]))
    elsewhere = {**nodes.state, HOME.address: replace(nodes.state[HOME.address], request=Digest(b"\x03" * 32))}
    moved = Nodes()
    moved.state.update(elsewhere)
    for box, fault in (
        (changed, BoxFault.UNREADABLE),
        (other, BoxFault.OTHER_VERIFIER),
        (moved.sealed(to=VERIFIERS[:1]).boxes[0], BoxFault.OTHER_PANEL),
        (replace(right, key=KEYS[4].public_key), BoxFault.OTHER_KEY),
    ):
        nodes.nodes[0].on_note(KEYS[4].address, IdentityNote(applicant=HOME.address, box=box))
        (_, peer, answer), *_ = nodes.sent
        nodes.sent.clear()
        assert (peer, answer) == (KEYS[4].address, IdentityAnswer(applicant=HOME.address, fault=fault))
        standing = nodes.standing(0)
        assert standing is not None
        assert (standing.box, standing.fault) == (None, fault)
    assert nodes.refusals == ["bad_identity"] * 4
    nodes.nodes[0].on_note(KEYS[4].address, IdentityNote(applicant=HOME.address, box=right))
    nodes.nodes[0].on_note(KEYS[4].address, IdentityNote(applicant=HOME.address, box=changed))
    standing = nodes.standing(0)
    assert standing is not None
    assert (standing.box, standing.fault) == (right, None), "and nothing takes its place"


def test_who_is_no_verifier_keeps_nothing_that_is_brought_to_it(nodes: Nodes) -> None:
    box = nodes.sealed(to=VERIFIERS[:1]).boxes[0]
    passed_on = replace(box, verifier=KEYS[4].address, key=KEYS[4].public_key)
    for one in (box, passed_on):
        for applicant in (HOME.address, OTHER_HOME.address):
            nodes.nodes[4].on_note(KEYS[0].address, IdentityNote(applicant=applicant, box=one))
    assert {message for _, _, message in nodes.sent} == {
        IdentityAnswer(applicant=home.address, fault=BoxFault.OTHER_PANEL) for home in (HOME, OTHER_HOME)
    }
    assert nodes.nodes[4]._shown == {}


def test_who_brings_more_than_there_can_be_is_not_heard_for_a_minute(nodes: Nodes) -> None:
    box = nodes.sealed(to=VERIFIERS[:1]).boxes[0]
    bad = IdentityNote(applicant=HOME.address, box=replace(box, sealed=bytes(len(box.sealed))))
    for _ in range(3 * LOOKED_AT_MAX):
        nodes.nodes[0].on_note(KEYS[4].address, bad)
    assert len(nodes.sent) == LOOKED_AT_MAX == len(nodes.refusals)
    nodes.nodes[0].on_note(KEYS[3].address, IdentityNote(applicant=HOME.address, box=box))
    assert nodes.held() == [0], "others are heard"
    nodes.sent.clear()
    nodes.look(LOOKS_PER_MINUTE)
    nodes.nodes[0].on_note(KEYS[4].address, bad)
    assert len(nodes.sent) == 1


def test_an_answer_says_nothing_of_anothers_box(nodes: Nodes) -> None:
    nodes.nodes[3].take(nodes.sealed(to=VERIFIERS[:1]))
    for sender in (KEYS[1], KEYS[4]):
        nodes.nodes[3].on_answer(sender.address, IdentityAnswer(applicant=HOME.address, fault=None))
    nodes.nodes[3].on_answer(KEYS[0].address, IdentityAnswer(applicant=OTHER_HOME.address, fault=None))
    standing = nodes.standing(3)
    assert standing is not None
    assert standing.deliveries == {KEYS[0].address: False}


def test_a_verifier_with_another_key_since_opens_a_box_to_either(nodes: Nodes) -> None:
    rotated = seeded_key("node", 77).of_member(KEYS[0].address)
    nodes.nodes[0] = nodes.made(0, rotated, KEYS[0])
    nodes.nodes[3].take(nodes.sealed(to=[rotated]))
    nodes.look()
    standing = nodes.standing(0)
    assert standing is not None
    assert standing.box is not None
    nodes.nodes[0] = nodes.made(0, rotated)
    nodes.nodes[3].take(nodes.sealed(to=VERIFIERS[:1]))
    nodes.look()
    standing = nodes.standing(3)
    assert standing is not None
    assert standing.deliveries[KEYS[0].address] is BoxFault.OTHER_KEY
