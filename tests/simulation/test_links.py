"""Dead links: all classes of four members here, samples of more; `p2pnode-sim links --members 4:7` runs the rest."""

from itertools import islice
from random import Random
from statistics import median
from unittest.mock import patch

import pytest
from typer.testing import CliRunner

from consensus import relaying, replica
from consensus.codec import encode
from consensus.messages import Status
from tests.simulation.__main__ import app
from tests.simulation.faults import Faults
from tests.simulation.host import TAU_MS
from tests.simulation.link_patterns import Pattern, classes, drawn, has_quorum, mixed
from tests.simulation.links import run_pattern
from tests.simulation.network import Network, run_requests
from tests.simulation.signing import keyed_hash_keys, keyed_hashes
from tests.support.consensus import Members

MEDIAN_MAX_SLOTS = 0.5
DYING_SLOTS_MAX = 12
"""For all to execute what is asked for when the links die."""
SAMPLE = 25
USAGE_ERROR = 2


def assert_all_decide(
    patterns: list[Pattern], members: int, *, first_max_slots: float, later_max_slots: float
) -> None:
    runs = [run_pattern(pattern, members) for pattern in patterns]
    stood = [sorted(run.pattern) for run in runs if run.stood]
    assert not stood
    later = [slots for run in runs for slots in run.later_slots]
    assert len(later) == 4 * len(runs)
    assert median(later) <= MEDIAN_MAX_SLOTS
    assert max(later) <= later_max_slots
    assert max(run.first_slots or 0 for run in runs) <= first_max_slots


@pytest.mark.parametrize(("is_one_way", "count", "first_max_slots"), [(False, 5, 7), (True, 68, 11)])
def test_with_four_members_every_class_decides(is_one_way: bool, count: int, first_max_slots: float) -> None:
    patterns = list(classes(4, is_one_way=is_one_way))
    assert len(patterns) == count
    assert_all_decide(patterns, 4, first_max_slots=first_max_slots, later_max_slots=7)


@pytest.mark.parametrize("members", [5, 6, 7])
@pytest.mark.parametrize("is_one_way", [False, True])
def test_with_more_members_a_sample_decides(members: int, is_one_way: bool) -> None:
    patterns = list(islice(drawn(members, SAMPLE, is_one_way=is_one_way), SAMPLE))
    assert_all_decide(patterns, members, first_max_slots=12, later_max_slots=13)


@pytest.mark.parametrize(("members", "is_one_way", "every"), [(5, True, 40), (6, False, 4)])
def test_with_more_members_a_later_request_takes_less_than_half_a_slot(
    members: int, is_one_way: bool, every: int
) -> None:
    """Of all classes, in which half of the links are dead; drawn patterns are milder."""
    patterns = list(islice(classes(members, is_one_way=is_one_way), 0, None, every))
    assert_all_decide(patterns, members, first_max_slots=12, later_max_slots=13)


def test_what_was_lost_leaves_nobody_behind_who_is_heard_over_three_links() -> None:
    """Members 0 and 1 are behind, 2 and 3 ahead. Only 3 can answer 1, and hears of it by 0 and 2."""
    pattern = frozenset({(0, 3), (1, 2), (1, 3), (2, 0), (2, 1), (3, 0)})
    assert has_quorum(4, pattern)
    for seed in range(8):
        with keyed_hashes():
            faults = Faults(dead_links=pattern, loss=0.2, until_ms=6_000)
            network = Network(4, seed, faults, keys=keyed_hash_keys(4))
            is_executed = run_requests(network, requests=5, spread_ms=5_000, limit_ms=100 * TAU_MS)
        assert is_executed, f"seed {seed} stands"


@pytest.mark.parametrize(("members", "every"), [(4, 1), (5, 80)])
def test_links_that_die_later_are_found_dead_within_slots(members: int, every: int) -> None:
    """All members said that they hear each other: first that must be seen to be over (N / 2 slots and one more)."""
    for pattern in islice(classes(members, is_one_way=True), 0, None, every):
        with keyed_hashes():
            network = Network(members, 1, Faults(), keys=keyed_hash_keys(members))
            assert run_requests(network, requests=5, spread_ms=5 * TAU_MS, limit_ms=20 * TAU_MS)
            network.dead_links = pattern
            network.hosts[0].submit(5)
            is_executed = network.run(network.is_everything_executed, DYING_SLOTS_MAX * TAU_MS)
        assert is_executed, sorted(pattern)


