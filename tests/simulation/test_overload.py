"""Members that share one machine, and start one after the other: what they missed must not keep them busy for ever.

A machine that handles one message at a time stands for the processors that the members share, or for slow ones of
their own. What members send because nothing is decided makes it later still: passed on to all by all, votes and
VIEW-CHANGEs of twelve members kept it busy without end.
"""

from math import ceil

import pytest

from tests.simulation.faults import Faults
from tests.simulation.host import TAU_MS, Host
from tests.simulation.network import Network, run_requests
from tests.simulation.signing import keyed_hash_keys, keyed_hashes

START_SLOTS_MAX = 24
"""Within so many slots all members have started: twelve processes on two cores."""
REQUESTS = 10
END_SLOTS_MAX = 40
"""After the first start."""


class OneMachine(Network):
    """Every message waits until the machine has handled all that arrived before it, at any member."""

    message_ms = 0.0
    """What handling one takes."""
    free_ms = 0.0
    """When everything that arrived is handled."""

    def handle(self, kind: str, host: Host | None, payload: object) -> None:
        if kind == "message":
            self.free_ms = max(self.free_ms, self.now_ms) + self.message_ms
            self.push(ceil(self.free_ms) - self.now_ms, "handled", host, payload)
        elif kind == "handled" and host is not None and self.now_ms < host.paused_until_ms:
            self.push(host.paused_until_ms - self.now_ms, kind, host, payload)
        else:
            super().handle("message" if kind == "handled" else kind, host, payload)


def overloaded(members: int, seed: int, message_ms: float) -> OneMachine:
    """Returns a network whose members were asked to start at once, and did one after the other."""
    network = OneMachine(members, seed, Faults(), keys=keyed_hash_keys(members))
    network.message_ms = message_ms
    for host in network.hosts:
        host.paused_until_ms = network.now_ms + network.random.randint(0, START_SLOTS_MAX * TAU_MS)
    return network


@pytest.mark.parametrize(("members", "message_ms"), [(7, 1.0), (12, 0.25), (13, 0.2)])
@pytest.mark.parametrize("seed", range(3))
def test_members_of_one_machine_that_start_one_after_the_other_decide_soon(
    members: int, message_ms: float, seed: int
) -> None:
    """A slot of 2 s would be eight times as long as here, and so would be what a message may take."""
    with keyed_hashes():
        network = overloaded(members, seed, message_ms)
        assert run_requests(network, requests=REQUESTS, spread_ms=REQUESTS * TAU_MS, limit_ms=END_SLOTS_MAX * TAU_MS)
