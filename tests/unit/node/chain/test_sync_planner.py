"""The planner of block sync, without sockets: whom it asks what, and that no member's lies or silence stop it."""

import random
from dataclasses import dataclass, field

import pytest

from consensus.eras import FIRST_ERA
from consensus.identifiers import Address, Digest, Height, Slot
from consensus.messages import CommitCertificate, Decided, Endorsement
from node.chain import sync_planner
from node.chain.sync_planner import Ask, SyncFault, SyncPlanner
from node.mesh.messages import BLOCKS_PER_ANSWER_MAX

ONE, TWO, THREE, FOUR = (Address(bytes([number]) * 32) for number in range(1, 5))


def block(height: int, proposal: bytes = b"good") -> Decided:
    certificate = CommitCertificate(
        era=FIRST_ERA, height=Height(height), slot=Slot(height), block=Digest(bytes(32)), endorsements=()
    )
    return Decided(certificate=certificate, proposal=proposal)


def blocks(first: int, count: int, proposal: bytes = b"good") -> list[Decided]:
    return [block(height, proposal) for height in range(first, first + count)]


def planner_with(*peers: Address, claim: int, undecided: int = 1) -> SyncPlanner:
    planner = SyncPlanner(undecided=Height(undecided), weak_quorum=2)
    planner.note_connected(frozenset(peers), 0)
    for peer in peers:
        planner.note_claim(peer, Height(claim + 1))
    return planner


def heights(asks: list[Ask]) -> list[int]:
    return [height for ask in asks for height in range(ask.first, ask.first + ask.count)]


# --- when ------------------------------------------------------------------------------------------------------


def test_up_to_one_decided_run_behind_nothing_is_asked() -> None:
    planner = planner_with(ONE, TWO, claim=sync_planner.BEHIND_MIN)
    assert planner.requests(0) == []
    assert not planner.is_active
    planner.note_claim(ONE, Height(sync_planner.BEHIND_MIN + 2))
    planner.note_claim(TWO, Height(sync_planner.BEHIND_MIN + 2))
    assert heights(planner.requests(0)) == list(range(1, sync_planner.BEHIND_MIN + 2))
    assert planner.is_active


def test_it_ends_when_the_rest_is_what_is_being_decided() -> None:
    planner = planner_with(ONE, TWO, claim=100)
    planner.requests(0)
    planner.note_undecided(Height(101 - sync_planner.CAUGHT_UP_MAX - 1))
    planner.requests(1)
    assert planner.is_active
    planner.note_undecided(Height(101 - sync_planner.CAUGHT_UP_MAX))
    assert planner.requests(1) == []
    assert not planner.is_active
    assert planner.open_requests == 0
    # what comes now is not held for ever
    planner.take(ONE, Height(1), blocks(1, 64), 1)
    assert planner.held_size_bytes == 0


# --- whom ------------------------------------------------------------------------------------------------------


def test_several_members_are_asked_at_once_each_for_other_heights() -> None:
    planner = planner_with(ONE, TWO, THREE, claim=10_000)
    asks = planner.requests(0)
    assert {ask.peer for ask in asks} == {ONE, TWO, THREE}
    assert len(asks) == 3 * sync_planner.PEER_REQUESTS_MAX
    assert heights(asks) == list(range(1, 1 + len(asks) * BLOCKS_PER_ANSWER_MAX))
    assert planner.requests(0) == []


def test_the_number_of_open_requests_is_bounded() -> None:
    peers = [Address(bytes([number]) * 32) for number in range(1, 20)]
    assert len(planner_with(*peers, claim=10_000).requests(0)) == sync_planner.REQUESTS_MAX


def test_nobody_is_asked_for_more_than_it_says_it_has_or_while_its_link_is_down() -> None:
    planner = planner_with(ONE, TWO, claim=100)
    planner.note_claim(TWO, Height(31))
    planner.note_connected(frozenset({ONE, TWO}), 0)
    asks = planner.requests(0)
    assert all(ask.first + ask.count - 1 <= (100 if ask.peer == ONE else 30) for ask in asks)
    assert heights(asks)[-1] == 100
    planner = planner_with(ONE, claim=100)
    planner.note_claim(TWO, Height(101))
    assert {ask.peer for ask in planner.requests(0)} == {ONE}


