"""Who forgot what it signed gets its answers though its links to some members are dead for good."""

from collections.abc import Iterator
from itertools import permutations

import pytest

from tests.simulation.faults import Faults, Role
from tests.simulation.host import TAU_MS
from tests.simulation.link_patterns import Pattern, has_quorum, links_of
from tests.simulation.network import Network, run_requests
from tests.simulation.signing import keyed_hash_keys, keyed_hashes

FORGETFUL = 0
FAULTY_MS = 10_000
EVERY = 11
PASSED_ON = ("HeightQuestion was passed on", "HeightAnswer was passed on")


def forgetful_behind(pattern: Pattern, members: int, *, seed: int = 1) -> Network:
    """Member 0 forgets what it signed behind dead links; it is answered, and all that clients ask for is executed."""
    with keyed_hashes():
        faults = Faults(until_ms=FAULTY_MS, dead_links=pattern)
        roles = {FORGETFUL: Role.FORGETS}
        network = Network(members, seed, faults, keys=keyed_hash_keys(members), roles=roles)
        is_done = run_requests(network, requests=10, spread_ms=2 * FAULTY_MS, limit_ms=200 * TAU_MS)
        assert is_done, f"stuck behind {sorted(pattern)}"
        assert network.occurred["a forgetful member was answered"], f"never answered behind {sorted(pattern)}"
        assert not network.hosts[FORGETFUL].participant.driver.is_unanswered
    return network


def dead(*links: tuple[int, int]) -> Pattern:
    return frozenset(links)


def both_ways(*links: tuple[int, int]) -> Pattern:
    return frozenset(links) | frozenset((b, a) for a, b in links)


def reaches_all(pattern: Pattern, members: int) -> bool:
    """Says whether member 0 and each other one reach each other over at most two links: of four it needs all."""

    def reaches(first: int, second: int) -> bool:
        others = [third for third in range(members) if third not in {first, second}]
        is_relayed = any((first, third) not in pattern and (third, second) not in pattern for third in others)
        return (first, second) not in pattern or is_relayed

    return all(reaches(FORGETFUL, other) and reaches(other, FORGETFUL) for other in range(1, members))


def patterns_of_four() -> Iterator[Pattern]:
    """Yields one pattern of each class: those that differ in the numbers of members 1 to 3 only are one."""
    links, seen = [link for (link,) in links_of(4, is_one_way=True)], set[Pattern]()
    for mask in range(1, 1 << len(links)):
        pattern = frozenset(link for number, link in enumerate(links) if mask >> number & 1)
        if pattern in seen:
            continue
        for order in permutations((1, 2, 3)):
            turned = (FORGETFUL, *order)
            seen.add(frozenset((turned[a], turned[b]) for a, b in pattern))
        if has_quorum(4, pattern) and reaches_all(pattern, 4):
            yield pattern


@pytest.mark.parametrize("pattern", [both_ways((0, 1)), both_ways((0, 1), (0, 2)), both_ways((0, 1), (2, 3))])
def test_behind_links_that_are_dead_both_ways(pattern: Pattern) -> None:
    network = forgetful_behind(pattern, 4)
    assert all(network.occurred[what] for what in PASSED_ON)


@pytest.mark.parametrize("pattern", [dead((0, 1)), dead((1, 0)), dead((0, 1), (2, 0)), dead((0, 1), (1, 0), (2, 0))])
def test_behind_links_that_are_dead_one_way(pattern: Pattern) -> None:
    assert forgetful_behind(pattern, 4).occurred["HeightQuestion was passed on"]


def test_behind_any_links_over_which_all_are_reached_by_two() -> None:
    patterns = list(patterns_of_four())
    assert len(patterns) == 194
    for pattern in patterns[::EVERY]:
        forgetful_behind(pattern, 4)


def test_five_in_a_ring() -> None:
    ring = frozenset((a, b) for a in range(5) for b in range(5) if a != b and (a - b) % 5 not in {1, 4})
    assert all(forgetful_behind(ring, 5).occurred[what] for what in PASSED_ON)


def test_where_all_links_work_nothing_is_passed_on() -> None:
    for seed in range(5):
        network = forgetful_behind(frozenset(), 4, seed=seed)
        assert not any(network.occurred[what] for what in PASSED_ON), f"seed {seed}"
