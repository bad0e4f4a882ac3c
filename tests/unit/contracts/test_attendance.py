"""Rewards by attendance: what the next leader's pick of signatures can and cannot do, and whose bits are whose."""

from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.cryptography import address_of
from consensus.eras import EraStart
from consensus.identifiers import FIXED_AHEAD, Address, Digest, EraNumber, Height, PublicKey
from consensus.quorum import quorum
from contracts.attendance import CERTIFICATES_KEPT, attending, note_attendance
from contracts.eras import begin_era
from contracts.genesis import ATTENDANCE_VERSION
from contracts.genesis_state import genesis_state
from contracts.member_changes import list_with
from contracts.member_records import Join, Leave, MemberChange, Rotate
from contracts.rules import first_rules
from contracts.run import BlockRun, EraBeginning, ScoreBoard
from contracts.service_records import Attendance, LastBlock
from contracts.state import (
    ATTENDANCE_KEY,
    LAST_BLOCK_KEY,
    MEMBER_LIST_KEY,
    RULES_KEY,
    MemberList,
    Overlay,
    Score,
    ScoreCause,
    StateKey,
    score_key,
)
from tests.support.contracts import DictChain, block_context, make_genesis, seeded_key

HOMES = make_genesis(7)
A = HOMES.addresses
Q = quorum(7)
LEADER, FRIEND, RIVAL = 0, 1, 6
FRIENDS = A[:Q]
"""A quorum without the rival: whoever leads next can always have it."""
WITH_RIVAL = A[-Q:]


class Served(DictChain):
    """A chain of which each block is rewarded for one trade."""

    def block(self, *actions: Any, **context: Any) -> Any:
        self.state[LAST_BLOCK_KEY] = encode(LastBlock(trades_rewarded=int(self.height > 0)))
        return super().block(*actions, **{"parent_leader": None, **context})

    def earned(self, member: int, **context: Any) -> int:
        """Returns what the next block earns a member, in millionths."""
        before = self.score(member).value
        self.block(**context)
        return self.score(member).value - before


def served() -> Served:
    """A chain on which all were seen but the rival, and nobody lately but who must."""
    chain = Served(HOMES)
    for _ in range(CERTIFICATES_KEPT + 1):
        chain.block(parent_voters=FRIENDS)
    return chain


# --- what a leader can do ------------------------------------------------------------------------------------------


def test_a_leader_that_leaves_a_rival_out_takes_nothing_from_it() -> None:
    chain = served()
    assert chain.earned(RIVAL, parent_voters=WITH_RIVAL) > 0, "one honest leader is enough"
    for _ in range(CERTIFICATES_KEPT - 1):
        assert chain.earned(RIVAL, parent_voters=FRIENDS) > 0
    assert chain.earned(RIVAL, parent_voters=FRIENDS) == 0, "sixteen bad leaders in a row: a chance of 2 in 10^8"
    assert chain.earned(RIVAL, parent_voters=WITH_RIVAL) > 0


def test_a_leader_gains_its_friends_nothing() -> None:
    assert A[FRIEND] in FRIENDS
    assert A[FRIEND] not in WITH_RIVAL
    picked, left_out = (served().earned(FRIEND, parent_voters=voters) for voters in (FRIENDS, WITH_RIVAL))
    assert picked == left_out > 0


def test_an_idle_friend_signs_for_real_once_in_sixteen_certificates() -> None:
    chain = served()
    idle, others = A[FRIEND], tuple(address for address in A if address != A[FRIEND])[:Q]
    assert idle not in others
    paid = [chain.earned(FRIEND, parent_voters=others) > 0 for _ in range(CERTIFICATES_KEPT + 4)]
    assert paid == [True] * (CERTIFICATES_KEPT - 1) + [False] * 5


def test_a_slow_member_that_stands_in_every_sixteenth_certificate_is_paid_each_time() -> None:
    chain = served()
    chain.block(parent_voters=WITH_RIVAL)
    for number in range(1, 3 * CERTIFICATES_KEPT):
        voters = FRIENDS if number % CERTIFICATES_KEPT else WITH_RIVAL
        assert chain.earned(RIVAL, parent_voters=voters) > 0, number


