"""The production replica under loss, delay, crashes, partitions, wild clocks and liars: safe always, live once it
may be.
"""

from random import Random

import pytest

from consensus.identifiers import Height
from tests.simulation.faults import Faults, Role
from tests.simulation.host import TAU_MS
from tests.simulation.network import RECOVERY_SLOTS_MAX, Network, run_requests
from tests.simulation.opaque import read_block

REQUESTS = 12
FAULTY_MS = 15_000
HOUR_MS = 3_600_000


def run(members: int, seed: int, faults: Faults, limit_ms: int = RECOVERY_SLOTS_MAX * TAU_MS) -> Network:
    network = Network(members, seed, faults)
    finished = run_requests(network, requests=REQUESTS, spread_ms=FAULTY_MS // 2, limit_ms=limit_ms)
    assert finished, f"members {members}, seed {seed}: {[host.replica.height for host in network.hosts]}"
    return network


@pytest.mark.parametrize("members", range(1, 8))
def test_a_perfect_network_decides_everything_without_a_view_change(members: int) -> None:
    network = run(members, 1, Faults(), limit_ms=FAULTY_MS)
    assert sum(host.replica.view_changes_sent for host in network.hosts) == 0


@pytest.mark.parametrize("members", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("seed", range(6))
def test_a_bad_network_for_ever_neither_forks_nor_stalls(members: int, seed: int) -> None:
    faults = Faults(
        loss=[0, 0.05, 0.2][seed % 3],
        duplication=0.1,
        delay_ms_max=[20, 100, 400][seed % 3],
        crash_per_tick=[0, 0.002][seed % 2],
        clock_offset_ms_max=[0, 300][seed // 2 % 2],
        roles=(Role.SILENT,) * (seed % 2) + (Role.EQUIVOCATING,) * (seed // 2 % 2),
    )
    run(members, seed, faults)


@pytest.mark.parametrize("members", [1, 2, 3, 4, 5, 6, 7, 10])
@pytest.mark.parametrize("seed", range(8))
def test_everything_at_once_and_then_peace(members: int, seed: int) -> None:
    faults = Faults(
        until_ms=FAULTY_MS,
        loss=0.1,
        duplication=0.1,
        delay_ms_max=[50, 400][seed % 2],
        crash_per_tick=0.001,
        crash_per_point=[0.0, 0.02][seed // 2 % 2],
        pause_per_tick=0.001,
        clock_jump_per_tick=0.002,
        partition_ms=[0, 1_500][seed // 4 % 2],
        roles=tuple(Random(seed).sample(list(Role), len(Role))),
    )
    run(members, seed, faults, limit_ms=FAULTY_MS + RECOVERY_SLOTS_MAX * TAU_MS)


@pytest.mark.parametrize("members", [4, 7])
def test_one_clock_an_hour_ahead_costs_nothing(members: int) -> None:
    network = Network(members, 1, Faults())
    network.hosts[0].clock_offset_ms = HOUR_MS
    assert run_requests(network, requests=REQUESTS, spread_ms=FAULTY_MS // 2, limit_ms=FAULTY_MS)
    assert max(host.application.tip_slot for host in network.hosts) < 10 * FAULTY_MS // TAU_MS


@pytest.mark.parametrize(
    ("members", "point"),
    [
        *((1, point) for point in ("records", "sign state", "block", "applied")),
        *((4, point) for point in ("records", "sign state", "sending", "block", "applied")),
    ],
)
def test_all_members_die_at_the_same_point_and_go_on(members: int, point: str) -> None:
    network = Network(members, 1, Faults())
    for host in network.hosts:
        host.crash_point = point
    assert run_requests(network, requests=REQUESTS, spread_ms=FAULTY_MS // 2, limit_ms=RECOVERY_SLOTS_MAX * TAU_MS)
    assert all(host.crash_point is None for host in network.hosts)


def test_the_same_seed_is_the_same_run() -> None:
    faults = Faults(loss=0.1, crash_per_tick=0.002, delay_ms_max=100)
    first, second = (run(4, 7, faults) for _ in range(2))
    assert (first.now_ms, first.sequence) == (second.now_ms, second.sequence)
    assert first.trace.hexdigest() == second.trace.hexdigest()


@pytest.mark.parametrize("members", [4, 7])
def test_saturation_with_honest_leaders_changes_no_view(members: int) -> None:
    network = Network(members, 1, Faults())
    assert run_requests(network, requests=400, spread_ms=0, limit_ms=120 * TAU_MS)
    assert max(network.checker.decided) >= 100
    assert sum(host.view_changes for host in network.hosts) == 0


@pytest.mark.parametrize("members", [4, 5, 7])
def test_delays_longer_than_a_slot_for_ever_stop_neither_requests_nor_leaders(members: int) -> None:
    network = Network(members, 1, Faults(delay_ms_max=2 * TAU_MS))
    assert run_requests(network, requests=60, spread_ms=120_000, limit_ms=2 * RECOVERY_SLOTS_MAX * TAU_MS)
    chain = network.hosts[0].application
    leaders = {read_block(chain.decided(Height(number)).proposal)[2] for number in range(1, chain.height + 1)}
    assert leaders == set(network.membership.addresses)


def test_half_an_hour_without_a_quorum_costs_ten_seconds_at_most() -> None:
    network = Network(4, 1, Faults(), tick_ms=TAU_MS // 2)
    pause_ms = HOUR_MS // 2
    for host in network.hosts[2:]:
        host.paused_until_ms = network.now_ms + pause_ms
    network.run(lambda: False, TAU_MS)
    network.hosts[0].submit(1)
    network.run(lambda: False, pause_ms - TAU_MS)
    assert not network.checker.decided
    assert network.run(network.is_everything_executed, 10_000)
