"""Ports for tests: no two processes that run tests on this machine are ever given the same one.

Each has a slice of the ports for itself. That a slice is taken is said by its first port, which the process holds as
long as it lives: the system gives a port to one only. So a node that is down finds its port free when it comes back.
"""

import random
import socket
from functools import cache
from typing import Final

from node.testnet.init import PORT_LOWEST, is_free

PORTS: Final = range(2_000, PORT_LOWEST)
"""Below those that testnets take by themselves."""
SLICE_PORTS: Final = 500
"""More than are in use at once; sixteen processes find a slice."""

LOOPBACK: Final = "127.0.0.1"


class Slice:
    """The ports of this process, given away in turn."""

    def __init__(self, ports: range) -> None:
        self._ports: Final = ports
        self._given = 0

    def take(self, count: int) -> int:
        for _ in self._ports:
            if self._given + count > len(self._ports):
                self._given = 0
            first = self._ports[self._given]
            self._given += count
            if all(map(is_free, range(first, first + count))):
                return first
        raise AssertionError(f"no {count} free neighbouring ports in {self._ports}")


def free_ports(count: int) -> int:
    """Returns the first of `count` neighbouring ports that nobody else is given."""
    return _own_slice().take(count)


def free_port() -> int:
    return free_ports(1)


@cache
def _own_slice() -> Slice:
    firsts = list(PORTS[::SLICE_PORTS])
    random.SystemRandom().shuffle(firsts)
    for first in firsts:
        sign = socket.socket()
        try:
            sign.bind((LOOPBACK, first))
        except OSError:
            sign.close()
            continue
        sign.detach()  # open until the process ends
        return Slice(range(first + 1, first + SLICE_PORTS))
    raise AssertionError(f"all {len(firsts)} slices of the ports are taken: too many run tests on this machine")
