"""A testnet of processes that are killed and paused while clients ask for transfers and remember every reply.

Every daemon is a witness (`witness`) of what the others sign. Their homes lie in memory where that is possible: what
dies is the process, never the machine, so nothing that was written is lost by it.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from consensus.identifiers import Digest
from ledger.ledger import Ledger
from node.home.genesis_file import load_genesis
from tests.endurance.witness import contradictions, read_statements
from tests.support.long_chain import make_street, scratch
from tests.support.testnet import (
    STACK_TRACE,
    STOP_DEADLINE_S,
    Node,
    Street,
    at_one_tip,
    background,
    succeeded,
    wait_until,
)

CLIENTS: Final = 3
REPLY_WAIT_S: Final = 5
RETRY_PAUSE_S: Final = 0.05
VERIFY_DEADLINE_S: Final = 600.0
ROOT: Final = Path(__file__).parents[2]
ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(ROOT)}
WITNESS: Final = ("tests.endurance.witness",)

STANDS: Final = ("height", "phase", "slot", "undecided_height", "leader", "view_changes", "peers_connected", "silent")
LAST_WORDS: Final = 3_000
"""Characters of a log."""

NEVER_SAID: Final = ("contradicted itself", "damaged", "is missing", "keeps silent", "halted", STACK_TRACE)
"""What no log may hold: a killed process loses nothing that it wrote, so there is nothing to recover from."""


@dataclass(frozen=True, kw_only=True)
class Replied:
    """What a client was told."""

    digest: Digest
    """Of the transaction."""
    height: int
    block: Digest | None
    """At that height, by a second question to the same node; None if it died before it answered."""
    replied_s: float
    """By the monotonic clock."""


class Pack:
    """The daemons of one testnet, and of homes that join it, as child processes."""

    def __init__(self, street: Street) -> None:
        self.street: Final = street
        self.nodes: Final = dict(enumerate(street.nodes, 1))
        """Those that are looked at in the end, by number; who leaves is taken out."""
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    @property
    def numbers(self) -> list[int]:
        return list(self.nodes)

    def node(self, number: int) -> Node:
        return self.nodes[number]

    def start(self, number: int, *module: str) -> None:
        """Starts a daemon, with `module` by a way of its own."""
        home = self.node(number).home
        arguments = module or WITNESS
        with home.log.open("ab") as log:
            self.processes[number] = subprocess.Popen(
                [sys.executable, "-m", *arguments, "--config", str(home.configuration)],
                stdout=log,
                stderr=log,
                env=ENVIRONMENT,
                cwd=ROOT,
                start_new_session=True,  # the end of a shell would wake up what is paused
            )

    def kill(self, number: int) -> None:
        process = self.processes.pop(number)
        process.kill()
        process.wait()

    def signal(self, number: int, which: signal.Signals) -> None:
        self.processes[number].send_signal(which)

    def end(self, number: int) -> None:
        """Stops one daemon as its people do."""
        process = self.processes.pop(number)
        process.terminate()
        process.wait(timeout=STOP_DEADLINE_S)

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def explain(self) -> str:
        """Returns where every node stands and what it said last, for a failure's message."""
        words = []
        for number in self.numbers:
            status = self.node(number).status() or {}
            stands = {name: status.get(name) for name in STANDS}
            words.append(f"node {number}: {stands}\n{self.node(number).log()[-LAST_WORDS:]}")
        return "\n".join(words)

    def heights(self, numbers: Sequence[int]) -> dict[int, int]:
        """Returns the heights of those that answer."""
        found = {number: self.node(number).status() for number in numbers}
        return {number: status["height"] for number, status in found.items() if status is not None}

    def highest(self, numbers: Sequence[int]) -> int:
        return max(self.heights(numbers).values(), default=0)


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
        except AssertionError as failure:
            failure.add_note(pack.explain())
            raise
        finally:
            pack.stop()


