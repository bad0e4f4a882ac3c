"""A node far behind fetches the chain from several members at once, and beside one that lies."""

from pathlib import Path

import pytest

from tests.endurance.sync import EXPECTED_REASONS, sync_beside_liars, sync_from_all
from tests.faults.block_liars import BLOCK_SERVERS

pytestmark = pytest.mark.alone("thousands of blocks as fast as they go, and memory is measured")

BLOCKS = 3_000
MEMORY_GROWTH_MIB_MAX = 64


def test_a_node_far_behind_shows_its_progress_and_takes_from_all(tmp_path: Path) -> None:
    found = sync_from_all(tmp_path, blocks=BLOCKS)
    assert found.progress_lines >= 1
    assert found.memory_most_mib - found.memory_start_mib < MEMORY_GROWTH_MIB_MAX
    shares = found.received_mib.values()
    assert min(shares) > sum(shares) / 20, "all three are asked, however late one of them was reached"


def test_each_liar_is_banned_and_the_others_are_asked(tmp_path: Path) -> None:
    assert BLOCK_SERVERS.keys() == EXPECTED_REASONS.keys()
    found = sync_beside_liars(tmp_path, behaviours=("altered-body", "bad-certificate", "withheld"))
    assert [bool(one.banned_for) for one in found] == [True, True, False]
