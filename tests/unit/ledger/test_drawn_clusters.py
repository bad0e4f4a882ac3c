"""Clusters that are drawn: what the ledger says of the next height, and that each slot moves the draw."""

from pathlib import Path
from typing import Final
from unittest.mock import patch

import pytest
from msgspec.structs import replace

from consensus.codec import decode
from consensus.identifiers import Address, Height, Slot
from consensus.membership import Leaders
from contracts.execution import execute_block
from contracts.genesis import ClusterParameters
from contracts.randomness_records import Randomness
from contracts.service_records import Attendance
from contracts.state import ATTENDANCE_KEY, RANDOMNESS_KEY, Score, ScoreCause, score_key
from contracts.state_reading import require
from contracts.transactions import ReportMisconduct, SetLeaving
from ledger import execution
from ledger.block import Block
from ledger.ledger import Ledger
from ledger.past_leaders import collectors_of, expected_leader, leaders_at
from ledger.show import block_rows, show_block
from ledger.validation import BlockRefusalReason
from ledger.verify import verify_ledger
from tests.support.contracts import make_genesis
from tests.support.ledger import ChainBuilder
from tests.support.stories import two_votes
from tests.unit.ledger.test_proofs_of_leaders import refusal, with_proof

MEMBERS: Final = 13
SIZE: Final = 7


