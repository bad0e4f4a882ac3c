"""Small streets of real daemons, some of them with a behaviour replaced, run until their lies are told."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError

from msgspec.structs import replace

from consensus.identifiers import Address, Slot
from contracts.transactions import Action, ForwardTerms, IssueTokens, Transfer, sign_transaction
from contracts.units import MS_PER_HOUR, MicroTokens, MicroTokensPerKwh, Milliseconds, WattHours
from node.admission.identity import load_key
from node.daemon import run_daemon
from node.home.configuration import load_configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.meter.readings_file import format_hour, read_readings
from node.testnet.folder import GRID_KEY_NAME, ISSUER_KEY_NAME
from node.testnet.init import TestnetPlan, initialise_testnet
from tests.faults.daemon import main
from tests.faults.sellers import write_agreed_contracts
from tests.faults.tricks import DIARY_NAME
from tests.support.forking import FORKING
from tests.support.ports import free_ports
from tests.support.testnet import VALID_UNTIL_HEIGHT, Node, Street, wait_until

SLOT_DURATION_MS_PER_NODE: Final = 25
"""Short, so that leaders change often; long enough for all daemons on two cores."""

FIRST_HOUR_MS: Final = Milliseconds(476_000 * MS_PER_HOUR)
SCARCE_WH: Final = 1_700
PLENTY_WH: Final = 12_000
"""What a roof yields in an hour, beside a little of its own."""

GRACE_PERIOD_S: Final = 1.0
DEADLINE_S: Final = 60.0
STOP_DEADLINE_S: Final = 20.0
HEARTBEAT_S: Final = 0.4
"""Between two transactions that belong to nobody's trade: they keep the chain going and show that it goes."""

BLOCKS_AFTER: Final = 2
"""Decided after all lies by every honest member: the first one may have been under way."""

JSON_LOGS: Final = {"P2PNODE_NODE__LOG_FORMAT": "json"}

NOWHERE: Final[dict[str, Any]] = {
    "height": -1,
    "tip": "",
    "totals": {"trades_completed": 0},
    "meter": {"finished": False},
}
"""Stands for the status of a daemon that does not answer."""

AGREED_EXPIRY_SLOTS: Final = range(30, 3_000, 10)
PROMISED_WH: Final = WattHours(500)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run: who lies how."""

    n: int
    liars: Mapping[int, str]
    """Behaviour by number of the node; 1 is the first."""
    hours: int
    """Of the readings that are made up for the run; a file of its own is measured to its end."""
    window_hours: int = 8
    readings: Path | None = None
    promised_hour: int = 1
    """Of the readings: the window of the forward trade that is never delivered, by a meter that stops before it."""
    cluster_size: int | None = None
    """So many of the n collect votes; None: all."""

    @property
    def honest(self) -> list[int]:
        return [number for number in range(1, self.n + 1) if number not in self.liars]


def sellers_of(n: int) -> range:
    """Returns the numbers of the homes with a roof; all others lack energy in every hour."""
    return range(1, n // 2 + 1)


def write_street_readings(path: Path, n: int, hours: int) -> None:
    """Writes readings of a scarce hour, in which two buyers want one packet, and of hours with enough for all."""
    lines = ["timestamp,household_id,consumption_wh,generation_wh"]
    for hour in range(hours):
        stamp = format_hour(Milliseconds(FIRST_HOUR_MS + hour * MS_PER_HOUR))
        sun_wh = SCARCE_WH if hour == 0 else PLENTY_WH
        for number in range(1, n + 1):
            generation_wh = sun_wh + 100 * number + 10 * hour if number in sellers_of(n) else 0
            consumption_wh = 300 if generation_wh else 2_400 + 10 * number
            lines.append(f"{stamp},home-{number},{consumption_wh},{generation_wh}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_street(directory: Path, plan: Plan) -> Street:
    """Makes a testnet with short slots and its own readings."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    readings = plan.readings
    if readings is None:
        readings = directory.with_name(f"{directory.name}.csv")
        write_street_readings(readings, plan.n, plan.hours)
    ports = free_ports(2 * plan.n)
    asked = TestnetPlan(readings=readings, base_port=ports, cluster_size=plan.cluster_size)
    testnet, _ = initialise_testnet(directory, asked)
    first = testnet.home(testnet.nodes[0])
    genesis = replace(
        load_genesis(first),
        slot_duration_ms=Milliseconds(SLOT_DURATION_MS_PER_NODE * plan.n),
        start_ms=Milliseconds(time.time_ns() // 1_000_000),
    )
    street = Street(directory).on_chain_of(genesis)
    for number, behaviour in plan.liars.items():
        if behaviour == "seller.never_delivers":
            start_ms = read_readings(readings).hours_start_ms[plan.promised_hour]
            _agree_on_a_promise(street, street.node(number), street.node(plan.n), start_ms)
    return street


def _agree_on_a_promise(street: Street, seller: Node, buyer: Node, start_ms: Milliseconds) -> None:
    """Has both sign forward trades off the chain, as people would."""
    terms = ForwardTerms(
        chain=street.chain,
        offer_counter=0,
        seller=seller.address,
        buyer=buyer.address,
        energy_wh=PROMISED_WH,
        price_micro_per_kwh=MicroTokensPerKwh(200_000),
        origin_meter=seller.address,
        destination_meter=buyer.address,
        expiry_slot=Slot(AGREED_EXPIRY_SLOTS[0]),
        delivery_start_ms=start_ms,
    )
    write_agreed_contracts(
        seller.home.directory, terms, seller=seller.key, buyer=buyer.key, expiry_slots=AGREED_EXPIRY_SLOTS
    )


def read_diary(home: Home) -> list[dict[str, Any]]:
    """Returns what a liar noted."""
    path = home.directory / DIARY_NAME
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]


