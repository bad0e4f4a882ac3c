"""Who the members of a height are, when they change between heights: whose word counts, who hears, who signs.

Four members become five (`FIVE` has one more behind them) or three (`THREE` lacks the last) from a height on.
"""

import pytest

from consensus.cryptography import SigningKey
from consensus.events import Arrived
from consensus.identifiers import PublicKey
from consensus.member import KeyRing
from consensus.membership import Membership, Memberships
from consensus.messages import Commit, Decided, Prepare, PrePrepare, Status, ViewChange
from consensus.verification import Refusal, verify_message
from tests.support.consensus import BLOCK_A, BLOCK_B, ERA, A, B, Members, Scenario

FOUR, FIVE, THREE = Members(4), Members(5), Members(3)
NEW_KEY = SigningKey(b"\x77" * 32)


def rotated(member: int) -> Members:
    """The four, one of them under another node key; its address and place stay."""
    members = Members(4)
    members.rekey(member, NEW_KEY)
    return members


def joining(at: int, own: int = 1) -> Scenario:
    """Height 1 is undecided; the fifth member takes part from height `at` on."""
    scenario = Scenario(own=own, slot=4)
    scenario.sets[at] = FIVE
    scenario.restart()
    return scenario


# --- the value ------------------------------------------------------------------------------------------------


def test_the_digest_commits_to_the_order() -> None:
    assert Membership(FOUR.membership.members[::-1]).digest() != FOUR.membership.digest()


def test_the_digest_commits_to_the_keys() -> None:
    assert rotated(2).membership.addresses == FOUR.membership.addresses
    assert rotated(2).membership.digest() != FOUR.membership.digest()


def test_a_key_belongs_to_who_has_it_at_the_height() -> None:
    before, after = FOUR.membership, rotated(2).membership
    both = Memberships(undecided=before, following=after)
    assert before.member_of(NEW_KEY.public_key) is None
    assert after.member_of(NEW_KEY.public_key) == FOUR.address(2) == both.member_of(NEW_KEY.public_key)
    assert after.member_of(FOUR.keys[2].public_key) is None
    assert both.member_of(FOUR.keys[2].public_key) == FOUR.address(2)
    assert both.member_of(PublicKey(bytes(32))) is None


def test_both_sets_together_name_everybody_once() -> None:
    both = Memberships(undecided=FOUR.membership, following=FIVE.membership)
    assert both.addresses == FIVE.membership.addresses
    assert both.joining == (FIVE.address(4),)
    assert FIVE.address(4) in both
    leaving = Memberships(undecided=FOUR.membership, following=THREE.membership)
    assert (leaving.addresses, leaving.joining) == (FOUR.membership.addresses, ())
    assert FOUR.address(3) in leaving


# --- who is heard ---------------------------------------------------------------------------------------------


def test_who_joins_with_the_next_height_is_held_and_heard_there() -> None:
    scenario = joining(at=2)
    scenario.receive(FIVE.view_change(4, 9, height=2))
    assert scenario.verified == 0
    scenario.receive(FOUR.decided(4))
    scenario.applied(header_slot=4)
    assert (scenario.verified, scenario.refused) == (1, [])


def test_nothing_is_held_of_who_leaves_with_the_next_height_but_decided_blocks() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.sets[2] = THREE
    scenario.restart()
    scenario.receive(FOUR.vote(3, 4, height=2), FOUR.commit(3, 4, height=2))
    scenario.step(Arrived(sender=FOUR.address(3), message=THREE.decided(4, height=2)))
    scenario.receive(FOUR.decided(4))
    scenario.applied(header_slot=4)
    assert scenario.verified == 1
    assert [decision.height for decision in scenario.decisions] == [2]


def test_who_joins_two_heights_later_is_not_heard_yet() -> None:
    scenario = joining(at=3)
    for message in (FIVE.vote(4, 4), FIVE.vote(4, 4, height=2), FIVE.vote(4, 4, height=3)):
        scenario.step(Arrived(sender=FIVE.address(4), message=message))
    assert (scenario.verified, scenario.sent) == (0, [])


def test_a_joining_members_clock_and_height_do_not_count_before_its_first_height() -> None:
    scenario = joining(at=2)
    status = FIVE.status(4, 1, slot=40)
    scenario.step(Arrived(sender=FIVE.address(4), message=status))
    member = scenario.replica._member
    assert member.clocks.reported(scenario.now()) == {}
    assert member.told == {}


# --- who hears ------------------------------------------------------------------------------------------------


def test_what_is_signed_at_a_height_goes_to_who_joins_with_the_next_one() -> None:
    scenario = joining(at=2, own=0)
    heard: dict[type, set[bytes]] = {}

    def note() -> None:
        for message, recipients in zip(scenario.sent, scenario.recipients, strict=True):
            heard.setdefault(type(message), set()).update(recipients)

    scenario.work()
    scenario.propose(4)
    note()
    scenario.receive(*(FOUR.vote(member, 4) for member in (1, 2, 3)))
    note()
    scenario.receive(FOUR.view_change(2, 9), FOUR.view_change(3, 9))
    note()
    scenario.receive(FOUR.pre_prepare(9, B, FOUR.justification(9, by=(1, 2, 3))))
    scenario.execute(B, 9)
    note()
    everybody = {FIVE.address(member) for member in (1, 2, 3, 4)}
    assert {kind: members == everybody for kind, members in heard.items() if kind is not Status} == {
        PrePrepare: True,
        Commit: True,
        ViewChange: True,
        Prepare: True,
    }


