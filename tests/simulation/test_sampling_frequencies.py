"""How often each member is drawn and leads, over 100,000 seeds, against what chance says."""

from collections import Counter
from typing import Final

import pytest

from consensus.identifiers import Address, Digest, Height, Slot
from consensus.sampling import BLOCK, Candidate, draw_cluster, sampling_of, seed_of

RANDOMNESS: Final = Digest(bytes(range(32)))
HEIGHTS: Final = 100_000
SLOT: Final = Slot(3)
CHI_SQUARE_MAX: Final = {13: 32.9, 20: 43.8, 100: 148.2}
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


def test_of_thirteen_each_collects_leads_and_stands_at_each_place_of_the_order_as_often() -> None:
    """As heights draw: of 13 members of a chain, all eligible, clusters of seven."""
    members, size = [Address(bytes([number]) * 32) for number in range(13)], 7
    drawn_of, led_by, first_by = Counter[int](), Counter[int](), Counter[int]()
    for number in range(1, HEIGHTS + 1):
        height = Height(number)
        drawn = sampling_of(members, members, height=height, randomness=RANDOMNESS, size=size, members_min=13)
        assert drawn is not None
        cluster, order = drawn.cluster(SLOT), drawn.order(members)
        drawn_of.update(members.index(member) for member in cluster)
        led_by[members.index(cluster[SLOT % size])] += 1
        first_by[members.index(order[SLOT % len(members)])] += 1
    dependence = (1 - size / 13) * 13 / 12
    included = _chi_square(drawn_of, HEIGHTS * size / 13, 13) / dependence
    led, first = (_chi_square(counted, HEIGHTS / 13, 13) for counted in (led_by, first_by))
    assert max(included, led, first) < CHI_SQUARE_MAX[13], (included, led, first)


def _chi_square(counts: Counter[int], expected: float, members: int) -> float:
    return sum((counts[number] - expected) ** 2 / expected for number in range(members))