class Bystander:
    """Somebody with the keys of issuer and grid, who is no member: sends what is nobody's trade."""

    def __init__(self, street: Street, through: Node) -> None:
        self._street = street
        self._through = through
        self._keys = {name: load_key(street.directory / name) for name in (ISSUER_KEY_NAME, GRID_KEY_NAME)}
        self._nonces = dict.fromkeys(self._keys, 0)

    def heartbeat(self) -> bytes:
        """Submits a transfer from the grid's account to the issuer's; returns its bytes."""
        issuer = self._keys[ISSUER_KEY_NAME].address
        return self._submit(GRID_KEY_NAME, Transfer(recipient=issuer, amount_micro=MicroTokens(1)))

    def issue(self, recipient: Address, amount_micro: int) -> None:
        """Gives somebody tokens."""
        self._submit(ISSUER_KEY_NAME, IssueTokens(recipient=recipient, amount_micro=MicroTokens(amount_micro)))

    def _submit(self, name: str, action: Action) -> bytes:
        self._nonces[name] += 1
        raw = sign_transaction(
            self._keys[name],
            chain=self._street.chain,
            nonce=self._nonces[name],
            valid_until_height=VALID_UNTIL_HEIGHT,
            action=action,
        )
        self._through.submit(raw)
        return raw