def test_status_reaches_who_joins_with_the_next_height() -> None:
    scenario, heard = joining(at=2), set()
    for _ in range(3):
        scenario.tick(1)
        heard |= {recipient for recipients in scenario.recipients for recipient in recipients}
    assert heard == {FIVE.address(member) for member in (0, 2, 3, 4)}


# --- whose signature counts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "decided", "counts"),
    [
        (1, FOUR.decided(4), True),
        (1, FIVE.decided(4), False),  # four signatures where three are the quorum
        (1, Decided(certificate=FIVE.committed(4, by=(0, 1, 4)), proposal=A), False),  # the fifth is no member yet
        (2, FIVE.decided(4, height=2), True),
        (2, FOUR.decided(4, height=2), False),  # the quorum of the set before
    ],
)
def test_a_certificate_counts_under_the_members_of_its_height(height: int, decided: Decided, counts: bool) -> None:
    scenario = joining(at=2)
    if height == 2:
        scenario.receive(FOUR.decided(4))
        scenario.applied(header_slot=4)
    scenario.receive(decided, sender=0)
    assert (len(scenario.decisions) == 1) is counts


def test_a_proposals_justification_counts_under_the_members_of_its_height() -> None:
    scenario = joining(at=2)
    scenario.receive(FOUR.decided(4))
    scenario.applied(header_slot=4)
    scenario.receive(FIVE.pre_prepare(7, B, FOUR.justification(7, height=2), height=2))
    assert len(scenario.refused) == 1
    scenario.receive(FIVE.pre_prepare(7, B, FIVE.justification(7, height=2), height=2))
    assert len(scenario.refused) == 1


def test_an_old_key_counts_below_the_height_of_the_new_one_and_the_new_key_from_there_on() -> None:
    scenario, after = Scenario(own=1, slot=4), rotated(2)
    scenario.sets[2] = after
    scenario.restart()
    scenario.receive(after.vote(2, 4), FOUR.vote(2, 5))  # signed by the new key, by the old one
    assert (len(scenario.refused), len(list(scenario.replica._member.state.votes))) == (1, 1)
    scenario.receive(FOUR.decided(4))
    scenario.applied(header_slot=4)
    scenario.refused.clear()
    old, new = FOUR.vote(2, 5, BLOCK_B, height=2), after.vote(2, 6, BLOCK_A, height=2)
    for vote in (old, new):
        scenario.step(Arrived(sender=FOUR.address(2), message=vote))
    assert len(scenario.refused) == 1
    assert [vote.signature for vote in scenario.replica._member.state.votes] == [new.signature]


# --- who signs ------------------------------------------------------------------------------------------------


def test_a_home_signs_at_a_height_only_under_the_key_that_the_height_has_of_it() -> None:
    scenario = Scenario(own=1, slot=4)
    scenario.sets[2] = rotated(1)
    scenario.restart()
    scenario.vote_for(4)
    assert len(scenario.sent_of(Prepare)) == 1
    scenario.receive(FOUR.decided(4))
    scenario.applied(header_slot=4)
    scenario.receive(FOUR.pre_prepare(8, height=2))
    scenario.execute(A, 8, height=2)
    scenario.work(age_slots=10)
    scenario.tick(5)
    assert {type(message) for message in scenario.sent} <= {Status}


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_home_that_exchanges_its_key_signs_each_height_under_the_key_of_that_height(
    is_restarted: bool,
) -> None:
    """It misses none: in the slot after, at the next height, the new key votes, commits and asks for another slot."""
    scenario, after = Scenario(own=1, slot=4), rotated(1)
    scenario.sets[2] = after
    scenario.next_key = after.keys[1]
    scenario.restart()
    scenario.vote_for(4)
    (prepare,) = scenario.sent_of(Prepare)
    assert prepare == FOUR.vote(1, 4)
    scenario.receive(FOUR.decided(4))
    scenario.applied(header_slot=4)
    if is_restarted:
        scenario.restart()
    scenario.tick(slots=2)
    scenario.receive(after.pre_prepare(6, height=2))
    scenario.execute(A, 6, height=2)
    assert scenario.sent_of(Prepare) == [after.vote(1, 6, height=2)]
    scenario.receive(*(after.vote(member, 6, height=2) for member in (2, 3)))
    assert scenario.sent_of(Commit) == [after.commit(1, 6, height=2)]
    scenario.receive(after.view_change(2, 11, height=2), after.view_change(3, 11, height=2))
    (change,) = scenario.sent_of(ViewChange)
    assert (change.signer, change.height) == (after.address(1), 2)
    assert not isinstance(verify_message(change, after.leaders, ERA), Refusal)


def test_a_ring_takes_keys_of_its_member_alone() -> None:
    ring, after = KeyRing(FOUR.keys[1]), rotated(1)
    assert ring.of(after.membership) is None
    ring.add(after.keys[1])
    assert (ring.of(FOUR.membership), ring.of(after.membership)) == (FOUR.keys[1], after.keys[1])
    assert ring.of(Membership(FOUR.membership.members[2:])) is None
    with pytest.raises(AssertionError):
        ring.add(FOUR.keys[2])


def test_a_new_key_signs_from_its_first_height_on() -> None:
    scenario = joining(at=2, own=1)
    scenario.members, scenario.own = FIVE, 4
    scenario.sets = {1: FOUR, 2: FIVE}
    scenario.restart()
    scenario.receive(FOUR.pre_prepare(4))
    scenario.execute(A, 4)
    assert scenario.sent == []
    scenario.receive(FOUR.decided(4))
    scenario.applied(header_slot=4)
    scenario.tick(slots=1)
    scenario.receive(FIVE.pre_prepare(5, height=2))
    scenario.execute(A, 5, height=2)
    assert [prepare.height for prepare in scenario.sent_of(Prepare)] == [2]
