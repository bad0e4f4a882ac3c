"""Where clusters are drawn: whatever goes wrong and whoever lies, nothing forks and all is executed."""

from tests.simulation.clusters import run_clusters
from tests.simulation.occurrences import OF_CLUSTERS
from tests.simulation.runs import run_all

SEEDS = range(14)


def test_whatever_goes_wrong_and_whoever_lies_all_is_executed_and_each_leader_keeps_to_its_way() -> None:
    """`p2pnode-sim clusters` runs more."""
    summary = run_all(run_clusters, SEEDS, lambda *_: None, 1, expected=OF_CLUSTERS)
    assert not summary.failures
