"""How often each member is drawn and leads, over 100,000 seeds, against what chance says."""

from collections import Counter
from typing import Final

import pytest

from consensus.identifiers import Digest, Height, Slot
from consensus.sampling import BLOCK, Candidate, draw_cluster, seed_of

RANDOMNESS: Final = Digest(bytes(range(32)))
HEIGHTS: Final = 100_000
SLOT: Final = Slot(3)
CHI_SQUARE_MAX: Final = {20: 43.8, 100: 148.2}
"""By members: one in a thousand, of one degree of freedom less."""


@pytest.mark.parametrize(("sizes", "size", "cap"), [((20,), 7, 7), ((20,) * 5, 10, 4)], ids=["20", "5 x 20"])
def test_in_equal_regions_each_is_drawn_and_leads_as_often(sizes: tuple[int, ...], size: int, cap: int) -> None:
    members = sum(sizes)
    regions = [region for region, count in enumerate(sizes) for _ in range(count)]
    candidates = [Candidate(number, region) for number, region in enumerate(regions)]
    drawn_of, led_by = Counter[int](), Counter[int]()
    for height in range(1, HEIGHTS + 1):
        seed = seed_of(RANDOMNESS, Height(height), SLOT, BLOCK)
        drawn = draw_cluster(candidates, size=size, cap=cap, seed=seed)
        drawn_of.update(drawn)
        led_by[drawn[SLOT % size]] += 1
    # those drawn together exclude each other: a count varies by 1 - size / members of what independent draws would
    dependence = (1 - size / members) * members / (members - 1)
    included = _chi_square(drawn_of, HEIGHTS * size / members, members) / dependence
    led = _chi_square(led_by, HEIGHTS / members, members)
    assert max(included, led) < CHI_SQUARE_MAX[members], (included, led)


def _chi_square(counts: Counter[int], expected: float, members: int) -> float:
    return sum((counts[number] - expected) ** 2 / expected for number in range(members))