def test_the_window_bounds_how_far_ahead_is_asked() -> None:
    planner = planner_with(ONE, TWO, THREE, FOUR, claim=10**9)
    asked: list[Ask] = []
    while asks := planner.requests(0):
        asked += asks
        for ask in asks:
            if ask.first != 1:  # the first range never comes
                assert planner.take(ask.peer, ask.first, blocks(ask.first, ask.count), 0) is None
    assert max(heights(asked)) == sync_planner.WINDOW_BLOCKS
    assert planner.next_block() is None


def test_held_bytes_are_bounded_and_the_undecided_height_is_asked_for_all_the_same() -> None:
    planner = planner_with(ONE, TWO, claim=10_000)
    first, second, *_ = planner.requests(0)
    large = bytes(sync_planner.HELD_SIZE_BYTES_MAX // 16)
    planner.take(second.peer, second.first, blocks(second.first, 16, large), 0)
    assert planner.held_size_bytes >= sync_planner.HELD_SIZE_BYTES_MAX
    assert planner.requests(1) == []
    planner.take(first.peer, first.first, blocks(1, 3), 1)
    planner.note_undecided(Height(4))
    assert heights(planner.requests(1))[:1] == [4]
    held = planner.held_size_bytes
    planner.note_undecided(Height(second.first + 16))
    assert planner.held_size_bytes < held
    assert planner.held_size_bytes == 0


def test_certificates_count_among_the_held_bytes() -> None:
    planner = planner_with(ONE, TWO, claim=100)
    ask = planner.requests(0)[0]
    endorsement = Endorsement(signer=ONE, signature=bytes(64))  # type: ignore[arg-type]
    certificate = CommitCertificate(
        era=FIRST_ERA, height=Height(1), slot=Slot(1), block=Digest(bytes(32)), endorsements=(endorsement,) * 5
    )
    planner.take(ask.peer, ask.first, [Decided(certificate=certificate, proposal=b"")], 0)
    assert planner.held_size_bytes == 5 * sync_planner.ENDORSEMENT_SIZE_BYTES


# --- order -----------------------------------------------------------------------------------------------------


def test_answers_in_any_order_come_out_in_the_order_of_heights() -> None:
    planner = planner_with(ONE, TWO, THREE, claim=384)
    for ask in reversed(planner.requests(0)):
        planner.take(ask.peer, ask.first, blocks(ask.first, ask.count), 0)
    for height in range(1, 385):
        found = planner.next_block()
        assert found is not None
        assert found[1].certificate.height == height
        planner.note_undecided(Height(height + 1))
    assert planner.next_block() is None


def test_a_shorter_answer_is_no_fault_and_the_rest_is_asked_for_again() -> None:
    planner = planner_with(ONE, TWO, claim=1_000)
    first = planner.requests(0)[0]
    assert planner.take(first.peer, first.first, blocks(1, 10), 0) is None
    assert heights(planner.requests(0))[:54] == list(range(11, 65))


def test_what_was_decided_meanwhile_is_not_asked_for_again() -> None:
    planner = planner_with(ONE, TWO, claim=1_000)
    planner.requests(0)
    planner.note_undecided(Height(500))
    assert min(heights(planner.requests(1))) == 500


# --- members that do not deliver -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["timeout", "disconnect", "empty"])
def test_what_one_member_does_not_deliver_another_is_asked_for(how: str) -> None:
    planner = planner_with(ONE, TWO, claim=64 * 3)
    mine = [ask for ask in planner.requests(0) if ask.peer == ONE]
    now_ms = 1
    for ask in [ask for ask in planner.requests(0) if ask.peer == TWO]:
        planner.take(TWO, ask.first, blocks(ask.first, ask.count), 0)
    assert mine[0].first == 1
    if how == "timeout":
        now_ms = sync_planner.ANSWER_DEADLINE_MS
        assert planner.requests(now_ms - 1) == []
    elif how == "disconnect":
        planner.note_connected(frozenset({TWO}), now_ms)
    else:
        for ask in mine:
            assert planner.take(ONE, ask.first, [], now_ms) is None
    # the other one has its own requests open at most until the same deadline
    asked = planner.requests(now_ms) + planner.requests(now_ms + sync_planner.PAUSE_INITIAL_MS)
    assert {ask.peer for ask in asked if ask.first == 1} == {TWO} or how == "timeout"
    assert 1 in heights(asked)
    assert planner.banned(now_ms) == frozenset()


def test_a_member_that_has_not_what_it_claimed_is_asked_again_only_when_it_says_so_again() -> None:
    planner = planner_with(ONE, claim=100)
    for ask in planner.requests(0):
        planner.take(ONE, ask.first, [], 0)
    assert planner.requests(100_000) == []
    planner.note_claim(ONE, Height(101))
    assert planner.requests(100_000) != []


def test_that_nobody_gives_the_next_block_is_said_once_all_who_answer_have_said_so() -> None:
    planner, now_ms = planner_with(ONE, TWO, THREE, claim=2_000, undecided=5), 0

    def lack(*members: Address) -> None:
        nonlocal now_ms
        now_ms += 2 * sync_planner.PAUSE_INITIAL_MS << sync_planner.PAUSE_DOUBLINGS_MAX
        for ask in planner.requests(now_ms):
            if ask.peer in members:
                planner.take(ask.peer, ask.first, [], now_ms)

    lack(ONE, TWO)
    assert not planner.nobody_gives(now_ms)
    assert not planner.nobody_gives(now_ms + sync_planner.LACKED_WAIT_MS), "one may have it"
    lack(THREE)  # what it was asked at first is late
    lack(THREE)
    assert not planner.nobody_gives(now_ms), "links to others may come"
    assert planner.nobody_gives(now_ms + sync_planner.LACKED_WAIT_MS)
    planner.ask_all_again()
    assert not planner.nobody_gives(now_ms + sync_planner.LACKED_WAIT_MS)


def test_who_gives_blocks_or_is_not_further_or_said_nothing_yet_does_not_lack_them() -> None:
    planner = planner_with(ONE, TWO, claim=200)
    assert not planner.nobody_gives(0)
    assert not planner.nobody_gives(100_000), "nobody was asked"
    for ask in planner.requests(0):
        planner.take(ask.peer, ask.first, [] if ask.peer == ONE else blocks(ask.first, 1), 0)
    assert not planner.nobody_gives(0)
    assert not planner.nobody_gives(100_000)


def test_silence_of_some_does_not_keep_who_said_that_they_have_nothing_from_being_believed() -> None:
    planner, now_ms = planner_with(ONE, TWO, claim=200), 0
    for _ in range(2 * sync_planner.FAILURES_DOUBTED):
        planner.note_claim(ONE, Height(201))
        for ask in planner.requests(now_ms):
            if ask.peer == ONE:
                planner.take(ONE, ask.first, [], now_ms)
        now_ms += 200_000
    assert not planner.nobody_gives(now_ms)
    assert planner.nobody_gives(now_ms + sync_planner.LACKED_WAIT_MS)


def test_pauses_double_up_to_a_bound_and_end_with_an_answer() -> None:
    planner = planner_with(ONE, claim=1_000)
    pauses, now_ms = [], 0
    for _ in range(sync_planner.PAUSE_DOUBLINGS_MAX + 3):
        assert planner.requests(now_ms) != []
        failed_ms = now_ms = now_ms + sync_planner.ANSWER_DEADLINE_MS
        while not planner.requests(now_ms):
            now_ms += 500
        pauses.append(now_ms - failed_ms)
        now_ms += 1  # the requests just made stay open; let them fail next
        planner.note_connected(frozenset(), now_ms)
        planner.note_connected(frozenset({ONE}), now_ms)
        now_ms += 200_000
    assert pauses[0] < pauses[1] < pauses[2]
    assert max(pauses) <= sync_planner.PAUSE_INITIAL_MS << sync_planner.PAUSE_DOUBLINGS_MAX
    ask = planner.requests(now_ms)[0]
    planner.take(ONE, ask.first, blocks(ask.first, 1), now_ms)
    planner.note_connected(frozenset(), now_ms)
    planner.note_connected(frozenset({ONE}), now_ms)
    assert planner.requests(now_ms + 2 * sync_planner.PAUSE_INITIAL_MS) != []


def test_a_late_answer_is_used_and_costs_nothing_twice() -> None:
    planner = planner_with(ONE, claim=64)
    (ask,) = planner.requests(0)
    late_ms = sync_planner.ANSWER_DEADLINE_MS + 10
    assert planner.requests(sync_planner.ANSWER_DEADLINE_MS) == []  # the only member, and paused
    assert planner.take(ONE, ask.first, blocks(1, 64), late_ms) is None
    assert planner.next_block() is not None
    planner.note_claim(ONE, Height(129))
    assert min(heights(planner.requests(late_ms + 60_000))) == 65


# --- members that lie ------------------------------------------------------------------------------------------


def test_an_answer_that_was_not_asked_for_is_ignored() -> None:
    planner = planner_with(ONE, TWO, claim=1_000)
    asks = planner.requests(0)
    other = next(ask for ask in asks if ask.peer == TWO)
    assert planner.take(ONE, other.first, blocks(other.first, 1), 0) is None
    assert planner.take(THREE, Height(1), blocks(1, 64), 0) is None
    assert planner.held_size_bytes == 0
    assert planner.next_block() is None


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (lambda ask: blocks(ask.first, ask.count + 1), SyncFault.TOO_MANY),
        (lambda ask: blocks(ask.first + 1, 2), SyncFault.WRONG_HEIGHT),
        (lambda ask: [block(ask.first), block(ask.first + 2)], SyncFault.WRONG_HEIGHT),
        (lambda ask: [block(ask.first), block(ask.first)], SyncFault.WRONG_HEIGHT),
    ],
)
def test_answers_wrong_in_form_are_named_and_nothing_of_them_is_held(answer, fault) -> None:  # type: ignore[no-untyped-def]
    planner = planner_with(ONE, TWO, claim=70)
    ask = planner.requests(0)[0]
    assert planner.take(ask.peer, ask.first, answer(ask), 0) is fault
    assert planner.held_size_bytes == 0
    planner.ban(ask.peer, 0)
    again = planner.requests(0)
    assert {one.peer for one in again} == {ONE, TWO} - {ask.peer}
    assert 1 in heights(again)


