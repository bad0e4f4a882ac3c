"""Where clusters are drawn: whatever goes wrong and whoever lies, nothing forks and all is executed."""

from consensus.quorum import fault_bound
from tests.simulation.clusters import run_clusters, setup_of_clusters
from tests.simulation.faults import Role
from tests.simulation.occurrences import OF_CLUSTERS
from tests.simulation.runs import run_all

SEEDS = range(14)


def test_seeds_meet_every_way_to_collect_badly_and_clusters_of_liars_alone() -> None:
    chosen = [setup_of_clusters(seed) for seed in range(300)]
    assert {role for one in chosen for role in one.roles.values()} == set(Role)
    captured = [one for one in chosen if one.is_captured]
    assert len(captured) > 30
    assert all(one.size < len(one.roles) == fault_bound(one.setup.members) for one in captured)
    assert all(len(one.roles) <= fault_bound(one.setup.members) for one in chosen)


def test_whatever_goes_wrong_and_whoever_lies_all_is_executed_and_each_leader_keeps_to_its_way() -> None:
    """`p2pnode-sim clusters` runs more."""
    summary = run_all(run_clusters, SEEDS, lambda *_: None, 1, expected=OF_CLUSTERS)
    assert not summary.failures