def test_who_leads_and_attends_is_rewarded_for_both() -> None:
    chain = served()
    chain.block(parent_voters=FRIENDS, parent_leader=A[LEADER])
    assert chain.score(LEADER).cause is ScoreCause.LEADER
    assert chain.score(LEADER).value > chain.score(FRIEND).value > chain.score(RIVAL).value == 1_000_000


def test_only_members_of_the_blocks_own_cluster_are_paid_with_the_next() -> None:
    chain = served()
    chain.block(parent_voters=WITH_RIVAL, cluster=(A[RIVAL], A[2]))
    before = [chain.score(member).value for member in range(7)]
    chain.block(parent_voters=FRIENDS, cluster=(A[3],))
    assert [member for member in range(7) if chain.score(member).value > before[member]] == [2, RIVAL]
    chain.block(parent_voters=FRIENDS)
    assert chain.score(3).cause is ScoreCause.VALIDATOR


# --- how much ------------------------------------------------------------------------------------------------------


def test_all_that_attend_share_what_a_certificate_earned() -> None:
    chain = served()
    fresh = RIVAL
    assert chain.score(fresh).value == 1_000_000
    assert chain.earned(fresh, parent_voters=WITH_RIVAL) == 321  # 450 x 5 / 7 = 321.4


@pytest.mark.parametrize("lost", ["suspended", "low", "gone"])
def test_who_may_not_earn_does_not_by_attending(lost: str) -> None:
    chain = served()
    key = score_key(A[FRIEND])
    score = chain.score(FRIEND)
    if lost == "gone":
        known = chain.read(MEMBER_LIST_KEY, MemberList)
        terms = list_with(known, Leave(address=A[FRIEND]), Height(chain.height + 2)).terms
        chain.state[MEMBER_LIST_KEY] = encode(MemberList(terms=terms))
    elif lost == "low":
        chain.state[key] = encode(replace(score, value=199_999))
    else:
        chain.state[key] = encode(replace(score, is_suspended=True))
    before = decode(chain.state[key], Score).value
    chain.block(parent_voters=FRIENDS)
    assert chain.score(FRIEND).value == before


def test_the_first_block_that_keeps_attendance_pays_who_signed_the_certificate_that_it_carries() -> None:
    older = make_genesis(7, protocol_version=ATTENDANCE_VERSION - 1)
    chain = Served(older)
    for _ in range(3):
        chain.block(parent_voters=older.addresses)
    assert ATTENDANCE_KEY not in chain.state
    rules = first_rules(older.genesis)
    chain.state[RULES_KEY] = encode(replace(rules, version=ATTENDANCE_VERSION))
    paid = [chain.earned(member, parent_voters=older.addresses[:Q]) > 0 for member in (0, 6)]
    assert paid == [True, False]
    assert len(chain.read(ATTENDANCE_KEY, Attendance).certificates) == 2


def test_no_more_is_kept_than_sixteen_bitmaps_and_a_cluster() -> None:
    chain = served()
    chain.block()
    kept = chain.read(ATTENDANCE_KEY, Attendance)
    assert (len(kept.certificates), {len(bits) for bits in kept.certificates}) == (CERTIFICATES_KEPT, {1})
    assert len(encode(kept)) <= 2 * CERTIFICATES_KEPT + 64


# --- whose bits are whose ------------------------------------------------------------------------------------------


