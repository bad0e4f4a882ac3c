"""The ports that tests take: none is given to two processes, and none that somebody listens on."""

import socket
import subprocess
import sys
from pathlib import Path

from node.testnet.init import is_free
from tests.support.ports import LOOPBACK, PORTS, SLICE_PORTS, free_port, free_ports

TAKE = "from tests.support.ports import free_port; print(free_port(), flush=True); input()"


def sign_of(port: int) -> int:
    """Returns the first port of a port's slice."""
    return PORTS[PORTS.index(port) // SLICE_PORTS * SLICE_PORTS]


def test_a_slice_is_held_as_long_as_its_process_lives() -> None:
    own = free_port()
    command = [sys.executable, "-c", TAKE]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        taken = int(other.stdout.readline())
        assert sign_of(taken) != sign_of(own)
        assert not is_free(sign_of(taken))
        assert not is_free(sign_of(own))
        other.communicate("\n")


def test_ports_are_given_in_turn_but_for_those_that_are_taken() -> None:
    given = [free_port() for _ in range(3)]
    assert len({*given}) == len(given)
    with socket.socket() as somebody:
        somebody.bind((LOOPBACK, (given[-1] + 1)))
        first = free_ports(2)
    assert given[-1] + 1 not in range(first, first + 2)
    assert sign_of(first) == sign_of(given[0])


def test_a_process_is_never_without_ports() -> None:
    for _ in range(SLICE_PORTS):
        port = free_ports(3)
        assert sign_of(port) == sign_of(port + 2) < port
