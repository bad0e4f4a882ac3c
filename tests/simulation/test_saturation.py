"""Honest leaders under an endless backlog change no view: slots change, and full blocks follow each other."""

from collections.abc import Iterator

import pytest

from consensus.identifiers import Address, Digest, Height
from consensus.messages import PrePrepare
from tests.simulation.faults import Faults
from tests.simulation.host import TAU_MS, Host
from tests.simulation.network import Network, Payload, run_requests
from tests.simulation.opaque import BLOCK_REQUESTS_MAX, OpaqueApplication, read_block
from tests.simulation.signing import KeyedHashKey, keyed_hashes

BACKLOG = 10 * BLOCK_REQUESTS_MAX
"""Requests that wait at any time: some blocks' worth."""


@pytest.fixture(autouse=True)
def _keyed_hashes() -> Iterator[None]:
    with keyed_hashes():
        yield


def perfect_network(members: int, seed: int, faults: Faults) -> Network:
    return Network(members, seed, faults, keys=[KeyedHashKey(bytes([index + 1])) for index in range(members)])


def keep_full(network: Network, slots: int) -> None:
    """Clients of all members see to it that a backlog never ends."""
    first = network.hosts[0].application
    assert isinstance(first, OpaqueApplication)
    number = 0
    for _ in range(4 * slots):
        while number - len(first._executed) < BACKLOG:
            network.hosts[number % len(network.hosts)].submit(number)
            number += 1
        network.run(lambda: False, TAU_MS // 4)


@pytest.mark.parametrize(
    ("members", "delay_ms_max", "slots"),
    [
        *((4, delay_ms_max, 36) for delay_ms_max in (5, 20, TAU_MS // 4, TAU_MS // 2)),
        *((7, delay_ms_max, 21) for delay_ms_max in (20, TAU_MS // 4, TAU_MS // 2)),
        *((13, delay_ms_max, 15) for delay_ms_max in (TAU_MS // 8, TAU_MS // 2)),
    ],
)
def test_an_endless_backlog_changes_no_view(members: int, delay_ms_max: int, slots: int) -> None:
    """Up to half a slot for a message: blocks then take longer than the slot in which they were proposed."""
    network = perfect_network(members, members, Faults(delay_ms_max=delay_ms_max))
    keep_full(network, slots)
    chain = network.hosts[0].application
    blocks = [read_block(chain.decided(Height(number)).proposal) for number in range(1, chain.height + 1)]
    assert [host.view_changes for host in network.hosts] == [0] * members
    assert {leader for _, _, leader, _ in blocks} == set(network.membership.addresses)
    assert len(blocks) > slots // 2
    full = sum(len(requests) == BLOCK_REQUESTS_MAX for _, _, _, requests in blocks)
    assert full > 0.9 * len(blocks)


def test_a_member_that_was_held_up_reads_what_arrived_before_it_gives_the_slot_up() -> None:
    network = perfect_network(4, 1, Faults())
    network.run(lambda: False, TAU_MS)
    late = network.hosts[3]
    for number in range(4):
        network.hosts[0].submit(number)
        assert network.run(lambda: bool(late.application.oldest_arrival_ms()), TAU_MS)
        late.paused_until_ms = network.now_ms + 5 * TAU_MS
        assert network.run(network.is_everything_executed, 10 * TAU_MS)
    assert sum(host.view_changes for host in network.hosts) == 0


@pytest.mark.parametrize("seed", range(4))
def test_no_two_leaders_propose_at_one_height(seed: int) -> None:
    """Two proposals would split the votes. Leaders see how long their blocks take and hand over that much earlier."""
    network = perfect_network(4, seed, Faults(delay_ms_max=TAU_MS // 2))
    proposed: dict[Height, set[Digest]] = {}
    send = network.send

    def watched(host: Host, recipient: Address, payload: Payload) -> None:
        if isinstance(payload, PrePrepare):
            proposed.setdefault(payload.height, set()).add(payload.block)
        send(host, recipient, payload)

    network.send = watched  # type: ignore[method-assign]
    assert run_requests(network, requests=200, spread_ms=0, limit_ms=400 * TAU_MS)
    assert [len(blocks) for blocks in proposed.values()] == [1] * len(network.checker.decided)