def test_a_banned_member_is_not_asked_its_blocks_go_and_the_ban_ends() -> None:
    planner = planner_with(ONE, TWO, claim=64 * 4)
    asks = planner.requests(0)
    for ask in asks:
        planner.take(ask.peer, ask.first, blocks(ask.first, ask.count), 0)
    mine = [height for ask in asks if ask.peer == ONE for height in range(ask.first, ask.first + ask.count)]
    planner.ban(ONE, 0)
    again = planner.requests(0)
    assert {ask.peer for ask in again} == {TWO}
    assert heights(again) == mine  # in whole ranges, not block by block
    assert len(again) == 2
    for ask in again:
        planner.take(TWO, ask.first, blocks(ask.first, ask.count), 0)
    planner.note_claim(ONE, Height(2_000))
    planner.note_claim(TWO, Height(2_000))
    assert {ask.peer for ask in planner.requests(sync_planner.BAN_MS - 1)} == {TWO}
    assert ONE in {ask.peer for ask in planner.requests(sync_planner.BAN_MS)}


def test_a_banned_members_late_answer_is_not_read() -> None:
    planner = planner_with(ONE, TWO, claim=1_000)
    mine = [ask for ask in planner.requests(0) if ask.peer == ONE]
    planner.ban(ONE, 0)
    for ask in mine:
        planner.take(ONE, ask.first, blocks(ask.first, ask.count, b"junk"), 0)
    assert planner.held_size_bytes == 0


