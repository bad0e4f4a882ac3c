"""Testnets of real daemons: runs the command `p2pnode`, looks at the nodes from outside, stops all it started.

Nothing here waits for a time: `wait_until` waits for a condition, with a deadline that only a broken node meets.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from os import environ, kill
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import psutil

from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest, Height
from contracts.genesis import Genesis, chain_id
from contracts.transactions import Transfer, sign_transaction
from contracts.units import MicroTokens
from node.admission.identity import load_key
from node.home.folder import Home
from node.home.genesis_file import load_genesis, write_genesis
from node.home.process import running_process
from node.testnet.folder import MANIFEST_NAME, Testnet
from tests.support.contracts import Community, make_genesis
from tests.support.ports import free_ports

T = TypeVar("T")

FIRST_RUN_HOURS: Final = 48
"""Of the testnet that several modules look at."""

COMMAND: Final = str(Path(sys.executable).with_name("p2pnode"))
COMMAND_DEADLINE_S: Final = 180.0
REFUSAL_DEADLINE_S: Final = 60.0
STOP_DEADLINE_S: Final = 60.0
WAIT_DEADLINE_S: Final = 120.0
REQUEST_DEADLINE_S: Final = 30.0
POLL_PAUSE_S: Final = 0.02
VALID_UNTIL_HEIGHT: Final = Height(1_000_000)

JSON_TYPE: Final = "application/json"
MESSAGEPACK_TYPE: Final = "application/msgpack"

STACK_TRACE: Final = "Traceback"


def wait_until(condition: Callable[[], T | None], what: str, *, deadline_s: float = WAIT_DEADLINE_S) -> T:
    """Returns the first value of `condition` that is true.

    Raises:
        AssertionError: there was none before the deadline.
    """
    end_s = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < end_s, f"not after {deadline_s:.0f} s: {what}"
        time.sleep(POLL_PAUSE_S)
    return value


# --- the command ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """A command that ended by itself."""

    exit_code: int
    output: str
    errors: str


class Running:
    """A command in the background."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, errors: Path) -> None:
        self._process = process
        self._output = output
        self._errors = errors

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def errors(self) -> str:
        return self._errors.read_text(encoding="utf-8")

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, deadline_s: float = COMMAND_DEADLINE_S) -> Ended:
        try:
            code = self._process.wait(timeout=deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"does not end within {deadline_s:.0f} s; its last words:\n{self.errors()}"
            ) from None
        return Ended(code, self._output.read_text(encoding="utf-8"), self.errors())

    def end(self) -> None:
        """Ends it whatever it does."""
        if self.is_running:
            self._process.terminate()
            try:
                self._process.wait(timeout=STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


@contextmanager
def background(
    directory: Path,
    *arguments: str | Path,
    environment: Mapping[str, str] | None = None,
    program: Sequence[str] = (COMMAND,),
) -> Iterator[Running]:
    """Runs `p2pnode arguments` during the block, its output in files of its own in `directory`."""
    name = f"{arguments[0]}-{time.monotonic_ns()}"
    output, errors = directory / f"{name}.out", directory / f"{name}.err"
    with output.open("wb") as output_file, errors.open("wb") as errors_file:
        process = subprocess.Popen(
            [*program, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=output_file,
            stderr=errors_file,
            cwd=directory,
            env={**environ, **(environment or {})},
        )
    running = Running(process, output, errors)
    try:
        yield running
    finally:
        running.end()


def p2pnode(directory: Path, *arguments: str | Path) -> Ended:
    """Runs `p2pnode arguments`, which must succeed, to its end."""
    with background(directory, *arguments) as running:
        return succeeded(running.wait())


def init_testnet(directory: Path, *options: str | Path, nodes: int) -> None:
    """Makes a testnet of so many nodes by the command, on ports of this process's own."""
    chosen = ("--dir", directory, "--base-port", str(free_ports(2 * nodes)), "--nodes", str(nodes))
    p2pnode(directory.parent, "testnet", "init", *chosen, *options)


def succeeded(ended: Ended) -> Ended:
    assert ended.exit_code == 0, ended.errors
    assert STACK_TRACE not in ended.output + ended.errors
    return ended


def refused(directory: Path, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> str:
    """Runs `p2pnode arguments`, which must fail; returns the one clear message on standard error."""
    with background(directory, *arguments, environment=environment) as running:
        ended = running.wait(REFUSAL_DEADLINE_S)
    assert ended.exit_code == 1, (ended.exit_code, ended.output, ended.errors)
    assert ended.output == ""
    assert STACK_TRACE not in ended.errors
    return ended.errors


def processes_about(directory: Path) -> list[int]:
    """Returns the processes that were started with a path in `directory`, whoever started them."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if any(str(directory) in argument for argument in process.info["cmdline"] or ())
    ]


# --- a testnet and its nodes ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reply:
    """What a node's API answered."""

    status: int
    headers: Mapping[str, str]
    document: Any

    @property
    def reason(self) -> str:
        """The problem's reason, for programs."""
        return str(self.document["reason"])


class Node:
    """One node of a testnet, seen from outside."""

    def __init__(self, testnet: Testnet, number: int) -> None:
        self._entry = testnet.nodes[number - 1]
        self._chain = Digest(bytes.fromhex(testnet.manifest.chain))
        self.home: Final[Home] = testnet.home(self._entry)
        self.name: Final = self._entry.name
        self.url: Final = self._entry.api_url
        self.address: Final = Address(bytes.fromhex(self._entry.address))
        self.key: Final[SigningKey] = load_key(self.home.node_key).of_member(self.address)

    # --- the process

    @property
    def process(self) -> int | None:
        return running_process(self.home)

    def end_by(self, number: signal.Signals) -> None:
        """Sends the daemon a signal that ends it, and waits until it is gone."""
        process = self.process
        assert process is not None, f"{self.name} does not run"
        kill(process, number)
        wait_until(lambda: self.process is None, f"{self.name} ended", deadline_s=STOP_DEADLINE_S)

    def log(self) -> str:
        return self.home.log.read_text(encoding="utf-8") if self.home.log.exists() else ""

    def trade_hour_by_hour(self) -> None:
        """Has the next hour measured once one is settled, instead of eight at once: what a test does beside that
        gets more of the machine.
        """
        text = self.home.configuration.read_text(encoding="utf-8")
        changed = text.replace("window_hours = 8", "window_hours = 1")
        assert changed != text
        self.home.configuration.write_text(changed, encoding="utf-8")

    # --- the API

    def request(
        self, path: str, *, body: bytes | None = None, content_type: str = JSON_TYPE, wait_s: float = 0
    ) -> Reply:
        """Returns the answer of whatever status; `wait_s` is how long the node itself may wait before it answers.

        Raises:
            OSError: there is none.
        """
        request = Request(f"{self.url}{path}", data=body, headers={"Content-Type": content_type} if body else {})
        try:
            with urlopen(request, timeout=REQUEST_DEADLINE_S + wait_s) as answer:
                text, status, headers = answer.read().decode(), answer.status, dict(answer.headers)
        except HTTPError as error:
            with error:
                text, status, headers = error.read().decode(), error.code, dict(error.headers)
        assert STACK_TRACE not in text
        return Reply(status, headers, json.loads(text))

    def submit(self, raw: bytes, *, wait_s: float = 0) -> Reply:
        path = f"/v1/transactions?wait={wait_s}"
        return self.request(path, body=raw, content_type=MESSAGEPACK_TYPE, wait_s=wait_s)

    def status(self) -> dict[str, Any] | None:
        """Returns the node's status, None if it does not answer."""
        try:
            document: dict[str, Any] = self.request("/v1/status").document
        except (URLError, OSError):
            return None
        return document

    def present_status(self) -> dict[str, Any]:
        """Returns the node's status, which it must tell."""
        status = self.status()
        assert status is not None, f"{self.name} does not answer"
        return status

    def is_ready(self) -> bool:
        try:
            return self.request("/readyz").status == 200
        except (URLError, OSError):
            return False

    def account(self, address: Address | None = None) -> dict[str, Any]:
        """Returns a wallet as this node has it, the own by default."""
        document: dict[str, Any] = self.request(f"/v1/accounts/{(address or self.address).hex()}").document
        return document

    def next_nonce(self) -> int:
        return int(self.account()["nonce"]) + 1

    # --- its key

    def transfer(self, recipient: "Node", amount_micro: int, *, nonce: int, chain: Digest | None = None) -> bytes:
        """Returns a transfer that the node signed, for its own chain by default."""
        return sign_transaction(
            self.key,
            chain=chain or self._chain,
            nonce=nonce,
            valid_until_height=VALID_UNTIL_HEIGHT,
            action=Transfer(recipient=recipient.address, amount_micro=MicroTokens(amount_micro)),
        )


class Street:
    """A testnet in a folder: its nodes, from the first (number 1) on."""

    def __init__(self, directory: Path) -> None:
        self.directory: Final = directory
        testnet = Testnet.open(directory)
        self.chain: Final = Digest(bytes.fromhex(testnet.manifest.chain))
        self.nodes: Final = tuple(Node(testnet, number + 1) for number in range(len(testnet.nodes)))

    def node(self, number: int) -> Node:
        return self.nodes[number - 1]

    def on_chain_of(self, genesis: Genesis) -> "Street":
        """Gives a street that never ran another genesis; returns it anew."""
        for node in self.nodes:
            write_genesis(node.home, genesis)
        manifest = self.directory / MANIFEST_NAME
        text = manifest.read_text(encoding="utf-8")
        manifest.write_text(text.replace(self.chain.hex(), chain_id(genesis).hex()), encoding="utf-8")
        return Street(self.directory)

    def at_one_tip(self) -> list[dict[str, Any]]:
        """Returns all status once nothing waits anywhere and all nodes stand at one tip."""
        return at_one_tip(self.nodes)

    def shorten_grace(self) -> None:
        """Lets no hour of the next run wait long for a household that is down: once is enough, but 5 s long."""
        for node in self.nodes:
            text = node.home.configuration.read_text(encoding="utf-8")
            changed = text.replace("grace_period_s = 5.0", "grace_period_s = 0.5")
            assert ("[meter]" in text) == (changed != text)
            node.home.configuration.write_text(changed, encoding="utf-8")

    def logs(self) -> str:
        return "".join(node.log() for node in self.nodes)


def at_one_tip(nodes: Sequence[Node]) -> list[dict[str, Any]]:
    """Returns the status of nodes once nothing waits at any of them and all stand at one tip."""

    def look() -> list[dict[str, Any]] | None:
        found = [status for node in nodes if (status := node.status()) is not None]
        quiet = len(found) == len(nodes) and not any(status["mempool_transactions"] for status in found)
        return found if quiet and len({status["tip"] for status in found}) == 1 else None

    statuses = wait_until(look, "all nodes at one tip")
    assert len({status["state_root"] for status in statuses}) == 1
    assert all(status["conserved"] for status in statuses)
    return statuses


def community_of(testnet: Testnet) -> Community:
    """Returns a testnet's chain with the node keys of its homes, so that a test can decide blocks for them."""
    homes = [testnet.home(node) for node in testnet.nodes]
    genesis, keys = load_genesis(homes[0]), tuple(load_key(home.node_key) for home in homes)
    return replace(make_genesis(len(homes)), genesis=genesis, chain=chain_id(genesis), node_keys=keys)


def stop_all(directory: Path) -> None:
    """Stops every daemon of the testnet in `directory`, whoever started it; one that does not stop is killed."""
    homes = [Home(configuration.parent) for configuration in directory.glob("*/meter.toml")]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for home in homes:
            process = running_process(home)
            if process is not None:
                kill(process, number)
        try:
            wait_until(lambda: not any(map(running_process, homes)), "all stopped", deadline_s=STOP_DEADLINE_S)
        except AssertionError:
            continue
        return


@contextmanager
def cleaned_up(directory: Path) -> Iterator[None]:
    """Leaves no daemon of a testnet in `directory` behind."""
    try:
        yield
    finally:
        stop_all(directory)


@contextmanager
def daemon(node: Node) -> Iterator[Running]:
    """Runs one node by `p2pnode start` during the block, its output beside its home."""
    with background(node.home.directory.parent, "start", "--config", node.home.configuration) as running:
        yield running


# --- readings ------------------------------------------------------------------------------------------------


FIRST_HOUR: Final = datetime(2024, 6, 1, tzinfo=UTC)
SUN_WH: Final = (300, 900, 40, 2_400)
"""What a roof yields in one hour after the other: too little for all, too much, nothing to speak of, plenty."""


@dataclass(frozen=True)
class MadeReadings:
    """A readings file of a test, and what can be traded in it, computed without the product."""

    path: Path
    tradable_wh: int
    surplus_wh: int
    deficit_wh: int


def write_readings(path: Path, *, households: int, hours: int) -> MadeReadings:
    """Writes a file in which every third home has a roof and the sun shines more in some hours than in others."""
    lines = ["timestamp,household_id,consumption_wh,generation_wh"]
    tradable_wh = surplus_wh = deficit_wh = 0
    for hour in range(hours):
        nets = []
        for home in range(households):
            consumption_wh = 150 + (97 * home + 61 * hour) % 433
            generation_wh = SUN_WH[hour % len(SUN_WH)] * (home + 4) // 5 if home % 3 == 0 else 0
            nets.append(generation_wh - consumption_wh)
            moment = FIRST_HOUR + timedelta(hours=hour)
            lines.append(f"{moment:%Y-%m-%dT%H}:00:00Z,home-{home},{consumption_wh},{generation_wh}")
        surplus, deficit = sum(net for net in nets if net > 0), -sum(net for net in nets if net < 0)
        surplus_wh += surplus
        deficit_wh += deficit
        tradable_wh += min(surplus, deficit)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return MadeReadings(path, tradable_wh, surplus_wh, deficit_wh)
