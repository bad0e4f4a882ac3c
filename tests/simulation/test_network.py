"""The production replica under loss, delay, crashes, skewed clocks and liars: safe always, live once it may be."""

import pytest

from tests.simulation.network import Faults, Network

REQUESTS = 20
SPREAD_MS = 2_000
LIMIT_MS = 300_000


def run(members: int, seed: int, faults: Faults) -> tuple[bool, Network]:
    network = Network(members, seed, faults)
    submitted = 0

    def is_done() -> bool:
        nonlocal submitted
        while submitted < REQUESTS and network.now_ms > 1_000 + submitted * SPREAD_MS // REQUESTS:
            network.submit_everywhere(submitted)
            submitted += 1
        return submitted == REQUESTS and all(set(range(REQUESTS)) <= host.done for host in network.honest())

    return network.run(is_done, LIMIT_MS), network


@pytest.mark.parametrize("members", range(1, 8))
def test_a_perfect_network_decides_everything_without_a_view_change(members: int) -> None:
    finished, network = run(members, 1, Faults())
    assert finished
    assert sum(host.replica.view_changes_sent for host in network.hosts) == 0


@pytest.mark.parametrize("members", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("seed", range(6))
def test_a_faulty_network_neither_forks_nor_stays_stuck(members: int, seed: int) -> None:
    faults = Faults(
        loss=[0, 0.05, 0.2][seed % 3],
        duplication=0.1,
        delay_ms_max=[20, 100, 400][seed % 3],
        crash_per_tick=[0, 0.002][seed % 2],
        clock_offset_ms_max=[0, 300][seed // 2 % 2],
        silent_members=seed % 2,
        equivocating_members=seed // 2 % 2,
    )
    finished, network = run(members, seed, faults)
    assert finished, f"members {members}, seed {seed}: {[host.replica.height for host in network.hosts]}"
