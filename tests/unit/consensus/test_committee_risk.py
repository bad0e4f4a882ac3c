"""Chances of clusters and panels against the published figures, and against counting."""

from fractions import Fraction
from itertools import combinations

import pytest

from consensus.committee_risk import (
    chance_of_at_least,
    cluster_risk,
    likeliest_capture,
    panel_risk,
    regional_risk,
)
from consensus.quorum import fault_bound


@pytest.mark.parametrize(
    ("members", "size", "no_honest", "half"),
    [
        (20, 7, 0, 0.078),
        (50, 7, 1.2e-4, 0.136),
        (100, 10, 5.4e-6, 0.195),
        (1_000, 10, 1.5e-5, 0.211),
        (100, 20, 1.1e-12, 0.064),
        (50, 30, 0, 0.001),
    ],
)
def test_clusters_with_a_third_of_liars(members: int, size: int, no_honest: float, half: float) -> None:
    risk = cluster_risk(members, fault_bound(members), size)
    assert float(risk.no_honest) == pytest.approx(no_honest, rel=0.05)
    assert float(risk.half) == pytest.approx(half, abs=0.0006)


@pytest.mark.parametrize(("members", "both"), [(20, 0.079), (50, 0.098), (100, 0.107), (1_000, 0.111)])
def test_both_collectors_of_a_member_lie(members: int, both: float) -> None:
    assert float(cluster_risk(members, fault_bound(members), 7).both_collectors) == pytest.approx(both, abs=0.0006)


@pytest.mark.parametrize(
    ("stakers", "byzantine", "bought", "decides"), [(20, 6, 0, 0.69), (50, 16, 7.4e-3, 0.60), (100, 33, 1.4e-2, 0.57)]
)
def test_panels_with_a_third_of_liars(stakers: int, byzantine: int, bought: float, decides: float) -> None:
    risk = panel_risk(stakers, byzantine, size=10, quorum=7)
    assert float(risk.bought) == pytest.approx(bought, rel=0.05)
    assert float(risk.decides) == pytest.approx(decides, abs=0.006)


def test_a_panel_that_must_agree_to_the_last_is_stopped_by_one() -> None:
    assert panel_risk(3, 1, size=3, quorum=3) == (Fraction(0), Fraction(0))
    assert panel_risk(4, 1, size=4, quorum=3) == (Fraction(0), Fraction(1))


@pytest.mark.parametrize("least", range(5))
def test_chances_are_what_counting_all_clusters_gives(least: int) -> None:
    members, byzantine, size = 9, 4, 4
    clusters = [set(cluster) for cluster in combinations(range(members), size)]
    counted = sum(len(cluster & set(range(byzantine))) >= least for cluster in clusters)
    assert chance_of_at_least(least, of=members, byzantine=byzantine, size=size) == Fraction(counted, len(clusters))


def test_a_cap_lifts_members_of_small_regions_and_none_of_them_are_left_out_without_one() -> None:
    capped = regional_risk((60, 30, 9, 1), 33, 10, 4)
    assert capped.inclusion == pytest.approx((0.064, 0.119, 0.273, 0.106), abs=0.01)
    assert capped.no_honest == 0
    assert regional_risk((20,) * 5, 33, 10, 4).inclusion == pytest.approx((0.1,) * 5, abs=0.005)


def test_liars_in_the_region_that_is_drawn_most_are_whole_clusters() -> None:
    assert regional_risk((5, 5), 9, 3, 3).no_honest > 0
    assert regional_risk((5, 5), 2, 3, 3).no_honest == 0


def test_the_likeliest_capture_is_that_of_the_worst_number_of_members() -> None:
    """A fault bound steps up every third member: the worst number is not always the last one."""
    for size in (7, 10, 20):
        members = range(31, 256)
        chances = {number: cluster_risk(number, fault_bound(number), size).no_honest for number in members}
        worst = likeliest_capture(size, members)
        assert worst.chance == max(chances.values()) == chances[worst.members]
        assert worst.byzantine == fault_bound(worst.members)
        assert worst.members == 253
    assert likeliest_capture(10, range(11, 31)).chance == 0


def test_clusters_of_seven_have_an_honest_member_but_once_in_a_thousand_at_any_size() -> None:
    assert likeliest_capture(7, range(8, 2_000)).chance < Fraction(1, 1_000)
    assert likeliest_capture(6, range(8, 2_000)).chance > Fraction(1, 1_000)