class Load:
    """Clients that each send one transfer after the other to any node, and remember what they are told."""

    def __init__(self, street: Street, seed: int, *, pause_s: float = 0.0) -> None:
        """Asks the nodes, which run, where their wallets are: later any of them may be down.

        Args:
            street: whose founders have the wallets, and are asked.
            seed: of whom a client asks next.
            pause_s: a client's between a reply and its next transfer.
        """
        self._nodes = street.nodes
        self._pause_s = pause_s
        self._ended = threading.Event()
        self._clients = [
            threading.Thread(
                target=self._run, args=(number, node.next_nonce(), random.Random(f"client {number} of {seed}"))
            )
            for number, node in enumerate(street.nodes[:CLIENTS], 1)
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

    def _run(self, number: int, nonce: int, choice: random.Random) -> None:
        """Transfers from the wallet of node `number`; after a failure with a new nonce, as gaps are allowed."""
        wallet, other = self._nodes[number - 1], self._nodes[number % len(self._nodes)]
        while not self._ended.is_set():
            raw = wallet.transfer(other, 1, nonce=nonce)
            nonce += 1
            asked = choice.choice(self._nodes)
            try:
                reply = asked.submit(raw, wait_s=REPLY_WAIT_S)
                if reply.status == 200 and reply.document.get("status") == "executed":
                    self.remember(asked, reply.document)
                    self._ended.wait(self._pause_s)
                    continue
                nonce = max(nonce, int(asked.account(wallet.address)["nonce"]) + 1)  # its people act, too
            except (OSError, HTTPException, ValueError):
                pass
            self._ended.wait(RETRY_PAUSE_S)

    def remember(self, asked: Node, document: dict[str, Any]) -> None:
        """Notes that a node said so of a transaction: the answer to its submission."""
        replied_s, height = time.monotonic(), int(document["height"])
        try:
            block = Digest(bytes.fromhex(asked.request(f"/v1/blocks/{height}").document["digest"]))
        except (OSError, HTTPException, ValueError):
            block = None
        digest = Digest(bytes.fromhex(document["digest"]))
        self.replied.append(Replied(digest=digest, height=height, block=block, replied_s=replied_s))


def check_end(pack: Pack, replied: Sequence[Replied]) -> dict[str, Any]:
    """Stops the pack and looks into every ledger: one chain, all that was replied where it was replied, all verified.

    Returns:
        Figures: the height, the transactions replied and lost, the longest time without a reply, and how many
        statements the witnesses compared.

    Raises:
        AssertionError: something was lost, the chains differ, or somebody contradicted himself.
    """
    statuses = at_one_tip(list(pack.nodes.values()))
    pack.stop()
    for number in pack.numbers:
        lost = _missing(pack, number, replied)
        assert not lost, f"of {len(replied)} replied, node {number} does not have {lost[:3]} ... ({len(lost)})"
    _verify(pack)
    for node in pack.nodes.values():
        check_log(node)
    statements = read_statements(pack.node(number).home.directory for number in pack.numbers)
    assert not (found := contradictions(statements)), found
    moments_s = sorted(one.replied_s for one in replied)
    return {
        "height": statuses[0]["height"],
        "replied": len(replied),
        "lost": 0,
        "without_reply_s_max": round(max((after - before for before, after in pairwise(moments_s)), default=0.0), 2),
        "statements": len(statements),
    }


def check_log(node: Node) -> None:
    """Looks whether a daemon said what none ever says."""
    log = node.log()
    assert not (said := [words for words in NEVER_SAID if words in log]), (node.name, said)


def _verify(pack: Pack) -> None:
    """Has `p2pnode ledger verify` check every ledger, all at once."""
    with ExitStack() as stack:
        homes = [pack.node(number).home.directory for number in pack.numbers]
        verifying = [
            stack.enter_context(background(home.parent, "ledger", "verify", "--home", home)) for home in homes
        ]
        for one in verifying:
            succeeded(one.wait(VERIFY_DEADLINE_S))


def _missing(pack: Pack, number: int, replied: Sequence[Replied]) -> list[Replied]:
    """Returns what a stopped node has not, has elsewhere, or in another block."""
    home = pack.node(number).home
    ledger = Ledger.open(home.ledger, load_genesis(home))
    try:
        return [one for one in replied if not _is_there(ledger, one)]
    finally:
        ledger.close()


def _is_there(ledger: Ledger, one: Replied) -> bool:
    location = ledger.find_transaction(one.digest)
    if location is None or location.height != one.height:
        return False
    return one.block is None or ledger.height_of_block(one.block) == one.height


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
