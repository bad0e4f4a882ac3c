"""`python -m tests.faults.street_of_seven`: 48 hours with two added meters, one of the seven homes malicious.

Once per behaviour: hour by hour, what could be traded was, but for what the malicious home did not honour; and every
balance of every other home follows from contracts that it signed.
"""

import csv
import json
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from consensus.codec import encode
from consensus.identifiers import Address
from contracts.receipts import Status
from contracts.state import TradeStatus
from contracts.transactions import SubmitTrade
from contracts.units import Milliseconds
from node.meter.readings_file import SHIPPED_READINGS, Readings, read_readings
from tests.faults.behaviours import BEHAVIOURS
from tests.faults.books import Books, fork_height, is_sound, opened
from tests.faults.cases import TRADERS, offence_of
from tests.faults.streets import Plan, read_diary, running

ADDED: Final = Path(__file__).parent / "data" / "added-meters.csv"
RESULT: Final = Path("build/street-of-seven.json")
HOMES: Final = 7
SELLER: Final = 4
BUYER: Final = 2
"""The malicious home: one with a roof, in some hours the only one with a surplus, or one without."""

PROMISED_HOUR: Final = 12
"""Noon of the first day."""

WINDOW_HOURS: Final = 2
"""So few in trading at once that a liar leads while there is something to lie about."""

DEADLINE_S_PER_HOUR: Final = 3.0
DEADLINE_S: Final = 60.0
LIES: Final = frozenset({"lie", "proposal", "promise"})
"""What a diary calls them."""

Key = tuple[Address, Milliseconds]
"""A home's hour."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one run came to."""

    behaviour: str
    hours: int
    tradable_wh: int
    """Per hour the smaller of all surplus and all deficit in the readings, summed."""
    not_honoured_wh: int
    """Of it, what the malicious home did not sell or buy, where nobody else could in its place."""
    traded_wh: int
    trades: int
    declined: int
    lies: int
    attacker_score: float
    lowest_honest_score: float
    elapsed_s: float
    note: str
    """What does not hold."""
    held: bool


def write_readings(path: Path, hours: int) -> None:
    """Writes the first hours of the shipped readings and of the two added meters in one file."""
    sources = [source.read_text(encoding="utf-8").splitlines() for source in (SHIPPED_READINGS, ADDED)]
    rows = [row for lines in sources for row in csv.DictReader(lines)]
    wanted = sorted({row["timestamp"] for row in rows})[:hours]
    rows = [row for row in rows if row["timestamp"] <= wanted[-1]]
    rows.sort(key=lambda row: (row["timestamp"], row["household_id"]))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def run_behaviour(behaviour: str, *, hours: int, directory: Path) -> Found:
    """Runs seven daemons, one of them malicious, and judges them from the honest nodes' ledgers."""
    directory.mkdir(parents=True, exist_ok=True)
    readings = directory / "seven.csv"
    write_readings(readings, hours)
    liar = BUYER if behaviour in TRADERS and not TRADERS[behaviour].sells else SELLER
    plan = Plan(
        n=HOMES,
        liars={liar: behaviour},
        hours=hours,
        readings=readings,
        promised_hour=PROMISED_HOUR,
        window_hours=WINDOW_HOURS,
    )
    started_s = time.monotonic()
    problems = []
    with running(directory / "street", plan) as run:
        try:
            run.wait_for_trading(deadline_s=DEADLINE_S + DEADLINE_S_PER_HOUR * hours)
        except AssertionError as error:
            problems.append(str(error))
        run.stop()
    elapsed_s = time.monotonic() - started_s
    homes = [run.street.node(number).home for number in plan.honest]
    if not all(map(is_sound, homes)):
        problems.append("a ledger does not verify")
    lies = sum(event["event"] in LIES for event in read_diary(run.street.node(liar).home))
    if lies == 0:
        problems.append("no lie was told")
    with opened(homes) as books:
        if fork_height(books) is not None:
            problems.append("two chains")
        members = [node.address for node in run.street.nodes]
        judged = Judged(books[0], members, members[liar - 1], read_readings(readings))
        return judged.found(behaviour, problems, lies=lies, elapsed_s=elapsed_s)