def _be_a_daemon(home: Home, environment: Mapping[str, str], arguments: Sequence[str]) -> None:
    """Turns this process into the daemon of a home: the product's own, or a liar."""
    log = os.open(home.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    os.environ.update(environment)
    if arguments:
        sys.exit(main([*arguments, "--config", str(home.configuration)]))
    sys.exit(run_daemon(load_configuration(home.configuration)))


class RunningStreet:
    """The daemons of one run."""

    def __init__(self, street: Street, plan: Plan) -> None:
        self.street = street
        self.plan = plan
        self.went_on = False
        """Whether honest members decided something after all lies."""
        self.refused_at_the_door: dict[int, list[str]] = {}
        """Per liar: how the honest members' API answered bytes that it had altered or used before."""
        self._processes: list[ForkServerProcess] = []
        self._issued: set[int] = set()
        self._bystander = Bystander(street, street.node(plan.honest[0]))

    def start(self) -> None:
        for number in range(1, self.plan.n + 1):
            self._start(self.street.node(number).home, self._environment(number), self._arguments(number))

    def start_home(self, home: Home, behaviour: str | None = None) -> None:
        """Starts the daemon of a home that was no part of the founding; with a behaviour it lies."""
        self._start(home, JSON_LOGS, [] if behaviour is None else ["--behaviour", behaviour])

    def _start(self, home: Home, environment: Mapping[str, str], arguments: Sequence[str]) -> None:
        process = FORKING.Process(target=_be_a_daemon, args=(home, environment, arguments))
        self._processes.append(process)
        process.start()

    def _arguments(self, number: int) -> list[str]:
        """Returns what makes a liar of a daemon, nothing for an honest one."""
        behaviour = self.plan.liars.get(number)
        if behaviour is None:
            return []
        friends = [
            self.street.node(other).address.hex()
            for other, theirs in self.plan.liars.items()
            if other != number and theirs == behaviour
        ]
        return ["--behaviour", behaviour, "--friends", *friends]

    def _environment(self, number: int) -> dict[str, str]:
        behaviours = self.plan.liars.values()
        is_silent = self.plan.liars.get(number) == "seller.never_delivers"
        window_hours = 1 if "seller.never_delivers" in behaviours else self.plan.window_hours
        return {
            **JSON_LOGS,
            "P2PNODE_METER__GRACE_PERIOD_S": str(GRACE_PERIOD_S),
            "P2PNODE_METER__WINDOW_HOURS": str(window_hours),
            "P2PNODE_METER__HOURS": str(self.plan.promised_hour if is_silent else 0),
        }

    # --- waiting

    def wait_for_lies(
        self, also: Callable[["RunningStreet"], bool] | None = None, *, deadline_s: float = DEADLINE_S
    ) -> None:
        """Waits until every liar is done (and `also` holds), keeping the chain going.

        Raises:
            AssertionError: not within the deadline.
        """
        self.wait_for(
            lambda: self._are_done() and (also is None or also(self)), "all lies are told", deadline_s=deadline_s
        )

    def wait_for_trading(self, *, deadline_s: float) -> None:
        """Waits until every honest home has traded its last hour, and all of them stand at one tip.

        Raises:
            AssertionError: not within the deadline.
        """

        def is_over() -> bool:
            self._are_done()
            return all(status["meter"]["finished"] for status in self.statuses())

        self.wait_for(is_over, "all hours are traded", deadline_s=deadline_s)
        wait_until(lambda: len({status["tip"] for status in self.statuses()}) == 1, "one tip")

    def _are_done(self) -> bool:
        diaries = {number: read_diary(self.street.node(number).home) for number in self.plan.liars}
        for number, events in diaries.items():
            needed = [event["amount_micro"] for event in events if event["event"] == "needs_tokens"]
            if needed and number not in self._issued and self._are_decided(events):
                self._issued.add(number)
                self._bystander.issue(self.street.node(number).address, needed[0])
        return all(any(event["event"] == "done" for event in events) for events in diaries.values())

    def _are_decided(self, events: Sequence[Mapping[str, Any]]) -> bool:
        node = self.street.node(self.plan.honest[0])
        lies = [event["transaction"] for event in events if event["event"] == "lie"]
        return all(
            node.request(f"/v1/transactions/{lie}").document.get("status") in {"executed", "declined"} for lie in lies
        )

    def wait_for(self, condition: Callable[[], bool], what: str, *, deadline_s: float = DEADLINE_S) -> None:
        """Waits until a condition holds, keeping the chain going.

        Raises:
            AssertionError: not within the deadline.
        """
        next_beat_s = time.monotonic() + HEARTBEAT_S

        def look() -> bool:
            nonlocal next_beat_s
            if time.monotonic() >= next_beat_s:
                next_beat_s = time.monotonic() + HEARTBEAT_S
                self._beat()
            return condition()

        wait_until(look, what, deadline_s=deadline_s)

    def _beat(self) -> None:
        try:
            self._bystander.heartbeat()
        except (URLError, OSError):
            return  # still starting

    def see_that_it_goes_on(self, *, trades: int = 0, deadline_s: float = DEADLINE_S) -> None:
        """Has more decided after all that, and waits until every honest member has it.

        Args:
            trades: how many of it are completed trades.
            deadline_s: how long it may take.

        Raises:
            AssertionError: not within the deadline.
        """
        before = self.statuses()
        height = max(status["height"] for status in before) + BLOCKS_AFTER
        completed = max(status["totals"]["trades_completed"] for status in before) + trades

        def is_past() -> bool:
            return all(
                status["height"] >= height and status["totals"]["trades_completed"] >= completed
                for status in self.statuses()
            )

        self.wait_for(is_past, "the chain goes on", deadline_s=deadline_s)
        self.went_on = True

    def statuses(self) -> list[dict[str, Any]]:
        """Returns the status of the honest members; of one that does not answer, that it is nowhere."""
        nodes = [self.street.node(number) for number in self.plan.honest]
        return [node.status() or NOWHERE for node in nodes]

    def knows_offence(self) -> bool:
        """Says whether the chain has a proof against somebody."""
        node = self.street.node(self.plan.honest[0])
        return bool(node.request("/v1/evidence").document["misconducts"])

    def knock(self) -> None:
        """Submits to every honest member what liars say must be refused, or was decided before."""
        for number in self.plan.liars:
            answers = []
            for event in read_diary(self.street.node(number).home):
                if event["event"] in {"refused", "replayed"}:
                    answers += [self._answer(other, bytes.fromhex(event["raw"])) for other in self.plan.honest]
            self.refused_at_the_door[number] = sorted(set(answers))

    def _answer(self, number: int, raw: bytes) -> str:
        reply = self.street.node(number).submit(raw)
        if reply.status >= 400:
            return reply.reason
        return "already decided" if reply.document["status"] == "executed" else "TAKEN"

    # --- the end

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(STOP_DEADLINE_S)
            if process.is_alive():
                process.kill()
                process.join()
        self._processes.clear()

    def logged(self, number: int, event: str) -> list[dict[str, Any]]:
        """Returns the lines of a node's log about an event."""
        lines = [json.loads(line) for line in self.street.node(number).log().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]


@contextmanager
def running(directory: Path, plan: Plan) -> Iterator[RunningStreet]:
    """Makes a street, starts all daemons of a plan, and stops those that still run."""
    run = RunningStreet(make_street(directory, plan), plan)
    with started(run):
        yield run


@contextmanager
def started(run: RunningStreet) -> Iterator[None]:
    """Starts all daemons of a street, and stops those that still run."""
    try:
        run.start()
        yield
    finally:
        run.stop()
