"""`flips`: every flipped byte of a stopped node's files is found, or does no harm; nothing wrong is ever served.

Most flips are judged in this process (`tests.support.flips`), in a ledger that a clean stop sealed and in one that a
crash left. A sample goes to a real daemon beside three others, stopped and killed in turn: it must come back to their
tip, with their blocks, and answer nothing else on the way.
"""

import json
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tests.support.flips import (
    Outcome,
    Tally,
    WrongAnswerError,
    apply_flip,
    choose_flips,
    judge_all,
    make_specimen,
    sign_state_flips,
)
from tests.support.ledger import ChainBuilder
from tests.support.long_chain import decide_beforehand, make_street, scratch
from tests.support.testnet import Node, Running, Street, cleaned_up, daemon, wait_until

HOURS: Final = 10
"""Hours traded in the chain of the real daemons, two blocks each."""

STARTS_MAX: Final = 4
"""Of a daemon after one flip: it may open, find the damage when it reads, stop, and fetch all when restarted."""

DIFFERS: Final = frozenset({"certificate", "certificate_encoded"})
"""Each member keeps the Q COMMITs that it saw first."""


# --- in this process ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FileFlips:
    """Flips of one specimen's files."""

    killed: bool
    tally: Tally
    sign_state: int
    """Flipped bytes of the sign state; each time the newest record came back."""


def flip_files(*, count: int, seed: int, killed: bool) -> FileFlips:
    """Judges flips of a ledger that was stopped, or killed, and of every byte of its sign state."""
    with scratch() as directory:
        specimen = make_specimen(directory, killed=killed)
        tally = judge_all(specimen, choose_flips(specimen.ledger, count=count, seed=seed))
        return FileFlips(killed=killed, tally=tally, sign_state=sign_state_flips(specimen.sign_state))


# --- real daemons ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DaemonFlips:
    """What daemons did about flips; each came back to the others' tip and root."""

    went_on: int
    """Took no notice: what it serves is right."""
    fetched_again: int
    """Set its ledger aside at the start and fetched the chain from its peers."""
    stopped_when_read: int
    """Of these, those that opened first and stopped when they read the damage."""
    answers: int
    """Blocks that it was asked for over the API meanwhile, all right or refused."""


