"""Where clusters are drawn: whatever goes wrong and whoever lies, nothing forks and all is executed."""

from collections import Counter
from unittest.mock import patch

from consensus.identifiers import Address
from consensus.quorum import fault_bound
from consensus.verification import Refusal
from tests.simulation.clusters import Drawn, run_clusters, setup_of_clusters
from tests.simulation.faults import Faults, Role
from tests.simulation.host import TAU_MS, Host
from tests.simulation.network import run_requests
from tests.simulation.occurrences import OF_CLUSTERS
from tests.simulation.runs import run_all
from tests.simulation.signing import keyed_hashes

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


def test_of_each_counterfeiter_one_certificate_is_looked_at() -> None:
    """In a run of less than ten minutes each link has one that does not hold, however many are handed out."""
    refused: Counter[tuple[int, Address | None]] = Counter()

    def note_refused(host: Host, sender: Address | None, reason: str) -> None:
        if reason == Refusal.BAD_CERTIFICATE.value and host.liar is None:
            refused[host.index, sender] += 1

    roles = dict.fromkeys(range(2), Role.COUNTERFEITING)
    with keyed_hashes():
        network = Drawn(7, 4, 1, Faults(), roles=roles)
        with patch.object(network.checker, "note_refused", note_refused):
            assert run_requests(network, requests=20, spread_ms=40 * TAU_MS, limit_ms=80 * TAU_MS)
    assert len(refused) > 3
    assert set(refused.values()) == {1}
    assert {sender for _, sender in refused} <= network.byzantine
    assert sum(host.view_changes for host in network.honest) == 0
