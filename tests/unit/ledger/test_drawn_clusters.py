"""Clusters that are drawn: what the ledger says of the next height, and that each slot moves the draw."""

from pathlib import Path
from typing import Final
from unittest.mock import patch

import pytest

from consensus.identifiers import Height, Slot
from contracts.execution import execute_block
from contracts.genesis import ClusterParameters
from contracts.randomness_records import Randomness
from contracts.state import RANDOMNESS_KEY
from contracts.state_reading import require
from contracts.transactions import ReportMisconduct
from ledger import execution
from ledger.ledger import Ledger
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
    return [chain.ledger.memberships().cluster(Slot(slot)) for slot in range(50)]


def test_each_slot_of_each_height_has_a_cluster_of_its_own(chain: ChainBuilder) -> None:
    first = clusters(chain)
    assert {len(set(cluster)) for cluster in first} == {SIZE}
    assert len(set(first)) == len(first)
    chain.append()
    following = clusters(chain)
    assert set(first).isdisjoint(following)
    chain.append(slot=chain.ledger.tip_slot)  # carries no proof: the value stays, the height is another one
    assert set(following).isdisjoint(clusters(chain))


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
    expected = chain.ledger.memberships().cluster(Slot(9))
    with patch.object(execution, "execute_block", wraps=execute_block) as executed:
        chain.build(slot=9)
    (context,) = {call.args[2] for call in executed.call_args_list}
    assert context.cluster == expected


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