class Judged:
    """An honest node's ledger, held against the readings."""

    def __init__(self, books: Books, members: Sequence[Address], liar: Address, readings: Readings) -> None:
        self.books = books
        self.liar = liar
        self.hours = readings.hours_start_ms
        self.nets = {
            (member, start_ms): reading.net_wh
            for member, household in zip(members, readings.households, strict=True)
            for start_ms, reading in zip(readings.hours_start_ms, readings.by_household[household], strict=True)
        }
        self.sold: Counter[Key] = Counter()
        self.bought: Counter[Key] = Counter()
        self.broken: Counter[Milliseconds] = Counter()
        """Energy that a buyer waited for until its contract expired, and then got of nobody else, per hour."""
        trades = books.trades().values()
        for trade in trades:
            self.sold[trade.seller, trade.interval_start_ms] += trade.delivered_wh
            self.bought[trade.buyer, trade.interval_start_ms] += trade.delivered_wh
        for trade in trades:
            if trade.status is TradeStatus.EXPIRED and trade.seller == liar:
                own = (trade.buyer, trade.interval_start_ms)
                lacking_wh = max(0, -self.nets[own]) - self.bought[own]
                self.broken[trade.interval_start_ms] += min(trade.energy_wh, lacking_wh)

    def found(self, behaviour: str, problems: list[str], *, lies: int, elapsed_s: float) -> Found:
        books = self.books
        tradable, honoured, traded = (sum(each) for each in zip(*map(self._hour, self.hours), strict=True))
        honest = [member for member in books.members if member != self.liar]
        problems = problems + self.problems()
        offence = offence_of(behaviour)
        if offence is not None and offence not in books.offences_of(self.liar):
            problems.append(f"{offence} is not proven")
        if any(map(books.ever_fell, honest)):
            problems.append("an honest score fell")
        contracts = [one for one in books.decided if isinstance(one.action, SubmitTrade)]
        declined = sum(one.receipt.status is Status.DECLINED for one in contracts)
        return Found(
            behaviour=behaviour,
            hours=len(self.hours),
            tradable_wh=tradable,
            not_honoured_wh=tradable - honoured,
            traded_wh=traded,
            trades=len(contracts) - declined,
            declined=declined,
            lies=lies,
            attacker_score=self._score(self.liar),
            lowest_honest_score=min(map(self._score, honest)),
            elapsed_s=round(elapsed_s, 1),
            note="; ".join(problems),
            held=not problems,
        )

    def _hour(self, start_ms: Milliseconds) -> tuple[int, int, int]:
        """Returns what could be traded in an hour, what of it the malicious home let happen, and what was traded."""
        nets = [net for (_, start), net in self.nets.items() if start == start_ms]
        surplus, deficit = sum(net for net in nets if net > 0), -sum(net for net in nets if net < 0)
        own = (self.liar, start_ms)
        unsold = max(0, self.nets[own]) - self.sold[own]
        unbought = max(0, -self.nets[own]) - self.bought[own] + self.broken[start_ms]
        traded = sum(wh for (_, start), wh in self.sold.items() if start == start_ms)
        return min(surplus, deficit), min(surplus - unsold, deficit - unbought), traded

    def problems(self) -> list[str]:
        """Returns what must not be, in words."""
        return self._missed_hours() + self._unfounded_balances()

    def _missed_hours(self) -> list[str]:
        """Names the hours in which something else was traded than the malicious home let happen."""
        found = [(start_ms, *self._hour(start_ms)) for start_ms in self.hours]
        return [
            f"hour {start_ms}: {traded} Wh traded, not {honoured}"
            for start_ms, _, honoured, traded in found
            if traded != honoured
        ]

    def _unfounded_balances(self) -> list[str]:
        """Names what moved energy or tokens without two registered keys under a contract."""
        problems = []
        if not self.books.wallets_follow_contracts():
            problems.append("a wallet without its contracts")
        for one in self.books.decided:
            if isinstance(one.action, SubmitTrade) and one.receipt.status is Status.EXECUTED:
                terms, signed = one.action.terms, encode(one.action.terms)
                is_signed = self.books.signed_by(terms.seller, signed, one.action.seller_signature)
                if not is_signed or not self.books.signed_by(terms.buyer, signed, one.action.buyer_signature):
                    problems.append(f"unsigned: {one.receipt.transaction.hex()}")
        return problems

    def _score(self, member: Address) -> float:
        return self.books.scores_of(member)[-1].value / 10**6


def main(
    hours: Annotated[int, typer.Option(min=1, help="Hours of the readings, of 1,344.")] = 48,
    only: Annotated[str, typer.Option(help="Behaviours whose name contains this.")] = "",
    output: Annotated[Path, typer.Option(help="The result file.")] = RESULT,
) -> None:
    """Run each behaviour once; exit code 1 if a run does not hold."""
    found = []
    for behaviour in BEHAVIOURS:
        if only in behaviour:
            with tempfile.TemporaryDirectory(prefix="p2pnode-seven-") as directory:
                found.append(run_behaviour(behaviour, hours=hours, directory=Path(directory)))
            typer.echo(f"{behaviour}, {found[-1].elapsed_s:.0f} s: {found[-1].note or 'held'}", err=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps([asdict(one) for one in found], indent=2) + "\n", encoding="utf-8")
    Console(width=200).print(_as_table(found))
    held = sum(one.held for one in found)
    typer.echo(f"{held} of {len(found)} runs hold; {output}")
    raise typer.Exit(0 if found and held == len(found) else 1)


def _as_table(found: Sequence[Found]) -> Table:
    table = Table(title="One of seven homes malicious", title_justify="left")
    names = (
        "tradable Wh",
        "not honoured",
        "traded",
        "trades",
        "declined",
        "lies",
        "attacker",
        "honest, lowest",
        "held",
    )
    for heading in ("behaviour", "hours", *names):
        table.add_column(heading, justify="left" if heading == "behaviour" else "right")
    for one in found:
        energies = (f"{energy:,}" for energy in (one.tradable_wh, one.not_honoured_wh, one.traded_wh))
        counts = map(str, (one.trades, one.declined, one.lies))
        scores = (f"{score:.3f}" for score in (one.attacker_score, one.lowest_honest_score))
        table.add_row(one.behaviour, str(one.hours), *energies, *counts, *scores, "yes" if one.held else "NO")
    return table


if __name__ == "__main__":
    typer.run(main)
