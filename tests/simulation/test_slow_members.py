"""A member whose messages come later than all others' stands in few certificates, and attends all the same."""

from collections import deque
from typing import Any

import pytest

from consensus.identifiers import Height
from contracts.attendance import CERTIFICATES_KEPT
from tests.simulation.faults import Faults
from tests.simulation.host import TAU_MS, Host
from tests.simulation.network import Network, run_requests
from tests.simulation.opaque import read_block

LATER_MS = 40
"""Twice the longest delay of the others."""
REQUESTS = 120


def shares(members: int, slots: int) -> tuple[float, float]:
    """Returns in which part of the certificates that leaders would carry the last member stands, and attends."""
    network = Network(members, 5, Faults(until_ms=0, delay_ms_max=20))
    slow = network.hosts[-1].key.address
    push = network.push

    def push_later(delay_ms: int, kind: str, host: Host | None, payload: Any) -> None:
        is_late = kind == "message" and payload[0] == slow
        push(delay_ms + LATER_MS * is_late, kind, host, payload)

    network.push = push_later  # type: ignore[method-assign]
    assert run_requests(network, requests=REQUESTS, spread_ms=slots * TAU_MS, limit_ms=(slots + 200) * TAU_MS)
    applications = {host.key.address: host.application for host in network.hosts}
    window: deque[bool] = deque(maxlen=CERTIFICATES_KEPT)
    stands, attends = [], []
    for height in range(1, network.hosts[0].application.height):
        leader = read_block(network.hosts[0].application.decided(Height(height + 1)).proposal)[2]
        certificate = applications[leader].decided(Height(height)).certificate
        window.append(any(one.signer == slow for one in certificate.endorsements))
        stands.append(window[-1])
        attends.append(any(window))
    return sum(stands) / len(stands), sum(attends) / len(attends)


@pytest.mark.parametrize("members", [4, 7])
def test_a_slow_member_attends_where_it_leads_now_and_then(members: int) -> None:
    """With a block in each slot."""
    stands, attends = shares(members, REQUESTS)
    assert stands < 0.5
    assert attends > 0.95