def test_one_liars_claim_is_not_the_target_while_honest_members_say_otherwise() -> None:
    planner = planner_with(ONE, TWO, THREE, claim=100)
    planner.note_claim(THREE, Height(2**62))
    assert planner.target(0) == 100
    # and once there, the liar alone keeps it busy only while it seems to answer
    planner.note_undecided(Height(101))
    assert {ask.peer for ask in planner.requests(0)} == {THREE}
    now_ms = 0
    for failure in range(sync_planner.FAILURES_DOUBTED):
        now_ms += sync_planner.ANSWER_DEADLINE_MS
        assert planner.is_active
        planner.requests(now_ms)
        now_ms += sync_planner.PAUSE_INITIAL_MS << failure
        planner.requests(now_ms)
    planner.requests(now_ms + sync_planner.ANSWER_DEADLINE_MS)
    assert planner.target(now_ms + sync_planner.ANSWER_DEADLINE_MS) == 100
    assert not planner.is_active


# --- everything at once ----------------------------------------------------------------------------------------


@dataclass
class World:
    """Members with a chain each, links that delay and lose, and a host that applies what is right."""

    seed: int
    tip: int
    members: int
    now_ms: int = 0
    pending: list[tuple[int, Address, Ask, list[Decided]]] = field(default_factory=list)
    largest_held: int = 0
    served: dict[Address, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.peers = [Address(bytes([number + 1]) * 32) for number in range(self.members)]
        shuffled = self.peers[:]
        self.random.shuffle(shuffled)
        liars = shuffled[: max(1, (self.members - 1) // 3)]
        self.behaviour = dict.fromkeys(self.peers, "honest")
        for liar in liars:
            self.behaviour[liar] = self.random.choice(
                ["junk", "junk later", "silent", "empty", "shifted", "too many", "flapping", "boasting"]
            )
        self.planner = SyncPlanner(undecided=Height(1), weak_quorum=(self.members - 1) // 3 + 1)
        self.undecided = 1

    def answer(self, peer: Address, ask: Ask) -> list[Decided] | None:
        count = self.random.randint(1, ask.count)
        good = blocks(ask.first, min(count, self.tip - ask.first + 1)) if ask.first <= self.tip else []
        junk_last = [*good[:-1], block(good[-1].certificate.height, b"junk")] if good else []
        answers: dict[str, list[Decided] | None] = {
            "silent": None,
            "junk": blocks(ask.first, ask.count, b"junk"),
            "junk later": junk_last,
            "empty": [],
            "shifted": blocks(ask.first + 1, ask.count),
            "too many": blocks(ask.first, ask.count + 1),
            "flapping": good if self.random.random() < 0.5 else None,
        }
        honest = None if self.random.random() < 0.02 else good
        return answers.get(self.behaviour[peer], honest)

    def tick(self) -> None:
        self.now_ms += 50
        connected = frozenset(
            peer for peer in self.peers if self.behaviour[peer] == "honest" or self.random.random() > 0.1
        )
        self.planner.note_undecided(Height(self.undecided))
        self.planner.note_connected(connected, self.now_ms)
        if self.now_ms % 1_000 == 50:
            for peer in self.peers:
                claim = 2**40 if self.behaviour[peer] == "boasting" else self.tip
                self.planner.note_claim(peer, Height(claim + 1))
        for ask in self.planner.requests(self.now_ms):
            assert 1 <= ask.count <= BLOCKS_PER_ANSWER_MAX
            answer = self.answer(ask.peer, ask)
            if answer is not None:
                self.pending.append((self.now_ms + self.random.randint(10, 400), ask.peer, ask, answer))
        assert self.planner.open_requests <= sync_planner.REQUESTS_MAX
        self.deliver()
        self.apply()
        self.largest_held = max(self.largest_held, self.planner.held_size_bytes)

    def deliver(self) -> None:
        due = [one for one in self.pending if one[0] <= self.now_ms]
        self.pending = [one for one in self.pending if one[0] > self.now_ms]
        for _, peer, ask, answer in due:
            if self.planner.take(peer, ask.first, answer, self.now_ms) is not None:
                self.planner.ban(peer, self.now_ms)

    def apply(self) -> None:
        while (found := self.planner.next_block()) is not None:
            peer, decided = found
            assert decided.certificate.height == self.undecided
            if decided.proposal == b"good":
                self.undecided += 1
                self.served[peer] = self.served.get(peer, 0) + 1
                self.planner.note_undecided(Height(self.undecided))
            else:
                self.planner.ban(peer, self.now_ms)
                assert self.planner.next_block() is None or self.planner.next_block()[0] != peer


@pytest.mark.parametrize("seed", range(150))
def test_whatever_a_third_of_the_members_does_all_blocks_arrive(seed: int) -> None:
    world = World(seed=seed, tip=random.Random(seed).choice([9, 70, 1_000, 4_000]), members=4 + seed % 4)
    while world.undecided <= world.tip - sync_planner.CAUGHT_UP_MAX:
        world.tick()
        assert world.now_ms < 60_000 + 40 * world.tip, (world.behaviour, world.undecided)
    honest = {peer for peer, behaviour in world.behaviour.items() if behaviour == "honest"}
    assert not honest & world.planner.banned(world.now_ms)
    assert world.largest_held <= sync_planner.WINDOW_BLOCKS * 4
    if world.tip >= 1_000:
        assert set(world.served) >= honest, "all honest members help"