def flip_daemons(directory: Path, *, count: int, seed: int) -> DaemonFlips:
    """Flips a byte of one of four nodes' ledgers again and again, and starts it beside the others."""
    target = directory / "testnet"
    street = make_street(target, nodes=4)
    decide_beforehand(street, _trade, for_nodes=4)
    with cleaned_up(target), ExitStack() as stack:
        for node in street.nodes[:3]:
            stack.enter_context(daemon(node))
        wait_until(lambda: all(node.is_ready() for node in street.nodes[:3]), "three of four are ready")
        victim = _Victim(street)
        with _running(victim.node):
            victim.catch_up()
        found: Counter[str] = Counter()
        for number in range(count):
            flip = choose_flips(victim.node.home.ledger, count=2, seed=seed + number)[number // 2 % 2]
            apply_flip(victim.node.home.ledger, flip)
            found[victim.outlive(killed=number % 2 == 1)] += 1
            decide_block(street)
    return DaemonFlips(
        went_on=found["went on"],
        fetched_again=found["fetched again"] + found["stopped"],
        stopped_when_read=found["stopped"],
        answers=victim.answers,
    )


def _trade(builder: ChainBuilder) -> None:
    for hour in range(HOURS):
        builder.append_trading_hour(hour)


def decide_block(street: Street) -> None:
    """Decides a transfer by the first node."""
    sender = street.node(1)
    raw = sender.transfer(street.node(2), 1, nonce=sender.next_nonce())
    reply = sender.submit(raw, wait_s=30)
    assert reply.status == 200, reply.document


@contextmanager
def _running(node: Node) -> Iterator[Running]:
    with daemon(node) as running:
        wait_until(lambda: node.is_ready() or not running.is_running, f"{node.name} is ready or has stopped")
        yield running


class _Victim:
    """The node whose bytes are flipped, and what it may answer."""

    def __init__(self, street: Street) -> None:
        self.node: Final = street.node(4)
        self.answers = 0
        self._first = street.node(1)
        self._right: dict[int, Any] = {}

    def outlive(self, *, killed: bool) -> str:
        """Starts the node until it is whole again; ends it by a signal and says what it did.

        Raises:
            WrongAnswerError: it answered something else than its peers.
            AssertionError: it does not come back.
        """
        stops = 0
        for _ in range(STARTS_MAX):
            with _running(self.node) as running:
                if running.is_running and self._looks_right(running):
                    fetched = self.node.present_status()["ledger_set_aside"] is not None
                    self.node.end_by(signal.SIGKILL if killed else signal.SIGTERM)
                    return "stopped" if stops else "fetched again" if fetched else "went on"
                said = running.wait().errors
                assert "damage" in said, said
                stops += 1
        raise AssertionError(f"does not come back after {STARTS_MAX} starts")

    def _looks_right(self, running: Running) -> bool:
        """Asks for everything, from the first moment on; False if the node stopped meanwhile."""
        height = int(self._first.present_status()["height"])
        ways = (lambda: self._ask(height) or not running.is_running, lambda: self._has_come_back(running))
        for way in ways:
            wait_until(way, "the victim is at its peers' tip")
        return running.is_running and all(self._ask(number) for number in range(1, height + 1))

    def _has_come_back(self, running: Running) -> bool:
        if not running.is_running:
            return True
        here, there = self.node.status(), self._first.present_status()
        return here is not None and (here["tip"], here["state_root"]) == (there["tip"], there["state_root"])

    def catch_up(self) -> None:
        wait_until(lambda: self._ask(int(self._first.present_status()["height"])), "the victim is at its peers' tip")

    def _ask(self, height: int) -> bool:
        """Asks for a block; says whether it got it."""
        try:
            reply = self.node.request(f"/v1/blocks/{height}")
        except OSError:
            return False
        self.answers += 1
        if reply.status != 200:
            return False
        if _content(reply.document) != self._right_block(height):
            raise WrongAnswerError(f"block {height} of {self.node.name}")
        return True

    def _right_block(self, height: int) -> Any:
        if height not in self._right:
            self._right[height] = _content(self._first.request(f"/v1/blocks/{height}").document)
        return self._right[height]


def _content(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in DIFFERS}


# --- the command -------------------------------------------------------------------------------------------


def flips(
    count: Annotated[int, typer.Option(help="Flips of each specimen.")] = 2_000,
    daemons: Annotated[int, typer.Option(help="Flips before which a real daemon starts.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the positions.")] = 1,
    directory: Annotated[Path, typer.Option(help="For the testnet; made anew.")] = Path("build/endurance-flips"),
    as_json: Annotated[bool, typer.Option("--json", help="Figures as JSON.")] = False,
) -> None:
    """Flip single bytes over all files of a stopped node: found, or harmless; nothing wrong is served."""
    stopped, killed = (flip_files(count=count, seed=seed, killed=is_killed) for is_killed in (False, True))
    shutil.rmtree(directory, ignore_errors=True)
    on_daemons = flip_daemons(directory.resolve(), count=daemons, seed=seed)
    figures = {
        "stopped": _figures(stopped),
        "killed": _figures(killed),
        "daemons": {name: getattr(on_daemons, name) for name in DaemonFlips.__dataclass_fields__},
    }
    typer.echo(json.dumps(figures, indent=2) if as_json else _text(stopped, killed, on_daemons))
    wrong = stopped.tally.wrong + killed.tally.wrong
    for line in wrong:
        typer.echo(line, err=True)
    raise typer.Exit(1 if wrong else 0)


def _figures(found: FileFlips) -> dict[str, Any]:
    return {
        "flips": found.tally.outcomes.total(),
        **{outcome.name.lower(): found.tally.outcomes[outcome] for outcome in Outcome},
        "noticed_when_read": found.tally.noticed_when_read,
        "wrong": len(found.tally.wrong),
        "by_file": {
            file: {outcome.name.lower(): number for outcome, number in numbers.items()}
            for file, numbers in sorted(found.tally.by_file.items())
        },
        "sign_state_bytes": found.sign_state,
    }


def _text(stopped: FileFlips, killed: FileFlips, daemons: DaemonFlips) -> str:
    lines = [f"{'':30}{'clean stop':>12}{'kill -9':>12}"]
    rows = [(outcome.value, *(found.tally.outcomes[outcome] for found in (stopped, killed))) for outcome in Outcome]
    rows += [
        ("wrongly served", len(stopped.tally.wrong), len(killed.tally.wrong)),
        ("flipped bytes of the sign state", stopped.sign_state, killed.sign_state),
    ]
    lines += [f"{name:32}{number:10,}{other:12,}" for name, number, other in rows]
    lines.append(
        f"daemons: {daemons.fetched_again} fetched the chain again ({daemons.stopped_when_read} of them stopped on "
        f"damage first), {daemons.went_on} went on; {daemons.answers:,} answers, none wrong"
    )
    return "\n".join(lines)
