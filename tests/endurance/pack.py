"""A testnet of processes that are killed and paused while clients ask for transfers and remember every reply."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from consensus.identifiers import Digest
from ledger.ledger import Ledger
from node.genesis_file import load_genesis
from tests.support.long_chain import make_street, scratch
from tests.support.testnet import Node, Street, p2pnode, wait_until

CLIENTS: Final = 3
REPLY_WAIT_S: Final = 5
RETRY_PAUSE_S: Final = 0.05
ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@dataclass(frozen=True, kw_only=True)
class Replied:
    """What a client was told."""

    digest: Digest
    height: int


class Pack:
    """The daemons of one testnet, as child processes."""

    def __init__(self, street: Street) -> None:
        self.street: Final = street
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def numbers(self) -> range:
        return range(1, len(self.street.nodes) + 1)

    def node(self, number: int) -> Node:
        return self.street.node(number)

    def start(self, number: int, *module: str) -> None:
        """Starts a daemon; `module` replaces `node start` by a test's own way to start it."""
        home = self.node(number).home
        arguments = module or ("node", "start")
        with home.log.open("ab") as log:
            self.processes[number] = subprocess.Popen(
                [sys.executable, "-m", *arguments, "--config", str(home.configuration)],
                stdout=log,
                stderr=log,
                env=ENVIRONMENT,
                cwd=Path(__file__).parents[2],
            )

    def kill(self, number: int) -> None:
        process = self.processes.pop(number)
        process.kill()
        process.wait()

    def signal(self, number: int, which: signal.Signals) -> None:
        self.processes[number].send_signal(which)

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def heights(self, numbers: Sequence[int]) -> dict[int, int]:
        """Returns the heights of those that answer."""
        found = {number: self.node(number).status() for number in numbers}
        return {number: status["height"] for number, status in found.items() if status is not None}

    def highest(self, numbers: Sequence[int] | None = None) -> int:
        return max(self.heights(numbers or self.numbers).values(), default=0)


@contextmanager
def running_pack(nodes: int) -> Iterator[Pack]:
    """Starts a testnet of nodes that measure nothing, and stops what still runs."""
    with scratch() as directory:
        pack = Pack(make_street(directory / "street", nodes=nodes))
        try:
            for number in pack.numbers:
                pack.start(number)
            wait_until(lambda: all(pack.node(number).is_ready() for number in pack.numbers), "all nodes ready")
            yield pack
        finally:
            pack.stop()


class Load:
    """Clients that each send one transfer after the other to any node, and remember what they are told."""

    def __init__(self, pack: Pack, seed: int) -> None:
        self._pack = pack
        self._ended = threading.Event()
        self._clients = [
            threading.Thread(target=self._run, args=(number, random.Random(f"client {number} of {seed}")))
            for number in range(1, min(CLIENTS, len(pack.street.nodes)) + 1)
        ]
        self.replied: list[Replied] = []

    def __enter__(self) -> "Load":
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for client in self._clients:
            client.join()

    def _run(self, number: int, choice: random.Random) -> None:
        """Transfers from the wallet of node `number`; after a failure with a new nonce, as gaps are allowed."""
        wallet, other = self._pack.node(number), self._pack.node(number % len(self._pack.street.nodes) + 1)
        nonce = 0
        while not self._ended.is_set():
            nonce += 1
            raw = wallet.transfer(other, 1, nonce=nonce)
            asked = self._pack.node(choice.choice(list(self._pack.numbers)))
            try:
                reply = asked.submit(raw, wait_s=REPLY_WAIT_S)
            except (OSError, HTTPException, ValueError):
                self._ended.wait(RETRY_PAUSE_S)
                continue
            if reply.status == 200 and reply.document.get("status") == "executed":
                digest = Digest(bytes.fromhex(reply.document["digest"]))
                self.replied.append(Replied(digest=digest, height=reply.document["height"]))
            else:
                self._ended.wait(RETRY_PAUSE_S)


def check_end(pack: Pack, replied: Sequence[Replied]) -> dict[str, Any]:
    """Stops the pack and looks into every ledger: one chain, all that was replied where it was replied, all verified.

    Raises:
        AssertionError: something was lost or the chains differ.
    """
    statuses = pack.street.at_one_tip()
    pack.stop()
    for number in pack.numbers:
        home = pack.node(number).home
        ledger = Ledger.open(home.ledger, load_genesis(home))
        try:
            lost = [one for one in replied if _height_of(ledger, one.digest) != one.height]
        finally:
            ledger.close()
        assert not lost, f"{len(lost)} of {len(replied)} replied transactions are not where node {number} said"
        p2pnode(home.directory.parent, "ledger", "verify", "--home", home.directory)
        assert not list(home.evidence.glob("*")) if hasattr(home, "evidence") else True
    assert "contradicted itself" not in pack.street.logs()
    return {"height": statuses[0]["height"], "replied": len(replied), "lost": 0}


def _height_of(ledger: Ledger, digest: Digest) -> int | None:
    location = ledger.find_transaction(digest)
    return None if location is None else location.height


def seconds_until(pack: Pack, number: int, *, above: int, deadline_s: float) -> float:
    """Returns how long a node takes to stand above a height.

    Raises:
        AssertionError: longer than the deadline.
    """
    start_s = time.monotonic()
    wait_until(
        lambda: pack.heights([number]).get(number, 0) > above,
        f"node {number} above height {above}",
        deadline_s=deadline_s,
    )
    return time.monotonic() - start_s