class Wandering:
    """Members that come, go, exchange keys and hold ceremonies; beside the records, a memory of names."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.community = make_genesis(10)
        self.state: dict[StateKey, bytes] = dict(genesis_state(self.community.genesis))
        known = decode(self.state[MEMBER_LIST_KEY], MemberList)
        self.state[MEMBER_LIST_KEY] = encode(MemberList(terms=known.terms[:6]))
        self.height = 0
        self.keys = 0
        self.eras: tuple[EraStart, ...] = ()
        self.signed: list[frozenset[Address]] = []
        """Signers of each certificate carried, in their order."""
        self.cluster: frozenset[Address] = frozenset()
        """Of the block before."""
        self.kinds: set[str] = set()

    def block(self) -> None:
        """Executes what bears on attendance, and compares."""
        self.height += 1
        overlay = Overlay(self.state)
        before = [address for address, _ in self.list_in(overlay).at(Height(self.height))]
        beginning = self.beginning(overlay) if self.height > 4 and self.random.random() < 0.05 else None
        carried = beginning is not None and beginning.base == self.height - 2
        below = self.named(overlay, self.height - 1)
        if carried and beginning is not None:
            below = [address for address, _ in beginning.members]
        voters = tuple(sorted(self.random.sample(below, quorum(len(below))))) if below else ()
        own = before if beginning is None else [address for address, _ in beginning.members]
        cluster = tuple(self.random.sample(own, self.random.choice((len(own), min(3, len(own))))))
        run = self.run(overlay, voters, cluster, beginning)
        begin_era(run)
        if self.height > 1:
            self.signed.append(frozenset(voters))
            expected = self.cluster & frozenset[Address]().union(*self.signed[-CERTIFICATES_KEPT:])
            assert set(attending(overlay, Height(self.height), voters)) == expected, self.height
        note_attendance(run)
        self.cluster = frozenset(cluster)
        self.change(overlay)
        self.state.update(overlay.encoded_changes())

    def run(
        self,
        overlay: Overlay,
        voters: tuple[Address, ...],
        cluster: tuple[Address, ...],
        beginning: EraBeginning | None,
    ) -> BlockRun:
        context = block_context(
            self.community,
            height=self.height,
            slot=self.height,
            parent_voters=voters,
            cluster=cluster,
            beginning=beginning,
        )
        genesis = self.community.genesis
        scores = ScoreBoard(overlay, cluster=cluster, slot=context.slot, parameters=genesis.scores)
        return BlockRun(overlay=overlay, genesis=genesis, rules=first_rules(genesis), context=context, scores=scores)

    def list_in(self, overlay: Overlay) -> MemberList:
        return overlay.require(MEMBER_LIST_KEY, MemberList)

    def named(self, overlay: Overlay, height: int) -> list[Address]:
        return [address for address, _ in self.list_in(overlay).at(Height(height))]

    def fresh_key(self) -> PublicKey:
        self.keys += 1
        return seeded_key("rotated", self.keys).public_key

    def beginning(self, overlay: Overlay) -> EraBeginning:
        """A ceremony: some are gone, one has another key; the block above the base may be carried over."""
        self.kinds.add("era")
        base = Height(self.height - self.random.choice((1, 2)))
        members = list(self.list_in(overlay).at(Height(base + 1)))
        while len(members) > 4 and self.random.random() < 0.6:
            del members[self.random.randrange(len(members))]
        place = self.random.randrange(len(members))
        members[place] = (members[place][0], self.fresh_key())
        number = len(self.eras) + 1
        start = EraStart(number=EraNumber(number), plan=Digest(bytes([number]) * 32), base=base)
        self.eras = (*self.eras, start)
        return EraBeginning(starts=(start,), base=base, members=tuple(members))

    def change(self, overlay: Overlay) -> None:
        known = self.list_in(overlay)
        if known.at(Height(self.height + 1)) != known.at(Height(self.height)) or self.random.random() < 0.6:
            return
        change = self.drawn(known)
        if change is not None:
            self.kinds.add(type(change).__name__)
            overlay.put(MEMBER_LIST_KEY, list_with(known, change, Height(self.height + FIXED_AHEAD)))

    def drawn(self, known: MemberList) -> MemberChange | None:
        present = known.addresses
        absent = [address for address in self.community.addresses if address not in present]
        kind = self.random.choice((Join, Leave, Rotate))
        if kind is Join and absent:
            return Join(address=self.random.choice(absent), node_key=self.fresh_key())
        if kind is Leave and len(present) > 4:
            return Leave(address=self.random.choice(present))
        return Rotate(address=self.random.choice(present), node_key=self.fresh_key()) if kind is Rotate else None


@pytest.mark.parametrize("seed", range(20))
def test_bits_are_read_under_the_members_that_they_were_written_under(seed: int) -> None:
    wandering = Wandering(seed)
    for _ in range(120):
        wandering.block()
    assert wandering.kinds == {"Join", "Leave", "Rotate", "era"}


def test_a_stranger_has_no_bit() -> None:
    chain = served()
    stranger = address_of(seeded_key("stranger", 1).public_key)
    chain.block(parent_voters=(*FRIENDS[:-1], stranger))
    assert chain.earned(RIVAL, parent_voters=FRIENDS) == 0
