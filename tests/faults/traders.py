"""Rows for sellers, buyers and copies that lie: one run each, judged from an honest member's ledger."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from consensus.codec import encode
from contracts.receipts import Status
from contracts.state import Score, ScoreCause, TradeStatus
from contracts.transactions import SubmitTrade
from tests.faults.books import Books, Decided, fork_height, is_sound, opened
from tests.faults.cases import TRADERS, TraderCase
from tests.faults.streets import Plan, RunningStreet, read_diary, running
from tests.faults.table import FELL, UNCHANGED_OR_RISEN, Row

HOURS: Final = 3
STAGES: Final[Mapping[str, str]] = {
    "reading": "reading",
    "trade": "before execution",
    "condition_1": "execution",
    "condition_2": "execution",
    "condition_3": "final",
    "condition_4": "final",
}

Tell = Callable[[str], None]


def trader_rows(n: int, directory: Path, *, only: str, tell: Tell) -> list[Row]:
    """Runs every behaviour of traders at one size whose name contains `only`."""
    return [trader_row(name, n, directory, tell=tell) for name in TRADERS if only in name]


def trader_row(name: str, n: int, directory: Path, *, tell: Tell) -> Row:
    """Runs one behaviour and judges it."""
    case = TRADERS[name]
    liar = 1 if case.sells else n
    place = directory / name.replace(".", "-")
    with running(place, Plan(n=n, liars={liar: name}, hours=HOURS)) as run:
        try:
            run.wait_for_lies(RunningStreet.knows_offence if case.offence else None)
            run.see_that_it_goes_on()
            run.knock()
        except AssertionError as error:
            tell(f"{name} at n = {n}: {error}")
        run.stop()
        row = _Judged(name, case, run, liar).row()
    tell(f"{name} at n = {n}: {'held' if row.held else f'DID NOT HOLD: {row.note}'}")
    return row


class _Judged:
    """One stopped run."""

    def __init__(self, name: str, case: TraderCase, run: RunningStreet, liar: int) -> None:
        self.name = name
        self.case = case
        self.run = run
        self.liar = liar
        self.address = run.street.node(liar).address
        self.events = read_diary(run.street.node(liar).home)

    def noted(self, event: str, what: str) -> list[str]:
        return [one[what] for one in self.events if one["event"] == event and what in one]

    def row(self) -> Row:
        homes = [self.run.street.node(number).home for number in self.run.plan.honest]
        sound = all(map(is_sound, homes))
        with opened(homes) as books:
            return self._row(books, sound=sound)

    def lies(self, books: Books) -> list[Decided]:
        """Returns the lies as they were declined."""
        found = books.find(self.noted("lie", "transaction")) + books.about(self.noted("lie", "trade"))
        return [one for one in found if one.receipt.status is Status.DECLINED]

    def _row(self, books: Sequence[Books], *, sound: bool) -> Row:
        own, lies = books[0], self.lies(books[0])
        before, after = self._scores(own, lies)
        honest = [address for address in own.members if address != self.address]
        agree = sum(self._sees(other, lies) for other in books)
        reasons = sorted({one.receipt.reason for one in lies}, key=lambda reason: reason.value)
        evidence = own.offences_of(self.address)
        checks = {
            "the ledgers verify": sound,
            "one chain": fork_height(books) is None,
            "all lies were declined for the expected reasons": tuple(reasons) == self.case.reasons,
            "refused at the door": tuple(self.run.refused_at_the_door.get(self.liar, ())) == self.case.at_the_door,
            "every member saw it": agree == len(books),
            "the liar alone is at fault": self._faults(lies),
            "balances": all(map(own.moved_nothing, lies)) and own.wallets_follow_contracts(),
            "settled once": self._settled_once(own),
            "the liar's score": after < before if self.case.is_fault else after >= before,
            "honest scores": not any(map(own.ever_fell, honest)),
            "evidence": evidence == ([] if self.case.offence is None else [self.case.offence]),
            "suspended": own.scores_of(self.address)[-1].is_suspended == bool(evidence),
            "went on": self.run.went_on,
        }
        failed = [what for what, holds in checks.items() if not holds]
        return Row(
            behaviour=self.name,
            n=self.run.plan.n,
            liars=1,
            detected_by=f"all {agree} honest members, executing the block" if agree == len(books) else f"{agree}",
            declined_at=self._stage(lies),
            reason=", ".join([*(reason.value for reason in reasons), *self.case.at_the_door]) or "expired",
            balances_unchanged=checks["balances"],
            honest_retry_settled_once=checks["settled once"],
            attacker_score_before=before,
            attacker_score_after=after,
            honest_scores=UNCHANGED_OR_RISEN if checks["honest scores"] else FELL,
            chain_went_on=self.run.went_on and checks["one chain"],
            evidence=", ".join(evidence) or "none",
            note="not: " + ", ".join(failed) if failed else "",
            held=not failed,
        )

    def _stage(self, lies: Sequence[Decided]) -> str:
        if not lies:
            return "expiry"
        reason = lies[0].receipt.reason.value
        return next(stage for prefix, stage in STAGES.items() if reason.startswith(prefix))

    def _sees(self, books: Books, lies: Sequence[Decided]) -> bool:
        if self.noted("promise", "trade"):
            return bool(_fall(books.scores_of(self.address)))
        return bool(lies) and self.lies(books) == list(lies)

    def _faults(self, lies: Sequence[Decided]) -> bool:
        wanted = self.address if self.case.is_fault else None
        return all(one.receipt.fault == wanted for one in lies)

    def _scores(self, books: Books, lies: Sequence[Decided]) -> tuple[int, int]:
        if lies:
            around = [books.score_around(one, self.address) for one in lies]
            return around[0][0], around[-1][1]
        fall = _fall(books.scores_of(self.address))
        return fall or (0, 0)

    def _settled_once(self, books: Books) -> bool:
        """Says whether what the lies were about is on the chain once, and the promise refunded."""
        promises = self.noted("promise", "trade")
        if promises:
            return _was_refunded(books, promises[0])
        originals = self.noted("original", "trade")
        if originals:
            return all(books.executions(trade) == 1 for trade in originals) and self._is_signed(books)
        pair = self.noted("lie", "trade")
        if pair:
            return sum(books.executions(trade) for trade in pair) == 1
        readings = books.find(self.noted("fair", "transaction"))
        packets = [one.receipt.reference.hex() for one in readings if one.receipt.reference]
        return len(packets) == 1 and books.executions(packets[0]) == 1

    def _is_signed(self, books: Books) -> bool:
        """Says whether a signature that was denied is on the chain, and of the registered key."""
        for one in books.about(self.noted("denied", "trade")):
            contract = one.action
            if one.receipt.status is Status.EXECUTED and isinstance(contract, SubmitTrade):
                return books.signed_by(self.address, encode(contract.terms), contract.buyer_signature)
        return not self.noted("denied", "trade")


def _fall(scores: Sequence[Score]) -> tuple[int, int] | None:
    """Returns a score around its first fault."""
    for before, after in pairwise(scores):
        if after.cause is ScoreCause.FAULT:
            return before.value, after.value
    return None


def _was_refunded(books: Books, name: str) -> bool:
    """Says whether a promise expired, held nothing back, and delivered nothing."""
    found: list[Any] = [trade for digest, trade in books.trades().items() if digest.hex() == name]
    return [(trade.status, trade.held_micro, trade.delivered_wh) for trade in found] == [(TradeStatus.EXPIRED, 0, 0)]
