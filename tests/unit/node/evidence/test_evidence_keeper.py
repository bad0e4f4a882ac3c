"""Evidence: what is proven is kept, told and reported once; what is not is refused and leaves nothing."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from consensus.codec import encode
from consensus.eras import FIRST_ERA
from consensus.evidence import Equivocation, SignedStatement
from consensus.identifiers import Digest, Height, Slot
from consensus.messages import VoteStatement
from contracts.evidence_window import MARKS, oldest_height
from contracts.receipts import Status
from contracts.stakes import lock_slots
from contracts.state import MEMBER_LIST_KEY, MemberList, Overlay, Score, score_key
from contracts.state_reading import require
from contracts.transactions import DoubleOffer, ReportMisconduct
from node.evidence.keeper import (
    KEPT_PER_OFFENDER_MAX,
    NOTES_PER_PEER_MAX,
    REPORTED_AGAIN_SLOTS,
    TOLD_AGAIN_LOOKS,
    TURN_SLOTS,
    EvidenceKeeper,
    EvidenceLinks,
)
from node.mesh.messages import EvidenceNote
from tests.support.contracts import Community, make_genesis, sign_trade, trade_terms
from tests.support.ledger import ChainBuilder

COMMUNITY = make_genesis(4)
OFFENDER, OWN, PEER = 0, 1, 2
OFFENDER_ADDRESS, PEER_ADDRESS = COMMUNITY.addresses[OFFENDER], COMMUNITY.addresses[PEER]


def vote(block: int, *, height: int = 5, slot: int = 9, signer: int = OFFENDER) -> SignedStatement:
    statement = VoteStatement(
        domain=COMMUNITY.chain, height=Height(height), slot=Slot(slot), block=Digest(bytes([block]) * 32)
    )
    return SignedStatement(statement=statement, signature=COMMUNITY.node_keys[signer].sign(encode(statement)))


def two_votes(height: int = 5, *, slot: int = 9) -> Equivocation:
    first, second = (vote(block, height=height, slot=slot) for block in (1, 2))
    return Equivocation(offender=OFFENDER_ADDRESS, era=FIRST_ERA, first=first, second=second)


class World:
    """A keeper on a real ledger, and what it told and reported."""

    def __init__(self, directory: Path, community: Community = COMMUNITY) -> None:
        self.directory = directory / "evidence"
        self.chain = ChainBuilder.create(directory / "ledger", community)
        self.slot = 100
        self.told: list[EvidenceNote] = []
        self.reported: list[ReportMisconduct] = []
        self.refused: list[str] = []
        self.keeper = self.start()

    def start(self) -> EvidenceKeeper:
        links = EvidenceLinks(
            broadcast=self.told.append,
            present_slot=lambda: Slot(self.slot),
            report=self.reported.append,
            refused=self.refused.append,
        )
        own = self.chain.community.addresses[OWN]
        return EvidenceKeeper(own=own, ledger=self.chain.ledger, directory=self.directory, links=links)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.directory.glob("*"))

    def look(self) -> None:
        """Looks as the keeper itself does in the long run: at every block, then at the rest."""
        while self.keeper.look_through_next_block():
            pass
        self.keeper.look()

    def look_at_all_turns(self) -> None:
        self.slot += 4 * TURN_SLOTS
        self.look()

    def report(self, action: ReportMisconduct) -> Status:
        """Brings it to the chain."""
        self.chain.append([self.chain.transaction(OWN, action)])
        return self.chain.ledger.receipts(self.chain.ledger.height)[0].status


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_is_found_is_kept_told_and_reported_once_until_the_chain_has_it(world: World) -> None:
    world.keeper.found(two_votes())
    world.keeper.found(two_votes())
    assert [note.evidence for note in world.told] == [two_votes()]
    assert len(world.files()) == 1
    for _ in range(3):
        world.look_at_all_turns()
    assert [action.evidence for action in world.reported] == [two_votes()]
    assert world.report(world.reported[0]) is Status.EXECUTED
    assert require(world.chain.ledger, score_key(OFFENDER_ADDRESS), Score).is_suspended
    for _ in range(2 * TOLD_AGAIN_LOOKS):
        world.look_at_all_turns()
    assert len(world.reported) == len(world.told) == len(world.files()) == 1


def test_of_a_suspended_member_only_what_removes_it_is_reported(world: World) -> None:
    """Whoever contradicts itself at every height fills no disk and no chain."""
    wait = COMMUNITY.genesis.membership.removal_wait_slots
    assert world.report(ReportMisconduct(evidence=two_votes())) is Status.EXECUTED
    proven_at = world.chain.ledger.height
    for height in range(proven_at + 1, proven_at + 9):
        world.keeper.found(two_votes(height))
    world.look_at_all_turns()
    assert (world.reported, world.files()) == ([], [])
    later = two_votes(proven_at + 1, slot=world.chain.ledger.tip_slot + wait)
    world.keeper.found(later)
    world.look_at_all_turns()
    assert [action.evidence for action in world.reported] == [later]
    world.report(world.reported[0])
    assert OFFENDER_ADDRESS not in require(world.chain.ledger, MEMBER_LIST_KEY, MemberList).addresses
    world.keeper.found(two_votes(proven_at + 2, slot=world.chain.ledger.tip_slot + 2 * wait))
    world.look_at_all_turns()
    assert len(world.reported) == 1


def test_members_report_one_after_another(tmp_path: Path) -> None:
    moments = []
    for own in range(4):
        world = World(tmp_path / str(own))
        keys = COMMUNITY.addresses
        links = EvidenceLinks(
            broadcast=world.told.append,
            present_slot=lambda world=world: Slot(world.slot),  # type: ignore[misc]
            report=world.reported.append,
            refused=world.refused.append,
        )
        keeper = EvidenceKeeper(own=keys[own], ledger=world.chain.ledger, directory=world.directory, links=links)
        keeper.found(two_votes())
        while not world.reported:
            keeper.look()
            world.slot += 1
        moments.append(world.slot - 101)
    assert sorted(moments) == [0, TURN_SLOTS, 2 * TURN_SLOTS, 3 * TURN_SLOTS]


def test_what_a_peer_tells_is_taken_at_the_next_look(world: World) -> None:
    world.keeper.on_note(PEER_ADDRESS, EvidenceNote(evidence=two_votes()))
    assert world.told == []
    world.keeper.look()
    assert [note.evidence for note in world.told] == [two_votes()]
    assert world.refused == []


@pytest.mark.parametrize(
    "evidence",
    [
        replace(two_votes(), second=vote(1)),
        replace(two_votes(), second=vote(2, signer=PEER)),
        replace(two_votes(), second=vote(2, height=6)),
        replace(two_votes(), offender=PEER_ADDRESS),
        replace(two_votes(), offender=bytes(32)),
    ],
    ids=["the same twice", "signed by another", "another height", "names another", "names nobody"],
)
def test_what_proves_nothing_is_refused_and_leaves_nothing(world: World, evidence: Equivocation) -> None:
    world.keeper.on_note(PEER_ADDRESS, EvidenceNote(evidence=evidence))
    world.look_at_all_turns()
    assert world.refused == ["evidence_proves_nothing"]
    assert (world.told, world.reported, world.files()) == ([], [], [])


def test_a_peer_that_tells_too_much_is_not_listened_to(world: World) -> None:
    for height in range(1, NOTES_PER_PEER_MAX + 4):
        world.keeper.on_note(PEER_ADDRESS, EvidenceNote(evidence=two_votes(height)))
    assert world.refused == ["evidence_too_often"] * 3
    world.keeper.look()
    world.keeper.on_note(PEER_ADDRESS, EvidenceNote(evidence=two_votes()))
    assert len(world.refused) == 3


def test_of_one_offender_no_more_is_kept_than_is_of_use(world: World) -> None:
    for height in range(1, 3 * KEPT_PER_OFFENDER_MAX):
        world.keeper.found(two_votes(height))
    assert len(world.files()) == len(world.told) == KEPT_PER_OFFENDER_MAX


def four_days(chain: ChainBuilder) -> None:
    """Blocks come all the time; the first ones get too old."""
    step = lock_slots(COMMUNITY.genesis) // MARKS + 1
    for _ in range(4 * MARKS // 3):
        chain.append(slot=chain.led_slot(step))
    assert 1 < oldest_height(Overlay(chain.ledger)) < chain.ledger.height


def test_what_is_too_old_for_the_chain_is_neither_kept_nor_told_nor_refused(world: World) -> None:
    four_days(world.chain)
    oldest = oldest_height(Overlay(world.chain.ledger))
    world.keeper.found(two_votes(oldest - 1))
    world.keeper.on_note(PEER_ADDRESS, EvidenceNote(evidence=two_votes(oldest - 1)))
    world.look()
    assert (world.told, world.files(), world.refused) == ([], [], [])
    world.keeper.found(two_votes(oldest))
    assert [note.evidence for note in world.told] == [two_votes(oldest)]
    world.look_at_all_turns()
    assert world.report(world.reported[0]) is Status.EXECUTED


def test_what_gets_too_old_is_reported_no_more(world: World) -> None:
    world.keeper.found(two_votes(1))
    four_days(world.chain)
    world.look_at_all_turns()
    assert world.reported == []


def test_a_restart_takes_up_what_is_written_and_passes_over_what_is_damaged(world: World) -> None:
    world.keeper.found(two_votes())
    (world.directory / "damaged.evidence").write_bytes(b"\x00")
    world.told.clear()
    world.keeper = world.start()
    world.look_at_all_turns()
    assert [action.evidence for action in world.reported] == [two_votes()]
    for _ in range(TOLD_AGAIN_LOOKS):
        world.keeper.look()
    assert [note.evidence for note in world.told] == [two_votes()]


def test_a_report_that_the_chain_does_not_get_is_handed_over_again(world: World) -> None:
    world.keeper.found(two_votes())
    world.look_at_all_turns()
    for _ in range(REPORTED_AGAIN_SLOTS - 1):
        world.slot += 1
        world.look()
    assert len(world.reported) == 1
    world.slot += 1
    world.look()
    assert [action.evidence for action in world.reported] == [two_votes()] * 2
    world.report(world.reported[-1])
    for _ in range(2 * REPORTED_AGAIN_SLOTS):
        world.look_at_all_turns()
    assert len(world.reported) == 2


def double_offer(chain: ChainBuilder) -> None:
    """Decides a second contract under the offer id of one that executed."""
    keys = COMMUNITY.node_keys
    again = trade_terms(COMMUNITY, OFFENDER, PEER, 50, offer_counter=0)
    chain.append([chain.transaction(PEER, sign_trade(again, seller=keys[OFFENDER], buyer=keys[PEER]))])


def test_two_contracts_under_one_offer_id_on_the_chain_are_found(world: World) -> None:
    world.chain.append_trading_hour()
    double_offer(world.chain)
    world.look_at_all_turns()
    world.look_at_all_turns()
    (action,) = world.reported
    assert isinstance(action.evidence, DoubleOffer)
    assert action.evidence.offender == OFFENDER_ADDRESS
    assert world.report(action) is Status.EXECUTED


def test_a_keeper_that_starts_after_the_block_looks_at_it(world: World) -> None:
    world.chain.append_trading_hour()
    double_offer(world.chain)
    world.keeper = world.start()
    world.look_at_all_turns()
    world.look_at_all_turns()
    (action,) = world.reported
    assert world.report(action) is Status.EXECUTED
    world.keeper = world.start()
    world.look_at_all_turns()
    assert len(world.reported) == len(world.files()) == 1


def test_a_start_looks_through_no_more_blocks_than_the_bound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.evidence.keeper.BLOCKS_AT_START", 2)
    world.chain.append_trading_hour()
    double_offer(world.chain)
    world.chain.append([world.chain.transfer(PEER, OWN, 1)])
    world.keeper = world.start()
    assert [world.keeper.look_through_next_block() for _ in range(3)] == [True, True, False]
    assert len(world.told) == 1, "the contract that executed is older than that"
    world.chain.append([world.chain.transfer(PEER, OWN, 1)])
    world.chain.append([world.chain.transfer(PEER, OWN, 1)])
    world.told.clear()
    world.directory = world.directory.with_name("lost")
    world.keeper = world.start()
    world.look_at_all_turns()
    assert world.told == []