def test_patterns_are_those_with_a_quorum_over_two_links() -> None:
    ring = frozenset((a, b) for a in range(5) for b in range(5) if a != b and (a - b) % 5 not in {1, 4})
    assert has_quorum(5, ring)
    assert not has_quorum(5, ring | {(0, 1), (1, 0)}), "members 1 and 0 are four links apart"
    assert not has_quorum(4, frozenset((0, other) for other in (1, 2, 3))), "nobody hears member 0"
    assert sum(1 for _ in classes(5, is_one_way=False)) == 17
    assert len(set(drawn(6, 40, is_one_way=True))) == 40


def test_links_of_seeds_leave_a_quorum_among_those_without_a_role() -> None:
    random = Random(1)
    patterns = [mixed(7, (0, 1, 2, 4, 6), 0.4, random) for _ in range(50)]
    assert all(has_quorum(7, pattern, (0, 1, 2, 4, 6)) for pattern in patterns)
    assert {number for pattern in patterns for link in pattern for number in link} == {0, 1, 2, 4, 6}
    assert any((b, a) not in pattern for pattern in patterns for a, b in pattern)


def clean_run(members: int, delay_ms_max: int) -> tuple[str, int]:
    """The trace of a run without a fault, and how many messages were sent."""
    with keyed_hashes():
        network = Network(members, 5, Faults(delay_ms_max=delay_ms_max), keys=keyed_hash_keys(members))
        assert run_requests(network, requests=40, spread_ms=40 * TAU_MS, limit_ms=100 * TAU_MS)
        assert not any("passed on" in what for what in network.occurred)
        return network.trace.hexdigest(), network.sequence


@pytest.mark.parametrize(("members", "delay_ms_max"), [(4, 20), (7, 50), (13, 50), (4, 150)])
def test_where_all_links_work_passing_on_changes_nothing(members: int, delay_ms_max: int) -> None:
    rules = tuple(rule for rule in replica.RULES if rule.__module__ != relaying.__name__)
    assert len(rules) == len(replica.RULES) - 2
    with_it = clean_run(members, delay_ms_max)
    with (
        patch.object(replica, "RULES", rules),
        patch.object(relaying, "pass_on_status", lambda *_: None),
        patch.object(relaying, "answer_origin", lambda *_: None),
        patch.object(relaying, "is_news", lambda *_: False),
    ):
        assert clean_run(members, delay_ms_max) == with_it


def test_passing_on_takes_two_fields_of_a_status_and_no_more() -> None:
    status = Members(13).status(2, 9)
    without = (status.era, status.undecided, status.tip, status.clock_slot, status.is_silent)
    origin, hears = 2 + 32, 2 + 2
    assert len(encode(status)) == len(encode((Status.__struct_config__.tag, *without))) + origin + hears


def test_where_links_are_dead_both_ways_no_status_is_passed_on() -> None:
    """Who does not hear a member is not heard by it either: there is nothing to tell it by going around."""
    network = Network(4, 1, Faults(dead_links=frozenset({(0, 1), (1, 0), (2, 3), (3, 2)})))
    assert run_requests(network, requests=8, spread_ms=40 * TAU_MS, limit_ms=60 * TAU_MS)
    assert not network.occurred["Status was passed on"]
    assert network.occurred["Prepare was passed on"]


@pytest.mark.parametrize("members", ["3:4", "4:14", "5:4", "4", ""])
def test_members_that_cannot_be_are_refused(members: str) -> None:
    ended = CliRunner().invoke(app, ["links", "--members", members])
    assert ended.exit_code == USAGE_ERROR, ended.exception
    assert "is not A:B with" in " ".join(ended.output.replace("│", " ").split())