@pytest.fixture
def chain(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Of thirteen members seven are drawn."""
    community = make_genesis(MEMBERS, clusters=ClusterParameters(size=SIZE, members_min=MEMBERS))
    builder = ChainBuilder.create(tmp_path / "ledger", community)
    yield builder
    builder.ledger.close()


def clusters(chain: ChainBuilder) -> list[tuple[bytes, ...]]:
    return [chain.ledger.memberships().leaders.cluster(Slot(slot)) for slot in range(50)]


def test_each_slot_of_each_height_has_a_cluster_of_its_own(chain: ChainBuilder) -> None:
    first = clusters(chain)
    assert {len(set(cluster)) for cluster in first} == {SIZE}
    assert len(set(first)) == len(first)
    chain.append()
    following = clusters(chain)
    assert set(first).isdisjoint(following)
    chain.append(slot=chain.ledger.tip_slot)  # carries no proof: the value stays, the height is another one
    assert set(following).isdisjoint(clusters(chain))


def test_who_leaves_is_drawn_up_to_its_last_height(tmp_path: Path) -> None:
    """M(h) is drawn from, not the newest list: a block lets one go, who still is a member of the height above it."""
    community = make_genesis(MEMBERS, clusters=ClusterParameters(size=SIZE, members_min=MEMBERS - 1))
    chain = ChainBuilder.create(tmp_path / "ledger", community)
    leaving = community.addresses[-1]
    chain.append([chain.transaction(MEMBERS - 1, SetLeaving(leaving=True))])
    assert [leaving in members for members in (chain.ledger.membership(), chain.ledger.memberships().following)] == [
        True,
        False,
    ]
    assert any(leaving in cluster for cluster in clusters(chain))
    chain.append()
    assert chain.ledger.memberships().leaders.is_drawn
    assert not any(leaving in cluster for cluster in clusters(chain))
    chain.ledger.close()


def test_the_first_block_of_each_slot_carries_a_proof_and_moves_the_value(chain: ChainBuilder) -> None:
    for _ in range(3):
        before = require(chain.ledger, RANDOMNESS_KEY, Randomness).value
        block = chain.build()
        assert block.header.vrf_proof
        assert refusal(chain, with_proof(block, b"")) is BlockRefusalReason.VRF_PROOF
        chain.append()
        assert require(chain.ledger, RANDOMNESS_KEY, Randomness).value != before
        assert not chain.append(slot=chain.ledger.tip_slot).header.vrf_proof


def test_a_block_is_executed_with_the_cluster_of_its_own_slot(chain: ChainBuilder) -> None:
    expected = chain.ledger.memberships().leaders.cluster(Slot(9))
    with patch.object(execution, "execute_block", wraps=execute_block) as executed:
        chain.build(slot=9)
    (context,) = {call.args[2] for call in executed.call_args_list}
    assert context.cluster == expected


def test_who_was_drawn_for_a_block_and_attends_is_rewarded_with_the_next(chain: ChainBuilder, tmp_path: Path) -> None:
    """The state says who was drawn: eligibility has moved by then. The certificates here have the first nine."""
    for _ in range(3):
        chain.append()
    chain.append_trading_hour()
    block = chain.ledger.height
    chain.append()
    served = {address for address in chain.community.addresses if _cause(chain, address) is ScoreCause.VALIDATOR}
    attends = set(chain.community.addresses[:9])
    kept = chain.ledger.get_at(ATTENDANCE_KEY, Height(block))
    assert kept is not None
    of_block = int.from_bytes(decode(kept, Attendance).cluster)
    drawn_for_block = {one for place, one in enumerate(chain.community.addresses) if of_block >> place & 1}
    leader = chain.ledger.decided_block(Height(block)).header.leader
    assert len(drawn_for_block) == SIZE
    assert served == (drawn_for_block & attends) - {leader}
    chain.ledger.close()
    assert verify_ledger(tmp_path / "ledger", chain.community.genesis, lambda *_: None).holds
    chain.ledger = Ledger.open(tmp_path / "ledger", chain.community.genesis)


def _cause(chain: ChainBuilder, address: Address) -> ScoreCause:
    return require(chain.ledger, score_key(address), Score).cause


def test_who_is_suspended_is_drawn_no_more(chain: ChainBuilder) -> None:
    assert any(chain.community.addresses[5] in cluster for cluster in clusters(chain))
    chain.append([chain.transaction(0, ReportMisconduct(evidence=two_votes(chain.community, 5)))])
    assert not any(chain.community.addresses[5] in cluster for cluster in clusters(chain))


def test_where_too_few_are_eligible_all_are_the_cluster(chain: ChainBuilder) -> None:
    for member in range(MEMBERS - SIZE):
        chain.append([chain.transaction(12, ReportMisconduct(evidence=two_votes(chain.community, member)))])
    assert chain.ledger.memberships().sampling is None
    assert set(clusters(chain)) == {chain.community.addresses}
    assert not chain.append().header.vrf_proof


def test_a_start_and_the_check_from_genesis_draw_the_same(chain: ChainBuilder, tmp_path: Path) -> None:
    for _ in range(3):
        chain.append()
    said = chain.ledger.memberships()
    chain.ledger.close()
    assert verify_ledger(tmp_path / "ledger", chain.community.genesis, lambda *_: None).holds
    chain.ledger = Ledger.open(tmp_path / "ledger", chain.community.genesis)
    assert chain.ledger.memberships().sampling == said.sampling is not None
    assert chain.ledger.memberships().sampling.height == Height(4)


# --- who leads ---------------------------------------------------------------------------------------------------


def led_by(chain: ChainBuilder, slot: int, member: Address) -> Block:
    """The next block of a slot, by a member, whether it may lead or not."""
    key = chain.node_key_of(member)
    with patch.object(Leaders, "expected", lambda _leaders, _slot, leader: leader):
        return chain.ledger.build(slot=Slot(slot), leader=member, candidates=(), prove=key.prove)


def test_both_leaders_of_a_slot_may_stand_in_its_header_and_nobody_else(chain: ChainBuilder, tmp_path: Path) -> None:
    for _ in range(3):
        leaders = chain.ledger.memberships().leaders
        slot = next(
            slot
            for slot in range(chain.ledger.tip_slot + 1, 1_000)
            if leaders.whose(Slot(slot)) != leaders.whose(Slot(slot), is_justified=True)
        )
        both = {leaders.whose(Slot(slot)), leaders.whose(Slot(slot), is_justified=True)}
        for member in chain.community.addresses:
            found = refusal(chain, led_by(chain, slot, member))
            assert found is (None if member in both else BlockRefusalReason.NOT_THE_LEADER)
        block = led_by(chain, slot, leaders.whose(Slot(slot), is_justified=True))
        chain.ledger.append(block, chain.certify(block))
    chain.ledger.close()
    assert verify_ledger(tmp_path / "ledger", chain.community.genesis, lambda *_: None).holds


def test_the_leader_that_makes_the_block_proves(chain: ChainBuilder) -> None:
    """Of one slot two blocks can be made: each carries its own leader's proof, under its own key."""
    leaders, slot = chain.ledger.memberships().leaders, Slot(chain.ledger.tip_slot + 1)
    first, second = leaders.whose(slot), leaders.whose(slot, is_justified=True)
    blocks = [led_by(chain, slot, member) for member in (first, second)]
    exchanged = with_proof(blocks[0], blocks[1].header.vrf_proof)
    assert (refusal(chain, exchanged) is None) == (first == second)


def test_of_a_decided_block_either_leader_of_its_slot_is_expected_and_nobody_else(chain: ChainBuilder) -> None:
    for is_justified in (False, True) * 5:
        leaders, slot = chain.ledger.memberships().leaders, chain.ledger.tip_slot + 1
        block = led_by(chain, slot, leaders.whose(Slot(slot), is_justified=is_justified))
        chain.ledger.append(block, chain.certify(block))
        header = block.header
        told = leaders_at(chain.ledger, header.height)
        assert expected_leader(told, header) == header.leader
        assert collectors_of(told, header) == leaders.cluster(Slot(slot))
        both = {leaders.whose(Slot(slot)), leaders.whose(Slot(slot), is_justified=True)}
        for other in set(chain.community.addresses) - both:
            assert expected_leader(told, replace(header, leader=other)) == leaders.whose(Slot(slot)) != other
    rows = list(block_rows(chain.ledger, first=Height(1), last=Height(10)))
    assert all(row.leader == row.expected_leader for row in rows)
    assert {row.leader for row in rows} != {chain.community.addresses[row.slot % MEMBERS].hex() for row in rows}


def test_who_collected_is_told_as_it_was_then_whoever_is_eligible_by_now(chain: ChainBuilder) -> None:
    """What the state kept of a block for its rewards says the same."""
    blocks = [chain.append() for _ in range(4)]
    before = [collectors_of(leaders_at(chain.ledger, block.header.height), block.header) for block in blocks]
    chain.append([chain.transaction(0, ReportMisconduct(evidence=two_votes(chain.community, 5)))])
    after = [collectors_of(leaders_at(chain.ledger, block.header.height), block.header) for block in blocks]
    assert before == after
    for block, told in zip(blocks, after, strict=True):
        kept = chain.ledger.get_at(ATTENDANCE_KEY, block.header.height)
        assert kept is not None
        bits = int.from_bytes(decode(kept, Attendance).cluster)
        assert {one for place, one in enumerate(chain.community.addresses) if bits >> place & 1} == set(told)
        shown = show_block(chain.ledger, block.header.height)
        assert shown is not None
        assert shown["collectors"] == [address.hex() for address in told]


def test_where_too_few_are_eligible_eq_1_is_told_and_nobody_collected_alone(chain: ChainBuilder) -> None:
    for member in range(MEMBERS - SIZE):
        chain.append([chain.transaction(12, ReportMisconduct(evidence=two_votes(chain.community, member)))])
    header = chain.append().header
    told = leaders_at(chain.ledger, header.height)
    assert collectors_of(told, header) == ()
    by_eq_1 = chain.community.addresses[header.slot % MEMBERS]
    assert expected_leader(told, header) == by_eq_1
    other = chain.community.addresses[(header.slot + 1) % MEMBERS]
    assert expected_leader(told, replace(header, leader=other)) == by_eq_1


def test_where_the_state_below_is_not_here_the_header_is_believed(chain: ChainBuilder) -> None:
    header = chain.append().header
    with patch.object(Ledger, "lacks", lambda _, height: height < header.height):
        told = leaders_at(chain.ledger, header.height)
    assert told is None
    assert expected_leader(told, header) == header.leader
    assert collectors_of(told, header) == ()
