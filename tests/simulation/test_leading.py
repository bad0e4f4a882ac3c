"""Nobody leads more blocks by being early, and honest clocks may differ by an eighth of a slot."""

import pytest

from tests.simulation.host import TAU_MS
from tests.simulation.leading import TOLERANCE, lead


@pytest.mark.parametrize(("members", "blocks", "greedy"), [(4, 2_000, (1,)), (7, 1_000, (1,)), (7, 1_000, (2, 3))])
def test_a_leader_before_its_slot_takes_no_blocks_of_its_predecessor(
    members: int, blocks: int, greedy: tuple[int, ...]
) -> None:
    """`p2pnode-sim lead` takes 2,000 of seven, too."""
    led = lead(members, blocks, greedy=greedy)
    assert led.is_fair, led


@pytest.mark.parametrize("members", [4, 7])
@pytest.mark.parametrize("ahead", [(0,), (0, 1), (1, 3)])
def test_honest_clocks_that_differ_by_less_than_the_handover_cost_nothing(
    members: int, ahead: tuple[int, ...]
) -> None:
    offsets_ms = [TAU_MS // 10 if member in ahead else 0 for member in range(members)]
    equal, skewed = lead(members, 200), lead(members, 200, offsets_ms=offsets_ms)
    assert skewed.view_changes == 0
    assert skewed.slots <= (1 + TOLERANCE) * equal.slots
